//! Where contents stand: `blobs/ab/REST` under the digest in hex, `blobs/new/` while they are being
//! written. It makes folders when the first file needs them.

use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use super::Files;

/// What is still being written, or was when a host died.
const NEW: &str = "new";

impl Files {
    /// The folder of all contents.
    pub(super) fn blobs(&self) -> PathBuf {
        self.0.data_dir.join("blobs")
    }

    /// The folder of what is being written.
    pub(super) fn new_dir(&self) -> PathBuf {
        self.blobs().join(NEW)
    }

    /// Where the content of this digest stands.
    pub(super) fn content(&self, digest: &[u8; 32]) -> PathBuf {
        let name = hex::encode(digest);
        self.blobs().join(&name[..2]).join(&name[2..])
    }
}

/// Makes a private folder with those above it that are missing.
pub(super) fn make_dir(path: &Path) -> io::Result<()> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Moves a written and synced file to its name. When this returns the name is on disk.
pub(super) fn settle(written: &Path, content: &Path) -> io::Result<()> {
    let folder = content.parent().unwrap_or(content);
    if !folder.is_dir() {
        make_dir(folder)?;
        sync_dir(folder.parent().unwrap_or(folder))?;
    }
    // Also over a content that is there: a host may have died before its name was synced.
    std::fs::rename(written, content)?;
    sync_dir(folder)
}

/// Syncs the names in a folder.
pub(super) fn sync_dir(path: &Path) -> io::Result<()> {
    std::fs::File::open(path)?.sync_all()
}

/// The digest that a content's place tells.
pub(super) fn digest_of(shard: &str, name: &str) -> Option<[u8; 32]> {
    let mut digest = [0; 32];
    hex::decode_to_slice(format!("{shard}{name}"), &mut digest).ok()?;
    Some(digest)
}
