//! What the store tells of each commit: transitions, attempts, how long rows waited, how long the
//! disk took. Called on the writer's thread, so it does nothing but add.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use crate::lifecycle::turn::TurnState;
use crate::store::{Commit, Happened, Note, Watch, delivery_word};

/// Shared by the writer and `/metrics`. Cheap to clone.
#[derive(Debug, Clone)]
pub(in crate::runtime) struct CommitMeter {
    turns: Family<Moved, Counter>,
    deliveries: Family<Moved, Counter>,
    attempts: Family<Outcome, Counter>,
    waited: Family<OfChannel, Histogram, fn() -> Histogram>,
    answered: Family<OfChannel, Histogram, fn() -> Histogram>,
    commit_seconds: Histogram,
    commit_commands: Histogram,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Moved {
    channel: String,
    /// `new` where the row was made.
    from: &'static str,
    to: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    channel: String,
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfChannel {
    channel: String,
}

/// From a turn that waits for nobody to one that waits out a day.
fn waits() -> Histogram {
    Histogram::new([0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 30.0, 60.0, 300.0, 3_600.0])
}

impl Default for CommitMeter {
    fn default() -> Self {
        let commit = [0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.1, 1.0];
        Self {
            turns: Family::default(),
            deliveries: Family::default(),
            attempts: Family::default(),
            waited: Family::new_with_constructor(waits),
            answered: Family::new_with_constructor(waits),
            commit_seconds: Histogram::new(commit),
            commit_commands: Histogram::new([1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0]),
        }
    }
}

impl CommitMeter {
    pub(in crate::runtime) fn register(&self, registry: &mut Registry) {
        let help = "Transitions of turns; a new one comes from \"new\"";
        registry.register("lastword_turn_transitions", help, self.turns.clone());
        let help = "Transitions of deliveries; a new one comes from \"new\"";
        registry.register("lastword_delivery_transitions", help, self.deliveries.clone());
        let help = "Attempts to send by how they ended";
        registry.register("lastword_attempts", help, self.attempts.clone());
        let help = "Seconds for which a turn could have run before it ran";
        registry.register("lastword_turn_wait_seconds", help, self.waited.clone());
        let help = "Seconds from accepting a message to its reply delivered";
        registry.register("lastword_reply_seconds", help, self.answered.clone());
        let help = "Seconds of a commit, from its first statement until it was on disk";
        registry.register("lastword_store_commit_seconds", help, self.commit_seconds.clone());
        let help = "Commands that one commit carried";
        registry.register("lastword_store_commit_commands", help, self.commit_commands.clone());
    }

    fn note(&self, note: &Note) {
        let channel = || note.channel.0.clone();
        match &note.what {
            Happened::Turn { from, to, age_ms, waited_ms, .. } => {
                let (from, word) = (from.map_or("new", TurnState::word), to.word());
                self.turns.get_or_create(&Moved { channel: channel(), from, to: word }).inc();
                if let Some(waited_ms) = waited_ms {
                    let waited = self.waited.get_or_create(&OfChannel { channel: channel() });
                    waited.observe(seconds(*waited_ms));
                }
                if *to == TurnState::Delivered {
                    let answered = self.answered.get_or_create(&OfChannel { channel: channel() });
                    answered.observe(seconds(*age_ms));
                }
            }
            Happened::Delivery { from, to, .. } => {
                let (from, to) = (from.map_or("new", delivery_word), delivery_word(*to));
                self.deliveries.get_or_create(&Moved { channel: channel(), from, to }).inc();
            }
            Happened::Purged { from, .. } => {
                let (from, to) = (delivery_word(*from), "purged");
                self.deliveries.get_or_create(&Moved { channel: channel(), from, to }).inc();
            }
            Happened::Attempt { outcome, .. } => {
                self.attempts.get_or_create(&Outcome { channel: channel(), outcome }).inc();
            }
            Happened::Channel { .. } => {}
        }
    }
}

impl Watch for CommitMeter {
    fn committed(&self, commit: &Commit<'_>) {
        self.commit_seconds.observe(commit.took.as_secs_f64());
        self.commit_commands.observe(f64::from(u32::try_from(commit.commands).unwrap_or(u32::MAX)));
        commit.notes.iter().for_each(|note| self.note(note));
    }
}

fn seconds(ms: u64) -> f64 {
    std::time::Duration::from_millis(ms).as_secs_f64()
}
