//! The workers against the real store, with scripted adapters and handlers, under paused time.

mod aborts;
pub(super) mod bench;
mod channels;
mod clocks;
mod generations;
mod path;
mod polling;
mod pulling;
pub(super) mod script;
mod stops;
mod store;
mod stress;
mod sweeping;
mod tries;
