//! The face of what happens later: from when a turn stands in its line. Plain types, as in
//! [`super::face`]; no SQL.

use serde::{Deserialize, Serialize};

use super::face::{ClaimedTurn, Lease};
use crate::lifecycle::id::{ChannelName, TurnId};
use crate::lifecycle::message::{InboundMessage, Sender};
use crate::lifecycle::recurrence::CatchUp;
use crate::lifecycle::turn::TurnState;

/// From when a new turn stands in the line of its conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Due {
    /// At once.
    #[default]
    Now,
    /// At this time of the wall clock, in milliseconds since the epoch, wherever the clock goes
    /// meanwhile: somebody named the time.
    At(i64),
    /// So many milliseconds after now. A clock that goes back behind now makes it due.
    In(u64),
}

/// What one look at the due turns came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Fell {
    /// Turns that took their place in line.
    pub turns: u64,
    /// The bound was reached: there may be more.
    pub more: bool,
}

/// A message that a program posts.
#[derive(Debug, Clone, PartialEq)]
pub struct Post {
    pub channel: ChannelName,
    /// Its `external_id` is the key under which it is posted.
    pub message: InboundMessage,
    /// On the wall clock, in milliseconds since the epoch; past or present means now.
    pub not_before_ms: Option<i64>,
    /// The turn that whoever posts is at work on.
    pub about: Option<TurnId>,
    /// With a handler's permit in hand: claims the turn if it is the head of its line.
    pub claim: Option<Lease>,
}

/// What became of a post.
#[derive(Debug, Clone, PartialEq)]
pub struct Posted {
    pub outcome: PostOutcome,
    pub claimed: Option<ClaimedTurn>,
}

/// The answer to whoever posts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PostOutcome {
    /// A new turn; `due_ms` where it waits for its time.
    Turn { turn: TurnId, state: TurnState, due_ms: Option<i64> },
    /// It was posted before under this key.
    Duplicate { turn: TurnId, state: Option<TurnState>, due_ms: Option<i64> },
    /// The key was used in this conversation for other words.
    OtherContent,
    /// The turn that it is about is not there, or no more.
    UnknownAbout,
    /// So many programs have answered each other already.
    TooManyHops { hops_max: u32 },
}

/// A schedule that is to be made.
#[derive(Debug, Clone, PartialEq)]
pub struct NewSchedule {
    pub name: String,
    pub channel: ChannelName,
    pub cron: String,
    pub zone: String,
    pub catch_up: CatchUp,
    /// What each occurrence says; its id is made for each.
    pub message: InboundMessage,
}

/// What of a schedule changes; what is absent stays.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Change {
    pub cron: Option<String>,
    pub zone: Option<String>,
    pub catch_up: Option<CatchUp>,
    pub text: Option<String>,
    pub sender: Option<Sender>,
}

/// What is done with a schedule. All of it acts on the next occurrence: turns that were made stay.
#[derive(Debug, Clone, PartialEq)]
pub enum ScheduleAct {
    Add(Box<NewSchedule>),
    Change { name: String, change: Box<Change> },
    Pause { name: String },
    Resume { name: String },
    Cancel { name: String },
}

/// One schedule in a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScheduleRow {
    pub name: String,
    pub channel: String,
    pub conversation: String,
    pub cron: String,
    pub zone: String,
    /// `all`, `latest` or `skip`.
    pub catch_up: String,
    /// `active` or `paused`.
    pub state: String,
    pub code: Option<String>,
    pub reason: Option<String>,
    pub next_due_at_ms: Option<i64>,
    pub last_due_at_ms: Option<i64>,
    pub last_turn_id: Option<TurnId>,
    /// Turns that it made, and occurrences that it was too late for.
    pub made: u64,
    pub skipped: u64,
    pub created_at_ms: i64,
    /// What it says, only where payloads were asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<serde_json::Value>,
}
