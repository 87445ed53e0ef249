//! What people say and what is said to them: the vocabulary of both sides of the host, in the
//! words of the contract. Types of the engine and rows of the store never stand in for these.

use serde::{Deserialize, Serialize};

use super::files::{FileAccess, OfferedFile};
use super::id::{DeliveryId, TurnId};
use super::outcome::{Fault, Receipt};

/// Vendor data that the host carries and never interprets.
pub type Extras = Vec<(String, String)>;

/// Who said it, in the platform's terms.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Sender {
    pub id: String,
    #[serde(default)]
    pub display_name: Option<String>,
    #[serde(default)]
    pub is_bot: bool,
}

/// A file that travels with a message: named, never carried.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attachment {
    pub name: Option<String>,
    pub media_type: String,
    pub size_bytes: Option<u64>,
    pub source: AttachmentSource,
    /// How a handler gets at the bytes. Told to handlers alone, never stored.
    #[serde(flatten)]
    pub access: FileAccess,
}

/// Where the bytes of a file are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AttachmentSource {
    /// At the platform, in the adapter's words.
    Remote(String),
    /// In the host's blob store: the text of a [`super::id::BlobId`].
    Blob(String),
}

/// How many people hear it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Audience {
    Direct,
    Group,
    #[default]
    Unknown,
}

/// One message from a person, as the platform delivered it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct InboundMessage {
    pub external_id: String,
    pub conversation: String,
    pub context: Option<String>,
    pub audience: Audience,
    pub sender: Sender,
    pub text: String,
    pub attachments: Vec<Attachment>,
    pub sent_at_ms: Option<u64>,
    pub reply_to: Option<String>,
    pub group: Option<String>,
    pub wakes: bool,
    pub extras: Extras,
    /// What it is, where it is no message that somebody wrote. Left out of JSON where it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event: Option<Happening>,
}

impl InboundMessage {
    /// The platform's name of the message that an answer to this one stands beside: its own, but
    /// an action is no message, and what it stood on is.
    #[must_use]
    pub fn answered_id(&self) -> Option<&str> {
        match &self.event {
            Some(Happening::Action { on_message, .. }) => on_message.as_deref(),
            Some(Happening::Edited | Happening::Deleted | Happening::Other { .. }) | None => {
                Some(self.external_id.as_str()).filter(|id| !id.is_empty())
            }
        }
    }
}

/// What happened, where a turn or its context is told of something that is no new message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Happening {
    /// The message of this `external_id` says this now. An earlier turn may have had the old text.
    Edited,
    /// The message of this `external_id` was taken back.
    Deleted,
    /// A button was pressed or a command given; the text says the same in words.
    Action { name: String, value: Option<String>, on_message: Option<String> },
    /// Anything else, in the adapter's word for it.
    Other { kind: String },
}

/// A person pressed a button or gave a command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Action {
    pub external_id: String,
    pub conversation: String,
    pub context: Option<String>,
    pub audience: Audience,
    pub sender: Sender,
    pub name: String,
    pub value: Option<String>,
    /// Platform id or external id of the message that it stood on.
    pub on_message: Option<String>,
    pub extras: Extras,
}

impl Action {
    /// The action as the message of a turn: its text is the name, and the value behind it.
    #[must_use]
    pub fn into_message(self) -> InboundMessage {
        let text = match &self.value {
            Some(value) if !value.is_empty() => format!("{} {value}", self.name),
            Some(_) | None => self.name.clone(),
        };
        let Self { name, value, on_message, .. } = self;
        InboundMessage {
            external_id: self.external_id,
            conversation: self.conversation,
            context: self.context,
            audience: self.audience,
            sender: self.sender,
            text,
            wakes: true,
            extras: self.extras,
            event: Some(Happening::Action { name, value, on_message }),
            ..InboundMessage::default()
        }
    }
}

/// A person took a message back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deletion {
    pub conversation: String,
    /// Of the message that was taken back.
    pub external_id: String,
}

impl Deletion {
    /// The deletion as context: who did it and what the message said is not told again.
    #[must_use]
    pub fn into_message(self) -> InboundMessage {
        InboundMessage {
            external_id: self.external_id,
            conversation: self.conversation,
            event: Some(Happening::Deleted),
            ..InboundMessage::default()
        }
    }
}

/// Anything else that a platform tells.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OtherEvent {
    pub external_id: String,
    /// `reaction`, `joined`, or `vendor.word`.
    pub kind: String,
    /// Without one it is counted and dropped.
    pub conversation: Option<String>,
    pub sender: Option<Sender>,
    pub extras: Extras,
}

