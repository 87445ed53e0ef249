//! One generation of a channel: a component that was admitted and bound, under a number, behind the
//! two traits through which the others call it. It counts what runs on it and watches over its first
//! calls; it does not know which generation serves.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use serde::Serialize;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::super::channels::Serving;
use super::super::metrics::CallMeter;
use super::trial::{Health, Trial, Verdict};
use crate::env::Env;
use crate::gate::{StopHandle, StopReason};
use crate::ingress::Hook;
use crate::lifecycle::id::{BlobId, ChannelName};
use crate::lifecycle::message::{Attachment, DeliveryKind, OutboundMessage, Place};
use crate::lifecycle::outcome::{Call, CallEnd, CallError, Lookup, SendAnswer};
use crate::sandbox::{
    Activity, Batch, PollError, StopSignal, WebhookReply, WebhookRequest, stop_pair,
};
use crate::workers::ports::{Adapter, AdapterFacts};

/// What made a generation serve.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(in crate::runtime) enum Cause {
    Start,
    /// Its file changed.
    File,
    /// An operator asked for a reload.
    Order,
    /// An operator went back.
    Rollback,
    /// The generation after it broke in its first calls.
    Broken,
}

/// A generation that broke in its first calls.
#[derive(Debug, Clone)]
pub(super) struct Broken {
    pub(super) channel: ChannelName,
    pub(super) number: u64,
    /// How the last of its calls ended.
    pub(super) words: String,
}

/// What all generations are made with.
#[derive(Clone)]
pub(super) struct Means {
    pub(super) env: Env,
    pub(super) meter: CallMeter,
    /// Where a generation tells that it breaks.
    pub(super) broken: mpsc::Sender<Broken>,
    /// How many generations are in memory.
    pub(super) live: Arc<AtomicUsize>,
}

/// One generation.
pub(in crate::runtime) struct Generation {
    pub(super) number: u64,
    pub(super) cause: Cause,
    pub(super) since_ms: i64,
    pub(super) serving: Arc<Serving>,
    name: ChannelName,
    facts: AdapterFacts,
    means: Means,
    running: AtomicUsize,
    /// Ends its poll, once another one polls.
    retired: StopHandle,
    /// None where there is nothing to go back to. Shared by generations of the same bytes.
    pub(super) trial: Option<Arc<Mutex<Trial>>>,
}

impl Drop for Generation {
    fn drop(&mut self) {
        self.means.live.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A call under way.
struct Running<'g>(&'g AtomicUsize);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Generation {
    pub(super) fn new(
        means: Means,
        serving: Arc<Serving>,
        number: u64,
        cause: Cause,
        trial: Option<Arc<Mutex<Trial>>>,
    ) -> Arc<Self> {
        means.live.fetch_add(1, Ordering::Relaxed);
        Arc::new(Self {
            number,
            cause,
            since_ms: means.env.now().wall_ms,
            name: serving.config.name.clone(),
            facts: facts(&serving),
            serving,
            means,
            running: AtomicUsize::new(0),
            retired: StopHandle::new(),
            trial,
        })
    }

    /// SHA-256 of its component.
    pub(super) fn digest(&self) -> &str {
        self.serving.adapter.digest()
    }

    /// Calls that run on it.
    pub(super) fn running(&self) -> usize {
        self.running.load(Ordering::Relaxed)
    }

    /// Whether it takes requests from outside.
    pub(super) fn takes_webhooks(&self) -> bool {
        self.facts.offers.webhook
    }

    /// How long a call may still run once its poll was told to end.
    pub(super) fn longest_call_ms(&self) -> u64 {
        let limits = &self.serving.limits;
        limits.send_ms.max(limits.find_ms).max(limits.webhook_ms).max(limits.download_ms)
    }

    /// Another one serves: its poll ends, which has moved no cursor; whatever else runs goes on.
    pub(super) fn retire(&self) {
        self.retired.stop(StopReason::Superseded);
    }

    /// For `status`.
    pub(super) fn told(&self) -> Value {
        let manifest = self.serving.adapter.manifest();
        json!({
            "number": self.number,
            "digest": self.serving.adapter.digest(),
            "adapter": manifest.name,
            "version": manifest.version,
            "since_ms": self.since_ms,
            "cause": self.cause,
            "running": self.running(),
        })
    }

    /// One call, counted, measured, and judged where it is one of the first.
    async fn call<T>(&self, export: &'static str, call: impl Future<Output = Call<T>>) -> Call<T> {
        self.call_of((export, export), call).await
    }

    /// The same, where calls of one export are of several kinds.
    async fn call_of<T>(
        &self,
        (export, kind): (&'static str, &'static str),
        call: impl Future<Output = Call<T>>,
    ) -> Call<T> {
        self.running.fetch_add(1, Ordering::Relaxed);
        let running = Running(&self.running);
        let call = self.means.meter.of(&self.name.0, export, call).await;
        drop(running);
        self.judge(kind, &call);
        call
    }

    fn judge<T>(&self, kind: &'static str, call: &Call<T>) {
        let Some(trial) = &self.trial else { return };
        let now = self.means.env.elapsed();
        let (health, words) = health(call);
        let verdict = trial.lock().unwrap_or_else(PoisonError::into_inner).tell(now, kind, health);
        match verdict {
            Verdict::GoesOn => {}
            Verdict::Broken => {
                let (channel, number) = (self.name.clone(), self.number);
                // Where the line is full, the next call that breaks tells it again.
                let _ = self.means.broken.try_send(Broken { channel, number, words });
            }
        }
    }
}

/// Which sends are judged together: those that one export of the guest answers.
fn judged_as(kind: DeliveryKind) -> &'static str {
    match kind {
        DeliveryKind::Tool | DeliveryKind::Block => "send-progress",
        DeliveryKind::Final | DeliveryKind::Notice => "send-final",
    }
}

