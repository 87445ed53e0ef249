//! Pollers and their cursors belong to the host: two generations never poll at once, nothing is
//! fetched twice or passed over, and what a lost answer means is judged by who serves at the claim.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use lastword_tests::harness::config::text;
use lastword_tests::harness::{Answer, Arrival, eventually};
use serde_json::json;

use crate::{Rig, SOON, unwatched};

/// How long two polls may overlap at the sink: one connection's end may be seen after the next
/// one's request.
const SEEN_LATE: Duration = Duration::from_millis(60);

fn polls(rig: &Rig) -> Vec<Arrival> {
    rig.sink.arrivals_at("/poll")
}

/// The longest time for which two polls were open together.
fn longest_overlap(polls: &[Arrival]) -> Duration {
    let mut longest = Duration::ZERO;
    for pair in polls.windows(2) {
        let left = pair[0].left.unwrap_or(Duration::MAX);
        longest = longest.max(left.saturating_sub(pair[1].at));
    }
    longest
}

#[tokio::test]
async fn two_generations_never_poll_at_once_and_the_new_one_does_not_wait_for_the_old_ones_poll() {
    let rig = Rig::of(unwatched(), json!({"polls": true})).await;
    let hangs = Duration::from_secs(8);
    rig.sink.answer_by(move |it| match it.path.as_str() {
        "/poll" => Answer::After(hangs, Box::new(Answer::Body(200, r#"{"cursor":"c"}"#.into()))),
        _ => Answer::Take,
    });
    let host = rig.site.start().await;
    for n in 1..=6 {
        let version = format!("1.{n}.0");
        rig.version(&version, json!({"polls": true}));
        let asked = std::time::Instant::now();
        rig.reloaded().await;
        eventually(&format!("{version} polls"), SOON, || async {
            polls(&rig).iter().any(|it| it.query_value("generation") == version).then_some(())
        })
        .await;
        assert!(asked.elapsed() < hangs / 2, "it waited for the poll of the one before");
    }
    // Long enough for a second poller to show itself.
    tokio::time::sleep(Duration::from_millis(500)).await;
    let overlap = longest_overlap(&polls(&rig));
    assert!(overlap < SEEN_LATE, "two polls were open together for {overlap:?}");
    assert!(host.terminate().await.success());
}

#[tokio::test]
async fn the_cursor_is_handed_over_and_each_message_makes_one_turn_through_all_swaps() {
    let rig = Rig::of(unwatched(), json!({"polls": true})).await;
    // The platform: the message after the cursor, a moment after it was asked for.
    rig.sink.answer_by(|it| match it.path.as_str() {
        "/poll" => {
            let next = it.query_value("cursor").parse::<u32>().unwrap_or(0) + 1;
            let said = json!({"id": format!("m{next}"), "conversation": "c", "text": "hello"});
            let body = json!({"cursor": next.to_string(), "events": [said]});
            Answer::After(Duration::from_millis(30), Box::new(Answer::Body(200, body.to_string())))
        }
        _ => Answer::Take,
    });
    let host = rig.site.start().await;
    for n in 1..=10 {
        rig.version(&format!("1.{n}.0"), json!({"polls": true}));
        rig.reloaded().await;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(host.terminate().await.success());
    let turns = rig.site.turns().await;
    let ids: Vec<_> = turns.iter().filter_map(|turn| turn.external_id.clone()).collect();
    let expected: Vec<_> = (1..=ids.len()).map(|n| format!("m{n}")).collect();
    assert_eq!(ids, expected, "in order, none twice, none passed over");
    assert!(ids.len() > 10, "{} messages", ids.len());
}

#[tokio::test]
async fn a_lost_answer_is_judged_by_the_generation_that_serves_at_the_claim() {
    for (swaps, expected) in [(false, 2), (true, 1)] {
        let config = unwatched().set("lifecycle", "delivery_backoff", r#"["3s"]"#);
        let rig = Rig::of(config, json!({"repeats_ms": 3_600_000})).await;
        let lose = Arc::new(Mutex::new(true));
        rig.sink.answer_by(move |_| match std::mem::take(&mut *lose.lock().unwrap()) {
            true => Answer::Drop,
            false => Answer::Take,
        });
        let host = rig.site.start().await;
        let turn = host.platform("a").say("m", "c", "hello").await;
        rig.sink.wait_for(1, SOON).await;
        if swaps {
            // Its platform does not drop repeats: sending again would be guessing.
            rig.version("2.0.0", json!({}));
            rig.reloaded().await;
        }
        let row = rig.site.row("it is settled", SOON, |row| row.state == "delivered" || row.held);
        assert_eq!(row.await.held, swaps);
        assert_eq!(rig.sent().len(), expected, "swapped: {swaps}");
        rig.site.turn_at_rest(&turn.id, SOON).await;
    }
}

#[tokio::test]
async fn a_lost_answer_is_not_settled_by_a_promise_of_another_generation() {
    let rig = Rig::of(unwatched().set("limits", "send", &text("5s")), json!({})).await;
    rig.sink.answer_by(|_| Answer::After(Duration::from_secs(2), Box::new(Answer::Drop)));
    let host = rig.site.start().await;
    let turn = host.platform("a").say("m", "c", "hello").await;
    rig.sink.wait_for(1, SOON).await;
    // While it is under way one comes whose platform drops repeats. This one's did not see its key.
    rig.version("2.0.0", json!({"repeats_ms": 3_600_000}));
    assert_eq!(rig.reload(&["--approve"]).await.code, 0);
    let row = rig.site.row("it is settled", SOON, |row| row.state == "delivered" || row.held);
    assert!(row.await.held, "sending again would be guessing");
    assert_eq!(rig.sent().len(), 1);
    rig.site.turn_at_rest(&turn.id, SOON).await;
}

#[tokio::test]
async fn calls_that_run_finish_on_the_generation_that_they_began_on() {
    let rig = Rig::new(unwatched().set("limits", "send", &text("5s"))).await;
    rig.sink.answer_by(|_| Answer::After(Duration::from_secs(2), Box::new(Answer::Take)));
    let host = rig.site.start().await;
    let turn = host.platform("a").say("m", "c", "hello").await;
    rig.sink.wait_for(1, SOON).await;
    rig.version("1.1.0", json!({}));
    let told = rig.reloaded().await;
    assert_eq!(told["version"], "1.1.0", "the swap does not wait for it");
    let drains = rig.generations().await;
    assert_eq!(drains["draining"][0]["version"], "1.0.0", "{drains}");
    assert_eq!(drains["draining"][0]["running"], 1, "{drains}");
    assert_eq!(rig.site.turn_at_rest(&turn.id, SOON).await.state, "delivered");
    let row = rig.site.rows_of(&turn.id).await.remove(0);
    assert_eq!((row.attempts, rig.sent().len()), (1, 1));
    assert_eq!(rig.sent()[0].field("generation"), "1.0.0");
    eventually("it has drained", SOON, || async {
        (rig.generations().await["draining"] == json!([])).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_generation_that_drains_is_told_once() {
    let rig = Rig::new(unwatched().set("limits", "send", &text("5s"))).await;
    rig.sink.answer_by(|_| Answer::After(Duration::from_secs(4), Box::new(Answer::Take)));
    let host = rig.site.start().await;
    for n in 1..=2 {
        let name = format!("m{n}");
        host.platform("a").say(&name, &name, &name).await;
        rig.sink.wait_for(n, SOON).await;
        rig.version(&format!("1.{n}.0"), json!({}));
        rig.reloaded().await;
    }
    let told = rig.generations().await;
    let drains = told["draining"].as_array().unwrap();
    let numbers: Vec<_> = drains.iter().map(|it| it["number"].as_u64().unwrap()).collect();
    assert_eq!(numbers, [1, 2], "{told}");
}

#[tokio::test]
async fn few_generations_have_calls_at_once_and_a_further_swap_waits_for_one_to_end() {
    let rig = Rig::new(unwatched()).await;
    rig.sink.answer_by(|_| Answer::After(Duration::from_secs(2), Box::new(Answer::Take)));
    let host = rig.site.start().await;
    let mut turns = Vec::new();
    for n in 1..=6 {
        let name = format!("m{n}");
        turns.push(host.platform("a").say(&name, &name, &name).await.id);
        rig.sink.wait_for(n, SOON).await;
        // The same bytes, bound anew: nothing but the calls is there to wait for.
        let answer = rig.post(&host, "/v1/channels/a/reload", &json!({})).await;
        assert_eq!((answer.status, &answer.json()["number"]), (200, &json!(n + 1)));
        let told = rig.generations().await;
        let draining = told["draining"].as_array().unwrap();
        assert!(draining.len() <= 3, "the kept one and two beside it: {told}");
    }
    for id in &turns {
        assert_eq!(rig.site.turn_at_rest(id, SOON).await.state, "delivered");
    }
    assert_eq!(rig.sent().len(), turns.len(), "each once");
    let rows = rig.site.outbox().await;
    assert!(rows.iter().all(|row| row.attempts == 1), "no call failed");
}
