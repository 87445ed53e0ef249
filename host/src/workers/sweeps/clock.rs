//! The wall clock against the monotonic one. A jump is told, keeps ages from being applied for two
//! sweeps, frees what was set due by a future that is gone, and wakes everybody who sleeps until a
//! time that is no longer what it was.

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::prune::step;
use super::report::Report;
use crate::env::Now;
use crate::lifecycle::plan::{AgeBar, ClockWatch, Jump};
use crate::store::SweepStep;
use crate::workers::hub::Hub;

/// Rows freed in one step, and steps of one run.
const BATCH_ROWS: u32 = 1_000;
const BATCHES_MAX: u32 = 1_000;

/// What is remembered of the clock.
#[derive(Debug)]
pub(in crate::workers) struct Clock(Mutex<Inside>);

#[derive(Debug)]
struct Inside {
    watch: ClockWatch,
    bar: AgeBar,
    /// A jump back whose rows are not all freed yet.
    unreleased: bool,
}

impl Clock {
    pub(in crate::workers) fn new(now: Now) -> Self {
        let watch = ClockWatch::new(now.wall_ms, now.mono_ms);
        Self(Mutex::new(Inside { watch, bar: AgeBar::default(), unreleased: true }))
    }

    pub(super) fn may_apply_ages(&self) -> bool {
        self.lock().bar.may_apply()
    }

    /// As [`Self::may_apply_ages`], asked any number of times.
    pub(super) fn is_trusted(&self) -> bool {
        self.lock().bar.is_down()
    }

    fn look(&self, now: Now) -> Option<Jump> {
        let mut inside = self.lock();
        let jump = inside.watch.look(now.wall_ms, now.mono_ms)?;
        inside.bar.jumped();
        inside.unreleased |= jump.by_ms < 0;
        Some(jump)
    }

    fn lock(&self) -> MutexGuard<'_, Inside> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One pass.
pub(super) async fn run(hub: &Hub) -> Report {
    let mut report = Report::default();
    look(hub, &mut report).await;
    report
}

/// Looks, and does what a jump asks for. At start too: the clock may have gone back while the host
/// was down.
pub(super) async fn look(hub: &Hub, report: &mut Report) {
    let now = hub.env.now();
    let jump = hub.sweeps.clock().look(now);
    if let Some(Jump { by_ms }) = jump {
        hub.metrics.clock_jumps.up();
        let sentence = format!(
            "the clock jumped by {by_ms} ms; ages are not applied before the sweep after next"
        );
        hub.status.event(now.wall_ms, "clock_jumped", None, sentence);
    }
    if hub.sweeps.clock().lock().unreleased {
        release(hub, report).await;
    }
    if jump.is_some() || report.changed() > 0 {
        hub.wake_all();
    }
}

async fn release(hub: &Hub, report: &mut Report) {
    for _ in 0..BATCHES_MAX {
        match step(hub, SweepStep::ReleaseFuture { rows_max: BATCH_ROWS }).await {
            Ok(0) => {
                hub.sweeps.clock().lock().unreleased = false;
                return;
            }
            Ok(rows) => report.did("rows_freed_from_the_future", rows),
            Err(error) => return report.fail("clock", error),
        }
    }
}
