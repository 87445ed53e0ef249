//! Turns that are due later. Until its time comes such a turn stands out of line: it is queued, is
//! no head, and has no sequence number yet ([`OUT_OF_LINE`]), so that it blocks nobody and no age
//! reaches it. When it falls due it takes the next number, and its age counts from its due time.

use super::face::StoreError;
use super::later::{Due, Fell};
use super::step::{NEVER_MS, Result, Step, ms};

/// The sequence number of a turn that has none yet. Statements write it out, as the condition of
/// the index over waiting turns does.
pub(super) const OUT_OF_LINE: i64 = 9_223_372_036_854_775_807;

/// Where a turn's row begins: sequence number, due time, and the time at which that was set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Begins {
    pub(super) seq: i64,
    pub(super) due_ms: i64,
    pub(super) set_ms: i64,
}

impl Begins {
    /// `number` is the turn's own, which is its place in line where it takes one at once.
    pub(super) fn new(due: Due, number: i64, now_ms: i64) -> Self {
        let in_line = Self { seq: number, due_ms: now_ms, set_ms: now_ms };
        match due {
            Due::Now => in_line,
            Due::At(at_ms) if at_ms <= now_ms => in_line,
            // Set at no time: a clock that goes back does not bring it forward.
            Due::At(at_ms) => Self { seq: OUT_OF_LINE, due_ms: at_ms.min(NEVER_MS - 1), set_ms: 0 },
            Due::In(wait_ms) => {
                let due_ms = now_ms.saturating_add(ms(wait_ms)).min(NEVER_MS - 1);
                Self { seq: OUT_OF_LINE, due_ms, set_ms: now_ms }
            }
        }
    }

    pub(super) fn waits(self) -> bool {
        self.seq == OUT_OF_LINE
    }
}

/// Schedules that were due, and the turns that they made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Fallen {
    pub(super) rows: usize,
    pub(super) turns: u64,
}

impl Step<'_> {
    /// Puts the turns whose time has come into their lines, in the order in which they were due.
    pub(super) fn fall_due(&mut self, rows_max: u32) -> Result<Fell> {
        let now_ms = self.now.wall_ms;
        let due = self.all(
            "SELECT id, conversation_id FROM turn
             WHERE seq = 9223372036854775807 AND state = 0 AND due_ms <= ?1
             ORDER BY due_ms, id LIMIT ?2",
            (now_ms, rows_max),
            |r| Ok((r.get::<_, i64>(0)?, r.get::<_, i64>(1)?)),
        )?;
        for (number, conversation) in &due {
            let head = !self.turn_line_taken(*conversation)?;
            let seq = self.next_number();
            self.execute(
                "UPDATE turn SET seq = ?2, head = ?3, due_set_ms = ?4 WHERE id = ?1",
                (number, seq, head, now_ms),
            )?;
        }
        if !due.is_empty() {
            self.keep_number_floor()?;
        }
        let made = match self.make_occurrences(rows_max) {
            Ok(made) => made,
            // No room for new turns: those that are there fall due all the same.
            Err(StoreError::Full { .. }) if !due.is_empty() => Fallen::default(),
            Err(error) => return Err(error),
        };
        let more = due.len().max(made.rows) == rows_max as usize;
        Ok(Fell { turns: due.len() as u64 + made.turns, more })
    }

    /// A number that stands in no row's id must not be given again after a restart.
    pub(super) fn keep_number_floor(&self) -> Result<()> {
        let sql = "UPDATE meta SET value = max(value, ?1) WHERE name = 'number_floor'";
        self.execute(sql, [self.tally.last_number]).map(|_| ())
    }
}
