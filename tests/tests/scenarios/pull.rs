//! Handler `pull`, request by request: claims, leases, tokens, and what is refused.

use std::time::{Duration, Instant};

use lastword_tests::harness::{Config, Held, Puller, Sink, Site, eventually};
use serde_json::json;

use crate::{SOON, bridge};

/// Leases of a few seconds, looked at often.
fn pulled() -> Config {
    Config::new().pull().lifecycle("sweep", "200ms").lifecycle("turn_backoff", "10ms")
}

async fn site() -> (Sink, Site) {
    bridge(pulled()).await
}

fn final_of(text: &str) -> serde_json::Value {
    json!({"type": "final", "text": text})
}

#[tokio::test]
async fn a_worker_waits_is_given_the_turn_says_how_it_goes_and_completes_it() {
    let (sink, site) = site().await;
    let host = site.start().await;
    let puller = Puller::new(&site, &host);
    let waits = tokio::spawn({
        let puller = puller.clone();
        async move { puller.claim(json!({"lease_ms": 5_000})).await }
    });
    eventually("a worker that waits", SOON, || async {
        let waiting = site.status().await["workers_waiting"].clone();
        (waiting[0]["worker"] == "tester").then_some(())
    })
    .await;
    let turn = host.platform("hook").say("m1", "c", "hello").await;
    let held = waits.await.unwrap();
    assert_eq!(held.id, turn.id);
    assert_eq!(held.document["message"]["text"], "hello");
    assert_eq!(
        (&held.document["lease_ms"], &held.document["turn"]["attempt"]),
        (&json!(5_000), &json!(1))
    );
    let status = site.status().await;
    assert_eq!(status["turns_at_workers"][0]["turn_id"], held.id.as_str());
    assert_eq!(status["turns_at_workers"][0]["worker"], "tester");
    let events = json!({"events": [{"type": "tool", "text": "looking"}, {"type": "heartbeat"}]});
    let reply = puller.about(&held, "events", events).await;
    assert_eq!((reply.status, reply.json()["state"].as_str()), (200, Some("running")));
    assert_eq!(puller.about(&held, "heartbeat", json!({})).await.json()["lease_ms"], 5_000);
    let reply = puller.complete(&held, "done").await;
    assert_eq!(reply.json()["state"], "delivering");
    assert_eq!(site.turn_at_rest(&turn.id, SOON).await.state, "delivered");
    let said: Vec<_> =
        sink.arrivals().iter().map(|a| (a.field("kind").to_owned(), a.text().to_owned())).collect();
    assert_eq!(said, [("tool".into(), "looking".into()), ("final".into(), "done".into())]);
}

#[tokio::test]
async fn a_claim_that_finds_nothing_is_answered_with_204_when_its_wait_is_over() {
    let (_sink, site) = site().await;
    let host = site.start().await;
    let puller = Puller::new(&site, &host);
    let began = Instant::now();
    assert_eq!(puller.ask(json!({"wait_ms": 700})).await.unwrap().status, 204);
    assert!(began.elapsed() >= Duration::from_millis(700));
    assert_eq!(puller.ask(json!({"wait_ms": 0})).await.unwrap().status, 204);
    assert_eq!(site.status().await["workers_waiting"], json!([]));
}

// Case: J10
#[tokio::test]
async fn a_worker_keeps_its_turn_over_a_killed_host_and_its_completion_is_taken() {
    let (sink, site) = site().await;
    let host = site.start().await;
    let turn = host.platform("hook").say("m1", "c", "hello").await;
    let held = Puller::new(&site, &host).claim(json!({"lease_ms": 3_000})).await;
    // Longer than the lease: a host that is away costs its worker nothing.
    host.kill().await;
    tokio::time::sleep(Duration::from_secs(4)).await;
    let host = site.start().await;
    let puller = Puller::new(&site, &host);
    assert_eq!(puller.about(&held, "heartbeat", json!({})).await.status, 200);
    let end = host.terminate().await;
    assert_eq!(end.code(), Some(0));
    let host = site.start().await;
    Puller::new(&site, &host).complete(&held, "done").await;
    let turn = site.turn_at_rest(&turn.id, SOON).await;
    assert_eq!((turn.state.as_str(), turn.attempts), ("delivered", 1), "{turn:?}");
    assert_eq!(sink.count(), 1);
}

