//! Rows that are due and that nobody took: a hint was lost, or whoever waits knows less than the
//! rows do. It looks without trusting hints, breakers or what the channels' memory says, and says
//! of every row that waits for a person why it waits.

use super::report::Report;
use crate::lifecycle::plan::overdue;
use crate::store::{ChannelRow, NextDue, Query, Rows, StoreError};
use crate::workers::breaker::BreakerState;
use crate::workers::hub::{Hub, wrong_answer};

/// One pass.
pub(super) async fn run(hub: &Hub) -> Report {
    let mut report = Report::default();
    match due(hub, Query::NextTurn).await {
        Ok(late) => {
            report.seen += 1;
            if late {
                found(hub, &mut report, "turns_woken");
                hub.wake_turns();
            }
        }
        Err(error) => report.fail("turns", error),
    }
    match channels(hub).await {
        Ok(rows) => {
            for row in rows {
                channel(hub, &row, &mut report).await;
            }
        }
        Err(error) => report.fail("channels", error),
    }
    report
}

async fn channel(hub: &Hub, row: &ChannelRow, report: &mut Report) {
    report.seen += 1;
    let waiting = row.turns_unfinished + row.deliveries_unfinished;
    let name = crate::lifecycle::id::ChannelName(row.name.clone());
    if !row.present {
        return report.leave(format!("{name}: channel_removed"), waiting);
    }
    let Some(served) = hub.channel(&name) else {
        return report.leave(format!("{name}: channel_refused"), waiting);
    };
    served.note_paused(row.paused);
    if row.paused {
        let code = row.code.as_deref().unwrap_or("paused");
        return report.leave(format!("{name}: {code}"), row.deliveries_unfinished);
    }
    match due(hub, Query::NextDelivery { channel: name.clone() }).await {
        Ok(true) => {
            if served.breaker_state() == BreakerState::Closed {
                found(hub, report, "channels_woken");
            } else {
                report.leave(format!("{name}: breaker_open"), row.deliveries_unfinished);
            }
            served.wake();
        }
        Ok(false) => {}
        Err(error) => report.fail(row.name.clone(), error),
    }
}

fn found(hub: &Hub, report: &mut Report, what: &'static str) {
    report.did(what, 1);
    hub.metrics.rows_found_by_sweep.up();
}

async fn due(hub: &Hub, query: Query) -> Result<bool, StoreError> {
    match hub.store.read(query).await? {
        Rows::Due(NextDue::Nothing) => Ok(false),
        Rows::Due(NextDue::At(ms)) => Ok(overdue(ms, hub.env.now().wall_ms, hub.rules.grace_ms)),
        _ => Err(wrong_answer("when the next row is due")),
    }
}

async fn channels(hub: &Hub) -> Result<Vec<ChannelRow>, StoreError> {
    match hub.store.read(Query::Channels).await? {
        Rows::Channels(rows) => Ok(rows),
        _ => Err(wrong_answer("list channels")),
    }
}
