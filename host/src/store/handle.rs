//! How the rest of the host speaks to the store: a handle to the writer thread and to the readers.
//!
//! The writer takes all commands that wait into one batch: no timer, a lone caller never waits. Its
//! queue is bounded: workers wait for a place, intake is refused. A store can also be opened
//! without threads, for a simulation that owns the order of everything.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rusqlite::Connection;

use super::core::{Core, CoreStats};
use super::depth::{self, Depth, Depths};
use super::face::{Answer, ChannelRules, Command, StoreError};
use super::notes::{Commit, Note, Watch};
use super::query::{Query, Rows};
use super::read::{AgeRules, Reader};
use super::step::Result;
use super::stepped::Stepped;
use super::writer::handoff::Unanswered;
use super::writer::{self, Ended, Writing};
use super::{files, read, schema};
use crate::env::Env;
use crate::lifecycle::delivery::ExpireAction;

/// Commands that may wait for the writer.
pub const QUEUE_COMMANDS_MAX: usize = 4_096;
/// Connections that read at the same time; more reads wait for one.
const READERS_MAX: usize = 4;

/// A store that is open: commands go to its one writer, queries to readers of their own.
/// Cheap to clone. Dropping the last handle ends the writer once its queue is empty.
#[derive(Clone, Debug)]
pub struct Store(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    env: Env,
    engine: Engine,
    ages: Mutex<AgeRules>,
    readers: Mutex<Vec<Connection>>,
    reading: tokio::sync::Semaphore,
    writer: Arc<WriterState>,
    /// Told of each commit where there is no writer thread that tells.
    watch: Option<Arc<dyn Watch>>,
    /// Commands that a simulation has refused.
    refusals: AtomicU64,
}

#[derive(Debug)]
enum Engine {
    /// None once it was closed. Whoever asks holds on to it until it is answered.
    Threaded(Mutex<Option<Arc<Writing>>>),
    Inline(Box<Mutex<Core>>),
    Stepped(Arc<Stepped>),
}

impl Engine {
    /// The core, where no thread has it.
    fn core(&self) -> Option<&Mutex<Core>> {
        match self {
            Self::Threaded(_) => None,
            Self::Inline(core) => Some(core),
            Self::Stepped(stepped) => Some(&stepped.core),
        }
    }
}

/// What the writer tells about itself.
#[derive(Debug, Default)]
pub(super) struct WriterState {
    pub(super) commits: AtomicU64,
    pub(super) commands: AtomicU64,
    pub(super) reopened: AtomicU64,
    pub(super) wal_bytes: AtomicU64,
    pub(super) checkpoints: AtomicU64,
    pub(super) checkpoints_stuck: AtomicU64,
    /// Set by the checkpointer for the writer: a round is moved.
    pub(super) checkpoint_moved: AtomicBool,
    /// 1 while the last batch could not be committed.
    pub(super) broken: AtomicU64,
    /// When a batch was last refused, on the monotonic clock; 0 where none ever was.
    pub(super) broken_at_ms: AtomicI64,
    /// Why it was.
    pub(super) trouble: Mutex<Option<String>>,
    /// Live rows by channel and state.
    pub(super) depth: Mutex<Depth>,
    /// Whether the writer has given its files back.
    pub(super) ended: Ended,
}

impl WriterState {
    /// Keeps what became of a batch. One that found nothing to write proves nothing: on a full disk
    /// it succeeds.
    pub(super) fn note(&self, now_ms: i64, wrote: bool, results: &[Result<Answer>]) {
        let trouble = results.iter().find_map(|result| match result {
            Err(StoreError::NotWritable(why)) => Some(why.clone()),
            Ok(_) | Err(_) => None,
        });
        if trouble.is_some() {
            self.broken.store(1, Ordering::Relaxed);
            self.broken_at_ms.store(now_ms.max(1), Ordering::Relaxed);
            *lock(&self.trouble) = trouble;
        } else if wrote && self.broken.swap(0, Ordering::Relaxed) == 1 {
            *lock(&self.trouble) = None;
        }
    }
}

