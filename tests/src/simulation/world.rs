//! What outlives every host: the people and what they sent, what arrived at the platform, what the
//! agent was asked, what the store said it committed, and the time. It is the truth that rows are
//! held against.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use lastword::lifecycle::id::{DeliveryId, TurnId};
use lastword::lifecycle::message::{InboundEvent, OutboundMessage};
use lastword::lifecycle::settle::{Idempotency, OnUnknown, SettleMeans};
use rand::SeedableRng;
use rand::rngs::StdRng;

use super::chance::Setting;
use super::shadow::Shadow;
use super::worker::Hand;

/// The channels of every simulation: one for each way of settling an unknown outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Line {
    /// The platform drops a repeated delivery id.
    Key,
    /// It can be asked; its messages are short; it is polled.
    Ask,
    /// Neither: a person has to say.
    Bare,
    /// Each call takes long, and the operator prefers a double to a gap.
    Slow,
}

impl Line {
    pub(super) const ALL: [Self; 4] = [Self::Key, Self::Ask, Self::Bare, Self::Slow];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Key => "key",
            Self::Ask => "ask",
            Self::Bare => "bare",
            Self::Slow => "slow",
        }
    }

    pub(super) fn of(name: &str) -> Self {
        Self::ALL.into_iter().find(|line| line.name() == name).unwrap_or(Self::Bare)
    }

    pub(super) fn means(self) -> SettleMeans {
        let idempotency = if self == Self::Key { Idempotency::Always } else { Idempotency::None };
        let on_unknown = if self == Self::Slow { OnUnknown::Resend } else { OnUnknown::Hold };
        SettleMeans { idempotency, can_ask: self == Self::Ask, on_unknown }
    }

    /// Whether a person never sees one delivery twice.
    pub(super) fn shows_once(self) -> bool {
        match self {
            Self::Ask | Self::Bare => true,
            // The platform drops the second; the operator has allowed it.
            Self::Key | Self::Slow => false,
        }
    }
}

/// A conversation of a channel.
pub(super) type Room = (Line, String);

/// What a conversation that moved is called; none has it that did not.
pub(super) const MOVED: &str = "-moved";

/// A person's message or stop, or a program's post, sent until the host has confirmed it.
#[derive(Debug, Clone)]
pub(super) struct Posted {
    pub(super) line: Line,
    pub(super) what: What,
}

/// What is sent.
#[derive(Debug, Clone)]
pub(super) enum What {
    Events(Vec<InboundEvent>),
    Program(Box<lastword::store::Post>),
}

/// Everything that is known outside the host.
#[derive(Debug)]
pub(super) struct Inside {
    pub(super) rng: StdRng,
    pub(super) seed: u64,
    pub(super) setting: Setting,
    /// Things that the seed decided and the host did.
    pub(super) steps: u64,
    pub(super) resting: bool,
    /// The world's time when the present host started, and its wall clock's error.
    pub(super) base_ms: i64,
    pub(super) skew_ms: i64,
    pub(super) boots: u64,
    pub(super) posts: u64,
    pub(super) unconfirmed: BTreeMap<u64, Posted>,
    /// The newest of what was confirmed, to be sent again.
    pub(super) confirmed: Vec<Posted>,
    /// Of each confirmed message: its turn.
    pub(super) turns: BTreeMap<(Line, String, String), TurnId>,
    /// Messages that were confirmed and must have a turn.
    pub(super) promised: BTreeSet<(Line, String)>,
    /// Messages that their sender took back, perhaps before they came.
    pub(super) taken_back: BTreeSet<String>,
    /// What the polled channel has to give; its cursor is a place in it.
    pub(super) feed: Vec<InboundEvent>,
    /// When each message that left lands, on the world's clock.
    pub(super) arrivals: BTreeMap<DeliveryId, Vec<i64>>,
    /// The last that the platform took, for late receipts.
    pub(super) recent: Vec<(Line, OutboundMessage)>,
    /// Rooms that the platform keeps closed until their person writes, and those with a new name.
    pub(super) closed: BTreeSet<Room>,
    pub(super) moved: BTreeSet<Room>,
    pub(super) at_adapter: BTreeSet<Room>,
    pub(super) at_agent: BTreeMap<Room, TurnId>,
    /// Some commit of this life was answered with an error although it is on the disk.
    pub(super) doubted: bool,
    /// What began in a room and has not ended: nothing later may begin before it.
    pub(super) turns_begun: BTreeMap<Room, BTreeSet<TurnId>>,
    pub(super) rows_begun: BTreeMap<Room, BTreeSet<DeliveryId>>,
    /// The last try that the agent was given of each turn.
    pub(super) tries: BTreeMap<TurnId, u32>,
    /// Turns whose abort was confirmed.
    pub(super) aborted: BTreeSet<TurnId>,
    /// Rows that a person settled: what they say is that person's word.
    pub(super) resolved: BTreeSet<DeliveryId>,
    /// What pull workers hold; it survives the host.
    pub(super) hands: Vec<Option<Hand>>,
    /// What the store told of its commits.
    pub(super) shadow: Shadow,
    /// Whether rows were ordered to be forgotten.
    pub(super) purged: bool,
    /// Channels that the config did not name at some time.
    pub(super) removed: BTreeSet<Line>,
    /// Nothing out of the ordinary since then, on the world's clock.
    pub(super) calm_since_ms: i64,
    pub(super) broken: Vec<String>,
    pub(super) traced: bool,
    pub(super) trace: Vec<String>,
}

