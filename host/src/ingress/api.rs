//! `/v1/...`: what the commands do, for operators and for the CLI of a host that runs. Bodies are the
//! JSON that the commands print.
//!
//! | answer | means | exit code of the CLI |
//! | --- | --- | --- |
//! | 200 | done | 0 |
//! | 400, 413, 422 | wrong input | 2 |
//! | 404 | no such thing, or nothing to do | 3 |
//! | 409 | refused by state | 4 |
//! | 401, 429, 500, 503 | failed | 1 |

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use http::StatusCode;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tracing::info;

use super::answer::{Refused, Segment, json_answer, wrong_method};
use super::limits::WORD_BYTES_MAX;
use super::{Ingress, adapters, auth, import, lists, orders, posting, pull, schedules};
use crate::lifecycle::id::{ChannelName, DeliveryId, TurnId};
use crate::lifecycle::outcome::Fault;
use crate::store::{AbortScope, ChannelSwitch, Command, Operated, ReplayOf, Resolution};

pub(super) type Answer = Result<Response, Refused>;

/// Who asks, where the request does not say.
const BY_DEFAULT: &str = "api";

/// The routes under `/v1`, all behind the token.
pub(super) fn routes(ingress: &Ingress) -> Router<Ingress> {
    let v1 = Router::new()
        .route("/status", get(status))
        .route("/turns", get(lists::turns))
        .route("/turns/{id}", get(lists::turn))
        .route("/outbox", get(lists::outbox))
        .route("/outbox/{id}", get(lists::delivery))
        .route("/outbox/{id}/resolve", post(resolve))
        .route("/channels", get(lists::channels))
        .route("/channels/{name}/pause", post(pause))
        .route("/channels/{name}/resume", post(resume))
        .route("/channels/{name}/reload", post(adapters::reload))
        .route("/channels/{name}/rollback", post(adapters::roll_back))
        .route("/messages", post(posting::post))
        .route("/schedules", get(schedules::list).post(schedules::add))
        .route("/schedules/{name}", get(schedules::show))
        .route("/schedules/{name}/change", post(schedules::change))
        .route("/schedules/{name}/pause", post(schedules::pause))
        .route("/schedules/{name}/resume", post(schedules::resume))
        .route("/schedules/{name}/cancel", post(schedules::cancel))
        .route("/abort", post(abort))
        .route("/replay/{id}", post(replay))
        .route("/replay", post(orders::replay))
        .route("/outbox/resolve", post(orders::resolve))
        .route("/purge", post(orders::purge))
        .route("/import", post(import::import))
        .merge(pull::routes())
        .fallback(no_such_path)
        .method_not_allowed_fallback(wrong_method);
    let behind_token = v1.layer(from_fn_with_state(ingress.clone(), auth::require_token));
    Router::new().nest("/v1", behind_token.merge(super::files::routes()))
}

async fn no_such_path() -> Response {
    Refused::nothing("the API has no such path").into_response()
}

async fn status(State(ingress): State<Ingress>) -> Answer {
    let status = ingress.desk()?.status(ingress.phase()).await?;
    Ok(json_answer(StatusCode::OK, &status))
}

#[derive(Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
struct AbortBody {
    turn: Option<String>,
    channel: Option<String>,
    conversation: Option<String>,
    all: bool,
    by: Option<String>,
}

async fn abort(State(ingress): State<Ingress>, request: Request) -> Answer {
    let body: AbortBody = ingress.read_json(request).await?;
    let by = by(body.by)?;
    let scope = match (body.turn, body.channel, body.conversation) {
        (Some(turn), None, None) if !body.all => AbortScope::Turn(turn_id(&turn)?),
        (None, Some(channel), Some(conversation)) => {
            let (channel, conversation) =
                (word("channel", channel)?, word("conversation", conversation)?);
            AbortScope::Conversation { channel: ChannelName(channel), conversation, all: body.all }
        }
        (Some(_), ..) | (None, ..) => {
            let sentence = "name either \"turn\", or \"channel\" and \"conversation\" (with \
                            \"all\": true for all of its turns)";
            return Err(Refused::invalid(sentence));
        }
    };
    ingress.operate(Command::Abort { scope, by }, "aborted").await
}

#[derive(Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
struct ReplayBody {
    force: bool,
    by: Option<String>,
}

