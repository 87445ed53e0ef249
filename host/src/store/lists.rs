//! Lists and details for people and scripts: oldest first unless asked otherwise, filters before
//! limits, payloads only where they are asked for.

use rusqlite::Row;

use super::query::{AttemptRow, DeliveryDetail, DeliveryRow, ListFilter, TurnDetail, TurnRow};
use super::read::{Reader, page, wrong};
use super::step::{NEVER_MS, Result, delivery_id, delivery_kind, delivery_state, from_json};
use super::step::{turn_id, turn_state};
use crate::lifecycle::delivery::DeliveryState;
use crate::lifecycle::id::{DeliveryId, TurnId};
use crate::lifecycle::message::DeliveryKind;
use crate::lifecycle::turn::TurnState;

use super::face::StoreError;

const TURN: &str = "SELECT t.id, t.nonce, c.name, v.name, t.external_id, t.state, t.tries,
    t.accepted_at_ms, t.ended_at_ms, t.code, t.reason
  FROM turn t JOIN channel c ON c.id = t.channel_id JOIN conversation v ON v.id = t.conversation_id";

const DELIVERY: &str = "SELECT d.id, d.nonce, coalesce(d.turn_id, d.about_turn), t.nonce, c.name,
    v.name, d.kind, d.part, d.parts, d.state, d.attempts, d.next_at_ms, d.platform_id, d.code,
    d.reason
  FROM delivery d JOIN channel c ON c.id = d.channel_id
    JOIN conversation v ON v.id = d.conversation_id
    LEFT JOIN turn t ON t.id = coalesce(d.turn_id, d.about_turn)";

/// The codes of those that are kept: their places in `all`.
fn numbers<T: Copy>(all: &[T], keep: impl Fn(T) -> bool) -> Vec<usize> {
    let kept = all.iter().enumerate().filter(|(_, item)| keep(**item));
    kept.map(|(number, _)| number).collect()
}

/// A condition over words with commas between; nothing where none is asked for.
fn one_of(
    column: &str,
    words: Option<&str>,
    find: impl Fn(&str) -> Result<Vec<usize>>,
) -> Result<String> {
    let Some(words) = words else { return Ok(String::new()) };
    let mut codes = Vec::new();
    for word in words.split(',') {
        codes.extend(find(word.trim())?);
    }
    let codes: Vec<String> = codes.iter().map(ToString::to_string).collect();
    Ok(format!(" AND {column} IN ({})", codes.join(", ")))
}

/// Where a page begins, for the order that is asked for: the condition on the row's id, which is `?1`
/// of the statement, the order, and the id before the first of all rows.
fn order(filter: &ListFilter, id: &str) -> (String, String, i64) {
    match filter.newest_first {
        false => (format!("{id} > ?1"), format!("ORDER BY {id}"), 0),
        true => (format!("{id} < ?1"), format!("ORDER BY {id} DESC"), i64::MAX),
    }
}

fn params(filter: &ListFilter, after: i64, limit: u32) -> impl rusqlite::Params + '_ {
    (
        after,
        &filter.channel,
        &filter.conversation,
        limit,
        &filter.code,
        filter.made_before_ms,
        filter.made_since_ms,
    )
}

