//! `lastword doctor`: the store, the disk below it, who may read it, and, where it is asked for, all
//! that a start would need. It changes nothing.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use serde::Serialize;
use serde_json::Value;

use super::generations::{self, book::Book};
use super::lock::{LOCK_FILE, running_host};
use super::{RunError, check, handlers, store_path};
use crate::config::Config;
use crate::env::Env;
use crate::store::{self, Depth, Finding, Level};

/// Below this much room the operator is told, and below that much it is a fault.
const ROOM_LOW_BYTES: u64 = 512 << 20;
const ROOM_NONE_BYTES: u64 = 32 << 20;
/// The store needs a handful of files; others on the disk may have taken all.
const FILES_LOW: u64 = 1_000;

/// What was found.
#[derive(Debug, Serialize)]
pub struct Diagnosis {
    /// Whether nothing is broken.
    pub ok: bool,
    pub host_runs: bool,
    pub deep: bool,
    /// The worst first.
    pub findings: Vec<Finding>,
}

/// Looks at everything.
///
/// # Errors
/// Where the lock cannot be looked at.
pub async fn diagnose(config: &Config, env: &Env, depth: Depth) -> Result<Diagnosis, RunError> {
    let host = running_host(&config.data_dir)?;
    let mut findings = Vec::new();
    if let Some(held) = &host
        && held.facts.is_none()
    {
        let act = "another program holds the lock: end it, or wait until the host has started";
        findings.push(Finding::new(Level::Warning, "owner_silent", held.to_string(), act));
    }
    folder(&config.data_dir, &mut findings);
    room(&config.data_dir, &mut findings);
    look_at_store(config, env, host.is_some(), depth, &mut findings).await?;
    agent(config, &mut findings);
    match depth {
        Depth::Deep => channels(config, env, &mut findings).await?,
        Depth::Quick => beside(config, env, host.is_some(), &mut findings),
    }
    let mut diagnosis =
        Diagnosis { ok: true, host_runs: host.is_some(), deep: depth == Depth::Deep, findings };
    diagnosis.judge();
    Ok(diagnosis)
}

/// What of a status document keeps everything on a channel, or all of them, from its end.
const BROKEN: [&str; 3] = ["store_not_writable", "channel_refused", "handler_not_started"];

impl Diagnosis {
    /// Adds what a status document says that needs a person; what was found here already is not said
    /// twice.
    pub fn add_needs(&mut self, document: &Value) {
        let known: BTreeSet<String> = self.findings.iter().map(|it| it.code.to_string()).collect();
        let needs = document.get("needs_a_person").and_then(Value::as_array);
        for need in needs.into_iter().flatten() {
            let text = |key: &str| need[key].as_str().unwrap_or_default().to_owned();
            let what = text("what");
            if !known.contains(&what) {
                let broken = BROKEN.contains(&what.as_str());
                let level = if broken { Level::Error } else { Level::Warning };
                let act = format!("`{}`", text("command"));
                self.findings.push(Finding::new(level, what, text("sentence"), act));
            }
        }
        self.judge();
    }

    /// Adds one that was found elsewhere.
    pub fn add(&mut self, finding: Finding) {
        self.findings.push(finding);
        self.judge();
    }

    fn judge(&mut self) {
        self.findings.sort_by_key(|finding| std::cmp::Reverse(finding.level));
        self.ok = self.findings.iter().all(|finding| finding.level != Level::Error);
    }
}

fn agent(config: &Config, findings: &mut Vec<Finding>) {
    if let Err(why) = handlers::startable(config) {
        let act = "mend `command` in [handler], or put the program where it says; turns wait";
        findings.push(Finding::new(Level::Error, "handler_not_started", why, act));
    }
}

/// What a start needs beside the store, as far as it can be seen without a component. Where a host
/// runs, it knows better what its channels lack.
fn beside(config: &Config, env: &Env, owned: bool, findings: &mut Vec<Finding>) {
    if let Err(why) = Book::open(env, generations::book_path(config)) {
        let act = "mend it or take it away: no host starts beside it";
        findings.push(Finding::new(Level::Error, "would_not_start", why, act));
    }
    if owned {
        return;
    }
    if let Some(Err(why)) = config.api_token.as_ref().map(|token| token.resolve()) {
        let act = "give the host its token: it does not start without";
        let why = format!("[api] token: {why}");
        findings.push(Finding::new(Level::Error, "would_not_start", why, act));
    }
    for channel in config.channels.values() {
        let file = channel.adapter.display();
        let mut why: Vec<String> = match channel.adapter.metadata() {
            Ok(found) if found.is_file() => Vec::new(),
            Ok(_) => vec![format!("{file} is no file")],
            Err(error) => vec![format!("its component {file} cannot be read: {error}")],
        };
        let missing = channel.resolve_secrets().err().into_iter().flatten();
        why.extend(missing.map(|error| error.to_string()));
        if !why.is_empty() {
            refused(&channel.name.0, &why.join("; "), findings);
        }
    }
}

