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
        let (told, wakes, suspect) = (false, false, false);
        Ok(TurnPermit { desk, _permit: permit, probe, told, wakes, suspect, now_ms })
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
    /// Dropped unused, it wakes the dispatcher, which may wait for what it finds out.
    wakes: bool,
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
        self.probe && !self.told
    }

    /// Ends the waiting for a probe whose end is not known yet, with what can be said by now. Should
    /// the handler fail to start after all, [`Self::tell`] is still heard.
    pub(super) fn stop_probing(&mut self, now_ms: i64, health: Health) -> Change {
        if !self.is_probe() {
            return Change::None;
        }
        self.probe = false;
        let change = self.desk.breaker().tell(now_ms, true, health);
        self.desk.wake();
        change
    }

    /// Marks that it is not the dispatcher's own any more.
    pub(super) fn wakes_when_dropped(&mut self) {
        self.wakes = true;
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
        // The dispatcher's own wakes nobody where it is unused: there was nothing to claim, and it
        // would find nothing again, for ever.
        if !self.told {
            self.desk.breaker().tell(self.now_ms, self.probe, Health::Neither);
            if self.probe && self.wakes {
                self.desk.wake();
            }
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

    #[tokio::test]
    async fn a_probe_that_others_hold_wakes_the_dispatcher_where_it_comes_to_nothing() {
        let desk = Arc::new(TurnDesk::new(4));
        desk.permit(0).unwrap().tell(0, Health::Broke);
        let mut probe = desk.permit(1_000).unwrap();
        probe.wakes_when_dropped();
        drop(probe);
        assert!(woken(&desk));
        assert!(desk.permit(1_000).unwrap().is_probe());
    }

    #[tokio::test]
    async fn a_probe_that_takes_long_lets_others_begin_and_its_end_still_counts() {
        let desk = Arc::new(TurnDesk::new(4));
        desk.permit(0).unwrap().tell(0, Health::Broke);
        let mut probe = desk.permit(1_000).unwrap();
        assert_eq!(probe.stop_probing(1_500, Health::Neither), Change::None);
        assert!(woken(&desk));
        let mut other = desk.permit(1_500).unwrap();
        assert_eq!(desk.permit(1_500).unwrap_err(), Blocked::Probing);
        assert_eq!(other.stop_probing(2_000, Health::Works), Change::Closed);
        assert!(!desk.permit(2_000).unwrap().is_probe());
        assert_eq!(other.tell(3_000, Health::Broke), Change::Opened { for_ms: 1_000 });
        assert_eq!(probe.tell(3_500, Health::Works), Change::None, "only a probe closes it");
    }
}
