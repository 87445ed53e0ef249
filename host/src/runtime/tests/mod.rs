//! The real thing in this process: store, sandbox, workers and HTTP, with the real `webhook`
//! component and a real server behind it.

mod site;
mod trust;

use std::time::Duration;

use http::StatusCode;

use super::{HostLock, LockError, Offline, RunError, RunOptions, check, run, running_host};
use crate::env::Env;
use crate::store::{AbortScope, Command, Operated};
use crate::workers::Stopped;
use site::{Sink, Site, component, eventually};

#[tokio::test(flavor = "multi_thread")]
async fn a_message_comes_in_and_its_last_word_goes_out_once() {
    let sink = Sink::start().await;
    let site = Site::new(&sink, "");
    let host = site.start().await;
    assert_eq!(host.ask("GET", "/readyz", "").await.status, 200);
    let first = host.say("m1", "room", "good morning").await;
    assert_eq!(first.status, 200, "{first:?}");
    assert_eq!(
        (first.header("lastword-accepted"), first.header("lastword-duplicates")),
        ("1", "0")
    );
    let turn = first.header("lastword-turns").split(';').next().unwrap().to_owned();
    let replies = sink.wait_for(1).await;
    assert_eq!(replies.len(), 1);
    assert_eq!(
        (&replies[0]["text"], &replies[0]["kind"]),
        (&"good morning".into(), &"final".into())
    );
    assert_eq!(replies[0]["turn_id"], turn.as_str());

    let again = host.say("m1", "room", "good morning").await;
    assert_eq!(
        (again.header("lastword-accepted"), again.header("lastword-duplicates")),
        ("0", "1")
    );
    assert!(again.header("lastword-turns").starts_with(&turn), "{again:?}");
    assert!(again.header("lastword-turns").ends_with(";duplicate"), "{again:?}");
    assert_eq!(host.host.stop().await, Stopped::Clean);

    // A new host knows it too.
    let host = site.start().await;
    let again = host.say("m1", "room", "good morning").await;
    assert_eq!(again.header("lastword-turns"), format!("{turn};state=delivered;duplicate"));
    assert_eq!(sink.wait_for(1).await.len(), 1);
    host.host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_api_lists_shows_and_counts_what_happened() {
    let sink = Sink::start().await;
    let site = Site::new(&sink, "");
    let host = site.start().await;
    for n in 0..3 {
        assert_eq!(host.say(&format!("m{n}"), &format!("room {n}"), "hello").await.status, 200);
    }
    sink.wait_for(3).await;
    let list = host.ask("GET", "/v1/turns?limit=2", "").await;
    let lines: Vec<&str> = list.body.lines().collect();
    assert_eq!(lines.len(), 2, "{list:?}");
    let first: serde_json::Value = serde_json::from_str(lines[0]).unwrap();
    assert_eq!(first["external_id"], "m0");
    let path = format!("/v1/turns/{}", first["id"].as_str().unwrap());
    let shown = host.ask("GET", &path, "").await.json();
    assert_eq!(shown["deliveries"].as_array().unwrap().len(), 1);
    assert!(shown["message"].is_null(), "payloads are shown only when asked for: {shown}");
    let shown = host.ask("GET", &format!("{path}?payload=true"), "").await.json();
    assert_eq!(shown["message"]["text"], "hello");
    assert_eq!(host.ask("GET", "/v1/outbox?channel=hook", "").await.body.lines().count(), 3);

    let status = host.ask("GET", "/v1/status", "").await.json();
    let channel = &status["channels"][0];
    assert_eq!((&channel["name"], &channel["state"]), (&"hook".into(), &"serving".into()));
    assert_eq!(channel["adapter"], "webhook");
    let metrics = host.ask("GET", "/metrics", "").await.body;
    assert!(metrics.contains("lastword_turns_delivered_total 3"), "{metrics}");
    assert!(metrics.contains(r#"kind="accepted""#) && !metrics.contains("# EOF"), "{metrics}");
    for line in [
        r#"lastword_turn_transitions_total{channel="hook",from="delivering",to="delivered"} 3"#,
        r#"lastword_attempts_total{channel="hook",outcome="delivered"} 3"#,
        r#"lastword_guest_calls_total{channel="hook",export="send",end="answered"} 3"#,
        r#"lastword_turns{channel="hook",state="queued"} 0"#,
        r#"lastword_channel_state{channel="hook",state="serving"} 1"#,
        r#"lastword_handler_runs_total{result="decided"} 3"#,
    ] {
        assert!(metrics.contains(line), "{line}\n{metrics}");
    }

    let nothing = host.ask("POST", "/v1/abort", r#"{"channel":"hook","conversation":"room 0"}"#);
    assert_eq!(nothing.await.status, 404);
    host.host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_channel_that_cannot_serve_is_refused_alone_and_says_what_to_add() {
    let sink = Sink::start().await;
    let webhook = component("webhook").display().to_string();
    let settings = format!("callback_url = \"http://{}/replies\"", sink.address);
    let more = format!(
        r#"
[channels.missing]
adapter = "no/such.wasm"
[channels.folder]
adapter = "."
[channels.nosetting]
adapter = '{webhook}'
[channels.nosecret]
adapter = '{webhook}'
[channels.nosecret.settings]
{settings}
[channels.nosecret.secrets]
outbound-key = "env:LASTWORD_NO_SUCH_VARIABLE"
[channels.text]
adapter = "token"
"#
    );
    let site = Site::new(&sink, &more);
    let host = site.start().await;
    let ready = host.ask("GET", "/readyz", "").await;
    assert_eq!(ready.status, 200, "{ready:?}");
    let ready = ready.json();
    let refused = |name: &str| {
        let all = ready["refused"].as_array().unwrap();
        let found = all.iter().find(|channel| channel["name"] == name);
        found.unwrap_or_else(|| panic!("{name} is not refused: {ready}")).clone()
    };
    for (name, code, word) in [
        ("missing", "adapter_missing", "no/such.wasm"),
        ("folder", "adapter_missing", "is no file"),
        ("nosetting", "channel_refused", "callback_url"),
        ("nosecret", "secret_missing", "LASTWORD_NO_SUCH_VARIABLE"),
        ("text", "adapter_refused", "token"),
    ] {
        let why = refused(name);
        assert_eq!(why["code"], code, "{why}");
        assert!(why["reason"].as_str().unwrap().contains(word), "{why}");
        let answer = host.ask("POST", &format!("/hooks/{name}/messages"), "{}").await;
        assert_eq!(answer.status, 503, "{answer:?}");
    }
    host.say("m1", "room", "still here").await;
    assert_eq!(sink.wait_for(1).await.len(), 1);
    let status = host.ask("GET", "/v1/status", "").await.json();
    let states: Vec<&str> = status["channels"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|channel| channel["state"].as_str())
        .collect();
    assert_eq!(states.iter().filter(|state| **state == "refused").count(), 5, "{status}");
    host.host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_channel_accepted_waits_while_it_is_refused_and_goes_out_on_its_return() {
    let sink = Sink::start().await;
    *sink.status.lock().unwrap() = StatusCode::SERVICE_UNAVAILABLE;
    let site = Site::new(&sink, "");
    let host = site.start().await;
    assert_eq!(host.say("m1", "room", "remember me").await.status, 200);
    host.host.stop().await;
    *sink.status.lock().unwrap() = StatusCode::OK;

    // The grant goes missing for one start.
    let mut config = site.config();
    let name = "hook".into();
    config.channels.get_mut(&name).unwrap().grants.targets.clear();
    config.channels.get_mut(&name).unwrap().grants.private_targets.clear();
    let refused = super::Host::start(&config, Env::system(), None).await.unwrap();
    Env::system().sleep(Duration::from_millis(1_500)).await;
    assert!(sink.replies.lock().unwrap().is_empty());
    refused.stop().await;

    let host = site.start().await;
    let replies = sink.wait_for(1).await;
    assert_eq!((replies.len(), &replies[0]["text"]), (1, &"remember me".into()));
    host.host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_over_the_channels_limit_is_413_and_a_bad_one_400_with_its_place() {
    let sink = Sink::start().await;
    let site = Site::new(&sink, "[channels.hook.limits]\nbody = \"1KiB\"\n");
    let host = site.start().await;
    assert_eq!(host.say("m1", "room", &"x".repeat(2_000)).await.status, 413);
    let bad = host.ask("POST", "/hooks/hook/messages", "{\n  \"id\": 5}").await;
    assert_eq!(bad.status, 400);
    assert!(bad.body.contains("line 2"), "{bad:?}");
    assert_eq!(host.say("m2", "room", "short").await.status, 200);
    host.host.stop().await;
}

// Case: A13
#[tokio::test(flavor = "multi_thread")]
async fn one_webhook_brings_many_messages_or_none_of_them() {
    let sink = Sink::start().await;
    let site = Site::new(&sink, "[channels.hook.limits]\nevents_per_call = 500\n");
    let host = site.start().await;
    let batch = |name: &str, count: usize| {
        let one = |n| {
            let sender = serde_json::json!({"id": "ann"});
            serde_json::json!({"id": format!("{name}{n}"), "conversation": format!("r{n}"),
                "text": "hello", "wakes": n % 10 == 0, "sender": sender})
        };
        serde_json::json!({"messages": (0..count).map(one).collect::<Vec<_>>()}).to_string()
    };
    let over = host.ask("POST", "/hooks/hook/messages", &batch("a", 501)).await;
    assert_eq!(over.status, 413, "{over:?}");
    let long = host.say("long", "room", &"x".repeat(1 << 20)).await;
    assert_eq!(long.status, 413, "{long:?}");
    assert_eq!(host.ask("GET", "/v1/turns", "").await.body, "");

    let all = host.ask("POST", "/hooks/hook/messages", &batch("b", 500)).await;
    assert_eq!((all.status, all.header("lastword-accepted")), (200, "500"), "{all:?}");
    // Those that do not wake have no turn.
    assert_eq!(all.headers.get_all("lastword-turns").iter().count(), 1);
    assert_eq!(all.header("lastword-turns").split(", ").count(), 50);
    assert_eq!(sink.wait_for(50).await.len(), 50);
    let again = host.ask("POST", "/hooks/hook/messages", &batch("b", 500)).await;
    assert_eq!(again.header("lastword-duplicates"), "500", "{again:?}");
    host.host.stop().await;
}

// Case: J6
#[tokio::test(flavor = "multi_thread")]
async fn a_second_host_is_refused_and_names_the_first() {
    let sink = Sink::start().await;
    let site = Site::new(&sink, "");
    let host = site.start().await;
    let second = super::Host::start(&site.config(), Env::system(), None).await;
    let error = second.err().expect("refused");
    assert_eq!(error.exit_code(), 4);
    let address = format!("http://{}", host.host.address());
    let sentence = error.to_string();
    assert!(sentence.contains(&address) && sentence.contains(&std::process::id().to_string()));
    let facts = running_host(&site.config().data_dir).unwrap().unwrap().facts.unwrap();
    assert_eq!((facts.address, facts.token.as_str()), (address, "a token"));
    let offline = Offline::open(&site.config(), &Env::system()).await;
    assert!(matches!(offline.err(), Some(RunError::Lock(LockError::Held(_)))));
    assert_eq!(host.say("m1", "room", "undisturbed").await.status, 200);
    sink.wait_for(1).await;
    host.host.stop().await;
    assert!(running_host(&site.config().data_dir).unwrap().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_without_a_host_takes_the_lock_and_gives_it_back() {
    let sink = Sink::start().await;
    let site = Site::new(&sink, "");
    let env = Env::system();
    let none = Offline::open(&site.config(), &env).await;
    assert_eq!(none.err().map(|error| error.exit_code()), Some(3));
    assert!(!site.config().data_dir.exists(), "a command makes no store");

    *sink.status.lock().unwrap() = StatusCode::SERVICE_UNAVAILABLE;
    let host = site.start().await;
    let answer = host.say("m1", "room", "stop me").await;
    let turn = answer.header("lastword-turns").split(';').next().unwrap().to_owned();
    host.host.stop().await;

    let offline = Offline::open(&site.config(), &env).await.unwrap();
    assert!(matches!(HostLock::take(&site.config().data_dir), Err(LockError::Held(_))));
    let scope = AbortScope::Turn(turn.parse().unwrap());
    let abort = Command::Abort { scope, by: "cli".to_owned() };
    let done = offline.operate(abort).await.unwrap();
    assert_eq!(done, Operated::Done { ids: vec![turn] });
    drop(offline);

    *sink.status.lock().unwrap() = StatusCode::OK;
    let host = site.start().await;
    host.say("m2", "room", "next").await;
    let replies = sink.wait_for(1).await;
    assert_eq!((replies.len(), &replies[0]["text"]), (1, &"next".into()));
    host.host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_abort_by_the_api_is_on_disk_and_nothing_of_the_turn_goes_out() {
    let sink = Sink::start().await;
    *sink.status.lock().unwrap() = StatusCode::SERVICE_UNAVAILABLE;
    let site = Site::new(&sink, "");
    let host = site.start().await;
    let answer = host.say("m1", "room", "never mind").await;
    let turn = answer.header("lastword-turns").split(';').next().unwrap().to_owned();
    // What is at the platform when it is stopped may arrive: this one has been turned away.
    eventually("a reply that is turned away", || *sink.turned_away.lock().unwrap() > 0).await;
    let body = r#"{"channel":"hook","conversation":"room","by":"ann"}"#;
    let aborted = host.ask("POST", "/v1/abort", body).await;
    assert_eq!((aborted.status, &aborted.json()["ids"][0]), (200, &turn.as_str().into()));
    *sink.status.lock().unwrap() = StatusCode::OK;
    let shown = host.ask("GET", &format!("/v1/turns/{turn}"), "").await.json();
    assert_eq!((&shown["state"], &shown["ended_by"]), (&"aborted".into(), &"ann".into()));
    host.say("m2", "room", "next").await;
    let replies = sink.wait_for(1).await;
    assert_eq!((replies.len(), &replies[0]["text"]), (1, &"next".into()));
    host.host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_channel_takes_messages_in_and_sends_them_when_it_is_resumed() {
    let sink = Sink::start().await;
    let site = Site::new(&sink, "");
    let host = site.start().await;
    assert_eq!(host.ask("POST", "/v1/channels/hook/pause", "").await.status, 200);
    assert_eq!(host.ask("POST", "/v1/channels/hook/pause", "").await.status, 404);
    assert_eq!(host.say("m1", "room", "later").await.status, 200);
    let status = host.ask("GET", "/v1/channels", "").await;
    assert_eq!(status.json()["state"], "paused");
    assert!(sink.replies.lock().unwrap().is_empty());
    assert_eq!(host.ask("POST", "/v1/channels/hook/resume", "").await.status, 200);
    assert_eq!(sink.wait_for(1).await.len(), 1);
    assert_eq!(host.ask("POST", "/v1/channels/nobody/pause", "").await.status, 404);
    host.host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn run_says_when_it_is_ready_and_ends_when_it_is_told_to() {
    let sink = Sink::start().await;
    let site = Site::new(&sink, "");
    // The first start compiles and caches.
    site.start().await.host.stop().await;
    let env = Env::system();
    let began = env.elapsed();
    let (ready, is_ready) = tokio::sync::oneshot::channel();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let options = RunOptions {
        env: env.clone(),
        ready: Box::new(move |address| {
            let _ = ready.send(address);
        }),
        shutdown: Box::pin(async move {
            let _ = stopped.await;
        }),
        hurry: Box::pin(std::future::pending()),
        handler: None,
    };
    let running = env.spawn(run(site.config(), options));
    let address = is_ready.await.unwrap();
    let ready_after = env.elapsed() - began;
    assert!(tokio::net::TcpStream::connect(address).await.is_ok());
    stop.send(()).unwrap();
    running.await.unwrap().unwrap();
    let all = env.elapsed() - began;
    // 150 ms are the goal on an idle machine; tenfold slack for one that runs all tests.
    assert!(all < Duration::from_millis(1_500), "{ready_after:?} {all:?}");
    assert!(tokio::net::TcpStream::connect(address).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn check_finds_what_a_start_would_refuse_and_makes_no_file() {
    let sink = Sink::start().await;
    let site = Site::new(&sink, "[channels.other]\nadapter = \"no/such.wasm\"\n");
    let report = check(&site.config(), &Env::system()).await.unwrap();
    assert!(!report.ok);
    let by_name: Vec<(&str, bool)> =
        report.channels.iter().map(|channel| (channel.name.as_str(), channel.ok)).collect();
    assert_eq!(by_name, [("hook", true), ("other", false)]);
    let files: Vec<_> = std::fs::read_dir(site.path()).unwrap().collect();
    assert_eq!(files.len(), 1, "{files:?}");
    std::fs::remove_file(site.path().join(site::TOKEN_FILE)).unwrap();
    let report = check(&site.config(), &Env::system()).await.unwrap();
    assert!(report.problems[0].contains("[api] token"), "{report:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_that_is_taken_and_a_token_that_is_missing_are_sentences() {
    let sink = Sink::start().await;
    let site = Site::new(&sink, "");
    let mut config = site.config();
    config.listen = sink.address;
    let error = super::Host::start(&config, Env::system(), None).await.err().unwrap();
    assert!(error.to_string().contains("change `listen`"), "{error}");
    assert_eq!(error.exit_code(), 1);
    // What was begun is given back.
    eventually("lock that is given back", || running_host(&config.data_dir).unwrap().is_none())
        .await;
    std::fs::remove_file(site.path().join(site::TOKEN_FILE)).unwrap();
    let error = super::Host::start(&config, Env::system(), None).await.err().unwrap();
    assert_eq!(error.exit_code(), 2);
    assert!(error.to_string().contains("[api] token"), "{error}");
}
