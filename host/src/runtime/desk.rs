//! Everything behind ingress, put together of the workers, the gate and the store.

use async_trait::async_trait;
use prometheus_client::registry::Registry;
use serde_json::{Value, json};

use super::attention;
use super::generations::Generations;
use super::metrics::{self, At, CallMeter, CommitMeter};
use super::pull;
use super::status::{self, HostIdentity};
use crate::env::Env;
use crate::files::{Files, OpenFile};
use crate::gate::StopHandle;
use crate::ingress::{
    AdapterDesk, Desk, FileDesk, IngressMetrics, Phase, PullAsk, PullReply, StoreHealth,
};
use crate::lifecycle::id::{ChannelName, TurnId};
use crate::lifecycle::import::ImportEntry;
use crate::lifecycle::message::InboundEvent;
use crate::lifecycle::outcome::StateWrites;
use crate::store::{
    AcceptedEvent, BulkAsk, BulkPage, Command, Imported, Operated, Post, PostOutcome, Query, Rows,
    Store, StoreError, Trial, TurnFiles,
};
use crate::workers::turn_files::{self, NoFile};
use crate::workers::{Workers, import, intake, operate, post};

/// What ingress speaks to.
pub(super) struct HostDesk {
    pub(super) store: Store,
    pub(super) workers: Workers,
    pub(super) generations: Generations,
    pub(super) metrics: IngressMetrics,
    pub(super) identity: HostIdentity,
    pub(super) meters: Meters,
    pub(super) env: Env,
}

/// What is counted from the first call on.
pub(super) struct Meters {
    pub(super) calls: CallMeter,
    pub(super) commits: CommitMeter,
}

#[async_trait]
impl Desk for HostDesk {
    async fn accept(
        &self,
        channel: &ChannelName,
        events: Vec<InboundEvent>,
        state: StateWrites,
    ) -> Result<Vec<AcceptedEvent>, StoreError> {
        let batch = intake::Batch { events, cursor: None, state };
        Ok(intake::accept(self.workers.hub(), channel, batch).await?.events)
    }

    async fn post(&self, post: Post) -> Result<PostOutcome, StoreError> {
        post::post(self.workers.hub(), post).await
    }

    async fn operate(&self, command: Command) -> Result<Operated, StoreError> {
        operate::operate(self.workers.hub(), command).await
    }

    async fn bulk(&self, ask: BulkAsk) -> Result<BulkPage, StoreError> {
        operate::bulk(self.workers.hub(), ask).await
    }

    async fn import(
        &self,
        source: String,
        entries: Vec<ImportEntry>,
        trial: Trial,
        by: String,
    ) -> Result<Vec<Imported>, StoreError> {
        import::import(self.workers.hub(), source, entries, trial, by).await
    }

    async fn read(&self, query: Query) -> Result<Rows, StoreError> {
        self.store.read(query).await
    }

    async fn status(&self, phase: Phase) -> Result<Value, StoreError> {
        let (channels, summary) = status::rows(&self.store).await?;
        let refused = self.generations.refused();
        let mut channels = status::channel_values(&channels, &refused, true);
        let stats = self.store.stats();
        let mut store = status::disk_facts(&self.identity.data_dir);
        let told = json!({
            "writable": stats.writable,
            "reason": self.store.trouble(),
            "wal_bytes": stats.wal_bytes,
            "checkpoints": stats.checkpoints,
            "checkpoints_stuck": stats.checkpoints_stuck,
        });
        if let (Value::Object(store), Value::Object(told)) = (&mut store, told) {
            store.extend(told);
        }
        let workers = self.workers.status();
        let generations = self.generations.told();
        for channel in &mut channels {
            let name = channel["name"].as_str().unwrap_or_default().to_owned();
            channel["generation"] = json!(generations.get(&name));
            let name = ChannelName(name);
            channel["breaker"] = json!(workers.breakers.get(&name));
            channel["poller"] = json!(workers.pollers.get(&name));
        }
        let mut document =
            status::document(&self.identity, phase.word(), store, channels, &summary, &workers);
        let query = Query::PullLeases { rows_max: status::LEASES_SHOWN_MAX };
        if let (Rows::PullLeases(leases), Value::Object(fields)) =
            (self.store.read(query).await?, &mut document)
        {
            fields.insert("turns_at_workers".to_owned(), json!(leases));
        }
        document["lock_file"] = json!({"trouble": self.generations.book_trouble()});
        let now_ms = self.env.now().wall_ms;
        document["needs_a_person"] = Value::Array(attention::needs(&document, now_ms));
        Ok(document)
    }

    async fn pull(&self, ask: PullAsk) -> Result<PullReply, StoreError> {
        pull::pull(&self.workers, ask).await
    }

    fn file_desk(&self) -> Option<&dyn FileDesk> {
        Some(self)
    }

    fn adapter_desk(&self) -> Option<&dyn AdapterDesk> {
        Some(self)
    }

    fn store_health(&self) -> StoreHealth {
        if self.store.stats().writable {
            return StoreHealth::Writable;
        }
        // Whoever probes may be a stranger: paths stay in the log and in `status`.
        let sentence = "the last commit failed; the host's log says why, and it is tried again";
        StoreHealth::NotWritable(sentence.to_owned())
    }

    async fn metrics_text(&self) -> String {
        let mut registry = Registry::default();
        metrics::register_build(&mut registry);
        self.metrics.register(&mut registry);
        self.meters.calls.register(&mut registry);
        self.meters.commits.register(&mut registry);
        metrics::register_store(&mut registry, &self.store.stats());
        metrics::register_workers(&mut registry, &self.workers.hub().metrics);
        let memory = self.workers.status();
        metrics::register_memory(&mut registry, &memory);
        metrics::register_generations(&mut registry, &self.generations);
        let refused = self.generations.refused();
        let at = At { now_ms: self.env.now().wall_ms, refused: &refused };
        at.register_pollers(&mut registry, &memory);
        // What cannot be read is left out: a metric is no place for a guess.
        if let Ok(depths) = self.store.depths().await {
            at.register_depths(&mut registry, &depths);
        }
        if let Ok(Rows::Gauges(channels)) = self.store.read(Query::Gauges).await {
            at.register_channels(&mut registry, &channels);
        }
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = prometheus_client::encoding::text::encode(&mut text, &registry);
        text
    }
}

#[async_trait]
impl FileDesk for HostDesk {
    fn files(&self) -> &Files {
        &self.workers.hub().file_means.files
    }

    fn address(&self) -> &str {
        &self.workers.hub().file_means.address
    }

    fn key_fits(&self, turn: TurnId, try_number: u32, key: &str) -> bool {
        self.workers.hub().file_means.key.fits(turn, try_number, key)
    }

    async fn open(
        &self,
        turn: TurnId,
        of: &TurnFiles,
        number: usize,
    ) -> Result<Option<OpenFile>, String> {
        let hub = self.workers.hub();
        match turn_files::open_file(hub, turn, of, number, StopHandle::new()).await {
            Ok(open) => Ok(Some(open)),
            Err(NoFile::Unknown) => Ok(None),
            Err(NoFile::Unavailable(sentence)) => Err(sentence),
        }
    }
}
