//! What an attempt or a question came to. Facts about the attempt are always recorded on the
//! attempt; the claim guards only the row.

use super::face::{AskAnswer, ClaimNext, DeliveryClaim, Next, RecordOutcome, Recorded, TurnEnd};
use super::line::RowFacts;
use super::notes::ChannelMove;
use super::step::{NEVER_MS, Result, Step, delivery_code, ms, to_json};
use crate::lifecycle::delivery::{
    self, DeliveryEvent, DeliveryState, Rest, SendingRow, SideEffect,
};
use crate::lifecycle::outcome::{
    CallError, Fault, Lookup, NotSent, Outcome, RateScope, Receipt, StateWrites,
};
use crate::lifecycle::{retry, settle};

/// Rows that one success makes due: the next success takes the next ones.
const RELEASED_PER_SUCCESS_MAX: u32 = 1_000;

impl Step<'_> {
    pub(super) fn record(&mut self, record: RecordOutcome) -> Result<Recorded> {
        let RecordOutcome { claim, outcome, ledger, digest, contradicted, state, next } = record;
        let mut recorded = Recorded::default();
        let Some(row) = self.row_by_id(claim.delivery)? else { return Ok(recorded) };
        self.close_attempt(&row, claim.call, &outcome, &digest, &to_json(&ledger)?, contradicted)?;
        // What the guest wrote belongs to a call that took place, whoever holds the row by now.
        recorded.state_dropped = self.write_state(row.channel, &state)?;
        recorded.claim_held = self.holds(&row, &claim, DeliveryState::Sending);
        if recorded.claim_held {
            if outcome == Outcome::NotSent(NotSent::Stopped) {
                self.give_token_back(row.channel)?;
            }
            let end = self.after_send(&row, &outcome, &mut recorded)?;
            recorded.turn_ended = end;
        } else if let Outcome::Delivered(receipt) = &outcome {
            recorded.turn_ended = self.found_late(&row, receipt)?;
        }
        if let Outcome::Delivered(receipt) = &outcome {
            recorded.failed_late = self.adopt_receipts(&row, &receipt.platform_id)?;
        }
        recorded.state = self.row(row.id.number)?.map(|row| row.state);
        recorded.next = self.claim_after(&row, next, recorded.turn_ended.is_some())?;
        Ok(recorded)
    }

    fn holds(&self, row: &RowFacts, claim: &DeliveryClaim, state: DeliveryState) -> bool {
        row.state == state && row.claim_token == Some(claim.token.0) && row.call == claim.call
    }

    fn after_send(
        &mut self,
        row: &RowFacts,
        outcome: &Outcome,
        recorded: &mut Recorded,
    ) -> Result<Option<TurnEnd>> {
        let Some(rules) = self.channels.by_id.get(&row.channel) else {
            // The channel left the config under the call: as a plain transient, with defaults.
            return self.put(row, outcome, &delivery::DeliveryLimits::default(), recorded);
        };
        let limits = rules.delivery.clone();
        self.put(row, outcome, &limits, recorded)
    }

    fn put(
        &mut self,
        row: &RowFacts,
        outcome: &Outcome,
        limits: &delivery::DeliveryLimits,
        recorded: &mut Recorded,
    ) -> Result<Option<TurnEnd>> {
        let sending = SendingRow {
            kind: row.kind,
            attempts: row.attempts,
            free_returns: row.free_returns,
            moves: row.moves,
            maybe_sent: row.maybe_sent,
            age_ms: self.now.wall_ms.saturating_sub(row.created_at_ms).max(0).unsigned_abs(),
            unwanted: row.unwanted,
        };
        let rest = delivery::after_attempt(&sending, outcome, limits, self.env.jitter());
        // An earlier attempt, or the platform, may have told meanwhile that it arrived.
        if rest.event != DeliveryEvent::Sent
            && let Some(receipt) = self.proof(row)?
        {
            return self.delivered(row, DeliveryEvent::Sent, &receipt);
        }
        // Before the next row of the line comes forward: it inherits what holds its conversation.
        self.hold_conversation(row, &rest.side)?;
        let end = match rest.event {
            DeliveryEvent::Sent => {
                let receipt = rest.receipt.clone().unwrap_or_default();
                self.delivered(row, DeliveryEvent::Sent, &receipt)?
            }
            DeliveryEvent::NotSent => {
                self.requeue(row, &rest)?;
                None
            }
            DeliveryEvent::Ambiguous => self.open_unknown(row, &rest)?,
            DeliveryEvent::Claimed
            | DeliveryEvent::Unwanted
            | DeliveryEvent::GivenUp
            | DeliveryEvent::Resend
            | DeliveryEvent::Found
            | DeliveryEvent::Hold
            | DeliveryEvent::ResolvedDelivered
            | DeliveryEvent::ResolvedCancelled
            | DeliveryEvent::TooOld => {
                let sql = "UPDATE delivery SET attempts = ?2 WHERE id = ?1";
                self.execute(sql, (row.id.number, rest.attempts))?;
                let (word, words) = (rest.code.as_deref(), rest.reason.as_deref());
                self.rest_row(row, rest.event, word, words)?.1
            }
        };
        self.side_effect(row, &rest.side, recorded)?;
        Ok(end)
    }

    pub(super) fn delivered(
        &mut self,
        row: &RowFacts,
        event: DeliveryEvent,
        receipt: &Receipt,
    ) -> Result<Option<TurnEnd>> {
        let platform_id = Some(&receipt.platform_id).filter(|id| !id.is_empty());
        let sql = "UPDATE delivery SET platform_id = ?2 WHERE id = ?1";
        if platform_id.is_some() {
            self.execute(sql, (row.id.number, platform_id))?;
        }
        Ok(self.rest_row(row, event, None, None)?.1)
    }

    /// Proof came after the claim was lost: it settles what is not known to have another end.
    pub(super) fn found_late(
        &mut self,
        row: &RowFacts,
        receipt: &Receipt,
    ) -> Result<Option<TurnEnd>> {
        match row.state {
            DeliveryState::UnknownOpen | DeliveryState::UnknownHeld => {
                self.delivered(row, DeliveryEvent::Found, receipt)
            }
            // Whatever an attempt said: what is known to be sent is never sent again.
            DeliveryState::Queued if row.call > 0 => {
                self.delivered(row, DeliveryEvent::Found, receipt)
            }
            // At the adapter again: the end of that attempt finds this proof.
            DeliveryState::Sending
            | DeliveryState::Queued
            | DeliveryState::Delivered
            | DeliveryState::Dead
            | DeliveryState::Cancelled
            | DeliveryState::Expired => Ok(None),
        }
    }

    fn requeue(&mut self, row: &RowFacts, rest: &Rest) -> Result<()> {
        let state = super::line::next_state(row, DeliveryEvent::NotSent)?;
        let now_ms = self.now.wall_ms;
        let waits_for_channel =
            rest.free_returns > row.free_returns && rest.side == SideEffect::None;
        self.execute(
            "UPDATE delivery SET state = ?2, head = 0, attempts = ?3, free_returns = ?4, moves = ?5,
               code = ?6, reason = ?7, next_at_ms = ?8, next_set_ms = ?9, waits_for_channel = ?10,
               first_attempt_at_ms = CASE WHEN maybe_sent = 1 THEN first_attempt_at_ms END,
               claim_boot = NULL, claim_token = NULL, claim_expires = NULL
             WHERE id = ?1",
            rusqlite::params![
                row.id.number,
                delivery_code(state),
                rest.attempts,
                rest.free_returns,
                rest.moves,
                rest.code,
                rest.reason,
                now_ms.saturating_add(ms(rest.wait_ms)).min(NEVER_MS - 1),
                now_ms,
                waits_for_channel
            ],
        )?;
        self.row_moved(row, state, row.call, rest.code.as_deref())?;
        self.settle_delivery_line(row.conversation)
    }

    /// `unknown`: open while the host has means left, else held at once.
    pub(super) fn open_unknown(&mut self, row: &RowFacts, rest: &Rest) -> Result<Option<TurnEnd>> {
        let state = super::line::next_state(row, DeliveryEvent::Ambiguous)?;
        self.execute(
            "UPDATE delivery SET state = ?2, head = 0, maybe_sent = 1, attempts = ?3, asked = 0,
               asking_over = 0, free_returns = 0, code = ?4, reason = ?5, claim_boot = NULL,
               claim_token = NULL, claim_expires = NULL
             WHERE id = ?1",
            (row.id.number, delivery_code(state), rest.attempts, &rest.code, &rest.reason),
        )?;
        self.row_moved(row, state, row.call, rest.code.as_deref())?;
        self.channels.doubts.insert(row.id.number, self.now.mono_ms);
        let Some(open) = self.row(row.id.number)? else { return Ok(None) };
        self.look_again(&open)
    }

    /// When an open unknown is looked at next; what only a person can settle is held at once.
    fn look_again(&mut self, open: &RowFacts) -> Result<Option<TurnEnd>> {
        let Some((decided, facts)) = self.settle_by(open) else {
            // Of a channel without rules nothing is decided: it waits for the channel's return.
            return self.look_at_in(open, 0).map(|()| None);
        };
        if let settle::Settle::Hold { code, sentence } = decided {
            let (word, words) = (Some(code), Some(sentence));
            return Ok(self.rest_row(open, DeliveryEvent::Hold, word, words)?.1);
        }
        let Some(rules) = self.channels.by_id.get(&open.channel) else { return Ok(None) };
        let jitter = self.env.jitter();
        let wait = settle::first_look_ms(&facts, &rules.means, &rules.delivery, jitter);
        self.look_at_in(open, wait).map(|()| None)
    }

    pub(super) fn look_at_in(&mut self, open: &RowFacts, wait_ms: u64) -> Result<()> {
        let now_ms = self.now.wall_ms;
        let at_ms = now_ms.saturating_add(ms(wait_ms)).min(NEVER_MS - 1);
        let sql = "UPDATE delivery SET next_at_ms = ?2, next_set_ms = ?3 WHERE id = ?1";
        self.execute(sql, (open.id.number, at_ms, now_ms))?;
        self.settle_delivery_line(open.conversation)
    }

    fn hold_conversation(&mut self, row: &RowFacts, side: &SideEffect) -> Result<()> {
        let now_ms = self.now.wall_ms;
        match side {
            SideEffect::HoldBack { scope: RateScope::Conversation, for_ms } => {
                self.execute(
                    "UPDATE conversation SET not_before_set_ms = ?3, not_before_ms =
                       CASE WHEN not_before_set_ms > ?3 THEN ?2 ELSE max(not_before_ms, ?2) END
                     WHERE id = ?1",
                    (row.conversation, now_ms.saturating_add(ms(*for_ms)), now_ms),
                )?;
            }
            SideEffect::CloseConversation => {
                self.execute(
                    "UPDATE conversation SET closed = 1, closed_at_ms = ?2 WHERE id = ?1",
                    (row.conversation, now_ms),
                )?;
            }
            SideEffect::None
            | SideEffect::HoldBack { scope: RateScope::Channel, .. }
            | SideEffect::Rename(_)
            | SideEffect::PauseChannel(_)
            | SideEffect::Success => {}
        }
        Ok(())
    }

    fn side_effect(
        &mut self,
        row: &RowFacts,
        side: &SideEffect,
        recorded: &mut Recorded,
    ) -> Result<()> {
        match side {
            SideEffect::None
            | SideEffect::CloseConversation
            | SideEffect::HoldBack { scope: RateScope::Conversation, .. } => {}
            SideEffect::HoldBack { scope: RateScope::Channel, for_ms } => {
                self.hold_channel_back(row.channel, *for_ms)?;
            }
            SideEffect::Rename(name) => self.rename_conversation(row, name)?,
            SideEffect::PauseChannel(fault) => {
                recorded.channel_paused = self.pause_channel(row.channel, fault)?;
            }
            SideEffect::Success => self.release_waiting(row.channel)?,
        }
        Ok(())
    }

    /// Nothing of the channel goes out for so long. Of several calls that were told to wait, the
    /// one that is to wait longest speaks for all.
    pub(super) fn hold_channel_back(&mut self, channel: i64, for_ms: u64) -> Result<()> {
        let now_ms = self.now.wall_ms;
        self.execute(
            "UPDATE channel SET not_before_set_ms = ?3, not_before_ms =
               CASE WHEN not_before_set_ms > ?3 THEN ?2 ELSE max(not_before_ms, ?2) END
             WHERE id = ?1",
            (channel, now_ms.saturating_add(ms(for_ms)), now_ms),
        )?;
        self.channel_moved(channel, ChannelMove::HeldBack { for_ms }, None)
    }

    /// Whether the channel was not paused before.
    pub(super) fn pause_channel(&mut self, channel: i64, fault: &Fault) -> Result<bool> {
        let changed = self.execute(
            "UPDATE channel SET pause_code = ?2, pause_reason = ?3, paused_at_ms = ?4
             WHERE id = ?1 AND pause_code IS NULL",
            (channel, &fault.code, &fault.sentence, self.now.wall_ms),
        )?;
        if changed == 1 {
            self.channel_moved(channel, ChannelMove::Paused, Some(&fault.code))?;
        }
        Ok(changed == 1)
    }

    /// The channel works again: what waited for that is due.
    pub(super) fn release_waiting(&mut self, channel: i64) -> Result<()> {
        let now_ms = self.now.wall_ms;
        let waiting: Vec<i64> = self.all(
            "SELECT id FROM delivery WHERE channel_id = ?1 AND waits_for_channel = 1 LIMIT ?2",
            (channel, RELEASED_PER_SUCCESS_MAX),
            |r| r.get(0),
        )?;
        for number in waiting {
            self.execute(
                "UPDATE delivery SET waits_for_channel = 0, free_returns = 0, next_at_ms = ?2,
                   next_set_ms = ?2
                 WHERE id = ?1",
                (number, now_ms),
            )?;
        }
        Ok(())
    }

    /// The platform renamed the conversation: its unfinished rows and turns go by the new name.
    fn rename_conversation(&mut self, row: &RowFacts, name: &str) -> Result<()> {
        let (to, _, _) = self.conversation(row.channel, name)?;
        let from = row.conversation;
        if to == from {
            return Ok(());
        }
        self.execute("UPDATE conversation SET merged = 1 WHERE id = ?1", [to])?;
        self.execute(
            "UPDATE delivery SET conversation_id = ?2, head = CASE WHEN claim_token IS NULL THEN 0
               ELSE head END
             WHERE conversation_id = ?1 AND state < 3",
            (from, to),
        )?;
        self.execute(
            "UPDATE delivery SET head = 0
             WHERE conversation_id = ?1 AND state < 3 AND claim_token IS NULL",
            [to],
        )?;
        for sql in [
            "UPDATE turn SET conversation_id = ?2, head = 0
             WHERE conversation_id = ?1 AND state < 3",
            "UPDATE context SET conversation_id = ?2 WHERE conversation_id = ?1 AND turn_id IS NULL",
            "UPDATE schedule SET conversation_id = ?2 WHERE conversation_id = ?1",
        ] {
            self.execute(sql, (from, to))?;
        }
        let sql = "UPDATE turn SET head = 0 WHERE conversation_id = ?1 AND state < 3";
        self.execute(sql, [to])?;
        self.settle_delivery_line(to)?;
        self.settle_turn_line(to)
    }

    pub(super) fn record_ask(
        &mut self,
        claim: &DeliveryClaim,
        answer: &AskAnswer,
        state: &StateWrites,
        next: ClaimNext,
    ) -> Result<Recorded> {
        let mut recorded = Recorded::default();
        let Some(row) = self.row_by_id(claim.delivery)? else { return Ok(recorded) };
        recorded.state_dropped = self.write_state(row.channel, state)?;
        recorded.claim_held = self.holds(&row, claim, DeliveryState::UnknownOpen);
        if recorded.claim_held {
            self.execute(
                "UPDATE delivery SET free_returns = 0, claim_boot = NULL, claim_token = NULL,
                   claim_expires = NULL
                 WHERE id = ?1",
                [row.id.number],
            )?;
            recorded.turn_ended = self.after_ask(&row, answer, &mut recorded)?;
        } else if let AskAnswer::Told(Lookup::Found(receipt)) = answer {
            recorded.turn_ended = self.found_late(&row, receipt)?;
        }
        if let AskAnswer::Told(Lookup::Found(receipt)) = answer {
            recorded.failed_late = self.adopt_receipts(&row, &receipt.platform_id)?;
        }
        recorded.state = self.row(row.id.number)?.map(|row| row.state);
        recorded.next = self.claim_after(&row, next, recorded.turn_ended.is_some())?;
        Ok(recorded)
    }

    fn after_ask(
        &mut self,
        row: &RowFacts,
        answer: &AskAnswer,
        recorded: &mut Recorded,
    ) -> Result<Option<TurnEnd>> {
        if let Some(receipt) = self.proof(row)? {
            return self.delivered(row, DeliveryEvent::Found, &receipt);
        }
        match answer {
            AskAnswer::Told(Lookup::Found(receipt)) => {
                self.delivered(row, DeliveryEvent::Found, receipt)
            }
            AskAnswer::Told(Lookup::Absent) => self.after_absent(row),
            AskAnswer::Told(Lookup::Undecided(_)) | AskAnswer::Broken(_) => self.ask_later(row, 0),
            AskAnswer::NotAsked(_) => self.ask_again(row),
            AskAnswer::Failed(CallError::Transient(_)) => self.ask_later(row, 0),
            AskAnswer::Failed(CallError::RateLimited { retry_after_ms, scope }) => {
                let for_ms = u64::from(*retry_after_ms);
                if *scope == RateScope::Channel {
                    self.hold_channel_back(row.channel, for_ms)?;
                }
                self.ask_later(row, for_ms)
            }
            AskAnswer::Failed(CallError::Unauthorized(fault)) => {
                recorded.channel_paused = self.pause_channel(row.channel, fault)?;
                self.ask_later(row, 0)
            }
            AskAnswer::Failed(CallError::Refused(_) | CallError::Unsupported) => {
                self.execute("UPDATE delivery SET asking_over = 1 WHERE id = ?1", [row.id.number])?;
                let Some(open) = self.row(row.id.number)? else { return Ok(None) };
                self.look_again(&open)
            }
        }
    }

    /// The platform is sure that it never arrived: back to the line, and nobody has seen it.
    fn after_absent(&mut self, row: &RowFacts) -> Result<Option<TurnEnd>> {
        let Some(rules) = self.channels.by_id.get(&row.channel) else { return Ok(None) };
        let spent = row.attempts >= rules.delivery.tries_max;
        let sql = "UPDATE delivery SET maybe_sent = 0, first_attempt_at_ms = NULL WHERE id = ?1";
        self.execute(sql, [row.id.number])?;
        let wait = retry::stepped(row.attempts, &rules.delivery.backoff_ms, self.env.jitter());
        let state = super::line::next_state(row, DeliveryEvent::Resend)?;
        let sql = "UPDATE delivery SET state = ?2, asked = 0 WHERE id = ?1";
        self.execute(sql, (row.id.number, delivery_code(state)))?;
        self.row_moved(row, state, row.call, None)?;
        let Some(queued) = self.row(row.id.number)? else { return Ok(None) };
        if row.unwanted || spent {
            let (event, word, words) = if row.unwanted {
                let words = "its turn does not want it any more";
                (DeliveryEvent::Unwanted, delivery::code::TURN_ENDED, words)
            } else {
                let words = "the attempts are spent; the platform says that none arrived";
                (DeliveryEvent::GivenUp, delivery::code::ATTEMPTS_SPENT, words)
            };
            return Ok(self.rest_row(&queued, event, Some(word), Some(words))?.1);
        }
        self.look_at_in(&queued, wait).map(|()| None)
    }

    /// Nobody was asked, which costs no question; not for ever, since an open unknown blocks its
    /// conversation.
    fn ask_again(&mut self, row: &RowFacts) -> Result<Option<TurnEnd>> {
        let Some((_, facts)) = self.settle_by(row) else {
            return self.look_at_in(row, 0).map(|()| None);
        };
        let Some(rules) = self.channels.by_id.get(&row.channel) else { return Ok(None) };
        if facts.since_first_attempt_ms > rules.delivery.age_max_ms {
            return self.ask_later(row, 0);
        }
        let returns = row.free_returns.saturating_add(1);
        let sql = "UPDATE delivery SET asked = max(asked - 1, 0), free_returns = ?2 WHERE id = ?1";
        self.execute(sql, (row.id.number, returns))?;
        self.look_at_in(row, retry::free_return(returns)).map(|()| None)
    }

    fn ask_later(&mut self, row: &RowFacts, at_least_ms: u64) -> Result<Option<TurnEnd>> {
        let Some((decided, _)) = self.settle_by(row) else {
            return self.look_at_in(row, at_least_ms).map(|()| None);
        };
        if let settle::Settle::Hold { code, sentence } = decided {
            let (word, words) = (Some(code), Some(sentence));
            return Ok(self.rest_row(row, DeliveryEvent::Hold, word, words)?.1);
        }
        let wait = retry::ask_delay(row.asked.max(1), 0).max(at_least_ms);
        self.look_at_in(row, wait).map(|()| None)
    }

    fn claim_after(&mut self, row: &RowFacts, next: ClaimNext, turn_ended: bool) -> Result<Next> {
        let Some(now) = self.row(row.id.number)? else { return Ok(Next::default()) };
        let mut claimed = Next::default();
        if let Some(lease) = next.delivery.filter(|_| !now.state.is_live()) {
            claimed.delivery = self.claim_next_delivery(&now, lease)?.map(Box::new);
        }
        if turn_ended && claimed.delivery.is_none() {
            claimed.turn = self.claim_next_turn(now.conversation, next.turn)?.turn;
        }
        Ok(claimed)
    }
}
