//! Opening a store: pragmas proven, migrations numbered and forward only, a newer schema refused
//! without a write. Opening a current store writes nothing.

use std::path::Path;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use super::face::StoreError;

/// In the file's header, so that a stranger's SQLite file is not taken for a store.
const APPLICATION_ID: i64 = 0x4c57_4f44;
/// In order; the schema's number is how many have run.
const MIGRATIONS: [&str; 14] = [
    include_str!("migrations/0001.sql"),
    include_str!("migrations/0002.sql"),
    include_str!("migrations/0003.sql"),
    include_str!("migrations/0004.sql"),
    include_str!("migrations/0005.sql"),
    include_str!("migrations/0006.sql"),
    include_str!("migrations/0007.sql"),
    include_str!("migrations/0008.sql"),
    include_str!("migrations/0009.sql"),
    include_str!("migrations/0010.sql"),
    include_str!("migrations/0011.sql"),
    include_str!("migrations/0012.sql"),
    include_str!("migrations/0013.sql"),
    include_str!("migrations/0014.sql"),
];
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// For how long the ordered end waits for a read that is under way elsewhere.
const END_BUSY_TIMEOUT: Duration = Duration::from_secs(1);
/// Page cache of the writer, and of each reader, in KiB.
const WRITER_CACHE_KIB: i64 = 32 * 1024;
const READER_CACHE_KIB: i64 = 2 * 1024;
/// Statements kept prepared per connection.
const STATEMENTS_CACHED: usize = 128;

/// What the engine said, as what is to be done about it. A row that holds what it should not is no
/// fault of the disk: nobody is to wait until the store can be written again.
pub(super) fn engine_error(error: &rusqlite::Error) -> StoreError {
    use rusqlite::Error;
    match error {
        // Never the value.
        Error::FromSqlConversionFailure(column, ..)
        | Error::IntegralValueOutOfRange(column, _)
        | Error::Utf8Error(column, _)
        | Error::InvalidColumnType(column, ..) => {
            StoreError::Corrupt(format!("column {column} of a row cannot be read"))
        }
        // A hook of ours that refuses a commit is counted among constraints by the engine.
        Error::SqliteFailure(cause, _)
            if cause.code == rusqlite::ErrorCode::ConstraintViolation
                && cause.extended_code != rusqlite::ffi::SQLITE_CONSTRAINT_COMMITHOOK =>
        {
            StoreError::Corrupt(format!("a rule of its tables refused a change: {error}"))
        }
        _ => StoreError::NotWritable(error.to_string()),
    }
}

/// Opens the writer's connection, and makes or migrates the store where that is due.
pub(super) fn open_writer(path: &Path) -> Result<Connection, StoreError> {
    super::files::make_private(path);
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_CREATE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let db = connect(path, flags)?;
    // The last connection that closes moves the WAL into the file. One that is refused stays as it
    // is, to the byte.
    let keep_wal = |keep: bool| {
        db.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, keep)
            .map_err(|e| cannot_open(path, &e))
    };
    keep_wal(true)?;
    prepare(&db, WRITER_CACHE_KIB).map_err(|e| cannot_open(path, &e))?;
    refuse_backup(&db, path)?;
    migrate(&db, path)?;
    prove(&db, path)?;
    keep_wal(false)?;
    Ok(db)
}

/// Opens a connection that moves the log into the file, of a store that somebody has open: it makes
/// none and migrates none.
pub(super) fn open_checkpointer(path: &Path) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let db = connect(path, flags)?;
    prepare(&db, READER_CACHE_KIB).map_err(|e| cannot_open(path, &e))?;
    if refuse_newer(&db, path)? != MIGRATIONS.len() as i64 {
        let name = path.display();
        return Err(StoreError::Invalid(format!("{name} is not the store that is open")));
    }
    Ok(db)
}

/// Opens a reader's connection to a store that is there.
pub(super) fn open_reader(path: &Path) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let db = connect(path, flags)?;
    db.busy_timeout(BUSY_TIMEOUT).map_err(|e| cannot_open(path, &e))?;
    keep_plans(&db).map_err(|e| cannot_open(path, &e))?;
    db.pragma_update(None, "cache_size", -READER_CACHE_KIB).map_err(|e| cannot_open(path, &e))?;
    db.pragma_update(None, "query_only", true).map_err(|e| cannot_open(path, &e))?;
    refuse_newer(&db, path)?;
    Ok(db)
}

fn connect(path: &Path, flags: OpenFlags) -> Result<Connection, StoreError> {
    // Tests put stores on disks that fail.
    #[cfg(test)]
    if let Some(layer) = super::tests::disk::layer(path) {
        return Connection::open_with_flags_and_vfs(path, flags, layer)
            .map_err(|e| cannot_open(path, &e));
    }
    Connection::open_with_flags(path, flags).map_err(|e| cannot_open(path, &e))
}

fn cannot_open(path: &Path, error: &rusqlite::Error) -> StoreError {
    StoreError::NotWritable(format!("{}: {error}", path.display()))
}

fn prepare(db: &Connection, cache_kib: i64) -> rusqlite::Result<()> {
    db.busy_timeout(BUSY_TIMEOUT)?;
    keep_plans(db)?;
    db.pragma_update(None, "foreign_keys", true)?;
    db.pragma_update(None, "synchronous", "FULL")?;
    db.pragma_update(None, "cache_size", -cache_kib)?;
    db.pragma_update(None, "temp_store", "MEMORY")
}

