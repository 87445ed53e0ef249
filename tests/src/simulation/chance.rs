//! What the seed decides: how its world is set up, and of single calls and tries how the platform,
//! the adapter, the agent and the workers behave this time.

use lastword::lifecycle::bucket::Rate;
use lastword::lifecycle::delivery::ExpireAction;
use lastword::lifecycle::turn::AbortReach;
use rand::Rng;
use rand::rngs::StdRng;

/// How often things go wrong, in one seed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Mood {
    pub(super) faults: f64,
}

/// How one seed's world is set up, for all of its hosts.
#[derive(Debug, Clone)]
pub(super) struct Setting {
    pub(super) mood: Mood,
    /// Pull workers; none where the host runs the agent itself.
    pub(super) workers: usize,
    pub(super) handlers: u32,
    pub(super) retention_ms: u64,
    pub(super) notices: bool,
    pub(super) abort_reach: AbortReach,
    pub(super) expire_action: ExpireAction,
    /// Of the channel with keys.
    pub(super) rate: Option<Rate>,
    pub(super) interval_ms: u64,
    /// Whether the platform closes and renames conversations.
    pub(super) closes: bool,
}

const HOUR_MS: u64 = 3_600_000;

impl Setting {
    /// Whether what ended may be gone before its seed is over.
    pub(super) fn forgets(&self) -> bool {
        self.retention_ms < 24 * HOUR_MS
    }

    pub(super) fn of(rng: &mut StdRng) -> Self {
        let faults = [0.0, 0.05, 0.2, 0.5][rng.random_range(0..4)];
        let pulls = rng.random_bool(0.4);
        Self {
            mood: Mood { faults },
            workers: if pulls { rng.random_range(1..=4) } else { 0 },
            handlers: rng.random_range(1..=6),
            retention_ms: [30 * 24 * HOUR_MS, 2 * HOUR_MS][usize::from(rng.random_bool(0.3))],
            notices: rng.random_bool(0.5),
            abort_reach: [AbortReach::This, AbortReach::All][rng.random_range(0..2)],
            expire_action: [ExpireAction::Fail, ExpireAction::Deliver][rng.random_range(0..2)],
            rate: rng.random_bool(0.4).then(|| Rate {
                interval_us: rng.random_range(100_000..5_000_000),
                burst: rng.random_range(1..5),
            }),
            interval_ms: [0, 300, 8_000][rng.random_range(0..3)],
            closes: rng.random_bool(0.5),
        }
    }
}

/// One send, as it really goes and as the guest tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SendFate {
    Works,
    /// The platform says no, or nothing left; the guest says so.
    Transient,
    Offline,
    LimitedConversation,
    LimitedChannel,
    Rejected,
    Unauthorized,
    /// The conversation takes nothing until its person writes, or goes by another name now.
    Closes,
    Moves,
    TrapBefore,
    /// The request left, the answer never came: the message may arrive, also later.
    LostAnswer,
    /// The same, and the guest claims that nothing was sent.
    LostAnswerDenied,
    /// Nothing left, and the guest claims "delivered".
    Lie,
    /// Hangs until it is stopped or its deadline passes.
    HangBefore,
    HangAfter,
}

const SEND_FAULTS: [SendFate; 20] = [
    SendFate::Transient,
    SendFate::Transient,
    SendFate::Transient,
    SendFate::Transient,
    SendFate::Offline,
    SendFate::LimitedConversation,
    SendFate::LimitedChannel,
    SendFate::Rejected,
    SendFate::Unauthorized,
    SendFate::Closes,
    SendFate::Moves,
    SendFate::TrapBefore,
    SendFate::LostAnswer,
    SendFate::LostAnswer,
    SendFate::LostAnswer,
    SendFate::LostAnswer,
    SendFate::LostAnswerDenied,
    SendFate::Lie,
    SendFate::HangBefore,
    SendFate::HangAfter,
];

pub(super) fn send_fate(rng: &mut StdRng, setting: &Setting) -> SendFate {
    if !rng.random_bool(setting.mood.faults) {
        return SendFate::Works;
    }
    match SEND_FAULTS[rng.random_range(0..SEND_FAULTS.len())] {
        SendFate::Closes | SendFate::Moves if !setting.closes => SendFate::Transient,
        fate => fate,
    }
}

/// A wait of a call or a handler: mostly none, sometimes long.
pub(super) fn wait_ms(rng: &mut StdRng) -> u64 {
    match rng.random_range(0..10) {
        0..5 => 0,
        5..8 => rng.random_range(1..200),
        8 => rng.random_range(200..3_000),
        _ => rng.random_range(3_000..20_000),
    }
}

/// What an agent does with one try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TryFate {
    Answers,
    AnswersLong,
    Progress,
    Silent,
    Twice,
    Fails,
    FailsForGood,
    Panics,
    NotStarted,
    EndsWithout,
    ThinksLong,
    ThinksForEver,
}

const TRY_FAULTS: [TryFate; 8] = [
    TryFate::Twice,
    TryFate::Fails,
    TryFate::FailsForGood,
    TryFate::Panics,
    TryFate::NotStarted,
    TryFate::EndsWithout,
    TryFate::ThinksLong,
    TryFate::ThinksForEver,
];

const TRY_WELL: [TryFate; 6] = [
    TryFate::Answers,
    TryFate::Answers,
    TryFate::Answers,
    TryFate::AnswersLong,
    TryFate::Progress,
    TryFate::Silent,
];

pub(super) fn try_fate(rng: &mut StdRng, mood: Mood) -> TryFate {
    if rng.random_bool(mood.faults) {
        TRY_FAULTS[rng.random_range(0..TRY_FAULTS.len())]
    } else {
        TRY_WELL[rng.random_range(0..TRY_WELL.len())]
    }
}

/// What a pull worker does next with the turn that it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Move {
    Heartbeat,
    Says,
    Answers,
    AnswersLong,
    Silent,
    Fails,
    FailsForGood,
    /// It is so slow that its lease runs out, and goes on as if nothing were.
    Sleeps,
    /// It dies, and nobody hears of it.
    Vanishes,
    /// It says the same again, for it did not hear the answer.
    Again,
    Nonsense,
}

const WELL: [Move; 7] = [
    Move::Heartbeat,
    Move::Says,
    Move::Answers,
    Move::Answers,
    Move::AnswersLong,
    Move::Silent,
    Move::Again,
];
const BADLY: [Move; 6] =
    [Move::Fails, Move::FailsForGood, Move::Sleeps, Move::Sleeps, Move::Vanishes, Move::Nonsense];

pub(super) fn next_move(rng: &mut StdRng, mood: Mood) -> Move {
    if rng.random_bool(mood.faults) {
        BADLY[rng.random_range(0..BADLY.len())]
    } else {
        WELL[rng.random_range(0..WELL.len())]
    }
}
