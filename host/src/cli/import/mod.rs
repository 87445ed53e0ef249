//! `lastword import openclaw DIR`: the files are read here, entry by entry, and given to the host
//! that runs, or to the store itself, in bounded batches. A file is never removed, and is moved
//! only where that is asked for, after its entry is committed: killed anywhere, the next import
//! takes up what is missing.

mod openclaw;
mod route;

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::{Value, json};

use super::api::Host;
use super::args::OpenClawArgs;
use super::change::lock_failure;
use super::output::{Exit, Failure, Form, Output};
use crate::config::Config;
use crate::env::Env;
use crate::lifecycle::id::{ChannelName, DeliveryId};
use crate::lifecycle::import::ImportEntry;
use crate::lifecycle::message::TextFormat;
use crate::runtime::{Absent, HostFacts, IMPORT_ENTRIES_MAX, OfflineImport, running_host};
use crate::store::{Imported, ImportedAs, Trial};
use openclaw::{QueueFile, queue_folder, read_queue};
use route::Routes;

const SOURCE: &str = "openclaw";
/// Who did it, in the rows' records.
const BY: &str = "cli";
/// Bytes of text of one batch, well below what the API takes.
const BATCH_TEXT_BYTES_MAX: usize = 1 << 20;
/// Where files go that were imported, with `--move`.
const MOVED_FOLDER: &str = "imported";

/// What became of one file, as `--json` prints it.
#[derive(Debug, Serialize)]
struct Line {
    file: PathBuf,
    id: Option<String>,
    channel: Option<String>,
    conversation: Option<String>,
    outcome: ImportedAs,
    code: Option<String>,
    reason: Option<String>,
    next_attempt_at_ms: Option<i64>,
    deliveries: Vec<DeliveryId>,
    moved: bool,
}

#[derive(Debug, Default, Serialize)]
struct Totals {
    queued: usize,
    held: usize,
    already: usize,
    left: usize,
}

/// A file that is to be imported.
struct Ready {
    file: PathBuf,
    entry: ImportEntry,
}

/// Who takes the entries.
enum Taker<'a> {
    Running(Host<'a>),
    Here(Box<OfflineImport>),
}

/// Imports a folder.
pub(super) async fn openclaw(
    env: &Env,
    config: &Config,
    args: &OpenClawArgs,
    output: &mut Output<'_>,
) -> Result<(), Failure> {
    let folder = queue_folder(&args.folder);
    let routes = Routes::new(config, args)?;
    let files = read_queue(&folder).map_err(|error| {
        let name = folder.display();
        Failure::wrong(format!("the folder {name} cannot be read: {error}"))
    })?;
    if files.is_empty() {
        let sentence = format!("nothing to do: {} holds no queue files", folder.display());
        return Err(Failure::new(Exit::Nothing, sentence));
    }
    let (mut lines, ready) = sort(files, &routes, args.hold);
    if !ready.is_empty() {
        let held = running_host(&config.data_dir).map_err(lock_failure)?;
        let facts = held.as_ref().map(|held| {
            let facts = held.facts.as_ref().filter(|facts| !facts.address.is_empty());
            facts.ok_or_else(|| Failure::new(Exit::Refused, held.to_string()))
        });
        let taker = taker(env, config, facts.transpose()?, &ready, args).await?;
        for batch in batches(ready) {
            lines.extend(take(&taker, batch, args, &folder).await?);
        }
    }
    report(&folder, args, &lines, output)
}

/// Those that can be imported, and a line for each that cannot.
fn sort(files: Vec<QueueFile>, routes: &Routes, hold: bool) -> (Vec<Line>, Vec<Ready>) {
    let (mut lines, mut ready) = (Vec::new(), Vec::new());
    for QueueFile { path, read } in files {
        let entry = match read {
            Ok(entry) => entry,
            Err(why) => {
                lines.push(left(path, None, why.code, why.reason));
                continue;
            }
        };
        let (channel, conversation) = match routes.of(&entry) {
            Ok(found) => found,
            Err(why) => {
                lines.push(left(path, Some(entry.id), "not_mapped", why));
                continue;
            }
        };
        let mut facts = entry.facts;
        facts.hold = hold;
        let entry = ImportEntry {
            external_id: entry.id,
            channel: channel.0,
            conversation,
            context: entry.thread,
            reply_to: entry.reply_to,
            texts: entry.texts,
            // What an agent says is Markdown, which OpenClaw renders for each platform.
            format: TextFormat::Markdown,
            facts,
        };
        ready.push(Ready { file: path, entry });
    }
    (lines, ready)
}

fn left(file: PathBuf, id: Option<String>, code: &str, reason: String) -> Line {
    Line {
        file,
        id,
        channel: None,
        conversation: None,
        outcome: ImportedAs::Left,
        code: Some(code.to_owned()),
        reason: Some(reason),
        next_attempt_at_ms: None,
        deliveries: Vec::new(),
        moved: false,
    }
}

fn batches(ready: Vec<Ready>) -> Vec<Vec<Ready>> {
    let mut all: Vec<Vec<Ready>> = Vec::new();
    let mut bytes = usize::MAX;
    for one in ready {
        let size: usize = one.entry.texts.iter().map(String::len).sum();
        let full = all.last().is_none_or(|batch| batch.len() >= IMPORT_ENTRIES_MAX);
        if full || bytes.saturating_add(size) > BATCH_TEXT_BYTES_MAX {
            all.push(Vec::new());
            bytes = 0;
        }
        bytes += size;
        if let Some(batch) = all.last_mut() {
            batch.push(one);
        }
    }
    all
}

