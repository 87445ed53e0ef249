//! What goes into a channel and comes out of its calls, in plain words: no type of the engine and
//! none of the store.

use std::collections::BTreeSet;

use serde::Serialize;

use super::limits::CallLimits;
use super::secrets::SecretMap;
use crate::lifecycle::id::ChannelName;
use crate::lifecycle::message::InboundEvent;
use crate::lifecycle::outcome::{CallError, Fault};

/// What stands between an adapter and the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Isolation {
    /// The engine: its calls run in the host's own process.
    #[default]
    Engine,
    /// The engine, and a process of its own that the kernel shuts in.
    Process,
}

/// What the operator configured for one channel.
#[derive(Debug, Clone)]
pub struct ChannelSpec {
    pub name: ChannelName,
    /// Held against the manifest's schema when the channel is bound.
    pub settings: serde_json::Map<String, serde_json::Value>,
    pub secrets: SecretMap,
    pub grants: Grants,
    pub limits: CallLimits,
    /// The public address of this channel's webhook prefix, without a slash at the end.
    pub public_url: Option<String>,
}

/// What the operator allows of what the manifest asks.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Grants {
    /// Ids of targets.
    pub targets: BTreeSet<String>,
    /// Of those, which may be at a private address.
    pub private_targets: BTreeSet<String>,
}

/// How a channel is called where a test owns time, chance and the moment of the host's death.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rehearsal {
    /// What the guest's clock says throughout.
    pub now_ms: u64,
    /// The call traps where it makes this host call, counted from 1.
    pub ended_at_host_call: Option<u32>,
}

/// A request of a platform, as it came; the host makes the whole address from `public_url`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct WebhookRequest {
    pub method: String,
    /// What follows the channel's own prefix, as it came.
    pub path: String,
    /// Without the question mark, as it came.
    pub query: String,
    /// Names are lower-case; values that are no UTF-8 are left out.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

/// What the platform is answered once every event is committed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct WebhookReply {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    pub events: Vec<InboundEvent>,
    /// Why nothing of it was taken, where the platform sent more than is ever taken: the rest is
    /// empty then.
    pub too_much: Option<String>,
}

/// What one poll brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    pub events: Vec<InboundEvent>,
    /// Stored in the transaction that accepts the events, never before.
    pub cursor: String,
    /// The next batch is ready at once.
    pub more: bool,
}

/// Why a poll brought nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PollError {
    Failed(CallError),
    /// The platform does not know the cursor any more: report a gap, poll again with none.
    CursorLost(Fault),
    /// Somebody else takes this account's messages.
    Conflict(Fault),
}

/// What `indicate` shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activity {
    Seen,
    Typing,
    Idle,
}

/// Why a component or a channel was refused: sentences for the operator, each saying what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", .sentences.join("; "))]
pub struct Refusal {
    pub sentences: Vec<String>,
}

impl Refusal {
    pub(super) fn one(sentence: impl Into<String>) -> Self {
        Self { sentences: vec![sentence.into()] }
    }
}

impl From<Vec<String>> for Refusal {
    fn from(sentences: Vec<String>) -> Self {
        Self { sentences }
    }
}
