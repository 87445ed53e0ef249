//! What the outside was told, held against what the disk says. Everything that was answered is
//! there; what was refused is not; what nobody was told of is there whole, or not at all.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};

use rusqlite::Connection;
use rusqlite::types::ValueRef;

use super::super::simulation::invariants::{INVARIANTS, INVARIANTS_OF_UNMERGED_LINES};
use crate::lifecycle::id::{DeliveryId, TurnId};
use crate::store::doctor;

/// A sentence about a promise that was broken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Violation(pub(super) String);

pub(super) type Checked<T = ()> = Result<T, Violation>;

pub(super) fn broken<T>(sentence: impl Into<String>) -> Checked<T> {
    Err(Violation(sentence.into()))
}

/// The number of the last batch in a store, and a digest of every row of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct State {
    pub(super) batch: i64,
    pub(super) digest: u64,
}

impl State {
    /// Reads a store whole. The number of the batch stands beside the digest, not in it: the store
    /// commits by itself to make sure of what it has read.
    pub(super) fn of(db: &Connection) -> rusqlite::Result<Self> {
        let mut hasher = DefaultHasher::new();
        let mut names = db.prepare_cached(
            "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'",
        )?;
        let names: Vec<String> =
            names.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
        for name in names {
            name.hash(&mut hasher);
            let only = if name == "meta" { " WHERE name != 'batch'" } else { "" };
            let mut statement = db.prepare_cached(&format!("SELECT * FROM {name}{only}"))?;
            let columns = statement.column_count();
            let mut rows = statement.query([])?;
            while let Some(row) = rows.next()? {
                for column in 0..columns {
                    digest(row.get_ref(column)?, &mut hasher);
                }
            }
        }
        let sql = "SELECT value FROM meta WHERE name = 'batch'";
        let batch = db.query_row(sql, [], |row| row.get(0))?;
        Ok(Self { batch, digest: hasher.finish() })
    }
}

fn digest(value: ValueRef<'_>, hasher: &mut DefaultHasher) {
    match value {
        ValueRef::Null => 0_u8.hash(hasher),
        ValueRef::Integer(number) => (1_u8, number).hash(hasher),
        ValueRef::Real(number) => (2_u8, number.to_bits()).hash(hasher),
        ValueRef::Text(text) => (3_u8, text).hash(hasher),
        ValueRef::Blob(bytes) => (4_u8, bytes).hash(hasher),
    }
}

/// What was told.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    /// The store when it last answered.
    told: State,
    /// Batches that nobody was told of, or whose answer could not say what became of them: the ids
    /// of the new messages of each.
    open: Vec<Vec<String>>,
    sent: BTreeSet<String>,
    /// Turns that were accepted, by the id of their message.
    accepted: BTreeMap<String, TurnId>,
    delivered: Vec<DeliveryId>,
    aborted: Vec<TurnId>,
    pub(super) may_prune: bool,
}

impl Ledger {
    pub(super) fn begin(&mut self, state: State) {
        self.told = state;
    }

    pub(super) fn ask(&mut self, messages: Vec<String>) {
        self.sent.extend(messages.iter().cloned());
        self.open.push(messages);
    }

    /// Whether the message was in a batch before, whatever became of that.
    pub(super) fn was_sent(&self, message: &str) -> bool {
        self.sent.contains(message)
    }

    pub(super) fn has_begun(&self) -> bool {
        self.told != State::default()
    }

    /// The batch was answered by a store in that state.
    pub(super) fn answered(&mut self, state: State) {
        self.told = state;
        self.open.clear();
    }

    /// The batch was refused, and so is not there.
    pub(super) fn refused(&mut self, state: State) -> Checked {
        // With one batch in doubt before it there are two that may be there.
        if state.digest != self.told.digest && self.open.len() < 2 {
            return broken("what was refused is there");
        }
        self.answered(state);
        Ok(())
    }

