//! The durable queue files of OpenClaw: one JSON document per reply in `delivery-queue/`, those it
//! gave up in `delivery-queue/failed/`. Read as its versions of 2026 wrote them, and as the ones
//! before did (`target`, `payload`, `attempt`, `createdAt`); fields that are not known are ignored.
//!
//! A name that ends in `.delivered` was sent, only its removal was cut off; one that ends in `.tmp`
//! was never written to its end.

use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde_json::{Map, Value};

use crate::lifecycle::import::EntryFacts;

/// The longest file that is read: a reply and its bookkeeping are a few kilobytes.
const FILE_BYTES_MAX: u64 = 4 << 20;
/// The longest name of a conversation, as the API takes it.
const NAME_BYTES_MAX: usize = 512;
/// After so many attempts OpenClaw sends an entry no more, where the entry says nothing else.
const TRIES_MAX: u64 = 5;

/// An entry, still in its own words for where it goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) id: String,
    /// Such as `telegram`.
    pub(super) platform: String,
    /// Which of several accounts on that platform.
    pub(super) account: Option<String>,
    pub(super) to: String,
    pub(super) thread: Option<String>,
    pub(super) reply_to: Option<String>,
    pub(super) texts: Vec<String>,
    pub(super) facts: EntryFacts,
}

/// One file and what stands in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct QueueFile {
    pub(super) path: PathBuf,
    /// The entry, or why there is none.
    pub(super) read: Result<Entry, Unread>,
}

/// Why a file gives no entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Unread {
    pub(super) code: &'static str,
    pub(super) reason: String,
}

fn unread(code: &'static str, reason: impl Into<String>) -> Unread {
    Unread { code, reason: reason.into() }
}

/// The queue's folder: the one that is named, or `delivery-queue` in it.
pub(super) fn queue_folder(named: &Path) -> PathBuf {
    let inside = named.join("delivery-queue");
    if inside.is_dir() { inside } else { named.to_owned() }
}

/// All files of a queue, in the order in which its entries came.
///
/// # Errors
/// Where the folder itself cannot be read.
pub(super) fn read_queue(folder: &Path) -> io::Result<Vec<QueueFile>> {
    let mut files = read_folder(folder, false)?;
    let failed = folder.join("failed");
    if failed.is_dir() {
        files.extend(read_folder(&failed, true)?);
    }
    files.sort_by_key(|file| {
        let at = file.read.as_ref().ok().and_then(|entry| entry.facts.enqueued_at_ms);
        (at.is_none(), at, file.path.clone())
    });
    Ok(files)
}

fn read_folder(folder: &Path, given_up: bool) -> io::Result<Vec<QueueFile>> {
    let mut files = Vec::new();
    for found in fs::read_dir(folder)? {
        let path = found?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let read = if let Some(stem) = name.strip_suffix(".json") {
            read_file(&path).and_then(|bytes| parse(&bytes, stem, given_up))
        } else if name.ends_with(".delivered") {
            Err(unread("delivered", "it was sent; only the removal of its file was cut off"))
        } else if name.ends_with(".tmp") {
            Err(unread("half_written", "it was never written to its end"))
        } else {
            continue;
        };
        files.push(QueueFile { path, read });
    }
    Ok(files)
}

fn read_file(path: &Path) -> Result<Vec<u8>, Unread> {
    let failed = |error: io::Error| unread("unreadable", format!("it cannot be read: {error}"));
    // A pipe would be waited for.
    if !fs::metadata(path).map_err(failed)?.is_file() {
        return Err(unread("unreadable", "it is no file"));
    }
    let mut bytes = Vec::new();
    let file = fs::File::open(path).map_err(failed)?;
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(unread("unreadable", format!("it is longer than {FILE_BYTES_MAX} bytes")));
    }
    Ok(bytes)
}

/// Reads one document. Nothing of its text is repeated in a reason.
fn parse(bytes: &[u8], stem: &str, given_up: bool) -> Result<Entry, Unread> {
    let value: Value = serde_json::from_slice(bytes).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        unread("not_json", format!("it is no JSON at line {line}, column {column}"))
    })?;
    let Value::Object(record) = value else {
        return Err(unread("not_an_entry", "it is no JSON object"));
    };
    let missing = |what: &str| unread("not_an_entry", format!("it has no {what}"));
    let id = text(&record, "id").unwrap_or_else(|| stem.to_owned());
    let platform = text(&record, "channel").filter(|name| name != "none");
    let platform = platform.ok_or_else(|| missing("`channel`"))?;
    let to = text(&record, "to").or_else(|| text(&record, "target"));
    let to = to.ok_or_else(|| missing("`to`"))?;
    if id.len() > NAME_BYTES_MAX || to.len() > NAME_BYTES_MAX {
        let words = format!("its `id` or `to` is longer than {NAME_BYTES_MAX} bytes");
        return Err(unread("not_an_entry", words));
    }
    let payloads = payloads(&record).ok_or_else(|| missing("`payloads`"))?;
    let said = say(&payloads)?;
    let retries = count(&record, "retryCount").or_else(|| count(&record, "attempt")).unwrap_or(0);
    let spent = retries >= count(&record, "maxRetries").unwrap_or(TRIES_MAX);
    let facts = EntryFacts {
        enqueued_at_ms: time(&record, "enqueuedAt").or_else(|| time(&record, "createdAt")),
        last_attempt_at_ms: time(&record, "lastAttemptAt"),
        attempts: u32::try_from(retries).unwrap_or(u32::MAX),
        maybe_sent: maybe_sent(&record),
        given_up: given_up || spent,
        left_out: said.left_out,
        hold: false,
    };
    let account = text(&record, "accountId").filter(|account| account != "default");
    let thread = text(&record, "threadId").or_else(|| number(&record, "threadId"));
    let reply_to = text(&record, "effectiveReplyToId").or_else(|| text(&record, "replyToId"));
    Ok(Entry { id, platform, account, to, thread, reply_to, texts: said.texts, facts })
}

