//! `adapter grant`: shows what a channel's component asks, asks the person, and writes the grant
//! into the config.

use std::io::{IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};

use serde_json::json;

use super::args::GrantArgs;
use super::output::{Exit, Failure, Form, Output};
use crate::config::Config;
use crate::env::Env;
use crate::runtime::{self, Granting, Wishes};

pub(super) fn grant(
    config: &Config,
    args: &GrantArgs,
    output: &mut Output<'_>,
) -> Result<(), Failure> {
    let channel = runtime::channel_of(config, &args.channel);
    let channel = channel.map_err(|sentence| Failure::new(Exit::Nothing, sentence))?;
    let text = read(&config.file)?;
    let wishes = Wishes { targets: args.target.clone(), private: args.private.clone() };
    super::wait_for(async |env| {
        let plan = runtime::plan_grant(&text, channel, &wishes, &env).await?;
        show(&plan, config, output)?;
        let new = match &plan.text {
            _ if !plan.changes => return tell(&plan, false, output),
            Some(new) => new,
            None => return Err(by_hand(&plan, config)),
        };
        match may_write(args, output)? {
            Said::Yes => {
                replace(&env, &config.file, &text, new)?;
                tell(&plan, true, output)
            }
            Said::No(sentence) => {
                if output.form == Form::Json {
                    tell(&plan, false, output)?;
                }
                Err(Failure::new(Exit::Nothing, sentence))
            }
        }
    })
}

fn by_hand(plan: &Granting, config: &Config) -> Failure {
    let file = config.file.display();
    Failure::new(
        Exit::Refused,
        format!(
            "{file} says channel {} in a way that cannot be changed without changing more; nothing \
             was written: make its grants say\n{}",
            plan.channel, plan.lines
        ),
    )
}

fn show(plan: &Granting, config: &Config, output: &mut Output<'_>) -> Result<(), Failure> {
    if output.form == Form::Json {
        return Ok(());
    }
    let Granting { channel, adapter, version, .. } = plan;
    output.line(&format!(
        "Channel {channel} with adapter {adapter} {version}, where this is granted:"
    ))?;
    for ask in &plan.asks {
        output.line(&format!("  {}", ask["words"].as_str().unwrap_or_default()))?;
    }
    for note in &plan.notes {
        output.line(&format!("note: {note}"))?;
    }
    output.line("")?;
    output.line(&format!("{}:", config.file.display()))?;
    plan.lines.lines().try_for_each(|line| output.line(&format!("  {line}")))?;
    output.line("")
}

/// Whether a person agreed, or why nothing is written.
enum Said {
    Yes,
    No(&'static str),
}

/// Whether the person says so: by `--yes`, or when asked at a terminal.
fn may_write(args: &GrantArgs, output: &mut Output<'_>) -> Result<Said, Failure> {
    if args.yes {
        return Ok(Said::Yes);
    }
    let stdin = std::io::stdin();
    if output.form == Form::Json {
        return Ok(Said::No("nothing was written: with --json nobody is asked: add `--yes`"));
    }
    if !stdin.is_terminal() {
        let sentence = "nothing was written: standard input is no terminal: add `--yes`";
        return Ok(Said::No(sentence));
    }
    write!(output.to, "Write this? [y/N] ")?;
    output.to.flush()?;
    let mut answer = String::new();
    stdin.read_line(&mut answer)?;
    Ok(match answer.trim().to_ascii_lowercase().as_str() {
        "y" | "yes" => Said::Yes,
        _ => Said::No("nothing was written; `--yes` writes it"),
    })
}

fn tell(plan: &Granting, written: bool, output: &mut Output<'_>) -> Result<(), Failure> {
    match (output.form, plan.changes, written) {
        (Form::Json, changes, _) => output.json(&json!({
            "channel": plan.channel,
            "adapter": plan.adapter,
            "version": plan.version,
            "changes": changes,
            "written": written,
            "targets": plan.targets,
            "private_targets": plan.private_targets,
            "asks": plan.asks,
            "notes": plan.notes,
            "lines": plan.lines,
        })),
        (Form::Human, false, _) => output.line("the config grants this already"),
        (Form::Human, true, true) => output.line(&format!(
            "written; it counts from the next start, or from `lastword adapter reload {}`",
            plan.channel
        )),
        // What was not agreed to ends as a failure that says so.
        (Form::Human, true, false) => Ok(()),
    }
}

fn read(file: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(file).map_err(|error| {
        Failure::new(Exit::Failed, format!("{} cannot be read: {error}", file.display()))
    })
}

/// Puts the new text in the place of the old one, whole or not at all.
fn replace(env: &Env, file: &Path, old: &str, new: &str) -> Result<(), Failure> {
    let failed = |error: std::io::Error| {
        Failure::new(Exit::Failed, format!("{} cannot be written: {error}", file.display()))
    };
    // Where the config is a link, what it names is written, and the link stays.
    let real = std::fs::canonicalize(file).map_err(failed)?;
    if read(&real)? != old {
        let sentence = format!("{} was changed meanwhile; nothing was written", file.display());
        return Err(Failure::new(Exit::Refused, sentence));
    }
    let mode = std::fs::metadata(&real).map_err(failed)?.permissions();
    let mut name = real.clone().into_os_string();
    name.push(format!(".{:016x}", env.random_u64()));
    let beside = PathBuf::from(name);
    let written =
        write_new(&beside, new.as_bytes(), mode).and_then(|()| std::fs::rename(&beside, &real));
    written.map_err(|error| {
        let _ = std::fs::remove_file(&beside);
        failed(error)
    })
}

fn write_new(path: &Path, bytes: &[u8], mode: std::fs::Permissions) -> std::io::Result<()> {
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).open(path)?;
    file.set_permissions(mode)?;
    file.write_all(bytes)?;
    file.sync_all()
}
