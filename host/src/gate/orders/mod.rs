//! Every order in which an abort can meet a worker at the gate: its sources, compiled once more over
//! locks that are steps of a model. Beside it a row, as the store keeps it: claims and aborts of it
//! are guarded, and neither knows the gate.
#![allow(unreachable_pub, reason = "the gate's own sources, for a model")]

#[path = "../flags.rs"]
#[allow(clippy::duplicate_mod, dead_code, reason = "the same source over the model's locks")]
mod flags;
#[path = "../stop.rs"]
#[allow(clippy::duplicate_mod, dead_code, reason = "the same source over the model's locks")]
mod stop;

mod sync {
    pub(super) use loom::sync::{Mutex, MutexGuard};
}

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use loom::sync::Mutex;
use loom::thread;

use crate::lifecycle::id::{DeliveryId, TurnId};
use flags::Gate;
use stop::StopReason;

const TURN: TurnId = TurnId { number: 1, nonce: 0 };
const ROW: DeliveryId = DeliveryId { number: 2, nonce: 0 };
const PREEMPTIONS_MAX: usize = 4;

/// The turn's row, and what the outside has seen, in one order for all.
#[derive(Debug, Default)]
struct World {
    claimed: bool,
    aborted: bool,
    /// The abort was confirmed to the person.
    confirmed: bool,
    calls: u32,
    calls_after_confirmation: u32,
}

impl World {
    /// The store's guard: nothing of an aborted turn is claimed.
    fn claim(&mut self) -> bool {
        let free = !self.aborted && !self.claimed;
        self.claimed |= free;
        free
    }

    fn call(&mut self) {
        self.calls += 1;
        self.calls_after_confirmation += u32::from(self.confirmed);
    }
}

/// A thread of the model, with room for its calls and for the words of a panic.
fn spawn<T: Send + 'static>(run: impl FnOnce() -> T + Send + 'static) -> thread::JoinHandle<T> {
    thread::Builder::new().stack_size(1024 * 1024).spawn(run).unwrap()
}

#[allow(clippy::print_stderr, reason = "how many orders were tried is what a run is worth")]
fn explore(what: &str, model: impl Fn() + Send + Sync + 'static) {
    let orders = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&orders);
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(PREEMPTIONS_MAX);
    builder.max_branches = 20_000;
    let model = Arc::new(model);
    builder.check(move || {
        counted.fetch_add(1, Ordering::Relaxed);
        let model = Arc::clone(&model);
        spawn(move || model()).join().unwrap();
    });
    let orders = orders.load(Ordering::Relaxed);
    eprintln!("{what}: {orders} orders");
    assert!(orders > 10, "{what}: only {orders} orders");
}

/// In which order a worker announces itself and claims.
#[derive(Debug, Clone, Copy)]
enum Announces {
    First,
    /// Rule 1 of the gate is left out.
    AfterItsClaim,
}

fn work(gate: &Gate, world: &Mutex<World>, announces: Announces) {
    let early = match announces {
        Announces::First => Some(gate.approach()),
        Announces::AfterItsClaim => None,
    };
    if !world.lock().unwrap().claim() {
        return;
    }
    let approach = early.unwrap_or_else(|| gate.approach());
    match approach.enter(Some(TURN), ROW) {
        Ok(pass) => {
            world.lock().unwrap().call();
            drop(pass);
        }
        Err(reason) => assert_eq!(reason, StopReason::Aborted),
    }
}

/// As an abort goes: on disk, at the gate, confirmed. Says how many calls it has named.
fn abort(gate: &Gate, world: &Mutex<World>) -> usize {
    world.lock().unwrap().aborted = true;
    let stopped = gate.stop_turn(TURN);
    world.lock().unwrap().confirmed = true;
    stopped.at_adapter.len()
}

/// A worker meets an abort, and another worker.
fn meet(announces: Announces) {
    let (gate, world) = (Gate::new(), Arc::new(Mutex::new(World::default())));
    let workers = [(), ()].map(|()| {
        let (gate, world) = (gate.clone(), Arc::clone(&world));
        spawn(move || work(&gate, &world, announces))
    });
    let named = abort(&gate, &world);
    workers.into_iter().for_each(|worker| worker.join().unwrap());
    let (calls, late) = {
        let seen = world.lock().unwrap();
        (seen.calls, seen.calls_after_confirmation as usize)
    };
    assert!(calls < 2, "two calls of one row");
    assert!(late <= named, "a call began after the abort was confirmed, which did not name it");
    let left = gate.counts();
    assert_eq!((left.approaches, left.flags, left.calls), (0, 0, 0), "something is kept for ever");
}

#[test]
fn after_an_abort_is_confirmed_no_call_begins_in_any_order() {
    explore("an abort and two workers", || meet(Announces::First));
}

#[test]
fn a_worker_that_announces_itself_after_its_claim_is_found() {
    let model = || explore("a late announcement", || meet(Announces::AfterItsClaim));
    let failed = catch_unwind(AssertUnwindSafe(model)).unwrap_err();
    let said = failed.downcast_ref::<&str>().copied().unwrap_or_default();
    assert!(said.contains("after the abort was confirmed"), "{said}");
}

#[test]
fn a_handler_that_runs_hears_of_its_abort_in_every_order() {
    explore("an abort and a handler", || {
        let (gate, world) = (Gate::new(), Arc::new(Mutex::new(World::default())));
        let worker = {
            let (gate, world) = (gate.clone(), Arc::clone(&world));
            spawn(move || {
                let approach = gate.approach();
                if !world.lock().unwrap().claim() {
                    return;
                }
                // The model fails where this waits for ever.
                if let Ok(running) = approach.run(TURN, 1) {
                    let reason = loom::future::block_on(running.stop().stopped());
                    assert_eq!(reason, StopReason::Aborted);
                }
            })
        };
        abort(&gate, &world);
        worker.join().unwrap();
        assert_eq!(gate.counts().handlers, 0);
    });
}

#[test]
fn of_two_tries_of_a_turn_the_newer_one_runs_in_every_order() {
    explore("two tries", || {
        let gate = Gate::new();
        let older = {
            let gate = gate.clone();
            spawn(move || match gate.approach().run(TURN, 1) {
                Ok(running) => loom::future::block_on(running.stop().stopped()),
                Err(reason) => reason,
            })
        };
        let newer = gate.approach().run(TURN, 2).unwrap();
        assert_eq!(older.join().unwrap(), StopReason::Superseded);
        assert_eq!(newer.stop().reason(), None);
    });
}
