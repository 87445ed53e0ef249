//! Schedules: what recurs. When an occurrence is due, one transaction makes its turn and works out
//! when the next one is; the turn's key is the schedule and the due time, so that no due time makes
//! two turns, wherever the host is killed and wherever the clock goes.

use super::accept::key;
use super::due::Fallen;
use super::face::{Operated, StoreError};
use super::later::{Change, Due, NewSchedule, ScheduleAct};
use super::new_turn::NewTurn;
use super::step::{Result, Step, from_json, ms, to_json};
use crate::lifecycle::dedup::EventKind;
use crate::lifecycle::id::{ChannelName, TurnId};
use crate::lifecycle::message::InboundMessage;
use crate::lifecycle::recurrence::{CatchUp, Recurrence, RecurrenceRefused};
use crate::lifecycle::turn::Origin;

/// Why a schedule stands still, where the host itself has paused it.
const UNREADABLE: &str = "unreadable";
const PAUSED: &str = "paused";
/// Schedules in one store: far more than anybody looks after.
const SCHEDULES_MAX: i64 = 10_000;

/// A schedule that is due.
struct DueSchedule {
    id: i64,
    name: String,
    channel: i64,
    conversation: i64,
    cron: String,
    zone: String,
    catch_up: CatchUp,
    payload: String,
    due_ms: i64,
}

pub(super) fn catch_up(code: i64) -> Result<CatchUp> {
    usize::try_from(code)
        .ok()
        .and_then(|index| CatchUp::ALL.get(index).copied())
        .ok_or_else(|| StoreError::Corrupt(format!("{code} is no policy of a schedule")))
}

fn catch_up_code(policy: CatchUp) -> i64 {
    match policy {
        CatchUp::All => 0,
        CatchUp::Latest => 1,
        CatchUp::Skip => 2,
    }
}

fn invalid(refused: &RecurrenceRefused) -> StoreError {
    StoreError::Invalid(refused.to_string())
}

