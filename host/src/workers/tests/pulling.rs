//! Workers that fetch turns, under paused time.

use std::sync::Arc;

use super::bench::{Bench, CHANNEL, Wishes};
use crate::lifecycle::id::TurnId;
use crate::store::Operated;
use crate::store::{AbortScope, Command, StoreError};
use crate::workers::Stopped;
use crate::workers::operate::operate;
use crate::workers::pull::{self, ClaimAsk, Handed};
use crate::workers::pull_report::{self, Holder, Refusal, Said, Told};
use crate::workers::rules::{PullRules, WorkerRules};

const HOUR_MS: u64 = 3_600_000;

fn wishes() -> Wishes {
    let pull = PullRules { lease_ms: 60_000, lease_max_ms: 600_000, waiting_max: 3 };
    Wishes { pull: Some(pull), ..Wishes::default() }
}

fn ask(wait_ms: u64) -> ClaimAsk {
    let worker = "tester".to_owned();
    ClaimAsk { worker, key: None, channels: None, wait_ms, lease_ms: None }
}

async fn claim(bench: &Bench, wait_ms: u64) -> Handed {
    pull::claim(bench.workers.hub(), ask(wait_ms)).await.unwrap().unwrap()
}

fn holder(handed: &Handed) -> Holder {
    Holder { turn: handed.document.turn.id, token: handed.token.clone() }
}

async fn says(bench: &Bench, handed: &Handed, events: &str) -> Result<Told, Refusal> {
    let said = Said { body: events.as_bytes().to_vec(), must_end: false, key: None };
    pull_report::report(bench.workers.hub(), holder(handed), said).await
}

async fn renews(bench: &Bench, handed: &Handed) -> Result<Told, Refusal> {
    pull_report::heartbeat(bench.workers.hub(), &holder(handed), None).await
}

const FINAL: &str = r#"{"type":"final","text":"done"}"#;

async fn state(bench: &Bench, turn: TurnId) -> (String, u32) {
    let row = bench.turn(turn).await.row;
    (row.state, row.attempts)
}

// Case: B11
#[tokio::test(start_paused = true)]
async fn a_worker_that_renews_its_lease_for_an_hour_is_left_alone_by_every_sweep() {
    let rules = WorkerRules { handler_deadline_ms: 2 * HOUR_MS, ..WorkerRules::default() };
    let bench = Bench::with(Wishes { rules, ..wishes() }).await;
    let turn = bench.post("room", "m1", "hello").await;
    let handed = claim(&bench, 0).await;
    for _ in 0..180 {
        bench.wait(20_000).await;
        assert!(matches!(renews(&bench, &handed).await, Ok(Told::Held(_))));
    }
    assert_eq!(state(&bench, turn).await, ("running".to_owned(), 1));
    let sweeps = bench.workers.status().sweeps;
    assert!(sweeps["claims"].runs > 200, "{} sweeps", sweeps["claims"].runs);
    assert!(matches!(says(&bench, &handed, FINAL).await, Ok(Told::Ended(_))));
    bench.wait(10).await;
    assert_eq!(state(&bench, turn).await, ("delivered".to_owned(), 1));
}

// Case: B10
#[tokio::test(start_paused = true)]
async fn a_worker_that_renews_past_the_deadline_of_a_try_loses_it_all_the_same() {
    let bench = Bench::with(wishes()).await;
    let turn = bench.post("room", "m1", "hello").await;
    let handed = claim(&bench, 0).await;
    let mut renewed = 0;
    while renews(&bench, &handed).await.is_ok() {
        bench.wait(20_000).await;
        renewed += 1;
    }
    assert!((29..=31).contains(&renewed), "ten minutes, every 20 s: {renewed}");
    bench.wait(20_000).await;
    let row = bench.turn(turn).await.row;
    assert_eq!((row.state.as_str(), row.attempts), ("queued", 1), "{row:?}");
    assert_eq!(row.code.as_deref(), Some("handler_deadline"));
    assert!(matches!(says(&bench, &handed, FINAL).await, Err(Refusal::Over { .. })));
}

// Case: B12
#[tokio::test(start_paused = true)]
async fn a_worker_that_falls_silent_loses_its_try_after_its_lease_and_not_before() {
    let bench = Bench::with(wishes()).await;
    let turn = bench.post("room", "m1", "hello").await;
    let handed = claim(&bench, 0).await;
    bench.wait(59_000).await;
    assert_eq!(state(&bench, turn).await.0, "running");
    bench.wait(20_000).await;
    let detail = bench.turn(turn).await;
    assert_eq!((detail.row.state.as_str(), detail.row.attempts), ("queued", 1));
    assert_eq!(detail.host_losses, 0, "no host died");
    assert!(matches!(says(&bench, &handed, FINAL).await, Err(Refusal::Over { .. })));
}

