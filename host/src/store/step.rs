//! What one command works with, and the small statements that several commands share.

use std::collections::HashMap;

use rusqlite::{CachedStatement, Connection, OptionalExtension, Params, Row};

use super::face::{ChannelRules, HostRules, StoreError};
use super::notes::Note;
use crate::env::{Env, Now};
use crate::lifecycle::delivery::DeliveryState;
use crate::lifecycle::id::{ChannelName, DeliveryId, TurnId};
use crate::lifecycle::message::DeliveryKind;
use crate::lifecycle::turn::{Origin, TurnState};

/// A due time that never comes by itself: something else has to happen first.
pub(super) const NEVER_MS: i64 = i64::MAX;

/// Result of a step; an error rolls the command back.
pub(super) type Result<T> = std::result::Result<T, StoreError>;

/// Numbers that the core keeps beside the file, put back where a command is rolled back.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Tally {
    /// The last number given to a turn or a delivery.
    pub(super) last_number: i64,
    /// Turns that are not at their end.
    pub(super) pending_turns: i64,
}

/// The channels' rules, in memory only: told at each start, and whenever a generation changes.
#[derive(Debug, Default)]
pub(super) struct Channels {
    pub(super) by_id: HashMap<i64, ChannelRules>,
    pub(super) ids: HashMap<ChannelName, i64>,
    /// Of which channel a turn was claimed last, so that channels take turns.
    pub(super) last_claimed: i64,
    /// Since when rows are open unknowns, on this start's monotonic clock, until they are asked
    /// about or at rest.
    pub(super) doubts: HashMap<i64, i64>,
}

/// One command at work inside its savepoint.
pub(super) struct Step<'a> {
    pub(super) db: &'a Connection,
    pub(super) now: Now,
    pub(super) env: &'a Env,
    pub(super) rules: &'a HostRules,
    pub(super) channels: &'a mut Channels,
    pub(super) tally: &'a mut Tally,
    /// What it did, told once it is committed.
    pub(super) notes: &'a mut Vec<Note>,
}

pub(super) fn failed(error: rusqlite::Error) -> StoreError {
    super::schema::engine_error(&error)
}

#[cfg(test)]
thread_local! {
    /// Every statement that this thread's steps have run, for the test of their plans.
    pub(super) static SEEN: std::cell::RefCell<std::collections::BTreeSet<String>> =
        const { std::cell::RefCell::new(std::collections::BTreeSet::new()) };
}

