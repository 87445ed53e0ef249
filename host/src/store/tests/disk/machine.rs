//! A simulated machine: its disk with names and files, and the one process on it, which may be
//! killed, or lose its power. Every access of the engine is counted, and the one that a plan names
//! meets its fault.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use rusqlite::ffi;

use super::locks::{FileLock, Index};
use super::medium::{Cache, Loss, Medium};

/// What the engine asks of the disk, as far as it may fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::store) enum Op {
    Open,
    Read,
    Write,
    Truncate,
    Sync,
    Delete,
    MapIndex,
}

/// How an access fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::store) enum Fault {
    /// Nothing of it is done.
    Io,
    /// No space is left.
    Full,
    /// Half of a write is done.
    Short,
    /// A sync: some of it is done, and what the system shows afterwards depends on it.
    Sync(Cache),
    /// The process is gone before it.
    Kill,
    /// The process is gone in the middle of a write.
    KillHalf,
    /// The power is gone before it.
    Cut(Loss),
}

impl Fault {
    /// Whether such an access can fail so.
    pub(in crate::store) fn suits(self, op: Op) -> bool {
        match self {
            Self::Io | Self::Kill | Self::Cut(_) => true,
            Self::Full => matches!(op, Op::Open | Op::Write | Op::MapIndex),
            Self::Short | Self::KillHalf => op == Op::Write,
            Self::Sync(_) => op == Op::Sync,
        }
    }
}

/// Which accesses fail, counted from 0 since the disk was made, and how. An access that cannot fail
/// so is let through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::store) struct Plan {
    pub(in crate::store) first: u64,
    pub(in crate::store) count: u64,
    pub(in crate::store) fault: Fault,
}

/// What the engine is told where something failed.
pub(super) type Code = i32;

#[derive(Debug, Clone)]
enum NameChange {
    Made(String, u64),
    Deleted(String),
}

/// What a machine's disk holds, to begin another one with.
#[derive(Debug, Clone, Default)]
pub(in crate::store) struct Image {
    files: BTreeMap<u64, Medium>,
    names: BTreeMap<String, u64>,
    durable_names: BTreeMap<String, u64>,
    name_changes: Vec<NameChange>,
}

#[derive(Debug)]
pub(super) struct Machine {
    pub(super) disk: Image,
    pub(super) locks: BTreeMap<u64, FileLock>,
    indexes: BTreeMap<u64, (Arc<Index>, BTreeSet<u64>)>,
    /// Counts starts of the process: handles of an earlier one are dead.
    pub(super) life: u64,
    pub(super) dead: bool,
    chance: StdRng,
    last_number: u64,
    pub(super) ops: u64,
    pub(super) log: Vec<Op>,
    pub(super) plan: Option<Plan>,
    /// What a test reads to judge is not counted, and does not fail.
    pub(super) quiet: bool,
    pub(super) hits: u64,
}

/// What an access meets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Done,
    Fails(Fault),
}

impl Machine {
    pub(super) fn new(disk: Image, seed: u64) -> Self {
        let last_number = disk.files.keys().next_back().copied().unwrap_or_default();
        Self {
            disk,
            locks: BTreeMap::new(),
            indexes: BTreeMap::new(),
            life: 0,
            dead: false,
            chance: StdRng::seed_from_u64(seed),
            last_number,
            ops: 0,
            log: Vec::new(),
            plan: None,
            quiet: false,
            hits: 0,
        }
    }

    /// A number that no file and no handle has.
    pub(super) fn number(&mut self) -> u64 {
        self.last_number += 1;
        self.last_number
    }

    /// Counts an access, and says what it meets. Of a dead process none reaches the disk.
    pub(super) fn meet(&mut self, op: Op, life: u64) -> Result<Fate, Code> {
        if self.dead || life != self.life {
            return Err(code(op, Fault::Io));
        }
        if self.quiet {
            return Ok(Fate::Done);
        }
        let number = self.ops;
        self.ops += 1;
        self.log.push(op);
        let planned = self.plan.filter(|plan| {
            (plan.first..plan.first.saturating_add(plan.count)).contains(&number)
                && plan.fault.suits(op)
        });
        let Some(Plan { fault, .. }) = planned else { return Ok(Fate::Done) };
        self.hits += 1;
        match fault {
            Fault::Kill => self.dead = true,
            Fault::Cut(loss) => {
                self.dead = true;
                self.cut(loss);
            }
            Fault::KillHalf => self.dead = true,
            Fault::Io | Fault::Full | Fault::Short | Fault::Sync(_) => {}
        }
        Ok(Fate::Fails(fault))
    }

