//! The guarded steps of sweeps, and pruning. What they act on was planned from reads; each looks
//! again before it changes anything.

use super::face::{Answer, DeliveryClaim, Guarded, Next, Recorded, SweepStep};
use super::step::{Result, Step, ms};
use crate::lifecycle::delivery::DeliveryState;
use crate::lifecycle::id::{DeliveryId, TurnId};
use crate::lifecycle::outcome::{Fault, Ledger, Outcome};
use crate::lifecycle::turn::{TurnEvent, TurnState, code};

impl Step<'_> {
    pub(super) fn sweep(&mut self, step: SweepStep) -> Result<Answer> {
        match step {
            SweepStep::LoseTurn { claim, loss } => self.lose_try(&claim, &loss),
            SweepStep::LoseSend { claim, fault } => self.lose_send(&claim, fault),
            SweepStep::LoseAsk { claim } => self.lose_ask(&claim),
            SweepStep::AdoptLease { claim } => self.adopt_lease(&claim).map(Answer::Guarded),
            SweepStep::ExpireTurn { turn } => self.expire_turn(turn),
            SweepStep::ExpireDelivery { delivery } => self.expire_delivery(delivery),
            SweepStep::ReleaseFuture { rows_max } => self.release_future(rows_max),
            SweepStep::Prune { rows_max } => self.prune(rows_max),
        }
    }

    /// Its worker is gone and no ledger with it: the outcome is unknown.
    fn lose_send(&mut self, claim: &DeliveryClaim, fault: Fault) -> Result<Answer> {
        let Some(row) = self.row_by_id(claim.delivery)? else { return Ok(lost()) };
        let holds = row.state == DeliveryState::Sending
            && row.claim_token == Some(claim.token.0)
            && row.call == claim.call;
        if !holds {
            return Ok(lost());
        }
        let record = super::face::RecordOutcome {
            claim: *claim,
            outcome: Outcome::Unknown(fault),
            ledger: Ledger::default(),
            digest: String::new(),
            contradicted: false,
            state: Default::default(),
            next: Default::default(),
        };
        self.record(record).map(|recorded| Answer::Recorded(Box::new(recorded)))
    }

    fn lose_ask(&mut self, claim: &DeliveryClaim) -> Result<Answer> {
        let answer = super::face::AskAnswer::Broken(Fault::new(
            crate::lifecycle::delivery::code::CLAIM_EXPIRED,
            "the worker that asked is gone",
        ));
        self.record_ask(claim, &answer, &Default::default(), Default::default())
            .map(|recorded| Answer::Recorded(Box::new(recorded)))
    }

    fn expire_turn(&mut self, turn: TurnId) -> Result<Answer> {
        let lost = Answer::TurnEnded { guarded: Guarded::Lost, end: None, next: Next::default() };
        let Some(facts) = self.turn_facts(turn)? else { return Ok(lost) };
        let before_ms = self.now.wall_ms.saturating_sub(ms(self.rules.turn.age_max_ms));
        let old = self.exists(
            "SELECT 1 FROM turn WHERE id = ?1 AND state = 0 AND head = 1 AND due_ms < ?2",
            (turn.number, before_ms),
        )?;
        // Of a removed channel nothing expires: on its return age is applied first.
        let served = self.channels.by_id.contains_key(&facts.channel);
        if !old || !served || facts.state != TurnState::Queued {
            return Ok(lost);
        }
        let event = TurnEvent::TooOld { has_run: facts.try_number > 0 };
        let words = Some("older than turn_max_age before it could be answered");
        let end = self.end_turn(&facts, event, Some(code::TOO_OLD), words, None)?;
        Ok(Answer::TurnEnded { guarded: Guarded::Done, end: Some(end), next: Next::default() })
    }

    fn expire_delivery(&mut self, delivery: DeliveryId) -> Result<Answer> {
        let Some(row) = self.row_by_id(delivery)? else { return Ok(lost()) };
        if row.state != DeliveryState::Queued || !self.is_too_old(&row) {
            return Ok(lost());
        }
        let (state, turn_ended) = self.expire_row(&row)?;
        let recorded =
            Recorded { claim_held: true, state: Some(state), turn_ended, ..Recorded::default() };
        Ok(Answer::Recorded(Box::new(recorded)))
    }

    /// The clock went back: what was set to be due from a time that has not come counts as due.
    fn release_future(&mut self, rows_max: u32) -> Result<Answer> {
        let now_ms = self.now.wall_ms;
        let turns = self.execute(
            "UPDATE turn SET due_ms = ?1, due_set_ms = ?1 WHERE id IN
               (SELECT id FROM turn WHERE head = 1 AND due_set_ms > ?1 LIMIT ?2)",
            (now_ms, rows_max),
        )?;
        // Of those out of line only such as wait for a while, not for a time that was named.
        let waiting = self.execute(
            "UPDATE turn SET due_ms = ?1, due_set_ms = ?1 WHERE id IN
               (SELECT id FROM turn WHERE seq = 9223372036854775807 AND state = 0
                  AND due_set_ms > ?1 LIMIT ?2)",
            (now_ms, rows_max),
        )?;
        let schedules = self.replan_schedules(rows_max)?;
        let deliveries = self.execute(
            "UPDATE delivery SET next_at_ms = ?1, next_set_ms = ?1 WHERE id IN
               (SELECT id FROM delivery WHERE head = 1 AND claim_token IS NULL
                  AND next_set_ms > ?1 AND next_at_ms != 9223372036854775807 LIMIT ?2)",
            (now_ms, rows_max),
        )?;
        let held_back = self.execute(
            "UPDATE channel SET not_before_ms = 0, not_before_set_ms = ?1
             WHERE not_before_set_ms > ?1",
            [now_ms],
        )?;
        let paced = self.execute(
            "UPDATE channel SET bucket_ready_ms = ?1
             WHERE bucket_set_ms > ?1 AND bucket_ready_ms > ?1",
            [now_ms],
        )?;
        let channels = held_back + paced;
        Ok(Answer::Changed((turns + waiting + schedules + deliveries + channels) as u64))
    }

    /// Ended turns past retention with all that hangs on them, in one bounded batch. Turns with a
    /// final that waits for a person, and dead letters, stay until they are purged. Progress that did
    /// not arrive keeps nothing: only the final decides.
    fn prune(&mut self, rows_max: u32) -> Result<Answer> {
        let now_ms = self.now.wall_ms;
        let before_ms = now_ms.saturating_sub(ms(self.rules.retention_ms));
        let turns = self.all(
            "SELECT id, dedup_key, state, ended_at_ms FROM turn
             WHERE ended_at_ms IS NOT NULL AND ended_at_ms < ?1 AND state IN (3, 4, 6)
               AND NOT EXISTS (SELECT 1 FROM delivery d
                               WHERE d.turn_id = turn.id
                                 AND (d.state < 3 OR (d.kind >= 2 AND d.state IN (3, 5, 7))))
             ORDER BY ended_at_ms, id LIMIT ?2",
            (before_ms, rows_max),
            |r| {
                let key: Option<Vec<u8>> = r.get(1)?;
                Ok((r.get::<_, i64>(0)?, key, r.get::<_, i64>(2)?, r.get::<_, i64>(3)?))
            },
        )?;
        let mut changed = turns.len() as u64;
        for (number, key, state, ended_ms) in turns {
            if let Some(key) = key {
                self.expire_key(&key, number, state, ended_ms)?;
            }
            self.forget_turn(number)?;
        }
        changed += self.prune_free_rows(before_ms, rows_max)?;
        changed += self.execute(
            "DELETE FROM dedup WHERE (key, content) IN
               (SELECT key, content FROM dedup WHERE expires_at_ms <= ?1 LIMIT ?2)",
            (now_ms, rows_max),
        )? as u64;
        changed += self.execute(
            "DELETE FROM receipt WHERE (channel_id, about, fate) IN
               (SELECT channel_id, about, fate FROM receipt WHERE at_ms < ?1 LIMIT ?2)",
            (before_ms, rows_max),
        )? as u64;
        if changed > 0 {
            self.keep_number_floor()?;
        }
        Ok(Answer::Changed(changed))
    }

    /// The key of a turn that goes says its end from now on, and is kept by its window alone.
    pub(super) fn expire_key(
        &mut self,
        key: &[u8],
        turn: i64,
        state: i64,
        ended_ms: i64,
    ) -> Result<()> {
        let window_ms = ms(self.rules.dedup_window_ms);
        self.execute(
            "UPDATE dedup SET turn_state = ?3, expires_at_ms = max(?4, accepted_at_ms + ?5)
             WHERE key = ?1 AND turn_id = ?2",
            (key, turn, state, ended_ms.saturating_add(window_ms), window_ms),
        )?;
        Ok(())
    }

    pub(super) fn forget_delivery(&mut self, number: i64) -> Result<()> {
        self.execute("DELETE FROM attempt WHERE delivery_id = ?1", [number])?;
        self.execute("DELETE FROM delivery WHERE id = ?1", [number]).map(|_| ())
    }

    pub(super) fn forget_turn(&mut self, number: i64) -> Result<()> {
        self.release_pieces(number)?;
        for sql in [
            "DELETE FROM attempt WHERE delivery_id IN (SELECT id FROM delivery WHERE turn_id = ?1)",
            "DELETE FROM delivery WHERE turn_id = ?1",
            "DELETE FROM context WHERE turn_id = ?1",
            "DELETE FROM lost_try WHERE turn_id = ?1",
            "DELETE FROM turn WHERE id = ?1",
        ] {
            self.execute(sql, [number])?;
        }
        Ok(())
    }

    /// Free rows at rest whose turn is gone, or that never had one, as what was imported: nothing
    /// else would ever take them.
    fn prune_free_rows(&mut self, before_ms: i64, rows_max: u32) -> Result<u64> {
        let mut rows: Vec<i64> = self.all(
            "SELECT id FROM delivery WHERE turn_id IS NULL AND about_turn IS NULL
               AND rested_at_ms IS NOT NULL AND rested_at_ms < ?1 AND state IN (4, 6) LIMIT ?2",
            (before_ms, rows_max),
            |r| r.get(0),
        )?;
        rows.extend(self.all(
            "SELECT d.id FROM delivery d WHERE d.about_turn IS NOT NULL AND d.state IN (4, 6)
               AND d.rested_at_ms < ?1
               AND NOT EXISTS (SELECT 1 FROM turn t WHERE t.id = d.about_turn) LIMIT ?2",
            (before_ms, rows_max),
            |r| r.get::<_, i64>(0),
        )?);
        for number in &rows {
            self.forget_delivery(*number)?;
        }
        Ok(rows.len() as u64)
    }
}

fn lost() -> Answer {
    Answer::Recorded(Box::default())
}
