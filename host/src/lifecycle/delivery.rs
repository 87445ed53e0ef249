//! The delivery's state machine, whole, and what one attempt's outcome does to its row.
//!
//! The only place that decides this. Pure: the row's facts, the limits and the time come in.

use serde::{Deserialize, Serialize};

use super::message::DeliveryKind;
use super::outcome::{Fault, NotSent, Outcome, RateScope, Receipt};
use super::retry;

/// Where a delivery is. In JSON and in rows `UnknownOpen` and `UnknownHeld` are both `unknown`,
/// told apart by `held`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeliveryState {
    Queued,
    Sending,
    /// The host can still settle it: not at rest, and it blocks.
    UnknownOpen,
    /// Only a person can settle it: at rest.
    UnknownHeld,
    Delivered,
    Dead,
    Cancelled,
    Expired,
}

impl DeliveryState {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Queued,
        Self::Sending,
        Self::UnknownOpen,
        Self::UnknownHeld,
        Self::Delivered,
        Self::Dead,
        Self::Cancelled,
        Self::Expired,
    ];

    /// The word in JSON and logs; `held` is said apart.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Sending => "sending",
            Self::UnknownOpen | Self::UnknownHeld => "unknown",
            Self::Delivered => "delivered",
            Self::Dead => "dead",
            Self::Cancelled => "cancelled",
            Self::Expired => "expired",
        }
    }

    /// Whether the row is live: it may be the head of its conversation, and blocks those behind.
    #[must_use]
    pub fn is_live(self) -> bool {
        match self {
            Self::Queued | Self::Sending | Self::UnknownOpen => true,
            Self::UnknownHeld | Self::Delivered | Self::Dead | Self::Cancelled | Self::Expired => {
                false
            }
        }
    }
}

/// Codes of a delivery's end or wait, as they stand in rows and JSON.
pub mod code {
    pub const PART_MISSING: &str = "part_missing";
    pub const NO_PROGRESS_EXPORT: &str = "no_progress_export";
    pub const RESENT: &str = "resent";
    pub const DROPPED: &str = "dropped";
    pub const ABORTED: &str = "aborted";
    pub const TRY_LOST: &str = "try_lost";
    pub const TURN_ENDED: &str = "turn_ended";
    pub const TOO_OLD: &str = "too_old";
    pub const ATTEMPTS_SPENT: &str = "attempts_spent";
    pub const HOST_LOST: &str = "host_lost";
    pub const CLAIM_EXPIRED: &str = "claim_expired";
    pub const WINDOW_OVER: &str = "idempotency_window_over";
    pub const ASKED_OUT: &str = "asked_without_answer";
    pub const CLOSED: &str = "closed";
    /// Its row holds what cannot be read.
    pub const UNREADABLE: &str = "unreadable";
    pub const MOVED_TOO_OFTEN: &str = "moved_too_often";
}

/// What happens to a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeliveryEvent {
    /// A deliverer claims it to send it.
    Claimed,
    /// The receipt of its own call.
    Sent,
    /// Proven not sent, and wanted still.
    NotSent,
    /// Proven not sent, and its turn wants it no more; or an abort, a lost try, a missing part.
    Unwanted,
    /// Rejected, or attempts or age spent at an attempt's end.
    GivenUp,
    /// It may have been sent.
    Ambiguous,
    /// It was answered `absent`, or may be sent again by key or by policy.
    Resend,
    /// It is known to have arrived: reconcile, a late receipt, a late answer.
    Found,
    /// The host's means are spent.
    Hold,
    /// A person says that it arrived.
    ResolvedDelivered,
    /// A person drops it, or has it sent anew as another row.
    ResolvedCancelled,
    /// It is older than `delivery_max_age`.
    TooOld,
}

/// A transition that the machine does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a delivery that is {from:?} takes no {event:?}")]
pub struct IllegalDeliveryEvent {
    pub from: DeliveryState,
    pub event: DeliveryEvent,
}

