//! The `http` handler: one POST per try, the document as its body, events in the answer.
//!
//! A refused connection means that the handler never began; everything after the first byte of the
//! request is a try. No redirects, no retries of its own. It knows no claim and no deadline:
//! dropping the future closes the connection, which is how a server hears of an abort.

mod answer;
mod connect;
mod status;

use std::time::Duration;

use async_trait::async_trait;
use base64::Engine;
use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::sync::mpsc;
use url::Url;

pub use self::answer::read_events;
use self::answer::{Answer, Declared};
use self::connect::{Endpoint, public_roots};
use self::status::{Meaning, judge};
use super::outlet::Outlet;
use super::{Failure, Handler, HandlerDocument, HandlerEnd, HandlerEvent, HandlerLimits};
use crate::env::Env;
use crate::gate::StopHandle;
use crate::lifecycle::id::TurnId;

/// Bytes of an answer's head, at most.
const HEAD_BYTES_MAX: usize = 64 * 1024;

/// What the `http` handler is made of. Not for `Debug`: the address may hold a password.
#[derive(Clone)]
pub struct HttpSettings {
    /// Where to; user and password in it become basic authentication.
    pub url: Url,
    pub limits: HandlerLimits,
}

/// Posts each try to one address.
pub struct Http {
    env: Env,
    limits: HandlerLimits,
    endpoint: Endpoint,
    /// Scheme, host, port and path, for sentences: never user, password or query.
    shown: String,
    path_and_query: String,
    host: HeaderValue,
    authorization: Option<HeaderValue>,
}

impl std::fmt::Debug for Http {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Http").field("url", &self.shown).finish_non_exhaustive()
    }
}

impl Http {
    /// Nothing is connected yet.
    ///
    /// # Errors
    /// A sentence, where the address cannot be used.
    pub fn new(env: Env, settings: HttpSettings) -> Result<Self, String> {
        let url = &settings.url;
        let endpoint = Endpoint::new(url, public_roots())?;
        let host = &url[url::Position::BeforeHost..url::Position::AfterPort];
        let path_and_query = url[url::Position::BeforePath..url::Position::AfterQuery].to_owned();
        Ok(Self {
            env,
            limits: settings.limits,
            endpoint,
            shown: format!("{}://{host}{}", url.scheme(), url.path()),
            host: HeaderValue::from_str(host).map_err(|_| "the handler's `url` has no host")?,
            path_and_query,
            authorization: authorization(url)?,
        })
    }

