//! What all workers share: the store, the clock, the gate, the channels, the handler, the stop.
//! Workers talk to each other through rows and hints only; what is here are the means.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio_util::task::TaskTracker;

use super::channel::{Channel, Channels, Ticket};
use super::desk::{TurnDesk, TurnPermit};
use super::metrics::Metrics;
use super::pull::PullDesk;
use super::rules::{STORE_RETRY_MS, WorkerRules};
use super::shutdown::{Phase, Shutdown};
use super::status::Status;
use super::turn_files::FileMeans;
use crate::env::Env;
use crate::gate::{Approach, Gate};
use crate::handler::{Handler, LogPayloads};
use crate::lifecycle::id::ChannelName;
use crate::lifecycle::turn::TurnState;
use crate::store::{Answer, Command, LateFailure, Lease, Store, StoreError, TurnEnd};

/// The workers' common means. One per host.
pub struct Hub {
    pub env: Env,
    pub store: Store,
    pub gate: Gate,
    pub rules: WorkerRules,
    pub channels: Channels,
    /// What runs turns in this host; none where workers fetch them.
    pub handler: Option<Arc<dyn Handler>>,
    /// Where workers wait that fetch them.
    pub pull: Option<PullDesk>,
    pub file_means: FileMeans,
    pub desk: Arc<TurnDesk>,
    /// Wakes the timer.
    pub(super) timer_hint: Notify,
    pub status: Status,
    pub metrics: Metrics,
    pub shutdown: Shutdown,
    /// Everything that was spawned and has not ended.
    pub(super) tasks: TaskTracker,
    pub(super) sweeps: super::sweeps::Pokes,
    pub(super) rooms: super::rooms::Occupied,
}

/// What wakes a loop that waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wait {
    /// Something was done: look again at once.
    Now,
    /// A hint, or at most so long.
    For(u64),
    /// A permit.
    Free,
}

impl Hub {
    /// The milliseconds of the monotonic clock.
    pub(super) fn mono_ms(&self) -> i64 {
        self.env.now().mono_ms
    }

    pub(super) async fn sleep_ms(&self, ms: u64) {
        self.env.sleep(Duration::from_millis(ms)).await;
    }

    /// The channel, where it is served.
    #[must_use]
    pub fn channel(&self, name: &ChannelName) -> Option<&Arc<Channel>> {
        self.channels.get(name).filter(|channel| channel.adapter().serves())
    }

