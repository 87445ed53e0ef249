//! `adapter new`, `build`, `check` and `run`: from nothing to one channel that runs.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use clap::{Subcommand, ValueEnum};
use guest_build::project::{self, Language, ProjectError};
use serde_json::{Value, json};

use super::args::LogFormat;
use super::conformance::On;
use super::output::{Exit, Failure, Form, Output};
use crate::conformance;
use crate::runtime;

/// What an adapter's author uses, in this order.
#[derive(Debug, Subcommand)]
pub(super) enum KitCommand {
    /// Make the project of a new adapter, with everything that it needs.
    New {
        /// The adapter's name, and its folder's: a-z, 0-9 and `-`.
        name: String,
        /// What it is written in.
        #[arg(long, value_enum)]
        lang: Lang,
    },
    /// Build a project; its component is `adapter.wasm` in its folder.
    Build {
        /// The project's folder.
        #[arg(default_value = ".")]
        folder: PathBuf,
    },
    /// Show what a project's component exports, imports and asks for, as the host would admit it.
    Check {
        /// The project's folder, or a component.
        #[arg(default_value = ".")]
        path: PathBuf,
    },
    /// Hold a component against the rules of the contract, with recordings of its platform.
    Test {
        /// The project's folder, or a component.
        #[arg(default_value = ".")]
        path: PathBuf,
        /// How the platform speaks; `conformance.toml` beside the component where it is left out.
        #[arg(long, value_name = "FILE")]
        fixture: Option<PathBuf>,
        /// Where its calls run meanwhile.
        #[arg(long, value_enum, default_value = "engine")]
        isolation: On,
    },
    /// Run one channel with a project's component, and show everything that it does.
    Run {
        /// The project's folder, or a component.
        #[arg(default_value = ".")]
        path: PathBuf,
    },
}

/// In which language an adapter is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Lang {
    Rust,
    Js,
    Python,
}

/// The config of `adapter run`, in the project's folder.
const LIVE: &str = "live.toml";

impl From<ProjectError> for Failure {
    fn from(error: ProjectError) -> Self {
        let exit = match &error {
            ProjectError::Wrong(_) => Exit::WrongInput,
            ProjectError::Failed(_) => Exit::Failed,
        };
        Self::new(exit, error.to_string())
    }
}

/// Carries out one command of the kit.
pub(super) fn run(command: KitCommand, output: &mut Output<'_>) -> Result<(), Failure> {
    match command {
        KitCommand::New { name, lang } => {
            let language = match lang {
                Lang::Rust => Language::Rust,
                Lang::Js => Language::JavaScript,
                Lang::Python => Language::Python,
            };
            new(&name, language, output)
        }
        KitCommand::Build { folder } => build(&folder, output),
        KitCommand::Check { path } => check(&path, output),
        KitCommand::Test { path, fixture, isolation } => {
            super::conformance::test(&built(&path)?, fixture.as_deref(), isolation, output)
        }
        KitCommand::Run { path } => {
            let config = super::load(&live_config(&path, output)?)?;
            super::run(config, LogFormat::Human, super::log::FILTER_LOUD)
        }
    }
}

/// Makes a project.
fn new(name: &str, language: Language, output: &mut Output<'_>) -> Result<(), Failure> {
    let folder = project::new(Path::new(""), name, language)?;
    match output.form {
        Form::Json => output.json(&json!({ "folder": folder })),
        Form::Human => {
            output.line(&format!("wrote {}", folder.display()))?;
            output.line(&format!(
                "next: `lastword adapter build {name}`, then `lastword adapter test {name}`"
            ))
        }
    }
}

/// Builds a project.
fn build(folder: &Path, output: &mut Output<'_>) -> Result<(), Failure> {
    let form = output.form;
    let mut told = Ok(());
    let mut progress = |line: &str| {
        if form == Form::Human && told.is_ok() {
            told = output.line(line);
        }
    };
    let component = project::build(folder, &mut progress)?;
    told?;
    let size_bytes = std::fs::metadata(&component).map(|it| it.len()).unwrap_or_default();
    match output.form {
        Form::Json => output.json(&json!({ "component": component, "size_bytes": size_bytes })),
        Form::Human => output.line(&format!("{} ({size_bytes} bytes)", component.display())),
    }
}

/// Says what a project's component is and asks for, as the host would admit it.
fn check(path: &Path, output: &mut Output<'_>) -> Result<(), Failure> {
    let component = built(path)?;
    super::inspect::inspect(&component, output).map_err(|failure| {
        // It is the author's input that is refused here, and no order that failed.
        Failure { exit: Exit::WrongInput, ..failure }
    })
}

