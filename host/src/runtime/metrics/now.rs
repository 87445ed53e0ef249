//! What is true at the moment of a scrape: depths and ages, channels and breakers, sweeps.

use std::collections::BTreeMap;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::whole;
use crate::ingress::RefusedChannel;
use crate::lifecycle::id::ChannelName;
use crate::store::{ChannelGauges, Depths, LIVE};
use crate::workers::breaker::BreakerState;
use crate::workers::status::{PollerState, Snapshot};

type Whole = Family<InState, Gauge>;
type Seconds = Family<InState, Gauge<f64, std::sync::atomic::AtomicU64>>;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct InState {
    channel: String,
    state: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfSweep {
    sweep: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SweepRows {
    sweep: &'static str,
    done: &'static str,
}

/// One moment.
pub(in crate::runtime) struct At<'a> {
    pub(in crate::runtime) now_ms: i64,
    pub(in crate::runtime) refused: &'a BTreeMap<ChannelName, RefusedChannel>,
}

const CHANNEL_STATES: [&str; 5] = ["serving", "held_back", "paused", "refused", "removed"];
const BREAKER_STATES: [(&str, BreakerState); 3] = [
    ("closed", BreakerState::Closed),
    ("open", BreakerState::Open),
    ("half_open", BreakerState::HalfOpen),
];

impl At<'_> {
    /// How many live rows there are.
    pub(in crate::runtime) fn register_depths(&self, registry: &mut Registry, depths: &Depths) {
        let (turns, deliveries) = (Whole::default(), Whole::default());
        for (channel, counts) in depths {
            for ((rows, state), count) in LIVE.iter().zip(counts) {
                let family = if *rows == "turns" { &turns } else { &deliveries };
                let labels = InState { channel: channel.0.clone(), state };
                family.get_or_create(&labels).set(whole(*count));
            }
        }
        let help = "Unfinished turns";
        registry.register("lastword_turns", help, turns);
        let help = "Deliveries that are not at rest";
        registry.register("lastword_deliveries", help, deliveries);
    }

    /// Ages, dead letters and states of channels.
    pub(in crate::runtime) fn register_channels(
        &self,
        registry: &mut Registry,
        channels: &[ChannelGauges],
    ) {
        let (turns, deliveries) = (Seconds::default(), Seconds::default());
        let (states, waiting) = (Whole::default(), Whole::default());
        for channel in channels {
            let name = || channel.name.clone();
            for oldest in &channel.oldest {
                let family = if oldest.rows == "turns" { &turns } else { &deliveries };
                let labels = InState { channel: name(), state: oldest.state };
                let age_ms = self.now_ms.saturating_sub(oldest.since_ms).max(0).unsigned_abs();
                let age = std::time::Duration::from_millis(age_ms).as_secs_f64();
                family.get_or_create(&labels).set(age);
            }
            let state = self.state(channel);
            for one in CHANNEL_STATES {
                let labels = InState { channel: name(), state: one };
                states.get_or_create(&labels).set(i64::from(one == state));
            }
            for (state, count) in [
                ("held_deliveries", channel.held),
                ("dead_deliveries", channel.dead_deliveries),
                ("dead_turns", channel.dead_turns),
            ] {
                let labels = InState { channel: name(), state };
                waiting.get_or_create(&labels).set(whole(count));
            }
        }
        let help = "Age of the oldest turn; a queued one's counts from when it could run";
        registry.register("lastword_turns_oldest_seconds", help, turns);
        let help = "Age of the oldest delivery at the head of its line";
        registry.register("lastword_deliveries_oldest_seconds", help, deliveries);
        let help = "The state of each channel: 1 for the one that it is in";
        registry.register("lastword_channel_state", help, states);
        let help = "What waits for a person: unknown outcomes that are held, and dead letters";
        registry.register("lastword_waiting_for_person", help, waiting);
    }

    /// How long each channel has taken nothing in, of those that poll.
    pub(in crate::runtime) fn register_pollers(&self, registry: &mut Registry, memory: &Snapshot) {
        let failing =
            Family::<[(&str, String); 1], Gauge<f64, std::sync::atomic::AtomicU64>>::default();
        for (channel, poller) in &memory.pollers {
            let for_ms = match poller.state {
                PollerState::BackingOff | PollerState::Conflict => {
                    self.now_ms.saturating_sub(poller.since_ms).max(0).unsigned_abs()
                }
                PollerState::Polling
                | PollerState::Paused
                | PollerState::Resting
                | PollerState::Stopped => 0,
            };
            let seconds = std::time::Duration::from_millis(for_ms).as_secs_f64();
            failing.get_or_create(&[("channel", channel.0.clone())]).set(seconds);
        }
        let help = "For how long the polls of a channel have failed; 0 while they work";
        registry.register("lastword_polls_failing_seconds", help, failing);
    }

    fn state(&self, channel: &ChannelGauges) -> &'static str {
        if !channel.present {
            "removed"
        } else if self.refused.contains_key(&ChannelName(channel.name.clone())) {
            "refused"
        } else if channel.paused {
            "paused"
        } else if channel.not_before_ms > self.now_ms {
            "held_back"
        } else {
            "serving"
        }
    }
}

/// Breakers and sweeps, as the workers remember them.
pub(in crate::runtime) fn register_memory(registry: &mut Registry, memory: &Snapshot) {
    let breakers = Whole::default();
    for (channel, is) in &memory.breakers {
        for (state, one) in BREAKER_STATES {
            let labels = InState { channel: channel.0.clone(), state };
            breakers.get_or_create(&labels).set(i64::from(one == *is));
        }
    }
    let help = "The state of each channel's breaker: 1 for the one that it is in";
    registry.register("lastword_breaker_state", help, breakers);
    if let Some(is) = memory.handler_breaker {
        let family = Family::<[(&str, &str); 1], Gauge>::default();
        for (state, one) in BREAKER_STATES {
            family.get_or_create(&[("state", state)]).set(i64::from(one == is));
        }
        let help = "The state of the handler's breaker: 1 for the one that it is in";
        registry.register("lastword_handler_breaker_state", help, family);
    }
    let runs = Family::<OfSweep, Counter>::default();
    let done = Family::<SweepRows, Counter>::default();
    let skipped = Family::<OfSweep, Counter>::default();
    let missed = Family::<OfSweep, Counter>::default();
    let failed = Family::<OfSweep, Counter>::default();
    for (sweep, status) in &memory.sweeps {
        let of = OfSweep { sweep };
        runs.get_or_create(&of).inc_by(status.runs);
        skipped.get_or_create(&of).inc_by(status.left);
        missed.get_or_create(&of).inc_by(status.missed);
        failed.get_or_create(&of).inc_by(status.failed);
        for (what, rows) in &status.done {
            done.get_or_create(&SweepRows { sweep, done: what }).inc_by(*rows);
        }
    }
    registry.register("lastword_sweep_runs", "Runs of each sweep", runs);
    registry.register("lastword_sweep_rows", "Rows that each sweep changed, by how", done);
    registry.register("lastword_sweep_skipped", "Rows that each sweep left alone", skipped);
    let help = "Rows that somebody else changed before the sweep did";
    registry.register("lastword_sweep_missed", help, missed);
    registry.register("lastword_sweep_failed", "Rows that each sweep could not mend", failed);
}
