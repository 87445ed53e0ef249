//! `init`: a commented config and a sample agent, to start from.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::Path;

use serde_json::json;

use super::output::{Exit, Failure, Form, Output};

/// Every setting with its default, and one channel.
const CONFIG: &str = include_str!("init/lastword.toml");
/// An agent of a page.
const AGENT: &str = include_str!("init/agent.py");
const AGENT_FILE: &str = "agent.py";

/// Writes both files; neither is written over.
pub(super) fn init(config: &Path, output: &mut Output<'_>) -> Result<(), Failure> {
    let folder = config.parent().unwrap_or(Path::new(""));
    let agent = folder.join(AGENT_FILE);
    for path in [config, &agent] {
        if path.symlink_metadata().is_ok() {
            let path = path.display();
            let sentence = format!(
                "{path} is there already and is left alone: take another folder, or move it away"
            );
            return Err(Failure::new(Exit::Refused, sentence));
        }
    }
    std::fs::create_dir_all(if folder.as_os_str().is_empty() { Path::new(".") } else { folder })
        .map_err(|error| failed(folder, &error))?;
    write_new(config, CONFIG)?;
    write_new(&agent, AGENT)?;
    match output.form {
        Form::Json => output.json(&json!({"config": config, "agent": agent})),
        Form::Human => {
            output.line(&format!("wrote {} and {}", config.display(), agent.display()))?;
            output.line(
                "next: name the component of your adapter in the config, then `lastword check`",
            )
        }
    }
}

fn write_new(path: &Path, text: &str) -> Result<(), Failure> {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(path)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .map_err(|error| failed(path, &error))
}

fn failed(path: &Path, error: &std::io::Error) -> Failure {
    Failure::new(Exit::Failed, format!("{} cannot be written: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{
        Config, HandlerCaps, HandlerKind, HostLimits, Lifecycle, Limits, LogPayloads,
    };

    fn parse(text: &str) -> Config {
        Config::parse(text, Path::new("lastword.toml"), Path::new("/x"))
            .unwrap_or_else(|errors| panic!("{errors}"))
    }

    #[test]
    fn the_config_that_init_writes_is_right_and_says_nothing_but_defaults() {
        let config = parse(CONFIG);
        assert_eq!(config.lifecycle, Lifecycle::default());
        assert_eq!(config.limits, Limits::default());
        assert_eq!(config.host_limits, HostLimits::default());
        assert_eq!(config.handler.caps, HandlerCaps::default());
        assert_eq!(config.log_payloads, LogPayloads::No);
        let command = vec!["python3".to_owned(), AGENT_FILE.to_owned()];
        assert_eq!(config.handler.kind, HandlerKind::Exec { command });
        assert_eq!(config.channels.len(), 1);
    }

    #[test]
    fn every_commented_setting_of_it_is_known_and_shows_its_default() {
        let settings = |line: &str| line.strip_prefix("#:").map(str::trim_start).map(str::to_owned);
        let text: Vec<String> =
            CONFIG.lines().map(|line| settings(line).unwrap_or_else(|| line.to_owned())).collect();
        let config = parse(&text.join("\n"));
        assert_eq!(config.lifecycle, Lifecycle::default());
        assert_eq!(config.limits, Limits::default());
        assert_eq!(config.host_limits, HostLimits::default());
        assert_eq!(config.handler.caps, HandlerCaps::default());
        assert_eq!(config.log_payloads, LogPayloads::No);
        assert_eq!(config.handler.concurrency, parse(CONFIG).handler.concurrency);
        assert!(config.public_url.is_some() && config.api_token.is_some());
    }

    #[test]
    fn nothing_is_written_over() {
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("lastword.toml");
        std::fs::write(folder.path().join(AGENT_FILE), "mine").unwrap();
        let mut bytes = Vec::new();
        let mut output = Output { form: Form::Json, to: &mut bytes };
        assert_eq!(init(&config, &mut output).unwrap_err().exit, Exit::Refused);
        assert!(!config.exists(), "and nothing half");
        std::fs::remove_file(folder.path().join(AGENT_FILE)).unwrap();
        init(&config, &mut output).unwrap();
        assert_eq!(std::fs::read_to_string(&config).unwrap(), CONFIG);
        assert_eq!(init(&config, &mut output).unwrap_err().exit, Exit::Refused);
    }
}
