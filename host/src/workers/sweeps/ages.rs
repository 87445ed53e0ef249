//! Turns and deliveries that waited for too long. Never under a claim, never of a removed channel,
//! and not right after the clock jumped.

use super::execute::{Planned, execute};
use super::report::Report;
use crate::store::{Query, Rows, StoreError, SweepStep};
use crate::workers::hub::{Hub, wrong_answer};

/// Rows looked at together.
const PAGE_ROWS: u32 = 500;
/// Pages of one run; the next run goes on.
const PAGES_MAX: u32 = 40;

/// One pass.
pub(super) async fn run(hub: &Hub) -> Report {
    let mut report = Report::default();
    super::clock::look(hub, &mut report).await;
    if !hub.sweeps.clock().may_apply_ages() {
        report.leave("clock_jumped", 1);
        return report;
    }
    pages(hub, Kind::Turns, &mut report).await;
    pages(hub, Kind::Deliveries, &mut report).await;
    if report.changed() > 0 {
        hub.wake_all();
    }
    report
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Turns,
    Deliveries,
}

/// As long as a full page was changed there may be another one. A page of which nothing could be
/// changed is not read again: it would come back for ever.
async fn pages(hub: &Hub, kind: Kind, report: &mut Report) {
    for _ in 0..PAGES_MAX {
        let plan = match plan(hub, kind).await {
            Ok(plan) => plan,
            Err(error) => {
                return report.fail("ages", error);
            }
        };
        let (rows, before) = (plan.len(), report.changed());
        report.seen += rows as u64;
        execute(hub, plan, report).await;
        if rows < PAGE_ROWS as usize || report.changed() == before {
            return;
        }
    }
}

async fn plan(hub: &Hub, kind: Kind) -> Result<Vec<Planned>, StoreError> {
    let now_ms = hub.env.now().wall_ms;
    let rows_max = PAGE_ROWS;
    let query = match kind {
        Kind::Turns => Query::OldTurns { now_ms, rows_max },
        Kind::Deliveries => Query::OldDeliveries { now_ms, rows_max },
    };
    match hub.store.read(query).await? {
        Rows::TurnIds(turns) => Ok(turns
            .into_iter()
            .map(|turn| Planned {
                item: turn.to_string(),
                what: "turns_too_old",
                step: SweepStep::ExpireTurn { turn },
            })
            .collect()),
        Rows::DeliveryIds(deliveries) => Ok(deliveries
            .into_iter()
            .map(|delivery| Planned {
                item: delivery.to_string(),
                what: "deliveries_too_old",
                step: SweepStep::ExpireDelivery { delivery },
            })
            .collect()),
        _ => Err(wrong_answer("list old rows")),
    }
}
