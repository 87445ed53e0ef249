//! What guests remember between calls.

use super::step::{Result, Step, ms};
use crate::lifecycle::outcome::StateWrites;

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
}
