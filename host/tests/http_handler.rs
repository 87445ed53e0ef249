//! The `http` handler against a real server on a real socket.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test")]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use futures_util::stream;
use lastword::env::Env;
use lastword::gate::{StopHandle, StopReason};
use lastword::handler::{
    Failure, Handler, HandlerDocument, HandlerEnd, HandlerEvent, HandlerLimits, Http, HttpSettings,
    Retry,
};
use lastword::lifecycle::message::Reply;
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use url::Url;

/// Tenfold what a slow machine needs.
const SLACK: Duration = Duration::from_secs(20);
const FINAL: &str = r#"{"type":"final","text":"done"}"#;

fn document() -> HandlerDocument {
    serde_json::from_value(serde_json::json!({
        "turn": {"id": "t00000000010000000001", "attempt": 1, "accepted_at_ms": 0},
        "channel": "hook", "conversation": "room",
        "message": {
            "external_id": "m", "conversation": "room", "context": null, "audience": "direct",
            "sender": {"id": "ann"}, "text": "hello", "attachments": [], "sent_at_ms": null,
            "reply_to": null, "group": null, "wakes": true, "extras": [],
        },
        "context": [], "delivered": [],
    }))
    .unwrap()
}

fn done() -> HandlerEvent {
    HandlerEvent::Final(Reply { text: "done".to_owned(), ..Reply::default() })
}

/// A server whose path `/` answers by `answer`; gives its address.
async fn server<F>(answer: F) -> Url
where
    F: Fn(HeaderMap, Bytes) -> Response + Clone + Send + Sync + 'static,
{
    let route = post(move |headers: HeaderMap, body: Bytes| {
        let answer = answer.clone();
        async move { answer(headers, body) }
    });
    let app = Router::new().route("/turn", route);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://127.0.0.1:{}/turn", listener.local_addr().unwrap().port());
    Env::system().spawn(async move { axum::serve(listener, app).await.unwrap() });
    Url::parse(&url).unwrap()
}

fn http(url: Url) -> Http {
    let limits = HandlerLimits {
        linger_ms: 200,
        output_bytes_max: 1_000_000,
        line_bytes_max: 100_000,
        ..HandlerLimits::default()
    };
    Http::new(Env::system(), HttpSettings { url, limits }).unwrap()
}

/// Runs a whole try; gives its events and its end.
async fn ask(url: Url) -> (Vec<HandlerEvent>, HandlerEnd) {
    let (sender, mut receiver) = mpsc::channel(4);
    let http = http(url);
    let answer = http.answer(document(), sender, StopHandle::new());
    let listen = async {
        let mut events = vec![];
        while let Some(event) = receiver.recv().await {
            events.push(event);
        }
        events
    };
    let both = async { tokio::join!(answer, listen) };
    let (end, events) = Env::system().timeout(SLACK, both).await.expect("an end");
    (events, end)
}

fn failure(end: HandlerEnd) -> Failure {
    match end {
        HandlerEnd::Failed(failure) => failure,
        HandlerEnd::Ended | HandlerEnd::Stopped => panic!("{end:?}"),
    }
}

