//! One file on its way in: written piece by piece, hashed on the way, under its cap; a row at the
//! end or nothing.

use std::path::PathBuf;
use std::sync::Arc;

use sha2::{Digest as _, Sha256};
use tokio::io::AsyncWriteExt as _;

use super::contents::{make_dir, settle};
use super::{Files, FilesError};
use crate::lifecycle::id::{BlobId, ChannelName};
use crate::store::{BlobAnswer, BlobCommand, BlobQuota, NewBlob};

/// A file that was stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoredFile {
    pub blob: BlobId,
    pub size_bytes: u64,
}

/// A file that is being written. Dropped before [`NewFile::commit`] it leaves nothing behind.
#[derive(Debug)]
pub struct NewFile {
    files: Files,
    channel: ChannelName,
    file: tokio::fs::File,
    written: Written,
    hash: Sha256,
    size_bytes: u64,
    most: u64,
}

/// The path of what was written; removed with it, unless it got its name.
#[derive(Debug)]
struct Written(Option<PathBuf>);

impl Drop for Written {
    fn drop(&mut self) {
        if let Some(path) = self.0.take() {
            let _ = std::fs::remove_file(path);
        }
    }
}

impl Files {
    /// Begins a file of a channel.
    ///
    /// # Errors
    /// Where the disk gives none.
    pub async fn create(&self, channel: &ChannelName) -> Result<NewFile, FilesError> {
        let dir = self.new_dir();
        let mut name = [0; 16];
        self.0.env.fill(&mut name);
        let path = dir.join(hex::encode(name));
        let (opened, at) = (self.0.env.clone(), path.clone());
        let open = opened.spawn_blocking(move || {
            make_dir(&dir)?;
            use std::os::unix::fs::OpenOptionsExt as _;
            std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(at)
        });
        let file = open.await.map_err(|_| fell())?.map_err(|error| disk(&error))?;
        Ok(NewFile {
            files: self.clone(),
            channel: channel.clone(),
            file: tokio::fs::File::from_std(file),
            written: Written(Some(path)),
            hash: Sha256::new(),
            size_bytes: 0,
            most: self.quota(channel).file_bytes,
        })
    }
}

impl NewFile {
    /// How many bytes it may have.
    #[must_use]
    pub fn most(&self) -> u64 {
        self.most
    }

    /// Writes the next piece.
    ///
    /// # Errors
    /// Where it passes the limit of one file, or the disk takes no more.
    pub async fn write(&mut self, bytes: &[u8]) -> Result<(), FilesError> {
        let size = self.size_bytes.saturating_add(bytes.len() as u64);
        if size > self.most {
            return Err(FilesError::TooLarge(format!(
                "the file has more than {} bytes, the limit of one file (`file_bytes` in \
                 [limits])",
                self.most
            )));
        }
        self.file.write_all(bytes).await.map_err(|error| disk(&error))?;
        self.hash.update(bytes);
        self.size_bytes = size;
        Ok(())
    }

    /// Stores it: when this returns the bytes and the row are on disk.
    ///
    /// # Errors
    /// Where a quota is passed, or disk or store cannot be written; nothing is kept then.
    pub async fn commit(mut self) -> Result<StoredFile, FilesError> {
        self.file.flush().await.map_err(|error| disk(&error))?;
        self.file.sync_all().await.map_err(|error| disk(&error))?;
        let env = self.files.0.env.clone();
        // On a task of its own: whoever waits may be gone before the row is there, and until then
        // nobody may remove the content.
        let work = env.spawn(self.settle());
        work.await.map_err(|_| fell())?
    }

    async fn settle(mut self) -> Result<StoredFile, FilesError> {
        let digest: [u8; 32] = self.hash.clone().finalize().into();
        let named = self.name(digest).await;
        if named.is_err() {
            // Its content may stand there without a row; where this fails too the sweep finds it.
            let _ = self.files.remove_if_unused(digest).await;
        }
        named
    }

    async fn name(&mut self, digest: [u8; 32]) -> Result<StoredFile, FilesError> {
        let inner = Arc::clone(&self.files.0);
        let _stays = inner.moving.read().await;
        let content = self.files.content(&digest);
        let Some(path) = self.written.0.take() else { return Err(fell()) };
        let mut written = Written(Some(path.clone()));
        let moved = inner.env.spawn_blocking(move || settle(&path, &content)).await;
        moved.map_err(|_| fell())?.map_err(|error| disk(&error))?;
        written.0 = None;
        let quota = self.files.quota(&self.channel);
        let new = NewBlob {
            channel: self.channel.clone(),
            digest,
            size_bytes: self.size_bytes,
            quota: BlobQuota { channel_bytes: quota.channel_bytes, all_bytes: quota.all_bytes },
        };
        match self.files.command(BlobCommand::Put(new)).await? {
            BlobAnswer::Stored(blob) => Ok(StoredFile { blob, size_bytes: self.size_bytes }),
            BlobAnswer::OverQuota(sentence) => Err(FilesError::TooLarge(sentence)),
            BlobAnswer::Forgotten { .. } => Err(super::wrong_rows()),
        }
    }
}

/// The path is the operator's, so it stands in the log and not in what guests and handlers see.
pub(super) fn disk(error: &std::io::Error) -> FilesError {
    tracing::error!("a file cannot be written: {error}");
    FilesError::Unavailable(if error.kind() == std::io::ErrorKind::StorageFull {
        "the disk of the host's `data_dir` is full: free space, then it goes on".to_owned()
    } else {
        format!("the host's `data_dir` cannot be written: {}", error.kind())
    })
}

pub(super) fn fell() -> FilesError {
    FilesError::Unavailable("the host ends".to_owned())
}
