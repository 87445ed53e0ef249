//! The writer thread: takes all that wait into one batch, commits once, answers them all. And the
//! checkpointer beside it, which keeps the WAL bounded off the writer's path.

use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use super::core::Core;
use super::face::{Answer, Command, StoreError};
use super::handle::{QUEUE_COMMANDS_MAX, WriterState, lock};
use super::notes::{Commit, Note, Watch};
use super::schema;
use super::step::Result;
use crate::env::Env;
use handoff::{Asking, Scribe};

pub(super) mod handoff;

mod sync {
    pub(super) use tokio::sync::{mpsc, oneshot};
}

/// Commands in one transaction: what is behind them waits for the next.
const BATCH_COMMANDS_MAX: usize = 512;
/// WAL bytes after which the checkpointer is called.
const CHECKPOINT_EVERY_BYTES: u64 = 16 * 1024 * 1024;
/// WAL bytes from which a checkpoint that a reader held up is reported: any short read that is just
/// under way holds one up, and the next one moves the rest.
const STUCK_FROM_BYTES: u64 = 2 * CHECKPOINT_EVERY_BYTES;

/// Who asks the writer.
pub(super) type Writing = Asking<Command, Result<Answer>>;

/// Starts the writer and its checkpointer; they end when nobody is left who asks.
pub(super) fn start(
    core: Core,
    path: &Path,
    env: &Env,
    state: Arc<WriterState>,
    watch: Option<Arc<dyn Watch>>,
) -> Result<Writing> {
    let (asking, desk) = handoff::open(QUEUE_COMMANDS_MAX);
    let (wake, calls) = sync_channel(1);
    let no_thread = |e: std::io::Error| StoreError::NotWritable(format!("no thread for it: {e}"));
    let checkpoint_path = path.to_owned();
    let checkpoint_state = Arc::clone(&state);
    env.thread("store-checkpoint", move || {
        checkpoint_loop(&checkpoint_path, &calls, &checkpoint_state);
    })
    .map_err(no_thread)?;
    let mut core = core;
    core.own_checkpoints()?;
    lock(&state.depth).begin(core.batch());
    // Dropped with the closure where the thread does not start, and where it falls.
    let ends = Ends(Arc::clone(&state));
    let mut writer = Writer { core, env: env.clone(), state, watch, wake };
    env.thread("store-writer", move || {
        let _ends = ends;
        desk.serve(BATCH_COMMANDS_MAX, &mut writer);
        writer.core.end();
    })
    .map_err(no_thread)?;
    Ok(asking)
}

/// Whether the writer has ended, for those who wait for it.
#[derive(Debug, Default)]
pub(super) struct Ended(Mutex<bool>, Condvar);

impl Ended {
    /// Waits for at most so long; says whether it has ended.
    pub(super) fn wait(&self, within: Duration) -> bool {
        let waits = self.1.wait_timeout_while(lock(&self.0), within, |ended| !*ended);
        *waits.unwrap_or_else(PoisonError::into_inner).0
    }
}

struct Ends(Arc<WriterState>);

impl Drop for Ends {
    fn drop(&mut self) {
        *lock(&self.0.ended.0) = true;
        self.0.ended.1.notify_all();
    }
}

struct Writer {
    core: Core,
    env: Env,
    state: Arc<WriterState>,
    watch: Option<Arc<dyn Watch>>,
    wake: SyncSender<()>,
}

impl Scribe<Command, Result<Answer>> for Writer {
    fn carry_out(&mut self, commands: Vec<Command>) -> Vec<Result<Answer>> {
        let (count, began) = (commands.len(), self.env.elapsed());
        let results = self.core.apply(self.env.now(), commands);
        self.publish(&results);
        self.tell(count, began);
        results
    }

    fn tidy(&mut self) {
        // Whoever reads the log waits for nobody, and nobody for the log.
        self.core.notes().iter().for_each(Note::log);
        self.bound_wal();
    }
}

impl Writer {
    /// Tells who counts, before the answers: whoever was answered finds itself counted.
    fn tell(&mut self, commands: usize, began: Duration) {
        let unseen = self.core.take_unseen();
        let notes = self.core.notes();
        let mut depth = lock(&self.state.depth);
        if unseen {
            depth.forget(self.core.batch());
        } else {
            depth.take(self.core.batch(), notes);
        }
        drop(depth);
        if let Some(watch) = self.watch.as_ref().filter(|_| self.core.wrote()) {
            let took = self.env.elapsed().saturating_sub(began);
            watch.committed(&Commit { commands, took, notes });
        }
    }

    fn publish(&self, results: &[Result<Answer>]) {
        let stats = self.core.stats();
        let wrote = self.state.commits.load(Ordering::Relaxed) != stats.commits;
        self.state.commits.store(stats.commits, Ordering::Relaxed);
        self.state.commands.store(stats.commands, Ordering::Relaxed);
        self.state.reopened.store(stats.reopened, Ordering::Relaxed);
        self.state.note(self.env.now().mono_ms, wrote, results);
    }

    /// Calls the checkpointer when the WAL has grown. What it moved while commits went on is not
    /// all: the few frames since then are moved here, so that the next commit begins the WAL anew.
    fn bound_wal(&mut self) {
        let bytes = self.core.wal_bytes();
        self.state.wal_bytes.store(bytes, Ordering::Relaxed);
        if self.state.checkpoint_moved.swap(false, Ordering::AcqRel) {
            match self.core.checkpoint() {
                Ok((frames, moved)) if moved < frames && bytes < STUCK_FROM_BYTES => {}
                Ok((frames, moved)) if moved < frames => {
                    self.state.checkpoints_stuck.fetch_add(1, Ordering::Relaxed);
                    tracing::warn!(frames, moved, "a long read keeps the WAL from being emptied");
                }
                Ok(_) => self.core.wal_emptied(),
                Err(error) => tracing::error!(%error, "a checkpoint of the store failed"),
            }
        } else if bytes >= CHECKPOINT_EVERY_BYTES {
            match self.wake.try_send(()) {
                Ok(()) | Err(TrySendError::Full(())) => {}
                Err(TrySendError::Disconnected(())) => {
                    tracing::error!("the store's checkpointer has ended; the WAL will grow");
                }
            }
        }
    }
}

fn checkpoint_loop(path: &Path, calls: &Receiver<()>, state: &WriterState) {
    while calls.recv().is_ok() {
        match schema::open_checkpointer(path).and_then(|db| schema::checkpoint(&db)) {
            Ok(_) => {
                state.checkpoints.fetch_add(1, Ordering::Relaxed);
                state.checkpoint_moved.store(true, Ordering::Release);
            }
            Err(error) => tracing::error!(%error, "a checkpoint of the store failed"),
        }
    }
}