impl Step<'_> {
    fn statement(&self, sql: &str) -> Result<CachedStatement<'_>> {
        #[cfg(test)]
        SEEN.with_borrow_mut(|seen| seen.insert(sql.to_owned()));
        self.db.prepare_cached(sql).map_err(failed)
    }

    pub(super) fn execute(&self, sql: &str, params: impl Params) -> Result<usize> {
        self.statement(sql)?.execute(params).map_err(failed)
    }

    pub(super) fn one<T>(
        &self,
        sql: &str,
        params: impl Params,
        read: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Option<T>> {
        self.statement(sql)?.query_row(params, read).optional().map_err(failed)
    }

    pub(super) fn all<T>(
        &self,
        sql: &str,
        params: impl Params,
        read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>> {
        let mut statement = self.statement(sql)?;
        let rows = statement.query_map(params, read).map_err(failed)?;
        rows.collect::<rusqlite::Result<Vec<T>>>().map_err(failed)
    }

    pub(super) fn exists(&self, sql: &str, params: impl Params) -> Result<bool> {
        self.statement(sql)?.exists(params).map_err(failed)
    }

    /// The next number of the one counter of turns and deliveries.
    pub(super) fn next_number(&mut self) -> i64 {
        self.tally.last_number += 1;
        self.tally.last_number
    }

    pub(super) fn nonce(&self) -> u64 {
        self.env.nonce()
    }

    /// The channel's row; made where its name is new.
    pub(super) fn channel_id(&mut self, name: &ChannelName) -> Result<i64> {
        if let Some(id) = self.channels.ids.get(name) {
            return Ok(*id);
        }
        let found = self.one("SELECT id FROM channel WHERE name = ?1", [&name.0], |r| r.get(0))?;
        match found {
            Some(id) => Ok(id),
            None => Err(StoreError::Invalid(format!(
                "there is no channel \"{name}\"; `lastword channels list` shows those that are"
            ))),
        }
    }

    pub(super) fn channel_name(&self, id: i64) -> Result<ChannelName> {
        if let Some(rules) = self.channels.by_id.get(&id) {
            return Ok(rules.channel.clone());
        }
        self.one("SELECT name FROM channel WHERE id = ?1", [id], |r| r.get(0).map(ChannelName))?
            .ok_or_else(|| StoreError::Corrupt(format!("no channel has the number {id}")))
    }

    /// Whether rows of the channel may be sent now: in the config, not paused, not held back.
    pub(super) fn channel_open(&self, id: i64) -> Result<bool> {
        if !self.channels.by_id.contains_key(&id) {
            return Ok(false);
        }
        let now_ms = self.now.wall_ms;
        self.exists(
            "SELECT 1 FROM channel WHERE id = ?1 AND present = 1 AND pause_code IS NULL
               AND (not_before_ms <= ?2 OR not_before_set_ms > ?2)
               AND (bucket_ready_ms <= ?2 OR bucket_set_ms > ?2)",
            [id, now_ms],
        )
    }
}

/// The states as the rows have them.
pub(super) fn turn_code(state: TurnState) -> i64 {
    match state {
        TurnState::Queued => 0,
        TurnState::Running => 1,
        TurnState::Delivering => 2,
        TurnState::Delivered => 3,
        TurnState::Silent => 4,
        TurnState::Failed => 5,
        TurnState::Aborted => 6,
        TurnState::Expired => 7,
    }
}

pub(super) fn turn_state(code: i64) -> Result<TurnState> {
    usize::try_from(code)
        .ok()
        .and_then(|index| TurnState::ALL.get(index).copied())
        .ok_or_else(|| StoreError::Corrupt(format!("{code} is no state of a turn")))
}

pub(super) fn origin_code(origin: Origin) -> i64 {
    match origin {
        Origin::Platform => 0,
        Origin::Posted => 1,
        Origin::Scheduled => 2,
    }
}

pub(super) fn origin(code: i64) -> Result<Origin> {
    const ALL: [Origin; 3] = [Origin::Platform, Origin::Posted, Origin::Scheduled];
    usize::try_from(code)
        .ok()
        .and_then(|index| ALL.get(index).copied())
        .ok_or_else(|| StoreError::Corrupt(format!("{code} is no origin of a turn")))
}

pub(super) fn delivery_code(state: DeliveryState) -> i64 {
    match state {
        DeliveryState::Queued => 0,
        DeliveryState::Sending => 1,
        DeliveryState::UnknownOpen => 2,
        DeliveryState::UnknownHeld => 3,
        DeliveryState::Delivered => 4,
        DeliveryState::Dead => 5,
        DeliveryState::Cancelled => 6,
        DeliveryState::Expired => 7,
    }
}

pub(super) fn delivery_state(code: i64) -> Result<DeliveryState> {
    usize::try_from(code)
        .ok()
        .and_then(|index| DeliveryState::ALL.get(index).copied())
        .ok_or_else(|| StoreError::Corrupt(format!("{code} is no state of a delivery")))
}

pub(super) fn kind_code(kind: DeliveryKind) -> i64 {
    match kind {
        DeliveryKind::Tool => 0,
        DeliveryKind::Block => 1,
        DeliveryKind::Final => 2,
        DeliveryKind::Notice => 3,
    }
}

pub(super) fn delivery_kind(code: i64) -> Result<DeliveryKind> {
    usize::try_from(code)
        .ok()
        .and_then(|index| DeliveryKind::ALL.get(index).copied())
        .ok_or_else(|| StoreError::Corrupt(format!("{code} is no kind of delivery")))
}

pub(super) fn turn_id(number: i64, nonce: i64) -> TurnId {
    TurnId { number, nonce: nonce.unsigned_abs() }
}

pub(super) fn delivery_id(number: i64, nonce: i64) -> DeliveryId {
    DeliveryId { number, nonce: nonce.unsigned_abs() }
}

/// A duration as the rows add it to a time.
pub(super) fn ms(duration_ms: u64) -> i64 {
    i64::try_from(duration_ms).unwrap_or(i64::MAX)
}

pub(super) fn to_json(value: &impl serde::Serialize) -> Result<String> {
    serde_json::to_string(value).map_err(|e| StoreError::Invalid(format!("cannot be stored: {e}")))
}

pub(super) fn from_json<T: serde::de::DeserializeOwned>(text: &str) -> Result<T> {
    // The position only: the error's own words may quote the payload.
    serde_json::from_str(text).map_err(|e| {
        StoreError::Corrupt(format!("a payload cannot be read at column {}", e.column()))
    })
}
