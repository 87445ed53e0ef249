//! Removing what nobody needs: rows first, then contents without rows, and what dead hosts left
//! half-written. Each pass is bounded; the next one goes on where it stopped.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime};

use super::contents::digest_of;
use super::new_file::fell;
use super::{Files, FilesError};
use crate::store::{BlobAnswer, BlobCommand, BlobQuery, BlobRows};

/// Rows of one pass.
const ROWS_MAX: u32 = 200;
/// Contents looked at in one pass.
const CONTENTS_MAX: usize = 1_000;
/// Folders of contents.
const SHARDS: u32 = 256;

/// Which folder the next pass looks at.
#[derive(Debug, Default)]
pub(super) struct Place(AtomicU32);

/// What one pass did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Swept {
    /// Rows that nobody needed any more.
    pub rows: u64,
    /// Contents removed with their last row.
    pub contents: u64,
    /// Contents that no row had, and files that were never finished.
    pub orphans: u64,
}

impl Files {
    /// One pass. A file that nothing names is kept for `keep`: it may still be on its way into a
    /// message.
    ///
    /// # Errors
    /// Where store or disk refuse; what was done until then stands.
    pub async fn sweep(&self, keep: Duration) -> Result<Swept, FilesError> {
        let mut swept = Swept::default();
        let keep_ms = i64::try_from(keep.as_millis()).unwrap_or(i64::MAX);
        let before_ms = self.0.env.now().wall_ms.saturating_sub(keep_ms);
        let forget = BlobCommand::Forget { before_ms, rows_max: ROWS_MAX };
        if let BlobAnswer::Forgotten { rows, contents } = self.command(forget).await? {
            swept.rows = rows;
            for digest in contents {
                swept.contents += u64::from(self.remove_if_unused(digest).await?);
            }
        }
        let shard = self.0.sweep.0.fetch_add(1, Ordering::Relaxed) % SHARDS;
        swept.orphans = self.remove_orphans(shard, before_ms).await?;
        Ok(swept)
    }

    /// All folders of contents, one after the other: for a start, and for tests.
    ///
    /// # Errors
    /// As [`Files::sweep`].
    pub async fn sweep_all(&self, keep: Duration) -> Result<Swept, FilesError> {
        let mut all = Swept::default();
        for _ in 0..SHARDS {
            let swept = self.sweep(keep).await?;
            all.rows += swept.rows;
            all.contents += swept.contents;
            all.orphans += swept.orphans;
        }
        Ok(all)
    }

    /// Removes a content, unless a row has it by now.
    pub(super) async fn remove_if_unused(&self, digest: [u8; 32]) -> Result<bool, FilesError> {
        let _alone = self.0.moving.write().await;
        match self.query(BlobQuery::Kept { digest }).await? {
            BlobRows::Kept(false) => {}
            BlobRows::Kept(true) => return Ok(false),
            _ => return Err(super::wrong_rows()),
        }
        let path = self.content(&digest);
        let removed = self.0.env.spawn_blocking(move || std::fs::remove_file(path)).await;
        match removed.map_err(|_| fell())? {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(super::new_file::disk(&error)),
        }
    }

    async fn remove_orphans(&self, shard: u32, before_ms: i64) -> Result<u64, FilesError> {
        let shard = format!("{shard:02x}");
        let (new, dir) = (self.new_dir(), self.blobs().join(&shard));
        let listed = self.0.env.spawn_blocking(move || {
            (old_files(&new, before_ms, CONTENTS_MAX), old_files(&dir, before_ms, CONTENTS_MAX))
        });
        let (unfinished, contents) = listed.await.map_err(|_| fell())?;
        let mut removed = 0;
        for path in unfinished {
            let gone = self.0.env.spawn_blocking(move || std::fs::remove_file(path)).await;
            removed += u64::from(matches!(gone, Ok(Ok(()))));
        }
        for path in contents {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            // A file that is no content is none of ours; it is left alone.
            let Some(digest) = digest_of(&shard, name) else { continue };
            removed += u64::from(self.remove_if_unused(digest).await?);
        }
        Ok(removed)
    }
}

/// Files of a folder that were not touched since then. A folder that is not there has none.
fn old_files(dir: &Path, before_ms: i64, most: usize) -> Vec<PathBuf> {
    let before = Duration::from_millis(u64::try_from(before_ms).unwrap_or(0));
    let Ok(entries) = std::fs::read_dir(dir) else { return Vec::new() };
    let old = |entry: &std::fs::DirEntry| {
        let Ok(meta) = entry.metadata() else { return false };
        let touched = meta.modified().ok();
        let touched = touched.and_then(|at| at.duration_since(SystemTime::UNIX_EPOCH).ok());
        meta.is_file() && touched.is_some_and(|at| at < before)
    };
    let found = entries.filter_map(Result::ok).filter(old).map(|entry| entry.path());
    found.take(most).collect()
}
