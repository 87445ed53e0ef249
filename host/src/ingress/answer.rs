//! Answers that the host gives in its own name: JSON with a code and a sentence. Everything in them
//! goes through the JSON writer, so that hostile text stays text.

use axum::body::Body;
use axum::extract::{FromRequestParts, Path};
use axum::response::{IntoResponse, Response};
use http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, X_CONTENT_TYPE_OPTIONS};
use http::request::Parts;
use http::{HeaderValue, StatusCode};
use serde_json::{Value, json};

use crate::store::StoreError;

/// A request that was not served, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refused {
    pub(super) status: StatusCode,
    pub(super) code: &'static str,
    /// For the person who reads the answer. No secret, no message text.
    pub(super) sentence: String,
    pub(super) retry_after_s: Option<u64>,
}

impl Refused {
    pub(super) fn new(status: StatusCode, code: &'static str, sentence: impl Into<String>) -> Self {
        Self { status, code, sentence: sentence.into(), retry_after_s: None }
    }

    /// Asks the sender to come back.
    pub(super) fn retry_after(mut self, seconds: u64) -> Self {
        self.retry_after_s = Some(seconds);
        self
    }

    pub(super) fn invalid(sentence: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid", sentence)
    }

    pub(super) fn nothing(sentence: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "nothing", sentence)
    }

    pub(super) fn unavailable(code: &'static str, sentence: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, code, sentence)
    }
}

impl From<StoreError> for Refused {
    /// How a failed command is told to whoever asked for it. What is inside the store's own words
    /// goes to the log, not outside.
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::NotWritable(_) => Self::unavailable(
                "store_not_writable",
                "the store cannot be written; send it again",
            )
            .retry_after(10),
            StoreError::Busy => {
                Self::unavailable("store_busy", "the store is busy; send it again").retry_after(1)
            }
            StoreError::Full { .. } => {
                let sentence = "too many turns are unfinished; send it again when some are done";
                Self::new(StatusCode::TOO_MANY_REQUESTS, "full", sentence).retry_after(5)
            }
            StoreError::Invalid(sentence) => Self::invalid(sentence),
            StoreError::Corrupt(_) => {
                let sentence = "the store holds what it should not; the host's log says what";
                Self::unavailable("store_corrupt", sentence).retry_after(60)
            }
        }
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let body = json!({"error": {"code": self.code, "sentence": self.sentence}});
        let mut response = json_answer(self.status, &body);
        if let Some(seconds) = self.retry_after_s {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            let challenge = HeaderValue::from_static("Bearer");
            response.headers_mut().insert(http::header::WWW_AUTHENTICATE, challenge);
        }
        response
    }
}

/// One JSON document and a line feed, as the commands print it.
pub(super) fn json_answer(status: StatusCode, body: &Value) -> Response {
    let mut text = body.to_string();
    text.push('\n');
    typed_answer(status, "application/json", Body::from(text))
}

/// An answer of the host that no browser guesses about and no cache keeps.
pub(super) fn typed_answer(status: StatusCode, media_type: &'static str, body: Body) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// The one variable segment of a path, with its percent-encoding undone.
pub(super) struct Segment(pub(super) String);

impl<S: Send + Sync> FromRequestParts<S> for Segment {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refused> {
        match Path::<String>::from_request_parts(parts, state).await {
            Ok(Path(text)) => Ok(Self(text)),
            Err(_) => Err(Refused::invalid("a segment of the path is no UTF-8 text once decoded")),
        }
    }
}

/// A path that exists, asked in the wrong way.
pub(super) async fn wrong_method() -> Response {
    let sentence = "this path takes another method";
    Refused::new(StatusCode::METHOD_NOT_ALLOWED, "method", sentence).into_response()
}