impl Reader<'_> {
    pub(super) fn turns(&self, filter: &ListFilter) -> Result<Vec<TurnRow>> {
        let after = filter.after.as_deref().map(str::parse::<TurnId>).transpose();
        let (behind, order, first) = order(filter, "t.id");
        let after = after.map_err(|e| wrong(&e))?.map_or(first, |id| id.number);
        let limit = page(filter.limit);
        if filter.kind.is_some() {
            return Err(StoreError::Invalid("turns have no kind; deliveries do".to_owned()));
        }
        let states = turn_states(filter.state.as_deref())?;
        let sql = format!(
            "{TURN} WHERE {behind} AND (?2 IS NULL OR c.name = ?2) AND (?3 IS NULL OR v.name = ?3)
               AND (?5 IS NULL OR t.code = ?5) AND (?6 IS NULL OR t.accepted_at_ms < ?6)
               AND (?7 IS NULL OR t.accepted_at_ms >= ?7) {states}
             {order} LIMIT ?4"
        );
        let rows = self.all(&sql, params(filter, after, limit), read_turn)?;
        rows.into_iter().map(finish_turn).collect()
    }

    pub(super) fn turn(&self, id: TurnId, payload: bool) -> Result<Option<TurnDetail>> {
        let sql = format!("{TURN} WHERE t.id = ?1 AND t.nonce = ?2");
        let found = self.one(&sql, (id.number, id.nonce.cast_signed()), read_turn)?;
        let Some(row) = found else { return Ok(None) };
        let row = finish_turn(row)?;
        let more = self.one(
            "SELECT t.try, t.host_losses, t.due_ms, t.ended_by, t.replay_of, o.nonce, t.payload,
               t.origin, t.hops, t.made_by
             FROM turn t LEFT JOIN turn o ON o.id = t.replay_of WHERE t.id = ?1",
            [id.number],
            |r| {
                let counters: (u32, u32, i64) = (r.get(0)?, r.get(1)?, r.get(2)?);
                let replay: (Option<i64>, Option<i64>) = (r.get(4)?, r.get(5)?);
                let origin: (i64, u32) = (r.get(7)?, r.get(8)?);
                let by: (Option<String>, Option<String>) = (r.get(3)?, r.get(9)?);
                // Where it is not asked for it need not be readable.
                let text: Option<String> = if payload { r.get(6)? } else { None };
                Ok((counters, by, replay, (text, origin)))
            },
        )?;
        let Some(((try_number, host_losses, due_ms), by, replay, (text, from))) = more else {
            return Ok(None);
        };
        let sql = format!("{DELIVERY} WHERE d.turn_id = ?1 OR d.about_turn = ?1 ORDER BY d.id");
        let rows = self.all(&sql, [id.number], read_delivery)?;
        let deliveries: Result<Vec<DeliveryRow>> = rows.into_iter().map(finish_delivery).collect();
        let waits = row.state == TurnState::Queued.word();
        Ok(Some(TurnDetail {
            row,
            try_number,
            host_losses,
            due_at_ms: Some(due_ms).filter(|_| waits),
            origin: super::step::origin(from.0)?.word().to_owned(),
            hops: from.1,
            ended_by: by.0,
            replay_of: replay.0.zip(replay.1).map(|(n, nonce)| turn_id(n, nonce).to_string()),
            made_by: by.1,
            replays: self.replays(
                "SELECT id, nonce FROM turn WHERE replay_of = ?1",
                id.number,
                't',
            )?,
            waits: self.turn_waits(id.number)?,
            lost_tries: self.lost_tries(id.number)?,
            deliveries: deliveries?,
            message: text.map(|text| from_json(&text)).transpose()?,
        }))
    }

    pub(super) fn outbox(&self, filter: &ListFilter) -> Result<Vec<DeliveryRow>> {
        let after = filter.after.as_deref().map(str::parse::<DeliveryId>).transpose();
        let (behind, order, first) = order(filter, "d.id");
        let after = after.map_err(|e| wrong(&e))?.map_or(first, |id| id.number);
        let limit = page(filter.limit);
        let states = one_of("d.state", filter.state.as_deref(), |word| {
            let found = numbers(&DeliveryState::ALL, |state| match word {
                "held" => state == DeliveryState::UnknownHeld,
                other => state.word() == other,
            });
            if found.is_empty() { Err(no_such_state(word, DELIVERIES)) } else { Ok(found) }
        })?;
        let kinds = one_of("d.kind", filter.kind.as_deref(), |word| {
            let found = numbers(&DeliveryKind::ALL, |kind| kind.word() == word);
            if found.is_empty() { Err(no_such_kind(word)) } else { Ok(found) }
        })?;
        let sql = format!(
            "{DELIVERY} WHERE {behind} AND (?2 IS NULL OR c.name = ?2)
               AND (?3 IS NULL OR v.name = ?3) AND (?5 IS NULL OR d.code = ?5)
               AND (?6 IS NULL OR d.created_at_ms < ?6) AND (?7 IS NULL OR d.created_at_ms >= ?7)
               {states} {kinds} {order} LIMIT ?4"
        );
        let rows = self.all(&sql, params(filter, after, limit), read_delivery)?;
        rows.into_iter().map(finish_delivery).collect()
    }

    pub(super) fn delivery(&self, id: DeliveryId, payload: bool) -> Result<Option<DeliveryDetail>> {
        let sql = format!("{DELIVERY} WHERE d.id = ?1 AND d.nonce = ?2");
        let found = self.one(&sql, (id.number, id.nonce.cast_signed()), read_delivery)?;
        let Some(row) = found else { return Ok(None) };
        let row = finish_delivery(row)?;
        let detail = self.one(
            "SELECT d.created_at_ms, d.maybe_sent, d.possible_double, d.asked, d.about_turn, t.nonce,
               d.replay_of, o.nonce, d.resolved_by, d.payload, d.rested_at_ms, d.made_by
             FROM delivery d LEFT JOIN turn t ON t.id = d.about_turn
               LEFT JOIN delivery o ON o.id = d.replay_of
             WHERE d.id = ?1",
            [id.number],
            |r| {
                let about: (Option<i64>, Option<i64>) = (r.get(4)?, r.get(5)?);
                let replay: (Option<i64>, Option<i64>) = (r.get(6)?, r.get(7)?);
                let text: Option<String> = if payload { r.get(9)? } else { None };
                let detail = DeliveryDetail {
                    row: row.clone(),
                    created_at_ms: r.get(0)?,
                    maybe_sent: r.get(1)?,
                    possible_double: r.get(2)?,
                    asked: r.get(3)?,
                    about_turn: about.0.zip(about.1).map(|(n, k)| turn_id(n, k).to_string()),
                    replay_of: replay.0.zip(replay.1).map(|(n, k)| delivery_id(n, k).to_string()),
                    resolved_by: r.get(8)?,
                    rested_at_ms: r.get(10)?,
                    made_by: r.get(11)?,
                    replays: Vec::new(),
                    waits: Vec::new(),
                    history: Vec::new(),
                    late_receipts: Vec::new(),
                    body: None,
                };
                Ok((detail, text))
            },
        )?;
        let Some((mut detail, text)) = detail else { return Ok(None) };
        detail.history = self.attempts(id.number)?;
        detail.waits = self.delivery_waits(id.number)?;
        let sql = "SELECT id, nonce FROM delivery WHERE replay_of = ?1";
        detail.replays = self.replays(sql, id.number, 'd')?;
        let sql = "SELECT payload FROM receipt WHERE delivery_id = ?1 ORDER BY at_ms";
        let receipts: Vec<String> = self.all(sql, [id.number], |r| r.get(0))?;
        let receipts: Result<Vec<serde_json::Value>> =
            receipts.iter().map(|t| from_json(t)).collect();
        detail.late_receipts = receipts?;
        detail.body = text.map(|text| from_json(&text)).transpose()?;
        Ok(Some(detail))
    }

    fn attempts(&self, delivery: i64) -> Result<Vec<AttemptRow>> {
        self.all(
            "SELECT call, started_at_ms, ended_at_ms, outcome, code, reason, digest, contradicted
             FROM attempt WHERE delivery_id = ?1 ORDER BY call",
            [delivery],
            |r| {
                Ok(AttemptRow {
                    call: r.get(0)?,
                    started_at_ms: r.get(1)?,
                    ended_at_ms: r.get(2)?,
                    outcome: r.get(3)?,
                    code: r.get(4)?,
                    reason: r.get(5)?,
                    digest: r.get(6)?,
                    contradicted: r.get(7)?,
                })
            },
        )
    }
}

