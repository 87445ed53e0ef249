//! Polling: syncs, events, backlog, invitations, identity.

use lastword_sdk::http::Error;

use super::*;

fn ids(batch: &Batch) -> Vec<&str> {
    let id = |event: &'_ InboundEvent| match event {
        InboundEvent::Message(message) => message.external_id.clone(),
        other => panic!("{other:?}"),
    };
    let ids: Vec<String> = batch.events.iter().map(id).collect();
    ids.leak().iter().map(String::as_str).collect()
}

#[test]
fn without_a_cursor_only_the_present_is_kept() {
    let host = host();
    host.answer(synced("s1", ROOM, json!({ "events": [said("$old", "old")], "limited": true })));
    let batch = Matrix::next(None, 20_000, 100).unwrap();
    assert_eq!((batch.events.len(), batch.cursor.as_str(), batch.more), (0, "s1", false));
    let url = &host.sent()[0].url;
    assert!(url.starts_with("http://127.0.0.1:8008/_matrix/client/v3/sync?"), "{url}");
    assert!(url.contains("timeout=0") && !url.contains("since"), "{url}");
}

#[test]
fn a_message_comes_in_and_the_cursor_moves() {
    let host = host();
    host.answer(synced("s2", ROOM, json!({ "events": [said("$1", "hi")] })));
    let batch = poll("s1", 100);
    assert_eq!(batch.cursor, "s2");
    let mut expected = InboundMessage::new("$1", ROOM, Sender::new("@ada:example.org"), "hi");
    expected.sent_at_ms = Some(5);
    assert_eq!(batch.events, [expected.into()]);
    let sent = &host.sent()[0];
    assert_eq!(sent.header("authorization"), Some("Bearer syt_secret"));
    assert!(sent.url.contains("since=s1") && sent.url.contains("timeout=20000"), "{}", sent.url);
}

#[test]
fn our_own_messages_notices_and_redacted_ones_are_left_out() {
    let mut own = said("$1", "hi");
    own["sender"] = json!("@bot:example.org");
    assert_eq!(read(own), []);
    let mut notice = said("$1", "hi");
    notice["content"]["msgtype"] = json!("m.notice");
    assert_eq!(read(notice), []);
    let mut redacted = said("$1", "hi");
    redacted["content"] = json!({});
    assert_eq!(read(redacted), []);
}

#[test]
fn an_event_that_nobody_can_read_does_not_hold_up_the_others() {
    let host = host();
    host.answer(synced("s2", ROOM, json!({ "events": [{ "type": 7 }, said("$2", "b")] })));
    assert_eq!(ids(&poll("s1", 100)), ["$2"]);
    assert_eq!(host.log().len(), 1);
}

#[test]
fn a_reply_names_what_it_answers_and_loses_its_quotation() {
    let reply_to = json!({ "m.in_reply_to": { "event_id": "$1" } });
    let mut reply = said("$2", "> <@bot:example.org> one\n> two\n\nthree\n> four");
    reply["content"]["m.relates_to"] = reply_to.clone();
    let quoting = message(read(reply));
    assert_eq!(quoting.text, "three\n> four");
    assert_eq!(quoting.reply_to.as_deref(), Some("$1"));
    let mut quotation = said("$2", "> alone");
    quotation["content"]["m.relates_to"] = reply_to;
    assert_eq!(message(read(quotation)).text, "> alone");
}

#[test]
fn a_message_in_a_thread_carries_its_root_as_context() {
    let mut event = said("$3", "hi");
    event["content"]["m.relates_to"] = json!({
        "rel_type": "m.thread", "event_id": "$root", "is_falling_back": true,
        "m.in_reply_to": { "event_id": "$2" },
    });
    let message = message(read(event));
    assert_eq!(message.context.as_deref(), Some("$root"));
    assert_eq!(message.reply_to, None);
}

#[test]
fn an_encrypted_message_is_told_as_such() {
    let mut event = said("$1", "");
    event["type"] = json!("m.room.encrypted");
    let [InboundEvent::Other(other)] = &read(event)[..] else { panic!("nothing told") };
    assert_eq!(other.kind, "matrix.encrypted");
}

