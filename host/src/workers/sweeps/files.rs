//! Files that nobody needs any more: rows whose messages are gone, contents without rows, and what
//! dead hosts left half-written.

use std::time::Duration;

use super::report::Report;
use crate::workers::hub::Hub;

/// What was stored and is named by nothing yet is on its way into a message, at least so long.
const KEEP_MS_MIN: u64 = 3_600_000;
/// Rounds of one run; the next run goes on.
const ROUNDS_MAX: u32 = 100;
/// Between two rounds.
const PAUSE_MS: u64 = 100;

/// One pass.
pub(super) async fn run(hub: &Hub) -> Report {
    let mut report = Report::default();
    let keep_ms = hub.rules.handler_deadline_ms.saturating_mul(2).max(KEEP_MS_MIN);
    for _ in 0..ROUNDS_MAX {
        // A clock that jumped may be set right again, and what is removed does not come back.
        if !super::clock_is_trusted(hub).await {
            report.leave("clock_jumped", 1);
            break;
        }
        let swept = match hub.file_means.files.sweep(Duration::from_millis(keep_ms)).await {
            Ok(swept) => swept,
            Err(error) => {
                report.fail("files", error);
                break;
            }
        };
        report.seen += swept.rows + swept.contents + swept.orphans;
        report.did("files_forgotten", swept.rows);
        report.did("contents_removed", swept.contents);
        report.did("orphans_removed", swept.orphans);
        if swept.rows == 0 || !hub.shutdown.is_running() {
            break;
        }
        hub.sleep_ms(PAUSE_MS).await;
    }
    report
}
