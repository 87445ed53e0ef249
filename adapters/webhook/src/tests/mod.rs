//! The bridge against the fake host.

use lastword_sdk::encoding::{from_base64, to_base64};
use lastword_sdk::fake;
use lastword_sdk::http::Error;

use super::*;

mod files;
mod happenings;

const KEY: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

fn host() -> fake::Host {
    let host = fake::Host::of::<WebhookBridge>();
    host.setting("callback_url", "https://app.example/replies?kind=bot");
    host
}

fn handle(path: &str, body: &str) -> Result<Reply, Refusal> {
    WebhookBridge::handle(fake::pushed(path, body.as_bytes()))
}

fn refusal(path: &str, body: &str) -> Refusal {
    handle(path, body).unwrap_err()
}

#[test]
fn a_message_comes_in_with_every_field() {
    let _host = host();
    let body = r#"{"id":"m1","conversation":"c1","text":"hi","sender":{"id":"u1","name":"Ada"},
        "wakes":false,"reply_to":"m0","sent_at_ms":5,"extras":{"a":"b","n":1},"later":true}"#;
    let reply = handle("/messages", body).unwrap();
    assert_eq!(reply.status, 200);
    let mut message = InboundMessage::new("m1", "c1", Sender::new("u1").named("Ada"), "hi");
    message.wakes = false;
    message.reply_to = Some("m0".to_owned());
    message.sent_at_ms = Some(5);
    message.extras = vec![("a".to_owned(), "b".to_owned()), ("n".to_owned(), "1".to_owned())];
    assert_eq!(reply.events, [InboundEvent::Message(message)]);
}

