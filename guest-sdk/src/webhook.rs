//! Requests that the platform pushes, and the answers to them.

use serde::de::DeserializeOwned;

pub use crate::bindings::webhook::exports::lastword::channel::webhook::{Reply, Request};
use crate::message::InboundEvent;

impl Request {
    /// The first header of a name in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The path behind the channel's prefix, without slashes at its ends.
    pub fn route(&self) -> &str {
        self.path.trim_matches('/')
    }

    /// Reads the body as JSON.
    ///
    /// # Errors
    ///
    /// A refusal with 400 that names line and column.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, Refusal> {
        serde_json::from_slice(&self.body)
            .map_err(|error| Refusal::malformed(format!("the body is not understood: {error}")))
    }
}

impl Reply {
    /// 200, with what came.
    pub fn accept(events: Vec<InboundEvent>) -> Reply {
        Reply { status: 200, headers: Vec::new(), body: Vec::new(), events }
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Reply {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// With a JSON body.
    #[must_use]
    pub fn json(mut self, body: &serde_json::Value) -> Reply {
        self.body = body.to_string().into_bytes();
        self.header("content-type", "application/json")
    }
}

/// Why a request was not taken: a status, and a sentence for whoever sent it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The status, not a 2xx.
    pub status: u16,
    /// What is wrong with the request.
    pub sentence: String,
}

impl Refusal {
    /// A status and a sentence.
    pub fn new(status: u16, sentence: impl Into<String>) -> Refusal {
        Refusal { status, sentence: sentence.into() }
    }

    /// 400: the request is not understood. Says where.
    pub fn malformed(sentence: impl Into<String>) -> Refusal {
        Refusal::new(400, sentence)
    }

    /// 401: the request is not signed as it must be.
    pub fn unsigned(sentence: impl Into<String>) -> Refusal {
        Refusal::new(401, sentence)
    }

    /// 404: there is nothing under this path.
    pub fn no_such_path() -> Refusal {
        Refusal::new(404, "there is nothing under this path")
    }

    /// The answer: `{"error": sentence}`.
    pub fn into_reply(self) -> Reply {
        let body = serde_json::json!({ "error": self.sentence });
        Reply { status: self.status, ..Reply::accept(Vec::new()) }.json(&body)
    }
}
