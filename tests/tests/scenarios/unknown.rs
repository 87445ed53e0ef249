//! Sends whose outcome nobody knows: not sent again blindly, asked about, held, and resolved.

use std::time::Duration;

use lastword_tests::harness::http::NamedTurn;
use lastword_tests::harness::{Answer, Arrival, Channel, Config, Host, Sink, Site, eventually};
use serde_json::json;

use crate::SOON;

/// A channel whose receiver is not trusted to drop a repeated id, and that cannot be asked.
async fn untrusting(on_unknown: &str) -> (Sink, Site, Host) {
    let sink = Sink::start().await;
    let channel = Channel::webhook("hook", &sink.url()).set("", "idempotent", "false").set(
        "",
        "on_unknown",
        &format!("\"{on_unknown}\""),
    );
    let site = Site::new(&Config::new().channel(channel));
    let host = site.start().await;
    (sink, site, host)
}

/// Lost at the first attempt, and what was asked for is answered as `found` says.
async fn scripted(found: &'static str) -> (Sink, Site, Host) {
    let sink = Sink::scripted(move |arrival| match arrival.path.as_str() {
        "/poll" => nothing_new(),
        "/find" => Answer::Body(200, found.into()),
        "/send" if arrival.body["attempt"] == 1 => Answer::Drop,
        _ => Answer::Take,
    })
    .await;
    let site = Site::new(&Config::new().channel(Channel::script("play", sink.origin())));
    let host = site.start().await;
    (sink, site, host)
}

