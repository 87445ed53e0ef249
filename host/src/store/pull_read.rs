//! What is read of pull workers.

use super::query::PullLeaseRow;
use super::read::Reader;
use super::step::{Result, turn_id};
use crate::lifecycle::id::{ChannelName, TurnId};

impl Reader<'_> {
    /// The numbers of channels that exist.
    pub(super) fn channel_numbers(&self, names: &[ChannelName]) -> Result<Vec<i64>> {
        let sql = "SELECT id FROM channel WHERE name = ?1";
        let found = names.iter().map(|name| self.one(sql, [&name.0], |r| r.get(0)));
        found.filter_map(Result::transpose).collect()
    }

    pub(super) fn turn_channel(&self, id: TurnId) -> Result<Option<String>> {
        let sql = "SELECT c.name FROM turn t JOIN channel c ON c.id = t.channel_id
                   WHERE t.id = ?1 AND t.nonce = ?2";
        self.one(sql, (id.number, id.nonce.cast_signed()), |r| r.get(0))
    }

    pub(super) fn pull_leases(&self, rows_max: u32) -> Result<Vec<PullLeaseRow>> {
        self.all(
            "SELECT t.id, t.nonce, p.worker, c.name, p.try, p.claimed_at_ms, p.renewed_at_ms,
               p.lease_ms
             FROM turn t JOIN pull p ON p.turn_id = t.id AND p.token = t.claim_token
               JOIN channel c ON c.id = t.channel_id
             WHERE t.state = 1 ORDER BY t.id LIMIT ?1",
            [rows_max],
            |r| {
                Ok(PullLeaseRow {
                    turn_id: turn_id(r.get(0)?, r.get(1)?),
                    worker: r.get(2)?,
                    channel: r.get(3)?,
                    attempt: r.get(4)?,
                    claimed_at_ms: r.get(5)?,
                    renewed_at_ms: r.get(6)?,
                    lease_ms: r.get::<_, i64>(7)?.max(0).unsigned_abs(),
                })
            },
        )
    }
}
