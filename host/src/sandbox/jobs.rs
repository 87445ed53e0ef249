//! What is asked of a guest, and how its answer is read: every job is an order, and a reader of
//! what was said. Orders run where the adapter does; reading is done in the host.

use std::sync::Arc;

use wasmtime::Result;

use super::bindings::exports::lastword::channel::progress::ProgressKind;
use super::bound::Bound;
use super::convert_in::{Reader, Refused};
use super::guest::Guest;
use super::manifest::{Manifest, Offers};
use super::orders::{Order, Said};
use super::spec::{Activity, Batch, PollError, WebhookReply, WebhookRequest};
use super::{convert_out, manifest_read};
use crate::lifecycle::id::BlobId;
use crate::lifecycle::message::{Attachment, OutboundMessage, Place};
use crate::lifecycle::outcome::{CallError, Fault, Lookup, SendAnswer};

/// Reads what was said. An error is as a trap: [`Refused`], or an answer to another question.
pub(super) type Read<T> = Box<dyn FnOnce(Said, &Guest) -> Result<T> + Send>;

/// One call of one export.
pub(super) trait Job: Send {
    type Answer: Send;

    /// For logs.
    fn label(&self) -> &'static str;

    /// What is to be done, and how the answer is read.
    fn split(self) -> (Order, Read<Self::Answer>);
}

fn reader<'a>(bound: &'a Bound, guest: &'a Guest) -> Reader<'a> {
    Reader { guard: &bound.guard, limits: &bound.limits, files: &guest.files }
}

/// Only a process that does not keep to the protocol gives it.
fn unfit<T>() -> Result<T> {
    wasmtime::bail!("the adapter's process answered another question")
}

/// `adapter.describe`, with every export's types checked beside it.
pub(super) struct Describe(pub(super) Offers);

impl Job for Describe {
    type Answer = std::result::Result<Manifest, Vec<String>>;

    fn label(&self) -> &'static str {
        "describe"
    }

    fn split(self) -> (Order, Read<Self::Answer>) {
        let read = move |said, _: &Guest| match said {
            Said::Described(said) => Ok(manifest_read::read(said, self.0)),
            _ => unfit(),
        };
        (Order::Describe, Box::new(read))
    }
}

/// `adapter.check`: problems, none where it is content.
pub(super) struct Check(pub(super) Arc<Bound>);

impl Job for Check {
    type Answer = Vec<String>;

    fn label(&self) -> &'static str {
        "check"
    }

    fn split(self) -> (Order, Read<Self::Answer>) {
        let read = move |said, _: &Guest| {
            let Said::Checked(said) = said else { return unfit() };
            let Err(problems) = said else { return Ok(Vec::new()) };
            let clean = |text: String| super::text::visible(&self.0.guard.redact_text(text), 512);
            let sentences = problems.into_iter().take(20).map(|problem| {
                format!(
                    "[channels.{}] settings.{}: {}",
                    self.0.name,
                    clean(problem.setting),
                    clean(problem.sentence)
                )
            });
            let mut sentences: Vec<_> = sentences.collect();
            if sentences.is_empty() {
                let silent = "the adapter's `check` refuses the settings and does not say why";
                sentences.push(silent.into());
            }
            Ok(sentences)
        };
        (Order::Check, Box::new(read))
    }
}

fn read_sent(bound: Arc<Bound>) -> Read<SendAnswer> {
    Box::new(move |said, guest| match said {
        Said::Sent(said) => Ok(reader(&bound, guest).send_answer(said)?),
        _ => unfit(),
    })
}

/// `outbound.send-final`.
pub(super) struct SendFinal(pub(super) Arc<Bound>, pub(super) OutboundMessage);

impl Job for SendFinal {
    type Answer = SendAnswer;

    fn label(&self) -> &'static str {
        "send-final"
    }

    fn split(self) -> (Order, Read<SendAnswer>) {
        (Order::SendFinal(convert_out::outbound(self.1)), read_sent(self.0))
    }
}

/// What a progress message tells of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Progress {
    Tool,
    Block,
}

/// `progress.send-progress`.
pub(super) struct SendProgress(
    pub(super) Arc<Bound>,
    pub(super) Progress,
    pub(super) OutboundMessage,
);

impl Job for SendProgress {
    type Answer = SendAnswer;

    fn label(&self) -> &'static str {
        "send-progress"
    }

    fn split(self) -> (Order, Read<SendAnswer>) {
        let kind = match self.1 {
            Progress::Tool => ProgressKind::Tool,
            Progress::Block => ProgressKind::Block,
        };
        (Order::SendProgress(kind, convert_out::outbound(self.2)), read_sent(self.0))
    }
}

