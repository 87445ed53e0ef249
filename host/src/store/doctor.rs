//! What a store should be, and what it is: the file, its log, the promises counted from the rows, and
//! what has waited for too long. It reads only; on a store that no host owns it does not even touch
//! the files beside it.

use std::borrow::Cow;
use std::path::Path;

use rusqlite::{Connection, OpenFlags};
use serde::Serialize;

use super::backup::mark;
use super::files::{has_log, wal_of};
use super::schema;
use super::step::{Result, failed};

/// A head that could go and did not for so long is stuck.
const STUCK_MS: i64 = 10 * 60_000;
/// A due time set so far ahead of now was set by a clock that went back.
const CLOCK_SLACK_MS: i64 = 60_000;
/// A log that has grown to this is held up by a reader.
const WAL_BYTES_MAX: u64 = 256 << 20;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// Good to know.
    Note,
    /// It will become a fault, or waits for a person.
    Warning,
    /// Something is broken.
    Error,
}

/// One thing that was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    pub level: Level,
    pub code: Cow<'static, str>,
    pub sentence: String,
    /// What to do.
    pub act: String,
}

impl Finding {
    /// A finding.
    #[must_use]
    pub fn new(
        level: Level,
        code: impl Into<Cow<'static, str>>,
        sentence: impl Into<String>,
        act: impl Into<String>,
    ) -> Self {
        Self { level, code: code.into(), sentence: sentence.into(), act: act.into() }
    }
}

/// How far a look goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// What is live.
    Quick,
    /// Every page and every row of the history.
    Deep,
}

/// Promises about what is live. Each query counts what must not be there.
pub(super) const LIVE: [(&str, &str); 6] = [
    (
        "a turn in delivering has a final row that is not at rest",
        "SELECT count(*) FROM turn t WHERE state = 2 AND NOT EXISTS
           (SELECT 1 FROM delivery d WHERE d.turn_id = t.id AND d.turn_try = t.try AND d.kind = 2
              AND d.state IN (0, 1, 2))",
    ),
    (
        "nothing queued belongs to a turn that has ended or is on a newer try",
        "SELECT count(*) FROM delivery d JOIN turn t ON t.id = d.turn_id
         WHERE d.state < 3 AND d.state IN (0, 2) AND (t.state NOT IN (1, 2) OR t.try != d.turn_try)",
    ),
    (
        "only queued rows and open unknowns are heads that can be claimed",
        "SELECT count(*) FROM delivery WHERE head = 1 AND claim_token IS NULL
           AND state NOT IN (0, 2)",
    ),
    ("only queued turns are heads", "SELECT count(*) FROM turn WHERE head = 1 AND state != 0"),
    (
        "a line with rows has a head or somebody at work",
        "SELECT count(*) FROM (SELECT conversation_id FROM delivery WHERE state < 3
           GROUP BY conversation_id HAVING sum(head = 1 OR claim_token IS NOT NULL) = 0)",
    ),
    (
        "a line with turns has a head or somebody at work",
        "SELECT count(*) FROM (SELECT conversation_id FROM turn
           WHERE state < 3 AND seq < 9223372036854775807
           GROUP BY conversation_id HAVING sum(head = 1 OR state IN (1, 2)) = 0)",
    ),
];

