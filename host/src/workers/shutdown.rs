//! The signal of a planned stop, in its two steps. It knows no worker.

use tokio::sync::watch;

/// How far the stop is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    Running,
    /// Nothing new is begun; what runs may finish.
    Draining,
    /// What still runs is to end now.
    Ending,
}

/// Tells and hears the stop. Clones share it; it never goes back.
#[derive(Debug, Clone)]
pub struct Shutdown(watch::Sender<Phase>);

impl Default for Shutdown {
    fn default() -> Self {
        Self(watch::channel(Phase::Running).0)
    }
}

impl Shutdown {
    /// Goes on to `phase`, unless it is there already.
    pub fn advance(&self, phase: Phase) {
        self.0.send_if_modified(|now| {
            let later = *now < phase;
            if later {
                *now = phase;
            }
            later
        });
    }

    /// How far it is.
    #[must_use]
    pub fn phase(&self) -> Phase {
        *self.0.borrow()
    }

    /// Whether anything new may begin.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.phase() == Phase::Running
    }

    /// Waits until it is at `phase` or past it.
    pub async fn reached(&self, phase: Phase) {
        let mut seen = self.0.subscribe();
        // The sender lives as long as `self`, so that this cannot fail.
        let _ = seen.wait_for(|now| *now >= phase).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_stop_only_goes_on_and_is_heard_by_who_asks_late() {
        let shutdown = Shutdown::default();
        assert!(shutdown.is_running());
        shutdown.advance(Phase::Ending);
        shutdown.advance(Phase::Draining);
        assert_eq!(shutdown.phase(), Phase::Ending);
        shutdown.clone().reached(Phase::Draining).await;
    }
}
