//! The turn's state machine, whole: which event leaves which state, and to what.
//!
//! The only place that decides this. The store names the states it leaves in its guards; what it
//! may not know is why.

use serde::{Deserialize, Serialize};

use super::delivery::DeliveryState;

/// Where a turn is. `Failed` with the code `outcome_unknown` is the one end with a way out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TurnState {
    Queued,
    Running,
    Delivering,
    Delivered,
    Silent,
    Failed,
    Aborted,
    Expired,
}

impl TurnState {
    /// All of them, in the order of a turn's life.
    pub const ALL: [Self; 8] = [
        Self::Queued,
        Self::Running,
        Self::Delivering,
        Self::Delivered,
        Self::Silent,
        Self::Failed,
        Self::Aborted,
        Self::Expired,
    ];

    /// The word in rows, JSON and logs.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Delivering => "delivering",
            Self::Delivered => "delivered",
            Self::Silent => "silent",
            Self::Failed => "failed",
            Self::Aborted => "aborted",
            Self::Expired => "expired",
        }
    }

    /// The state that a word names.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.word() == word)
    }

    /// Whether the turn came to its end.
    #[must_use]
    pub fn is_ended(self) -> bool {
        match self {
            Self::Queued | Self::Running | Self::Delivering => false,
            Self::Delivered | Self::Silent | Self::Failed | Self::Aborted | Self::Expired => true,
        }
    }
}

/// Codes of a turn's bad end, as they stand in rows and JSON.
pub mod code {
    pub const OUTCOME_UNKNOWN: &str = "outcome_unknown";
    pub const TRIES_SPENT: &str = "tries_spent";
    pub const REFUSED: &str = "refused";
    pub const QUARANTINED: &str = "quarantined";
    pub const DELIVERY_FAILED: &str = "delivery_failed";
    pub const TOO_OLD: &str = "too_old";
    pub const ABORTED: &str = "aborted";
    pub const TAKEN_BACK: &str = "taken_back";
    pub const RESENT: &str = "resent";
    pub const UNREADABLE: &str = "unreadable";
    pub const HANDLER_DEADLINE: &str = "handler_deadline";
}

/// What happens to a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TurnEvent {
    /// A dispatcher claims it.
    Claimed,
    /// Its try is lost and another is left.
    TryLost,
    /// Its try is lost and none is left; or the handler said "never"; or quarantine.
    TriesSpent,
    /// The handler's final, with at least one delivery row.
    Final,
    /// The handler chose to say nothing.
    Silence,
    /// Its last final row came to rest.
    Rested(Verdict),
    /// A held row of it was resolved, and its final rows were looked at anew.
    Resolved(Verdict),
    /// It is older than `turn_max_age`.
    TooOld { has_run: bool },
    /// A person or a program stops it.
    Abort,
}

/// What a turn's final rows, all at rest, make of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Verdict {
    /// All delivered.
    AllDelivered,
    /// Any not delivered, none held.
    SomeFailed,
    /// Any held: only a person can say.
    SomeHeld,
}

/// How far a person's stop reaches in its conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AbortReach {
    /// The oldest unfinished turn.
    #[default]
    This,
    /// All unfinished turns.
    All,
}

/// A transition that the machine does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a turn that is {} takes no {event:?}", .from.word())]
pub struct IllegalTurnEvent {
    pub from: TurnState,
    pub event: TurnEvent,
}

