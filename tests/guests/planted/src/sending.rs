//! Out: one request a message.

use lastword_sdk::http::Response;
use lastword_sdk::prelude::*;
use serde::Deserialize;

use crate::Fault;

#[derive(Deserialize)]
struct Sent {
    id: Option<String>,
    error: Option<String>,
}

pub(crate) fn send(message: &OutboundMessage) -> Result<Receipt, SendError> {
    let answer = match post(message) {
        Err(http::Error::Unanswered(_)) if Fault::RepeatsASendAfterUnknown.planted() => {
            post(message)?
        }
        other => other?,
    };
    if Fault::IgnoresRetryAfter.planted() && answer.status == 429 {
        return Err(SendError::Transient(answer.fault()));
    }
    let sent: Sent = answer.for_send()?.json()?;
    if Fault::SaysDeliveredOnAnErrorBody.planted() {
        return Ok(Receipt::new(sent.id.unwrap_or_else(|| "unnamed".to_owned())));
    }
    match (sent.id, sent.error) {
        (Some(id), None) => Ok(Receipt::new(id)),
        (_, Some(error)) => {
            Err(SendError::Rejected(lastword_sdk::message::Fault::new("refused", error)))
        }
        (None, None) => Err(SendError::Unknown(lastword_sdk::message::Fault::new(
            "unnamed",
            "the server took the message and did not name it",
        ))),
    }
}

fn post(message: &OutboundMessage) -> Result<Response, http::Error> {
    let mut body = json!({ "room": message.place.conversation, "text": message.text }).to_string();
    if Fault::CutsASurrogatePair.planted()
        && let Some(at) = body.find('🚀')
    {
        // The first half of the pair, as a language of 16-bit units writes it.
        body.replace_range(at..at + '🚀'.len_utf8(), "\\ud83d");
    }
    let request =
        http::post("chat").path(["messages"]).bytes("application/json", body.into_bytes());
    if Fault::SendsWithoutDeliveryId.planted() {
        return request.send();
    }
    request.header("idempotency-key", message.delivery_id.as_str()).send()
}
