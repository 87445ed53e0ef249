//! Log lines to standard error: for people or as JSON, as many as LASTWORD_LOG asks for.

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;

use super::args::LogFormat;
use super::output::Failure;
use crate::env;

const FILTER_VARIABLE: &str = "LASTWORD_LOG";

/// What a host shows where nobody asks for more or less.
pub(super) const FILTER_DEFAULT: &str = "info";
/// What an adapter's author sees of the one channel that is tried: its every line and request.
pub(super) const FILTER_LOUD: &str = "info,lastword::adapter=debug,lastword::sandbox=debug";

/// Starts logging; `filter` holds where the environment asks for nothing else.
pub(super) fn init(format: LogFormat, filter: &str) -> Result<(), Failure> {
    let wanted = env::variable(FILTER_VARIABLE);
    let wanted = wanted.as_ref().map_or(Some(filter), |text| text.to_str());
    let filter = wanted.and_then(|text| EnvFilter::try_new(text).ok()).ok_or_else(|| {
        Failure::wrong(format!(
            "{FILTER_VARIABLE} is no filter: write a level such as \"info\" or \"debug\", or \
             \"info,lastword::store=debug\""
        ))
    })?;
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        // A log on the same full disk: told to standard error, the fault would end the thread.
        .log_internal_errors(false);
    let started = match format {
        LogFormat::Human => lines.try_init(),
        LogFormat::Json => lines.json().flatten_event(true).try_init(),
    };
    started.map_err(|error| Failure::wrong(format!("logging cannot be started: {error}")))
}
