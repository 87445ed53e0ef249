//! The store's core: a synchronous value that applies batches of commands. The writer thread is a
//! small shell around it; a simulation calls it inline.
//!
//! A batch is one transaction and one sync. Each command of it runs under a savepoint of its own,
//! so that one failure harms no other, and all are answered only after the commit. What follows a
//! commit that failed is in [`reopen`].

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use rusqlite::Connection;

use super::bulk::Trial;
use super::face::{Answer, Command, HostRules, Operated, Probe, StoreError};
use super::files::Files;
use super::notes::Note;
use super::schema;
use super::step::{Channels, Result, Step, Tally, failed};
use crate::env::{Env, Now};
use crate::lifecycle::id::BootId;
use crate::lifecycle::turn::TurnLimits;

mod reopen;

/// Counters of the core, for metrics and for tests that count syncs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CoreStats {
    /// Batches that changed something: one sync each.
    pub commits: u64,
    pub commands: u64,
    /// How often the file was closed and opened again after a failed commit.
    pub reopened: u64,
}

/// An open store, without a thread.
#[derive(Debug)]
pub struct Core {
    path: PathBuf,
    env: Env,
    /// None between a failed commit and a successful reopening.
    db: Option<Connection>,
    rules: HostRules,
    channels: Channels,
    tally: Tally,
    batch: i64,
    /// Changes of this batch that a dry run took back.
    undone: u64,
    stats: CoreStats,
    /// Which files were opened; none before the first opening.
    files: Option<Files>,
    /// What the last batch did; empty where it was not committed.
    notes: Vec<Note>,
    /// Whether the last batch changed something and is on disk.
    wrote: bool,
    /// Pages in the WAL after the last commit; told by the engine, where checkpoints are ours.
    wal_pages: Option<Arc<AtomicI64>>,
    /// A batch that was refused in doubt was found on the disk: its notes are lost.
    unseen: bool,
}

/// SQLite's default, which the migrations leave as it is.
const PAGE_BYTES: i64 = 4096;

impl Core {
    /// Opens or makes the store at `path`.
    ///
    /// # Errors
    /// Where the file is no store, of a newer schema, or cannot be written.
    pub fn open(path: &Path, env: &Env) -> Result<Self> {
        let mut core = Self {
            path: path.to_owned(),
            env: env.clone(),
            db: None,
            rules: HostRules {
                boot: BootId(0),
                turn: TurnLimits::default(),
                dedup_window_ms: 7 * 86_400_000,
                retention_ms: 7 * 86_400_000,
                pending_turns_max: 1_000_000,
                context_messages_max: 100,
                state_keys_max: 1_000,
                state_bytes_max: 1024 * 1024,
            },
            channels: Channels::default(),
            tally: Tally::default(),
            batch: 0,
            undone: 0,
            stats: CoreStats::default(),
            files: None,
            notes: Vec::new(),
            wrote: false,
            wal_pages: None,
            unseen: false,
        };
        core.reopen()?;
        Ok(core)
    }

    /// What the core has done since it was opened.
    #[must_use]
    pub fn stats(&self) -> CoreStats {
        self.stats
    }

    /// What the last batch did, in order; nothing of what was rolled back.
    #[must_use]
    pub fn notes(&self) -> &[Note] {
        &self.notes
    }

    /// Whether the last batch changed something, and it is on disk.
    #[must_use]
    pub fn wrote(&self) -> bool {
        self.wrote
    }

    /// The number of the last batch that changed something.
    #[must_use]
    pub fn batch(&self) -> i64 {
        self.batch
    }

    /// Whether since the last question a batch came to the disk that nobody was told of: whoever
    /// counts along counts anew.
    pub(super) fn take_unseen(&mut self) -> bool {
        std::mem::take(&mut self.unseen)
    }

    /// The connection, for reads in a simulation.
    pub(super) fn connection(&self) -> Result<&Connection> {
        self.db.as_ref().ok_or_else(|| StoreError::NotWritable("it is being reopened".to_owned()))
    }

    /// The writer's connection, for tests that break it.
    #[cfg(test)]
    pub(super) fn connection_to_break(&mut self) -> &mut Connection {
        self.db.as_mut().unwrap()
    }

