//! Turns at work: claimed, renewed, completed, lost, ended. Each statement names the state, the
//! claim and the try that it leaves.

use super::accept::read_message;
use super::face::{
    Answer, ChannelRules, ClaimedDelivery, ClaimedTurn, Guarded, Lease, NewDelivery, Next,
    StoreError, TurnClaim, TurnEnd,
};
use super::step::{
    NEVER_MS, Result, Step, delivery_id, delivery_kind, ms, turn_code, turn_id, turn_state,
};
use crate::lifecycle::delivery::code as delivery_code_word;
use crate::lifecycle::id::{ChannelName, ClaimToken, DeliveryId, TurnId};
use crate::lifecycle::message::{DeliveredPart, InboundMessage, Reply};
use crate::lifecycle::outcome::Receipt;
use crate::lifecycle::turn::{self, Charges, Loss, TurnEvent, TurnState, code};

/// Host losses, counted with the running try, from which a turn runs alone.
const SUSPECT_FROM: i64 = 3;
/// Turns that one claim looks at: those that cannot be read do not hide the one that can.
const LOOKS_PER_CLAIM_MAX: u32 = 64;

/// What a turn's transitions need of its row.
#[derive(Debug, Clone)]
pub(super) struct TurnFacts {
    pub(super) id: TurnId,
    pub(super) channel: i64,
    pub(super) conversation: i64,
    pub(super) state: TurnState,
    pub(super) outcome_unknown: bool,
    pub(super) charges: Charges,
    pub(super) try_number: u32,
    pub(super) accepted_at_ms: i64,
}

