//! Locks of files and of the log's index, among the connections of one process, as the engine's own
//! system layer keeps them. And the index itself: memory that connections share.

use std::cell::UnsafeCell;
use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use rusqlite::ffi;

/// Bytes of one region of the index. The engine asks for no other size.
pub(super) const REGION_BYTES: usize = 32 * 1024;
const REGION_WORDS: usize = REGION_BYTES / 8;
/// Locks of the index.
const SLOTS: usize = ffi::SQLITE_SHM_NLOCK as usize;

/// Another connection holds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Taken;

/// The lock of one file, by handle.
#[derive(Debug, Default)]
pub(super) struct FileLock {
    shared: BTreeSet<u64>,
    reserved: Option<u64>,
    pending: Option<u64>,
    exclusive: Option<u64>,
}

impl FileLock {
    fn free_for(owner: Option<u64>, handle: u64) -> Result<(), Taken> {
        if owner.is_some_and(|owner| owner != handle) { Err(Taken) } else { Ok(()) }
    }

    /// Raises the lock of a handle to one of the engine's levels.
    pub(super) fn raise(&mut self, handle: u64, level: i32) -> Result<(), Taken> {
        if level >= ffi::SQLITE_LOCK_SHARED && !self.shared.contains(&handle) {
            Self::free_for(self.pending, handle)?;
            Self::free_for(self.exclusive, handle)?;
            self.shared.insert(handle);
        }
        if level >= ffi::SQLITE_LOCK_RESERVED {
            Self::free_for(self.reserved, handle)?;
            Self::free_for(self.pending, handle)?;
            // Who asks for the whole from a shared lock (a log that is recovered) takes no
            // reservation on the way.
            if level == ffi::SQLITE_LOCK_RESERVED {
                self.reserved = Some(handle);
            }
        }
        if level == ffi::SQLITE_LOCK_EXCLUSIVE {
            self.pending = Some(handle);
            if self.shared.iter().any(|other| *other != handle) {
                return Err(Taken);
            }
            self.exclusive = Some(handle);
        }
        Ok(())
    }

    /// Lowers it to shared or to none.
    pub(super) fn lower(&mut self, handle: u64, level: i32) {
        for owner in [&mut self.reserved, &mut self.pending, &mut self.exclusive] {
            if *owner == Some(handle) {
                *owner = None;
            }
        }
        if level == ffi::SQLITE_LOCK_NONE {
            self.shared.remove(&handle);
        }
    }

    pub(super) fn is_reserved(&self) -> bool {
        self.reserved.is_some() || self.pending.is_some() || self.exclusive.is_some()
    }
}

#[derive(Debug, Default)]
struct Slot {
    shared: BTreeSet<u64>,
    exclusive: Option<u64>,
}

/// The index of one log: regions and locks. It is gone with its last user, as a process that finds
/// nobody else there empties it.
#[derive(Debug, Default)]
pub(super) struct Index {
    regions: Mutex<Vec<Region>>,
    slots: Mutex<[Slot; SLOTS]>,
}

#[derive(Debug)]
struct Region(Box<UnsafeCell<[u64; REGION_WORDS]>>);

// SAFETY: the bytes are reached through the raw pointer that `region` gives out, and by the engine
// alone. It orders its accesses by the index's locks, by checksums and by `xShmBarrier`, as it does
// for memory that processes share. Nothing in Rust reads or writes them.
#[allow(unsafe_code, reason = "memory that the engine shares between its connections")]
unsafe impl Send for Region {}
// SAFETY: as above.
#[allow(unsafe_code, reason = "memory that the engine shares between its connections")]
unsafe impl Sync for Region {}

impl Index {
    /// The address of a region; none where it is not there and `extend` is not wanted. It stays
    /// right as long as the index lives: regions are boxed, and none is ever dropped before it.
    pub(super) fn region(&self, number: usize, extend: bool) -> Option<*mut u64> {
        let mut regions = self.regions.lock().unwrap_or_else(PoisonError::into_inner);
        while extend && regions.len() <= number {
            regions.push(Region(Box::new(UnsafeCell::new([0; REGION_WORDS]))));
        }
        regions.get(number).map(|region| region.0.get().cast())
    }

    /// Takes or gives back `count` locks from `first` on, with the engine's flags.
    pub(super) fn lock(
        &self,
        handle: u64,
        first: usize,
        count: usize,
        flags: i32,
    ) -> Result<(), Taken> {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        let wanted = slots.get_mut(first..first + count).ok_or(Taken)?;
        let shared = flags & ffi::SQLITE_SHM_SHARED != 0;
        if flags & ffi::SQLITE_SHM_UNLOCK != 0 {
            wanted.iter_mut().for_each(|slot| slot.leave(handle));
            return Ok(());
        }
        if !wanted.iter().all(|slot| slot.is_free_for(handle, shared)) {
            return Err(Taken);
        }
        for slot in wanted {
            if shared {
                slot.shared.insert(handle);
            } else {
                slot.exclusive = Some(handle);
            }
        }
        Ok(())
    }

    /// A handle that goes holds nothing any more.
    pub(super) fn forget(&self, handle: u64) {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        slots.iter_mut().for_each(|slot| slot.leave(handle));
    }
}

impl Slot {
    fn is_free_for(&self, handle: u64, shared: bool) -> bool {
        let owned = self.exclusive.is_some_and(|owner| owner != handle);
        !owned && (shared || self.shared.iter().all(|other| *other == handle))
    }

    fn leave(&mut self, handle: u64) {
        self.shared.remove(&handle);
        if self.exclusive == Some(handle) {
            self.exclusive = None;
        }
    }
}
