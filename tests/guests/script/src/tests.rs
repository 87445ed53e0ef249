//! That the script does what its table says, against the fake host.

use lastword_sdk::fake;

use super::*;

fn host() -> fake::Host {
    let host = fake::Host::of::<Script>();
    host.setting("url", "http://127.0.0.1:9");
    host
}

#[test]
fn a_plain_text_is_sent_once() {
    let host = host();
    host.answer(fake::status(200).json(&json!({ "id": "p1" })));
    assert_eq!(host.send_final::<Script>(fake::message("c", "hi")).unwrap().platform_id, "p1");
    assert_eq!(host.sent()[0].url, "http://127.0.0.1:9/send");
    assert_eq!(host.sent().len(), 1);
}

#[test]
fn a_line_for_one_attempt_is_skipped_on_the_others() {
    let host = host();
    let mut message = fake::message("c", "!on 1 say transient\n!until 3 say offline");
    let mut send = |attempt| {
        message.attempt = attempt;
        Script::send_final(message.clone())
    };
    assert!(matches!(send(1), Err(SendError::Transient(_))));
    assert!(matches!(send(2), Err(SendError::Offline(_))));
    host.answer(fake::status(200));
    assert!(send(3).is_ok());
}

#[test]
fn it_can_say_what_the_wire_contradicts() {
    let host = host();
    let told = Script::send_final(fake::message("c", "!say delivered p9"));
    assert_eq!(told.unwrap().platform_id, "p9");
    host.fail(http::Error::Unanswered("cut".to_owned()));
    let told = Script::send_final(fake::message("c", "!send-raw\n!say transient"));
    assert!(matches!(told, Err(SendError::Transient(_))));
}

#[test]
#[should_panic(expected = "boom")]
fn it_traps_after_a_send() {
    let host = host();
    host.answer(fake::status(200));
    let _ = Script::send_final(fake::message("c", "!send\n!trap boom"));
}

#[test]
fn a_poll_gives_what_the_server_gave() {
    let host = host();
    host.answer(fake::status(200).json(&json!({
        "events": [{ "id": "m1", "conversation": "c", "text": "hi" }, { "kind": "deleted" }],
        "cursor": "5",
    })));
    let batch = Script::next(None, 0, 10).unwrap();
    assert_eq!((batch.events.len(), batch.cursor.as_str()), (2, "5"));
    host.answer(fake::status(410));
    assert!(matches!(Script::next(None, 0, 10), Err(PollError::CursorLost(_))));
}

#[test]
fn events_are_pushed_with_their_copies() {
    let _host = host();
    let body = json!({ "events": [{ "id": "m", "conversation": "c", "copies": 3, "fill": 9 }] });
    let request = fake::pushed("/events", body.to_string().as_bytes());
    let reply = Script::handle(request).unwrap();
    assert_eq!(reply.events.len(), 3);
    let InboundEvent::Message(last) = &reply.events[2] else { panic!("no message") };
    assert_eq!((last.external_id.as_str(), last.text.len()), ("m-2", 9));
}