    fn request(&self, document: &HandlerDocument) -> Result<Request<Full<Bytes>>, String> {
        let body = serde_json::to_vec(document).map_err(|error| error.to_string())?;
        let mut request = Request::builder()
            .method(Method::POST)
            .uri(&self.path_and_query)
            .header(header::HOST, &self.host)
            .header(header::USER_AGENT, concat!("lastword/", env!("CARGO_PKG_VERSION")))
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::ACCEPT, "application/x-ndjson, application/json")
            .header(header::CONNECTION, "close");
        if let Some(value) = &self.authorization {
            request = request.header(header::AUTHORIZATION, value);
        }
        request.body(Full::new(Bytes::from(body))).map_err(|error| error.to_string())
    }

    async fn ask(&self, document: HandlerDocument, outlet: &mut Outlet) -> HandlerEnd {
        let request = match self.request(&document) {
            Ok(request) => request,
            Err(error) => return self.not_started(&error),
        };
        drop(document);
        let stream = match self.endpoint.connect(&self.env).await {
            Ok(stream) => stream,
            Err(error) => return self.not_started(&error),
        };
        let mut builder = http1::Builder::new();
        builder.max_buf_size(HEAD_BYTES_MAX);
        let (mut sender, connection) = match builder.handshake(TokioIo::new(stream)).await {
            Ok(pair) => pair,
            Err(error) => return self.not_started(&error.to_string()),
        };
        let talk = async {
            match sender.send_request(request).await {
                Ok(response) => self.read(response, outlet).await,
                Err(error) => self.broken("gave no answer", &error),
            }
        };
        // The connection moves the bytes; its end, good or bad, is seen by the talk.
        let drive = async {
            let _ = connection.await;
            std::future::pending::<HandlerEnd>().await
        };
        tokio::select! {
            biased;
            end = talk => end,
            end = drive => end,
        }
    }

    async fn read(&self, response: Response<Incoming>, outlet: &mut Outlet) -> HandlerEnd {
        let (head, body) = response.into_parts();
        match judge(head.status, &head.headers, self.env.now().wall_ms) {
            Meaning::Failed(failure) => HandlerEnd::Failed(failure),
            Meaning::Silent => match outlet.give(Ok(HandlerEvent::Silent)).await {
                Ok(()) => HandlerEnd::Ended,
                Err(end) => end,
            },
            Meaning::Events => {
                let declared = declared(head.headers.get(header::CONTENT_TYPE));
                let answer = Answer::new(declared, self.limits);
                self.follow(body, answer, outlet).await
            }
        }
    }

    async fn follow(&self, body: Incoming, answer: Answer, outlet: &mut Outlet) -> HandlerEnd {
        let mut body = body;
        if let Err(end) = self.until_decided(&mut body, answer, outlet).await {
            return end;
        }
        if !outlet.is_decided() {
            let reason = format!(
                "the answer of the handler at {} ended without a final reply; where none is \
                 meant, let it say {{\"type\":\"silent\"}}",
                self.shown
            );
            return HandlerEnd::Failed(Failure::spent(Failure::NO_FINAL, reason));
        }
        let linger = Duration::from_millis(self.limits.linger_ms);
        let _ = self.env.timeout(linger, drain(&mut body, outlet)).await;
        HandlerEnd::Ended
    }

    /// Gives events on until one of them decides the try, or the body ends.
    async fn until_decided(
        &self,
        body: &mut Incoming,
        mut answer: Answer,
        outlet: &mut Outlet,
    ) -> Result<(), HandlerEnd> {
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| self.broken("broke its answer off", &error))?;
            let Ok(bytes) = frame.into_data() else { continue };
            answer.push(&bytes);
            while let Some(result) = answer.next() {
                let is_last = result.is_err();
                outlet.give(result).await?;
                if is_last {
                    break;
                }
            }
            if outlet.is_decided() {
                return Ok(());
            }
        }
        for result in answer.finish() {
            outlet.give(result).await?;
        }
        Ok(())
    }

    fn not_started(&self, what: &str) -> HandlerEnd {
        let reason = format!("the handler at {} cannot be reached: {what}", self.shown);
        HandlerEnd::Failed(Failure::not_started(super::event::clean_reason(&reason)))
    }

    fn broken(&self, what: &str, error: &hyper::Error) -> HandlerEnd {
        let reason = format!("the handler at {} {what}: {error}", self.shown);
        let reason = super::event::clean_reason(&reason);
        HandlerEnd::Failed(Failure::spent(Failure::BROKEN, reason))
    }
}

#[async_trait]
impl Handler for Http {
    async fn answer(
        &self,
        document: HandlerDocument,
        events: mpsc::Sender<HandlerEvent>,
        stop: StopHandle,
    ) -> HandlerEnd {
        let turn = document.turn.id;
        let mut outlet = Outlet::new(events);
        let end = tokio::select! {
            biased;
            _ = stop.stopped() => HandlerEnd::Stopped,
            end = self.ask(document, &mut outlet) => end,
        };
        report(turn, &outlet);
        end
    }
}

fn report(turn: TurnId, outlet: &Outlet) {
    let refused = outlet.refused();
    if refused > 0 {
        tracing::warn!(%turn, refused, "refused: output after the event that decided the try");
    }
}

/// Reads what comes too late, so that a server is not cut off in its last words.
async fn drain(body: &mut Incoming, outlet: &mut Outlet) {
    while let Some(Ok(frame)) = body.frame().await {
        let Ok(bytes) = frame.into_data() else { continue };
        outlet.refuse(bytes.iter().filter(|byte| **byte == b'\n').count() as u64);
    }
}

fn declared(content_type: Option<&HeaderValue>) -> Declared {
    let text = content_type.and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match essence.as_str() {
        "application/x-ndjson"
        | "application/ndjson"
        | "application/jsonl"
        | "application/x-jsonlines" => Declared::Lines,
        _ => Declared::Anything,
    }
}

/// Basic authentication (RFC 7617) from the address, decoded as it was meant.
fn authorization(url: &Url) -> Result<Option<HeaderValue>, String> {
    if url.username().is_empty() && url.password().is_none() {
        return Ok(None);
    }
    let decode = |text: &str| percent_encoding::percent_decode_str(text).collect::<Vec<u8>>();
    let mut pair = decode(url.username());
    pair.push(b':');
    pair.extend(decode(url.password().unwrap_or_default()));
    let text = format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(pair));
    let mut value = HeaderValue::from_str(&text)
        .map_err(|_| "the user and password in the handler's `url` cannot be sent".to_owned())?;
    value.set_sensitive(true);
    Ok(Some(value))
}
