//! Many rows by one order: replay, resolve and purge by filter. A page of rows is read, and one
//! command looks at each of them again; what a row's state refuses is told with its reason and
//! keeps nobody else from being served. A dry run does the same and takes it back.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::face::{Answer, Command, Operated, ReplayOf, Resolution, StoreError};
use super::handle::Store;
use super::query::{DeliveryRow, ListFilter, Query, Rows};
use super::step::{Result, Step, failed};
use crate::lifecycle::id::TurnId;

/// Rows of one command: what one transaction holds the writer for stays in milliseconds.
pub const BULK_ROWS_MAX: u32 = 200;

/// What is done to each row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BulkAct {
    /// `force` also replays what was replayed before.
    Replay {
        force: bool,
    },
    Resolve(Resolution),
    Purge(PurgeReach),
}

/// How far a purge goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PurgeReach {
    /// Rows at rest that wait for nobody.
    AtRest,
    /// Also unfinished and held rows, where the config names their channel no more.
    RemovedChannels,
}

/// Which list the rows are taken from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BulkList {
    Turns,
    Outbox,
}

/// Whether it is done or only tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trial {
    /// Everything is taken back: the answer says what would be done.
    DryRun,
    ForReal,
}

/// One page of an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BulkAsk {
    pub list: BulkList,
    /// Without a state: what the act is for. At most [`BULK_ROWS_MAX`] rows.
    pub filter: ListFilter,
    pub act: BulkAct,
    pub trial: Trial,
    pub by: String,
}

/// Rows that were picked, for one command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bulk {
    pub act: BulkAct,
    /// At most [`BULK_ROWS_MAX`].
    pub rows: Vec<ReplayOf>,
    pub trial: Trial,
    pub by: String,
}

/// What became of one row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BulkRow {
    pub id: String,
    pub result: BulkResult,
    /// Rows that were made by it, or that went with it. Empty in a dry run of a replay or a resend:
    /// ids are given when rows are made.
    pub ids: Vec<String>,
    /// Why it was left alone.
    pub reason: Option<String>,
    /// The state that it was picked in.
    #[serde(default)]
    pub state: Option<String>,
}

/// How one row fared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BulkResult {
    Done,
    /// Its state refuses it, or it is gone.
    Skipped,
    /// The store could not do it; nothing of it was changed.
    Failed,
}

/// What became of a page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BulkPage {
    pub rows: Vec<BulkRow>,
    /// The id to go on behind; none where that was the last page.
    pub next: Option<String>,
    /// Turns that were ended: their handlers and calls are to be told.
    pub stopped: Vec<TurnId>,
}

impl BulkList {
    /// The word in the API and in logs.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Turns => "turns",
            Self::Outbox => "outbox",
        }
    }
}

impl fmt::Display for BulkAct {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Replay { .. } => "replay",
            Self::Resolve(_) => "resolve",
            Self::Purge(_) => "purge",
        })
    }
}

impl BulkAct {
    /// The states that the act is for, where none are named.
    fn states(self, list: BulkList) -> Option<&'static str> {
        match (self, list) {
            (Self::Resolve(_), _) => Some("held"),
            // What came to rest and needs nobody is let alone unless it is named.
            (Self::Purge(PurgeReach::RemovedChannels), BulkList::Turns) => {
                Some("failed,expired,queued,running,delivering,held")
            }
            (Self::Purge(PurgeReach::RemovedChannels), BulkList::Outbox) => {
                Some("dead,expired,queued,sending,unknown,held")
            }
            (Self::Replay { .. } | Self::Purge(PurgeReach::AtRest), BulkList::Turns) => {
                Some("failed,expired")
            }
            (Self::Replay { .. } | Self::Purge(PurgeReach::AtRest), BulkList::Outbox) => {
                Some("dead,expired")
            }
        }
    }

    /// Progress that did not go is worth nothing later: it is replayed only where it is named.
    fn kinds(self, list: BulkList) -> Option<&'static str> {
        match (self, list) {
            (Self::Replay { .. }, BulkList::Outbox) => Some("final,notice"),
            (Self::Replay { .. }, BulkList::Turns) | (Self::Resolve(_) | Self::Purge(_), _) => None,
        }
    }
}

impl Store {
    /// Carries out one page of an order. The caller goes on behind `next`.
    ///
    /// # Errors
    /// The store's; nothing of this page was changed then.
    pub async fn bulk(&self, mut ask: BulkAsk) -> Result<BulkPage> {
        if matches!(ask.act, BulkAct::Resolve(_)) && ask.list == BulkList::Turns {
            let sentence = "deliveries are resolved, not turns";
            return Err(StoreError::Invalid(sentence.to_owned()));
        }
        let filter = &mut ask.filter;
        let limit = filter.limit.clamp(1, BULK_ROWS_MAX);
        filter.limit = limit;
        let words = |words: Option<&str>| words.map(ToOwned::to_owned);
        filter.state = filter.state.take().or_else(|| words(ask.act.states(ask.list)));
        filter.kind = filter.kind.take().or_else(|| words(ask.act.kinds(ask.list)));
        let (rows, states) = self.pick(ask.list, ask.filter).await?;
        let full = rows.len() == limit as usize;
        let next = rows.last().filter(|_| full).map(row_id);
        if rows.is_empty() {
            return Ok(BulkPage { rows: Vec::new(), next, stopped: Vec::new() });
        }
        let bulk = Bulk { act: ask.act, rows, trial: ask.trial, by: ask.by };
        match self.run(Command::Bulk(Box::new(bulk))).await? {
            Answer::Bulk { mut rows, stopped } => {
                for (row, state) in rows.iter_mut().zip(states) {
                    row.state = Some(state);
                }
                Ok(BulkPage { rows, next, stopped })
            }
            _ => Err(StoreError::Corrupt("an order was given another's answer".to_owned())),
        }
    }