    /// A process finds the store in that state.
    pub(super) fn found(&mut self, state: State, db: &Connection) -> Checked {
        let (was, is) = (self.told.batch, state.batch);
        if state.digest != self.told.digest {
            if is < was {
                return broken(format!("batch {was} was answered; the disk knows {is}"));
            }
            if self.open.is_empty() {
                return broken(format!("what was refused is there: batch {is} after {was}"));
            }
            if is == was {
                return broken(format!("the rows of batch {was} are not those that were answered"));
            }
            for messages in &self.open {
                is_whole(messages, db)?;
            }
        }
        self.answered(state);
        self.check(db)
    }

    pub(super) fn accept(&mut self, message: String, turn: TurnId) -> Checked {
        match self.accepted.insert(message.clone(), turn) {
            Some(before) if before != turn => broken(format!("{message} made two turns")),
            _ => Ok(()),
        }
    }

    pub(super) fn accepted(&self) -> &BTreeMap<String, TurnId> {
        &self.accepted
    }

    pub(super) fn deliver(&mut self, delivery: DeliveryId) {
        self.delivered.push(delivery);
    }

    pub(super) fn was_delivered(&self, delivery: DeliveryId) -> bool {
        self.delivered.contains(&delivery)
    }

    pub(super) fn abort(&mut self, turns: &[TurnId]) {
        self.aborted.extend(turns);
    }

    /// The promises, counted from the rows, and what was told of single ones.
    pub(super) fn check(&self, db: &Connection) -> Checked {
        let count = |sql: &str| -> Checked<i64> {
            let counted = db.prepare_cached(sql).and_then(|mut s| s.query_row([], |r| r.get(0)));
            counted.map_err(|error| Violation(format!("the store cannot be read: {error}: {sql}")))
        };
        let whole: String = db
            .query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))
            .map_err(|error| Violation(format!("the store cannot be read: {error}")))?;
        if whole != "ok" {
            return broken(format!("the file is damaged: {whole}"));
        }
        let promises = doctor::LIVE.iter().chain(&doctor::HISTORY).chain(&INVARIANTS);
        for (what, sql) in promises.chain(&INVARIANTS_OF_UNMERGED_LINES).chain(&MORE) {
            if count(sql)? != 0 {
                return broken(format!("not so: {what}"));
            }
        }
        let gone = i64::from(self.may_prune);
        for (message, turn) in &self.accepted {
            let there = count(&format!("SELECT count(*) FROM turn WHERE id = {}", turn.number))?;
            if there + gone < 1 {
                return broken(format!("{message} was accepted as {turn}, which is not there"));
            }
        }
        for id in &self.delivered {
            let sql =
                format!("SELECT count(*) FROM delivery WHERE id = {} AND state != 4", id.number);
            if count(&sql)? != 0 {
                return broken(format!("{id} was recorded as delivered, and is not"));
            }
        }
        for id in &self.aborted {
            let sql = format!("SELECT count(*) FROM turn WHERE id = {} AND state < 3", id.number);
            if count(&sql)? != 0 {
                return broken(format!("{id} was aborted, and lives"));
            }
        }
        Ok(())
    }
}

/// A batch that nobody was told of is there whole or not at all.
fn is_whole(messages: &[String], db: &Connection) -> Checked {
    let mut there = Vec::new();
    for message in messages {
        let sql = "SELECT count(*) FROM turn WHERE external_id = ?1";
        let count: i64 = db
            .query_row(sql, [message], |row| row.get(0))
            .map_err(|error| Violation(format!("the store cannot be read: {error}")))?;
        there.push(count);
    }
    if there.iter().min() != there.iter().max() {
        return broken(format!("half a batch is there: {messages:?} {there:?}"));
    }
    Ok(())
}

const MORE: [(&str, &str); 2] = [
    (
        "a message makes one turn",
        "SELECT count(*) FROM (SELECT 1 FROM turn WHERE origin = 0
           GROUP BY conversation_id, external_id HAVING count(*) > 1)",
    ),
    ("no row names one that is not there", "SELECT count(*) FROM pragma_foreign_key_check"),
];
