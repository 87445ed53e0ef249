//! The store on a disk that fails: a simulated machine under the real engine, its log and the shared
//! memory of its log included. Every access can be made to fail, the process can be killed at any of
//! them, and a power cut leaves what was synced, and of the rest what chance leaves.
//!
//! [`Disk`] is such a machine; a store at [`Disk::path`] lives on it. What must hold afterwards is in
//! [`ledger`].

mod cases;
mod cut;
mod every;
mod handle;
mod host;
mod ledger;
mod locks;
mod machine;
mod medium;
mod proof;
mod vfs;
mod work;

use std::collections::BTreeMap;
use std::ffi::CStr;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::ffi;

use handle::{Handle, Shared, lock};
use machine::Machine;
pub(in crate::store) use machine::{Fault, Image, Op, Plan};
pub(in crate::store) use medium::{Cache, Loss};
pub(in crate::store) use proof::{Rule, is_left_out};

/// Where simulated machines are mounted, by number.
const ROOT: &str = "/lastword-simulated/";
const STORE: &str = "lastword.db";

static MACHINES: Mutex<BTreeMap<u64, Shared>> = Mutex::new(BTreeMap::new());
static LAST: AtomicU64 = AtomicU64::new(0);

/// A simulated machine. It is unmounted when this is dropped.
#[derive(Debug)]
pub(in crate::store) struct Disk {
    number: u64,
    machine: Shared,
}

impl Disk {
    /// A machine with that on its disk; `seed` decides what chance decides.
    pub(in crate::store) fn with(image: Image, seed: u64) -> Self {
        vfs::register();
        let machine = Arc::new(Mutex::new(Machine::new(image, seed)));
        let number = LAST.fetch_add(1, Ordering::Relaxed);
        let mut machines = MACHINES.lock().unwrap_or_else(PoisonError::into_inner);
        machines.insert(number, Arc::clone(&machine));
        Self { number, machine }
    }

    /// The store on it.
    pub(in crate::store) fn path(&self) -> PathBuf {
        PathBuf::from(format!("{ROOT}{}/{STORE}", self.number))
    }

    /// From now on these accesses fail.
    pub(in crate::store) fn plan(&self, plan: Plan) {
        lock(&self.machine).plan = Some(plan);
    }

    /// Nothing fails any more.
    pub(in crate::store) fn heal(&self) {
        lock(&self.machine).plan = None;
    }

    /// How many accesses have failed by plan.
    pub(in crate::store) fn hits(&self) -> u64 {
        lock(&self.machine).hits
    }

    /// Accesses so far.
    pub(in crate::store) fn ops(&self) -> u64 {
        lock(&self.machine).ops
    }

    /// All accesses so far, in order.
    pub(in crate::store) fn log(&self) -> Vec<Op> {
        lock(&self.machine).log.clone()
    }

    /// Looks at what is there: nothing of it is counted, and nothing fails.
    pub(in crate::store) fn judge<T>(&self, look: impl FnOnce() -> T) -> T {
        lock(&self.machine).quiet = true;
        let seen = look();
        lock(&self.machine).quiet = false;
        seen
    }

    /// Whether the process was killed or the power cut, and no other process has begun.
    pub(in crate::store) fn is_dead(&self) -> bool {
        lock(&self.machine).dead
    }

    pub(in crate::store) fn kill(&self) {
        lock(&self.machine).dead = true;
    }

    pub(in crate::store) fn cut(&self, loss: Loss) {
        let mut inside = lock(&self.machine);
        inside.dead = true;
        inside.cut(loss);
    }

    /// Another process begins; what is left of the last one's connections reaches nothing.
    pub(in crate::store) fn start(&self) {
        lock(&self.machine).start();
    }

    /// What the disk holds now, as a process sees it.
    pub(in crate::store) fn image(&self) -> Image {
        lock(&self.machine).disk.clone()
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        MACHINES.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.number);
    }
}

/// The machine of a path, and the name on it.
fn find(path: &str) -> Option<(Shared, String)> {
    let (number, name) = path.strip_prefix(ROOT)?.split_once('/')?;
    let machines = MACHINES.lock().unwrap_or_else(PoisonError::into_inner);
    Some((Arc::clone(machines.get(&number.parse().ok()?)?), name.to_owned()))
}

/// The engine's system layer for a path on a simulated machine.
pub(in crate::store) fn layer(path: &Path) -> Option<&'static CStr> {
    path.starts_with(ROOT).then_some(vfs::NAME)
}

/// Which file it is, and its bytes; none for a path that is not on a simulated machine.
pub(in crate::store) fn look(path: &Path) -> Option<Option<(u64, usize)>> {
    let (machine, name) = find(path.to_str()?)?;
    let mut inside = lock(&machine);
    let found = inside.named(&name);
    Some(found.map(|file| (file, inside.file(file).len())))
}

/// As the store writes a log again; none for a path that is not on a simulated machine.
pub(in crate::store) fn rewrite(path: &Path) -> Option<io::Result<()>> {
    let (machine, name) = find(path.to_str()?)?;
    let run = || -> Result<(), i32> {
        lock(&machine).named(&name).ok_or(ffi::SQLITE_CANTOPEN)?;
        let mut file = Handle::open(&machine, Some(&name), ffi::SQLITE_OPEN_READWRITE)?;
        let mut bytes = vec![0; file.len()];
        file.read(0, &mut bytes)?;
        file.write(0, &bytes)?;
        file.sync()
    };
    Some(run().map_err(|code| io::Error::other(format!("simulated fault {code}"))))
}
