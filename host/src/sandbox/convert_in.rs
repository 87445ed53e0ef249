//! From the contract's words to the host's. What a guest says is held against the contract's
//! limits; what is over them is refused as a fault of the adapter, whole, with a sentence. Words
//! that are only shown (names, codes, sentences) are cut and made visible instead.

use super::bindings::exports::lastword::channel::{poll, reconcile, webhook};
use super::bindings::lastword::channel::types as wit;
use super::blobs::CallFiles;
use super::guard::Guard;
use super::limits::CallLimits;
use super::limits::contract::{
    ATTACHMENTS_MAX, CONTEXT_BYTES_MAX, CURSOR_BYTES_MAX, EXTRAS_BYTES_MAX, EXTRAS_PAIRS_MAX,
    FAULT_CODE_BYTES_MAX, FAULT_SENTENCE_BYTES_MAX, ID_BYTES_MAX, WORD_BYTES_MAX,
};
use super::spec::{Batch, PollError, WebhookReply};
use super::text::visible;
use crate::lifecycle::files::FileAccess;
use crate::lifecycle::id::BlobId;
use crate::lifecycle::message::{
    AbortRequest, Action, Attachment, AttachmentSource, Audience, Deletion, Extras, Fate,
    InboundEvent, InboundMessage, LateReceipt, OtherEvent, Sender, SentMessage,
};
use crate::lifecycle::outcome::{
    CallError, Fault, Lookup, RateScope, Receipt, SendAnswer, SendError,
};

/// A result that the host does not take, whole.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refused {
    /// A fault of the adapter: it may be mended.
    #[error("the adapter's answer was refused: {0}")]
    Wrong(String),
    /// What the platform sent is more than is ever taken, however often it is sent.
    #[error("the adapter's answer was refused, being too much: {0}")]
    TooMuch(String),
}

type Read<T> = Result<T, Refused>;

/// Reads what a guest said in one call.
pub(super) struct Reader<'a> {
    pub(super) guard: &'a Guard,
    pub(super) limits: &'a CallLimits,
    /// The files that the call was given or has made: it may name no others.
    pub(super) files: &'a CallFiles,
}

