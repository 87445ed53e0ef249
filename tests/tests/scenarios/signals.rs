//! What the host says about itself: metrics that Prometheus' own checker reads, and a log that
//! tells every transition and no word of any message.

use lastword_tests::harness::promtool::{self, sample};
use lastword_tests::harness::{Answer, Channel, Config, Sink, Site, eventually};
use serde_json::{Value, json};

use crate::{SOON, bridge};

// Case: J4, J8
#[tokio::test]
async fn promtool_reads_the_metrics_of_a_host_that_met_every_kind_of_trouble() {
    let script = Sink::start().await;
    let config = Config::new()
        .channel(Channel::script("rough", script.origin()))
        .channel(Channel::new("broken", std::path::Path::new("/nothing/there.wasm")));
    let (sink, site) = bridge(config).await;
    sink.answer_by(|arrival| match arrival.text() {
        "no" => Answer::Body(422, "no such person".into()),
        _ => Answer::Take,
    });
    let host = site.start().await;
    let platform = host.platform("hook");
    for (id, words) in [("m1", "yes"), ("m2", "no"), ("m3", "yes")] {
        let turn = platform.say(id, "c", words).await;
        site.turn_at_rest(&turn.id, SOON).await;
    }
    platform.say("m1", "c", "yes").await;
    let rough = host.platform("rough");
    for (id, words) in [("r1", "!trap before any request"), ("r2", "!fetch GET nowhere /")] {
        let sender = "ann";
        let message = json!({"id": id, "conversation": id, "text": words, "sender": sender});
        rough.tell(&message).await;
    }
    let page = eventually("metrics of all that happened", SOON, || async {
        let page = platform.get("/metrics").await.unwrap().text();
        let denied = sample(&page, "lastword_egress_denied_total{channel=\"rough\"} ");
        let trapped =
            "lastword_guest_calls_total{channel=\"rough\",export=\"send\",end=\"trapped\"} ";
        (denied > Some(0.0) && sample(&page, trapped) > Some(0.0)).then_some(page)
    })
    .await;
    let said = promtool::check(&page).await;
    assert_eq!(said, "", "{page}");
    for (line, value) in [
        (
            "lastword_turn_transitions_total{channel=\"hook\",from=\"delivering\",to=\"failed\"} ",
            1.0,
        ),
        ("lastword_attempts_total{channel=\"hook\",outcome=\"rejected\"} ", 1.0),
        ("lastword_attempts_total{channel=\"hook\",outcome=\"delivered\"} ", 2.0),
        ("lastword_waiting_for_person{channel=\"hook\",state=\"dead_turns\"} ", 1.0),
        ("lastword_reply_seconds_count{channel=\"hook\"} ", 2.0),
        ("lastword_channel_state{channel=\"broken\",state=\"refused\"} ", 1.0),
        ("lastword_breaker_state{channel=\"hook\",state=\"closed\"} ", 1.0),
        ("lastword_turns{channel=\"hook\",state=\"queued\"} ", 0.0),
        ("lastword_duplicates_total ", 1.0),
        ("lastword_store_writable ", 1.0),
    ] {
        assert_eq!(sample(&page, line), Some(value), "{line}\n{page}");
    }
    assert!(!page.contains("conversation") || !page.contains("\"c\""), "{page}");
}

fn events(log: &str, event: &str) -> Vec<Value> {
    let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines.filter(|line| line["event"] == event).collect()
}

// Case: J9
#[tokio::test]
async fn at_trace_level_the_log_tells_every_transition_and_no_text_and_no_secret() {
    const KEY: &str = "Y2FuYXJ5LWtleS03ZjNhOWIyMWQ0";
    const WORDS: &str = "canary words nobody else would say 4711";
    let sink = Sink::start().await;
    let channel = Channel::webhook("hook", &sink.url())
        .set(".secrets", "outbound-key", "\"env:HOOK_KEY\"")
        .set(".secrets", "inbound-key", "\"env:OTHER_KEY\"");
    // Without the inbound key the harness's plain posts are taken.
    let plain =
        Channel::webhook("plain", &sink.url()).set(".secrets", "outbound-key", "\"env:HOOK_KEY\"");
    let site = Site::new(&Config::new().channel(channel).channel(plain))
        .with_variable("HOOK_KEY", KEY)
        .with_variable("OTHER_KEY", "Y2FuYXJ5LW90aGVyLTU1YWExMA==")
        // The compiler's own traces are of code, and many millions.
        .with_variable(
            "LASTWORD_LOG",
            "trace,cranelift_codegen=info,cranelift_frontend=info,regalloc2=info,\
             wasmtime_cranelift=info,wasmtime_environ=info,wasmtime=info,wasmtime_internal_cranelift=info",
        );
    sink.answer_by(|arrival| match arrival.body["attempt"].as_u64() {
        Some(1) => Answer::Status(500),
        _ => Answer::Take,
    });
    let binary = lastword_tests::harness::built::binary().display().to_string();
    let host = site.start_as(&binary, &["run", "--log-format", "json"]).await;
    let platform = host.platform("plain");
    let turn = platform.say("m1", "canary-room", WORDS).await;
    assert_eq!(site.turn_at_rest(&turn.id, SOON).await.state, "delivered");
    platform.post("/messages", &serde_json::json!({"id": 5, "text": WORDS})).await.unwrap();
    host.platform("hook").post("/messages", &serde_json::json!({"text": WORDS})).await.unwrap();
    assert!(host.terminate().await.success());
    let log = site.log();
    for canary in [WORDS, KEY, "Y2FuYXJ5LW90aGVy", "canary"] {
        let line = log.lines().find(|line| line.contains(canary));
        assert_eq!(line, None, "\"{canary}\" is in the log");
    }
    let told: Vec<_> = events(&log, "turn")
        .iter()
        .map(|line| {
            (line["from"].as_str().map(str::to_owned), line["to"].as_str().unwrap().to_owned())
        })
        .collect();
    let of = |from: &str, to: &str| (Some(from.to_owned()), to.to_owned());
    let wanted = [
        (None, "queued".to_owned()),
        of("queued", "running"),
        of("running", "delivering"),
        of("delivering", "delivered"),
    ];
    assert_eq!(told, wanted);
    assert!(events(&log, "turn").iter().all(|line| line["turn"] == turn.id.as_str()));
    let attempts = events(&log, "attempt");
    let outcomes: Vec<_> = attempts.iter().filter_map(|line| line["outcome"].as_str()).collect();
    assert_eq!(outcomes, ["unknown", "delivered"]);
    let last = events(&log, "delivery").pop().unwrap();
    assert_eq!((&last["to"], &last["attempt"]), (&"delivered".into(), &2.into()));
}