#[tokio::test(start_paused = true)]
async fn a_host_that_dies_under_a_worker_charges_nothing_and_its_lease_begins_anew() {
    let bench = Bench::with(wishes()).await;
    let turn = bench.post("room", "m1", "hello").await;
    let mut handed = claim(&bench, 0).await;
    let mut bench = bench;
    for _ in 0..6 {
        bench.wait(50_000).await;
        bench.workers.hub().shutdown.advance(crate::workers::shutdown::Phase::Ending);
        // Away for longer than the lease, and the clock is wrong by hours when it comes back.
        bench.wait(100_000).await;
        bench.env.jump(-4 * 3_600_000);
        bench = bench.killed(wishes()).await;
        let report = bench.workers.recover().await;
        assert_eq!(report.done.get("leases_adopted"), Some(&1), "{report:?}");
        bench.workers.start();
        bench.wait(50_000).await;
        assert_eq!(state(&bench, turn).await, ("running".to_owned(), 1));
        assert!(renews(&bench, &handed).await.is_ok());
        bench.env.jump(8 * 3_600_000);
        handed.lease.lease_ms = 0;
    }
    assert!(says(&bench, &handed, FINAL).await.is_ok());
    bench.wait(10).await;
    let detail = bench.turn(turn).await;
    assert_eq!((detail.row.state.as_str(), detail.row.attempts), ("delivered", 1));
    assert_eq!(detail.host_losses, 0, "the host that died did not run it");
}