/// Promises about all that ever was.
pub(super) const HISTORY: [(&str, &str); 6] = [
    (
        "a delivered turn has only delivered finals, and at least one",
        "SELECT count(*) FROM turn t WHERE state = 3 AND (
           EXISTS (SELECT 1 FROM delivery d WHERE d.turn_id = t.id AND d.turn_try = t.try
                     AND d.kind = 2 AND d.state != 4)
           OR NOT EXISTS (SELECT 1 FROM delivery d WHERE d.turn_id = t.id AND d.turn_try = t.try
                     AND d.kind = 2))",
    ),
    (
        "a turn whose finals all arrived has not failed for its delivery",
        "SELECT count(*) FROM turn t WHERE state = 5
           AND code IN ('delivery_failed', 'outcome_unknown', 'resent')
           AND NOT EXISTS (SELECT 1 FROM delivery d WHERE d.turn_id = t.id AND d.turn_try = t.try
                             AND d.kind = 2 AND d.state != 4)",
    ),
    (
        "no part of a reply goes on where an earlier one did not arrive",
        "SELECT count(*) FROM delivery later JOIN delivery part
             ON part.id BETWEEN later.id - later.part + 1 AND later.id - 1
            AND part.reply = later.reply
         WHERE later.state IN (0, 1, 2, 4) AND part.state IN (3, 5, 6, 7)",
    ),
    (
        "every row that was ever claimed has its attempts",
        "SELECT count(*) FROM delivery d WHERE d.call !=
           (SELECT count(*) FROM attempt a WHERE a.delivery_id = d.id)",
    ),
    (
        "what may have been sent is never dead, expired or cancelled unasked",
        "SELECT count(*) FROM delivery WHERE maybe_sent = 1 AND state IN (5, 6, 7)
           AND resolved_by IS NULL",
    ),
    (
        "what is at rest says since when",
        "SELECT count(*) FROM delivery WHERE state >= 3 AND rested_at_ms IS NULL",
    ),
];

/// Looks at the store at `path`. `owned` says whether a host runs on it.
///
/// # Errors
/// Where it cannot be read at all; whatever can be said is a finding.
pub fn examine(path: &Path, owned: bool, depth: Depth, now_ms: i64) -> Result<Vec<Finding>> {
    let db = open(path, owned)?;
    let mut found = Vec::new();
    whole(&db, depth, &mut found)?;
    if found.iter().any(|finding| finding.level == Level::Error) {
        // Of a damaged file the rows say nothing.
        return Ok(found);
    }
    if mark(&db).map_err(failed)?.is_some() {
        let words = "the store is a backup, on which no host runs";
        let act = "move it elsewhere, then `lastword restore FILE`";
        found.push(Finding::new(Level::Error, "is_backup", words, act));
    }
    promises(&db, depth, &mut found)?;
    waiting(&db, owned, now_ms, &mut found)?;
    log(path, owned, &mut found);
    Ok(found)
}

/// A store that nobody owns and that was closed well is opened as what it is: a file that nobody
/// changes. Opened in another way the engine would make files beside it.
fn open(path: &Path, owned: bool) -> Result<Connection> {
    if owned || has_log(path)? {
        return schema::open_reader(path);
    }
    let mut name = String::from("file:");
    for byte in std::os::unix::ffi::OsStrExt::as_bytes(path.as_os_str()) {
        match byte {
            b'/' | b'.' | b'-' | b'_' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' => {
                name.push(char::from(*byte));
            }
            _ => name.push_str(&format!("%{byte:02x}")),
        }
    }
    name.push_str("?immutable=1");
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY
        | OpenFlags::SQLITE_OPEN_URI
        | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let db = Connection::open_with_flags(name, flags).map_err(failed)?;
    schema::refuse_newer(&db, path)?;
    Ok(db)
}

fn whole(db: &Connection, depth: Depth, found: &mut Vec<Finding>) -> Result<()> {
    let sql = match depth {
        Depth::Quick => "PRAGMA quick_check(5)",
        Depth::Deep => "PRAGMA integrity_check(5)",
    };
    let act = "stop the host, keep a copy of the data folder, restore a backup: `lastword restore`";
    let told: rusqlite::Result<Vec<String>> =
        db.prepare(sql).and_then(|mut check| check.query_map([], |row| row.get(0))?.collect());
    let told = told.unwrap_or_else(|error| vec![error.to_string()]);
    if told != ["ok"] {
        let sentence = format!("the file is damaged: {}", told.join("; "));
        found.push(Finding::new(Level::Error, "damaged", sentence, act));
        return Ok(());
    }
    let orphans = count(db, "SELECT count(*) FROM pragma_foreign_key_check")?;
    if orphans > 0 {
        let sentence = format!("{orphans} rows point to rows that are not there");
        found.push(Finding::new(Level::Error, "orphans", sentence, act));
    }
    Ok(())
}

