//! Schedules with the real binary: made, refused, steered, and caught up after a kill.

use std::time::Duration;

use lastword_tests::harness::{Config, Site, eventually};
use serde_json::Value;

use crate::bridge;

const ADD: [&str; 10] = [
    "schedules",
    "add",
    "minutely",
    "--channel",
    "hook",
    "--conversation",
    "c",
    "--sender",
    "clock",
    "--text=tick",
];

async fn schedule(site: &Site) -> Value {
    site.json(&["schedules", "show", "minutely"]).await.remove(0)
}

// Case: H5, H6
#[tokio::test]
async fn schedules_are_added_refused_and_steered_with_a_host_and_without_one() {
    let (_sink, site) = bridge(Config::new()).await;
    let host = site.start().await;
    let bad = site.cli(&[&ADD[..], &["--cron", "0 25 * * *"]].concat()).await;
    assert_eq!(bad.code, 2, "{}", bad.stderr);
    assert!(bad.stderr.contains("at character 3"), "{}", bad.stderr);
    let yearly = ["--cron", "0 0 1 1 *", "--zone", "Europe/Berlin"];
    assert_eq!(site.cli(&[&ADD[..], &yearly].concat()).await.code, 0);
    assert_eq!(site.cli(&[&ADD[..], &yearly].concat()).await.code, 4, "the name is taken");
    assert_eq!(schedule(&site).await["state"], "active");
    assert_eq!(site.cli(&["schedules", "pause", "minutely"]).await.code, 0);
    assert_eq!(site.cli(&["schedules", "pause", "minutely"]).await.code, 3);
    assert_eq!(site.status().await["rows"]["schedules_paused"], 1);
    host.kill().await;
    // Without a host the commands take the lock.
    assert_eq!(schedule(&site).await["state"], "paused");
    assert_eq!(site.cli(&["schedules", "resume", "minutely"]).await.code, 0);
    let change = ["schedules", "change", "minutely", "--cron", "0 0 2 1 *", "--text", "tock"];
    assert_eq!(site.cli(&change).await.code, 0);
    let bad = site.cli(&["schedules", "change", "minutely", "--zone", "Mars/Olympus"]).await;
    assert_eq!(bad.code, 2, "{}", bad.stderr);
    let row = schedule(&site).await;
    assert_eq!((&row["cron"], &row["zone"]), (&"0 0 2 1 *".into(), &"Europe/Berlin".into()));
    assert_eq!(site.cli(&["schedules", "cancel", "minutely"]).await.code, 0);
    assert_eq!(site.cli(&["schedules", "show", "minutely"]).await.code, 3);
}

// Case: H2
#[tokio::test]
async fn an_occurrence_comes_at_its_minute_once_though_the_host_is_killed_before_and_after() {
    let (sink, site) = bridge(Config::new()).await;
    let host = site.start().await;
    assert_eq!(site.cli(&[&ADD[..], &["--cron", "* * * * *"]].concat()).await.code, 0);
    let due_ms = schedule(&site).await["next_due_at_ms"].as_i64().unwrap();
    host.kill().await;
    let host = site.start().await;
    let ticked = || async { (sink.count() >= 1).then_some(()) };
    eventually("the minute's reply", Duration::from_secs(90), ticked).await;
    host.kill().await;
    let _host = site.start().await;
    let turns = site.turns().await;
    let of_minute = |turn: &&lastword_tests::harness::TurnRow| {
        turn.external_id.as_deref() == Some(format!("minutely/{due_ms}").as_str())
    };
    assert_eq!(turns.iter().filter(of_minute).count(), 1, "{turns:?}");
    assert!(turns[0].accepted_at_ms >= due_ms, "it came before its time");
    assert_eq!(sink.arrivals()[0].text(), "tick");
}
