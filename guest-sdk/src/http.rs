//! Requests to the targets of the manifest, and to nothing else. The host builds each address, adds
//! the credentials, follows no redirect and never repeats a request by itself.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::bindings::channel::lastword::channel::http as raw;
pub use crate::bindings::channel::lastword::channel::http::Error;
use crate::message::{CallError, Fault, RateLimit, RateScope, SendError};
pub use crate::multipart::Part;
use crate::{env, host};

/// How much of a platform's words an error carries along.
const WORDS_CHARS_MAX: usize = 200;

/// A `GET` to a target.
pub fn get(target: &str) -> Request {
    Request::new("GET", target)
}

/// A `POST` to a target.
pub fn post(target: &str) -> Request {
    Request::new("POST", target)
}

/// A `PUT` to a target.
pub fn put(target: &str) -> Request {
    Request::new("PUT", target)
}

/// A request that is being built.
#[derive(Debug, Clone)]
#[must_use = "nothing is asked until `send`"]
pub struct Request {
    request: raw::Request,
    /// A body that has no JSON form, told at [`Request::send`].
    broken: Option<String>,
}

impl Request {
    /// A request with any method to a target, at its origin.
    pub fn new(method: &str, target: &str) -> Request {
        let request = raw::Request {
            target: target.to_owned(),
            method: method.to_owned(),
            address: raw::Address::Path(Vec::new()),
            query: Vec::new(),
            headers: Vec::new(),
            body: None,
            timeout_ms: None,
        };
        Request { request, broken: None }
    }

    /// The segments of the path, as plain text: the host encodes each one.
    pub fn path<S: Into<String>>(mut self, segments: impl IntoIterator<Item = S>) -> Request {
        self.request.address = raw::Address::Path(segments.into_iter().map(Into::into).collect());
        self
    }

    /// A whole address that the platform handed out, for a target that matches it.
    pub fn url(mut self, url: impl Into<String>) -> Request {
        self.request.address = raw::Address::Url(url.into());
        self
    }

    /// Adds to the query, as plain text.
    pub fn query(mut self, name: &str, value: impl Into<String>) -> Request {
        self.request.query.push((name.to_owned(), value.into()));
        self
    }

    /// Adds a header.
    pub fn header(mut self, name: &str, value: impl Into<String>) -> Request {
        self.request.headers.push((name.to_owned(), value.into()));
        self
    }

    /// A JSON body, with its content type.
    pub fn json<T: Serialize + ?Sized>(mut self, body: &T) -> Request {
        match serde_json::to_vec(body) {
            Ok(bytes) => self.bytes("application/json", bytes),
            Err(error) => {
                self.broken = Some(format!("the body has no JSON form: {error}"));
                self
            }
        }
    }

    /// A body of bytes, with its content type.
    pub fn bytes(mut self, content_type: &str, body: Vec<u8>) -> Request {
        self.request.body = Some(raw::Body::Bytes(body));
        self.header("content-type", content_type)
    }

    /// A body of fields, as `application/x-www-form-urlencoded`.
    pub fn form<N: Into<String>, V: Into<String>>(
        mut self,
        fields: impl IntoIterator<Item = (N, V)>,
    ) -> Request {
        let fields = fields.into_iter().map(|(name, value)| (name.into(), value.into()));
        self.request.body = Some(raw::Body::Form(fields.collect()));
        self
    }

    /// A file from the host's store as the body, by its id, with its content type. The host streams
    /// it.
    pub fn blob(mut self, content_type: &str, blob: impl Into<String>) -> Request {
        self.request.body = Some(raw::Body::Blob(blob.into()));
        self.header("content-type", content_type)
    }

    /// A body of fields and files, as `multipart/form-data`. The host writes it and its content
    /// type, and streams the files.
    pub fn multipart(mut self, parts: impl IntoIterator<Item = Part>) -> Request {
        let parts = parts.into_iter().map(Part::into_raw);
        self.request.body = Some(raw::Body::Multipart(parts.collect()));
        self
    }

    /// The longest that the request may take, within what is left of the call.
    pub fn timeout_ms(mut self, timeout_ms: u32) -> Request {
        self.request.timeout_ms = Some(timeout_ms);
        self
    }

    /// Sends the request and waits for the answer, whatever its status.
    ///
    /// # Errors
    ///
    /// [`Error`] says whether anything left. `?` makes of it what is true: see the crate's page.
    pub fn send(self) -> Result<Response, Error> {
        if let Some(why) = self.broken {
            return Err(Error::Denied(why));
        }
        let raw::Response { status, headers, body } = host::fetch(&self.request)?;
        Ok(Response { status, headers, body })
    }

    /// Sends a `GET` and puts the body of its 2xx answer into the host's store. Its bytes do not
    /// pass through here.
    ///
    /// # Errors
    ///
    /// As [`Request::send`].
    pub fn download(self) -> Result<Saved, Error> {
        if let Some(why) = self.broken {
            return Err(Error::Denied(why));
        }
        let raw::Saved { status, headers, blob, size_bytes } = host::download(&self.request)?;
        Ok(Saved { status, headers, blob, size_bytes })
    }
}

/// An answer whose body was put into the host's store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Saved {
    /// The status.
    pub status: u16,
    /// Names are lower-case.
    pub headers: Vec<(String, String)>,
    /// The body's id, where the status is 2xx.
    pub blob: Option<String>,
    /// How many bytes the body has.
    pub size_bytes: u64,
}

