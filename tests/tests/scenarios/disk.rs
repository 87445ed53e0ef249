//! A disk that takes no more, and a store that is taken away under the host: refused upward, nothing
//! sent, said loudly, and gone on from by itself.
//!
//! A limit of file sizes, set and lifted on the running process, does to one process what a full
//! disk does to a machine, and needs no right that a developer lacks.

use std::time::Duration;

use lastword_tests::harness::http::message;
use lastword_tests::harness::{Answer, Channel, Config, Host, Sink, Site, eventually};
use rustix::process::{Pid, Resource, Rlimit, prlimit};
use serde_json::Value;

use crate::{SOON, bridge};

/// Below the size of every file that the host writes, its log too.
const FULL_BYTES: u64 = 512;

fn limit(host: &Host, bytes: Option<u64>) {
    let pid = Pid::from_raw(host.pid().cast_signed()).unwrap();
    let limit = Rlimit { current: bytes, maximum: None };
    prlimit(Some(pid), Resource::Fsize, limit).unwrap();
}

async fn ready(host: &Host) -> bool {
    host.platform("hook").get("/readyz").await.unwrap().status == 200
}

async fn until_ready(host: &Host, wanted: bool) {
    eventually(&format!("/readyz says {wanted}"), SOON, || async {
        (ready(host).await == wanted).then_some(())
    })
    .await;
}

fn events(status: &Value, code: &str) -> usize {
    let events = status["events"].as_array().unwrap();
    events.iter().filter(|event| event["code"] == code).count()
}

// Case: J8, A11, C2
#[tokio::test]
async fn on_a_full_disk_intake_is_refused_sending_pauses_and_all_goes_on_when_there_is_room() {
    let (sink, site) = bridge(Config::new()).await;
    sink.answer_by(|arrival| match arrival.text() {
        "later" => Answer::RetryAfter { status: 503, seconds: 1 },
        _ => Answer::Take,
    });
    let host = site.start().await;
    let platform = host.platform("hook");
    let waits = platform.say("m0", "waiting", "later").await;
    sink.wait_for(2, SOON).await;
    limit(&host, Some(FULL_BYTES));

    let refused = platform.post("messages", &message("m1", "room", "hello")).await.unwrap();
    assert_eq!(refused.status, 503, "{}", refused.text());
    assert!(refused.headers.contains_key("retry-after"));
    until_ready(&host, false).await;
    let status = eventually("the operator is told", SOON, || async {
        let status = site.status().await;
        (events(&status, "store_not_writable") == 1).then_some(status)
    })
    .await;
    assert_eq!(status["store"]["writable"], false, "{status}");
    let metrics = platform.get("/metrics").await.unwrap().text();
    assert!(metrics.contains("lastword_store_writable 0"), "{metrics}");
    // What was under way when the disk filled has ended by now.
    let before = sink.count();
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert_eq!(sink.count(), before, "no adapter is called whose attempt cannot be written");

    sink.answer_by(|_| Answer::Take);
    limit(&host, None);
    until_ready(&host, true).await;
    assert_eq!(site.turn_at_rest(&waits.id, SOON).await.state, "delivered");
    let taken = platform.say("m1", "room", "hello").await;
    assert!(!taken.duplicate, "what was refused left nothing behind");
    assert_eq!(site.turn_at_rest(&taken.id, SOON).await.state, "delivered");
    eventually("the operator is told that it is over", SOON, || async {
        (events(&site.status().await, "store_writable") == 1).then_some(())
    })
    .await;
    assert_eq!(sink.arrivals().iter().filter(|a| a.text() == "hello").count(), 1);
}

// Case: C16
#[tokio::test]
async fn a_receipt_that_cannot_be_written_is_kept_past_its_claim_and_nothing_is_sent_again() {
    let sink =
        Sink::scripted(|_| Answer::After(Duration::from_millis(700), Box::new(Answer::Take))).await;
    // Where the record were lost, the row would be sent again: nothing else is believed.
    let channel = Channel::webhook("hook", &sink.url()).set("", "on_unknown", "\"resend\"").set(
        "",
        "idempotent",
        "false",
    );
    let config = Config::new().lifecycle("claim", "3s").set("limits", "send", "\"1500ms\"");
    let site = Site::new(&config.set("limits", "find", "\"1500ms\"").channel(channel));
    let host = site.start().await;
    let turn = host.platform("hook").say("m1", "room", "hello").await;
    sink.wait_for(1, SOON).await;
    limit(&host, Some(FULL_BYTES));
    // Longer than the claim.
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert_eq!(site.outbox().await[0].state, "sending");
    limit(&host, None);
    assert_eq!(site.turn_at_rest(&turn.id, SOON).await.state, "delivered");
    let row = site.outbox().await.remove(0);
    assert_eq!((row.attempts, sink.count()), (1, 1), "{row:?}");
    assert_eq!(row.platform_id.as_deref(), Some("sink-0"), "it is the kept receipt");
}

// Case: J8
#[tokio::test]
async fn a_store_that_is_taken_away_stops_intake_until_it_is_put_back() {
    let (sink, site) = bridge(Config::new()).await;
    let host = site.start().await;
    let platform = host.platform("hook");
    let first = platform.say("m1", "room", "hello").await;
    site.turn_at_rest(&first.id, SOON).await;
    for name in ["lastword.db", "lastword.db-wal"] {
        let (path, away) = (site.path().join("data").join(name), site.path().join("away"));
        std::fs::rename(&path, &away).unwrap();
        let refused = platform.post("messages", &message("m2", "room", "hello")).await.unwrap();
        assert_eq!(refused.status, 503, "without {name}: {}", refused.text());
        until_ready(&host, false).await;
        assert!(!path.exists(), "no other file takes the place of {name}");
        assert!(site.log().contains("was removed while the host runs"), "{name}");
        std::fs::rename(&away, &path).unwrap();
        until_ready(&host, true).await;
    }
    // A file of the same name is not the store.
    let path = site.path().join("data/lastword.db");
    let away = site.path().join("away");
    std::fs::rename(&path, &away).unwrap();
    std::fs::copy(&away, &path).unwrap();
    until_ready(&host, false).await;
    std::fs::rename(&away, &path).unwrap();
    until_ready(&host, true).await;
    let second = platform.say("m2", "room", "hello").await;
    assert!(!second.duplicate);
    assert_eq!(site.turn_at_rest(&second.id, SOON).await.state, "delivered");
    assert_eq!(sink.count(), 2);
}
