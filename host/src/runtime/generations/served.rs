//! What serves a channel: one pointer to a generation, swapped while calls run. Who calls takes the
//! generation of that moment and finishes on it; a row that was claimed by the rules of a generation
//! is sent by that one.

use std::sync::{Arc, RwLock, RwLockReadGuard, RwLockWriteGuard, Weak};

use async_trait::async_trait;
use serde_json::{Value, json};

use super::generation::{Cause, Generation};
use crate::gate::StopHandle;
use crate::ingress::{Closed, Hook, RefusedChannel};
use crate::lifecycle::id::{BlobId, ChannelName};
use crate::lifecycle::message::{Attachment, DeliveryKind, OutboundMessage, Place};
use crate::lifecycle::outcome::{Call, CallError, Fault, Lookup, SendAnswer};
use crate::sandbox::{Activity, Batch, PollError, WebhookReply, WebhookRequest};
use crate::workers::ports::{Adapter, AdapterFacts, GenerationOf, not_called};

/// Why a version was not taken.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize, PartialEq, Eq)]
pub(in crate::runtime) struct RefusedVersion {
    pub(in crate::runtime) at_ms: i64,
    /// Of the bytes that were refused; none where there were none.
    pub(in crate::runtime) digest: Option<String>,
    pub(in crate::runtime) code: String,
    pub(in crate::runtime) reason: String,
}

/// One channel of the config, served or not.
pub(in crate::runtime) struct Served {
    pub(super) name: ChannelName,
    /// What is said of it while nothing serves.
    idle: AdapterFacts,
    inside: RwLock<Inside>,
}

#[derive(Default)]
struct Inside {
    current: Option<Arc<Generation>>,
    /// Known to the store already, and not yet the current one.
    incoming: Option<Arc<Generation>>,
    /// Kept to go back to.
    previous: Option<Arc<Generation>>,
    /// What was swapped out and may still have calls.
    draining: Vec<Weak<Generation>>,
    /// Why the last version that was looked at does not serve; none once one does. Where nothing
    /// serves at all, it is why.
    last_refusal: Option<RefusedVersion>,
    last_number: u64,
}

/// Generations of a channel beside the current one and the one before it that may still have calls.
/// Each holds its compiled code; a call ends by its own limits.
pub(super) const DRAINING_MAX: usize = 2;

impl Served {
    pub(super) fn new(name: ChannelName, calls_at_once: u32) -> Arc<Self> {
        let idle = AdapterFacts { calls_at_once, ..AdapterFacts::default() };
        Arc::new(Self { name, idle, inside: RwLock::default() })
    }

    fn read(&self) -> RwLockReadGuard<'_, Inside> {
        self.inside.read().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Inside> {
        self.inside.write().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// What serves now.
    pub(super) fn current(&self) -> Option<Arc<Generation>> {
        self.read().current.clone()
    }

    /// Why nothing serves.
    pub(in crate::runtime) fn refused(&self) -> Option<RefusedChannel> {
        let inside = self.read();
        let why = inside.last_refusal.clone().filter(|_| inside.current.is_none());
        why.map(|RefusedVersion { code, reason, .. }| RefusedChannel { code, reason })
    }

    pub(super) fn note_refusal(&self, why: RefusedVersion) {
        self.write().last_refusal = Some(why);
    }

    /// Whether anything was noted.
    pub(super) fn forget_refusal(&self) -> bool {
        self.write().last_refusal.take().is_some()
    }

    /// Whether these bytes serve, or were looked at and refused.
    pub(super) fn knows(&self, digest: &str) -> bool {
        let inside = self.read();
        let serves = inside.current.as_ref().is_some_and(|it| it.digest() == digest);
        let refused = inside.last_refusal.as_ref().and_then(|it| it.digest.as_deref());
        serves || refused == Some(digest)
    }

    /// Whether it stands refused for this already. Where there are no bytes, the words tell.
    pub(super) fn stands_refused(&self, why: &RefusedVersion) -> bool {
        let inside = self.read();
        inside.last_refusal.as_ref().is_some_and(|it| {
            (&it.code, &it.digest) == (&why.code, &why.digest)
                && (why.digest.is_some() || it.reason == why.reason)
        })
    }

    /// The number of the next generation. Numbers are not used again.
    pub(super) fn next_number(&self) -> u64 {
        let mut inside = self.write();
        inside.last_number += 1;
        inside.last_number
    }

    /// Swapped out, and still with calls.
    pub(super) fn draining(&self) -> Vec<Arc<Generation>> {
        let mut inside = self.write();
        inside.draining.retain(|generation| generation.strong_count() > 0);
        let alive: Vec<_> = inside.draining.iter().filter_map(Weak::upgrade).collect();
        drop(inside);
        alive.into_iter().filter(|generation| generation.running() > 0).collect()
    }

    /// Rows may be claimed by its rules from now on.
    pub(super) fn announce(&self, incoming: &Arc<Generation>) {
        self.write().incoming = Some(Arc::clone(incoming));
    }

    /// Whether this one is announced and not swapped in.
    pub(super) fn announces(&self, number: u64) -> bool {
        self.read().incoming.as_ref().is_some_and(|it| it.number == number)
    }

    /// The store obeys the rules of what serves.
    pub(super) fn withdraw(&self) {
        self.write().incoming = None;
    }

    /// The swap: one pointer. What was current is kept to go back to, or let go where it broke. The
    /// one before it is kept on where the bytes are the same: going back to those would change nothing.
    pub(super) fn swap(&self, to: &Arc<Generation>) {
        let mut inside = self.write();
        inside.incoming = None;
        inside.last_refusal = None;
        let out = inside.current.replace(Arc::clone(to));
        let older = inside.previous.take();
        if let Some(out) = &out {
            out.retire();
            // Once: what is let go later stands here since it was swapped out.
            inside.draining.retain(|generation| generation.strong_count() > 0);
            inside.draining.push(Arc::downgrade(out));
        }
        inside.previous = match (&out, to.cause) {
            (Some(out), _) if out.digest() == to.digest() => older.clone(),
            (_, Cause::Start | Cause::Broken) => None,
            (_, Cause::File | Cause::Order | Cause::Rollback) => out.clone(),
        };
        drop(inside);
        // Let go outside of the lock: the last hold frees compiled code.
        drop((older, out));
    }

    /// For `status`.
    pub(in crate::runtime) fn told(&self) -> Value {
        let draining: Vec<Value> = self.draining().iter().map(|old| old.told()).collect();
        let inside = self.read();
        json!({
            "current": inside.current.as_ref().map(|it| it.told()),
            "previous": inside.previous.as_ref().map(|it| it.told()),
            "draining": draining,
            "refused": inside.last_refusal,
        })
    }
}

fn nobody<T>() -> Call<T> {
    not_called(Fault::new("channel_refused", "nothing serves the channel"))
}

#[async_trait]
impl Adapter for Served {
    fn facts(&self) -> AdapterFacts {
        self.current().map_or_else(|| self.idle.clone(), |current| current.facts())
    }

