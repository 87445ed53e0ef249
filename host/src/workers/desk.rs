//! How many handlers run at once, whether they can be started at all, and the hint that wakes the
//! dispatcher. In memory only; the rows are the truth.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

use super::breaker::{Admit, Breaker, BreakerRules, BreakerState, Change, Health};
use super::channel::Blocked;

/// A handler that cannot be started is tried again soon, and by one turn at a time: it fails for
/// all turns alike, and none of them is to pay for it.
const HANDLER_BREAKER: BreakerRules =
    BreakerRules { after_failures: 1, open_first_ms: 1_000, open_max_ms: 60_000 };

/// Where turns get their permits.
#[derive(Debug)]
pub struct TurnDesk {
    permits: Arc<Semaphore>,
    breaker: Mutex<Breaker>,
    pub(super) hint: Notify,
    suspect: AtomicBool,
}

impl TurnDesk {
    /// A desk for `handlers` at once.
    #[must_use]
    pub fn new(handlers: u32) -> Self {
        Self {
            permits: Arc::new(Semaphore::new(handlers.max(1) as usize)),
            breaker: Mutex::new(Breaker::new(HANDLER_BREAKER)),
            hint: Notify::new(),
            suspect: AtomicBool::new(false),
        }
    }

    /// Wakes the dispatcher.
    pub fn wake(&self) {
        self.hint.notify_one();
    }

    /// For `status`.
    #[must_use]
    pub fn breaker_state(&self) -> BreakerState {
        self.breaker().state()
    }

    pub(super) async fn free(&self) {
        // Never closed; the permit goes back at once.
        let _ = self.permits.acquire().await;
    }

    /// Handlers that may begin now, for tests that look for permits that leak.
    #[cfg(test)]
    pub(super) fn free_handlers(&self) -> usize {
        self.permits.available_permits()
    }

    pub(super) fn permit(self: &Arc<Self>, now_ms: i64) -> Result<TurnPermit, Blocked> {
        let permit = Arc::clone(&self.permits).try_acquire_owned().map_err(|_| Blocked::Busy)?;
        let probe = match self.breaker().admit(now_ms) {
            Admit::Yes => false,
            Admit::Probe => true,
            Admit::NotBefore(ms) => return Err(Blocked::Until(ms)),
            Admit::Probing => return Err(Blocked::Probing),
        };
        let desk = Arc::clone(self);
        Ok(TurnPermit { desk, _permit: permit, probe, told: false, suspect: false, now_ms })
    }

    fn breaker(&self) -> MutexGuard<'_, Breaker> {
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The right to run one handler. Dropped, it gives everything back.
#[derive(Debug)]
pub(super) struct TurnPermit {
    desk: Arc<TurnDesk>,
    _permit: OwnedSemaphorePermit,
    probe: bool,
    told: bool,
    suspect: bool,
    now_ms: i64,
}

impl TurnPermit {
    /// Tells whether the handler could be started; the first word counts.
    pub(super) fn tell(&mut self, now_ms: i64, health: Health) -> Change {
        if self.told {
            return Change::None;
        }
        self.told = true;
        let change = self.desk.breaker().tell(now_ms, self.probe, health);
        if self.probe {
            self.desk.wake();
        }
        change
    }

    /// Whether the dispatcher waits for what this permit finds out.
    pub(super) fn is_probe(&self) -> bool {
        self.probe
    }

    /// Marks that a suspect runs under this permit. False where another one does.
    pub(super) fn mark_suspect(&mut self) -> bool {
        let first = !self.desk.suspect.swap(true, Ordering::AcqRel);
        self.suspect |= first;
        first
    }
}

impl Drop for TurnPermit {
    fn drop(&mut self) {
        // Unused, it wakes nobody: it may be the dispatcher itself that found nothing to claim, and
        // would find nothing again, for ever. Who else drops one wakes it.
        if !self.told {
            self.desk.breaker().tell(self.now_ms, self.probe, Health::Neither);
        }
        if self.suspect {
            self.desk.suspect.store(false, Ordering::Release);
            self.desk.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn woken(desk: &TurnDesk) -> bool {
        futures_util::FutureExt::now_or_never(desk.hint.notified()).is_some()
    }

    #[tokio::test]
    async fn a_probe_that_is_dropped_unused_wakes_nobody_and_the_next_one_may_go() {
        let desk = Arc::new(TurnDesk::new(4));
        let mut permit = desk.permit(0).unwrap();
        assert_eq!(permit.tell(0, Health::Broke), Change::Opened { for_ms: 1_000 });
        assert_eq!(desk.permit(999).unwrap_err(), Blocked::Until(1_000));
        let probe = desk.permit(1_000).unwrap();
        assert_eq!(desk.permit(1_000).unwrap_err(), Blocked::Probing);
        drop(probe);
        assert!(!woken(&desk), "a loop would wake itself");
        let mut probe = desk.permit(1_000).unwrap();
        assert_eq!(probe.tell(1_000, Health::Works), Change::Closed);
        assert!(woken(&desk));
    }
}
