//! Sending, showing activity, and looking for what was sent.

use super::*;

fn sent(message: OutboundMessage) -> (Value, String) {
    let host = host();
    host.answer(fake::status(200).json(&json!({ "event_id": "$sent" })));
    assert_eq!(host.send_final::<Matrix>(message).unwrap().platform_id, "$sent");
    let sent = host.sent().pop().unwrap();
    assert_eq!((sent.method.as_str(), sent.effect), ("PUT", Effect::Send));
    (sent.json(), sent.url)
}

#[test]
fn a_reply_is_sent_with_its_delivery_id_as_the_transaction() {
    let (content, url) = sent(fake::message(ROOM, "hello\u{0}\u{1b}[1m"));
    let path = "/_matrix/client/v3/rooms/%21room%3Aexample.org/send/m.room.message/d1";
    assert!(url.ends_with(path), "{url}");
    let expected = json!({
        "msgtype": "m.text", "body": "hello[1m", "dev.lastword.delivery_id": "d1",
    });
    assert_eq!(content, expected);
}

#[test]
fn markdown_goes_out_with_its_form_unless_that_is_too_large() {
    let mut message = fake::message(ROOM, "**hi** <b>");
    message.format = TextFormat::Markdown;
    let (content, _) = sent(message.clone());
    assert_eq!(content["format"], "org.matrix.custom.html");
    assert_eq!(content["formatted_body"], "<p><strong>hi</strong> &lt;b&gt;</p>");
    message.text = "<".repeat(30_000);
    let (content, _) = sent(message);
    assert_eq!(content.get("formatted_body"), None);
    assert_eq!(content["body"].as_str().unwrap().len(), 30_000);
}

#[test]
fn a_reply_points_to_what_it_answers_and_stays_in_its_thread() {
    let mut message = fake::message(ROOM, "x");
    message.place.reply_to = Some("$1".to_owned());
    let (content, _) = sent(message.clone());
    assert_eq!(content["m.relates_to"], json!({ "m.in_reply_to": { "event_id": "$1" } }));
    message.place.context = Some("$root".to_owned());
    let (content, _) = sent(message.clone());
    let reply = json!({
        "rel_type": "m.thread", "event_id": "$root", "is_falling_back": false,
        "m.in_reply_to": { "event_id": "$1" },
    });
    assert_eq!(content["m.relates_to"], reply);
    message.place.reply_to = None;
    let (content, _) = sent(message);
    assert_eq!(content["m.relates_to"]["is_falling_back"], true);
}

fn refused(answer: fake::Answer) -> SendError {
    let host = host();
    host.answer(answer);
    host.send_final::<Matrix>(fake::message(ROOM, "x")).unwrap_err()
}

#[test]
fn each_refusal_has_its_outcome() {
    let error = |status, code: &str| {
        refused(fake::status(status).json(&json!({ "errcode": code, "error": "words" })))
    };
    assert!(matches!(error(401, "M_UNKNOWN_TOKEN"), SendError::Unauthorized(_)));
    assert!(matches!(error(403, "M_USER_DEACTIVATED"), SendError::Unauthorized(_)));
    assert!(matches!(error(403, "M_FORBIDDEN"), SendError::Closed(_)));
    assert!(matches!(error(404, "M_NOT_FOUND"), SendError::Rejected(_)));
    assert!(matches!(error(413, "M_TOO_LARGE"), SendError::Rejected(_)));
    for status in [408, 500, 502, 503, 504, 524] {
        assert!(matches!(refused(fake::status(status)), SendError::Unknown(_)), "{status}");
    }
    let SendError::Rejected(fault) = error(400, "M_BAD_JSON") else { panic!("not rejected") };
    assert_eq!(fault.code, "M_BAD_JSON");
    assert_eq!(fault.sentence, "the homeserver answered 400 M_BAD_JSON: words");
}

