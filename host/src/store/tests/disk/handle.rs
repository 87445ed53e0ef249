//! One open file of a simulated machine, as a connection of the engine has it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rusqlite::ffi;

use super::locks::{Index, Taken};
use super::machine::{Code, Fate, Fault, Machine, Op, code};

/// A machine, shared by its handles.
pub(super) type Shared = Arc<Mutex<Machine>>;

pub(super) fn lock(machine: &Shared) -> MutexGuard<'_, Machine> {
    machine.lock().unwrap_or_else(PoisonError::into_inner)
}

#[derive(Debug)]
pub(super) struct Handle {
    machine: Shared,
    /// In which life of the process it was opened.
    life: u64,
    file: u64,
    handle: u64,
    /// Deleted when it is closed.
    delete: Option<String>,
    /// The folder is synced with the first sync of this file.
    sync_names: bool,
    index: Option<Arc<Index>>,
}

/// Where a new log or journal is to be found again is on disk before what is in it.
const JOURNALS: i32 =
    ffi::SQLITE_OPEN_MAIN_JOURNAL | ffi::SQLITE_OPEN_SUPER_JOURNAL | ffi::SQLITE_OPEN_WAL;

impl Handle {
    pub(super) fn open(machine: &Shared, name: Option<&str>, flags: i32) -> Result<Self, Code> {
        let mut inside = lock(machine);
        let life = inside.life;
        match inside.meet(Op::Open, life)? {
            Fate::Done => {}
            Fate::Fails(fault) => return Err(code(Op::Open, fault)),
        }
        let found = name.and_then(|name| inside.named(name));
        let file = match found {
            Some(_) if flags & ffi::SQLITE_OPEN_EXCLUSIVE != 0 => return Err(ffi::SQLITE_CANTOPEN),
            Some(file) => file,
            None if flags & ffi::SQLITE_OPEN_CREATE != 0 => inside.make(name),
            None => return Err(ffi::SQLITE_CANTOPEN),
        };
        let handle = inside.number();
        drop(inside);
        let delete = (flags & ffi::SQLITE_OPEN_DELETEONCLOSE != 0).then_some(name).flatten();
        Ok(Self {
            machine: Arc::clone(machine),
            life,
            file,
            handle,
            delete: delete.map(str::to_owned),
            sync_names: flags & ffi::SQLITE_OPEN_CREATE != 0 && flags & JOURNALS != 0,
            index: None,
        })
    }

    /// Does one access under the machine's lock, unless it fails.
    fn access<T>(
        &self,
        op: Op,
        run: impl FnOnce(&mut Machine, Fate) -> Result<T, Code>,
    ) -> Result<T, Code> {
        let mut inside = lock(&self.machine);
        let fate = inside.meet(op, self.life)?;
        run(&mut inside, fate)
    }

    /// Fills `into`; says whether so much was there.
    pub(super) fn read(&self, at: usize, into: &mut [u8]) -> Result<bool, Code> {
        self.access(Op::Read, |inside, fate| match fate {
            Fate::Done => Ok(inside.file(self.file).read(at, into) == into.len()),
            Fate::Fails(fault) => Err(code(Op::Read, fault)),
        })
    }

    pub(super) fn write(&self, at: usize, bytes: &[u8]) -> Result<(), Code> {
        self.access(Op::Write, |inside, fate| {
            let done = match fate {
                Fate::Done => bytes,
                Fate::Fails(Fault::Short | Fault::KillHalf) => &bytes[..bytes.len() / 2],
                Fate::Fails(fault) => return Err(code(Op::Write, fault)),
            };
            inside.file(self.file).write(at, done);
            if fate == Fate::Done { Ok(()) } else { Err(ffi::SQLITE_IOERR_WRITE) }
        })
    }

    pub(super) fn truncate(&self, bytes: usize) -> Result<(), Code> {
        self.access(Op::Truncate, |inside, fate| match fate {
            Fate::Done => {
                inside.file(self.file).resize(bytes);
                Ok(())
            }
            Fate::Fails(fault) => Err(code(Op::Truncate, fault)),
        })
    }

    pub(super) fn sync(&mut self) -> Result<(), Code> {
        let (file, names) = (self.file, self.sync_names);
        self.access(Op::Sync, |inside, fate| {
            match fate {
                Fate::Done => inside.file(file).sync(),
                Fate::Fails(fault) => {
                    if let Fault::Sync(cache) = fault {
                        inside.fail_sync(file, cache);
                    }
                    return Err(code(Op::Sync, fault));
                }
            }
            if names {
                inside.sync_names();
            }
            Ok(())
        })?;
        self.sync_names = false;
        Ok(())
    }

    pub(super) fn len(&self) -> usize {
        lock(&self.machine).file(self.file).len()
    }

    fn is_alive(&self, inside: &Machine) -> bool {
        !inside.dead && inside.life == self.life
    }

    pub(super) fn raise(&self, level: i32) -> Result<(), Code> {
        let mut inside = lock(&self.machine);
        if !self.is_alive(&inside) {
            return Err(ffi::SQLITE_IOERR_LOCK);
        }
        let taken = inside.locks.entry(self.file).or_default().raise(self.handle, level);
        taken.map_err(|Taken| ffi::SQLITE_BUSY)
    }

    pub(super) fn lower(&self, level: i32) {
        let mut inside = lock(&self.machine);
        if self.is_alive(&inside) {
            inside.locks.entry(self.file).or_default().lower(self.handle, level);
        }
    }

    pub(super) fn is_reserved(&self) -> bool {
        lock(&self.machine).locks.entry(self.file).or_default().is_reserved()
    }

    /// A region of the log's index; none where it is not there and not wanted new.
    pub(super) fn map(&mut self, region: usize, extend: bool) -> Result<Option<*mut u64>, Code> {
        let (file, handle) = (self.file, self.handle);
        let index = self.access(Op::MapIndex, |inside, fate| match fate {
            Fate::Done => Ok(inside.index(file, handle)),
            Fate::Fails(fault) => Err(code(Op::MapIndex, fault)),
        })?;
        Ok(self.index.insert(index).region(region, extend))
    }

    pub(super) fn lock_index(&self, first: usize, count: usize, flags: i32) -> Result<(), Code> {
        let Some(index) = &self.index else { return Err(ffi::SQLITE_IOERR_SHMLOCK) };
        // A dead process locks nobody out: the next one has an index of its own.
        index.lock(self.handle, first, count, flags).map_err(|Taken| ffi::SQLITE_BUSY)
    }

    pub(super) fn unmap(&mut self) {
        if let Some(index) = self.index.take() {
            index.forget(self.handle);
            let mut inside = lock(&self.machine);
            if inside.life == self.life {
                inside.leave_index(self.file, self.handle);
            }
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.unmap();
        self.lower(ffi::SQLITE_LOCK_NONE);
        if let Some(name) = self.delete.take() {
            let mut inside = lock(&self.machine);
            if self.is_alive(&inside) {
                inside.delete(&name);
            }
        }
    }
}
