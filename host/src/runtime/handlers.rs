//! What answers turns, as the config names it.

use std::sync::Arc;

use super::RunError;
use super::rules::{self, pull_rules};
use crate::config::{Config, HandlerKind, SecretRef};
use crate::env::Env;
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
