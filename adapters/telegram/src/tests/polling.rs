//! `getUpdates`: cursors, batches, what stands in the way.

use super::*;

fn updates(ids: &[i64]) -> Value {
    let update = |id: &i64| json!({ "update_id": id, "message": said(*id, private(), "hi") });
    ids.iter().map(update).collect()
}

#[test]
fn polling_begins_at_the_present() {
    let host = acquainted();
    host.answer(result(updates(&[30])));
    let batch = Telegram::next(None, 20_000, 100).unwrap();
    assert_eq!((batch.events.len(), batch.cursor.as_str(), batch.more), (0, "30", false));
    assert_eq!(host.sent()[1].json()["offset"], -1);
    host.answer(result(json!([])));
    assert_eq!(Telegram::next(None, 20_000, 100).unwrap().cursor, "0");
}

#[test]
fn a_batch_moves_the_cursor_to_its_last_update() {
    let host = acquainted();
    host.answer(result(updates(&[31, 32])));
    let batch = Telegram::next(Some("30".to_owned()), 20_000, 100).unwrap();
    assert_eq!((batch.events.len(), batch.cursor.as_str()), (2, "32"));
    let asked = host.sent()[1].json();
    assert_eq!((&asked["offset"], &asked["timeout"]), (&json!(31), &json!(20)));
    assert!(asked["allowed_updates"].as_array().unwrap().contains(&json!("callback_query")));
}

#[test]
fn what_comes_over_the_hosts_count_comes_with_the_next_batch() {
    let host = acquainted();
    let mut joined = said(31, group(), "");
    joined["new_chat_members"] =
        json!([{ "id": 1, "first_name": "a" }, { "id": 2, "first_name": "b" }]);
    let updates = json!([
        { "update_id": 30, "message": said(30, private(), "hi") },
        { "update_id": 31, "message": joined },
    ]);
    host.answer(result(updates));
    let batch = Telegram::next(Some("29".to_owned()), 0, 2).unwrap();
    assert_eq!((batch.events.len(), batch.cursor.as_str(), batch.more), (1, "30", true));
}

#[test]
fn an_update_that_nobody_can_read_holds_up_nothing() {
    let host = acquainted();
    let broken = json!({ "update_id": 31, "message": { "message_id": "x" } });
    host.answer(result(json!([broken, updates(&[32])[0]])));
    let batch = Telegram::next(Some("30".to_owned()), 0, 100).unwrap();
    assert_eq!((batch.events.len(), batch.cursor.as_str()), (1, "32"));
    assert!(host.log()[0].message.contains("not readable"));
}

#[test]
fn a_press_is_answered_and_a_failed_answer_loses_nothing() {
    let host = acquainted();
    let query = json!({
        "id": "q1", "from": { "id": 42, "first_name": "Ada" }, "data": "yes",
        "message": { "message_id": 9, "chat": private() },
    });
    host.answer(result(json!([{ "update_id": 31, "callback_query": query }])));
    host.answer(refusal(400, "Bad Request: query is too old", json!({})));
    let batch = Telegram::next(Some("30".to_owned()), 0, 100).unwrap();
    assert_eq!(batch.events.len(), 1);
    assert_eq!(host.sent()[2].json(), json!({ "callback_query_id": "q1" }));
}

#[test]
fn a_webhook_that_stands_in_the_way_is_withdrawn() {
    let host = acquainted();
    let words = "Conflict: can't use getUpdates method while webhook is active; use deleteWebhook";
    host.answer(refusal(409, words, json!({})));
    host.answer(result(json!(true)));
    host.answer(result(updates(&[31])));
    let batch = Telegram::next(Some("30".to_owned()), 0, 100).unwrap();
    assert_eq!(batch.events.len(), 1);
    assert_eq!(host.sent()[2].json(), json!({ "drop_pending_updates": false }));
}

#[test]
fn another_host_that_polls_is_a_conflict_and_a_bad_token_is_unauthorized() {
    let host = acquainted();
    let poll = || Telegram::next(Some("30".to_owned()), 0, 100).unwrap_err();
    host.answer(refusal(409, "Conflict: terminated by other getUpdates request", json!({})));
    assert!(matches!(poll(), PollError::Conflict(_)));
    host.answer(refusal(401, "Unauthorized", json!({})));
    assert!(matches!(poll(), PollError::Failed(CallError::Unauthorized(_))));
    host.answer(refusal(429, "Too Many Requests", json!({ "retry_after": 3 })));
    assert!(matches!(poll(), PollError::Failed(CallError::RateLimited(_))));
}
