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

impl Attachment {
    /// A file that is still at the platform, by a reference of the adapter's own: what
    /// [`crate::Files::download`] is given when somebody wants the bytes.
    pub fn remote(media_type: impl Into<String>, reference: impl Into<String>) -> Attachment {
        Attachment::of(media_type.into(), AttachmentSource::Remote(reference.into()))
    }

    /// A file in the host's store, by its id.
    pub fn blob(media_type: impl Into<String>, blob: impl Into<String>) -> Attachment {
        Attachment::of(media_type.into(), AttachmentSource::Blob(blob.into()))
    }

    fn of(media_type: String, source: AttachmentSource) -> Attachment {
        Attachment { name: None, media_type, size_bytes: None, source }
    }

    /// With the file's name.
    #[must_use]
    pub fn named(mut self, name: impl Into<String>) -> Attachment {
        self.name = Some(name.into());
        self
    }

    /// With what the platform says of its size.
    #[must_use]
    pub fn sized(mut self, size_bytes: u64) -> Attachment {
        self.size_bytes = Some(size_bytes);
        self
    }

    /// The blob's id, where the bytes are in the host's store: always so in what is to be sent.
    pub fn blob_id(&self) -> Option<&str> {
        match &self.source {
            AttachmentSource::Blob(blob) => Some(blob),
            AttachmentSource::Remote(_) => None,
        }
    }

    /// The adapter's own reference, where the bytes are still at the platform.
    pub fn remote_reference(&self) -> Option<&str> {
        match &self.source {
            AttachmentSource::Remote(reference) => Some(reference),
            AttachmentSource::Blob(_) => None,
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
