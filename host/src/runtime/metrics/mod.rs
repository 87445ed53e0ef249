//! Everything that `/metrics` gives. Counters live here or with whoever counts; what is true now is
//! read when somebody asks, and costs the same however many rows wait.
//!
//! Labels are names of channels, which the config bounds, and words of fixed sets; never a
//! conversation, an id or anything that comes from outside.

mod calls;
mod commits;
mod generations;
mod now;

use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::registry::Registry;

pub(super) use calls::CallMeter;
pub(super) use commits::CommitMeter;
pub(super) use generations::register_generations;
pub(super) use now::{At, register_memory};

use crate::store::StoreStats;
use crate::workers::metrics::Metrics;

/// What the workers count under a name of its own here, with a label, or whoever calls adapters by
/// channel.
const LABELLED: [&str; 6] = [
    "tries_decided",
    "tries_failed",
    "tries_ran_out",
    "tries_stopped",
    "handlers_not_started",
    "polls_failed",
];

/// What the store's writer counts.
pub(super) fn register_store(registry: &mut Registry, stats: &StoreStats) {
    for (name, help, count) in [
        ("commits", "Commits of the store, one sync each", stats.core.commits),
        ("commands", "Commands that the store carried out", stats.core.commands),
        ("reopened", "Times that the store was reopened after a fault", stats.core.reopened),
        ("checkpoints", "Rounds in which the write-ahead log was emptied", stats.checkpoints),
        ("checkpoints_stuck", "Checkpoints that a reader held up", stats.checkpoints_stuck),
    ] {
        registry.register(format!("lastword_store_{name}"), help, ConstCounter::new(count));
    }
    let help = "Bytes of the write-ahead log";
    registry.register("lastword_store_wal_bytes", help, gauge(stats.wal_bytes));
    let help = "Whether the last commit succeeded";
    registry.register("lastword_store_writable", help, gauge(stats.writable.into()));
}

/// What the workers count.
pub(super) fn register_workers(registry: &mut Registry, metrics: &Metrics) {
    for (name, help, count) in metrics.all() {
        if !LABELLED.contains(&name) {
            let name = format!("lastword_{name}");
            registry.register(name, help.trim_end_matches('.'), ConstCounter::new(count));
        }
    }
    let runs = Family::<[(&str, &str); 1], prometheus_client::metrics::counter::Counter>::default();
    for (result, counter) in [
        ("decided", &metrics.tries_decided),
        ("failed", &metrics.tries_failed),
        ("ran_out", &metrics.tries_ran_out),
        ("stopped", &metrics.tries_stopped),
        ("not_started", &metrics.handlers_not_started),
    ] {
        runs.get_or_create(&[("result", result)]).inc_by(counter.get());
    }
    registry.register("lastword_handler_runs", "Tries of handlers by how they ended", runs);
}

/// Which version runs.
pub(super) fn register_build(registry: &mut Registry) {
    let family = Family::<[(&str, &str); 1], Gauge>::default();
    family.get_or_create(&[("version", env!("CARGO_PKG_VERSION"))]).set(1);
    registry.register("lastword_build_info", "The version that runs, always 1", family);
}

fn gauge(value: u64) -> ConstGauge<i64> {
    ConstGauge::new(whole(value))
}

fn whole(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
