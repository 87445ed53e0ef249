//! The gate itself: approaches, flags, and what has passed. Its one lock comes from the module around
//! it, so that a model can try every order in which threads take it.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, PoisonError};

use super::stop::{StopHandle, StopReason};
use super::sync::{Mutex, MutexGuard};
use crate::lifecycle::id::{DeliveryId, TurnId};

/// The gate. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Gate(Arc<Mutex<Inside>>);

#[derive(Debug, Default)]
struct Inside {
    /// Drawn by approaches, flags and registrations alike; grows.
    counter: u64,
    /// Approaches under way, by number. Ordered, for the oldest decides what may be forgotten.
    approaches: BTreeMap<u64, ()>,
    /// Turns that were stopped, with the number of the newest flag of each.
    flags: HashMap<TurnId, u64>,
    /// The same in order of number, to forget from the front.
    flags_in_order: VecDeque<(u64, TurnId)>,
    /// Handlers that run, by the number of their registration.
    running: BTreeMap<u64, Running>,
    /// Which registrations a turn has: one, but for the moment in which a newer try takes over.
    of_turn: HashMap<TurnId, Vec<u64>>,
    /// Calls at an adapter, by the number of their pass.
    calls: BTreeMap<u64, AtAdapter>,
    closed: bool,
}

#[derive(Debug)]
struct Running {
    turn_try: u32,
    stop: StopHandle,
}

#[derive(Debug)]
struct AtAdapter {
    turn: Option<TurnId>,
    delivery: DeliveryId,
    stop: StopHandle,
}

/// What a [`Gate::stop_turn`] met.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Stopped {
    /// Handlers that were told to stop.
    pub handlers: usize,
    /// Deliveries of the turn that had passed the gate: what becomes of them is recorded as it
    /// happens.
    pub at_adapter: Vec<DeliveryId>,
}

/// How much is in the gate, for `status` and tests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct GateCounts {
    pub approaches: usize,
    pub flags: usize,
    pub handlers: usize,
    pub calls: usize,
}

impl Gate {
    /// An open gate with nothing in it.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Announces a worker that is about to claim. To be taken before the claim is asked for, and
    /// dropped where nothing was claimed.
    #[must_use]
    pub fn approach(&self) -> Approach {
        let mut inside = self.lock();
        let number = inside.draw();
        inside.approaches.insert(number, ());
        Approach { gate: self.clone(), number }
    }

    /// Stops a turn: its running handlers hear it at once, and no claim made before this call can
    /// pass the gate any more. To be called after the abort has committed and before it is
    /// confirmed. Calling it again is harmless.
    pub fn stop_turn(&self, turn: TurnId) -> Stopped {
        let (handles, at_adapter) = {
            let mut inside = self.lock();
            let number = inside.draw();
            inside.flags.insert(turn, number);
            inside.flags_in_order.push_back((number, turn));
            inside.forget_old_flags();
            (inside.handles_of(turn), inside.calls_of(turn))
        };
        // Outside the lock: waking may run code of the listener.
        for handle in &handles {
            handle.stop(StopReason::Aborted);
        }
        Stopped { handlers: handles.len(), at_adapter }
    }

    /// Lets nothing more pass: the first step of a planned stop. What runs goes on.
    pub fn close(&self) {
        self.lock().closed = true;
    }

    /// Tells all that runs to stop, handlers and calls, and closes the gate: the second step of a
    /// planned stop, when `drain` is over. Says how many were told.
    pub fn stop_all(&self) -> usize {
        let handles: Vec<StopHandle> = {
            let mut inside = self.lock();
            inside.closed = true;
            let handlers = inside.running.values().map(|running| running.stop.clone());
            let calls = inside.calls.values().map(|call| call.stop.clone());
            handlers.chain(calls).collect()
        };
        for handle in &handles {
            handle.stop(StopReason::PlannedStop);
        }
        handles.len()
    }

    /// How much is in the gate.
    #[must_use]
    pub fn counts(&self) -> GateCounts {
        let inside = self.lock();
        GateCounts {
            approaches: inside.approaches.len(),
            flags: inside.flags.len(),
            handlers: inside.running.len(),
            calls: inside.calls.len(),
        }
    }

    /// Nothing panics under the lock; were it so, the maps would still be whole.
    fn lock(&self) -> MutexGuard<'_, Inside> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A worker between "about to claim" and its call. Dropping it gives the approach up.
#[derive(Debug)]
pub struct Approach {
    gate: Gate,
    number: u64,
}

impl Approach {
    /// Passes the gate with a claimed delivery; to be called right before the adapter is. `turn`
    /// is the turn whose own try made the row, `None` for free rows (notices, replays, resends).
    ///
    /// # Errors
    /// Why the call must not start. The row is then to be given back without its attempt:
    /// cancelled where the turn was aborted, queued at a planned stop.
    pub fn enter(self, turn: Option<TurnId>, delivery: DeliveryId) -> Result<GatePass, StopReason> {
        let mut inside = self.gate.lock();
        inside.may_pass(turn)?;
        let (number, stop) = (inside.draw(), StopHandle::new());
        inside.calls.insert(number, AtAdapter { turn, delivery, stop: stop.clone() });
        drop(inside);
        Ok(GatePass { gate: self.gate.clone(), number, stop })
    }