#[test]
fn the_audience_follows_the_member_count_and_is_remembered() {
    let host = host();
    let joined = |count: Value| {
        let timeline = json!({ "events": [said("$1", "hi")] });
        let room = json!({ "timeline": timeline, "summary": { "m.joined_member_count": count } });
        let body = json!({ "next_batch": "s2", "rooms": { "join": { ROOM: room } } });
        host.answer(fake::status(200).json(&body));
        message(poll("s1", 100).events).audience
    };
    assert_eq!(joined(json!(null)), Audience::Unknown);
    assert_eq!(joined(json!(2)), Audience::Direct);
    assert_eq!(joined(json!(3)), Audience::Group);
    assert_eq!(joined(json!(null)), Audience::Group);
}

#[test]
fn a_gap_is_read_to_its_end_before_the_next_sync() {
    let host = host();
    host.answer(synced("s9", ROOM, json!({ "events": [said("$9", "9")], "limited": true })));
    let first = poll("s1", 100);
    assert_eq!((first.events.len(), first.more), (0, true));
    let page = json!({ "chunk": [said("$1", "1"), said("$2", "2")], "end": "t2" });
    host.answer(fake::status(200).json(&page));
    host.answer(fake::status(200).json(&json!({ "chunk": [said("$9", "9")], "end": "t3" })));
    host.answer(fake::status(200).json(&json!({ "chunk": [] })));
    let second = poll(&first.cursor, 100);
    assert_eq!(ids(&second), ["$1", "$2", "$9"]);
    assert_eq!((second.cursor.as_str(), second.more), ("s9", true));
    let urls: Vec<String> = host.sent().into_iter().map(|sent| sent.url).collect();
    assert!(urls[1].contains("/rooms/%21room%3Aexample.org/messages?dir=f"), "{}", urls[1]);
    assert!(urls[1].contains("from=s1&to=s9"), "{}", urls[1]);
    assert!(urls[2].contains("from=t2&to=s9"), "{}", urls[2]);
    assert_eq!(host.state("backlog"), None);
}

#[test]
fn a_gap_larger_than_a_batch_goes_on_where_it_stopped() {
    let host = host();
    host.answer(synced("s9", ROOM, json!({ "events": [], "limited": true })));
    let first = poll("s1", 2);
    let page = json!({ "chunk": [said("$1", "1"), said("$2", "2")], "end": "t2" });
    host.answer(fake::status(200).json(&page));
    let second = poll(&first.cursor, 2);
    assert_eq!(ids(&second), ["$1", "$2"]);
    assert!(host.sent()[1].url.contains("limit=2"));
    host.answer(fake::status(200).json(&json!({ "chunk": [said("$3", "3")] })));
    let third = poll(&second.cursor, 2);
    assert_eq!((ids(&third), third.cursor.as_str()), (vec!["$3"], "s9"));
}

#[test]
fn more_events_than_a_batch_holds_go_to_the_backlog() {
    let host = host();
    let room = |ids: [&str; 2]| json!({ "timeline": { "events": ids.map(|id| said(id, "x")) } });
    let join = json!({ "!a:x": room(["$1", "$2"]), "!b:x": room(["$3", "$4"]) });
    let body = json!({ "next_batch": "s2", "rooms": { "join": join } });
    host.answer(fake::status(200).json(&body));
    let first = poll("s1", 3);
    assert_eq!((ids(&first), first.more), (vec!["$1", "$2"], true));
    let page = json!({ "chunk": [said("$3", "x"), said("$4", "x")] });
    host.answer(fake::status(200).json(&page));
    assert_eq!(ids(&poll(&first.cursor, 3)), ["$3", "$4"]);
    assert!(host.sent()[1].url.contains("%21b%3Ax"));
}

#[test]
fn a_lost_backlog_is_made_again_from_where_it_began() {
    let host = host();
    let cursor = json!({ "since": "s1", "next": "s9" }).to_string();
    host.answer(synced("s12", ROOM, json!({ "events": [said("$1", "1")] })));
    let batch = poll(&cursor, 100);
    assert_eq!((ids(&batch), batch.cursor.as_str()), (vec!["$1"], "s12"));
    assert!(host.sent()[0].url.contains("since=s1"));
}

#[test]
fn a_fault_within_a_backlog_keeps_what_was_read() {
    let host = host();
    host.answer(synced("s9", ROOM, json!({ "events": [], "limited": true })));
    let first = poll("s1", 100);
    host.answer(fake::status(200).json(&json!({ "chunk": [said("$1", "1")], "end": "t1" })));
    host.answer(fake::status(502));
    let second = poll(&first.cursor, 100);
    assert_eq!(ids(&second), ["$1"]);
    host.answer(fake::status(502));
    let failed = Matrix::next(Some(second.cursor.clone()), 0, 100);
    assert!(matches!(failed, Err(PollError::Failed(CallError::Transient(_)))), "{failed:?}");
    host.answer(fake::status(403).json(&json!({ "errcode": "M_FORBIDDEN", "error": "gone" })));
    assert_eq!(poll(&second.cursor, 100).cursor, "s9");
}

