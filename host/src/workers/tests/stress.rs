//! Every worker started and stopped many times at random moments, with work in flight: nothing is
//! left behind in memory, nothing is lost and nothing done twice, and what no hint told is found.

use std::collections::BTreeMap;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::bench::{Bench, Wishes, message};
use super::script::{Act, Send, facts};
use crate::lifecycle::message::InboundEvent;
use crate::lifecycle::settle::{Idempotency, SettleMeans};
use crate::store::Query;
use crate::workers::rules::{PullRules, WorkerRules};
use crate::workers::sweeps::{self, Sweep};
use crate::workers::{Stopped, Workers, deliverer, dispatcher, pollers, pull, timer};

/// Starts and stops of one test.
const ROUNDS: u32 = 60;
/// What one host has to be through with at the end.
const REST_MS: u64 = 600_000;

fn wishes(poll: bool, pull: Option<PullRules>) -> Wishes {
    let mut facts = facts();
    facts.offers.poll = poll;
    Wishes {
        // A repeated send is dropped by the platform, so that whatever is shown twice is a fault.
        means: SettleMeans { idempotency: Idempotency::Always, ..SettleMeans::default() },
        rules: WorkerRules { drain_ms: 2_000, sweep_ms: 5_000, ..WorkerRules::default() },
        facts: Some(facts),
        pull,
        stepped: true,
        ..Wishes::default()
    }
}

/// Some work, of every kind.
async fn work(bench: &Bench, rng: &mut StdRng, round: u32) -> Vec<String> {
    work_with(bench, rng, round, Hangs::No).await
}

/// Whether calls may hang until the host stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hangs {
    No,
    Yes,
}

async fn work_with(bench: &Bench, rng: &mut StdRng, round: u32, hangs: Hangs) -> Vec<String> {
    let mut texts = Vec::new();
    for n in 0..rng.random_range(0..6) {
        let text = format!("r{round} n{n}");
        let room = format!("room {}", rng.random_range(0..4));
        let event = InboundEvent::Message(message(&room, &text, &text));
        // A host that closes refuses; then its platform sends it again, here: not.
        let batch = crate::workers::intake::Batch { events: vec![event], ..Default::default() };
        let hub = bench.workers.hub();
        if crate::workers::intake::accept(hub, &super::bench::CHANNEL.into(), batch).await.is_ok() {
            texts.push(format!("re: {text}"));
        }
        match rng.random_range(0..6) {
            0 => {
                let ms = rng.random_range(0..4_000);
                bench.adapter.then([Send::After(ms, Box::new(Send::Deliver))]);
            }
            1 if hangs == Hangs::Yes => bench.adapter.then([Send::Hang { left: false }]),
            2 => bench.handler.then(vec![Act::Sleep(rng.random_range(0..4_000)), Act::Echo]),
            _ => {}
        }
    }
    texts
}

/// Nothing of the host is left in memory after its stop.
fn nothing_is_left(workers: &Workers, permits: usize) {
    let hub = workers.hub();
    let counts = hub.gate.counts();
    assert_eq!((counts.approaches, counts.handlers, counts.calls), (0, 0, 0));
    assert!(hub.tasks.is_empty(), "{} tasks are left", hub.tasks.len());
    for channel in hub.channels.values() {
        assert_eq!(channel.free_calls(), permits, "permits of {}", channel.name);
    }
    assert_eq!(hub.desk.free_handlers(), hub.rules.handlers as usize);
}

/// Each text that was accepted was sent, and each delivery at most once.
async fn all_arrived_once(bench: &Bench, sent: &BTreeMap<String, u32>, texts: &[String]) {
    for text in texts {
        assert_eq!(sent.get(text), Some(&1), "{text}");
    }
    let states = bench.states().await;
    assert!(states.iter().all(|state| state == "delivered"), "{states:?}");
}

