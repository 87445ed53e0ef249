//! Stop flags and what runs: the memory that makes an abort act at once.
//!
//! The row is the truth: an abort is on disk before this room hears of it, and after a restart the
//! rows alone decide. This room only closes the gap between a worker's claim and its call. It
//! knows no row, no store and no adapter.
//!
//! **The race.** A worker claims a delivery; the abort of its turn commits; the abort is confirmed;
//! only then the worker calls the adapter. The claim was right when it was made, and the guard of
//! the store cannot see the call. So:
//!
//! 1. The worker takes an [`Approach`] *before* it sends any command that may claim (the folded
//!    steps too).
//! 2. The abort commits, then calls [`Gate::stop_turn`], and only then is confirmed.
//! 3. The worker passes the gate *right before* the call: [`Approach::enter`] for a delivery,
//!    [`Approach::run`] for a turn. After a `stop_turn` of that turn, both refuse.
//!
//! What has passed the gate is at the adapter, and its outcome is recorded as it really ended.
//!
//! **How long a flag is kept.** A flag must outlive every approach that began before it, since that
//! worker may hold a claim from before the abort. An approach that begins later cannot: the store
//! refuses to claim rows of an aborted turn. So flags and approaches draw numbers from one counter,
//! and a flag is forgotten when no older approach is left. No clock is involved, and no worker is
//! too slow. (Keeping flags for the length of a claim was the idea not taken: it needs every worker
//! to check its claim against the clock at the same place, and a paused one would not.)
//!
//! **A planned stop** has two steps: [`Gate::close`] lets nothing more pass, [`Gate::stop_all`] ends
//! what still runs when `drain` is over.

mod flags;
mod stop;

pub use flags::{Approach, Gate, GateCounts, GatePass, RunningTurn, Stopped};
pub use stop::{StopHandle, StopReason};

mod sync {
    pub(super) use std::sync::{Mutex, MutexGuard};
}

#[cfg(test)]
mod orders;
#[cfg(test)]
mod tests;