/// Statements are compiled once. Without the stability guarantee the engine compiles a statement
/// anew after each binding of a value that it compared with the condition of a partial index, to
/// see whether another plan would suit that value; our plans never depend on values.
fn keep_plans(db: &Connection) -> rusqlite::Result<()> {
    db.set_prepared_statement_cache_capacity(STATEMENTS_CACHED);
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true).map(|_| ())
}

fn pragma(db: &Connection, name: &str) -> rusqlite::Result<i64> {
    db.pragma_query_value(None, name, |row| row.get(0))
}

pub(super) fn refuse_newer(db: &Connection, path: &Path) -> Result<i64, StoreError> {
    let version = pragma(db, "user_version").map_err(|e| cannot_open(path, &e))?;
    let application = pragma(db, "application_id").map_err(|e| cannot_open(path, &e))?;
    if application != 0 && application != APPLICATION_ID {
        let name = path.display();
        return Err(StoreError::Invalid(format!(
            "{name} is another program's SQLite file, not a store of Lastword; it is left alone"
        )));
    }
    if version > MIGRATIONS.len() as i64 {
        let (name, known) = (path.display(), MIGRATIONS.len());
        return Err(StoreError::Invalid(format!(
            "{name} has schema {version}, and this host knows up to {known}: it was written by a \
             newer Lastword; run that one (nothing was changed)"
        )));
    }
    Ok(version)
}

fn migrate(db: &Connection, path: &Path) -> Result<(), StoreError> {
    let version = refuse_newer(db, path)?;
    let done = usize::try_from(version).unwrap_or(0);
    if done == MIGRATIONS.len() {
        return Ok(());
    }
    let tables: i64 = db
        .query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))
        .map_err(|e| cannot_open(path, &e))?;
    if version == 0 && tables > 0 {
        let name = path.display();
        return Err(StoreError::Invalid(format!(
            "{name} is a SQLite file with tables of another program; it is left alone"
        )));
    }
    // Without a log nothing is made: it would be refused for ever after.
    let mode = switch_to_log(db).map_err(|e| cannot_open(path, &e))?;
    if mode != "wal" {
        return Err(StoreError::NotWritable(format!(
            "{}: the file system gives no write-ahead log (journal_mode {mode})",
            path.display()
        )));
    }
    let run = || -> rusqlite::Result<()> {
        for (index, migration) in MIGRATIONS.iter().enumerate().skip(done) {
            db.execute_batch(&format!(
                "BEGIN EXCLUSIVE; {migration}; PRAGMA application_id = {APPLICATION_ID}; \
                 PRAGMA user_version = {}; COMMIT;",
                index + 1
            ))?;
        }
        Ok(())
    };
    run().map_err(|e| cannot_open(path, &e))
}

/// The journal's mode afterwards. The engine tells the new mode before it has written it, and commits
/// it only where the statement is run to its end.
fn switch_to_log(db: &Connection) -> rusqlite::Result<String> {
    let mut statement = db.prepare("PRAGMA journal_mode = WAL")?;
    let mut rows = statement.query([])?;
    while rows.next()?.is_some() {}
    drop(rows);
    db.pragma_query_value(None, "journal_mode", |row| row.get(0))
}

/// No host runs on a backup as it is: what was sent since it was taken would be sent again.
fn refuse_backup(db: &Connection, path: &Path) -> Result<(), StoreError> {
    let made = refuse_newer(db, path)? > 0;
    if !made || super::backup::mark(db).map_err(|e| cannot_open(path, &e))?.is_none() {
        return Ok(());
    }
    let name = path.display();
    Err(StoreError::Invalid(format!(
        "{name} is a backup, not a store: move it elsewhere and make a store of it with \
         `lastword restore FILE`"
    )))
}

/// Reads back what durability rests on: an engine that ignores a pragma says nothing.
fn prove(db: &Connection, path: &Path) -> Result<(), StoreError> {
    let read = || -> rusqlite::Result<(String, i64, i64)> {
        let journal = db.pragma_query_value(None, "journal_mode", |row| row.get(0))?;
        Ok((journal, pragma(db, "synchronous")?, pragma(db, "foreign_keys")?))
    };
    let (journal, synchronous, foreign_keys) = read().map_err(|e| cannot_open(path, &e))?;
    // 2 is FULL.
    if journal != "wal" || synchronous != 2 || foreign_keys != 1 {
        return Err(StoreError::NotWritable(format!(
            "{}: the file system gives no durable WAL (journal_mode {journal}, synchronous \
             {synchronous}, foreign_keys {foreign_keys}); put data_dir on a local disk",
            path.display()
        )));
    }
    Ok(())
}

/// Moves what it can from the WAL to the file: frames in the WAL, and how many of them are moved.
pub(super) fn checkpoint(db: &Connection) -> Result<(i64, i64), StoreError> {
    db.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |row| Ok((row.get(1)?, row.get(2)?)))
        .map_err(|e| engine_error(&e))
}

/// Moves all of the log into the file, and empties it.
pub(super) fn empty_log(db: &Connection) -> Result<(), StoreError> {
    let run = || -> rusqlite::Result<bool> {
        db.busy_timeout(END_BUSY_TIMEOUT)?;
        db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))
    };
    match run() {
        Ok(false) => Ok(()),
        Ok(true) => Err(StoreError::NotWritable("a long read holds its log up".to_owned())),
        Err(error) => Err(engine_error(&error)),
    }
}

/// Closing this connection will leave the log as it is.
pub(super) fn leave_log(db: &Connection) -> Result<(), StoreError> {
    let set = db.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true);
    set.map(drop).map_err(|error| engine_error(&error))
}