// Case: G9
#[tokio::test(start_paused = true)]
async fn a_host_that_starts_and_stops_sixty_times_under_load_loses_and_repeats_nothing() {
    for seed in 0..6 {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut bench = Bench::with(wishes(true, None)).await;
        let (mut texts, mut sent) = (Vec::new(), BTreeMap::new());
        for round in 0..ROUNDS {
            texts.extend(work_with(&bench, &mut rng, round, Hangs::Yes).await);
            bench.wait(rng.random_range(0..3_000)).await;
            let stopped = bench.workers.stop().await;
            assert_eq!(stopped, Stopped::Clean, "seed {seed}, round {round}");
            nothing_is_left(&bench.workers, 8);
            note(&bench, &mut sent);
            bench = bench.killed(wishes(true, None)).await;
            bench.workers.recover().await;
            bench.workers.start();
        }
        bench.wait(REST_MS).await;
        note(&bench, &mut sent);
        all_arrived_once(&bench, &sent, &texts).await;
        assert_eq!(bench.workers.stop().await, Stopped::Clean);
        nothing_is_left(&bench.workers, 8);
    }
}

/// What reached the platform; a call that never left is none.
fn note(bench: &Bench, sent: &mut BTreeMap<String, u32>) {
    for text in bench.adapter.arrived() {
        *sent.entry(text).or_default() += 1;
    }
}

/// One loop of the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Loop {
    Dispatcher,
    Deliverer,
    Poller,
    Timer,
    Pull,
    Sweep(Sweep),
}

fn spawn(bench: &Bench, which: Loop) -> tokio::task::JoinHandle<()> {
    let hub = std::sync::Arc::clone(bench.workers.hub());
    let channel = std::sync::Arc::clone(hub.channels.values().next().unwrap());
    match which {
        Loop::Dispatcher => bench.env.spawn(dispatcher::run(hub)),
        Loop::Deliverer => bench.env.spawn(deliverer::run(hub, channel)),
        Loop::Poller => bench.env.spawn(pollers::run(hub, channel)),
        Loop::Timer => bench.env.spawn(timer::run(hub)),
        Loop::Pull => bench.env.spawn(pull::run(hub)),
        Loop::Sweep(sweep) => bench.env.spawn(sweeps::drive(hub, sweep)),
    }
}

/// Each loop is cut off at any await and begun anew, again and again, while the others go on: what
/// it had in its hands is found by the sweeps.
// Case: G9
#[tokio::test(start_paused = true)]
async fn each_loop_cut_off_anywhere_and_begun_anew_leaves_nothing_lying() {
    let loops = [Loop::Dispatcher, Loop::Deliverer, Loop::Poller, Loop::Timer];
    for (seed, victim) in (0..).zip(loops.into_iter().chain(Sweep::ALL.map(Loop::Sweep))) {
        let mut rng = StdRng::seed_from_u64(seed);
        let bench = Bench::idle(wishes(true, None)).await;
        bench.workers.recover().await;
        let all = loops.into_iter().chain(Sweep::ALL.map(Loop::Sweep));
        for other in all.filter(|other| *other != victim) {
            spawn(&bench, other);
        }
        let mut texts = Vec::new();
        for round in 0..ROUNDS {
            let running = spawn(&bench, victim);
            texts.extend(work(&bench, &mut rng, round).await);
            if rng.random_bool(0.5) {
                bench.wait(rng.random_range(0..2_000)).await;
            }
            for _ in 0..rng.random_range(0..12) {
                bench.env.yield_now().await;
            }
            running.abort();
            let _ = running.await;
        }
        spawn(&bench, victim);
        bench.wait(REST_MS).await;
        let mut sent = BTreeMap::new();
        note(&bench, &mut sent);
        for text in &texts {
            assert_eq!(sent.get(text), Some(&1), "{victim:?}: {text}");
        }
        let states = bench.states().await;
        assert!(states.iter().all(|it| it == "delivered"), "{victim:?}: {states:?}");
        // Whatever was cut off gave its permits back.
        let channel = bench.workers.hub().channels.values().next().unwrap();
        assert_eq!(channel.free_calls(), 8, "{victim:?}");
        let free = bench.workers.hub().desk.free_handlers();
        assert_eq!(free, bench.workers.hub().rules.handlers as usize, "{victim:?}");
    }
}

