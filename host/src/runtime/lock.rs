//! One host owns one store: the lock beside it, and what the lock file says about its owner.
//!
//! The lock is the system's (flock), so it ends with the process however that ends; what stands in
//! the file is for the commands, which reach a running host by it. The file is never removed:
//! removing it would let two hosts lock two files of one name. It holds the API's token, hence its
//! mode of 0600.

use std::fs::{DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{
    DirBuilderExt as _, FileExt as _, OpenOptionsExt as _, PermissionsExt as _,
};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::env::Env;
use crate::lifecycle::id::BootId;

/// The file's name in the data folder.
pub const LOCK_FILE: &str = "host.lock";
/// What is read of it: more than a host writes.
const FILE_BYTES_MAX: u64 = 64 << 10;

/// How often, and how far apart, a start asks again for a lock that is held.
const LOOKS_AGAIN: u32 = 10;
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(20);

/// What a host says about itself.
#[derive(Clone, Serialize, Deserialize)]
pub struct HostFacts {
    pub pid: u32,
    /// `http://HOST:PORT`; empty until it listens.
    pub address: String,
    /// Of the API.
    pub token: String,
    pub boot_id: BootId,
}

impl std::fmt::Debug for HostFacts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HostFacts")
            .field("pid", &self.pid)
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

/// The right to own the store of a data folder. Given back when dropped.
#[derive(Debug)]
pub struct HostLock {
    file: File,
    path: PathBuf,
}

/// Another host owns the store.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{}", .sentence)]
pub struct HeldByAnother {
    /// What it says about itself; none where it has not said it yet.
    pub facts: Option<HostFacts>,
    sentence: String,
}

/// The lock could not be had.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Exit code 4.
    #[error(transparent)]
    Held(#[from] HeldByAnother),
    #[error("{what} {}: {source}; check `data_dir` in the config and who owns it", .path.display())]
    Io { what: &'static str, path: PathBuf, source: std::io::Error },
}

impl HostLock {
    /// Takes the lock of a data folder, which is made where it is missing, for its owner alone.
    ///
    /// # Errors
    /// Where another host has it, or the folder cannot be used.
    pub fn take(data_dir: &Path) -> Result<Self, LockError> {
        let io = |what, path: &Path| {
            let path = path.to_owned();
            move |source| LockError::Io { what, path, source }
        };
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(data_dir)
            .map_err(io("cannot make the data folder", data_dir))?;
        let path = data_dir.join(LOCK_FILE);
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            // A link would have the token written elsewhere.
            .custom_flags(nofollow())
            .open(&path)
            .map_err(io("cannot open the lock", &path))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(held(&path, &file).into()),
            Err(TryLockError::Error(source)) => return Err(io("cannot lock", &path)(source)),
        }
        // A file from elsewhere may be readable by others.
        file.set_permissions(Permissions::from_mode(0o600))
            .map_err(io("cannot set the mode of", &path))?;
        let lock = Self { file, path };
        lock.clear();
        Ok(lock)
    }

    /// As [`HostLock::take`], but asks again for a moment: a command that looks whether a host
    /// runs, or one that changes a row, holds the lock for an instant and is no host.
    ///
    /// # Errors
    /// As [`HostLock::take`].
    pub async fn take_soon(data_dir: &Path, env: &Env) -> Result<Self, LockError> {
        for _ in 0..LOOKS_AGAIN {
            match Self::take(data_dir) {
                Err(LockError::Held(_)) => env.sleep(LOOK_AGAIN_AFTER).await,
                taken_or_failed => return taken_or_failed,
            }
        }
        Self::take(data_dir)
    }

    /// Says who owns the store.
    ///
    /// # Errors
    /// Where the file cannot be written.
    pub fn announce(&self, facts: &HostFacts) -> Result<(), LockError> {
        let io = |source| LockError::Io { what: "cannot write", path: self.path.clone(), source };
        let mut text = Zeroizing::new(serde_json::to_vec(facts).map_err(|e| io(e.into()))?);
        text.push(b'\n');
        // In place and in one piece: who reads meanwhile finds the old document or the new one.
        self.file.write_all_at(&text, 0).map_err(io)?;
        self.file.set_len(text.len() as u64).map_err(io)
    }

    /// Forgets an owner that is gone. Best effort: what stands there is only a hint.
    fn clear(&self) {
        let _ = self.file.set_len(0);
        let _ = (&self.file).flush();
    }
}

impl Drop for HostLock {
    fn drop(&mut self) {
        self.clear();
    }
}

fn nofollow() -> i32 {
    rustix::fs::OFlags::NOFOLLOW.bits().cast_signed()
}

/// The host that owns the store of a data folder now, if there is one.
///
/// # Errors
/// Where the lock file cannot be read. A missing one means that there is no host.
pub fn running_host(data_dir: &Path) -> Result<Option<HeldByAnother>, LockError> {
    let path = data_dir.join(LOCK_FILE);
    let io = |source| LockError::Io { what: "cannot read", path: path.clone(), source };
    let file = match OpenOptions::new().read(true).custom_flags(nofollow()).open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(io(error)),
    };
    // A shared lock is enough to find out, and keeps no other asker away.
    match file.try_lock_shared() {
        Ok(()) => Ok(None),
        Err(TryLockError::WouldBlock) => Ok(Some(held(&path, &file))),
        Err(TryLockError::Error(source)) => Err(io(source)),
    }
}

