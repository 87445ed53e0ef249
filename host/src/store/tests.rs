//! The store at work on a real SQLite file: one lifecycle after the other.

mod bulk;
mod faults;
mod later;
mod lifecycle;
mod plans;
mod rig;
mod simulation;