impl Step<'_> {
    /// The next due turn, channels in turn; of a channel without rules nothing is claimed.
    pub(super) fn claim_turn(&mut self, lease: Lease) -> Result<Option<ClaimedTurn>> {
        self.claim_turn_of(lease, None)
    }

    /// The same, of these channels alone.
    pub(super) fn claim_turn_of(
        &mut self,
        lease: Lease,
        only: Option<&[ChannelName]>,
    ) -> Result<Option<ClaimedTurn>> {
        let wanted = |rules: &ChannelRules| only.is_none_or(|only| only.contains(&rules.channel));
        let served = self.channels.by_id.iter().filter(|(_, rules)| wanted(rules));
        let mut ids: Vec<i64> = served.map(|(id, _)| *id).collect();
        ids.sort_unstable();
        let suspect_runs = self
            .exists("SELECT 1 FROM turn WHERE state = 1 AND host_losses >= ?1", [SUSPECT_FROM])?;
        // From the one behind the last, so that those who ask for a few channels shift nobody's turn.
        let behind = ids.partition_point(|id| *id <= self.channels.last_claimed);
        ids.rotate_left(behind);
        for channel_id in ids {
            let mut before = None;
            for _ in 0..LOOKS_PER_CLAIM_MAX {
                let found = self.one(
                    "SELECT id, nonce FROM turn WHERE channel_id = ?1 AND head = 1 AND due_ms <= ?2
                       AND (host_losses < ?3 OR ?4 = 0)
                     ORDER BY due_ms, seq LIMIT 1",
                    (channel_id, self.now.wall_ms, SUSPECT_FROM - 1, suspect_runs),
                    |r| Ok(turn_id(r.get(0)?, r.get(1)?)),
                )?;
                let Some(turn) = found else { break };
                self.channels.last_claimed = channel_id;
                if before.replace(turn) == Some(turn) {
                    self.turn_leaves_line(turn, "it is a head that cannot be claimed")?;
                    continue;
                }
                if let Some(claimed) = self.claim_turn_or_set_aside(turn, lease)? {
                    return Ok(Some(claimed));
                }
            }
        }
        Ok(None)
    }

    /// Claims this turn if it is queued, due and the head of its line.
    pub(super) fn claim_turn_by_number(
        &mut self,
        turn: TurnId,
        lease: Lease,
    ) -> Result<Option<ClaimedTurn>> {
        let token = self.env.claim_token();
        let expires = self.now.mono_ms.saturating_add(ms(lease.lease_ms));
        // Not by RETURNING: the engine would build a table of its own for the one row.
        let changed = self.execute(
            "UPDATE turn SET state = 1, head = 0, try = try + 1, tries = tries + 1,
               host_losses = host_losses + 1, claim_boot = ?3, claim_token = ?4, claim_expires = ?5
             WHERE id = ?1 AND nonce = ?2 AND state = 0 AND head = 1 AND due_ms <= ?6",
            rusqlite::params![
                turn.number,
                turn.nonce.cast_signed(),
                self.rules.boot.0,
                token.0,
                expires,
                self.now.wall_ms
            ],
        )?;
        if changed == 0 {
            return Ok(None);
        }
        self.claimed_turn(turn, token, Telling::First)
    }

    /// What the holder of this claim is told.
    pub(super) fn claimed_turn(
        &mut self,
        turn: TurnId,
        token: ClaimToken,
        telling: Telling,
    ) -> Result<Option<ClaimedTurn>> {
        let row = self.one(
            "SELECT channel_id, conversation_id, accepted_at_ms, payload, try, host_losses,
               replay_of, due_ms, origin FROM turn WHERE id = ?1",
            [turn.number],
            |r| {
                let ids: (i64, i64) = (r.get(0)?, r.get(1)?);
                let rest: (i64, String, u32, i64) = (r.get(2)?, r.get(3)?, r.get(4)?, r.get(5)?);
                let more: (Option<i64>, i64, i64) = (r.get(6)?, r.get(7)?, r.get(8)?);
                Ok((ids, rest, more))
            },
        )?;
        let Some((ids, (accepted_at_ms, payload, try_number, losses), more)) = row else {
            return Ok(None);
        };
        let (replay_of, due_ms, origin) = more;
        if telling == Telling::First {
            self.turn_claimed(turn, ids.0, try_number, accepted_at_ms, due_ms)?;
        }
        let channel = self.channel_name(ids.0)?;
        let conversation = self.conversation_name(ids.1)?;
        let claim = TurnClaim { turn, token, try_number };
        let message = match read_message(&payload, &conversation) {
            Ok(message) => message,
            Err(error) => {
                // Quarantined with its metadata; the next one of the line goes on.
                let facts = self.turn_facts(turn)?;
                if let Some(facts) = facts {
                    let sentence = error.to_string();
                    let (end, word) = (TurnEvent::TriesSpent, code::UNREADABLE);
                    self.end_turn(&facts, end, Some(word), Some(&sentence), None)?;
                }
                return Ok(None);
            }
        };
        let context = self.take_context(turn, ids.1)?;
        // What a first try was told is looked for again only where the claim is told again.
        let looked = if telling == Telling::Again { 2 } else { try_number };
        let mut delivered = self.bad_news(turn, ids.1, looked)?;
        if try_number > 1 || replay_of.is_some() {
            delivered.extend(self.told(turn, replay_of)?);
        }
        let suspect = losses >= SUSPECT_FROM;
        Ok(Some(ClaimedTurn {
            claim,
            channel,
            conversation,
            accepted_at_ms,
            message,
            context,
            delivered,
            suspect,
            origin: super::step::origin(origin)?,
        }))
    }

    pub(super) fn conversation_name(&self, id: i64) -> Result<String> {
        self.one("SELECT name FROM conversation WHERE id = ?1", [id], |r| r.get(0))?
            .ok_or_else(|| StoreError::Corrupt(format!("no conversation has the number {id}")))
    }

    /// The context that waited for this turn; a later try of it sees the same.
    fn take_context(&mut self, turn: TurnId, conversation: i64) -> Result<Vec<InboundMessage>> {
        let name = self.conversation_name(conversation)?;
        self.execute(
            "UPDATE context SET turn_id = ?1 WHERE conversation_id = ?2 AND turn_id IS NULL",
            (turn.number, conversation),
        )?;
        let sql = "SELECT payload FROM context WHERE turn_id = ?1 ORDER BY id";
        let rows: Vec<Option<String>> = self.all(sql, [turn.number], |r| Ok(r.get(0).ok()))?;
        let read = |payload: &Option<String>| read_message(payload.as_deref()?, &name).ok();
        let context: Vec<InboundMessage> = rows.iter().filter_map(read).collect();
        if context.len() < rows.len() {
            // The turn does without: it would wait for ever for a row that nobody mends.
            let unreadable = rows.len() - context.len();
            tracing::error!(%turn, unreadable, "context messages of a turn cannot be read");
        }
        Ok(context)
    }

    /// What earlier tries, or the turn that this one replays, delivered.
    fn told(&self, turn: TurnId, replay_of: Option<i64>) -> Result<Vec<DeliveredPart>> {
        let rows = self.all(
            "SELECT id, nonce, kind, part, payload, platform_id FROM delivery
             WHERE turn_id IN (?1, ?2) AND state = 4 ORDER BY turn_id, id",
            (turn.number, replay_of),
            |r| {
                let id: (i64, i64) = (r.get(0)?, r.get(1)?);
                let rest: (i64, u32, String) = (r.get(2)?, r.get(3)?, r.get(4)?);
                Ok((id, rest, r.get::<_, Option<String>>(5)?))
            },
        )?;
        let mut told = Vec::with_capacity(rows.len());
        for ((number, nonce), (kind, part, payload), platform_id) in rows {
            let reply: Reply = super::step::from_json(&payload)?;
            let platform_id = platform_id.unwrap_or_default();
            let receipt = Receipt { platform_id, extras: Vec::new() };
            let (id, kind) = (delivery_id(number, nonce), delivery_kind(kind)?);
            told.push(DeliveredPart::new(id, kind, part, reply.text, &receipt));
        }
        Ok(told)
    }

    pub(super) fn renew_turn(&mut self, claim: &TurnClaim, lease: Lease) -> Result<Guarded> {
        let expires = self.now.mono_ms.saturating_add(ms(lease.lease_ms));
        let changed = self.execute(
            "UPDATE turn SET claim_expires = ?4
             WHERE id = ?1 AND state = 1 AND claim_token = ?2 AND try = ?3 AND claim_boot = ?5",
            (claim.turn.number, claim.token.0, claim.try_number, expires, self.rules.boot.0),
        )?;
        Ok(if changed == 1 { Guarded::Done } else { Guarded::Lost })
    }

    /// The row, if this claim still holds it.
    pub(super) fn held_turn(&self, claim: &TurnClaim) -> Result<Option<TurnFacts>> {
        let holds = self.exists(
            "SELECT 1 FROM turn WHERE id = ?1 AND state = 1 AND claim_token = ?2 AND try = ?3",
            (claim.turn.number, claim.token.0, claim.try_number),
        )?;
        if holds { self.turn_facts(claim.turn) } else { Ok(None) }
    }

    pub(super) fn turn_facts(&self, turn: TurnId) -> Result<Option<TurnFacts>> {
        let row = self.one(
            "SELECT conversation_id, state, code, tries, host_losses, try, channel_id,
               accepted_at_ms
             FROM turn WHERE id = ?1 AND nonce = ?2",
            (turn.number, turn.nonce.cast_signed()),
            |r| {
                let first: (i64, i64, Option<String>) = (r.get(0)?, r.get(1)?, r.get(2)?);
                let counts: (u32, u32, u32) = (r.get(3)?, r.get(4)?, r.get(5)?);
                Ok((first, counts, (r.get(6)?, r.get(7)?)))
            },
        )?;
        let Some((first, (tries, host_losses, try_number), (channel, accepted_at_ms))) = row else {
            return Ok(None);
        };
        let (conversation, state, word) = first;
        let state = turn_state(state)?;
        let outcome_unknown = word.as_deref() == Some(code::OUTCOME_UNKNOWN);
        let charges = Charges { tries, host_losses };
        Ok(Some(TurnFacts {
            id: turn,
            channel,
            conversation,
            state,
            outcome_unknown,
            charges,
            try_number,
            accepted_at_ms,
        }))
    }

    pub(super) fn progress(
        &mut self,
        claim: &TurnClaim,
        rows: Vec<NewDelivery>,
        claim_first: Option<Lease>,
    ) -> Result<Answer> {
        let Some(facts) = self.held_turn(claim)? else { return Ok(lost_rows()) };
        let wrong = rows.iter().any(|row| !row.kind.is_progress());
        if wrong || rows.is_empty() {
            let words = "progress is made of at least one tool or block row, and of nothing else";
            return Err(StoreError::Invalid(words.to_owned()));
        }
        let (ids, first) = self.enqueue(&facts, rows, claim_first)?;
        Ok(Answer::Enqueued { guarded: Guarded::Done, ids, first })
    }

    pub(super) fn complete(
        &mut self,
        claim: &TurnClaim,
        rows: Vec<NewDelivery>,
        claim_first: Option<Lease>,
    ) -> Result<Answer> {
        use crate::lifecycle::message::DeliveryKind;
        let Some(facts) = self.held_turn(claim)? else { return Ok(lost_rows()) };
        if rows.is_empty() || rows.iter().any(|row| row.kind != DeliveryKind::Final) {
            let words = "a turn is completed with at least one final row, and with nothing else";
            return Err(StoreError::Invalid(words.to_owned()));
        }
        let next = next_state(&facts, TurnEvent::Final)?;
        self.execute(
            "UPDATE turn SET state = ?2, claim_boot = NULL, claim_token = NULL,
               claim_expires = NULL, host_losses = max(0, host_losses - 1)
             WHERE id = ?1",
            (facts.id.number, turn_code(next)),
        )?;
        self.turn_moved(&facts, next, None)?;
        let (ids, first) = self.enqueue(&facts, rows, claim_first)?;
        Ok(Answer::Enqueued { guarded: Guarded::Done, ids, first })
    }

    fn enqueue(
        &mut self,
        facts: &TurnFacts,
        rows: Vec<NewDelivery>,
        claim_first: Option<Lease>,
    ) -> Result<(Vec<DeliveryId>, Option<Box<ClaimedDelivery>>)> {
        let ids = self.insert_deliveries(facts, rows)?;
        let first = match (claim_first, ids.first()) {
            (Some(lease), Some(first)) => self.claim_if_head(*first, lease)?,
            (None, _) | (_, None) => None,
        };
        Ok((ids, first.map(Box::new)))
    }

    pub(super) fn silence(
        &mut self,
        claim: &TurnClaim,
        claim_next: Option<Lease>,
    ) -> Result<Answer> {
        let Some(facts) = self.held_turn(claim)? else { return Ok(lost_end()) };
        self.take_back_host_loss(facts.id)?;
        let end = self.end_turn(&facts, TurnEvent::Silence, None, None, None)?;
        let next = self.claim_next_turn(facts.conversation, claim_next)?;
        Ok(Answer::TurnEnded { guarded: Guarded::Done, end: Some(end), next })
    }

    fn take_back_host_loss(&mut self, turn: TurnId) -> Result<()> {
        let sql = "UPDATE turn SET host_losses = max(0, host_losses - 1) WHERE id = ?1";
        self.execute(sql, [turn.number]).map(|_| ())
    }

    pub(super) fn lose_try(&mut self, claim: &TurnClaim, loss: &Loss) -> Result<Answer> {
        let Some(facts) = self.held_turn(claim)? else { return Ok(lost_end()) };
        let lost = turn::lose_try(facts.charges, loss, &self.rules.turn, self.env.jitter());
        let sql = "UPDATE turn SET tries = ?2, host_losses = ?3 WHERE id = ?1";
        self.execute(sql, (facts.id.number, lost.charges.tries, lost.charges.host_losses))?;
        self.execute(
            "INSERT INTO lost_try (turn_id, try, at_ms, code, reason) VALUES (?1, ?2, ?3, ?4, ?5)",
            (facts.id.number, facts.try_number, self.now.wall_ms, &lost.code, &lost.sentence),
        )?;
        let (word, sentence) = (Some(lost.code.as_str()), Some(lost.sentence.as_str()));
        if lost.event != TurnEvent::TryLost {
            let end = self.end_turn(&facts, lost.event, word, sentence, None)?;
            let (guarded, next) = (Guarded::Done, Next::default());
            return Ok(Answer::TurnEnded { guarded, end: Some(end), next });
        }
        let state = next_state(&facts, TurnEvent::TryLost)?;
        let now_ms = self.now.wall_ms;
        self.execute(
            "UPDATE turn SET state = ?2, code = ?3, reason = ?4, due_ms = ?5,
               due_set_ms = ?6, claim_boot = NULL, claim_token = NULL, claim_expires = NULL
             WHERE id = ?1",
            rusqlite::params![
                facts.id.number,
                turn_code(state),
                word,
                sentence,
                now_ms.saturating_add(ms(lost.retry_in_ms)).min(NEVER_MS - 1),
                now_ms
            ],
        )?;
        self.turn_moved(&facts, state, word)?;
        self.unwant_rows(facts.id, UnwantedRows::All, delivery_code_word::TRY_LOST)?;
        self.settle_turn_line(facts.conversation)?;
        Ok(Answer::TurnEnded { guarded: Guarded::Done, end: None, next: Next::default() })
    }

    /// Ends a turn, makes its rows follow, and lets the next of its conversation come forward.
    pub(super) fn end_turn(
        &mut self,
        facts: &TurnFacts,
        event: TurnEvent,
        word: Option<&str>,
        sentence: Option<&str>,
        by: Option<&str>,
    ) -> Result<TurnEnd> {
        let state = next_state(facts, event)?;
        let now_ms = self.now.wall_ms;
        self.execute(
            "UPDATE turn SET state = ?2, head = 0, code = ?3, reason = ?4, ended_at_ms = ?5,
               ended_by = coalesce(?6, ended_by), claim_boot = NULL, claim_token = NULL,
               claim_expires = NULL
             WHERE id = ?1",
            (facts.id.number, turn_code(state), word, sentence, now_ms, by),
        )?;
        self.turn_moved(facts, state, word)?;
        if !facts.state.is_ended() {
            self.tally.pending_turns -= 1;
        }
        let rows = match state {
            TurnState::Aborted => Some((UnwantedRows::All, delivery_code_word::ABORTED)),
            TurnState::Silent | TurnState::Failed | TurnState::Expired | TurnState::Delivered => {
                Some((UnwantedRows::Progress, delivery_code_word::TURN_ENDED))
            }
            TurnState::Queued | TurnState::Running | TurnState::Delivering => None,
        };
        // A turn that never ran has no rows.
        if let Some((which, word)) = rows.filter(|_| facts.try_number > 0) {
            self.unwant_rows(facts.id, which, word)?;
        }
        self.settle_turn_line(facts.conversation)?;
        self.tell_failure(facts, state, word)?;
        Ok(TurnEnd { turn: facts.id, state, code: word.map(str::to_owned) })
    }

    /// Brings the next turn of a conversation forward, if none runs or delivers there.
    pub(super) fn settle_turn_line(&mut self, conversation: i64) -> Result<()> {
        let first = self.one(
            "SELECT id, state, head FROM turn
             WHERE conversation_id = ?1 AND state < 3 AND seq < 9223372036854775807
             ORDER BY seq LIMIT 1",
            [conversation],
            |r| Ok((r.get::<_, i64>(0)?, r.get::<_, i64>(1)?, r.get::<_, bool>(2)?)),
        )?;
        let Some((number, state, is_head)) = first else { return Ok(()) };
        if turn_state(state)? != TurnState::Queued || is_head {
            return Ok(());
        }
        // Whoever runs or delivers is the lowest of its line, but where two lines became one.
        let busy = self.exists(
            "SELECT 1 FROM conversation c JOIN turn t ON t.conversation_id = c.id
             WHERE c.id = ?1 AND c.merged = 1 AND t.state < 3 AND t.state != 0",
            [conversation],
        )?;
        if !busy {
            // Its age counts from here: until now it could not have run. What was set under a clock
            // that went back since is due.
            self.execute(
                "UPDATE turn SET head = 1, due_set_ms = ?2,
                   due_ms = CASE WHEN due_set_ms > ?2 THEN ?2 ELSE max(due_ms, ?2) END
                 WHERE id = ?1",
                (number, self.now.wall_ms),
            )?;
        }
        Ok(())
    }

    /// Where another turn of this conversation waits: the turn that is due for longest, of whichever
    /// conversation, with a handler's permit in hand. A conversation with a long line would keep the
    /// permit for all of it, and others would wait for its end.
    pub(super) fn claim_next_turn(
        &mut self,
        conversation: i64,
        lease: Option<Lease>,
    ) -> Result<Next> {
        let Some(lease) = lease else { return Ok(Next::default()) };
        let more = self.exists(
            "SELECT 1 FROM turn WHERE conversation_id = ?1 AND state < 3 AND head = 1
               AND due_ms <= ?2",
            (conversation, self.now.wall_ms),
        )?;
        let turn = if more { self.claim_turn(lease)?.map(Box::new) } else { None };
        Ok(Next { delivery: None, turn })
    }
}

/// Whether a claim's holder is told of it for the first time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Telling {
    First,
    Again,
}

/// Which rows of a turn it wants no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum UnwantedRows {
    All,
    Progress,
}

pub(super) fn next_state(facts: &TurnFacts, event: TurnEvent) -> Result<TurnState> {
    turn::next(facts.state, facts.outcome_unknown, event)
        .map_err(|illegal| StoreError::Invalid(format!("turn {}: {illegal}", facts.id)))
}

fn lost_rows() -> Answer {
    Answer::Enqueued { guarded: Guarded::Lost, ids: Vec::new(), first: None }
}

fn lost_end() -> Answer {
    Answer::TurnEnded { guarded: Guarded::Lost, end: None, next: Next::default() }
}
