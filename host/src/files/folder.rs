//! The folder of one try: copies of the files that came with its message, and the one place from
//! which the handler may give files by path. It goes with the try.
//!
//! A path is followed step by step without links, so that a handler that was talked into
//! `../../.ssh/id_ed25519`, or into a link there, gives nothing away.

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{Mode, OFlags, openat};
use tokio::io::AsyncReadExt as _;

use super::contents::make_dir;
use super::new_file::{disk, fell};
use super::{Files, FilesError, OpenFile, StoredFile};
use crate::lifecycle::files::plain_name;
use crate::lifecycle::id::{BlobId, ChannelName, TurnId};

/// Where the folders of tries stand.
const FOLDERS: &str = "tmp";
/// Steps of a path within a folder.
const STEPS_MAX: usize = 32;
/// Bytes copied at once.
const COPY_BYTES: usize = 256 << 10;

/// The folder of one try. Removed with this value.
#[derive(Debug)]
pub struct TryFolder(PathBuf);

/// Why a file of a handler is not taken: the end of a sentence that begins with the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotTaken {
    /// The handler's fault.
    Refused(String),
    /// The host's; another try may fare better.
    Failed(String),
}

impl From<FilesError> for NotTaken {
    fn from(error: FilesError) -> Self {
        match error {
            FilesError::TooLarge(why) => Self::Refused(format!("is not stored: {why}")),
            FilesError::Unavailable(why) => Self::Failed(format!("is not stored: {why}")),
            FilesError::Damaged(_) => Self::Failed(error.to_string()),
        }
    }
}

impl Drop for TryFolder {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!("a try's folder is not removed: {error}; the next start does it");
        }
    }
}

impl TryFolder {
    /// Its path, absolute.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Opens a file that stands within, named absolutely or from here.
    fn open(&self, named: &str) -> Result<std::fs::File, NotTaken> {
        let refused = |why: &str| NotTaken::Refused(why.to_owned());
        let path = Path::new(named);
        let within = match path.strip_prefix(&self.0) {
            Ok(within) => within,
            Err(_) if path.is_relative() => path,
            Err(_) => return Err(refused("is outside the folder of its try (`files_dir`)")),
        };
        let here = |step: &Component<'_>| matches!(step, Component::CurDir);
        let steps: Vec<_> = within.components().filter(|step| !here(step)).collect();
        let plain = steps.iter().all(|step| matches!(step, Component::Normal(_)));
        if !plain || steps.is_empty() || steps.len() > STEPS_MAX {
            return Err(refused("is no plain path within the folder of its try (`files_dir`)"));
        }
        let missing = |error: rustix::io::Errno| match error {
            rustix::io::Errno::LOOP | rustix::io::Errno::NOTDIR => {
                refused("leads through a link or through what is no folder")
            }
            error => {
                NotTaken::Refused(format!("cannot be opened: {}", io::Error::from(error).kind()))
            }
        };
        let folder = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut at: OwnedFd = rustix::fs::open(&self.0, folder, Mode::empty()).map_err(missing)?;
        for step in &steps[..steps.len() - 1] {
            at = openat(&at, step.as_os_str(), folder, Mode::empty()).map_err(missing)?;
        }
        // Without waiting: a pipe would be waited for.
        let last = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let file = openat(&at, steps[steps.len() - 1].as_os_str(), last, Mode::empty());
        let file = std::fs::File::from(file.map_err(missing)?);
        match file.metadata() {
            Ok(meta) if meta.is_file() => Ok(file),
            Ok(_) => Err(refused("is no file")),
            Err(error) => Err(NotTaken::Failed(format!("cannot be read: {}", error.kind()))),
        }
    }
}

impl Files {
    /// Removes what tries of dead hosts left: for a start, while no try runs.
    pub fn clear_folders(&self) {
        let _ = std::fs::remove_dir_all(self.0.data_dir.join(FOLDERS));
    }

    /// Makes the folder of a try.
    ///
    /// # Errors
    /// Where the disk gives none.
    pub async fn try_folder(&self, turn: TurnId, try_number: u32) -> Result<TryFolder, FilesError> {
        let path = self.0.data_dir.join(FOLDERS).join(format!("{turn}-{try_number}"));
        let work = self.0.env.spawn_blocking(move || {
            // An earlier folder of the same name is of a host that was killed in this try.
            let _ = std::fs::remove_dir_all(&path);
            make_dir(&path)?;
            std::fs::canonicalize(&path).map(TryFolder)
        });
        work.await.map_err(|_| fell())?.map_err(|error| disk(&error))
    }

    /// Copies a file into a folder, under a name that begins with its number, and gives the path. A
    /// copy: whatever the handler does to it, the host's own stays as it is.
    ///
    /// # Errors
    /// Where the disk takes no more.
    pub async fn copy_out(
        &self,
        file: OpenFile,
        folder: &TryFolder,
        number: usize,
        name: Option<&str>,
    ) -> Result<PathBuf, FilesError> {
        let name = name.and_then(plain_name).unwrap_or_else(|| "file".to_owned());
        let path = folder.path().join(format!("{number}-{name}"));
        let mut from = file.file.into_std().await;
        let at = path.clone();
        let work = self.0.env.spawn_blocking(move || {
            let mut to = std::fs::File::create_new(at)?;
            io::copy(&mut from, &mut to)
        });
        let copied = work.await.map_err(|_| fell())?;
        copied.map_err(|error| disk(&error))?;
        Ok(path)
    }

    /// Stores a file that a handler names by its path.
    ///
    /// # Errors
    /// [`NotTaken`] says whose fault it is.
    pub async fn take_in(
        &self,
        channel: &ChannelName,
        folder: &TryFolder,
        named: &str,
    ) -> Result<StoredFile, NotTaken> {
        let file = folder.open(named)?;
        let mut file = tokio::fs::File::from_std(file);
        let mut new = self.create(channel).await?;
        let mut piece = vec![0; COPY_BYTES];
        loop {
            let unreadable =
                |error: io::Error| NotTaken::Failed(format!("cannot be read: {}", error.kind()));
            let count = file.read(&mut piece).await.map_err(unreadable)?;
            if count == 0 {
                break;
            }
            new.write(&piece[..count]).await?;
        }
        Ok(new.commit().await?)
    }

    /// The size of a file that was uploaded for this channel.
    ///
    /// # Errors
    /// [`NotTaken`] says whose fault it is.
    pub async fn uploaded(
        &self,
        channel: &ChannelName,
        blob: BlobId,
    ) -> Result<StoredFile, NotTaken> {
        let row = self.find(blob).await?.filter(|row| row.channel == *channel);
        let unknown = || NotTaken::Refused("is not known to this channel".to_owned());
        let row = row.ok_or_else(unknown)?;
        Ok(StoredFile { blob, size_bytes: row.size_bytes })
    }
}
