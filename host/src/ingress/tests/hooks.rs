//! What platforms see.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::scripted::*;
use crate::ingress::IngressLimits;
use crate::lifecycle::outcome::{CallEnd, Fault, StateWrites};
use crate::lifecycle::turn::TurnState;
use crate::sandbox::WebhookRequest;
use crate::store::{AcceptedEvent, StoreError};

async fn host_that(
    script: impl Fn() -> CallEnd<crate::sandbox::WebhookReply> + Send + Sync + 'static,
) -> Host {
    Host::start(ScriptedHook::new(move |_| script()), IngressLimits::default()).await.0
}

// Case: A1
#[tokio::test]
async fn a_message_is_committed_and_then_answered_with_counts_and_turns() {
    let script = || {
        let mut reply = reply(202, vec![message("1"), message("2"), message("3")]);
        reply.headers.push(("content-type".to_owned(), "text/x-own".to_owned()));
        CallEnd::Answered(reply)
    };
    let host = host_that(script).await;
    *host.desk.accepts.lock().unwrap() = Some(Box::new(|at, _| match at {
        0 => AcceptedEvent::Turn { turn: turn(1), state: TurnState::Queued },
        1 => AcceptedEvent::Context,
        _ => {
            let state = Some(TurnState::Delivered);
            AcceptedEvent::Duplicate { turn: Some(turn(9)), state }
        }
    }));
    let answer = host.request("POST /hooks/hook/messages", "{}").await;
    assert_eq!((answer.status, answer.body.as_str()), (202, "guest"));
    assert_eq!(answer.header("content-type").as_deref(), Some("text/x-own"));
    assert_eq!(answer.header("lastword-accepted").as_deref(), Some("2"));
    assert_eq!(answer.header("lastword-duplicates").as_deref(), Some("1"));
    let turns = format!("{};state=queued, {};state=delivered;duplicate", turn(1), turn(9));
    assert_eq!(answer.header("lastword-turns"), Some(turns));
    assert_eq!(host.desk.batches.lock().unwrap()[0].0.0, "hook");
}

#[tokio::test]
async fn the_guest_sees_method_path_query_lower_case_headers_and_body_as_they_came() {
    let seen: Arc<Mutex<Option<WebhookRequest>>> = Arc::default();
    let saw = Arc::clone(&seen);
    let hook = ScriptedHook::new(move |request| {
        *saw.lock().unwrap() = Some(request);
        CallEnd::Answered(reply(200, vec![]))
    });
    let (host, _) = Host::start(hook, IngressLimits::default()).await;
    let mut bytes = b"PROPFIND /hooks/hook/a%2Fb//../c?x=1&y=%20 HTTP/1.1\r\nHost: evil\r\n\
        X-Own: One\r\nx-own: Two\r\nX-Bad: \xff\xfe\r\nconnection: close\r\n\
        content-length: 3\r\n\r\n"
        .to_vec();
    bytes.extend_from_slice(b"\x00\xff\x7f");
    assert_eq!(host.say(&bytes).await.status, 200);
    let seen = seen.lock().unwrap().take().unwrap();
    assert_eq!(seen.method, "PROPFIND");
    assert_eq!((seen.path.as_str(), seen.query.as_str()), ("/a%2Fb//../c", "x=1&y=%20"));
    assert_eq!(seen.body, b"\x00\xff\x7f");
    let own: Vec<_> = seen.headers.iter().filter(|(name, _)| name == "x-own").collect();
    assert_eq!(own.len(), 2);
    assert!(seen.headers.iter().all(|(name, _)| name != "x-bad"));
}

