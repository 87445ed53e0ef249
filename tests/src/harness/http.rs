//! A client that posts to the host as a platform does: no retries of its own, a deadline, and an
//! answer that was not whole is told apart from one that was.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};

/// A platform's patience.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// One platform that posts to one channel. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Platform {
    client: Client<HttpConnector, Full<Bytes>>,
    base: String,
    hooks: String,
}

/// A whole answer.
#[derive(Debug, Clone)]
pub struct Reply {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Bytes,
}

/// Why there is no whole answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unanswered(pub String);

/// One item of `lastword-turns`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedTurn {
    pub id: String,
    pub state: String,
    pub duplicate: bool,
}

impl Platform {
    /// Posts to `address`/hooks/`channel`.
    #[must_use]
    pub fn new(address: &str, channel: &str) -> Self {
        let client = Client::builder(TokioExecutor::new()).build_http();
        let base = address.trim_end_matches('/').to_owned();
        Self { client, hooks: format!("{base}/hooks/{channel}"), base }
    }

    /// The same connections, posting to a host at another address.
    #[must_use]
    pub fn at(&self, address: &str, channel: &str) -> Self {
        let base = address.trim_end_matches('/').to_owned();
        Self { client: self.client.clone(), hooks: format!("{base}/hooks/{channel}"), base }
    }

    /// One request, whole.
    ///
    /// # Errors
    /// Where no whole answer came: nobody knows whether the host took it.
    pub async fn request(
        &self,
        method: Method,
        url: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Result<Reply, Unanswered> {
        let mut request = Request::builder().method(method).uri(url);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(body.into())).unwrap();
        let whole = async {
            let answer = self.client.request(request).await.map_err(|e| told(&e))?;
            let (head, body) = answer.into_parts();
            let body = body.collect().await.map_err(|e| told(&e))?.to_bytes();
            Ok(Reply { status: head.status.as_u16(), headers: head.headers, body })
        };
        let late = || Err(Unanswered(format!("no answer within {ANSWER_WITHIN:?}")));
        tokio::time::timeout(ANSWER_WITHIN, whole).await.unwrap_or_else(|_| late())
    }

    /// Posts a document to a path of the channel, such as `messages`.
    ///
    /// # Errors
    /// As [`Self::request`].
    pub async fn post(&self, path: &str, document: &Value) -> Result<Reply, Unanswered> {
        self.post_bytes(path, document.to_string()).await
    }

    /// The same with bytes that may be no JSON.
    ///
    /// # Errors
    /// As [`Self::request`].
    pub async fn post_bytes(
        &self,
        path: &str,
        body: impl Into<Bytes>,
    ) -> Result<Reply, Unanswered> {
        let url = format!("{}/{path}", self.hooks);
        self.request(Method::POST, &url, &[("content-type", "application/json")], body).await
    }

    /// Reads a path of the host, such as `/readyz`.
    ///
    /// # Errors
    /// As [`Self::request`].
    pub async fn get(&self, path: &str) -> Result<Reply, Unanswered> {
        let url = format!("{}{path}", self.base);
        self.request(Method::GET, &url, &[], Bytes::new()).await
    }

    /// Posts one message that has to be taken, and gives its turn.
    ///
    /// # Panics
    /// Where it is not answered with 200 and one turn.
    pub async fn say(&self, id: &str, conversation: &str, text: &str) -> NamedTurn {
        self.tell(&message(id, conversation, text)).await
    }

    /// The same with a document of any adapter's.
    ///
    /// # Panics
    /// As [`Self::say`].
    pub async fn tell(&self, document: &Value) -> NamedTurn {
        let reply = self.post("messages", document).await.unwrap();
        assert_eq!(reply.status, 200, "{}", reply.text());
        let mut turns = reply.turns();
        assert_eq!(turns.len(), 1, "one message, one turn: {turns:?}");
        turns.remove(0)
    }
}

/// A message as the `webhook` adapter takes it.
#[must_use]
pub fn message(id: &str, conversation: &str, text: &str) -> Value {
    let sender = json!({"id": "p1", "name": "A Person"});
    json!({"id": id, "conversation": conversation, "text": text, "sender": sender})
}

impl Reply {
    /// The body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    ///
    /// # Panics
    /// Where it is none.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e} in: {}", self.text()))
    }

    /// A count header.
    ///
    /// # Panics
    /// Where it is missing or no number.
    #[must_use]
    pub fn count(&self, name: &str) -> u64 {
        let value = self.headers.get(name).unwrap_or_else(|| panic!("no header {name}"));
        value.to_str().unwrap().parse().unwrap()
    }

    /// The items of `lastword-turns`, in order.
    ///
    /// # Panics
    /// Where one is malformed.
    #[must_use]
    pub fn turns(&self) -> Vec<NamedTurn> {
        let values = self.headers.get_all("lastword-turns").iter();
        let items = values.flat_map(|value| value.to_str().unwrap().split(','));
        items.map(str::trim).filter(|item| !item.is_empty()).map(named_turn).collect()
    }
}

fn named_turn(item: &str) -> NamedTurn {
    let mut fields = item.split(';').map(str::trim);
    let id = fields.next().unwrap().to_owned();
    let state = fields.next().and_then(|field| field.strip_prefix("state="));
    let state = state.unwrap_or_else(|| panic!("no state in `{item}`")).to_owned();
    let duplicate = match fields.next() {
        None => false,
        Some("duplicate") => true,
        Some(other) => panic!("`{other}` in `{item}`"),
    };
    NamedTurn { id, state, duplicate }
}

/// The whole chain of causes: the outer error alone says nothing.
fn told(error: &dyn std::error::Error) -> Unanswered {
    let mut sentence = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        sentence.push_str(": ");
        sentence.push_str(&next.to_string());
        cause = next.source();
    }
    Unanswered(sentence)
}
