//! After a failed commit SQLite would go on, and what it then says may never have reached the disk;
//! or it said no, and a later process finds on the disk what was refused. So the core closes, opens
//! again, writes the log anew, reads whether the batch is there, commits once more on top of what it
//! read, and only then answers.

use super::super::face::{Answer, StoreError};
use super::super::files::{self, Files};
use super::super::schema;
use super::super::step::{Result, Tally, failed};
#[cfg(test)]
use super::super::tests::disk::{Rule, is_left_out};
use super::Core;
use crate::lifecycle::id::ID_PART_MAX;

impl Core {
    pub(super) fn reopen(&mut self) -> Result<()> {
        self.db = None;
        if let Some(files) = &self.files {
            files.check_db()?;
        }
        // A log that is left may end with what a failed sync has left: of the commit that failed
        // here, or of a host that was killed before it could read again.
        let doubtful = files::has_log(&self.path)?;
        #[cfg(test)]
        let doubtful = doubtful && !is_left_out(Rule::WriteAgain);
        let db = schema::open_writer(&self.path)?;
        if doubtful {
            files::write_log_again(&self.path)?;
        }
        #[cfg(test)]
        {
            super::super::tests::audit::listen(&db).map_err(failed)?;
            if is_left_out(Rule::Full) {
                db.pragma_update(None, "synchronous", "NORMAL").map_err(failed)?;
            }
        }
        let numbers =
            |sql: &str| -> Result<i64> { db.query_row(sql, [], |row| row.get(0)).map_err(failed) };
        let last_number = numbers(
            "SELECT max((SELECT coalesce(max(id), 0) FROM turn),
                        (SELECT coalesce(max(id), 0) FROM delivery),
                        (SELECT value FROM meta WHERE name = 'number_floor'))",
        )?;
        let pending_turns = numbers("SELECT count(*) FROM turn WHERE state < 3")?;
        let batch = numbers("SELECT value FROM meta WHERE name = 'batch'")?;
        // What is added to them must not leave their range: ids hold 50 bits of a number.
        if last_number.max(batch).unsigned_abs() > ID_PART_MAX / 2 {
            let words = "its numbers are beyond all that a host gives; restore a backup";
            return Err(StoreError::Corrupt(words.to_owned()));
        }
        self.files = Some(Files::opened(&self.path)?);
        self.tally = Tally { last_number, pending_turns };
        self.batch = batch;
        self.db = Some(db);
        self.watch_wal()
    }

    /// The ordered end: moves the whole log into the file, so that the file alone is the store, and
    /// gives both back. Best effort: what stays in the log is found there by the next start.
    pub fn end(&mut self) {
        let Some(db) = self.db.take() else { return };
        // Of files that somebody put in the place of ours nothing is written over or taken away.
        let ours = self.files.as_mut().is_none_or(|files| files.check().is_ok());
        let done = if ours { schema::empty_log(&db) } else { schema::leave_log(&db) };
        if let Err(error) = done {
            tracing::warn!(%error, "the store's log stays beside it; the next start reads it");
        }
    }

    /// Reads the truth back from the disk before anybody is told anything.
    pub(super) fn after_failed_commit(
        &mut self,
        error: StoreError,
        answers: Vec<Result<Answer>>,
        count: usize,
    ) -> Vec<Result<Answer>> {
        #[cfg(test)]
        if is_left_out(Rule::ReadAgain) {
            return vec![Err(error); count];
        }
        self.stats.reopened += 1;
        tracing::error!(error = %error, "a commit failed; the store is closed and read again");
        let wanted = self.batch + 1;
        let read = self.reopen().is_ok();
        let there = read && self.batch == wanted && answers.len() == count;
        // One more commit, and what was read is on the disk for good: the batch, or that there is
        // none of it.
        if read && self.touch().is_err() {
            self.db = None;
            self.unseen |= there;
        } else if there {
            self.stats.commits += 1;
            self.wrote = true;
            return answers;
        }
        self.notes.clear();
        vec![Err(error); count]
    }

    fn touch(&mut self) -> Result<()> {
        #[cfg(test)]
        if is_left_out(Rule::CommitAgain) {
            return Ok(());
        }
        let db = self.connection()?;
        let sql = "BEGIN IMMEDIATE; UPDATE meta SET value = value + 1 WHERE name = 'batch'; COMMIT";
        db.execute_batch(sql).map_err(failed)?;
        self.batch += 1;
        Ok(())
    }
}
