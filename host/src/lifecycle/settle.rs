//! How an open unknown is settled: by idempotency, else by asking the platform, else by the
//! operator's policy; never by guessing. Pure.

use serde::{Deserialize, Serialize};

use super::delivery::{DeliveryLimits, code};
use super::message::DeliveryKind;
use super::retry;

/// How long the platform drops a repeated `delivery-id`. The weaker promise is the lesser.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Idempotency {
    #[default]
    None,
    /// From the first attempt's start.
    ForMs(u64),
    Always,
}

/// The operator's policy where neither key nor question helps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnUnknown {
    #[default]
    Hold,
    /// Send again, marked as a possible double.
    Resend,
}

/// What the serving generation and the config say of a channel.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SettleMeans {
    pub idempotency: Idempotency,
    pub can_ask: bool,
    pub on_unknown: OnUnknown,
}

/// The facts of a row in open `unknown` that is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpenRow {
    pub kind: DeliveryKind,
    pub attempts: u32,
    /// How often the platform was asked since the last ambiguous attempt.
    pub asked: u32,
    /// `refused` or `unsupported` ended the asking.
    pub asking_over: bool,
    pub since_first_attempt_ms: u64,
    /// The weakest promise under which one of its attempts was claimed: a generation that promises
    /// more sent nothing of what another one lost.
    pub repeats: Idempotency,
    /// Its turn is aborted, ended or on a newer try; never so for free rows.
    pub unwanted: bool,
}

/// What is done with an open unknown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Settle {
    /// Back to the line and out again under the same delivery id.
    Resend {
        /// The platform may show it twice: policy, not a key.
        possible_double: bool,
    },
    /// Ask the platform under a claim.
    Ask,
    /// Held for a person.
    Hold { code: &'static str, sentence: &'static str },
}

/// Decides what is done with an open unknown that is due.
#[must_use]
pub fn decide(row: &OpenRow, means: &SettleMeans, limits: &DeliveryLimits) -> Settle {
    if row.kind.is_progress() {
        return Settle::Hold {
            code: "progress_unknown",
            sentence: "progress of unknown outcome is neither resent nor asked about",
        };
    }
    if row.unwanted {
        return Settle::Hold {
            code: code::TURN_ENDED,
            sentence: "its turn does not want it any more, and it may have been sent",
        };
    }
    let spent = row.attempts >= limits.tries_max;
    let (window, has_key) = match means.idempotency.min(row.repeats) {
        Idempotency::Always => (true, true),
        Idempotency::ForMs(for_ms) => (row.since_first_attempt_ms < for_ms, true),
        Idempotency::None => (false, false),
    };
    if window && !spent {
        return Settle::Resend { possible_double: false };
    }
    if means.can_ask && !row.asking_over {
        if row.asked < limits.asks_max {
            return Settle::Ask;
        }
        return Settle::Hold {
            code: code::ASKED_OUT,
            sentence: "the platform was asked as often as allowed and did not tell",
        };
    }
    match means.on_unknown {
        OnUnknown::Resend if !spent => Settle::Resend { possible_double: true },
        OnUnknown::Resend | OnUnknown::Hold if spent => Settle::Hold {
            code: code::ATTEMPTS_SPENT,
            sentence: "the attempts are spent, and it may have been sent",
        },
        OnUnknown::Resend | OnUnknown::Hold if has_key => Settle::Hold {
            code: code::WINDOW_OVER,
            sentence: "the platform forgets the key by now, and it may have been sent",
        },
        OnUnknown::Resend | OnUnknown::Hold => Settle::Hold {
            code: "outcome_unknown",
            sentence: "nothing but a person can tell whether it arrived",
        },
    }
}

/// When a row that just became an open unknown is looked at, from now: a key settles by delivery
/// backoff, a question after `settle_delay`, and what only a person can settle at once.
#[must_use]
pub fn first_look_ms(
    row: &OpenRow,
    means: &SettleMeans,
    limits: &DeliveryLimits,
    jitter: f64,
) -> u64 {
    match decide(row, means, limits) {
        Settle::Resend { .. } => retry::stepped(row.attempts, &limits.backoff_ms, jitter),
        Settle::Ask => retry::ask_delay(row.asked, limits.settle_delay_ms),
        Settle::Hold { .. } => 0,
    }
}
