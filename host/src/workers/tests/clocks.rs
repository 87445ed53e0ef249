//! Clocks that jump, and hosts that stand still: what was found by the whole-host simulation.

use std::time::Duration;

use super::bench::{Bench, Wishes};
use super::script::{Send, facts};
use crate::lifecycle::outcome::Lookup;
use crate::lifecycle::settle::SettleMeans;
use crate::store::{Query, Rows};

const DAY_MS: i64 = 86_400_000;

// Case: C20
#[tokio::test(start_paused = true)]
async fn no_jump_of_the_clock_brings_a_question_forward() {
    for jump_ms in [DAY_MS, -DAY_MS] {
        let means = SettleMeans { can_ask: true, ..SettleMeans::default() };
        let bench = Bench::with(Wishes { means, ..Wishes::default() }).await;
        bench.adapter.then([Send::Trap { left: true }]);
        bench.adapter.finds.lock().unwrap().push_back(Ok(Lookup::Absent));
        bench.wait(5_000).await;
        bench.post("room", "m1", "hello").await;
        bench.wait(10).await;
        bench.env.jump(jump_ms);
        bench.workers.hub().wake_all();
        bench.wait(120_000).await;
        let asked = bench.adapter.found.lock().unwrap().clone();
        assert!(!asked.is_empty(), "by {jump_ms}: it is asked about in the end");
        // Bytes of the call may land until then.
        assert!(asked[0].0 >= 35_000, "by {jump_ms}: asked at {} ms", asked[0].0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_host_that_stood_still_since_its_claim_does_not_begin_the_call() {
    let mut facts = facts();
    facts.conversation_interval_ms = 4_000;
    let bench = Bench::with(Wishes { facts: Some(facts), ..Wishes::default() }).await;
    bench.post("room", "m1", "one").await;
    bench.wait(10).await;
    bench.post("room", "m2", "two").await;
    bench.wait(10).await;
    let states = bench.states().await;
    assert_eq!(states, ["delivered", "sending"], "it waits for its interval, claimed");
    // The lid is closed for two minutes: the claim is over when the wait is.
    tokio::time::advance(Duration::from_secs(120)).await;
    bench.wait(300_000).await;
    assert_eq!(bench.adapter.arrived(), ["re: one", "re: two"]);
    let row = bench.outbox().await.remove(1);
    let query = Query::Delivery { id: row.id, payload: false };
    let Ok(Rows::Delivery(Some(detail))) = bench.store.read(query).await else { panic!("a row") };
    let outcomes: Vec<_> = detail.history.iter().map(|it| it.outcome.clone()).collect();
    assert_eq!(outcomes.last().unwrap().as_deref(), Some("delivered"), "{outcomes:?}");
    assert!(outcomes.len() > 1, "the claim that grew old made no call: {outcomes:?}");
}
