//! The promises, held against all rows. The rows are read here with statements of our own, not with
//! the store's: what is judged is what stands on disk.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use lastword::lifecycle::delivery::DeliveryState;
use lastword::lifecycle::id::{DeliveryId, TurnId};
use lastword::lifecycle::message::{DeliveryKind, InboundEvent};
use lastword::lifecycle::turn::TurnState;
use lastword::store::{NextDue, Query, Store};
use lastword::workers::breaker::BreakerState;
use rusqlite::{Connection, OpenFlags, Row};

use super::host::Host;
use super::world::{Inside, Line, World};

/// A connection of our own.
pub(super) struct Rows(Connection);

struct TurnRow {
    id: TurnId,
    line: Line,
    state: TurnState,
    code: Option<String>,
    reason: Option<String>,
    external_id: Option<String>,
    is_replay: bool,
    told: bool,
}

struct DeliveryRow {
    id: DeliveryId,
    line: Line,
    turn: Option<TurnId>,
    turn_try: Option<u32>,
    kind: DeliveryKind,
    state: DeliveryState,
    code: Option<String>,
    reason: Option<String>,
    attempts_kept: u32,
}

const TURNS: &str = "SELECT t.id, t.nonce, c.name, t.state, t.code, t.reason, t.external_id,
    t.replay_of IS NOT NULL, t.told_by IS NOT NULL
  FROM turn t JOIN channel c ON c.id = t.channel_id";

const DELIVERIES: &str = "SELECT d.id, d.nonce, c.name, d.turn_id, t.nonce, d.turn_try, d.kind,
    d.state, d.code, d.reason,
    CASE WHEN d.state = 5 THEN (SELECT count(*) FROM attempt a WHERE a.delivery_id = d.id) END
  FROM delivery d JOIN channel c ON c.id = d.channel_id LEFT JOIN turn t ON t.id = d.turn_id";

fn turn_id(number: i64, nonce: i64) -> TurnId {
    TurnId { number, nonce: nonce.unsigned_abs() }
}

fn line(row: &Row<'_>, column: usize) -> rusqlite::Result<Line> {
    Ok(Line::of(row.get_ref(column)?.as_str()?))
}

/// A state's or kind's place in the list of all.
fn place(row: &Row<'_>, column: usize) -> rusqlite::Result<usize> {
    row.get::<_, u16>(column).map(usize::from)
}

impl Rows {
    pub(super) fn open(dir: &Path) -> Self {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        Self(Connection::open_with_flags(dir.join("lastword.db"), flags).expect("a connection"))
    }

    fn turns(&self) -> Vec<TurnRow> {
        let read = |r: &Row<'_>| {
            Ok(TurnRow {
                id: turn_id(r.get(0)?, r.get(1)?),
                line: line(r, 2)?,
                state: TurnState::ALL[place(r, 3)?],
                code: r.get(4)?,
                reason: r.get(5)?,
                external_id: r.get(6)?,
                is_replay: r.get(7)?,
                told: r.get(8)?,
            })
        };
        let mut statement = self.0.prepare_cached(TURNS).expect("a statement");
        let rows = statement.query_map([], read).expect("rows");
        rows.collect::<rusqlite::Result<_>>().expect("turns")
    }

    fn deliveries(&self) -> Vec<DeliveryRow> {
        let read = |r: &Row<'_>| {
            let turn: (Option<i64>, Option<i64>) = (r.get(3)?, r.get(4)?);
            let nonce = r.get::<_, i64>(1)?.unsigned_abs();
            Ok(DeliveryRow {
                id: DeliveryId { number: r.get(0)?, nonce },
                line: line(r, 2)?,
                turn: turn.0.zip(turn.1).map(|(number, nonce)| turn_id(number, nonce)),
                turn_try: r.get(5)?,
                kind: DeliveryKind::ALL[place(r, 6)?],
                state: DeliveryState::ALL[place(r, 7)?],
                code: r.get(8)?,
                reason: r.get(9)?,
                attempts_kept: r.get::<_, Option<u32>>(10)?.unwrap_or(1),
            })
        };
        let mut statement = self.0.prepare_cached(DELIVERIES).expect("a statement");
        let rows = statement.query_map([], read).expect("rows");
        rows.collect::<rusqlite::Result<_>>().expect("deliveries")
    }
}

/// Whether nothing is between states.
pub(super) async fn is_at_rest(store: &Store) -> bool {
    match store.read(Query::Summary).await {
        Ok(lastword::store::Rows::Summary(it)) => {
            it.turns_queued + it.turns_running + it.turns_delivering + it.turns_due_later == 0
                && it.deliveries_queued + it.deliveries_sending + it.deliveries_unknown_open == 0
        }
        other => panic!("{other:?}"),
    }
}