    fn serves(&self) -> bool {
        self.read().current.is_some()
    }

    fn generation(&self, number: u64) -> GenerationOf {
        let inside = self.read();
        let known = [&inside.current, &inside.incoming, &inside.previous];
        let known = known.into_iter().flatten().cloned();
        // The same bytes, bound before. Others have left for good, maybe because they broke.
        let serves = inside.current.as_ref().map(|it| it.digest());
        let drains = inside.draining.iter().filter_map(Weak::upgrade);
        let mut known = known.chain(drains.filter(|it| Some(it.digest()) == serves));
        let found = known.find(|it| it.number == number);
        found.map_or(GenerationOf::Gone, |it| GenerationOf::Other(it))
    }

    async fn send(
        &self,
        kind: DeliveryKind,
        message: OutboundMessage,
        stop: StopHandle,
    ) -> Call<SendAnswer> {
        let Some(current) = self.current() else { return nobody() };
        current.send(kind, message, stop).await
    }

    async fn find(
        &self,
        message: OutboundMessage,
        since_ms: u64,
        stop: StopHandle,
    ) -> Call<Result<Lookup, CallError>> {
        let Some(current) = self.current() else { return nobody() };
        current.find(message, since_ms, stop).await
    }

    async fn poll(
        &self,
        cursor: Option<String>,
        wait_ms: u32,
        most: u32,
        stop: StopHandle,
    ) -> Call<Result<Batch, PollError>> {
        let Some(current) = self.current() else { return nobody() };
        current.poll(cursor, wait_ms, most, stop).await
    }

    async fn download(
        &self,
        place: Place,
        file: Attachment,
        stop: StopHandle,
    ) -> Call<Result<BlobId, CallError>> {
        let Some(current) = self.current() else { return nobody() };
        current.download(place, file, stop).await
    }

    async fn indicate(
        &self,
        place: Place,
        activity: Activity,
        stop: StopHandle,
    ) -> Call<Result<Option<u32>, CallError>> {
        let Some(current) = self.current() else { return nobody() };
        current.indicate(place, activity, stop).await
    }
}

#[async_trait]
impl Hook for Served {
    async fn handle(&self, request: WebhookRequest) -> Call<WebhookReply> {
        let Some(current) = self.current() else { return nobody() };
        current.handle(request).await
    }

    fn opens(&self) -> Result<(), Closed> {
        let inside = self.read();
        match &inside.current {
            Some(current) if current.takes_webhooks() => Ok(()),
            Some(_) => Err(Closed::NoWebhook),
            None => {
                drop(inside);
                let unknown = || RefusedChannel {
                    code: "channel_refused".to_owned(),
                    reason: "nothing serves it".to_owned(),
                };
                Err(Closed::Refused(self.refused().unwrap_or_else(unknown)))
            }
        }
    }
}