impl Saved {
    /// The first header of a name in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The blob of a 2xx answer; any other by its status, as [`Response::for_call`].
    ///
    /// # Errors
    ///
    /// [`CallError`], for everything but 2xx.
    pub fn for_call(self) -> Result<String, CallError> {
        let Saved { status, headers, blob, size_bytes: _ } = self;
        let answer = Response { status, headers, body: Vec::new() }.for_call()?;
        blob.ok_or_else(|| CallError::Transient(answer.fault()))
    }
}

/// A whole answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// The status.
    pub status: u16,
    /// Names are lower-case.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

/// The body of a successful answer is not what was expected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnreadableAnswer(String);

impl UnreadableAnswer {
    /// For a platform that says "ok" in its body: what is wrong with it, without quoting it.
    pub fn new(why: impl Into<String>) -> UnreadableAnswer {
        UnreadableAnswer(why.into())
    }
}

impl std::fmt::Display for UnreadableAnswer {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "the platform's answer is not understood: {}", self.0)
    }
}

impl std::error::Error for UnreadableAnswer {}

impl Response {
    /// The first header of a name in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Whether the status is 2xx.
    pub fn is_success(&self) -> bool {
        matches!(status_class(self.status), StatusClass::Success)
    }

    /// Reads the body as JSON.
    ///
    /// # Errors
    ///
    /// Where it is not what `T` reads. To a send that is an unknown outcome: it was answered.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, UnreadableAnswer> {
        // Without serde's words, which may quote the body.
        serde_json::from_slice(&self.body).map_err(|error| {
            UnreadableAnswer(format!("line {}, column {}", error.line(), error.column()))
        })
    }

    /// What `Retry-After` asks for, in seconds or as a date (RFC 9110, 10.2.3).
    pub fn retry_after_ms(&self) -> Option<u32> {
        let value = self.header("retry-after")?.trim();
        let wait_ms = match value.parse::<u64>() {
            Ok(seconds) => seconds.saturating_mul(1000),
            Err(_) => {
                let date = httpdate::parse_http_date(value).ok()?;
                let since = date.duration_since(std::time::UNIX_EPOCH).ok()?;
                let at_ms = u64::try_from(since.as_millis()).ok()?;
                at_ms.saturating_sub(env::now_ms())
            }
        };
        Some(u32::try_from(wait_ms).unwrap_or(u32::MAX))
    }

    /// The answer to a request that sends a message, by its status: 2xx goes on; 429 and 503 say
    /// that it was not sent, and heed `Retry-After`; 401 and 403 pause the channel; 408 and other
    /// 5xx leave open whether it was; anything else refuses it.
    ///
    /// # Errors
    ///
    /// [`SendError`], for everything but 2xx.
    pub fn for_send(self) -> Result<Response, SendError> {
        match status_class(self.status) {
            StatusClass::Success => Ok(self),
            StatusClass::Unauthorized => Err(SendError::Unauthorized(self.fault())),
            StatusClass::Wait => match self.retry_after_ms() {
                Some(retry_after_ms) => Err(SendError::RateLimited(RateLimit {
                    retry_after_ms,
                    scope: RateScope::Channel,
                })),
                None => Err(SendError::Transient(self.fault())),
            },
            StatusClass::Unclear => Err(SendError::Unknown(self.fault())),
            StatusClass::Refused => Err(SendError::Rejected(self.fault())),
        }
    }

    /// The answer to any other request, by its status: 2xx goes on.
    ///
    /// # Errors
    ///
    /// [`CallError`], for everything but 2xx.
    pub fn for_call(self) -> Result<Response, CallError> {
        match status_class(self.status) {
            StatusClass::Success => Ok(self),
            StatusClass::Unauthorized => Err(CallError::Unauthorized(self.fault())),
            StatusClass::Wait => match self.retry_after_ms() {
                Some(retry_after_ms) => Err(CallError::RateLimited(RateLimit {
                    retry_after_ms,
                    scope: RateScope::Channel,
                })),
                None => Err(CallError::Transient(self.fault())),
            },
            StatusClass::Unclear => Err(CallError::Transient(self.fault())),
            StatusClass::Refused => Err(CallError::Refused(self.fault())),
        }
    }

    /// The fault of an answer that is no success, with the platform's first words.
    pub fn fault(&self) -> Fault {
        let status = self.status;
        let sentence = match (status, self.header("location"), self.words()) {
            (300..400, Some(_), _) => format!(
                "the platform answered {status}, a redirect, which is never followed; \
                 set the address that it leads to"
            ),
            (_, _, Some(words)) => format!("the platform answered {status}: {words}"),
            (_, _, None) => format!("the platform answered {status} without a word"),
        };
        Fault::new(format!("http-{status}"), sentence)
    }

    fn words(&self) -> Option<String> {
        let text = String::from_utf8_lossy(&self.body);
        let line = text.lines().map(str::trim).find(|line| !line.is_empty())?;
        Some(line.chars().filter(|c| !c.is_control()).take(WORDS_CHARS_MAX).collect())
    }
}

/// What a status says of a request, before the platform's own words are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StatusClass {
    Success,
    /// 401 and 403.
    Unauthorized,
    /// 429 and 503: not done, later perhaps.
    Wait,
    /// 408 and the other 5xx: somebody on the way gave up, done or not.
    Unclear,
    /// Everything else: refused, and again next time.
    Refused,
}

pub(crate) fn status_class(status: u16) -> StatusClass {
    match status {
        200..300 => StatusClass::Success,
        401 | 403 => StatusClass::Unauthorized,
        429 | 503 => StatusClass::Wait,
        408 | 500..600 => StatusClass::Unclear,
        _ => StatusClass::Refused,
    }
}
