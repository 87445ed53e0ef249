//! Files for the time of the suite, in a folder that goes with it.

use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use sha2::{Digest as _, Sha256};

use crate::lifecycle::id::{BlobId, ChannelName};
use crate::sandbox::{BlobError, BlobSink, BlobStore, OpenBlob};

/// Bytes of one file: recordings are small.
const FILE_BYTES_MAX: u64 = 16 << 20;

/// Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Files(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    folder: tempfile::TempDir,
    kept: Mutex<BTreeMap<BlobId, (u64, [u8; 32])>>,
}

impl Files {
    pub(super) fn new() -> io::Result<Self> {
        let folder = tempfile::tempdir()?;
        Ok(Self(Arc::new(Inner { folder, kept: Mutex::default() })))
    }

    fn path(&self, blob: BlobId) -> PathBuf {
        self.0.folder.path().join(blob.to_string())
    }

    /// Puts a file where the adapter may be given it.
    pub(super) fn put(&self, bytes: &[u8]) -> io::Result<BlobId> {
        let mut kept = self.0.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let number = i64::try_from(kept.len()).unwrap_or(i64::MAX).saturating_add(1);
        let blob = BlobId { number, nonce: 7 };
        std::fs::File::create(self.path(blob))?.write_all(bytes)?;
        kept.insert(blob, (bytes.len() as u64, Sha256::digest(bytes).into()));
        Ok(blob)
    }

    /// What a file holds.
    pub(super) fn bytes(&self, blob: BlobId) -> io::Result<Vec<u8>> {
        std::fs::read(self.path(blob))
    }
}

fn unavailable(error: &io::Error) -> BlobError {
    BlobError::Unavailable(format!("the suite's folder of files: {error}"))
}

#[async_trait]
impl BlobStore for Files {
    async fn open(&self, _: &ChannelName, blob: BlobId) -> Result<Option<OpenBlob>, BlobError> {
        let kept = self.0.kept.lock().unwrap_or_else(PoisonError::into_inner).get(&blob).copied();
        let Some((size_bytes, digest)) = kept else { return Ok(None) };
        let file = tokio::fs::File::open(self.path(blob)).await.map_err(|e| unavailable(&e))?;
        Ok(Some(OpenBlob { size_bytes, digest, file }))
    }

    async fn create(&self, _: &ChannelName) -> Result<Box<dyn BlobSink>, BlobError> {
        Ok(Box::new(Sink { files: self.clone(), bytes: Vec::new() }))
    }
}

struct Sink {
    files: Files,
    bytes: Vec<u8>,
}

#[async_trait]
impl BlobSink for Sink {
    fn most(&self) -> u64 {
        FILE_BYTES_MAX
    }

    async fn write(&mut self, bytes: &[u8]) -> Result<(), BlobError> {
        if (self.bytes.len() + bytes.len()) as u64 > FILE_BYTES_MAX {
            return Err(BlobError::OverQuota(format!("a file has over {FILE_BYTES_MAX} bytes")));
        }
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }

    async fn commit(self: Box<Self>) -> Result<(BlobId, u64), BlobError> {
        let blob = self.files.put(&self.bytes).map_err(|error| unavailable(&error))?;
        Ok((blob, self.bytes.len() as u64))
    }
}
