//! The line about each request: what stands in it, and what never does.

use std::io;
use std::sync::Mutex;

use serde_json::Value;
use tracing_subscriber::fmt::MakeWriter;

use super::peer::{Act, Peer, answer, ok};
use super::*;
use crate::sandbox::egress::Body;

/// What is logged at any level while it lives, on this thread.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

impl Log {
    fn begin(&self) -> tracing::subscriber::DefaultGuard {
        let everything = tracing_subscriber::fmt()
            .json()
            .flatten_event(true)
            .with_max_level(tracing::Level::TRACE)
            .with_writer(self.clone())
            .finish();
        tracing::subscriber::set_default(everything)
    }

    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }

    /// The lines of requests, in order.
    fn requests(&self) -> Vec<Value> {
        let lines = self.text();
        let lines = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        lines.filter(|line| line["target"] == "lastword::egress").collect()
    }
}

/// Credentials in every place, and a route with a free segment.
fn secured(port: u16) -> Target {
    let mut target = target(Origin::Fixed(format!("http://127.0.0.1:{port}/base")));
    target.inject = vec![
        inject(Placement::Header("authorization".into()), "Bearer {secret.token}"),
        inject(Placement::Query("key".into()), "{secret.token}"),
        inject(Placement::FormField("token".into()), "{secret.token}"),
        inject(Placement::PathPrefix, "/bot{secret.token}"),
    ];
    target
}

// Threat 17, 21.
#[tokio::test]
async fn each_request_is_one_line_with_its_end_and_with_nothing_that_was_said() {
    let (log, words) = (Log::default(), "canary-words-4711");
    let echo = format!("you said {TOKEN} and {words}");
    let acts = vec![
        Act::Answer(answer("200 OK", &format!("x-echo: {TOKEN}\r\n"), echo.as_bytes())),
        Act::Answer(answer("404 Not Found", "", b"no")),
        Act::Close,
        Act::Answer(answer("200 OK", "", &[b'x'; 2_000])),
    ];
    let peer = Peer::start(acts).await;
    let limits = CallLimits { answer_body_bytes: 1_000, ..quick() };
    let mut out = Out::new(&secured(peer.port), Reach::PrivateToo, limits);
    let said = || vec![("q".to_owned(), words.to_owned())];
    let full = || EgressRequest {
        query: said(),
        headers: said(),
        body: Some(Body::Form(said())),
        ..request("PUT", &["rooms", words, "send"])
    };
    {
        let _begun = log.begin();
        assert_eq!(out.fetch(full()).await.unwrap().status, 200);
        assert_eq!(out.fetch(request("GET", &["read", words])).await.unwrap().status, 404);
        assert!(out.fetch(full()).await.is_err());
        assert!(out.fetch(full()).await.is_err());
        let leak = EgressRequest { body: Some(Body::Bytes(TOKEN.into())), ..send() };
        assert!(out.fetch(leak).await.is_err());
        assert!(out.fetch(request(words, &[words])).await.is_err());
        let nowhere = EgressRequest { target: words.to_owned(), ..send() };
        assert!(out.fetch(nowhere).await.is_err());
    }
    let text = log.text();
    let forms = [
        words.to_owned(),
        TOKEN.to_owned(),
        hex::encode(TOKEN),
        "tok%2Fen%2Bs3cret%3D".to_owned(),
        "en+s3cret".to_owned(),
        "rooms".to_owned(),
        "base".to_owned(),
    ];
    for canary in forms {
        assert!(!text.contains(&canary), "{canary} is in\n{text}");
    }
    let lines: Vec<_> = log.requests().into_iter().filter(|it| it["level"] == "DEBUG").collect();
    let told = |key: &str| lines.iter().map(|line| line[key].clone()).collect::<Vec<_>>();
    let ends =
        ["answered", "answered", "unanswered", "answer_too_large", "denied", "denied", "denied"];
    assert_eq!(told("end"), ends);
    assert_eq!(told("status"), [200, 404, 0, 200, 0, 0, 0]);
    assert_eq!(told("method"), ["PUT", "GET", "PUT", "PUT", "POST", "(other)", "POST"]);
    assert_eq!(told("to"), ["api", "api", "api", "api", "api", "api", "(undeclared)"]);
    assert_eq!(told("effect"), ["send", "read", "send", "send", "", "", ""]);
    assert!(lines.iter().all(|line| line["channel"] == "c" && line["ms"].is_u64()), "{lines:?}");
    let bytes = |line: usize, key: &str| lines[line][key].as_u64().unwrap();
    for (line, seen) in peer.seen().iter().enumerate() {
        // Without the separators and the length that the protocol adds.
        let (out, seen) = (bytes(line, "bytes_out"), seen.len() as u64);
        assert!(out <= seen && out + 120 > seen, "{line}: {out} of {seen}");
    }
    assert_eq!((bytes(0, "bytes_in"), bytes(1, "bytes_in")), (echo.len() as u64, 2));
    assert!((4..7).all(|line| bytes(line, "bytes_out") == 0));
}

