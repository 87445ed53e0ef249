//! What makes running guests give way: a thread that moves the engine's epoch on every 10 ms while
//! any call runs, and sleeps for good while none does. A thread and not a task, because a guest in
//! a loop may hold every worker of the runtime. It knows no calls, only how many there are.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use crate::env::Env;

/// Between two ticks: a running guest is looked at this often.
pub(super) const TICK: Duration = Duration::from_millis(10);

/// The ticker of one engine; it ends when this is dropped.
pub(super) struct Ticker(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    calls: u64,
    over: bool,
}

/// Held by a running call.
pub(super) struct Running(Arc<Shared>);

impl Ticker {
    /// Starts the thread, parked.
    pub(super) fn start(env: &Env, engine: wasmtime::Engine) -> std::io::Result<Self> {
        let shared = Arc::new(Shared { state: Mutex::default(), changed: Condvar::new() });
        let ticking = Arc::clone(&shared);
        env.thread("epoch-ticker", move || ticking.tick(&engine))?;
        Ok(Self(shared))
    }

    /// From now until the guard is dropped the epoch moves.
    pub(super) fn running(&self) -> Running {
        let mut state = self.0.lock();
        state.calls += 1;
        if state.calls == 1 {
            self.0.changed.notify_one();
        }
        Running(Arc::clone(&self.0))
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.0.lock().over = true;
        self.0.changed.notify_one();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.lock().calls -= 1;
    }
}

impl Shared {
    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tick(&self, engine: &wasmtime::Engine) {
        let mut state = self.lock();
        loop {
            state = self
                .changed
                .wait_while(state, |state| state.calls == 0 && !state.over)
                .unwrap_or_else(PoisonError::into_inner);
            let waited = self.changed.wait_timeout_while(state, TICK, |state| !state.over);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
            if state.over {
                return;
            }
            engine.increment_epoch();
        }
    }
}
