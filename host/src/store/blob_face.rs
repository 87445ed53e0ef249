//! The face of the store for files: commands, queries and what they give. No SQL type stands here.

use crate::lifecycle::id::{BlobId, ChannelName, TurnId};
use crate::lifecycle::message::{Attachment, Place};
use crate::lifecycle::turn::TurnState;

/// How much files may take, their contents counted once per row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlobQuota {
    /// Of the channel.
    pub channel_bytes: u64,
    /// Of all channels together.
    pub all_bytes: u64,
}

/// A file whose bytes are on disk, whole and synced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewBlob {
    pub channel: ChannelName,
    /// SHA-256 of the bytes, by which the disk knows them. It never leaves the host.
    pub digest: [u8; 32],
    pub size_bytes: u64,
    pub quota: BlobQuota,
}

/// What changes rows of files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BlobCommand {
    /// Gives a file an id.
    Put(NewBlob),
    /// A file of the turn's document, by its number from 1, was fetched from the platform.
    Fetched { turn: TurnId, file: u32, blob: BlobId },
    /// Forgets rows that nobody has needed since then.
    Forget { before_ms: i64, rows_max: u32 },
}

/// What became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BlobAnswer {
    Stored(BlobId),
    /// A sentence; nothing was written.
    OverQuota(String),
    /// How many rows, and the contents that no row has any more.
    Forgotten {
        rows: u64,
        contents: Vec<[u8; 32]>,
    },
}

/// What may be asked of files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BlobQuery {
    /// The file of this id.
    Find {
        blob: BlobId,
    },
    /// Whether any row has this content.
    Kept {
        digest: [u8; 32],
    },
    Usage {
        channel: ChannelName,
    },
    /// The files of a turn's document.
    TurnFiles {
        turn: TurnId,
    },
}

/// What there is.
#[derive(Debug, Clone, PartialEq)]
pub enum BlobRows {
    Blob(Option<BlobRow>),
    Kept(bool),
    Usage { files: u64, bytes: u64 },
    TurnFiles(Option<Box<TurnFiles>>),
}

/// One file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlobRow {
    pub channel: ChannelName,
    pub digest: [u8; 32],
    pub size_bytes: u64,
}

/// The files of a turn's document: its message's first, then its context's. Their numbers count
/// from 1 and stay, since context is only added behind.
#[derive(Debug, Clone, PartialEq)]
pub struct TurnFiles {
    pub channel: ChannelName,
    pub state: TurnState,
    pub try_number: u32,
    pub files: Vec<TurnFile>,
}

/// One of them.
#[derive(Debug, Clone, PartialEq)]
pub struct TurnFile {
    /// Where it was said.
    pub place: Place,
    pub file: Attachment,
    /// What was fetched for it.
    pub fetched: Option<BlobId>,
}
