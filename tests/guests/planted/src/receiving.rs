//! In: what the server pushes, and what it is asked for.

use lastword_sdk::encoding::from_hex;
use lastword_sdk::prelude::*;
use lastword_sdk::secrets::Mac;
use serde::Deserialize;

use crate::Fault;

#[derive(Deserialize)]
struct Said {
    id: String,
    room: String,
    from: String,
    text: String,
}

#[derive(Deserialize)]
struct Page {
    messages: Vec<Said>,
    next: String,
}

#[derive(Deserialize)]
struct Person {
    name: String,
}

pub(crate) fn pushed(request: &Request) -> Result<Reply, Refusal> {
    let code = request.header("x-signature").and_then(from_hex).unwrap_or_default();
    let is_signed = secrets::verify("signing-key", Mac::HmacSha256, &request.body, &code);
    if !is_signed && !Fault::AcceptsABadSignature.planted() {
        return Err(Refusal::unsigned("the signature is missing or wrong"));
    }
    let said: Said = request.json()?;
    match event(said) {
        Ok(event) => Ok(Reply::accept(event.into_iter().collect())),
        Err(_) if Fault::AnswersBeforeItsEventsAreWhole.planted() => Ok(Reply::accept(Vec::new())),
        Err(_) => Err(Refusal::new(503, "the server did not say who it is; push it again")),
    }
}

pub(crate) fn polled(cursor: Option<String>) -> Result<Batch, PollError> {
    let mut request = http::get("chat").path(["messages"]);
    if let Some(cursor) = &cursor {
        request = request.query("after", cursor.as_str());
    }
    let page: Page = request.send().map_err(CallError::from)?.for_call()?.json()?;
    let mut events = Vec::new();
    for said in page.messages {
        events.extend(event(said)?);
    }
    let next = match cursor {
        Some(before) if Fault::LosesTheCursor.planted() => before,
        Some(_) | None => page.next,
    };
    Ok(Batch { events, cursor: next, more: false })
}

fn event(said: Said) -> Result<Option<InboundEvent>, CallError> {
    let me: String = settings::require("bot_id")?;
    if said.from == me && !Fault::TakesItsOwnMessagesForAPersons.planted() {
        return Ok(None);
    }
    let path = ["people", said.from.as_str()];
    let person: Person = http::get("chat").path(path).send()?.for_call()?.json()?;
    let sender = Sender::new(said.from).named(person.name);
    Ok(Some(InboundMessage::new(said.id, said.room, sender, said.text).into()))
}