/// The condition of states on turns. `held` among them also takes turns of which a reply is held,
/// whatever their own state: what waits for a person hangs on them.
fn turn_states(words: Option<&str>) -> Result<String> {
    let Some(words) = words else { return Ok(String::new()) };
    let (held, states): (Vec<&str>, Vec<&str>) =
        words.split(',').map(str::trim).partition(|word| *word == HELD);
    let of_states = one_of("t.state", Some(&states.join(",")), |word| {
        let state = TurnState::from_word(word).ok_or_else(|| no_such_state(word, TURNS))?;
        Ok(numbers(&TurnState::ALL, |other| other == state))
    });
    if held.is_empty() {
        return of_states;
    }
    let words =
        |codes: Vec<usize>| codes.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let held = words(numbers(&DeliveryState::ALL, |state| state == DeliveryState::UnknownHeld));
    // Progress in doubt asks for nobody.
    let kinds = words(numbers(&DeliveryKind::ALL, |kind| !kind.is_progress()));
    let of_states = if states.is_empty() { String::new() } else { of_states? };
    let of_states = of_states.strip_prefix(" AND ").unwrap_or("0");
    Ok(format!(
        " AND ({of_states} OR EXISTS (SELECT 1 FROM delivery h
           WHERE h.turn_id = t.id AND h.state IN ({held}) AND h.kind IN ({kinds})))"
    ))
}

