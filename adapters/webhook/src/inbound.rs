//! What is pushed in, from JSON to events. Everything that is wrong is answered with its place.

use std::collections::BTreeMap;

use lastword_sdk::prelude::*;
use serde::de::{Error as _, IgnoredAny};
use serde::{Deserialize, Deserializer};

/// The contract's bound on identifiers.
const ID_BYTES_MAX: usize = 512;

/// The contract's bounds on extras.
const EXTRAS_MAX: usize = 64;
const EXTRAS_BYTES_MAX: usize = 16 * 1024;

/// Who speaks where the sender of a message says nothing of it.
const NAMELESS: &str = "unknown";

/// Whether a body holds one message or several: told apart first, so that an error in either is
/// told with its place.
#[derive(Deserialize)]
struct Shape {
    messages: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct Several {
    messages: Vec<Message>,
}

#[derive(Deserialize)]
struct Message {
    #[serde(deserialize_with = "id")]
    id: String,
    #[serde(deserialize_with = "id")]
    conversation: String,
    text: String,
    sender: Option<Person>,
    wakes: Option<bool>,
    #[serde(default, deserialize_with = "optional_id")]
    reply_to: Option<String>,
    sent_at_ms: Option<u64>,
    #[serde(default, deserialize_with = "extras")]
    extras: Vec<(String, String)>,
}

#[derive(Deserialize)]
struct Person {
    #[serde(deserialize_with = "id")]
    id: String,
    name: Option<String>,
}

#[derive(Deserialize)]
struct Stop {
    #[serde(deserialize_with = "id")]
    id: String,
    #[serde(deserialize_with = "id")]
    conversation: String,
    sender: Option<Person>,
}

/// `POST messages`.
pub(crate) fn messages(request: &Request) -> Result<Vec<InboundEvent>, Refusal> {
    let shape: Shape = request.json()?;
    let messages = match shape.messages {
        Some(IgnoredAny) => request.json::<Several>()?.messages,
        None => vec![request.json::<Message>()?],
    };
    Ok(messages.into_iter().map(Message::into_event).collect())
}

/// `POST abort`.
pub(crate) fn abort(request: &Request) -> Result<Vec<InboundEvent>, Refusal> {
    let stop: Stop = request.json()?;
    Ok(vec![InboundEvent::Abort(AbortRequest {
        external_id: stop.id,
        conversation: stop.conversation,
        context: None,
        sender: Person::into_sender(stop.sender),
    })])
}

impl Message {
    fn into_event(self) -> InboundEvent {
        let sender = Person::into_sender(self.sender);
        let mut message = InboundMessage::new(self.id, self.conversation, sender, self.text);
        message.wakes = self.wakes.unwrap_or(true);
        message.reply_to = self.reply_to;
        message.sent_at_ms = self.sent_at_ms;
        message.extras = self.extras;
        InboundEvent::Message(message)
    }
}

impl Person {
    fn into_sender(person: Option<Person>) -> Sender {
        match person {
            Some(Person { id, name }) => Sender { id, display_name: name, is_bot: false },
            None => Sender::new(NAMELESS),
        }
    }
}

fn id<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let id = String::deserialize(deserializer)?;
    match id.len() {
        0 => Err(D::Error::custom("an id is empty; it must be 1 to 512 bytes long")),
        1..=ID_BYTES_MAX => Ok(id),
        bytes => Err(D::Error::custom(format!(
            "an id is {bytes} bytes long; it must be 1 to 512 bytes long"
        ))),
    }
}

fn optional_id<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    #[derive(Deserialize)]
    struct Checked(#[serde(deserialize_with = "id")] String);
    Ok(Option::<Checked>::deserialize(deserializer)?.map(|Checked(id)| id))
}

/// Text stands as it is; any other value as its JSON.
fn extras<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<(String, String)>, D::Error> {
    let pairs = Option::<BTreeMap<String, Value>>::deserialize(deserializer)?.unwrap_or_default();
    let pairs: Vec<(String, String)> = pairs
        .into_iter()
        .map(|(name, value)| match value {
            Value::String(text) => (name, text),
            other => (name, other.to_string()),
        })
        .collect();
    let bytes: usize = pairs.iter().map(|(name, value)| name.len() + value.len()).sum();
    if pairs.len() > EXTRAS_MAX || bytes > EXTRAS_BYTES_MAX {
        return Err(D::Error::custom("`extras` holds more than 64 pairs or 16 KiB"));
    }
    Ok(pairs)
}