#[test]
fn a_message_wakes_where_it_does_not_say() {
    let _host = host();
    let reply = handle("messages", r#"{"id":"m1","conversation":"c1","text":"hi"}"#).unwrap();
    let InboundEvent::Message(message) = &reply.events[0] else { panic!("no message") };
    assert!(message.wakes);
    assert_eq!(message.sender.id, "unknown");
}

#[test]
fn several_messages_come_in_their_order() {
    let _host = host();
    let body = r#"{"messages":[{"id":"a","conversation":"c","text":"1"},
        {"id":"b","conversation":"c","text":"2"}]}"#;
    let ids: Vec<String> = handle("/messages", body)
        .unwrap()
        .events
        .into_iter()
        .map(|event| match event {
            InboundEvent::Message(message) => message.external_id,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(ids, ["a", "b"]);
    assert_eq!(handle("/messages", r#"{"messages":[]}"#).unwrap().events, []);
}

#[test]
fn a_stop_comes_in_as_an_abort() {
    let _host = host();
    let body = r#"{"id":"s1","conversation":"c1","sender":{"id":"u1"}}"#;
    let reply = handle("/abort", body).unwrap();
    let InboundEvent::Abort(abort) = &reply.events[0] else { panic!("no abort") };
    assert_eq!((abort.external_id.as_str(), abort.conversation.as_str()), ("s1", "c1"));
}

#[test]
fn what_is_malformed_is_answered_with_its_place() {
    let _host = host();
    let broken = refusal("/messages", "{\"id\":\"m1\",\n \"conversation\":}");
    assert_eq!(broken.status, 400);
    assert!(broken.sentence.contains("line 2 column 17"), "{}", broken.sentence);
    let missing = refusal("/messages", r#"{"id":"m1","text":"x"}"#);
    assert!(missing.sentence.contains("`conversation`"), "{}", missing.sentence);
    let second = refusal(
        "/messages",
        "{\"messages\":[{\"id\":\"a\",\"conversation\":\"c\",\"text\":\"1\"},\n{\"id\":7}]}",
    );
    assert!(second.sentence.contains("line 2 column 7"), "{}", second.sentence);
    assert_eq!(refusal("/messages", "").status, 400);
    assert_eq!(refusal("/messages", "[]").status, 400);
}

#[test]
fn what_is_of_another_kind_is_answered_in_words_and_not_in_names_of_types() {
    let _host = host();
    let sender = r#"{"id":"m1","conversation":"c","text":"x","sender":"ann"}"#;
    for (path, body, words) in [
        ("/messages", sender, "expected an object with `id`, and with `name` where there is one"),
        ("/messages", "7", "expected an object: one message, or {\"messages\": [...]}"),
        ("/messages", "[]", "expected an object: one message"),
        ("/abort", "\"now\"", "expected an object with `id` and `conversation`"),
        ("/events", "[]", "expected an object with `type`"),
    ] {
        let refusal = refusal(path, body);
        assert_eq!(refusal.status, 400);
        assert!(refusal.sentence.contains(words), "{}", refusal.sentence);
        assert!(!refusal.sentence.contains("struct"), "{}", refusal.sentence);
    }
}

#[test]
fn an_id_is_1_to_512_bytes_long() {
    let _host = host();
    let body = |id: &str| json!({"id": id, "conversation": "c", "text": ""}).to_string();
    assert!(handle("/messages", &body(&"x".repeat(512))).is_ok());
    let long = refusal("/messages", &body(&"x".repeat(513)));
    assert!(long.sentence.contains("513 bytes"), "{}", long.sentence);
    assert_eq!(long.status, 400);
    assert!(refusal("/messages", &body("")).sentence.contains("empty"));
    let reply_to = json!({"id": "a", "conversation": "c", "text": "", "reply_to": ""});
    assert_eq!(refusal("/messages", &reply_to.to_string()).status, 400);
}

#[test]
fn other_paths_and_methods_are_refused() {
    let _host = host();
    assert_eq!(refusal("/", "{}").status, 404);
    let mut request = fake::pushed("/messages", b"");
    request.method = "GET".to_owned();
    assert_eq!(WebhookBridge::handle(request).unwrap_err().status, 405);
}

/// A request signed by somebody who holds `KEY`, at `at_seconds`.
fn signed(at_seconds: u64, body: &str, signatures: impl FnOnce(String) -> String) -> Request {
    let key = from_base64(KEY.trim_start_matches("whsec_")).unwrap();
    let code = fake::hmac_sha256(&key, format!("msg_1.{at_seconds}.{body}").as_bytes());
    let mut request = fake::pushed("/messages", body.as_bytes());
    request.headers = vec![
        ("webhook-id".to_owned(), "msg_1".to_owned()),
        ("webhook-timestamp".to_owned(), at_seconds.to_string()),
        ("webhook-signature".to_owned(), signatures(format!("v1,{}", to_base64(&code)))),
    ];
    request
}

const BODY: &str = r#"{"id":"m1","conversation":"c1","text":"hi"}"#;
const NOW_SECONDS: u64 = 1_767_225_600;

#[test]
fn with_an_inbound_key_only_what_is_signed_comes_in() {
    let host = host();
    host.secret("inbound-key", KEY);
    assert_eq!(refusal("/messages", BODY).status, 401);
    assert!(WebhookBridge::handle(signed(NOW_SECONDS, BODY, |code| code)).is_ok());
    let mut changed = signed(NOW_SECONDS, BODY, |code| code);
    changed.body.push(b' ');
    assert_eq!(WebhookBridge::handle(changed).unwrap_err().status, 401);
    let mut renamed = signed(NOW_SECONDS, BODY, |code| code);
    renamed.headers[0].1 = "msg_2".to_owned();
    assert_eq!(WebhookBridge::handle(renamed).unwrap_err().status, 401);
}

#[test]
fn one_right_signature_among_several_is_enough() {
    let host = host();
    host.secret("inbound-key", KEY);
    let among = |code| format!("v1,AAAA v1a,{code} {code} v1,????");
    assert!(WebhookBridge::handle(signed(NOW_SECONDS, BODY, among)).is_ok());
    let other = |code: String| code.replace("v1,", "v2,");
    assert!(WebhookBridge::handle(signed(NOW_SECONDS, BODY, other)).is_err());
}

#[test]
fn a_timestamp_may_be_five_minutes_off_either_way() {
    let host = host();
    host.secret("inbound-key", KEY);
    for at in [NOW_SECONDS - 300, NOW_SECONDS + 300] {
        assert!(WebhookBridge::handle(signed(at, BODY, |code| code)).is_ok());
    }
    for at in [NOW_SECONDS - 301, NOW_SECONDS + 301] {
        assert_eq!(WebhookBridge::handle(signed(at, BODY, |code| code)).unwrap_err().status, 401);
    }
}

#[test]
fn the_signature_of_standard_webhooks_own_example_is_taken() {
    let host = host();
    host.secret("inbound-key", KEY).now_ms(1_614_265_330_000);
    let mut request = fake::pushed("/messages", br#"{"test": 2432232314}"#);
    request.headers = [
        ("webhook-id", "msg_p5jXN8AQM9LWM0D4loKWxJek"),
        ("webhook-timestamp", "1614265330"),
        ("webhook-signature", "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .to_vec();
    // The signature is right: what is wrong then is the body, which is no message.
    assert_eq!(WebhookBridge::handle(request).unwrap_err().status, 400);
}

#[test]
fn a_reply_goes_out_as_json_under_its_delivery_id() {
    let host = host();
    host.answer(fake::status(200).json(&json!({ "id": "p7" })));
    let mut message = fake::message("c1", "the answer");
    message.place.reply_to = Some("m1".to_owned());
    assert_eq!(host.send_final::<WebhookBridge>(message).unwrap().platform_id, "p7");
    let sent = &host.sent()[0];
    assert_eq!(sent.url, "https://app.example/replies?kind=bot");
    assert_eq!(sent.header("webhook-id"), Some("d1"));
    assert_eq!(sent.header("webhook-signature"), None);
    assert_eq!(sent.header("content-type"), Some("application/json"));
    let body = json!({
        "delivery_id": "d1", "turn_id": "t1", "conversation": "c1", "reply_to": "m1",
        "kind": "final", "text": "the answer", "format": "plain", "part": 1, "parts": 1,
        "attempt": 1,
    });
    assert_eq!(sent.json(), body);
}

#[test]
fn a_reply_is_signed_where_there_is_a_key() {
    let host = host();
    host.secret("outbound-key", KEY).answer(fake::status(204));
    let receipt = host.send_final::<WebhookBridge>(fake::message("c1", "x")).unwrap();
    assert_eq!(receipt.platform_id, "d1");
    let sent = &host.sent()[0];
    let content = [format!("d1.{NOW_SECONDS}.").as_bytes(), &sent.body].concat();
    let key = from_base64(KEY.trim_start_matches("whsec_")).unwrap();
    let expected = format!("v1,{}", to_base64(&fake::hmac_sha256(&key, &content)));
    assert_eq!(sent.header("webhook-signature"), Some(expected.as_str()));
}

#[test]
fn an_id_that_is_of_no_use_is_replaced_by_the_delivery_id() {
    let host = host();
    for id in [json!(""), json!("x".repeat(513)), json!({}), json!(null)] {
        host.answer(fake::status(200).json(&json!({ "id": id })));
        let receipt = host.send_final::<WebhookBridge>(fake::message("c1", "x")).unwrap();
        assert_eq!(receipt.platform_id, "d1");
    }
    host.answer(fake::status(200).json(&json!({ "id": 42 })));
    let receipt = host.send_final::<WebhookBridge>(fake::message("c1", "x")).unwrap();
    assert_eq!(receipt.platform_id, "42");
}

#[test]
fn progress_goes_out_with_its_kind() {
    let host = host();
    for (kind, word) in [(ProgressKind::Tool, "tool"), (ProgressKind::Block, "block")] {
        host.answer(fake::status(200));
        host.send_progress::<WebhookBridge>(kind, fake::message("c1", "x")).unwrap();
        assert_eq!(host.sent().last().unwrap().json()["kind"], word);
    }
    let place = fake::message("c1", "x").place;
    let shown = WebhookBridge::indicate(place, Activity::Typing);
    assert_eq!(shown, Err(CallError::Unsupported));
}

fn outcome(answer: fake::Answer) -> SendError {
    let host = host();
    host.answer(answer);
    host.send_final::<WebhookBridge>(fake::message("c1", "x")).unwrap_err()
}

#[test]
fn each_status_has_its_pinned_outcome() {
    for status in [408, 500, 502, 504] {
        assert!(matches!(outcome(fake::status(status)), SendError::Unknown(_)), "{status}");
    }
    for status in [429, 503] {
        assert!(matches!(outcome(fake::status(status)), SendError::Transient(_)), "{status}");
    }
    for status in [401, 403] {
        assert!(matches!(outcome(fake::status(status)), SendError::Unauthorized(_)), "{status}");
    }
    for status in [301, 307, 400, 404, 410, 413, 422] {
        assert!(matches!(outcome(fake::status(status)), SendError::Rejected(_)), "{status}");
    }
}

#[test]
fn retry_after_is_heeded_in_seconds_and_as_a_date() {
    for (value, wait_ms) in [("90", 90_000), ("Thu, 01 Jan 2026 00:02:00 GMT", 120_000)] {
        for status in [429, 503] {
            let error = outcome(fake::status(status).header("Retry-After", value));
            let SendError::RateLimited(limit) = error else { panic!("{error:?}") };
            assert_eq!(limit.retry_after_ms, wait_ms);
        }
    }
    let past = outcome(fake::status(429).header("Retry-After", "Thu, 01 Jan 1998 00:00:00 GMT"));
    assert!(matches!(past, SendError::RateLimited(RateLimit { retry_after_ms: 0, .. })));
    let forever = outcome(fake::status(429).header("Retry-After", "99999999999999"));
    assert!(matches!(forever, SendError::RateLimited(RateLimit { retry_after_ms: u32::MAX, .. })));
    let nonsense = outcome(fake::status(503).header("Retry-After", "soon"));
    assert!(matches!(nonsense, SendError::Transient(_)));
}

#[test]
fn a_refusal_carries_the_platforms_own_words() {
    let error = outcome(fake::status(422).text("no such conversation\nmore"));
    let SendError::Rejected(fault) = error else { panic!("{error:?}") };
    assert_eq!(fault.code, "http-422");
    assert_eq!(fault.sentence, "the platform answered 422: no such conversation");
    let moved = outcome(fake::status(308).header("Location", "https://elsewhere.example/"));
    let SendError::Rejected(fault) = moved else { panic!("{moved:?}") };
    assert!(fault.sentence.contains("never followed"), "{}", fault.sentence);
}

#[test]
fn a_lost_answer_is_unknown_and_a_refused_connection_is_offline() {
    let host = host();
    host.fail(Error::Unanswered("reset".to_owned())).fail(Error::NotSent("refused".to_owned()));
    let send = || host.send_final::<WebhookBridge>(fake::message("c1", "x")).unwrap_err();
    assert!(matches!(send(), SendError::Unknown(_)));
    assert!(matches!(send(), SendError::Offline(_)));
}

#[test]
fn a_callback_that_is_no_address_is_a_problem() {
    let host = fake::Host::of::<WebhookBridge>();
    host.setting("callback_url", "https:///x");
    assert_eq!(WebhookBridge::check().unwrap_err()[0].setting, "callback_url");
    host.setting("callback_url", "http://127.0.0.1:9000/replies");
    assert_eq!(WebhookBridge::check(), Ok(()));
}
