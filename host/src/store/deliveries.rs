//! Deliveries: made by a turn's try, and claimed, the attempt on disk before the adapter is
//! called.

use super::blobs::Holder;
use super::face::{ClaimedDelivery, DeliveryClaim, DeliveryWork, Guarded, Lease, NewDelivery};
use super::line::RowFacts;
use super::step::{NEVER_MS, Result, Step, from_json, kind_code, ms, to_json};
use super::turns::TurnFacts;
use crate::lifecycle::delivery::{
    DeliveryEvent, DeliveryState, ExpireAction, PROGRESS_AGE_MAX_MS, code,
};
use crate::lifecycle::id::{ChannelName, ClaimToken, DeliveryId, TurnId};
use crate::lifecycle::message::{OutboundMessage, Place, Reply};
use crate::lifecycle::settle::{self, Idempotency, OpenRow, Settle};

/// Rows that one claim looks at: those that come to rest instead of going out do not hide the one
/// that may go, and no claim holds the writer for long.
const LOOKS_PER_CLAIM_MAX: u32 = 64;

/// Where a free row comes from, or the turn that guards it.
pub(super) struct RowOrigin {
    pub(super) turn: Option<(TurnId, u32)>,
    pub(super) about_turn: Option<i64>,
    pub(super) replay_of: Option<i64>,
}

/// What a new row says and where.
pub(super) struct RowBody<'a> {
    pub(super) channel: i64,
    pub(super) conversation: i64,
    pub(super) context: Option<&'a str>,
    pub(super) reply_to: Option<&'a str>,
}

