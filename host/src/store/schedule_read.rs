//! Reading schedules, and when the next thing that is due later is due.

use rusqlite::Row;

use super::later::ScheduleRow;
use super::query::NextDue;
use super::read::Reader;
use super::schedules::catch_up;
use super::step::{Result, from_json, turn_id};

const SCHEDULE: &str =
    "SELECT s.name, c.name, v.name, s.cron, s.zone, s.catch_up, s.code, s.reason,
    s.next_due_ms, s.last_due_ms, s.last_turn, s.last_nonce, s.made, s.skipped, s.created_at_ms,
    s.payload
  FROM schedule s JOIN channel c ON c.id = s.channel_id
    JOIN conversation v ON v.id = s.conversation_id";

/// A row, with its policy as it is stored and what it says.
type Read = (ScheduleRow, i64, String);

impl Reader<'_> {
    pub(super) fn schedules(&self) -> Result<Vec<ScheduleRow>> {
        let rows = self.all(&format!("{SCHEDULE} ORDER BY s.name"), [], read)?;
        rows.into_iter().map(|row| finish(row, false)).collect()
    }

    pub(super) fn schedule(&self, name: &str, payload: bool) -> Result<Option<ScheduleRow>> {
        let found = self.one(&format!("{SCHEDULE} WHERE s.name = ?1"), [name], read)?;
        found.map(|row| finish(row, payload)).transpose()
    }

    /// The earlier of the first turn that waits out of line and the first schedule. Schedules of
    /// removed channels make nothing.
    pub(super) fn next_fall(&self) -> Result<NextDue> {
        let turn: Option<i64> = self.one(
            "SELECT due_ms FROM turn WHERE seq = 9223372036854775807 AND state = 0
             ORDER BY due_ms, id LIMIT 1",
            [],
            |r| r.get(0),
        )?;
        let schedule: Option<i64> = self.one(
            "SELECT s.next_due_ms FROM schedule s CROSS JOIN channel c ON c.id = s.channel_id
             WHERE s.next_due_ms IS NOT NULL AND c.present = 1
             ORDER BY s.next_due_ms, s.id LIMIT 1",
            [],
            |r| r.get(0),
        )?;
        Ok(turn.into_iter().chain(schedule).min().map_or(NextDue::Nothing, NextDue::At))
    }
}

fn read(r: &Row<'_>) -> rusqlite::Result<Read> {
    let next_due_at_ms: Option<i64> = r.get(8)?;
    let last: (Option<i64>, Option<i64>) = (r.get(10)?, r.get(11)?);
    let row = ScheduleRow {
        name: r.get(0)?,
        channel: r.get(1)?,
        conversation: r.get(2)?,
        cron: r.get(3)?,
        zone: r.get(4)?,
        catch_up: String::new(),
        state: if next_due_at_ms.is_some() { "active" } else { "paused" }.to_owned(),
        code: r.get(6)?,
        reason: r.get(7)?,
        next_due_at_ms,
        last_due_at_ms: r.get(9)?,
        last_turn_id: last.0.zip(last.1).map(|(number, nonce)| turn_id(number, nonce)),
        made: r.get::<_, i64>(12)?.max(0).unsigned_abs(),
        skipped: r.get::<_, i64>(13)?.max(0).unsigned_abs(),
        created_at_ms: r.get(14)?,
        message: None,
    };
    Ok((row, r.get(5)?, r.get(15)?))
}

fn finish((mut row, policy, text): Read, payload: bool) -> Result<ScheduleRow> {
    catch_up(policy)?.word().clone_into(&mut row.catch_up);
    if payload {
        row.message = Some(from_json(&text)?);
    }
    Ok(row)
}
