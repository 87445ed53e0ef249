//! The sweeps: what the fast path lost, what grew too old, and a clock that jumps.

use super::bench::{Bench, Wishes, message, path};
use super::script::{Act, Send, last_word};
use crate::lifecycle::message::InboundEvent;
use crate::lifecycle::outcome::{Fault, SendError};
use crate::store::{AcceptedEvent, ChannelSwitch, Command, Query, Rows, Summary};
use crate::workers::rules::WorkerRules;
use crate::workers::sweeps::{self, Sweep};

const DAY_MS: i64 = 86_400_000;

/// For days of waiting: a sweep every quarter of an hour is enough.
async fn rarely_swept() -> Bench {
    let rules = WorkerRules { sweep_ms: 900_000, ..WorkerRules::default() };
    Bench::with(Wishes { rules, ..Wishes::default() }).await
}

async fn summary(bench: &Bench) -> Summary {
    match bench.store.read(Query::Summary).await.unwrap() {
        Rows::Summary(summary) => summary,
        other => panic!("{other:?}"),
    }
}

// Case: B12
#[tokio::test(start_paused = true)]
async fn a_worker_that_lost_its_claim_cannot_write_the_turn() {
    let bench = Bench::new().await;
    bench.handler.then(vec![Act::Sleep(30_000), last_word("of the first try")]);
    let turn = bench.post("room", "m1", "hello").await;
    bench.wait(1_000).await;
    // Another host, as it were: it takes every claim of "other boots" at once.
    let other = Bench::idle_on(&bench).await;
    let report = sweeps::recover(other.workers.hub()).await;
    assert_eq!(report.changed(), 1);
    bench.wait(60_000).await;
    assert!(!bench.adapter.texts().contains(&"of the first try".to_owned()));
    assert_eq!(bench.adapter.texts(), ["re: hello"]);
    assert_eq!(bench.end(turn).await.0, "delivered");
    assert!(bench.workers.hub().metrics.claims_lost.get() >= 1);
}

// Case: B11
#[tokio::test(start_paused = true)]
async fn a_claim_that_is_renewed_is_left_alone_and_counted() {
    let bench = Bench::new().await;
    bench.handler.then(vec![Act::Sleep(500_000), last_word("done")]);
    bench.post("room", "m1", "hello").await;
    for _ in 0..30 {
        bench.wait(15_000).await;
        let report = sweeps::run_once(bench.workers.hub(), Sweep::Claims).await;
        assert_eq!((report.changed(), report.left["claim_holds"]), (0, 1));
    }
}

// Case: G1
#[tokio::test(start_paused = true)]
async fn a_row_whose_hint_was_lost_is_found_within_grace_and_interval() {
    let bench = Bench::new().await;
    bench.wait(70_000).await;
    bench.slip_in(vec![InboundEvent::Message(message("room", "m1", "hello"))]).await;
    bench.wait(46_000).await;
    assert_eq!(bench.adapter.texts(), ["re: hello"]);
    assert_eq!(bench.workers.hub().metrics.rows_found_by_sweep.get(), 1);
}

// Case: C15
#[tokio::test(start_paused = true)]
async fn what_waited_for_too_long_expires_and_settles_its_turn_in_the_same_step() {
    let bench = rarely_swept().await;
    let pause = ChannelSwitch::Pause(Fault::new("operator", "paused"));
    let switch = Command::SwitchChannel { channel: super::bench::CHANNEL.into(), switch: pause };
    crate::workers::operate::operate(bench.workers.hub(), switch).await.unwrap();
    let turn = bench.post("room", "m1", "hello").await;
    bench.wait(3_600_000).await;
    assert_eq!(bench.states().await, ["queued"]);
    bench.wait(86_400_000).await;
    assert_eq!(bench.states().await, ["expired"]);
    assert_eq!(bench.end(turn).await.0, "failed");
}

// Case: C20
#[tokio::test(start_paused = true)]
async fn a_jump_of_the_clock_expires_nothing_before_the_sweep_after_next() {
    let bench = Bench::new().await;
    let pause = ChannelSwitch::Pause(Fault::new("operator", "paused"));
    let channel = super::bench::CHANNEL;
    let switch = Command::SwitchChannel { channel: channel.into(), switch: pause };
    crate::workers::operate::operate(bench.workers.hub(), switch).await.unwrap();
    bench.post("room", "m1", "hello").await;
    bench.wait(1_000).await;
    bench.env.jump(2 * DAY_MS);
    bench.wait(20_000).await;
    assert_eq!(bench.states().await, ["queued"]);
    assert_eq!(bench.workers.status().events.last().unwrap().code, "clock_jumped");
    bench.env.jump(-2 * DAY_MS);
    bench.wait(120_000).await;
    assert_eq!(bench.states().await, ["queued"], "the clock was set right in time");
    let resume = ChannelSwitch::Resume;
    let switch = Command::SwitchChannel { channel: channel.into(), switch: resume };
    crate::workers::operate::operate(bench.workers.hub(), switch).await.unwrap();
    bench.wait(1_000).await;
    assert_eq!(bench.states().await, ["delivered"]);
}

// Case: C20
#[tokio::test(start_paused = true)]
async fn a_clock_that_goes_back_an_hour_freezes_no_backoff() {
    let bench = Bench::new().await;
    let busy = || Send::Say(SendError::Transient(Fault::new("busy", "it is busy")));
    bench.adapter.then([busy()]);
    let turn = bench.post("room", "m1", "hello").await;
    bench.wait(1_000).await;
    bench.env.jump(-3_600_000);
    bench.wait(60_000).await;
    assert_eq!(bench.end(turn).await.0, "delivered");
    assert!(bench.workers.hub().metrics.clock_jumps.get() >= 1);
}

// Case: G7
#[tokio::test(start_paused = true)]
async fn rows_past_retention_are_pruned_and_the_store_stays_empty_of_work() {
    let bench = rarely_swept().await;
    for n in 0..250 {
        bench.post(&format!("room {n}"), "m1", "hello").await;
    }
    bench.wait(10_000).await;
    bench.wait(8 * 86_400_000).await;
    let turns = crate::store::handle::count(&path(&bench.dir), "SELECT count(*) FROM turn");
    assert_eq!(turns, Ok(0));
    assert_eq!(summary(&bench).await, Summary::default());
}

// Case: C20
#[tokio::test(start_paused = true)]
async fn a_clock_that_is_set_right_after_a_jump_of_a_week_has_removed_nothing() {
    let bench = rarely_swept().await;
    let turn = bench.post("room", "m1", "hello").await;
    bench.wait(10_000).await;
    bench.env.jump(8 * DAY_MS);
    for sweep in [Sweep::Prune, Sweep::Files] {
        let report = sweeps::run_once(bench.workers.hub(), sweep).await;
        assert_eq!(
            (report.changed(), report.left.get("clock_jumped")),
            (0, Some(&1)),
            "{report:?}"
        );
    }
    bench.env.jump(-8 * DAY_MS);
    let again = InboundEvent::Message(message("room", "m1", "hello"));
    let told = bench.accept(vec![again]).await.events.remove(0);
    assert!(
        matches!(&told, AcceptedEvent::Duplicate { turn: known, .. } if *known == Some(turn)),
        "{told:?}"
    );
    bench.wait(60_000).await;
    assert_eq!(bench.adapter.texts(), ["re: hello"]);
}