impl Step<'_> {
    pub(super) fn insert_deliveries(
        &mut self,
        facts: &TurnFacts,
        rows: Vec<NewDelivery>,
    ) -> Result<Vec<DeliveryId>> {
        let found = self.one(
            "SELECT channel_id, origin = 0, payload FROM turn WHERE id = ?1",
            [facts.id.number],
            |r| Ok((r.get(0)?, r.get::<_, bool>(1)?, r.get::<_, String>(2)?)),
        )?;
        let Some((channel, at_platform, payload)) = found else { return Ok(Vec::new()) };
        let message: crate::lifecycle::message::InboundMessage = from_json(&payload)?;
        let body = RowBody {
            channel,
            conversation: facts.conversation,
            context: message.context.as_deref(),
            // Of what a program posted or a schedule made the platform knows no message to reply to.
            reply_to: message.answered_id().filter(|_| at_platform),
        };
        let origin = RowOrigin {
            turn: Some((facts.id, facts.try_number)),
            about_turn: None,
            replay_of: None,
        };
        self.insert_reply(&body, &origin, &rows)
    }

    /// The rows of one reply, at the end of their conversation's line.
    pub(super) fn insert_reply(
        &mut self,
        body: &RowBody<'_>,
        origin: &RowOrigin,
        rows: &[NewDelivery],
    ) -> Result<Vec<DeliveryId>> {
        let now_ms = self.now.wall_ms;
        let line_taken = self.exists(
            "SELECT 1 FROM delivery WHERE conversation_id = ?1 AND state < 3",
            [body.conversation],
        )?;
        let open_from_ms = self.conversation_open_from(body.conversation)?;
        let reply = self.tally.last_number + 1;
        let mut ids = Vec::with_capacity(rows.len());
        for row in rows {
            let number = self.next_number();
            let nonce = self.nonce();
            let head = !line_taken && ids.is_empty();
            let next_at_ms = if head { open_from_ms.max(now_ms) } else { now_ms };
            self.execute(
                "INSERT INTO delivery (id, nonce, seq, channel_id, conversation_id, turn_id,
                   turn_try, about_turn, replay_of, kind, reply, part, parts, state, head, payload,
                   context, reply_to, created_at_ms, next_at_ms, next_set_ms)
                 VALUES (?1, ?2, ?1, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, 0, ?13, ?14, ?15,
                   ?16, ?17, ?18, ?17)",
                rusqlite::params![
                    number,
                    nonce.cast_signed(),
                    body.channel,
                    body.conversation,
                    origin.turn.map(|(turn, _)| turn.number),
                    origin.turn.map(|(_, number)| number),
                    origin.about_turn,
                    origin.replay_of,
                    kind_code(row.kind),
                    reply,
                    row.part,
                    row.parts,
                    head,
                    to_json(&row.body)?,
                    body.context,
                    body.reply_to,
                    now_ms,
                    next_at_ms
                ],
            )?;
            self.hold_files(Holder::Delivery(number), body.channel, &row.body.attachments)?;
            let id = DeliveryId { number, nonce };
            self.row_made(id, body.channel, origin.turn.map(|(turn, _)| turn), row.kind)?;
            ids.push(id);
        }
        Ok(ids)
    }

    /// Claims this row if it is the head of its conversation and may go now.
    pub(super) fn claim_if_head(
        &mut self,
        id: DeliveryId,
        lease: Lease,
    ) -> Result<Option<ClaimedDelivery>> {
        let due = self.one(
            "SELECT channel_id FROM delivery WHERE id = ?1 AND head = 1 AND claim_token IS NULL
               AND next_at_ms <= ?2",
            (id.number, self.now.wall_ms),
            |r| r.get(0),
        )?;
        let Some(channel) = due else { return Ok(None) };
        if !self.channel_open(channel)? {
            return Ok(None);
        }
        self.look_at(id.number, lease)
    }

    /// The next due delivery of a channel.
    pub(super) fn claim_delivery(
        &mut self,
        channel: &ChannelName,
        lease: Lease,
    ) -> Result<Option<ClaimedDelivery>> {
        let channel_id = self.channel_id(channel)?;
        self.claim_delivery_of(channel_id, lease)
    }

    fn claim_delivery_of(
        &mut self,
        channel_id: i64,
        lease: Lease,
    ) -> Result<Option<ClaimedDelivery>> {
        if !self.channel_open(channel_id)? {
            return Ok(None);
        }
        for _ in 0..LOOKS_PER_CLAIM_MAX {
            let found = self.one(
                "SELECT id FROM delivery WHERE channel_id = ?1 AND head = 1
                   AND claim_token IS NULL AND next_at_ms <= ?2
                 ORDER BY next_at_ms, seq LIMIT 1",
                [channel_id, self.now.wall_ms],
                |r| r.get(0),
            )?;
            let Some(number) = found else { return Ok(None) };
            if let Some(claimed) = self.look_at_or_set_aside(number, lease)? {
                return Ok(Some(claimed));
            }
        }
        Ok(None)
    }

    /// The fold behind a recorded outcome: where its conversation goes on, the row of the channel
    /// that has waited longest. A long line must not keep its permit while others wait.
    pub(super) fn claim_next_delivery(
        &mut self,
        row: &RowFacts,
        lease: Lease,
    ) -> Result<Option<ClaimedDelivery>> {
        let goes_on = self.exists(
            "SELECT 1 FROM delivery
             WHERE conversation_id = ?1 AND state < 3 AND head = 1
               AND claim_token IS NULL AND next_at_ms <= ?2",
            [row.conversation, self.now.wall_ms],
        )?;
        if goes_on { self.claim_delivery_of(row.channel, lease) } else { Ok(None) }
    }

    /// Decides what becomes of a head that is due: claimed, or brought to rest.
    pub(super) fn look_at(&mut self, number: i64, lease: Lease) -> Result<Option<ClaimedDelivery>> {
        let Some(row) = self.row(number)? else { return Ok(None) };
        match row.state {
            DeliveryState::Queued => self.look_at_queued(&row, lease),
            DeliveryState::UnknownOpen => self.look_at_unknown(&row, lease),
            DeliveryState::Sending
            | DeliveryState::UnknownHeld
            | DeliveryState::Delivered
            | DeliveryState::Dead
            | DeliveryState::Cancelled
            | DeliveryState::Expired => Ok(None),
        }
    }

    fn look_at_queued(&mut self, row: &RowFacts, lease: Lease) -> Result<Option<ClaimedDelivery>> {
        let Some(rules) = self.channels.by_id.get(&row.channel) else { return Ok(None) };
        let has_progress = rules.has_progress;
        if row.unwanted {
            let words = "its turn does not want it any more";
            self.rest_row(row, DeliveryEvent::Unwanted, Some(code::TURN_ENDED), Some(words))?;
            return Ok(None);
        }
        if row.kind.is_progress() && !has_progress {
            let words = "the adapter exports no `progress`";
            let word = Some(code::NO_PROGRESS_EXPORT);
            self.rest_row(row, DeliveryEvent::Unwanted, word, Some(words))?;
            return Ok(None);
        }
        if self.is_too_old(row) {
            self.expire_row(row)?;
            return Ok(None);
        }
        self.send_claim(row, lease).map(Some)
    }

    pub(super) fn is_too_old(&self, row: &RowFacts) -> bool {
        let Some(rules) = self.channels.by_id.get(&row.channel) else { return false };
        let age_ms = self.now.wall_ms.saturating_sub(row.created_at_ms);
        if row.kind.is_progress() {
            return age_ms > ms(PROGRESS_AGE_MAX_MS);
        }
        match rules.delivery.expire_action {
            ExpireAction::Deliver => false,
            ExpireAction::Fail => age_ms > ms(rules.delivery.age_max_ms),
        }
    }

    pub(super) fn expire_row(
        &mut self,
        row: &RowFacts,
    ) -> Result<(DeliveryState, Option<super::face::TurnEnd>)> {
        let words = "older than its channel allows";
        self.rest_row(row, DeliveryEvent::TooOld, Some(code::TOO_OLD), Some(words))
    }

    /// How an open unknown is decided now.
    pub(super) fn settle_by(&self, row: &RowFacts) -> Option<(Settle, OpenRow)> {
        let rules = self.channels.by_id.get(&row.channel)?;
        let since_first_attempt_ms = self.since_first_attempt_ms(row);
        let open = OpenRow {
            kind: row.kind,
            attempts: row.attempts,
            asked: row.asked,
            asking_over: row.asking_over,
            since_first_attempt_ms,
            repeats: row.repeats,
            unwanted: row.unwanted,
        };
        Some((settle::decide(&open, &rules.means, &rules.delivery), open))
    }

    /// How long ago the first attempt began, and never less than that: a wall clock that was set
    /// back must not keep a window open that is closed at the platform.
    fn since_first_attempt_ms(&self, row: &RowFacts) -> u64 {
        let Some(began_ms) = row.first_attempt_at_ms else { return 0 };
        let by_wall_ms = self.now.wall_ms.saturating_sub(began_ms);
        let by_boot_ms = row
            .first_attempt_mono
            .filter(|(boot, _)| *boot == self.rules.boot.0)
            .map(|(_, mono_ms)| self.now.mono_ms.saturating_sub(mono_ms).max(0));
        match by_boot_ms {
            Some(by_boot_ms) => by_wall_ms.max(by_boot_ms).unsigned_abs(),
            // Of another boot, and in the future: nobody can say how long ago it was.
            None if by_wall_ms < 0 => u64::MAX,
            None => by_wall_ms.unsigned_abs(),
        }
    }

    fn look_at_unknown(&mut self, row: &RowFacts, lease: Lease) -> Result<Option<ClaimedDelivery>> {
        let Some((settle, _)) = self.settle_by(row) else { return Ok(None) };
        match settle {
            Settle::Resend { possible_double } => {
                let mut queued = row.clone();
                queued.state = super::line::next_state(row, DeliveryEvent::Resend)?;
                self.execute(
                    "UPDATE delivery SET state = 0, possible_double = max(possible_double, ?2)
                     WHERE id = ?1",
                    (row.id.number, possible_double),
                )?;
                self.row_moved(row, queued.state, row.call, None)?;
                self.send_claim(&queued, lease).map(Some)
            }
            Settle::Ask => {
                // Due by the wall clock, which may have jumped; what is under way lands by a clock
                // that does not.
                let left_ms = self.unsettled_for_ms(row);
                if left_ms > 0 {
                    self.look_at_in(row, left_ms)?;
                    return Ok(None);
                }
                self.channels.doubts.remove(&row.id.number);
                self.ask_claim(row, lease).map(Some)
            }
            Settle::Hold { code, sentence } => {
                self.rest_row(row, DeliveryEvent::Hold, Some(code), Some(sentence))?;
                Ok(None)
            }
        }
    }

    /// How much longer bytes of the last call may still land before anybody asks what became of
    /// them. Of a call of an earlier start it is only known that it ended before this one.
    fn unsettled_for_ms(&self, row: &RowFacts) -> u64 {
        if row.asked > 0 {
            return 0;
        }
        let Some(rules) = self.channels.by_id.get(&row.channel) else { return 0 };
        let since_ms = self.channels.doubts.get(&row.id.number).copied().unwrap_or(0);
        let passed_ms = self.now.mono_ms.saturating_sub(since_ms).max(0).unsigned_abs();
        rules.delivery.settle_delay_ms.saturating_sub(passed_ms)
    }

    /// `sending`, with its attempt open: committed before the adapter is called.
    fn send_claim(&mut self, row: &RowFacts, lease: Lease) -> Result<ClaimedDelivery> {
        let state = super::line::next_state(row, DeliveryEvent::Claimed)?;
        let token = self.env.claim_token();
        let now_ms = self.now.wall_ms;
        let expires = self.now.mono_ms.saturating_add(ms(lease.lease_ms));
        let call = row.call.saturating_add(1);
        let repeats = self.channels.by_id.get(&row.channel).map(|it| it.means.idempotency);
        let repeats_ms = match repeats {
            Some(Idempotency::Always) => NEVER_MS,
            Some(Idempotency::ForMs(for_ms)) => ms(for_ms),
            Some(Idempotency::None) | None => 0,
        };
        self.execute(
            "UPDATE delivery SET state = 1, call = ?2, attempts = attempts + 1,
               waits_for_channel = 0, claim_boot = ?3, claim_token = ?4, claim_expires = ?5,
               first_attempt_boot =
                 CASE WHEN first_attempt_at_ms IS NULL THEN ?3 ELSE first_attempt_boot END,
               first_attempt_mono_ms =
                 CASE WHEN first_attempt_at_ms IS NULL THEN ?7 ELSE first_attempt_mono_ms END,
               repeats_ms =
                 CASE WHEN first_attempt_at_ms IS NULL THEN ?8
                      ELSE min(coalesce(repeats_ms, ?8), ?8) END,
               first_attempt_at_ms = coalesce(first_attempt_at_ms, ?6)
             WHERE id = ?1",
            rusqlite::params![
                row.id.number,
                call,
                self.rules.boot.0,
                token.0,
                expires,
                now_ms,
                self.now.mono_ms,
                repeats_ms
            ],
        )?;
        self.row_moved(row, state, call, None)?;
        self.take_token(row)?;
        let digest = self.channels.by_id.get(&row.channel).map(|rules| rules.digest.clone());
        self.execute(
            "INSERT INTO attempt (delivery_id, call, started_at_ms, digest)
             VALUES (?1, ?2, ?3, ?4)",
            (row.id.number, call, now_ms, digest),
        )?;
        self.claimed(row, token, call, DeliveryWork::Send)
    }

    fn ask_claim(&mut self, row: &RowFacts, lease: Lease) -> Result<ClaimedDelivery> {
        let token = self.env.claim_token();
        let expires = self.now.mono_ms.saturating_add(ms(lease.lease_ms));
        self.execute(
            "UPDATE delivery SET asked = asked + 1, claim_boot = ?2, claim_token = ?3,
               claim_expires = ?4
             WHERE id = ?1",
            (row.id.number, self.rules.boot.0, token.0, expires),
        )?;
        let first_attempt_at_ms = row.first_attempt_at_ms.unwrap_or(row.created_at_ms);
        self.claimed(row, token, row.call, DeliveryWork::Ask { first_attempt_at_ms })
    }

    fn claimed(
        &self,
        row: &RowFacts,
        token: ClaimToken,
        call: u32,
        work: DeliveryWork,
    ) -> Result<ClaimedDelivery> {
        let found = self.one(
            "SELECT payload, context, reply_to, parts, about_turn FROM delivery WHERE id = ?1",
            [row.id.number],
            |r| {
                let place: (Option<String>, Option<String>) = (r.get(1)?, r.get(2)?);
                Ok((r.get::<_, String>(0)?, place, r.get(3)?, r.get::<_, Option<i64>>(4)?))
            },
        )?;
        let gone = || super::face::StoreError::Corrupt(format!("{} is gone", row.id));
        let (payload, (context, reply_to), parts, about) = found.ok_or_else(gone)?;
        let reply: Reply = from_json(&payload)?;
        let about_turn = match about {
            Some(number) => self.turn_id_of(number)?,
            None => None,
        };
        let conversation = self.conversation_name(row.conversation)?;
        let message = OutboundMessage {
            delivery_id: row.id,
            turn_id: row.turn.or(about_turn),
            place: Place { conversation, context, reply_to },
            text: reply.text,
            format: reply.format,
            attachments: reply.attachments,
            part: row.part,
            parts,
            attempt: call,
            extras: reply.extras,
        };
        Ok(ClaimedDelivery {
            claim: DeliveryClaim { delivery: row.id, token, call },
            work,
            channel: self.channel_name(row.channel)?,
            kind: row.kind,
            turn: row.turn,
            generation: self.channels.by_id.get(&row.channel).map_or(0, |it| it.generation),
            message,
        })
    }

    pub(super) fn turn_id_of(&self, number: i64) -> Result<Option<TurnId>> {
        let sql = "SELECT nonce FROM turn WHERE id = ?1";
        self.one(sql, [number], |r| Ok(super::step::turn_id(number, r.get(0)?)))
    }

    pub(super) fn renew_delivery(
        &mut self,
        claim: &DeliveryClaim,
        lease: Lease,
    ) -> Result<Guarded> {
        let expires = self.now.mono_ms.saturating_add(ms(lease.lease_ms)).min(NEVER_MS - 1);
        let changed = self.execute(
            "UPDATE delivery SET claim_expires = ?3
             WHERE id = ?1 AND claim_token = ?2 AND claim_boot = ?4 AND call = ?5",
            (claim.delivery.number, claim.token.0, expires, self.rules.boot.0, claim.call),
        )?;
        Ok(if changed == 1 { Guarded::Done } else { Guarded::Lost })
    }
}