fn refused(channel: &str, reason: &str, findings: &mut Vec<Finding>) {
    let sentence = format!("channel \"{channel}\" would be refused: {reason}");
    let act = "mend it, then `lastword check`; its messages wait";
    findings.push(Finding::new(Level::Error, "channel_refused", sentence, act));
}

async fn look_at_store(
    config: &Config,
    env: &Env,
    owned: bool,
    depth: Depth,
    findings: &mut Vec<Finding>,
) -> Result<(), RunError> {
    let path = store_path(config);
    if !path.exists() {
        let sentence = format!("there is no store at {}", path.display());
        let (level, act) = if owned {
            (Level::Error, "it was removed under the host: put it back before the host ends")
        } else {
            (Level::Note, "`lastword run` makes it at its first start")
        };
        findings.push(Finding::new(level, "no_store", sentence, act));
        return Ok(());
    }
    let now_ms = env.now().wall_ms;
    let look = env.spawn_blocking(move || store::examine(&path, owned, depth, now_ms)).await;
    match look.map_err(|_| RunError::System("the thread of the look fell".to_owned()))? {
        Ok(found) => findings.extend(found),
        Err(error) => {
            let act = if error.is_damage() {
                "no host runs on it: keep a copy of the data folder, then `lastword restore FILE \
                 --force` makes a store of a backup"
            } else {
                "see who owns the file and whether it is a store of this version"
            };
            findings.push(Finding::new(Level::Error, "unreadable", error.to_string(), act));
        }
    }
    Ok(())
}

/// The folder holds messages and, while a host runs, its token.
fn folder(data_dir: &Path, findings: &mut Vec<Finding>) {
    let mode = |path: &Path| path.metadata().ok().map(|found| found.permissions().mode() & 0o777);
    if let Some(mode) = mode(data_dir).filter(|mode| mode & 0o077 != 0) {
        let name = data_dir.display();
        let sentence = format!("others may look into {name} (mode {mode:o}), which holds messages");
        let act = format!("chmod 700 {name}");
        findings.push(Finding::new(Level::Warning, "folder_open", sentence, act));
    }
    let lock = data_dir.join(LOCK_FILE);
    if let Some(mode) = mode(&lock).filter(|mode| mode & 0o077 != 0) {
        let name = lock.display();
        let sentence =
            format!("others may read {name} (mode {mode:o}), which holds the API's token");
        findings.push(Finding::new(
            Level::Error,
            "lock_open",
            sentence,
            format!("chmod 600 {name}"),
        ));
    }
}

fn room(data_dir: &Path, findings: &mut Vec<Finding>) {
    let Ok(disk) = rustix::fs::statvfs(data_dir) else { return };
    let free = disk.f_bavail.saturating_mul(disk.f_frsize);
    if free < ROOM_LOW_BYTES {
        let level = if free < ROOM_NONE_BYTES { Level::Error } else { Level::Warning };
        let sentence = format!("{} MiB are free on the disk of the store", free >> 20);
        let act = "make room: a full disk stops intake and sending until there is some";
        findings.push(Finding::new(level, "disk_low", sentence, act));
    }
    // Some file systems make them as they are needed and say 0 of 0.
    if disk.f_files > 0 && disk.f_favail < FILES_LOW {
        let sentence = format!("{} more files can be made on the disk of the store", disk.f_favail);
        findings.push(Finding::new(Level::Warning, "files_low", sentence, "remove small files"));
    }
}

/// Each component and binding, as at a start.
async fn channels(config: &Config, env: &Env, findings: &mut Vec<Finding>) -> Result<(), RunError> {
    let report = check(config, env).await?;
    for problem in report.problems {
        let act = "mend the config, then `lastword check`";
        findings.push(Finding::new(Level::Error, "would_not_start", problem, act));
    }
    for channel in report.channels {
        if !channel.ok {
            refused(&channel.name, &channel.reason.unwrap_or_default(), findings);
        }
        for note in channel.notes {
            let sentence = format!("channel \"{}\": {note}", channel.name);
            let act = "nothing, where this is meant so";
            findings.push(Finding::new(Level::Note, "channel_note", sentence, act));
        }
    }
    Ok(())
}