/// The state after `event`. With `maybe_sent` a person may have seen it: what would make the row
/// dead, expired or cancelled makes it held instead.
///
/// # Errors
/// [`IllegalDeliveryEvent`] where the machine has no such arrow; the row must stay as it is.
pub fn next(
    from: DeliveryState,
    maybe_sent: bool,
    event: DeliveryEvent,
) -> Result<DeliveryState, IllegalDeliveryEvent> {
    use DeliveryEvent as E;
    use DeliveryState as S;
    let unless_maybe_sent = |to| if maybe_sent { S::UnknownHeld } else { to };
    match (from, event) {
        (S::Queued, E::Claimed) => Ok(S::Sending),
        (S::Queued | S::Sending, E::Unwanted) => Ok(unless_maybe_sent(S::Cancelled)),
        (S::Queued, E::TooOld) => Ok(unless_maybe_sent(S::Expired)),
        (S::Queued | S::Sending, E::GivenUp) => Ok(unless_maybe_sent(S::Dead)),
        (S::Sending, E::Sent) => Ok(S::Delivered),
        (S::Sending, E::NotSent) => Ok(S::Queued),
        (S::Sending, E::Ambiguous) => Ok(S::UnknownOpen),
        (S::UnknownOpen, E::Resend) => Ok(S::Queued),
        // A late answer or receipt may come at any time after its attempt began: also when the row
        // went back to the line, for a resend or because its attempt was said to have sent nothing.
        (S::Queued | S::UnknownOpen | S::UnknownHeld, E::Found) => Ok(S::Delivered),
        (S::UnknownOpen, E::Hold | E::Unwanted | E::TooOld | E::GivenUp) => Ok(S::UnknownHeld),
        (S::UnknownHeld, E::ResolvedDelivered) => Ok(S::Delivered),
        (S::UnknownHeld, E::ResolvedCancelled) => Ok(S::Cancelled),
        (
            S::Queued,
            E::Sent
            | E::NotSent
            | E::Ambiguous
            | E::Resend
            | E::Hold
            | E::ResolvedDelivered
            | E::ResolvedCancelled,
        )
        | (
            S::Sending,
            E::Claimed
            | E::Resend
            | E::Found
            | E::Hold
            | E::ResolvedDelivered
            | E::ResolvedCancelled
            | E::TooOld,
        )
        | (
            S::UnknownOpen,
            E::Claimed
            | E::Sent
            | E::NotSent
            | E::Ambiguous
            | E::ResolvedDelivered
            | E::ResolvedCancelled,
        )
        | (
            S::UnknownHeld,
            E::Claimed
            | E::Sent
            | E::NotSent
            | E::Unwanted
            | E::GivenUp
            | E::Ambiguous
            | E::Resend
            | E::Hold
            | E::TooOld,
        )
        | (S::Delivered | S::Dead | S::Cancelled | S::Expired, _) => {
            Err(IllegalDeliveryEvent { from, event })
        }
    }
}

/// What a channel does with a row that is too old.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExpireAction {
    /// The row expires.
    #[default]
    Fail,
    /// It goes out all the same: the age is waived, the tries are not.
    Deliver,
}

/// Limits of a channel's deliveries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeliveryLimits {
    pub tries_max: u32,
    /// Steps; the last one for all later tries. Never empty.
    pub backoff_ms: Vec<u64>,
    pub age_max_ms: u64,
    pub expire_action: ExpireAction,
    pub settle_delay_ms: u64,
    pub asks_max: u32,
    /// How often a conversation may be renamed under one row.
    pub moves_max: u32,
}

impl Default for DeliveryLimits {
    fn default() -> Self {
        Self {
            tries_max: 8,
            backoff_ms: vec![5_000, 25_000, 120_000, 600_000, 1_800_000],
            age_max_ms: 24 * 3_600_000,
            expire_action: ExpireAction::Fail,
            settle_delay_ms: 30_000,
            asks_max: 8,
            moves_max: 3,
        }
    }
}

/// Age after which queued progress is worthless.
pub const PROGRESS_AGE_MAX_MS: u64 = 60_000;

/// The facts of a row in `sending` whose attempt has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SendingRow {
    pub kind: DeliveryKind,
    /// Charged attempts, this one included.
    pub attempts: u32,
    /// Free returns in a row, before this one.
    pub free_returns: u32,
    pub moves: u32,
    pub maybe_sent: bool,
    pub age_ms: u64,
    /// Its turn is aborted, ended or on a newer try; never so for free rows.
    pub unwanted: bool,
}

/// What else the channel or the conversation learns from an outcome.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SideEffect {
    None,
    /// Nothing to this conversation, or to the whole channel, for so long.
    HoldBack {
        scope: RateScope,
        for_ms: u64,
    },
    /// Nothing to this conversation until its person writes.
    CloseConversation,
    /// The conversation's unfinished rows go by this name now.
    Rename(String),
    /// The channel pauses: its credentials are refused.
    PauseChannel(Fault),
    /// The channel works: its waiting rows are due.
    Success,
}

/// What an ended attempt does to its row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rest {
    pub event: DeliveryEvent,
    pub attempts: u32,
    pub free_returns: u32,
    pub moves: u32,
    pub maybe_sent: bool,
    /// From now; for a row that is queued again, or open.
    pub wait_ms: u64,
    pub code: Option<String>,
    pub reason: Option<String>,
    pub receipt: Option<Receipt>,
    pub side: SideEffect,
}

impl Rest {
    fn new(row: &SendingRow, event: DeliveryEvent) -> Self {
        Self {
            event,
            attempts: row.attempts,
            free_returns: row.free_returns,
            moves: row.moves,
            maybe_sent: row.maybe_sent,
            wait_ms: 0,
            code: None,
            reason: None,
            receipt: None,
            side: SideEffect::None,
        }
    }

    fn because(mut self, fault: &Fault) -> Self {
        self.code = Some(fault.code.clone());
        self.reason = Some(fault.sentence.clone());
        self
    }
}

