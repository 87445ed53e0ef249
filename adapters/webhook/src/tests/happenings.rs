//! What comes in beside messages.

use lastword_sdk::message::{Action, Fate, LateReceipt, OtherEvent, SentMessage};

use super::*;

fn event(body: &str) -> InboundEvent {
    let _host = host();
    let [event] = <[InboundEvent; 1]>::try_from(handle("/events", body).unwrap().events).unwrap();
    event
}

#[test]
fn an_edit_has_the_fields_of_a_message() {
    let InboundEvent::Edited(message) =
        event(r#"{"type":"edited","id":"m1","conversation":"c1","text":"new"}"#)
    else {
        panic!("no edit")
    };
    let expected = InboundMessage::new("m1", "c1", Sender::new("unknown"), "new");
    assert_eq!(message, expected);
}

#[test]
fn a_deletion_names_the_message() {
    let deleted = event(r#"{"type":"deleted","id":"m1","conversation":"c1"}"#);
    let expected = Deletion { conversation: "c1".to_owned(), external_id: "m1".to_owned() };
    assert_eq!(deleted, InboundEvent::Deleted(expected));
}

#[test]
fn an_action_has_a_name_and_where_it_stood() {
    let action = event(
        r#"{"type":"action","id":"a1","conversation":"c1","sender":{"id":"u1"},"name":"approve",
            "value":"yes","on_message":"p1","extras":{"k":"v"}}"#,
    );
    let expected = Action {
        external_id: "a1".to_owned(),
        conversation: "c1".to_owned(),
        context: None,
        audience: Audience::Unknown,
        sender: Sender::new("u1"),
        name: "approve".to_owned(),
        value: Some("yes".to_owned()),
        on_message: Some("p1".to_owned()),
        extras: vec![("k".to_owned(), "v".to_owned())],
    };
    assert_eq!(action, InboundEvent::Action(expected));
}

#[test]
fn a_receipt_names_a_delivery_by_our_id_or_by_theirs() {
    let receipt = |body: &str| match event(body) {
        InboundEvent::Receipt(receipt) => receipt,
        other => panic!("no receipt: {other:?}"),
    };
    let ours =
        r#"{"type":"receipt","delivery_id":"d1","platform_id":"p1","fate":"read","at_ms":5}"#;
    let about = SentMessage::DeliveryId(("d1".to_owned(), Some("p1".to_owned())));
    let expected = LateReceipt { conversation: None, about, fate: Fate::Read, at_ms: Some(5) };
    assert_eq!(receipt(ours), expected);
    let theirs = r#"{"type":"receipt","conversation":"c1","platform_id":"p1","fate":"failed",
        "reason":"no such phone"}"#;
    let theirs = receipt(theirs);
    assert_eq!(theirs.about, SentMessage::PlatformId("p1".to_owned()));
    let Fate::Failed(fault) = theirs.fate else { panic!("it failed") };
    assert_eq!(fault.sentence, "no such phone");
}

#[test]
fn anything_else_is_carried_as_it_is_named() {
    let joined = event(r#"{"type":"other","id":"j1","kind":"joined","conversation":"c1"}"#);
    let expected = OtherEvent {
        external_id: "j1".to_owned(),
        kind: "joined".to_owned(),
        conversation: Some("c1".to_owned()),
        sender: None,
        extras: Vec::new(),
    };
    assert_eq!(joined, InboundEvent::Other(expected));
}

#[test]
fn what_is_wrong_with_an_event_is_answered_with_its_place() {
    let _host = host();
    for (body, word) in [
        ("{\"id\":\"m1\"}", "`type`"),
        ("{\"type\":\"melted\"}", "melted"),
        ("{\"type\":\"deleted\",\n\"id\":\"m1\"}", "`conversation`"),
        ("{\"type\":\"action\",\n\"id\":7}", "line 2 column 6"),
        ("{\"type\":\"receipt\",\"fate\":\"read\"}", "`delivery_id`"),
        ("{\"type\":\"receipt\",\"delivery_id\":\"d\",\"fate\":\"lost\"}", "lost"),
    ] {
        let refusal = refusal("/events", body);
        assert_eq!(refusal.status, 400);
        assert!(refusal.sentence.contains(word), "{}", refusal.sentence);
    }
}

#[test]
fn events_are_signed_as_messages_are() {
    let host = host();
    host.secret("inbound-key", KEY);
    let unsigned = refusal("/events", r#"{"type":"deleted","id":"m1","conversation":"c1"}"#);
    assert_eq!(unsigned.status, 401);
}
