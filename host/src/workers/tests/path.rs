//! The main path, and what becomes of sends.

use super::bench::{Bench, Wishes, message};
use super::script::{Act, Send, facts, last_word, reply};
use crate::handler::HandlerEvent;
use crate::lifecycle::message::{DeliveryKind, InboundEvent};
use crate::lifecycle::outcome::{CallError, Fault, Lookup, RateScope, Receipt, SendError};
use crate::lifecycle::settle::{Idempotency, SettleMeans};
use crate::workers::ports::TextLimit;

fn transient() -> Send {
    Send::Say(SendError::Transient(Fault::new("busy", "it is busy")))
}

#[tokio::test(start_paused = true)]
async fn a_message_is_answered_in_three_commits() {
    let bench = Bench::new().await;
    let before = bench.store.stats().core.commits;
    let turn = bench.post("room", "m1", "hello").await;
    bench.wait(10).await;
    assert_eq!(bench.end(turn).await, ("delivered".to_owned(), None));
    assert_eq!(bench.adapter.texts(), ["re: hello"]);
    assert_eq!(bench.store.stats().core.commits - before, 3);
    assert_eq!(bench.workers.hub().metrics.turns_delivered.get(), 1);
}

// Case: A2
#[tokio::test(start_paused = true)]
async fn a_duplicate_runs_no_handler_and_sends_nothing() {
    let bench = Bench::new().await;
    bench.post("room", "m1", "hello").await;
    bench.wait(10).await;
    bench.accept(vec![InboundEvent::Message(message("room", "m1", "hello"))]).await;
    bench.wait(120_000).await;
    assert_eq!((bench.handler.runs(), bench.adapter.calls().len()), (1, 1));
    assert_eq!(bench.workers.hub().metrics.duplicates.get(), 1);
}

// Case: B4
#[tokio::test(start_paused = true)]
async fn messages_of_one_conversation_are_answered_in_order_one_at_a_time() {
    let bench = Bench::new().await;
    bench.adapter.then((0..5).map(|_| Send::After(1_000, Box::new(Send::Deliver))));
    for n in 0..5 {
        bench.post("room", &format!("m{n}"), &n.to_string()).await;
    }
    bench.wait(4_500).await;
    assert_eq!(bench.handler.runs(), 5, "the fifth runs once the fourth reply arrived");
    bench.wait(600).await;
    assert_eq!(bench.adapter.texts(), ["re: 0", "re: 1", "re: 2", "re: 3", "re: 4"]);
}

// Case: B4
#[tokio::test(start_paused = true)]
async fn conversations_do_not_wait_for_each_other() {
    let bench = Bench::new().await;
    bench.adapter.then([Send::After(20_000, Box::new(Send::Deliver))]);
    bench.post("slow", "m1", "a").await;
    for n in 0..20 {
        bench.post(&format!("room {n}"), "m1", "b").await;
    }
    bench.wait(100).await;
    assert_eq!(bench.workers.hub().metrics.turns_delivered.get(), 20);
}

// Case: C4
#[tokio::test(start_paused = true)]
async fn a_transient_fault_is_retried_after_its_backoff_and_not_a_moment_before() {
    let bench = Bench::new().await;
    bench.adapter.then([transient(), transient()]);
    let turn = bench.post("room", "m1", "hello").await;
    bench.wait(4_990).await;
    assert_eq!(bench.adapter.calls().len(), 1);
    bench.wait(600).await;
    assert_eq!(bench.adapter.calls().len(), 2);
    bench.wait(24_000).await;
    assert_eq!(bench.adapter.calls().len(), 2);
    bench.wait(4_000).await;
    assert_eq!(bench.end(turn).await.0, "delivered");
    let ids: Vec<_> = bench.adapter.calls().iter().map(|seen| seen.message.delivery_id).collect();
    assert!(ids.iter().all(|id| *id == ids[0]), "one delivery keeps its id");
}