#[tokio::test(start_paused = true)]
async fn workers_that_wait_cost_no_commit_and_no_command_and_are_woken_by_hints() {
    let bench = Bench::with(wishes()).await;
    let hub = Arc::clone(bench.workers.hub());
    let waiting: Vec<_> = (0..3)
        .map(|_| {
            let hub = Arc::clone(&hub);
            bench.env.spawn(async move { pull::claim(&hub, ask(60_000)).await })
        })
        .collect();
    bench.wait(2_000).await;
    assert_eq!(bench.workers.status().workers_waiting.unwrap().len(), 3);
    let crowded = pull::claim(&hub, ask(1_000)).await;
    assert_eq!(crowded.unwrap_err(), Refusal::Crowded { most: 3 });
    let before = bench.store.stats().core;
    bench.wait(30_000).await;
    let after = bench.store.stats().core;
    assert_eq!(after.commits, before.commits, "an idle host writes nothing");
    // The sweeps look for themselves; nobody claims for those who wait.
    assert!(after.commands - before.commands < 20, "{before:?} {after:?}");
    let began_ms = bench.env.now().mono_ms;
    for n in 0..3 {
        bench.post(&format!("room {n}"), "m1", "hello").await;
    }
    for worker in waiting {
        assert!(worker.await.unwrap().unwrap().is_some());
    }
    assert!(bench.env.now().mono_ms - began_ms < 100, "hints, not timers");
    assert_eq!(pull::claim(&hub, ask(0)).await, Ok(None));
    assert_eq!(bench.workers.status().workers_waiting, Some(Vec::new()));
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_went_away_while_it_waited_is_given_nothing() {
    let bench = Bench::with(wishes()).await;
    let hub = Arc::clone(bench.workers.hub());
    let gone = bench.env.spawn(async move { pull::claim(&hub, ask(60_000)).await });
    bench.wait(1_000).await;
    gone.abort();
    bench.wait(1).await;
    assert_eq!(bench.workers.status().workers_waiting, Some(Vec::new()));
    let turn = bench.post("room", "m1", "hello").await;
    bench.wait(1_000).await;
    assert_eq!(state(&bench, turn).await, ("queued".to_owned(), 0));
    assert_eq!(claim(&bench, 0).await.document.turn.attempt, 1);
}

#[tokio::test(start_paused = true)]
async fn a_worker_is_given_turns_of_the_channels_it_names_and_no_others() {
    let bench = Bench::with(wishes()).await;
    let turn = bench.post("room", "m1", "hello").await;
    let hub = bench.workers.hub();
    let other = ClaimAsk { channels: Some(vec!["other".into()]), ..ask(5_000) };
    assert_eq!(pull::claim(hub, other).await, Ok(None));
    let mine = ClaimAsk { channels: Some(vec!["other".into(), CHANNEL.into()]), ..ask(0) };
    let handed = pull::claim(hub, mine).await.unwrap().unwrap();
    assert_eq!(handed.document.turn.id, turn);
}

// Case: F1, F2
#[tokio::test(start_paused = true)]
async fn a_worker_hears_of_an_abort_at_its_next_word_also_after_a_restart() {
    let bench = Bench::with(wishes()).await;
    let turn = bench.post("room", "m1", "hello").await;
    let handed = claim(&bench, 0).await;
    let abort = Command::Abort { scope: AbortScope::Turn(turn), by: "ann".to_owned() };
    let operated = operate(bench.workers.hub(), abort).await.unwrap();
    assert_eq!(operated, Operated::Done { ids: vec![turn.to_string()] });
    let told = |refusal: Result<Told, Refusal>| match refusal.unwrap_err() {
        Refusal::Over { code, sentence } => (code, sentence),
        other => panic!("{other:?}"),
    };
    let (code, sentence) = told(renews(&bench, &handed).await);
    assert!(code == "aborted" && sentence.contains("by ann"), "{code}: {sentence}");
    bench.workers.hub().shutdown.advance(crate::workers::shutdown::Phase::Ending);
    let bench = bench.killed(wishes()).await;
    bench.workers.recover().await;
    bench.workers.start();
    assert_eq!(told(says(&bench, &handed, FINAL).await).0, "aborted");
    assert_eq!(pull::claim(bench.workers.hub(), ask(1_000)).await, Ok(None));
    assert!(bench.outbox().await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_planned_stop_sends_those_who_wait_away_and_leaves_leases_alone() {
    let bench = Bench::with(wishes()).await;
    let turn = bench.post("room", "m1", "hello").await;
    let handed = claim(&bench, 0).await;
    let hub = Arc::clone(bench.workers.hub());
    let waits = bench.env.spawn(async move { pull::claim(&hub, ask(60_000)).await });
    bench.wait(1_000).await;
    assert_eq!(bench.workers.stop().await, Stopped::Clean);
    assert_eq!(waits.await.unwrap(), Err(Refusal::Stopping));
    assert_eq!(state(&bench, turn).await, ("running".to_owned(), 1));
    // A word that comes while the host stops is taken; it goes out after the next start.
    assert!(says(&bench, &handed, FINAL).await.is_ok());
    let bench = bench.killed(wishes()).await;
    bench.workers.recover().await;
    bench.workers.start();
    bench.wait(100).await;
    assert_eq!(bench.adapter.texts(), ["done"]);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_takes_nothing_is_told_to_the_worker_who_keeps_its_turn() {
    let bench = Bench::with(wishes()).await;
    let turn = bench.post("room", "m1", "hello").await;
    let handed = claim(&bench, 0).await;
    bench.store.refuse_next(1);
    let refused = says(&bench, &handed, FINAL).await.unwrap_err();
    assert!(matches!(refused, Refusal::Store(StoreError::NotWritable(_))), "{refused:?}");
    assert!(says(&bench, &handed, FINAL).await.is_ok());
    bench.wait(10).await;
    assert_eq!(state(&bench, turn).await, ("delivered".to_owned(), 1));
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_goes_away_while_a_claim_for_it_is_under_way_leaves_no_ghost_in_the_line() {
    let bench = Bench::with(Wishes { stepped: true, ..wishes() }).await;
    for yields in 0..100 {
        let hub = Arc::clone(bench.workers.hub());
        // One that names its request is claimed for at once, whatever is due.
        let ask = ClaimAsk { key: Some([yields; 16]), ..ask(60_000) };
        let gone = bench.env.spawn(async move { pull::claim(&hub, ask).await });
        for _ in 0..yields % 25 {
            bench.env.yield_now().await;
        }
        gone.abort();
        assert!(gone.await.is_err());
        bench.wait(10).await;
        assert_eq!(bench.workers.status().workers_waiting, Some(Vec::new()), "{yields}");
    }
    let turn = bench.post("room", "m1", "hello").await;
    bench.wait(10).await;
    assert_eq!(bench.turn(turn).await.try_number, 0, "nobody waits for it");
    let hub = Arc::clone(bench.workers.hub());
    let handed = pull::claim(&hub, ask(1_000)).await.unwrap();
    assert!(handed.is_some(), "nor does anybody who is gone count as waiting");
}

#[tokio::test(start_paused = true)]
async fn the_ends_of_tries_by_workers_are_counted_by_how_they_ended_and_once() {
    let bench = Bench::with(wishes()).await;
    for event in [FINAL, r#"{"type":"silent"}"#, r#"{"type":"fail","reason":"no","retry":false}"#] {
        bench.post(event, "m1", "hello").await;
        let handed = claim(&bench, 1_000).await;
        for _ in 0..2 {
            assert!(matches!(says(&bench, &handed, event).await, Ok(Told::Ended(_))), "{event}");
        }
    }
    let turn = bench.post("room", "m1", "hello").await;
    let _never_heard_of_again = claim(&bench, 1_000).await;
    bench.wait(90_000).await;
    assert_eq!(bench.turn(turn).await.row.state, "queued");
    let metrics = &bench.workers.hub().metrics;
    let counted = [&metrics.tries_decided, &metrics.tries_failed, &metrics.tries_ran_out];
    assert_eq!(counted.map(|counter| counter.get()), [2, 1, 1]);
    assert_eq!(metrics.tries_started.get(), 4);
}
