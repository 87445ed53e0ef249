//! How the host ends a call that runs: an abort, or a planned stop. A stopped call still returns
//! its ledger. It knows no engine.

use tokio::sync::watch;

/// Held by whoever may end the call; dropping it stops nothing.
#[derive(Debug, Clone)]
pub struct StopHandle(watch::Sender<bool>);

/// Handed to the call. Cheap to clone; every clone sees the stop, also one that came before.
#[derive(Debug, Clone)]
pub struct StopSignal(Option<watch::Receiver<bool>>);

/// A stop that has not happened yet, and the signal that tells of it.
#[must_use]
pub fn stop_pair() -> (StopHandle, StopSignal) {
    let (sender, receiver) = watch::channel(false);
    (StopHandle(sender), StopSignal(Some(receiver)))
}

impl StopHandle {
    /// Stops every call that holds a signal of this handle, now and later.
    pub fn stop(&self) {
        self.0.send_replace(true);
    }

    /// Another signal of this handle.
    #[must_use]
    pub fn signal(&self) -> StopSignal {
        StopSignal(Some(self.0.subscribe()))
    }
}

impl StopSignal {
    /// For calls that only their own limits end.
    #[must_use]
    pub fn never() -> Self {
        Self(None)
    }

    /// Whether the stop has happened.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.0.as_ref().is_some_and(|receiver| *receiver.borrow())
    }

    /// Waits for the stop; for ever where there is none to come.
    pub async fn stopped(&mut self) {
        if let Some(receiver) = &mut self.0
            && receiver.wait_for(|stopped| *stopped).await.is_ok()
        {
            return;
        }
        // No handle is left, so that nobody can stop this call any more.
        std::future::pending::<()>().await;
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn a_stop_that_came_before_the_call_is_seen() {
        let (handle, mut signal) = stop_pair();
        handle.stop();
        assert!(signal.is_stopped() && handle.signal().is_stopped());
        signal.stopped().await;
    }

    #[tokio::test]
    async fn a_dropped_handle_stops_nothing() {
        let (handle, mut signal) = stop_pair();
        drop(handle);
        assert!(signal.stopped().now_or_never().is_none() && !signal.is_stopped());
    }
}
