//! Events as a test writes them: one JSON object each, told apart by `kind`. Fields that are left
//! out have the plainest value.

use std::collections::BTreeMap;

use lastword_sdk::message::{Action, Fate, LateReceipt, OtherEvent, SentMessage};
use lastword_sdk::prelude::*;
use serde::Deserialize;

/// What `POST events` takes.
#[derive(Deserialize)]
pub(crate) struct Pushed {
    pub(crate) status: Option<u16>,
    #[serde(default)]
    pub(crate) events: Vec<Event>,
}

/// `kind` is `message` (also where it is left out), `edited`, `deleted`, `action`, `abort`,
/// `receipt` or `other`. `fill` makes the text that many bytes long; `copies` gives the event so
/// often, under ids that end in a number.
#[derive(Deserialize, Default, Clone)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Event {
    kind: Option<String>,
    id: String,
    conversation: String,
    text: String,
    fill: Option<usize>,
    copies: Option<usize>,
    sender: Option<String>,
    sender_name: Option<String>,
    is_bot: bool,
    audience: Option<String>,
    context: Option<String>,
    wakes: Option<bool>,
    reply_to: Option<String>,
    group: Option<String>,
    sent_at_ms: Option<u64>,
    attachments: Vec<File>,
    extras: BTreeMap<String, String>,
    /// Of an action.
    name: String,
    value: Option<String>,
    on_message: Option<String>,
    /// Of a receipt.
    platform_id: Option<String>,
    delivery_id: Option<String>,
    fate: Option<String>,
    at_ms: Option<u64>,
}

#[derive(Deserialize, Clone)]
struct File {
    name: Option<String>,
    media_type: String,
    size_bytes: Option<u64>,
    remote: Option<String>,
    blob: Option<String>,
    /// Stored by the call, as if it came inside the request.
    write: Option<String>,
}

/// All events, with their copies.
pub(crate) fn all(events: Vec<Event>) -> Result<Vec<InboundEvent>, String> {
    let mut all = Vec::new();
    for event in events {
        match event.copies {
            None => all.push(event.into_event()?),
            Some(copies) => {
                for at in 0..copies {
                    let id = format!("{}-{at}", event.id);
                    all.push(Event { id, ..event.clone() }.into_event()?);
                }
            }
        }
    }
    Ok(all)
}

impl Event {
    fn into_event(self) -> Result<InboundEvent, String> {
        let kind = self.kind.clone();
        Ok(match kind.as_deref() {
            None | Some("message") => InboundEvent::Message(self.into_message()?),
            Some("edited") => InboundEvent::Edited(self.into_message()?),
            Some("deleted") => InboundEvent::Deleted(Deletion {
                conversation: self.conversation,
                external_id: self.id,
            }),
            Some("action") => InboundEvent::Action(Action {
                audience: self.audience()?,
                sender: self.sender(),
                external_id: self.id,
                conversation: self.conversation,
                context: self.context,
                name: self.name,
                value: self.value,
                on_message: self.on_message,
                extras: self.extras.into_iter().collect(),
            }),
            Some("abort") => InboundEvent::Abort(AbortRequest {
                sender: self.sender(),
                external_id: self.id,
                conversation: self.conversation,
                context: self.context,
            }),
            Some("receipt") => InboundEvent::Receipt(self.into_receipt()?),
            Some("other") => InboundEvent::Other(OtherEvent {
                external_id: self.id,
                kind: self.name,
                conversation: (!self.conversation.is_empty()).then_some(self.conversation),
                sender: self.sender.map(Sender::new),
                extras: self.extras.into_iter().collect(),
            }),
            Some(other) => return Err(format!("there is no kind `{other}`")),
        })
    }

    fn into_message(self) -> Result<InboundMessage, String> {
        let audience = self.audience()?;
        let sender = self.sender();
        let text = self.fill.map_or(self.text, |bytes| "x".repeat(bytes));
        let mut message = InboundMessage::new(self.id, self.conversation, sender, text);
        message.audience = audience;
        message.context = self.context;
        message.wakes = self.wakes.unwrap_or(true);
        message.reply_to = self.reply_to;
        message.group = self.group;
        message.sent_at_ms = self.sent_at_ms;
        let files = self.attachments.into_iter().map(File::into_attachment);
        message.attachments = files.collect::<Result<_, _>>()?;
        message.extras = self.extras.into_iter().collect();
        Ok(message)
    }

    fn into_receipt(self) -> Result<LateReceipt, String> {
        let about = match (self.delivery_id, self.platform_id) {
            (Some(delivery), platform) => SentMessage::DeliveryId((delivery, platform)),
            (None, Some(platform)) => SentMessage::PlatformId(platform),
            (None, None) => return Err("a receipt is about `delivery_id` or `platform_id`".into()),
        };
        let fate = match self.fate.as_deref() {
            Some("accepted") => Fate::Accepted,
            None | Some("delivered") => Fate::Delivered,
            Some("read") => Fate::Read,
            Some("failed") => Fate::Failed(Fault::new("told", self.text)),
            Some(other) => return Err(format!("there is no fate `{other}`")),
        };
        let conversation = (!self.conversation.is_empty()).then_some(self.conversation);
        Ok(LateReceipt { conversation, about, fate, at_ms: self.at_ms })
    }

    fn sender(&self) -> Sender {
        Sender {
            id: self.sender.clone().unwrap_or_else(|| "someone".to_owned()),
            display_name: self.sender_name.clone(),
            is_bot: self.is_bot,
        }
    }

    fn audience(&self) -> Result<Audience, String> {
        match self.audience.as_deref() {
            None | Some("unknown") => Ok(Audience::Unknown),
            Some("direct") => Ok(Audience::Direct),
            Some("group") => Ok(Audience::Group),
            Some(other) => Err(format!("there is no audience `{other}`")),
        }
    }
}

impl File {
    fn into_attachment(self) -> Result<Attachment, String> {
        let source = match (self.blob, self.write) {
            (Some(blob), _) => AttachmentSource::Blob(blob),
            (None, Some(text)) => {
                let written = blobs::write(text.as_bytes());
                AttachmentSource::Blob(written.map_err(|error| format!("{error:?}"))?)
            }
            (None, None) => AttachmentSource::Remote(self.remote.unwrap_or_default()),
        };
        let File { name, media_type, size_bytes, .. } = self;
        Ok(Attachment { name, media_type, size_bytes, source })
    }
}
