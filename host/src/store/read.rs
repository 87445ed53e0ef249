//! Reading: lists, details, and what sweeps plan from. Readers have connections of their own, see
//! what was answered before, and change nothing. A read error is never "no rows".

use rusqlite::{Connection, OptionalExtension, Params, Row};

use super::face::{DeliveryClaim, StoreError, TurnClaim};
use super::gauges::{DEAD_DELIVERY, DEAD_TURN};
use super::query::{
    ChannelRow, ClaimedDeliveryRow, ClaimedTurnRow, Claims, NextDue, Query, Rows, Summary,
};
use super::step::{NEVER_MS, Result, delivery_id, failed, ms, turn_id};
use crate::lifecycle::delivery::{ExpireAction, PROGRESS_AGE_MAX_MS};
use crate::lifecycle::id::{BootId, ChannelName, ClaimToken};
use crate::lifecycle::lease::PullLease;

/// What ages are judged by: told by the writer's side, as the readers keep no rules.
#[derive(Debug, Clone, Default)]
pub(super) struct AgeRules {
    pub(super) boot: Option<BootId>,
    pub(super) turn_age_max_ms: u64,
    /// Channel number, age, action.
    pub(super) channels: Vec<(i64, u64, ExpireAction)>,
    /// Told, and not yet looked up.
    pub(super) pending: Vec<super::face::ChannelRules>,
    pub(super) present: Option<Vec<ChannelName>>,
}

/// A connection at work for one query.
pub(super) struct Reader<'a> {
    pub(super) db: &'a Connection,
    pub(super) ages: &'a AgeRules,
}

