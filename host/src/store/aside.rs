//! A row that cannot be read stops nobody but itself: whoever looks for work looks at each row under
//! a savepoint of its own, and sets aside what a damaged column makes unreadable.
//!
//! A row that can still be ended is ended, with code and sentence. One of which not even that can be
//! done leaves its line, and the log says so.

use super::face::{ClaimedDelivery, ClaimedTurn, Lease, StoreError};
use super::step::{Result, Step, failed};
use crate::lifecycle::delivery::{DeliveryEvent, code as delivery_word};
use crate::lifecycle::id::TurnId;
use crate::lifecycle::turn::{TurnEvent, code as turn_word};

impl Step<'_> {
    /// Carries out a part of a command; where that fails nothing of the part remains, and the
    /// command may go on.
    fn by_itself<T>(&mut self, part: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        let (tally, notes) = (*self.tally, self.notes.len());
        self.mark("SAVEPOINT part")?;
        let done = part(self);
        if done.is_err() {
            *self.tally = tally;
            self.notes.truncate(notes);
            self.mark("ROLLBACK TO part")?;
        }
        self.mark("RELEASE part")?;
        done
    }

    fn mark(&self, sql: &str) -> Result<()> {
        let mut statement = self.db.prepare_cached(sql).map_err(failed)?;
        statement.execute([]).map(|_| ()).map_err(failed)
    }

    /// Claims a turn that was found; nothing where it cannot be read, and then it is out of the way.
    pub(super) fn claim_turn_or_set_aside(
        &mut self,
        turn: TurnId,
        lease: Lease,
    ) -> Result<Option<ClaimedTurn>> {
        let sentence = match self.by_itself(|step| step.claim_turn_by_number(turn, lease)) {
            Err(StoreError::Corrupt(sentence)) => sentence,
            done => return done,
        };
        let ended = self.by_itself(|step| step.end_unreadable(turn, &sentence));
        match ended {
            Ok(()) => Ok(None),
            Err(StoreError::Corrupt(_) | StoreError::Invalid(_)) => {
                self.turn_leaves_line(turn, &sentence).map(|()| None)
            }
            Err(error) => Err(error),
        }
    }

    /// Where a row could not be ended, it is at least not looked at again.
    pub(super) fn turn_leaves_line(&mut self, turn: TurnId, sentence: &str) -> Result<()> {
        tracing::error!(%turn, "a row leaves its line: {sentence}");
        self.execute("UPDATE turn SET head = 0 WHERE id = ?1", [turn.number]).map(|_| ())
    }

    /// As a try that found nothing to run.
    fn end_unreadable(&mut self, turn: TurnId, sentence: &str) -> Result<()> {
        let token = self.env.claim_token();
        self.execute(
            "UPDATE turn SET state = 1, head = 0, try = try + 1, tries = tries + 1, claim_boot = ?3,
               claim_token = ?4, claim_expires = ?5
             WHERE id = ?1 AND nonce = ?2 AND state = 0",
            (
                turn.number,
                turn.nonce.cast_signed(),
                self.rules.boot.0,
                token.0,
                self.now.mono_ms,
            ),
        )?;
        let Some(facts) = self.turn_facts(turn)? else { return Ok(()) };
        let (try_number, accepted_at_ms) = (facts.try_number, facts.accepted_at_ms);
        self.turn_claimed(turn, facts.channel, try_number, accepted_at_ms, accepted_at_ms)?;
        let (event, word) = (TurnEvent::TriesSpent, Some(turn_word::UNREADABLE));
        self.end_turn(&facts, event, word, Some(sentence), None).map(|_| ())
    }

    /// The same for a delivery.
    pub(super) fn look_at_or_set_aside(
        &mut self,
        number: i64,
        lease: Lease,
    ) -> Result<Option<ClaimedDelivery>> {
        let sentence = match self.by_itself(|step| step.look_at(number, lease)) {
            Err(StoreError::Corrupt(sentence)) => sentence,
            done => return done,
        };
        let rested = self.by_itself(|step| {
            let Some(row) = step.row(number)? else { return Ok(()) };
            let word = Some(delivery_word::UNREADABLE);
            step.rest_row(&row, DeliveryEvent::Unwanted, word, Some(&sentence)).map(|_| ())
        });
        match rested {
            Ok(()) => Ok(None),
            Err(StoreError::Corrupt(_) | StoreError::Invalid(_)) => {
                tracing::error!(delivery = number, "a row leaves its line: {sentence}");
                self.execute("UPDATE delivery SET head = 0 WHERE id = ?1", [number]).map(|_| None)
            }
            Err(error) => Err(error),
        }
    }
}
