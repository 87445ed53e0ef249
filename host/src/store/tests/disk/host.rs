//! A host's side of a store on a simulated machine: it starts, asks, is refused, dies and starts
//! again, and holds every answer against the [`Ledger`].

use std::time::Duration;

use super::super::rig::channel_rules;
use super::ledger::{Checked, Ledger, State, Violation, broken};
use super::{Disk, Image};
use crate::env::{Env, Now};
use crate::lifecycle::id::BootId;
use crate::lifecycle::outcome::Fault;
use crate::lifecycle::settle::SettleMeans;
use crate::lifecycle::turn::{Loss as TurnLoss, TurnLimits};
use crate::store::*;

/// When a simulated host begins.
pub(super) const BEGIN_MS: i64 = 1_000_000_000_000;
/// How often something that is refused is asked again before the disk is mended.
const TRIES: u32 = 12;

pub(super) type Answers = Vec<Result<Answer, StoreError>>;

/// A host. Dropping it is a stop without a word.
pub(super) struct Host {
    core: Option<Core>,
    pub(super) disk: Disk,
    env: Env,
    means: SettleMeans,
    pub(super) now: Now,
    boot: i64,
    pub(super) ledger: Ledger,
    pub(super) starts: u32,
    pub(super) refusals: u32,
}

fn unwritable(answer: &Result<Answer, StoreError>) -> bool {
    matches!(answer, Err(StoreError::NotWritable(_)))
}

impl Host {
    pub(super) fn new(image: Image, of_disk: u64, of_host: u64, means: SettleMeans) -> Self {
        Self {
            core: None,
            disk: Disk::with(image, of_disk),
            env: Env::simulated(of_host, BEGIN_MS),
            means,
            now: Now { wall_ms: BEGIN_MS, mono_ms: 0 },
            boot: 0,
            ledger: Ledger::default(),
            starts: 0,
            refusals: 0,
        }
    }

    fn rules(&self) -> HostRules {
        HostRules {
            boot: BootId(self.boot),
            turn: TurnLimits::default(),
            dedup_window_ms: 7 * 86_400_000,
            retention_ms: 7 * 86_400_000,
            pending_turns_max: 1_000,
            context_messages_max: 10,
            state_keys_max: 10,
            state_bytes_max: 1_000,
        }
    }

    pub(super) fn pass(&mut self, time: Duration) {
        let ms = i64::try_from(time.as_millis()).unwrap();
        self.now.wall_ms += ms;
        self.now.mono_ms += ms;
    }

    /// Whether a process is there that has the store open, or may yet open it again.
    pub(super) fn is_up(&self) -> bool {
        self.core.is_some() && !self.disk.is_dead()
    }

    /// The process ends, by a stop or by what has befallen the machine.
    pub(super) fn end(&mut self) {
        self.core = None;
    }

