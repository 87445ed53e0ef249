//! The part of the store's face that pull workers need: to claim, to renew, to report.

use super::face::{ClaimedDelivery, ClaimedTurn, Lease, NewDelivery, TurnEnd};
use crate::lifecycle::id::{ChannelName, ClaimToken, TurnId};
use crate::lifecycle::turn::{Loss, TurnState};

/// Names one request, so that it is carried out once however often it comes.
pub type RequestKey = [u8; 16];

/// What a worker asks.
#[derive(Debug, Clone, PartialEq)]
pub enum PullCommand {
    Claim(PullClaim),
    /// Keeps the lease; with another length, where one is given.
    Renew {
        turn: TurnId,
        token: ClaimToken,
        lease_ms: Option<u64>,
    },
    Report(PullReport),
}

/// Asks for the next due turn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PullClaim {
    pub worker: String,
    /// The same key again gives the turn that it gave before, while that is still held.
    pub key: Option<RequestKey>,
    /// Only of these channels; none given means all.
    pub channels: Option<Vec<ChannelName>>,
    pub lease_ms: u64,
    /// The whole try.
    pub deadline_ms: u64,
}

/// What a worker says of its turn: progress, and perhaps its end. All of it or nothing is taken.
#[derive(Debug, Clone, PartialEq)]
pub struct PullReport {
    pub turn: TurnId,
    pub token: ClaimToken,
    /// The same key again changes nothing and gets the same answer.
    pub key: Option<RequestKey>,
    pub rows: Vec<NewDelivery>,
    pub end: Option<PullEnd>,
    pub claim_first: Option<Lease>,
    /// What one try may say in all.
    pub rows_max: u32,
    pub bytes_max: u64,
}

/// How a worker ends its try.
#[derive(Debug, Clone, PartialEq)]
pub enum PullEnd {
    Final(Vec<NewDelivery>),
    Silence,
    Lost(Loss),
}

/// What it came to.
#[derive(Debug, Clone, PartialEq)]
pub enum PullAnswer {
    Claimed(Option<Box<PulledTurn>>),
    /// The lease was renewed.
    Held(HeldLease),
    /// Progress was taken and the lease renewed.
    Said {
        lease: HeldLease,
        /// The first row, claimed in the same step.
        first: Option<Box<ClaimedDelivery>>,
    },
    Ended(Box<PullEnded>),
    Refused(PullRefusal),
}

/// A turn for a worker.
#[derive(Debug, Clone, PartialEq)]
pub struct PulledTurn {
    pub claimed: ClaimedTurn,
    pub lease: HeldLease,
}

/// A lease as its holder is told of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeldLease {
    pub lease_ms: u64,
    /// By the wall clock, for people; what counts is the duration.
    pub until_ms: i64,
}

/// A try that its worker ended.
#[derive(Debug, Clone, PartialEq)]
pub struct PullEnded {
    /// The turn's state right after it.
    pub state: TurnState,
    /// Whether this request was carried out before: nothing was changed now.
    pub again: bool,
    pub turn_ended: Option<TurnEnd>,
    /// The first row, claimed in the same step.
    pub first: Option<Box<ClaimedDelivery>>,
}

/// Why nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PullRefusal {
    NoSuchTurn,
    /// The lease ran out, or a newer try has the turn.
    Stale,
    /// Somebody stopped the turn.
    Aborted {
        by: Option<String>,
    },
    /// The worker itself ended the try before, with other words.
    Ended {
        state: TurnState,
    },
    /// The whole try's time is over.
    DeadlineOver,
    /// It said more than one try may.
    TooMuch,
}
