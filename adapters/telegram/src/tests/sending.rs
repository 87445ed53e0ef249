//! Messages that go out, and what Telegram says to them.

use lastword_sdk::http::Error;

use super::*;

fn send(host: &fake::Host, text: &str) -> Result<Receipt, SendError> {
    host.send_final::<Telegram>(fake::message("42", text))
}

#[test]
fn a_reply_goes_out_under_the_token_and_gives_telegrams_id() {
    let host = host();
    host.answer(result(json!({ "message_id": 9 })));
    assert_eq!(send(&host, "Good morning.").unwrap(), Receipt::new("9"));
    let sent = &host.sent()[0];
    assert_eq!(sent.url, format!("https://api.telegram.org/bot{TOKEN}/sendMessage"));
    assert_eq!(sent.json(), json!({ "chat_id": 42, "text": "Good morning." }));
}

#[test]
fn markdown_goes_out_as_text_and_entities() {
    let host = host();
    host.answer(result(json!({ "message_id": 9 })));
    let message =
        OutboundMessage { format: TextFormat::Markdown, ..fake::message("42", "a **b**") };
    host.send_final::<Telegram>(message).unwrap();
    let body = host.sent()[0].json();
    assert_eq!(body["text"], "a b");
    assert_eq!(body["entities"], json!([{ "type": "bold", "offset": 2, "length": 1 }]));
}

#[test]
fn what_its_form_makes_longer_than_a_message_goes_as_it_was_written() {
    let host = host();
    host.answer(result(json!({ "message_id": 9 })));
    // Each line of a table is as long as its longest.
    let text = format!("|a|b|\n|-|-|\n{}", "|a|b|\n".repeat(500));
    let text = format!("{text}|{}|b|", "x".repeat(900));
    let message = OutboundMessage { format: TextFormat::Markdown, ..fake::message("42", &text) };
    host.send_final::<Telegram>(message).unwrap();
    assert_eq!(host.sent()[0].json()["text"], text);
}

#[test]
fn a_reply_in_a_topic_of_a_group_names_topic_and_question() {
    let host = host();
    host.answer(result(json!({ "message_id": 9 })));
    let mut message = fake::message("-100:8", "yes");
    message.place.reply_to = Some("5".to_owned());
    host.send_final::<Telegram>(message).unwrap();
    let body = host.sent()[0].json();
    assert_eq!(body["chat_id"], -100);
    assert_eq!(body["message_thread_id"], 8);
    assert_eq!(body["reply_parameters"]["message_id"], 5);
    assert_eq!(body["reply_parameters"]["allow_sending_without_reply"], true);
}

#[test]
fn between_two_and_behind_the_first_part_nothing_is_quoted() {
    let host = host();
    for (conversation, part) in [("42", 1), ("-100", 2)] {
        host.answer(result(json!({ "message_id": 9 })));
        let mut message = OutboundMessage { part, parts: 2, ..fake::message(conversation, "yes") };
        message.place.reply_to = Some("5".to_owned());
        host.send_final::<Telegram>(message).unwrap();
    }
    assert!(host.sent().iter().all(|sent| sent.json().get("reply_parameters").is_none()));
}

#[test]
fn retry_after_stands_in_the_body_of_a_429() {
    let host = host();
    let wait = json!({ "retry_after": 7 });
    host.answer(refusal(429, "Too Many Requests: retry after 7", wait));
    let limit = RateLimit { retry_after_ms: 7_000, scope: RateScope::Conversation };
    assert_eq!(send(&host, "hi"), Err(SendError::RateLimited(limit)));
}

#[test]
fn a_group_that_has_become_a_supergroup_has_moved() {
    let host = host();
    let words = "Bad Request: group chat was upgraded to a supergroup chat";
    host.answer(refusal(400, words, json!({ "migrate_to_chat_id": -1_001_234 })));
    let outcome = host.send_final::<Telegram>(fake::message("-9", "hi"));
    assert_eq!(outcome, Err(SendError::Moved("-1001234".to_owned())));
}

#[test]
fn a_refusal_says_what_is_true_of_the_message() {
    let host = host();
    let outcome = |code, words: &str| {
        host.answer(refusal(code, words, json!({})));
        send(&host, "hi").unwrap_err()
    };
    let blocked = outcome(403, "Forbidden: bot was blocked by the user");
    assert!(matches!(&blocked, SendError::Closed(fault) if fault.code == "telegram-403"));
    let silenced = outcome(400, "Bad Request: not enough rights to send text messages to the chat");
    assert!(matches!(silenced, SendError::Closed(_)));
    assert!(matches!(outcome(401, "Unauthorized"), SendError::Unauthorized(_)));
    assert!(matches!(outcome(404, "Not Found"), SendError::Unauthorized(_)));
    assert!(matches!(outcome(400, "Bad Request: chat not found"), SendError::Rejected(_)));
    assert!(matches!(outcome(502, "Bad Gateway"), SendError::Unknown(_)));
}

#[test]
fn an_ok_that_is_not_understood_may_have_been_sent() {
    let host = host();
    host.answer(fake::status(200).text("<html>"));
    assert!(matches!(send(&host, "hi"), Err(SendError::Unknown(_))));
    host.answer(result(json!({})));
    assert!(matches!(send(&host, "hi"), Err(SendError::Unknown(_))));
}