// Case: B12
#[tokio::test]
async fn a_worker_paused_past_its_lease_is_refused_and_the_next_try_goes_on() {
    let (sink, site) = site().await;
    let host = site.start().await;
    let turn = host.platform("hook").say("m1", "c", "hello").await;
    let puller = Puller::new(&site, &host);
    let slow = puller.claim(json!({"lease_ms": 1_000})).await;
    let quick = puller.claim(json!({"lease_ms": 5_000})).await;
    assert_eq!(
        (quick.id.as_str(), &quick.document["turn"]["attempt"]),
        (slow.id.as_str(), &json!(2))
    );
    for what in ["heartbeat", "events", "complete"] {
        let body = if what == "heartbeat" { json!({}) } else { final_of("too late") };
        let reply = puller.about(&slow, what, body).await;
        assert_eq!(reply.status, 409, "{what}");
        assert_eq!(reply.json()["error"]["code"], "stale_token", "{}", reply.text());
    }
    puller.complete(&quick, "in time").await;
    assert_eq!(site.turn_at_rest(&turn.id, SOON).await.state, "delivered");
    let texts: Vec<_> = sink.arrivals().iter().map(|a| a.text().to_owned()).collect();
    assert_eq!(texts, ["in time"]);
}

// Case: B9, C3
#[tokio::test]
async fn the_same_completion_again_is_told_the_same_and_any_other_word_is_refused_by_rule() {
    let (sink, site) = site().await;
    let host = site.start().await;
    let turn = host.platform("hook").say("m1", "c", "hello").await;
    let puller = Puller::new(&site, &host);
    let held = puller.claim(json!({})).await;
    let first = puller.complete(&held, "done").await;
    let again = puller.complete(&held, "done").await;
    assert_eq!(first.text(), again.text());
    for (what, body) in [
        ("complete", final_of("something else")),
        ("events", json!({"type": "tool", "text": "late"})),
        ("complete", json!({"type": "silent"})),
    ] {
        let reply = puller.about(&held, what, body).await;
        let error = reply.json()["error"].clone();
        assert_eq!((reply.status, &error["code"]), (409, &json!("after_the_end")));
        let sentence = error["sentence"].as_str().unwrap();
        assert!(sentence.contains("completed by the final reply before it"), "{sentence}");
    }
    assert_eq!(site.turn_at_rest(&turn.id, SOON).await.state, "delivered");
    host.kill().await;
    let host = site.start().await;
    let again = Puller::new(&site, &host).complete(&held, "done").await;
    assert_eq!(first.text(), again.text(), "after a restart too");
    assert_eq!(site.rows_of(&turn.id).await.len(), 1);
    assert_eq!(sink.count(), 1);
}

#[tokio::test]
async fn a_claim_and_progress_that_are_asked_again_under_one_key_act_once() {
    let (sink, site) = site().await;
    let host = site.start().await;
    host.platform("hook").say("m1", "a", "one").await;
    host.platform("hook").say("m2", "b", "two").await;
    let puller = Puller::new(&site, &host);
    let body = json!({"worker": "w", "wait_ms": 5_000}).to_string();
    let key = [("idempotency-key", "k1")];
    let first = Held::read(&puller.post("turns/claim", &key, body.clone()).await.unwrap());
    host.kill().await;
    let host = site.start().await;
    let puller = Puller::new(&site, &host);
    let again = Held::read(&puller.post("turns/claim", &key, body.clone()).await.unwrap());
    assert_eq!((&first.id, &first.token), (&again.id, &again.token));
    let other = [("idempotency-key", "k2")];
    let other = Held::read(&puller.post("turns/claim", &other, body).await.unwrap());
    assert_ne!(first.id, other.id);
    let path = format!("turns/{}/events", first.id);
    let headers = [("lastword-token", first.token.as_str()), ("idempotency-key", "e1")];
    for _ in 0..2 {
        let event = json!({"type": "block", "text": "once"}).to_string();
        assert_eq!(puller.post(&path, &headers, event).await.unwrap().status, 200);
    }
    puller.complete(&first, "done").await;
    assert_eq!(site.turn_at_rest(&first.id, SOON).await.state, "delivered");
    let texts: Vec<_> = sink.arrivals().iter().map(|a| a.text().to_owned()).collect();
    assert_eq!(texts, ["once", "done"]);
}

// Case: F1
#[tokio::test]
async fn a_worker_whose_turn_is_stopped_is_told_at_its_next_word_and_nothing_of_it_is_sent() {
    let (sink, site) = site().await;
    let host = site.start().await;
    host.platform("hook").say("m1", "c", "hello").await;
    let puller = Puller::new(&site, &host);
    let held = puller.claim(json!({})).await;
    let by = ["abort", "--turn", &held.id];
    assert_eq!(site.cli(&by).await.code, 0);
    for what in ["heartbeat", "events", "complete"] {
        let body = if what == "heartbeat" { json!({}) } else { final_of("too late") };
        let reply = puller.about(&held, what, body).await;
        assert_eq!(reply.status, 409);
        assert_eq!(reply.json()["error"]["code"], "aborted", "{}", reply.text());
    }
    assert_eq!(site.turn_at_rest(&held.id, SOON).await.state, "aborted");
    assert_eq!((sink.count(), site.rows_of(&held.id).await.len()), (0, 0));
}

