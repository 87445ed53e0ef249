//! What a run under kills came to, in numbers.

use std::collections::{BTreeMap, BTreeSet};

use super::evidence::{Answered, Broken, Event, Evidence};

/// The numbers of one run, or of several together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    pub kills: usize,
    pub messages: usize,
    /// Deliveries that the receiver took.
    pub delivered: usize,
    /// Deliveries that it took again, each excused by a kill that its send was open at.
    pub doubles_allowed: usize,
    pub doubles: usize,
    pub lost: usize,
    pub reordered: usize,
}

impl Counts {
    /// The numbers of a run that was judged.
    #[must_use]
    pub fn of(evidence: &Evidence, broken: &BTreeSet<Broken>) -> Self {
        let mut taken: BTreeMap<&str, usize> = BTreeMap::new();
        let mut counts = Self { messages: evidence.posted.len(), ..Self::default() };
        for event in &evidence.events {
            match event {
                Event::Arrived { delivery, answer: Answered::Taken, .. } => {
                    *taken.entry(delivery).or_default() += 1;
                }
                Event::Arrived { answer: Answered::NotTaken | Answered::Lost, .. } => {}
                Event::Killed { .. } => counts.kills += 1,
            }
        }
        for found in broken {
            match found {
                Broken::Lost { .. } | Broken::NeverArrived { .. } => counts.lost += 1,
                Broken::SentAgain { .. } | Broken::AnsweredTwice { .. } => counts.doubles += 1,
                Broken::Reordered { .. } => counts.reordered += 1,
                Broken::AcceptedTwice { .. }
                | Broken::Stray { .. }
                | Broken::NotDelivered { .. } => {}
            }
        }
        counts.delivered = taken.len();
        let again: usize = taken.values().map(|count| count - 1).sum();
        counts.doubles_allowed = again.saturating_sub(counts.doubles);
        counts
    }

    /// Adds another run's.
    pub fn add(&mut self, other: &Self) {
        self.kills += other.kills;
        self.messages += other.messages;
        self.delivered += other.delivered;
        self.doubles_allowed += other.doubles_allowed;
        self.doubles += other.doubles;
        self.lost += other.lost;
        self.reordered += other.reordered;
    }
}
