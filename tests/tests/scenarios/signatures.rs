//! Signatures both ways, against an implementation that nobody here wrote.

use std::process::Stdio;

use http::Method;
use lastword_tests::harness::http::message;
use lastword_tests::harness::{Arrival, Channel, Config, Host, Sink, Site, venv};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;

use crate::SOON;

const KEY: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
const OTHER_KEY: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// The `standardwebhooks` package: one JSON document in, one out.
const PEER: &str = r#"
import datetime, json, sys
from standardwebhooks import Webhook, WebhookVerificationError
asked = json.load(sys.stdin)
peer = Webhook(asked["key"])
if asked["do"] == "sign":
    at = datetime.datetime.fromtimestamp(asked["at"], datetime.timezone.utc)
    print(json.dumps(peer.sign(asked["id"], at, asked["body"])))
else:
    try:
        peer.verify(asked["body"], asked["headers"])
        print("true")
    except WebhookVerificationError as error:
        print(json.dumps(str(error)))
"#;

async fn peer(asked: Value) -> Value {
    let mut command = tokio::process::Command::new(venv());
    command.args(["-c", PEER]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.kill_on_drop(true).spawn().unwrap();
    child.stdin.take().unwrap().write_all(asked.to_string().as_bytes()).await.unwrap();
    let output = child.wait_with_output().await.unwrap();
    assert!(output.status.success(), "the peer failed on {asked}");
    serde_json::from_slice(&output.stdout).unwrap()
}

fn now_seconds() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    since.as_secs().cast_signed()
}

/// The three headers of a request.
#[derive(Clone)]
struct Signed {
    id: String,
    at: String,
    signature: String,
}

impl Signed {
    /// As somebody who holds `key` signs, at this second.
    async fn by(key: &str, at: i64, body: &str) -> Self {
        let id = String::from("msg_1");
        let asked = json!({"do": "sign", "key": key, "id": id, "at": at, "body": body});
        let signature = peer(asked).await.as_str().unwrap().to_owned();
        Self { id, at: at.to_string(), signature }
    }

    fn headers(&self) -> [(&str, &str); 3] {
        [
            ("webhook-id", &self.id),
            ("webhook-timestamp", &self.at),
            ("webhook-signature", &self.signature),
        ]
    }
}

async fn keyed() -> (Sink, Site, Host) {
    let sink = Sink::start().await;
    let channel = Channel::webhook("hook", &sink.url())
        .set(".secrets", "inbound-key", "\"env:HOOK_IN\"")
        .set(".secrets", "outbound-key", "\"env:HOOK_OUT\"");
    let site = Site::new(&Config::new().channel(channel))
        .with_variable("HOOK_IN", KEY)
        .with_variable("HOOK_OUT", OTHER_KEY);
    let host = site.start().await;
    (sink, site, host)
}

async fn post(host: &Host, body: &str, headers: &[(&str, &str)]) -> u16 {
    let url = format!("{}/hooks/hook/messages", host.address);
    let platform = host.platform("hook");
    platform.request(Method::POST, &url, headers, body.to_owned()).await.unwrap().status
}

#[tokio::test]
async fn only_what_is_signed_with_the_key_and_fresh_is_taken() {
    let (_sink, site, host) = keyed().await;
    let body = message("m1", "c", "hello").to_string();
    let now = now_seconds();
    let right = Signed::by(KEY, now, &body).await;
    let foreign = Signed::by(OTHER_KEY, now, &body).await;
    let wrong = |change: fn(&mut Signed)| {
        let mut wrong = right.clone();
        change(&mut wrong);
        wrong
    };
    for (why, wrong) in [
        ("another key", foreign.clone()),
        ("too old", Signed::by(KEY, now - 6 * 60, &body).await),
        ("too early", Signed::by(KEY, now + 6 * 60, &body).await),
        ("another id", wrong(|it| it.id = "msg_2".into())),
        ("another time", wrong(|it| it.at = (now_seconds() - 60).to_string())),
        ("no time", wrong(|it| it.at = "soon".into())),
        ("another version", wrong(|it| it.signature = it.signature.replace("v1,", "v2,"))),
        ("nothing", wrong(|it| it.signature.clear())),
    ] {
        assert_eq!(post(&host, &body, &wrong.headers()).await, 401, "{why}");
    }
    for missing in 0..3 {
        let mut headers = right.headers().to_vec();
        headers.remove(missing);
        assert_eq!(post(&host, &body, &headers).await, 401, "without header {missing}");
    }
    assert_eq!(post(&host, &body, &[]).await, 401);
    assert_eq!(post(&host, &format!("{body} "), &right.headers()).await, 401, "another body");
    assert_eq!(site.turns().await, vec![], "nothing of it was accepted");
    assert_eq!(post(&host, &body, &right.headers()).await, 200);
    let mut rotated = right.clone();
    rotated.signature = format!("{} {}", foreign.signature, right.signature);
    assert_eq!(post(&host, &body, &rotated.headers()).await, 200, "one right one is enough");
}

async fn verifies(key: &str, arrival: &Arrival) -> Value {
    let headers: serde_json::Map<String, Value> = arrival
        .headers
        .iter()
        .map(|(name, value)| (name.to_string(), Value::from(value.to_str().unwrap())))
        .collect();
    let body = String::from_utf8(arrival.raw.to_vec()).unwrap();
    peer(json!({"do": "verify", "key": key, "headers": headers, "body": body})).await
}

#[tokio::test]
async fn replies_are_signed_so_that_a_stranger_can_check_them() {
    let (sink, site, host) = keyed().await;
    let body = message("m1", "c", "grüße, \"quoted\"\n").to_string();
    let right = Signed::by(KEY, now_seconds(), &body).await;
    assert_eq!(post(&host, &body, &right.headers()).await, 200);
    let arrived = sink.wait_for(1, SOON).await.remove(0);
    assert_eq!(verifies(OTHER_KEY, &arrived).await, Value::Bool(true));
    assert_ne!(verifies(KEY, &arrived).await, Value::Bool(true), "with its own key alone");
    assert_eq!(arrived.headers["webhook-id"], arrived.delivery_id());
    for secret in [KEY, OTHER_KEY] {
        let bare = secret.trim_start_matches("whsec_");
        assert!(!site.log().contains(bare), "no secret in the log");
        let database = std::fs::read(site.path().join("data/lastword.db")).unwrap();
        let found = database.windows(bare.len()).any(|bytes| bytes == bare.as_bytes());
        assert!(!found, "no secret in the store");
    }
}
