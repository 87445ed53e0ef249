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

/// The contract's bound on the files of a message.
const FILES_MAX: usize = 100;

const URL_BYTES_MAX: usize = 2_048;

/// Who speaks where the sender of a message says nothing of it.
const NAMELESS: &str = "unknown";

/// Whether a body holds one message or several: told apart first, so that an error in either is
/// told with its place.
#[derive(Deserialize)]
#[serde(expecting = "an object: one message, or {\"messages\": [...]}")]
struct Shape {
    messages: Option<IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(expecting = "an object with `messages`")]
struct Several {
    messages: Vec<Message>,
}

#[derive(Deserialize)]
#[serde(expecting = "an object with `id`, `conversation` and `text`")]
pub(crate) struct Message {
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
    /// Messages of one group are pieces of one.
    #[serde(default, deserialize_with = "optional_id")]
    group: Option<String>,
    #[serde(default, deserialize_with = "files")]
    attachments: Vec<File>,
    #[serde(default, deserialize_with = "extras")]
    extras: Vec<(String, String)>,
}

/// A file, fetched from `url` when somebody wants it.
#[derive(Deserialize)]
#[serde(expecting = "an object with `url`")]
struct File {
    name: Option<String>,
    media_type: Option<String>,
    size_bytes: Option<u64>,
    #[serde(deserialize_with = "file_url")]
    url: String,
}

#[derive(Deserialize)]
#[serde(expecting = "an object with `id`, and with `name` where there is one")]
pub(crate) struct Person {
    #[serde(deserialize_with = "id")]
    id: String,
    name: Option<String>,
}

#[derive(Deserialize)]
#[serde(expecting = "an object with `id` and `conversation`")]
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
    let messages = messages.into_iter().map(Message::into_message);
    Ok(messages.map(InboundEvent::Message).collect())
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
    pub(crate) fn into_message(self) -> InboundMessage {
        let sender = Person::into_sender(self.sender);
        let mut message = InboundMessage::new(self.id, self.conversation, sender, self.text);
        message.wakes = self.wakes.unwrap_or(true);
        message.reply_to = self.reply_to;
        message.sent_at_ms = self.sent_at_ms;
        message.group = self.group;
        message.attachments = self.attachments.into_iter().map(File::into_attachment).collect();
        message.extras = self.extras;
        message
    }
}

impl File {
    fn into_attachment(self) -> Attachment {
        let media_type = self.media_type.as_deref().unwrap_or("application/octet-stream");
        let mut file = Attachment::remote(media_type, self.url);
        file.name = self.name;
        file.size_bytes = self.size_bytes;
        file
    }
}

impl Person {
    pub(crate) fn into_sender(person: Option<Person>) -> Sender {
        match person {
            Some(Person { id, name }) => Sender { id, display_name: name, is_bot: false },
            None => Sender::new(NAMELESS),
        }
    }
}

pub(crate) fn id<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let id = String::deserialize(deserializer)?;
    match id.len() {
        0 => Err(D::Error::custom("an id is empty; it must be 1 to 512 bytes long")),
        1..=ID_BYTES_MAX => Ok(id),
        bytes => Err(D::Error::custom(format!(
            "an id is {bytes} bytes long; it must be 1 to 512 bytes long"
        ))),
    }
}

pub(crate) fn optional_id<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(expecting = "an id, which is a text")]
    struct Checked(#[serde(deserialize_with = "id")] String);
    Ok(Option::<Checked>::deserialize(deserializer)?.map(|Checked(id)| id))
}

fn files<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<File>, D::Error> {
    let files = Option::<Vec<File>>::deserialize(deserializer)?.unwrap_or_default();
    if files.len() > FILES_MAX {
        return Err(D::Error::custom("`attachments` holds more than 100 files"));
    }
    Ok(files)
}

fn file_url<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let url = String::deserialize(deserializer)?;
    if !url.starts_with("https://") && !url.starts_with("http://") {
        return Err(D::Error::custom("a file's `url` begins with `https://` or `http://`"));
    }
    if url.len() > URL_BYTES_MAX {
        return Err(D::Error::custom("a file's `url` is longer than 2048 bytes"));
    }
    Ok(url)
}

/// Text stands as it is; any other value as its JSON.
pub(crate) fn extras<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<(String, String)>, D::Error> {
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
