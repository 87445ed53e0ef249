//! Telling a conversation that a turn of it failed: a free row of its own kind at the end of the
//! line, made in the transaction that fails the turn. It decides nothing and makes no notices.

use super::deliveries::{RowBody, RowOrigin};
use super::face::NewDelivery;
use super::step::{Result, Step, delivery_kind, from_json, to_json};
use super::turns::TurnFacts;
use crate::lifecycle::message::{DeliveryKind, InboundMessage, Reply};
use crate::lifecycle::notice;
use crate::lifecycle::turn::{TurnState, code};

/// The last row of a conversation's line.
struct LastRow {
    number: i64,
    kind: i64,
    queued: bool,
    calls: u32,
    made_at_ms: i64,
    tells_of: u32,
}

impl Step<'_> {
    /// A turn that just came to `state`: its conversation is told where it failed and its channel
    /// wants that. Held outcomes wait for a person; what a person resolved needs no telling.
    pub(super) fn tell_failure(
        &mut self,
        facts: &TurnFacts,
        state: TurnState,
        word: Option<&str>,
    ) -> Result<()> {
        let tells = match state {
            TurnState::Failed => !facts.state.is_ended() && word != Some(code::OUTCOME_UNKNOWN),
            TurnState::Queued
            | TurnState::Running
            | TurnState::Delivering
            | TurnState::Delivered
            | TurnState::Silent
            | TurnState::Aborted
            | TurnState::Expired => false,
        };
        let rules = self.channels.by_id.get(&facts.channel).filter(|_| tells);
        let Some(text) = rules.and_then(|rules| rules.failure_notice.clone()) else {
            return Ok(());
        };
        let reply = |turns: u32| Reply { text: text.of(turns), ..Reply::default() };
        let number = match self.waiting_notice(facts.conversation)? {
            Some((number, tells_of)) => {
                let turns = tells_of.saturating_add(1);
                self.execute(
                    "UPDATE delivery SET payload = ?2, about_count = ?3 WHERE id = ?1",
                    (number, to_json(&reply(turns))?, turns),
                )?;
                number
            }
            None => self.insert_notice(facts, reply(1))?,
        };
        let sql = "UPDATE turn SET told_by = ?2 WHERE id = ?1";
        self.execute(sql, (facts.id.number, number)).map(|_| ())
    }

    /// A notice that is the last of its line and was never tried: one more turn changes no order.
    fn waiting_notice(&self, conversation: i64) -> Result<Option<(i64, u32)>> {
        let last = self.one(
            "SELECT id, kind, state = 0 AND replay_of IS NULL, call, created_at_ms, about_count
             FROM delivery WHERE conversation_id = ?1 AND state < 3 ORDER BY seq DESC LIMIT 1",
            [conversation],
            |r| {
                Ok(LastRow {
                    number: r.get(0)?,
                    kind: r.get(1)?,
                    queued: r.get(2)?,
                    calls: r.get(3)?,
                    made_at_ms: r.get(4)?,
                    tells_of: r.get(5)?,
                })
            },
        )?;
        let Some(last) = last else { return Ok(None) };
        let joins = delivery_kind(last.kind)? == DeliveryKind::Notice
            && last.queued
            && notice::joins(last.made_at_ms, self.now.wall_ms, last.calls);
        Ok(joins.then_some((last.number, last.tells_of)))
    }

    fn insert_notice(&mut self, facts: &TurnFacts, body: Reply) -> Result<i64> {
        let place = self.one(
            "SELECT CASE WHEN t.origin = 0 THEN t.payload END, c.context FROM turn t
             JOIN conversation c ON c.id = t.conversation_id WHERE t.id = ?1",
            [facts.id.number],
            |r| Ok((r.get::<_, Option<String>>(0)?, r.get::<_, Option<String>>(1)?)),
        )?;
        let (payload, context) = place.unwrap_or_default();
        // The platform knows no message of a program's or a schedule's; one that cannot be read any
        // more is answered by none, and still told of.
        let message = payload.and_then(|payload| from_json::<InboundMessage>(&payload).ok());
        let place = RowBody {
            channel: facts.channel,
            conversation: facts.conversation,
            context: context.as_deref(),
            reply_to: message.as_ref().and_then(|it| it.answered_id()),
        };
        let origin = RowOrigin { turn: None, about_turn: Some(facts.id.number), replay_of: None };
        let row = NewDelivery { kind: DeliveryKind::Notice, body, part: 1, parts: 1 };
        let made = self.insert_reply(&place, &origin, &[row])?;
        let number = made.first().map_or(0, |id| id.number);
        self.execute("UPDATE delivery SET about_count = 1 WHERE id = ?1", [number])?;
        Ok(number)
    }
}
