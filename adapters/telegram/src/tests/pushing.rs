//! Updates that are pushed, and the registration for them.

use super::*;

const SECRET: &str = "s3cret_-";

fn pushing() -> fake::Host {
    let host = acquainted();
    host.setting("updates", "webhook");
    host.secret("webhook-secret", SECRET);
    host.public_url("https://bot.example/hooks/telegram");
    host
}

fn push(secret: Option<&str>, update: &Value) -> Result<Reply, Refusal> {
    let mut request = fake::pushed("", update.to_string().as_bytes());
    let header = "x-telegram-bot-api-secret-token".to_owned();
    request.headers.extend(secret.map(|secret| (header, secret.to_owned())));
    Telegram::handle(request)
}

#[test]
fn an_update_with_the_secret_comes_in() {
    let _host = pushing();
    let update = json!({ "update_id": 1, "message": said(5, private(), "hello") });
    let reply = push(Some(SECRET), &update).unwrap();
    assert_eq!((reply.status, reply.events.len()), (200, 1));
}

#[test]
fn an_update_without_the_secret_or_with_another_is_refused() {
    let _host = pushing();
    let update = json!({ "update_id": 1, "message": said(5, private(), "hello") });
    for secret in [None, Some(""), Some("s3cret"), Some("S3CRET_-")] {
        assert_eq!(push(secret, &update).unwrap_err().status, 401, "{secret:?}");
    }
}

#[test]
fn where_no_secret_is_configured_nothing_is_taken() {
    let _host = acquainted();
    let update = json!({ "update_id": 1, "message": said(5, private(), "hello") });
    assert_eq!(push(Some(""), &update).unwrap_err().status, 401);
    assert_eq!(push(None, &update).unwrap_err().status, 401);
}

#[test]
fn a_press_is_answered_within_the_answer() {
    let _host = pushing();
    let query = json!({
        "id": "q1", "from": { "id": 42, "first_name": "Ada" }, "data": "yes",
        "message": { "message_id": 9, "chat": private() },
    });
    let reply = push(Some(SECRET), &json!({ "update_id": 1, "callback_query": query })).unwrap();
    let body: Value = serde_json::from_slice(&reply.body).unwrap();
    assert_eq!(body, json!({ "method": "answerCallbackQuery", "callback_query_id": "q1" }));
    assert_eq!(reply.events.len(), 1);
}

#[test]
fn other_paths_and_methods_and_broken_bodies_are_refused_and_an_unknown_update_is_taken() {
    let _host = pushing();
    let mut request = fake::pushed("/other", b"{}");
    assert_eq!(Telegram::handle(request.clone()).unwrap_err().status, 404);
    request.path = String::new();
    request.method = "GET".to_owned();
    assert_eq!(Telegram::handle(request.clone()).unwrap_err().status, 405);
    request.method = "POST".to_owned();
    let header = "x-telegram-bot-api-secret-token".to_owned();
    request.headers.push((header, SECRET.to_owned()));
    request.body = b"{".to_vec();
    assert_eq!(Telegram::handle(request).unwrap_err().status, 400);
    let reply = push(Some(SECRET), &json!({ "update_id": 1, "message": 3 })).unwrap();
    assert_eq!((reply.status, reply.events.len()), (200, 0));
}

#[test]
fn while_nobody_can_say_who_the_bot_is_telegram_pushes_again() {
    let host = host();
    host.secret("webhook-secret", SECRET);
    host.answer(refusal(500, "Internal Server Error", json!({})));
    let update = json!({ "update_id": 1, "message": said(5, private(), "hello") });
    assert_eq!(push(Some(SECRET), &update).unwrap_err().status, 503);
}

#[test]
fn the_address_is_registered_once_and_again_after_a_new_secret() {
    let host = pushing();
    host.answer(result(json!(true)));
    let batch = Telegram::next(None, 0, 100).unwrap();
    assert!(batch.events.is_empty());
    let sent = &host.sent()[1];
    assert!(sent.url.ends_with("/setWebhook"));
    let body = String::from_utf8_lossy(&sent.body);
    assert!(body.contains("url=https%3A%2F%2Fbot.example%2Fhooks%2Ftelegram"));
    assert!(!body.contains(SECRET), "the host adds it, out of the adapter's sight");
    let again = Telegram::next(Some(batch.cursor), 0, 100).unwrap_err();
    assert!(matches!(again, PollError::Failed(CallError::Unsupported)));
    host.secret("webhook-secret", "another");
    host.answer(result(json!(true)));
    assert!(Telegram::next(Some(String::new()), 0, 100).is_ok());
}

#[test]
fn pushing_needs_a_public_address_and_a_secret() {
    let host = acquainted();
    host.setting("updates", "webhook");
    assert_eq!(Telegram::check().unwrap_err().len(), 2);
    host.public_url("http://bot.example/hooks/telegram");
    host.secret("webhook-secret", SECRET);
    assert_eq!(Telegram::check().unwrap_err().len(), 1);
    host.public_url("https://bot.example/hooks/telegram");
    assert_eq!(Telegram::check(), Ok(()));
}
