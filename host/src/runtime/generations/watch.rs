//! Looks at the adapters' files from time to time, and has a changed one serve. By looking, not by
//! the system's notices: it works on every file system, also where the file is changed elsewhere, and
//! costs one `lstat` a file.
//!
//! A change is taken at the second look in a row that finds the same file with the same bytes. So a
//! file that is being written is left alone, and a storm of changes is one reload, of the last one.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;

use super::served::Served;
use super::{Ask, Generations, NotSwapped};
use crate::workers::shutdown::{Phase, Shutdown};

/// What tells a file that was changed or replaced, as the system has it.
type Print = (u64, u64, u64, (i64, i64), (i64, i64));

/// What is known of one file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Look {
    /// There was no file at the first look of this start.
    Absent,
    /// Looked at, and done with.
    Settled(Print),
    /// It is another one since the last look.
    Changing { print: Print, sha: [u8; 32] },
}

/// Runs until the host stops.
pub(super) async fn run(generations: Generations, shutdown: Shutdown, every: Duration) {
    let env = generations.0.env.clone();
    let mut looks = BTreeMap::new();
    loop {
        tokio::select! { biased;
            () = shutdown.reached(Phase::Draining) => return,
            () = env.sleep(every) => {}
        }
        for (file, served) in generations.files() {
            let before = looks.get(&file).copied();
            if let Some(look) = look_at(&generations, &file, &served, before).await {
                looks.insert(file, look);
            }
        }
    }
}

/// One look at one file. Nothing where there is no file to be seen: that is no new version.
async fn look_at(
    generations: &Generations,
    file: &Path,
    served: &[Arc<Served>],
    before: Option<Look>,
) -> Option<Look> {
    let Some(print) = print(generations, file).await else {
        return before.or(Some(Look::Absent));
    };
    if before == Some(Look::Settled(print)) {
        return before;
    }
    let component = generations.0.stage.read(file).await.ok()?;
    let mut sha = [0; 32];
    hex::decode_to_slice(&component.digest, &mut sha).ok()?;
    match before {
        // The first look of this start. What a start refused is not tried again by itself.
        None if served.iter().all(|it| it.knows(&component.digest)) => {
            return Some(Look::Settled(print));
        }
        Some(Look::Changing { print: first, sha: same }) if first == print && same == sha => {}
        None | Some(Look::Absent | Look::Changing { .. } | Look::Settled(_)) => {
            return Some(Look::Changing { print, sha });
        }
    }
    drop(component);
    let reloads = served.iter().map(|it| generations.reload(&it.name, Ask::File { sha }));
    let again = join_all(reloads).await.iter().any(passes);
    Some(if again { Look::Changing { print, sha } } else { Look::Settled(print) })
}

/// Whether what stood in the way passes by itself: the next look tries again.
fn passes(reloaded: &Result<serde_json::Value, NotSwapped>) -> bool {
    match reloaded {
        Err(NotSwapped::Moved) => true,
        Err(NotSwapped::Refused(why)) => matches!(why.code.as_str(), "store" | "adapter_draining"),
        Ok(_) | Err(NotSwapped::Same) => false,
    }
}

/// Of the file itself: a link is none.
async fn print(generations: &Generations, file: &Path) -> Option<Print> {
    let path = file.to_owned();
    let found = generations.0.env.spawn_blocking(move || std::fs::symlink_metadata(path)).await;
    let found = found.ok()?.ok().filter(std::fs::Metadata::is_file)?;
    let (changed, moved) =
        ((found.mtime(), found.mtime_nsec()), (found.ctime(), found.ctime_nsec()));
    Some((found.dev(), found.ino(), found.size(), changed, moved))
}

impl Generations {
    /// The files that the channels name, each with its channels.
    fn files(&self) -> BTreeMap<PathBuf, Vec<Arc<Served>>> {
        let mut files: BTreeMap<PathBuf, Vec<Arc<Served>>> = BTreeMap::new();
        for (name, served) in self.all() {
            let file = match served.current() {
                Some(current) => current.serving.config.adapter.clone(),
                None => match self.0.config.channels.get(name) {
                    Some(channel) => channel.adapter.clone(),
                    None => continue,
                },
            };
            files.entry(file).or_default().push(Arc::clone(served));
        }
        files
    }
}
