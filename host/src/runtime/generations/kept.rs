//! Copies of the components that serve, in the data folder, by digest: what serves goes on to do so
//! over restarts, also where the file in its place is another one by then, and was refused.

use std::collections::BTreeSet;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::super::signed;
use super::source::{self, Component};
use crate::env::Env;

/// The folder's name in the data folder.
const FOLDER: &str = "adapters";

/// The copies of one host.
#[derive(Clone)]
pub(in crate::runtime) struct Kept {
    env: Env,
    folder: PathBuf,
    /// Digests of copies that are made for channels that do not run them yet.
    underway: Arc<Mutex<Vec<String>>>,
    /// Held while a copy is written, and while what nobody needs is removed.
    writing: Arc<Mutex<()>>,
}

impl Kept {
    pub(in crate::runtime) fn new(env: &Env, data_dir: &Path) -> Self {
        let (underway, writing) = Default::default();
        Self { env: env.clone(), folder: data_dir.join(FOLDER), underway, writing }
    }

    /// Where a copy stands. Its publisher's signature stands beside it, as beside any component.
    pub(in crate::runtime) fn path(&self, digest: &str) -> PathBuf {
        self.folder.join(format!("{digest}.wasm"))
    }

    /// Keeps a copy, and one of its signature. Where that fails, the component serves until the host
    /// ends, which is said.
    pub(in crate::runtime) async fn put(&self, component: Component) {
        self.underway().push(component.digest.clone());
        let this = self.clone();
        let work = self.env.spawn_blocking(move || {
            if let Err(error) = this.write(&component) {
                tracing::warn!(
                    digest = component.digest,
                    "no copy of a component is kept, so that a restart depends on its file: {error}"
                );
            }
        });
        let _ = work.await;
    }

    fn writing(&self) -> MutexGuard<'_, ()> {
        self.writing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn underway(&self) -> MutexGuard<'_, Vec<String>> {
        self.underway.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Who had the copy made runs it now, or will not.
    pub(in crate::runtime) fn settled(&self, digest: &str) {
        let mut underway = self.underway();
        if let Some(at) = underway.iter().position(|it| it == digest) {
            underway.swap_remove(at);
        }
    }

    /// All channels were looked at.
    pub(in crate::runtime) fn all_settled(&self) {
        self.underway().clear();
    }

    fn write(&self, component: &Component) -> io::Result<()> {
        let _one = self.writing();
        DirBuilder::new().recursive(true).mode(0o700).create(&self.folder)?;
        let place = self.path(&component.digest);
        // First: a copy without its signature would not serve where one is required.
        if let Ok(text) = &component.signature {
            self.write_file(&signed::beside(&place), text.as_bytes())?;
        }
        self.write_file(&place, &component.bytes)
    }

    /// Unless the very same stands there already.
    fn write_file(&self, place: &Path, bytes: &[u8]) -> io::Result<()> {
        if holds(place, bytes) {
            return Ok(());
        }
        let aside = self.folder.join(format!("{:016x}.new", self.env.random_u64()));
        let written = (|| {
            let mut options = OpenOptions::new();
            let mut file = options.write(true).create_new(true).mode(0o600).open(&aside)?;
            file.write_all(bytes)?;
            file.sync_all()?;
            fs::rename(&aside, place)?;
            // Else a power cut may take the name back.
            fs::File::open(&self.folder)?.sync_all()
        })();
        if written.is_err() {
            let _ = fs::remove_file(&aside);
        }
        written
    }

    /// The component of a digest, where its copy is there and is what its name says.
    pub(in crate::runtime) fn get(&self, digest: &str, bytes_max: u64) -> Option<Component> {
        // A digest of the lock file is text of a file: never part of a path as it stands.
        if digest.len() != 64 || !digest.bytes().all(|b| b.is_ascii_hexdigit()) {
            return None;
        }
        let place = self.path(digest);
        let file = source::open(&place).ok()?;
        let mut bytes = Vec::new();
        file.take(bytes_max.saturating_add(1)).read_to_end(&mut bytes).ok()?;
        let component = Component::of(bytes, signed::read_beside(&place));
        (component.digest == digest).then_some(component)
    }

    /// Removes what no channel runs or goes back to, and what a writer left that fell.
    pub(in crate::runtime) fn prune(&self, wanted: impl FnOnce() -> BTreeSet<String>) {
        let _one = self.writing();
        let Ok(folder) = fs::read_dir(&self.folder) else { return };
        // In this order: who takes a copy over is written down before it is underway no more.
        let mut needed: BTreeSet<String> = self.underway().iter().cloned().collect();
        needed.extend(wanted());
        for entry in folder.flatten() {
            let name = entry.file_name();
            // A copy, and the signature beside it.
            let digest = name.to_str().and_then(|name| name.split('.').next());
            if !digest.is_some_and(|digest| needed.contains(digest)) {
                let _ = fs::remove_file(entry.path());
            }
        }
    }
}

fn holds(place: &Path, bytes: &[u8]) -> bool {
    let found = fs::symlink_metadata(place);
    let alike = found.is_ok_and(|it| it.is_file() && it.len() == bytes.len() as u64);
    alike && fs::read(place).is_ok_and(|there| there == bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn component(bytes: &[u8]) -> Component {
        Component::of(bytes.to_vec(), Ok("a signature".to_owned()))
    }

    #[tokio::test]
    async fn a_copy_is_given_back_only_as_what_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let kept = Kept::new(&Env::system(), folder.path());
        let digest = component(b"a component").digest;
        kept.put(component(b"a component")).await;
        let found = kept.get(&digest, 100).unwrap();
        assert_eq!((&found.bytes[..], &found.digest), (&b"a component"[..], &digest));
        assert_eq!(found.signature.unwrap(), "a signature");
        assert!(kept.get(&digest, 5).is_none(), "longer than allowed");
        assert!(kept.get("../adapters/x", 100).is_none());
        fs::write(kept.path(&digest), b"another one").unwrap();
        assert!(kept.get(&digest, 100).is_none(), "changed");
        kept.put(component(b"a component")).await;
        assert!(kept.get(&digest, 100).is_some(), "written anew");
        kept.settled(&digest);
        kept.prune(BTreeSet::new);
        assert!(kept.path(&digest).exists(), "somebody is about to run it");
        // Who was about to runs it now, and writes that down while copies are looked through.
        kept.prune(|| {
            kept.settled(&digest);
            BTreeSet::from(["other".to_owned()])
        });
        assert!(kept.path(&digest).exists(), "it was underway when the looking began");
        kept.prune(|| BTreeSet::from(["other".to_owned()]));
        assert!(!kept.path(&digest).exists());
    }

    #[test]
    fn a_copy_that_is_being_written_is_not_removed() {
        let folder = tempfile::tempdir().unwrap();
        let kept = Kept::new(&Env::system(), folder.path());
        fs::create_dir(&kept.folder).unwrap();
        let half = kept.folder.join("0123.new");
        fs::write(&half, b"half of it").unwrap();
        let writes = kept.writing();
        std::thread::scope(|threads| {
            let (tell, told) = std::sync::mpsc::channel();
            let kept = &kept;
            threads.spawn(move || {
                kept.prune(BTreeSet::new);
                tell.send(())
            });
            let waited = told.recv_timeout(std::time::Duration::from_millis(100));
            assert!(waited.is_err() && half.exists(), "somebody writes it");
            drop(writes);
        });
        assert!(!half.exists(), "somebody fell while writing it");
    }
}
