//! The pollers, one per channel whose adapter polls. The host owns the cursor: it is stored with
//! the events that it stands for, in one transaction, and read back after a start.

use std::sync::Arc;

use super::channel::Channel;
use super::hub::Hub;
use super::intake::{self, Batch};
use super::rules::LOOK_AGAIN_MS;
use super::shutdown::Phase;
use super::status::PollerState;
use crate::gate::{StopHandle, StopReason};
use crate::lifecycle::outcome::{Call, CallEnd, CallError, Fault};
use crate::sandbox::{Batch as Polled, PollError};
use crate::store::{ChannelSwitch, Command, Query, Rows, StoreError};

/// First and longest wait after a poll that failed.
const BACKOFF_MS: (u64, u64) = (1_000, 60_000);
/// Polls that bring nothing come at most so often: a platform that cannot wait is no hot loop.
const EMPTY_MS: u64 = 1_000;
/// How often an adapter is asked that said that it does not poll.
const REST_MS: u64 = 300_000;

/// What a poller remembers between two polls.
#[derive(Debug, Default)]
pub(super) struct Poller {
    /// Read from the store first, and after each doubt.
    cursor: Option<Option<String>>,
    failures: u32,
}

/// What comes after one poll.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum After {
    Poll,
    Wait(u64),
    /// Until the channel is resumed.
    Paused,
}

/// Runs until the host stops, or until what serves polls no more. Where another poller has the
/// channel's lease, that one goes on, with whatever generation serves.
pub(super) async fn run(hub: Arc<Hub>, channel: Arc<Channel>) {
    // Looked at again once the lease is back: who wanted it meanwhile went away without it.
    while hub.shutdown.is_running() && channel.facts().offers.poll {
        let Some(lease) = channel.poll_lease() else { return };
        poll_on(&hub, &channel).await;
        drop(lease);
    }
}

async fn poll_on(hub: &Arc<Hub>, channel: &Arc<Channel>) {
    let mut poller = Poller::default();
    while hub.shutdown.is_running() && channel.facts().offers.poll {
        let after = run_once(hub, channel, &mut poller).await;
        let go_on = match after {
            After::Poll => true,
            After::Wait(ms) => hub.wait(ms, &channel.poll_hint).await,
            After::Paused => hub.wait(LOOK_AGAIN_MS, &channel.poll_hint).await,
        };
        if !go_on {
            break;
        }
    }
    hub.status.poller(&channel.name, hub.env.now().wall_ms, PollerState::Stopped, None);
}

/// One poll and its commit.
pub(super) async fn run_once(hub: &Arc<Hub>, channel: &Arc<Channel>, poller: &mut Poller) -> After {
    match prepare(hub, channel, poller).await {
        Ok(true) => {}
        Ok(false) => {
            tell(hub, channel, PollerState::Paused, None);
            return After::Paused;
        }
        Err(error) => return poller.back_off(hub, channel, "store", &error.to_string()),
    }
    let cursor = poller.cursor.clone().flatten();
    let began_ms = hub.mono_ms();
    let call = call(hub, channel, cursor.clone()).await;
    let Call { end, state, .. } = call;
    let polled = match end {
        CallEnd::Answered(Ok(polled)) => polled,
        CallEnd::Answered(Err(error)) => return on_error(hub, channel, poller, error).await,
        CallEnd::Trapped(words) => return poller.back_off(hub, channel, "trap", &words),
        CallEnd::DeadlinePassed => {
            return poller.back_off(hub, channel, "deadline", "the poll ran out of its time");
        }
        CallEnd::CpuSpent => {
            return poller.back_off(hub, channel, "cpu", "the poll ran out of its CPU time");
        }
        CallEnd::Cancelled => return After::Wait(BACKOFF_MS.0),
        CallEnd::NotCalled(fault) => {
            return poller.back_off(hub, channel, &fault.code, &fault.sentence);
        }
    };
    hub.metrics.polls.up();
    // `more` asks for the next poll at once, which is what comes after every batch.
    let Polled { events, cursor: next, more: _ } = polled;
    let empty_for_ms = events.is_empty().then(|| hub.mono_ms().abs_diff(began_ms));
    if empty_for_ms.is_some() && state.writes.is_empty() && cursor.as_ref() == Some(&next) {
        return poller.well(hub, channel, empty_for_ms);
    }
    let batch = Batch { events, cursor: Some(Some(next.clone())), state };
    match intake::accept(hub, &channel.name, batch).await {
        Ok(_) => {
            poller.cursor = Some(Some(next));
            hub.status.polled(&channel.name, hub.env.now().wall_ms);
            poller.well(hub, channel, empty_for_ms)
        }
        // The cursor has not moved: the same batch comes again.
        Err(error) => poller.back_off(hub, channel, "store", &error.to_string()),
    }
}

