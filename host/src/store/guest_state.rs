//! What guests remember between calls, and what platforms tell late.

use super::step::{Result, Step, ms, to_json};
use crate::lifecycle::id::DeliveryId;
use crate::lifecycle::message::{Fate, LateReceipt, SentMessage};
use crate::lifecycle::outcome::{Receipt, StateWrites};

impl Step<'_> {
    /// Commits a call's writes. Over the quota they are dropped, all of them, and `true` comes
    /// back: the outcome that they came with is never lost for it.
    pub(super) fn write_state(&mut self, channel: i64, state: &StateWrites) -> Result<bool> {
        if state.writes.is_empty() {
            return Ok(false);
        }
        let usage = self.one(
            "SELECT keys, bytes FROM state_usage WHERE channel_id = ?1",
            [channel],
            |r| Ok((r.get::<_, i64>(0)?, r.get::<_, i64>(1)?)),
        )?;
        let (mut keys, mut bytes) = usage.unwrap_or((0, 0));
        for (key, value) in &state.writes {
            let old: Option<i64> = self.one(
                "SELECT length(CAST(key AS BLOB)) + length(value) FROM state
                 WHERE channel_id = ?1 AND key = ?2",
                (channel, key),
                |r| r.get(0),
            )?;
            keys -= i64::from(old.is_some());
            bytes -= old.unwrap_or(0);
            if let Some(value) = value {
                keys += 1;
                bytes += ms((key.len() + value.len()) as u64);
            }
        }
        if keys > ms(self.rules.state_keys_max) || bytes > ms(self.rules.state_bytes_max) {
            return Ok(true);
        }
        for (key, value) in &state.writes {
            match value {
                Some(value) => self.execute(
                    "INSERT INTO state (channel_id, key, value) VALUES (?1, ?2, ?3)
                     ON CONFLICT (channel_id, key) DO UPDATE SET value = ?3",
                    (channel, key, value),
                )?,
                None => self.execute(
                    "DELETE FROM state WHERE channel_id = ?1 AND key = ?2",
                    (channel, key),
                )?,
            };
        }
        self.execute(
            "INSERT INTO state_usage (channel_id, keys, bytes) VALUES (?1, ?2, ?3)
             ON CONFLICT (channel_id) DO UPDATE SET keys = ?2, bytes = ?3",
            (channel, keys, bytes),
        )?;
        Ok(false)
    }

    /// Stores what the platform says later, once, and settles an unknown row by it.
    pub(super) fn accept_receipt(&mut self, channel: i64, receipt: &LateReceipt) -> Result<()> {
        let (about, named, platform_id) = match &receipt.about {
            SentMessage::PlatformId(id) => (format!("p{id}"), None, Some(id.clone())),
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
        let fate = match &receipt.fate {
            Fate::Accepted => "accepted",
            Fate::Delivered => "delivered",
            Fate::Read => "read",
            Fate::Failed(_) => "failed",
        };
        self.execute(
            "INSERT INTO receipt (channel_id, about, fate, delivery_id, platform_id, payload, at_ms)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT DO NOTHING",
            (
                channel,
                &about,
                fate,
                row.as_ref().map(|row| row.id.number),
                &platform_id,
                to_json(receipt)?,
                self.now.wall_ms,
            ),
        )?;
        let proves = match &receipt.fate {
            Fate::Accepted | Fate::Delivered | Fate::Read => true,
            Fate::Failed(_) => false,
        };
        if let Some(row) = row.filter(|_| proves) {
            let platform_id = platform_id.unwrap_or_default();
            self.found_late(&row, &Receipt { platform_id, extras: Vec::new() })?;
        }
        Ok(())
    }

    fn row_of_platform_id(
        &self,
        channel: i64,
        platform_id: Option<&str>,
    ) -> Result<Option<super::line::RowFacts>> {
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
}
