//! Tries: what handlers do wrong, and what keeps or ends a claim.

use std::sync::atomic::Ordering;

use super::bench::{Bench, Wishes, message};
use super::script::{Act, facts, last_word, reply};
use crate::handler::{Failure, HandlerEvent, HandlerLimits};
use crate::lifecycle::files::FileAccess;
use crate::lifecycle::message::{Attachment, AttachmentSource, InboundEvent};
use crate::store::AcceptedEvent;
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

// Case: B17
#[tokio::test(start_paused = true)]
async fn after_a_failed_start_one_agent_that_thinks_for_long_keeps_no_other_conversation_waiting() {
    let bench = Bench::new().await;
    bench.handler.then(vec![Act::Fail(Failure::not_started("there is no such command"))]);
    bench.handler.then(vec![Act::Sleep(300_000), last_word("thought about")]);
    let mut turns = vec![bench.post("a", "m1", "hello").await];
    bench.wait(10).await;
    for room in ["b", "c", "d", "e"] {
        turns.push(bench.post(room, "m1", "hello").await);
    }
    bench.wait(60_000).await;
    let mut states = Vec::new();
    for turn in &turns {
        states.push(bench.end(*turn).await.0);
    }
    let delivered = states.iter().filter(|state| *state == "delivered").count();
    assert_eq!(delivered, 4, "all but the one that is thought about: {states:?}");
    bench.wait(260_000).await;
    for turn in turns {
        let row = bench.turn(turn).await.row;
        assert_eq!((row.state.as_str(), row.attempts), ("delivered", 1));
    }
}

// Case: B17
#[tokio::test(start_paused = true)]
async fn after_a_failed_start_an_agent_that_runs_out_of_its_time_was_started_all_the_same() {
    let rules = WorkerRules { handler_deadline_ms: 5_000, ..WorkerRules::default() };
    let bench = Bench::with(Wishes { rules, ..Wishes::default() }).await;
    bench.handler.then(vec![Act::Fail(Failure::not_started("there is no such command"))]);
    for _ in 0..2 {
        bench.handler.then(vec![Act::Sleep(60_000), last_word("too late")]);
    }
    bench.post("a", "m1", "hello").await;
    bench.wait(10).await;
    for room in ["b", "c", "d", "e"] {
        bench.post(room, "m1", "hello").await;
    }
    // The first probe begins after a second, and is ended 5 s later: then all the others begin.
    bench.wait(8_000).await;
    assert!(bench.handler.runs() >= 5, "{} began", bench.handler.runs());
}

// Case: B11
#[tokio::test(start_paused = true)]
async fn a_turn_that_waits_for_the_last_agent_to_be_gone_keeps_its_claim_and_its_try() {
    let handler = HandlerLimits { linger_ms: 300_000, ..HandlerLimits::default() };
    let rules = WorkerRules { handler, ..WorkerRules::default() };
    let bench = Bench::with(Wishes { rules, ..Wishes::default() }).await;
    bench.handler.then(vec![last_word("one"), Act::Sleep(280_000)]);
    bench.post("room", "m1", "first").await;
    let second = bench.post("room", "m2", "second").await;
    bench.wait(270_000).await;
    assert_eq!((bench.end(second).await.0.as_str(), bench.handler.runs()), ("running", 1));
    bench.wait(20_000).await;
    let detail = bench.turn(second).await;
    assert_eq!((detail.row.state.as_str(), detail.try_number), ("delivered", 1));
    assert_eq!(bench.handler.runs(), 2);
}

