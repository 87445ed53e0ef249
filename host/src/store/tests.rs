//! The store at work on a real SQLite file: one lifecycle after the other.

mod aborts;
mod accepting;
pub(super) mod audit;
mod backup;
mod bulk;
mod counts;
mod events;
mod fairness;
mod faults;
mod import;
mod later;
mod lifecycle;
mod model;
mod notices;
mod plans;
mod posts;
mod rate;
mod receipts;
mod rig;
mod rules;
mod schedules;
mod seeds;
mod shown;
mod simulation;
mod twice;
mod waiting;
mod window;
