//! Files as one call has them: the store behind a port, the ids that the call was given or has
//! made, and what of their bytes may be read or sent. Their bytes pass through no guest and are
//! never held whole. It knows no disk and no rows.
//!
//! **What is in a file is looked at before it goes anywhere.** Once per call and file, before the
//! guest reads or sends it, its bytes are held against its digest and searched for the channel's
//! secrets: a platform may have echoed one into a download. Placeholders are not searched for: a
//! file is sent as it stands, and nothing in it is ever filled in.

use std::collections::{BTreeMap, VecDeque};
use std::io::{Read as _, Seek as _, SeekFrom};
use std::sync::Arc;

use async_trait::async_trait;
use sha2::{Digest as _, Sha256};

use super::guard::Guard;
use crate::env::Env;
use crate::lifecycle::id::{BlobId, ChannelName};

/// Bytes that one `blobs.read` gives at most (contract).
pub(super) const READ_BYTES_MAX: u32 = 1 << 20;
/// How many times the largest file all files that a call sends may make, and all that it fetches:
/// a message with several files, and none sent twice.
const FILES_PER_CALL: u64 = 4;
/// Files that a call keeps open to read of them; a further one takes the place of that which was
/// read longest ago.
const OPEN_PER_CALL_MAX: usize = 4;
/// Bytes looked at at once.
const LOOK_BYTES: usize = 256 << 10;

/// Where files are kept; `runtime` fills it.
#[async_trait]
pub trait BlobStore: Send + Sync {
    /// Opens a file of this channel; none where it has no such file.
    ///
    /// # Errors
    /// A read error is never "no file".
    async fn open(
        &self,
        channel: &ChannelName,
        blob: BlobId,
    ) -> Result<Option<OpenBlob>, BlobError>;

    /// Begins a new file of this channel.
    ///
    /// # Errors
    /// Where there is no room for one.
    async fn create(&self, channel: &ChannelName) -> Result<Box<dyn BlobSink>, BlobError>;
}

/// A file that is open, at its beginning.
#[derive(Debug)]
pub struct OpenBlob {
    pub size_bytes: u64,
    /// SHA-256 of what it should hold.
    pub digest: [u8; 32],
    pub file: tokio::fs::File,
}

/// A file on its way into the store. Dropped before it is committed it leaves nothing behind.
#[async_trait]
pub trait BlobSink: Send {
    /// Bytes that it may have.
    fn most(&self) -> u64;

    /// Takes the next piece.
    ///
    /// # Errors
    /// Over its limit, or the disk takes no more.
    async fn write(&mut self, bytes: &[u8]) -> Result<(), BlobError>;

    /// Stores it, and says its id and size.
    ///
    /// # Errors
    /// Over a quota, or not written; nothing is kept then.
    async fn commit(self: Box<Self>) -> Result<(BlobId, u64), BlobError>;
}

/// Why a file could not be had or kept: sentences that a guest may see.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BlobError {
    #[error("{0}")]
    OverQuota(String),
    #[error("{0}")]
    Unavailable(String),
}

/// No files, and none can be made: for checks that start nothing.
#[derive(Debug, Clone, Copy)]
pub struct NoBlobs;

#[async_trait]
impl BlobStore for NoBlobs {
    async fn open(&self, _: &ChannelName, _: BlobId) -> Result<Option<OpenBlob>, BlobError> {
        Ok(None)
    }

    async fn create(&self, _: &ChannelName) -> Result<Box<dyn BlobSink>, BlobError> {
        Err(BlobError::Unavailable("nothing is stored here".to_owned()))
    }
}

/// Why a guest may not read or send a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum NoBlob {
    /// This call was given no such file and made none.
    Unknown,
    /// It may not leave: the end of a sentence.
    Denied(&'static str),
    Unavailable(String),
}

/// What files are to the calls of one channel.
pub(super) struct FileRoom {
    pub(super) env: Env,
    pub(super) channel: ChannelName,
    pub(super) guard: Arc<Guard>,
    pub(super) store: Arc<dyn BlobStore>,
}

/// The files of one call.
#[derive(Debug, Default)]
pub(super) struct CallFiles {
    known: BTreeMap<BlobId, Known>,
    /// Those that are open, the one read last behind.
    open: VecDeque<(BlobId, std::fs::File)>,
    bytes_out: u64,
    bytes_in: u64,
}

#[derive(Debug, Default)]
struct Known {
    /// Its size, once it was looked at.
    looked: Option<u64>,
}

impl CallFiles {
    /// The files that a call is given.
    pub(super) fn given(blobs: impl IntoIterator<Item = BlobId>) -> Self {
        let known = blobs.into_iter().map(|blob| (blob, Known::default())).collect();
        Self { known, ..Self::default() }
    }

    /// Whether this call was given or has made it.
    pub(super) fn knows(&self, blob: &str) -> Option<BlobId> {
        blob.parse().ok().filter(|blob| self.known.contains_key(blob))
    }

    /// Takes `bytes` off what the call may still send of files.
    pub(super) fn spend_out(&mut self, bytes: u64, file_bytes: u64) -> Result<(), String> {
        spend(&mut self.bytes_out, bytes, file_bytes, "sends")
    }

    /// What it may still fetch.
    pub(super) fn left_in(&self, file_bytes: u64) -> u64 {
        file_bytes.saturating_mul(FILES_PER_CALL).saturating_sub(self.bytes_in)
    }

    /// Takes what came off that, kept or not.
    pub(super) fn charge_in(&mut self, bytes: u64) {
        self.bytes_in = self.bytes_in.saturating_add(bytes);
    }