/// `progress.indicate`.
pub(super) struct Indicate(pub(super) Arc<Bound>, pub(super) Place, pub(super) Activity);

impl Job for Indicate {
    type Answer = std::result::Result<Option<u32>, CallError>;

    fn label(&self) -> &'static str {
        "indicate"
    }

    fn split(self) -> (Order, Read<Self::Answer>) {
        let Self(bound, place, activity) = self;
        let order = Order::Indicate(convert_out::place(place), convert_out::activity(activity));
        let read = move |said, guest: &Guest| match said {
            Said::Indicated(said) => {
                Ok(said.map_err(|error| reader(&bound, guest).call_error(error)))
            }
            _ => unfit(),
        };
        (order, Box::new(read))
    }
}

/// `reconcile.find`.
pub(super) struct Find(pub(super) Arc<Bound>, pub(super) OutboundMessage, pub(super) u64);

impl Job for Find {
    type Answer = std::result::Result<Lookup, CallError>;

    fn label(&self) -> &'static str {
        "find"
    }

    fn split(self) -> (Order, Read<Self::Answer>) {
        let Self(bound, message, since_ms) = self;
        let read = move |said, guest: &Guest| match said {
            Said::Found(said) => Ok(reader(&bound, guest).lookup(said)?),
            _ => unfit(),
        };
        (Order::Find(convert_out::outbound(message), since_ms), Box::new(read))
    }
}

/// `webhook.handle`.
pub(super) struct Webhook(pub(super) Arc<Bound>, pub(super) WebhookRequest);

impl Job for Webhook {
    type Answer = WebhookReply;

    fn label(&self) -> &'static str {
        "webhook"
    }

    fn split(self) -> (Order, Read<WebhookReply>) {
        let Self(bound, request) = self;
        let order = Order::Webhook(convert_out::webhook(request, bound.public_url.as_deref()));
        let read = move |said, guest: &Guest| {
            let Said::Handled(said) = said else { return unfit() };
            let read = reader(&bound, guest).webhook_reply(said);
            match read.and_then(|reply| {
                bound.egress.let_out(&reply).map_err(Refused::Wrong)?;
                Ok(reply)
            }) {
                Ok(reply) => Ok(reply),
                Err(Refused::TooMuch(why)) => {
                    let why = bound.guard.redact_text(why);
                    Ok(WebhookReply { status: 413, too_much: Some(why), ..WebhookReply::default() })
                }
                Err(wrong @ Refused::Wrong(_)) => Err(wrong.into()),
            }
        };
        (order, Box::new(read))
    }
}

/// `poll.next`.
pub(super) struct Poll {
    pub(super) bound: Arc<Bound>,
    pub(super) cursor: Option<String>,
    pub(super) wait_ms: u32,
    pub(super) most: u32,
}

impl Job for Poll {
    type Answer = std::result::Result<Batch, PollError>;

    fn label(&self) -> &'static str {
        "poll"
    }

    fn split(self) -> (Order, Read<Self::Answer>) {
        let Self { bound, cursor, wait_ms, most } = self;
        let read = move |said, guest: &Guest| {
            let Said::Polled(said) = said else { return unfit() };
            match reader(&bound, guest).batch(said, most) {
                Ok(batch) => Ok(batch),
                Err(Refused::TooMuch(why)) => {
                    let fault = Fault::new("too_much", bound.guard.redact_text(why));
                    Ok(Err(PollError::Failed(CallError::Refused(fault))))
                }
                Err(wrong @ Refused::Wrong(_)) => Err(wrong.into()),
            }
        };
        (Order::Poll { cursor, wait_ms, most }, Box::new(read))
    }
}

/// `files.download`.
pub(super) struct Download(pub(super) Arc<Bound>, pub(super) Place, pub(super) Attachment);

impl Job for Download {
    type Answer = std::result::Result<BlobId, CallError>;

    fn label(&self) -> &'static str {
        "download"
    }

    fn split(self) -> (Order, Read<Self::Answer>) {
        let Self(bound, place, file) = self;
        let order = Order::Download(convert_out::place(place), convert_out::attachment(file));
        let read = move |said, guest: &Guest| match said {
            Said::Downloaded(said) => Ok(reader(&bound, guest).downloaded(said)?),
            _ => unfit(),
        };
        (order, Box::new(read))
    }
}

const _: fn(Refused) -> wasmtime::Error = wasmtime::Error::from;
