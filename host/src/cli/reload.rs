//! `adapter reload` and `adapter rollback`: the host that runs is asked to change what serves a
//! channel. Without one there is nothing to change: the next start reads the files.

use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};

use super::api::{Host, segment};
use super::change::{BY, known_channel, lock_failure, reached};
use super::output::{Exit, Failure, Form, Output};
use crate::config::Config;
use crate::env::Env;
use crate::runtime::running_host;

/// Compiling a large component takes a while, and so do calls that have to end first.
const RELOADED_WITHIN: Duration = Duration::from_secs(300);

#[derive(Debug, Args)]
pub(super) struct ReloadArgs {
    /// The name in [channels.NAME].
    pub(super) channel: String,
    /// Also a version that is lower than the one that serves.
    #[arg(long)]
    pub(super) allow_downgrade: bool,
    /// Approve of what the new version asks beyond what the one that serves was granted.
    #[arg(long)]
    pub(super) approve: bool,
    /// Only if the file holds these bytes, by their SHA-256: those that were looked at.
    #[arg(long, value_name = "HEX")]
    pub(super) sha256: Option<String>,
}

pub(super) async fn reload(
    env: &Env,
    config: &Config,
    args: &ReloadArgs,
    output: &mut Output<'_>,
) -> Result<(), Failure> {
    let body = json!({
        "allow_downgrade": args.allow_downgrade, "approve": args.approve, "sha256": args.sha256,
        "by": BY,
    });
    ask(env, config, (&args.channel, "reload"), &body, output).await
}

pub(super) async fn roll_back(
    env: &Env,
    config: &Config,
    channel: &str,
    output: &mut Output<'_>,
) -> Result<(), Failure> {
    ask(env, config, (channel, "rollback"), &json!({"by": BY}), output).await
}

async fn ask(
    env: &Env,
    config: &Config,
    (channel, act): (&str, &str),
    body: &Value,
    output: &mut Output<'_>,
) -> Result<(), Failure> {
    known_channel(config, channel)?;
    let Some(held) = running_host(&config.data_dir).map_err(lock_failure)? else {
        let sentence = "nothing to do: no host runs, and the next start reads the files";
        return Err(Failure::new(Exit::Nothing, sentence));
    };
    let host = Host { env, facts: reached(&held)? };
    let path = format!("/v1/channels/{}/{act}", segment(channel));
    let generation = host.post_within(&path, body, RELOADED_WITHIN).await?;
    match output.form {
        Form::Json => output.json(&generation),
        Form::Human => {
            let word = |key: &str| generation[key].as_str().unwrap_or_default();
            let number = &generation["number"];
            let (adapter, version, digest) = (word("adapter"), word("version"), word("digest"));
            output.line(&format!(
                "generation {number} serves {channel}: {adapter} {version}, {digest}"
            ))
        }
    }
}
