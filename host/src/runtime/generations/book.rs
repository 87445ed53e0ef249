//! `lastword.lock`, beside the config: which component each channel runs, by digest, what it says of
//! itself, and what it was granted. Written by the host at each change, whole and atomically; read
//! at start. It holds no secret and no setting.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use super::super::channels::Serving;
use super::generation::Cause;
use super::served::RefusedVersion;
use crate::env::Env;
use crate::lifecycle::id::ChannelName;
use crate::sandbox::Manifest;

/// The layout that this host writes; a newer one is refused.
const LAYOUT: u32 = 1;
/// What is read of the file: a thousand manifests of some kilobytes.
const FILE_BYTES_MAX: u64 = 64 << 20;

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Contents {
    layout: u32,
    channels: BTreeMap<String, Entry>,
}

/// What one channel runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::runtime) struct Entry {
    /// As the config names it.
    pub(in crate::runtime) file: PathBuf,
    pub(in crate::runtime) sha256: String,
    pub(in crate::runtime) since: String,
    /// What the operator allows of what it asks, by name; what a name means stands in the manifest.
    pub(in crate::runtime) grant: Grant,
    /// What is gone back to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(in crate::runtime) previous: Option<Previous>,
    /// The last version that was not taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(in crate::runtime) refused: Option<RefusedVersion>,
    /// Bytes that were gone back from. They serve again by order only, whatever else is refused or
    /// started meanwhile; forgotten once they serve.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(in crate::runtime) taken_back: Option<String>,
    pub(in crate::runtime) manifest: Manifest,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::runtime) struct Grant {
    pub(in crate::runtime) targets: Vec<String>,
    pub(in crate::runtime) private_targets: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::runtime) struct Previous {
    pub(in crate::runtime) sha256: String,
    pub(in crate::runtime) version: String,
}

impl Previous {
    fn of(entry: &Entry) -> Self {
        Self { sha256: entry.sha256.clone(), version: entry.manifest.version.clone() }
    }
}

/// The file, and what stands in it.
#[derive(Clone)]
pub(in crate::runtime) struct Book(Arc<Inside>);

struct Inside {
    env: Env,
    path: PathBuf,
    contents: Mutex<Contents>,
    /// Held while it is written: the last one to write wrote the last state.
    writing: tokio::sync::Mutex<()>,
    trouble: Mutex<Option<String>>,
}

/// Where it stands: beside the config, with its name.
pub(in crate::runtime) fn path_of(config_file: &Path, folder: &Path) -> PathBuf {
    let name = config_file.file_name().map(PathBuf::from).unwrap_or_default();
    let name = match name.extension().and_then(|end| end.to_str()) {
        Some("toml") => name.with_extension("lock"),
        Some(_) | None => PathBuf::from(format!("{}.lock", name.display())),
    };
    folder.join(name)
}

impl Book {
    /// Reads the file; there is none before the first start.
    ///
    /// # Errors
    /// A sentence, where it is there and cannot be understood: what ran is not known then, so that
    /// nothing could be held against it.
    pub(in crate::runtime) fn open(env: &Env, path: PathBuf) -> Result<Self, String> {
        let contents = match read(&path) {
            Ok(Some(text)) => understand(&text).map_err(|why| {
                format!(
                    "{} cannot be understood: {why}; put back the one of the last run, or remove \
                     it: then what the adapters' files hold now is taken as it is",
                    path.display()
                )
            })?,
            Ok(None) => Contents { layout: LAYOUT, ..Contents::default() },
            Err(error) => return Err(format!("{} cannot be read: {error}", path.display())),
        };
        Ok(Self::with(env, path, contents))
    }

    /// Of no last run, and to be written nowhere.
    pub(in crate::runtime) fn empty(env: &Env) -> Self {
        Self::with(env, PathBuf::new(), Contents::default())
    }

    fn with(env: &Env, path: PathBuf, contents: Contents) -> Self {
        Self(Arc::new(Inside {
            env: env.clone(),
            path,
            contents: Mutex::new(contents),
            writing: tokio::sync::Mutex::default(),
            trouble: Mutex::default(),
        }))
    }

    fn lock(&self) -> MutexGuard<'_, Contents> {
        self.0.contents.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the channel ran last.
    pub(in crate::runtime) fn of(&self, channel: &ChannelName) -> Option<Entry> {
        self.lock().channels.get(&channel.0).cloned()
    }

    /// What serves now. What ran before it is gone back to, unless it is what broke; where the bytes
    /// are the same, that is what ran before those bytes.
    pub(in crate::runtime) fn serves(&self, serving: &Serving, cause: Cause) {
        let manifest = serving.adapter.manifest().clone();
        let sha256 = serving.adapter.digest().to_owned();
        let mut contents = self.lock();
        let name = serving.config.name.0.clone();
        let known = contents.channels.get(&name);
        let same = known.filter(|known| known.sha256 == sha256);
        let other = known.filter(|known| known.sha256 != sha256);
        // Started again: since when it serves, and what was refused, is still true.
        let again = same.filter(|_| cause == Cause::Start);
        let left = other.filter(|_| matches!(cause, Cause::Rollback | Cause::Broken));
        let entry = Entry {
            file: serving.config.adapter.clone(),
            since: again.map_or_else(|| time(self.0.env.now().wall_ms), |it| it.since.clone()),
            grant: Grant {
                targets: serving.config.grants.targets.clone(),
                private_targets: serving.config.grants.private_targets.clone(),
            },
            previous: match same {
                Some(same) => same.previous.clone(),
                None => other.filter(|_| cause != Cause::Broken).map(Previous::of),
            },
            refused: again.and_then(|it| it.refused.clone()),
            taken_back: match left {
                Some(left) => Some(left.sha256.clone()),
                None => known.and_then(|it| it.taken_back.clone()).filter(|it| *it != sha256),
            },
            sha256,
            manifest,
        };
        contents.channels.insert(name, entry);
    }

