//! What an event means: edits, what is taken back, reactions, arrivals, stops, and who is spoken to.

use lastword_sdk::message::{Fate, LateReceipt, OtherEvent, SentMessage};

use super::*;

const ADA: &str = "@ada:example.org";
const BOT: &str = "@bot:example.org";

fn edit(of: &str, body: &str) -> Value {
    let mut event = said("$2", "* new");
    event["content"]["m.new_content"] = json!({ "msgtype": "m.text", "body": body });
    event["content"]["m.relates_to"] = json!({ "rel_type": "m.replace", "event_id": of });
    event
}

/// The homeserver's answer to whoever asks for one event.
fn event_of(kind: &str, sender: &str) -> fake::Answer {
    let event = json!({ "type": kind, "sender": sender, "event_id": "$1", "content": {} });
    fake::status(200).json(&event)
}

/// What an event makes where the homeserver says so of the one that it points to.
fn read_about(event: Value, about: fake::Answer) -> Vec<InboundEvent> {
    let host = host();
    host.answer(synced("s2", ROOM, json!({ "events": [event] }))).answer(about);
    let events = poll("s1", 100).events;
    let asked = &host.sent()[1];
    assert_eq!((asked.method.as_str(), asked.effect), ("GET", Effect::Read));
    assert!(asked.url.ends_with("/rooms/%21room%3Aexample.org/event/%241"), "{}", asked.url);
    events
}

fn other(events: Vec<InboundEvent>) -> OtherEvent {
    match <[InboundEvent; 1]>::try_from(events) {
        Ok([InboundEvent::Other(other)]) => other,
        unfit => panic!("not something else: {unfit:?}"),
    }
}

#[test]
fn an_edit_has_the_first_messages_id_and_the_new_text() {
    let events = read_about(edit("$1", "new"), event_of("m.room.message", ADA));
    assert!(matches!(&events[0], InboundEvent::Edited(_)));
    let message = message(events);
    assert_eq!((message.external_id.as_str(), message.text.as_str()), ("$1", "new"));
}

#[test]
fn an_edit_by_somebody_else_is_left_out() {
    assert_eq!(read_about(edit("$1", "evil"), event_of("m.room.message", "@eve:x")), []);
    assert_eq!(read_about(edit("$1", "evil"), fake::status(404)), []);
    assert_eq!(read_about(edit("$1", "evil"), fake::status(502)), []);
}

#[test]
fn what_the_timeline_tells_is_not_asked() {
    let host = host();
    let events = json!({ "events": [said("$1", "old"), edit("$1", "new"), edit("$1", "newer")] });
    host.answer(synced("s2", ROOM, events));
    assert_eq!(poll("s1", 100).events.len(), 3);
    assert_eq!(host.sent().len(), 1);
}

#[test]
fn a_homeserver_is_asked_a_bounded_number_of_times() {
    let host = host();
    let edits: Vec<Value> = (0..30).map(|n| edit(&format!("$old{n}"), "new")).collect();
    host.answer(synced("s2", ROOM, json!({ "events": edits })));
    for _ in 0..20 {
        host.answer(event_of("m.room.message", ADA));
    }
    assert_eq!(poll("s1", 100).events.len(), 20);
}

fn redaction(of: &str) -> Value {
    json!({
        "type": "m.room.redaction", "event_id": "$2", "sender": ADA, "content": {},
        "redacts": of,
    })
}

#[test]
fn a_redaction_takes_a_message_back() {
    let mut of_newer_rooms = redaction("$1");
    of_newer_rooms["redacts"] = json!(null);
    of_newer_rooms["content"]["redacts"] = json!("$1");
    for event in [redaction("$1"), of_newer_rooms] {
        let events = read_about(event, event_of("m.room.message", ADA));
        let [InboundEvent::Deleted(deletion)] = &events[..] else { panic!("{events:?}") };
        assert_eq!(deletion.external_id, "$1");
    }
    let unclear = read_about(redaction("$1"), fake::status(500));
    assert!(matches!(&unclear[..], [InboundEvent::Deleted(_)]));
}

#[test]
fn a_reaction_that_is_taken_back_is_no_message_that_is() {
    let gone = other(read_about(redaction("$1"), event_of("m.reaction", ADA)));
    assert_eq!((gone.kind.as_str(), gone.external_id.as_str()), ("matrix.reaction_removed", "$2"));
    let ours = other(read_about(redaction("$1"), event_of("m.room.message", BOT)));
    assert_eq!(ours.kind, "matrix.own_removed");
    assert_eq!(read_about(redaction("$1"), event_of("m.room.topic", ADA)), []);
}

#[test]
fn a_reaction_is_told_with_its_key_and_its_message() {
    let relates = json!({ "rel_type": "m.annotation", "event_id": "$1", "key": "👍" });
    let event = json!({
        "type": "m.reaction", "event_id": "$2", "sender": ADA,
        "content": { "m.relates_to": relates },
    });
    let reaction = other(read(event.clone()));
    assert_eq!(
        (reaction.kind.as_str(), reaction.conversation.as_deref()),
        ("reaction", Some(ROOM))
    );
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    assert_eq!(reaction.extras, [pair("key", "👍"), pair("on_message", "$1")]);
    let mut own = event;
    own["sender"] = json!(BOT);
    assert_eq!(read(own), []);
}

#[test]
fn somebody_who_comes_in_is_told_and_a_new_name_is_not() {
    let member = |who: &str, was: &str| {
        json!({
            "type": "m.room.member", "event_id": "$2", "sender": who, "state_key": who,
            "content": { "membership": "join" },
            "unsigned": { "prev_content": { "membership": was } },
        })
    };
    let came = other(read(member("@eve:x", "invite")));
    assert_eq!((came.kind.as_str(), came.sender.unwrap().id.as_str()), ("joined", "@eve:x"));
    assert_eq!(read(member("@eve:x", "join")), []);
    assert_eq!(read(member(BOT, "invite")), []);
}

