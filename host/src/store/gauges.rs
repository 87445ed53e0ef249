//! What `/metrics` says of each channel and must not cost more where more rows wait: one search of
//! an index per number. How many live rows there are is [`super::depth`]'s.

use super::read::Reader;
use super::step::Result;

/// One channel's numbers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ChannelGauges {
    pub name: String,
    /// Whether the config names it.
    pub present: bool,
    pub paused: bool,
    /// From when it may send again, where the platform asked to wait.
    pub not_before_ms: i64,
    /// Finals and notices of unknown outcome that wait for a person.
    pub held: u64,
    /// Failed and expired turns, dead and expired finals and notices, of which no replay was ordered.
    pub dead_turns: u64,
    pub dead_deliveries: u64,
    pub oldest: Vec<Oldest>,
}

/// Since when the oldest row of a state is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Oldest {
    /// `turns` or `deliveries`.
    pub rows: &'static str,
    pub state: &'static str,
    /// A queued turn's: from when it could run. Every other row's: when it was accepted or made.
    pub since_ms: i64,
}

/// Of each channel: rows, state, and how its oldest is found. Lines are looked at by their heads.
const OLDEST: [(&str, &str, &str); 4] = [
    (
        "turns",
        "queued",
        "SELECT due_ms FROM turn WHERE channel_id = ?1 AND head = 1 ORDER BY due_ms, seq LIMIT 1",
    ),
    (
        "deliveries",
        "queued",
        "SELECT created_at_ms FROM delivery WHERE channel_id = ?1 AND head = 1 AND state = 0
         ORDER BY created_at_ms LIMIT 1",
    ),
    (
        "deliveries",
        "unknown",
        "SELECT created_at_ms FROM delivery WHERE channel_id = ?1 AND state = 2
         ORDER BY created_at_ms LIMIT 1",
    ),
    (
        "deliveries",
        "held",
        "SELECT created_at_ms FROM delivery WHERE channel_id = ?1 AND state = 3
         ORDER BY id LIMIT 1",
    ),
];

/// Of all channels at once: what is at work is bounded by permits.
const AT_WORK: [(&str, &str, &str); 2] = [
    (
        "turns",
        "running",
        "SELECT channel_id, min(accepted_at_ms) FROM turn WHERE state = 1 GROUP BY channel_id",
    ),
    (
        "deliveries",
        "sending",
        "SELECT channel_id, min(created_at_ms) FROM delivery
         WHERE claim_token IS NOT NULL AND state = 1 GROUP BY channel_id",
    ),
];

/// A dead letter that still asks for somebody: no replay of it was ordered, nor was a part of its
/// reply sent anew.
macro_rules! dead_turn {
    () => {
        "(state = 5 OR state = 7)
         AND NOT EXISTS (SELECT 1 FROM turn t WHERE t.replay_of = turn.id)
         AND NOT EXISTS (SELECT 1 FROM delivery r
                         WHERE r.about_turn = turn.id AND r.replay_of IS NOT NULL AND r.kind = 2)"
    };
}

/// The same of a delivery. Progress asks for nobody: only the final decides.
macro_rules! dead_delivery {
    () => {
        "(state = 5 OR state = 7) AND kind >= 2
         AND NOT EXISTS (SELECT 1 FROM delivery r WHERE r.replay_of = delivery.id)
         AND NOT EXISTS (SELECT 1 FROM turn t WHERE t.replay_of = delivery.turn_id)"
    };
}

/// As conditions, for whoever else counts them.
pub(super) const DEAD_TURN: &str = dead_turn!();
pub(super) const DEAD_DELIVERY: &str = dead_delivery!();

/// Of each channel: held rows, dead deliveries, dead turns.
const COUNTS: [&str; 3] = [
    "SELECT count(*) FROM delivery WHERE channel_id = ?1 AND state = 3 AND kind >= 2",
    concat!("SELECT count(*) FROM delivery WHERE channel_id = ?1 AND ", dead_delivery!()),
    concat!("SELECT count(*) FROM turn WHERE channel_id = ?1 AND ", dead_turn!()),
];

impl Reader<'_> {
    pub(super) fn gauges(&self) -> Result<Vec<ChannelGauges>> {
        let channels = self.all(
            "SELECT id, name, present, pause_code IS NOT NULL, not_before_ms FROM channel
             ORDER BY name",
            [],
            |r| {
                let gauges = ChannelGauges {
                    name: r.get(1)?,
                    present: r.get(2)?,
                    paused: r.get(3)?,
                    not_before_ms: r.get(4)?,
                    ..ChannelGauges::default()
                };
                Ok((r.get::<_, i64>(0)?, gauges))
            },
        )?;
        let mut at_work = Vec::new();
        for (rows, state, sql) in AT_WORK {
            let found = self.all(sql, [], |r| {
                let oldest = Oldest { rows, state, since_ms: r.get(1)? };
                Ok((r.get::<_, i64>(0)?, oldest))
            })?;
            at_work.extend(found);
        }
        let mut all = Vec::with_capacity(channels.len());
        for (id, mut gauges) in channels {
            let counts = [&mut gauges.held, &mut gauges.dead_deliveries, &mut gauges.dead_turns];
            for (sql, count) in COUNTS.iter().zip(counts) {
                let found = self.one(sql, [id], |r| r.get::<_, i64>(0))?;
                *count = found.unwrap_or(0).max(0).unsigned_abs();
            }
            for (rows, state, sql) in OLDEST {
                if let Some(since_ms) = self.one(sql, [id], |r| r.get::<_, i64>(0))? {
                    gauges.oldest.push(Oldest { rows, state, since_ms });
                }
            }
            gauges.oldest.extend(at_work.iter().filter(|(of, _)| *of == id).map(|(_, it)| *it));
            all.push(gauges);
        }
        Ok(all)
    }
}

/// Every statement that grows with nothing, for the test of their plans.
#[cfg(test)]
pub(super) fn statements() -> Vec<&'static str> {
    OLDEST.iter().map(|(_, _, sql)| *sql).chain(COUNTS).collect()
}
