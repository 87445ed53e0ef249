//! The generic bridge: anything that speaks JSON over HTTP can push messages in, and gets replies
//! pushed to one address, both signed as in Standard Webhooks.
//!
//! In: `POST messages` and `POST abort` behind the channel's prefix. Out: `POST` to the setting
//! `callback_url`. The shapes are pinned in the documentation of the outside face.

mod inbound;
mod outbound;
mod signature;

use lastword_sdk::prelude::*;

/// How long a receiver is asked to remember a `webhook-id`: a day.
const IDEMPOTENT_FOR_MS: u64 = 24 * 60 * 60 * 1000;

struct WebhookBridge;

impl Adapter for WebhookBridge {
    fn describe() -> Manifest {
        Manifest::new(
            "webhook",
            env!("CARGO_PKG_VERSION"),
            "Takes messages as JSON and posts replies to one address, signed.",
        )
        .target(Target::fixed("callback", "{setting.callback_url}").post("", Effect::Send))
        .secret(
            SecretSlot::optional("inbound-key", "checks the signatures of what is pushed in")
                .base64_after("whsec_")
                .verifies(),
        )
        .secret(
            SecretSlot::optional("outbound-key", "signs the replies")
                .base64_after("whsec_")
                .signs(),
        )
        .settings(json!({
            "type": "object",
            "properties": {
                "callback_url": {
                    "type": "string",
                    "description": "where replies are posted to",
                    "pattern": "^https?://",
                },
            },
            "required": ["callback_url"],
            "additionalProperties": false,
        }))
        .idempotent_for_ms(IDEMPOTENT_FOR_MS)
    }

    fn check() -> Result<(), Vec<Problem>> {
        let url: String = settings::require("callback_url").map_err(|error| vec![error.into()])?;
        let host = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
        match host {
            Some(host) if !host.is_empty() && !host.starts_with('/') => Ok(()),
            Some(_) | None => Err(vec![Problem::new(
                "callback_url",
                "`callback_url` is no http or https address; write `https://HOST/PATH`",
            )]),
        }
    }
}

impl Outbound for WebhookBridge {
    fn send_final(message: OutboundMessage) -> Result<Receipt, SendError> {
        outbound::post("final", &message)
    }
}

impl Progress for WebhookBridge {
    fn send_progress(kind: ProgressKind, message: OutboundMessage) -> Result<Receipt, SendError> {
        let kind = match kind {
            ProgressKind::Tool => "tool",
            ProgressKind::Block => "block",
        };
        outbound::post(kind, &message)
    }
}

impl Webhook for WebhookBridge {
    fn handle(request: Request) -> Result<Reply, Refusal> {
        let read = match request.route() {
            "messages" => inbound::messages,
            "abort" => inbound::abort,
            _ => return Err(Refusal::no_such_path()),
        };
        if request.method != "POST" {
            return Err(Refusal::new(405, "this path takes POST"));
        }
        signature::check(&request)?;
        let events = read(&request)?;
        let body = json!({ "events": events.len() });
        Ok(Reply::accept(events).json(&body))
    }
}

lastword_sdk::export!(WebhookBridge with webhook, progress);

#[cfg(test)]
mod tests;