/// A send of it began: its platform was called, or a state says so.
fn maybe_sent(record: &Map<String, Value>) -> bool {
    let known = |name: &str| record.get(name).is_some_and(|value| !value.is_null());
    let state = text(record, "recoveryState");
    // Claimed by its producer: not yet at the platform.
    known("platformSendStartedAt") || state.is_some_and(|state| state != "producer_claimed")
}

fn payloads(record: &Map<String, Value>) -> Option<Vec<&Map<String, Value>>> {
    let many = record.get("payloads").and_then(Value::as_array);
    let found: Vec<_> = match many {
        Some(many) => many.iter().filter_map(Value::as_object).collect(),
        None => record.get("payload").and_then(Value::as_object).into_iter().collect(),
    };
    (!found.is_empty()).then_some(found)
}

struct Said {
    texts: Vec<String>,
    left_out: Option<String>,
}

/// The texts of an entry, and what cannot go with them.
fn say(payloads: &[&Map<String, Value>]) -> Result<Said, Unread> {
    let (mut texts, mut files, mut rich) = (Vec::new(), 0, 0);
    for payload in payloads {
        // Thinking aloud, which most platforms are never shown.
        if payload.get("isReasoning") == Some(&Value::Bool(true)) {
            continue;
        }
        files += count_files(payload);
        rich += usize::from(is_rich(payload));
        texts.extend(text(payload, "text"));
    }
    let mut left_out = Vec::new();
    if files > 0 {
        left_out.push(format!("{files} file{}", if files == 1 { "" } else { "s" }));
    }
    if rich > 0 {
        left_out.push("what is more than text (buttons, cards, places)".to_owned());
    }
    let left_out = left_out.join(" and ");
    if texts.is_empty() {
        return Err(match left_out.as_str() {
            "" => unread("nothing_to_say", "it has no text that a person is shown"),
            _ => unread("not_carried", format!("it has no text, and cannot carry {left_out}")),
        });
    }
    let left_out =
        (!left_out.is_empty()).then(|| format!("it had {left_out}, which is not carried over"));
    Ok(Said { texts, left_out })
}

fn count_files(payload: &Map<String, Value>) -> usize {
    let many = payload.get("mediaUrls").and_then(Value::as_array);
    let named = |value: &&Value| value.as_str().is_some_and(|url| !url.trim().is_empty());
    let many = many.map_or(0, |urls| urls.iter().filter(named).count());
    many.max(usize::from(text(payload, "mediaUrl").is_some()))
}

fn is_rich(payload: &Map<String, Value>) -> bool {
    ["presentation", "interactive", "location", "channelData"].iter().any(|name| {
        match payload.get(*name) {
            None | Some(Value::Null) => false,
            Some(Value::Object(fields)) => !fields.is_empty(),
            Some(_) => true,
        }
    })
}

/// A text that says something.
fn text(record: &Map<String, Value>, name: &str) -> Option<String> {
    let text = record.get(name)?.as_str()?.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

fn number(record: &Map<String, Value>, name: &str) -> Option<String> {
    record.get(name).filter(|value| value.is_number()).map(ToString::to_string)
}

fn count(record: &Map<String, Value>, name: &str) -> Option<u64> {
    let value = record.get(name)?;
    value.as_u64().or_else(|| whole(value).and_then(|count| u64::try_from(count).ok()))
}

/// Milliseconds since the epoch, or a time as RFC 3339 writes it.
fn time(record: &Map<String, Value>, name: &str) -> Option<i64> {
    let value = record.get(name)?;
    let at_ms = match value.as_str() {
        Some(text) => text.trim().parse::<Timestamp>().ok()?.as_millisecond(),
        None => value.as_i64().or_else(|| whole(value))?,
    };
    (at_ms > 0).then_some(at_ms)
}

/// JavaScript writes whole numbers with a fraction at times.
#[allow(clippy::cast_possible_truncation, reason = "a float saturates, and is checked")]
fn whole(value: &Value) -> Option<i64> {
    value.as_f64().filter(|number| number.is_finite()).map(|number| number.trunc() as i64)
}

#[cfg(test)]
mod tests;
