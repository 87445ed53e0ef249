//! Updates, and what they say.

use super::*;

fn update(kind: &str, what: Value) -> Value {
    json!({ "update_id": 1, kind: what })
}

#[test]
fn a_message_comes_in_with_who_said_it_and_where() {
    let message = message(read(update("message", said(5, private(), "hello"))));
    assert_eq!(message.external_id, "5");
    assert_eq!(message.conversation, "42");
    assert_eq!(message.text, "hello");
    assert_eq!(message.sender, Sender::new("42").named("Ada L"));
    assert_eq!(message.audience, Audience::Direct);
    assert_eq!(message.sent_at_ms, Some(5_000));
    assert!(message.wakes);
    assert!(message.extras.contains(&("username".to_owned(), "ada".to_owned())));
}

#[test]
fn a_topic_is_a_conversation_of_its_own_and_a_thread_of_answers_is_none() {
    let mut topic = said(5, group(), "hello");
    topic["message_thread_id"] = json!(8);
    topic["reply_to_message"] = json!({ "message_id": 8 });
    let thread = message(read(update("message", topic.clone())));
    assert_eq!((thread.conversation.as_str(), thread.reply_to.as_deref()), ("-100", Some("8")));
    topic["is_topic_message"] = json!(true);
    let topic = message(read(update("message", topic)));
    assert_eq!((topic.conversation.as_str(), topic.reply_to), ("-100:8", None));
}

#[test]
fn in_a_group_a_mention_a_command_and_an_answer_to_us_wake() {
    let _host = acquainted();
    let wakes = |text: &str, more: Value| {
        let mut said = said(5, group(), text);
        said.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        message(read_here(update("message", said))).wakes
    };
    let entity = |kind: &str, offset: usize, length: usize| json!({ "entities": [{ "type": kind, "offset": offset, "length": length }] });
    assert!(!wakes("hello", json!({})));
    assert!(wakes("👍 @Last_Bot", entity("mention", 3, 9)));
    assert!(!wakes("@other_bot", entity("mention", 0, 10)));
    assert!(wakes("/help", entity("bot_command", 0, 5)));
    assert!(wakes("/help@last_bot", entity("bot_command", 0, 14)));
    assert!(!wakes("/help@other_bot", entity("bot_command", 0, 15)));
    let answer = |id: i64| {
        let from = json!({ "id": id, "first_name": "x" });
        json!({ "reply_to_message": { "message_id": 3, "from": from } })
    };
    assert!(wakes("yes", answer(7)));
    assert!(!wakes("yes", answer(8)));
}

#[test]
fn a_stop_word_stops_and_wakes_nobody() {
    let _host = acquainted();
    for text in ["stop", " /stop ", "/STOP@last_bot", "@last_bot stop"] {
        let events = read_here(update("message", said(5, group(), text)));
        assert!(
            matches!(&events[..], [InboundEvent::Abort(it)] if it.external_id == "5"),
            "{text}"
        );
    }
    let events = read_here(update("message", said(5, group(), "please stop")));
    assert!(matches!(&events[..], [InboundEvent::Message(_)]));
}

#[test]
fn our_own_messages_are_nobodys() {
    let mut own = said(5, group(), "hello");
    own["from"] = json!({ "id": 7, "is_bot": true, "first_name": "Last" });
    assert!(read(update("message", own.clone())).is_empty());
    assert!(read(update("edited_message", own)).is_empty());
}

#[test]
fn an_edit_has_the_id_of_what_it_edits() {
    let events = read(update("edited_message", said(5, private(), "better")));
    assert!(matches!(&events[..], [InboundEvent::Edited(it)] if it.external_id == "5"));
}

#[test]
fn an_album_is_a_group_of_messages_with_a_file_each() {
    let mut piece = said(5, private(), "");
    piece["text"] = Value::Null;
    piece["caption"] = json!("both");
    piece["media_group_id"] = json!("A");
    piece["photo"] = json!([
        { "file_id": "small", "file_size": 1 }, { "file_id": "large", "file_size": 9 }
    ]);
    let message = message(read(update("message", piece)));
    assert_eq!(message.group.as_deref(), Some("A"));
    assert_eq!(message.text, "both");
    assert_eq!(message.attachments, [Attachment::remote("image/jpeg", "large").sized(9)]);
}

#[test]
fn files_keep_their_names_and_kinds() {
    let mut file = said(5, private(), "");
    file["text"] = Value::Null;
    file["document"] = json!({
        "file_id": "F", "file_name": "a.pdf", "mime_type": "application/pdf", "file_size": 3,
    });
    let message = message(read(update("message", file)));
    let expected = Attachment::remote("application/pdf", "F").named("a.pdf").sized(3);
    assert_eq!(message.attachments, [expected]);
    assert_eq!(message.text, "");
}

#[test]
fn a_location_and_a_contact_are_told_in_words() {
    let _host = acquainted();
    let told = |field: &str, what: Value| {
        let mut said = said(5, private(), "");
        said["text"] = Value::Null;
        said[field] = what;
        message(read_here(update("message", said))).text
    };
    let at = json!({ "latitude": 52.5, "longitude": 4.25 });
    assert_eq!(told("location", at), "Location: 52.5, 4.25");
    let contact = json!({ "phone_number": "+31", "first_name": "Ada" });
    assert_eq!(told("contact", contact), "Contact: Ada, +31");
}

#[test]
fn a_button_is_an_action_on_its_message() {
    let query = json!({
        "id": "q1", "from": { "id": 42, "first_name": "Ada" }, "data": "yes",
        "message": { "message_id": 9, "chat": group(), "date": 0 },
    });
    let events = read(update("callback_query", query));
    let [InboundEvent::Action(action)] = &events[..] else { panic!("{events:?}") };
    assert_eq!((action.external_id.as_str(), action.name.as_str()), ("q1", "button"));
    assert_eq!(action.value.as_deref(), Some("yes"));
    assert_eq!(action.on_message.as_deref(), Some("9"));
    assert_eq!(action.conversation, "-100");
}

#[test]
fn who_joins_reacts_blocks_or_moves_is_told_and_wakes_nobody() {
    let _host = acquainted();
    let kind = |field: &str, what: Value| match &read_here(update(field, what))[..] {
        [InboundEvent::Other(it)] => it.kind.clone(),
        other => panic!("{other:?}"),
    };
    let mut joined = said(5, group(), "");
    joined["new_chat_members"] = json!([{ "id": 50, "first_name": "Bo" }]);
    assert_eq!(kind("message", joined), "joined");
    let mut moved = said(5, group(), "");
    moved["migrate_to_chat_id"] = json!(-1_001);
    assert_eq!(kind("message", moved), "telegram.moved");
    let user = json!({ "id": 42, "first_name": "Ada" });
    let thumb = json!([{ "type": "emoji", "emoji": "👍" }]);
    let reaction =
        json!({ "chat": private(), "message_id": 9, "user": user, "new_reaction": thumb });
    assert_eq!(kind("message_reaction", reaction), "reaction");
    let blocked =
        json!({ "chat": private(), "from": user, "new_chat_member": { "status": "kicked" } });
    assert_eq!(kind("my_chat_member", blocked), "telegram.blocked");
}

#[test]
fn what_nobody_asked_for_and_what_has_no_words_says_nothing() {
    assert!(read(json!({ "update_id": 1, "poll": {} })).is_empty());
    let mut dice = said(5, private(), "");
    dice["text"] = Value::Null;
    dice["dice"] = json!({ "value": 3 });
    assert!(read(update("message", dice)).is_empty());
}