/// The state after `event`. `outcome_unknown` says whether a failed turn's code is that.
///
/// # Errors
/// [`IllegalTurnEvent`] where the machine has no such arrow; the row must stay as it is.
pub fn next(
    from: TurnState,
    outcome_unknown: bool,
    event: TurnEvent,
) -> Result<TurnState, IllegalTurnEvent> {
    use TurnState as S;
    let illegal = Err(IllegalTurnEvent { from, event });
    match (from, event) {
        (S::Queued, TurnEvent::Claimed) => Ok(S::Running),
        (S::Queued, TurnEvent::TooOld { has_run: true }) => Ok(S::Failed),
        (S::Queued, TurnEvent::TooOld { has_run: false }) => Ok(S::Expired),
        (S::Running, TurnEvent::TryLost) => Ok(S::Queued),
        (S::Running, TurnEvent::TriesSpent) => Ok(S::Failed),
        (S::Running, TurnEvent::Final) => Ok(S::Delivering),
        (S::Running, TurnEvent::Silence) => Ok(S::Silent),
        (S::Delivering, TurnEvent::Rested(verdict)) => Ok(ended_by(verdict)),
        (S::Failed, TurnEvent::Resolved(verdict)) if outcome_unknown => Ok(ended_by(verdict)),
        (S::Queued | S::Running | S::Delivering, TurnEvent::Abort) => Ok(S::Aborted),
        (
            S::Queued,
            TurnEvent::TryLost
            | TurnEvent::TriesSpent
            | TurnEvent::Final
            | TurnEvent::Silence
            | TurnEvent::Rested(_)
            | TurnEvent::Resolved(_),
        )
        | (
            S::Running,
            TurnEvent::Claimed
            | TurnEvent::Rested(_)
            | TurnEvent::Resolved(_)
            | TurnEvent::TooOld { .. },
        )
        | (
            S::Delivering,
            TurnEvent::Claimed
            | TurnEvent::TryLost
            | TurnEvent::TriesSpent
            | TurnEvent::Final
            | TurnEvent::Silence
            | TurnEvent::Resolved(_)
            | TurnEvent::TooOld { .. },
        )
        | (S::Delivered | S::Silent | S::Failed | S::Aborted | S::Expired, _) => illegal,
    }
}

fn ended_by(verdict: Verdict) -> TurnState {
    match verdict {
        Verdict::AllDelivered => TurnState::Delivered,
        Verdict::SomeFailed | Verdict::SomeHeld => TurnState::Failed,
    }
}

/// What the final rows make of their turn; `None` while any is not at rest, or there is none.
#[must_use]
pub fn verdict(final_rows: impl IntoIterator<Item = DeliveryState>) -> Option<Verdict> {
    let mut verdict = None;
    for state in final_rows {
        let of_row = match state {
            DeliveryState::Queued | DeliveryState::Sending | DeliveryState::UnknownOpen => {
                return None;
            }
            DeliveryState::Delivered => Verdict::AllDelivered,
            DeliveryState::Dead | DeliveryState::Cancelled | DeliveryState::Expired => {
                Verdict::SomeFailed
            }
            DeliveryState::UnknownHeld => Verdict::SomeHeld,
        };
        verdict = Some(match (verdict, of_row) {
            (Some(Verdict::SomeHeld), _) | (_, Verdict::SomeHeld) => Verdict::SomeHeld,
            (Some(Verdict::SomeFailed), _) | (_, Verdict::SomeFailed) => Verdict::SomeFailed,
            (Some(Verdict::AllDelivered) | None, Verdict::AllDelivered) => Verdict::AllDelivered,
        });
    }
    verdict
}

/// Why a running try ended without an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Loss {
    /// The handler failed, died, said too much or too little, or ran out of time.
    Handler { code: String, sentence: String, retry: bool, retry_after_ms: Option<u64> },
    /// The handler never began, which is no fault of the message: both are given back, and the turn
    /// waits, until `turn_max_age` if it must.
    NotStarted { code: String, sentence: String, wait_ms: u64 },
    /// The claim of a living host ran out: its worker was paused or lost.
    ClaimExpired,
    /// The host died under it: the try is given back, the host loss stays.
    HostLost,
    /// A planned stop: both are given back.
    PlannedStop,
}

/// Counters of a turn, as charged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Charges {
    pub tries: u32,
    pub host_losses: u32,
}

/// Limits of a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TurnLimits {
    pub tries_max: u32,
    pub host_losses_max: u32,
    pub backoff_first_ms: u64,
    pub backoff_max_ms: u64,
    pub age_max_ms: u64,
    /// Programs that may answer each other in one chain of turns.
    pub hops_max: u32,
}

