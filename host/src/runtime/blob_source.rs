//! Files for guests, from the host's files: the sandbox's port, filled.

use async_trait::async_trait;

use crate::files::{Files, FilesError, NewFile, OpenFile};
use crate::lifecycle::id::{BlobId, ChannelName};
use crate::sandbox::{BlobError, BlobSink, BlobStore, OpenBlob};

/// The host's files.
#[derive(Debug, Clone)]
pub(super) struct StoredFiles(pub(super) Files);

fn blob_error(error: FilesError) -> BlobError {
    match error {
        FilesError::TooLarge(sentence) => BlobError::OverQuota(sentence),
        FilesError::Unavailable(sentence) => BlobError::Unavailable(sentence),
        FilesError::Damaged(_) => {
            BlobError::Unavailable("the file is damaged on the host's disk".to_owned())
        }
    }
}

#[async_trait]
impl BlobStore for StoredFiles {
    async fn open(
        &self,
        channel: &ChannelName,
        blob: BlobId,
    ) -> Result<Option<OpenBlob>, BlobError> {
        let open = self.0.open(channel, blob).await.map_err(blob_error)?;
        Ok(open.map(|OpenFile { size_bytes, digest, file, channel: _ }| OpenBlob {
            size_bytes,
            digest,
            file,
        }))
    }

    async fn create(&self, channel: &ChannelName) -> Result<Box<dyn BlobSink>, BlobError> {
        let new = self.0.create(channel).await.map_err(blob_error)?;
        Ok(Box::new(Sink(new)))
    }
}

struct Sink(NewFile);

#[async_trait]
impl BlobSink for Sink {
    fn most(&self) -> u64 {
        self.0.most()
    }

    async fn write(&mut self, bytes: &[u8]) -> Result<(), BlobError> {
        self.0.write(bytes).await.map_err(blob_error)
    }

    async fn commit(self: Box<Self>) -> Result<(BlobId, u64), BlobError> {
        let stored = self.0.commit().await.map_err(blob_error)?;
        Ok((stored.blob, stored.size_bytes))
    }
}
