//! A backup is one file: a snapshot through a reader of its own, so that the writer is never held up,
//! read back whole before it gets its name. It carries a mark, and no host runs on a marked file: what
//! was sent after it was taken would be sent again. Restoring takes the mark away, and holds whatever
//! was under way for a person.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags, OptionalExtension as _};
use serde::Serialize;

use super::core::Core;
use super::face::{Answer, Command, StoreError};
use super::schema;
use super::step::Result;
use crate::env::Env;

/// Rows that one step of a restore holds.
const HELD_AT_ONCE: u32 = 500;

/// A backup that was taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BackupFacts {
    pub file: PathBuf,
    pub bytes: u64,
    pub taken_at_ms: i64,
    pub turns_unfinished: i64,
    pub deliveries_unfinished: i64,
}

/// A store that was restored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RestoreFacts {
    pub taken_at_ms: i64,
    /// Turns and deliveries that were under way and wait for a person now.
    pub held: u64,
}

/// What becomes of rows that were under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnderWay {
    /// The host ran on after the backup: they may be done by now.
    Hold,
    /// Nothing ran after it: they go on as they stand.
    GoOn,
}

fn failed(path: &Path) -> impl Fn(rusqlite::Error) -> StoreError {
    let name = path.display().to_string();
    move |error| StoreError::NotWritable(format!("{name}: {error}"))
}

fn io_failed(path: &Path) -> impl Fn(io::Error) -> StoreError {
    let name = path.display().to_string();
    move |error| StoreError::NotWritable(format!("{name}: {error}"))
}

/// When the backup in this file was taken; none where it is no backup.
pub(super) fn mark(db: &Connection) -> rusqlite::Result<Option<i64>> {
    let sql = "SELECT value FROM meta WHERE name = 'backup_at_ms'";
    db.query_row(sql, [], |row| row.get(0)).optional()
}

/// Takes a backup of the store at `path`, also while a host runs on it, into a new file `part`: whole,
/// read back, and on the disk when this returns. The caller gives it its name.
///
/// # Errors
/// Where the store cannot be read, or the file not be written; it is removed then.
pub fn backup(path: &Path, part: &Path, now_ms: i64) -> Result<BackupFacts> {
    let taken = take(path, part, now_ms);
    if taken.is_err() {
        // It is not whole, and must not be taken for a backup.
        let _ = fs::remove_file(part);
    }
    taken
}

fn take(path: &Path, part: &Path, now_ms: i64) -> Result<BackupFacts> {
    // For its owner alone, from the first byte on; the engine fills an empty file.
    let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(part);
    made.map_err(io_failed(part))?;
    let from = schema::open_reader(path)?;
    let target = part
        .to_str()
        .ok_or_else(|| StoreError::Invalid(format!("the name {} is no UTF-8", part.display())))?;
    from.pragma_update(None, "query_only", false).map_err(failed(path))?;
    from.execute("VACUUM INTO ?1", [target]).map_err(failed(part))?;
    drop(from);
    let db = Connection::open_with_flags(part, OpenFlags::SQLITE_OPEN_READ_WRITE);
    let db = db.map_err(failed(part))?;
    db.execute("INSERT OR REPLACE INTO meta (name, value) VALUES ('backup_at_ms', ?1)", [now_ms])
        .map_err(failed(part))?;
    check(&db, part)?;
    let count = |sql: &str| db.query_row(sql, [], |row| row.get(0)).map_err(failed(part));
    let facts = BackupFacts {
        file: part.to_owned(),
        bytes: fs::metadata(part).map_err(io_failed(part))?.len(),
        taken_at_ms: now_ms,
        turns_unfinished: count("SELECT count(*) FROM turn WHERE state < 3")?,
        deliveries_unfinished: count("SELECT count(*) FROM delivery WHERE state < 3")?,
    };
    drop(db);
    File::open(part).and_then(|file| file.sync_all()).map_err(io_failed(part))?;
    Ok(facts)
}

/// Reads every page, and every reference between rows.
fn check(db: &Connection, path: &Path) -> Result<()> {
    let told: String =
        db.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0)).map_err(failed(path))?;
    let orphans: i64 = db
        .query_row("SELECT count(*) FROM pragma_foreign_key_check", [], |row| row.get(0))
        .map_err(failed(path))?;
    if told != "ok" || orphans > 0 {
        let name = path.display();
        return Err(StoreError::Corrupt(format!(
            "{name}: {told}; {orphans} rows without a parent"
        )));
    }
    Ok(())
}

/// Makes a store of the backup at `from`, in the new file `part`, which the caller gives its name.
///
/// # Errors
/// Where `from` is no backup, of a newer schema or damaged; `part` is removed then.
pub fn restore(from: &Path, part: &Path, under_way: UnderWay, env: &Env) -> Result<RestoreFacts> {
    let made = make(from, part, under_way, env);
    if made.is_err() {
        for name in ["", "-wal", "-shm"] {
            let mut path = part.as_os_str().to_owned();
            path.push(name);
            let _ = fs::remove_file(PathBuf::from(path));
        }
    }
    made
}

fn make(from: &Path, part: &Path, under_way: UnderWay, env: &Env) -> Result<RestoreFacts> {
    let not_one = || {
        let name = from.display();
        StoreError::Invalid(format!("{name} is no backup; `lastword backup FILE` takes one"))
    };
    let look = Connection::open_with_flags(from, OpenFlags::SQLITE_OPEN_READ_ONLY);
    let taken_at_ms = look.and_then(|db| mark(&db)).map_err(|_| not_one())?.ok_or_else(not_one)?;
    fs::copy(from, part).map_err(io_failed(part))?;
    fs::set_permissions(part, Permissions::from_mode(0o600)).map_err(io_failed(part))?;
    let db = Connection::open(part).map_err(failed(part))?;
    schema::refuse_newer(&db, part)?;
    check(&db, part)?;
    db.execute_batch("DELETE FROM meta WHERE name = 'backup_at_ms'; PRAGMA journal_mode = WAL;")
        .map_err(failed(part))?;
    drop(db);
    let mut core = Core::open(part, env)?;
    let mut held = 0;
    let mut rows_left = under_way == UnderWay::Hold;
    while rows_left {
        let answers = core.apply(env.now(), vec![Command::HoldUnderWay { rows_max: HELD_AT_ONCE }]);
        match answers.into_iter().next() {
            Some(Ok(Answer::Changed(rows))) => {
                held += rows;
                rows_left = rows > 0;
            }
            Some(Err(error)) => return Err(error),
            Some(Ok(_)) | None => {
                return Err(StoreError::Corrupt("a restore was answered otherwise".to_owned()));
            }
        }
    }
    // The last connection moves the log into the file and removes it.
    drop(core);
    File::open(part).and_then(|file| file.sync_all()).map_err(io_failed(part))?;
    Ok(RestoreFacts { taken_at_ms, held })
}
