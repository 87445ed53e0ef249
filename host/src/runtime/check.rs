//! `lastword check`: the config, every component and every binding, without starting anything and
//! without making a file. The cache of compiled code is left alone, so that each component is
//! really compiled.

use std::sync::Arc;

use serde::Serialize;

use super::channels::{self, LastRun, Sources, Stage, Started};
use super::generations;
use super::generations::book::Book;
use super::state_source::NoState;
use super::{RunError, grant, handlers, rules};
use crate::config::{Config, Places};
use crate::env::Env;
use crate::sandbox::{Engine, NoBlobs};

/// What was found out.
#[derive(Debug, Clone, Serialize)]
pub struct CheckReport {
    /// Whether all of it would start.
    pub ok: bool,
    pub channels: Vec<ChannelCheck>,
    /// What is wrong beside the channels, so that nothing would start.
    pub problems: Vec<String>,
    /// Whether the agent could be started now.
    pub agent: AgentCheck,
}

/// What answers turns. One that cannot be started keeps no host from its start: turns wait for it.
#[derive(Debug, Clone, Serialize)]
pub struct AgentCheck {
    pub ok: bool,
    /// Where it stands in the config's file.
    pub line: Option<u32>,
    pub reason: Option<String>,
}

/// One channel.
#[derive(Debug, Clone, Serialize)]
pub struct ChannelCheck {
    pub name: String,
    /// Where it stands in the config's file.
    pub line: Option<u32>,
    pub ok: bool,
    pub code: Option<String>,
    pub reason: Option<String>,
    pub adapter: Option<String>,
    pub version: Option<String>,
    pub digest: Option<String>,
    /// What the operator should know, though it is no fault.
    pub notes: Vec<String>,
}

/// Checks all that a start would need.
///
/// # Errors
/// Where the sandbox itself cannot be laid out.
pub async fn check(config: &Config, env: &Env) -> Result<CheckReport, RunError> {
    let mut problems = Vec::new();
    if let Err(error) = handlers::answering(env, config) {
        problems.push(error.to_string());
    }
    if let Some(Err(error)) = config.api_token.as_ref().map(|reference| reference.resolve()) {
        problems.push(format!("[api] token: {error}"));
    }
    let engine_config = rules::engine_config(config, None);
    let component_bytes_max = engine_config.component_bytes_max;
    let engine = Engine::new(env.clone(), engine_config).map_err(RunError::Engine)?;
    let sources = Sources { state: Arc::new(NoState), files: Arc::new(NoBlobs) };
    let book = Book::open(env, generations::book_path(config)).unwrap_or_else(|problem| {
        problems.push(problem);
        Book::empty(env)
    });
    let stage = Stage::new(env, &engine, component_bytes_max, sources);
    // Nothing is written, and the component of the last run stands in for none: what is in the files
    // is what was asked about.
    let last = LastRun { book: &book, kept: None };
    let started = channels::start(&stage, config, last).await;
    let places = Places::of(&config.file);
    let line = |name: &str| places.line(&["channels", name]);
    let channels: Vec<ChannelCheck> =
        started.iter().map(|(name, channel)| one(&name.0, line(&name.0), channel)).collect();
    let agent = agent(config, &places);
    let ok = problems.is_empty() && agent.ok && channels.iter().all(|channel| channel.ok);
    Ok(CheckReport { ok, channels, problems, agent })
}

fn agent(config: &Config, places: &Places) -> AgentCheck {
    let reason = handlers::startable(config).err();
    AgentCheck { ok: reason.is_none(), line: places.line(&["handler", "command"]), reason }
}

fn one(name: &str, line: Option<u32>, channel: &Started) -> ChannelCheck {
    let name = name.to_owned();
    match channel {
        Started::Serving(ready) => {
            let serving = &ready.serving;
            let manifest = serving.adapter.manifest();
            let mut notes = serving.adapter.admitted().notes.clone();
            notes.extend(grant::barred_targets(manifest, &serving.config));
            ChannelCheck {
                name,
                line,
                ok: true,
                code: None,
                reason: None,
                adapter: Some(manifest.name.clone()),
                version: Some(manifest.version.clone()),
                digest: Some(serving.adapter.digest().to_owned()),
                notes,
            }
        }
        Started::Refused(why) => ChannelCheck {
            name,
            line,
            ok: false,
            code: Some(why.code.clone()),
            reason: Some(why.reason.clone()),
            adapter: None,
            version: None,
            digest: None,
            notes: Vec::new(),
        },
    }
}
