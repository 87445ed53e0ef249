//! A row and the generation of its channel's adapter: who claims by the rules of one has it called.

use std::sync::Arc;

use super::bench::{Bench, Wishes, channel_rules};
use super::script::{ScriptedAdapter, Send};
use crate::lifecycle::settle::SettleMeans;
use crate::store::Command;

fn wishes() -> Wishes {
    Wishes { means: SettleMeans { can_ask: true, ..SettleMeans::default() }, ..Wishes::default() }
}

/// Rows are claimed by the rules of this generation from now on.
async fn obeys(bench: &Bench, generation: u64) {
    let rules = channel_rules(&wishes(), generation);
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
