//! Looks at the adapters' files from time to time, and has a changed one serve. By looking, not by
//! the system's notices: it works on every file system, also where the file is changed elsewhere, and
//! costs one `lstat` a file.
//!
//! A change is taken at the second look in a row that finds the same file with the same bytes. So a
//! file that is being written is left alone, and a storm of changes is one reload, of the last one.
//! What cannot be read at two looks in a row is told once.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use tokio::sync::Semaphore;

use super::served::Served;
use super::{Ask, Generations, NotSwapped};
use crate::workers::shutdown::{Phase, Shutdown};

/// Changed files that are read and checked at once; one that takes long holds up no other.
const CHANGES_AT_ONCE: usize = 4;

/// What tells a file that was changed or replaced, as the system has it. None where nothing is there.
type Print = Option<(u64, u64, u64, (i64, i64), (i64, i64))>;

/// What is known of one file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Look {
    /// Looked at, and done with.
    Settled(Print),
    /// It is another one since the last look. No digest where there is none: it is a link or a
    /// folder, too long, not to be read, or not there.
    Changing { print: Print, sha: Option<[u8; 32]> },
}

/// Runs until the host stops.
pub(super) async fn run(generations: Generations, shutdown: Shutdown, every: Duration) {
    let env = &generations.0.env;
    let turns = Semaphore::new(CHANGES_AT_ONCE);
    let mut looks = BTreeMap::new();
    let mut under_way = FuturesUnordered::new();
    let mut busy = BTreeSet::new();
    let mut tick = Box::pin(env.sleep(every));
    loop {
        tokio::select! { biased;
            () = shutdown.reached(Phase::Draining) => return,
            Some((file, look)) = under_way.next() => {
                busy.remove(&file);
                looks.insert(file, look);
            }
            () = &mut tick => {
                tick = Box::pin(env.sleep(every));
                for (file, served) in generations.files() {
                    if busy.insert(file.clone()) {
                        let before = looks.get(&file).copied();
                        let (generations, turns) = (&generations, &turns);
                        under_way.push(async move {
                            let look = look_at(generations, turns, &file, &served, before).await;
                            (file, look)
                        });
                    }
                }
            }
        }
    }
}

/// One look at one file.
async fn look_at(
    generations: &Generations,
    turns: &Semaphore,
    file: &Path,
    served: &[Arc<Served>],
    before: Option<Look>,
) -> Look {
    let print = print(generations, file).await;
    if before == Some(Look::Settled(print)) {
        return Look::Settled(print);
    }
    let _turn = turns.acquire().await;
    let digest = generations.0.stage.read(file).await.ok().map(|it| it.digest);
    let sha = digest.as_ref().and_then(|digest| {
        let mut sha = [0; 32];
        hex::decode_to_slice(digest, &mut sha).ok().map(|()| sha)
    });
    let seen = Look::Changing { print, sha };
    match before {
        // The first look of this start. What a start refused is not tried again by itself.
        None if digest.is_some_and(|digest| served.iter().all(|it| it.knows(&digest))) => {
            return Look::Settled(print);
        }
        Some(before) if before == seen => {}
        None | Some(_) => return seen,
    }
    let reloads = served.iter().map(|it| generations.reload(&it.name, Ask::File { sha }));
    let again = join_all(reloads).await.iter().any(passes);
    if again { seen } else { Look::Settled(print) }
}

/// Whether what stood in the way passes by itself: the next look tries again.
fn passes(reloaded: &Result<serde_json::Value, NotSwapped>) -> bool {
    match reloaded {
        Err(NotSwapped::Moved) => true,
        Err(NotSwapped::Refused(why)) => matches!(why.code.as_str(), "store" | "adapter_draining"),
        Ok(_) | Err(NotSwapped::Same) => false,
    }
}

/// Of the file itself, not of what a link names.
async fn print(generations: &Generations, file: &Path) -> Print {
    let path = file.to_owned();
    let found = generations.0.env.spawn_blocking(move || std::fs::symlink_metadata(path)).await;
    let found = found.ok()?.ok()?;
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