/// A long poll that brings nothing.
fn nothing_new() -> Answer {
    let nothing = Answer::Body(200, r#"{"events": [], "cursor": "1"}"#.into());
    Answer::After(Duration::from_secs(5), Box::new(nothing))
}

/// One message to the `script` adapter, which is its script.
async fn tell(host: &Host, text: &str) -> NamedTurn {
    let message = json!({"id": "m1", "conversation": "c", "text": text});
    host.platform("play").tell(&message).await
}

fn texts(arrivals: &[Arrival]) -> Vec<String> {
    arrivals.iter().map(|arrival| arrival.text().to_owned()).collect()
}

/// A held row of a turn that was answered 500, and the turn's id.
async fn held(sink: &Sink, site: &Site, host: &Host) -> (String, String) {
    sink.answer_by(|_| Answer::Status(500));
    let turn = host.platform("hook").say("m1", "c", "one").await;
    let row = site.row("a held row", SOON, |row| row.held).await;
    sink.answer_by(|_| Answer::Take);
    assert_eq!((row.state.as_str(), row.turn_id.as_deref()), ("unknown", Some(turn.id.as_str())));
    let ended = site.turn_at_rest(&turn.id, SOON).await;
    assert_eq!(ended.state, "failed", "a held final decides its turn for now: {ended:?}");
    assert_eq!(ended.code.as_deref(), Some("outcome_unknown"));
    (row.id, turn.id)
}

// Case: D4, D11
#[tokio::test]
async fn what_nobody_can_settle_is_held_and_the_conversation_goes_on() {
    let (sink, site, host) = untrusting("hold").await;
    let (row, _) = held(&sink, &site, &host).await;
    let next = host.platform("hook").say("m2", "c", "two").await;
    assert_eq!(site.turn_at_rest(&next.id, SOON).await.state, "delivered");
    assert_eq!(texts(&sink.arrivals()), ["one", "two"], "it is not sent again blindly");
    let listed: Vec<lastword_tests::harness::OutboxRow> =
        site.json(&["outbox", "list", "--state", "held"]).await;
    assert_eq!(listed.iter().map(|row| row.id.as_str()).collect::<Vec<_>>(), [row.as_str()]);
}

// Case: B1, D11
#[tokio::test]
async fn a_held_row_resolved_as_delivered_makes_its_turn_delivered() {
    let (sink, site, host) = untrusting("hold").await;
    let (row, turn) = held(&sink, &site, &host).await;
    assert_eq!(site.cli(&["outbox", "resolve", &row, "--delivered"]).await.code, 0);
    let ended = site.turn_in(&turn, "delivered", SOON).await;
    assert_eq!(ended.state, "delivered", "{ended:?}");
    assert_eq!(site.cli(&["outbox", "resolve", &row, "--drop"]).await.code, 4, "settled once");
    assert_eq!(sink.count(), 1);
}

// Case: D4
#[tokio::test]
async fn a_held_row_that_is_dropped_leaves_its_turn_failed() {
    let (sink, site, host) = untrusting("hold").await;
    let (row, turn) = held(&sink, &site, &host).await;
    assert_eq!(site.cli(&["outbox", "resolve", &row, "--drop"]).await.code, 0);
    assert_eq!(site.rows_of(&turn).await[0].state, "cancelled");
    assert_eq!(site.turn_at_rest(&turn, SOON).await.state, "failed");
    assert_eq!(sink.count(), 1);
}

// Case: D12
#[tokio::test]
async fn a_held_row_that_is_resent_becomes_a_new_row_at_the_end_of_the_line() {
    let (sink, site, host) = untrusting("hold").await;
    let (row, turn) = held(&sink, &site, &host).await;
    let end = site.cli(&["outbox", "resolve", &row, "--resend"]).await;
    assert_eq!(end.code, 0, "{}", end.stderr);
    let arrived = sink.wait_for(2, SOON).await;
    assert_eq!(texts(&arrived), ["one", "one"]);
    assert_ne!(arrived[1].delivery_id(), row);
    let again = arrived[1].delivery_id().to_owned();
    site.row("the new row delivered", SOON, |r| r.id == again && r.state == "delivered").await;
    let old = site.row("the old row", SOON, |r| r.id == row).await;
    assert_eq!((old.state.as_str(), old.code.as_deref()), ("cancelled", Some("resent")));
    let turn = site.turn_at_rest(&turn, SOON).await;
    assert_eq!((turn.state.as_str(), turn.code.as_deref()), ("failed", Some("resent")));
}

#[tokio::test]
async fn a_row_can_be_resolved_while_no_host_runs() {
    let (sink, site, host) = untrusting("hold").await;
    let (row, turn) = held(&sink, &site, &host).await;
    host.kill().await;
    assert_eq!(site.cli(&["outbox", "resolve", &row, "--delivered"]).await.code, 0);
    assert_eq!(site.turn_at_rest(&turn, SOON).await.state, "delivered");
}

// Case: D4
#[tokio::test]
async fn the_policy_resend_sends_again() {
    let (sink, site, host) = untrusting("resend").await;
    sink.answer_by(|arrival| match arrival.body["attempt"].as_u64() {
        Some(1) => Answer::Status(500),
        _ => Answer::Take,
    });
    let turn = host.platform("hook").say("m1", "c", "one").await;
    assert_eq!(site.turn_at_rest(&turn.id, SOON).await.state, "delivered");
    assert_eq!(texts(&sink.arrivals()), ["one", "one"]);
}

// Case: D3
#[tokio::test]
async fn a_lost_answer_that_the_platform_finds_is_delivered_without_a_second_send() {
    let (sink, site, host) = scripted(r#"{"found": "p-77"}"#).await;
    let turn = tell(&host, "hello").await;
    assert_eq!(site.turn_at_rest(&turn.id, SOON).await.state, "delivered");
    let row = site.rows_of(&turn.id).await.remove(0);
    assert_eq!(row.platform_id.as_deref(), Some("p-77"));
    assert_eq!(sink.arrivals_at("/send").len(), 1);
    assert_eq!(sink.arrivals_at("/find").len(), 1);
}

// Case: D3
#[tokio::test]
async fn a_lost_answer_that_the_platform_does_not_find_is_sent_again() {
    let (sink, site, host) = scripted(r#"{"absent": true}"#).await;
    let turn = tell(&host, "hello").await;
    assert_eq!(site.turn_at_rest(&turn.id, SOON).await.state, "delivered");
    let (sent, found) = (sink.arrivals_at("/send"), sink.arrivals_at("/find"));
    assert_eq!((sent.len(), found.len()), (2, 1));
    assert_eq!(sent[0].delivery_id(), sent[1].delivery_id());
    let (lost, asked) = (sent[0].at, found[0].at);
    assert!(asked - lost >= Duration::from_millis(200), "settle_delay was not waited for");
}

// Case: D5
#[tokio::test]
async fn a_guest_that_calls_a_lost_send_transient_is_not_believed() {
    let (sink, site, host) = scripted(r#"{"found": "p-1"}"#).await;
    let turn = tell(&host, "!send-raw\n!say transient").await;
    assert_eq!(site.turn_at_rest(&turn.id, SOON).await.state, "delivered");
    assert_eq!(sink.arrivals_at("/send").len(), 1, "transient would have sent it again");
    assert_eq!(sink.arrivals_at("/find").len(), 1);
}

// Case: D7
#[tokio::test]
async fn a_guest_that_claims_delivery_without_a_send_is_not_believed() {
    let (sink, site, host) = scripted(r#"{"absent": true}"#).await;
    let turn = tell(&host, "!on 1 say delivered\n!send").await;
    assert_eq!(site.turn_at_rest(&turn.id, SOON).await.state, "delivered");
    assert_eq!(sink.arrivals_at("/find").len(), 1, "what it claimed was asked about");
    assert_eq!(sink.arrivals_at("/send").len(), 1, "and then really sent");
}

// Case: D6
#[tokio::test]
async fn a_trap_before_any_send_is_tried_again_without_a_question() {
    let (sink, site, host) = scripted(r#"{"undecided": "asked in vain"}"#).await;
    let script = "!on 1 read\n!on 1 prepare\n!on 1 trap on purpose\n!send";
    let turn = tell(&host, script).await;
    assert_eq!(site.turn_at_rest(&turn.id, SOON).await.state, "delivered");
    assert_eq!(sink.arrivals_at("/prepare").len(), 1);
    assert_eq!(sink.arrivals_at("/find").len(), 0, "nothing left, so nothing is unknown");
    assert_eq!(sink.arrivals_at("/send").len(), 1);
}

// Case: D6
#[tokio::test]
async fn a_trap_after_a_send_without_an_answer_is_unknown() {
    let (sink, site, host) = scripted(r#"{"found": "p-1"}"#).await;
    let script = "!send-raw\n!trap after the request left";
    let turn = tell(&host, script).await;
    assert_eq!(site.turn_at_rest(&turn.id, SOON).await.state, "delivered");
    assert_eq!(sink.arrivals_at("/send").len(), 1);
    assert_eq!(sink.arrivals_at("/find").len(), 1);
}

// Case: C1, D1
#[tokio::test]
async fn a_send_that_was_open_when_the_host_was_killed_is_asked_about_and_not_repeated() {
    let (sink, site, host) = scripted(r#"{"found": "p-1"}"#).await;
    sink.answer_by(|arrival| match arrival.path.as_str() {
        "/poll" => nothing_new(),
        "/find" => Answer::Body(200, r#"{"found": "p-1"}"#.into()),
        _ => Answer::Hang(Duration::from_secs(60)),
    });
    let turn = tell(&host, "hello").await;
    let sent = || async { (!sink.arrivals_at("/send").is_empty()).then_some(()) };
    eventually("a send at the receiver", SOON, sent).await;
    host.kill().await;
    let sending: Vec<lastword_tests::harness::OutboxRow> =
        site.json(&["outbox", "list", "--state", "sending"]).await;
    assert_eq!(sending.len(), 1, "the intent to send was on disk before the call");
    let _host = site.start().await;
    assert_eq!(site.turn_at_rest(&turn.id, SOON).await.state, "delivered");
    assert_eq!(sink.arrivals_at("/send").len(), 1);
    assert!(!sink.arrivals_at("/find").is_empty());
}

// Case: D2
#[tokio::test]
async fn a_send_that_was_open_when_the_host_was_killed_goes_again_under_its_own_id() {
    let sink = Sink::scripted(|_| Answer::Hang(Duration::from_secs(60))).await;
    let site = Site::new(&Config::new().channel(Channel::webhook("hook", &sink.url())));
    let host = site.start().await;
    let turn = host.platform("hook").say("m1", "c", "hello").await;
    sink.wait_for(1, SOON).await;
    host.kill().await;
    sink.answer_by(|_| Answer::Take);
    let _host = site.start().await;
    assert_eq!(site.turn_at_rest(&turn.id, SOON).await.state, "delivered");
    let arrived = sink.arrivals();
    assert_eq!(arrived.len(), 2);
    assert_eq!(arrived[0].delivery_id(), arrived[1].delivery_id());
}