impl Reader<'_> {
    pub(super) fn run(&self, query: &Query) -> Result<Rows> {
        match query {
            Query::Turns(filter) => self.turns(filter).map(Rows::Turns),
            Query::Turn { id, payload } => {
                self.turn(*id, *payload).map(|turn| Rows::Turn(turn.map(Box::new)))
            }
            Query::Outbox(filter) => self.outbox(filter).map(Rows::Deliveries),
            Query::Delivery { id, payload } => {
                self.delivery(*id, *payload).map(|row| Rows::Delivery(row.map(Box::new)))
            }
            Query::Channels => self.channels().map(Rows::Channels),
            Query::Claims { after_turn, after_delivery, rows_max } => {
                self.claims(*after_turn, *after_delivery, *rows_max).map(Rows::Claims)
            }
            Query::OldTurns { now_ms, rows_max } => self.old_turns(*now_ms, *rows_max),
            Query::OldDeliveries { now_ms, rows_max } => self.old_deliveries(*now_ms, *rows_max),
            Query::NextDelivery { channel } => self.next_delivery(channel).map(Rows::Due),
            Query::Schedules => self.schedules().map(Rows::Schedules),
            Query::Schedule { name, payload } => {
                self.schedule(name, *payload).map(|row| Rows::Schedule(row.map(Box::new)))
            }
            Query::NextFall => self.next_fall().map(Rows::Due),
            Query::NextTurn => self.next_turn(None).map(Rows::Due),
            Query::NextTurnOf { channels } => self.next_turn(Some(channels)).map(Rows::Due),
            Query::TurnChannel { id } => self.turn_channel(*id).map(Rows::Text),
            Query::PullLeases { rows_max } => self.pull_leases(*rows_max).map(Rows::PullLeases),
            Query::Cursor { channel } => {
                let sql = "SELECT k.value FROM cursor k JOIN channel c ON c.id = k.channel_id
                           WHERE c.name = ?1";
                let found: Option<Option<String>> = self.one(sql, [&channel.0], |r| r.get(0))?;
                Ok(Rows::Text(found.flatten()))
            }
            Query::StateGet { channel, key } => {
                let sql = "SELECT s.value FROM state s JOIN channel c ON c.id = s.channel_id
                           WHERE c.name = ?1 AND s.key = ?2";
                self.one(sql, (&channel.0, key), |r| r.get(0)).map(Rows::Bytes)
            }
            Query::StateUsage { channel } => {
                let sql = "SELECT u.keys, u.bytes FROM state_usage u
                           JOIN channel c ON c.id = u.channel_id WHERE c.name = ?1";
                let found = self
                    .one(sql, [&channel.0], |r| Ok((r.get::<_, i64>(0)?, r.get::<_, i64>(1)?)))?;
                let (keys, bytes) = found.unwrap_or((0, 0));
                Ok(Rows::Usage {
                    keys: keys.max(0).unsigned_abs(),
                    bytes: bytes.max(0).unsigned_abs(),
                })
            }
            Query::Summary => self.summary().map(Rows::Summary),
            Query::Gauges => self.gauges().map(Rows::Gauges),
            Query::Blob(query) => self.blob(query).map(Rows::Blob),
        }
    }

    pub(super) fn one<T>(
        &self,
        sql: &str,
        params: impl Params,
        read: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Option<T>> {
        self.db
            .prepare_cached(sql)
            .and_then(|mut s| s.query_row(params, read).optional())
            .map_err(failed)
    }

    pub(super) fn all<T>(
        &self,
        sql: &str,
        params: impl Params,
        read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>> {
        let mut statement = self.db.prepare_cached(sql).map_err(failed)?;
        let rows = statement.query_map(params, read).map_err(failed)?;
        rows.collect::<rusqlite::Result<Vec<T>>>().map_err(failed)
    }

    fn claims(&self, after_turn: i64, after_delivery: i64, rows_max: u32) -> Result<Claims> {
        let boot = self.ages.boot.map_or(0, |boot| boot.0);
        let turns = self.all(
            "SELECT t.id, t.nonce, t.claim_token, t.try, t.claim_boot = ?2, t.claim_expires,
               p.lease_ms, p.left_ms
             FROM turn t LEFT JOIN pull p ON p.turn_id = t.id AND p.token = t.claim_token
             WHERE t.state = 1 AND t.id > ?1 ORDER BY t.id LIMIT ?3",
            (after_turn, boot, rows_max),
            |r| {
                let claim = TurnClaim {
                    turn: turn_id(r.get(0)?, r.get(1)?),
                    token: ClaimToken(r.get(2)?),
                    try_number: r.get(3)?,
                };
                let (same_boot, expires_mono_ms) = (r.get(4)?, r.get(5)?);
                let lease: (Option<i64>, Option<i64>) = (r.get(6)?, r.get(7)?);
                let pulled = lease.0.zip(lease.1).map(|(lease_ms, left_ms)| PullLease {
                    lease_ms: lease_ms.max(0).unsigned_abs(),
                    left_ms: left_ms.max(0).unsigned_abs(),
                });
                Ok(ClaimedTurnRow { claim, pulled, same_boot, expires_mono_ms })
            },
        )?;
        let deliveries = self.all(
            "SELECT id, nonce, claim_token, call, state = 2, claim_boot = ?2, claim_expires
             FROM delivery WHERE claim_token IS NOT NULL AND id > ?1 ORDER BY id LIMIT ?3",
            (after_delivery, boot, rows_max),
            |r| {
                let claim = DeliveryClaim {
                    delivery: delivery_id(r.get(0)?, r.get(1)?),
                    token: ClaimToken(r.get(2)?),
                    call: r.get(3)?,
                };
                let (asks, same_boot) = (r.get(4)?, r.get(5)?);
                Ok(ClaimedDeliveryRow { claim, asks, same_boot, expires_mono_ms: r.get(6)? })
            },
        )?;
        Ok(Claims { turns, deliveries })
    }

    fn old_turns(&self, now_ms: i64, rows_max: u32) -> Result<Rows> {
        let before_ms = now_ms.saturating_sub(ms(self.ages.turn_age_max_ms));
        let mut found = Vec::new();
        for (channel, _, _) in &self.ages.channels {
            let left = rows_max.saturating_sub(u32::try_from(found.len()).unwrap_or(u32::MAX));
            found.extend(self.all(
                "SELECT id, nonce FROM turn WHERE channel_id = ?1 AND head = 1 AND due_ms < ?2
                 ORDER BY due_ms, seq LIMIT ?3",
                (channel, before_ms, left),
                |r| Ok(turn_id(r.get(0)?, r.get(1)?)),
            )?);
        }
        Ok(Rows::TurnIds(found))
    }

    fn old_deliveries(&self, now_ms: i64, rows_max: u32) -> Result<Rows> {
        let mut found = Vec::new();
        for (channel, age_ms, action) in &self.ages.channels {
            let left = rows_max.saturating_sub(u32::try_from(found.len()).unwrap_or(u32::MAX));
            let finals_before = match action {
                ExpireAction::Fail => now_ms.saturating_sub(ms(*age_ms)),
                ExpireAction::Deliver => i64::MIN,
            };
            let progress_before = now_ms.saturating_sub(ms(PROGRESS_AGE_MAX_MS));
            found.extend(self.all(
                "SELECT id, nonce FROM delivery WHERE channel_id = ?1 AND head = 1 AND state = 0
                   AND created_at_ms < ?2
                   AND ((kind IN (0, 1) AND created_at_ms < ?3) OR created_at_ms < ?4)
                 ORDER BY created_at_ms LIMIT ?5",
                (channel, progress_before.max(finals_before), progress_before, finals_before, left),
                |r| Ok(delivery_id(r.get(0)?, r.get(1)?)),
            )?);
        }
        Ok(Rows::DeliveryIds(found))
    }

    fn next_delivery(&self, channel: &ChannelName) -> Result<NextDue> {
        let found = self.one(
            "SELECT c.id, c.present = 1 AND c.pause_code IS NULL,
               max(c.not_before_ms, c.bucket_ready_ms) FROM channel c WHERE c.name = ?1",
            [&channel.0],
            |r| Ok((r.get::<_, i64>(0)?, r.get::<_, bool>(1)?, r.get::<_, i64>(2)?)),
        )?;
        let Some((id, true, not_before_ms)) = found else { return Ok(NextDue::Nothing) };
        let next = self.one(
            "SELECT next_at_ms FROM delivery
             WHERE channel_id = ?1 AND head = 1 AND claim_token IS NULL
             ORDER BY next_at_ms, seq LIMIT 1",
            [id],
            |r| r.get::<_, i64>(0),
        )?;
        Ok(match next {
            Some(at_ms) if at_ms < NEVER_MS => NextDue::At(at_ms.max(not_before_ms)),
            Some(_) | None => NextDue::Nothing,
        })
    }

    fn next_turn(&self, only: Option<&[ChannelName]>) -> Result<NextDue> {
        let only = only.map(|names| self.channel_numbers(names)).transpose()?;
        let mut first: Option<i64> = None;
        for (channel, _, _) in &self.ages.channels {
            if only.as_ref().is_some_and(|only| !only.contains(channel)) {
                continue;
            }
            let next = self.one(
                "SELECT due_ms FROM turn WHERE channel_id = ?1 AND head = 1
                 ORDER BY due_ms, seq LIMIT 1",
                [channel],
                |r| r.get::<_, i64>(0),
            )?;
            first = match (first, next) {
                (Some(a), Some(b)) => Some(a.min(b)),
                (a, b) => a.or(b),
            };
        }
        Ok(first.map_or(NextDue::Nothing, NextDue::At))
    }

    fn channels(&self) -> Result<Vec<ChannelRow>> {
        let rows = self.all(
            "SELECT id, name, present, pause_code, pause_reason, not_before_ms, adapter, version,
               digest, paused_at_ms, removed_at_ms FROM channel ORDER BY name",
            [],
            |r| {
                let code: Option<String> = r.get(3)?;
                let not_before_ms: i64 = r.get(5)?;
                let row = ChannelRow {
                    name: r.get(1)?,
                    present: r.get(2)?,
                    paused: code.is_some(),
                    code,
                    reason: r.get(4)?,
                    not_before_ms: Some(not_before_ms).filter(|at| *at > 0),
                    adapter: r.get(6)?,
                    version: r.get(7)?,
                    digest: r.get(8)?,
                    paused_at_ms: r.get(9)?,
                    removed_at_ms: r.get(10)?,
                    ..ChannelRow::default()
                };
                Ok((r.get::<_, i64>(0)?, row))
            },
        )?;
        let turns = self.counts(
            "SELECT channel_id, count(*), min(accepted_at_ms) FROM turn
             WHERE state < 3 AND seq < 9223372036854775807 GROUP BY channel_id",
        )?;
        let deliveries = self.counts(
            "SELECT channel_id, count(*), min(created_at_ms) FROM delivery
             WHERE state < 3 GROUP BY channel_id",
        )?;
        let held = self.counts(
            "SELECT channel_id, count(*), min(created_at_ms) FROM delivery
             WHERE state = 3 AND kind >= 2 GROUP BY channel_id",
        )?;
        let dead_turns = self.counts(&format!(
            "SELECT channel_id, count(*), sum(code IS 'quarantined') FROM turn
             WHERE {DEAD_TURN} GROUP BY channel_id"
        ))?;
        let dead_deliveries = self.counts(&format!(
            "SELECT channel_id, count(*), 0 FROM delivery
             WHERE {DEAD_DELIVERY} GROUP BY channel_id"
        ))?;
        let of = |counts: &[(i64, u64, i64)], id: i64| {
            counts.iter().find(|(channel, _, _)| *channel == id).map(|(_, n, at)| (*n, *at))
        };
        let mut channels = Vec::with_capacity(rows.len());
        for (id, mut row) in rows {
            let (turn, delivery) = (of(&turns, id), of(&deliveries, id));
            row.turns_unfinished = turn.map_or(0, |(n, _)| n);
            row.deliveries_unfinished = delivery.map_or(0, |(n, _)| n);
            row.held = of(&held, id).map_or(0, |(n, _)| n);
            let dead = of(&dead_turns, id);
            row.turns_dead = dead.map_or(0, |(n, _)| n);
            row.turns_quarantined = dead.map_or(0, |(_, n)| n.max(0).unsigned_abs());
            row.deliveries_dead = of(&dead_deliveries, id).map_or(0, |(n, _)| n);
            row.oldest_unfinished_at_ms = turn.into_iter().chain(delivery).map(|(_, at)| at).min();
            if row.deliveries_unfinished > 0 {
                (row.waiting_code, row.waiting_reason) = self.waiting(id)?;
            }
            channels.push(row);
        }
        Ok(channels)
    }

    /// Of the replies that head their lines after an attempt, the one that is due first. Progress is
    /// never tried again.
    fn waiting(&self, channel: i64) -> Result<(Option<String>, Option<String>)> {
        let found = self.one(
            "SELECT code, reason FROM delivery
             WHERE channel_id = ?1 AND head = 1 AND claim_token IS NULL AND kind >= 2
               AND code IS NOT NULL
             ORDER BY next_at_ms, seq LIMIT 1",
            [channel],
            |r| Ok((r.get(0)?, r.get(1)?)),
        )?;
        Ok(found.unwrap_or_default())
    }

    fn counts(&self, sql: &str) -> Result<Vec<(i64, u64, i64)>> {
        self.all(sql, [], |r| Ok((r.get(0)?, r.get::<_, i64>(1)?.max(0).unsigned_abs(), r.get(2)?)))
    }

    fn summary(&self) -> Result<Summary> {
        let turns =
            self.counts("SELECT state, count(*), 0 FROM turn WHERE state < 3 GROUP BY state")?;
        let schedules = self.counts(
            "SELECT next_due_ms IS NULL, count(*), 0 FROM schedule GROUP BY next_due_ms IS NULL",
        )?;
        let later = self.counts(
            "SELECT 0, count(*), 0 FROM turn WHERE seq = 9223372036854775807 AND state = 0",
        )?;
        let rows =
            self.counts("SELECT state, count(*), 0 FROM delivery WHERE state < 3 GROUP BY state")?;
        let held = self.counts("SELECT 3, count(*), 0 FROM delivery WHERE state = 3")?;
        let dead = self.counts("SELECT 5, count(*), 0 FROM delivery WHERE state = 5")?;
        let of = |counts: &[(i64, u64, i64)], state: i64| {
            counts.iter().find(|(code, _, _)| *code == state).map_or(0, |(_, n, _)| *n)
        };
        Ok(Summary {
            turns_queued: of(&turns, 0).saturating_sub(of(&later, 0)),
            turns_due_later: of(&later, 0),
            schedules: of(&schedules, 0),
            schedules_paused: of(&schedules, 1),
            turns_running: of(&turns, 1),
            turns_delivering: of(&turns, 2),
            deliveries_queued: of(&rows, 0),
            deliveries_sending: of(&rows, 1),
            deliveries_unknown_open: of(&rows, 2),
            deliveries_held: of(&held, 3),
            deliveries_dead: of(&dead, 5),
        })
    }
}

/// The page of a list: the number after which it begins, and how many rows at most.
pub(super) fn page(limit: u32) -> u32 {
    const ROWS_MAX: u32 = 100_000;
    if limit == 0 { 50 } else { limit.min(ROWS_MAX) }
}

pub(super) fn wrong(error: &impl std::fmt::Display) -> StoreError {
    StoreError::Invalid(error.to_string())
}

/// Reads one number, for the shells around the core.
pub(super) fn number(db: &Connection, sql: &str) -> Result<i64> {
    db.query_row(sql, [], |r| r.get(0)).map_err(failed)
}
