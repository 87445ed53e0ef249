//! The store under the workers that takes no more: who is told, and how it goes on.

use super::bench::{Bench, CHANNEL, Wishes, message};
use crate::lifecycle::message::InboundEvent;
use crate::lifecycle::outcome::Fault;
use crate::store::{ChannelSwitch, Command};
use crate::workers::intake::{self, Batch};

fn codes(bench: &Bench) -> Vec<String> {
    let events = bench.workers.status().events.into_iter();
    events.map(|event| event.code).filter(|code| code.starts_with("store_")).collect()
}

async fn try_post(bench: &Bench, id: &str) -> bool {
    let events = vec![InboundEvent::Message(message("room", id, "hello"))];
    let batch = Batch { events, ..Batch::default() };
    intake::accept(bench.workers.hub(), &"hook".into(), batch).await.is_ok()
}

// Case: J8
#[tokio::test(start_paused = true)]
async fn a_store_that_cannot_be_written_is_told_at_once_and_its_end_once_it_lasts() {
    let bench = Bench::new().await;
    bench.store.refuse_next(u64::MAX);
    assert!(!try_post(&bench, "m1").await);
    bench.wait(10).await;
    assert_eq!(codes(&bench), ["store_not_writable"]);
    bench.wait(120_000).await;
    assert_eq!(codes(&bench), ["store_not_writable"], "once, however long it lasts");
    assert!(!bench.store.stats().writable);
    bench.store.refuse_next(0);
    // Nobody posts and nobody sends: the host finds out by itself.
    bench.wait(12_000).await;
    assert!(bench.store.stats().writable);
    assert_eq!(codes(&bench), ["store_not_writable", "store_writable"]);
    assert!(try_post(&bench, "m1").await);
    assert_eq!(bench.workers.hub().metrics.store_troubles.get(), 1);
}

// Case: J8
#[tokio::test(start_paused = true)]
async fn a_disk_that_takes_small_writes_and_no_large_ones_is_one_alarm() {
    let bench = Bench::new().await;
    for n in 0..30 {
        bench.store.refuse_next(1);
        assert!(!try_post(&bench, &format!("m{n}")).await);
        bench.wait(4_000).await;
    }
    assert_eq!(codes(&bench), ["store_not_writable"]);
}

/// Rows that are due at once, each in a conversation of its own.
const ROOMS: usize = 8;

fn one_each() -> Vec<InboundEvent> {
    (0..ROOMS)
        .map(|n| InboundEvent::Message(message(&format!("room {n}"), "m1", "hello")))
        .collect()
}

async fn stepped(seed: u64) -> Bench {
    Bench::with(Wishes { stepped: true, seed, ..Wishes::default() }).await
}

/// Nobody is woken by it.
async fn switch(bench: &Bench, switch: ChannelSwitch) {
    let command = Command::SwitchChannel { channel: CHANNEL.into(), switch };
    bench.store.run(command).await.unwrap();
}

// Case: J8
#[tokio::test(start_paused = true)]
async fn deliveries_claimed_beside_a_batch_that_was_refused_are_sent_and_none_becomes_unknown() {
    for seed in 0..8 {
        let bench = stepped(seed).await;
        switch(&bench, ChannelSwitch::Pause(Fault::new("operator", "paused"))).await;
        bench.accept(one_each()).await;
        bench.wait(5_000).await;
        assert_eq!(bench.states().await, ["queued"; ROOMS], "seed {seed}");
        switch(&bench, ChannelSwitch::Resume).await;
        bench.store.refuse_next(1);
        bench.workers.hub().wake_channel(&CHANNEL.into());
        bench.wait(200_000).await;
        for row in bench.outbox().await {
            let (state, code) = (row.state.as_str(), row.code.as_deref());
            assert_eq!((state, row.attempts, code), ("delivered", 1, None), "seed {seed}");
        }
        assert_eq!(bench.adapter.calls().len(), ROOMS, "seed {seed}");
    }
}

// Case: J8
#[tokio::test(start_paused = true)]
async fn turns_claimed_beside_a_batch_that_was_refused_are_run_in_their_first_try() {
    for seed in 0..8 {
        let bench = stepped(seed).await;
        bench.wait(1_000).await;
        let turns = bench.slip_in(one_each()).await;
        bench.store.refuse_next(1);
        bench.workers.hub().wake_turns();
        bench.wait(200_000).await;
        for turn in turns {
            let detail = bench.turn(turn).await;
            let state = detail.row.state.as_str();
            assert_eq!((state, detail.try_number), ("delivered", 1), "seed {seed}");
        }
        assert_eq!(bench.handler.runs(), ROOMS, "seed {seed}");
    }
}
