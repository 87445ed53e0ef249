//! What ingress asks of the rest of the host, as two small traits, so that scripted ones fit.

use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::Semaphore;

use super::{Phase, PullAsk, PullReply};
use crate::lifecycle::id::ChannelName;
use crate::lifecycle::import::ImportEntry;
use crate::lifecycle::message::InboundEvent;
use crate::lifecycle::outcome::{Call, StateWrites};
use crate::sandbox::{WebhookReply, WebhookRequest};
use crate::store::{
    AcceptedEvent, BulkAsk, BulkPage, Command, Imported, Operated, Post, PostOutcome, Query, Rows,
    StoreError, Trial,
};

/// One channel's `webhook` export.
#[async_trait]
pub trait Hook: Send + Sync + 'static {
    /// Hands a platform's request to the adapter. Bounded by the channel's limits.
    async fn handle(&self, request: WebhookRequest) -> Call<WebhookReply>;

    /// Whether it takes requests now: what serves a channel may change while the host runs.
    ///
    /// # Errors
    /// Why it does not.
    fn opens(&self) -> Result<(), Closed> {
        Ok(())
    }
}

/// Why a channel takes no requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Closed {
    /// Its adapter fetches its messages itself.
    NoWebhook,
    /// Nothing serves it.
    Refused(RefusedChannel),
}

/// Everything behind ingress: intake, the operators' commands, reading.
#[async_trait]
pub trait Desk: Send + Sync + 'static {
    /// Commits a batch, all or none, together with what the call wants remembered. One answer per
    /// event, in order.
    ///
    /// # Errors
    /// Nothing was written.
    async fn accept(
        &self,
        channel: &ChannelName,
        events: Vec<InboundEvent>,
        state: StateWrites,
    ) -> Result<Vec<AcceptedEvent>, StoreError>;

    /// Commits a message that a program posts.
    ///
    /// # Errors
    /// Nothing was written.
    async fn post(&self, post: Post) -> Result<PostOutcome, StoreError>;

    /// Carries out an operator's command. An abort has reached the gate when this returns.
    ///
    /// # Errors
    /// Nothing was written.
    async fn operate(&self, command: Command) -> Result<Operated, StoreError>;

    /// Carries out one page of an order on many rows. Whoever was stopped was told when this
    /// returns.
    ///
    /// # Errors
    /// Nothing was written.
    async fn bulk(&self, ask: BulkAsk) -> Result<BulkPage, StoreError>;

    /// Takes in entries of another program's queue, each once. One answer per entry, in order.
    ///
    /// # Errors
    /// Nothing was written.
    async fn import(
        &self,
        source: String,
        entries: Vec<ImportEntry>,
        trial: Trial,
        by: String,
    ) -> Result<Vec<Imported>, StoreError>;

    /// Reads rows.
    ///
    /// # Errors
    /// Never an empty result instead.
    async fn read(&self, query: Query) -> Result<Rows, StoreError>;

    /// What `lastword status --json` prints.
    ///
    /// # Errors
    /// Where the store cannot be read.
    async fn status(&self, phase: Phase) -> Result<serde_json::Value, StoreError>;

    /// Serves a pull worker; a claim waits as long as it asks for.
    ///
    /// # Errors
    /// Nothing was changed.
    async fn pull(&self, ask: PullAsk) -> Result<PullReply, StoreError>;

    /// Whether the store takes writes.
    fn store_health(&self) -> StoreHealth;

    /// The host's files; none where it serves none.
    fn file_desk(&self) -> Option<&dyn super::FileDesk> {
        None
    }

    /// What changes adapters; none where they never change.
    fn adapter_desk(&self) -> Option<&dyn super::AdapterDesk> {
        None
    }

    /// All metrics of the host, as OpenMetrics.
    async fn metrics_text(&self) -> String;
}

/// Whether the store takes writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreHealth {
    Writable,
    /// With the sentence of the last failure.
    NotWritable(String),
}

/// How a channel is reached from outside.
#[derive(Clone)]
pub enum Door {
    /// Its adapter takes webhooks, as long as its hook says so.
    Open(OpenDoor),
    /// Its adapter fetches its messages itself.
    NoWebhook,
    /// It was refused at start.
    Refused(RefusedChannel),
}

/// A channel that takes webhooks.
#[derive(Clone)]
pub struct OpenDoor {
    pub(super) hook: Arc<dyn Hook>,
    pub(super) body_bytes_max: u64,
    pub(super) calls: Arc<Semaphore>,
}

/// Why a channel was refused.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct RefusedChannel {
    /// Short, no spaces.
    pub code: String,
    /// What to add or change.
    pub reason: String,
}

impl Door {
    /// The way in, as things stand.
    pub(super) fn now(&self) -> Result<&OpenDoor, Closed> {
        match self {
            Self::Open(door) => door.hook.opens().map(|()| door),
            Self::NoWebhook => Err(Closed::NoWebhook),
            Self::Refused(why) => Err(Closed::Refused(why.clone())),
        }
    }

    /// A channel that takes webhooks with bodies of up to `body_bytes_max`.
    pub fn open(hook: Arc<dyn Hook>, body_bytes_max: u64, calls_max: usize) -> Self {
        let calls = Arc::new(Semaphore::new(calls_max.min(Semaphore::MAX_PERMITS)));
        Self::Open(OpenDoor { hook, body_bytes_max, calls })
    }
}
