//! The store under the workers that takes no more: who is told, and how it goes on.

use super::bench::{Bench, message};
use crate::lifecycle::message::InboundEvent;
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
