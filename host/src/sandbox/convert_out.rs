//! From the host's words to the contract's.

use super::bindings::exports::lastword::channel::{progress, webhook};
use super::bindings::lastword::channel::types as wit;
use super::spec::{Activity, WebhookRequest};
use crate::lifecycle::message::{Attachment, AttachmentSource, OutboundMessage, Place, TextFormat};

pub(super) fn outbound(message: OutboundMessage) -> wit::OutboundMessage {
    wit::OutboundMessage {
        delivery_id: message.delivery_id.to_string(),
        turn_id: message.turn_id.map(|id| id.to_string()),
        place: place(message.place),
        text: message.text,
        format: match message.format {
            TextFormat::Plain => wit::TextFormat::Plain,
            TextFormat::Markdown => wit::TextFormat::Markdown,
        },
        attachments: message.attachments.into_iter().map(attachment).collect(),
        replaces: None,
        part: message.part,
        parts: message.parts,
        attempt: message.attempt,
        extras: message.extras,
    }
}

pub(super) fn attachment(file: Attachment) -> wit::Attachment {
    let Attachment { name, media_type, size_bytes, source, access: _ } = file;
    let source = match source {
        AttachmentSource::Remote(words) => wit::AttachmentSource::Remote(words),
        AttachmentSource::Blob(blob) => wit::AttachmentSource::Blob(blob),
    };
    wit::Attachment { name, media_type, size_bytes, source }
}

pub(super) fn place(place: Place) -> wit::Place {
    wit::Place {
        conversation: place.conversation,
        context: place.context,
        reply_to: place.reply_to,
    }
}

pub(super) fn activity(activity: Activity) -> progress::Activity {
    match activity {
        Activity::Seen => progress::Activity::Seen,
        Activity::Typing => progress::Activity::Typing,
        Activity::Idle => progress::Activity::Idle,
    }
}

/// The whole address is the operator's, then path and query as they came: never a `Host` header.
pub(super) fn webhook(request: WebhookRequest, public_url: Option<&str>) -> webhook::Request {
    let mut url = format!("{}{}", public_url.unwrap_or_default(), request.path);
    if !request.query.is_empty() {
        url.push('?');
        url.push_str(&request.query);
    }
    webhook::Request {
        method: request.method,
        url,
        path: request.path,
        query: request.query,
        headers: request.headers,
        body: request.body,
    }
}
