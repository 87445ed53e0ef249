//! Whether the files of an open store are still those that were opened. An engine that holds them
//! open writes on into files that were removed or replaced under it, and every commit succeeds: what
//! is accepted then is gone at the next start. So each batch looks before it begins.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use super::face::StoreError;
use super::step::Result;

/// Bytes of a log that are written again at a time.
const PIECE_BYTES: usize = 1024 * 1024;

/// Which file it is, whatever its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Identity {
    device: u64,
    inode: u64,
}

/// The files of one opening.
#[derive(Debug)]
pub(super) struct Files {
    db: PathBuf,
    wal: PathBuf,
    db_is: Identity,
    /// The engine makes the log with the first write of a connection.
    wal_is: Option<Identity>,
}

impl Files {
    /// The files of a store that was just opened.
    pub(super) fn opened(db: &Path) -> Result<Self> {
        let wal = wal_of(db);
        let Some(db_is) = identity(db)? else { return Err(removed(db)) };
        let wal_is = identity(&wal)?;
        Ok(Self { db: db.to_owned(), wal, db_is, wal_is })
    }

    /// Looks whether they are still there.
    ///
    /// # Errors
    /// A sentence that says which one is gone, or is another. It may be put back: then it goes on.
    pub(super) fn check(&mut self) -> Result<()> {
        self.check_db()?;
        match (self.wal_is, identity(&self.wal)?) {
            (None, found) => self.wal_is = found,
            (Some(_), None) => return Err(removed(&self.wal)),
            (Some(was), Some(is)) if was != is => return Err(replaced(&self.wal)),
            (Some(_), Some(_)) => {}
        }
        Ok(())
    }

    /// Before the store is opened again: never another file, and never a new one.
    pub(super) fn check_db(&self) -> Result<()> {
        match identity(&self.db)? {
            None => Err(removed(&self.db)),
            Some(is) if is != self.db_is => Err(replaced(&self.db)),
            Some(_) => Ok(()),
        }
    }
}

/// Whether there is such a file.
///
/// # Errors
/// The system's.
pub(super) fn is_there(path: &Path) -> Result<bool> {
    identity(path).map(|found| found.is_some())
}

/// Makes an empty file for its owner alone where there is none: the engine would let in whom the umask
/// lets in. It makes the log like the file. One that is there keeps the mode that somebody gave it.
pub(super) fn make_private(db: &Path) {
    #[cfg(test)]
    if super::tests::disk::look(db).is_some() {
        return;
    }
    // What fails here is told by the engine, which opens it next.
    let _ = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(db);
}

/// The write-ahead log beside a store.
pub(super) fn wal_of(db: &Path) -> PathBuf {
    let mut name: OsString = db.as_os_str().to_owned();
    name.push("-wal");
    PathBuf::from(name)
}

/// Whether there is a log with something in it.
///
/// # Errors
/// The system's.
pub(super) fn has_log(db: &Path) -> Result<bool> {
    let wal = wal_of(db);
    #[cfg(test)]
    if let Some(found) = super::tests::disk::look(&wal) {
        return Ok(found.is_some_and(|(_, bytes)| bytes > 0));
    }
    match fs::metadata(&wal) {
        Ok(found) => Ok(found.len() > 0),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(StoreError::NotWritable(format!("{}: {error}", wal.display()))),
    }
}

/// Writes the log once more as it reads, and syncs it. Where a sync has failed, the system may go on
/// to show what never reached the disk, and take it for written: later syncs succeed without it.
/// What is to be built upon is written anew.
///
/// # Errors
/// The system's. What the log says may be lost yet; nothing is to be built upon it.
pub(super) fn write_log_again(db: &Path) -> Result<()> {
    let wal = wal_of(db);
    #[cfg(test)]
    if let Some(done) = super::tests::disk::rewrite(&wal) {
        return done.map_err(|e| StoreError::NotWritable(format!("{}: {e}", wal.display())));
    }
    let run = || -> io::Result<()> {
        let file = fs::OpenOptions::new().read(true).write(true).open(&wal)?;
        let (mut piece, mut at) = (vec![0; PIECE_BYTES], 0);
        loop {
            let count = match file.read_at(&mut piece, at) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            file.write_all_at(&piece[..count], at)?;
            at += count as u64;
        }
        file.sync_all()
    };
    match run() {
        // The last one who left moved all of it into the file, and took it away.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done.map_err(|e| StoreError::NotWritable(format!("{}: {e}", wal.display()))),
    }
}

fn identity(path: &Path) -> Result<Option<Identity>> {
    #[cfg(test)]
    if let Some(found) = super::tests::disk::look(path) {
        return Ok(found.map(|(inode, _)| Identity { device: 0, inode }));
    }
    match fs::metadata(path) {
        Ok(found) => Ok(Some(Identity { device: found.dev(), inode: found.ino() })),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(StoreError::NotWritable(format!("{}: {error}", path.display()))),
    }
}

fn removed(path: &Path) -> StoreError {
    let (path, pid) = (path.display(), std::process::id());
    StoreError::NotWritable(format!(
        "{path} was removed while the host runs; put it back before the host ends, which still \
         holds it open (on Linux under /proc/{pid}/fd)"
    ))
}

fn replaced(path: &Path) -> StoreError {
    let (path, pid) = (path.display(), std::process::id());
    StoreError::NotWritable(format!(
        "{path} was replaced by another file while the host runs; put the first one back, which the \
         host still holds open (on Linux under /proc/{pid}/fd), or stop the host to go on with this \
         one"
    ))
}
