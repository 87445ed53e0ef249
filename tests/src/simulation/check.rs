//! The promises, held against rows and world.

use std::collections::{BTreeMap, BTreeSet};

use lastword::lifecycle::id::TurnId;
use lastword::lifecycle::message::DeliveryKind;
use lastword::store::{DeliveryRow, ListFilter, Query, Rows, Store, TurnRow};

use super::world::{Inside, World};

async fn turns(store: &Store) -> Vec<TurnRow> {
    let filter = ListFilter { limit: 100_000, ..ListFilter::default() };
    match store.read(Query::Turns(filter)).await {
        Ok(Rows::Turns(rows)) => rows,
        other => panic!("{other:?}"),
    }
}

async fn deliveries(store: &Store) -> Vec<DeliveryRow> {
    let filter = ListFilter { limit: 100_000, ..ListFilter::default() };
    match store.read(Query::Outbox(filter)).await {
        Ok(Rows::Deliveries(rows)) => rows,
        other => panic!("{other:?}"),
    }
}

/// Whether nothing is between states.
pub(super) async fn is_at_rest(store: &Store) -> bool {
    match store.read(Query::Summary).await {
        Ok(Rows::Summary(it)) => {
            it.turns_queued + it.turns_running + it.turns_delivering == 0
                && it.deliveries_queued + it.deliveries_sending + it.deliveries_unknown_open == 0
        }
        other => panic!("{other:?}"),
    }
}

/// Everything that must hold at any moment, and with `rest` also what must hold in the end.
pub(super) async fn rows(world: &World, store: &Store, rest: bool) {
    let (turns, deliveries) = (turns(store).await, deliveries(store).await);
    let resting = is_at_rest(store).await;
    world.with(|it| {
        accepted_is_never_lost(it, &turns);
        accepted_once(it, &turns);
        sent_knowingly(it, &deliveries);
        only_the_final_decides(it, &turns, &deliveries);
        stop_means_stop(it, &turns, &deliveries);
        if rest {
            one_visible_end(it, &turns, &deliveries, resting);
        }
    });
}

/// Promise 1.
fn accepted_is_never_lost(it: &mut Inside, turns: &[TurnRow]) {
    let there: BTreeSet<TurnId> = turns.iter().map(|row| row.id).collect();
    let lost: Vec<_> = it.turns.iter().filter(|(_, turn)| !there.contains(turn)).collect();
    let sentences: Vec<String> = lost
        .iter()
        .map(|(key, turn)| format!("{key:?} was accepted as {turn} and is gone"))
        .collect();
    sentences.into_iter().for_each(|sentence| it.breaks(sentence));
}

/// Promise 2.
fn accepted_once(it: &mut Inside, turns: &[TurnRow]) {
    let mut seen = BTreeSet::new();
    for row in turns {
        let key = (&row.channel, &row.conversation, &row.external_id);
        if row.external_id.is_some() && !seen.insert(key) {
            it.breaks(format!("{key:?} has two turns"));
        }
    }
}

/// Promise 4: what is said to have been sent was, what is said not to have been was not, and
/// nobody saw anything twice.
fn sent_knowingly(it: &mut Inside, deliveries: &[DeliveryRow]) {
    for row in deliveries {
        if it.resolved.contains(&row.id) {
            continue;
        }
        let arrived = it.landed(row.id, i64::MAX);
        let shown_twice = arrived > 1 && row.channel != "key";
        if shown_twice {
            it.breaks(format!("{} was shown {arrived} times", row.id));
        }
        let sentence = match (row.state.as_str(), arrived) {
            ("delivered", 0) => "is delivered and never arrived",
            ("dead" | "cancelled" | "expired", 1..) => "counts as not sent and arrived",
            _ => continue,
        };
        it.breaks(format!("{} ({:?}) {sentence}", row.id, row.code));
    }
}

/// Promise 6, and that a turn says what its final rows say.
fn only_the_final_decides(it: &mut Inside, turns: &[TurnRow], deliveries: &[DeliveryRow]) {
    let mut finals: BTreeMap<TurnId, Vec<&DeliveryRow>> = BTreeMap::new();
    for row in deliveries.iter().filter(|row| row.kind == DeliveryKind::Final) {
        if let Some(turn) = row.turn_id {
            finals.entry(turn).or_default().push(row);
        }
    }
    for turn in turns {
        let rows = finals.get(&turn.id).map(Vec::as_slice).unwrap_or_default();
        let all_delivered = !rows.is_empty() && rows.iter().all(|row| row.state == "delivered");
        let any_held = rows.iter().any(|row| row.held);
        let code = turn.code.as_deref();
        let right = match turn.state.as_str() {
            "delivered" => all_delivered,
            "silent" => rows.is_empty(),
            "failed" if code == Some("outcome_unknown") => any_held,
            "failed" => !all_delivered,
            _ => true,
        };
        if !right {
            let states: Vec<&str> = rows.iter().map(|row| row.state.as_str()).collect();
            let TurnRow { id, state, .. } = turn;
            it.breaks(format!("{id} is {state} ({code:?}) with final rows {states:?}"));
        }
    }
}

/// Promise 7: a confirmed abort stays one. That nothing of it was run or sent afterwards is seen
/// where it would happen.
fn stop_means_stop(it: &mut Inside, turns: &[TurnRow], deliveries: &[DeliveryRow]) {
    for turn in turns {
        if it.aborted.contains(&turn.id) && turn.state != "aborted" {
            it.breaks(format!("{} was aborted and is {}", turn.id, turn.state));
        }
    }
    for row in deliveries {
        let aborted = row.turn_id.is_some_and(|turn| it.aborted.contains(&turn));
        if aborted && row.state == "queued" {
            it.breaks(format!("{} of an aborted turn is queued", row.id));
        }
    }
}

/// Promise 3, and that whoever was answered was answered.
fn one_visible_end(it: &mut Inside, turns: &[TurnRow], deliveries: &[DeliveryRow], resting: bool) {
    if !resting {
        for row in turns.iter().filter(|row| row.ended_at_ms.is_none()) {
            it.breaks(format!("{} ({}) is {} for ever", row.id, row.channel, row.state));
        }
        let live = ["queued", "sending", "unknown"];
        for row in deliveries {
            if !row.held && live.contains(&row.state.as_str()) {
                it.breaks(format!("{} ({}) is {} for ever", row.id, row.channel, row.state));
            }
        }
    }
    if !it.unconfirmed.is_empty() {
        it.breaks(format!("{} messages were never taken", it.unconfirmed.len()));
    }
    let fed = it.feed.len();
    let known: BTreeSet<_> = turns.iter().filter_map(|row| row.external_id.clone()).collect();
    for n in 0..fed {
        let lost = match &it.feed[n] {
            lastword::lifecycle::message::InboundEvent::Message(message) => {
                message.wakes && !known.contains(&message.external_id)
            }
            _ => false,
        };
        if lost {
            it.breaks(format!("event {n} of the polled channel made no turn"));
        }
    }
}