/// Everything that must hold at any moment.
pub(super) fn look(world: &World, rows: &Rows) {
    let (turns, deliveries) = (rows.turns(), rows.deliveries());
    world.with(|it| {
        accepted_is_never_lost(it, &turns);
        accepted_once(it, &turns);
        sent_knowingly(it, &deliveries);
        only_the_final_decides(it, &turns, &deliveries);
        stop_means_stop(it, &turns, &deliveries);
        no_silent_loss(it, &turns, &deliveries);
    });
}

/// Promise 1: what is not ended is there, and is what the store said; what ended is there too,
/// unless it was past its retention or was ordered to be forgotten.
fn accepted_is_never_lost(it: &mut Inside, turns: &[TurnRow]) {
    let there: BTreeMap<TurnId, &TurnRow> = turns.iter().map(|row| (row.id, row)).collect();
    let forgets = it.purged || it.setting.forgets();
    let mut broken = Vec::new();
    for (turn, told) in &it.shadow.turns {
        match there.get(turn) {
            // What is not ended may show why its last try was lost.
            Some(row)
                if row.state == told.state && (row.code == told.code || !row.state.is_ended()) => {}
            Some(row) => broken.push(format!("{turn} is {:?}, and told is {told:?}", row.state)),
            None if told.state.is_ended() && forgets => {}
            None => broken.push(format!("{turn} was {told:?} and is gone")),
        }
    }
    for row in turns.iter().filter(|row| !it.shadow.turns.contains_key(&row.id)) {
        broken.push(format!("{} is there and was never told of", row.id));
    }
    for row in turns.iter().filter(|row| !row.is_replay) {
        if let Some(id) = &row.external_id {
            it.promised.remove(&(row.line, id.clone()));
        }
    }
    let named: BTreeSet<(Line, String)> =
        it.turns.keys().map(|(line, _, id)| (*line, id.clone())).collect();
    it.promised.retain(|key| !named.contains(key));
    broken.extend(it.promised.iter().map(|key| format!("{key:?} was accepted and has no turn")));
    broken.into_iter().for_each(|sentence| it.breaks(sentence));
}

/// Promise 2.
fn accepted_once(it: &mut Inside, turns: &[TurnRow]) {
    let mut seen = BTreeSet::new();
    for row in turns.iter().filter(|row| !row.is_replay) {
        let key = (row.line, &row.external_id);
        if row.external_id.is_some() && !seen.insert(key) {
            it.breaks(format!("{key:?} has two turns"));
        }
    }
}

/// Promise 4: what is said to have been sent was, what is said not to have been was not, and
/// nobody saw anything twice.
fn sent_knowingly(it: &mut Inside, deliveries: &[DeliveryRow]) {
    for row in deliveries {
        if it.shadow.rows.get(&row.id).is_none_or(|told| told.state != row.state) {
            it.breaks(format!("{} is {:?}, which was never told", row.id, row.state));
        }
        if it.resolved.contains(&row.id) {
            continue;
        }
        let arrived = it.landed(row.id, i64::MAX);
        if arrived > 1 && row.line.shows_once() {
            it.breaks(format!("{} was shown {arrived} times", row.id));
        }
        let sentence = match (row.state, arrived) {
            (DeliveryState::Delivered, 0) => "is delivered and never arrived",
            (DeliveryState::Dead | DeliveryState::Cancelled | DeliveryState::Expired, 1..) => {
                "counts as not sent and arrived"
            }
            _ => continue,
        };
        it.breaks(format!("{} ({:?}) {sentence}", row.id, row.code));
    }
}

/// Promise 6, that a turn says what its final rows say, and that one try alone gave them.
fn only_the_final_decides(it: &mut Inside, turns: &[TurnRow], deliveries: &[DeliveryRow]) {
    let mut finals: BTreeMap<TurnId, Vec<&DeliveryRow>> = BTreeMap::new();
    for row in deliveries.iter().filter(|row| row.kind == DeliveryKind::Final) {
        if let Some(turn) = row.turn {
            finals.entry(turn).or_default().push(row);
        }
    }
    for turn in turns {
        let rows = finals.get(&turn.id).map(Vec::as_slice).unwrap_or_default();
        let tries: BTreeSet<_> = rows.iter().map(|row| row.turn_try).collect();
        if tries.len() > 1 {
            it.breaks(format!("{} has final rows of tries {tries:?}", turn.id));
        }
        let delivered = |row: &&DeliveryRow| row.state == DeliveryState::Delivered;
        let all_delivered = !rows.is_empty() && rows.iter().all(delivered);
        let any_held = rows.iter().any(|row| row.state == DeliveryState::UnknownHeld);
        let right = match (turn.state, turn.code.as_deref()) {
            (TurnState::Delivered, _) => all_delivered,
            (TurnState::Silent, _) => rows.is_empty(),
            (TurnState::Failed, Some("outcome_unknown")) => any_held,
            (TurnState::Failed, _) => !all_delivered,
            _ => true,
        };
        if !right {
            let states: Vec<_> = rows.iter().map(|row| row.state).collect();
            let TurnRow { id, state, code, .. } = turn;
            it.breaks(format!("{id} is {state:?} ({code:?}) with final rows {states:?}"));
        }
    }
}

