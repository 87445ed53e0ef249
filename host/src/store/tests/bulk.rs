//! Orders on many rows: bounded, exact about each row, and never about what is live.

use std::time::Duration;

use super::rig::{Rig, message};
use crate::lifecycle::id::{DeliveryId, TurnId};
use crate::lifecycle::outcome::{Fault, Outcome};
use crate::store::*;

/// A turn whose reply was rejected, and its dead row.
fn dead(rig: &mut Rig, id: &str) -> (TurnId, DeliveryId) {
    let turn = rig.delivering(id, &["no"]);
    let row = rig.claim_delivery().unwrap();
    rig.record(row.claim, Outcome::Rejected(Fault::new("rude", "the platform says no")));
    (turn, row.claim.delivery)
}

/// What asks for a person: dead turns, dead deliveries, held ones; the same for metrics and people.
fn asks(rig: &Rig) -> (u64, u64, u64) {
    let Rows::Gauges(gauges) = rig.ask(&Query::Gauges) else { panic!() };
    let Rows::Channels(shown) = rig.ask(&Query::Channels) else { panic!() };
    let asks = (gauges[0].dead_turns, gauges[0].dead_deliveries, gauges[0].held);
    assert_eq!((shown[0].turns_dead, shown[0].deliveries_dead, shown[0].held), asks);
    asks
}

/// A turn whose reply is held, and its held row.
fn held(rig: &mut Rig, id: &str) -> (TurnId, DeliveryId) {
    let turn = rig.delivering(id, &["maybe"]);
    let row = rig.claim_delivery().unwrap();
    rig.record(row.claim, Outcome::Unknown(Fault::new("deadline", "no answer came")));
    assert_eq!(rig.turn(turn).row.code.as_deref(), Some("outcome_unknown"));
    (turn, row.claim.delivery)
}

fn order(rig: &mut Rig, act: BulkAct, trial: Trial, rows: Vec<ReplayOf>) -> Vec<BulkRow> {
    let bulk = Bulk { act, rows, trial, by: "test".to_owned() };
    match rig.run(Command::Bulk(Box::new(bulk))) {
        Answer::Bulk { rows, .. } => rows,
        other => panic!("{other:?}"),
    }
}

fn reasons(rows: &[BulkRow]) -> Vec<(BulkResult, &str)> {
    rows.iter().map(|row| (row.result, row.reason.as_deref().unwrap_or_default())).collect()
}

const REPLAY: BulkAct = BulkAct::Replay { force: false };
const PURGE: BulkAct = BulkAct::Purge(PurgeReach::AtRest);
const PURGE_LIVE: BulkAct = BulkAct::Purge(PurgeReach::RemovedChannels);

// Case: J2
#[test]
fn many_dead_letters_are_replayed_once_each_and_a_second_time_only_where_it_is_forced() {
    let mut rig = Rig::new();
    let rows: Vec<_> =
        (0..5).map(|n| ReplayOf::Delivery(dead(&mut rig, &format!("m{n}")).1)).collect();
    let first = order(&mut rig, REPLAY, Trial::ForReal, rows.clone());
    assert!(first.iter().all(|row| row.result == BulkResult::Done && row.ids.len() == 1));
    assert_eq!(rig.outbox().len(), 10, "one new row each");
    let again = order(&mut rig, REPLAY, Trial::ForReal, rows.clone());
    for (result, reason) in reasons(&again) {
        assert_eq!(result, BulkResult::Skipped);
        assert!(reason.contains("replayed before; --force repeats"), "{reason}");
    }
    assert_eq!(rig.outbox().len(), 10);
    let force = BulkAct::Replay { force: true };
    assert_eq!(order(&mut rig, force, Trial::ForReal, rows)[0].result, BulkResult::Done);
    assert_eq!(rig.outbox().len(), 15);
}

// Case: J3
#[test]
fn a_dry_run_says_what_would_be_done_and_writes_nothing_at_all() {
    let mut rig = Rig::new();
    let (turn, row) = dead(&mut rig, "m1");
    let (_, unknown) = held(&mut rig, "m2");
    let (commits, before) = (rig.core.stats().commits, rig.states());
    let drop = BulkAct::Resolve(Resolution::Drop);
    for (act, row) in [
        (PURGE, ReplayOf::Turn(turn)),
        (REPLAY, ReplayOf::Turn(turn)),
        (REPLAY, ReplayOf::Delivery(row)),
        (drop, ReplayOf::Delivery(unknown)),
    ] {
        let tried = order(&mut rig, act, Trial::DryRun, vec![row]);
        assert_eq!(reasons(&tried), [(BulkResult::Done, "")], "{act}");
        assert_eq!(rig.states(), before, "{act}");
    }
    assert_eq!(rig.core.stats().commits, commits);
    let purged = order(&mut rig, PURGE, Trial::DryRun, vec![ReplayOf::Turn(turn)]);
    assert_eq!(purged[0].ids, [row.to_string()], "what goes with it is named");
}

