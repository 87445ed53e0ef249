//! A small client of a running host's API: one request, one JSON answer, one exit code.
//!
//! It goes where the lock file says and nowhere else, follows nothing and retries nothing.

use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use super::output::{Exit, Failure};
use crate::env::Env;
use crate::runtime::HostFacts;

/// How long a host may take; a command waits for a commit, which waits for a disk.
const ANSWER_WITHIN: Duration = Duration::from_secs(60);
/// The longest answer: the status of a thousand channels with room to spare.
const ANSWER_BYTES_MAX: usize = 16 << 20;

/// A host that runs, as its lock file names it.
pub(super) struct Host<'f> {
    pub(super) env: &'f Env,
    pub(super) facts: &'f HostFacts,
}

/// One segment of a path.
pub(super) fn segment(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

impl Host<'_> {
    pub(super) async fn get(&self, path: &str) -> Result<Value, Failure> {
        self.ask(Method::GET, path, (Bytes::new(), None), ANSWER_WITHIN).await
    }

    pub(super) async fn post(&self, path: &str, body: &Value) -> Result<Value, Failure> {
        self.post_within(path, body, ANSWER_WITHIN).await
    }

    /// The same with more patience.
    pub(super) async fn post_within(
        &self,
        path: &str,
        body: &Value,
        within: Duration,
    ) -> Result<Value, Failure> {
        self.ask(Method::POST, path, (body.to_string().into(), None), within).await
    }

    /// The same under a key that makes a repetition harmless.
    pub(super) async fn post_under(
        &self,
        path: &str,
        body: &Value,
        key: &str,
    ) -> Result<Value, Failure> {
        let key = HeaderValue::from_str(key).map_err(|_| {
            Failure::wrong("a key is made of printable ASCII characters, and is not empty")
        })?;
        let said = (body.to_string().into(), Some(key));
        self.ask(Method::POST, path, said, ANSWER_WITHIN).await
    }

    async fn ask(
        &self,
        method: Method,
        path: &str,
        (body, key): (Bytes, Option<HeaderValue>),
        within: Duration,
    ) -> Result<Value, Failure> {
        let address = &self.facts.address;
        let failed = |why: String| {
            let sentence = format!("the host at {address} did not answer: {why}");
            Failure::new(Exit::Failed, sentence)
        };
        let mut token = HeaderValue::from_str(&format!("Bearer {}", self.facts.token))
            .map_err(|_| failed("its token is no header".to_owned()))?;
        token.set_sensitive(true);
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{address}{path}"))
            .header(AUTHORIZATION, token)
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(body))
            .map_err(|error| failed(error.to_string()))?;
        if let Some(key) = key {
            request.headers_mut().insert("idempotency-key", key);
        }
        let exchange = async {
            let client: Client<HttpConnector, Full<Bytes>> =
                Client::builder(TokioExecutor::new()).build_http();
            let response = client.request(request).await.map_err(|error| chain(&error))?;
            let (head, body) = response.into_parts();
            let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await;
            let body = body.map_err(|error| error.to_string())?.to_bytes();
            Ok::<_, String>((head.status, body))
        };
        let (status, body) = self
            .env
            .timeout(within, exchange)
            .await
            .map_err(|_| failed(format!("nothing came for {} s", within.as_secs())))?
            .map_err(failed)?;
        read_answer(status, &body)
    }
}

/// The words of an error and of what is behind it.
fn chain(error: &dyn std::error::Error) -> String {
    let mut words = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        words = format!("{words}: {error}");
        source = error.source();
    }
    words
}

/// What the status means for the exit code; the sentence is the host's.
fn read_answer(status: StatusCode, body: &[u8]) -> Result<Value, Failure> {
    let value: Option<Value> = serde_json::from_slice(body).ok();
    if status == StatusCode::OK {
        return value
            .ok_or_else(|| Failure::new(Exit::Failed, "the host answered with what is no JSON"));
    }
    let exit = match status {
        StatusCode::BAD_REQUEST
        | StatusCode::PAYLOAD_TOO_LARGE
        | StatusCode::UNPROCESSABLE_ENTITY => Exit::WrongInput,
        StatusCode::NOT_FOUND => Exit::Nothing,
        StatusCode::CONFLICT => Exit::Refused,
        _ => Exit::Failed,
    };
    let sentence = value
        .as_ref()
        .and_then(|value| value.pointer("/error/sentence"))
        .and_then(Value::as_str)
        .map_or_else(|| format!("the host answered {status}"), ToOwned::to_owned);
    Err(Failure::new(exit, sentence))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_status_has_its_exit_code_and_the_hosts_own_sentence() {
        let body = br#"{"error":{"code":"x","sentence":"because"}}"#;
        for (status, exit) in [
            (400, Exit::WrongInput),
            (413, Exit::WrongInput),
            (422, Exit::WrongInput),
            (404, Exit::Nothing),
            (409, Exit::Refused),
            (401, Exit::Failed),
            (503, Exit::Failed),
        ] {
            let status = StatusCode::from_u16(status).unwrap();
            let failure = read_answer(status, body).unwrap_err();
            assert_eq!((failure.exit, failure.sentence.as_str()), (exit, "because"));
        }
        let failure = read_answer(StatusCode::BAD_GATEWAY, b"<html>").unwrap_err();
        assert!(failure.sentence.contains("502"), "{}", failure.sentence);
        assert!(read_answer(StatusCode::OK, b"{}").is_ok());
        assert_eq!(read_answer(StatusCode::OK, b"").unwrap_err().exit, Exit::Failed);
    }

    #[test]
    fn a_name_is_one_segment_whatever_stands_in_it() {
        assert_eq!(segment("a/../b?c"), "a%2F%2E%2E%2Fb%3Fc");
    }
}
