//! The pace of a channel and of its conversations, written with each claim of a send: it costs no
//! commit of its own and is there after a restart. A claim looks whether there is a token where it
//! looks whether the channel is open.

use super::line::RowFacts;
use super::step::{Result, Step, ms};
use crate::lifecycle::bucket::{Bucket, Rate};

impl Step<'_> {
    /// Takes the channel's token, and the conversation's place in time.
    pub(super) fn take_token(&mut self, row: &RowFacts) -> Result<()> {
        let Some(rules) = self.channels.by_id.get(&row.channel) else { return Ok(()) };
        let pace = rules.pace;
        if let Some(rate) = pace.rate {
            let bucket = self.bucket(row.channel)?.take(rate, self.now.wall_ms);
            self.write_bucket(row.channel, bucket, rate)?;
        }
        if pace.conversation_interval_ms > 0 {
            let now_ms = self.now.wall_ms;
            self.execute(
                "UPDATE conversation SET not_before_set_ms = ?3, not_before_ms =
                   CASE WHEN not_before_set_ms > ?3 THEN ?2 ELSE max(not_before_ms, ?2) END
                 WHERE id = ?1",
                (
                    row.conversation,
                    now_ms.saturating_add(ms(pace.conversation_interval_ms)),
                    now_ms,
                ),
            )?;
        }
        Ok(())
    }

    /// The call did not begin: its token is there for the next one.
    pub(super) fn give_token_back(&mut self, channel: i64) -> Result<()> {
        let rules = self.channels.by_id.get(&channel);
        let Some(rate) = rules.and_then(|rules| rules.pace.rate) else { return Ok(()) };
        let bucket = self.bucket(channel)?.give_back(rate, self.now.wall_ms);
        self.write_bucket(channel, bucket, rate)
    }

    fn bucket(&self, channel: i64) -> Result<Bucket> {
        let sql = "SELECT bucket_full_us, bucket_set_ms FROM channel WHERE id = ?1";
        let found =
            self.one(sql, [channel], |r| Ok(Bucket { full_us: r.get(0)?, set_ms: r.get(1)? }))?;
        Ok(found.unwrap_or_default())
    }

    fn write_bucket(&self, channel: i64, bucket: Bucket, rate: Rate) -> Result<()> {
        self.execute(
            "UPDATE channel SET bucket_full_us = ?2, bucket_set_ms = ?3, bucket_ready_ms = ?4
             WHERE id = ?1",
            (channel, bucket.full_us, bucket.set_ms, bucket.ready_ms(rate)),
        )
        .map(|_| ())
    }
}