    /// Spawns a task that a planned stop waits for.
    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.env.spawn(self.tasks.track_future(task));
    }

    /// Tells the operator of a message that the platform did not deliver after all. The next turn of
    /// its conversation is told too; nothing is sent again unasked.
    pub(super) fn failed_late(&self, channel: &ChannelName, failure: &LateFailure) {
        let LateFailure { delivery, turn, fault } = failure;
        self.metrics.failed_late.up();
        let turn = turn.map_or_else(String::new, |turn| format!(" of turn {turn}"));
        let sentence = format!(
            "the platform did not deliver {delivery}{turn} after all ({}: {}); nothing is \
             sent again unasked: `lastword outbox show {delivery}`",
            fault.code, fault.sentence
        );
        self.status.event(self.env.now().wall_ms, "failed_late", Some(channel), sentence);
    }

    /// Wakes the dispatcher.
    pub fn wake_turns(&self) {
        self.desk.wake();
    }

    /// Wakes the timer: something is due earlier than it knows.
    pub fn wake_timer(&self) {
        self.timer_hint.notify_one();
    }

    /// Wakes the deliverer of a channel.
    pub fn wake_channel(&self, name: &ChannelName) {
        if let Some(channel) = self.channel(name) {
            channel.wake();
        }
    }

    /// Wakes everybody: after a jump of the clock, and where many rows changed.
    pub fn wake_all(&self) {
        self.wake_turns();
        self.wake_timer();
        for channel in self.channels.values() {
            channel.wake();
        }
    }

    /// Carries out a command that must not be lost: it is tried again until the store takes it, or
    /// until the host ends.
    ///
    /// # Errors
    /// Where the command itself is wrong, or the host ended first.
    pub(super) async fn persist(&self, command: Command) -> Result<Answer, StoreError> {
        let mut wait_ms = STORE_RETRY_MS.0;
        loop {
            let error = match self.store.run(command.clone()).await {
                Ok(answer) => return Ok(answer),
                Err(error @ (StoreError::NotWritable(_) | StoreError::Busy)) => error,
                Err(
                    error @ (StoreError::Full { .. }
                    | StoreError::Invalid(_)
                    | StoreError::Corrupt(_)),
                ) => return Err(error),
            };
            self.metrics.store_retries.up();
            tracing::warn!(wait_ms, "{error}");
            self.store_refused(&error);
            tokio::select! { biased;
                () = self.shutdown.reached(Phase::Ending) => return Err(error),
                () = self.sweeps.store().back() => {}
                () = self.sleep_ms(wait_ms) => {}
            }
            wait_ms = wait_ms.saturating_mul(2).min(STORE_RETRY_MS.1);
        }
    }

    /// A command was refused: the operator hears of it now, not at the next look.
    pub(super) fn store_refused(&self, error: &StoreError) {
        if matches!(error, StoreError::NotWritable(_)) && !self.sweeps.store().is_known() {
            super::sweeps::poke(self, super::sweeps::Sweep::Store);
        }
    }

    /// Waits as told; says whether to go on.
    pub(super) async fn wait(&self, ms: u64, hint: &Notify) -> bool {
        tokio::select! { biased;
            () = self.shutdown.reached(Phase::Draining) => false,
            () = hint.notified() => true,
            () = self.sleep_ms(ms) => true,
        }
    }

    /// What a command needs that may claim the channel's next delivery in the same step; nothing
    /// where it may not go now, or where the host stops.
    pub(super) fn delivery_fold(&self, channel: &Arc<Channel>) -> Option<(Ticket, Approach)> {
        if !self.shutdown.is_running() {
            return None;
        }
        let ticket = channel.ticket(self.mono_ms()).ok()?;
        Some((ticket, self.gate.approach()))
    }

    /// The same for the next turn.
    pub(super) fn turn_fold(&self) -> Option<(TurnPermit, Approach)> {
        if !self.shutdown.is_running() || self.handler.is_none() {
            return None;
        }
        let mut permit = self.desk.permit(self.mono_ms()).ok()?;
        permit.wakes_when_dropped();
        Some((permit, self.gate.approach()))
    }

    /// The lease for a fold that may happen.
    pub(super) fn lease_if<T>(&self, fold: Option<&T>) -> Option<Lease> {
        fold.map(|_| self.rules.lease())
    }

    /// Says what a message says, where the operator wants that in the log; never otherwise.
    pub(super) fn say_payload(&self, what: &'static str, id: &dyn std::fmt::Display, text: &str) {
        match self.rules.log_payloads {
            LogPayloads::No => {}
            LogPayloads::Yes => tracing::info!(target: "payload", what, %id, text),
        }
    }

    /// Counts a turn's end and says so.
    pub(super) fn turn_ended(&self, end: &TurnEnd) {
        let counter = match end.state {
            TurnState::Delivered => &self.metrics.turns_delivered,
            TurnState::Silent => &self.metrics.turns_silent,
            TurnState::Failed => &self.metrics.turns_failed,
            TurnState::Aborted => &self.metrics.turns_aborted,
            TurnState::Expired => &self.metrics.turns_expired,
            TurnState::Queued | TurnState::Running | TurnState::Delivering => return,
        };
        counter.up();
        if end.state == TurnState::Failed {
            // A notice may wait now.
            self.wake_all();
        }
        let code = end.code.as_deref();
        tracing::info!(turn = %end.turn, state = end.state.word(), code, "turn ended");
    }
}

/// An answer that belongs to another command: the store's own fault.
pub(super) fn wrong_answer(command: &str) -> StoreError {
    StoreError::Corrupt(format!("the command \"{command}\" was given another command's answer"))
}
