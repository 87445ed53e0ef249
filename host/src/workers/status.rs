//! What the workers last saw, in memory, for `status`, `/readyz` and the operator's events. Lost at
//! a restart; what must not be lost stands in rows.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::Serialize;

use super::breaker::BreakerState;
use super::pull::WaitingWorker;
use super::sweeps::report::Report;
use crate::lifecycle::id::ChannelName;

/// Operator events kept; older ones are in the log.
const EVENTS_KEPT: usize = 100;
/// Kinds of dropped events, per host; what is beyond is counted together.
const KINDS_KEPT: usize = 256;

/// Everything, as one value.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Snapshot {
    pub sweeps: BTreeMap<&'static str, SweepStatus>,
    pub pollers: BTreeMap<ChannelName, PollerStatus>,
    pub breakers: BTreeMap<ChannelName, BreakerState>,
    pub handler_breaker: Option<BreakerState>,
    /// Where workers fetch turns: those that wait.
    pub workers_waiting: Option<Vec<WaitingWorker>>,
    /// Events that are nobody's context, by channel and kind.
    pub dropped: Vec<DroppedCount>,
    /// Guests whose word did not stand, by channel.
    pub contradictions: BTreeMap<ChannelName, u64>,
    /// Newest last.
    pub events: Vec<OperatorEvent>,
}

/// One sweep.
#[derive(Debug, Clone, Default, Serialize)]
pub struct SweepStatus {
    pub description: &'static str,
    pub period_ms: u64,
    pub runs: u64,
    /// Since this start: rows changed, by what was done.
    pub done: BTreeMap<&'static str, u64>,
    /// Rows left alone, rows that somebody else changed first, and rows that failed.
    pub left: u64,
    pub missed: u64,
    pub failed: u64,
    pub last: Option<SweepRun>,
}

/// One run of a sweep.
#[derive(Debug, Clone, Serialize)]
pub struct SweepRun {
    pub why: Why,
    pub at_ms: i64,
    pub took_ms: u64,
    pub report: Report,
}

/// What made a sweep run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Why {
    Start,
    Period,
    Poke,
}

/// One poller.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PollerStatus {
    pub state: PollerState,
    pub since_ms: i64,
    /// Why it is not well.
    pub code: Option<String>,
    pub reason: Option<String>,
    pub last_batch_at_ms: Option<i64>,
    pub gaps: u64,
}

/// How a poller is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PollerState {
    Polling,
    /// It failed and is tried again.
    BackingOff,
    /// Somebody else takes this account's messages.
    Conflict,
    /// The channel is paused.
    Paused,
    /// The adapter does not poll with these settings.
    Resting,
    Stopped,
}

/// Events that were dropped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DroppedCount {
    pub channel: ChannelName,
    pub kind: String,
    pub count: u64,
}

/// Something that the operator should know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OperatorEvent {
    pub at_ms: i64,
    pub code: String,
    pub channel: Option<ChannelName>,
    pub sentence: String,
}

/// The workers' memory. All methods are short and never wait for anything but each other.
#[derive(Debug, Default)]
pub struct Status(Mutex<Inside>);

#[derive(Debug, Default)]
struct Inside {
    sweeps: BTreeMap<&'static str, SweepStatus>,
    pollers: BTreeMap<ChannelName, PollerStatus>,
    dropped: BTreeMap<(ChannelName, String), u64>,
    contradictions: BTreeMap<ChannelName, u64>,
    events: VecDeque<OperatorEvent>,
}

impl Inside {
    /// A poller, known by now: in `state` where this is the first word of it.
    fn poller(
        &mut self,
        channel: &ChannelName,
        now_ms: i64,
        state: PollerState,
    ) -> &mut PollerStatus {
        self.pollers.entry(channel.clone()).or_insert_with(|| PollerStatus {
            state,
            since_ms: now_ms,
            code: None,
            reason: None,
            last_batch_at_ms: None,
            gaps: 0,
        })
    }
}

impl Status {
    /// A sweep that exists.
    pub fn sweep_known(&self, name: &'static str, description: &'static str, period_ms: u64) {
        let mut inside = self.lock();
        let sweep = inside.sweeps.entry(name).or_default();
        (sweep.description, sweep.period_ms) = (description, period_ms);
    }

