//! Files on disk: contents under their digest, ids for channels, folders for tries, and the keys by
//! which a handler gets at its own turn's files.
//!
//! **The order that no dangling row hangs on.** A content is written to a file of its own, synced,
//! moved to its name, its folder synced, and only then is its row committed; when nobody needs a
//! row any more it is forgotten first, and the content goes after its last row. A crash in between
//! leaves at most a content that no row has: the sweep finds it. Storing and removing of contents
//! exclude each other, because a content that is being stored anew may be one that is about to go.
//!
//! Bytes are streamed: no file is ever held in memory whole. It knows no engine and no platform.

mod contents;
mod folder;
mod key;
mod new_file;
mod sweep;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::RwLock;

use crate::env::Env;
use crate::lifecycle::id::{BlobId, ChannelName, TurnId};
use crate::store::{
    Answer, BlobAnswer, BlobCommand, BlobQuery, BlobRow, BlobRows, Command, Query, Rows, Store,
    StoreError, TurnFiles,
};

pub use folder::{NotTaken, TryFolder};
pub use key::{FileKey, KeyFile};
pub use new_file::{NewFile, StoredFile};
pub use sweep::Swept;

/// How much files may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileQuota {
    /// One file.
    pub file_bytes: u64,
    /// All files of one channel.
    pub channel_bytes: u64,
    /// All files of all channels.
    pub all_bytes: u64,
}

impl Default for FileQuota {
    fn default() -> Self {
        Self { file_bytes: 64 << 20, channel_bytes: 2 << 30, all_bytes: 8 << 30 }
    }
}

/// Why a file could not be stored or read: sentences for the person who has to act.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FilesError {
    /// Over the limit of one file, of the channel or of all.
    #[error("{0}")]
    TooLarge(String),
    /// The disk is full or broken, or the store cannot be written.
    #[error("{0}")]
    Unavailable(String),
    /// A row is there and its content is not, or is another one.
    #[error("file {0} is damaged on disk: its content is missing or was changed from outside")]
    Damaged(BlobId),
}

/// The host's files. Cheap to clone; one per host.
#[derive(Debug, Clone)]
pub struct Files(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    env: Env,
    store: Store,
    data_dir: PathBuf,
    quota_of: QuotaOf,
    /// Held shared while a content gets its name and its row, alone while contents are removed.
    moving: Arc<RwLock<()>>,
    sweep: sweep::Place,
}

/// The quota of each channel; another one for those that are not named.
#[derive(Debug, Clone, Default)]
pub struct QuotaOf {
    pub channels: std::collections::BTreeMap<ChannelName, FileQuota>,
    pub other: FileQuota,
}

impl QuotaOf {
    /// The quota of a channel.
    #[must_use]
    pub fn channel(&self, name: &ChannelName) -> FileQuota {
        self.channels.get(name).copied().unwrap_or(self.other)
    }
}

/// A file that is open for reading.
#[derive(Debug)]
pub struct OpenFile {
    pub channel: ChannelName,
    pub size_bytes: u64,
    /// SHA-256 of what it should hold.
    pub digest: [u8; 32],
    pub file: tokio::fs::File,
}

impl Files {
    /// Files under `data_dir`. Nothing is made there before the first file is stored.
    #[must_use]
    pub fn new(env: Env, store: Store, data_dir: PathBuf, quota_of: QuotaOf) -> Self {
        let moving = Arc::default();
        let sweep = sweep::Place::default();
        Self(Arc::new(Inner { env, store, data_dir, quota_of, moving, sweep }))
    }

    /// The quota of a channel.
    #[must_use]
    pub fn quota(&self, channel: &ChannelName) -> FileQuota {
        self.0.quota_of.channel(channel)
    }

    /// The row of a file, whosever it is.
    ///
    /// # Errors
    /// Where the store cannot be read.
    pub async fn find(&self, blob: BlobId) -> Result<Option<BlobRow>, FilesError> {
        match self.query(BlobQuery::Find { blob }).await? {
            BlobRows::Blob(row) => Ok(row),
            _ => Err(wrong_rows()),
        }
    }

    /// Opens a file of a channel; none where the channel has no such file.
    ///
    /// # Errors
    /// Where store or disk cannot be read, or the content is not there.
    pub async fn open(
        &self,
        channel: &ChannelName,
        blob: BlobId,
    ) -> Result<Option<OpenFile>, FilesError> {
        let row = self.find(blob).await?.filter(|row| row.channel == *channel);
        match row {
            Some(row) => self.open_row(blob, row).await.map(Some),
            None => Ok(None),
        }
    }

    /// Opens the file of a row.
    ///
    /// # Errors
    /// Where the disk cannot be read, or the content is not there.
    pub async fn open_row(&self, blob: BlobId, row: BlobRow) -> Result<OpenFile, FilesError> {
        let path = self.content(&row.digest);
        let damaged = |error: std::io::Error| {
            tracing::error!(%blob, "a file's content cannot be opened: {error}");
            FilesError::Damaged(blob)
        };
        let file = tokio::fs::File::open(path).await.map_err(damaged)?;
        let size = file.metadata().await.map_err(damaged)?.len();
        if size != row.size_bytes {
            return Err(FilesError::Damaged(blob));
        }
        let BlobRow { channel, digest, size_bytes } = row;
        Ok(OpenFile { channel, size_bytes, digest, file })
    }

    /// The files of a turn's document.
    ///
    /// # Errors
    /// Where the store cannot be read.
    pub async fn of_turn(&self, turn: TurnId) -> Result<Option<Box<TurnFiles>>, FilesError> {
        match self.query(BlobQuery::TurnFiles { turn }).await? {
            BlobRows::TurnFiles(files) => Ok(files),
            _ => Err(wrong_rows()),
        }
    }

    /// Writes down which file was fetched for a turn, and says which one stands.
    ///
    /// # Errors
    /// Where the store cannot be written, or knows the turn or the file no more.
    pub async fn fetched(
        &self,
        turn: TurnId,
        file: u32,
        blob: BlobId,
    ) -> Result<BlobId, FilesError> {
        match self.command(BlobCommand::Fetched { turn, file, blob }).await? {
            BlobAnswer::Stored(blob) => Ok(blob),
            BlobAnswer::OverQuota(_) | BlobAnswer::Forgotten { .. } => Err(wrong_rows()),
        }
    }

    async fn query(&self, query: BlobQuery) -> Result<BlobRows, FilesError> {
        match self.0.store.read(Query::Blob(query)).await {
            Ok(Rows::Blob(rows)) => Ok(rows),
            Ok(_) => Err(wrong_rows()),
            Err(error) => Err(not_stored(&error)),
        }
    }

    async fn command(&self, command: BlobCommand) -> Result<BlobAnswer, FilesError> {
        match self.0.store.run(Command::Blob(command)).await {
            Ok(Answer::Blob(answer)) => Ok(answer),
            Ok(_) => Err(wrong_rows()),
            Err(error) => Err(not_stored(&error)),
        }
    }
}

fn not_stored(error: &StoreError) -> FilesError {
    FilesError::Unavailable(error.to_string())
}

fn wrong_rows() -> FilesError {
    FilesError::Unavailable("the store gave rows of another kind".to_owned())
}