    /// One step outside of any command, for tests.
    #[cfg(test)]
    pub(super) fn step<T>(&mut self, now: Now, run: impl FnOnce(&mut Step<'_>) -> Result<T>) -> T {
        let mut step = Step {
            db: self.db.as_ref().unwrap(),
            now,
            env: &self.env,
            rules: &self.rules,
            channels: &mut self.channels,
            tally: &mut self.tally,
            notes: &mut self.notes,
        };
        step.notes.clear();
        let done = run(&mut step).unwrap();
        super::tests::audit::check(step.db, step.notes);
        done
    }

    /// Turns that are not at their end, as the core counts them.
    #[cfg(test)]
    pub(super) fn pending_turns(&self) -> i64 {
        self.tally.pending_turns
    }

    /// Takes the checkpoints from the engine: from now on somebody else calls [`Core::checkpoint`].
    ///
    /// # Errors
    /// The engine's.
    pub fn own_checkpoints(&mut self) -> Result<()> {
        self.wal_pages = Some(Arc::default());
        self.watch_wal()
    }

    fn watch_wal(&mut self) -> Result<()> {
        let (Some(pages), Some(db)) = (&self.wal_pages, &mut self.db) else { return Ok(()) };
        let pages = Arc::clone(pages);
        db.wal_hook(Some(move |_: &mut rusqlite::hooks::Wal, count: std::ffi::c_int| {
            pages.store(i64::from(count), Ordering::Relaxed);
            Ok(())
        }))
        .map_err(failed)
    }

    /// Bytes in the WAL that are not yet overwritten by a new round.
    #[must_use]
    pub fn wal_bytes(&self) -> u64 {
        let pages = self.wal_pages.as_ref().map_or(0, |pages| pages.load(Ordering::Relaxed));
        (pages * PAGE_BYTES).unsigned_abs()
    }

    /// A checkpoint moved everything: the next commit begins the WAL anew.
    pub fn wal_emptied(&self) {
        if let Some(pages) = &self.wal_pages {
            pages.store(0, Ordering::Relaxed);
        }
    }

    /// Moves what it can from the WAL to the file: frames in the WAL, and how many of them are moved.
    ///
    /// # Errors
    /// The engine's.
    pub fn checkpoint(&self) -> Result<(i64, i64)> {
        schema::checkpoint(self.connection()?)
    }

    /// Carries out a batch: one transaction, one sync, one answer per command, in order.
    pub fn apply(&mut self, now: Now, commands: Vec<Command>) -> Vec<Result<Answer>> {
        let count = commands.len();
        self.notes.clear();
        self.wrote = false;
        self.stats.commands += count as u64;
        if self.db.is_none() {
            let known = self.batch;
            if let Err(error) = self.reopen() {
                return vec![Err(error); count];
            }
            self.unseen |= self.batch != known;
        }
        if let Some(Err(error)) = self.files.as_mut().map(Files::check) {
            return vec![Err(error); count];
        }
        let tally = self.tally;
        match self.transact(now, commands) {
            Ok(answers) => answers,
            Err((error, answers)) => {
                self.tally = tally;
                self.after_failed_commit(error, answers, count)
            }
        }
    }

    /// The answers, or what failed with the answers that would have been.
    #[allow(clippy::type_complexity, reason = "one private caller")]
    fn transact(
        &mut self,
        now: Now,
        commands: Vec<Command>,
    ) -> std::result::Result<Vec<Result<Answer>>, (StoreError, Vec<Result<Answer>>)> {
        let Some(db) = self.db.take() else { return Err((reopening(), Vec::new())) };
        let begun = db.prepare_cached("BEGIN IMMEDIATE").and_then(|mut s| s.execute([]));
        let result = match begun {
            Ok(_) => {
                let before = db.total_changes();
                self.undone = 0;
                let mut answers = Vec::with_capacity(commands.len());
                for command in commands {
                    answers.push(self.guarded(&db, now, command));
                    // Some faults of the disk take the whole transaction with them. What came
                    // after would be committed by itself, behind the back of its answer.
                    if db.is_autocommit() {
                        break;
                    }
                }
                if db.is_autocommit() {
                    Err((lost_transaction(&answers), Vec::new()))
                } else {
                    let changed = db.total_changes() - before > self.undone;
                    self.commit(&db, changed, answers)
                }
            }
            Err(error) => Err((failed(error), Vec::new())),
        };
        self.db = Some(db);
        result
    }

    /// One command under its savepoint.
    fn guarded(&mut self, db: &Connection, now: Now, command: Command) -> Result<Answer> {
        let run = |sql: &str| {
            db.prepare_cached(sql).and_then(|mut s| s.execute([])).map(|_| ()).map_err(failed)
        };
        let (tally, notes) = (self.tally, self.notes.len());
        let dry = matches!(&command, Command::Bulk(bulk) if bulk.trial == Trial::DryRun);
        let before = db.total_changes();
        run("SAVEPOINT command")?;
        let answer = self.execute(db, now, command);
        if dry {
            self.undone += db.total_changes() - before;
        }
        #[cfg(test)]
        if answer.is_ok() && !db.is_autocommit() {
            super::tests::audit::check(db, &self.notes[notes..]);
        }
        if answer.is_err() {
            self.tally = tally;
            self.notes.truncate(notes);
            // Where even this fails the transaction is gone, and the commit will say so.
            let _ = run("ROLLBACK TO command");
        }
        let released = run("RELEASE command");
        released.and(answer)
    }

    #[allow(clippy::type_complexity, reason = "one private caller")]
    fn commit(
        &mut self,
        db: &Connection,
        changed: bool,
        answers: Vec<Result<Answer>>,
    ) -> std::result::Result<Vec<Result<Answer>>, (StoreError, Vec<Result<Answer>>)> {
        let finish = || -> rusqlite::Result<bool> {
            // A batch that found nothing to do must cost no sync.
            if !changed {
                db.execute_batch("ROLLBACK")?;
                return Ok(false);
            }
            db.prepare_cached("UPDATE meta SET value = ?1 WHERE name = 'batch'")?
                .execute([self.batch + 1])?;
            db.prepare_cached("COMMIT")?.execute([])?;
            Ok(true)
        };
        match finish() {
            Ok(wrote) => {
                self.batch += i64::from(wrote);
                self.wrote = wrote;
                self.stats.commits += u64::from(wrote);
                Ok(answers)
            }
            Err(error) => Err((failed(error), answers)),
        }
    }

    fn execute(&mut self, db: &Connection, now: Now, command: Command) -> Result<Answer> {
        if let Command::Rules(rules) = command {
            self.rules = rules;
            return Ok(Answer::Done);
        }
        let step = Step {
            db,
            now,
            env: &self.env,
            rules: &self.rules,
            channels: &mut self.channels,
            tally: &mut self.tally,
            notes: &mut self.notes,
        };
        step.carry_out(command)
    }
}

fn operated(operated: Operated) -> Answer {
    Answer::Operated { operated, stopped: Vec::new() }
}

impl Step<'_> {
    /// One command, by the part of the store that knows it.
    fn carry_out(mut self, command: Command) -> Result<Answer> {
        let step = &mut self;
        match command {
            Command::Rules(_) => Ok(Answer::Done),
            Command::Channel(rules) => step.set_channel(rules),
            Command::ChannelsPresent(names) => step.channels_present(&names),
            Command::Accept(accept) => {
                step.accept(accept).map(|done| Answer::Accepted(Box::new(done)))
            }
            Command::Post(post) => step.post(*post).map(|posted| Answer::Posted(Box::new(posted))),
            Command::Schedule(act) => step.schedule(act).map(operated),
            Command::FallDue { rows_max } => step.fall_due(rows_max).map(Answer::Fell),
            Command::ClaimTurn { lease } => {
                step.claim_turn(lease).map(|turn| Answer::ClaimedTurn(turn.map(Box::new)))
            }
            Command::RenewTurn { claim, lease } => {
                step.renew_turn(&claim, lease).map(Answer::Guarded)
            }
            Command::Progress { claim, rows, claim_first } => {
                step.progress(&claim, rows, claim_first)
            }
            Command::Complete { claim, rows, claim_first } => {
                step.complete(&claim, rows, claim_first)
            }
            Command::Silence { claim, claim_next_turn } => step.silence(&claim, claim_next_turn),
            Command::LoseTry { claim, loss } => step.lose_try(&claim, &loss),
            Command::ClaimDelivery { channel, lease } => step
                .claim_delivery(&channel, lease)
                .map(|claimed| Answer::ClaimedDelivery(claimed.map(Box::new))),
            Command::RenewDelivery { claim, lease } => {
                step.renew_delivery(&claim, lease).map(Answer::Guarded)
            }
            Command::Record(record) => {
                step.record(*record).map(|recorded| Answer::Recorded(Box::new(recorded)))
            }
            Command::RecordAsk { claim, answer, state, next } => step
                .record_ask(&claim, &answer, &state, next)
                .map(|recorded| Answer::Recorded(Box::new(recorded))),
            Command::Abort { scope, by } => step
                .abort(&scope, &by)
                .map(|(operated, stopped)| Answer::Operated { operated, stopped }),
            Command::Resolve { delivery, how, by } => {
                step.resolve(delivery, how, &by).map(operated)
            }
            Command::Replay { of, force, by } => step.replay(&of, force, &by).map(operated),
            Command::SwitchChannel { channel, switch } => {
                step.switch_channel(&channel, &switch).map(operated)
            }
            Command::Import(import) => step.import(*import).map(Answer::Imported),
            Command::HoldChannel { channel, by, fault } => {
                step.hold_channel(&channel, by, fault.as_ref())
            }
            Command::ClearHolds => step.clear_holds(),
            Command::Bulk(bulk) => step.bulk(&bulk),
            Command::Sweep(sweep) => step.sweep(sweep),
            Command::Probe(probe) => step.probe(probe),
            Command::HoldUnderWay { rows_max } => {
                step.hold_under_way(rows_max).map(Answer::Changed)
            }
            Command::Pull(command) => step.pull(*command),
            Command::Blob(command) => step.blob(command).map(Answer::Blob),
        }
    }
}

/// The fault that took the transaction away, in its own words where it was told.
fn lost_transaction(answers: &[Result<Answer>]) -> StoreError {
    match answers.last() {
        Some(Err(error)) => error.clone(),
        Some(Ok(_)) | None => StoreError::NotWritable("its transaction was rolled back".to_owned()),
    }
}

fn reopening() -> StoreError {
    StoreError::NotWritable("it is being reopened after a failed commit".to_owned())
}

impl Step<'_> {
    /// Each batch looks at the files; whether they take a write is found out by one.
    fn probe(&mut self, probe: Probe) -> Result<Answer> {
        match probe {
            Probe::Look => {}
            Probe::Write => {
                self.execute("UPDATE meta SET value = value WHERE name = 'batch'", [])?;
            }
        }
        Ok(Answer::Done)
    }
}