    /// What is gone back to.
    pub(in crate::runtime) fn previous(&self, channel: &ChannelName) -> Option<Previous> {
        self.lock().channels.get(&channel.0)?.previous.clone()
    }

    /// The bytes that were gone back from.
    pub(in crate::runtime) fn taken_back(&self, channel: &ChannelName) -> Option<String> {
        self.lock().channels.get(&channel.0)?.taken_back.clone()
    }

    /// A version was not taken. Nothing is noted of a channel that never served.
    pub(in crate::runtime) fn refused(&self, channel: &ChannelName, why: &RefusedVersion) {
        if let Some(entry) = self.lock().channels.get_mut(&channel.0) {
            entry.refused = Some(why.clone());
        }
    }

    /// Nothing in the channel's file is refused any more.
    pub(in crate::runtime) fn not_refused(&self, channel: &ChannelName) {
        if let Some(entry) = self.lock().channels.get_mut(&channel.0) {
            entry.refused = None;
        }
    }

    /// Digests that a channel runs or goes back to.
    pub(in crate::runtime) fn digests(&self) -> BTreeSet<String> {
        let contents = self.lock();
        let of = |entry: &Entry| {
            let previous = entry.previous.iter().map(|it| it.sha256.clone());
            [entry.sha256.clone()].into_iter().chain(previous).collect::<Vec<_>>()
        };
        contents.channels.values().flat_map(of).collect()
    }

    /// Writes it, where it differs from what stands there. A failure stops nothing: what serves is
    /// in memory, and the operator is told.
    pub(in crate::runtime) async fn write(&self) {
        let _writing = self.0.writing.lock().await;
        let contents = self.lock().clone();
        let inside = Arc::clone(&self.0);
        let written = self.0.env.spawn_blocking(move || inside.write_whole(&contents)).await;
        let trouble = match written {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(error.to_string()),
            Err(_) => Some("the thread that writes it fell".to_owned()),
        };
        let mut kept = self.0.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(why) = trouble.as_ref().filter(|_| kept.is_none()) {
            let path = self.0.path.display();
            tracing::warn!(
                "{path} cannot be written, so that the next start knows nothing of what runs now: \
                 {why}"
            );
        }
        *kept = trouble;
    }

    /// Why it could not be written the last time.
    pub(in crate::runtime) fn trouble(&self) -> Option<String> {
        self.0.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Inside {
    fn write_whole(&self, contents: &Contents) -> io::Result<()> {
        let mut text = serde_json::to_string_pretty(contents)?;
        text.push('\n');
        if read(&self.path).ok().flatten().as_deref() == Some(text.as_str()) {
            return Ok(());
        }
        let aside = self.path.with_extension(format!("{:016x}.new", self.env.random_u64()));
        let written = (|| {
            let mut options = OpenOptions::new();
            let mut file = options.write(true).create_new(true).mode(0o600).open(&aside)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            fs::rename(&aside, &self.path)?;
            let folder = self.path.parent().unwrap_or(Path::new("."));
            fs::File::open(folder)?.sync_all()
        })();
        if written.is_err() {
            let _ = fs::remove_file(&aside);
        }
        written
    }
}

fn read(path: &Path) -> io::Result<Option<String>> {
    match fs::metadata(path) {
        Ok(found) if found.len() > FILE_BYTES_MAX => {
            Err(io::Error::other(format!("it is longer than {FILE_BYTES_MAX} bytes")))
        }
        Ok(_) => fs::read_to_string(path).map(Some),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn understand(text: &str) -> Result<Contents, String> {
    #[derive(Deserialize)]
    struct Layout {
        layout: u32,
    }
    let Layout { layout } = serde_json::from_str(text).map_err(|error| error.to_string())?;
    if layout != LAYOUT {
        return Err(format!("it has layout {layout}, and this host knows layout {LAYOUT}"));
    }
    serde_json::from_str(text).map_err(|error| error.to_string())
}

/// RFC 3339, for people.
fn time(wall_ms: i64) -> String {
    jiff::Timestamp::from_millisecond(wall_ms).map(|at| at.to_string()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_stands_beside_the_config_with_its_name_and_is_never_the_config() {
        let of = |name: &str| path_of(Path::new(name), Path::new("/etc/bot"));
        assert_eq!(of("conf/lastword.toml"), Path::new("/etc/bot/lastword.lock"));
        assert_eq!(of("other.toml"), Path::new("/etc/bot/other.lock"));
        assert_eq!(of("odd.lock"), Path::new("/etc/bot/odd.lock.lock"));
        assert_eq!(of("bare"), Path::new("/etc/bot/bare.lock"));
    }

    #[tokio::test]
    async fn what_cannot_be_understood_is_refused_with_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lastword.lock");
        assert!(Book::open(&Env::system(), path.clone()).is_ok(), "there is none before");
        for text in ["", "{", "[]", r#"{"layout": 2, "channels": {}}"#, r#"{"layout": 1}"#] {
            fs::write(&path, text).unwrap();
            let why = Book::open(&Env::system(), path.clone()).err().unwrap();
            assert!(why.contains("remove it"), "{text}: {why}");
        }
        fs::write(&path, r#"{"layout": 1, "channels": {}}"#).unwrap();
        assert!(Book::open(&Env::system(), path).is_ok());
    }

    #[tokio::test]
    async fn a_folder_that_cannot_be_written_is_said_and_stops_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let book = Book::open(&Env::system(), folder.path().join("none/lastword.lock")).unwrap();
        assert_eq!(book.trouble(), None);
        book.write().await;
        assert!(book.trouble().is_some());
    }
}
