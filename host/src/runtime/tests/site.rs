//! A folder with a config, hosts in this process, a sink for replies, and a client.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::routing::post;
use http::StatusCode;
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;

use super::super::Host;
use crate::config::Config;
use crate::env::Env;

pub(super) const TOKEN_FILE: &str = "token";

/// A component that `cargo xtask guests` built.
pub(super) fn component(name: &str) -> PathBuf {
    let exe = std::env::current_exe().unwrap();
    let target = exe.ancestors().find(|folder| folder.ends_with("target")).unwrap();
    let path = target.join("guests").join(format!("{name}.wasm"));
    assert!(path.exists(), "{} is not there: build it with `cargo xtask guests`", path.display());
    path
}

/// Where replies go: what came in, and what is answered.
#[derive(Clone)]
pub(super) struct Sink {
    pub(super) address: SocketAddr,
    pub(super) replies: Arc<Mutex<Vec<Value>>>,
    pub(super) status: Arc<Mutex<StatusCode>>,
    /// Replies that were answered with another status.
    pub(super) turned_away: Arc<Mutex<usize>>,
}

impl Sink {
    pub(super) async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let status = Arc::new(Mutex::new(StatusCode::OK));
        let sink = Self { address, replies: Arc::default(), status, turned_away: Arc::default() };
        let router = axum::Router::new().route("/replies", post(take)).with_state(sink.clone());
        Env::system().spawn(async move { axum::serve(listener, router).await });
        sink
    }

    /// Waits until so many replies came, then a little for one too many.
    pub(super) async fn wait_for(&self, count: usize) -> Vec<Value> {
        eventually("the replies", || self.replies.lock().unwrap().len() >= count).await;
        Env::system().sleep(Duration::from_millis(50)).await;
        self.replies.lock().unwrap().clone()
    }
}

async fn take(State(sink): State<Sink>, Json(reply): Json<Value>) -> StatusCode {
    let status = *sink.status.lock().unwrap();
    if status.is_success() {
        sink.replies.lock().unwrap().push(reply);
    } else {
        *sink.turned_away.lock().unwrap() += 1;
    }
    status
}

pub(super) async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let env = Env::system();
    let wait = async {
        while !holds() {
            env.sleep(Duration::from_millis(5)).await;
        }
    };
    env.timeout(Duration::from_secs(20), wait).await.unwrap_or_else(|_| panic!("no {what}"));
}

/// A folder with a config; its store outlives the hosts.
pub(super) struct Site {
    pub(super) folder: tempfile::TempDir,
    text: String,
}

impl Site {
    /// The `echo` handler and one `webhook` channel `hook` that replies to the sink; `more` is
    /// added at the end.
    pub(super) fn new(sink: &Sink, more: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(TOKEN_FILE), "a token\n").unwrap();
        let text = format!(
            r#"
listen = "127.0.0.1:0"
[handler]
kind = "echo"
[api]
token = "file:{TOKEN_FILE}"
[lifecycle]
delivery_backoff = ["50ms"]
sweep = "1s"
drain = "3s"
[channels.hook]
adapter = '{}'
[channels.hook.settings]
callback_url = "http://{}/replies"
[channels.hook.grants]
targets = ["callback"]
private_targets = ["callback"]
{more}
"#,
            component("webhook").display(),
            sink.address,
        );
        Self { folder, text }
    }

    pub(super) fn path(&self) -> &Path {
        self.folder.path()
    }

    pub(super) fn config(&self) -> Config {
        let file = self.path().join("lastword.toml");
        Config::parse(&self.text, &file, self.path()).unwrap_or_else(|errors| panic!("{errors}"))
    }

    pub(super) async fn start(&self) -> Running {
        let host = Host::start(&self.config(), Env::system(), None).await;
        Running::new(host.unwrap_or_else(|error| panic!("{error}")))
    }
}

/// A host that runs, and a client of it.
pub(super) struct Running {
    pub(super) host: Host,
    client: Client<HttpConnector, Full<axum::body::Bytes>>,
}

/// An answer.
#[derive(Debug)]
pub(super) struct Answered {
    pub(super) status: u16,
    pub(super) headers: http::HeaderMap,
    pub(super) body: String,
}

impl Answered {
    pub(super) fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

impl Running {
    fn new(host: Host) -> Self {
        Self { host, client: Client::builder(TokioExecutor::new()).build_http() }
    }

    pub(super) async fn ask(&self, method: &str, path: &str, body: &str) -> Answered {
        let request = http::Request::builder()
            .method(method)
            .uri(format!("http://{}{path}", self.host.address()))
            .header("authorization", "Bearer a token")
            .body(Full::from(body.to_owned()))
            .unwrap();
        let response = self.client.request(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let body = String::from_utf8_lossy(&body).into_owned();
        Answered { status: parts.status.as_u16(), headers: parts.headers, body }
    }

    /// A platform's message.
    pub(super) async fn say(&self, id: &str, conversation: &str, text: &str) -> Answered {
        let sender = serde_json::json!({"id": "ann", "name": "Ann"});
        let message = serde_json::json!({
            "id": id, "conversation": conversation, "text": text, "sender": sender,
        });
        self.ask("POST", "/hooks/hook/messages", &message.to_string()).await
    }
}
