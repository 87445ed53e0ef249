//! What was under way when a backup was taken: its end is not known to the backup. Rows that were to
//! be sent are held, turns that were to run are ended, and both can be sent or run again by order.

use super::step::{Result, Step, turn_id};
use crate::lifecycle::delivery::{DeliveryEvent, DeliveryState};
use crate::lifecycle::turn::{TurnEvent, TurnState};

/// The code of all of them.
const RESTORED: &str = "restored";
const ROW_WORDS: &str = "it was under way when the backup was taken: it may have arrived";
const TURN_WORDS: &str =
    "it was under way when the backup was taken: it may be answered; a replay runs it again";

impl Step<'_> {
    /// Holds up to so many; 0 where nothing is under way any more.
    pub(super) fn hold_under_way(&mut self, rows_max: u32) -> Result<u64> {
        let rows: Vec<i64> = self.all(
            "SELECT id FROM delivery WHERE state < 3 ORDER BY id LIMIT ?1",
            [rows_max],
            |r| r.get(0),
        )?;
        let mut held = 0;
        for number in rows {
            held += u64::from(self.hold_delivery(number)?);
        }
        if held > 0 {
            return Ok(held);
        }
        // What is due at a time to come was not begun by anybody.
        let turns = self.all(
            "SELECT id, nonce FROM turn
             WHERE state < 2 AND NOT (seq = 9223372036854775807 AND due_ms > ?1)
             ORDER BY id LIMIT ?2",
            (self.now.wall_ms, rows_max),
            |r| Ok(turn_id(r.get(0)?, r.get(1)?)),
        )?;
        for turn in turns {
            let Some(facts) = self.turn_facts(turn)? else { continue };
            let event = match facts.state {
                TurnState::Queued => TurnEvent::TooOld { has_run: facts.try_number > 0 },
                TurnState::Running => TurnEvent::TriesSpent,
                TurnState::Delivering
                | TurnState::Delivered
                | TurnState::Silent
                | TurnState::Failed
                | TurnState::Aborted
                | TurnState::Expired => continue,
            };
            self.end_turn(&facts, event, Some(RESTORED), Some(TURN_WORDS), None)?;
            held += 1;
        }
        if held > 0 {
            return Ok(held);
        }
        // What fell due since the backup was taken may have been made by the host that went on.
        self.skip_past_schedules(rows_max).map(|skipped| skipped as u64)
    }

    fn hold_delivery(&mut self, number: i64) -> Result<bool> {
        let Some(mut row) = self.row(number)? else { return Ok(false) };
        let event = match row.state {
            DeliveryState::Queued | DeliveryState::Sending => DeliveryEvent::GivenUp,
            DeliveryState::UnknownOpen => DeliveryEvent::Hold,
            // Another row of this batch took it along: a part behind a held one.
            DeliveryState::UnknownHeld
            | DeliveryState::Delivered
            | DeliveryState::Dead
            | DeliveryState::Cancelled
            | DeliveryState::Expired => return Ok(false),
        };
        self.execute("UPDATE delivery SET maybe_sent = 1 WHERE id = ?1", [number])?;
        row.maybe_sent = true;
        self.rest_row(&row, event, Some(RESTORED), Some(ROW_WORDS))?;
        Ok(true)
    }
}