impl Reader<'_> {
    fn id(&self, what: &str, id: String) -> Read<String> {
        if (1..=ID_BYTES_MAX).contains(&id.len()) {
            return Ok(id);
        }
        Err(Refused::Wrong(format!(
            "{what} has {} bytes; 1 to {ID_BYTES_MAX} is the rule",
            id.len()
        )))
    }

    fn some_id(&self, what: &str, id: Option<String>) -> Read<Option<String>> {
        id.map(|id| self.id(what, id)).transpose()
    }

    fn extras(&self, extras: Extras) -> Read<Extras> {
        let bytes: usize = extras.iter().map(|(name, value)| name.len() + value.len()).sum();
        if extras.len() > EXTRAS_PAIRS_MAX || bytes > EXTRAS_BYTES_MAX {
            return Err(Refused::TooMuch(format!(
                "extras have {} pairs and {bytes} bytes; {EXTRAS_PAIRS_MAX} and \
                 {EXTRAS_BYTES_MAX} are the most",
                extras.len()
            )));
        }
        Ok(extras)
    }

    fn context(&self, context: Option<String>) -> Read<Option<String>> {
        match &context {
            Some(text) if text.len() > CONTEXT_BYTES_MAX => Err(Refused::TooMuch(format!(
                "a context has {} bytes; {CONTEXT_BYTES_MAX} is the most",
                text.len()
            ))),
            _ => Ok(context),
        }
    }

    fn words(&self, text: &str, bytes_max: usize) -> String {
        // Cut before it is searched; a sentence is read by people, not by the megabyte.
        let end = (0..=text.len().min(4 * bytes_max)).rev().find(|end| text.is_char_boundary(*end));
        visible(&self.guard.redact_text(text[..end.unwrap_or(0)].to_owned()), bytes_max)
    }

    pub(super) fn fault(&self, fault: wit::Fault) -> Fault {
        let code = self.words(&fault.code, FAULT_CODE_BYTES_MAX);
        let code = code.split_whitespace().collect::<Vec<_>>().join("_");
        let code = if code.is_empty() { "unnamed".to_owned() } else { code };
        Fault::new(code, self.words(&fault.sentence, FAULT_SENTENCE_BYTES_MAX))
    }

    /// An empty platform id is none: some platforms give none back.
    fn receipt(&self, receipt: wit::Receipt) -> Read<Receipt> {
        let platform_id = match receipt.platform_id {
            id if id.is_empty() => id,
            id => self.id("a receipt's platform-id", id)?,
        };
        Ok(Receipt { platform_id, extras: self.extras(receipt.extras)? })
    }

    pub(super) fn send_answer(
        &self,
        said: Result<wit::Receipt, wit::SendError>,
    ) -> Read<SendAnswer> {
        Ok(Err(match said {
            Ok(receipt) => return Ok(Ok(self.receipt(receipt)?)),
            Err(wit::SendError::Transient(fault)) => SendError::Transient(self.fault(fault)),
            Err(wit::SendError::RateLimited(limit)) => SendError::RateLimited {
                retry_after_ms: limit.retry_after_ms,
                scope: scope(limit.scope),
            },
            Err(wit::SendError::Offline(fault)) => SendError::Offline(self.fault(fault)),
            Err(wit::SendError::Closed(fault)) => SendError::Closed(self.fault(fault)),
            Err(wit::SendError::Moved(name)) => SendError::Moved(self.id("`moved`", name)?),
            Err(wit::SendError::Rejected(fault)) => SendError::Rejected(self.fault(fault)),
            Err(wit::SendError::Unauthorized(fault)) => SendError::Unauthorized(self.fault(fault)),
            Err(wit::SendError::Unknown(fault)) => SendError::Unknown(self.fault(fault)),
        }))
    }

    pub(super) fn call_error(&self, error: wit::CallError) -> CallError {
        match error {
            wit::CallError::Transient(fault) => CallError::Transient(self.fault(fault)),
            wit::CallError::RateLimited(limit) => CallError::RateLimited {
                retry_after_ms: limit.retry_after_ms,
                scope: scope(limit.scope),
            },
            wit::CallError::Unauthorized(fault) => CallError::Unauthorized(self.fault(fault)),
            wit::CallError::Refused(fault) => CallError::Refused(self.fault(fault)),
            wit::CallError::Unsupported => CallError::Unsupported,
        }
    }

    pub(super) fn lookup(
        &self,
        said: Result<reconcile::Lookup, wit::CallError>,
    ) -> Read<Result<Lookup, CallError>> {
        Ok(match said {
            Ok(reconcile::Lookup::Found(receipt)) => Ok(Lookup::Found(self.receipt(receipt)?)),
            Ok(reconcile::Lookup::Absent) => Ok(Lookup::Absent),
            Ok(reconcile::Lookup::Undecided(why)) => {
                Ok(Lookup::Undecided(self.words(&why, FAULT_SENTENCE_BYTES_MAX)))
            }
            Err(error) => Err(self.call_error(error)),
        })
    }

    pub(super) fn batch(
        &self,
        said: Result<poll::Batch, poll::PollError>,
        most: u32,
    ) -> Read<Result<Batch, PollError>> {
        Ok(match said {
            Ok(batch) => {
                if batch.cursor.len() > CURSOR_BYTES_MAX {
                    return Err(Refused::Wrong(format!(
                        "the cursor has {} bytes; {CURSOR_BYTES_MAX} is the most",
                        batch.cursor.len()
                    )));
                }
                let events = self.events(batch.events, most.min(self.limits.events_per_call))?;
                Ok(Batch { events, cursor: batch.cursor, more: batch.more })
            }
            Err(poll::PollError::Failed(error)) => Err(PollError::Failed(self.call_error(error))),
            Err(poll::PollError::CursorLost(f)) => Err(PollError::CursorLost(self.fault(f))),
            Err(poll::PollError::Conflict(f)) => Err(PollError::Conflict(self.fault(f))),
        })
    }

    pub(super) fn webhook_reply(&self, reply: webhook::Reply) -> Read<WebhookReply> {
        if !(200..=599).contains(&reply.status) {
            return Err(Refused::Wrong(format!("the status {} ends no request", reply.status)));
        }
        if !reply.events.is_empty() && !(200..=299).contains(&reply.status) {
            return Err(Refused::Wrong(format!(
                "{} events stand beside the status {}; the platform would send them again",
                reply.events.len(),
                reply.status
            )));
        }
        if reply.body.len() as u64 > self.limits.reply_body_bytes {
            return Err(Refused::Wrong(format!("the reply's body has {} bytes", reply.body.len())));
        }
        reply_headers(&reply.headers)?;
        let events = self.events(reply.events, self.limits.events_per_call)?;
        let (status, headers, body) = (reply.status, reply.headers, reply.body);
        Ok(WebhookReply { status, headers, body, events, too_much: None })
    }

    /// All or none.
    fn events(&self, events: Vec<wit::InboundEvent>, most: u32) -> Read<Vec<InboundEvent>> {
        if events.len() > most as usize {
            return Err(Refused::TooMuch(format!(
                "there are {} events; {most} is the most",
                events.len()
            )));
        }
        events.into_iter().map(|event| self.event(event)).collect()
    }

    fn event(&self, event: wit::InboundEvent) -> Read<InboundEvent> {
        Ok(match event {
            wit::InboundEvent::Message(message) => InboundEvent::Message(self.message(message)?),
            wit::InboundEvent::Abort(abort) => InboundEvent::Abort(AbortRequest {
                external_id: self.id("an abort's external-id", abort.external_id)?,
                conversation: self.id("an abort's conversation", abort.conversation)?,
                context: self.context(abort.context)?,
                sender: self.sender(abort.sender)?,
            }),
            wit::InboundEvent::Receipt(receipt) => InboundEvent::Receipt(self.late(receipt)?),
            wit::InboundEvent::Edited(message) => InboundEvent::Edited(self.message(message)?),
            wit::InboundEvent::Deleted(deletion) => InboundEvent::Deleted(Deletion {
                conversation: self.id("a deletion's conversation", deletion.conversation)?,
                external_id: self.id("a deletion's external-id", deletion.external_id)?,
            }),
            wit::InboundEvent::Action(action) => InboundEvent::Action(self.action(action)?),
            wit::InboundEvent::Other(other) => InboundEvent::Other(OtherEvent {
                external_id: self.id("an event's external-id", other.external_id)?,
                kind: visible(&other.kind, WORD_BYTES_MAX),
                conversation: self.some_id("an event's conversation", other.conversation)?,
                sender: other.sender.map(|sender| self.sender(sender)).transpose()?,
                extras: self.extras(other.extras)?,
            }),
        })
    }

    fn text(&self, what: &str, text: String) -> Read<String> {
        let (bytes, most) = (text.len(), self.limits.text_bytes);
        if bytes as u64 > most {
            return Err(Refused::TooMuch(format!("{what} has {bytes} bytes; {most} is the most")));
        }
        Ok(text)
    }

    fn action(&self, action: wit::Action) -> Read<Action> {
        let value = action.value.map(|value| self.text("an action's value", value)).transpose()?;
        Ok(Action {
            external_id: self.id("an action's external-id", action.external_id)?,
            conversation: self.id("an action's conversation", action.conversation)?,
            context: self.context(action.context)?,
            audience: audience(action.audience),
            sender: self.sender(action.sender)?,
            name: self.text("an action's name", action.name)?,
            value,
            on_message: self.some_id("an action's on-message", action.on_message)?,
            extras: self.extras(action.extras)?,
        })
    }

    fn message(&self, message: wit::InboundMessage) -> Read<InboundMessage> {
        if message.attachments.len() > ATTACHMENTS_MAX {
            return Err(Refused::TooMuch(format!(
                "a message has {} attachments; {ATTACHMENTS_MAX} is the most",
                message.attachments.len()
            )));
        }
        let attachments = message.attachments.into_iter().map(|file| self.attachment(file));
        Ok(InboundMessage {
            external_id: self.id("a message's external-id", message.external_id)?,
            conversation: self.id("a message's conversation", message.conversation)?,
            context: self.context(message.context)?,
            audience: audience(message.audience),
            sender: self.sender(message.sender)?,
            text: self.text("a message's text", message.text)?,
            attachments: attachments.collect::<Read<_>>()?,
            sent_at_ms: message.sent_at_ms,
            reply_to: self.some_id("a message's reply-to", message.reply_to)?,
            group: self.some_id("a message's group", message.group)?,
            wakes: message.wakes,
            extras: self.extras(message.extras)?,
            event: None,
        })
    }

    fn sender(&self, sender: wit::Sender) -> Read<Sender> {
        Ok(Sender {
            id: self.id("a sender's id", sender.id)?,
            display_name: sender.display_name.map(|name| visible(&name, WORD_BYTES_MAX)),
            is_bot: sender.is_bot,
        })
    }

    fn attachment(&self, file: wit::Attachment) -> Read<Attachment> {
        let source = match file.source {
            wit::AttachmentSource::Remote(words) if words.len() <= CONTEXT_BYTES_MAX => {
                AttachmentSource::Remote(words)
            }
            wit::AttachmentSource::Remote(words) => {
                return Err(Refused::Wrong(format!(
                    "an attachment's source has {} bytes",
                    words.len()
                )));
            }
            wit::AttachmentSource::Blob(blob) => {
                AttachmentSource::Blob(self.blob("an attachment", &blob)?.to_string())
            }
        };
        Ok(Attachment {
            name: file.name.map(|name| visible(&name, WORD_BYTES_MAX)),
            media_type: visible(&file.media_type, WORD_BYTES_MAX),
            size_bytes: file.size_bytes,
            source,
            access: FileAccess::default(),
        })
    }

    fn blob(&self, what: &str, blob: &str) -> Read<BlobId> {
        let sentence = || {
            Refused::Wrong(format!(
                "{what} names a blob that this call was not given and did not make"
            ))
        };
        self.files.knows(blob).ok_or_else(sentence)
    }

    pub(super) fn downloaded(
        &self,
        said: Result<String, wit::CallError>,
    ) -> Read<Result<BlobId, CallError>> {
        match said {
            Ok(blob) => self.blob("the answer of `download`", &blob).map(Ok),
            Err(error) => Ok(Err(self.call_error(error))),
        }
    }

    fn late(&self, receipt: wit::LateReceipt) -> Read<LateReceipt> {
        let about = match receipt.about {
            wit::SentMessage::PlatformId(id) => {
                SentMessage::PlatformId(self.id("a late receipt's platform-id", id)?)
            }
            wit::SentMessage::DeliveryId((ours, theirs)) => SentMessage::DeliveryId(
                self.id("a late receipt's delivery-id", ours)?,
                self.some_id("a late receipt's platform-id", theirs)?,
            ),
        };
        Ok(LateReceipt {
            conversation: self.some_id("a late receipt's conversation", receipt.conversation)?,
            about,
            fate: match receipt.fate {
                wit::Fate::Accepted => Fate::Accepted,
                wit::Fate::Delivered => Fate::Delivered,
                wit::Fate::Read => Fate::Read,
                wit::Fate::Failed(fault) => Fate::Failed(self.fault(fault)),
            },
            at_ms: receipt.at_ms,
        })
    }
}

