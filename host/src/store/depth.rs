//! How many live rows each channel has in each state, without looking at them: the table is counted
//! once, at one known batch, and from there the notes of the commits move the numbers. Reading it
//! costs the same with ten rows and with ten million.

use std::collections::BTreeMap;

use rusqlite::Connection;

use super::notes::{Happened, Note};
use super::step::{Result, failed};
use crate::lifecycle::delivery::DeliveryState;
use crate::lifecycle::id::ChannelName;
use crate::lifecycle::turn::TurnState;

/// What is counted: which rows, and in which state, as metrics and people name them.
pub const LIVE: [(&str, &str); 6] = [
    ("turns", "queued"),
    ("turns", "running"),
    ("turns", "delivering"),
    ("deliveries", "queued"),
    ("deliveries", "sending"),
    ("deliveries", "unknown"),
];

/// Rows by channel, in the order of [`LIVE`].
pub type Depths = BTreeMap<ChannelName, [u64; LIVE.len()]>;

type Moves = BTreeMap<ChannelName, [i64; LIVE.len()]>;

fn turn_place(state: TurnState) -> Option<usize> {
    match state {
        TurnState::Queued => Some(0),
        TurnState::Running => Some(1),
        TurnState::Delivering => Some(2),
        TurnState::Delivered
        | TurnState::Silent
        | TurnState::Failed
        | TurnState::Aborted
        | TurnState::Expired => None,
    }
}

fn delivery_place(state: DeliveryState) -> Option<usize> {
    match state {
        DeliveryState::Queued => Some(3),
        DeliveryState::Sending => Some(4),
        DeliveryState::UnknownOpen => Some(5),
        DeliveryState::UnknownHeld
        | DeliveryState::Delivered
        | DeliveryState::Dead
        | DeliveryState::Cancelled
        | DeliveryState::Expired => None,
    }
}

/// What has moved since the store was opened, and what was there before.
#[derive(Debug, Default)]
pub(super) struct Depth {
    /// The last batch whose notes are in `moved`.
    batch: i64,
    moved: Moves,
    /// As it was before anything moved; none until it is counted.
    before: Option<Moves>,
    /// How often it began anew: a count that was under way then is worth nothing.
    era: u64,
}

impl Depth {
    /// The batch after which the store was opened.
    pub(super) fn begin(&mut self, batch: i64) {
        self.batch = batch;
    }

    /// The moves of a batch are not known: it is counted anew.
    pub(super) fn forget(&mut self, batch: i64) {
        *self = Self { batch, era: self.era + 1, ..Self::default() };
    }

    /// Takes a committed batch in.
    pub(super) fn take(&mut self, batch: i64, notes: &[Note]) {
        self.batch = batch;
        for note in notes {
            let (from, to) = match &note.what {
                Happened::Turn { from, to, .. } => (from.and_then(turn_place), turn_place(*to)),
                Happened::Delivery { from, to, .. } => {
                    (from.and_then(delivery_place), delivery_place(*to))
                }
                Happened::Purged { from, .. } => (delivery_place(*from), None),
                Happened::Attempt { .. } | Happened::Channel { .. } => continue,
            };
            if from.is_none() && to.is_none() {
                continue;
            }
            if !self.moved.contains_key(&note.channel) {
                self.moved.insert(note.channel.clone(), [0; LIVE.len()]);
            }
            let Some(counts) = self.moved.get_mut(&note.channel) else { continue };
            for (place, by) in [(from, -1), (to, 1)] {
                if let Some(count) = place.and_then(|place| counts.get_mut(place)) {
                    *count += by;
                }
            }
        }
    }

    /// The numbers now, where the table was counted.
    pub(super) fn now(&self) -> Option<Depths> {
        let mut sum = self.before.clone()?;
        for (channel, counts) in &self.moved {
            let sum = sum.entry(channel.clone()).or_default();
            for (sum, count) in sum.iter_mut().zip(counts) {
                *sum += count;
            }
        }
        Some(plain(sum))
    }

    /// What had moved until `batch`, if that is the last batch taken in.
    fn moved_until(&self, batch: i64) -> Option<(Moves, u64)> {
        (self.batch == batch).then(|| (self.moved.clone(), self.era))
    }

    fn counted(&mut self, counted: Moves, moved: Moves, era: u64) {
        if self.era != era {
            return;
        }
        let mut before = counted;
        for (channel, counts) in moved {
            let before = before.entry(channel).or_default();
            for (before, count) in before.iter_mut().zip(counts) {
                *before -= count;
            }
        }
        self.before = Some(before);
    }
}

fn plain(counts: Moves) -> Depths {
    let plain = |counts: [i64; LIVE.len()]| counts.map(|count| count.max(0).unsigned_abs());
    counts.into_iter().map(|(channel, counts)| (channel, plain(counts))).collect()
}

/// Times that a reader looks for a moment between two commits.
const LOOKS_MAX: u32 = 1_000;

/// Counts the table once, on a connection of its own, at a batch whose notes were taken in. The
/// numbers are locked for moments only; commits go on meanwhile.
pub(super) fn count(db: &Connection, depth: &std::sync::Mutex<Depth>) -> Result<Option<Depths>> {
    for _ in 0..LOOKS_MAX {
        db.execute_batch("BEGIN").map_err(failed)?;
        let found = at_one_batch(db, depth);
        // It only read.
        db.execute_batch("ROLLBACK").map_err(failed)?;
        if let Some((counted, (moved, era))) = found? {
            let mut depth = super::handle::lock(depth);
            depth.counted(counted, moved, era);
            if let Some(depths) = depth.now() {
                return Ok(Some(depths));
            }
        }
        std::thread::yield_now();
    }
    Ok(None)
}

fn at_one_batch(
    db: &Connection,
    depth: &std::sync::Mutex<Depth>,
) -> Result<Option<(Moves, (Moves, u64))>> {
    let sql = "SELECT value FROM meta WHERE name = 'batch'";
    let batch: i64 = db.query_row(sql, [], |r| r.get(0)).map_err(failed)?;
    // Read before the numbers: a commit after this is neither in the table seen nor in them.
    let Some(moved) = super::handle::lock(depth).moved_until(batch) else { return Ok(None) };
    Ok(Some((table(db)?, moved)))
}

/// Every live row, counted where it stands.
fn table(db: &Connection) -> Result<Moves> {
    let mut counted = Moves::new();
    for (first, rows) in [(0, "turn"), (3, "delivery")] {
        let sql = format!(
            "SELECT c.name, r.state, r.n FROM channel c JOIN
               (SELECT channel_id, state, count(*) AS n FROM {rows} WHERE state < 3
                GROUP BY channel_id, state) r ON r.channel_id = c.id"
        );
        let mut statement = db.prepare(&sql).map_err(failed)?;
        let rows = statement
            .query_map([], |r| {
                Ok((ChannelName(r.get(0)?), r.get::<_, u32>(1)?, r.get::<_, i64>(2)?))
            })
            .map_err(failed)?;
        for row in rows {
            let (channel, state, count) = row.map_err(failed)?;
            if let Some(place) = counted.entry(channel).or_default().get_mut(first + state as usize)
            {
                *place = count;
            }
        }
    }
    Ok(counted)
}

/// The same as plain numbers, where nobody commits meanwhile.
pub(super) fn table_now(db: &Connection) -> Result<Depths> {
    table(db).map(plain)
}
