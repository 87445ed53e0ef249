//! A row and the generation of its channel's adapter: who claims by the rules of one has it called.

use std::sync::Arc;

use super::bench::{Bench, Wishes, channel_rules};
use super::script::{ScriptedAdapter, Send};
use crate::lifecycle::delivery::DeliveryLimits;
use crate::lifecycle::outcome::{Lookup, Receipt};
use crate::lifecycle::settle::SettleMeans;
use crate::store::{Command, Query, Rows};

fn wishes() -> Wishes {
    Wishes { means: SettleMeans { can_ask: true, ..SettleMeans::default() }, ..Wishes::default() }
}

/// Rows are claimed by the rules of this generation from now on.
async fn obeys(bench: &Bench, generation: u64) {
    obeys_as(bench, &wishes(), generation).await;
}

async fn obeys_as(bench: &Bench, wishes: &Wishes, generation: u64) {
    let rules = channel_rules(wishes, generation);
    bench.store.run(Command::Channel(rules)).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_row_is_sent_and_asked_about_by_the_generation_by_whose_rules_it_was_claimed() {
    let bench = Bench::with(wishes()).await;
    let claimed = ScriptedAdapter::new(&bench.env);
    // Its request left and no answer came, so that the platform is asked.
    claimed.then([Send::Trap { left: true }]);
    bench.adapter.generations.lock().unwrap().insert(7, Some(Arc::clone(&claimed)));
    obeys(&bench, 7).await;
    bench.post("room", "m1", "hello").await;
    bench.wait(600_000).await;
    assert_eq!(claimed.texts(), ["re: hello"]);
    assert!(!claimed.found.lock().unwrap().is_empty(), "it was asked");
    assert!(bench.adapter.calls().is_empty(), "the one that serves sent nothing");
    assert!(bench.adapter.found.lock().unwrap().is_empty(), "nor was it asked");
}

#[tokio::test(start_paused = true)]
async fn a_row_whose_generation_is_gone_goes_back_uncharged_and_is_claimed_anew() {
    let bench = Bench::with(wishes()).await;
    bench.adapter.generations.lock().unwrap().insert(7, None);
    obeys(&bench, 7).await;
    bench.post("room", "m1", "hello").await;
    bench.wait(2_000).await;
    assert!(bench.adapter.calls().is_empty());
    assert!(bench.outbox().await.iter().all(|row| row.attempts == 0 && row.state == "queued"));
    obeys(&bench, 8).await;
    bench.wait(60_000).await;
    assert_eq!(bench.states().await, ["delivered"]);
    assert_eq!(bench.adapter.texts(), ["re: hello"]);
    assert!(bench.outbox().await.iter().all(|row| row.attempts == 1));
}

// Case: C10
#[tokio::test(start_paused = true)]
async fn a_question_that_nobody_could_be_asked_costs_none_of_the_eight() {
    let bench = Bench::with(wishes()).await;
    bench.adapter.then([Send::Trap { left: true }]);
    bench.post("room", "m1", "hello").await;
    bench.wait(10).await;
    bench.adapter.generations.lock().unwrap().insert(7, None);
    obeys(&bench, 7).await;
    // By free returns: 1 s after settle_delay, doubling to a minute.
    bench.wait(3_600_000).await;
    assert_eq!(bench.states().await, ["unknown"]);
    let asks = bench.workers.hub().metrics.asks.get();
    assert!((60..80).contains(&asks), "{asks} times within the hour");
    let id = bench.outbox().await[0].id;
    let Ok(Rows::Delivery(Some(row))) =
        bench.store.read(Query::Delivery { id, payload: false }).await
    else {
        panic!("a row")
    };
    assert_eq!(row.asked, 0);
    obeys(&bench, 8).await;
    bench.adapter.finds.lock().unwrap().push_back(Ok(Lookup::Found(Receipt::default())));
    bench.wait(61_000).await;
    assert_eq!(bench.states().await, ["delivered"]);
    assert_eq!(bench.adapter.found.lock().unwrap().len(), 1);
}

// Case: C10
#[tokio::test(start_paused = true)]
async fn a_question_that_nobody_can_ever_be_asked_is_left_to_a_person_in_the_end() {
    let delivery = DeliveryLimits { age_max_ms: 600_000, ..DeliveryLimits::default() };
    let short = || Wishes { delivery: delivery.clone(), ..wishes() };
    let bench = Bench::with(short()).await;
    bench.adapter.then([Send::Trap { left: true }]);
    bench.post("room", "m1", "hello").await;
    bench.wait(10).await;
    bench.adapter.generations.lock().unwrap().insert(7, None);
    obeys_as(&bench, &short(), 7).await;
    bench.wait(590_000).await;
    assert_eq!(bench.states().await, ["unknown"]);
    bench.wait(2 * 3_600_000).await;
    assert_eq!(bench.states().await, ["held"], "it is older than `delivery_max_age`");
}
