//! The adapter against the fake host, with answers as the Bot API gives them.

use lastword_sdk::fake;

use super::*;

mod polling;
mod pushing;
mod reading;
mod sending;

const TOKEN: &str = "110201543:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw";

fn host() -> fake::Host {
    let host = fake::Host::of::<Telegram>();
    host.secret("token", TOKEN);
    host
}

/// A host that knows already who the bot is.
fn acquainted() -> fake::Host {
    let host = host();
    host.answer(result(json!({ "id": 7, "is_bot": true, "username": "last_bot" })));
    identity::me().unwrap();
    host
}

fn result(result: Value) -> fake::Answer {
    fake::status(200).json(&json!({ "ok": true, "result": result }))
}

fn refusal(code: u16, description: &str, parameters: Value) -> fake::Answer {
    fake::status(code).json(&json!({
        "ok": false, "error_code": code, "description": description, "parameters": parameters,
    }))
}

fn private() -> Value {
    json!({ "id": 42, "type": "private" })
}

fn group() -> Value {
    json!({ "id": -100, "type": "supergroup", "title": "Makers" })
}

fn said(id: i64, chat: Value, text: &str) -> Value {
    json!({
        "message_id": id, "date": 5, "chat": chat, "text": text,
        "from": { "id": 42, "first_name": "Ada", "last_name": "L", "username": "ada" },
    })
}

/// What one update makes.
fn read(update: Value) -> Vec<InboundEvent> {
    let _host = acquainted();
    read_here(update)
}

fn read_here(update: Value) -> Vec<InboundEvent> {
    let reader = events::Reader::load().unwrap();
    update::Update::read(update).map(|update| reader.read(update)).unwrap_or_default()
}

fn message(events: Vec<InboundEvent>) -> InboundMessage {
    match <[InboundEvent; 1]>::try_from(events) {
        Ok([InboundEvent::Message(message) | InboundEvent::Edited(message)]) => message,
        other => panic!("no message: {other:?}"),
    }
}
