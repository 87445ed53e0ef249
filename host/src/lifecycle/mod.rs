//! The rules of a message's life: pure functions over states, outcomes and limits.
//!
//! It knows no SQL, no wasm, no tokio and no clock: the time is always a parameter, and so is
//! chance. Both state machines stand here once (`turn`, `delivery`), as exhaustive matches.
//!
//! ```text
//! turn      queued -> running -> delivering -> delivered
//!              ^         |  |        |`-------> failed (outcome_unknown) -> delivered | failed
//!              `- lost --'  |        `--------> failed
//!                           `-> silent | failed
//!           queued, running, delivering -> aborted      queued -> failed | expired (too old)
//!
//! delivery  queued -> sending -> delivered | dead | cancelled
//!              ^         |`----> queued (proven not sent)
//!              |         `-----> unknown (open) -> unknown (held) -> delivered | cancelled
//!              `--- settled -----'       `-> delivered
//!           queued -> cancelled | expired
//! ```

pub mod bucket;
pub mod dedup;
pub mod delivery;
pub mod files;
pub mod group;
pub mod id;
pub mod import;
pub mod lease;
pub mod message;
pub mod notice;
pub mod outcome;
pub mod parts;
pub mod plan;
pub mod recurrence;
pub mod retry;
pub mod settle;
pub mod split;
pub mod turn;

#[cfg(test)]
mod tests;
