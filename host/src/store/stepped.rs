//! The writer of a simulation: one task where the host has a thread. Under the simulation's chance
//! it takes some of what waits into one batch, is late, and answers later than it commits, so that
//! a crash may fall between any two of these. What it cannot show is the disk's own part.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use tokio::sync::{Notify, oneshot};

use super::core::Core;
use super::face::{Answer, Command, StoreError};
use super::handle::{WriterState, lock};
use super::notes::{Commit, Note, Watch};
use super::step::Result;
use crate::env::Env;

/// Turns of other tasks that may come between two moves of the writer.
const YIELDS_MAX: u64 = 4;

/// A command and whom to answer.
#[derive(Debug)]
struct Job {
    command: Command,
    answer: oneshot::Sender<Result<Answer>>,
}

/// The queue and the core, shared between the handles and the writer's task.
#[derive(Debug)]
pub(super) struct Stepped {
    pub(super) core: Mutex<Core>,
    env: Env,
    queue: Mutex<VecDeque<Job>>,
    hint: Notify,
    writer: Arc<WriterState>,
    watch: Option<Arc<dyn Watch>>,
    /// Batches that are refused before anything is written: the disk is full.
    refused: AtomicU64,
    /// Batches that are committed and answered with an error all the same: the disk failed under
    /// the commit, and could not be read again before the answer.
    doubted: AtomicU64,
}

impl Stepped {
    /// Starts the writer on the runtime; it ends with it.
    pub(super) fn start(
        core: Core,
        env: &Env,
        writer: Arc<WriterState>,
        watch: Option<Arc<dyn Watch>>,
    ) -> Arc<Self> {
        let this = Arc::new(Self {
            core: Mutex::new(core),
            env: env.clone(),
            queue: Mutex::default(),
            hint: Notify::new(),
            writer,
            watch,
            refused: AtomicU64::new(0),
            doubted: AtomicU64::new(0),
        });
        let writing = Arc::clone(&this);
        env.spawn(async move { writing.run().await });
        this
    }

    /// Queues a command; the answer comes after its commit.
    pub(super) fn submit(&self, command: Command) -> oneshot::Receiver<Result<Answer>> {
        let (answer, wait) = oneshot::channel();
        lock(&self.queue).push_back(Job { command, answer });
        self.hint.notify_one();
        wait
    }

    pub(super) fn refuse_next(&self, batches: u64) {
        self.refused.store(batches, Ordering::Relaxed);
    }

    pub(super) fn doubt_next(&self, batches: u64) {
        self.doubted.store(batches, Ordering::Relaxed);
    }

    /// Lets others go first, for a while that chance decides.
    pub(super) async fn dawdle(&self) {
        for _ in 0..self.env.random_u64() % YIELDS_MAX {
            self.env.yield_now().await;
        }
    }

    async fn run(&self) {
        loop {
            self.hint.notified().await;
            loop {
                self.dawdle().await;
                let batch = self.take();
                if batch.is_empty() {
                    break;
                }
                let (commands, answers) =
                    batch.into_iter().map(|job| (job.command, job.answer)).unzip();
                let results = self.apply(commands);
                // Committed, and nobody knows it yet.
                self.dawdle().await;
                let answers: Vec<oneshot::Sender<Result<Answer>>> = answers;
                for (answer, result) in answers.into_iter().zip(results) {
                    let _ = answer.send(result);
                }
            }
        }
    }

    fn take(&self) -> Vec<Job> {
        let mut queue = lock(&self.queue);
        let waiting = queue.len() as u64;
        if waiting == 0 {
            return Vec::new();
        }
        let count = 1 + self.env.random_u64() % waiting;
        queue.drain(..usize::try_from(count).unwrap_or(1)).collect()
    }

    fn apply(&self, commands: Vec<Command>) -> Vec<Result<Answer>> {
        let (count, now, began) = (commands.len(), self.env.now(), self.env.elapsed());
        if spend(&self.refused) {
            return self.full("the simulated disk is full", now.mono_ms, count);
        }
        let mut core = lock(&self.core);
        let before = core.stats().commits;
        let results = core.apply(now, commands);
        self.writer.note(now.mono_ms, core.stats().commits != before, &results);
        if let Some(watch) = self.watch.as_ref().filter(|_| core.wrote()) {
            let took = self.env.elapsed().saturating_sub(began);
            watch.committed(&Commit { commands: count, took, notes: core.notes() });
        }
        core.notes().iter().for_each(Note::log);
        if core.wrote() && spend(&self.doubted) {
            let words = "the simulated disk failed under a commit";
            return self.full(words, now.mono_ms, count);
        }
        results
    }

    fn full(&self, words: &str, now_ms: i64, count: usize) -> Vec<Result<Answer>> {
        let results = vec![Err(StoreError::NotWritable(words.to_owned())); count];
        self.writer.note(now_ms, false, &results);
        results
    }
}

/// One less, where there is one.
fn spend(left: &AtomicU64) -> bool {
    let less = |left: u64| left.checked_sub(1);
    left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).is_ok()
}
