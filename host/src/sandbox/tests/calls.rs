//! Calls that end in every way, and what they leave behind.

use std::time::Duration;

use super::*;
use crate::lifecycle::message::{InboundEvent, SentMessage};
use crate::lifecycle::outcome::{CallError, Lookup, Outcome, RateScope, SendError, judge};

#[tokio::test]
async fn a_message_is_sent_and_the_call_says_what_left() {
    let peer = Peer::start(vec![Act::Answer(answer("200 OK", "", br#"{"id":"p-1"}"#))]).await;
    let channel = script(&peer, json!({}), roomy()).await;
    let call = send(&channel, "hello").await;
    assert_eq!(
        call.end,
        CallEnd::Answered(Ok(crate::lifecycle::outcome::Receipt {
            platform_id: "p-1".into(),
            extras: Vec::new(),
        }))
    );
    assert!(call.ledger.declares_send);
    assert_eq!((call.ledger.send_begun, call.ledger.send_accepted), (1, 1));
    assert_eq!(call.digest, channel.adapter().digest());
    assert!(call.usage.host_calls > 0 && call.usage.fetches == 1);
    assert!(call.usage.memory_peak_bytes > 0 && call.usage.bytes_out > 0);
    let seen = peer.seen();
    assert!(seen[0].contains(&message("").delivery_id.to_string()) && seen[0].contains("hello"));
    for kind in [DeliveryKind::Tool, DeliveryKind::Block, DeliveryKind::Notice] {
        let call = channel.send(kind, message("x"), StopSignal::never()).await;
        assert!(matches!(call.end, CallEnd::Answered(Ok(_))), "{kind:?}: {:?}", call.end);
    }
    assert!(peer.seen()[1].contains("\"tool\"") && peer.seen()[2].contains("\"block\""));
    assert!(peer.seen()[3].contains("\"final\""));
}

#[tokio::test]
async fn every_answer_of_the_contract_comes_through() {
    let peer = Peer::start(vec![ok()]).await;
    let channel = script(&peer, json!({}), roomy()).await;
    for (script, fits) in [
        ("!say transient", (|e| matches!(e, SendError::Transient(_))) as fn(&SendError) -> bool),
        ("!say offline", |e| matches!(e, SendError::Offline(_))),
        ("!say closed", |e| matches!(e, SendError::Closed(_))),
        ("!say rejected", |e| matches!(e, SendError::Rejected(_))),
        ("!say unauthorized", |e| matches!(e, SendError::Unauthorized(_))),
        ("!say unknown", |e| matches!(e, SendError::Unknown(_))),
        ("!say moved elsewhere", |e| matches!(e, SendError::Moved(name) if name == "elsewhere")),
        ("!say rate-limited 1500 channel", |e| {
            *e == SendError::RateLimited { retry_after_ms: 1_500, scope: RateScope::Channel }
        }),
    ] {
        let call = send(&channel, script).await;
        let CallEnd::Answered(Err(error)) = &call.end else { panic!("{script}: {:?}", call.end) };
        assert!(fits(error), "{script}: {error:?}");
        assert_eq!(call.ledger.send_begun, 0);
    }
    // An answer over the contract's limits is no answer.
    let long = format!("!say moved {}", "x".repeat(513));
    assert!(trapped(send(&channel, &long).await).contains("513 bytes"));
}

#[tokio::test]
async fn what_the_guest_says_is_held_against_the_wire() {
    let peer = Peer::start(vec![Act::Close]).await;
    let channel = script(&peer, json!({}), roomy()).await;
    for (script, code) in [
        ("!send-raw\n!say transient", "unanswered_send"),
        ("!send-raw\n!say offline", "unanswered_send"),
        ("!send-raw\n!say delivered", "unproven_delivery"),
        ("!say delivered", "unproven_delivery"),
        ("!send-raw\n!trap boom", "trap"),
    ] {
        let call = send(&channel, script).await;
        let verdict = judge(call.end, &call.ledger);
        let Outcome::Unknown(fault) = verdict.outcome else { panic!("{script}: {verdict:?}") };
        assert_eq!(fault.code, code, "{script}");
    }
    let call = send(&channel, "!read\n!prepare\n!trap early").await;
    let verdict = judge(call.end, &call.ledger);
    assert!(matches!(verdict.outcome, Outcome::NotSent(_)), "{verdict:?}");
    assert_eq!((call.ledger.send_begun, call.ledger.other_begun), (0, 2));
}

#[tokio::test]
async fn one_call_sends_one_message() {
    let peer = Peer::start(vec![ok()]).await;
    let channel = script(&peer, json!({}), roomy()).await;
    let call = send(&channel, "!send\n!send-raw\n!send-raw\n!say delivered").await;
    assert_eq!(call.ledger.send_begun, 1);
    assert_eq!(peer.seen().len(), 1);
}

#[tokio::test]
async fn state_is_seen_by_the_call_and_handed_over_only_where_it_answered() {
    let peer = Peer::start(vec![ok()]).await;
    let channel = script(&peer, json!({}), roomy()).await;
    let call = send(&channel, "!count n\n!count n\n!send").await;
    assert_eq!(call.state.writes, [("n".to_owned(), Some(b"2".to_vec()))]);
    let call = send(&channel, "!count n\n!say transient").await;
    assert_eq!(call.state.writes.len(), 1);
    for script in ["!count n\n!trap x", "!count n\n!say moved"] {
        let call = send(&channel, script).await;
        assert!(matches!(call.end, CallEnd::Trapped(_)), "{script}: {:?}", call.end);
        assert!(call.state.writes.is_empty(), "{script}");
    }
}

#[tokio::test]
async fn a_stop_ends_a_call_that_waits_and_its_ledger_is_told() {
    let peer = Peer::start(vec![Act::Hang]).await;
    let channel = script(&peer, json!({}), roomy()).await;
    let (handle, signal) = stop_pair();
    let env = Env::system();
    let stopping = async {
        while peer.seen().is_empty() {
            env.sleep(Duration::from_millis(5)).await;
        }
        handle.stop();
    };
    let sending = channel.send(DeliveryKind::Final, message("x"), signal);
    let (call, ()) = tokio::join!(sending, stopping);
    assert_eq!(call.end, CallEnd::Cancelled);
    assert_eq!((call.ledger.send_begun, call.ledger.send_answered), (1, 0));
    assert!(matches!(judge(call.end, &call.ledger).outcome, Outcome::Unknown(_)));
    // A stop that came before: not an instruction runs.
    let before = channel.send(DeliveryKind::Final, message("x"), handle.signal()).await;
    assert_eq!((before.end, before.ledger.send_begun), (CallEnd::Cancelled, 0));
}

#[tokio::test]
async fn a_call_dropped_at_any_point_leaks_no_permit() {
    let peer = Peer::start(vec![ok()]).await;
    let limits = CallLimits { calls_at_once: 1, ..roomy() };
    let channel = script(&peer, json!({}), limits).await;
    let env = Env::system();
    for after_us in (0..60).map(|n| n * 150) {
        let sending = send(&channel, "!count a\n!read\n!calls 20\n!send");
        let _ = env.timeout(Duration::from_micros(after_us), sending).await;
    }
    let call = send(&channel, "last").await;
    assert!(matches!(call.end, CallEnd::Answered(Ok(_))), "{:?}", call.end);
}

#[tokio::test]
async fn a_deadline_ends_a_call_that_waits() {
    let peer = Peer::start(vec![Act::Hang]).await;
    let channel = script(&peer, json!({}), CallLimits { send_ms: 700, ..roomy() }).await;
    let call = send(&channel, "!send-raw\n!say transient").await;
    // The request ends a little before the call does, so that the guest can still answer.
    let CallEnd::Answered(Err(SendError::Transient(_))) = call.end else {
        panic!("{:?}", call.end)
    };
    assert!(call.ledger.has_unanswered_send());
    assert!(call.usage.wall_ms >= 300 && call.usage.cpu_ms < 300, "{:?}", call.usage);
}

#[tokio::test]
async fn more_calls_than_the_channel_may_have_wait_and_give_up_in_time() {
    let sent = Act::Answer(answer("200 OK", "", b"{}"));
    let peer = Peer::start(vec![Act::Hang, sent]).await;
    let limits = CallLimits { calls_at_once: 1, webhook_ms: 500, ..roomy() };
    let channel = script(&peer, json!({}), limits).await;
    let polling = channel.poll(None, 50_000, 1, StopSignal::never());
    let sending = async {
        while peer.seen().is_empty() {
            Env::system().sleep(Duration::from_millis(5)).await;
        }
        let pushed = channel.webhook(pushed("/events", &json!({})), StopSignal::never()).await;
        (pushed, send(&channel, "y").await)
    };
    let (third, sent) = tokio::select! {
        biased;
        call = sending => call,
        call = polling => panic!("the poll ended first: {:?}", call.end),
    };
    let CallEnd::NotCalled(fault) = third.end else { panic!("{:?}", third.end) };
    assert_eq!(fault.code, "busy");
    assert!(!matches!(sent.end, CallEnd::NotCalled(_)), "what goes out has permits of its own");
}

#[tokio::test]
async fn secrets_answer_by_their_declared_uses_and_are_never_seen() {
    let echo = b"your credential is canary-token-1 or Y2FuYXJ5LXRva2VuLTE=";
    let peer = Peer::start(vec![Act::Answer(answer("401 Nope", "", echo))]).await;
    let channel = script(&peer, json!({}), roomy()).await;
    let call = send(&channel, "!fetch GET secured /secured\n!say rejected").await;
    assert!(matches!(call.end, CallEnd::Answered(Err(_))), "{:?}", call.end);
    assert!(peer.seen()[0].contains("authorization: Bearer canary-token-1"));
    // A guest that knew it could not say it: not in a trap, not in a log, not on the wire.
    let words = trapped(send(&channel, "!trap canary-token-1").await);
    assert!(words.contains("[redacted]") && !words.contains("canary"), "{words}");
    let call = send(&channel, "the text says canary-token-1").await;
    assert!(matches!(call.end, CallEnd::Answered(Err(_))), "{:?}", call.end);
    assert_eq!(call.ledger.send_begun, 0);
}

fn pushed(path: &str, body: &Value) -> WebhookRequest {
    WebhookRequest {
        method: "POST".to_owned(),
        path: path.to_owned(),
        body: body.to_string().into_bytes(),
        ..WebhookRequest::default()
    }
}

#[tokio::test]
async fn every_event_of_a_webhook_is_mapped() {
    let peer = Peer::start(vec![ok()]).await;
    let channel = script(&peer, json!({}), roomy()).await;
    let picture =
        json!({ "name": "a.png", "media_type": "image/png", "size_bytes": 3, "remote": "r" });
    let body = json!({ "events": [
        { "id": "m1", "conversation": "c", "text": "hi", "sender": "u", "sender_name": "U\u{202e}x",
          "attachments": [picture] },
        { "kind": "edited", "id": "m1", "conversation": "c", "text": "ho" },
        { "kind": "abort", "id": "a1", "conversation": "c" },
        { "kind": "receipt", "delivery_id": "d1", "platform_id": "p1", "fate": "failed",
          "text": "no" },
        { "kind": "action", "id": "x1", "conversation": "c", "name": "buy", "value": "7",
          "on_message": "p2" },
        { "kind": "deleted", "id": "m1", "conversation": "c" },
        { "kind": "other", "id": "o1", "name": "joined" },
    ] });
    let call = channel.webhook(pushed("/events", &body), StopSignal::never()).await;
    let CallEnd::Answered(reply) = call.end else { panic!("{:?}", call.end) };
    assert_eq!((reply.status, reply.events.len()), (200, 7));
    let InboundEvent::Message(first) = &reply.events[0] else { panic!("{reply:?}") };
    assert_eq!((first.text.as_str(), first.attachments.len()), ("hi", 1));
    assert_eq!(first.sender.display_name.as_deref(), Some("U\\u{202e}x"));
    assert!(matches!(&reply.events[1], InboundEvent::Edited(edit)
        if edit.external_id == "m1" && edit.text == "ho"));
    assert!(matches!(&reply.events[2], InboundEvent::Abort(abort) if abort.external_id == "a1"));
    assert!(matches!(&reply.events[3], InboundEvent::Receipt(receipt)
        if receipt.about == SentMessage::DeliveryId("d1".into(), Some("p1".into()))));
    let InboundEvent::Action(action) = &reply.events[4] else { panic!("{reply:?}") };
    assert_eq!((action.name.as_str(), action.value.as_deref()), ("buy", Some("7")));
    assert_eq!(action.on_message.as_deref(), Some("p2"));
    assert!(matches!(&reply.events[5], InboundEvent::Deleted(gone) if gone.external_id == "m1"));
    assert!(matches!(&reply.events[6], InboundEvent::Other(other)
        if other.conversation.is_none() && other.external_id == "o1"));
}

// Case: A13
#[tokio::test]
async fn a_batch_with_one_event_over_a_limit_is_refused_whole() {
    let peer = Peer::start(vec![ok()]).await;
    let limits = CallLimits { events_per_call: 10, text_bytes: 1_000, ..roomy() };
    let channel = script(&peer, json!({}), limits).await;
    let event = |more: Value| {
        let mut event = json!({ "id": "m", "conversation": "c", "text": "hi" });
        event.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        event
    };
    let blob = json!({ "media_type": "x", "blob": "b" });
    let many: serde_json::Map<_, _> = (0..65).map(|n| (n.to_string(), json!("x"))).collect();
    for (body, word) in [
        (json!({ "events": [event(json!({ "copies": 11 }))] }), "11 events"),
        (json!({ "events": [event(json!({})), event(json!({ "fill": 1_001 }))] }), "1001 bytes"),
        (json!({ "events": [event(json!({ "kind": "edited", "fill": 1_001 }))] }), "1001 bytes"),
        (json!({ "events": [event(json!({ "context": "x".repeat(4_097) }))] }), "4097 bytes"),
        (json!({ "events": [event(json!({ "extras": many }))] }), "65 pairs"),
        (
            json!({ "events": [event(json!({ "extras": { "k": "x".repeat(17_000) } }))] }),
            "17001 bytes",
        ),
    ] {
        let call = channel.webhook(pushed("/events", &body), StopSignal::never()).await;
        let CallEnd::Answered(reply) = call.end else { panic!("{body}: {:?}", call.end) };
        assert_eq!((reply.status, reply.events.len()), (413, 0), "{body}");
        let words = reply.too_much.unwrap();
        assert!(words.contains(word), "{body}: {words}");
    }
    for (body, word) in [
        (json!({ "events": [event(json!({ "id": "" }))] }), "0 bytes"),
        (json!({ "events": [event(json!({ "id": "x".repeat(513) }))] }), "513 bytes"),
        (json!({ "events": [event(json!({ "conversation": "" }))] }), "conversation"),
        (json!({ "events": [event(json!({}))], "status": 500 }), "status 500"),
        (json!({ "events": [event(json!({ "attachments": [blob] }))] }), "blob"),
    ] {
        let call = channel.webhook(pushed("/events", &body), StopSignal::never()).await;
        let words = trapped(call);
        assert!(words.contains("refused") && words.contains(word), "{body}: {words}");
    }
}

#[tokio::test]
async fn polls_lookups_and_indications_come_through() {
    let batch =
        br#"{"events":[{"id":"m1","conversation":"c","text":"hi"}],"cursor":"5","more":true}"#;
    let peer = Peer::start(vec![
        Act::Answer(answer("200 OK", "", batch)),
        Act::Answer(answer("410 Gone", "", b"")),
        Act::Answer(answer("409 Conflict", "", b"")),
        Act::Answer(answer("200 OK", "", br#"{"found":"p9"}"#)),
        Act::Answer(answer("200 OK", "", br#"{"absent":true}"#)),
        Act::Answer(answer("200 OK", "", br#"{"undecided":"who knows"}"#)),
        Act::Answer(answer("200 OK", "", b"")),
        Act::Answer(answer("403 Forbidden", "", b"")),
    ])
    .await;
    let channel = script(&peer, json!({}), roomy()).await;
    let poll = async || channel.poll(Some("4".into()), 10, 50, StopSignal::never()).await.end;
    let CallEnd::Answered(Ok(batch)) = poll().await else { panic!("no batch") };
    assert_eq!((batch.events.len(), batch.cursor.as_str(), batch.more), (1, "5", true));
    assert!(matches!(poll().await, CallEnd::Answered(Err(PollError::CursorLost(_)))));
    assert!(matches!(poll().await, CallEnd::Answered(Err(PollError::Conflict(_)))));
    let find = async || channel.find(message("x"), 1, StopSignal::never()).await.end;
    assert!(
        matches!(find().await, CallEnd::Answered(Ok(Lookup::Found(r))) if r.platform_id == "p9")
    );
    assert_eq!(find().await, CallEnd::Answered(Ok(Lookup::Absent)));
    assert_eq!(find().await, CallEnd::Answered(Ok(Lookup::Undecided("who knows".into()))));
    let place = Place { conversation: "c".into(), ..Place::default() };
    let show =
        async || channel.indicate(place.clone(), Activity::Typing, StopSignal::never()).await.end;
    assert_eq!(show().await, CallEnd::Answered(Ok(Some(5_000))));
    assert!(matches!(show().await, CallEnd::Answered(Err(CallError::Unauthorized(_)))), "403");
}

#[tokio::test]
async fn an_export_that_is_not_there_is_not_called() {
    let adapter = engine().admit_on(guest("webhook"), isolation()).await.unwrap();
    let spec = spec(json!({ "callback_url": "http://127.0.0.1:1/x" }), &["callback"]);
    let channel = adapter.bind(spec, Arc::new(Stored::default()), Arc::new(NoBlobs)).await.unwrap();
    let call = channel.poll(None, 0, 1, StopSignal::never()).await;
    let CallEnd::NotCalled(fault) = call.end else { panic!("{:?}", call.end) };
    assert_eq!(fault.code, "no_poll_export");
}

/// A kind that the adapter does not know stands in its reply, in the adapter's words.
fn unknown_kind(kind: &str) -> WebhookRequest {
    pushed("/events", &json!({ "events": [{ "kind": kind }] }))
}

#[tokio::test]
async fn a_webhooks_reply_carries_no_secret_out() {
    let peer = Peer::start(vec![ok()]).await;
    let channel = script(&peer, json!({}), roomy()).await;
    let call = channel.webhook(unknown_kind("harmless"), StopSignal::never()).await;
    let CallEnd::Answered(reply) = call.end else { panic!("{:?}", call.end) };
    assert_eq!(reply.status, 400);
    assert!(String::from_utf8_lossy(&reply.body).contains("harmless"));
    for kind in ["canary-token-1", "{secret.token}", &hex::encode("canary-token-1")] {
        let words = trapped(channel.webhook(unknown_kind(kind), StopSignal::never()).await);
        assert!(
            words.contains("the reply carries a secret") && !words.contains("canary"),
            "{words}"
        );
    }
}

#[tokio::test]
async fn what_a_channel_replies_counts_as_sent_within_the_day() {
    let peer = Peer::start(vec![ok()]).await;
    let limits = CallLimits { day_bytes_out: 3_000, ..roomy() };
    let channel = script(&peer, json!({}), limits).await;
    let long = "x".repeat(1_000);
    let mut replied = 0;
    let words = loop {
        match channel.webhook(unknown_kind(&long), StopSignal::never()).await.end {
            CallEnd::Answered(reply) => {
                assert_eq!(reply.status, 400);
                replied += 1;
            }
            CallEnd::Trapped(words) => break words,
            other => panic!("{other:?}"),
        }
        assert!(replied < 10, "it replies for ever");
    };
    assert!(replied == 2 && words.contains("`day_bytes_out`"), "{replied}: {words}");
    // One that carries nothing out is let through.
    let bare = pushed("/events", &json!({ "events": [] }));
    let call = channel.webhook(bare, StopSignal::never()).await;
    assert!(matches!(call.end, CallEnd::Answered(_)), "{:?}", call.end);
}
