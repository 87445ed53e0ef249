//! A pull worker of the test's own: each request by hand, so that it can be lost, late or repeated.

use bytes::Bytes;
use http::Method;
use serde_json::{Value, json};

use super::http::{Platform, Reply, Unanswered};
use super::{Host, Site};

/// A worker that talks to one host after the other.
#[derive(Debug, Clone)]
pub struct Puller {
    client: Platform,
    address: String,
    token: String,
}

/// A turn that it holds.
#[derive(Debug, Clone)]
pub struct Held {
    pub id: String,
    pub token: String,
    pub document: Value,
}

impl Puller {
    /// Speaks to this host, with the token of the site's lock file.
    #[must_use]
    pub fn new(site: &Site, host: &Host) -> Self {
        let lock = std::fs::read_to_string(site.path().join("data/host.lock")).unwrap();
        let facts: Value = serde_json::from_str(&lock).unwrap();
        let token = facts["token"].as_str().unwrap().to_owned();
        let address = host.address.clone();
        Self { client: Platform::new(&address, "none"), address, token }
    }

    /// One request of the API.
    ///
    /// # Errors
    /// Where no whole answer came.
    pub async fn post(
        &self,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Result<Reply, Unanswered> {
        let bearer = format!("Bearer {}", self.token);
        let mut all = vec![("authorization", bearer.as_str())];
        all.extend_from_slice(headers);
        let url = format!("{}/v1/{path}", self.address);
        self.client.request(Method::POST, &url, &all, body).await
    }

    /// Asks for a turn, with these fields beside the worker's name.
    ///
    /// # Errors
    /// As [`Self::post`].
    pub async fn ask(&self, fields: Value) -> Result<Reply, Unanswered> {
        let mut body = json!({"worker": "tester", "wait_ms": 5_000});
        body.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        self.post("turns/claim", &[], body.to_string()).await
    }

    /// A turn that has to come.
    ///
    /// # Panics
    /// Where none does.
    pub async fn claim(&self, fields: Value) -> Held {
        Held::read(&self.ask(fields).await.unwrap())
    }

    /// A request about a turn: `heartbeat`, `events` or `complete`.
    pub async fn about(&self, held: &Held, what: &str, body: Value) -> Reply {
        let path = format!("turns/{}/{what}", held.id);
        self.post(&path, &[("lastword-token", &held.token)], body.to_string()).await.unwrap()
    }

    /// The turn's last word, which has to be taken.
    ///
    /// # Panics
    /// Where it is refused.
    pub async fn complete(&self, held: &Held, text: &str) -> Reply {
        let reply = self.about(held, "complete", json!({"type": "final", "text": text})).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        reply
    }
}

impl Held {
    /// The turn of a claim's answer.
    ///
    /// # Panics
    /// Where it has none.
    #[must_use]
    pub fn read(reply: &Reply) -> Self {
        assert_eq!(reply.status, 200, "{}", reply.text());
        let document = reply.json();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        Self { id: text(&document["turn"]["id"]), token: text(&document["token"]), document }
    }
}
