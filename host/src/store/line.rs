//! The line of a conversation's deliveries: which row is its head, from when it is due, and what
//! follows when a row comes to rest. Every transition of a row passes through here.

use super::face::TurnEnd;
use super::step::{
    NEVER_MS, Result, Step, delivery_code, delivery_id, delivery_kind, delivery_state, turn_id,
    turn_state,
};
use super::turns::UnwantedRows;
use crate::lifecycle::delivery::{self, DeliveryEvent, DeliveryState, code};
use crate::lifecycle::id::{DeliveryId, TurnId};
use crate::lifecycle::message::DeliveryKind;
use crate::lifecycle::settle::Idempotency;
use crate::lifecycle::turn::{self, TurnEvent, TurnState};

use super::face::StoreError;

/// What the transitions of a delivery need of its row.
#[derive(Debug, Clone)]
pub(super) struct RowFacts {
    pub(super) id: DeliveryId,
    pub(super) channel: i64,
    pub(super) conversation: i64,
    pub(super) turn: Option<TurnId>,
    pub(super) kind: DeliveryKind,
    pub(super) reply: i64,
    pub(super) part: u32,
    pub(super) state: DeliveryState,
    pub(super) maybe_sent: bool,
    /// Its turn is aborted, ended or on a newer try; never so for free rows.
    pub(super) unwanted: bool,
    pub(super) call: u32,
    pub(super) attempts: u32,
    pub(super) free_returns: u32,
    pub(super) moves: u32,
    pub(super) asked: u32,
    pub(super) asking_over: bool,
    pub(super) created_at_ms: i64,
    pub(super) first_attempt_at_ms: Option<i64>,
    /// The boot and its monotonic clock at that time.
    pub(super) first_attempt_mono: Option<(i64, i64)>,
    pub(super) claim_token: Option<i64>,
    /// The weakest promise that its attempts were claimed under.
    pub(super) repeats: Idempotency,
}

const ROW: &str = "SELECT d.id, d.nonce, d.channel_id, d.conversation_id, d.turn_id, t.nonce,
    d.kind, d.reply, d.part, d.state, d.maybe_sent,
    d.turn_id IS NOT NULL AND (t.state NOT IN (1, 2) OR t.try != d.turn_try),
    d.call, d.attempts, d.free_returns, d.moves, d.asked, d.asking_over, d.created_at_ms,
    d.first_attempt_at_ms, d.claim_token, d.first_attempt_boot, d.first_attempt_mono_ms,
    d.repeats_ms
  FROM delivery d LEFT JOIN turn t ON t.id = d.turn_id WHERE d.id = ?1";

/// See `repeats_ms` of the schema.
fn repeats(for_ms: Option<i64>) -> Idempotency {
    match for_ms {
        None | Some(NEVER_MS) => Idempotency::Always,
        Some(for_ms) if for_ms > 0 => Idempotency::ForMs(for_ms.unsigned_abs()),
        Some(_) => Idempotency::None,
    }
}

