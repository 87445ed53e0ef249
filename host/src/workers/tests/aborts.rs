//! Stop means stop.

use super::bench::{Bench, Wishes};
use super::script::{Act, Send, facts, last_word};
use crate::lifecycle::outcome::{Fault, SendError};
use crate::store::{AbortScope, Command, Operated};
use crate::workers::operate::operate;

// Case: F1
#[tokio::test(start_paused = true)]
async fn an_aborted_turns_handler_is_ended_within_a_second_and_nothing_is_sent() {
    let bench = Bench::new().await;
    bench.handler.then(vec![Act::Sleep(60_000), last_word("too late")]);
    let turn = bench.post("room", "m1", "hello").await;
    bench.wait(5_000).await;
    assert_eq!(bench.abort("room", "stop1").await, [turn]);
    bench.wait(1_100).await;
    assert_eq!(bench.handler.ended.lock().unwrap().len(), 1);
    bench.wait(120_000).await;
    assert_eq!(bench.end(turn).await.0, "aborted");
    assert!(bench.adapter.calls().is_empty());
    assert_eq!(bench.handler.runs(), 1);
}

// Case: F3
#[tokio::test(start_paused = true)]
async fn a_send_that_is_at_the_adapter_when_its_turn_is_aborted_is_recorded_as_it_ended() {
    let bench = Bench::new().await;
    bench.adapter.then([Send::After(5_000, Box::new(Send::Deliver))]);
    let turn = bench.post("room", "m1", "hello").await;
    bench.wait(1_000).await;
    bench.abort("room", "stop1").await;
    bench.wait(10_000).await;
    assert_eq!(bench.end(turn).await.0, "aborted");
    assert_eq!(bench.states().await, ["delivered"]);
}

// Case: C25
#[tokio::test(start_paused = true)]
async fn a_row_that_was_claimed_before_its_turn_was_aborted_is_not_sent_and_costs_no_attempt() {
    let mut paced = facts();
    paced.conversation_interval_ms = 3_000;
    let bench = Bench::with(Wishes { facts: Some(paced), ..Wishes::default() }).await;
    bench.post("room", "m1", "one").await;
    let turn = bench.post("room", "m2", "two").await;
    // Claimed, and waiting in memory for its conversation's place in time.
    bench.wait(1_000).await;
    let row = bench.outbox().await.remove(1);
    assert_eq!((row.state.as_str(), row.turn_id), ("sending", Some(turn)));
    assert_eq!(bench.abort("room", "stop1").await, [turn]);
    bench.wait(10_000).await;
    assert_eq!(bench.adapter.texts(), ["re: one"]);
    let row = bench.outbox().await.remove(1);
    assert_eq!((row.state.as_str(), row.attempts), ("cancelled", 0));
    assert_eq!(bench.end(turn).await.0, "aborted");
}

// Case: F4
#[tokio::test(start_paused = true)]
async fn a_late_transient_answer_for_an_aborted_turn_puts_nothing_back_in_line() {
    let bench = Bench::new().await;
    let busy = Send::Say(SendError::Transient(Fault::new("busy", "it is busy")));
    bench.adapter.then([Send::After(5_000, Box::new(busy))]);
    let turn = bench.post("room", "m1", "hello").await;
    bench.wait(1_000).await;
    bench.abort("room", "stop1").await;
    let next = bench.post("room", "m2", "again").await;
    bench.wait(60_000).await;
    assert_eq!(bench.end(turn).await.0, "aborted");
    assert_eq!(bench.states().await, ["cancelled", "delivered"]);
    assert_eq!(bench.end(next).await.0, "delivered");
}

// Case: F8
#[tokio::test(start_paused = true)]
async fn an_operators_abort_of_a_turn_in_backoff_stops_it_for_good() {
    let bench = Bench::new().await;
    bench.handler.then(vec![Act::Panic]);
    let turn = bench.post("room", "m1", "hello").await;
    bench.wait(10).await;
    let abort = Command::Abort { scope: AbortScope::Turn(turn), by: "cli".to_owned() };
    let operated = operate(bench.workers.hub(), abort.clone()).await.unwrap();
    assert_eq!(operated, Operated::Done { ids: vec![turn.to_string()] });
    bench.wait(60_000).await;
    assert_eq!((bench.end(turn).await.0.as_str(), bench.handler.runs()), ("aborted", 1));
    let again = operate(bench.workers.hub(), abort).await.unwrap();
    assert!(matches!(again, Operated::Nothing { .. } | Operated::Refused { .. }), "{again:?}");
}
