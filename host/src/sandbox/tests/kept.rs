//! Files as the host would keep them, in a folder that vanishes with the test.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use sha2::{Digest as _, Sha256};

use crate::env::Env;
use crate::lifecycle::id::{BlobId, ChannelName};
use crate::sandbox::{BlobError, BlobSink, BlobStore, OpenBlob};

#[derive(Clone)]
pub(in crate::sandbox) struct Kept(Arc<Inner>);

/// Whose a file is, its bytes and its digest.
type Rows = BTreeMap<BlobId, (ChannelName, u64, [u8; 32])>;

struct Inner {
    dir: tempfile::TempDir,
    rows: Mutex<Rows>,
    pub(super) most: Mutex<u64>,
    pause: Mutex<Duration>,
}

impl Default for Kept {
    fn default() -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self(Arc::new(Inner {
            dir,
            rows: Mutex::default(),
            most: Mutex::new(1 << 30),
            pause: Mutex::default(),
        }))
    }
}

impl Kept {
    /// One file may have so many bytes.
    pub(in crate::sandbox) fn most(&self, bytes: u64) {
        *self.0.most.lock().unwrap() = bytes;
    }

    fn path(&self, blob: BlobId) -> std::path::PathBuf {
        self.0.dir.path().join(blob.to_string())
    }

    /// Keeps a file of a channel.
    pub(in crate::sandbox) fn put(&self, channel: &str, bytes: &[u8]) -> BlobId {
        let mut rows = self.0.rows.lock().unwrap();
        let blob = BlobId { number: rows.len() as i64 + 1, nonce: 99 };
        std::fs::write(self.path(blob), bytes).unwrap();
        let digest = Sha256::digest(bytes).into();
        rows.insert(blob, (ChannelName::from(channel), bytes.len() as u64, digest));
        blob
    }

    /// What is kept.
    pub(in crate::sandbox) fn bytes(&self, blob: BlobId) -> Vec<u8> {
        std::fs::read(self.path(blob)).unwrap()
    }

    /// Changes a file behind the host's back.
    pub(in crate::sandbox) fn damage(&self, blob: BlobId, bytes: &[u8]) {
        std::fs::write(self.path(blob), bytes).unwrap();
    }

    /// How many of its files are open.
    pub(in crate::sandbox) fn open_now(&self) -> usize {
        let links = std::fs::read_dir("/proc/self/fd").unwrap().flatten();
        let files = links.filter_map(|link| std::fs::read_link(link.path()).ok());
        files.filter(|file| file.starts_with(self.0.dir.path())).count()
    }

    /// Each piece of a new file is so long in being written.
    pub(in crate::sandbox) fn slowly(&self, pause: Duration) {
        *self.0.pause.lock().unwrap() = pause;
    }

    pub(in crate::sandbox) fn count(&self) -> usize {
        self.0.rows.lock().unwrap().len()
    }
}

#[async_trait]
impl BlobStore for Kept {
    async fn open(
        &self,
        channel: &ChannelName,
        blob: BlobId,
    ) -> Result<Option<OpenBlob>, BlobError> {
        let row = self.0.rows.lock().unwrap().get(&blob).cloned();
        let Some((_, size_bytes, digest)) = row.filter(|row| row.0 == *channel) else {
            return Ok(None);
        };
        let file = tokio::fs::File::open(self.path(blob)).await.unwrap();
        Ok(Some(OpenBlob { size_bytes, digest, file }))
    }

    async fn create(&self, channel: &ChannelName) -> Result<Box<dyn BlobSink>, BlobError> {
        let most = *self.0.most.lock().unwrap();
        Ok(Box::new(Sink { kept: self.clone(), channel: channel.clone(), bytes: Vec::new(), most }))
    }
}

struct Sink {
    kept: Kept,
    channel: ChannelName,
    bytes: Vec<u8>,
    most: u64,
}

#[async_trait]
impl BlobSink for Sink {
    fn most(&self) -> u64 {
        self.most
    }

    async fn write(&mut self, bytes: &[u8]) -> Result<(), BlobError> {
        let pause = *self.kept.0.pause.lock().unwrap();
        if !pause.is_zero() {
            Env::system().sleep(pause).await;
        }
        self.bytes.write_all(bytes).unwrap();
        if self.bytes.len() as u64 > self.most {
            return Err(BlobError::OverQuota("too long".to_owned()));
        }
        Ok(())
    }

    async fn commit(self: Box<Self>) -> Result<(BlobId, u64), BlobError> {
        let blob = self.kept.put(&self.channel.0, &self.bytes);
        Ok((blob, self.bytes.len() as u64))
    }
}
