//! The vocabulary of messages: the contract's types, with the constructors that make them short to
//! write.

pub use crate::bindings::channel::lastword::channel::types::{
    AbortRequest, Action, Attachment, AttachmentSource, Audience, CallError, Deletion, Fate, Fault,
    InboundEvent, InboundMessage, LateReceipt, OtherEvent, OutboundMessage, Place, RateLimit,
    RateScope, Receipt, SendError, Sender, SentMessage, TextFormat,
};
pub use crate::bindings::poll::exports::lastword::channel::poll::{Batch, PollError};
pub use crate::bindings::progress::exports::lastword::channel::progress::{Activity, ProgressKind};
pub use crate::bindings::reconcile::exports::lastword::channel::reconcile::Lookup;

impl Sender {
    /// A person, known by an id.
    pub fn new(id: impl Into<String>) -> Sender {
        Sender { id: id.into(), display_name: None, is_bot: false }
    }

    /// With the name that people see.
    #[must_use]
    pub fn named(mut self, name: impl Into<String>) -> Sender {
        self.display_name = Some(name.into());
        self
    }
}

impl InboundMessage {
    /// A text that wakes the agent. The other fields are empty, and public.
    pub fn new(
        external_id: impl Into<String>,
        conversation: impl Into<String>,
        sender: Sender,
        text: impl Into<String>,
    ) -> InboundMessage {
        InboundMessage {
            external_id: external_id.into(),
            conversation: conversation.into(),
            context: None,
            audience: Audience::Unknown,
            sender,
            text: text.into(),
            attachments: Vec::new(),
            sent_at_ms: None,
            reply_to: None,
            group: None,
            wakes: true,
            extras: Vec::new(),
        }
    }
}

impl From<InboundMessage> for InboundEvent {
    fn from(message: InboundMessage) -> InboundEvent {
        InboundEvent::Message(message)
    }
}

impl From<AbortRequest> for InboundEvent {
    fn from(request: AbortRequest) -> InboundEvent {
        InboundEvent::Abort(request)
    }
}

impl Receipt {
    /// Proof that the platform took the message, under its own id.
    pub fn new(platform_id: impl Into<String>) -> Receipt {
        Receipt { platform_id: platform_id.into(), extras: Vec::new() }
    }
}

impl Fault {
    /// A short code without spaces, and one sentence for the operator with no secret in it.
    pub fn new(code: impl Into<String>, sentence: impl Into<String>) -> Fault {
        Fault { code: code.into(), sentence: sentence.into() }
    }
}
