//! Everything behind ingress, put together of the workers, the gate and the store.

use std::collections::BTreeMap;

use async_trait::async_trait;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;
use serde_json::{Value, json};

use super::pull;
use super::status::{self, HostIdentity};
use crate::ingress::{
    Desk, IngressMetrics, Phase, PullAsk, PullReply, RefusedChannel, StoreHealth,
};
use crate::lifecycle::id::ChannelName;
use crate::lifecycle::import::ImportEntry;
use crate::lifecycle::message::InboundEvent;
use crate::lifecycle::outcome::StateWrites;
use crate::store::{
    AcceptedEvent, BulkAsk, BulkPage, Command, Imported, Operated, Post, PostOutcome, Query, Rows,
    Store, StoreError, Summary, Trial,
};
use crate::workers::{Workers, import, intake, operate, post};

/// What ingress speaks to.
pub(super) struct HostDesk {
    pub(super) store: Store,
    pub(super) workers: Workers,
    pub(super) refused: BTreeMap<ChannelName, RefusedChannel>,
    pub(super) metrics: IngressMetrics,
    pub(super) identity: HostIdentity,
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
        let channels = status::channel_values(&channels, &self.refused, true);
        let stats = self.store.stats();
        let store = json!({
            "writable": stats.writable,
            "reason": self.store.trouble(),
            "wal_bytes": stats.wal_bytes,
            "checkpoints": stats.checkpoints,
            "checkpoints_stuck": stats.checkpoints_stuck,
        });
        let workers = self.workers.status();
        let mut document =
            status::document(&self.identity, phase.word(), store, channels, &summary, &workers);
        let query = Query::PullLeases { rows_max: status::LEASES_SHOWN_MAX };
        if let (Rows::PullLeases(leases), Value::Object(fields)) =
            (self.store.read(query).await?, &mut document)
        {
            fields.insert("turns_at_workers".to_owned(), json!(leases));
        }
        Ok(document)
    }

    async fn pull(&self, ask: PullAsk) -> Result<PullReply, StoreError> {
        pull::pull(&self.workers, ask).await
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
        self.metrics.register(&mut registry);
        for (name, help, count) in self.workers.hub().metrics.all() {
            let name = format!("lastword_{name}");
            registry.register(name, help.trim_end_matches('.'), ConstCounter::new(count));
        }
        self.register_store(&mut registry);
        // Counts of rows are left out where they cannot be read: a metric is no place for a guess.
        if let Ok(Rows::Summary(summary)) = self.store.read(Query::Summary).await {
            register_rows(&mut registry, &summary);
        }
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = prometheus_client::encoding::text::encode(&mut text, &registry);
        text
    }
}

impl HostDesk {
    fn register_store(&self, registry: &mut Registry) {
        let stats = self.store.stats();
        for (name, help, count) in [
            ("commits", "Commits of the store", stats.core.commits),
            ("commands", "Commands that the store carried out", stats.core.commands),
            ("reopened", "Times that the store was reopened after a fault", stats.core.reopened),
            ("checkpoints_stuck", "Checkpoints that a reader held up", stats.checkpoints_stuck),
        ] {
            let name = format!("lastword_store_{name}");
            registry.register(name, help, ConstCounter::new(count));
        }
        let gauge = |value: u64| ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
        let help = "Bytes of the write-ahead log";
        registry.register("lastword_store_wal_bytes", help, gauge(stats.wal_bytes));
        let help = "Whether the last commit succeeded";
        registry.register("lastword_store_writable", help, gauge(stats.writable.into()));
        let help = "Channels that were refused at start";
        registry.register("lastword_channels_refused", help, gauge(self.refused.len() as u64));
    }
}

fn register_rows(registry: &mut Registry, rows: &Summary) {
    for (name, help, count) in [
        ("turns_queued_now", "Turns that wait", rows.turns_queued),
        ("turns_running_now", "Turns at their handlers", rows.turns_running),
        ("turns_delivering_now", "Turns whose reply is under way", rows.turns_delivering),
        ("deliveries_queued_now", "Deliveries that wait", rows.deliveries_queued),
        ("deliveries_sending_now", "Deliveries at their adapters", rows.deliveries_sending),
        ("deliveries_unknown_now", "Unknown outcomes being settled", rows.deliveries_unknown_open),
        ("deliveries_held_now", "Unknown outcomes that want a person", rows.deliveries_held),
        ("deliveries_dead_now", "Deliveries that ended badly", rows.deliveries_dead),
    ] {
        let value = i64::try_from(count).unwrap_or(i64::MAX);
        registry.register(format!("lastword_{name}"), help, ConstGauge::new(value));
    }
}
