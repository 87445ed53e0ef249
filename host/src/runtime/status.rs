//! What `lastword status --json` prints: the rows of the store, the workers' memory, and what this
//! start found out about each channel, as one document.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use crate::ingress::RefusedChannel;
use crate::lifecycle::id::ChannelName;
use crate::store::{ChannelRow, Query, Rows, Store, StoreError, Summary};
use crate::workers::status::Snapshot;

/// Turns at pull workers that `status` names.
pub(super) const LEASES_SHOWN_MAX: u32 = 1_000;

/// Who the host is.
#[derive(Debug, Clone)]
pub(super) struct HostIdentity {
    pub(super) pid: u32,
    pub(super) address: String,
    pub(super) started_at_ms: i64,
    pub(super) data_dir: PathBuf,
}

/// Reads what the store knows.
pub(super) async fn rows(store: &Store) -> Result<(Vec<ChannelRow>, Summary), StoreError> {
    let wrong = || StoreError::Corrupt("status was given rows of another kind".to_owned());
    let Rows::Channels(channels) = store.read(Query::Channels).await? else {
        return Err(wrong());
    };
    let Rows::Summary(summary) = store.read(Query::Summary).await? else {
        return Err(wrong());
    };
    Ok((channels, summary))
}

/// The channels as the face names them; a state of `serving`, `paused`, `refused`, `removed`, or
/// `stopped` where no host runs.
#[must_use]
pub fn channel_values(
    rows: &[ChannelRow],
    refused: &BTreeMap<ChannelName, RefusedChannel>,
    host_runs: bool,
) -> Vec<Value> {
    // Of a removed channel with nothing left there is nothing to say.
    let told = rows.iter().filter(|row| {
        let left = row.turns_unfinished + row.deliveries_unfinished + row.held;
        row.present || left + row.turns_dead + row.deliveries_dead > 0
    });
    told.map(|row| channel_value(row, refused, host_runs)).collect()
}

fn channel_value(
    row: &ChannelRow,
    refused: &BTreeMap<ChannelName, RefusedChannel>,
    host_runs: bool,
) -> Value {
    let refusal = refused.get(&ChannelName(row.name.clone()));
    let (state, code, reason) = match refusal {
        _ if !row.present => {
            let reason = "the config does not name it; its rows wait for its return";
            ("removed", Some("channel_removed".to_owned()), Some(reason.to_owned()))
        }
        Some(why) => ("refused", Some(why.code.clone()), Some(why.reason.clone())),
        None if row.paused => ("paused", row.code.clone(), row.reason.clone()),
        None if host_runs => ("serving", row.code.clone(), row.reason.clone()),
        None => ("stopped", row.code.clone(), row.reason.clone()),
    };
    // A refused channel is served by nothing; what served it before is history.
    let serves = |text: &Option<String>| text.clone().filter(|_| refusal.is_none());
    json!({
        "name": row.name,
        "state": state,
        "code": code,
        "reason": reason,
        "adapter": serves(&row.adapter),
        "version": serves(&row.version),
        "digest": serves(&row.digest),
        "paused": row.paused,
        "not_before_ms": row.not_before_ms,
        "turns_unfinished": row.turns_unfinished,
        "deliveries_unfinished": row.deliveries_unfinished,
        "held": row.held,
        "oldest_unfinished_at_ms": row.oldest_unfinished_at_ms,
        "waiting_code": row.waiting_code,
        "waiting_reason": row.waiting_reason,
        "turns_dead": row.turns_dead,
        "turns_quarantined": row.turns_quarantined,
        "deliveries_dead": row.deliveries_dead,
        "since_ms": if row.present { row.paused_at_ms } else { row.removed_at_ms },
    })
}

/// The sizes of the store's files, and the room on their disk; what cannot be found out is null.
#[must_use]
pub fn disk_facts(data_dir: &Path) -> Value {
    let size = |name: &str| std::fs::metadata(data_dir.join(name)).ok().map(|file| file.len());
    let disk = rustix::fs::statvfs(data_dir).ok();
    json!({
        "bytes": size("lastword.db"),
        "wal_bytes": size("lastword.db-wal"),
        "disk_free_bytes": disk.as_ref().map(|disk| disk.f_bavail.saturating_mul(disk.f_frsize)),
        "disk_bytes": disk.as_ref().map(|disk| disk.f_blocks.saturating_mul(disk.f_frsize)),
    })
}

/// The whole document of a host that runs.
pub(super) fn document(
    host: &HostIdentity,
    phase: &str,
    store: Value,
    channels: Vec<Value>,
    summary: &Summary,
    workers: &Snapshot,
) -> Value {
    let mut document = Map::new();
    document.insert(
        "host".to_owned(),
        json!({
            "version": env!("CARGO_PKG_VERSION"),
            "pid": host.pid,
            "address": host.address,
            "started_at_ms": host.started_at_ms,
            "phase": phase,
        }),
    );
    document.insert("store".to_owned(), store);
    document.insert("channels".to_owned(), Value::Array(channels));
    document.insert("rows".to_owned(), json!(summary));
    // Breakers, sweeps, pollers, events: by their own names, beside the others.
    if let Ok(Value::Object(memory)) = serde_json::to_value(workers) {
        for (name, value) in memory {
            document.entry(name).or_insert(value);
        }
    }
    Value::Object(document)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(name: &str, present: bool, paused: bool) -> ChannelRow {
        ChannelRow {
            name: name.to_owned(),
            present,
            paused,
            code: paused.then(|| "operator".to_owned()),
            reason: None,
            not_before_ms: None,
            adapter: Some("webhook".to_owned()),
            version: Some("1.0.0".to_owned()),
            digest: Some("d".to_owned()),
            turns_unfinished: 1,
            deliveries_unfinished: 0,
            held: 0,
            oldest_unfinished_at_ms: None,
            waiting_code: None,
            waiting_reason: None,
            turns_dead: 0,
            turns_quarantined: 0,
            deliveries_dead: 0,
            paused_at_ms: None,
            removed_at_ms: None,
        }
    }

    #[test]
    fn a_channels_state_says_the_first_thing_that_keeps_it_from_serving() {
        let rows = [
            row("fine", true, false),
            row("paused", true, true),
            row("refused", true, true),
            row("removed", false, true),
        ];
        let why = RefusedChannel { code: "secret_missing".to_owned(), reason: "r".to_owned() };
        let refused = BTreeMap::from([(ChannelName::from("refused"), why)]);
        let values = channel_values(&rows, &refused, true);
        let states: Vec<&str> = values.iter().filter_map(|v| v["state"].as_str()).collect();
        assert_eq!(states, ["serving", "paused", "refused", "removed"]);
        assert_eq!(values[2]["code"], "secret_missing");
        assert!(values[2]["adapter"].is_null() && values[0]["adapter"] == "webhook");
        assert_eq!(channel_values(&rows, &refused, false)[0]["state"], "stopped");
    }
}