// Case: A11, E4
#[tokio::test]
async fn a_store_that_does_not_commit_is_answered_503_or_429_and_never_ok() {
    let host = host_that(|| CallEnd::Answered(reply(200, vec![message("1")]))).await;
    for (error, status, code) in [
        (StoreError::NotWritable("/secret/path".to_owned()), 503, "store_not_writable"),
        (StoreError::Busy, 503, "store_busy"),
        (StoreError::Full { pending: 7 }, 429, "full"),
        (StoreError::Corrupt("row 7".to_owned()), 503, "store_corrupt"),
        (StoreError::Invalid("the id is too long".to_owned()), 400, "invalid"),
    ] {
        *host.desk.fails.lock().unwrap() = Some(error);
        let answer = host.request("POST /hooks/hook", "").await;
        assert_eq!((answer.status, answer.code().as_str()), (status, code));
        assert_eq!(answer.header("retry-after").is_some(), status != 400, "{answer:?}");
        assert!(answer.header("lastword-accepted").is_none());
        assert!(!answer.body.contains("/secret"), "{answer:?}");
    }
}

#[tokio::test]
async fn a_guest_that_falls_or_contradicts_itself_has_accepted_nothing() {
    type End = CallEnd<crate::sandbox::WebhookReply>;
    let ends: Vec<(End, &str)> = vec![
        (CallEnd::Trapped("canary words of a panic".to_owned()), "adapter_trapped"),
        (CallEnd::DeadlinePassed, "adapter_deadline"),
        (CallEnd::CpuSpent, "adapter_cpu"),
        (CallEnd::Cancelled, "adapter_cancelled"),
        (CallEnd::NotCalled(Fault::new("x", "y")), "adapter_not_called"),
        (CallEnd::Answered(reply(400, vec![message("1")])), "adapter_fault"),
        (CallEnd::Answered(reply(101, vec![])), "adapter_fault"),
        (CallEnd::Answered(reply(0, vec![])), "adapter_fault"),
    ];
    for (end, code) in ends {
        let host = host_that(move || end.clone()).await;
        let answer = host.request("POST /hooks/hook", "").await;
        assert_eq!((answer.status, answer.code().as_str()), (503, code));
        assert!(answer.header("retry-after").is_some());
        assert!(!answer.body.contains("canary"), "{answer:?}");
        assert!(host.desk.batches.lock().unwrap().is_empty());
    }
}

#[tokio::test]
async fn a_refusal_of_the_guest_reaches_the_platform_as_it_is_and_commits_nothing() {
    let mut hook = ScriptedHook::new(|_| CallEnd::Answered(reply(401, vec![])));
    hook.writes = StateWrites { writes: vec![("k".to_owned(), Some(vec![1]))] };
    let (host, _) = Host::start(hook, IngressLimits::default()).await;
    // Not even a store that fails changes it.
    *host.desk.fails.lock().unwrap() = Some(StoreError::Busy);
    let answer = host.request("POST /hooks/hook", "").await;
    assert_eq!((answer.status, answer.body.as_str()), (401, "guest"));
    assert!(answer.header("lastword-accepted").is_none());
    assert!(host.desk.batches.lock().unwrap().is_empty());
}

#[tokio::test]
async fn what_a_call_without_events_wants_remembered_is_committed() {
    let mut hook = ScriptedHook::new(|_| CallEnd::Answered(reply(204, vec![])));
    hook.writes = StateWrites { writes: vec![("k".to_owned(), Some(vec![1]))] };
    let (host, _) = Host::start(hook, IngressLimits::default()).await;
    let answer = host.request("POST /hooks/hook", "").await;
    assert_eq!((answer.status, answer.body.as_str()), (204, ""));
    let batches = host.desk.batches.lock().unwrap();
    assert!(batches[0].1.is_empty() && batches[0].2.writes.len() == 1);
}

#[tokio::test]
async fn channels_that_are_unknown_refused_or_without_webhooks_say_so() {
    let host = host_that(|| CallEnd::Answered(reply(200, vec![]))).await;
    for (path, status, code) in [
        ("/hooks/nobody", 404, "nothing"),
        ("/hooks/", 404, "nothing"),
        ("/hooks", 404, "nothing"),
        ("/", 404, "nothing"),
        ("/hooks/HOOK", 404, "nothing"),
        ("/hooks/poller/x", 404, "nothing"),
        ("/hooks/broken/x", 503, "channel_refused"),
    ] {
        let answer = host.request(&format!("POST {path}"), "").await;
        assert_eq!((answer.status, answer.code().as_str()), (status, code), "{path}");
    }
}

