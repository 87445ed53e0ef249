//! Entries of another program's queue: free rows, each entry once for good, in one transaction a
//! batch. What becomes of each is decided in `lifecycle/`.

use serde::{Deserialize, Serialize};

use super::bulk::Trial;
use super::deliveries::{RowBody, RowOrigin};
use super::face::{NewDelivery, StoreError};
use super::step::{Result, Step, delivery_code};
use crate::lifecycle::delivery::{DeliveryLimits, DeliveryState, code as row_code};
use crate::lifecycle::id::{ChannelName, DeliveryId};
use crate::lifecycle::import::{EntryFacts, ImportFate, fate};

/// One batch.
#[derive(Debug, Clone, PartialEq)]
pub struct Import {
    /// The other program: its ids are its own.
    pub source: String,
    pub rows: Vec<ImportRow>,
    pub trial: Trial,
    pub by: String,
}

/// One entry, its messages cut to what the platform takes.
#[derive(Debug, Clone, PartialEq)]
pub struct ImportRow {
    pub external_id: String,
    pub channel: ChannelName,
    pub conversation: String,
    pub context: Option<String>,
    pub reply_to: Option<String>,
    /// At least one.
    pub rows: Vec<NewDelivery>,
    pub facts: EntryFacts,
}

/// What became of one entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Imported {
    pub external_id: String,
    pub outcome: ImportedAs,
    pub code: Option<String>,
    pub reason: Option<String>,
    pub next_attempt_at_ms: Option<i64>,
    /// Rows that were made of it; in a dry run none.
    pub ids: Vec<DeliveryId>,
}

/// How an entry was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ImportedAs {
    Queued,
    /// It waits for a person.
    Held,
    /// It was imported before; nothing was changed.
    Already,
    /// It was not taken.
    Left,
}

impl Imported {
    /// An entry of which no more is to be told.
    #[must_use]
    pub fn new(external_id: String, outcome: ImportedAs) -> Self {
        Self {
            external_id,
            outcome,
            code: None,
            reason: None,
            next_attempt_at_ms: None,
            ids: Vec::new(),
        }
    }

    /// An entry that was not taken.
    #[must_use]
    pub fn left(external_id: String, code: &str, reason: impl Into<String>) -> Self {
        let (code, reason) = (Some(code.to_owned()), Some(reason.into()));
        Self { code, reason, ..Self::new(external_id, ImportedAs::Left) }
    }
}

impl Step<'_> {
    pub(super) fn import(&mut self, import: Import) -> Result<Vec<Imported>> {
        let Import { source, rows, trial, by } = import;
        rows.into_iter().map(|row| self.import_one(&source, row, trial, &by)).collect()
    }

    fn import_one(
        &mut self,
        source: &str,
        row: ImportRow,
        trial: Trial,
        by: &str,
    ) -> Result<Imported> {
        if row.rows.is_empty() {
            return Err(StoreError::Invalid(format!("{} says nothing", row.external_id)));
        }
        let sql = "SELECT 1 FROM import WHERE source = ?1 AND external_id = ?2";
        if self.exists(sql, (source, &row.external_id))? {
            return Ok(Imported::new(row.external_id, ImportedAs::Already));
        }
        let channel = self.channel_id(&row.channel)?;
        let fate = match self.channels.by_id.get(&channel) {
            Some(rules) => fate(&row.facts, &rules.delivery, self.now.wall_ms, self.env.jitter()),
            None => {
                let limits = DeliveryLimits::default();
                fate(&row.facts, &limits, self.now.wall_ms, self.env.jitter())
            }
        };
        let ids = match trial {
            Trial::DryRun => Vec::new(),
            Trial::ForReal => self.insert_import(source, channel, &row, &fate, by)?,
        };
        Ok(match fate {
            ImportFate::Send { next_at_ms } => Imported {
                next_attempt_at_ms: Some(next_at_ms),
                ids,
                ..Imported::new(row.external_id, ImportedAs::Queued)
            },
            ImportFate::Hold { code, sentence } => Imported {
                code: Some(code.to_owned()),
                reason: Some(sentence),
                ids,
                ..Imported::new(row.external_id, ImportedAs::Held)
            },
        })
    }

    fn insert_import(
        &mut self,
        source: &str,
        channel: i64,
        row: &ImportRow,
        fate: &ImportFate,
        by: &str,
    ) -> Result<Vec<DeliveryId>> {
        let (conversation, context, _) = self.conversation(channel, &row.conversation)?;
        let body = RowBody {
            channel,
            conversation,
            context: row.context.as_deref().or(context.as_deref()),
            reply_to: row.reply_to.as_deref(),
        };
        let origin = RowOrigin { turn: None, about_turn: None, replay_of: None };
        let ids = self.insert_reply(&body, &origin, &row.rows)?;
        let Some(first) = ids.first().copied() else { return Ok(ids) };
        self.execute(
            "INSERT INTO import (source, external_id, delivery_id, at_ms, \"by\")
             VALUES (?1, ?2, ?3, ?4, ?5)",
            (source, &row.external_id, first.number, self.now.wall_ms, by),
        )?;
        match fate {
            ImportFate::Send { next_at_ms } => {
                self.execute(
                    "UPDATE delivery SET attempts = ?2, next_at_ms = max(next_at_ms, ?3)
                     WHERE id = ?1",
                    (first.number, row.facts.attempts, next_at_ms),
                )?;
            }
            ImportFate::Hold { code, sentence } => {
                self.hold_import(&ids, &row.facts, code, sentence)?;
                self.settle_delivery_line(conversation)?;
            }
        }
        Ok(ids)
    }

    /// The first row is held, the others are cancelled for it: sent again they all go, in order.
    fn hold_import(
        &mut self,
        ids: &[DeliveryId],
        facts: &EntryFacts,
        code: &str,
        sentence: &str,
    ) -> Result<()> {
        for (index, id) in ids.iter().enumerate() {
            let Some(row) = self.row(id.number)? else { continue };
            let (state, code, reason) = if index == 0 {
                (DeliveryState::UnknownHeld, code, sentence)
            } else {
                let words = "an earlier part of the same entry is held";
                (DeliveryState::Cancelled, row_code::PART_MISSING, words)
            };
            let maybe_sent = index == 0 && facts.maybe_sent;
            let now_ms = self.now.wall_ms;
            self.execute(
                "UPDATE delivery SET state = ?2, head = 0, code = ?3, reason = ?4, maybe_sent = ?5,
                   attempts = ?6, rested_at_ms = ?7
                 WHERE id = ?1",
                (id.number, delivery_code(state), code, reason, maybe_sent, facts.attempts, now_ms),
            )?;
            self.row_moved(&row, state, row.call, Some(code))?;
        }
        Ok(())
    }
}