// Case: J3, G7
#[test]
fn a_purged_dead_letter_is_gone_with_its_rows_and_its_message_stays_known() {
    let mut rig = Rig::new();
    let (turn, row) = dead(&mut rig, "m1");
    rig.pass(Duration::from_secs(30 * 86_400));
    rig.run(Command::Sweep(SweepStep::Prune { rows_max: 100 }));
    assert_eq!(rig.turn(turn).row.state, "failed", "retention leaves dead letters alone");
    let purged = order(&mut rig, PURGE, Trial::ForReal, vec![ReplayOf::Turn(turn)]);
    assert_eq!((purged[0].result, &*purged[0].ids), (BulkResult::Done, &[row.to_string()][..]));
    let left = |sql: &str| rig.core.connection().unwrap().query_row(sql, [], |r| r.get(0)).unwrap();
    for table in ["turn", "delivery", "attempt"] {
        let count: i64 = left(&format!("SELECT count(*) FROM {table}"));
        assert_eq!(count, 0, "{table}");
    }
    let again = order(&mut rig, PURGE, Trial::ForReal, vec![ReplayOf::Turn(turn)]);
    assert_eq!(again[0].result, BulkResult::Skipped, "it is gone: {again:?}");
}

// Case: A4, G7
#[test]
fn the_key_of_a_purged_turn_answers_for_its_window_and_its_number_is_not_given_again() {
    let mut rig = Rig::new();
    let (turn, _) = dead(&mut rig, "m1");
    order(&mut rig, PURGE, Trial::ForReal, vec![ReplayOf::Turn(turn)]);
    rig.crash();
    match rig.accept(message("room", "m1", "hello")) {
        AcceptedEvent::Duplicate { turn: Some(known), .. } => assert_eq!(known, turn),
        other => panic!("{other:?}"),
    }
    assert!(rig.accept_turn(message("room", "m2", "hello")).number > turn.number);
}

// Case: G6
#[test]
fn what_is_live_or_waits_for_a_person_is_purged_only_with_its_removed_channel() {
    let mut rig = Rig::new();
    let (waiting, held_row) = held(&mut rig, "m1");
    let queued = rig.accept_turn(message("hall", "m2", "hello"));
    let rows = vec![ReplayOf::Turn(waiting), ReplayOf::Turn(queued), ReplayOf::Delivery(held_row)];
    for act in [PURGE, PURGE_LIVE] {
        let kept = order(&mut rig, act, Trial::ForReal, rows.clone());
        let reasons = reasons(&kept);
        assert!(reasons[0].1.contains("outbox resolve"), "{kept:?}");
        assert!(reasons[1].1.contains("not at rest"), "{kept:?}");
        assert!(reasons.iter().all(|(result, _)| *result == BulkResult::Skipped), "{kept:?}");
    }
    rig.run(Command::ChannelsPresent(vec!["other".into()]));
    let kept = order(&mut rig, PURGE, Trial::ForReal, rows.clone());
    assert!(kept.iter().all(|row| row.result == BulkResult::Skipped), "not unasked: {kept:?}");
    let gone = order(&mut rig, PURGE_LIVE, Trial::ForReal, rows[..2].to_vec());
    assert!(gone.iter().all(|row| row.result == BulkResult::Done), "{gone:?}");
    assert_eq!((rig.outbox().len(), rig.core.pending_turns()), (0, 0));
}

#[test]
fn the_next_message_of_a_line_comes_forward_when_the_one_before_it_is_purged() {
    let mut rig = Rig::new();
    let first = rig.accept_turn(message("room", "m1", "one"));
    let second = rig.accept_turn(message("room", "m2", "two"));
    rig.run(Command::ChannelsPresent(Vec::new()));
    order(&mut rig, PURGE_LIVE, Trial::ForReal, vec![ReplayOf::Turn(first)]);
    rig.crash();
    assert_eq!(rig.claim_turn().unwrap().claim.turn, second);
}

