//! What is pushed out: one request per message, which its receiver can tell from a repeated one by
//! `webhook-id`.
//!
//! A message with files goes as `multipart/form-data`: the part `message` is the JSON that goes
//! alone otherwise, and is what is signed; then one part for each file, streamed by the host.

use lastword_sdk::blobs;
use lastword_sdk::http::Part;
use lastword_sdk::prelude::*;
use serde::{Deserialize, Serialize};

/// The contract's bound on identifiers.
const ID_BYTES_MAX: usize = 512;

#[derive(Serialize)]
struct Body<'a> {
    delivery_id: &'a str,
    turn_id: Option<&'a str>,
    conversation: &'a str,
    reply_to: Option<&'a str>,
    kind: &'a str,
    text: &'a str,
    format: &'a str,
    part: u32,
    parts: u32,
    attempt: u32,
    /// Left out where there are none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    files: Vec<File<'a>>,
}

/// A file that goes along, in the part of this name.
#[derive(Serialize)]
struct File<'a> {
    part: String,
    name: Option<&'a str>,
    media_type: &'a str,
    size_bytes: u64,
    #[serde(skip)]
    blob: &'a str,
}

/// What a receiver may say: its own name for the message.
#[derive(Deserialize)]
struct Answer {
    id: Option<Value>,
}

/// Posts a message to the callback address.
pub(crate) fn post(kind: &str, message: &OutboundMessage) -> Result<Receipt, SendError> {
    let files = message.attachments.iter().enumerate();
    let body = Body {
        delivery_id: &message.delivery_id,
        turn_id: message.turn_id.as_deref(),
        conversation: &message.place.conversation,
        reply_to: message.place.reply_to.as_deref(),
        kind,
        text: &message.text,
        format: match message.format {
            TextFormat::Plain => "plain",
            TextFormat::Markdown => "markdown",
        },
        part: message.part,
        parts: message.parts,
        attempt: message.attempt,
        files: files.map(|(at, file)| File::of(at, file)).collect::<Result<_, SendError>>()?,
    };
    let bytes = serde_json::to_vec(&body).map_err(|error| {
        SendError::Rejected(Fault::new("no-json", format!("the message has no JSON form: {error}")))
    })?;
    let request = crate::signature::sign(http::post("callback"), &message.delivery_id, &bytes);
    let request = if body.files.is_empty() {
        request.bytes("application/json", bytes)
    } else {
        let message = Part::bytes("message", bytes).media_type("application/json");
        request.multipart([message].into_iter().chain(body.files.iter().map(File::to_part)))
    };
    let answer = request.send()?.for_send()?;
    Ok(Receipt::new(platform_id(&answer).unwrap_or_else(|| message.delivery_id.clone())))
}

impl<'a> File<'a> {
    fn of(at: usize, file: &'a Attachment) -> Result<File<'a>, SendError> {
        let Some(blob) = file.blob_id() else {
            let sentence = "a file of the message is not in the host's store";
            return Err(SendError::Rejected(Fault::new("no-blob", sentence)));
        };
        let size_bytes = match file.size_bytes {
            Some(size_bytes) => size_bytes,
            None => blobs::size(blob)?,
        };
        let (name, media_type) = (file.name.as_deref(), file.media_type.as_str());
        Ok(File { part: format!("file-{}", at + 1), name, media_type, size_bytes, blob })
    }

    fn to_part(&self) -> Part {
        // A part without a file's name would be read as a field.
        let name = self.name.filter(|name| !name.is_empty()).unwrap_or(&self.part);
        Part::blob(&self.part, self.blob).file_name(name).media_type(self.media_type)
    }
}

/// The receiver's own id, where its answer holds a usable one. A receiver that says nothing is
/// believed by its status.
fn platform_id(answer: &http::Response) -> Option<String> {
    let id = match answer.json::<Answer>().ok()?.id? {
        Value::String(text) => text,
        Value::Number(number) => number.to_string(),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => return None,
    };
    (1..=ID_BYTES_MAX).contains(&id.len()).then_some(id)
}