fn held(path: &Path, file: &File) -> HeldByAnother {
    let facts = read_facts(file);
    let store = path.parent().unwrap_or(path).display().to_string();
    let sentence = match &facts {
        Some(facts) if facts.address.is_empty() => {
            format!("the store in {store} is owned by process {}, which is starting", facts.pid)
        }
        Some(facts) => format!(
            "the store in {store} is owned by the host with process id {} at {}",
            facts.pid, facts.address
        ),
        None => format!("the store in {store} is owned by another process"),
    };
    let sentence = format!("{sentence}; stop it first, or give this one another data_dir");
    HeldByAnother { facts, sentence }
}

fn read_facts(file: &File) -> Option<HostFacts> {
    let mut text = Zeroizing::new(Vec::new());
    file.take(FILE_BYTES_MAX).read_to_end(&mut text).ok()?;
    // The first document: a shorter one may have just been written over a longer one.
    serde_json::Deserializer::from_slice(&text).into_iter().next()?.ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(address: &str) -> HostFacts {
        let token = "a token".to_owned();
        HostFacts { pid: 7, address: address.to_owned(), token, boot_id: BootId(5) }
    }

    #[test]
    fn a_second_host_is_refused_and_told_who_the_first_is() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("new/data");
        let lock = HostLock::take(&data).unwrap();
        lock.announce(&facts("http://127.0.0.1:1")).unwrap();
        let error = HostLock::take(&data).unwrap_err();
        let LockError::Held(held) = &error else { panic!("{error}") };
        assert_eq!(held.facts.as_ref().unwrap().token, "a token");
        let sentence = error.to_string();
        assert!(sentence.contains("process id 7 at http://127.0.0.1:1"), "{sentence}");
        assert!(!sentence.contains("a token") && !format!("{held:?}").contains("a token"));
        assert!(running_host(&data).unwrap().is_some());
        drop(lock);
        assert!(running_host(&data).unwrap().is_none());
        HostLock::take(&data).unwrap();
    }

    #[test]
    fn the_lock_file_is_for_its_owner_alone_and_forgets_the_token_at_the_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(LOCK_FILE);
        std::fs::write(&path, "x").unwrap();
        std::fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        let lock = HostLock::take(folder.path()).unwrap();
        lock.announce(&facts("http://127.0.0.1:12345")).unwrap();
        lock.announce(&facts("")).unwrap();
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text.lines().count(), 1, "{text}");
        drop(lock);
        assert_eq!(std::fs::read(&path).unwrap(), b"");
    }

    #[tokio::test]
    async fn who_looks_whether_a_host_runs_keeps_none_from_starting() {
        let folder = tempfile::tempdir().unwrap();
        drop(HostLock::take(folder.path()).unwrap());
        let looks = File::open(folder.path().join(LOCK_FILE)).unwrap();
        looks.try_lock_shared().unwrap();
        let env = Env::system();
        let looked = async {
            env.sleep(Duration::from_millis(30)).await;
            looks.unlock().unwrap();
        };
        let (taken, ()) = tokio::join!(HostLock::take_soon(folder.path(), &env), looked);
        let _lock = taken.unwrap();
        let second = HostLock::take_soon(folder.path(), &env).await;
        assert!(matches!(second, Err(LockError::Held(_))));
    }

    #[test]
    fn a_link_in_place_of_the_lock_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("target");
        std::fs::write(&target, "keep").unwrap();
        std::os::unix::fs::symlink(&target, folder.path().join(LOCK_FILE)).unwrap();
        assert!(matches!(HostLock::take(folder.path()), Err(LockError::Io { .. })));
        assert_eq!(std::fs::read(&target).unwrap(), b"keep");
    }
}