#[test]
fn an_error_within_a_200_was_not_sent() {
    let host = host();
    host.answer(fake::status(200).json(&json!({
        "ok": false, "error_code": 400, "description": "Bad Request: message is too long",
    })));
    assert!(matches!(send(&host, "hi"), Err(SendError::Rejected(_))));
}

#[test]
fn an_answer_that_never_came_is_unknown() {
    let host = host();
    host.fail(Error::Unanswered("reset".to_owned()));
    assert!(matches!(send(&host, "hi"), Err(SendError::Unknown(_))));
}

#[test]
fn a_conversation_that_is_no_chat_is_refused_before_anything_is_asked() {
    let host = host();
    for name in ["room", "1:x", ""] {
        let outcome = host.send_final::<Telegram>(fake::message(name, "hi"));
        assert!(matches!(outcome, Err(SendError::Rejected(_))), "{name}");
    }
    assert!(host.sent().is_empty());
}

fn with_file(host: &fake::Host, media_type: &str) -> OutboundMessage {
    let blob = host.put_blob(b"bytes");
    let mut message = fake::message("42", "**look**");
    message.format = TextFormat::Markdown;
    message.attachments = vec![Attachment::blob(media_type, blob).named("a.bin")];
    message
}

#[test]
fn a_picture_goes_out_with_its_caption() {
    let host = host();
    host.answer(result(json!({ "message_id": 9 })));
    host.send_final::<Telegram>(with_file(&host, "image/png")).unwrap();
    let sent = &host.sent()[0];
    assert!(sent.url.ends_with("/sendPhoto"));
    let part = |name: &str| sent.parts.iter().find(|part| part.name == name).unwrap();
    assert_eq!(part("chat_id").bytes, b"42");
    assert_eq!(part("caption").bytes, b"look");
    assert!(String::from_utf8_lossy(&part("caption_entities").bytes).contains("bold"));
    assert_eq!(part("photo").bytes, b"bytes");
    assert_eq!(part("photo").file_name.as_deref(), Some("a.bin"));
}

#[test]
fn a_picture_that_telegram_cannot_show_goes_as_a_document() {
    let host = host();
    host.answer(refusal(400, "Bad Request: PHOTO_INVALID_DIMENSIONS", json!({})));
    host.answer(result(json!({ "message_id": 9 })));
    host.send_final::<Telegram>(with_file(&host, "image/png")).unwrap();
    assert!(host.sent()[1].url.ends_with("/sendDocument"));
}

#[test]
fn a_keyboard_of_the_handler_stands_under_the_last_part_only() {
    let host = host();
    let keyboard = r#"{"inline_keyboard":[[{"text":"Yes","callback_data":"y"}]]}"#;
    for part in [1, 2] {
        host.answer(result(json!({ "message_id": 9 })));
        let mut message = OutboundMessage { part, parts: 2, ..fake::message("42", "Sure?") };
        message.extras = vec![("telegram.reply_markup".to_owned(), keyboard.to_owned())];
        host.send_final::<Telegram>(message).unwrap();
    }
    assert!(host.sent()[0].json().get("reply_markup").is_none());
    assert_eq!(host.sent()[1].json()["reply_markup"]["inline_keyboard"][0][0]["text"], "Yes");
}

#[test]
fn progress_makes_no_sound() {
    let host = host();
    host.answer(result(json!({ "message_id": 9 })));
    host.send_progress::<Telegram>(ProgressKind::Tool, fake::message("42", "reading")).unwrap();
    assert_eq!(host.sent()[0].json()["disable_notification"], true);
}

#[test]
fn typing_is_shown_for_five_seconds() {
    let host = host();
    host.answer(result(json!(true)));
    let place = fake::message("-100:8", "").place;
    assert_eq!(outbound::indicate(&place, Activity::Typing), Ok(Some(5_000)));
    let expected = json!({ "chat_id": -100, "message_thread_id": 8, "action": "typing" });
    assert_eq!(host.sent()[0].json(), expected);
    assert_eq!(outbound::indicate(&place, Activity::Idle), Ok(None));
    assert_eq!(outbound::indicate(&place, Activity::Seen), Err(CallError::Unsupported));
}

#[test]
fn a_file_is_fetched_by_its_path_and_never_passes_through_the_adapter() {
    let host = host();
    host.answer(result(json!({ "file_path": "documents/file 1.pdf" })));
    host.answer(fake::status(200).bytes(b"%PDF"));
    let file = Attachment::remote("application/pdf", "F1");
    let place = fake::message("42", "").place;
    let blob = Telegram::download(place, file).unwrap();
    assert_eq!(host.blob(&blob).as_deref(), Some(&b"%PDF"[..]));
    let expected = format!("https://api.telegram.org/file/bot{TOKEN}/documents/file%201.pdf");
    assert_eq!(host.sent()[1].url, expected);
}

#[test]
fn a_file_that_is_too_big_for_a_bot_is_refused_for_good() {
    let host = host();
    host.answer(refusal(400, "Bad Request: file is too big", json!({})));
    let place = fake::message("42", "").place;
    let outcome = Telegram::download(place, Attachment::remote("video/mp4", "F1"));
    assert!(matches!(outcome, Err(CallError::Refused(_))));
}