/// Reads what is not known: the cursor, and whether the channel takes part at all.
async fn prepare(hub: &Hub, channel: &Channel, poller: &mut Poller) -> Result<bool, StoreError> {
    if poller.cursor.is_some() && !channel.is_paused() {
        return Ok(true);
    }
    let wrong = || super::hub::wrong_answer("poll");
    let paused = match hub.store.read(Query::Channels).await? {
        Rows::Channels(rows) => rows.iter().any(|row| row.name == channel.name.0 && row.paused),
        _ => return Err(wrong()),
    };
    channel.note_paused(paused);
    if paused {
        return Ok(false);
    }
    let read = Query::Cursor { channel: channel.name.clone() };
    match hub.store.read(read).await? {
        Rows::Text(cursor) => poller.cursor = Some(cursor),
        _ => return Err(wrong()),
    }
    Ok(true)
}

/// A planned stop ends it at once: a poll that is cut off has moved no cursor.
async fn call(
    hub: &Hub,
    channel: &Channel,
    cursor: Option<String>,
) -> Call<Result<Polled, PollError>> {
    let stop = StopHandle::new();
    let (wait_ms, most) = (hub.rules.poll_wait_ms, hub.rules.poll_events_max);
    let polling = channel.adapter().poll(cursor, wait_ms, most, stop.clone());
    tokio::pin!(polling);
    tokio::select! { biased;
        call = &mut polling => return call,
        () = hub.shutdown.reached(Phase::Draining) => stop.stop(StopReason::PlannedStop),
    }
    polling.await
}

async fn on_error(
    hub: &Arc<Hub>,
    channel: &Arc<Channel>,
    poller: &mut Poller,
    error: PollError,
) -> After {
    match error {
        PollError::Failed(CallError::Transient(fault)) => {
            poller.back_off(hub, channel, &fault.code, &fault.sentence)
        }
        PollError::Failed(CallError::Refused(fault)) => {
            // It will be refused again: said once, and tried again in case somebody mends it.
            if poller.failures == 0 {
                let sentence = format!(
                    "channel \"{}\" cannot go on where it is: {}",
                    channel.name, fault.sentence
                );
                let now_ms = hub.env.now().wall_ms;
                hub.status.event(now_ms, "poll_refused", Some(&channel.name), sentence);
            }
            poller.back_off(hub, channel, &fault.code, &fault.sentence)
        }
        PollError::Failed(CallError::RateLimited { retry_after_ms, .. }) => {
            let sentence = format!("the platform asks to wait {retry_after_ms} ms");
            match poller.back_off(hub, channel, "rate_limited", &sentence) {
                After::Wait(ms) => After::Wait(ms.max(u64::from(retry_after_ms))),
                other @ (After::Poll | After::Paused) => other,
            }
        }
        PollError::Failed(CallError::Unauthorized(fault)) => pause(hub, channel, fault).await,
        PollError::Failed(CallError::Unsupported) => {
            // No failure: with these settings the platform pushes. It is asked now and then all
            // the same, since what was registered there may have to be registered again.
            poller.failures = 0;
            let why = "with these settings the adapter does not poll";
            tell(hub, channel, PollerState::Resting, Some(("unsupported", why)));
            After::Wait(REST_MS)
        }
        PollError::CursorLost(fault) => gap(hub, channel, poller, &fault).await,
        PollError::Conflict(fault) => {
            poller.fail(hub, channel, PollerState::Conflict, &fault.code, &fault.sentence)
        }
    }
}

