//! What answers turns, as the config names it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{Access, access};

use super::RunError;
use super::rules::{self, pull_rules};
use crate::config::{Config, HandlerKind, SecretRef};
use crate::env::{self, Env};
use crate::handler::{Echo, Exec, ExecSettings, Handler, Http, HttpSettings};
use crate::workers::Answering;

/// Nothing is started or connected yet.
///
/// # Errors
/// Where the config names something that cannot be one.
pub(super) fn answering(env: &Env, config: &Config) -> Result<Answering, RunError> {
    let handler: Arc<dyn Handler> = match &config.handler.kind {
        HandlerKind::Pull(pull) => return Ok(Answering::Pull(pull_rules(pull))),
        HandlerKind::Echo => Arc::new(Echo),
        HandlerKind::Exec { command } => {
            let settings = ExecSettings {
                withheld: secret_variables(config),
                limits: rules::handler_limits(config),
                log_payloads: rules::log_payloads(config),
                ..ExecSettings::new(command.clone(), config.folder.clone())
            };
            Arc::new(Exec::new(env.clone(), settings).map_err(RunError::Config)?)
        }
        HandlerKind::Http { url } => {
            let settings = HttpSettings { url: url.clone(), limits: rules::handler_limits(config) };
            Arc::new(Http::new(env.clone(), settings).map_err(RunError::Config)?)
        }
    };
    Ok(Answering::Handler(handler))
}

/// Where a command is looked for where nobody says where: as the C library has it.
const PATH_DEFAULT: &str = "/bin:/usr/bin";

/// Whether the agent's command could be started as things stand: looked up as its guard will, in the
/// folder of the config. What is missing now may be there at the first message: it keeps no host from
/// its start.
///
/// # Errors
/// The sentence.
pub(super) fn startable(config: &Config) -> Result<(), String> {
    let HandlerKind::Exec { command } = &config.handler.kind else { return Ok(()) };
    let (program, folder) = (command.first().map_or("", String::as_str), &config.folder);
    if !folder.is_dir() {
        let folder = folder.display();
        return Err(format!(
            "the command \"{program}\" cannot run in {folder}, which is no folder"
        ));
    }
    let by_path = !program.contains('/');
    let places = if by_path { search(folder, program) } else { vec![folder.join(program)] };
    if places.iter().any(|place| place.is_file() && access(place, Access::EXEC_OK).is_ok()) {
        return Ok(());
    }
    let why = match places.iter().find(|place| place.is_file()) {
        Some(file) => format!("{} may not be executed; `chmod +x` allows it", file.display()),
        None if by_path => "no folder of PATH has such a program".to_owned(),
        None => format!("there is no file {}", folder.join(program).display()),
    };
    Err(format!("the command \"{program}\" cannot be started: {why}"))
}

/// Where a program may be, in the order of PATH. What is relative there is so to the folder.
fn search(folder: &Path, program: &str) -> Vec<PathBuf> {
    let path = env::variable("PATH").unwrap_or_else(|| PATH_DEFAULT.into());
    std::env::split_paths(&path).map(|place| folder.join(place).join(program)).collect()
}

/// The environment variables that hold secrets of channels or of the API: the agent gets none.
fn secret_variables(config: &Config) -> Vec<String> {
    let of_channels = config.channels.values().flat_map(|channel| channel.secrets.values());
    let references = of_channels.flatten().chain(config.api_token.as_ref());
    let variables = references.filter_map(|reference| match reference {
        SecretRef::Variable(name) => Some(name.clone()),
        SecretRef::File(_) => None,
    });
    variables.collect()
}
