//! Why a row waits, and since when: what `show` prints of a row that is passed over. Read from the
//! rows as they stand; a wait whose time has come is left out by whoever knows the time.

use super::query::{LostTry, Wait};
use super::read::Reader;
use super::step::{NEVER_MS, Result, delivery_id, delivery_state, turn_id, turn_state};
use crate::lifecycle::delivery::DeliveryState;
use crate::lifecycle::turn::TurnState;

fn wait(code: &str, reason: impl Into<String>, since_ms: Option<i64>) -> Wait {
    Wait { code: code.to_owned(), reason: reason.into(), since_ms, until_ms: None }
}

impl Wait {
    fn until(mut self, at_ms: i64) -> Self {
        self.until_ms = Some(at_ms).filter(|at| *at < NEVER_MS);
        self
    }

    /// Whether it still holds at this time.
    #[must_use]
    pub fn holds_at(&self, now_ms: i64) -> bool {
        self.until_ms.is_none_or(|until_ms| until_ms > now_ms)
    }
}

impl Reader<'_> {
    /// Why a turn that is queued does not run.
    pub(super) fn turn_waits(&self, number: i64) -> Result<Vec<Wait>> {
        let found = self.one(
            "SELECT state, head, seq, due_ms, due_set_ms, reason, accepted_at_ms, channel_id,
               conversation_id FROM turn WHERE id = ?1",
            [number],
            |r| {
                let line: (i64, bool, i64) = (r.get(0)?, r.get(1)?, r.get(2)?);
                let due: (i64, i64, Option<String>) = (r.get(3)?, r.get(4)?, r.get(5)?);
                Ok((line, due, (r.get::<_, i64>(6)?, r.get::<_, i64>(7)?, r.get::<_, i64>(8)?)))
            },
        )?;
        let Some(((state, head, seq), (due_ms, set_ms, reason), place)) = found else {
            return Ok(Vec::new());
        };
        if turn_state(state)? != TurnState::Queued {
            return Ok(Vec::new());
        }
        let (accepted_at_ms, channel, conversation) = place;
        let mut waits = self.channel_waits(channel, &["removed", "refused"])?;
        if seq == super::due::OUT_OF_LINE {
            let words = "it is scheduled, and its time has not come";
            waits.push(wait("scheduled", words, Some(accepted_at_ms)).until(due_ms));
        } else if !head {
            let ahead = self.one(
                "SELECT id, nonce, state FROM turn
                 WHERE conversation_id = ?1 AND state < 3 AND seq < ?2 ORDER BY seq LIMIT 1",
                (conversation, seq),
                |r| Ok((turn_id(r.get(0)?, r.get(1)?), r.get::<_, i64>(2)?)),
            )?;
            if let Some((ahead, state)) = ahead {
                let word = turn_state(state)?.word();
                let words = format!("turn {ahead} of its conversation is before it, and is {word}");
                waits.push(wait("behind", words, Some(accepted_at_ms)));
            }
        } else {
            let words = reason.unwrap_or_else(|| "its time has not come".to_owned());
            waits.push(wait("backoff", words, Some(set_ms)).until(due_ms));
        }
        Ok(waits)
    }

    /// Why a delivery that is not at rest does not go.
    pub(super) fn delivery_waits(&self, number: i64) -> Result<Vec<Wait>> {
        let found = self.one(
            "SELECT state, head, seq, next_at_ms, next_set_ms, code, reason, created_at_ms,
               channel_id, conversation_id, claim_token IS NOT NULL, waits_for_channel
             FROM delivery WHERE id = ?1",
            [number],
            |r| {
                let line: (i64, bool, i64) = (r.get(0)?, r.get(1)?, r.get(2)?);
                let due: (i64, i64) = (r.get(3)?, r.get(4)?);
                let why: (Option<String>, Option<String>) = (r.get(5)?, r.get(6)?);
                let place: (i64, i64, i64) = (r.get(7)?, r.get(8)?, r.get(9)?);
                Ok((line, due, why, place, r.get::<_, bool>(10)?))
            },
        )?;
        let Some(((state, head, seq), (next_ms, set_ms), why, place, claimed)) = found else {
            return Ok(Vec::new());
        };
        let state = delivery_state(state)?;
        let waits_at_all =
            matches!(state, DeliveryState::Queued | DeliveryState::UnknownOpen) && !claimed;
        if !waits_at_all {
            return Ok(Vec::new());
        }
        let (created_at_ms, channel, conversation) = place;
        let all = ["removed", "refused", "paused", "breaker", "rate_limited"];
        let mut waits = self.channel_waits(channel, &all)?;
        waits.extend(self.conversation_waits(conversation)?);
        if head {
            if next_ms < NEVER_MS {
                let code = why.0.unwrap_or_else(|| "backoff".to_owned());
                let words = why.1.unwrap_or_else(|| "its time has not come".to_owned());
                waits.push(wait(&code, words, Some(set_ms)).until(next_ms));
            }
            return Ok(waits);
        }
        let ahead = self.one(
            "SELECT id, nonce, state FROM delivery
             WHERE conversation_id = ?1 AND state < 3 AND seq < ?2 ORDER BY seq LIMIT 1",
            (conversation, seq),
            |r| Ok((delivery_id(r.get(0)?, r.get(1)?), r.get::<_, i64>(2)?)),
        )?;
        if let Some((ahead, state)) = ahead {
            let word = delivery_state(state)?.word();
            let words = format!("delivery {ahead} of its conversation is before it, and is {word}");
            waits.push(wait("behind", words, Some(created_at_ms)));
        }
        Ok(waits)
    }

    /// What keeps a channel from being served, of these causes.
    fn channel_waits(&self, channel: i64, causes: &[&str]) -> Result<Vec<Wait>> {
        let found = self.one(
            "SELECT present, removed_at_ms, pause_code, pause_reason, paused_at_ms, not_before_ms,
               not_before_set_ms FROM channel WHERE id = ?1",
            [channel],
            |r| {
                let present: (bool, Option<i64>) = (r.get(0)?, r.get(1)?);
                let pause: (Option<String>, Option<String>) = (r.get(2)?, r.get(3)?);
                let rate: (i64, i64) = (r.get(5)?, r.get(6)?);
                Ok((present, pause, r.get::<_, Option<i64>>(4)?, rate))
            },
        )?;
        let Some(((present, removed_ms), pause, paused_ms, (until_ms, set_ms))) = found else {
            return Ok(Vec::new());
        };
        let mut waits = Vec::new();
        if !present {
            let words = "the config does not name its channel";
            waits.push(("removed", wait("channel_removed", words, removed_ms)));
        }
        for (by, hold) in self.holds(channel)? {
            match by.as_str() {
                "refused" => waits.push(("refused", hold)),
                "breaker" => waits.push(("breaker", hold)),
                _ => {}
            }
        }
        if let (Some(code), reason) = pause {
            let words = reason.unwrap_or_else(|| format!("its channel is paused ({code})"));
            waits.push(("paused", wait("channel_paused", words, paused_ms)));
        }
        if until_ms > 0 {
            let words = "the platform asked to wait with the whole channel";
            let held = wait("rate_limited", words, Some(set_ms)).until(until_ms);
            waits.push(("rate_limited", held));
        }
        let asked = waits.into_iter().filter(|(cause, _)| causes.contains(cause));
        Ok(asked.map(|(_, wait)| wait).collect())
    }

    /// What the host told of a channel.
    pub(super) fn holds(&self, channel: i64) -> Result<Vec<(String, Wait)>> {
        self.all(
            "SELECT by_what, code, reason, since_ms FROM channel_hold WHERE channel_id = ?1
             ORDER BY by_what",
            [channel],
            |r| {
                let code: String = r.get(1)?;
                Ok((r.get(0)?, wait(&code, r.get::<_, String>(2)?, Some(r.get(3)?))))
            },
        )
    }

    fn conversation_waits(&self, conversation: i64) -> Result<Vec<Wait>> {
        let found = self.one(
            "SELECT closed, closed_at_ms, not_before_ms, not_before_set_ms FROM conversation
             WHERE id = ?1",
            [conversation],
            |r| {
                let closed: (bool, Option<i64>) = (r.get(0)?, r.get(1)?);
                Ok((closed, (r.get::<_, i64>(2)?, r.get::<_, i64>(3)?)))
            },
        )?;
        let mut waits = Vec::new();
        let Some(((closed, closed_ms), (until_ms, set_ms))) = found else { return Ok(waits) };
        if closed {
            let words = "the platform takes nothing for it until its person writes";
            waits.push(wait("closed", words, closed_ms));
        }
        if until_ms > 0 {
            let words = "the platform asked to wait with this conversation";
            waits.push(wait("rate_limited", words, Some(set_ms)).until(until_ms));
        }
        Ok(waits)
    }

    /// The tries of a turn that were lost, oldest first.
    pub(super) fn lost_tries(&self, turn: i64) -> Result<Vec<LostTry>> {
        let sql = "SELECT try, at_ms, code, reason FROM lost_try WHERE turn_id = ?1 ORDER BY try";
        self.all(sql, [turn], |r| {
            Ok(LostTry { number: r.get(0)?, at_ms: r.get(1)?, code: r.get(2)?, reason: r.get(3)? })
        })
    }

    /// The rows that replay one, by id.
    pub(super) fn replays(&self, sql: &str, of: i64, letter: char) -> Result<Vec<String>> {
        let rows: Vec<(i64, i64)> = self.all(sql, [of], |r| Ok((r.get(0)?, r.get(1)?)))?;
        let text = |(number, nonce): (i64, i64)| match letter {
            't' => turn_id(number, nonce).to_string(),
            _ => delivery_id(number, nonce).to_string(),
        };
        Ok(rows.into_iter().map(text).collect())
    }
}
