//! Claims that are over: of hosts that died, and of workers that did not renew. At start the same
//! sweep runs once before intake opens, and finds all that earlier boots left.

use super::execute::{Planned, execute};
use super::report::Report;
use crate::lifecycle::plan::{ClaimFacts, ClaimFate, Claimed, claim_fate};
use crate::store::{
    ClaimedDeliveryRow, ClaimedTurnRow, Claims, Query, Rows, StoreError, SweepStep,
};
use crate::workers::hub::{Hub, wrong_answer};
use crate::workers::rules::STORE_RETRY_MS;

/// Claims of each kind that are looked at together.
const PAGE_ROWS: u32 = 500;
/// What the report counts tries of pull workers as whose lease is over.
const LEASES_RAN_OUT: &str = "leases_ran_out";
/// Between two looks at claims of this start that are over.
const SECOND_LOOK_MS: u64 = 1_000;

/// One pass over all claims, page by page.
pub(super) async fn run(hub: &Hub) -> Report {
    let mut report = Report::default();
    let (mut after_turn, mut after_delivery) = (0, 0);
    loop {
        let page = match settled_page(hub, after_turn, after_delivery).await {
            Ok(page) => page,
            Err(error) => {
                report.fail("claims", error);
                break;
            }
        };
        let last_turn = page.turns.last().map(|row| row.claim.turn.number);
        let last_delivery = page.deliveries.last().map(|row| row.claim.delivery.number);
        if last_turn.is_none() && last_delivery.is_none() {
            break;
        }
        after_turn = last_turn.unwrap_or(after_turn);
        after_delivery = last_delivery.unwrap_or(after_delivery);
        report.seen += (page.turns.len() + page.deliveries.len()) as u64;
        let plan = plan(&page, hub.mono_ms(), just_back(hub), &mut report);
        execute(hub, plan, &mut report).await;
    }
    // Nobody else knows of their ends: the worker may never be heard of again.
    let ran_out = report.done.get(LEASES_RAN_OUT).copied().unwrap_or_default();
    hub.metrics.tries_ran_out.add(ran_out);
    if report.changed() > 0 {
        hub.wake_all();
    }
    report
}

async fn page(hub: &Hub, after_turn: i64, after_delivery: i64) -> Result<Claims, StoreError> {
    let query = Query::Claims { after_turn, after_delivery, rows_max: PAGE_ROWS };
    match hub.store.read(query).await? {
        Rows::Claims(claims) => Ok(claims),
        _ => Err(wrong_answer("list claims")),
    }
}

/// A page in which nobody of this start is just about to renew. Where the whole host stood still,
/// everybody wakes at once: whoever holds a claim renews it as the first thing, and is let go first.
async fn settled_page(
    hub: &Hub,
    after_turn: i64,
    after_delivery: i64,
) -> Result<Claims, StoreError> {
    let found = page(hub, after_turn, after_delivery).await?;
    let now_ms = hub.mono_ms();
    let over = |same_boot: bool, expires_ms: i64| same_boot && now_ms >= expires_ms;
    let turns = found.turns.iter().any(|row| over(row.same_boot, row.expires_mono_ms));
    let rows = found.deliveries.iter().any(|row| over(row.same_boot, row.expires_mono_ms));
    if !turns && !rows {
        return Ok(found);
    }
    hub.sleep_ms(SECOND_LOOK_MS).await;
    page(hub, after_turn, after_delivery).await
}

/// Whether the store was closed to writes a moment ago. Nobody could renew a claim then, and those
/// who hold one keep what it came to: they write it down first.
fn just_back(hub: &Hub) -> bool {
    hub.store.since_trouble_ms().is_some_and(|ms| ms <= 2 * STORE_RETRY_MS.1)
}

