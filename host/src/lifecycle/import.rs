//! What becomes of an outgoing message that another program's queue left behind. Pure: the entry, the
//! channel's limits and the time come in.
//!
//! What is certainly unsent, young and whole goes out; everything else waits for a person, held as a
//! row of unknown outcome is. An entry whose send may have begun is never settled by a key or by a
//! question: the platform never saw our id.

use serde::{Deserialize, Serialize};

use super::delivery::DeliveryLimits;
use super::message::TextFormat;
use super::retry;

/// Older entries are held: nobody wants last week's answer unasked.
pub const AGE_MAX_MS: u64 = 72 * 3_600_000;
/// How far a foreign clock may run ahead of ours before its times say nothing.
const CLOCK_SLACK_MS: i64 = 60_000;

/// Why an entry is held, in rows and JSON.
pub mod code {
    pub const IN_DOUBT: &str = "imported_in_doubt";
    pub const FAILED: &str = "imported_failed";
    pub const PARTIAL: &str = "imported_partial";
    pub const OLD: &str = "imported_old";
    pub const AGE_UNKNOWN: &str = "imported_age_unknown";
    pub const TRIES_SPENT: &str = "imported_tries_spent";
    pub const FOR_REVIEW: &str = "imported_for_review";
}

/// One entry of another program's queue, in our words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImportEntry {
    /// The other program's id: an entry is imported once, whatever else it says later.
    pub external_id: String,
    pub channel: String,
    pub conversation: String,
    #[serde(default)]
    pub context: Option<String>,
    #[serde(default)]
    pub reply_to: Option<String>,
    /// Messages, in order; never empty.
    pub texts: Vec<String>,
    #[serde(default)]
    pub format: TextFormat,
    pub facts: EntryFacts,
}

/// What the other program knew about the entry.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EntryFacts {
    /// Milliseconds since the epoch; none where unknown.
    pub enqueued_at_ms: Option<i64>,
    pub last_attempt_at_ms: Option<i64>,
    /// Attempts that failed.
    pub attempts: u32,
    /// A send began, and its end is not recorded.
    pub maybe_sent: bool,
    /// The other program had given it up.
    pub given_up: bool,
    /// What could not be carried over, in words; none where the entry is whole.
    pub left_out: Option<String>,
    /// The operator wants to see it first.
    pub hold: bool,
}

/// What becomes of an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ImportFate {
    /// It waits in the line of its conversation, until this time at least.
    Send { next_at_ms: i64 },
    /// It waits for a person.
    Hold { code: &'static str, sentence: String },
}

fn hold(code: &'static str, sentence: impl Into<String>) -> ImportFate {
    ImportFate::Hold { code, sentence: sentence.into() }
}