impl Inside {
    pub(super) fn breaks(&mut self, sentence: String) {
        self.tell(|| format!("BROKEN: {sentence}"));
        if self.broken.len() < 100 {
            self.broken.push(sentence);
        }
    }

    /// A line of the trace, where somebody wants one.
    pub(super) fn tell(&mut self, line: impl FnOnce() -> String) {
        if self.traced {
            self.trace.push(line());
        }
    }

    /// One thing that the seed decided and the host did. Coming to rest is not counted.
    pub(super) fn step(&mut self) {
        self.steps += u64::from(!self.resting);
    }

    /// From here on nothing goes wrong any more.
    pub(super) fn calm(&mut self) {
        self.setting.mood.faults = 0.0;
        self.closed.clear();
        self.setting.closes = false;
        self.resting = true;
    }

    /// How often a person sees this delivery by then.
    pub(super) fn landed(&self, id: DeliveryId, now_ms: i64) -> usize {
        let times = self.arrivals.get(&id).map(Vec::as_slice).unwrap_or_default();
        times.iter().filter(|at_ms| **at_ms <= now_ms).count()
    }
}

/// The world. Nothing waits while it is locked.
#[derive(Debug)]
pub(super) struct World {
    inside: Mutex<Inside>,
    /// Wakes whoever polls.
    pub(super) fed: tokio::sync::Notify,
}

impl World {
    pub(super) fn new(seed: u64, traced: bool) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let setting = Setting::of(&mut rng);
        let hands = vec![None; setting.workers];
        let inside = Mutex::new(Inside {
            rng,
            seed,
            setting,
            steps: 0,
            resting: false,
            base_ms: 0,
            skew_ms: 1_700_000_000_000,
            boots: 0,
            posts: 0,
            unconfirmed: BTreeMap::new(),
            confirmed: Vec::new(),
            turns: BTreeMap::new(),
            promised: BTreeSet::new(),
            taken_back: BTreeSet::new(),
            feed: Vec::new(),
            arrivals: BTreeMap::new(),
            recent: Vec::new(),
            closed: BTreeSet::new(),
            moved: BTreeSet::new(),
            at_adapter: BTreeSet::new(),
            at_agent: BTreeMap::new(),
            doubted: false,
            turns_begun: BTreeMap::new(),
            rows_begun: BTreeMap::new(),
            tries: BTreeMap::new(),
            aborted: BTreeSet::new(),
            resolved: BTreeSet::new(),
            hands,
            shadow: Shadow::default(),
            purged: false,
            removed: BTreeSet::new(),
            calm_since_ms: 0,
            broken: Vec::new(),
            traced,
            trace: Vec::new(),
        });
        Self { inside, fed: tokio::sync::Notify::new() }
    }

    pub(super) fn with<T>(&self, act: impl FnOnce(&mut Inside) -> T) -> T {
        act(&mut self.lock())
    }

    pub(super) fn is_broken(&self) -> bool {
        !self.lock().broken.is_empty()
    }

    fn lock(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