#[tokio::test]
async fn before_recovery_and_at_a_stop_nothing_is_taken_in() {
    let hook = || ScriptedHook::new(|_| CallEnd::Answered(reply(200, vec![message("1")])));
    let limits = IngressLimits::default();
    let (starting, _) = Host::start_with(hook(), limits.clone(), Opening::Never).await;
    let (stopping, _) = Host::start(hook(), limits.clone()).await;
    stopping.ingress.close();
    for (host, code) in [(starting, "starting"), (stopping, "stopping")] {
        let answer = host.request("POST /hooks/hook", "").await;
        assert_eq!((answer.status, answer.code().as_str()), (503, code));
        assert_eq!(host.request("GET /readyz", "").await.status, 503);
        assert_eq!(host.request("GET /healthz", "").await.status, 200);
        assert!(host.desk.batches.lock().unwrap().is_empty());
    }
    let (host, _) = Host::start(hook(), limits).await;
    let ready = host.request("GET /readyz", "").await;
    assert_eq!(ready.status, 200);
    let refused = &ready.json()["refused"][0];
    assert_eq!((&refused["name"], &refused["reason"]), (&"broken".into(), &"add a key".into()));
    // To whoever brings no token the reason is not said: it may name paths and secrets.
    let stranger = host.say(b"GET /readyz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await;
    let told = &stranger.json()["refused"][0];
    assert_eq!(
        (stranger.status, &told["name"], &told["code"]),
        (200, &refused["name"], &refused["code"])
    );
    assert!(told["reason"].is_null() && !stranger.body.contains("add a key"), "{stranger:?}");
    *host.desk.fails.lock().unwrap() = Some(StoreError::NotWritable("disk full".to_owned()));
    assert_eq!(host.request("GET /readyz", "").await.status, 503);
}

#[tokio::test]
async fn a_channel_with_too_many_calls_at_once_is_busy_and_the_others_are_served() {
    let mut hook = ScriptedHook::new(|_| CallEnd::Answered(reply(200, vec![])));
    hook.waits = Duration::from_millis(500);
    let limits = IngressLimits { calls_per_channel_max: 2, ..Default::default() };
    let (host, hook) = Host::start(hook, limits).await;
    let ask = || host.request("POST /hooks/hook", "");
    let (a, b, c) = tokio::join!(ask(), ask(), ask());
    let mut statuses = [a.status, b.status, c.status];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 200, 503]);
    assert_eq!(hook.calls.load(Ordering::SeqCst), 2);
    assert_eq!(ask().await.status, 200);
}

#[tokio::test]
async fn hostile_names_come_back_as_json_text() {
    let host = host_that(|| CallEnd::Answered(reply(200, vec![]))).await;
    let answer = host.request("GET /v1/turns/%22%3Cscript%3E%1b%5b31m", "").await;
    assert_eq!(answer.status, 400);
    assert!(!answer.body.contains('\u{1b}'), "{answer:?}");
    assert_eq!(answer.header("content-type").as_deref(), Some("application/json"));
    assert_eq!(answer.header("x-content-type-options").as_deref(), Some("nosniff"));
}

// Case: A13
#[tokio::test]
async fn what_is_more_than_is_ever_taken_is_answered_413_and_nothing_is_committed() {
    let too_much = crate::sandbox::WebhookReply {
        status: 413,
        too_much: Some("there are 1001 events; 1000 is the most".to_owned()),
        ..Default::default()
    };
    let host = host_that(move || CallEnd::Answered(too_much.clone())).await;
    let answer = host.request("POST /hooks/hook", "").await;
    assert_eq!((answer.status, answer.code().as_str()), (413, "too_much"));
    assert!(answer.body.contains("1000 is the most"), "{answer:?}");
    assert!(answer.header("retry-after").is_none(), "it would come to the same");
    assert!(host.desk.batches.lock().unwrap().is_empty());
}