    /// The same for what it makes, which is refused where it is too much.
    pub(super) fn spend_in(&mut self, bytes: u64, file_bytes: u64) -> Result<(), String> {
        spend(&mut self.bytes_in, bytes, file_bytes, "fetches")
    }

    /// A file's size.
    pub(super) async fn size(&mut self, room: &FileRoom, blob: &str) -> Result<u64, NoBlob> {
        self.looked_at(room, blob).await.map(|(_, size)| size)
    }

    /// Some bytes of a file.
    pub(super) async fn read(
        &mut self,
        room: &FileRoom,
        blob: &str,
        offset: u64,
        count: u32,
    ) -> Result<Vec<u8>, NoBlob> {
        let (id, size) = self.looked_at(room, blob).await?;
        let file = self.opened(room, id).await?;
        let left = size.saturating_sub(offset).min(count.min(READ_BYTES_MAX).into());
        let file = file.try_clone().map_err(|error| unreadable(&error))?;
        let work = room.env.spawn_blocking(move || {
            let mut file = file;
            let mut bytes = vec![0; usize::try_from(left).unwrap_or_default()];
            file.seek(SeekFrom::Start(offset))?;
            file.read_exact(&mut bytes).map(|()| bytes)
        });
        let read = work.await.map_err(|_| NoBlob::Unavailable("the host ends".to_owned()))?;
        read.map_err(|error| unreadable(&error))
    }

    /// Looks through a file, once, and says which it is and its size.
    pub(super) async fn looked_at(
        &mut self,
        room: &FileRoom,
        blob: &str,
    ) -> Result<(BlobId, u64), NoBlob> {
        let id = self.knows(blob).ok_or(NoBlob::Unknown)?;
        let known = self.known.get_mut(&id).ok_or(NoBlob::Unknown)?;
        let size = match known.looked {
            Some(size) => size,
            None => *known.looked.insert(room.look(id).await?),
        };
        Ok((id, size))
    }

    /// A file that was looked at, open.
    async fn opened(&mut self, room: &FileRoom, id: BlobId) -> Result<&std::fs::File, NoBlob> {
        let open = match self.open.iter().position(|(open, _)| *open == id) {
            Some(place) => self.open.remove(place),
            None => Some((id, room.open(id).await?.file.into_std().await)),
        };
        if self.open.len() >= OPEN_PER_CALL_MAX {
            self.open.pop_front();
        }
        self.open.extend(open);
        self.open.back().map(|(_, file)| file).ok_or(NoBlob::Unknown)
    }

    /// Stores what `sink` took; from now on the call knows it.
    pub(super) async fn commit(
        &mut self,
        sink: Box<dyn BlobSink>,
    ) -> Result<(BlobId, u64), BlobError> {
        let (blob, size) = sink.commit().await?;
        self.known.insert(blob, Known::default());
        Ok((blob, size))
    }
}

fn spend(spent: &mut u64, bytes: u64, file_bytes: u64, does: &str) -> Result<(), String> {
    let most = file_bytes.saturating_mul(FILES_PER_CALL);
    let after = spent.saturating_add(bytes);
    if after > most {
        return Err(format!(
            "the files that a call {does} may have {most} bytes together; this would make {after}"
        ));
    }
    *spent = after;
    Ok(())
}

fn unreadable(error: &std::io::Error) -> NoBlob {
    NoBlob::Unavailable(format!("the file cannot be read: {}", error.kind()))
}

impl FileRoom {
    pub(super) async fn open(&self, id: BlobId) -> Result<OpenBlob, NoBlob> {
        match self.store.open(&self.channel, id).await {
            Ok(Some(open)) => Ok(open),
            Ok(None) => Err(NoBlob::Unknown),
            Err(BlobError::OverQuota(why) | BlobError::Unavailable(why)) => {
                Err(NoBlob::Unavailable(why))
            }
        }
    }

    /// Looks through a file and says its size: on a thread of its own, since it is as long as it is.
    async fn look(&self, id: BlobId) -> Result<u64, NoBlob> {
        let OpenBlob { size_bytes, digest, file } = self.open(id).await?;
        let (file, guard) = (file.into_std().await, Arc::clone(&self.guard));
        let work = self.env.spawn_blocking(move || look_through(&file, &guard, &digest));
        let looked = work.await.map_err(|_| NoBlob::Unavailable("the host ends".to_owned()))?;
        match looked.map_err(|error| unreadable(&error))? {
            Found::Fine => Ok(size_bytes),
            Found::Secret => Err(NoBlob::Denied("holds a secret of this channel")),
            Found::Other => {
                tracing::error!(channel = %self.channel, blob = %id, "a file is damaged on disk");
                Err(NoBlob::Unavailable("the file is damaged on the host's disk".to_owned()))
            }
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Found {
    Fine,
    Secret,
    /// Not the bytes that were stored.
    Other,
}

fn look_through(
    mut file: &std::fs::File,
    guard: &Guard,
    digest: &[u8; 32],
) -> std::io::Result<Found> {
    let mut hash = Sha256::new();
    let mut search = guard.search_of_files();
    let mut buffer = vec![0; LOOK_BYTES];
    loop {
        let count = file.read(&mut buffer)?;
        if count == 0 {
            break;
        }
        hash.update(&buffer[..count]);
        if search.holds_secret(&buffer[..count]) {
            return Ok(Found::Secret);
        }
    }
    Ok(if hash.finalize()[..] == digest[..] { Found::Fine } else { Found::Other })
}