#[test]
fn a_stop_word_is_an_abort_and_a_sentence_with_it_is_not() {
    for word in [" !STOP\n", "stop", "/stop", "bot: stop", "@bot, /stop", "@bot:example.org: stop"]
    {
        assert!(matches!(&read(said("$1", word))[..], [InboundEvent::Abort(_)]), "{word}");
    }
    for sentence in ["!stop it", "please stop", "stopp", "bother: stop", ""] {
        let events = read(said("$1", sentence));
        assert!(matches!(&events[..], [InboundEvent::Message(_)]), "{sentence}");
    }
    let host = host();
    host.setting("stop_words", json!(["halt"]));
    let events = json!({ "events": [said("$1", "halt"), said("$2", "!stop")] });
    host.answer(synced("s2", ROOM, events));
    let events = poll("s1", 100).events;
    assert!(matches!(&events[..], [InboundEvent::Abort(_), InboundEvent::Message(_)]));
}

#[test]
fn an_edit_into_a_stop_word_stops_nothing() {
    let events = read_about(edit("$1", "stop"), event_of("m.room.message", ADA));
    assert!(matches!(&events[..], [InboundEvent::Edited(_)]));
}

/// A host whose room has three members, as a sync told it.
fn in_a_group() -> fake::Host {
    let host = host();
    host.set_state("members", json!({ ROOM: 3 }).to_string().as_bytes());
    host
}

#[test]
fn in_a_group_a_mention_wakes_and_what_is_said_to_others_is_context() {
    let host = in_a_group();
    let wakes = |event: Value| message(read_of(&host, event)).wakes;
    assert!(!wakes(said("$1", "good morning all")));
    let mut mention = said("$1", "hello robot");
    mention["content"]["m.mentions"] = json!({ "user_ids": ["@eve:x", BOT] });
    assert!(wakes(mention.clone()));
    mention["content"]["m.mentions"] = json!({ "user_ids": ["@eve:x"], "room": true });
    assert!(!wakes(mention.clone()));
    // A client that says whom it mentions is believed, also where the text quotes our name.
    mention["content"]["body"] = json!("what is @bot:example.org?");
    assert!(!wakes(mention));
    for body in ["what is @bot:example.org?", "bot: hi", "BOT, hi", "@bot: hi"] {
        assert!(wakes(said("$1", body)), "{body}");
    }
    assert!(!wakes(said("$1", "robot: hi")) && !wakes(said("$1", "bottom, up")));
    let mut pill = said("$1", "Botty: hi");
    let link = "<a href=\"https://matrix.to/#/%40bot%3Aexample.org\">Botty</a>: hi";
    pill["content"]["formatted_body"] = json!(link);
    assert!(wakes(pill));
}

#[test]
fn in_a_group_a_reply_to_our_words_wakes_and_one_to_others_does_not() {
    let wakes = |about: fake::Answer| {
        let host = in_a_group();
        let mut reply = said("$2", "why?");
        reply["content"]["m.relates_to"] = json!({ "m.in_reply_to": { "event_id": "$1" } });
        host.answer(synced("s2", ROOM, json!({ "events": [reply] }))).answer(about);
        message(poll("s1", 100).events).wakes
    };
    assert!(wakes(event_of("m.room.message", BOT)));
    assert!(!wakes(event_of("m.room.message", "@eve:x")));
    assert!(!wakes(fake::status(403)));
    // Better one answer too many than silence.
    assert!(wakes(fake::status(502)));
}

#[test]
fn in_a_group_everything_wakes_where_the_operator_wants_it() {
    let host = in_a_group();
    host.setting("group_wake", "always");
    assert!(message(read_of(&host, said("$1", "good morning all"))).wakes);
}

#[test]
fn between_two_everything_wakes() {
    let host = host();
    host.set_state("members", json!({ ROOM: 2 }).to_string().as_bytes());
    assert!(message(read_of(&host, said("$1", "good morning"))).wakes);
}

#[test]
fn who_read_our_newest_message_is_told_where_the_operator_wants_it() {
    let host = host();
    let mut ours = said("$9", "an answer");
    ours["sender"] = json!(BOT);
    ours["content"]["dev.lastword.delivery_id"] = json!("d9");
    let receipt = |event: &str, who: &str| json!({ "type": "m.receipt", "content": { event: { "m.read": { who: { "ts": 7 } } } } });
    let told = |timeline: &[Value], receipts: &[Value]| {
        let room = json!({
            "timeline": { "events": timeline }, "ephemeral": { "events": receipts },
        });
        let body = json!({ "next_batch": "s2", "rooms": { "join": { ROOM: room } } });
        host.answer(fake::status(200).json(&body));
        poll("s1", 100).events
    };
    assert_eq!(told(std::slice::from_ref(&ours), &[receipt("$9", ADA)]), []);
    assert!(!host.sent()[0].url.contains("m.receipt"));
    host.setting("read_receipts", true);
    assert_eq!(told(&[ours], &[receipt("$9", BOT)]), []);
    assert!(host.sent()[1].url.contains("m.receipt"));
    assert_eq!(told(&[], &[receipt("$8", ADA)]), []);
    let read = LateReceipt {
        conversation: Some(ROOM.to_owned()),
        about: SentMessage::PlatformId("$9".to_owned()),
        fate: Fate::Read,
        at_ms: Some(7),
    };
    assert_eq!(told(&[], &[receipt("$9", ADA)]), [InboundEvent::Receipt(read)]);
}
