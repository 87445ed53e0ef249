//! Sending, and showing that somebody is at work.

use lastword_sdk::prelude::*;
use serde::Deserialize;

use crate::api::{self, Answer, Problem};
use crate::entities;
use crate::markdown::{self, Formed};
use crate::place::Spot;
use crate::{CAPTION_UTF16_MAX, TEXT_UTF16_MAX};

/// The calls that show a message.
pub(crate) const METHODS: [&str; 7] = [
    "sendMessage",
    "sendPhoto",
    "sendAnimation",
    "sendAudio",
    "sendVoice",
    "sendVideo",
    "sendDocument",
];

/// How long Telegram shows that somebody types.
const TYPING_MS: u32 = 5_000;

/// Names of extras that a handler may give: a keyboard, as JSON of Telegram.
const KEYBOARD: &str = "telegram.reply_markup";

/// Whether a message makes a sound where it arrives.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sound {
    Loud,
    Silent,
}

#[derive(serde::Deserialize, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum Quote {
    Groups,
    Always,
    Never,
}

#[derive(Deserialize)]
struct Sent {
    message_id: i64,
}

pub(crate) fn send(message: &OutboundMessage, sound: Sound) -> Result<Receipt, SendError> {
    let spot = Spot::of(&message.place).map_err(SendError::Rejected)?;
    let common = common(message, spot, sound)?;
    match message.attachments.as_slice() {
        [] => send_text(message, spot, common),
        [file] => send_file(message, file, spot, common),
        [_, ..] => {
            let sentence = "a message of Telegram carries one file";
            Err(SendError::Rejected(Fault::new("files", sentence)))
        }
    }
}

/// What every message has.
fn common(message: &OutboundMessage, spot: Spot, sound: Sound) -> Result<Value, SendError> {
    let mut body = spot.body();
    if sound == Sound::Silent {
        body["disable_notification"] = json!(true);
    }
    let quotes = match settings::get_or("quote", Quote::Groups)? {
        Quote::Always => true,
        Quote::Groups => spot.is_group(),
        Quote::Never => false,
    };
    let answered = message.place.reply_to.as_deref().and_then(|id| id.parse::<i64>().ok());
    if let (true, 1, Some(id)) = (quotes, message.part, answered) {
        // What was taken back meanwhile is still answered.
        body["reply_parameters"] = json!({ "message_id": id, "allow_sending_without_reply": true });
    }
    if message.part == message.parts
        && let Some((_, keyboard)) = message.extras.iter().find(|(name, _)| name == KEYBOARD)
    {
        let keyboard: Value = serde_json::from_str(keyboard).map_err(|_| {
            let sentence = format!("the handler's `{KEYBOARD}` is no JSON");
            SendError::Rejected(Fault::new("keyboard", sentence))
        })?;
        body["reply_markup"] = keyboard;
    }
    Ok(body)
}

/// A text with its form. What its form makes too long goes as it was written.
fn formed(message: &OutboundMessage, utf16_max: u32) -> Formed {
    let plain = || Formed { text: message.text.clone(), entities: Vec::new() };
    match message.format {
        TextFormat::Plain => plain(),
        TextFormat::Markdown => {
            let formed = markdown::form(&message.text);
            let fits =
                u32::try_from(entities::length(&formed.text)).is_ok_and(|it| it <= utf16_max);
            if fits && !formed.text.is_empty() { formed } else { plain() }
        }
    }
}

fn send_text(message: &OutboundMessage, spot: Spot, common: Value) -> Result<Receipt, SendError> {
    let Formed { text, entities } = formed(message, TEXT_UTF16_MAX);
    let mut body = common;
    body["text"] = json!(text);
    if !entities.is_empty() {
        body["entities"] = json!(entities);
    }
    let request = http::post(api::TARGET).path(["sendMessage"]).json(&body);
    match answered(request.send()?)? {
        Ok(receipt) => Ok(receipt),
        Err(problem) => Err(refused(problem, spot)),
    }
}