async fn pause(hub: &Hub, channel: &Channel, fault: Fault) -> After {
    let name = channel.name.clone();
    let sentence = format!(
        "the platform refuses the credentials of channel \"{name}\" ({}); it is paused: mend the \
         secret, then `lastword channels resume {name}`",
        fault.sentence
    );
    let switch = ChannelSwitch::Pause(Fault::new("unauthorized", fault.sentence));
    match hub.persist(Command::SwitchChannel { channel: name.clone(), switch }).await {
        Ok(_) => {
            hub.metrics.channels_paused.up();
            channel.note_paused(true);
            let now_ms = hub.env.now().wall_ms;
            hub.status.event(now_ms, "unauthorized", Some(&name), sentence);
            tell(hub, channel, PollerState::Paused, Some(("unauthorized", "credentials refused")));
            After::Paused
        }
        Err(error) => {
            tracing::error!(channel = %name, "the channel is not paused: {error}");
            After::Wait(BACKOFF_MS.1)
        }
    }
}

/// The platform does not know the cursor any more: what came meanwhile is lost to us, which is
/// said aloud; then the poller starts at the present.
async fn gap(hub: &Arc<Hub>, channel: &Arc<Channel>, poller: &mut Poller, fault: &Fault) -> After {
    let name = &channel.name;
    let batch = Batch { cursor: Some(None), ..Batch::default() };
    if let Err(error) = intake::accept(hub, name, batch).await {
        return poller.back_off(hub, channel, "store", &error.to_string());
    }
    poller.cursor = Some(None);
    hub.metrics.poll_gaps.up();
    hub.status.gap(name, hub.env.now().wall_ms);
    let sentence = format!(
        "the platform forgot where channel \"{name}\" was ({}); messages that came meanwhile may \
         be missing, it goes on from the present",
        fault.sentence
    );
    hub.status.event(hub.env.now().wall_ms, "poll_gap", Some(name), sentence);
    // Once more without a pause; where the platform says it again, by backoff.
    poller.failures = poller.failures.saturating_add(1);
    if poller.failures == 1 { After::Poll } else { After::Wait(poller.wait_ms()) }
}

fn tell(hub: &Hub, channel: &Channel, state: PollerState, why: Option<(&str, &str)>) {
    hub.status.poller(&channel.name, hub.env.now().wall_ms, state, why);
}

impl Poller {
    /// `empty_for_ms` is how long the poll took, where it brought nothing.
    fn well(&mut self, hub: &Hub, channel: &Channel, empty_for_ms: Option<u64>) -> After {
        self.failures = 0;
        tell(hub, channel, PollerState::Polling, None);
        match empty_for_ms {
            Some(took_ms) if took_ms < EMPTY_MS => After::Wait(EMPTY_MS - took_ms),
            Some(_) | None => After::Poll,
        }
    }

    fn back_off(&mut self, hub: &Hub, channel: &Channel, code: &str, sentence: &str) -> After {
        self.fail(hub, channel, PollerState::BackingOff, code, sentence)
    }

    fn fail(
        &mut self,
        hub: &Hub,
        channel: &Channel,
        state: PollerState,
        code: &str,
        sentence: &str,
    ) -> After {
        self.failures = self.failures.saturating_add(1);
        hub.metrics.polls_failed.up();
        let wait_ms = self.wait_ms();
        let name = &channel.name;
        tracing::warn!(channel = %name, code, wait_ms, "a poll failed: {sentence}");
        tell(hub, channel, state, Some((code, sentence)));
        After::Wait(wait_ms)
    }

    fn wait_ms(&self) -> u64 {
        let (first, most) = BACKOFF_MS;
        first.saturating_mul(1 << self.failures.saturating_sub(1).min(16)).min(most)
    }
}