fn plan(page: &Claims, now_mono_ms: i64, just_back: bool, report: &mut Report) -> Vec<Planned> {
    let turns = page.turns.iter().map(|row| (row.same_boot, of_turn(row, now_mono_ms)));
    let of_rows = |row: &ClaimedDeliveryRow| (row.same_boot, of_delivery(row, now_mono_ms));
    let deliveries = page.deliveries.iter().map(of_rows);
    let mut planned = Vec::new();
    for (same_boot, step) in turns.chain(deliveries) {
        match step {
            Some(_) if same_boot && just_back => report.leave("store_was_not_writable", 1),
            Some(step) => planned.push(step),
            None => report.leave("claim_holds", 1),
        }
    }
    planned
}

fn of_turn(row: &ClaimedTurnRow, now_mono_ms: i64) -> Option<Planned> {
    let ClaimedTurnRow { claim, pulled, same_boot, expires_mono_ms } = *row;
    let claimed = match pulled {
        Some(lease) => Claimed::PulledTurn { ends_by_deadline: lease.ends_by_deadline() },
        None => Claimed::Turn,
    };
    let facts = ClaimFacts { claimed, same_boot, expires_mono_ms };
    let item = claim.turn.to_string();
    match claim_fate(&facts, now_mono_ms) {
        ClaimFate::LoseTurn(loss) => {
            let what = match pulled {
                Some(_) => LEASES_RAN_OUT,
                None if same_boot => "turns_not_renewed",
                None => "turns_of_dead_hosts",
            };
            Some(Planned { item, what, step: SweepStep::LoseTurn { claim, loss } })
        }
        ClaimFate::Adopt => {
            Some(Planned { item, what: "leases_adopted", step: SweepStep::AdoptLease { claim } })
        }
        ClaimFate::Leave | ClaimFate::LoseSend(_) | ClaimFate::LoseAsk => None,
    }
}

fn of_delivery(row: &ClaimedDeliveryRow, now_mono_ms: i64) -> Option<Planned> {
    let ClaimedDeliveryRow { claim, asks, same_boot, expires_mono_ms } = *row;
    let claimed = if asks { Claimed::Ask } else { Claimed::Send };
    let facts = ClaimFacts { claimed, same_boot, expires_mono_ms };
    let item = claim.delivery.to_string();
    match claim_fate(&facts, now_mono_ms) {
        ClaimFate::LoseSend(fault) => {
            let what = if same_boot { "sends_not_ended" } else { "sends_of_dead_hosts" };
            Some(Planned { item, what, step: SweepStep::LoseSend { claim, fault } })
        }
        ClaimFate::LoseAsk => {
            Some(Planned { item, what: "questions_lost", step: SweepStep::LoseAsk { claim } })
        }
        ClaimFate::Leave | ClaimFate::Adopt | ClaimFate::LoseTurn(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workers::tests::bench::{Bench, Wishes};
    use crate::workers::tests::script::{Act, Send};

    // Case: G3
    #[tokio::test(start_paused = true)]
    async fn a_plan_made_twice_is_the_same_and_carried_out_twice_changes_nothing_more() {
        let bench = Bench::new().await;
        bench.adapter.then([Send::Lost]);
        bench.post("sending", "m1", "hello").await;
        bench.wait(10).await;
        bench.handler.then(vec![Act::Sleep(600_000)]);
        bench.post("running", "m2", "hello").await;
        bench.wait(10).await;
        let bench = bench.killed(Wishes::default()).await;
        let hub = bench.workers.hub();
        let mut report = Report::default();
        let found = page(hub, 0, 0).await.unwrap();
        let (first, second) =
            [(); 2].map(|()| plan(&found, hub.mono_ms(), false, &mut report)).into();
        assert_eq!(first.len(), 2, "{first:?}");
        assert_eq!(format!("{first:?}"), format!("{second:?}"));
        execute(hub, first, &mut report).await;
        assert_eq!((report.changed(), report.missed), (2, 0), "{report:?}");
        let rows = (bench.outbox().await, bench.store.stats().core.commits);
        let mut again = Report::default();
        execute(hub, second, &mut again).await;
        assert_eq!((again.changed(), again.missed), (0, 2), "{again:?}");
        assert_eq!(rows, (bench.outbox().await, bench.store.stats().core.commits));
    }
}