/// Counters of the store, for metrics, status and tests.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StoreStats {
    pub core: CoreStats,
    pub wal_bytes: u64,
    pub checkpoints: u64,
    /// Checkpoints that a reader kept from finishing.
    pub checkpoints_stuck: u64,
    /// Whether the last commit succeeded.
    pub writable: bool,
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Store {
    /// Opens or makes the store at `path` and starts its writer.
    ///
    /// # Errors
    /// Where the file is no store, of a newer schema, or cannot be written.
    pub fn open(path: &Path, env: &Env) -> Result<Self> {
        Self::open_watched(path, env, None)
    }

    /// As [`Store::open`], with somebody who is told of each commit.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn open_watched(path: &Path, env: &Env, watch: Option<Arc<dyn Watch>>) -> Result<Self> {
        let core = Core::open(path, env)?;
        let state = Arc::new(WriterState::default());
        let sender = writer::start(core, path, env, Arc::clone(&state), watch)?;
        let engine = Engine::Threaded(Mutex::new(Some(Arc::new(sender))));
        Ok(Self::with(path, env, engine, state, None))
    }

    /// The ordered end: what was asked is answered, the log is moved into the file, and the files are
    /// given back. Later commands are refused; reads still open the file. Says whether it was done
    /// within that time; where it was not, what is left stands in the log, for the next start.
    #[must_use]
    pub fn close(&self, within: Duration) -> bool {
        let Engine::Threaded(writing) = &self.0.engine else { return true };
        drop(lock(writing).take());
        // A connection that is open keeps the engine from taking the log away.
        lock(&self.0.readers).clear();
        self.0.writer.ended.wait(within)
    }

    /// Opens the store without a thread: each command is applied where it is called.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn inline(path: &Path, env: &Env) -> Result<Self> {
        Self::inline_watched(path, env, None)
    }

    /// As [`Store::inline`], with somebody who is told of each commit.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn inline_watched(path: &Path, env: &Env, watch: Option<Arc<dyn Watch>>) -> Result<Self> {
        let core = Core::open(path, env)?;
        let engine = Engine::Inline(Box::new(Mutex::new(core)));
        Ok(Self::with(path, env, engine, Arc::default(), watch))
    }

    /// Opens the store for a simulation: its writer is a task of the runtime, which takes several
    /// commands into one commit as chance will have it, and answers later than it commits.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn stepped(path: &Path, env: &Env, watch: Option<Arc<dyn Watch>>) -> Result<Self> {
        let core = Core::open(path, env)?;
        let state = Arc::<WriterState>::default();
        let stepped = Stepped::start(core, env, Arc::clone(&state), watch);
        Ok(Self::with(path, env, Engine::Stepped(stepped), state, None))
    }

    fn with(
        path: &Path,
        env: &Env,
        engine: Engine,
        writer: Arc<WriterState>,
        watch: Option<Arc<dyn Watch>>,
    ) -> Self {
        Self(Arc::new(Inner {
            path: path.to_owned(),
            env: env.clone(),
            engine,
            ages: Mutex::default(),
            readers: Mutex::default(),
            reading: tokio::sync::Semaphore::new(READERS_MAX),
            writer,
            watch,
            refusals: AtomicU64::new(0),
        }))
    }

    /// Carries out one command durably; answered after the commit. Waits for a place in the queue.
    ///
    /// # Errors
    /// See [`StoreError`]; nothing of the command was written.
    pub async fn run(&self, command: Command) -> Result<Answer> {
        self.learn(&command);
        match &self.0.engine {
            Engine::Threaded(writing) => {
                let writing = lock(writing).clone().ok_or_else(gone)?;
                writing.ask(command).await.map_err(unanswered)?
            }
            Engine::Inline(core) => self.apply_inline(core, command),
            Engine::Stepped(stepped) => stepped.submit(command).await.map_err(|_| gone())?,
        }
    }

    /// As [`Store::run`], but refuses at once where the queue is full: for intake.
    ///
    /// # Errors
    /// [`StoreError::Busy`] where too many commands wait.
    pub async fn offer(&self, command: Command) -> Result<Answer> {
        match &self.0.engine {
            Engine::Threaded(writing) => {
                let writing = lock(writing).clone().ok_or_else(gone)?;
                writing.offer(command).await.map_err(unanswered)?
            }
            Engine::Inline(core) => self.apply_inline(core, command),
            Engine::Stepped(stepped) => stepped.submit(command).await.map_err(|_| gone())?,
        }
    }

    /// Makes a store without threads refuse the next commands, as on a full disk: for simulations.
    /// Where a task writes, commits are counted instead.
    pub fn refuse_next(&self, commands: u64) {
        match &self.0.engine {
            Engine::Threaded(_) | Engine::Inline(_) => {
                self.0.refusals.store(commands, Ordering::Relaxed);
            }
            Engine::Stepped(stepped) => stepped.refuse_next(commands),
        }
    }

    /// Makes a store whose writer is a task answer the next commits with an error though they are on
    /// disk, as where the disk failed under them and could not be read again at once.
    pub fn doubt_next(&self, commits: u64) {
        if let Engine::Stepped(stepped) = &self.0.engine {
            stepped.doubt_next(commits);
        }
    }

    fn apply_inline(&self, core: &Mutex<Core>, command: Command) -> Result<Answer> {
        let left = &self.0.refusals;
        let refuse = |left: u64| left.checked_sub(1);
        let (now, began) = (self.0.env.now(), self.0.env.elapsed());
        if left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, refuse).is_ok() {
            let full = Err(StoreError::NotWritable("the simulated disk is full".to_owned()));
            self.0.writer.note(now.mono_ms, false, std::slice::from_ref(&full));
            return full;
        }
        let mut core = lock(core);
        let before = core.stats().commits;
        let mut answers = core.apply(now, vec![command]);
        self.0.writer.note(now.mono_ms, core.stats().commits != before, &answers);
        if let Some(watch) = self.0.watch.as_ref().filter(|_| core.wrote()) {
            let took = self.0.env.elapsed().saturating_sub(began);
            watch.committed(&Commit { commands: 1, took, notes: core.notes() });
        }
        core.notes().iter().for_each(Note::log);
        answers.pop().unwrap_or_else(|| Err(gone()))
    }

    /// Keeps what ages are judged by where the readers find it.
    fn learn(&self, command: &Command) {
        let mut ages = lock(&self.0.ages);
        match command {
            Command::Rules(rules) => {
                ages.boot = Some(rules.boot);
                ages.turn_age_max_ms = rules.turn.age_max_ms;
            }
            Command::Channel(rules) => ages.pending.push(rules.clone()),
            Command::ChannelsPresent(names) => ages.present = Some(names.clone()),
            _ => {}
        }
    }

    /// Reads; sees everything that was answered before.
    ///
    /// # Errors
    /// Where the store cannot be read; never an empty result instead.
    pub async fn read(&self, query: Query) -> Result<Rows> {
        if let Engine::Stepped(stepped) = &self.0.engine {
            stepped.dawdle().await;
        }
        if let Some(core) = self.0.engine.core() {
            let core = lock(core);
            let mut ages = lock(&self.0.ages);
            ages.refresh(core.connection()?)?;
            return Reader { db: core.connection()?, ages: &ages }.run(&query);
        }
        let permit = self.0.reading.acquire().await.map_err(|_| gone())?;
        let this = self.clone();
        let task = self.0.env.spawn_blocking(move || this.read_blocking(&query));
        let rows = task.await.map_err(|_| gone())?;
        drop(permit);
        rows
    }

    /// Reads on this thread: for the command line.
    ///
    /// # Errors
    /// As [`Store::read`].
    pub fn read_blocking(&self, query: &Query) -> Result<Rows> {
        let pooled = lock(&self.0.readers).pop();
        let db = match pooled {
            Some(db) => db,
            None => schema::open_reader(&self.0.path)?,
        };
        let ages = {
            let mut ages = lock(&self.0.ages);
            ages.refresh(&db)?;
            ages.clone()
        };
        let rows = Reader { db: &db, ages: &ages }.run(query);
        // A connection that failed is not used again.
        if rows.is_ok() {
            lock(&self.0.readers).push(db);
        }
        rows
    }

    /// Why the last batch could not be committed; none where it was.
    #[must_use]
    pub fn trouble(&self) -> Option<String> {
        lock(&self.0.writer.trouble).clone()
    }

    /// Milliseconds since a batch was last refused, by the monotonic clock; none where none was.
    #[must_use]
    pub fn since_trouble_ms(&self) -> Option<u64> {
        match self.0.writer.broken_at_ms.load(Ordering::Relaxed) {
            0 => None,
            at_ms => Some(self.0.env.now().mono_ms.saturating_sub(at_ms).max(0).unsigned_abs()),
        }
    }

    /// Live rows by channel and state. The first call counts them, in one read; after that it costs
    /// the same however many there are.
    ///
    /// # Errors
    /// Where the store cannot be read.
    pub async fn depths(&self) -> Result<Depths> {
        if let Some(core) = self.0.engine.core() {
            return depth::table_now(lock(core).connection()?);
        }
        if let Some(depths) = lock(&self.0.writer.depth).now() {
            return Ok(depths);
        }
        let permit = self.0.reading.acquire().await.map_err(|_| gone())?;
        let this = self.clone();
        let task = self.0.env.spawn_blocking(move || {
            depth::count(&schema::open_reader(&this.0.path)?, &this.0.writer.depth)
        });
        let counted = task.await.map_err(|_| gone())??;
        drop(permit);
        counted.ok_or(StoreError::Busy)
    }

    /// Counters so far.
    #[must_use]
    pub fn stats(&self) -> StoreStats {
        match self.0.engine.core() {
            Some(core) => {
                let writable = self.0.writer.broken.load(Ordering::Relaxed) == 0;
                StoreStats { core: lock(core).stats(), writable, ..StoreStats::default() }
            }
            None => {
                let state = &self.0.writer;
                let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
                StoreStats {
                    core: CoreStats {
                        commits: load(&state.commits),
                        commands: load(&state.commands),
                        reopened: load(&state.reopened),
                    },
                    wal_bytes: load(&state.wal_bytes),
                    checkpoints: load(&state.checkpoints),
                    checkpoints_stuck: load(&state.checkpoints_stuck),
                    writable: load(&state.broken) == 0,
                }
            }
        }
    }
}

