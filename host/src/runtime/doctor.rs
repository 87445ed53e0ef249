//! `lastword doctor`: the store, the disk below it, who may read it, and, where it is asked for, all
//! that a start would need. It changes nothing.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use serde::Serialize;

use super::lock::{LOCK_FILE, running_host};
use super::{RunError, check, store_path};
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
    if depth == Depth::Deep {
        channels(config, env, &mut findings).await?;
    }
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.level));
    let ok = findings.iter().all(|finding| finding.level != Level::Error);
    Ok(Diagnosis { ok, host_runs: host.is_some(), deep: depth == Depth::Deep, findings })
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
            let act = "see who owns the file and whether it is a store of this version";
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
    for channel in report.channels.into_iter().filter(|channel| !channel.ok) {
        let reason = channel.reason.unwrap_or_default();
        let sentence = format!("channel \"{}\" would be refused: {reason}", channel.name);
        let act = "mend it, then `lastword check`; its messages wait";
        findings.push(Finding::new(Level::Error, "channel_refused", sentence, act));
    }
    Ok(())
}