fn audience(audience: wit::Audience) -> Audience {
    match audience {
        wit::Audience::Direct => Audience::Direct,
        wit::Audience::Group => Audience::Group,
        wit::Audience::Unknown => Audience::Unknown,
    }
}

fn scope(scope: wit::RateScope) -> RateScope {
    match scope {
        wit::RateScope::Conversation => RateScope::Conversation,
        wit::RateScope::Channel => RateScope::Channel,
    }
}

/// What a platform may be told in headers: nothing about the connection, no cookies for the host's
/// own address, none of the host's own words.
fn reply_headers(headers: &[(String, String)]) -> Read<()> {
    const HOST_ONLY: [&str; 7] = [
        "connection",
        "content-length",
        "keep-alive",
        "set-cookie",
        "trailer",
        "transfer-encoding",
        "upgrade",
    ];
    if headers.len() > 64 {
        return Err(Refused::Wrong(format!(
            "the reply has {} headers; 64 is the most",
            headers.len()
        )));
    }
    for (name, value) in headers {
        let known = http::HeaderName::from_bytes(name.as_bytes());
        let fits = known.is_ok_and(|name| {
            !HOST_ONLY.contains(&name.as_str()) && !name.as_str().starts_with("lastword-")
        });
        if !fits || value.len() > 4_096 || http::HeaderValue::from_bytes(value.as_bytes()).is_err()
        {
            let name = visible(name, 64);
            return Err(Refused::Wrong(format!("the reply's header `{name}` may not be sent")));
        }
    }
    Ok(())
}
