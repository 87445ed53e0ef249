//! `POST /v1/messages`: a program says something in a conversation. The header `Idempotency-Key`
//! names the message, so that a request that is repeated makes no second turn.

use axum::extract::{Request, State};
use axum::response::Response;
use http::{HeaderMap, StatusCode};
use serde_json::json;

use super::answer::{Refused, json_answer};
use super::{Ingress, Phase};
use crate::lifecycle::id::ChannelName;
use crate::store::{PostBody, Refusal};

/// Names the message; given by whoever posts.
const KEY_HEADER: &str = "idempotency-key";

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Wrong(sentence) => Self::invalid(sentence),
            Refusal::Unfit(sentence) => {
                Self::new(StatusCode::UNPROCESSABLE_ENTITY, "unfit", sentence)
            }
            Refusal::Nothing(sentence) => Self::nothing(sentence),
            Refusal::Refused(sentence) => Self::new(StatusCode::CONFLICT, "refused", sentence),
        }
    }
}

pub(super) async fn post(
    State(ingress): State<Ingress>,
    request: Request,
) -> Result<Response, Refused> {
    ingress.require_intake()?;
    let key = key(request.headers())?;
    let body: PostBody = ingress.read_json(request).await?;
    ingress.require_channel(&body.channel)?;
    let post = body.into_post(&key, ingress.0.env.now().wall_ms)?;
    let answer = ingress.desk()?.post(post).await?.answer()?;
    Ok(json_answer(StatusCode::OK, &json!(answer)))
}

fn key(headers: &HeaderMap) -> Result<String, Refused> {
    let value = headers.get(KEY_HEADER).ok_or_else(|| {
        Refused::invalid(
            "the header Idempotency-Key is missing: give each message a key of its own, and use \
             it again where the request is repeated",
        )
    })?;
    let text = value.to_str().ok().map(str::trim).filter(|text| !text.is_empty());
    let wrong = || Refused::invalid("Idempotency-Key must be printable ASCII, and not empty");
    text.map(ToOwned::to_owned).ok_or_else(wrong)
}

impl Ingress {
    /// What makes turns is refused while the host stops.
    pub(super) fn require_intake(&self) -> Result<(), Refused> {
        if self.phase() == Phase::Stopping {
            let sentence = "the host is stopping; send it again in a moment";
            return Err(Refused::unavailable("stopping", sentence).retry_after(5));
        }
        Ok(())
    }

    /// A channel of the config, served or refused.
    pub(super) fn require_channel(&self, name: &str) -> Result<(), Refused> {
        if self.behind()?.doors.contains_key(&ChannelName(name.to_owned())) {
            return Ok(());
        }
        let sentence = "there is no channel of this name; `lastword channels list` shows them";
        Err(Refused::nothing(sentence))
    }
}
