//! Tries: what handlers do wrong, and what keeps or ends a claim.

use super::bench::{Bench, Wishes};
use super::script::{Act, last_word, reply};
use crate::handler::{Failure, HandlerEvent};
use crate::workers::rules::WorkerRules;

// Case: B5, B6
#[tokio::test(start_paused = true)]
async fn a_handler_that_ends_without_a_final_is_tried_again_with_backoff_until_its_tries_are_spent()
{
    let bench = Bench::new().await;
    for _ in 0..3 {
        bench.handler.then(vec![Act::Give(HandlerEvent::Block(reply("half")))]);
    }
    let turn = bench.post("room", "m1", "hello").await;
    let next = bench.post("room", "m2", "then").await;
    bench.wait(60_000).await;
    let (state, code) = bench.end(turn).await;
    assert_eq!((state.as_str(), code.as_deref()), ("failed", Some(Failure::NO_FINAL)));
    assert_eq!(bench.turn(turn).await.row.attempts, 3);
    assert_eq!(bench.end(next).await.0, "delivered", "the conversation goes on");
}

// Case: B5
#[tokio::test(start_paused = true)]
async fn the_next_try_is_told_what_the_last_one_delivered() {
    let bench = Bench::new().await;
    let block = Act::Give(HandlerEvent::Block(reply("half")));
    bench.handler.then(vec![block, Act::Sleep(1_000), Act::Panic]);
    let turn = bench.post("room", "m1", "hello").await;
    bench.wait(10_000).await;
    assert_eq!(bench.end(turn).await.0, "delivered");
    let documents = bench.handler.documents.lock().unwrap();
    let told: Vec<_> = documents.iter().map(|it| (it.turn.attempt, it.delivered.len())).collect();
    assert_eq!(told, [(1, 0), (2, 1)]);
    assert_eq!(documents[1].delivered[0].text, "half");
}

// Case: B10
#[tokio::test(start_paused = true)]
async fn an_agent_that_thinks_for_minutes_and_says_nothing_keeps_its_claim() {
    let bench = Bench::new().await;
    bench.handler.then(vec![Act::Sleep(300_000), last_word("done")]);
    let turn = bench.post("room", "m1", "hello").await;
    bench.wait(299_000).await;
    assert_eq!(bench.end(turn).await.0, "running");
    bench.wait(2_000).await;
    assert_eq!(bench.end(turn).await.0, "delivered");
    assert_eq!(bench.handler.runs(), 1);
}

// Case: B10
#[tokio::test(start_paused = true)]
async fn past_its_deadline_a_handler_is_ended_and_its_try_is_lost() {
    let bench = Bench::new().await;
    bench.handler.then(vec![Act::Sleep(3_600_000), last_word("late")]);
    let turn = bench.post("room", "m1", "hello").await;
    bench.wait(620_000).await;
    let ended = bench.handler.ended.lock().unwrap()[0];
    assert!((600_000..602_000).contains(&ended), "{ended}");
    assert_eq!(bench.end(turn).await.0, "delivered");
    assert_eq!(bench.adapter.texts(), ["re: hello"]);
}

// Case: B10
#[tokio::test(start_paused = true)]
async fn a_silent_handler_is_ended_at_its_heartbeat_timeout_and_a_heartbeat_keeps_it() {
    let rules = WorkerRules { heartbeat_timeout_ms: Some(30_000), ..WorkerRules::default() };
    let bench = Bench::with(Wishes { rules, ..Wishes::default() }).await;
    let beat = || Act::Give(HandlerEvent::Heartbeat);
    let waits = || Act::Sleep(25_000);
    bench.handler.then(vec![waits(), beat(), waits(), beat(), waits(), last_word("kept")]);
    let kept = bench.post("a", "m1", "hello").await;
    bench.wait(10).await;
    bench.handler.then(vec![Act::Sleep(80_000), last_word("too silent")]);
    let lost = bench.post("b", "m1", "hello").await;
    bench.wait(79_000).await;
    assert_eq!(bench.end(kept).await.0, "delivered");
    assert_eq!(bench.turn(lost).await.try_number, 2);
    assert!(!bench.adapter.texts().contains(&"too silent".to_owned()));
}

