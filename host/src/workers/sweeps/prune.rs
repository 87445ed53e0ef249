//! What is past its retention: rows at rest in bounded batches, with pauses, so that the live
//! traffic does not wait behind them.

use super::report::Report;
use crate::store::{Answer, Command, StoreError, SweepStep};
use crate::workers::hub::{Hub, wrong_answer};

/// Rows of one batch: well under a millisecond of the writer's time each.
const BATCH_ROWS: u32 = 200;
/// Batches of one run; the next run goes on.
const BATCHES_MAX: u32 = 500;
/// Between two batches.
const PAUSE_MS: u64 = 200;

/// One pass.
pub(super) async fn run(hub: &Hub) -> Report {
    let mut report = Report::default();
    for _ in 0..BATCHES_MAX {
        // A clock that jumped may be set right again, and what is removed does not come back.
        if !super::clock_is_trusted(hub).await {
            report.leave("clock_jumped", 1);
            break;
        }
        let changed = match step(hub, SweepStep::Prune { rows_max: BATCH_ROWS }).await {
            Ok(changed) => changed,
            Err(error) => {
                report.fail("retention", error);
                break;
            }
        };
        report.seen += changed;
        report.did("rows_pruned", changed);
        if changed < u64::from(BATCH_ROWS) || !hub.shutdown.is_running() {
            break;
        }
        hub.sleep_ms(PAUSE_MS).await;
    }
    report
}

pub(super) async fn step(hub: &Hub, step: SweepStep) -> Result<u64, StoreError> {
    match hub.store.run(Command::Sweep(step)).await? {
        Answer::Changed(rows) => Ok(rows),
        _ => Err(wrong_answer("sweep")),
    }
}