impl Default for TurnLimits {
    fn default() -> Self {
        Self {
            tries_max: 3,
            host_losses_max: 5,
            backoff_first_ms: 2_000,
            backoff_max_ms: 300_000,
            age_max_ms: 24 * 3_600_000,
            hops_max: 32,
        }
    }
}

/// Where a turn comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Origin {
    /// A message of the channel's platform.
    #[default]
    Platform,
    /// A message that a program posted.
    Posted,
    /// A schedule.
    Scheduled,
}

impl Origin {
    /// The word in JSON and logs.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Platform => "platform",
            Self::Posted => "posted",
            Self::Scheduled => "scheduled",
        }
    }

    /// Whether the platform knows the message by its id, and can be told what a reply answers.
    #[must_use]
    pub fn is_at_platform(self) -> bool {
        match self {
            Self::Platform => true,
            Self::Posted | Self::Scheduled => false,
        }
    }
}

/// What a lost try comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LostTry {
    pub event: TurnEvent,
    pub charges: Charges,
    /// From now, where the turn is queued again.
    pub retry_in_ms: u64,
    /// The code and sentence of the end, or of the last loss.
    pub code: String,
    pub sentence: String,
}

/// Decides a lost try. `charges` are the row's, with this try's claim already counted in both.
#[must_use]
pub fn lose_try(charges: Charges, loss: &Loss, limits: &TurnLimits, jitter: f64) -> LostTry {
    let backoff =
        |n: u32| super::retry::doubling(n, limits.backoff_first_ms, limits.backoff_max_ms, jitter);
    let back = |charges: Charges| Charges {
        host_losses: charges.host_losses.saturating_sub(1),
        ..charges
    };
    match loss {
        Loss::PlannedStop => {
            let charges = Charges { tries: charges.tries.saturating_sub(1), ..back(charges) };
            again(charges, 0, "planned_stop", "the host was stopped and gave the turn back")
        }
        Loss::NotStarted { code, sentence, wait_ms } => {
            let charges = Charges { tries: charges.tries.saturating_sub(1), ..back(charges) };
            again(charges, *wait_ms, code, sentence)
        }
        Loss::HostLost => {
            let charges = Charges { tries: charges.tries.saturating_sub(1), ..charges };
            if charges.host_losses >= limits.host_losses_max {
                let sentence = format!(
                    "the host died {} times while this turn ran; it is not run again",
                    charges.host_losses
                );
                return spent(charges, code::QUARANTINED, sentence);
            }
            let wait = if charges.host_losses < 2 { 0 } else { backoff(charges.host_losses - 1) };
            again(charges, wait, "host_lost", "the host died while the turn ran")
        }
        Loss::ClaimExpired => {
            let charges = back(charges);
            let sentence = "the worker did not renew its claim in time";
            retry_or_end(charges, limits, backoff(charges.tries), "claim_expired", sentence)
        }
        Loss::Handler { code, sentence, retry, retry_after_ms } => {
            let charges = back(charges);
            if !retry {
                return spent(charges, code, sentence.clone());
            }
            let wait = backoff(charges.tries).max(retry_after_ms.unwrap_or(0));
            retry_or_end(charges, limits, wait, code, sentence)
        }
    }
}

fn retry_or_end(
    charges: Charges,
    limits: &TurnLimits,
    wait_ms: u64,
    code: &str,
    sentence: &str,
) -> LostTry {
    if charges.tries >= limits.tries_max {
        let sentence = format!("{sentence} (try {} of {})", charges.tries, limits.tries_max);
        return spent(charges, code, sentence);
    }
    again(charges, wait_ms, code, sentence)
}

fn again(charges: Charges, retry_in_ms: u64, code: &str, sentence: &str) -> LostTry {
    let (code, sentence) = (code.to_owned(), sentence.to_owned());
    LostTry { event: TurnEvent::TryLost, charges, retry_in_ms, code, sentence }
}

fn spent(charges: Charges, code: &str, sentence: String) -> LostTry {
    let code = code.to_owned();
    LostTry { event: TurnEvent::TriesSpent, charges, retry_in_ms: 0, code, sentence }
}