/// Promise 7: a confirmed abort stays one. That nothing of it was run or sent afterwards is seen
/// where it would happen.
fn stop_means_stop(it: &mut Inside, turns: &[TurnRow], deliveries: &[DeliveryRow]) {
    for turn in turns {
        if it.aborted.contains(&turn.id) && turn.state != TurnState::Aborted {
            it.breaks(format!("{} was aborted and is {:?}", turn.id, turn.state));
        }
    }
    for row in deliveries {
        let aborted = row.turn.is_some_and(|turn| it.aborted.contains(&turn));
        if aborted && row.state == DeliveryState::Queued {
            it.breaks(format!("{} of an aborted turn is queued", row.id));
        }
    }
}

/// Promise 9: whatever ended badly says why, keeps its attempts, and its person was told.
fn no_silent_loss(it: &mut Inside, turns: &[TurnRow], deliveries: &[DeliveryRow]) {
    for row in turns {
        let badly =
            matches!(row.state, TurnState::Failed | TurnState::Aborted | TurnState::Expired);
        if badly && (row.code.is_none() || row.reason.is_none()) {
            it.breaks(format!("{} is {:?} and does not say why", row.id, row.state));
        }
        let unknown = it.shadow.turns.get(&row.id).is_some_and(|told| told.was_unknown);
        let to_tell = row.state == TurnState::Failed && !unknown && !it.removed.contains(&row.line);
        if to_tell && it.setting.notices && !row.told {
            it.breaks(format!("{} failed ({:?}) and nobody was told", row.id, row.code));
        }
    }
    for row in deliveries {
        let badly = match row.state {
            DeliveryState::Dead
            | DeliveryState::Cancelled
            | DeliveryState::Expired
            | DeliveryState::UnknownHeld => true,
            DeliveryState::Queued
            | DeliveryState::Sending
            | DeliveryState::UnknownOpen
            | DeliveryState::Delivered => false,
        };
        if badly && (row.code.is_none() || row.reason.is_none()) {
            it.breaks(format!("{} is {:?} and does not say why", row.id, row.state));
        }
        if row.attempts_kept == 0 {
            it.breaks(format!("{} is dead without an attempt", row.id));
        }
    }
}

/// Promise 3, once there was time enough.
pub(super) fn rest(world: &World, rows: &Rows) {
    let (turns, deliveries) = (rows.turns(), rows.deliveries());
    world.with(|it| {
        for row in turns.iter().filter(|row| !row.state.is_ended()) {
            it.breaks(format!("{} ({:?}) is {:?} for ever", row.id, row.line, row.state));
        }
        for row in deliveries.iter().filter(|row| row.state.is_live()) {
            it.breaks(format!("{} ({:?}) is {:?} for ever", row.id, row.line, row.state));
        }
        if !it.unconfirmed.is_empty() {
            it.breaks(format!("{} messages were never taken", it.unconfirmed.len()));
        }
        if it.purged || it.setting.forgets() {
            return;
        }
        let known: BTreeSet<_> = turns.iter().filter_map(|row| row.external_id.clone()).collect();
        for n in 0..it.feed.len() {
            let InboundEvent::Message(message) = &it.feed[n] else { continue };
            let id = &message.external_id;
            let plain = message.wakes && message.group.is_none() && !it.taken_back.contains(id);
            if plain && !known.contains(id) {
                it.breaks(format!("event {n} of the polled channel made no turn"));
            }
        }
    });
}

/// How long a due row may lie where nothing holds it: each loop looks for itself once a minute.
const LIES_MS_MAX: i64 = 150_000;

/// Promise 5, the second half: nothing that is due waits for another conversation or channel.
pub(super) async fn stuck(world: &World, host: &Host) {
    let now_ms = host.now_ms();
    let calm = world.with(|it| now_ms - it.calm_since_ms.max(host.base_ms) > 2 * LIES_MS_MAX);
    if !calm {
        return;
    }
    for (name, channel) in &host.workers.hub().channels {
        let line = Line::of(&name.0);
        let calls = channel.facts().calls_at_once as usize;
        let busy =
            world.with(|it| it.at_adapter.iter().filter(|(at, _)| *at == line).count() >= calls);
        let open = matches!(channel.breaker_state(), BreakerState::Closed);
        // A pace makes a line of its own.
        let paced = world.with(|it| it.setting.rate.is_some() && line == Line::Key);
        if busy
            || !open
            || paced
            || channel.is_paused()
            || channel.facts().conversation_interval_ms > 0
        {
            continue;
        }
        let next = Query::NextDelivery { channel: name.clone() };
        let Ok(lastword::store::Rows::Due(NextDue::At(due_ms))) = host.store.read(next).await
        else {
            continue;
        };
        let late_ms = host.env.now().wall_ms - due_ms;
        if late_ms > LIES_MS_MAX {
            world.with(|it| it.breaks(format!("a row of {name} is due for {late_ms} ms and lies")));
        }
    }
}