#[tokio::test]
async fn what_is_wrong_is_refused_with_a_sentence_and_changes_nothing() {
    let (sink, site) = site().await;
    let host = site.start().await;
    host.platform("hook").say("m1", "c", "hello").await;
    let puller = Puller::new(&site, &host);
    for (fields, part) in [
        (json!({"lease_ms": 10}), "lease_ms"),
        (json!({"lease_ms": 86_400_000}), "lease_max"),
        (json!({"wait_ms": 3_600_000}), "wait_ms"),
        (json!({"channels": ["nobody"]}), "channels"),
        (json!({"colour": 1}), "unknown field"),
    ] {
        let reply = puller.ask(fields).await.unwrap();
        assert_eq!(reply.status, 400, "{}", reply.text());
        assert!(reply.text().contains(part), "{}", reply.text());
    }
    let held = puller.claim(json!({"channels": ["hook"]})).await;
    for (what, body) in [
        ("complete", json!({"type": "tool", "text": "no end"})),
        ("complete", json!({"type": "finale", "text": "x"})),
        ("events", json!({"events": 3})),
        ("heartbeat", json!({"lease_ms": 1})),
    ] {
        let reply = puller.about(&held, what, body).await;
        assert_eq!(reply.status, 400, "{what}: {}", reply.text());
    }
    let after = json!({"events": [final_of("a"), final_of("b")]});
    let reply = puller.about(&held, "complete", after).await;
    assert_eq!((reply.status, &reply.json()["error"]["code"]), (409, &json!("after_the_end")));
    let stranger = Held { id: "t00000000000000000000".to_owned(), ..held.clone() };
    assert_eq!(puller.about(&stranger, "heartbeat", json!({})).await.status, 404);
    let nobody = Held { token: "nothing".to_owned(), ..held.clone() };
    assert_eq!(puller.about(&nobody, "complete", final_of("x")).await.status, 409);
    assert_eq!(site.turns().await[0].state, "running");
    assert_eq!(sink.count(), 0);
    puller.complete(&held, "done").await;
    sink.wait_for(1, SOON).await;
}

// Case: B8, B19
#[tokio::test]
async fn a_worker_may_choose_silence_fail_or_say_nothing_which_is_a_failed_try() {
    let (_sink, site) = bridge(pulled().set("lifecycle", "turn_tries", "2")).await;
    let host = site.start().await;
    let puller = Puller::new(&site, &host);
    for (event, state, ends) in [
        (json!({"type": "silent"}), "silent", "silent"),
        (json!({"type": "fail", "reason": "no", "retry": false}), "failed", "failed"),
        (json!({"type": "fail", "reason": "not yet"}), "queued", "delivered"),
        (json!({"type": "final", "text": " "}), "queued", "delivered"),
    ] {
        let id = event.to_string();
        let turn = host.platform("hook").say(&id, "c", "hello").await;
        let held = puller.claim(json!({})).await;
        let reply = puller.about(&held, "complete", event).await;
        assert_eq!((reply.status, reply.json()["state"].as_str()), (200, Some(state)));
        if ends == "delivered" {
            puller.complete(&puller.claim(json!({})).await, "second try").await;
        }
        assert_eq!(site.turn_at_rest(&turn.id, SOON).await.state, ends);
    }
}

#[tokio::test]
async fn a_host_that_stops_sends_its_waiting_workers_away_at_once() {
    let (_sink, site) = site().await;
    let host = site.start().await;
    let puller = Puller::new(&site, &host);
    let waits = tokio::spawn({
        let puller = puller.clone();
        async move { puller.ask(json!({"wait_ms": 9_000})).await }
    });
    eventually("a worker that waits", SOON, || async {
        (site.status().await["workers_waiting"][0]["worker"] == "tester").then_some(())
    })
    .await;
    let began = Instant::now();
    assert_eq!(host.terminate().await.code(), Some(0));
    let reply = waits.await.unwrap().unwrap();
    assert_eq!((reply.status, &reply.json()["error"]["code"]), (503, &json!("stopping")));
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_host_that_runs_turns_itself_gives_none_away() {
    let (_sink, site) = bridge(Config::new()).await;
    let host = site.start().await;
    let reply = Puller::new(&site, &host).ask(json!({})).await.unwrap();
    assert_eq!((reply.status, &reply.json()["error"]["code"]), (404, &json!("not_pull")));
}