    /// A sweep that ran.
    pub fn sweep_ran(&self, name: &'static str, run: SweepRun) {
        let mut inside = self.lock();
        let sweep = inside.sweeps.entry(name).or_default();
        sweep.runs += 1;
        for (what, rows) in &run.report.done {
            *sweep.done.entry(what).or_default() += rows;
        }
        sweep.left += run.report.left.values().sum::<u64>();
        sweep.missed += run.report.missed;
        sweep.failed += run.report.failed;
        sweep.last = Some(run);
    }

    /// How a poller is now; `since_ms` stays where its state did not change.
    pub fn poller(
        &self,
        channel: &ChannelName,
        now_ms: i64,
        state: PollerState,
        why: Option<(&str, &str)>,
    ) {
        let mut inside = self.lock();
        let poller = inside.poller(channel, now_ms, state);
        if poller.state != state {
            (poller.state, poller.since_ms) = (state, now_ms);
        }
        poller.code = why.map(|(code, _)| code.to_owned());
        poller.reason = why.map(|(_, reason)| reason.to_owned());
    }

    /// A poller's batch was accepted.
    pub fn polled(&self, channel: &ChannelName, now_ms: i64) {
        let mut inside = self.lock();
        inside.poller(channel, now_ms, PollerState::Polling).last_batch_at_ms = Some(now_ms);
    }

    /// A platform lost a poller's cursor.
    pub fn gap(&self, channel: &ChannelName, now_ms: i64) {
        self.lock().poller(channel, now_ms, PollerState::Polling).gaps += 1;
    }

    /// An event without a conversation was dropped.
    pub fn dropped(&self, channel: &ChannelName, kind: &str) {
        let mut inside = self.lock();
        let mut key = (channel.clone(), kind.chars().take(64).collect::<String>());
        if !inside.dropped.contains_key(&key) && inside.dropped.len() >= KINDS_KEPT {
            key.1 = "further kinds".to_owned();
        }
        *inside.dropped.entry(key).or_default() += 1;
    }

    /// A guest's word did not stand.
    pub fn contradicted(&self, channel: &ChannelName) {
        *self.lock().contradictions.entry(channel.clone()).or_default() += 1;
    }

    /// Something that the operator should know: kept here, and logged.
    pub fn event(&self, at_ms: i64, code: &str, channel: Option<&ChannelName>, sentence: String) {
        let name = channel.map_or("", |channel| channel.0.as_str());
        tracing::warn!(code, channel = name, "{sentence}");
        let event =
            OperatorEvent { at_ms, code: code.to_owned(), channel: channel.cloned(), sentence };
        let mut inside = self.lock();
        if inside.events.len() >= EVENTS_KEPT {
            inside.events.pop_front();
        }
        inside.events.push_back(event);
    }

    /// Everything at this moment; breakers are filled in by whoever has the channels.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let inside = self.lock();
        let dropped = inside.dropped.iter().map(|((channel, kind), count)| DroppedCount {
            channel: channel.clone(),
            kind: kind.clone(),
            count: *count,
        });
        Snapshot {
            sweeps: inside.sweeps.clone(),
            pollers: inside.pollers.clone(),
            breakers: BTreeMap::new(),
            handler_breaker: None,
            workers_waiting: None,
            dropped: dropped.collect(),
            contradictions: inside.contradictions.clone(),
            events: inside.events.iter().cloned().collect(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inside> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_bounded_whatever_guests_and_platforms_name() {
        let status = Status::default();
        let channel = ChannelName::from("a");
        for n in 0..10_000 {
            status.dropped(&channel, &format!("kind {n}"));
            status.event(n, "code", Some(&channel), "A sentence.".to_owned());
        }
        let snapshot = status.snapshot();
        assert!(snapshot.dropped.len() <= KINDS_KEPT + 1);
        assert_eq!(snapshot.dropped.iter().map(|it| it.count).sum::<u64>(), 10_000);
        assert_eq!(snapshot.events.len(), EVENTS_KEPT);
        assert_eq!(snapshot.events.last().map(|event| event.at_ms), Some(9_999));
    }

    #[test]
    fn a_pollers_since_is_when_its_state_last_changed() {
        let status = Status::default();
        let channel = ChannelName::from("a");
        status.poller(&channel, 1, PollerState::Polling, None);
        status.poller(&channel, 5, PollerState::BackingOff, Some(("transient", "no answer")));
        status.poller(&channel, 9, PollerState::BackingOff, Some(("transient", "still none")));
        let poller = status.snapshot().pollers[&channel].clone();
        assert_eq!(poller.since_ms, 5);
        assert_eq!(poller.reason.as_deref(), Some("still none"));
    }
}