#[test]
fn a_rate_limit_is_heeded_from_the_body_and_from_the_header() {
    let body = json!({ "errcode": "M_LIMIT_EXCEEDED", "retry_after_ms": 1234 });
    let limit = |answer| match refused(answer) {
        SendError::RateLimited(limit) => limit,
        other => panic!("{other:?}"),
    };
    let of_body = limit(fake::status(429).json(&body));
    assert_eq!((of_body.retry_after_ms, of_body.scope), (1234, RateScope::Channel));
    let both = limit(fake::status(429).json(&body).header("Retry-After", "7"));
    assert_eq!(both.retry_after_ms, 7_000);
    assert!(matches!(refused(fake::status(429)), SendError::Transient(_)));
}

#[test]
fn typing_is_shown_and_cleared_and_a_message_marked_as_read() {
    let host = host();
    let mut place = fake::message(ROOM, "").place;
    host.answer(fake::status(200)).answer(fake::status(200)).answer(fake::status(200));
    assert_eq!(Matrix::indicate(place.clone(), Activity::Typing), Ok(Some(30_000)));
    assert_eq!(Matrix::indicate(place.clone(), Activity::Idle), Ok(None));
    assert_eq!(Matrix::indicate(place.clone(), Activity::Seen), Ok(None));
    place.reply_to = Some("$1".to_owned());
    assert_eq!(Matrix::indicate(place, Activity::Seen), Ok(None));
    let sent = host.sent();
    assert!(sent[0].url.ends_with("/typing/%40bot%3Aexample.org"), "{}", sent[0].url);
    assert_eq!(sent[0].json()["typing"], true);
    assert_eq!(sent[1].json()["typing"], false);
    assert!(sent[2].url.ends_with("/receipt/m.read/%241"), "{}", sent[2].url);
}

const NOW_MS: u64 = 1_767_225_600_000;

fn ours(id: &str, delivery: &str, at_ms: u64) -> Value {
    json!({
        "type": "m.room.message", "event_id": id, "sender": "@bot:example.org",
        "origin_server_ts": at_ms, "content": { "dev.lastword.delivery_id": delivery },
    })
}

fn find(pages: &[Value]) -> Lookup {
    let host = host();
    for page in pages {
        host.answer(fake::status(200).json(page));
    }
    Matrix::find(fake::message(ROOM, "x"), NOW_MS).unwrap()
}

#[test]
fn a_message_of_unknown_outcome_is_found_in_the_room() {
    let page = json!({ "chunk": [ours("$2", "d2", NOW_MS), ours("$1", "d1", NOW_MS)] });
    assert_eq!(find(&[page]), Lookup::Found(Receipt::new("$1")));
}

#[test]
fn a_message_is_absent_where_the_room_goes_back_beyond_its_first_attempt() {
    let day = 24 * 60 * 60 * 1000;
    let old = json!({ "chunk": [ours("$2", "d2", NOW_MS - day)], "end": "t" });
    assert_eq!(find(&[old]), Lookup::Absent);
    let young = json!({ "chunk": [ours("$2", "d2", NOW_MS - 1000)], "end": "t" });
    assert_eq!(find(&[young, json!({ "chunk": [] })]), Lookup::Absent);
}

#[test]
fn a_redacted_message_of_ours_leaves_it_open() {
    let mut redacted = ours("$1", "", NOW_MS);
    redacted["content"] = json!({});
    redacted["unsigned"] = json!({ "redacted_because": {} });
    assert!(matches!(find(&[json!({ "chunk": [redacted] })]), Lookup::Undecided(_)));
}

#[test]
fn a_homeserver_with_a_path_of_the_api_is_a_problem() {
    let host = fake::Host::of::<Matrix>();
    host.setting("homeserver", "https://example.org/_matrix/client");
    assert_eq!(Matrix::check().unwrap_err()[0].setting, "homeserver");
    host.setting("homeserver", "https://example.org");
    assert_eq!(Matrix::check(), Ok(()));
}
