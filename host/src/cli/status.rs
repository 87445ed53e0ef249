//! `status` and `channels list`: of a host that runs, what it says of itself; without one, what
//! stands in the store and in the config.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::api::Host;
use super::change::lock_failure;
use super::lists::{open, unexpected};
use super::output::{Exit, Failure, Form, Output, time};
use crate::config::Config;
use crate::env::Env;
use crate::runtime::{channel_values, running_host};
use crate::store::{Query, Rows};

/// `status`.
pub(super) async fn status(
    env: &Env,
    config: &Config,
    output: &mut Output<'_>,
) -> Result<(), Failure> {
    let document = document(env, config).await?;
    if output.form == Form::Json {
        return output.json(&document);
    }
    let text = |pointer: &str| document.pointer(pointer).and_then(Value::as_str);
    let host = match (text("/host/address"), document.pointer("/host/pid")) {
        (Some(address), Some(pid)) => {
            format!("{} at {address}, process {pid}", text("/host/phase").unwrap_or("running"))
        }
        _ => "not running".to_owned(),
    };
    output.facts(&[("host", Some(host)), ("data", Some(config.data_dir.display().to_string()))])?;
    let rows = document.get("rows").and_then(Value::as_object);
    for (name, count) in rows.into_iter().flatten() {
        if count.as_u64() != Some(0) {
            output.facts(&[(&name.replace('_', " "), Some(count.to_string()))])?;
        }
    }
    output.line("")?;
    print_channels(&document, output)
}

/// `channels list`.
pub(super) async fn channels(
    env: &Env,
    config: &Config,
    output: &mut Output<'_>,
) -> Result<(), Failure> {
    let document = document(env, config).await?;
    match output.form {
        Form::Json => values(&document).try_for_each(|channel| output.json(channel)),
        Form::Human => print_channels(&document, output),
    }
}

fn values(document: &Value) -> impl Iterator<Item = &Value> {
    document.get("channels").and_then(Value::as_array).into_iter().flatten()
}

fn print_channels(document: &Value, output: &mut Output<'_>) -> Result<(), Failure> {
    let text = |channel: &Value, key: &str| match channel.get(key) {
        Some(Value::String(text)) => text.clone(),
        None | Some(Value::Null) => String::new(),
        Some(other) => other.to_string(),
    };
    let head = ["channel", "state", "adapter", "version", "unfinished", "held", "oldest", "reason"];
    let rows = values(document).map(|channel| {
        let oldest = channel.get("oldest_unfinished_at_ms").and_then(Value::as_i64);
        let mut cells: Vec<String> = ["name", "state", "adapter", "version"]
            .into_iter()
            .chain(["turns_unfinished", "held"])
            .map(|key| text(channel, key))
            .collect();
        cells.push(oldest.map(time).unwrap_or_default());
        cells.push(text(channel, "reason"));
        cells
    });
    output.table(&head, rows.collect())
}

async fn document(env: &Env, config: &Config) -> Result<Value, Failure> {
    let Some(held) = running_host(&config.data_dir).map_err(lock_failure)? else {
        return without_host(config);
    };
    match held.facts.as_ref().filter(|facts| !facts.address.is_empty()) {
        Some(facts) => Host { env, facts }.get("/v1/status").await,
        None => Err(Failure::new(Exit::Failed, held.to_string())),
    }
}

/// The same document, as far as it goes without a host.
fn without_host(config: &Config) -> Result<Value, Failure> {
    let nothing_yet = |channels| json!({"host": null, "channels": channels, "rows": null});
    let store = match open(config) {
        Ok(store) => store,
        Err(failure) if failure.exit == Exit::Nothing => {
            let channels: Vec<Value> = config.channels.keys().map(|name| unseen(&name.0)).collect();
            return Ok(nothing_yet(channels));
        }
        Err(failure) => return Err(failure),
    };
    let Rows::Channels(mut rows) = store.read(&Query::Channels)? else { return Err(unexpected()) };
    let Rows::Summary(summary) = store.read(&Query::Summary)? else { return Err(unexpected()) };
    for row in &mut rows {
        // The store knows the config of the last run; the file on disk is what counts now.
        row.present = config.channels.keys().any(|name| name.0 == row.name);
    }
    let mut channels = channel_values(&rows, &BTreeMap::new(), false);
    let new = config.channels.keys().filter(|name| rows.iter().all(|row| row.name != name.0));
    channels.extend(new.map(|name| unseen(&name.0)));
    Ok(json!({"host": null, "channels": channels, "rows": summary}))
}

/// A channel that no host has started yet.
fn unseen(name: &str) -> Value {
    json!({
        "name": name, "state": "stopped", "code": null, "reason": null,
        "adapter": null, "version": null, "digest": null,
        "paused": false, "not_before_ms": null,
        "turns_unfinished": 0, "deliveries_unfinished": 0, "held": 0,
        "oldest_unfinished_at_ms": null,
    })
}
