//! A channel of the sandbox behind the two traits through which the others call it: the workers'
//! and ingress's.

use async_trait::async_trait;

use super::metrics::CallMeter;
use crate::gate::StopHandle;
use crate::ingress::Hook;
use crate::lifecycle::id::{BlobId, ChannelName};
use crate::lifecycle::message::{Attachment, DeliveryKind, OutboundMessage, Place};
use crate::lifecycle::outcome::{Call, CallError, Lookup, SendAnswer};
use crate::sandbox::{
    Activity, Batch, CallLimits, Channel, PollError, StopSignal, WebhookReply, WebhookRequest,
    stop_pair,
};
use crate::workers::ports::{Adapter, AdapterFacts};

/// One channel that serves.
pub(super) struct Served {
    name: String,
    meter: CallMeter,
    channel: Channel,
    facts: AdapterFacts,
}

impl Served {
    pub(super) fn new(
        name: &ChannelName,
        channel: Channel,
        limits: &CallLimits,
        meter: CallMeter,
    ) -> Self {
        let manifest = channel.adapter().manifest();
        let facts = AdapterFacts {
            offers: manifest.offers,
            text: manifest.limits.text,
            caption: manifest.limits.caption,
            files: manifest.limits.files,
            file_bytes: manifest.limits.file_bytes,
            conversation_interval_ms: manifest.limits.conversation_interval_ms.map_or(0, u64::from),
            channel_interval_ms: manifest.limits.channel_interval_ms.map_or(0, u64::from),
            calls_at_once: limits.calls_at_once,
            call_ms: limits.send_ms.max(limits.find_ms),
            digest: channel.adapter().digest().to_owned(),
        };
        Self { name: name.0.clone(), meter, channel, facts }
    }
}

/// Runs a call that hears `stop`. The call is let end by itself when it is stopped, so that its
/// ledger is not lost.
async fn until_stopped<T>(stop: StopHandle, call: impl FnOnce(StopSignal) -> T) -> T::Output
where
    T: Future,
{
    let (handle, signal) = stop_pair();
    let mut call = std::pin::pin!(call(signal));
    tokio::select! { biased;
        answer = call.as_mut() => return answer,
        _ = stop.stopped() => handle.stop(),
    }
    call.await
}

#[async_trait]
impl Adapter for Served {
    fn facts(&self) -> AdapterFacts {
        self.facts.clone()
    }

    async fn send(
        &self,
        kind: DeliveryKind,
        message: OutboundMessage,
        stop: StopHandle,
    ) -> Call<SendAnswer> {
        let call = until_stopped(stop, |signal| self.channel.send(kind, message, signal));
        self.meter.of(&self.name, "send", call).await
    }

    async fn find(
        &self,
        message: OutboundMessage,
        since_ms: u64,
        stop: StopHandle,
    ) -> Call<Result<Lookup, CallError>> {
        let call = until_stopped(stop, |signal| self.channel.find(message, since_ms, signal));
        self.meter.of(&self.name, "find", call).await
    }

    async fn poll(
        &self,
        cursor: Option<String>,
        wait_ms: u32,
        most: u32,
        stop: StopHandle,
    ) -> Call<Result<Batch, PollError>> {
        let call = until_stopped(stop, |signal| self.channel.poll(cursor, wait_ms, most, signal));
        self.meter.of(&self.name, "poll", call).await
    }

    async fn download(
        &self,
        place: Place,
        file: Attachment,
        stop: StopHandle,
    ) -> Call<Result<BlobId, CallError>> {
        let call = until_stopped(stop, |signal| self.channel.download(place, file, signal));
        self.meter.of(&self.name, "download", call).await
    }

    async fn indicate(
        &self,
        place: Place,
        activity: Activity,
        stop: StopHandle,
    ) -> Call<Result<Option<u32>, CallError>> {
        let call = until_stopped(stop, |signal| self.channel.indicate(place, activity, signal));
        self.meter.of(&self.name, "indicate", call).await
    }
}

#[async_trait]
impl Hook for Served {
    /// Ends by its own wall clock, which is shorter than any planned stop; nobody stops it.
    async fn handle(&self, request: WebhookRequest) -> Call<WebhookReply> {
        let call = self.channel.webhook(request, StopSignal::never());
        self.meter.of(&self.name, "webhook", call).await
    }
}