fn count(db: &Connection, sql: &str) -> Result<i64> {
    db.query_row(sql, [], |row| row.get(0)).map_err(failed)
}

fn promises(db: &Connection, depth: Depth, found: &mut Vec<Finding>) -> Result<()> {
    let history: &[_] = if depth == Depth::Deep { &HISTORY } else { &[] };
    for (what, sql) in LIVE.iter().chain(history) {
        let wrong = count(db, sql)?;
        if wrong > 0 {
            let sentence = format!("{wrong} rows break a promise: {what}");
            let act = "take a backup and report it; a restart brings order into claims and lines";
            found.push(Finding::new(Level::Error, "promise_broken", sentence, act));
        }
    }
    Ok(())
}

fn waiting(db: &Connection, owned: bool, now_ms: i64, found: &mut Vec<Finding>) -> Result<()> {
    let stuck = db
        .query_row(
            "SELECT count(*), coalesce(min(d.next_at_ms), 0) FROM delivery d
               JOIN channel c ON c.id = d.channel_id
             WHERE d.head = 1 AND d.claim_token IS NULL AND d.next_at_ms < ?1 AND c.present = 1
               AND c.pause_code IS NULL AND c.not_before_ms < ?1",
            [now_ms - STUCK_MS],
            |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?)),
        )
        .map_err(failed)?;
    if owned && stuck.0 > 0 {
        let minutes = (now_ms - stuck.1) / 60_000;
        let sentence = format!(
            "{} conversations wait though their next delivery could go, the first since {minutes} \
             minutes",
            stuck.0
        );
        let act = "see `lastword outbox list --state queued` and `lastword channels list`";
        found.push(Finding::new(Level::Warning, "stuck", sentence, act));
    }
    let future = count(
        db,
        &format!(
            "SELECT (SELECT count(*) FROM turn WHERE state < 3 AND due_set_ms > {limit})
                  + (SELECT count(*) FROM delivery WHERE state < 3 AND next_set_ms > {limit})",
            limit = now_ms.saturating_add(CLOCK_SLACK_MS)
        ),
    )?;
    if future > 0 {
        let sentence = format!("{future} due times were set in a time that has not come");
        let act = "the clock went back: set it right; they count as due meanwhile";
        found.push(Finding::new(Level::Warning, "clock_back", sentence, act));
    }
    let removed = count(
        db,
        "SELECT count(*) FROM delivery d JOIN channel c ON c.id = d.channel_id
         WHERE d.state < 3 AND c.present = 0",
    )?;
    if removed > 0 {
        let sentence = format!("{removed} deliveries wait for channels that the config lacks");
        let act =
            "put the channel back, or `lastword purge --outbox --live` (and `--turns --live`)";
        found.push(Finding::new(Level::Warning, "channel_removed", sentence, act));
    }
    let held = count(db, "SELECT count(*) FROM delivery WHERE state = 3")?;
    if held > 0 {
        let sentence =
            format!("{held} deliveries are held: only a person can say what became of them");
        let act = "`lastword outbox list --state held`, then `lastword outbox resolve`";
        found.push(Finding::new(Level::Warning, "held", sentence, act));
    }
    Ok(())
}

fn log(path: &Path, owned: bool, found: &mut Vec<Finding>) {
    let bytes = std::fs::metadata(wal_of(path)).map_or(0, |found| found.len());
    if bytes > WAL_BYTES_MAX {
        let sentence = format!("the write-ahead log has grown to {} MiB", bytes >> 20);
        let act = "a long read holds it up: end the backup or the program that reads the store";
        found.push(Finding::new(Level::Warning, "log_long", sentence, act));
    } else if bytes > 0 && !owned {
        let sentence = "the last host was killed, or cut off in its stop: of its last commits some stand \
                        in lastword.db-wal alone";
        let act = "nothing: the next start finds them; who copies the store copies both files";
        found.push(Finding::new(Level::Note, "host_died", sentence, act));
    }
}