#[tokio::test]
async fn the_document_is_posted_and_one_event_a_list_and_lines_are_answers() {
    let list = format!(r#"{{"events":[{{"type":"heartbeat"}},{FINAL}]}}"#);
    let lines = format!("{{\"type\":\"heartbeat\"}}\n{FINAL}\n");
    for (content_type, body, count) in [
        ("application/json", FINAL.to_owned(), 1),
        ("application/json", list, 2),
        ("application/x-ndjson; charset=utf-8", lines.clone(), 2),
        ("text/html", lines, 2),
    ] {
        let seen = Arc::new(Mutex::new(None));
        let saw = seen.clone();
        let url = server(move |headers, document| {
            *saw.lock().unwrap() = Some((headers, document));
            ([("content-type", content_type)], body.clone()).into_response()
        })
        .await;
        let (events, end) = ask(url).await;
        assert_eq!((events.len(), events.last(), end), (count, Some(&done()), HandlerEnd::Ended));
        let (headers, posted) = seen.lock().unwrap().take().unwrap();
        assert_eq!(serde_json::from_slice::<HandlerDocument>(&posted).unwrap(), document());
        assert_eq!(headers.get("content-type").unwrap(), "application/json");
        assert!(!headers.contains_key("authorization"));
    }
}

#[tokio::test]
async fn events_are_given_on_as_they_come() {
    // The server says its final only after the test has seen the first event.
    let (go, wait) = tokio::sync::oneshot::channel::<()>();
    let wait = Arc::new(Mutex::new(Some(wait)));
    let url = server(move |_, _| {
        let wait = wait.lock().unwrap().take().unwrap();
        let first = stream::iter([Ok(Bytes::from("{\"type\":\"block\",\"text\":\"a\"}\n"))]);
        let second = stream::once(async move {
            wait.await.unwrap();
            Ok::<_, std::io::Error>(Bytes::from(format!("{FINAL}\n")))
        });
        let body = Body::from_stream(futures_util::StreamExt::chain(first, second));
        ([("content-type", "application/x-ndjson")], body).into_response()
    })
    .await;
    let (sender, mut receiver) = mpsc::channel(4);
    let http = http(url);
    let answer = http.answer(document(), sender, StopHandle::new());
    let listen = async {
        let first = receiver.recv().await.unwrap();
        assert_eq!(first, HandlerEvent::Block(Reply { text: "a".to_owned(), ..Reply::default() }));
        go.send(()).unwrap();
        receiver.recv().await.unwrap()
    };
    let both = async { tokio::join!(answer, listen) };
    let (end, last) = Env::system().timeout(SLACK, both).await.expect("an end");
    assert_eq!((end, last), (HandlerEnd::Ended, done()));
}

#[tokio::test]
async fn no_content_is_silence() {
    let url = server(|_, _| StatusCode::NO_CONTENT.into_response()).await;
    assert_eq!(ask(url).await, (vec![HandlerEvent::Silent], HandlerEnd::Ended));
}

#[tokio::test]
async fn a_busy_handler_is_a_failed_try_and_its_retry_after_is_heeded() {
    for status in [408, 429, 503] {
        let url = server(move |_, _| {
            (StatusCode::from_u16(status).unwrap(), [("retry-after", "7")]).into_response()
        })
        .await;
        let failure = failure(ask(url).await.1);
        assert_eq!(failure.retry, Retry::Spent { after_ms: Some(7_000) });
        assert!(failure.reason.contains(&status.to_string()), "{}", failure.reason);
    }
}

#[tokio::test]
async fn another_client_error_fails_without_retry_and_a_redirect_is_followed_by_nobody() {
    let url = server(|_, _| (StatusCode::FORBIDDEN, "secret text").into_response()).await;
    let refused = failure(ask(url).await.1);
    assert_eq!(refused.retry, Retry::Never);
    assert!(!refused.reason.contains("secret"), "{}", refused.reason);
    let elsewhere = server(|_, _| panic!("nobody follows")).await;
    let url = server(move |_, _| {
        let location = elsewhere.to_string();
        (StatusCode::TEMPORARY_REDIRECT, [("location", location)]).into_response()
    })
    .await;
    let redirected = failure(ask(url).await.1);
    assert_eq!(redirected.retry, Retry::Spent { after_ms: None });
    assert!(redirected.reason.contains("redirect"), "{}", redirected.reason);
}

#[tokio::test]
async fn a_refused_connection_means_that_the_handler_never_began() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let url = Url::parse(&format!("http://user:secret@127.0.0.1:{port}/turn?key=secret")).unwrap();
    let failure = failure(ask(url).await.1);
    assert_eq!((failure.code, failure.retry), (Failure::NOT_STARTED, Retry::NotStarted));
    assert!(failure.reason.contains(&format!("http://127.0.0.1:{port}/turn ")));
    assert!(!failure.reason.contains("secret"), "{}", failure.reason);
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_a_failed_try_but_not_after_its_final() {
    for (says_final, text) in [(false, "{\"type\":\"heartbeat\"}\n"), (true, FINAL)] {
        let url = server(move |_, _| {
            let first = stream::iter([Ok(Bytes::from(format!("{text}\n")))]);
            // A moment later: a server that fails at once sends nothing of what it has.
            let second = stream::once(async {
                Env::system().sleep(Duration::from_millis(100)).await;
                Err(std::io::Error::other("the server broke"))
            });
            let body = Body::from_stream(futures_util::StreamExt::chain(first, second));
            ([("content-type", "application/x-ndjson")], body).into_response()
        })
        .await;
        let (events, end) = ask(url).await;
        match says_final {
            true => assert_eq!((events, end), (vec![done()], HandlerEnd::Ended)),
            false => assert_eq!(failure(end).code, Failure::BROKEN),
        }
    }
}

#[tokio::test]
async fn an_answer_without_end_is_cut_off() {
    for (content_type, piece) in [
        ("application/x-ndjson", "x".repeat(10_000)),
        ("application/x-ndjson", "{\"type\":\"heartbeat\"}\n".repeat(500)),
        ("application/json", "[\n".repeat(5_000)),
    ] {
        let url = server(move |_, _| {
            let pieces = stream::repeat_with({
                let piece = piece.clone();
                move || Ok::<_, std::io::Error>(Bytes::from(piece.clone()))
            });
            ([("content-type", content_type)], Body::from_stream(pieces)).into_response()
        })
        .await;
        let (_, end) = ask(url).await;
        assert_eq!(failure(end).code, Failure::LIMIT);
    }
}

#[tokio::test]
async fn user_and_password_of_the_address_are_sent_as_basic_authentication() {
    let mut url = server(|headers, _| {
        // base64 of `ann:a b`
        let is_right = headers.get("authorization").is_some_and(|v| v == "Basic YW5uOmEgYg==");
        let status = if is_right { StatusCode::NO_CONTENT } else { StatusCode::UNAUTHORIZED };
        status.into_response()
    })
    .await;
    url.set_username("ann").unwrap();
    url.set_password(Some("a b")).unwrap();
    assert_eq!(ask(url).await.1, HandlerEnd::Ended);
}

/// A server that never answers, and says when its client is gone.
async fn silent_server() -> (Url, tokio::task::JoinHandle<()>, tokio::sync::oneshot::Receiver<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://127.0.0.1:{}/", listener.local_addr().unwrap().port());
    let (heard, request) = tokio::sync::oneshot::channel();
    let gone = Env::system().spawn(async move {
        let (mut tcp, _) = listener.accept().await.unwrap();
        let mut byte = [0];
        tcp.read_exact(&mut byte).await.unwrap();
        heard.send(()).unwrap();
        let mut rest = vec![];
        // Ends with the connection, however it is closed.
        let _ = tcp.read_to_end(&mut rest).await;
    });
    (Url::parse(&url).unwrap(), gone, request)
}

#[tokio::test]
async fn a_stopped_try_says_so_and_closes_its_connection() {
    let (url, gone, request) = silent_server().await;
    let (sender, _receiver) = mpsc::channel(4);
    let (http, stop) = (http(url), StopHandle::new());
    let answer = http.answer(document(), sender, stop.clone());
    let set = async {
        request.await.unwrap();
        stop.stop(StopReason::Aborted);
    };
    let (end, ()) = tokio::join!(answer, set);
    assert_eq!(end, HandlerEnd::Stopped);
    Env::system().timeout(Duration::from_secs(1), gone).await.expect("closed").unwrap();
}

#[tokio::test]
async fn a_dropped_try_closes_its_connection() {
    let (url, gone, request) = silent_server().await;
    let (sender, _receiver) = mpsc::channel(4);
    let http = http(url);
    let answer = http.answer(document(), sender, StopHandle::new());
    tokio::select! {
        end = answer => panic!("{end:?}"),
        heard = request => heard.unwrap(),
    }
    Env::system().timeout(Duration::from_secs(1), gone).await.expect("closed").unwrap();
}