impl Step<'_> {
    pub(super) fn schedule(&mut self, act: ScheduleAct) -> Result<Operated> {
        match act {
            ScheduleAct::Add(new) => self.add_schedule(*new),
            ScheduleAct::Change { name, change } => self.change_schedule(&name, *change),
            ScheduleAct::Pause { name } => self.pause_schedule(&name, PAUSED, "paused by hand"),
            ScheduleAct::Resume { name } => self.resume_schedule(&name),
            ScheduleAct::Cancel { name } => {
                match self.execute("DELETE FROM schedule WHERE name = ?1", [&name])? {
                    0 => Ok(no_such(&name)),
                    _ => Ok(done(name)),
                }
            }
        }
    }

    fn first_due(&self, cron: &str, zone: &str) -> Result<i64> {
        let recurrence = Recurrence::parse(cron, zone).map_err(|e| invalid(&e))?;
        recurrence
            .next_after(self.now.wall_ms)
            .ok_or_else(|| invalid(&RecurrenceRefused::Never(cron.to_owned())))
    }

    fn add_schedule(&mut self, new: NewSchedule) -> Result<Operated> {
        let NewSchedule { name, channel, cron, zone, catch_up, message } = new;
        let next_ms = self.first_due(&cron, &zone)?;
        if self.exists("SELECT 1 FROM schedule WHERE name = ?1", [&name])? {
            let sentence = format!(
                "there is a schedule \"{name}\" already: change it, or give this one another name"
            );
            return Ok(Operated::Refused { sentence });
        }
        let sql = "SELECT 1 FROM schedule ORDER BY id LIMIT 1 OFFSET ?1";
        if self.exists(sql, [SCHEDULES_MAX - 1])? {
            let sentence = format!("there are {SCHEDULES_MAX} schedules, which is the limit");
            return Ok(Operated::Refused { sentence });
        }
        let channel = self.channel_id(&channel)?;
        let (conversation, _, _) = self.conversation(channel, &message.conversation)?;
        self.execute(
            "INSERT INTO schedule (name, channel_id, conversation_id, cron, zone, catch_up,
               payload, next_due_ms, next_set_ms, created_at_ms)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?9)",
            rusqlite::params![
                name,
                channel,
                conversation,
                cron,
                zone,
                catch_up_code(catch_up),
                to_json(&message)?,
                next_ms,
                self.now.wall_ms
            ],
        )?;
        Ok(done(name))
    }

    /// What is not given stays as it is; the occurrence that comes next is the first one changed.
    fn change_schedule(&mut self, name: &str, change: Change) -> Result<Operated> {
        let row = self.one(
            "SELECT cron, zone, catch_up, payload, next_due_ms FROM schedule WHERE name = ?1",
            [name],
            |r| {
                let words: (String, String) = (r.get(0)?, r.get(1)?);
                let rest: (i64, String, Option<i64>) = (r.get(2)?, r.get(3)?, r.get(4)?);
                Ok((words, rest))
            },
        )?;
        let Some(((old_cron, old_zone), (policy, payload, next_ms))) = row else {
            return Ok(no_such(name));
        };
        let Change { cron, zone, catch_up: new_policy, text, sender } = change;
        let moved = cron.is_some() || zone.is_some();
        let (cron, zone) = (cron.unwrap_or(old_cron), zone.unwrap_or(old_zone));
        let mut message: InboundMessage = from_json(&payload)?;
        if let Some(text) = text {
            message.text = text;
        }
        if let Some(sender) = sender {
            message.sender = sender;
        }
        let next_ms = match (moved, next_ms) {
            (false, next_ms) => next_ms,
            (true, waits) => Some(self.first_due(&cron, &zone)?).filter(|_| waits.is_some()),
        };
        let policy = new_policy.map_or(policy, catch_up_code);
        self.execute(
            "UPDATE schedule SET cron = ?2, zone = ?3, catch_up = ?4, payload = ?5,
               next_due_ms = ?6, next_set_ms = ?7 WHERE name = ?1",
            (name, cron, zone, policy, to_json(&message)?, next_ms, self.now.wall_ms),
        )?;
        Ok(done(name.to_owned()))
    }

    fn pause_schedule(&mut self, name: &str, code: &str, reason: &str) -> Result<Operated> {
        let changed = self.execute(
            "UPDATE schedule SET next_due_ms = NULL, code = ?2, reason = ?3
             WHERE name = ?1 AND next_due_ms IS NOT NULL",
            (name, code, reason),
        )?;
        if changed == 1 {
            return Ok(done(name.to_owned()));
        }
        self.still(name, "is paused already")
    }

    /// From now on: what was missed while it stood still is not made.
    fn resume_schedule(&mut self, name: &str) -> Result<Operated> {
        let row = self.one(
            "SELECT cron, zone FROM schedule WHERE name = ?1 AND next_due_ms IS NULL",
            [name],
            |r| Ok((r.get::<_, String>(0)?, r.get::<_, String>(1)?)),
        )?;
        let Some((cron, zone)) = row else { return self.still(name, "is not paused") };
        let next_ms = self.first_due(&cron, &zone)?;
        self.execute(
            "UPDATE schedule SET next_due_ms = ?2, next_set_ms = ?3, code = NULL, reason = NULL
             WHERE name = ?1",
            (name, next_ms, self.now.wall_ms),
        )?;
        Ok(done(name.to_owned()))
    }

    fn still(&self, name: &str, how: &str) -> Result<Operated> {
        let there = self.exists("SELECT 1 FROM schedule WHERE name = ?1", [name])?;
        let sentence = format!("schedule \"{name}\" {how}");
        Ok(if there { Operated::Nothing { sentence } } else { no_such(name) })
    }

    /// Makes what is due of at most so many schedules. Those of removed channels wait for their
    /// return, and then catch up as their policy says.
    pub(super) fn make_occurrences(&mut self, rows_max: u32) -> Result<Fallen> {
        let rows = self.all(
            "SELECT s.id, s.name, s.channel_id, s.conversation_id, s.cron, s.zone, s.catch_up,
               s.payload, s.next_due_ms
             FROM schedule s CROSS JOIN channel c ON c.id = s.channel_id
             WHERE s.next_due_ms IS NOT NULL AND s.next_due_ms <= ?1 AND c.present = 1
             ORDER BY s.next_due_ms, s.id LIMIT ?2",
            (self.now.wall_ms, rows_max),
            |r| {
                let policy: i64 = r.get(6)?;
                let row = DueSchedule {
                    id: r.get(0)?,
                    name: r.get(1)?,
                    channel: r.get(2)?,
                    conversation: r.get(3)?,
                    cron: r.get(4)?,
                    zone: r.get(5)?,
                    catch_up: CatchUp::default(),
                    payload: r.get(7)?,
                    due_ms: r.get(8)?,
                };
                Ok((row, policy))
            },
        )?;
        let mut fallen = Fallen { rows: rows.len(), ..Fallen::default() };
        for (mut row, policy) in rows {
            row.catch_up = catch_up(policy)?;
            match self.make_due(&row) {
                Ok(made) => fallen.turns += made,
                // No room for more turns: those that are made stay, this one waits.
                Err(StoreError::Full { .. }) if fallen.turns > 0 => break,
                Err(error) => return Err(error),
            }
        }
        Ok(fallen)
    }

    fn make_due(&mut self, row: &DueSchedule) -> Result<u64> {
        let recurrence = match Recurrence::parse(&row.cron, &row.zone) {
            Ok(recurrence) => recurrence,
            // The zone is not known to this system any more: the others go on.
            Err(refused) => {
                self.pause_schedule(&row.name, UNREADABLE, &refused.to_string())?;
                return Ok(0);
            }
        };
        let message: InboundMessage = match from_json(&row.payload) {
            Ok(message) => message,
            Err(error) => {
                self.pause_schedule(&row.name, UNREADABLE, &error.to_string())?;
                return Ok(0);
            }
        };
        let now_ms = self.now.wall_ms;
        let due = recurrence.due(row.due_ms, now_ms, row.catch_up);
        let room = self.rules.pending_turns_max.saturating_sub(self.pending());
        if (due.make.len() as u64) > room {
            return Err(StoreError::Full { pending: self.pending() });
        }
        let mut last = None;
        let mut made = 0;
        for at_ms in due.make {
            if let Some(turn) = self.make_occurrence(row, &message, at_ms)? {
                made += 1;
                last = Some((at_ms, turn));
            }
        }
        let last_turn = last.map(|(_, turn)| turn);
        self.execute(
            "UPDATE schedule SET next_due_ms = ?2, next_set_ms = ?3, made = made + ?4,
               skipped = skipped + ?5, last_due_ms = coalesce(?6, last_due_ms),
               last_turn = coalesce(?7, last_turn), last_nonce = coalesce(?8, last_nonce)
             WHERE id = ?1",
            rusqlite::params![
                row.id,
                due.next_ms,
                now_ms,
                ms(made),
                ms(due.skipped),
                last.map(|(at_ms, _)| at_ms),
                last_turn.map(|turn| turn.number),
                last_turn.map(|turn| turn.nonce.cast_signed())
            ],
        )?;
        if due.next_ms.is_none() {
            let sql = "UPDATE schedule SET code = 'over', reason = ?2 WHERE id = ?1";
            self.execute(sql, (row.id, "it does not come again within four years"))?;
        }
        Ok(made)
    }

    fn pending(&self) -> u64 {
        self.tally.pending_turns.unsigned_abs()
    }

    /// The turn of one due time, unless it was made before.
    fn make_occurrence(
        &mut self,
        row: &DueSchedule,
        message: &InboundMessage,
        at_ms: i64,
    ) -> Result<Option<TurnId>> {
        // By its name: one that is removed and made anew stays the one that it was, also where the
        // clock comes to the same time once more.
        let external_id = format!("{}/{}/{at_ms}", row.channel, row.name);
        let whose = ChannelName(String::new());
        let key = key(&whose, "schedule", &external_id, EventKind::Schedule)?;
        if !self.known(&key)?.is_empty() {
            return Ok(None);
        }
        let (conversation, name) = (row.conversation, self.conversation_name(row.conversation)?);
        let (_, context, _) = self.conversation(row.channel, &name)?;
        let mut message = message.clone();
        message.external_id = format!("{}/{at_ms}", row.name);
        message.conversation = name;
        message.context = context;
        message.extras = vec![
            ("schedule".to_owned(), row.name.clone()),
            ("due_at_ms".to_owned(), at_ms.to_string()),
        ];
        let (turn, _) = self.insert_new_turn(&NewTurn {
            key: Some(&key),
            due: Due::Now,
            origin: Origin::Scheduled,
            ..NewTurn::new(row.channel, conversation, &message)
        })?;
        self.belongs(&key, &super::accept::NO_CONTENT, turn)?;
        Ok(Some(turn))
    }

    /// The clock went back: what comes next is worked out anew, from the time that it shows now. The
    /// keys of the occurrences that were made see to it that none is made twice.
    pub(super) fn replan_schedules(&mut self, rows_max: u32) -> Result<usize> {
        self.plan_anew(
            "SELECT name, cron, zone FROM schedule
             WHERE next_due_ms IS NOT NULL AND next_set_ms > ?1 LIMIT ?2",
            rows_max,
        )
    }

    /// Occurrences that are due are left out: the next one is the next to come.
    pub(super) fn skip_past_schedules(&mut self, rows_max: u32) -> Result<usize> {
        self.plan_anew(
            "SELECT name, cron, zone FROM schedule
             WHERE next_due_ms IS NOT NULL AND next_due_ms <= ?1 LIMIT ?2",
            rows_max,
        )
    }

    /// Works out what comes next after now for the schedules that `which` names.
    fn plan_anew(&mut self, which: &'static str, rows_max: u32) -> Result<usize> {
        let now_ms = self.now.wall_ms;
        let rows = self.all(which, (now_ms, rows_max), |r| {
            Ok((r.get::<_, String>(0)?, r.get::<_, String>(1)?, r.get::<_, String>(2)?))
        })?;
        for (name, cron, zone) in &rows {
            let next_ms = match Recurrence::parse(cron, zone) {
                Ok(recurrence) => recurrence.next_after(now_ms),
                Err(refused) => {
                    self.pause_schedule(name, UNREADABLE, &refused.to_string())?;
                    continue;
                }
            };
            let sql = "UPDATE schedule SET next_due_ms = ?2, next_set_ms = ?3 WHERE name = ?1";
            self.execute(sql, (name, next_ms, now_ms))?;
        }
        Ok(rows.len())
    }
}

fn done(name: String) -> Operated {
    Operated::Done { ids: vec![name] }
}

fn no_such(name: &str) -> Operated {
    let sentence =
        format!("there is no schedule \"{name}\"; `lastword schedules list` shows those that are");
    Operated::Nothing { sentence }
}
