//! What changes state: abort, replay, resolve, pause, resume. While a host runs it is asked to do
//! it, for it alone owns the store; without one the command takes the lock and does it itself. Both
//! ways carry out the same store command.

use serde_json::{Value, json};

use super::api::{Host, segment};
use super::args::{AbortArgs, ResolveHow};
use super::lists::{delivery_id, open, turn_id, unexpected};
use super::output::{Exit, Failure, Form, Output};
use crate::config::{Config, nearest};
use crate::env::Env;
use crate::lifecycle::id::ChannelName;
use crate::lifecycle::outcome::Fault;
use crate::runtime::{
    HeldByAnother, HostFacts, LockError, Offline, RunError, running_host, store_path,
};
use crate::store::{
    AbortScope, ChannelSwitch, Command, Operated, Query, ReplayOf, Resolution, Rows,
};

/// Who did it, in the rows' records.
pub(super) const BY: &str = "cli";

/// One change in both ways of saying it.
pub(super) struct Change {
    /// For a store without a host.
    command: Command,
    /// For a host that runs.
    path: String,
    body: Value,
    /// For people, in front of the ids.
    done: &'static str,
}

impl Change {
    pub(super) fn new(command: Command, path: String, body: Value, done: &'static str) -> Self {
        Self { command, path, body, done }
    }

    pub(super) fn abort(args: &AbortArgs) -> Result<Self, Failure> {
        let (scope, body) = match (&args.turn, &args.channel, &args.conversation) {
            (Some(turn), ..) => (AbortScope::Turn(turn_id(turn)?), json!({"turn": turn, "by": BY})),
            (None, Some(channel), Some(conversation)) => {
                let all = args.all;
                let scope = AbortScope::Conversation {
                    channel: ChannelName(channel.clone()),
                    conversation: conversation.clone(),
                    all,
                };
                let body = json!({
                    "channel": channel, "conversation": conversation, "all": all, "by": BY,
                });
                (scope, body)
            }
            (None, ..) => {
                let sentence = "name --turn ID, or --channel NAME and --conversation NAME";
                return Err(Failure::wrong(sentence));
            }
        };
        let command = Command::Abort { scope, by: BY.to_owned() };
        Ok(Self { command, path: "/v1/abort".to_owned(), body, done: "stopped" })
    }

    pub(super) fn replay(id: &str, force: bool) -> Result<Self, Failure> {
        let of = if id.starts_with('d') {
            ReplayOf::Delivery(delivery_id(id)?)
        } else {
            ReplayOf::Turn(turn_id(id)?)
        };
        Ok(Self {
            command: Command::Replay { of, force, by: BY.to_owned() },
            path: format!("/v1/replay/{}", segment(id)),
            body: json!({"force": force, "by": BY}),
            done: "replayed as",
        })
    }

    pub(super) fn resolve(id: &str, how: &ResolveHow) -> Result<Self, Failure> {
        let delivery = delivery_id(id)?;
        let (how, word) = resolution(how);
        Ok(Self {
            command: Command::Resolve { delivery, how, by: BY.to_owned() },
            path: format!("/v1/outbox/{}/resolve", segment(id)),
            body: json!({"how": word, "by": BY}),
            done: "resolved",
        })
    }

    pub(super) fn pause(name: &str) -> Self {
        let fault = Fault::new("operator", format!("paused by the operator ({BY})"));
        Self {
            command: Command::SwitchChannel {
                channel: ChannelName::from(name),
                switch: ChannelSwitch::Pause(fault),
            },
            path: format!("/v1/channels/{}/pause", segment(name)),
            body: json!({"by": BY}),
            done: "paused",
        }
    }

    pub(super) fn resume(name: &str) -> Self {
        Self {
            command: Command::SwitchChannel {
                channel: ChannelName::from(name),
                switch: ChannelSwitch::Resume,
            },
            path: format!("/v1/channels/{}/resume", segment(name)),
            body: json!({"by": BY}),
            done: "resumed",
        }
    }

