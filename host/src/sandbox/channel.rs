//! An admitted adapter bound to one channel: its settings, secrets and grants checked once, then
//! calls, each in a fresh instance. It knows no rows and no workers.

use std::sync::Arc;

use super::engine::Adapter;
use super::spec::{Activity, Batch, PollError, WebhookReply, WebhookRequest};
use super::stop::StopSignal;
use crate::lifecycle::id::ChannelName;
use crate::lifecycle::message::{DeliveryKind, OutboundMessage, Place};
use crate::lifecycle::outcome::{Call, CallEnd, CallError, Fault, Ledger, Lookup, SendAnswer};

/// One channel, ready to be called. Cheap to clone.
#[derive(Clone)]
pub struct Channel(Arc<Inner>);

struct Inner {
    adapter: Adapter,
    name: ChannelName,
}

impl Channel {
    /// The channel's name.
    #[must_use]
    pub fn name(&self) -> &ChannelName {
        &self.0.name
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
        let _ = (kind, message, stop);
        self.not_called()
    }

    /// Asks what became of a message; `since_ms` is when its first attempt began.
    pub async fn find(
        &self,
        message: OutboundMessage,
        since_ms: u64,
        stop: StopSignal,
    ) -> Call<Result<Lookup, CallError>> {
        let _ = (message, since_ms, stop);
        self.not_called()
    }

    /// Hands a platform's request to the adapter.
    pub async fn webhook(&self, request: WebhookRequest, stop: StopSignal) -> Call<WebhookReply> {
        let _ = (request, stop);
        self.not_called()
    }

    /// Fetches messages; may wait at the platform for up to `wait_ms`.
    pub async fn poll(
        &self,
        cursor: Option<String>,
        wait_ms: u32,
        most: u32,
        stop: StopSignal,
    ) -> Call<Result<Batch, PollError>> {
        let _ = (cursor, wait_ms, most, stop);
        self.not_called()
    }

    /// Shows or clears an activity; says after how many milliseconds it fades.
    pub async fn indicate(
        &self,
        place: Place,
        activity: Activity,
        stop: StopSignal,
    ) -> Call<Result<Option<u32>, CallError>> {
        let _ = (place, activity, stop);
        self.not_called()
    }

    fn not_called<T>(&self) -> Call<T> {
        Call {
            end: CallEnd::NotCalled(Fault::new("no_engine", "the sandbox does not run calls yet")),
            ledger: Ledger::default(),
            state: Default::default(),
            usage: Default::default(),
            digest: self.0.adapter.digest().to_owned(),
        }
    }
}