#[test]
fn a_turn_whose_row_is_at_the_adapter_is_not_purged_under_it() {
    let mut rig = Rig::new();
    let turn = rig.delivering("m1", &["hello"]);
    let row = rig.claim_delivery().unwrap();
    rig.run(Command::ChannelsPresent(Vec::new()));
    let kept = order(&mut rig, PURGE_LIVE, Trial::ForReal, vec![ReplayOf::Turn(turn)]);
    assert!(kept[0].reason.as_deref().unwrap().contains("at work"), "{kept:?}");
    assert!(rig.delivered(row.claim).claim_held);
    assert_eq!(rig.turn(turn).row.state, "delivered");
}

// Case: D4, D11
#[test]
fn held_rows_are_resolved_together_and_their_turns_follow() {
    let mut rig = Rig::new();
    let held: Vec<_> = (0..3).map(|n| held(&mut rig, &format!("m{n}"))).collect();
    let (_, at_rest) = dead(&mut rig, "dead");
    let mut rows: Vec<_> = held.iter().map(|(_, row)| ReplayOf::Delivery(*row)).collect();
    rows.push(ReplayOf::Delivery(at_rest));
    let act = BulkAct::Resolve(Resolution::Delivered);
    let resolved = order(&mut rig, act, Trial::ForReal, rows);
    let results: Vec<_> = resolved.iter().map(|row| row.result).collect();
    assert_eq!(results[..3], [BulkResult::Done; 3]);
    assert_eq!(results[3], BulkResult::Skipped, "a row at rest is told: {resolved:?}");
    for (turn, _) in held {
        assert_eq!(rig.turn(turn).row.state, "delivered");
    }
}

// Case: G2
#[test]
fn a_row_that_cannot_be_read_fails_alone_and_is_named() {
    let mut rig = Rig::new();
    let rows: Vec<_> =
        (0..3).map(|n| ReplayOf::Delivery(dead(&mut rig, &format!("m{n}")).1)).collect();
    let ReplayOf::Delivery(broken) = rows[1] else { panic!() };
    let sql = format!("UPDATE delivery SET payload = 'x' WHERE id = {}", broken.number);
    rig.core.connection_to_break().execute_batch(&sql).unwrap();
    let replayed = order(&mut rig, REPLAY, Trial::ForReal, rows);
    let results: Vec<_> = replayed.iter().map(|row| row.result).collect();
    assert_eq!(results, [BulkResult::Done, BulkResult::Failed, BulkResult::Done]);
    assert_eq!(rig.outbox().len(), 5, "and nothing of it was made");
}

/// The rig's store, for orders by filter.
fn inline(rig: Rig) -> (Store, tempfile::TempDir) {
    let Rig { core, dir, env, .. } = rig;
    drop(core);
    (Store::inline(&dir.path().join("lastword.db"), &env).unwrap(), dir)
}

fn ask(list: BulkList, act: BulkAct, filter: ListFilter) -> BulkAsk {
    BulkAsk { list, filter, act, trial: Trial::ForReal, by: "test".to_owned() }
}

// Case: E5, J1
#[test]
fn filters_apply_before_limits_so_that_a_thousand_others_hide_nobody() {
    let mut rig = Rig::new();
    for n in 0..999 {
        rig.accept_turn(message("crowd", &format!("m{n}"), "hello"));
    }
    let lone = rig.accept_turn(message("lone", "m", "hello"));
    let filter = |filter: ListFilter| match rig
        .read()
        .read(&Query::Turns(ListFilter { limit: 1, ..filter }))
        .unwrap()
    {
        Rows::Turns(rows) => rows.into_iter().map(|row| row.id).collect::<Vec<_>>(),
        other => panic!("{other:?}"),
    };
    let conversation = Some("lone".to_owned());
    assert_eq!(filter(ListFilter { conversation, ..ListFilter::default() }), [lone]);
    let made_before_ms = Some(0);
    assert_eq!(filter(ListFilter { made_before_ms, ..ListFilter::default() }), []);
}

