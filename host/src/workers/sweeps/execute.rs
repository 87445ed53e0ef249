//! Carrying a plan out: each step is one guarded command, and one that fails is named and harms no
//! other.

use futures_util::future::join_all;

use super::report::Report;
use crate::store::{Answer, Command, Guarded, StoreError, SweepStep};
use crate::workers::hub::Hub;

/// Steps that wait for the writer at once: enough for one commit to carry many.
const TOGETHER: usize = 64;

/// One step of a plan.
#[derive(Debug, Clone)]
pub(super) struct Planned {
    /// Which row, for the report.
    pub(super) item: String,
    /// What the report counts it as.
    pub(super) what: &'static str,
    pub(super) step: SweepStep,
}

/// Carries the steps out in bounded groups.
pub(super) async fn execute(hub: &Hub, plan: Vec<Planned>, report: &mut Report) {
    let mut rest = plan.into_iter().peekable();
    while rest.peek().is_some() {
        let group: Vec<Planned> = rest.by_ref().take(TOGETHER).collect();
        let running = group.into_iter().map(|planned| async move {
            let Planned { item, what, step } = planned;
            (item, what, hub.store.run(Command::Sweep(step)).await)
        });
        for (item, what, result) in join_all(running).await {
            account(hub, item, what, result, report);
        }
    }
}

fn account(
    hub: &Hub,
    item: String,
    what: &'static str,
    result: Result<Answer, StoreError>,
    report: &mut Report,
) {
    let answer = match result {
        Ok(answer) => answer,
        Err(error) => return report.fail(item, error),
    };
    let (guarded, end) = match answer {
        Answer::TurnEnded { guarded, end, .. } => (guarded, end),
        Answer::Guarded(guarded) => (guarded, None),
        Answer::Recorded(recorded) if recorded.claim_held => (Guarded::Done, recorded.turn_ended),
        Answer::Recorded(_) => (Guarded::Lost, None),
        Answer::Done
        | Answer::Accepted(_)
        | Answer::Posted(_)
        | Answer::ClaimedTurn(_)
        | Answer::ClaimedDelivery(_)
        | Answer::Enqueued { .. }
        | Answer::Operated { .. }
        | Answer::Imported(_)
        | Answer::Bulk { .. }
        | Answer::Pull(_)
        | Answer::Changed(_)
        | Answer::Fell(_)
        | Answer::Blob(_) => {
            return report.fail(item, crate::workers::hub::wrong_answer("sweep"));
        }
    };
    match guarded {
        Guarded::Done => report.did(what, 1),
        Guarded::Lost => report.missed += 1,
    }
    if let Some(end) = end {
        hub.turn_ended(&end);
    }
}