/// What the end of a call says about the component itself, and in which words.
fn health<T>(call: &Call<T>) -> (Health, String) {
    match &call.end {
        CallEnd::Answered(_) => (Health::Works, String::new()),
        CallEnd::Trapped(words) => (Health::Broke, format!("it trapped: {words}")),
        CallEnd::CpuSpent => (Health::Broke, "its CPU time ran out".to_owned()),
        // Where it asked its platform for something, the platform may be the slow one.
        CallEnd::DeadlinePassed if call.usage.fetches == 0 => {
            (Health::Broke, "it did nothing until its time ran out".to_owned())
        }
        CallEnd::DeadlinePassed | CallEnd::Cancelled | CallEnd::NotCalled(_) => {
            (Health::Neither, String::new())
        }
    }
}

fn facts(serving: &Serving) -> AdapterFacts {
    let (manifest, limits) = (serving.adapter.manifest(), &serving.limits);
    AdapterFacts {
        offers: manifest.offers,
        text: manifest.limits.text,
        caption: manifest.limits.caption,
        files: manifest.limits.files,
        file_bytes: manifest.limits.file_bytes,
        conversation_interval_ms: manifest.limits.conversation_interval_ms.map_or(0, u64::from),
        channel_interval_ms: manifest.limits.channel_interval_ms.map_or(0, u64::from),
        calls_at_once: limits.calls_at_once,
        call_ms: limits.send_ms.max(limits.find_ms),
        digest: serving.adapter.digest().to_owned(),
    }
}

/// Runs a call that hears `stop`. The call is let end by itself when it is stopped, so that its
/// ledger is not lost.
async fn until_stopped<T>(stop: StopHandle, call: impl FnOnce(StopSignal) -> T) -> T::Output
where
    T: Future,
{
    let told = async move {
        stop.stopped().await;
    };
    until_told(told, call).await
}

async fn until_told<T>(
    told: impl Future<Output = ()>,
    call: impl FnOnce(StopSignal) -> T,
) -> T::Output
where
    T: Future,
{
    let (handle, signal) = stop_pair();
    let mut call = std::pin::pin!(call(signal));
    tokio::select! { biased;
        answer = call.as_mut() => return answer,
        () = told => handle.stop(),
    }
    call.await
}

#[async_trait]
impl Adapter for Generation {
    fn facts(&self) -> AdapterFacts {
        self.facts.clone()
    }

    async fn send(
        &self,
        kind: DeliveryKind,
        message: OutboundMessage,
        stop: StopHandle,
    ) -> Call<SendAnswer> {
        let call = until_stopped(stop, |signal| self.serving.channel.send(kind, message, signal));
        self.call_of(("send", judged_as(kind)), call).await
    }

    async fn find(
        &self,
        message: OutboundMessage,
        since_ms: u64,
        stop: StopHandle,
    ) -> Call<Result<Lookup, CallError>> {
        let call =
            until_stopped(stop, |signal| self.serving.channel.find(message, since_ms, signal));
        self.call("find", call).await
    }

    async fn poll(
        &self,
        cursor: Option<String>,
        wait_ms: u32,
        most: u32,
        stop: StopHandle,
    ) -> Call<Result<Batch, PollError>> {
        let told = async {
            tokio::select! { biased;
                _ = stop.stopped() => {}
                _ = self.retired.stopped() => {}
            }
        };
        let call =
            until_told(told, |signal| self.serving.channel.poll(cursor, wait_ms, most, signal));
        let call = self.call("poll", call).await;
        self.means.meter.polled(&self.name.0, &call);
        call
    }

    async fn download(
        &self,
        place: Place,
        file: Attachment,
        stop: StopHandle,
    ) -> Call<Result<BlobId, CallError>> {
        let call = until_stopped(stop, |signal| self.serving.channel.download(place, file, signal));
        self.call("download", call).await
    }

    async fn indicate(
        &self,
        place: Place,
        activity: Activity,
        stop: StopHandle,
    ) -> Call<Result<Option<u32>, CallError>> {
        let call =
            until_stopped(stop, |signal| self.serving.channel.indicate(place, activity, signal));
        self.call("indicate", call).await
    }
}

#[async_trait]
impl Hook for Generation {
    /// Ends by its own wall clock, which is shorter than any planned stop; nobody stops it.
    async fn handle(&self, request: WebhookRequest) -> Call<WebhookReply> {
        let call = self.serving.channel.webhook(request, StopSignal::never());
        self.call("webhook", call).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_that_is_taken_says_nothing_of_replies_that_break() {
        let now = std::time::Duration::ZERO;
        let mut trial = Trial::new(now);
        let mut tell = |kind, health| trial.tell(now, judged_as(kind), health);
        for kind in [DeliveryKind::Tool, DeliveryKind::Block] {
            assert_eq!(tell(kind, Health::Works), Verdict::GoesOn);
        }
        assert_eq!(tell(DeliveryKind::Final, Health::Broke), Verdict::GoesOn);
        assert_eq!(tell(DeliveryKind::Block, Health::Works), Verdict::GoesOn);
        assert_eq!(tell(DeliveryKind::Notice, Health::Broke), Verdict::Broken);
    }
}
