//! `check`: everything that a start would find wrong, without a start: the config, the components,
//! the settings, the secrets and the grants of each channel.

use std::path::Path;

use serde_json::{Value, json};

use super::output::{Exit, Failure, Form, Output};
use crate::config::{Config, ConfigErrors};
use crate::runtime::{self, ChannelCheck, CheckReport};

pub(super) fn check(file: &Path, output: &mut Output<'_>) -> Result<(), Failure> {
    let config = match Config::load(file) {
        Ok(config) => config,
        Err(errors) => {
            if output.form == Form::Json {
                let errors = values(&errors);
                output.json(&json!({
                    "ok": false, "errors": errors, "problems": [], "channels": [],
                }))?;
            }
            return Err(Failure::wrong(errors.to_string()));
        }
    };
    super::wait_for(async |env| {
        let report = runtime::check(&config, &env).await?;
        print(file, &report, output)
    })
}

fn values(errors: &ConfigErrors) -> Vec<Value> {
    let value = |error: &crate::config::ConfigError| {
        json!({
            "file": errors.file,
            "line": error.line,
            "column": error.column,
            "word": error.word,
            "nearest": error.nearest,
            "sentence": error.sentence,
        })
    };
    errors.errors.iter().map(value).collect()
}

fn print(file: &Path, report: &CheckReport, output: &mut Output<'_>) -> Result<(), Failure> {
    match output.form {
        Form::Json => output.json(&json!({
            "ok": report.ok,
            "errors": [],
            "problems": report.problems,
            "agent": report.agent,
            "channels": report.channels,
        }))?,
        Form::Human => {
            let word = if report.ok { "right" } else { "read; not all of it would serve" };
            output.line(&format!("{}: {word}", file.display()))?;
            if let Some(reason) = &report.agent.reason {
                let place = place(file, report.agent.line);
                output.paragraph(&format!("{place}[handler] command: {reason}"))?;
            }
            for channel in &report.channels {
                print_channel(file, channel, output)?;
            }
        }
    }
    if report.ok {
        return Ok(());
    }
    // A problem beside the channels keeps the host from starting at all.
    let exit = if report.problems.is_empty() { Exit::Failed } else { Exit::WrongInput };
    let mut sentences = report.problems.clone();
    if !report.agent.ok {
        sentences.push("the agent could not be started: turns would wait".to_owned());
    }
    let refused = report.channels.iter().filter(|channel| !channel.ok).count();
    if refused > 0 {
        sentences.push(format!("{refused} of {} channels would be refused", report.channels.len()));
    }
    Err(Failure::new(exit, sentences.join("\n")))
}

/// `FILE:LINE: `, as errors of the config begin.
fn place(file: &Path, line: Option<u32>) -> String {
    line.map(|line| format!("{}:{line}: ", file.display())).unwrap_or_default()
}

fn print_channel(
    file: &Path,
    channel: &ChannelCheck,
    output: &mut Output<'_>,
) -> Result<(), Failure> {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let name = &channel.name;
    if channel.ok {
        let (adapter, version) = (text(&channel.adapter), text(&channel.version));
        output.line(&format!("channel {name}: would serve, with {adapter} {version}"))?;
    } else {
        let (code, reason) = (text(&channel.code), text(&channel.reason));
        let place = place(file, channel.line);
        output.paragraph(&format!("{place}channel {name}: would be refused ({code}): {reason}"))?;
    }
    channel.notes.iter().try_for_each(|note| output.line(&format!("  note: {note}")))
}
