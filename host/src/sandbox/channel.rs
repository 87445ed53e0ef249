//! An admitted adapter bound to one channel: its settings, secrets and grants checked once, then
//! calls, each in a fresh instance. It knows no rows and no workers.

use std::sync::Arc;

use tokio::sync::Semaphore;

use super::admission::Adapter;
use super::blobs::{BlobStore, CallFiles};
use super::bound::Bound;
use super::egress::Sends;
use super::guest::Standing;
use super::jobs::{
    Check, Download, Find, Indicate, Job, Poll, Progress, SendFinal, SendProgress, Webhook,
};
use super::lanes::Lane;
use super::run::{Callee, Terms};
use super::spec::{
    Activity, Batch, ChannelSpec, PollError, Refusal, Rehearsal, WebhookReply, WebhookRequest,
};
use super::state::StateSource;
use super::stop::StopSignal;
use crate::lifecycle::id::{BlobId, ChannelName};
use crate::lifecycle::message::{Attachment, DeliveryKind, OutboundMessage, Place};
use crate::lifecycle::outcome::{
    Call, CallEnd, CallError, Fault, Ledger, Lookup, SendAnswer, StateWrites, Usage,
};

/// One channel, ready to be called. Cheap to clone.
#[derive(Clone)]
pub struct Channel(Arc<Inner>);

struct Inner {
    adapter: Adapter,
    bound: Arc<Bound>,
    outward: Arc<Semaphore>,
    inward: Arc<Semaphore>,
    lane: Lane,
    callee: Callee,
}

/// Which of a channel's permits a call takes. Apart, so that sends that hang cannot keep out what
/// the platform delivers, nor a flood of webhooks the replies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// To the platform.
    Outward,
    /// From the platform.
    Inward,
}

impl Channel {
    pub(super) async fn bind(
        adapter: &Adapter,
        spec: ChannelSpec,
        state: Arc<dyn StateSource>,
        blobs: Arc<dyn BlobStore>,
        rehearsal: Option<Rehearsal>,
    ) -> Result<Self, Refusal> {
        let engine = &adapter.0.engine.0;
        let bound = Bound::new(
            adapter.manifest(),
            spec,
            state,
            blobs,
            &engine.env,
            &engine.dialer,
            &engine.config,
        )?;
        let bound = Arc::new(Bound { rehearsal, ..bound });
        let permits = || Arc::new(Semaphore::new(bound.limits.calls_at_once as usize));
        let (outward, inward) = (permits(), permits());
        let callee = adapter.callee_of(&bound);
        let (adapter, lane) = (adapter.clone(), engine.runner.lanes.lane());
        let inner = Inner { adapter, bound, outward, inward, lane, callee };
        let channel = Self(Arc::new(inner));
        channel.0.callee.ground.warm().await?;
        let problems = channel.check().await;
        if problems.is_empty() { Ok(channel) } else { Err(Refusal::from(problems)) }
    }

    async fn check(&self) -> Vec<String> {
        let bound = Arc::clone(&self.0.bound);
        let most = bound.limits.check_ms;
        let standing = Standing::Checking(Arc::clone(&bound));
        let files = CallFiles::default();
        let call =
            self.call(Way::Inward, standing, most, files, Check(bound), StopSignal::never()).await;
        match call.end {
            CallEnd::Answered(problems) => problems,
            CallEnd::Trapped(words) => vec![format!("the adapter's `check` trapped: {words}")],
            CallEnd::DeadlinePassed | CallEnd::CpuSpent => {
                vec![format!("the adapter's `check` did not answer within {most} ms")]
            }
            CallEnd::NotCalled(fault) => {
                vec![format!("`check` was not called: {}", fault.sentence)]
            }
            CallEnd::Cancelled => vec!["`check` was cancelled".to_owned()],
        }
    }

    /// The channel's name.
    #[must_use]
    pub fn name(&self) -> &ChannelName {
        &self.0.bound.name
    }

    /// The adapter that serves it.
    #[must_use]
    pub fn adapter(&self) -> &Adapter {
        &self.0.adapter
    }

    /// Sends one message: `send-final` for finals and notices, `send-progress` for the others.
    pub async fn send(
        &self,
        kind: DeliveryKind,
        message: OutboundMessage,
        stop: StopSignal,
    ) -> Call<SendAnswer> {
        let bound = Arc::clone(&self.0.bound);
        let standing = Standing::Calling(Arc::clone(&bound), Sends::Allowed);
        let wall_ms = bound.limits.send_ms;
        let files = given(&message.attachments);
        let progress = match kind {
            DeliveryKind::Final | DeliveryKind::Notice => {
                return self
                    .call(Way::Outward, standing, wall_ms, files, SendFinal(bound, message), stop)
                    .await;
            }
            DeliveryKind::Tool => Progress::Tool,
            DeliveryKind::Block => Progress::Block,
        };
        if !self.0.adapter.manifest().offers.progress {
            return self.not_offered("progress");
        }
        self.call(
            Way::Outward,
            standing,
            wall_ms,
            files,
            SendProgress(bound, progress, message),
            stop,
        )
        .await
    }

