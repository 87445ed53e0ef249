//! A planned stop, and a kill.

use futures_util::future::join_all;

use super::bench::{Bench, CHANNEL, Wishes, message};
use super::script::{Act, Send, last_word};
use crate::lifecycle::message::InboundEvent;
use crate::lifecycle::outcome::StateWrites;
use crate::store::{Accept, Answer, Command, Lease};
use crate::workers::Stopped;
use crate::workers::sweeps;

// Case: C18
#[tokio::test(start_paused = true)]
async fn a_planned_stop_lets_running_calls_finish_and_begins_nothing_new() {
    let bench = Bench::new().await;
    bench.adapter.then([Send::After(5_000, Box::new(Send::Deliver))]);
    let first = bench.post("room", "m1", "one").await;
    let second = bench.post("room", "m2", "two").await;
    bench.wait(10).await;
    assert_eq!(bench.workers.stop().await, Stopped::Clean);
    assert!(bench.env.now().mono_ms < 6_000);
    assert_eq!(bench.end(first).await.0, "delivered");
    let row = bench.turn(second).await.row;
    assert_eq!((row.state.as_str(), row.attempts), ("queued", 0));
}

#[tokio::test(start_paused = true)]
async fn past_drain_a_handler_is_ended_and_its_turn_given_back_uncharged() {
    let bench = Bench::new().await;
    bench.handler.then(vec![Act::Stay { tidies_ms: 500 }]);
    let turn = bench.post("room", "m1", "hello").await;
    bench.wait(10).await;
    assert_eq!(bench.workers.stop().await, Stopped::Clean);
    let detail = bench.turn(turn).await;
    assert_eq!((detail.row.state.as_str(), detail.row.attempts), ("queued", 0));
    assert_eq!(detail.host_losses, 0);
}

// Case: C18
#[tokio::test(start_paused = true)]
async fn past_drain_a_send_is_given_back_or_unknown_as_its_ledger_says() {
    for (left, expected) in [(false, "queued"), (true, "held")] {
        let bench = Bench::new().await;
        bench.adapter.then([Send::Hang { left }]);
        bench.post("room", "m1", "hello").await;
        bench.wait(10).await;
        assert_eq!(bench.workers.stop().await, Stopped::Clean);
        let row = bench.outbox().await.remove(0);
        let state = if row.held { "held" } else { row.state.as_str() };
        // Held only once somebody looked: nothing but a person can tell.
        let state = if state == "unknown" { "held" } else { state };
        assert_eq!((state, row.attempts), (expected, u32::from(left)));
    }
}

// Case: C19
#[tokio::test(start_paused = true)]
async fn after_a_stop_and_a_start_each_queued_row_goes_out_once() {
    let bench = Bench::new().await;
    bench.adapter.then((0..8).map(|_| Send::After(10_000, Box::new(Send::Deliver))));
    for n in 0..1_000 {
        bench.post(&format!("room {n}"), "m1", &n.to_string()).await;
    }
    bench.wait(100).await;
    bench.workers.stop().await;
    let before = bench.adapter.texts();
    assert_eq!(before.len(), 8);
    let bench = bench.killed(Wishes::default()).await;
    bench.workers.recover().await;
    bench.workers.start();
    bench.wait(30_000).await;
    let mut all = [before, bench.adapter.texts()].concat();
    all.sort();
    let mut expected: Vec<String> = (0..1_000).map(|n| format!("re: {n}")).collect();
    expected.sort();
    assert_eq!(all, expected);
}

// Case: G9
#[tokio::test(start_paused = true)]
async fn recovery_frees_what_a_dead_host_held_and_its_report_equals_the_rows() {
    let bench = Bench::new().await;
    bench.adapter.then((0..8).map(|_| Send::Lost));
    for n in 0..8 {
        bench.post(&format!("sending {n}"), "m1", "hello").await;
    }
    for n in 0..8 {
        bench.wait(1).await;
        bench.handler.then(vec![Act::Sleep(500_000), last_word("never")]);
        bench.post(&format!("running {n}"), "m1", "hello").await;
    }
    bench.wait(10).await;
    // Killed: nothing of the old host runs on. Its loops still exist, and are told to be quiet.
    bench.workers.hub().shutdown.advance(crate::workers::shutdown::Phase::Ending);
    let bench = bench.killed(Wishes::default()).await;
    let report = bench.workers.recover().await;
    assert_eq!(report.done["turns_of_dead_hosts"], 8);
    assert_eq!(report.done["sends_of_dead_hosts"], 8);
    assert_eq!((report.seen, report.missed, report.failed), (16, 0, 0));
    let again = sweeps::recover(bench.workers.hub()).await;
    assert_eq!((again.seen, again.changed()), (0, 0), "the second time there is nothing to do");
}

// Case: B16
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_orphans_are_recovered_page_by_page() {
    let bench = Bench::threaded().await;
    for chunk in 0..100 {
        let events = (0..100).map(|n| {
            let room = format!("room {}", chunk * 100 + n);
            InboundEvent::Message(message(&room, "m", "x"))
        });
        let accept = Accept {
            channel: CHANNEL.into(),
            events: events.collect(),
            cursor: None,
            state: StateWrites::default(),
            claim: None,
        };
        bench.store.run(Command::Accept(accept)).await.unwrap();
    }
    for _ in 0..10 {
        let lease = Lease { lease_ms: 60_000 };
        let claims = (0..1_000).map(|_| bench.store.run(Command::ClaimTurn { lease }));
        for claimed in join_all(claims).await {
            assert!(matches!(claimed, Ok(Answer::ClaimedTurn(Some(_)))));
        }
    }
    let bench = bench.killed(Wishes { threads: true, ..Wishes::default() }).await;
    let began = bench.env.elapsed();
    let report = bench.workers.recover().await;
    let took = bench.env.elapsed() - began;
    assert_eq!((report.seen, report.changed()), (10_000, 10_000));
    assert_eq!((report.missed, report.failed), (0, 0));
    // A second on an idle machine; tenfold slack and more.
    assert!(took.as_secs() < 30, "{took:?}");
    assert!(bench.store.stats().core.commits < 2_000, "many rows go with one sync");
}