/// Reads a store that nobody needs to own: what the command line shows beside a running host.
#[derive(Debug)]
pub struct ReadOnly {
    db: Connection,
}

impl ReadOnly {
    /// Opens the store at `path` for reading.
    ///
    /// # Errors
    /// Where there is none, or it is of a newer schema.
    pub fn open(path: &Path) -> Result<Self> {
        if !files::is_there(path)? {
            let sentence =
                format!("there is no store at {}; `lastword run` makes it", path.display());
            return Err(StoreError::Invalid(sentence));
        }
        Ok(Self { db: schema::open_reader(path)? })
    }

    /// Reads.
    ///
    /// # Errors
    /// Where the store cannot be read; never an empty result instead.
    pub fn read(&self, query: &Query) -> Result<Rows> {
        Reader { db: &self.db, ages: &AgeRules::default() }.run(query)
    }
}

impl AgeRules {
    /// Finds the numbers of channels whose rules came in since the last read.
    fn refresh(&mut self, db: &Connection) -> Result<()> {
        if self.pending.is_empty() && self.present.is_none() {
            return Ok(());
        }
        for rules in std::mem::take(&mut self.pending) {
            let ChannelRules { channel, delivery, .. } = rules;
            let found = db
                .query_row("SELECT id FROM channel WHERE name = ?1", [&channel.0], |r| r.get(0))
                .map_err(super::step::failed)?;
            let action: ExpireAction = delivery.expire_action;
            self.channels.retain(|(id, _, _)| *id != found);
            self.channels.push((found, delivery.age_max_ms, action));
        }
        if let Some(names) = self.present.take() {
            let mut kept = Vec::new();
            for name in &names {
                let sql = "SELECT coalesce((SELECT id FROM channel WHERE name = ?1), 0)";
                let id: i64 =
                    db.query_row(sql, [&name.0], |r| r.get(0)).map_err(super::step::failed)?;
                kept.push(id);
            }
            self.channels.retain(|(id, _, _)| kept.contains(id));
        }
        self.channels.sort_by_key(|(id, _, _)| *id);
        Ok(())
    }
}

fn unanswered(why: Unanswered) -> StoreError {
    match why {
        Unanswered::Full => StoreError::Busy,
        Unanswered::Gone => gone(),
    }
}

fn gone() -> StoreError {
    StoreError::NotWritable("its writer has ended".to_owned())
}

/// Rows of a table, for tests that count.
///
/// # Errors
/// Where the store cannot be read.
pub fn count(path: &Path, sql: &str) -> Result<i64> {
    read::number(&schema::open_reader(path)?, sql)
}
