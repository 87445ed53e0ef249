//! The store at work on a real SQLite file: one lifecycle after the other.

pub(super) mod audit;
mod bulk;
mod counts;
mod events;
mod faults;
mod import;
mod later;
mod lifecycle;
mod plans;
mod posts;
mod rig;
mod rules;
mod simulation;