    pub(super) fn cut(&mut self, loss: Loss) {
        for file in self.disk.files.values_mut() {
            file.cut(loss, &mut self.chance);
        }
        let kept = match loss {
            Loss::All => 0,
            // A file system's own journal keeps the order of its entries.
            Loss::Some => self.chance.random_range(0..=self.disk.name_changes.len()),
        };
        let changes = std::mem::take(&mut self.disk.name_changes);
        for change in changes.into_iter().take(kept) {
            match change {
                NameChange::Made(name, file) => drop(self.disk.durable_names.insert(name, file)),
                NameChange::Deleted(name) => drop(self.disk.durable_names.remove(&name)),
            }
        }
        self.disk.names.clone_from(&self.disk.durable_names);
    }

    /// Another process begins; what the last one held in memory is gone.
    pub(super) fn start(&mut self) {
        self.life += 1;
        self.dead = false;
        self.locks.clear();
        self.indexes.clear();
        let Image { files, names, durable_names, name_changes } = &mut self.disk;
        let named = |file: &u64| {
            names.values().chain(durable_names.values()).any(|named| named == file)
                || name_changes.iter().any(|change| match change {
                    NameChange::Made(_, made) => made == file,
                    NameChange::Deleted(_) => false,
                })
        };
        files.retain(|file, _| named(file));
    }

    pub(super) fn file(&mut self, number: u64) -> &mut Medium {
        self.disk.files.entry(number).or_default()
    }

    pub(super) fn named(&self, name: &str) -> Option<u64> {
        self.disk.names.get(name).copied()
    }

    pub(super) fn make(&mut self, name: Option<&str>) -> u64 {
        let number = self.number();
        self.disk.files.insert(number, Medium::default());
        if let Some(name) = name {
            self.disk.names.insert(name.to_owned(), number);
            self.disk.name_changes.push(NameChange::Made(name.to_owned(), number));
        }
        number
    }

    /// Says whether there was such a name. The file itself stays for whoever has it open.
    pub(super) fn delete(&mut self, name: &str) -> bool {
        let was = self.disk.names.remove(name).is_some();
        if was {
            self.disk.name_changes.push(NameChange::Deleted(name.to_owned()));
        }
        was
    }

    /// The folder is synced: its names are what they are.
    pub(super) fn sync_names(&mut self) {
        self.disk.name_changes.clear();
        self.disk.durable_names.clone_from(&self.disk.names);
    }

    pub(super) fn fail_sync(&mut self, number: u64, cache: Cache) {
        let Self { disk, chance, .. } = self;
        disk.files.entry(number).or_default().fail_sync(cache, chance);
    }

    /// The index of a file's log, for one more user.
    pub(super) fn index(&mut self, file: u64, handle: u64) -> Arc<Index> {
        let (index, users) = self.indexes.entry(file).or_default();
        users.insert(handle);
        Arc::clone(index)
    }

    /// A user goes; the last one takes the index along.
    pub(super) fn leave_index(&mut self, file: u64, handle: u64) {
        if let Some((_, users)) = self.indexes.get_mut(&file) {
            users.remove(&handle);
            if users.is_empty() {
                self.indexes.remove(&file);
            }
        }
    }
}

/// The engine's word for a fault.
pub(super) fn code(op: Op, fault: Fault) -> Code {
    if fault == Fault::Full {
        return ffi::SQLITE_FULL;
    }
    match op {
        Op::Open => ffi::SQLITE_CANTOPEN,
        Op::Read => ffi::SQLITE_IOERR_READ,
        Op::Write => ffi::SQLITE_IOERR_WRITE,
        Op::Truncate => ffi::SQLITE_IOERR_TRUNCATE,
        Op::Sync => ffi::SQLITE_IOERR_FSYNC,
        Op::Delete => ffi::SQLITE_IOERR_DELETE,
        Op::MapIndex => ffi::SQLITE_IOERR_SHMMAP,
    }
}