#[tokio::test]
async fn a_request_whose_call_is_ended_in_the_middle_leaves_its_line() {
    let (log, peer) = (Log::default(), Peer::start(vec![Act::Hang]).await);
    let mut out = Out::to(peer.port);
    let env = out.env.clone();
    {
        let _begun = log.begin();
        // Long enough for the request to leave on a machine that does other things.
        let dropped = env.timeout(Duration::from_secs(3), out.fetch(send())).await;
        assert!(dropped.is_err());
    }
    let lines = log.requests();
    assert_eq!((lines.len(), &lines[0]["end"]), (1, &"cut_off".into()), "{lines:?}");
    assert!(lines[0]["bytes_out"].as_u64() > Some(0), "{lines:?}");
}

#[tokio::test]
async fn bytes_of_files_are_counted_both_ways() {
    let (log, kept) = (Log::default(), Kept::default());
    let peer = Peer::start(vec![ok(), Act::Answer(answer("200 OK", "", &[b'y'; 3_000]))]).await;
    let blob = kept.put("c", &[b'x'; 5_000]);
    let origin = Origin::Fixed(format!("http://127.0.0.1:{}", peer.port));
    let mut out = Out::keeping(&target(origin), Reach::PrivateToo, quick(), kept.clone());
    out.files = CallFiles::given([blob]);
    {
        let _begun = log.begin();
        let body = Some(Body::Blob(blob.to_string()));
        out.fetch(EgressRequest { body, ..send() }).await.unwrap();
        out.download(request("GET", &["read", "a"])).await.unwrap();
    }
    let lines = log.requests();
    let (out_bytes, in_bytes) = (lines[0]["bytes_out"].as_u64(), lines[1]["bytes_in"].as_u64());
    assert!(out_bytes > Some(5_000) && out_bytes < Some(5_500), "{lines:?}");
    assert_eq!(in_bytes, Some(3_000));
}

#[tokio::test]
async fn the_operator_is_told_of_a_denial_once_for_each_call_with_the_lines_that_mend_it() {
    let log = Log::default();
    let mut out = Out::new(&secured(1), Reach::PublicOnly, quick());
    {
        let _begun = log.begin();
        for _ in 0..3 {
            assert!(matches!(out.fetch(send()).await, Err(EgressError::Denied(_))));
            // As the import that counts it does.
            out.wire.denied += 1;
        }
    }
    let told: Vec<_> = log.requests().into_iter().filter(|it| it["level"] == "WARN").collect();
    assert_eq!(told.len(), 1, "{told:?}");
    let config = told[0]["config"].as_str().unwrap();
    assert_eq!(config, "[channels.c.grants] | targets = [\"api\"] | private_targets = [\"api\"]");
    assert!(told[0]["message"].as_str().unwrap().contains("private address"), "{told:?}");
}

#[tokio::test]
async fn a_denial_that_no_config_mends_is_told_with_its_reason_and_no_word_of_the_guest() {
    let why = |out: &mut Out, request: EgressRequest| {
        let log = Log::default();
        let begun = log.begin();
        let denied = futures_util::FutureExt::now_or_never(out.fetch(request)).unwrap();
        drop(begun);
        assert!(matches!(denied, Err(EgressError::Denied(_))), "{denied:?}");
        let told: Vec<_> = log.requests().into_iter().filter(|it| it["level"] == "WARN").collect();
        assert_eq!(told.len(), 1, "{told:?}");
        told[0]["message"].as_str().unwrap().to_owned()
    };
    let mut out = Out::new(&secured(1), Reach::PrivateToo, quick());
    let elsewhere = EgressRequest { target: "canary`can`ary".to_owned(), ..send() };
    assert_eq!(
        why(&mut out, elsewhere),
        "request denied: the manifest declares no target `(its own word)`"
    );
    let headers = vec![("canary canary".to_owned(), "x".to_owned())];
    let told = why(&mut out, EgressRequest { headers, ..send() });
    assert!(told.contains("`: the request has the header name `(its own word)`"), "{told}");
    let told = why(&mut out, EgressRequest { method: "CANARY".to_owned(), ..send() });
    assert!(told.ends_with("no route for this path with method `(its own word)`"), "{told}");
}
