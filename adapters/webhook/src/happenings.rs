//! What is pushed in beside messages: one event per request, told apart by its `type`.

use lastword_sdk::message::{Action, Fate, LateReceipt, OtherEvent, SentMessage};
use lastword_sdk::prelude::*;
use serde::Deserialize;

use crate::inbound::{Message, Person, extras, id, optional_id};

/// Read first and alone, so that an error in the rest is told with its place.
#[derive(Deserialize)]
#[serde(expecting = "an object with `type`")]
struct Shape {
    #[serde(rename = "type")]
    kind: Kind,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Edited,
    Deleted,
    Action,
    Receipt,
    Other,
}

#[derive(Deserialize)]
#[serde(expecting = "an object with `id` and `conversation`")]
struct Deleted {
    #[serde(deserialize_with = "id")]
    id: String,
    #[serde(deserialize_with = "id")]
    conversation: String,
}

#[derive(Deserialize)]
#[serde(expecting = "an object with `id`, `conversation` and `name`")]
struct Pressed {
    #[serde(deserialize_with = "id")]
    id: String,
    #[serde(deserialize_with = "id")]
    conversation: String,
    sender: Option<Person>,
    #[serde(deserialize_with = "id")]
    name: String,
    value: Option<String>,
    #[serde(default, deserialize_with = "optional_id")]
    on_message: Option<String>,
    #[serde(default, deserialize_with = "extras")]
    extras: Vec<(String, String)>,
}

#[derive(Deserialize)]
#[serde(expecting = "an object with `fate`, and `delivery_id` or `platform_id`")]
struct Later {
    #[serde(default, deserialize_with = "optional_id")]
    conversation: Option<String>,
    #[serde(default, deserialize_with = "optional_id")]
    delivery_id: Option<String>,
    #[serde(default, deserialize_with = "optional_id")]
    platform_id: Option<String>,
    fate: Word,
    reason: Option<String>,
    at_ms: Option<u64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Word {
    Accepted,
    Delivered,
    Read,
    Failed,
}

#[derive(Deserialize)]
#[serde(expecting = "an object with `id` and `kind`")]
struct Else {
    #[serde(deserialize_with = "id")]
    id: String,
    #[serde(deserialize_with = "id")]
    kind: String,
    #[serde(default, deserialize_with = "optional_id")]
    conversation: Option<String>,
    sender: Option<Person>,
    #[serde(default, deserialize_with = "extras")]
    extras: Vec<(String, String)>,
}

/// `POST events`.
pub(crate) fn events(request: &Request) -> Result<Vec<InboundEvent>, Refusal> {
    let event = match request.json::<Shape>()?.kind {
        Kind::Edited => InboundEvent::Edited(request.json::<Message>()?.into_message()),
        Kind::Deleted => {
            let Deleted { id, conversation } = request.json()?;
            InboundEvent::Deleted(Deletion { conversation, external_id: id })
        }
        Kind::Action => request.json::<Pressed>()?.into_event(),
        Kind::Receipt => request.json::<Later>()?.into_event()?,
        Kind::Other => request.json::<Else>()?.into_event(),
    };
    Ok(vec![event])
}

impl Pressed {
    fn into_event(self) -> InboundEvent {
        InboundEvent::Action(Action {
            external_id: self.id,
            conversation: self.conversation,
            context: None,
            audience: Audience::Unknown,
            sender: Person::into_sender(self.sender),
            name: self.name,
            value: self.value,
            on_message: self.on_message,
            extras: self.extras,
        })
    }
}

impl Later {
    fn into_event(self) -> Result<InboundEvent, Refusal> {
        let about = match (self.delivery_id, self.platform_id) {
            (Some(delivery_id), platform_id) => SentMessage::DeliveryId((delivery_id, platform_id)),
            (None, Some(platform_id)) => SentMessage::PlatformId(platform_id),
            (None, None) => {
                let sentence = "a receipt names a `delivery_id` or a `platform_id`";
                return Err(Refusal::malformed(sentence));
            }
        };
        let fate = match self.fate {
            Word::Accepted => Fate::Accepted,
            Word::Delivered => Fate::Delivered,
            Word::Read => Fate::Read,
            Word::Failed => {
                let reason = self.reason.unwrap_or_else(|| "the receiver gave no reason".into());
                Fate::Failed(Fault::new("receiver", reason))
            }
        };
        let (conversation, at_ms) = (self.conversation, self.at_ms);
        Ok(InboundEvent::Receipt(LateReceipt { conversation, about, fate, at_ms }))
    }
}

impl Else {
    fn into_event(self) -> InboundEvent {
        InboundEvent::Other(OtherEvent {
            external_id: self.id,
            kind: self.kind,
            conversation: self.conversation,
            sender: self.sender.map(|person| Person::into_sender(Some(person))),
            extras: self.extras,
        })
    }
}