// Case: J1
#[test]
fn lists_filter_by_age_code_and_kind_together_and_pages_meet_without_a_gap() {
    let mut rig = Rig::new();
    for n in 0..7 {
        if n % 2 == 0 {
            dead(&mut rig, &format!("m{n}"));
        } else {
            held(&mut rig, &format!("m{n}"));
        }
        rig.pass(Duration::from_secs(60));
    }
    let list = |filter: ListFilter| match rig.read().read(&Query::Outbox(filter)).unwrap() {
        Rows::Deliveries(rows) => rows,
        other => panic!("{other:?}"),
    };
    let rude = ListFilter { code: Some("rude".to_owned()), ..ListFilter::default() };
    assert_eq!(list(rude.clone()).len(), 4);
    let middle_ms = rig.now.wall_ms - 4 * 60_000;
    let older = ListFilter { made_before_ms: Some(middle_ms), ..rude.clone() };
    let younger = ListFilter { made_since_ms: Some(middle_ms), ..rude.clone() };
    assert_eq!((list(older).len(), list(younger).len()), (2, 2));
    let both = ListFilter { state: Some("dead,held".to_owned()), ..ListFilter::default() };
    assert_eq!(list(both).len(), 7);
    let tools = ListFilter { kind: Some("tool,block".to_owned()), ..ListFilter::default() };
    assert_eq!(list(tools).len(), 0);
    let all: Vec<_> = list(ListFilter::default()).into_iter().map(|row| row.id).collect();
    let mut paged = Vec::new();
    loop {
        let after = paged.last().map(ToString::to_string);
        let page = list(ListFilter { after, limit: 2, ..ListFilter::default() });
        if page.is_empty() {
            break;
        }
        paged.extend(page.into_iter().map(|row: DeliveryRow| row.id));
    }
    assert_eq!(paged, all);
    for wrong in ["dead,quued", "nonsense", ""] {
        let filter = ListFilter { state: Some(wrong.to_owned()), ..ListFilter::default() };
        let error = rig.read().read(&Query::Outbox(filter)).unwrap_err();
        assert!(matches!(error, StoreError::Invalid(_)), "{wrong}: {error}");
    }
}

#[test]
fn an_order_goes_page_by_page_and_takes_each_row_once() {
    let mut rig = Rig::new();
    for n in 0..25 {
        dead(&mut rig, &format!("m{n}"));
    }
    let (store, _dir) = inline(rig);
    let bulk = |ask| futures_util::FutureExt::now_or_never(store.bulk(ask)).unwrap();
    let mut filter = ListFilter { limit: 10, ..ListFilter::default() };
    let mut sizes = Vec::new();
    loop {
        let page = bulk(ask(BulkList::Outbox, REPLAY, filter.clone())).unwrap();
        assert!(page.rows.iter().all(|row| row.result == BulkResult::Done));
        sizes.push(page.rows.len());
        filter.after = page.next;
        if filter.after.is_none() {
            break;
        }
    }
    assert_eq!(sizes, [10, 10, 5], "what a replay makes is not replayed by it");
    let resolve = ask(BulkList::Turns, BulkAct::Resolve(Resolution::Drop), ListFilter::default());
    assert!(matches!(bulk(resolve), Err(StoreError::Invalid(_))));
}

#[test]
fn what_was_sent_again_asks_for_nobody_and_is_not_sent_a_third_time_by_the_other_order() {
    let mut rig = Rig::new();
    let (turn, row) = dead(&mut rig, "m1");
    let (other_turn, other_row) = dead(&mut rig, "m2");
    let (held_turn, held_row) = held(&mut rig, "m3");
    assert_eq!(asks(&rig), (3, 2, 1));
    let order = |rig: &mut Rig, row| order(rig, REPLAY, Trial::ForReal, vec![row]).remove(0);
    // The turn, then its delivery; the delivery, then its turn; what a person resent, then its turn.
    assert_eq!(order(&mut rig, ReplayOf::Turn(turn)).result, BulkResult::Done);
    assert_eq!(asks(&rig), (2, 1, 1));
    let said = order(&mut rig, ReplayOf::Delivery(row)).reason.unwrap();
    assert!(said.contains("was replayed, and answers anew; --force"), "{said}");
    assert_eq!(order(&mut rig, ReplayOf::Delivery(other_row)).result, BulkResult::Done);
    assert_eq!(asks(&rig), (1, 0, 1));
    let said = order(&mut rig, ReplayOf::Turn(other_turn)).reason.unwrap();
    assert!(said.contains("was sent anew by order; --force"), "{said}");
    let (how, by) = (Resolution::Resend, "ann".to_owned());
    rig.run(Command::Resolve { delivery: held_row, how, by });
    assert_eq!(asks(&rig), (0, 0, 0));
    let said = order(&mut rig, ReplayOf::Turn(held_turn)).reason.unwrap();
    assert!(said.contains("was sent anew by order; --force"), "{said}");
    // What is sent again and dies asks anew.
    while let Some(row) = rig.claim_delivery() {
        rig.record(row.claim, Outcome::Rejected(Fault::new("rude", "still no")));
    }
    assert_eq!(asks(&rig).1, 2);
}

