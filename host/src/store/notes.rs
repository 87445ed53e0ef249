//! What changed, told after the commit: one note for each transition of a row, one for the end of
//! each attempt, one for each change of a channel. Ids, states, codes and times; never a text.
//!
//! A step that moves a row says so in the function that writes the state; under test the engine
//! itself counts along (`tests::audit`), so that no move can be forgotten. A note of a command that
//! was rolled back, or of a commit that failed, is dropped with it.

use std::time::Duration;

use super::line::RowFacts;
use super::step::{Result, Step};
use super::turns::TurnFacts;
use crate::lifecycle::delivery::{DeliveryState, code};
use crate::lifecycle::id::{ChannelName, DeliveryId, TurnId};
use crate::lifecycle::message::DeliveryKind;
use crate::lifecycle::turn::TurnState;

/// One thing that happened, committed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    pub channel: ChannelName,
    pub what: Happened,
}

/// What happened. Times are in milliseconds of the wall clock, never negative.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Happened {
    /// A turn left a state (none: it is new) for another.
    Turn {
        turn: TurnId,
        from: Option<TurnState>,
        to: TurnState,
        code: Option<String>,
        /// Serial number of the last try; 0 where it never ran.
        attempt: u32,
        /// Since it was accepted.
        age_ms: u64,
        /// Where it was claimed: since when it could have run.
        waited_ms: Option<u64>,
    },
    /// A delivery left a state (none: it is new) for another.
    Delivery {
        delivery: DeliveryId,
        /// The turn that guards it; none for free rows.
        turn: Option<TurnId>,
        kind: DeliveryKind,
        from: Option<DeliveryState>,
        to: DeliveryState,
        code: Option<String>,
        /// Serial number of the last attempt; 0 where there was none.
        attempt: u32,
        /// Since it was made.
        age_ms: u64,
    },
    /// A delivery that was not at rest is gone, with its removed channel.
    Purged { delivery: DeliveryId, from: DeliveryState },
    /// An attempt ended, whoever holds the row by then.
    Attempt {
        delivery: DeliveryId,
        attempt: u32,
        /// The outcome's word, as the attempt's row has it.
        outcome: &'static str,
        code: Option<String>,
        /// The guest's word was held against the wire and did not stand.
        contradicted: bool,
    },
    /// A channel was paused (with the code why), resumed, or held back for a while.
    Channel { to: ChannelMove, code: Option<String> },
}

/// How a channel changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChannelMove {
    Paused,
    Resumed,
    HeldBack { for_ms: u64 },
}

/// One batch, committed.
#[derive(Debug, Clone, Copy)]
pub struct Commit<'a> {
    /// Commands that it carried.
    pub commands: usize,
    /// From its first statement until it was on disk.
    pub took: Duration,
    /// In the order in which it happened.
    pub notes: &'a [Note],
}

/// Whoever counts. Called on the writer's thread, after the commit and after the answers: it must
/// be quick, and wait for nothing.
pub trait Watch: Send + Sync + std::fmt::Debug {
    fn committed(&self, commit: &Commit<'_>);
}

/// Where the events of transitions are found in a log, and what filters name.
pub(super) const TARGET: &str = "lastword::transition";

impl Note {
    /// One structured event. Turns are told at `info`, what their replies go through at `debug`;
    /// what a person has to look after at `warn`.
    pub(super) fn log(&self) {
        let channel = self.channel.0.as_str();
        match &self.what {
            Happened::Turn { turn, from, to, code, attempt, age_ms, waited_ms } => {
                // Their codes are all the host's own.
                let (from, to, code) = (from.map(TurnState::word), to.word(), code.as_deref());
                tracing::info!(
                    target: TARGET,
                    event = "turn", %turn, channel, from, to, code, attempt, age_ms, waited_ms,
                    "turn moved"
                );
            }
            Happened::Delivery { delivery, turn, kind, from, to, code, attempt, age_ms } => {
                let (turn, kind) = (turn.map(tracing::field::display), kind.word());
                let (from, held) = (from.map(word), *to == DeliveryState::UnknownHeld);
                let (to, code) = (word(*to), code.as_deref().map(plain));
                if held {
                    tracing::warn!(
                        target: TARGET,
                        event = "delivery", %delivery, turn, channel, kind, from, to, code,
                        attempt, age_ms, "delivery moved"
                    );
                } else {
                    tracing::debug!(
                        target: TARGET,
                        event = "delivery", %delivery, turn, channel, kind, from, to, code,
                        attempt, age_ms, "delivery moved"
                    );
                }
            }
            Happened::Purged { delivery, from } => {
                let from = word(*from);
                tracing::info!(
                    target: TARGET,
                    event = "purge", %delivery, channel, from, "delivery purged"
                );
            }
            Happened::Attempt { delivery, attempt, outcome, code, contradicted } => {
                let code = code.as_deref().map(plain);
                tracing::debug!(
                    target: TARGET,
                    event = "attempt", %delivery, channel, attempt, outcome, code, contradicted,
                    "attempt ended"
                );
            }
            Happened::Channel { to, code } => {
                let (to, for_ms) = match to {
                    ChannelMove::Paused => ("paused", None),
                    ChannelMove::Resumed => ("serving", None),
                    ChannelMove::HeldBack { for_ms } => ("held_back", Some(for_ms)),
                };
                let code = code.as_deref().map(plain);
                tracing::info!(
                    target: TARGET,
                    event = "channel", channel, to, code, for_ms, "channel moved"
                );
            }
        }
    }
}

/// A state as logs and metrics have it: `unknown` is open, `held` waits for a person.
#[must_use]
pub fn word(state: DeliveryState) -> &'static str {
    match state {
        DeliveryState::UnknownHeld => "held",
        DeliveryState::Queued
        | DeliveryState::Sending
        | DeliveryState::UnknownOpen
        | DeliveryState::Delivered
        | DeliveryState::Dead
        | DeliveryState::Cancelled
        | DeliveryState::Expired => state.word(),
    }
}