fn send_file(
    message: &OutboundMessage,
    file: &Attachment,
    spot: Spot,
    common: Value,
) -> Result<Receipt, SendError> {
    let Some(blob) = file.blob_id() else {
        let sentence = "the file is not in the host's store";
        return Err(SendError::Rejected(Fault::new("no-blob", sentence)));
    };
    let (method, field) = method(&file.media_type);
    let problem = match upload(message, file, blob, &common, (method, field))? {
        Ok(receipt) => return Ok(receipt),
        Err(problem) => problem,
    };
    // A picture that Telegram cannot show, or a sound that it cannot play, is still a file. It said
    // no with a whole answer, so nothing was shown yet.
    let is_about_the_kind = problem.code == 400
        && problem.says(&[
            "photo_",
            "image_process",
            "wrong type",
            "too big for a photo",
            "video_",
        ]);
    if method == "sendDocument" || !is_about_the_kind {
        return Err(refused(problem, spot));
    }
    upload(message, file, blob, &common, ("sendDocument", "document"))?
        .map_err(|problem| refused(problem, spot))
}

/// The call for a kind of file, and the name of its field.
fn method(media_type: &str) -> (&'static str, &'static str) {
    match media_type.split(';').next().unwrap_or_default().trim() {
        "image/jpeg" | "image/png" | "image/webp" => ("sendPhoto", "photo"),
        "image/gif" => ("sendAnimation", "animation"),
        "audio/mpeg" | "audio/mp4" => ("sendAudio", "audio"),
        "audio/ogg" => ("sendVoice", "voice"),
        "video/mp4" => ("sendVideo", "video"),
        _ => ("sendDocument", "document"),
    }
}

fn upload(
    message: &OutboundMessage,
    file: &Attachment,
    blob: &str,
    common: &Value,
    (method, field): (&str, &str),
) -> Result<Result<Receipt, Problem>, SendError> {
    let mut parts: Vec<http::Part> = Vec::new();
    let mut add = |name: &str, value: &Value| {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        parts.push(http::Part::text(name, text));
    };
    common.as_object().into_iter().flatten().for_each(|(name, value)| add(name, value));
    if !message.text.is_empty() {
        let Formed { text, entities } = formed(message, CAPTION_UTF16_MAX);
        add("caption", &json!(text));
        if !entities.is_empty() {
            add("caption_entities", &json!(entities));
        }
    }
    let name = file.name.as_deref().filter(|name| !name.is_empty()).unwrap_or("file");
    let part = http::Part::blob(field, blob).file_name(name).media_type(&file.media_type);
    parts.push(part);
    answered(http::post(api::TARGET).path([method]).multipart(parts).send()?)
}

fn answered(answer: http::Response) -> Result<Result<Receipt, Problem>, SendError> {
    Ok(match api::read::<Sent>(&answer)? {
        Answer::Result(sent) => Ok(Receipt::new(sent.message_id.to_string())),
        Answer::Refused(problem) => Err(problem),
    })
}

/// Words of Telegram that say: not here, until somebody in this chat does something.
const CLOSED: [&str; 6] = [
    "not enough rights",
    "have no rights",
    "need administrator rights",
    "chat_write_forbidden",
    "user_is_blocked",
    "topic_closed",
];

/// What a refusal means for the message.
fn refused(problem: Problem, spot: Spot) -> SendError {
    if let Some(chat) = problem.moved_to {
        return SendError::Moved(Spot { chat, ..spot }.name());
    }
    match (problem.code, problem.retry_after_ms) {
        _ if problem.is_about_the_token() => SendError::Unauthorized(problem.fault),
        // Limits hold for a chat first; where all are meant, each says so for itself.
        (429, Some(retry_after_ms)) => {
            SendError::RateLimited(RateLimit { retry_after_ms, scope: RateScope::Conversation })
        }
        (429, None) => SendError::Transient(problem.fault),
        // The bot is blocked, was put out, or was never spoken to: that can change in a moment, and
        // the reply waits for it.
        (403, _) => SendError::Closed(problem.fault),
        (400, _) if problem.says(&CLOSED) => SendError::Closed(problem.fault),
        // Somebody on the way gave up: nobody knows whether it was shown.
        (408 | 500.., _) => SendError::Unknown(problem.fault),
        _ => SendError::Rejected(problem.fault),
    }
}

pub(crate) fn indicate(place: &Place, activity: Activity) -> Result<Option<u32>, CallError> {
    match activity {
        Activity::Typing => {
            let mut body = Spot::of(place).map_err(CallError::Refused)?.body();
            body["action"] = json!("typing");
            let _: bool = api::call("sendChatAction", &body)?;
            Ok(Some(TYPING_MS))
        }
        // It fades by itself, and with the message.
        Activity::Idle => Ok(None),
        // Bots cannot mark a message as read.
        Activity::Seen => Err(CallError::Unsupported),
    }
}
