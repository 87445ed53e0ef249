//! What the seed decides of single calls and tries: how the platform, the adapter and the agent
//! behave this time.

use rand::Rng;
use rand::rngs::StdRng;

/// How often things go wrong, in one seed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Mood {
    pub(super) faults: f64,
}

impl Mood {
    pub(super) fn of(rng: &mut StdRng) -> Self {
        Self { faults: [0.0, 0.1, 0.3, 0.6][rng.random_range(0..4)] }
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

const SEND_FAULTS: [SendFate; 16] = [
    SendFate::Transient,
    SendFate::Transient,
    SendFate::Transient,
    SendFate::Offline,
    SendFate::LimitedConversation,
    SendFate::LimitedChannel,
    SendFate::Rejected,
    SendFate::Unauthorized,
    SendFate::TrapBefore,
    SendFate::LostAnswer,
    SendFate::LostAnswer,
    SendFate::LostAnswer,
    SendFate::LostAnswerDenied,
    SendFate::Lie,
    SendFate::HangBefore,
    SendFate::HangAfter,
];

pub(super) fn send_fate(rng: &mut StdRng, mood: Mood) -> SendFate {
    if rng.random_bool(mood.faults) {
        SEND_FAULTS[rng.random_range(0..SEND_FAULTS.len())]
    } else {
        SendFate::Works
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
