//! What outlives every host: the people and what they sent, what arrived at the platform, what the
//! agent was asked, and the time. It is the truth that rows are held against.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use lastword::lifecycle::id::{DeliveryId, TurnId};
use lastword::lifecycle::message::{InboundEvent, OutboundMessage};
use lastword::lifecycle::settle::{Idempotency, OnUnknown, SettleMeans};
use rand::SeedableRng;
use rand::rngs::StdRng;

use super::chance::Mood;

/// The channels of every simulation: one for each way of settling an unknown outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Line {
    /// The platform drops a repeated delivery id.
    Key,
    /// It can be asked; its messages are short; it is polled.
    Ask,
    /// Neither: a person has to say.
    Bare,
}

impl Line {
    pub(super) const ALL: [Self; 3] = [Self::Key, Self::Ask, Self::Bare];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Key => "key",
            Self::Ask => "ask",
            Self::Bare => "bare",
        }
    }

    pub(super) fn means(self) -> SettleMeans {
        let idempotency = if self == Self::Key { Idempotency::Always } else { Idempotency::None };
        SettleMeans { idempotency, can_ask: self == Self::Ask, on_unknown: OnUnknown::Hold }
    }
}

/// A conversation of a channel.
pub(super) type Room = (Line, String);

/// Bytes that reached the platform, or will.
#[derive(Debug, Clone)]
pub(super) struct Arrival {
    pub(super) message: OutboundMessage,
    /// On the world's clock; bytes under way land after their call ended.
    pub(super) lands_ms: i64,
}

/// A person's message or abort, sent until the host has confirmed it.
#[derive(Debug, Clone)]
pub(super) struct Posted {
    pub(super) line: Line,
    pub(super) event: InboundEvent,
}

/// Everything that is known outside the host.
#[derive(Debug)]
pub(super) struct Inside {
    pub(super) rng: StdRng,
    pub(super) seed: u64,
    pub(super) mood: Mood,
    /// The world's time when the present host started, and its wall clock's error.
    pub(super) base_ms: i64,
    pub(super) skew_ms: i64,
    pub(super) boots: u64,
    pub(super) posts: u64,
    pub(super) unconfirmed: BTreeMap<u64, Posted>,
    pub(super) confirmed: Vec<Posted>,
    /// Of each confirmed message: its turn.
    pub(super) turns: BTreeMap<(Line, String, String), TurnId>,
    /// What the polled channel has to give; its cursor is a place in it.
    pub(super) feed: Vec<InboundEvent>,
    pub(super) arrivals: Vec<Arrival>,
    /// The number of the last row that was sent in a room.
    pub(super) last_sent: BTreeMap<Room, i64>,
    pub(super) at_adapter: BTreeSet<Room>,
    pub(super) at_agent: BTreeSet<Room>,
    /// The last try that the agent was given of each turn.
    pub(super) tries: BTreeMap<TurnId, u32>,
    /// Turns whose abort was confirmed.
    pub(super) aborted: BTreeSet<TurnId>,
    /// Rows that a person settled: what they say is that person's word.
    pub(super) resolved: BTreeSet<DeliveryId>,
    pub(super) broken: Vec<String>,
    pub(super) trace: Vec<String>,
}

impl Inside {
    pub(super) fn breaks(&mut self, sentence: String) {
        self.trace.push(format!("BROKEN: {sentence}"));
        self.broken.push(sentence);
    }

    /// From here on nothing goes wrong any more.
    pub(super) fn calm(&mut self) {
        self.mood = Mood { faults: 0.0 };
    }

    /// What a person of `line` sees now under this id.
    pub(super) fn landed(&self, id: DeliveryId, now_ms: i64) -> usize {
        let of = |it: &&Arrival| it.message.delivery_id == id && it.lands_ms <= now_ms;
        self.arrivals.iter().filter(of).count()
    }
}

/// The world. Nothing waits while it is locked.
#[derive(Debug)]
pub(super) struct World(Mutex<Inside>);

impl World {
    pub(super) fn new(seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let mood = Mood::of(&mut rng);
        Self(Mutex::new(Inside {
            rng,
            seed,
            mood,
            base_ms: 0,
            skew_ms: 1_700_000_000_000,
            boots: 0,
            posts: 0,
            unconfirmed: BTreeMap::new(),
            confirmed: Vec::new(),
            turns: BTreeMap::new(),
            feed: Vec::new(),
            arrivals: Vec::new(),
            last_sent: BTreeMap::new(),
            at_adapter: BTreeSet::new(),
            at_agent: BTreeSet::new(),
            tries: BTreeMap::new(),
            aborted: BTreeSet::new(),
            resolved: BTreeSet::new(),
            broken: Vec::new(),
            trace: Vec::new(),
        }))
    }

    pub(super) fn with<T>(&self, act: impl FnOnce(&mut Inside) -> T) -> T {
        act(&mut self.lock())
    }

    pub(super) fn is_broken(&self) -> bool {
        !self.lock().broken.is_empty()
    }

    fn lock(&self) -> MutexGuard<'_, Inside> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