async fn replay(State(ingress): State<Ingress>, Segment(id): Segment, request: Request) -> Answer {
    let body: ReplayBody = ingress.read_json(request).await?;
    let by = by(body.by)?;
    let of = match id.as_bytes().first() {
        Some(b'd') => ReplayOf::Delivery(delivery_id(&id)?),
        Some(_) | None => ReplayOf::Turn(turn_id(&id)?),
    };
    ingress.operate(Command::Replay { of, force: body.force, by }, "replayed").await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ResolveBody {
    how: How,
    #[serde(default)]
    by: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum How {
    Delivered,
    Resend,
    Drop,
}

impl How {
    pub(super) fn resolution(self) -> Resolution {
        match self {
            Self::Delivered => Resolution::Delivered,
            Self::Resend => Resolution::Resend,
            Self::Drop => Resolution::Drop,
        }
    }
}

async fn resolve(State(ingress): State<Ingress>, Segment(id): Segment, request: Request) -> Answer {
    let body: ResolveBody = ingress.read_json(request).await?;
    let (delivery, by) = (delivery_id(&id)?, by(body.by)?);
    let how = body.how.resolution();
    ingress.operate(Command::Resolve { delivery, how, by }, "resolved").await
}

#[derive(Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
struct SwitchBody {
    reason: Option<String>,
    by: Option<String>,
}

async fn pause(State(ingress): State<Ingress>, Segment(name): Segment, request: Request) -> Answer {
    let body: SwitchBody = ingress.read_json(request).await?;
    let by = by(body.by)?;
    let sentence = match body.reason {
        Some(reason) => word("reason", reason)?,
        None => format!("paused by the operator ({by})"),
    };
    ingress.switch(name, ChannelSwitch::Pause(Fault::new("operator", sentence))).await
}

async fn resume(
    State(ingress): State<Ingress>,
    Segment(name): Segment,
    request: Request,
) -> Answer {
    let body: SwitchBody = ingress.read_json(request).await?;
    let _ = by(body.by)?;
    ingress.switch(name, ChannelSwitch::Resume).await
}

impl Ingress {
    async fn switch(&self, name: String, switch: ChannelSwitch) -> Answer {
        let channel = ChannelName(word("channel", name)?);
        self.require_channel(&channel.0)?;
        self.operate(Command::SwitchChannel { channel, switch }, "switched").await
    }

    /// Carries a command out on a task of its own: an asker that hangs up must not leave an abort
    /// committed and its handler running.
    pub(super) async fn operate(&self, command: Command, done: &'static str) -> Answer {
        let desk = self.desk()?.clone();
        let task = self.0.env.spawn(async move { desk.operate(command).await });
        let operated = task.await.map_err(|_| {
            Refused::unavailable("host_fault", "the host failed at this request; its log says how")
        })??;
        match operated {
            Operated::Done { ids } => {
                info!(ids = ids.join(" "), "{done} by the API");
                Ok(json_answer(StatusCode::OK, &json!({"ids": ids})))
            }
            Operated::Nothing { sentence } => Err(Refused::nothing(sentence)),
            Operated::Refused { sentence } => {
                Err(Refused::new(StatusCode::CONFLICT, "refused", sentence))
            }
        }
    }

    /// The body as JSON; no body at all reads as `{}`.
    pub(super) async fn read_json<T: DeserializeOwned>(
        &self,
        request: Request,
    ) -> Result<T, Refused> {
        let (parts, body) = request.into_parts();
        let held = self.read_body(&parts.headers, body, self.0.limits.body_bytes_max).await?;
        let bytes = if held.bytes.trim_ascii().is_empty() { b"{}" } else { &held.bytes[..] };
        // Twice, so that a wrong type is told apart from what is no JSON, and no value is repeated.
        let value: Value = serde_json::from_slice(bytes)
            .map_err(|error| Refused::invalid(format!("the body is no JSON: {error}")))?;
        serde_json::from_value(value).map_err(|error| {
            Refused::invalid(format!("the body is not what is asked for: {error}"))
        })
    }
}

pub(super) fn turn_id(text: &str) -> Result<TurnId, Refused> {
    text.parse().map_err(|error: crate::lifecycle::id::IdError| Refused::invalid(error.to_string()))
}

pub(super) fn delivery_id(text: &str) -> Result<DeliveryId, Refused> {
    text.parse().map_err(|error: crate::lifecycle::id::IdError| Refused::invalid(error.to_string()))
}

/// A short text of the request.
pub(super) fn word(name: &str, text: String) -> Result<String, Refused> {
    if (1..=WORD_BYTES_MAX).contains(&text.len()) {
        return Ok(text);
    }
    Err(Refused::invalid(format!("\"{name}\" must have 1 to {WORD_BYTES_MAX} bytes")))
}

pub(super) fn by(given: Option<String>) -> Result<String, Refused> {
    given.map_or_else(|| Ok(BY_DEFAULT.to_owned()), |by| word("by", by))
}