// Case: C6
#[tokio::test(start_paused = true)]
async fn a_channel_wide_rate_limit_holds_the_channel_and_costs_no_attempt() {
    let bench = Bench::new().await;
    let limited = SendError::RateLimited { retry_after_ms: 90_000, scope: RateScope::Channel };
    bench.adapter.then([Send::Say(limited)]);
    bench.post("a", "m1", "one").await;
    bench.wait(10).await;
    bench.post("b", "m1", "two").await;
    bench.wait(89_000).await;
    assert_eq!(bench.adapter.calls().len(), 1);
    bench.wait(2_000).await;
    assert_eq!(bench.states().await, ["delivered", "delivered"]);
    assert!(bench.outbox().await.iter().all(|row| row.attempts == 1));
}

// Case: C13
#[tokio::test(start_paused = true)]
async fn a_long_reply_goes_out_in_parts_in_order_and_stops_where_one_is_rejected() {
    let mut limited = facts();
    limited.text = Some(TextLimit { most: 10, unit: crate::sandbox::TextUnit::Chars });
    let bench = Bench::with(Wishes { facts: Some(limited), ..Wishes::default() }).await;
    let rejected = Send::Say(SendError::Rejected(Fault::new("no", "the platform says no")));
    bench.handler.then(vec![last_word("one two three four five six seven")]);
    bench.adapter.then([Send::Deliver, rejected]);
    let turn = bench.post("room", "m1", "hello").await;
    bench.wait(1_000).await;
    let parts = bench.outbox().await.len();
    assert!(parts >= 3, "{parts}");
    let mut expected = vec!["delivered", "dead"];
    expected.resize(parts, "cancelled");
    assert_eq!(bench.states().await, expected);
    assert_eq!(bench.end(turn).await.0, "failed");
    assert_eq!(bench.adapter.calls().len(), 2);
}

// Case: B13, C9
#[tokio::test(start_paused = true)]
async fn progress_goes_out_before_the_final_and_gets_one_try() {
    let bench = Bench::new().await;
    bench.handler.then(vec![
        Act::Give(HandlerEvent::Tool(reply("looking"))),
        Act::Sleep(100),
        last_word("done"),
    ]);
    bench.adapter.then([transient()]);
    let turn = bench.post("room", "m1", "hello").await;
    bench.wait(1_000).await;
    assert_eq!(bench.states().await, ["dead", "delivered"]);
    assert_eq!(bench.end(turn).await.0, "delivered");
    let kinds: Vec<DeliveryKind> = bench.adapter.calls().iter().map(|seen| seen.kind).collect();
    assert_eq!(kinds, [DeliveryKind::Tool, DeliveryKind::Final]);
}

// Case: D3
#[tokio::test(start_paused = true)]
async fn a_trap_after_the_request_left_is_asked_about_once_it_has_settled() {
    let means = SettleMeans { can_ask: true, ..SettleMeans::default() };
    let bench = Bench::with(Wishes { means, ..Wishes::default() }).await;
    bench.adapter.then([Send::Trap { left: true }]);
    bench.adapter.finds.lock().unwrap().extend([
        Err(CallError::Transient(Fault::new("busy", "not now"))),
        Ok(Lookup::Found(Receipt { platform_id: "p9".to_owned(), extras: Vec::new() })),
    ]);
    let turn = bench.post("room", "m1", "hello").await;
    bench.wait(29_900).await;
    assert!(bench.adapter.found.lock().unwrap().is_empty(), "bytes may still land");
    bench.wait(200).await;
    assert_eq!(bench.adapter.found.lock().unwrap().len(), 1);
    bench.wait(61_000).await;
    assert_eq!(bench.end(turn).await.0, "delivered");
    assert_eq!(bench.adapter.calls().len(), 1, "it is never sent again");
    let first = bench.adapter.found.lock().unwrap()[0];
    assert_eq!(first.1, 1_700_000_000_000, "since the first attempt's start");
}

// Case: D2
#[tokio::test(start_paused = true)]
async fn an_idempotent_adapter_is_sent_the_same_delivery_again() {
    let means = SettleMeans { idempotency: Idempotency::Always, ..SettleMeans::default() };
    let bench = Bench::with(Wishes { means, ..Wishes::default() }).await;
    bench.adapter.then([Send::Trap { left: true }]);
    let turn = bench.post("room", "m1", "hello").await;
    bench.wait(6_000).await;
    let calls = bench.adapter.calls();
    assert_eq!(calls.len(), 2);
    assert_eq!(calls[0].message.delivery_id, calls[1].message.delivery_id);
    assert_eq!((calls[0].message.attempt, calls[1].message.attempt), (1, 2));
    assert_eq!(bench.end(turn).await.0, "delivered");
}