const HELD: &str = "held";
const TURNS: &str = "queued, running, delivering, delivered, silent, failed, aborted, expired";
const DELIVERIES: &str = "queued, sending, unknown, held, delivered, dead, cancelled, expired";

fn no_such_state(word: &str, known: &str) -> StoreError {
    StoreError::Invalid(format!("\"{word}\" is no state; there are {known}"))
}

fn no_such_kind(word: &str) -> StoreError {
    let known = DeliveryKind::ALL.map(DeliveryKind::word).join(", ");
    StoreError::Invalid(format!("\"{word}\" is no kind; there are {known}"))
}

fn read_turn(r: &Row<'_>) -> rusqlite::Result<(TurnRow, i64)> {
    let row = TurnRow {
        id: turn_id(r.get(0)?, r.get(1)?),
        channel: r.get(2)?,
        conversation: r.get(3)?,
        external_id: r.get(4)?,
        state: String::new(),
        attempts: r.get(6)?,
        accepted_at_ms: r.get(7)?,
        ended_at_ms: r.get(8)?,
        code: r.get(9)?,
        reason: r.get(10)?,
    };
    Ok((row, r.get(5)?))
}

fn finish_turn((mut row, state): (TurnRow, i64)) -> Result<TurnRow> {
    turn_state(state)?.word().clone_into(&mut row.state);
    Ok(row)
}

fn read_delivery(r: &Row<'_>) -> rusqlite::Result<(DeliveryRow, i64, i64, i64)> {
    let turn: (Option<i64>, Option<i64>) = (r.get(2)?, r.get(3)?);
    let row = DeliveryRow {
        id: delivery_id(r.get(0)?, r.get(1)?),
        turn_id: turn.0.zip(turn.1).map(|(number, nonce)| turn_id(number, nonce)),
        channel: r.get(4)?,
        conversation: r.get(5)?,
        kind: DeliveryKind::Final,
        part: r.get(7)?,
        parts: r.get(8)?,
        state: String::new(),
        held: false,
        attempts: r.get(10)?,
        next_attempt_at_ms: None,
        platform_id: r.get(12)?,
        code: r.get(13)?,
        reason: r.get(14)?,
    };
    Ok((row, r.get(6)?, r.get(9)?, r.get(11)?))
}

fn finish_delivery(
    (mut row, kind, state, next_at_ms): (DeliveryRow, i64, i64, i64),
) -> Result<DeliveryRow> {
    row.kind = delivery_kind(kind)?;
    let state = delivery_state(state)?;
    state.word().clone_into(&mut row.state);
    row.held = state == DeliveryState::UnknownHeld;
    let waits = matches!(state, DeliveryState::Queued | DeliveryState::UnknownOpen);
    row.next_attempt_at_ms = Some(next_at_ms).filter(|at| waits && *at < NEVER_MS);
    Ok(row)
}