/// Hints may be lost: without any of them all is found in time.
#[tokio::test(start_paused = true)]
async fn without_a_single_hint_everything_is_found_by_looking() {
    let bench = Bench::with(wishes(false, None)).await;
    // The rows come in behind the workers' back: nobody is told of them.
    for n in 0..20 {
        let accept = crate::store::Accept {
            channel: super::bench::CHANNEL.into(),
            events: vec![InboundEvent::Message(message("room", &format!("m{n}"), "x"))],
            cursor: None,
            state: Default::default(),
            claim: None,
        };
        bench.store.run(crate::store::Command::Accept(accept)).await.unwrap();
    }
    bench.wait(120_000).await;
    let states = bench.states().await;
    assert_eq!(states, vec!["delivered"; 20]);
}

/// The desk of pull workers: workers come and go at random moments, its loop is cut off, and each
/// turn is answered once.
// Case: G9
#[tokio::test(start_paused = true)]
async fn pull_workers_and_their_loop_come_and_go_and_each_turn_is_answered_once() {
    let rules = PullRules { lease_ms: 5_000, lease_max_ms: 60_000, waiting_max: 64 };
    for seed in 0..6 {
        let mut rng = StdRng::seed_from_u64(seed);
        let bench = Bench::idle(wishes(false, Some(rules))).await;
        for other in
            [Loop::Deliverer, Loop::Timer, Loop::Sweep(Sweep::Claims), Loop::Sweep(Sweep::Due)]
        {
            spawn(&bench, other);
        }
        let mut texts = Vec::new();
        for round in 0..ROUNDS {
            let running = spawn(&bench, Loop::Pull);
            for worker in 0..3 {
                let hub = std::sync::Arc::clone(bench.workers.hub());
                let patience = Duration::from_millis(rng.random_range(0..3_000));
                bench.env.spawn(one_answer(hub, worker, patience));
            }
            texts.extend(work(&bench, &mut rng, round).await);
            bench.wait(rng.random_range(0..2_000)).await;
            for _ in 0..rng.random_range(0..12) {
                bench.env.yield_now().await;
            }
            running.abort();
            let _ = running.await;
        }
        spawn(&bench, Loop::Pull);
        for round in 0..400 {
            let hub = std::sync::Arc::clone(bench.workers.hub());
            bench.env.spawn(one_answer(hub, round, Duration::from_secs(60)));
            bench.wait(2_000).await;
        }
        let mut sent = BTreeMap::new();
        note(&bench, &mut sent);
        all_arrived_once(&bench, &sent, &texts).await;
        let waiting = bench.workers.status().workers_waiting.unwrap();
        assert!(waiting.len() < 64, "{} workers still wait", waiting.len());
        let next = bench.store.read(Query::NextTurn).await.unwrap();
        assert_eq!(next, crate::store::Rows::Due(crate::store::NextDue::Nothing));
    }
}

/// A worker that asks once, answers what it is given, and may be gone in the middle of it.
async fn one_answer(hub: std::sync::Arc<crate::workers::Hub>, worker: u32, patience: Duration) {
    let ask = pull::ClaimAsk {
        worker: format!("w{worker}"),
        key: None,
        channels: None,
        wait_ms: 10_000,
        lease_ms: None,
    };
    let env = hub.env.clone();
    let work = async {
        let Ok(Some(handed)) = pull::claim(&hub, ask).await else { return };
        let holder = crate::workers::pull_report::Holder {
            turn: handed.document.turn.id,
            token: handed.token,
        };
        let text = &handed.document.message.text;
        let body = format!("{{\"type\":\"final\",\"text\":\"re: {text}\"}}\n").into_bytes();
        let said = crate::workers::pull_report::Said { body, must_end: true, key: None };
        let _ = crate::workers::pull_report::report(&hub, holder, said).await;
    };
    let _ = env.timeout(patience, work).await;
}
