//! Where pull workers come: `/v1/turns/claim`, and `heartbeat`, `events` and `complete` of a turn
//! they hold. It reads the request and says what became of it; what the events mean is judged
//! behind the desk.
//!
//! | answer | means |
//! | --- | --- |
//! | 200 | done; for `claim` the turn's document |
//! | 204 | no turn came in time |
//! | 400, 413 | wrong input; nothing was taken |
//! | 404 | no such turn, or turns are not fetched here |
//! | 409 | the token holds no more, with a code that says why; drop the work |
//! | 429, 503 | come again after `retry-after` |

use axum::Router;
use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use http::{HeaderMap, StatusCode};
use serde::Deserialize;
use serde_json::Value;

use super::answer::{Refused, Segment, json_answer};
use super::api::{turn_id, word};
use super::{Ingress, Phase};
use crate::lifecycle::id::{ChannelName, TurnId};

type Answer = Result<Response, Refused>;

/// Channels that one claim may name.
const CHANNELS_MAX: usize = 1_000;

/// What a worker asks of the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PullAsk {
    Claim {
        worker: String,
        /// The worker's name for this request.
        key: Option<String>,
        channels: Option<Vec<ChannelName>>,
        wait_ms: u64,
        lease_ms: Option<u64>,
    },
    Heartbeat {
        turn: TurnId,
        token: String,
        lease_ms: Option<u64>,
    },
    Say {
        turn: TurnId,
        token: String,
        key: Option<String>,
        events: Vec<u8>,
        must_end: bool,
    },
}

/// What it came to.
#[derive(Debug, Clone, PartialEq)]
pub enum PullReply {
    Done(Value),
    /// No turn came in time.
    Nothing,
    Refused(PullRefused),
}

/// Why nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PullRefused {
    pub kind: PullRefusedKind,
    pub code: &'static str,
    pub sentence: String,
}

/// What the worker should do about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PullRefusedKind {
    /// Send something else.
    WrongInput,
    /// There is nothing of this name.
    NoSuchThing,
    /// Drop the work.
    Over,
    /// Come again later.
    Crowded,
    /// Come again when the host is back.
    Stopping,
}

/// The routes, under `/v1`.
pub(super) fn routes() -> Router<Ingress> {
    Router::new()
        .route("/turns/claim", post(claim))
        .route("/turns/{id}/heartbeat", post(heartbeat))
        .route("/turns/{id}/events", post(events))
        .route("/turns/{id}/complete", post(complete))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ClaimBody {
    worker: String,
    #[serde(default)]
    channels: Option<Vec<String>>,
    #[serde(default)]
    wait_ms: u64,
    #[serde(default)]
    lease_ms: Option<u64>,
}

async fn claim(State(ingress): State<Ingress>, request: Request) -> Answer {
    let key = request_name(request.headers())?;
    let body: ClaimBody = ingress.read_json(request).await?;
    let worker = word("worker", body.worker)?;
    let channels = body.channels.map(|names| ingress.known_channels(names)).transpose()?;
    if ingress.phase() == Phase::Stopping {
        let sentence = "the host is stopping; come again when it is back";
        return Err(Refused::unavailable("stopping", sentence).retry_after(1));
    }
    let (wait_ms, lease_ms) = (body.wait_ms, body.lease_ms);
    ingress.pull(PullAsk::Claim { worker, key, channels, wait_ms, lease_ms }).await
}

#[derive(Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
struct HeartbeatBody {
    lease_ms: Option<u64>,
}

async fn heartbeat(
    State(ingress): State<Ingress>,
    Segment(id): Segment,
    request: Request,
) -> Answer {
    let (turn, token) = (turn_id(&id)?, token(request.headers())?);
    let HeartbeatBody { lease_ms } = ingress.read_json(request).await?;
    ingress.pull(PullAsk::Heartbeat { turn, token, lease_ms }).await
}

async fn events(State(ingress): State<Ingress>, Segment(id): Segment, request: Request) -> Answer {
    ingress.say(&id, request, false).await
}

async fn complete(
    State(ingress): State<Ingress>,
    Segment(id): Segment,
    request: Request,
) -> Answer {
    ingress.say(&id, request, true).await
}

impl Ingress {
    async fn say(&self, id: &str, request: Request, must_end: bool) -> Answer {
        let (turn, token) = (turn_id(id)?, token(request.headers())?);
        let key = request_name(request.headers())?;
        let (parts, body) = request.into_parts();
        let held = self.read_body(&parts.headers, body, self.0.limits.body_bytes_max).await?;
        if held.bytes.trim_ascii().is_empty() {
            let sentence = "the body holds no event; one is {\"type\":\"final\",\"text\":\"...\"}, \
                            several stand in {\"events\":[...]} or one a line";
            return Err(Refused::invalid(sentence));
        }
        let events = held.bytes.clone();
        self.pull(PullAsk::Say { turn, token, key, events, must_end }).await
    }

    async fn pull(&self, ask: PullAsk) -> Answer {
        match self.desk()?.pull(ask).await? {
            PullReply::Done(value) => Ok(json_answer(StatusCode::OK, &value)),
            PullReply::Nothing => Ok(StatusCode::NO_CONTENT.into_response()),
            PullReply::Refused(PullRefused { kind, code, sentence }) => Err(match kind {
                PullRefusedKind::WrongInput => {
                    Refused::new(StatusCode::BAD_REQUEST, code, sentence)
                }
                PullRefusedKind::NoSuchThing => Refused::new(StatusCode::NOT_FOUND, code, sentence),
                PullRefusedKind::Over => Refused::new(StatusCode::CONFLICT, code, sentence),
                PullRefusedKind::Crowded => {
                    Refused::new(StatusCode::TOO_MANY_REQUESTS, code, sentence).retry_after(5)
                }
                PullRefusedKind::Stopping => Refused::unavailable(code, sentence).retry_after(1),
            }),
        }
    }

    fn known_channels(&self, names: Vec<String>) -> Result<Vec<ChannelName>, Refused> {
        let doors = &self.behind()?.doors;
        if names.is_empty() || names.len() > CHANNELS_MAX {
            let sentence = format!("\"channels\" must name 1 to {CHANNELS_MAX}, or be left out");
            return Err(Refused::invalid(sentence));
        }
        let known = |name: String| {
            let name = ChannelName(word("channels", name)?);
            if doors.contains_key(&name) {
                return Ok(name);
            }
            let sentence = "\"channels\" names one that the config does not; `lastword channels \
                            list` shows those that are";
            Err(Refused::invalid(sentence))
        };
        names.into_iter().map(known).collect()
    }
}

fn token(headers: &HeaderMap) -> Result<String, Refused> {
    let text = headers.get("lastword-token").and_then(|value| value.to_str().ok());
    text.filter(|text| !text.is_empty()).map(str::to_owned).ok_or_else(|| {
        Refused::invalid("the header `lastword-token` is missing: send the \"token\" of the claim")
    })
}

/// The worker's own name for the request.
fn request_name(headers: &HeaderMap) -> Result<Option<String>, Refused> {
    let Some(value) = headers.get("idempotency-key") else { return Ok(None) };
    let text = value
        .to_str()
        .map_err(|_| Refused::invalid("the header `idempotency-key` must be plain text"))?;
    word("idempotency-key", text.to_owned()).map(Some)
}
