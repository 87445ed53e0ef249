//! Threats 27 to 32, as far as they need no new version: what a version of an adapter does over time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use lastword_tests::harness::{Answer, Config, Sink, Site, eventually};

use crate::SOON;
use crate::rig::attacker;

/// Polls that are open at the platform, and the most that ever were.
#[derive(Default)]
struct Open {
    now: AtomicU32,
    most: AtomicU32,
    begun: AtomicU32,
}

#[tokio::test]
async fn a_channel_is_polled_by_one_call_at_a_time_also_over_a_restart() {
    let open = Arc::new(Open::default());
    let seen = Arc::clone(&open);
    let sink = Sink::scripted(move |arrival| match arrival.path.as_str() {
        "/read/poll-begins" => {
            let now = seen.now.fetch_add(1, Ordering::Relaxed) + 1;
            seen.most.fetch_max(now, Ordering::Relaxed);
            seen.begun.fetch_add(1, Ordering::Relaxed);
            let told = Answer::Body(200, "x".to_owned());
            Answer::After(Duration::from_millis(50), Box::new(told))
        }
        "/read/poll-ends" => {
            seen.now.fetch_sub(1, Ordering::Relaxed);
            Answer::Take
        }
        _ => Answer::Take,
    })
    .await;
    let channel = attacker("polls", "polls", sink.origin(), r#"["api"]"#);
    let site = Site::new(&Config::new().channel(channel));
    for hosts in 1..=2 {
        let host = site.start().await;
        let before = open.begun.load(Ordering::Relaxed);
        eventually("ten polls", SOON, async || {
            (open.begun.load(Ordering::Relaxed) >= before + 10).then_some(())
        })
        .await;
        // What it was at when it was told to stop it may leave open.
        assert!(host.terminate().await.success());
        open.now.store(0, Ordering::Relaxed);
        assert_eq!(open.most.load(Ordering::Relaxed), 1, "two polls at once by host {hosts}");
    }
    let turns = site.turns().await;
    let mut ids: Vec<_> = turns.iter().filter_map(|turn| turn.external_id.clone()).collect();
    let polled = ids.len();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), polled, "no cursor was used twice");
    assert!(polled >= 10, "{polled} messages were polled");
}
