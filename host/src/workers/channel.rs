//! One channel as the workers see it: its adapter, how many calls it takes at once, its pace and
//! its breaker, and the hint that wakes its deliverer. In memory only; the rows are the truth.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

use super::breaker::{Admit, Breaker, BreakerRules, BreakerState, Change, Health};
use super::ports::{Adapter, AdapterFacts, GenerationOf};
use super::rate::Rate;
use super::rules::INTERVAL_WAITERS_MAX;
use crate::lifecycle::id::ChannelName;

/// The channels that are served, in order of name.
pub type Channels = BTreeMap<ChannelName, Arc<Channel>>;

/// One channel that is served.
pub struct Channel {
    pub name: ChannelName,
    adapter: Arc<dyn Adapter>,
    permits: Arc<Semaphore>,
    /// For rows that wait in memory for their conversation's interval, without a permit.
    pub(super) waiters: Arc<Semaphore>,
    pace: Mutex<Pace>,
    /// "Look now": carries no data, may be lost.
    pub(super) hint: Notify,
    pub(super) poll_hint: Notify,
    paused: AtomicBool,
    breaker_rules: BreakerRules,
    /// Whether its deliverer runs.
    delivers: AtomicBool,
    /// Whether somebody polls: the lease of [`PollLease`].
    polls: AtomicBool,
}

/// The right to poll a channel. There is one, so that no two generations ever poll at once.
pub(super) struct PollLease(Arc<Channel>);

impl Drop for PollLease {
    fn drop(&mut self) {
        self.0.polls.store(false, Ordering::Release);
    }
}

#[derive(Debug)]
struct Pace {
    breaker: Breaker,
    rate: Rate,
}

/// Why no ticket was to be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blocked {
    /// As many calls as allowed are under way.
    Busy,
    /// Not before this monotonic time.
    Until(i64),
    /// The breaker waits for its probe.
    Probing,
}

impl Channel {
    /// A channel whose breaker is closed.
    #[must_use]
    pub fn new(name: ChannelName, adapter: Arc<dyn Adapter>, breaker: BreakerRules) -> Self {
        let calls = adapter.facts().calls_at_once.max(1) as usize;
        Self {
            name,
            adapter,
            permits: Arc::new(Semaphore::new(calls)),
            waiters: Arc::new(Semaphore::new(INTERVAL_WAITERS_MAX)),
            pace: Mutex::new(Pace { breaker: Breaker::new(breaker), rate: Rate::default() }),
            hint: Notify::new(),
            poll_hint: Notify::new(),
            paused: AtomicBool::new(false),
            breaker_rules: breaker,
            delivers: AtomicBool::new(false),
            polls: AtomicBool::new(false),
        }
    }

    /// The right to poll, where nobody has it.
    pub(super) fn poll_lease(self: &Arc<Self>) -> Option<PollLease> {
        let taken = self.polls.swap(true, Ordering::AcqRel);
        (!taken).then(|| PollLease(Arc::clone(self)))
    }

    /// Marks that its deliverer runs. False where one does.
    pub(super) fn begin_delivering(&self) -> bool {
        !self.delivers.swap(true, Ordering::AcqRel)
    }

    /// A new generation serves: what broke before it says nothing about it. True where the breaker
    /// was not closed.
    pub(super) fn close_breaker(&self) -> bool {
        let mut pace = self.pace();
        let was = pace.breaker.state();
        pace.breaker = Breaker::new(self.breaker_rules);
        was != BreakerState::Closed
    }

    /// Who makes the call for a row that was claimed by the rules of this generation; nobody where
    /// it is gone.
    pub(super) fn adapter_of(&self, generation: u64) -> Option<Arc<dyn Adapter>> {
        match self.adapter.generation(generation) {
            GenerationOf::This => Some(Arc::clone(&self.adapter)),
            GenerationOf::Other(adapter) => Some(adapter),
            GenerationOf::Gone => None,
        }
    }

    /// What serves it now.
    #[must_use]
    pub fn facts(&self) -> AdapterFacts {
        self.adapter.facts()
    }

    /// Its adapter.
    #[must_use]
    pub fn adapter(&self) -> &Arc<dyn Adapter> {
        &self.adapter
    }

    /// Wakes its deliverer.
    pub fn wake(&self) {
        self.hint.notify_one();
    }

    /// Remembers what the store was told, and wakes whoever waits for it.
    pub fn set_paused(&self, paused: bool) {
        self.paused.store(paused, Ordering::Relaxed);
        self.poll_hint.notify_one();
        self.wake();
    }

