//! `status` and `channels list`: of a host that runs, what it says of itself; without one, what
//! stands in the store and in the config.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::api::Host;
use super::change::lock_failure;
use super::dashboard::{self, Colours};
use super::lists::{open, unexpected};
use super::output::{Exit, Failure, Form, Output};
use crate::config::Config;
use crate::env::Env;
use crate::runtime::{channel_values, disk_facts, needs, running_host};
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
    let data = config.data_dir.display().to_string();
    dashboard::print(&document, &data, env.now().wall_ms, Colours::of_stdout(), output)
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
        Form::Human => {
            let (now_ms, colours) = (env.now().wall_ms, Colours::of_stdout());
            dashboard::print_channels(&document, now_ms, colours, output)
        }
    }
}

fn values(document: &Value) -> impl Iterator<Item = &Value> {
    document.get("channels").and_then(Value::as_array).into_iter().flatten()
}

pub(super) async fn document(env: &Env, config: &Config) -> Result<Value, Failure> {
    let Some(held) = running_host(&config.data_dir).map_err(lock_failure)? else {
        return without_host(config, env.now().wall_ms);
    };
    match held.facts.as_ref().filter(|facts| !facts.address.is_empty()) {
        Some(facts) => Host { env, facts }.get("/v1/status").await,
        None => Err(Failure::new(Exit::Failed, held.to_string())),
    }
}

/// The same document, as far as it goes without a host.
fn without_host(config: &Config, now_ms: i64) -> Result<Value, Failure> {
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
    let mut document = json!({
        "host": null,
        "store": disk_facts(&config.data_dir),
        "channels": channels,
        "rows": summary,
    });
    document["needs_a_person"] = Value::Array(needs(&document, now_ms));
    Ok(document)
}

/// A channel that no host has started yet.
fn unseen(name: &str) -> Value {
    json!({
        "name": name, "state": "stopped", "code": null, "reason": null,
        "adapter": null, "version": null, "digest": null,
        "paused": false, "not_before_ms": null,
        "turns_unfinished": 0, "deliveries_unfinished": 0, "held": 0,
        "oldest_unfinished_at_ms": null, "waiting_code": null, "waiting_reason": null,
        "turns_dead": 0, "turns_quarantined": 0, "deliveries_dead": 0, "since_ms": null,
    })
}