    /// The rows that the filter takes, each with its state.
    async fn pick(
        &self,
        list: BulkList,
        filter: ListFilter,
    ) -> Result<(Vec<ReplayOf>, Vec<String>)> {
        match list {
            BulkList::Turns => match self.read(Query::Turns(filter)).await? {
                Rows::Turns(rows) => {
                    Ok(rows.into_iter().map(|row| (ReplayOf::Turn(row.id), row.state)).unzip())
                }
                _ => Err(wrong_rows()),
            },
            BulkList::Outbox => match self.read(Query::Outbox(filter)).await? {
                Rows::Deliveries(rows) => Ok(rows
                    .into_iter()
                    .map(|row| (ReplayOf::Delivery(row.id), shown_state(&row)))
                    .unzip()),
                _ => Err(wrong_rows()),
            },
        }
    }
}

/// How a list shows a row's state.
fn shown_state(row: &DeliveryRow) -> String {
    if row.held { "held".to_owned() } else { row.state.clone() }
}

fn wrong_rows() -> StoreError {
    StoreError::Corrupt("an order was given rows of another kind".to_owned())
}

fn row_id(row: &ReplayOf) -> String {
    match row {
        ReplayOf::Turn(turn) => turn.to_string(),
        ReplayOf::Delivery(delivery) => delivery.to_string(),
    }
}

impl Step<'_> {
    pub(super) fn bulk(&mut self, bulk: &Bulk) -> Result<Answer> {
        if bulk.rows.len() > BULK_ROWS_MAX as usize {
            let sentence = format!("at most {BULK_ROWS_MAX} rows at a time");
            return Err(StoreError::Invalid(sentence));
        }
        let mut rows = Vec::with_capacity(bulk.rows.len());
        let mut stopped = Vec::new();
        for row in &bulk.rows {
            let mut ended = Vec::new();
            let operated = self.apart(bulk.trial, |step| step.one_of_bulk(bulk, row, &mut ended));
            let (result, ids, reason) = match operated {
                Ok(Operated::Done { ids }) => (BulkResult::Done, ids, None),
                Ok(Operated::Nothing { sentence } | Operated::Refused { sentence }) => {
                    (BulkResult::Skipped, Vec::new(), Some(sentence))
                }
                Err(error @ (StoreError::Invalid(_) | StoreError::Corrupt(_))) => {
                    (BulkResult::Failed, Vec::new(), Some(error.to_string()))
                }
                // The disk's own faults are of the whole command.
                Err(error) => return Err(error),
            };
            let ids = match (bulk.trial, bulk.act) {
                (Trial::DryRun, BulkAct::Replay { .. } | BulkAct::Resolve(_)) => Vec::new(),
                (Trial::DryRun, BulkAct::Purge(_)) | (Trial::ForReal, _) => ids,
            };
            if result == BulkResult::Done && bulk.trial == Trial::ForReal {
                stopped.append(&mut ended);
            }
            rows.push(BulkRow { id: row_id(row), result, ids, reason, state: None });
        }
        Ok(Answer::Bulk { rows, stopped })
    }

    fn one_of_bulk(
        &mut self,
        bulk: &Bulk,
        row: &ReplayOf,
        ended: &mut Vec<TurnId>,
    ) -> Result<Operated> {
        match (bulk.act, row) {
            (BulkAct::Replay { force }, of) => self.replay(of, force, &bulk.by),
            (BulkAct::Resolve(how), ReplayOf::Delivery(id)) => self.resolve(*id, how, &bulk.by),
            (BulkAct::Resolve(_), ReplayOf::Turn(_)) => {
                Err(StoreError::Invalid("deliveries are resolved, not turns".to_owned()))
            }
            (BulkAct::Purge(reach), ReplayOf::Turn(id)) => {
                self.purge_turn(*id, reach, &bulk.by, ended)
            }
            (BulkAct::Purge(reach), ReplayOf::Delivery(id)) => self.purge_delivery(*id, reach),
        }
    }

    /// Under a savepoint of its own, so that one row that fails, or a dry run, leaves no trace.
    fn apart(
        &mut self,
        trial: Trial,
        work: impl FnOnce(&mut Self) -> Result<Operated>,
    ) -> Result<Operated> {
        let run = |step: &Self, sql: &str| step.db.execute_batch(sql).map_err(failed);
        let (tally, notes) = (*self.tally, self.notes.len());
        run(self, "SAVEPOINT one_row")?;
        let operated = work(self);
        let keep = trial == Trial::ForReal && matches!(operated, Ok(Operated::Done { .. }));
        if !keep {
            *self.tally = tally;
            self.notes.truncate(notes);
            run(self, "ROLLBACK TO one_row")?;
        }
        run(self, "RELEASE one_row")?;
        operated
    }
}
