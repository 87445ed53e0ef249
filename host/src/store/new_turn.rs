//! The row of a new turn: in line at once, or out of line until it is due; too old a message
//! expires as it comes.

use super::blobs::Holder;
use super::due::Begins;
use super::face::StoreError;
use super::later::Due;
use super::step::{Result, Step, ms, origin_code, to_json, turn_code};
use crate::lifecycle::id::TurnId;
use crate::lifecycle::message::InboundMessage;
use crate::lifecycle::turn::{Origin, TurnState, code};

/// Everything that a new turn's row is made of.
pub(super) struct NewTurn<'a> {
    pub(super) channel: i64,
    pub(super) conversation: i64,
    pub(super) message: &'a InboundMessage,
    pub(super) key: Option<&'a [u8]>,
    pub(super) replay_of: Option<i64>,
    pub(super) due: Due,
    pub(super) origin: Origin,
    /// How many programs have answered each other before it.
    pub(super) hops: u32,
}

impl<'a> NewTurn<'a> {
    /// A turn of a platform's message, due at once.
    pub(super) fn new(channel: i64, conversation: i64, message: &'a InboundMessage) -> Self {
        Self {
            channel,
            conversation,
            message,
            key: None,
            replay_of: None,
            due: Due::Now,
            origin: Origin::Platform,
            hops: 0,
        }
    }
}

impl Step<'_> {
    pub(super) fn insert_new_turn(&mut self, new: &NewTurn<'_>) -> Result<(TurnId, TurnState)> {
        let pending = self.tally.pending_turns.unsigned_abs();
        if pending >= self.rules.pending_turns_max {
            return Err(StoreError::Full { pending });
        }
        let now_ms = self.now.wall_ms;
        let number = self.next_number();
        let nonce = self.nonce();
        let old_ms = now_ms.saturating_sub(ms(self.rules.turn.age_max_ms));
        let sent_ms = new.message.sent_at_ms.map_or(now_ms, ms);
        let expired = sent_ms < old_ms && new.replay_of.is_none();
        let state = if expired { TurnState::Expired } else { TurnState::Queued };
        let (reason, code, ended) = if expired {
            let words = "the message was older than turn_max_age when it was accepted";
            (Some(words), Some(code::TOO_OLD), Some(now_ms))
        } else {
            self.tally.pending_turns += 1;
            (None, None, None)
        };
        let begins = Begins::new(new.due, number, now_ms);
        let head = !expired && !begins.waits() && !self.turn_line_taken(new.conversation)?;
        self.execute(
            "INSERT INTO turn (id, nonce, seq, channel_id, conversation_id, state, head, code,
               reason, external_id, dedup_key, payload, accepted_at_ms, due_ms, due_set_ms,
               ended_at_ms, replay_of, origin, hops)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17,
               ?18, ?19)",
            rusqlite::params![
                number,
                nonce.cast_signed(),
                begins.seq,
                new.channel,
                new.conversation,
                turn_code(state),
                head,
                code,
                reason,
                new.message.external_id,
                new.key,
                to_json(new.message)?,
                now_ms,
                begins.due_ms,
                begins.set_ms,
                ended,
                new.replay_of,
                origin_code(new.origin),
                new.hops
            ],
        )?;
        let turn = TurnId { number, nonce };
        self.hold_files(Holder::Turn(number), new.channel, &new.message.attachments)?;
        if let Some(before) = new.replay_of {
            self.inherit_fetched(before, number, new.message.attachments.len())?;
        }
        self.turn_made(turn, new.channel, state, code)?;
        Ok((turn, state))
    }
}
