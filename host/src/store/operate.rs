//! What a person does: stop, resolve, replay, pause and resume. One path for platform, API and
//! command line.

use super::deliveries::{RowBody, RowOrigin};
use super::face::{
    AbortScope, ChannelSwitch, NewDelivery, Operated, ReplayOf, Resolution, StoreError,
};
use super::line::RowFacts;
use super::new_turn::NewTurn;
use super::notes::ChannelMove;
use super::step::{Result, Step, from_json, turn_id};
use crate::lifecycle::delivery::{DeliveryEvent, DeliveryState, code as row_code};
use crate::lifecycle::id::{ChannelName, DeliveryId, TurnId};
use crate::lifecycle::message::Reply;
use crate::lifecycle::turn::{TurnEvent, TurnState, code};

/// Turns that one stop of a whole conversation ends in one transaction.
const ABORTED_AT_ONCE_MAX: u32 = 10_000;

fn nothing(sentence: impl Into<String>) -> Operated {
    Operated::Nothing { sentence: sentence.into() }
}

fn refused(sentence: impl Into<String>) -> Operated {
    Operated::Refused { sentence: sentence.into() }
}

impl Step<'_> {
    pub(super) fn abort(
        &mut self,
        scope: &AbortScope,
        by: &str,
    ) -> Result<(Operated, Vec<TurnId>)> {
        let stopped = match scope {
            AbortScope::Turn(turn) => {
                let Some(facts) = self.turn_facts(*turn)? else {
                    return Ok((nothing(format!("there is no turn {turn}")), Vec::new()));
                };
                if facts.state.is_ended() {
                    let word = facts.state.word();
                    let sentence = format!("nothing to stop: turn {turn} is {word}");
                    return Ok((nothing(sentence), Vec::new()));
                }
                self.abort_turn(*turn, by)?;
                vec![*turn]
            }
            AbortScope::Conversation { channel, conversation, all } => {
                let channel_id = self.channel_id(channel)?;
                let sql = "SELECT id FROM conversation WHERE channel_id = ?1 AND name = ?2";
                match self.one(sql, (channel_id, conversation), |r| r.get(0))? {
                    Some(number) => self.abort_conversation(number, *all, by)?,
                    None => Vec::new(),
                }
            }
        };
        if stopped.is_empty() {
            let words = "nothing to stop: no turn of this conversation is unfinished";
            return Ok((nothing(words), stopped));
        }
        let ids = stopped.iter().map(ToString::to_string).collect();
        Ok((Operated::Done { ids }, stopped))
    }

    /// Stops the oldest unfinished turn of a conversation, or all of them.
    pub(super) fn abort_conversation(
        &mut self,
        conversation: i64,
        all: bool,
        by: &str,
    ) -> Result<Vec<TurnId>> {
        let most = if all { ABORTED_AT_ONCE_MAX } else { 1 };
        // Those that are due later come last, and only where all are meant.
        let turns = self.all(
            "SELECT id, nonce FROM turn WHERE conversation_id = ?1 AND state < 3
               AND (?3 OR seq < 9223372036854775807)
             ORDER BY seq LIMIT ?2",
            (conversation, most, all),
            |r| Ok(turn_id(r.get(0)?, r.get(1)?)),
        )?;
        for turn in &turns {
            self.abort_turn(*turn, by)?;
        }
        Ok(turns)
    }

    fn abort_turn(&mut self, turn: TurnId, by: &str) -> Result<()> {
        let Some(facts) = self.turn_facts(turn)? else { return Ok(()) };
        let words = Some("stopped by a person or a program");
        self.end_turn(&facts, TurnEvent::Abort, Some(code::ABORTED), words, Some(by))?;
        Ok(())
    }

    pub(super) fn resolve(
        &mut self,
        delivery: DeliveryId,
        how: Resolution,
        by: &str,
    ) -> Result<Operated> {
        let Some(row) = self.row_by_id(delivery)? else {
            return Ok(nothing(format!("there is no delivery {delivery}")));
        };
        if row.state != DeliveryState::UnknownHeld {
            let sentence = format!(
                "delivery {delivery} is {}, and only a held one can be resolved",
                row.state.word()
            );
            return Ok(refused(sentence));
        }
        let sql = "UPDATE delivery SET resolved_by = ?2 WHERE id = ?1";
        let mut ids = vec![delivery.to_string()];
        match how {
            Resolution::Delivered => {
                self.execute(sql, (row.id.number, by))?;
                self.rest_row(&row, DeliveryEvent::ResolvedDelivered, None, None)?;
            }
            Resolution::Drop => {
                self.execute(sql, (row.id.number, by))?;
                let (word, words) = (Some(row_code::DROPPED), Some("dropped by hand"));
                self.rest_row(&row, DeliveryEvent::ResolvedCancelled, word, words)?;
            }
            Resolution::Resend => {
                if self.is_of_aborted_turn(&row)? {
                    let words = "its turn was stopped: nothing of it is sent any more; use \
                                 --delivered or --drop";
                    return Ok(refused(words));
                }
                self.execute(sql, (row.id.number, by))?;
                let made = self.again(&row, by)?;
                let (word, words) = (Some(row_code::RESENT), Some("sent anew as another row"));
                self.rest_row(&row, DeliveryEvent::ResolvedCancelled, word, words)?;
                ids = made.iter().map(ToString::to_string).collect();
            }
        }
        Ok(Operated::Done { ids })
    }

    fn is_of_aborted_turn(&self, row: &RowFacts) -> Result<bool> {
        let Some(turn) = row.turn else { return Ok(false) };
        Ok(self.turn_state_now(turn)? == Some(TurnState::Aborted))
    }

    /// A row and the parts cancelled for it, as free rows at the end of the line.
    fn again(&mut self, row: &RowFacts, by: &str) -> Result<Vec<DeliveryId>> {
        let rows = self.all(
            "SELECT part, parts, payload FROM delivery
             WHERE id BETWEEN ?1 AND ?1 + (SELECT parts FROM delivery WHERE id = ?1)
               AND reply = ?2 AND (id = ?1 OR (state = 6 AND code = ?3))
             ORDER BY id",
            (row.id.number, row.reply, row_code::PART_MISSING),
            |r| Ok((r.get::<_, u32>(0)?, r.get::<_, u32>(1)?, r.get::<_, String>(2)?)),
        )?;
        let mut new = Vec::with_capacity(rows.len());
        for (part, parts, payload) in rows {
            let body: Reply = from_json(&payload)?;
            new.push(NewDelivery { kind: row.kind, body, part, parts });
        }
        let sql = "SELECT context, reply_to, coalesce(turn_id, about_turn) FROM delivery
                   WHERE id = ?1";
        let place = self.one(sql, [row.id.number], |r| {
            let place: (Option<String>, Option<String>) = (r.get(0)?, r.get(1)?);
            Ok((place, r.get::<_, Option<i64>>(2)?))
        })?;
        let ((context, reply_to), about_turn) = place.unwrap_or_default();
        let body = RowBody {
            channel: row.channel,
            conversation: row.conversation,
            context: context.as_deref(),
            reply_to: reply_to.as_deref(),
        };
        let origin = RowOrigin { turn: None, about_turn, replay_of: Some(row.id.number) };
        let made = self.insert_reply(&body, &origin, &new)?;
        for id in &made {
            let sql = "UPDATE delivery SET made_by = ?2 WHERE id = ?1";
            self.execute(sql, (id.number, by))?;
        }
        Ok(made)
    }

    pub(super) fn replay(&mut self, of: &ReplayOf, force: bool, by: &str) -> Result<Operated> {
        match of {
            ReplayOf::Delivery(delivery) => self.replay_delivery(*delivery, force, by),
            ReplayOf::Turn(turn) => self.replay_turn(*turn, force, by),
        }
    }

    fn replay_delivery(&mut self, delivery: DeliveryId, force: bool, by: &str) -> Result<Operated> {
        let Some(row) = self.row_by_id(delivery)? else {
            return Ok(nothing(format!("there is no delivery {delivery}")));
        };
        match row.state {
            DeliveryState::Dead | DeliveryState::Expired => {}
            DeliveryState::UnknownHeld | DeliveryState::UnknownOpen => {
                let sentence = format!(
                    "nobody knows whether delivery {delivery} arrived: `lastword outbox resolve` \
                     settles it"
                );
                return Ok(refused(sentence));
            }
            DeliveryState::Queued
            | DeliveryState::Sending
            | DeliveryState::Delivered
            | DeliveryState::Cancelled => {
                let sentence = format!(
                    "delivery {delivery} is {}, and only a dead or expired one is replayed",
                    row.state.word()
                );
                return Ok(refused(sentence));
            }
        }
        if self.is_of_aborted_turn(&row)? {
            return Ok(refused("its turn was stopped: nothing of it is sent any more"));
        }
        let before = "SELECT 1 FROM delivery WHERE replay_of = ?1";
        if !force && self.exists(before, [row.id.number])? {
            return Ok(refused(format!(
                "delivery {delivery} was replayed before; --force repeats"
            )));
        }
        let turn_before = "SELECT 1 FROM delivery d JOIN turn t ON t.replay_of = d.turn_id
                           WHERE d.id = ?1";
        if !force && self.exists(turn_before, [row.id.number])? {
            return Ok(refused(format!(
                "the turn of delivery {delivery} was replayed, and answers anew; --force sends this \
                 as well"
            )));
        }
        let ids = self.again(&row, by)?.iter().map(ToString::to_string).collect();
        Ok(Operated::Done { ids })
    }

    fn replay_turn(&mut self, turn: TurnId, force: bool, by: &str) -> Result<Operated> {
        let Some(facts) = self.turn_facts(turn)? else {
            return Ok(nothing(format!("there is no turn {turn}")));
        };
        if facts.outcome_unknown && facts.state == TurnState::Failed {
            let sentence = format!(
                "nobody knows whether the reply of turn {turn} arrived: resolve its held delivery \
                 first"
            );
            return Ok(refused(sentence));
        }
        if !matches!(facts.state, TurnState::Failed | TurnState::Expired) {
            let word = facts.state.word();
            let sentence =
                format!("turn {turn} is {word}, and only a failed or expired one is replayed");
            return Ok(refused(sentence));
        }
        let before = "SELECT 1 FROM turn WHERE replay_of = ?1";
        if !force && self.exists(before, [turn.number])? {
            return Ok(refused(format!("turn {turn} was replayed before; --force repeats")));
        }
        let resent = "SELECT 1 FROM delivery WHERE about_turn = ?1 AND replay_of IS NOT NULL
                      AND kind = 2";
        if !force && self.exists(resent, [turn.number])? {
            return Ok(refused(format!(
                "a part of the reply of turn {turn} was sent anew by order; --force runs the turn \
                 again as well"
            )));
        }
        let sql = "SELECT channel_id, payload, origin, hops FROM turn WHERE id = ?1";
        let found = self.one(sql, [turn.number], |r| {
            let from: (i64, u32) = (r.get(2)?, r.get(3)?);
            Ok((r.get::<_, i64>(0)?, r.get::<_, String>(1)?, from))
        })?;
        let Some((channel, payload, (origin, hops))) = found else {
            return Err(StoreError::Corrupt(format!("turn {turn} is gone")));
        };
        let name = self.conversation_name(facts.conversation)?;
        let message = super::accept::read_message(&payload, &name)?;
        let again = NewTurn {
            replay_of: Some(turn.number),
            origin: super::step::origin(origin)?,
            hops,
            ..NewTurn::new(channel, facts.conversation, &message)
        };
        let (made, _) = self.insert_new_turn(&again)?;
        let sql = "UPDATE turn SET made_by = ?2 WHERE id = ?1";
        self.execute(sql, (made.number, by))?;
        Ok(Operated::Done { ids: vec![made.to_string()] })
    }

    pub(super) fn switch_channel(
        &mut self,
        channel: &ChannelName,
        switch: &ChannelSwitch,
    ) -> Result<Operated> {
        let id = self.channel_id(channel)?;
        let changed = match switch {
            ChannelSwitch::Pause(fault) => self.pause_channel(id, fault)?,
            ChannelSwitch::Resume => {
                let changed = self.execute(
                    "UPDATE channel SET pause_code = NULL, pause_reason = NULL, paused_at_ms = NULL,
                       not_before_ms = 0
                     WHERE id = ?1 AND pause_code IS NOT NULL",
                    [id],
                )?;
                self.release_waiting(id)?;
                if changed == 1 {
                    self.channel_moved(id, ChannelMove::Resumed, None)?;
                }
                changed == 1
            }
            ChannelSwitch::HoldBack { for_ms } => {
                self.hold_channel_back(id, *for_ms)?;
                true
            }
        };
        if changed {
            return Ok(Operated::Done { ids: vec![channel.to_string()] });
        }
        Ok(nothing(match switch {
            ChannelSwitch::Pause(_) => format!("channel {channel} is paused already"),
            ChannelSwitch::Resume | ChannelSwitch::HoldBack { .. } => {
                format!("channel {channel} is not paused")
            }
        }))
    }
}
