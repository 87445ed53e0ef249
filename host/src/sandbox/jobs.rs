//! The calls that a host makes of a guest: which export, with what, and how its answer is read.
//! They run inside a live instance; `run` gives them one.

use std::future::Future;
use std::sync::Arc;

use wasmtime::component::Instance;
use wasmtime::{Result, Store};

use super::bindings::exports::lastword::channel::progress::ProgressKind;
use super::bound::Bound;
use super::convert_in::{Reader, Refused};
use super::exports::Exports;
use super::guest::Guest;
use super::manifest::{Manifest, Offers};
use super::spec::{Activity, Batch, PollError, WebhookReply, WebhookRequest};
use super::{convert_out, manifest_read};
use crate::lifecycle::id::BlobId;
use crate::lifecycle::message::{Attachment, OutboundMessage, Place};
use crate::lifecycle::outcome::{CallError, Fault, Lookup, SendAnswer};

/// One call of one export.
pub(super) trait Job: Send {
    type Answer: Send;

    /// For logs.
    fn label(&self) -> &'static str;

    /// Calls and reads the answer. An error is a trap, or [`Refused`].
    fn run(
        self,
        store: &mut Store<Guest>,
        instance: Instance,
        exports: &Exports,
    ) -> impl Future<Output = Result<Self::Answer>> + Send;
}

fn reader<'a>(bound: &'a Bound, store: &'a Store<Guest>) -> Reader<'a> {
    Reader { guard: &bound.guard, limits: &bound.limits, files: &store.data().files }
}

/// An optional export that the caller knows to be there.
fn offered<'a, T>(export: &'a Option<T>, name: &str) -> Result<&'a T> {
    export.as_ref().ok_or_else(|| wasmtime::format_err!("the adapter exports no `{name}`"))
}

/// `adapter.describe`, with every export's types checked beside it.
pub(super) struct Describe(pub(super) Offers);

impl Job for Describe {
    type Answer = std::result::Result<Manifest, Vec<String>>;

    fn label(&self) -> &'static str {
        "describe"
    }

    async fn run(
        self,
        store: &mut Store<Guest>,
        instance: Instance,
        exports: &Exports,
    ) -> Result<Self::Answer> {
        exports.check_types(store, &instance)?;
        let adapter = exports.adapter.load(&mut *store, &instance)?;
        let said = adapter.call_describe(&mut *store).await?;
        Ok(manifest_read::read(said, self.0))
    }
}

/// `adapter.check`: problems, none where it is content.
pub(super) struct Check(pub(super) Arc<Bound>);

impl Job for Check {
    type Answer = Vec<String>;

    fn label(&self) -> &'static str {
        "check"
    }

    async fn run(
        self,
        store: &mut Store<Guest>,
        instance: Instance,
        exports: &Exports,
    ) -> Result<Self::Answer> {
        let adapter = exports.adapter.load(&mut *store, &instance)?;
        let Err(problems) = adapter.call_check(&mut *store).await? else { return Ok(Vec::new()) };
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
            sentences
                .push("the adapter's `check` refuses the settings and does not say why".into());
        }
        Ok(sentences)
    }
}

/// `outbound.send-final`.
pub(super) struct SendFinal(pub(super) Arc<Bound>, pub(super) OutboundMessage);

impl Job for SendFinal {
    type Answer = SendAnswer;

    fn label(&self) -> &'static str {
        "send-final"
    }

    async fn run(
        self,
        store: &mut Store<Guest>,
        instance: Instance,
        exports: &Exports,
    ) -> Result<SendAnswer> {
        let outbound = exports.outbound.load(&mut *store, &instance)?;
        let message = convert_out::outbound(self.1);
        let said = outbound.call_send_final(&mut *store, &message).await?;
        Ok(reader(&self.0, store).send_answer(said)?)
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

    async fn run(
        self,
        store: &mut Store<Guest>,
        instance: Instance,
        exports: &Exports,
    ) -> Result<SendAnswer> {
        let progress = offered(&exports.progress, "progress")?.load(&mut *store, &instance)?;
        let kind = match self.1 {
            Progress::Tool => ProgressKind::Tool,
            Progress::Block => ProgressKind::Block,
        };
        let message = convert_out::outbound(self.2);
        let said = progress.call_send_progress(&mut *store, kind, &message).await?;
        Ok(reader(&self.0, store).send_answer(said)?)
    }
}

