//! Backups and their return: the store's file, and beside it the files that messages carry.

use std::ffi::OsString;
use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use serde::Serialize;

use super::lock::HostLock;
use super::{RunError, store_path};
use crate::config::Config;
use crate::env::Env;
use crate::store::{self, BackupFacts, RestoreFacts, StoreError, UnderWay};

/// Folders in folders: blobs lie two deep.
const DEPTH_MAX: u32 = 8;

/// A backup that was taken.
#[derive(Debug, Serialize)]
pub struct BackedUp {
    #[serde(flatten)]
    pub store: BackupFacts,
    /// Files that messages carry.
    pub blobs: u64,
}

/// A store that was restored.
#[derive(Debug, Serialize)]
pub struct Restored {
    pub store: PathBuf,
    #[serde(flatten)]
    pub facts: RestoreFacts,
    pub blobs: u64,
    /// Where the store went that was there before.
    pub before: Option<PathBuf>,
}

fn beside(path: &Path, end: &str) -> PathBuf {
    let mut name: OsString = path.as_os_str().to_owned();
    name.push(end);
    PathBuf::from(name)
}

fn failed(path: &Path) -> impl Fn(io::Error) -> RunError {
    let name = path.display().to_string();
    move |error| RunError::System(format!("{name}: {error}"))
}

/// Takes a backup of the config's store into `file`, whether a host runs or not. The file has its
/// name only once it is whole.
///
/// # Errors
/// Where there is no store, the file is there already (unless `force`), or cannot be written.
pub fn back_up(
    config: &Config,
    file: &Path,
    force: bool,
    now_ms: i64,
) -> Result<BackedUp, RunError> {
    let path = store_path(config);
    if !path.exists() {
        return Err(RunError::Nothing(format!("there is no store at {}", path.display())));
    }
    if file.exists() && !force {
        let name = file.display();
        return Err(RunError::Config(format!(
            "{name} is there already; name another file, or write over it with --force"
        )));
    }
    let part = beside(file, &format!(".part-{}", std::process::id()));
    let mut facts =
        store::backup(&path, &part, now_ms).map_err(|error| of_backup(error, file, &part))?;
    // Files that nothing refers to any more may be gone by now; none that the snapshot waits for is.
    let blobs_part = beside(&part, ".blobs");
    let copied = copy_folder(&config.data_dir.join("blobs"), &blobs_part, DEPTH_MAX);
    let named = copied.and_then(|blobs| {
        if blobs > 0 {
            let blobs_named = beside(file, ".blobs");
            if force && blobs_named.exists() {
                fs::remove_dir_all(&blobs_named)?;
            }
            fs::rename(&blobs_part, &blobs_named)?;
        }
        let flags = if force { RenameFlags::empty() } else { RenameFlags::NOREPLACE };
        renameat_with(CWD, &part, CWD, file, flags)?;
        sync_folder(file)?;
        Ok(blobs)
    });
    match named {
        Ok(blobs) => {
            facts.file = file.to_owned();
            Ok(BackedUp { store: facts, blobs })
        }
        Err(error) => {
            let _ = fs::remove_file(&part);
            let _ = fs::remove_dir_all(&blobs_part);
            Err(failed(file)(error))
        }
    }
}

/// Whose fault it is: of the file that is to be written, or of the store that is read.
fn of_backup(error: StoreError, file: &Path, part: &Path) -> RunError {
    let at_part = format!("{}: ", part.display());
    match &error {
        StoreError::NotWritable(why) if why.starts_with(&at_part) => RunError::System(format!(
            "the backup {} cannot be written: {}; name a file in a folder that is there, is yours \
             and has room",
            file.display(),
            &why[at_part.len()..]
        )),
        _ => error.into(),
    }
}

/// Makes the config's store of a backup. No host may run.
///
/// # Errors
/// Where a host runs, a store is there already (unless `force`, which puts it aside), or the file is
/// no backup. The store that is there is as it was then.
pub async fn restore(
    env: &Env,
    config: &Config,
    file: &Path,
    under_way: UnderWay,
    force: bool,
) -> Result<Restored, RunError> {
    if !file.exists() {
        return Err(RunError::Nothing(format!("there is no file {}", file.display())));
    }
    let _lock = HostLock::take_soon(&config.data_dir, env).await?;
    let path = store_path(config);
    if path.exists() && !force {
        let name = path.display();
        return Err(RunError::Config(format!(
            "a store is at {name} already; --force puts it aside and restores in its place"
        )));
    }
    let part = beside(&path, ".restoring");
    for end in ["", "-wal", "-shm"] {
        // Of a restore that was killed.
        let _ = fs::remove_file(beside(&part, end));
    }
    let (from, to, restoring) = (file.to_owned(), part.clone(), env.clone());
    let made = env.spawn_blocking(move || store::restore(&from, &to, under_way, &restoring)).await;
    let facts = made.map_err(|_| RunError::System("the thread of the store fell".to_owned()))??;
    let blobs = beside(file, ".blobs");
    let blobs = copy_folder(&blobs, &config.data_dir.join("blobs"), DEPTH_MAX);
    let blobs = blobs.map_err(failed(&config.data_dir))?;
    let before = if path.exists() { Some(put_aside(&path, env)?) } else { None };
    fs::rename(&part, &path).and_then(|()| sync_folder(&path)).map_err(failed(&path))?;
    Ok(Restored { store: path, facts, blobs, before })
}

/// Another name for a store and its log: nothing of it is removed.
fn put_aside(path: &Path, env: &Env) -> Result<PathBuf, RunError> {
    let before = beside(path, &format!(".before-{}", env.now().wall_ms));
    // The log first: a store without its log is older, a log without its store is nothing.
    for end in ["-wal", ""] {
        let from = beside(path, end);
        if from.exists() {
            fs::rename(&from, beside(&before, end)).map_err(failed(&from))?;
        }
    }
    let _ = fs::remove_file(beside(path, "-shm"));
    Ok(before)
}

/// Copies the regular files of a folder, by link where that is possible: they are named by their
/// content and never changed. How many there are now.
fn copy_folder(from: &Path, to: &Path, depth: u32) -> io::Result<u64> {
    if depth == 0 || !from.is_dir() {
        return Ok(0);
    }
    let mut count = 0;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        let kind = entry.file_type()?;
        if kind.is_dir() {
            count += copy_folder(&entry.path(), &target, depth - 1)?;
            continue;
        }
        if !kind.is_file() {
            continue;
        }
        DirBuilder::new().recursive(true).mode(0o700).create(to)?;
        if target.exists() || fs::hard_link(entry.path(), &target).is_ok() {
            count += 1;
            continue;
        }
        match fs::copy(entry.path(), &target) {
            Ok(_) => File::open(&target)?.sync_all()?,
            // Released meanwhile: no unfinished row of the snapshot waits for it.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        }
        count += 1;
    }
    Ok(count)
}

/// So that the name outlives a loss of power.
fn sync_folder(file: &Path) -> io::Result<()> {
    let folder = file.parent().filter(|parent| !parent.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}
