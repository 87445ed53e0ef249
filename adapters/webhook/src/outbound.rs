//! What is pushed out: one request per message, which its receiver can tell from a repeated one by
//! `webhook-id`.

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
}

/// What a receiver may say: its own name for the message.
#[derive(Deserialize)]
struct Answer {
    id: Option<Value>,
}

/// Posts a message to the callback address.
pub(crate) fn post(kind: &str, message: &OutboundMessage) -> Result<Receipt, SendError> {
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
    };
    let bytes = serde_json::to_vec(&body).map_err(|error| {
        SendError::Rejected(Fault::new("no-json", format!("the message has no JSON form: {error}")))
    })?;
    let request = signature_of(message, &bytes).bytes("application/json", bytes);
    let answer = request.send()?.for_send()?;
    Ok(Receipt::new(platform_id(&answer).unwrap_or_else(|| message.delivery_id.clone())))
}

fn signature_of(message: &OutboundMessage, bytes: &[u8]) -> http::Request {
    crate::signature::sign(http::post("callback"), &message.delivery_id, bytes)
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
