//! The stop flag of one running thing: set once, with its reason, and heard at once.
//!
//! It knows no turn and no row; the gate hands it out and sets it, handlers and calls listen.

use std::sync::{Arc, OnceLock};

use tokio_util::sync::CancellationToken;

/// Why something is to stop. The first reason given stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum StopReason {
    /// The turn was aborted: the abort is on disk.
    #[error("the turn was aborted")]
    Aborted,
    /// A newer try of the same turn runs: this one lost its claim.
    #[error("a newer try of the turn has taken over")]
    Superseded,
    /// The worker's claim could not be renewed.
    #[error("the claim was lost")]
    ClaimLost,
    /// `handler_deadline` passed.
    #[error("the handler ran out of its time")]
    Deadline,
    /// `heartbeat_timeout` passed without a sign of life.
    #[error("the handler gave no sign of life in time")]
    Silence,
    /// The host stops as planned; nothing is charged.
    #[error("the host is stopping")]
    PlannedStop,
}

/// Sets and hears one stop flag. Clones share the flag.
#[derive(Debug, Clone, Default)]
pub struct StopHandle {
    token: CancellationToken,
    reason: Arc<OnceLock<StopReason>>,
}

impl StopHandle {
    /// A flag that is not set.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the flag and wakes everybody who listens. A later reason changes nothing.
    pub fn stop(&self, reason: StopReason) {
        // The reason first: who is woken must find it.
        let _ = self.reason.set(reason);
        self.token.cancel();
    }

    /// Why it is set, if it is.
    #[must_use]
    pub fn reason(&self) -> Option<StopReason> {
        self.reason.get().copied()
    }

    /// Waits until it is set. May be dropped and asked again at any time.
    pub async fn stopped(&self) -> StopReason {
        self.token.cancelled().await;
        // `stop` alone cancels the token, and sets the reason before it does.
        self.reason().unwrap_or(StopReason::PlannedStop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_first_reason_stands_and_reaches_every_clone() {
        let handle = StopHandle::new();
        let ear = handle.clone();
        assert_eq!(ear.reason(), None);
        let heard = async { ear.stopped().await };
        let set = async {
            handle.stop(StopReason::Aborted);
            handle.stop(StopReason::PlannedStop);
        };
        let (heard, ()) = tokio::join!(heard, set);
        assert_eq!(heard, StopReason::Aborted);
        assert_eq!(handle.stopped().await, StopReason::Aborted);
    }
}