    /// Passes the gate with a claimed turn; to be called right before the handler is. Handlers of
    /// lower tries of the same turn are told that they are superseded.
    ///
    /// # Errors
    /// Why the handler must not start: the turn was aborted, a newer try runs, or the host stops.
    pub fn run(self, turn: TurnId, turn_try: u32) -> Result<RunningTurn, StopReason> {
        let mut inside = self.gate.lock();
        inside.may_pass(Some(turn))?;
        let tries = inside.tries_of(turn);
        if tries.iter().any(|(newer, _)| *newer > turn_try) {
            return Err(StopReason::Superseded);
        }
        let (number, stop) = (inside.draw(), StopHandle::new());
        inside.running.insert(number, Running { turn_try, stop: stop.clone() });
        inside.of_turn.entry(turn).or_default().push(number);
        drop(inside);
        for (_, older) in tries {
            older.stop(StopReason::Superseded);
        }
        Ok(RunningTurn { gate: self.gate.clone(), number, turn, stop })
    }
}

impl Drop for Approach {
    fn drop(&mut self) {
        let mut inside = self.gate.lock();
        inside.approaches.remove(&self.number);
        inside.forget_old_flags();
    }
}

/// One call at an adapter. Keep it until the call has ended and was joined.
#[derive(Debug)]
pub struct GatePass {
    gate: Gate,
    number: u64,
    stop: StopHandle,
}

impl GatePass {
    /// Set where a planned stop outlasts `drain`; never by an abort, which lets the call end.
    #[must_use]
    pub fn stop(&self) -> &StopHandle {
        &self.stop
    }
}

impl Drop for GatePass {
    fn drop(&mut self) {
        self.gate.lock().calls.remove(&self.number);
    }
}

/// One handler that runs. Keep it while the handler's future lives.
#[derive(Debug)]
pub struct RunningTurn {
    gate: Gate,
    number: u64,
    turn: TurnId,
    stop: StopHandle,
}

impl RunningTurn {
    /// Set by an abort, a newer try or a planned stop; the worker sets it for a passed deadline.
    #[must_use]
    pub fn stop(&self) -> &StopHandle {
        &self.stop
    }
}

impl Drop for RunningTurn {
    fn drop(&mut self) {
        let mut inside = self.gate.lock();
        inside.running.remove(&self.number);
        if let Some(numbers) = inside.of_turn.get_mut(&self.turn) {
            numbers.retain(|number| *number != self.number);
            if numbers.is_empty() {
                inside.of_turn.remove(&self.turn);
            }
        }
    }
}

impl Inside {
    fn draw(&mut self) -> u64 {
        self.counter += 1;
        self.counter
    }

    fn may_pass(&self, turn: Option<TurnId>) -> Result<(), StopReason> {
        if turn.is_some_and(|turn| self.flags.contains_key(&turn)) {
            return Err(StopReason::Aborted);
        }
        if self.closed { Err(StopReason::PlannedStop) } else { Ok(()) }
    }

    fn tries_of(&self, turn: TurnId) -> Vec<(u32, StopHandle)> {
        let numbers = self.of_turn.get(&turn).map(Vec::as_slice).unwrap_or_default();
        let running = numbers.iter().filter_map(|number| self.running.get(number));
        running.map(|running| (running.turn_try, running.stop.clone())).collect()
    }

    fn handles_of(&self, turn: TurnId) -> Vec<StopHandle> {
        self.tries_of(turn).into_iter().map(|(_, stop)| stop).collect()
    }

    fn calls_of(&self, turn: TurnId) -> Vec<DeliveryId> {
        let calls = self.calls.values().filter(|call| call.turn == Some(turn));
        calls.map(|call| call.delivery).collect()
    }

    /// A flag is needed by approaches older than it, and by no others.
    fn forget_old_flags(&mut self) {
        let oldest = self.approaches.keys().next().copied().unwrap_or(u64::MAX);
        while let Some((number, turn)) = self.flags_in_order.front().copied() {
            if number > oldest {
                break;
            }
            self.flags_in_order.pop_front();
            // A turn that was stopped twice is kept by its newer flag.
            if self.flags.get(&turn) == Some(&number) {
                self.flags.remove(&turn);
            }
        }
    }
}