/// The codes of deliveries, attempts and channels that the host itself gives.
const OURS: [&str; 29] = [
    code::PART_MISSING,
    code::NO_PROGRESS_EXPORT,
    code::RESENT,
    code::DROPPED,
    code::ABORTED,
    code::TRY_LOST,
    code::TURN_ENDED,
    code::TOO_OLD,
    code::ATTEMPTS_SPENT,
    code::HOST_LOST,
    code::CLAIM_EXPIRED,
    code::WINDOW_OVER,
    code::ASKED_OUT,
    code::CLOSED,
    code::MOVED_TOO_OFTEN,
    "cancelled",
    "carries_secret",
    "cpu",
    "deadline",
    "moved",
    "operator",
    "outcome_unknown",
    "progress_unknown",
    "rate_limited",
    "stopped",
    "trap",
    "unanswered_send",
    "unauthorized",
    "unproven_delivery",
];

/// A code as the log may show it. Codes of an adapter are its author's words, and could carry what
/// a person wrote: they stand in the row, and in the log as `adapter`.
fn plain(word: &str) -> &str {
    let status = word
        .strip_prefix("http_")
        .is_some_and(|rest| rest.len() == 3 && rest.bytes().all(|b| b.is_ascii_digit()));
    if status || OURS.contains(&word) { word } else { "adapter" }
}

impl Step<'_> {
    fn note(&mut self, channel: i64, what: Happened) -> Result<()> {
        let channel = self.channel_name(channel)?;
        self.notes.push(Note { channel, what });
        Ok(())
    }

    fn since(&self, at_ms: i64) -> u64 {
        self.now.wall_ms.saturating_sub(at_ms).max(0).unsigned_abs()
    }

    /// A new turn.
    pub(super) fn turn_made(
        &mut self,
        turn: TurnId,
        channel: i64,
        to: TurnState,
        code: Option<&str>,
    ) -> Result<()> {
        let code = code.map(str::to_owned);
        let what =
            Happened::Turn { turn, from: None, to, code, attempt: 0, age_ms: 0, waited_ms: None };
        self.note(channel, what)
    }

    /// A turn that was claimed: it waited since it could have run.
    pub(super) fn turn_claimed(
        &mut self,
        turn: TurnId,
        channel: i64,
        attempt: u32,
        accepted_at_ms: i64,
        due_ms: i64,
    ) -> Result<()> {
        let what = Happened::Turn {
            turn,
            from: Some(TurnState::Queued),
            to: TurnState::Running,
            code: None,
            attempt,
            age_ms: self.since(accepted_at_ms),
            waited_ms: Some(self.since(due_ms)),
        };
        self.note(channel, what)
    }

    /// A turn whose state was just written.
    pub(super) fn turn_moved(
        &mut self,
        facts: &TurnFacts,
        to: TurnState,
        code: Option<&str>,
    ) -> Result<()> {
        let what = Happened::Turn {
            turn: facts.id,
            from: Some(facts.state),
            to,
            code: code.map(str::to_owned),
            attempt: facts.try_number,
            age_ms: self.since(facts.accepted_at_ms),
            waited_ms: None,
        };
        self.note(facts.channel, what)
    }

    /// A new delivery.
    pub(super) fn row_made(
        &mut self,
        delivery: DeliveryId,
        channel: i64,
        turn: Option<TurnId>,
        kind: DeliveryKind,
    ) -> Result<()> {
        let what = Happened::Delivery {
            delivery,
            turn,
            kind,
            from: None,
            to: DeliveryState::Queued,
            code: None,
            attempt: 0,
            age_ms: 0,
        };
        self.note(channel, what)
    }

    /// A delivery whose state was just written; `row` is as it was before.
    pub(super) fn row_moved(
        &mut self,
        row: &RowFacts,
        to: DeliveryState,
        attempt: u32,
        code: Option<&str>,
    ) -> Result<()> {
        let what = Happened::Delivery {
            delivery: row.id,
            turn: row.turn,
            kind: row.kind,
            from: Some(row.state),
            to,
            code: code.map(str::to_owned),
            attempt,
            age_ms: self.since(row.created_at_ms),
        };
        self.note(row.channel, what)
    }

    /// A delivery that is about to go though it is not at rest.
    pub(super) fn row_purged(&mut self, row: &RowFacts) -> Result<()> {
        self.note(row.channel, Happened::Purged { delivery: row.id, from: row.state })
    }

    /// An attempt whose end was just written.
    pub(super) fn attempt_ended(
        &mut self,
        row: &RowFacts,
        attempt: u32,
        outcome: &'static str,
        code: Option<&str>,
        contradicted: bool,
    ) -> Result<()> {
        let (delivery, code) = (row.id, code.map(str::to_owned));
        let what = Happened::Attempt { delivery, attempt, outcome, code, contradicted };
        self.note(row.channel, what)
    }

    /// A channel that changed.
    pub(super) fn channel_moved(
        &mut self,
        channel: i64,
        to: ChannelMove,
        code: Option<&str>,
    ) -> Result<()> {
        self.note(channel, Happened::Channel { to, code: code.map(str::to_owned) })
    }
}