/// `progress.indicate`.
pub(super) struct Indicate(pub(super) Arc<Bound>, pub(super) Place, pub(super) Activity);

impl Job for Indicate {
    type Answer = std::result::Result<Option<u32>, CallError>;

    fn label(&self) -> &'static str {
        "indicate"
    }

    async fn run(
        self,
        store: &mut Store<Guest>,
        instance: Instance,
        exports: &Exports,
    ) -> Result<Self::Answer> {
        let progress = offered(&exports.progress, "progress")?.load(&mut *store, &instance)?;
        let (place, activity) = (convert_out::place(self.1), convert_out::activity(self.2));
        let said = progress.call_indicate(&mut *store, &place, activity).await?;
        Ok(said.map_err(|error| reader(&self.0, store).call_error(error)))
    }
}

/// `reconcile.find`.
pub(super) struct Find(pub(super) Arc<Bound>, pub(super) OutboundMessage, pub(super) u64);

impl Job for Find {
    type Answer = std::result::Result<Lookup, CallError>;

    fn label(&self) -> &'static str {
        "find"
    }

    async fn run(
        self,
        store: &mut Store<Guest>,
        instance: Instance,
        exports: &Exports,
    ) -> Result<Self::Answer> {
        let reconcile = offered(&exports.reconcile, "reconcile")?.load(&mut *store, &instance)?;
        let message = convert_out::outbound(self.1);
        let said = reconcile.call_find(&mut *store, &message, self.2).await?;
        Ok(reader(&self.0, store).lookup(said)?)
    }
}

/// `webhook.handle`.
pub(super) struct Webhook(pub(super) Arc<Bound>, pub(super) WebhookRequest);

impl Job for Webhook {
    type Answer = WebhookReply;

    fn label(&self) -> &'static str {
        "webhook"
    }

    async fn run(
        self,
        store: &mut Store<Guest>,
        instance: Instance,
        exports: &Exports,
    ) -> Result<WebhookReply> {
        let webhook = offered(&exports.webhook, "webhook")?.load(&mut *store, &instance)?;
        let request = convert_out::webhook(self.1, self.0.public_url.as_deref());
        let said = webhook.call_handle(&mut *store, &request).await?;
        match reader(&self.0, store).webhook_reply(said) {
            Ok(reply) => Ok(reply),
            Err(Refused::TooMuch(why)) => {
                let why = self.0.guard.redact_text(why);
                Ok(WebhookReply { status: 413, too_much: Some(why), ..WebhookReply::default() })
            }
            Err(wrong @ Refused::Wrong(_)) => Err(wrong.into()),
        }
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

    async fn run(
        self,
        store: &mut Store<Guest>,
        instance: Instance,
        exports: &Exports,
    ) -> Result<Self::Answer> {
        let poll = offered(&exports.poll, "poll")?.load(&mut *store, &instance)?;
        let cursor = self.cursor.as_deref();
        let said = poll.call_next(&mut *store, cursor, self.wait_ms, self.most).await?;
        match reader(&self.bound, store).batch(said, self.most) {
            Ok(batch) => Ok(batch),
            Err(Refused::TooMuch(why)) => {
                let fault = Fault::new("too_much", self.bound.guard.redact_text(why));
                Ok(Err(PollError::Failed(CallError::Refused(fault))))
            }
            Err(wrong @ Refused::Wrong(_)) => Err(wrong.into()),
        }
    }
}

/// `files.download`.
pub(super) struct Download(pub(super) Arc<Bound>, pub(super) Place, pub(super) Attachment);

impl Job for Download {
    type Answer = std::result::Result<BlobId, CallError>;

    fn label(&self) -> &'static str {
        "download"
    }

    async fn run(
        self,
        store: &mut Store<Guest>,
        instance: Instance,
        exports: &Exports,
    ) -> Result<Self::Answer> {
        let files = offered(&exports.files, "files")?.load(&mut *store, &instance)?;
        let (place, file) = (convert_out::place(self.1), convert_out::attachment(self.2));
        let said = files.call_download(&mut *store, &place, &file).await?;
        Ok(reader(&self.0, store).downloaded(said)?)
    }
}

const _: fn(Refused) -> wasmtime::Error = wasmtime::Error::from;
