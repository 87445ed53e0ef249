//! Forgetting rows by order: dead letters that nobody needs any more, and what is left of channels
//! that were removed. What is live, or waits for a person, is let alone unless its channel is gone
//! and the operator says so. Deduplication keys stay for their own window.

use super::bulk::PurgeReach;
use super::face::Operated;
use super::line::RowFacts;
use super::step::{Result, Step, delivery_id, delivery_state};
use crate::lifecycle::delivery::{DeliveryEvent, DeliveryState, code as row_code};
use crate::lifecycle::id::{DeliveryId, TurnId};
use crate::lifecycle::turn::{TurnEvent, code};

/// A delivery of a turn that is to go.
struct OfTurn {
    id: DeliveryId,
    conversation: i64,
    state: DeliveryState,
    /// By this boot: somebody may be at work on it.
    claimed: bool,
}

fn refused(sentence: impl Into<String>) -> Operated {
    Operated::Refused { sentence: sentence.into() }
}

impl Step<'_> {
    /// Forgets a turn with all that hangs on it.
    pub(super) fn purge_turn(
        &mut self,
        turn: TurnId,
        reach: PurgeReach,
        by: &str,
        ended: &mut Vec<TurnId>,
    ) -> Result<Operated> {
        let Some(facts) = self.turn_facts(turn)? else {
            return Ok(Operated::Nothing { sentence: format!("there is no turn {turn}") });
        };
        let live_too = reach == PurgeReach::RemovedChannels
            && self.exists(
                "SELECT 1 FROM turn t JOIN channel c ON c.id = t.channel_id
                 WHERE t.id = ?1 AND c.present = 0",
                [turn.number],
            )?;
        let rows = self.rows_of_turn(turn)?;
        if let Some(sentence) = self.keeps_turn(turn, &rows, live_too)? {
            return Ok(refused(sentence));
        }
        if !facts.state.is_ended() {
            let words = Some("purged with its removed channel");
            self.end_turn(&facts, TurnEvent::Abort, Some(code::ABORTED), words, Some(by))?;
            ended.push(turn);
        }
        self.release_key(turn)?;
        self.tell_purged(turn)?;
        self.forget_turn(turn.number)?;
        for row in rows.iter().filter(|row| row.state.is_live()) {
            self.settle_delivery_line(row.conversation)?;
        }
        self.keep_number_floor()?;
        let ids = rows.iter().map(|row| row.id.to_string()).collect();
        Ok(Operated::Done { ids })
    }

    /// What speaks against forgetting a turn.
    fn keeps_turn(&self, turn: TurnId, rows: &[OfTurn], live_too: bool) -> Result<Option<String>> {
        let Some(facts) = self.turn_facts(turn)? else { return Ok(None) };
        let runs_here = self.exists(
            "SELECT 1 FROM turn WHERE id = ?1 AND state = 1 AND claim_boot = ?2",
            (turn.number, self.rules.boot.0),
        )?;
        if runs_here || rows.iter().any(|row| row.claimed) {
            let sentence = format!("turn {turn} is at work: stop it first, or wait for its end");
            return Ok(Some(sentence));
        }
        let live = rows.iter().any(|row| row.state.is_live());
        if (live || !facts.state.is_ended()) && !live_too {
            let word = facts.state.word();
            let sentence = format!(
                "turn {turn} is {word} and not at rest: `lastword abort --turn {turn}` stops it; \
                 unfinished turns are purged only where the config names their channel no more \
                 and --live is given"
            );
            return Ok(Some(sentence));
        }
        let held = rows.iter().find(|row| row.state == DeliveryState::UnknownHeld);
        if let Some(row) = held.filter(|_| !live_too) {
            let sentence = format!(
                "a reply of turn {turn} may or may not have arrived: `lastword outbox resolve {}` \
                 first",
                row.id
            );
            return Ok(Some(sentence));
        }
        Ok(None)
    }

    /// Rows that were at the adapter of a removed channel when their host died, and now are gone.
    fn tell_purged(&mut self, turn: TurnId) -> Result<()> {
        let live: Vec<i64> = self.all(
            "SELECT id FROM delivery WHERE turn_id = ?1 AND state < 3 ORDER BY id",
            [turn.number],
            |r| r.get(0),
        )?;
        for number in live {
            if let Some(row) = self.row(number)? {
                self.row_purged(&row)?;
            }
        }
        Ok(())
    }

    fn rows_of_turn(&self, turn: TurnId) -> Result<Vec<OfTurn>> {
        let rows = self.all(
            "SELECT id, nonce, conversation_id, state,
               claim_token IS NOT NULL AND claim_boot = ?2
             FROM delivery WHERE turn_id = ?1 ORDER BY id",
            (turn.number, self.rules.boot.0),
            |r| {
                let id = delivery_id(r.get(0)?, r.get(1)?);
                Ok((id, r.get::<_, i64>(2)?, r.get::<_, i64>(3)?, r.get::<_, bool>(4)?))
            },
        )?;
        let row = |(id, conversation, state, claimed)| {
            Ok(OfTurn { id, conversation, state: delivery_state(state)?, claimed })
        };
        rows.into_iter().map(row).collect()
    }

    /// Forgets one delivery: a free one, or progress. The final rows of a turn go with it, so that
    /// what a turn's end says is always borne out by its rows.
    pub(super) fn purge_delivery(
        &mut self,
        delivery: DeliveryId,
        reach: PurgeReach,
    ) -> Result<Operated> {
        let Some(row) = self.row_by_id(delivery)? else {
            let sentence = format!("there is no delivery {delivery}");
            return Ok(Operated::Nothing { sentence });
        };
        if let Some(turn) = row.turn
            && !row.kind.is_progress()
        {
            let sentence = format!(
                "delivery {delivery} goes with its turn: `lastword purge --turns` forgets turn {turn}"
            );
            return Ok(refused(sentence));
        }
        let live_too = reach == PurgeReach::RemovedChannels
            && self.exists("SELECT 1 FROM channel WHERE id = ?1 AND present = 0", [row.channel])?;
        let waits = row.state.is_live() || row.state == DeliveryState::UnknownHeld;
        if waits && !live_too {
            let word = row.state.word();
            let sentence = format!(
                "delivery {delivery} is {word} and waits: unfinished and held rows are purged only \
                 where the config names their channel no more and --live is given"
            );
            return Ok(refused(sentence));
        }
        if self.is_claimed_here(&row)? {
            let sentence = format!("delivery {delivery} is at its adapter: wait for its end");
            return Ok(refused(sentence));
        }
        if row.state.is_live() {
            let event = match row.state {
                DeliveryState::UnknownOpen => DeliveryEvent::Hold,
                _ => DeliveryEvent::Unwanted,
            };
            let words = "purged with its removed channel";
            self.rest_row(&row, event, Some(row_code::DROPPED), Some(words))?;
        }
        self.forget_delivery(delivery.number)?;
        self.keep_number_floor()?;
        Ok(Operated::Done { ids: vec![delivery.to_string()] })
    }

    fn is_claimed_here(&self, row: &RowFacts) -> Result<bool> {
        self.exists(
            "SELECT 1 FROM delivery WHERE id = ?1 AND claim_token IS NOT NULL AND claim_boot = ?2",
            (row.id.number, self.rules.boot.0),
        )
    }

    /// From now on nothing but its window keeps the key of an ended turn.
    fn release_key(&mut self, turn: TurnId) -> Result<()> {
        let found = self.one(
            "SELECT dedup_key, state, ended_at_ms FROM turn WHERE id = ?1",
            [turn.number],
            |r| {
                let key: Option<Vec<u8>> = r.get(0)?;
                Ok((key, r.get::<_, i64>(1)?, r.get::<_, Option<i64>>(2)?))
            },
        )?;
        let Some((Some(key), state, Some(ended_ms))) = found else { return Ok(()) };
        self.expire_key(&key, turn.number, state, ended_ms)
    }
}
