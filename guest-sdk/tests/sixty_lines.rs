//! A complete adapter, from a webhook to `send_final`, fits in 60 lines, and works.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[allow(unreachable_pub, reason = "an example is a crate of its own")]
#[path = "../examples/bridge.rs"]
mod bridge;

use bridge::Bridge;
use lastword_sdk::fake;
use lastword_sdk::prelude::*;

fn host() -> fake::Host {
    let host = fake::Host::of::<Bridge>();
    host.setting("server", "https://chat.example").secret("token", "t0k3n");
    host.secret("push-key", "pushed");
    host
}

#[test]
fn it_has_60_lines_at_most() {
    let lines = include_str!("../examples/bridge.rs").lines().count();
    assert!(lines <= 60, "{lines} lines");
}

#[test]
fn it_takes_a_message_in() {
    let _host = host();
    let body = br#"{"id":"m1","room":"kitchen","user":"ada","text":"Tea?"}"#;
    let mut request = fake::pushed("/", body);
    assert_eq!(Bridge::handle(request.clone()).unwrap_err().status, 401);
    request.headers.push(("x-push-key".to_owned(), "pushed".to_owned()));
    let message = InboundMessage::new("m1", "kitchen", Sender::new("ada"), "Tea?");
    assert_eq!(Bridge::handle(request).unwrap().events, [message.into()]);
}

#[test]
fn it_sends_the_reply() {
    let host = host();
    host.answer(fake::status(201).json(&json!({ "id": "p1" })));
    let receipt = host.send_final::<Bridge>(fake::message("kitchen", "Yes, please."));
    assert_eq!(receipt.unwrap().platform_id, "p1");
    let sent = &host.sent()[0];
    assert_eq!(sent.url, "https://chat.example/rooms/kitchen/messages");
    assert_eq!(sent.header("authorization"), Some("Bearer t0k3n"));
    assert_eq!(sent.header("idempotency-key"), Some("d1"));
}

#[test]
fn it_says_what_is_true_where_the_answer_is_lost_or_unreadable() {
    let host = host();
    host.fail(http::Error::Unanswered("reset".to_owned()));
    host.answer(fake::status(200).text("<html>"));
    for _ in 0..2 {
        let outcome = host.send_final::<Bridge>(fake::message("kitchen", "Yes, please."));
        assert!(matches!(outcome, Err(SendError::Unknown(_))), "{outcome:?}");
    }
}