#[test]
fn progress_that_did_not_arrive_asks_for_nobody_and_keeps_no_turn() {
    use crate::lifecycle::message::{DeliveryKind, Reply};
    let mut rig = Rig::new();
    let turn = rig.accept_turn(message("room", "m1", "hello"));
    let claim = rig.claim_turn().unwrap().claim;
    for (text, outcome) in [
        ("rejected", Outcome::Rejected(Fault::new("rude", "simulated"))),
        ("in doubt", Outcome::Unknown(Fault::new("deadline", "simulated"))),
    ] {
        let body = Reply { text: text.to_owned(), ..Reply::default() };
        let rows = vec![NewDelivery { kind: DeliveryKind::Tool, body, part: 1, parts: 1 }];
        rig.run(Command::Progress { claim, rows, claim_first: None });
        let row = rig.claim_delivery().unwrap();
        rig.record(row.claim, outcome);
    }
    assert_eq!(rig.states(), ["dead", "held"]);
    rig.complete(claim, &["the answer"]);
    let row = rig.claim_delivery().unwrap();
    rig.delivered(row.claim);
    assert_eq!(rig.turn(turn).row.state, "delivered");
    assert_eq!(asks(&rig), (0, 0, 0));
    rig.pass(Duration::from_secs(8 * 86_400));
    rig.run(Command::Sweep(SweepStep::Prune { rows_max: 100 }));
    assert!(rig.outbox().is_empty(), "retention takes it with its text");
}

// Case: G6
#[test]
fn a_purge_of_what_is_live_takes_what_waits_and_leaves_what_was_delivered() {
    let mut rig = Rig::new();
    let done = rig.delivering("m0", &["hello"]);
    let row = rig.claim_delivery().unwrap();
    rig.delivered(row.claim);
    let (waiting, _) = held(&mut rig, "m1");
    let (failed, _) = dead(&mut rig, "m2");
    let queued = rig.accept_turn(message("hall", "m3", "hello"));
    rig.run(Command::ChannelsPresent(vec!["other".into()]));
    let (store, _dir) = inline(rig);
    let purge = |filter: ListFilter| {
        let ask = BulkAsk { trial: Trial::DryRun, ..ask(BulkList::Turns, PURGE_LIVE, filter) };
        let page = futures_util::FutureExt::now_or_never(store.bulk(ask)).unwrap().unwrap();
        page.rows.into_iter().map(|row| (row.id, row.state.unwrap())).collect::<Vec<_>>()
    };
    let row = |turn: TurnId, state: &str| (turn.to_string(), state.to_owned());
    let filter = ListFilter { channel: Some("hook".to_owned()), ..ListFilter::default() };
    let wanted = [row(waiting, "failed"), row(failed, "failed"), row(queued, "queued")];
    assert_eq!(purge(ListFilter { limit: 100, ..filter.clone() }), wanted);
    let named = ListFilter { state: Some("delivered".to_owned()), limit: 100, ..filter };
    assert_eq!(purge(named), [row(done, "delivered")], "what is named goes");
}

// Case: J1
#[test]
fn the_newest_rows_come_first_where_it_is_asked_and_their_pages_meet_too() {
    let mut rig = Rig::new();
    let made: Vec<_> =
        (0..5).map(|n| rig.accept_turn(message(&format!("c{n}"), &format!("m{n}"), "x"))).collect();
    let list = |after: Option<String>| {
        let filter = ListFilter { newest_first: true, after, limit: 2, ..ListFilter::default() };
        match rig.read().read(&Query::Turns(filter)).unwrap() {
            Rows::Turns(rows) => rows.into_iter().map(|row| row.id).collect::<Vec<_>>(),
            other => panic!("{other:?}"),
        }
    };
    let mut paged: Vec<TurnId> = Vec::new();
    loop {
        let page = list(paged.last().map(ToString::to_string));
        if page.is_empty() {
            break;
        }
        paged.extend(page);
    }
    assert!(paged.iter().eq(made.iter().rev()), "{paged:?}");
}