/// Decides by the facts. `jitter` is in `0.0..1.0`.
#[must_use]
pub fn fate(facts: &EntryFacts, limits: &DeliveryLimits, now_ms: i64, jitter: f64) -> ImportFate {
    if facts.maybe_sent {
        let words = "its send had begun and its end is not recorded: it may have arrived";
        return hold(code::IN_DOUBT, words);
    }
    if facts.given_up {
        return hold(code::FAILED, "the program that it comes from had given it up");
    }
    if let Some(left_out) = &facts.left_out {
        let sentence = format!("{left_out}; sent again, it goes without");
        return hold(code::PARTIAL, sentence);
    }
    let known = |at_ms: Option<i64>| at_ms.filter(|at| (1..=now_ms + CLOCK_SLACK_MS).contains(at));
    let Some(enqueued_at_ms) = known(facts.enqueued_at_ms) else {
        return hold(code::AGE_UNKNOWN, "nobody knows how old it is");
    };
    let age_ms = now_ms.saturating_sub(enqueued_at_ms).max(0).unsigned_abs();
    if age_ms > AGE_MAX_MS {
        let hours = age_ms / 3_600_000;
        return hold(code::OLD, format!("it is {hours} hours old, and older than 72 are held"));
    }
    if facts.attempts >= limits.tries_max {
        let words = format!("{} attempts were made, as many as the channel allows", facts.attempts);
        return hold(code::TRIES_SPENT, words);
    }
    if facts.hold {
        return hold(code::FOR_REVIEW, "imported to be looked at first");
    }
    if facts.attempts == 0 {
        return ImportFate::Send { next_at_ms: now_ms };
    }
    let since_ms = known(facts.last_attempt_at_ms).unwrap_or(enqueued_at_ms).min(now_ms);
    let wait_ms = retry::stepped(facts.attempts, &limits.backoff_ms, jitter);
    let due_ms = since_ms.saturating_add(i64::try_from(wait_ms).unwrap_or(i64::MAX));
    ImportFate::Send { next_at_ms: due_ms.max(now_ms) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_700_000_000_000;
    const HOUR: i64 = 3_600_000;

    fn young() -> EntryFacts {
        EntryFacts { enqueued_at_ms: Some(NOW - HOUR), ..EntryFacts::default() }
    }

    fn of(facts: &EntryFacts) -> ImportFate {
        fate(facts, &DeliveryLimits::default(), NOW, 0.0)
    }

    fn held_as(facts: &EntryFacts) -> &'static str {
        match of(facts) {
            ImportFate::Hold { code, .. } => code,
            ImportFate::Send { .. } => "sent",
        }
    }

    // Case: I2
    #[test]
    fn an_entry_older_than_72_hours_or_of_unknown_age_is_held_and_a_younger_one_is_sent() {
        let aged = |at: Option<i64>| held_as(&EntryFacts { enqueued_at_ms: at, ..young() });
        assert_eq!(aged(Some(NOW - 72 * HOUR)), "sent");
        assert_eq!(aged(Some(NOW - 72 * HOUR - 1)), code::OLD);
        assert_eq!(aged(None), code::AGE_UNKNOWN);
        assert_eq!(aged(Some(0)), code::AGE_UNKNOWN);
        assert_eq!(aged(Some(NOW + HOUR)), code::AGE_UNKNOWN, "a time that has not come");
        assert_eq!(aged(Some(i64::MAX)), code::AGE_UNKNOWN);
        assert_eq!(aged(Some(NOW + 1_000)), "sent", "a clock a second ahead");
    }

    // Case: I4
    #[test]
    fn the_backoff_that_recorded_retries_ask_for_counts_from_the_last_attempt() {
        let retried =
            |attempts, ago| EntryFacts { attempts, last_attempt_at_ms: Some(NOW - ago), ..young() };
        for (attempts, ago, wait) in [
            (1, 0, 5_000),
            (1, 4_000, 1_000),
            (2, 5_000, 20_000),
            (3, 60_000, 60_000),
            (4, 10_000, 590_000),
            (2, 26_000, 0),
            (7, 31 * 60_000, 0),
            // A last attempt in a time that has not come is taken as now.
            (1, -30_000, 5_000),
        ] {
            let next_at_ms = NOW + wait;
            assert_eq!(of(&retried(attempts, ago)), ImportFate::Send { next_at_ms }, "{attempts}");
        }
        assert_eq!(held_as(&retried(8, HOUR)), code::TRIES_SPENT);
    }

    #[test]
    fn what_may_have_arrived_is_held_first_of_all() {
        let doubtful = EntryFacts {
            maybe_sent: true,
            given_up: true,
            hold: true,
            left_out: Some("a file".to_owned()),
            ..EntryFacts::default()
        };
        assert_eq!(held_as(&doubtful), code::IN_DOUBT);
        assert_eq!(held_as(&EntryFacts { given_up: true, ..young() }), code::FAILED);
        let partial = EntryFacts { left_out: Some("a file".to_owned()), ..young() };
        assert_eq!(held_as(&partial), code::PARTIAL);
        assert_eq!(held_as(&EntryFacts { hold: true, ..young() }), code::FOR_REVIEW);
    }
}
