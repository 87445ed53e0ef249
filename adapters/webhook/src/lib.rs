//! The generic bridge: anything that speaks JSON over HTTP can push messages in, and gets replies
//! pushed to one address, both signed as in Standard Webhooks.
//!
//! In: `POST messages`, `POST abort` and `POST events` behind the channel's prefix; files by address,
//! fetched from `files_origin` where that is granted. Out: `POST` to the setting `callback_url`,
//! with files as multipart. The shapes are pinned in the documentation of the outside face.

mod happenings;
mod inbound;
mod outbound;
mod signature;

use lastword_sdk::adapter::{Limits, Origin};
use lastword_sdk::prelude::*;

/// How long a receiver is asked to remember a `webhook-id`: a day.
const IDEMPOTENT_FOR_MS: u64 = 24 * 60 * 60 * 1000;

/// Files of one message.
const FILES_MAX: u32 = 10;

/// The target of files that come by address.
const FILES: &str = "files";

struct WebhookBridge;

impl Adapter for WebhookBridge {
    fn describe() -> Manifest {
        let manifest = Manifest::new(
            "webhook",
            env!("CARGO_PKG_VERSION"),
            "Takes messages as JSON and posts replies to one address, signed.",
        )
        .target(Target::fixed("callback", "{setting.callback_url}").post("", Effect::Send))
        .target(files_target())
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
                "files_origin": {
                    "type": "string",
                    "description": "where files of messages are fetched from, as \
                                    https://files.example or https://*.files.example; needs the \
                                    target `files` granted",
                    "pattern": "^https?://[^/]+$",
                },
            },
            "required": ["callback_url"],
            "additionalProperties": false,
        }))
        .idempotent_for_ms(IDEMPOTENT_FOR_MS);
        Manifest { limits: Limits { files: FILES_MAX, ..manifest.limits }, ..manifest }
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

fn files_target() -> Target {
    let origin = Origin::Matching(vec!["{setting.files_origin}".to_owned()]);
    Target { origin, ..Target::fixed(FILES, "") }.get("/**", Effect::Read)
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
            "events" => happenings::events,
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

impl Files for WebhookBridge {
    fn download(_: Place, file: Attachment) -> Result<String, CallError> {
        let Some(url) = file.remote_reference() else {
            return Err(CallError::Refused(Fault::new("no-url", "the file has no address")));
        };
        let saved = http::get(FILES).url(url).download()?;
        match saved.status {
            // Whoever keeps the files is not who takes the replies: the channel goes on.
            401 | 403 => {
                let sentence = format!("the file was refused with {}", saved.status);
                Err(CallError::Refused(Fault::new(format!("http-{}", saved.status), sentence)))
            }
            _ => saved.for_call(),
        }
    }
}

lastword_sdk::export!(WebhookBridge with files, progress, webhook);

#[cfg(test)]
mod tests;
