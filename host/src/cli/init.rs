//! `init`: a commented config, a sample agent and the adapters that came with the program, to start
//! from.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use serde_json::json;

use super::output::{Exit, Failure, Form, Output};

/// Every setting with its default, and one channel.
const CONFIG: &str = include_str!("init/lastword.toml");
/// An agent of a page.
const AGENT: &str = include_str!("init/agent.py");
const AGENT_FILE: &str = "agent.py";
/// Where components lie: beside the program, and beside the config that names one of them.
const ADAPTERS: &str = "adapters";
/// The component that the config names.
const NAMED: &str = "webhook.wasm";

/// The folder of the running program.
pub(super) fn own_folder() -> Option<PathBuf> {
    std::env::current_exe().ok()?.parent().map(Path::to_path_buf)
}

/// Writes config and agent, neither over what is there, and copies the components that lie in
/// `program`'s folder of adapters to that of the config.
pub(super) fn init(
    config: &Path,
    program: Option<&Path>,
    output: &mut Output<'_>,
) -> Result<(), Failure> {
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
    let adapters = folder.join(ADAPTERS);
    let copied = match program {
        Some(program) => copy_adapters(&program.join(ADAPTERS), &adapters)?,
        None => Vec::new(),
    };
    if output.form == Form::Json {
        return output.json(&json!({"config": config, "agent": agent, "adapters": copied}));
    }
    output.line(&format!("wrote {} and {}", config.display(), agent.display()))?;
    if !copied.is_empty() {
        let names: Vec<_> = copied.iter().map(|path| path.display().to_string()).collect();
        output.line(&format!("copied {}", names.join(", ")))?;
    }
    let named = adapters.join(NAMED);
    if named.is_file() {
        return output.line("next: `lastword check`, then `lastword run`");
    }
    output.line(&format!(
        "next: no adapters lie beside this program: copy the component of yours to {}, or name it \
         in the config; then `lastword check`",
        named.display()
    ))
}

/// Copies every component that is not there yet; gives those that were copied, by name.
fn copy_adapters(from: &Path, to: &Path) -> Result<Vec<PathBuf>, Failure> {
    let is_component = |path: &PathBuf| path.extension().is_some_and(|it| it == "wasm");
    let Ok(entries) = std::fs::read_dir(from) else { return Ok(Vec::new()) };
    let mut found: Vec<PathBuf> = entries
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|path| is_component(path) && path.is_file())
        .collect();
    found.sort();
    let mut copied = Vec::new();
    for source in found {
        let Some(name) = source.file_name() else { continue };
        let target = to.join(name);
        if target.symlink_metadata().is_ok() {
            continue;
        }
        std::fs::create_dir_all(to).map_err(|error| failed(to, &error))?;
        copy_new(&source, &target).map_err(|error| failed(&target, &error))?;
        copied.push(target);
    }
    Ok(copied)
}

fn copy_new(source: &Path, target: &Path) -> std::io::Result<()> {
    let mut from = std::fs::File::open(source)?;
    let mut to = OpenOptions::new().write(true).create_new(true).open(target)?;
    std::io::copy(&mut from, &mut to)?;
    Ok(())
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
        assert_eq!(config.reload, parse(CONFIG).reload);
        assert_eq!(config.trust, parse(CONFIG).trust);
        let channel = &config.channels[&"hook".into()];
        assert!(channel.sha256.is_some() && channel.rate.is_some());
        let plain = &parse(CONFIG).channels[&"hook".into()];
        assert_eq!(
            (channel.isolation, channel.on_abort, channel.allow_downgrade, channel.on_unknown),
            (plain.isolation, plain.on_abort, plain.allow_downgrade, plain.on_unknown),
        );
        for key in ["rate", "failure_notice", "watch", "isolation", "sha256", "file_bytes", "trust"]
        {
            assert!(CONFIG.contains(&format!("\n#: {key} = ")), "{key}");
        }
    }

    #[test]
    fn nothing_is_written_over() {
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("lastword.toml");
        std::fs::write(folder.path().join(AGENT_FILE), "mine").unwrap();
        let mut bytes = Vec::new();
        let mut output = Output { form: Form::Json, to: &mut bytes };
        assert_eq!(init(&config, None, &mut output).unwrap_err().exit, Exit::Refused);
        assert!(!config.exists(), "and nothing half");
        std::fs::remove_file(folder.path().join(AGENT_FILE)).unwrap();
        init(&config, None, &mut output).unwrap();
        assert_eq!(std::fs::read_to_string(&config).unwrap(), CONFIG);
        assert_eq!(init(&config, None, &mut output).unwrap_err().exit, Exit::Refused);
    }

    #[test]
    fn adapters_beside_the_program_are_copied_and_none_is_written_over() {
        let program = tempfile::tempdir().unwrap();
        let beside = program.path().join(ADAPTERS);
        std::fs::create_dir_all(&beside).unwrap();
        for name in [NAMED, "telegram.wasm", "notes.txt"] {
            std::fs::write(beside.join(name), "new").unwrap();
        }
        let folder = tempfile::tempdir().unwrap();
        let adapters = folder.path().join(ADAPTERS);
        std::fs::create_dir(&adapters).unwrap();
        std::fs::write(adapters.join("telegram.wasm"), "mine").unwrap();
        let mut bytes = Vec::new();
        let mut output = Output { form: Form::Human, to: &mut bytes };
        let config = folder.path().join("lastword.toml");
        init(&config, Some(program.path()), &mut output).unwrap();
        let told = String::from_utf8(bytes).unwrap();
        assert_eq!(std::fs::read_to_string(adapters.join(NAMED)).unwrap(), "new");
        assert_eq!(std::fs::read_to_string(adapters.join("telegram.wasm")).unwrap(), "mine");
        assert!(!adapters.join("notes.txt").exists());
        assert!(told.contains("copied ") && !told.contains("telegram.wasm"), "{told}");
        assert!(told.contains("next: `lastword check`, then `lastword run`"), "{told}");
    }

    #[test]
    fn where_no_adapter_lies_beside_the_program_it_says_what_to_copy() {
        let folder = tempfile::tempdir().unwrap();
        let mut bytes = Vec::new();
        let mut output = Output { form: Form::Human, to: &mut bytes };
        let config = folder.path().join("lastword.toml");
        init(&config, Some(&folder.path().join("elsewhere")), &mut output).unwrap();
        let told = String::from_utf8(bytes).unwrap();
        let target = folder.path().join(ADAPTERS).join(NAMED);
        assert!(told.contains(&format!("copy the component of yours to {}", target.display())));
    }
}
