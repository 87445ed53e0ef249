//! What platforms say later about what was sent: stored once, applied where it settles a row, and
//! told to the next turn of the conversation where it is bad news.

use super::face::LateFailure;
use super::line::RowFacts;
use super::step::{Result, Step, delivery_id, delivery_kind, from_json, to_json};
use crate::lifecycle::id::{DeliveryId, TurnId};
use crate::lifecycle::message::{DeliveredPart, Fate, LateReceipt, Reply, SentMessage};
use crate::lifecycle::outcome::{Fault, Receipt};

/// Bad news that one turn is told of, oldest first; the rest waits for the next one.
const TOLD_AT_ONCE_MAX: u32 = 100;

impl Step<'_> {
    /// Stores what the platform says later, once, and settles an unknown row by it. Gives back bad
    /// news where it is new and its row is known.
    pub(super) fn accept_receipt(
        &mut self,
        channel: i64,
        receipt: &LateReceipt,
    ) -> Result<Option<LateFailure>> {
        let (about, named, platform_id) = match &receipt.about {
            SentMessage::PlatformId(id) => (about_platform_id(id), None, Some(id.clone())),
            SentMessage::DeliveryId(id, platform_id) => {
                let named = id.parse::<DeliveryId>().ok();
                (format!("d{id}"), named, platform_id.clone())
            }
        };
        let row = match named {
            Some(id) => self.row_by_id(id)?,
            None => self.row_of_platform_id(channel, platform_id.as_deref())?,
        };
        // A guest speaks for its own channel only.
        let row = row.filter(|row| row.channel == channel);
        // Of what never left nobody can say what became of it; kept, it would stand for a proof.
        let left = |row: &RowFacts| row.call > 0 || row.maybe_sent || !row.state.is_live();
        if row.as_ref().is_some_and(|row| !left(row)) {
            return Ok(None);
        }
        let (fate, fault) = match &receipt.fate {
            Fate::Accepted => ("accepted", None),
            Fate::Delivered => ("delivered", None),
            Fate::Read => ("read", None),
            Fate::Failed(fault) => ("failed", Some(fault)),
        };
        let stored = self.execute(
            "INSERT INTO receipt (channel_id, about, fate, delivery_id, platform_id, payload,
               at_ms, conversation_id)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) ON CONFLICT DO NOTHING",
            (
                channel,
                &about,
                fate,
                row.as_ref().map(|row| row.id.number),
                &platform_id,
                to_json(receipt)?,
                self.now.wall_ms,
                row.as_ref().filter(|_| fault.is_some()).map(|row| row.conversation),
            ),
        )?;
        let Some(row) = row else { return Ok(None) };
        if let Some(fault) = fault {
            let failure = LateFailure { delivery: row.id, turn: row.turn, fault: fault.clone() };
            return Ok(Some(failure).filter(|_| stored == 1));
        }
        let sent = Receipt { platform_id: platform_id.unwrap_or_default(), extras: Vec::new() };
        self.found_late(&row, &sent)?;
        self.adopt_receipts(&row, &sent.platform_id)
    }

    fn row_of_platform_id(
        &self,
        channel: i64,
        platform_id: Option<&str>,
    ) -> Result<Option<RowFacts>> {
        let Some(platform_id) = platform_id else { return Ok(None) };
        let number = self.one(
            "SELECT id FROM delivery WHERE channel_id = ?1 AND platform_id = ?2
             ORDER BY id DESC LIMIT 1",
            (channel, platform_id),
            |r| r.get(0),
        )?;
        match number {
            Some(number) => self.row(number),
            None => Ok(None),
        }
    }

    /// A row has its platform id from now on: what the platform said of it before is about it.
    pub(super) fn adopt_receipts(
        &mut self,
        row: &RowFacts,
        platform_id: &str,
    ) -> Result<Option<LateFailure>> {
        if platform_id.is_empty() {
            return Ok(None);
        }
        let adopted = self.execute(
            "UPDATE receipt SET delivery_id = ?3,
               conversation_id = CASE WHEN fate = 'failed' THEN ?4 END
             WHERE channel_id = ?1 AND about = ?2 AND delivery_id IS NULL",
            (row.channel, about_platform_id(platform_id), row.id.number, row.conversation),
        )?;
        if adopted == 0 {
            return Ok(None);
        }
        let failed = self.one(
            "SELECT payload FROM receipt
             WHERE channel_id = ?1 AND about = ?2 AND fate = 'failed' AND delivery_id = ?3",
            (row.channel, about_platform_id(platform_id), row.id.number),
            |r| r.get::<_, String>(0),
        )?;
        let Some(payload) = failed else { return Ok(None) };
        Ok(fault_of(&payload)?.map(|fault| LateFailure { delivery: row.id, turn: row.turn, fault }))
    }

    /// Bad news of the conversation that no turn was told of: this one is, at each of its tries.
    pub(super) fn bad_news(
        &mut self,
        turn: TurnId,
        conversation: i64,
        try_number: u32,
    ) -> Result<Vec<DeliveredPart>> {
        let fresh = self.execute(
            "UPDATE receipt SET told_turn = ?1 WHERE (channel_id, about, fate) IN
               (SELECT channel_id, about, fate FROM receipt
                WHERE conversation_id = ?2 AND told_turn IS NULL LIMIT ?3)",
            (turn.number, conversation, TOLD_AT_ONCE_MAX),
        )?;
        if fresh == 0 && try_number == 1 {
            return Ok(Vec::new());
        }
        let rows = self.all(
            "SELECT d.id, d.nonce, d.kind, d.part, d.payload, d.platform_id, r.payload
             FROM receipt r CROSS JOIN delivery d ON d.id = r.delivery_id
             WHERE r.told_turn = ?1",
            [turn.number],
            |r| {
                let id: (i64, i64) = (r.get(0)?, r.get(1)?);
                let row: (i64, u32, String) = (r.get(2)?, r.get(3)?, r.get(4)?);
                Ok((id, row, r.get::<_, Option<String>>(5)?, r.get::<_, String>(6)?))
            },
        )?;
        let mut told = Vec::with_capacity(rows.len());
        for ((number, nonce), (kind, part, payload), platform_id, receipt) in rows {
            let reply: Reply = from_json(&payload)?;
            let sent = Receipt { platform_id: platform_id.unwrap_or_default(), extras: Vec::new() };
            let (id, kind) = (delivery_id(number, nonce), delivery_kind(kind)?);
            let failed = fault_of(&receipt)?;
            let part = DeliveredPart::new(id, kind, part, reply.text, &sent);
            told.push(DeliveredPart { failed, ..part });
        }
        told.sort_by_key(|part| part.delivery_id.number);
        // One message may have failed under two names.
        told.dedup_by_key(|part| part.delivery_id);
        Ok(told)
    }
}

fn about_platform_id(id: &str) -> String {
    format!("p{id}")
}

fn fault_of(payload: &str) -> Result<Option<Fault>> {
    let receipt: LateReceipt = from_json(payload)?;
    Ok(match receipt.fate {
        Fate::Failed(fault) => Some(fault),
        Fate::Accepted | Fate::Delivered | Fate::Read => None,
    })
}