// Case: F1
#[tokio::test(start_paused = true)]
async fn a_turn_that_waits_for_the_last_agent_to_be_gone_is_given_back_at_a_planned_stop() {
    let handler = HandlerLimits { linger_ms: 3_600_000, ..HandlerLimits::default() };
    let rules = WorkerRules { handler, ..WorkerRules::default() };
    let bench = Bench::with(Wishes { rules, ..Wishes::default() }).await;
    bench.handler.then(vec![last_word("one"), Act::Stay { tidies_ms: 10 }]);
    bench.post("room", "m1", "first").await;
    let second = bench.post("room", "m2", "second").await;
    bench.wait(10_000).await;
    let workers = bench.workers.clone();
    let stopping = bench.env.spawn(async move { workers.stop().await });
    bench.wait(1_000).await;
    assert_eq!(bench.end(second).await.0, "queued", "at once, while the first one may go on");
    assert_eq!(stopping.await.unwrap(), crate::workers::Stopped::Clean);
    assert_eq!(bench.turn(second).await.row.attempts, 0, "a planned stop charges nothing");
}

fn flood(times: u32, each_ms: u64) -> Act {
    let events = vec![HandlerEvent::Heartbeat, HandlerEvent::Block(reply("more"))];
    Act::Flood { events, times, each_ms }
}

// Case: B11
#[tokio::test(start_paused = true)]
async fn an_agent_that_is_never_at_a_loss_for_words_keeps_its_claim() {
    let bench = Bench::with(Wishes { stepped: true, ..Wishes::default() }).await;
    bench.handler.then(vec![flood(400, 500), last_word("done")]);
    let turn = bench.post("room", "m1", "hello").await;
    bench.wait(400_000).await;
    let detail = bench.turn(turn).await;
    assert_eq!((detail.row.state.as_str(), detail.try_number), ("delivered", 1));
    assert_eq!(bench.handler.runs(), 1);
}

// Case: B10
#[tokio::test(start_paused = true)]
async fn an_agent_that_is_never_at_a_loss_for_words_is_ended_at_its_deadline() {
    let rules = WorkerRules { handler_deadline_ms: 30_000, ..WorkerRules::default() };
    let bench = Bench::with(Wishes { stepped: true, rules, ..Wishes::default() }).await;
    bench.handler.then(vec![flood(400, 500), last_word("too late")]);
    let turn = bench.post("room", "m1", "hello").await;
    bench.wait(300_000).await;
    let ended = bench.handler.ended.lock().unwrap()[0];
    assert!((30_000..36_000).contains(&ended), "{ended}");
    assert_eq!(bench.turn(turn).await.try_number, 2);
    assert_eq!(bench.adapter.texts().last().unwrap(), "re: hello");
}

// Case: B10
#[tokio::test(start_paused = true)]
async fn the_time_that_the_host_takes_to_fetch_files_is_no_silence_of_the_agent() {
    let mut offers = facts();
    offers.offers.files = true;
    let rules = WorkerRules { heartbeat_timeout_ms: Some(30_000), ..WorkerRules::default() };
    let wishes = Wishes { rules, facts: Some(offers), ..Wishes::default() };
    let bench = Bench::with(wishes).await;
    bench.handler.by_path.store(true, Ordering::Relaxed);
    bench.adapter.download_ms.store(45_000, Ordering::Relaxed);
    bench.handler.then(vec![Act::Sleep(25_000), last_word("seen")]);
    bench.handler.then(vec![Act::Sleep(35_000), last_word("too silent")]);
    let mut sent = message("room", "m1", "look");
    sent.attachments.push(Attachment {
        name: Some("cat.png".to_owned()),
        media_type: "image/png".to_owned(),
        size_bytes: None,
        source: AttachmentSource::Remote("f1".to_owned()),
        access: FileAccess::default(),
    });
    let told = bench.accept(vec![InboundEvent::Message(sent)]).await.events.remove(0);
    let AcceptedEvent::Turn { turn, .. } = told else { panic!("{told:?}") };
    bench.wait(80_000).await;
    let detail = bench.turn(turn).await;
    assert_eq!((detail.row.state.as_str(), detail.try_number), ("delivered", 1));
    assert_eq!(bench.adapter.texts(), ["seen"]);
    let next = bench.post("room", "m2", "and").await;
    bench.wait(60_000).await;
    let detail = bench.turn(next).await;
    assert_eq!((detail.row.state.as_str(), detail.try_number), ("delivered", 2));
    assert_eq!(bench.adapter.texts(), ["seen", "re: and"], "its own silence counts as ever");
}