// Case: B17
#[tokio::test(start_paused = true)]
async fn a_handler_that_cannot_be_started_costs_no_try_and_recovers_by_itself() {
    let bench = Bench::new().await;
    for _ in 0..6 {
        bench.handler.then(vec![Act::Fail(Failure::not_started("there is no such command"))]);
    }
    let turns = [bench.post("a", "m1", "one").await, bench.post("b", "m1", "two").await];
    bench.wait(30_000).await;
    assert!(bench.handler.runs() <= 7, "{} starts in 30 s", bench.handler.runs());
    assert_eq!(bench.workers.status().events[0].code, Failure::NOT_STARTED);
    bench.wait(180_000).await;
    for turn in turns {
        let row = bench.turn(turn).await.row;
        assert_eq!((row.state.as_str(), row.attempts), ("delivered", 1));
    }
}

// Case: B9
#[tokio::test(start_paused = true)]
async fn a_second_final_and_what_comes_after_the_final_is_refused() {
    let bench = Bench::new().await;
    let tool = Act::Give(HandlerEvent::Tool(reply("late tool")));
    bench.handler.then(vec![last_word("first"), Act::Sleep(10), last_word("second"), tool]);
    let turn = bench.post("room", "m1", "hello").await;
    bench.wait(10_000).await;
    assert_eq!(bench.end(turn).await.0, "delivered");
    assert_eq!(bench.adapter.texts(), ["first"]);
    assert_eq!(bench.workers.hub().metrics.late_events_refused.get(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_lingers_after_its_final_is_ended_and_holds_up_no_delivery() {
    let bench = Bench::new().await;
    bench.handler.then(vec![last_word("done"), Act::Stay { tidies_ms: 3_600_000 }]);
    let turn = bench.post("room", "m1", "hello").await;
    bench.wait(100).await;
    assert_eq!(bench.end(turn).await.0, "delivered");
    bench.wait(10_000).await;
    assert_eq!(bench.handler.ended.lock().unwrap().len(), 1);
}

// Case: B8
#[tokio::test(start_paused = true)]
async fn silence_is_an_end_and_the_next_turn_comes_at_once() {
    let bench = Bench::new().await;
    bench.handler.then(vec![Act::Give(HandlerEvent::Silent)]);
    let turn = bench.post("room", "m1", "hello").await;
    let next = bench.post("room", "m2", "and").await;
    bench.wait(100).await;
    assert_eq!(bench.end(turn).await.0, "silent");
    assert_eq!(bench.end(next).await.0, "delivered");
}

#[tokio::test(start_paused = true)]
async fn typing_is_shown_while_the_agent_thinks_and_not_for_a_quick_answer() {
    let bench = Bench::new().await;
    bench.post("quick", "m1", "hello").await;
    bench.wait(5_000).await;
    assert!(bench.adapter.indicated.lock().unwrap().is_empty());
    bench.handler.then(vec![Act::Sleep(9_000), last_word("done")]);
    bench.post("slow", "m1", "hello").await;
    bench.wait(60_000).await;
    let shown = bench.adapter.indicated.lock().unwrap().clone();
    assert_eq!(shown, [5_500, 9_500, 13_500], "before it fades after 5 s, until the end");
}

#[tokio::test(start_paused = true)]
async fn no_more_handlers_run_at_once_than_there_are_permits() {
    let rules = WorkerRules { handlers: 2, ..WorkerRules::default() };
    let bench = Bench::with(Wishes { rules, ..Wishes::default() }).await;
    for n in 0..6 {
        bench.handler.then(vec![Act::Sleep(1_000), last_word("done")]);
        bench.post(&format!("room {n}"), "m1", "hello").await;
    }
    for expected in [2, 4, 6] {
        bench.wait(900).await;
        assert_eq!(bench.handler.runs(), expected);
        bench.wait(110).await;
    }
}
