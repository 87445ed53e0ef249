//! Sending, and showing that somebody is at work.

use lastword_sdk::prelude::*;
use serde::Deserialize;

use crate::api::{self, Problem};
use crate::{files, identity, markdown};

/// What the content of an event may have, of the 65,536 bytes of the whole.
const CONTENT_BYTES_MAX: usize = 60_000;

/// How long a homeserver shows that somebody types.
const TYPING_MS: u32 = 30_000;

#[derive(Deserialize)]
struct Sent {
    event_id: String,
}

pub(crate) fn send(message: &OutboundMessage) -> Result<Receipt, SendError> {
    let room = message.place.conversation.as_str();
    let content = match message.attachments.as_slice() {
        [] => content(message),
        [file] => files::content(message, file)?,
        [_, ..] => {
            let sentence = "a message of Matrix carries one file";
            return Err(SendError::Rejected(Fault::new("files", sentence)));
        }
    };
    let path = api::path(["rooms", room, "send", "m.room.message", &message.delivery_id]);
    let answer = http::put(api::TARGET).path(path).json(&content).send()?;
    if answer.is_success() {
        let sent: Sent = answer.json()?;
        return Ok(Receipt::new(sent.event_id));
    }
    Err(refused(Problem::of(&answer)))
}

/// What an answer says that is no success.
pub(crate) fn refused(problem: Problem) -> SendError {
    match (problem.status, problem.retry_after_ms) {
        _ if problem.is_about_the_account() => SendError::Unauthorized(problem.fault),
        // Limits of a homeserver hold for the account.
        (429, Some(retry_after_ms)) => {
            SendError::RateLimited(RateLimit { retry_after_ms, scope: RateScope::Channel })
        }
        (429, None) => SendError::Transient(problem.fault),
        // We are not in the room any more, or may not speak in it. Either can change in a moment,
        // with an invitation and a word: the reply waits for that, and is not thrown away.
        (403, _) => SendError::Closed(problem.fault),
        // Somebody on the way gave up. The same transaction id, sent again, settles it.
        (408 | 500.., _) => SendError::Unknown(problem.fault),
        _ => SendError::Rejected(problem.fault),
    }
}

pub(crate) fn content(message: &OutboundMessage) -> Value {
    // No client shows control characters, and some servers cannot store them.
    let text: String =
        message.text.chars().filter(|c| !c.is_control() || matches!(c, '\n' | '\t')).collect();
    let mut content = json!({
        "msgtype": "m.text",
        "body": text,
        api::DELIVERY_FIELD: message.delivery_id,
    });
    if let Some(relation) = relation(&message.place) {
        content["m.relates_to"] = relation;
    }
    if message.format == TextFormat::Markdown {
        let plain = content.clone();
        content["format"] = json!("org.matrix.custom.html");
        content["formatted_body"] = json!(markdown::to_html(&text));
        if content.to_string().len() > CONTENT_BYTES_MAX {
            // The text without its form still says all of it.
            return plain;
        }
    }
    content
}

fn relation(place: &Place) -> Option<Value> {
    let reply = place.reply_to.as_deref().map(|id| json!({ "event_id": id }));
    let Some(thread) = place.context.as_deref() else {
        return reply.map(|reply| json!({ "m.in_reply_to": reply }));
    };
    // In a thread a reply says that it is one; else it only points older clients to the place.
    Some(json!({
        "rel_type": "m.thread",
        "event_id": thread,
        "is_falling_back": reply.is_none(),
        "m.in_reply_to": reply.unwrap_or_else(|| json!({ "event_id": thread })),
    }))
}

pub(crate) fn indicate(place: &Place, activity: Activity) -> Result<Option<u32>, CallError> {
    let room = place.conversation.as_str();
    let typing = |body: Value| {
        let user_id = identity::user_id()?;
        let path = api::path(["rooms", room, "typing", &user_id]);
        api::for_call(http::put(api::TARGET).path(path).json(&body).send()?)
    };
    match activity {
        Activity::Typing => {
            typing(json!({ "typing": true, "timeout": TYPING_MS }))?;
            Ok(Some(TYPING_MS))
        }
        Activity::Idle => {
            typing(json!({ "typing": false }))?;
            Ok(None)
        }
        Activity::Seen => {
            if let Some(event) = place.reply_to.as_deref() {
                let path = api::path(["rooms", room, "receipt", "m.read", event]);
                api::for_call(http::post(api::TARGET).path(path).json(&json!({})).send()?)?;
            }
            Ok(None)
        }
    }
}