    /// Has it done, and prints what was done.
    pub(super) async fn carry_out(
        self,
        env: &Env,
        config: &Config,
        output: &mut Output<'_>,
    ) -> Result<(), Failure> {
        let done = self.done;
        self.check_channel(config)?;
        let ids = match running_host(&config.data_dir).map_err(lock_failure)? {
            Some(held) => self.ask(env, &held).await?,
            None => self.do_here(env, config).await?,
        };
        match output.form {
            Form::Json => output.json(&json!({"ids": ids})),
            Form::Human if ids.is_empty() => output.line(done),
            Form::Human => ids.iter().try_for_each(|id| output.line(&format!("{done} {id}"))),
        }
    }

    /// A channel that nobody knows is no such thing. What is switched has to be in the config; turns
    /// of a channel that was removed from it can still be stopped.
    fn check_channel(&self, config: &Config) -> Result<(), Failure> {
        let (channel, removed) = match &self.command {
            Command::SwitchChannel { channel, .. } => (channel, Vec::new()),
            Command::Abort { scope: AbortScope::Conversation { channel, .. }, .. }
                if !config.channels.contains_key(channel) =>
            {
                (channel, stored_channels(config)?)
            }
            _ => return Ok(()),
        };
        if removed.contains(&channel.0) {
            return Ok(());
        }
        known_channel(config, &channel.0)
    }

    async fn ask(self, env: &Env, held: &HeldByAnother) -> Result<Vec<String>, Failure> {
        let facts = reached(held)?;
        let answer = Host { env, facts }.post(&self.path, &self.body).await?;
        let ids = answer.get("ids").and_then(Value::as_array).map(Vec::as_slice);
        let ids = ids.unwrap_or_default().iter().filter_map(Value::as_str);
        Ok(ids.map(ToOwned::to_owned).collect())
    }

    async fn do_here(self, env: &Env, config: &Config) -> Result<Vec<String>, Failure> {
        // Looked at first: taking the lock would make the folder.
        let path = store_path(config);
        if !path.exists() {
            let sentence = format!("nothing to do: there is no store at {}", path.display());
            return Err(Failure::new(Exit::Nothing, sentence));
        }
        let store = Offline::open(config, env).await?;
        match store.operate(self.command).await? {
            Operated::Done { ids } => Ok(ids),
            Operated::Nothing { sentence } => Err(Failure::new(Exit::Nothing, sentence)),
            Operated::Refused { sentence } => Err(Failure::new(Exit::Refused, sentence)),
        }
    }
}

/// How a person settles, and the API's word for it.
pub(super) fn resolution(how: &ResolveHow) -> (Resolution, &'static str) {
    if how.delivered {
        (Resolution::Delivered, "delivered")
    } else if how.resend {
        (Resolution::Resend, "resend")
    } else {
        (Resolution::Drop, "drop")
    }
}

/// A channel that the config names.
pub(super) fn known_channel(config: &Config, name: &str) -> Result<(), Failure> {
    let names: Vec<&str> = config.channels.keys().map(|name| name.0.as_str()).collect();
    if names.contains(&name) {
        return Ok(());
    }
    let meant = nearest(name, &names);
    let meant = meant.map(|name| format!("; did you mean \"{name}\"?")).unwrap_or_default();
    Err(Failure::new(Exit::Nothing, format!("there is no channel \"{name}\"{meant}")))
}

/// Where the host that holds the lock can be asked.
pub(super) fn reached(held: &HeldByAnother) -> Result<&HostFacts, Failure> {
    let facts = held.facts.as_ref().filter(|facts| !facts.address.is_empty());
    facts.ok_or_else(|| Failure::new(Exit::Refused, held.to_string()))
}

fn stored_channels(config: &Config) -> Result<Vec<String>, Failure> {
    match open(config)?.read(&Query::Channels)? {
        Rows::Channels(rows) => Ok(rows.into_iter().map(|row| row.name).collect()),
        _ => Err(unexpected()),
    }
}

/// A lock that another process holds is refused by state; one that cannot be used is a failure.
pub(super) fn lock_failure(error: LockError) -> Failure {
    let exit = match &error {
        LockError::Held(_) => Exit::Refused,
        LockError::Io { .. } => Exit::Failed,
    };
    Failure::new(exit, error.to_string())
}

impl From<RunError> for Failure {
    fn from(error: RunError) -> Self {
        let exit = match error.exit_code() {
            2 => Exit::WrongInput,
            3 => Exit::Nothing,
            4 => Exit::Refused,
            _ => Exit::Failed,
        };
        Self::new(exit, error.to_string())
    }
}
