//! The sweeps: periodic passes that find what the fast path lost. Each plans by pure rules
//! ([`crate::lifecycle::plan`]), executes guarded commands, and reports.

mod ages;
mod claims;
mod clock;
mod driver;
mod due;
mod execute;
mod files;
mod prune;
pub mod report;
mod store;

use std::sync::Arc;

use driver::{Means, Poke, Task};
use report::Report;

use super::hub::Hub;
use super::status::Why;
use crate::env::Now;
use clock::Clock;
pub(super) use store::StoreWatch;

/// Retention is not urgent.
const PRUNE_PERIODS: u64 = 20;

/// Every sweep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sweep {
    Claims,
    Ages,
    Due,
    Prune,
    Clock,
    Store,
    Files,
}

impl Sweep {
    /// All of them, in the order in which one pass of all runs.
    pub const ALL: [Self; 7] =
        [Self::Clock, Self::Store, Self::Claims, Self::Ages, Self::Due, Self::Prune, Self::Files];

    fn task(self, sweep_ms: u64) -> Task {
        let (name, description, period_ms) = match self {
            Self::Claims => ("claims", "Frees what dead hosts and lost workers hold.", sweep_ms),
            Self::Ages => ("ages", "Ends what waited for too long.", sweep_ms),
            Self::Due => ("due", "Finds what is due and was not taken.", sweep_ms),
            Self::Prune => {
                let period_ms = sweep_ms.saturating_mul(PRUNE_PERIODS);
                ("prune", "Removes what is past its retention.", period_ms)
            }
            Self::Files => {
                let period_ms = sweep_ms.saturating_mul(PRUNE_PERIODS);
                ("files", "Removes files that nobody needs.", period_ms)
            }
            Self::Clock => ("clock", "Watches the clock for jumps.", (sweep_ms / 3).max(1)),
            Self::Store => {
                let description = "Watches whether the store can be written.";
                ("store", description, (sweep_ms / 3).max(1))
            }
        };
        Task { name, description, period_ms }
    }

    async fn run(self, hub: Arc<Hub>) -> Report {
        match self {
            Self::Claims => claims::run(&hub).await,
            Self::Ages => ages::run(&hub).await,
            Self::Due => due::run(&hub).await,
            Self::Prune => prune::run(&hub).await,
            Self::Clock => clock::run(&hub).await,
            Self::Store => store::run(&hub).await,
            Self::Files => files::run(&hub).await,
        }
    }
}

/// What the sweeps remember, and what wakes them.
#[derive(Debug)]
pub(super) struct Pokes {
    pokes: [Poke; Sweep::ALL.len()],
    clock: Clock,
    store: StoreWatch,
}

impl Pokes {
    pub(super) fn new(now: Now) -> Self {
        Self { pokes: Default::default(), clock: Clock::new(now), store: StoreWatch::default() }
    }

    fn clock(&self) -> &Clock {
        &self.clock
    }

    /// What is remembered of the store.
    pub(super) fn store(&self) -> &StoreWatch {
        &self.store
    }

    fn of(&self, sweep: Sweep) -> &Poke {
        &self.pokes[sweep as usize]
    }
}

/// Makes a sweep run now; while it runs, exactly once more.
pub fn poke(hub: &Hub, sweep: Sweep) {
    hub.sweeps.of(sweep).poke();
}

/// Looks at the clock, and says whether it may be gone by: not for two sweeps after a jump.
pub(super) async fn clock_is_trusted(hub: &Hub) -> bool {
    clock::look(hub, &mut Report::default()).await;
    hub.sweeps.clock().is_trusted()
}

/// Drives one sweep until the host stops.
pub(super) async fn drive(hub: Arc<Hub>, sweep: Sweep) {
    let task = sweep.task(hub.rules.sweep_ms);
    let run = || sweep.run(Arc::clone(&hub));
    driver::drive(Means::of(&hub), task, hub.sweeps.of(sweep), run).await;
}

/// Runs one sweep now, by its rules and with its report.
pub async fn run_once(hub: &Arc<Hub>, sweep: Sweep) -> Report {
    let task = sweep.task(hub.rules.sweep_ms);
    driver::once(&Means::of(hub), task, Why::Start, sweep.run(Arc::clone(hub))).await
}

/// What a start does before intake opens: the sweep of claims, whole, once. It finds all that
/// earlier boots held; the report equals the rows.
pub async fn recover(hub: &Arc<Hub>) -> Report {
    run_once(hub, Sweep::Clock).await;
    run_once(hub, Sweep::Claims).await
}