    /// Asks what became of a message; `since_ms` is when its first attempt began.
    pub async fn find(
        &self,
        message: OutboundMessage,
        since_ms: u64,
        stop: StopSignal,
    ) -> Call<Result<Lookup, CallError>> {
        if !self.0.adapter.manifest().offers.reconcile {
            return self.not_offered("reconcile");
        }
        let bound = Arc::clone(&self.0.bound);
        let wall_ms = bound.limits.find_ms;
        let files = given(&message.attachments);
        self.call(
            Way::Outward,
            self.reading(),
            wall_ms,
            files,
            Find(bound, message, since_ms),
            stop,
        )
        .await
    }

    /// Hands a platform's request to the adapter.
    pub async fn webhook(&self, request: WebhookRequest, stop: StopSignal) -> Call<WebhookReply> {
        if !self.0.adapter.manifest().offers.webhook {
            return self.not_offered("webhook");
        }
        let bound = Arc::clone(&self.0.bound);
        let wall_ms = bound.limits.webhook_ms;
        let files = CallFiles::default();
        self.call(Way::Inward, self.reading(), wall_ms, files, Webhook(bound, request), stop).await
    }

    /// Fetches messages; may wait at the platform for up to `wait_ms`, which should leave a few
    /// seconds of the limit `poll_ms`.
    pub async fn poll(
        &self,
        cursor: Option<String>,
        wait_ms: u32,
        most: u32,
        stop: StopSignal,
    ) -> Call<Result<Batch, PollError>> {
        if !self.0.adapter.manifest().offers.poll {
            return self.not_offered("poll");
        }
        let bound = Arc::clone(&self.0.bound);
        let wall_ms = bound.limits.poll_ms;
        let (files, job) = (CallFiles::default(), Poll { bound, cursor, wait_ms, most });
        self.call(Way::Inward, self.reading(), wall_ms, files, job, stop).await
    }

    /// Shows or clears an activity; says after how many milliseconds it fades.
    pub async fn indicate(
        &self,
        place: Place,
        activity: Activity,
        stop: StopSignal,
    ) -> Call<Result<Option<u32>, CallError>> {
        if !self.0.adapter.manifest().offers.progress {
            return self.not_offered("progress");
        }
        let bound = Arc::clone(&self.0.bound);
        let wall_ms = bound.limits.indicate_ms;
        let files = CallFiles::default();
        self.call(
            Way::Outward,
            self.reading(),
            wall_ms,
            files,
            Indicate(bound, place, activity),
            stop,
        )
        .await
    }

    /// Fetches a file that is still at the platform into the host's store.
    pub async fn download(
        &self,
        place: Place,
        file: Attachment,
        stop: StopSignal,
    ) -> Call<Result<BlobId, CallError>> {
        if !self.0.adapter.manifest().offers.files {
            return self.not_offered("files");
        }
        let bound = Arc::clone(&self.0.bound);
        let wall_ms = bound.limits.download_ms;
        let files = given(std::slice::from_ref(&file));
        self.call(Way::Outward, self.reading(), wall_ms, files, Download(bound, place, file), stop)
            .await
    }

    /// Whether no call of it runs.
    #[cfg(test)]
    pub(super) fn is_idle(&self) -> bool {
        let most = self.0.bound.limits.calls_at_once as usize;
        let free = |permits: &Semaphore| permits.available_permits() == most;
        free(&self.0.outward) && free(&self.0.inward)
    }

    /// Calls that may not make messages appear.
    fn reading(&self) -> Standing {
        Standing::Calling(Arc::clone(&self.0.bound), Sends::Never)
    }

    async fn call<J: Job>(
        &self,
        way: Way,
        standing: Standing,
        wall_ms: u64,
        files: CallFiles,
        job: J,
        stop: StopSignal,
    ) -> Call<J::Answer> {
        let queue = match way {
            Way::Outward => &self.0.outward,
            Way::Inward => &self.0.inward,
        };
        let terms = Terms {
            standing,
            limits: Arc::clone(&self.0.bound.limits),
            wall_ms,
            queue: Some(Arc::clone(queue)),
            lane: self.0.lane.clone(),
            stop,
            files,
        };
        self.0.adapter.0.engine.0.runner.call(&self.0.callee, terms, job).await
    }

    fn not_offered<T>(&self, interface: &str) -> Call<T> {
        let sentence = format!("the adapter exports no `{interface}`");
        Call {
            end: CallEnd::NotCalled(Fault::new(format!("no_{interface}_export"), sentence)),
            ledger: Ledger { declares_send: self.0.bound.declares_send, ..Ledger::default() },
            state: StateWrites::default(),
            usage: Usage::default(),
            digest: self.0.adapter.digest().to_owned(),
        }
    }
}

/// The files that a call is given with a message. What is no id of ours is none.
fn given(files: &[Attachment]) -> CallFiles {
    CallFiles::given(files.iter().filter_map(|file| file.blob().ok().flatten()))
}