    /// Remembers what the store says.
    pub(super) fn note_paused(&self, paused: bool) {
        self.paused.store(paused, Ordering::Relaxed);
    }

    /// Whether it is paused, as far as this memory knows; the store decides at each claim.
    #[must_use]
    pub fn is_paused(&self) -> bool {
        self.paused.load(Ordering::Relaxed)
    }

    /// For `status`.
    #[must_use]
    pub fn breaker_state(&self) -> BreakerState {
        self.pace().breaker.state()
    }

    /// Waits until one more call may be under way.
    pub(super) async fn free(&self) {
        // Never closed; the permit goes back at once, since only a ticket may hold one.
        let _ = self.permits.acquire().await;
    }

    /// Calls that may begin now, for tests that look for permits that leak.
    #[cfg(test)]
    pub(super) fn free_calls(&self) -> usize {
        self.permits.available_permits()
    }

    /// Takes all that a claim needs: permit, rate token, the breaker's leave.
    pub(super) fn ticket(self: &Arc<Self>, now_ms: i64) -> Result<Ticket, Blocked> {
        let permit = Arc::clone(&self.permits).try_acquire_owned().map_err(|_| Blocked::Busy)?;
        let leave = self.ask_leave(now_ms)?;
        Ok(Ticket { channel: Arc::clone(self), permit: Some(permit), leave, now_ms })
    }

    /// The conversation's next place in time, in milliseconds from now.
    pub(super) fn take_place(&self, now_ms: i64, conversation: &str, interval_ms: u64) -> u64 {
        self.pace().rate.take_place(now_ms, conversation, interval_ms)
    }

    pub(super) fn refund_place(&self, conversation: &str, interval_ms: u64) {
        self.pace().rate.refund_place(conversation, interval_ms);
    }

    fn ask_leave(&self, now_ms: i64) -> Result<Leave, Blocked> {
        let interval_ms = self.adapter.facts().channel_interval_ms;
        let mut pace = self.pace();
        let leave = match pace.breaker.admit(now_ms) {
            Admit::Yes => Leave::Call,
            Admit::Probe => Leave::Probe,
            Admit::NotBefore(ms) => return Err(Blocked::Until(ms)),
            Admit::Probing => return Err(Blocked::Probing),
        };
        if let Err(until_ms) = pace.rate.take(now_ms, interval_ms) {
            if leave == Leave::Probe {
                pace.breaker.tell(now_ms, true, Health::Neither);
            }
            return Err(Blocked::Until(until_ms));
        }
        Ok(leave)
    }

    fn pace(&self) -> MutexGuard<'_, Pace> {
        self.pace.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Leave {
    Call,
    Probe,
    /// The call was made and its end told.
    Used,
}

/// The right to make one call of a channel. Dropped unused, it gives everything back.
pub struct Ticket {
    channel: Arc<Channel>,
    permit: Option<OwnedSemaphorePermit>,
    leave: Leave,
    now_ms: i64,
}

impl Ticket {
    /// Whose it is.
    pub(super) fn channel(&self) -> &Arc<Channel> {
        &self.channel
    }

    /// When it was taken, on the monotonic clock: before the claim that it was taken for.
    pub(super) fn taken_ms(&self) -> i64 {
        self.now_ms
    }

    /// Tells how the call ended.
    pub(super) fn used(&mut self, now_ms: i64, health: Health) -> Change {
        let probe = self.leave == Leave::Probe;
        self.leave = Leave::Used;
        self.channel.pace().breaker.tell(now_ms, probe, health)
    }

    /// Asks for one more call with the same permit.
    pub(super) fn renew(&mut self, now_ms: i64) -> Result<(), Blocked> {
        self.give_back();
        self.leave = Leave::Used;
        self.leave = self.channel.ask_leave(now_ms)?;
        self.now_ms = now_ms;
        Ok(())
    }

    /// Lets another call go ahead while this one waits.
    pub(super) fn lend(&mut self) {
        self.permit = None;
    }

    /// Waits for the permit that was lent.
    pub(super) async fn take_back(&mut self) {
        if self.permit.is_none() {
            self.permit = Arc::clone(&self.channel.permits).acquire_owned().await.ok();
        }
    }

    fn give_back(&self) {
        let mut pace = self.channel.pace();
        match self.leave {
            Leave::Used => return,
            Leave::Call => {}
            Leave::Probe => {
                pace.breaker.tell(self.now_ms, true, Health::Neither);
            }
        }
        pace.rate.refund(self.now_ms);
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.give_back();
    }
}