/// Runs one channel: the config is written where there is none yet, and otherwise it runs.
///
/// # Errors
/// With [`Exit::Refused`] where the config has just been written, so that its author looks at it
/// first.
fn live_config(path: &Path, output: &mut Output<'_>) -> Result<PathBuf, Failure> {
    let component = built(path)?;
    let folder = component.parent().unwrap_or(Path::new("")).to_path_buf();
    let config = folder.join(LIVE);
    if config.is_file() {
        return Ok(config);
    }
    super::wait_for(async |env| {
        let admitted = runtime::inspect(&component, &env).await?;
        let text = live_text(&admitted, &component);
        std::fs::write(&config, text).map_err(|error| {
            Failure::new(Exit::Failed, format!("{} cannot be written: {error}", config.display()))
        })
    })?;
    output.line(&format!("wrote {}", config.display()))?;
    let sentence = format!(
        "look through {} and fill in what it marks; then run this command again",
        config.display()
    );
    Err(Failure::new(Exit::Refused, sentence))
}

fn built(path: &Path) -> Result<PathBuf, Failure> {
    let component = project::component(path);
    if component.is_file() {
        return Ok(component);
    }
    let shown = component.display();
    let sentence = if path.is_dir() {
        format!("{shown} is not there: build it first with `lastword adapter build`")
    } else {
        format!("there is no component at {shown}")
    };
    Err(Failure::wrong(sentence))
}

/// A host of one channel with everything that the component asks for, and the built-in agent.
fn live_text(admitted: &Value, component: &Path) -> String {
    let manifest = &admitted["manifest"];
    let name = manifest["name"].as_str().unwrap_or("adapter");
    let file = component.file_name().unwrap_or_default().to_string_lossy();
    let mut text = format!(
        "# One channel, to try an adapter by hand: `lastword adapter run`.\n\
         data_dir = \"live-data\"\nlisten = \"127.0.0.1:8787\"\n\
         # public_url = \"https://...\"   # what the platform calls, where it pushes\n\n\
         [handler]\nkind = \"echo\"\n\n\
         [channels.{name}]\nadapter = {file:?}\n"
    );
    let schema = &manifest["settings_schema"];
    let required: Vec<&str> =
        schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let _ = write!(text, "\n[channels.{name}.settings]\n");
    for (key, setting) in schema["properties"].as_object().into_iter().flatten() {
        let description = setting["description"].as_str().unwrap_or_default();
        let mark = if required.contains(&key.as_str()) { "" } else { "# " };
        let value = setting.get("default").cloned().unwrap_or_else(|| json!("FILL IN"));
        let _ = writeln!(text, "{mark}{key} = {value}   # {description}");
    }
    let _ = write!(text, "\n[channels.{name}.secrets]\n");
    for slot in manifest["secrets"].as_array().into_iter().flatten() {
        let slot_name = slot["name"].as_str().unwrap_or_default();
        let purpose = slot["purpose"].as_str().unwrap_or_default();
        let mark = if slot["required"] == Value::Bool(true) { "" } else { "# " };
        let variable = slot_name.to_ascii_uppercase().replace('-', "_");
        let _ = writeln!(text, "{mark}{slot_name} = \"env:{variable}\"   # {purpose}");
    }
    let targets: Vec<&str> = manifest["targets"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|target| target["id"].as_str())
        .collect();
    let _ = write!(text, "\n[channels.{name}.grants]\ntargets = {}\n", json!(targets));
    let _ =
        writeln!(text, "# private_targets = {}   # for a platform on this machine", json!(targets));
    let _ = writeln!(text, "\n# The suite's recordings lie in {}.", conformance::FIXTURE);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_config_of_a_live_channel_is_one_that_is_understood() {
        let admitted = json!({ "manifest": {
            "name": "mybot",
            "settings_schema": {
                "properties": {
                    "server": { "type": "string", "description": "where it is" },
                    "quiet": { "type": "boolean", "default": false, "description": "or not" },
                },
                "required": ["server"],
            },
            "secrets": [{ "name": "api-token", "purpose": "signs in", "required": true }],
            "targets": [{ "id": "chat" }],
        }});
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join(LIVE);
        std::fs::write(&file, live_text(&admitted, &folder.path().join("adapter.wasm"))).unwrap();
        let config = crate::config::Config::load(&file).unwrap();
        let channel = config.channels.values().next().unwrap();
        assert_eq!(channel.name.0, "mybot");
        assert_eq!(channel.settings["server"], "FILL IN");
        assert_eq!(channel.grants.targets, ["chat"]);
        assert!(channel.secrets.contains_key("api-token"));
    }
}