impl Step<'_> {
    pub(super) fn row(&self, number: i64) -> Result<Option<RowFacts>> {
        let found = self.one(ROW, [number], |r| {
            let turn: (Option<i64>, Option<i64>) = (r.get(4)?, r.get(5)?);
            let first: (Option<i64>, Option<i64>) = (r.get(21)?, r.get(22)?);
            let facts = RowFacts {
                id: delivery_id(r.get(0)?, r.get(1)?),
                channel: r.get(2)?,
                conversation: r.get(3)?,
                turn: turn.0.zip(turn.1).map(|(number, nonce)| turn_id(number, nonce)),
                kind: DeliveryKind::Final,
                reply: r.get(7)?,
                part: r.get(8)?,
                state: DeliveryState::Queued,
                maybe_sent: r.get(10)?,
                unwanted: r.get(11)?,
                call: r.get(12)?,
                attempts: r.get(13)?,
                free_returns: r.get(14)?,
                moves: r.get(15)?,
                asked: r.get(16)?,
                asking_over: r.get(17)?,
                created_at_ms: r.get(18)?,
                first_attempt_at_ms: r.get(19)?,
                first_attempt_mono: first.0.zip(first.1),
                claim_token: r.get(20)?,
                repeats: repeats(r.get(23)?),
            };
            Ok((facts, r.get::<_, i64>(6)?, r.get::<_, i64>(9)?))
        })?;
        let Some((mut facts, kind, state)) = found else { return Ok(None) };
        facts.kind = delivery_kind(kind)?;
        facts.state = delivery_state(state)?;
        Ok(Some(facts))
    }

    /// The row that an id names: number and nonce both.
    pub(super) fn row_by_id(&self, id: DeliveryId) -> Result<Option<RowFacts>> {
        Ok(self.row(id.number)?.filter(|row| row.id == id))
    }

    /// Brings a row to rest: what is behind it comes forward, the parts that need it fall, and
    /// its turn ends if this was the last of its finals.
    pub(super) fn rest_row(
        &mut self,
        row: &RowFacts,
        event: DeliveryEvent,
        code: Option<&str>,
        reason: Option<&str>,
    ) -> Result<(DeliveryState, Option<TurnEnd>)> {
        let state = next_state(row, event)?;
        let now_ms = self.now.wall_ms;
        self.execute(
            "UPDATE delivery SET state = ?2, head = 0, code = ?3, reason = ?4, rested_at_ms = ?5,
               waits_for_channel = 0, claim_boot = NULL, claim_token = NULL, claim_expires = NULL
             WHERE id = ?1",
            (row.id.number, delivery_code(state), code, reason, now_ms),
        )?;
        self.row_moved(row, state, row.call, code)?;
        self.channels.doubts.remove(&row.id.number);
        if state.is_live() {
            return Err(StoreError::Invalid(format!("{state:?} is no rest for {}", row.id)));
        }
        if state != DeliveryState::Delivered {
            self.drop_later_parts(row)?;
        }
        self.settle_delivery_line(row.conversation)?;
        let end = match row.turn {
            Some(turn) if row.kind == DeliveryKind::Final => self.settle_turn(turn)?,
            Some(_) | None => None,
        };
        Ok((state, end))
    }

    /// A reply with a hole is not sent on: the parts behind the missing one are cancelled.
    fn drop_later_parts(&mut self, row: &RowFacts) -> Result<()> {
        let later: Vec<i64> = self.all(
            "SELECT id FROM delivery WHERE conversation_id = ?1 AND state < 3
               AND seq > ?2 AND reply = ?3 AND part > ?4 AND state = 0",
            (row.conversation, row.id.number, row.reply, row.part),
            |r| r.get(0),
        )?;
        for number in later {
            let Some(part) = self.row(number)? else { continue };
            let words = "an earlier part of the same reply did not arrive";
            self.quiet_rest(&part, DeliveryEvent::Unwanted, code::PART_MISSING, words)?;
        }
        Ok(())
    }

    /// Comes to rest without the consequences, which the caller sees to.
    fn quiet_rest(
        &mut self,
        row: &RowFacts,
        event: DeliveryEvent,
        code: &str,
        reason: &str,
    ) -> Result<()> {
        let state = next_state(row, event)?;
        self.execute(
            "UPDATE delivery SET state = ?2, head = 0, code = ?3, reason = ?4, rested_at_ms = ?5,
               waits_for_channel = 0, claim_boot = NULL, claim_token = NULL, claim_expires = NULL
             WHERE id = ?1",
            (row.id.number, delivery_code(state), code, reason, self.now.wall_ms),
        )?;
        self.channels.doubts.remove(&row.id.number);
        self.row_moved(row, state, row.call, Some(code))
    }

    /// A turn wants rows no more: queued ones are cancelled, open unknowns held. What is at the
    /// adapter stays, and is recorded as it really ends.
    pub(super) fn unwant_rows(
        &mut self,
        turn: TurnId,
        which: UnwantedRows,
        code: &str,
    ) -> Result<()> {
        let finals_too = which == UnwantedRows::All;
        let rows: Vec<i64> = self.all(
            "SELECT id FROM delivery WHERE turn_id = ?1 AND state IN (0, 2)
               AND (?2 OR kind IN (0, 1)) ORDER BY id",
            (turn.number, finals_too),
            |r| r.get(0),
        )?;
        for number in rows {
            let Some(row) = self.row(number)? else { continue };
            let words = "its turn does not want it any more";
            self.quiet_rest(&row, DeliveryEvent::Unwanted, code, words)?;
            self.settle_delivery_line(row.conversation)?;
        }
        Ok(())
    }

    /// Makes the lowest live row of a conversation its head, due when the conversation allows.
    pub(super) fn settle_delivery_line(&mut self, conversation: i64) -> Result<()> {
        let first = self.one(
            "SELECT id, head, claim_token IS NOT NULL FROM delivery
             WHERE conversation_id = ?1 AND state < 3 ORDER BY seq LIMIT 1",
            [conversation],
            |r| Ok((r.get::<_, i64>(0)?, r.get::<_, bool>(1)?, r.get::<_, bool>(2)?)),
        )?;
        let Some((number, is_head, claimed)) = first else { return Ok(()) };
        if is_head || claimed {
            return Ok(());
        }
        let busy = self.exists(
            "SELECT 1 FROM conversation c JOIN delivery d ON d.conversation_id = c.id
             WHERE c.id = ?1 AND c.merged = 1 AND d.state < 3
               AND d.claim_token IS NOT NULL",
            [conversation],
        )?;
        if busy {
            return Ok(());
        }
        let from_ms = self.conversation_open_from(conversation)?;
        // It is due from now on, behind the heads that waited longer, or later where it waits for a
        // time of its own. One that waited for its person behind another row waits no more, and one
        // whose time was set by a clock that has gone back since counts as due.
        self.execute(
            "UPDATE delivery SET head = 1,
               next_at_ms = CASE WHEN next_at_ms < 9223372036854775807 AND next_set_ms <= ?3
                                 THEN max(next_at_ms, ?2, ?3) ELSE max(?2, ?3) END,
               next_set_ms = CASE WHEN next_at_ms < 9223372036854775807 AND next_set_ms <= ?3
                                    AND next_at_ms > ?3
                                  THEN next_set_ms ELSE ?3 END
             WHERE id = ?1",
            (number, from_ms, self.now.wall_ms),
        )?;
        Ok(())
    }

    /// From when the conversation takes messages: a closed one not before its person writes.
    pub(super) fn conversation_open_from(&self, conversation: i64) -> Result<i64> {
        let found = self.one(
            "SELECT closed, not_before_ms, not_before_set_ms FROM conversation WHERE id = ?1",
            [conversation],
            |r| Ok((r.get::<_, bool>(0)?, r.get::<_, i64>(1)?, r.get::<_, i64>(2)?)),
        )?;
        Ok(match found {
            Some((true, _, _)) => NEVER_MS,
            Some((false, not_before_ms, set_ms)) if set_ms <= self.now.wall_ms => not_before_ms,
            Some(_) | None => 0,
        })
    }

    /// The conversation takes messages again: its head is due.
    pub(super) fn release_head(&mut self, conversation: i64) -> Result<()> {
        self.execute(
            "UPDATE delivery SET next_at_ms = ?2, next_set_ms = ?2, free_returns = 0,
               waits_for_channel = 0
             WHERE id = (SELECT id FROM delivery WHERE conversation_id = ?1 AND state < 3
                         ORDER BY seq LIMIT 1) AND head = 1 AND state IN (0, 2)",
            (conversation, self.now.wall_ms),
        )?;
        Ok(())
    }

    /// Ends a turn in `delivering` whose final rows are all at rest, and decides a failed one of
    /// unknown outcome anew.
    pub(super) fn settle_turn(&mut self, turn: TurnId) -> Result<Option<TurnEnd>> {
        let Some(facts) = self.turn_facts(turn)? else { return Ok(None) };
        let resolved = facts.state == TurnState::Failed && facts.outcome_unknown;
        if facts.state != TurnState::Delivering && !resolved {
            return Ok(None);
        }
        let rows = self.all(
            "SELECT state, code FROM delivery WHERE turn_id = ?1 AND kind = 2 AND turn_try = ?2",
            (turn.number, facts.try_number),
            |r| Ok((r.get::<_, i64>(0)?, r.get::<_, Option<String>>(1)?)),
        )?;
        let resent = rows.iter().any(|(_, word)| word.as_deref() == Some(code::RESENT));
        let states: Result<Vec<_>> = rows.iter().map(|(state, _)| delivery_state(*state)).collect();
        let Some(verdict) = turn::verdict(states?) else { return Ok(None) };
        let event =
            if resolved { TurnEvent::Resolved(verdict) } else { TurnEvent::Rested(verdict) };
        let (word, sentence) = match verdict {
            turn::Verdict::AllDelivered => (None, None),
            turn::Verdict::SomeHeld => (
                Some(turn::code::OUTCOME_UNKNOWN),
                Some("a part of the reply may or may not have arrived: resolve it by hand"),
            ),
            turn::Verdict::SomeFailed if resent => (
                Some(turn::code::RESENT),
                Some("a part of unknown outcome was sent anew as another row"),
            ),
            turn::Verdict::SomeFailed => (
                Some(turn::code::DELIVERY_FAILED),
                Some("a part of the reply did not arrive: see its deliveries"),
            ),
        };
        self.end_turn(&facts, event, word, sentence, None).map(Some)
    }

    /// The state of a turn's row, for answers.
    pub(super) fn turn_state_now(&self, turn: TurnId) -> Result<Option<TurnState>> {
        let sql = "SELECT state FROM turn WHERE id = ?1 AND nonce = ?2";
        let found: Option<i64> =
            self.one(sql, (turn.number, turn.nonce.cast_signed()), |r| r.get(0))?;
        found.map(turn_state).transpose()
    }
}

pub(super) fn next_state(row: &RowFacts, event: DeliveryEvent) -> Result<DeliveryState> {
    delivery::next(row.state, row.maybe_sent, event)
        .map_err(|illegal| StoreError::Invalid(format!("delivery {}: {illegal}", row.id)))
}