#[test]
fn an_answer_over_the_hosts_limit_is_asked_for_in_smaller_pieces() {
    let host = host();
    host.fail(Error::AnswerTooLarge(200));
    host.answer(synced("s9", ROOM, json!({ "events": [said("$2", "2")], "limited": true })));
    let first = poll("s1", 100);
    host.fail(Error::AnswerTooLarge(200));
    host.answer(fake::status(200).json(&json!({ "chunk": [said("$1", "1"), said("$2", "2")] })));
    assert_eq!(ids(&poll(&first.cursor, 100)), ["$1", "$2"]);
    let sent = host.sent();
    assert!(sent[1].url.contains("%22limit%22%3A1%2C"), "{}", sent[1].url);
    assert!(sent[3].url.contains("limit=10"), "{}", sent[3].url);
}

#[test]
fn a_cursor_that_the_homeserver_does_not_know_is_lost() {
    let host = host();
    let body = json!({ "errcode": "M_UNKNOWN", "error": "Invalid stream token" });
    host.answer(fake::status(400).json(&body));
    let lost = Matrix::next(Some("nonsense".to_owned()), 0, 100);
    assert!(matches!(lost, Err(PollError::CursorLost(_))), "{lost:?}");
    let body = json!({ "errcode": "M_UNKNOWN_TOKEN", "error": "no" });
    host.answer(fake::status(401).json(&body));
    let refused = Matrix::next(Some("s1".to_owned()), 0, 100);
    assert!(matches!(refused, Err(PollError::Failed(CallError::Unauthorized(_)))));
}

#[test]
fn invitations_are_followed_where_allowed_and_what_was_said_with_them_is_read() {
    let invited = |next: &str| {
        let rooms = json!({ "invite": { "!new:x": { "invite_state": {} } } });
        fake::status(200).json(&json!({ "next_batch": next, "rooms": rooms }))
    };
    let host = host();
    host.answer(invited("s2"));
    poll("s1", 100);
    assert_eq!(host.sent().len(), 1);
    host.setting("join_invites", true);
    host.answer(invited("s3")).answer(fake::status(200).json(&json!({ "room_id": "!new:x" })));
    let batch = poll("s2", 100);
    let join = host.sent().pop().unwrap();
    assert!(join.url.ends_with("/rooms/%21new%3Ax/join"), "{}", join.url);
    assert_eq!((join.method.as_str(), join.effect), ("POST", Effect::Prepare));
    host.answer(fake::status(200).json(&json!({ "chunk": [said("$1", "welcome")] })));
    let batch = poll(&batch.cursor, 100);
    assert_eq!((ids(&batch), batch.cursor.as_str()), (vec!["$1"], "s3"));
    assert!(host.sent().pop().unwrap().url.contains("from=s2&to=s3"));
}

#[test]
fn an_invitation_that_fails_for_a_while_is_tried_again() {
    let host = host();
    host.setting("join_invites", true);
    let rooms = json!({ "invite": { "!new:x": {} } });
    host.answer(fake::status(200).json(&json!({ "next_batch": "s2", "rooms": rooms })));
    host.answer(fake::status(502));
    assert_eq!(poll("s1", 100).cursor, "s2");
    host.answer(fake::status(200).json(&json!({ "next_batch": "s3" })));
    host.answer(fake::status(200));
    poll("s2", 100);
    host.answer(fake::status(200).json(&json!({ "next_batch": "s4" })));
    poll("s3", 100);
    assert_eq!(host.sent().len(), 5);
}

#[test]
fn our_user_id_is_asked_once_per_token() {
    let host = fake::Host::of::<Matrix>();
    host.setting("homeserver", "http://127.0.0.1:8008").secret("access-token", "one");
    let whoami = || fake::status(200).json(&json!({ "user_id": "@bot:example.org" }));
    let empty = || fake::status(200).json(&json!({ "next_batch": "s2" }));
    host.answer(whoami()).answer(empty()).answer(empty());
    poll("s1", 1);
    poll("s1", 1);
    host.secret("access-token", "two");
    host.answer(whoami()).answer(empty());
    poll("s1", 1);
    assert_eq!(host.sent().len(), 5);
}