/// Decides what one outcome does to a row in `sending`.
#[must_use]
pub fn after_attempt(
    row: &SendingRow,
    outcome: &Outcome,
    limits: &DeliveryLimits,
    jitter: f64,
) -> Rest {
    match outcome {
        Outcome::Delivered(receipt) => {
            let mut rest = Rest::new(row, DeliveryEvent::Sent);
            rest.receipt = Some(receipt.clone());
            rest.free_returns = 0;
            rest.side = SideEffect::Success;
            rest
        }
        Outcome::Unknown(fault) => {
            let mut rest = Rest::new(row, DeliveryEvent::Ambiguous).because(fault);
            rest.maybe_sent = true;
            rest.wait_ms = limits.settle_delay_ms;
            rest
        }
        Outcome::Rejected(fault) => Rest::new(row, DeliveryEvent::GivenUp).because(fault),
        Outcome::NotSent(not_sent) => after_not_sent(row, not_sent, limits, jitter),
    }
}

fn after_not_sent(
    row: &SendingRow,
    not_sent: &NotSent,
    limits: &DeliveryLimits,
    jitter: f64,
) -> Rest {
    let mut rest = match not_sent {
        NotSent::Transient(fault) => {
            let mut rest = Rest::new(row, DeliveryEvent::NotSent).because(fault);
            rest.wait_ms = retry::stepped(row.attempts, &limits.backoff_ms, jitter);
            rest.free_returns = 0;
            rest
        }
        NotSent::RateLimited { retry_after_ms, scope } => {
            let sentence = format!("the platform asks to wait {retry_after_ms} ms");
            let mut rest = free(row, &Fault::new("rate_limited", sentence));
            let for_ms = if *retry_after_ms > 0 { *retry_after_ms } else { rest.wait_ms };
            rest.wait_ms = for_ms;
            rest.side = SideEffect::HoldBack { scope: *scope, for_ms };
            rest
        }
        NotSent::Offline(fault) => free(row, fault),
        NotSent::Closed(fault) => {
            let mut rest = free(row, fault);
            rest.code = Some(code::CLOSED.to_owned());
            rest.side = SideEffect::CloseConversation;
            rest
        }
        NotSent::Moved(name) => moved(row, name, limits),
        NotSent::Unauthorized(fault) => {
            let mut rest = free(row, fault);
            rest.side = SideEffect::PauseChannel(fault.clone());
            rest
        }
        NotSent::Stopped => {
            let mut rest =
                free(row, &Fault::new("stopped", "the host stopped before the call began"));
            rest.free_returns = row.free_returns;
            rest.wait_ms = 0;
            rest
        }
    };
    if row.unwanted {
        rest.event = DeliveryEvent::Unwanted;
        rest.code = Some(code::TURN_ENDED.to_owned());
        rest.reason = Some("its turn does not want it any more".to_owned());
    } else if row.kind.is_progress() {
        // One try: progress that did not go is worth nothing, and must hold up no final.
        rest.event = DeliveryEvent::GivenUp;
    } else if matches!(rest.event, DeliveryEvent::NotSent) {
        give_up_if_spent(row, &mut rest, limits);
    }
    rest
}

fn give_up_if_spent(row: &SendingRow, rest: &mut Rest, limits: &DeliveryLimits) {
    let last = rest.reason.clone().unwrap_or_default();
    let waives_age = match limits.expire_action {
        ExpireAction::Fail => false,
        ExpireAction::Deliver => true,
    };
    if rest.attempts >= limits.tries_max {
        rest.event = DeliveryEvent::GivenUp;
        rest.code = Some(code::ATTEMPTS_SPENT.to_owned());
        rest.reason = Some(format!("{} attempts are spent; the last one: {last}", rest.attempts));
    } else if row.age_ms > limits.age_max_ms && !waives_age {
        rest.event = DeliveryEvent::GivenUp;
        rest.code = Some(code::TOO_OLD.to_owned());
        rest.reason = Some(format!("older than delivery_max_age; the last attempt: {last}"));
    }
}

/// Back in line with the attempt given back.
fn free(row: &SendingRow, fault: &Fault) -> Rest {
    let mut rest = Rest::new(row, DeliveryEvent::NotSent).because(fault);
    rest.attempts = row.attempts.saturating_sub(1);
    rest.free_returns = row.free_returns.saturating_add(1);
    rest.wait_ms = retry::free_return(rest.free_returns);
    rest
}

fn moved(row: &SendingRow, name: &str, limits: &DeliveryLimits) -> Rest {
    if row.moves >= limits.moves_max {
        let sentence =
            format!("the platform renamed the conversation more than {} times", limits.moves_max);
        let fault = Fault::new(code::MOVED_TOO_OFTEN, sentence);
        return Rest::new(row, DeliveryEvent::GivenUp).because(&fault);
    }
    let fault = Fault::new("moved", "the platform gave the conversation another name");
    let mut rest = free(row, &fault);
    rest.moves = row.moves + 1;
    rest.free_returns = row.free_returns;
    rest.wait_ms = 0;
    rest.side = SideEffect::Rename(name.to_owned());
    rest
}