    /// Starts processes until one has taken over what the last one left.
    pub(super) fn start(&mut self) -> Checked {
        for attempt in 0.. {
            if attempt >= TRIES {
                self.disk.heal();
            }
            if attempt > 2 * TRIES {
                return broken("the host does not start on a disk that is whole");
            }
            self.core = None;
            if self.disk.is_dead() || self.starts == 0 {
                self.disk.start();
            }
            self.starts += 1;
            self.boot += 1;
            self.now.mono_ms = 0;
            let opened = Core::open(&self.disk.path(), &self.env);
            if self.disk.is_dead() {
                continue;
            }
            match opened {
                Ok(core) => self.core = Some(core),
                Err(error) if attempt > TRIES => {
                    return broken(format!("the store does not open on a whole disk: {error}"));
                }
                Err(_) => continue,
            }
            self.find()?;
            if self.take_over()? {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Holds what a new process finds against what was told.
    fn find(&mut self) -> Checked {
        let Self { core, disk, ledger, starts, .. } = self;
        let Some(Ok(db)) = core.as_ref().map(Core::connection) else {
            return broken("a store was opened and has no connection");
        };
        disk.judge(|| {
            let state = state(db)?;
            // The first process finds an empty store.
            if *starts == 1 || !ledger.has_begun() {
                ledger.begin(state);
                return ledger.check(db);
            }
            ledger.found(state, db)
        })
    }

    /// What a host does before it opens its doors. Says whether it got through.
    fn take_over(&mut self) -> Checked<bool> {
        let rules = channel_rules(self.means.clone());
        let first = [
            Command::Rules(self.rules()),
            Command::ChannelsPresent(vec!["hook".into()]),
            Command::Channel(rules),
        ];
        for command in first {
            if self.must(command)?.is_none() {
                return Ok(false);
            }
        }
        let claims = Query::Claims { after_turn: 0, after_delivery: 0, rows_max: 1_000 };
        let Some(Rows::Claims(claims)) = self.read(&claims) else { return Ok(false) };
        for row in claims.turns {
            let (claim, loss) = (row.claim, TurnLoss::HostLost);
            if self.must(Command::Sweep(SweepStep::LoseTurn { claim, loss }))?.is_none() {
                return Ok(false);
            }
        }
        for row in claims.deliveries {
            let claim = row.claim;
            let step = if row.asks {
                SweepStep::LoseAsk { claim }
            } else {
                SweepStep::LoseSend { claim, fault: Fault::new("host_lost", "simulated") }
            };
            if self.must(Command::Sweep(step))?.is_none() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Reads by a connection of its own, again where the disk fails; none where the process is gone.
    pub(super) fn read(&self, query: &Query) -> Option<Rows> {
        for attempt in 0..2 * TRIES {
            if attempt >= TRIES {
                self.disk.heal();
            }
            let rows = ReadOnly::open(&self.disk.path()).and_then(|reader| reader.read(query));
            if self.disk.is_dead() {
                return None;
            }
            if let Ok(rows) = rows {
                return Some(rows);
            }
        }
        None
    }

    /// Asks again until the store takes it; none where the process is gone.
    pub(super) fn must(&mut self, command: Command) -> Checked<Option<Answer>> {
        for attempt in 0..2 * TRIES {
            if attempt >= TRIES {
                self.disk.heal();
            }
            let Some(mut answers) = self.run(vec![command.clone()])? else { return Ok(None) };
            match answers.pop() {
                Some(Err(StoreError::NotWritable(_))) => {}
                Some(Ok(answer)) => return Ok(Some(answer)),
                other => return broken(format!("an answer of another kind: {other:?}")),
            }
        }
        broken("the store does not go on though the disk is whole again")
    }

    /// Gives a batch to the store. None where nobody heard an answer: the process is gone.
    pub(super) fn run(&mut self, batch: Vec<Command>) -> Checked<Option<Answers>> {
        let Some(core) = &mut self.core else { return Ok(None) };
        self.ledger.ask(new_messages(&batch, &self.ledger));
        let count = batch.len();
        let answers = core.apply(self.now, batch);
        if self.disk.is_dead() {
            return Ok(None);
        }
        if answers.len() != count {
            return broken("a command was not answered");
        }
        self.hear(&answers)?;
        Ok(Some(answers))
    }

    fn hear(&mut self, answers: &Answers) -> Checked {
        let Self { core, disk, ledger, refusals, .. } = self;
        let all_refused = answers.iter().all(unwritable);
        *refusals += u32::from(answers.iter().any(unwritable));
        let Some(Ok(db)) = core.as_ref().map(Core::connection) else {
            // It could not be opened again: what became of the batch is in doubt.
            return if all_refused { Ok(()) } else { broken("answered without a store") };
        };
        disk.judge(|| {
            let state = state(db)?;
            if all_refused {
                return ledger.refused(state);
            }
            ledger.answered(state);
            Ok(())
        })
    }

    /// Moves the log into the file.
    pub(super) fn checkpoint(&mut self) {
        if let Some(core) = &self.core {
            // Where it fails, the log stays as it is.
            let _ = core.checkpoint();
        }
    }

    /// The promises, counted from the rows.
    pub(super) fn check(&self) -> Checked {
        let Some(Ok(db)) = self.core.as_ref().map(Core::connection) else { return Ok(()) };
        self.disk.judge(|| self.ledger.check(db))
    }

    /// The store itself, where it is open.
    pub(super) fn core(&mut self) -> Option<&mut Core> {
        self.core.as_mut()
    }

    /// Whether there is a store to look into: none while one that failed was not opened again.
    pub(super) fn can_count(&self) -> bool {
        self.is_up() && self.core.as_ref().is_some_and(|core| core.connection().is_ok())
    }

    /// Counts rows, to judge.
    pub(super) fn count(&self, sql: &str) -> Checked<i64> {
        let Some(Ok(db)) = self.core.as_ref().map(Core::connection) else {
            return broken("there is no store to count in");
        };
        let counted = self.disk.judge(|| db.query_row(sql, [], |row| row.get(0)));
        counted.map_err(|error| Violation(format!("the store cannot be read: {error}")))
    }
}

fn state(db: &rusqlite::Connection) -> Checked<State> {
    State::of(db).map_err(|error| Violation(format!("the store cannot be read: {error}")))
}

/// Messages that were never sent before: of a batch, all or none of them are there.
fn new_messages(batch: &[Command], ledger: &Ledger) -> Vec<String> {
    let mut messages = Vec::new();
    for command in batch {
        let Command::Accept(accept) = command else { continue };
        for event in &accept.events {
            if let crate::lifecycle::message::InboundEvent::Message(message) = event
                && !ledger.was_sent(&message.external_id)
            {
                messages.push(message.external_id.clone());
            }
        }
    }
    messages
}