impl OtherEvent {
    /// The event as context of its conversation; `None` where it has none.
    #[must_use]
    pub fn into_message(self) -> Option<InboundMessage> {
        Some(InboundMessage {
            external_id: self.external_id,
            conversation: self.conversation?,
            sender: self.sender.unwrap_or_default(),
            extras: self.extras,
            event: Some(Happening::Other { kind: self.kind }),
            ..InboundMessage::default()
        })
    }
}

/// A person asked the running work in a conversation to stop.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AbortRequest {
    pub external_id: String,
    pub conversation: String,
    pub context: Option<String>,
    pub sender: Sender,
}

/// What the platform later says about a message that was sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LateReceipt {
    pub conversation: Option<String>,
    pub about: SentMessage,
    pub fate: Fate,
    pub at_ms: Option<u64>,
}

/// How a late receipt names the message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SentMessage {
    PlatformId(String),
    /// Our own id, and the platform's where it is known.
    DeliveryId(String, Option<String>),
}

/// What became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fate {
    Accepted,
    Delivered,
    Read,
    Failed(Fault),
}

/// One event from a platform.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InboundEvent {
    Message(InboundMessage),
    /// The same external id with new text.
    Edited(InboundMessage),
    Deleted(Deletion),
    Action(Action),
    Abort(AbortRequest),
    Receipt(LateReceipt),
    Other(OtherEvent),
}

impl InboundEvent {
    /// Whether it may start a turn.
    #[must_use]
    pub fn wakes(&self) -> bool {
        match self {
            Self::Message(message) => message.wakes,
            Self::Action(_) => true,
            Self::Edited(_)
            | Self::Deleted(_)
            | Self::Abort(_)
            | Self::Receipt(_)
            | Self::Other(_) => false,
        }
    }
}

/// What a text is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TextFormat {
    #[default]
    Plain,
    Markdown,
}

/// What a delivery is for. Only `Final` decides a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeliveryKind {
    Tool,
    Block,
    Final,
    Notice,
}

impl DeliveryKind {
    /// All of them, in the order of their codes in rows.
    pub const ALL: [Self; 4] = [Self::Tool, Self::Block, Self::Final, Self::Notice];

    /// Tool and block rows: their fate never decides the turn's.
    #[must_use]
    pub fn is_progress(self) -> bool {
        match self {
            Self::Tool | Self::Block => true,
            Self::Final | Self::Notice => false,
        }
    }

    /// The word in rows, JSON and logs.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Tool => "tool",
            Self::Block => "block",
            Self::Final => "final",
            Self::Notice => "notice",
        }
    }
}

/// Where a message goes.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Place {
    pub conversation: String,
    pub context: Option<String>,
    pub reply_to: Option<String>,
}

/// One message to the platform, as the adapter gets it: one call, at most one platform message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutboundMessage {
    pub delivery_id: DeliveryId,
    pub turn_id: Option<TurnId>,
    pub place: Place,
    pub text: String,
    pub format: TextFormat,
    /// Files that travel with it, all in the host's store.
    pub attachments: Vec<Attachment>,
    /// 1 for the first part of a split reply.
    pub part: u32,
    pub parts: u32,
    /// 1 for the first attempt: the row's serial `call`.
    pub attempt: u32,
    pub extras: Extras,
}

/// What the handler wants said; the host splits it into parts by the manifest's limits.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Reply {
    pub text: String,
    #[serde(default)]
    pub format: TextFormat,
    #[serde(default)]
    pub extras: Extras,
    /// Files that travel with it, all in the host's store.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attachments: Vec<Attachment>,
    /// Files as the handler gave them. Whoever takes the reply puts them into the host's store and
    /// leaves none here; none is ever stored.
    #[serde(skip)]
    pub offered: Vec<OfferedFile>,
}

impl Reply {
    /// Whether it has nothing that a person could see.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.text.trim().is_empty() && self.attachments.is_empty() && self.offered.is_empty()
    }
}

/// A message that was delivered before, as the handler is told of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeliveredPart {
    pub delivery_id: DeliveryId,
    pub kind: DeliveryKind,
    pub part: u32,
    pub text: String,
    pub platform_id: Option<String>,
    /// Why the platform says later that it did not arrive after all: of an earlier turn of the
    /// conversation. Left out of JSON where it says nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<Fault>,
}

impl DeliveredPart {
    /// The part that a receipt proves.
    #[must_use]
    pub fn new(
        id: DeliveryId,
        kind: DeliveryKind,
        part: u32,
        text: String,
        receipt: &Receipt,
    ) -> Self {
        let platform_id = Some(receipt.platform_id.clone()).filter(|id| !id.is_empty());
        Self { delivery_id: id, kind, part, text, platform_id, failed: None }
    }
}