async fn taker<'a>(
    env: &'a Env,
    config: &Config,
    host: Option<&'a HostFacts>,
    ready: &[Ready],
    args: &OpenClawArgs,
) -> Result<Taker<'a>, Failure> {
    if let Some(facts) = host {
        return Ok(Taker::Running(Host { env, facts }));
    }
    let meant: BTreeSet<_> =
        ready.iter().map(|one| ChannelName(one.entry.channel.clone())).collect();
    // Nothing is made to say what would be done.
    let absent = if args.dry_run { Absent::Refused } else { Absent::Made };
    Ok(Taker::Here(Box::new(OfflineImport::open(config, env, &meant, absent).await?)))
}

/// Gives one batch, and moves the files of what was taken.
async fn take(
    taker: &Taker<'_>,
    batch: Vec<Ready>,
    args: &OpenClawArgs,
    folder: &Path,
) -> Result<Vec<Line>, Failure> {
    let entries: Vec<ImportEntry> = batch.iter().map(|one| one.entry.clone()).collect();
    let count = entries.len();
    let imported: Vec<Imported> = match taker {
        Taker::Running(host) => {
            let body = json!({
                "source": SOURCE, "entries": entries, "dry_run": args.dry_run, "by": BY,
            });
            let mut answer = host.post("/v1/import", &body).await?;
            let imported = answer.get_mut("entries").map(Value::take).unwrap_or_default();
            serde_json::from_value(imported).map_err(|error| {
                Failure::new(Exit::Failed, format!("the host answered otherwise: {error}"))
            })?
        }
        Taker::Here(store) => {
            let trial = if args.dry_run { Trial::DryRun } else { Trial::ForReal };
            store.import(SOURCE.to_owned(), entries, trial, BY.to_owned()).await?
        }
    };
    if imported.len() != count {
        return Err(Failure::new(Exit::Failed, "not every entry was answered"));
    }
    let lines = batch.into_iter().zip(imported).map(|(one, imported)| {
        let kept = imported.outcome != ImportedAs::Left;
        let moved = args.move_files && !args.dry_run && kept;
        let moved = moved && move_file(folder, &one.file)?;
        Ok(line(one, imported, moved))
    });
    lines.collect()
}

fn line(one: Ready, imported: Imported, moved: bool) -> Line {
    let Imported { external_id, outcome, code, reason, next_attempt_at_ms, ids } = imported;
    Line {
        file: one.file,
        id: Some(external_id),
        channel: Some(one.entry.channel),
        conversation: Some(one.entry.conversation),
        outcome,
        code,
        reason,
        next_attempt_at_ms,
        deliveries: ids,
        moved,
    }
}

/// Moves a file out of the queue; one of the same name is never written over.
fn move_file(folder: &Path, file: &Path) -> Result<bool, Failure> {
    let failed = |error: std::io::Error| {
        let name = file.display();
        let sentence = format!("{name} is imported, but cannot be moved: {error}");
        Failure::new(Exit::Failed, sentence)
    };
    let inside = file.strip_prefix(folder).unwrap_or(file);
    let target = folder.join(MOVED_FOLDER).join(inside);
    let parent = target.parent().unwrap_or(folder);
    fs::DirBuilder::new().recursive(true).mode(0o700).create(parent).map_err(failed)?;
    if target.exists() {
        return Ok(false);
    }
    fs::rename(file, &target).map_err(failed)?;
    Ok(true)
}

fn report(
    folder: &Path,
    args: &OpenClawArgs,
    lines: &[Line],
    output: &mut Output<'_>,
) -> Result<(), Failure> {
    let count = |wanted| lines.iter().filter(|line| line.outcome == wanted).count();
    let totals = Totals {
        queued: count(ImportedAs::Queued),
        held: count(ImportedAs::Held),
        already: count(ImportedAs::Already),
        left: count(ImportedAs::Left),
    };
    match output.form {
        Form::Json => output.json(&json!({
            "source": SOURCE, "folder": folder, "dry_run": args.dry_run, "totals": totals,
            "entries": lines,
        }))?,
        Form::Human => for_people(args, lines, &totals, output)?,
    }
    if totals.left == 0 {
        return Ok(());
    }
    output.to.flush()?;
    let sentence = format!("{} left where they are, with the reasons given", files(totals.left));
    Err(Failure::new(Exit::Failed, sentence))
}

fn files(count: usize) -> String {
    if count == 1 { "1 file is".to_owned() } else { format!("{count} files are") }
}

fn for_people(
    args: &OpenClawArgs,
    lines: &[Line],
    totals: &Totals,
    output: &mut Output<'_>,
) -> Result<(), Failure> {
    let told = lines.iter().filter(|line| line.reason.is_some());
    for line in told {
        let word = if line.outcome == ImportedAs::Held { "held" } else { "left" };
        let (name, reason) = (line.file.display(), line.reason.as_deref().unwrap_or_default());
        let id = line.deliveries.first().map(|id| format!(" as {id}")).unwrap_or_default();
        output.line(&format!("{word} {name}{id}: {reason}"))?;
    }
    let Totals { queued, held, already, left } = totals;
    let would = if args.dry_run { "would be " } else { "" };
    output.line(&format!(
        "{queued} {would}queued, {held} {would}held, {already} imported before, {left} left"
    ))?;
    if *held > 0 && !args.dry_run {
        output.line(
            "settle what is held with `lastword outbox resolve ID --resend | --delivered | --drop`",
        )?;
    }
    Ok(())
}

/// Two names with `=` between them; the first may hold more of them.
pub(super) fn pair(text: &str) -> Result<(String, String), String> {
    match text.rsplit_once('=') {
        Some((from, to)) if !from.is_empty() && !to.is_empty() => {
            Ok((from.to_owned(), to.to_owned()))
        }
        Some(_) | None => Err("write it as THEIRS=OURS".to_owned()),
    }
}