// Case: C10, D11
#[tokio::test(start_paused = true)]
async fn without_key_or_question_an_unknown_send_is_held_and_the_conversation_goes_on() {
    let bench = Bench::new().await;
    bench.adapter.then([Send::Trap { left: true }]);
    let turn = bench.post("room", "m1", "one").await;
    let next = bench.post("room", "m2", "two").await;
    bench.wait(60_000).await;
    let code = Some("outcome_unknown".to_owned());
    assert_eq!(bench.end(turn).await, ("failed".to_owned(), code));
    assert_eq!(bench.end(next).await.0, "delivered");
    assert_eq!(bench.states().await, ["held", "delivered"]);
}

// Case: C11
#[tokio::test(start_paused = true)]
async fn a_call_that_never_comes_back_is_given_up_and_unknown() {
    let bench = Bench::new().await;
    bench.adapter.then([Send::Lost]);
    bench.post("room", "m1", "hello").await;
    bench.wait(34_000).await;
    assert_eq!(bench.states().await, ["sending"]);
    bench.wait(2_000).await;
    assert_eq!(bench.states().await, ["held"]);
}

#[tokio::test(start_paused = true)]
async fn an_idle_host_writes_nothing() {
    let bench = Bench::new().await;
    bench.wait(1_000).await;
    let before = bench.store.stats().core;
    bench.wait(3_600_000).await;
    assert_eq!(bench.store.stats().core.commits, before.commits);
}

// Case: C16
#[tokio::test(start_paused = true)]
async fn a_receipt_whose_record_fails_is_recorded_again_and_nothing_is_sent_again() {
    let bench = Bench::new().await;
    bench.adapter.then([Send::After(1_000, Box::new(Send::Deliver))]);
    let turn = bench.post("room", "m1", "hello").await;
    bench.wait(500).await;
    bench.store.refuse_next(8);
    bench.wait(4_000).await;
    assert_eq!(bench.states().await, ["sending"]);
    bench.wait(20_000).await;
    assert_eq!(bench.end(turn).await.0, "delivered");
    assert_eq!(bench.adapter.calls().len(), 1);
    let retries = bench.workers.hub().metrics.store_retries.get();
    assert!((3..=8).contains(&retries), "{retries}: some went to the looks at the store");
}

#[tokio::test(start_paused = true)]
async fn a_final_that_the_store_cannot_take_yet_is_kept_and_taken_later() {
    let bench = Bench::new().await;
    bench.handler.then(vec![Act::Sleep(1_000), last_word("kept")]);
    let turn = bench.post("room", "m1", "hello").await;
    bench.wait(500).await;
    bench.store.refuse_next(8);
    bench.wait(30_000).await;
    assert_eq!(bench.end(turn).await.0, "delivered");
    assert_eq!((bench.handler.runs(), bench.adapter.texts()), (1, vec!["kept".to_owned()]));
}

// Case: A11
#[tokio::test(start_paused = true)]
async fn what_cannot_be_committed_is_refused_upward_and_makes_no_hot_loop() {
    let bench = Bench::new().await;
    bench.store.refuse_next(1_000_000);
    let events = vec![InboundEvent::Message(message("room", "m1", "hello"))];
    let batch = crate::workers::intake::Batch { events, ..Default::default() };
    let hub = bench.workers.hub();
    let refused = crate::workers::intake::accept(hub, &"hook".into(), batch.clone()).await;
    assert!(matches!(refused, Err(crate::store::StoreError::NotWritable(_))));
    bench.wait(60_000).await;
    bench.store.refuse_next(0);
    let accepted = crate::workers::intake::accept(hub, &"hook".into(), batch).await.unwrap();
    assert_eq!(accepted.events.len(), 1);
    bench.wait(10).await;
    assert_eq!(bench.adapter.texts(), ["re: hello"]);
}
