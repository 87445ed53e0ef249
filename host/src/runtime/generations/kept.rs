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
use crate::sandbox::SIGNATURE_BYTES_MAX;

/// The folder's name in the data folder.
const FOLDER: &str = "adapters";

/// The copies of one host.
#[derive(Clone)]
pub(in crate::runtime) struct Kept {
    env: Env,
    folder: PathBuf,
    /// Digests of copies that are made for channels that do not run them yet.
    underway: Arc<Mutex<Vec<String>>>,
}

impl Kept {
    pub(in crate::runtime) fn new(env: &Env, data_dir: &Path) -> Self {
        Self { env: env.clone(), folder: data_dir.join(FOLDER), underway: Arc::default() }
    }

    /// Where a copy stands. Its publisher's signature stands beside it, as beside any component.
    pub(in crate::runtime) fn path(&self, digest: &str) -> PathBuf {
        self.folder.join(format!("{digest}.wasm"))
    }

    /// Keeps a copy, and one of the signature beside `file`. Where that fails, the component serves
    /// until the host ends, which is said.
    pub(in crate::runtime) async fn put(&self, component: Component, file: &Path) {
        self.underway().push(component.digest.clone());
        let (this, signature) = (self.clone(), signed::beside(file));
        let work = self.env.spawn_blocking(move || {
            if let Err(error) = this.write(&component, &signature) {
                tracing::warn!(
                    digest = component.digest,
                    "no copy of a component is kept, so that a restart depends on its file: {error}"
                );
            }
        });
        let _ = work.await;
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

    fn write(&self, component: &Component, signature: &Path) -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(&self.folder)?;
        let place = self.path(&component.digest);
        // First: a copy without its signature would not serve where one is required.
        let mut text = Vec::new();
        if let Ok(file) = source::open(signature)
            && file.take(SIGNATURE_BYTES_MAX).read_to_end(&mut text).is_ok()
        {
            self.write_file(&signed::beside(&place), &text)?;
        }
        if place.exists() {
            return Ok(());
        }
        self.write_file(&place, &component.bytes)
    }

    fn write_file(&self, place: &Path, bytes: &[u8]) -> io::Result<()> {
        let aside = self.folder.join(format!("{:016x}.new", self.env.random_u64()));
        let written = (|| {
            let mut options = OpenOptions::new();
            let mut file = options.write(true).create_new(true).mode(0o600).open(&aside)?;
            file.write_all(bytes)?;
            file.sync_all()?;
            fs::rename(&aside, place)
        })();
        if written.is_err() {
            let _ = fs::remove_file(&aside);
        }
        written
    }

    /// The component of a digest, where its copy is there and is what its name says.
    pub(in crate::runtime) fn get(&self, digest: &str, bytes_max: u64) -> Option<Component> {
        // A digest of the lock file is text of a file: never part of a path as it stands.
        let is_digest = digest.len() == 64 && digest.bytes().all(|b| b.is_ascii_hexdigit());
        let file = source::open(&self.path(digest)).ok().filter(|_| is_digest)?;
        let mut bytes = Vec::new();
        file.take(bytes_max.saturating_add(1)).read_to_end(&mut bytes).ok()?;
        let component = Component::of(bytes);
        (component.digest == digest).then_some(component)
    }

    /// Removes what no channel goes back to.
    pub(in crate::runtime) fn prune(&self, wanted: &BTreeSet<String>) {
        let Ok(folder) = fs::read_dir(&self.folder) else { return };
        let underway = self.underway().clone();
        let wanted =
            |digest: &str| wanted.contains(digest) || underway.iter().any(|it| it == digest);
        for entry in folder.flatten() {
            let name = entry.file_name();
            // A copy, and the signature beside it.
            let digest = name.to_str().and_then(|name| name.split('.').next());
            if !digest.is_some_and(wanted) {
                let _ = fs::remove_file(entry.path());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_copy_is_given_back_only_as_what_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let kept = Kept::new(&Env::system(), folder.path());
        let file = folder.path().join("a.wasm");
        fs::write(signed::beside(&file), "a signature").unwrap();
        let component = Component::of(b"a component".to_vec());
        let digest = component.digest.clone();
        kept.put(component, &file).await;
        let found = kept.get(&digest, 100).unwrap();
        assert_eq!((&found.bytes[..], &found.digest), (&b"a component"[..], &digest));
        let beside = fs::read(signed::beside(&kept.path(&digest))).unwrap();
        assert_eq!(beside, b"a signature");
        assert!(kept.get(&digest, 5).is_none(), "longer than allowed");
        assert!(kept.get("../adapters/x", 100).is_none());
        fs::write(kept.path(&digest), b"another one").unwrap();
        assert!(kept.get(&digest, 100).is_none(), "changed");
        kept.prune(&BTreeSet::new());
        assert!(kept.path(&digest).exists(), "somebody is about to run it");
        kept.settled(&digest);
        kept.prune(&BTreeSet::from(["other".to_owned()]));
        assert!(!kept.path(&digest).exists());
    }
}
