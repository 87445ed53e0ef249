//! The adapter against the fake host. What a homeserver does is held against a real one in the
//! host's own tests.

use lastword_sdk::fake;

use super::*;

mod files;
mod meaning;
mod polling;
mod sending;

const ROOM: &str = "!room:example.org";

fn host() -> fake::Host {
    let host = fake::Host::of::<Matrix>();
    host.setting("homeserver", "http://127.0.0.1:8008");
    host.setting("user_id", "@bot:example.org");
    host.secret("access-token", "syt_secret");
    host
}

fn said(id: &str, body: &str) -> Value {
    json!({
        "type": "m.room.message", "event_id": id, "sender": "@ada:example.org",
        "origin_server_ts": 5, "content": { "msgtype": "m.text", "body": body },
    })
}

fn synced(next: &str, room: &str, timeline: Value) -> fake::Answer {
    let joined = json!({ room: { "timeline": timeline } });
    fake::status(200).json(&json!({ "next_batch": next, "rooms": { "join": joined } }))
}

fn poll(cursor: &str, most: u32) -> Batch {
    Matrix::next(Some(cursor.to_owned()), 20_000, most).unwrap()
}

/// What one event makes, alone in a timeline.
fn read(event: Value) -> Vec<InboundEvent> {
    read_of(&host(), event)
}

fn read_of(host: &fake::Host, event: Value) -> Vec<InboundEvent> {
    host.answer(synced("s2", ROOM, json!({ "events": [event] })));
    poll("s1", 100).events
}

fn message(events: Vec<InboundEvent>) -> InboundMessage {
    match <[InboundEvent; 1]>::try_from(events) {
        Ok([InboundEvent::Message(message) | InboundEvent::Edited(message)]) => message,
        other => panic!("no message: {other:?}"),
    }
}
