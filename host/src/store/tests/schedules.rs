//! Schedules on a real store: one turn per due time, whatever happens in between.

use std::time::Duration;

use super::rig::{Rig, message};
use crate::lifecycle::recurrence::CatchUp;
use crate::store::*;

const HOUR_MS: i64 = 3_600_000;

impl Rig {
    pub(super) fn act(&mut self, act: ScheduleAct) -> Operated {
        match self.run(Command::Schedule(act)) {
            Answer::Operated { operated, .. } => operated,
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn recur(&mut self, name: &str, room: &str, cron: &str, catch_up: CatchUp) {
        let new = NewSchedule {
            name: name.to_owned(),
            channel: "hook".into(),
            cron: cron.to_owned(),
            zone: "UTC".to_owned(),
            catch_up,
            message: message(room, "", "stand up"),
        };
        let added = self.act(ScheduleAct::Add(Box::new(new)));
        assert_eq!(added, Operated::Done { ids: vec![name.to_owned()] });
    }

    fn schedule(&self, name: &str) -> ScheduleRow {
        let query = Query::Schedule { name: name.to_owned(), payload: false };
        match self.read().read(&query).unwrap() {
            Rows::Schedule(Some(row)) => *row,
            other => panic!("{other:?}"),
        }
    }

    /// The due times of the turns that schedules made, oldest first.
    fn made(&self) -> Vec<String> {
        let Rows::Turns(rows) = self.read().read(&Query::Turns(ListFilter::default())).unwrap()
        else {
            panic!()
        };
        rows.into_iter().filter_map(|row| row.external_id).collect()
    }

    /// To the next full hour, and so far beyond.
    fn pass_to_hour(&mut self, beyond_ms: i64) -> i64 {
        let hour_ms = (self.now.wall_ms / HOUR_MS + 1) * HOUR_MS;
        let wait_ms = hour_ms + beyond_ms - self.now.wall_ms;
        self.pass(Duration::from_millis(wait_ms.unsigned_abs()));
        hour_ms
    }
}

// Case: H2
#[test]
fn each_due_time_makes_one_turn_and_the_next_one_in_one_step_killed_before_and_after() {
    let mut rig = Rig::new();
    rig.recur("standup", "room", "0 * * * *", CatchUp::Latest);
    let mut due = Vec::new();
    for _ in 0..3 {
        let at_ms = rig.pass_to_hour(-1);
        assert_eq!(rig.fall(), 0, "not a millisecond before");
        rig.crash();
        rig.pass(Duration::from_millis(1));
        assert_eq!(rig.fall(), 1);
        rig.crash();
        assert_eq!(rig.fall(), 0, "once");
        due.push(format!("standup/{at_ms}"));
        assert_eq!(rig.schedule("standup").next_due_at_ms, Some(at_ms + HOUR_MS));
        let claimed = rig.claim_turn().unwrap();
        assert_eq!(claimed.message.text, "stand up");
        assert_eq!(claimed.message.extras[1], ("due_at_ms".to_owned(), at_ms.to_string()));
        let claim = claimed.claim;
        rig.run(Command::Silence { claim, claim_next_turn: None });
    }
    assert_eq!(rig.made(), due);
}

// Case: H2
#[test]
fn where_the_commit_fails_neither_the_turn_nor_the_next_due_time_is_there() {
    let mut rig = Rig::new();
    rig.recur("standup", "room", "0 * * * *", CatchUp::Latest);
    let at_ms = rig.pass_to_hour(0);
    let db = rig.core.connection_to_break();
    db.commit_hook(Some(|| true)).unwrap();
    assert!(rig.try_run(Command::FallDue { rows_max: 10 }).is_err());
    rig.crash();
    assert_eq!((rig.made().len(), rig.schedule("standup").next_due_at_ms), (0, Some(at_ms)));
    assert_eq!(rig.fall(), 1);
    assert_eq!(rig.made(), [format!("standup/{at_ms}")]);
}

// Case: H3
#[test]
fn an_occurrence_that_failed_for_good_does_not_end_the_series() {
    let mut rig = Rig::new();
    rig.recur("standup", "room", "0 * * * *", CatchUp::Latest);
    for round in 1..=2 {
        rig.pass_to_hour(0);
        assert_eq!(rig.fall(), 1);
        let claim = rig.claim_turn().unwrap().claim;
        let loss = crate::lifecycle::turn::Loss::Handler {
            code: "handler".to_owned(),
            sentence: "never".to_owned(),
            retry: false,
            retry_after_ms: None,
        };
        rig.run(Command::LoseTry { claim, loss });
        assert_eq!(rig.turn(claim.turn).row.state, "failed");
        assert_eq!(rig.schedule("standup").made, round);
    }
}

// Case: H4
#[test]
fn a_host_that_was_down_for_three_periods_catches_up_as_each_policy_says() {
    let mut rig = Rig::new();
    for policy in CatchUp::ALL {
        rig.recur(policy.word(), policy.word(), "0 * * * *", policy);
    }
    let first_ms = rig.pass_to_hour(2 * HOUR_MS + HOUR_MS / 2);
    rig.crash();
    assert_eq!(rig.fall(), 4);
    let of = |name: &str| {
        let row = rig.schedule(name);
        (row.made, row.skipped, row.next_due_at_ms)
    };
    let next = Some(first_ms + 3 * HOUR_MS);
    assert_eq!(of("all"), (3, 0, next));
    assert_eq!(of("latest"), (1, 2, next));
    assert_eq!(of("skip"), (0, 3, next));
    let latest = format!("latest/{}", first_ms + 2 * HOUR_MS);
    assert!(rig.made().contains(&latest), "{:?}", rig.made());
    // What was caught up late could not have run before: its age counts from now.
    while let Some(claimed) = rig.claim_turn() {
        assert!(claimed.message.external_id.contains('/'));
        let claim = claimed.claim;
        rig.run(Command::Silence { claim, claim_next_turn: None });
    }
    rig.pass_to_hour(0);
    assert_eq!(rig.fall(), 3, "and go on as ever");
}

// Case: H5
#[test]
fn a_bad_expression_is_refused_when_it_is_made_and_when_it_is_changed() {
    let mut rig = Rig::new();
    let new = |cron: &str, zone: &str| {
        Command::Schedule(ScheduleAct::Add(Box::new(NewSchedule {
            name: "bad".to_owned(),
            channel: "hook".into(),
            cron: cron.to_owned(),
            zone: zone.to_owned(),
            catch_up: CatchUp::Latest,
            message: message("room", "", "hello"),
        })))
    };
    for (cron, zone, word) in [
        ("0 25 * * *", "UTC", "at character 3"),
        ("0 9 * * *", "Mars/Olympus", "Mars/Olympus"),
        ("0 0 30 2 *", "UTC", "never comes"),
    ] {
        let error = rig.try_run(new(cron, zone)).unwrap_err();
        assert!(matches!(&error, StoreError::Invalid(s) if s.contains(word)), "{error}");
    }
    rig.recur("good", "room", "0 9 * * *", CatchUp::Latest);
    let before = rig.schedule("good");
    let change = Change { cron: Some("0 9 * * FOO".to_owned()), ..Change::default() };
    let act = ScheduleAct::Change { name: "good".to_owned(), change: Box::new(change) };
    assert!(rig.try_run(Command::Schedule(act)).is_err());
    assert_eq!(rig.schedule("good"), before);
}

// Case: H6
#[test]
fn pause_resume_change_and_cancel_act_on_the_next_occurrence_and_leave_what_was_made() {
    let mut rig = Rig::new();
    let name = || "standup".to_owned();
    rig.recur("standup", "room", "0 * * * *", CatchUp::All);
    rig.pass_to_hour(0);
    assert_eq!(rig.fall(), 1);
    rig.act(ScheduleAct::Pause { name: name() });
    assert_eq!(rig.schedule("standup").state, "paused");
    let again = rig.act(ScheduleAct::Pause { name: name() });
    assert!(matches!(again, Operated::Nothing { .. }), "{again:?}");
    rig.pass_to_hour(3 * HOUR_MS);
    assert_eq!(rig.fall(), 0);
    let now_ms = rig.now.wall_ms;
    rig.act(ScheduleAct::Resume { name: name() });
    assert_eq!(rig.fall(), 0, "what was missed while it stood still is not made");
    assert_eq!(rig.schedule("standup").next_due_at_ms, Some(now_ms + HOUR_MS));
    let change = Change {
        cron: Some("30 * * * *".to_owned()),
        text: Some("sit down".to_owned()),
        ..Change::default()
    };
    rig.act(ScheduleAct::Change { name: name(), change: Box::new(change) });
    assert_eq!(rig.schedule("standup").next_due_at_ms, Some(now_ms + HOUR_MS / 2));
    rig.pass(Duration::from_secs(1_800));
    assert_eq!(rig.fall(), 1);
    rig.act(ScheduleAct::Cancel { name: name() });
    rig.pass_to_hour(HOUR_MS);
    assert_eq!(rig.fall(), 0);
    let gone = rig.act(ScheduleAct::Cancel { name: name() });
    assert!(matches!(gone, Operated::Nothing { .. }), "{gone:?}");
    let mut said = Vec::new();
    while let Some(claimed) = rig.claim_turn() {
        said.push(claimed.message.text);
        let claim = claimed.claim;
        rig.run(Command::Silence { claim, claim_next_turn: None });
    }
    assert_eq!(said, ["stand up", "sit down"]);
}

// Case: C20, H2
#[test]
fn a_clock_that_jumps_a_day_either_way_makes_no_storm_and_no_due_time_twice() {
    let mut rig = Rig::new();
    let day = Duration::from_secs(86_400);
    rig.recur("hourly", "room", "0 * * * *", CatchUp::Latest);
    let first_ms = rig.pass_to_hour(0);
    assert_eq!(rig.fall(), 1);
    rig.now.wall_ms += 24 * HOUR_MS;
    assert_eq!(rig.fall(), 1, "the latest of the day that was left out");
    rig.now.wall_ms -= 24 * HOUR_MS;
    rig.run(Command::Sweep(SweepStep::ReleaseFuture { rows_max: 100 }));
    assert_eq!(rig.fall(), 0);
    assert_eq!(rig.schedule("hourly").next_due_at_ms, Some(first_ms + HOUR_MS), "no day is lost");
    for _ in 0..24 {
        rig.pass_to_hour(0);
        rig.fall();
    }
    let mut made = rig.made();
    assert_eq!(made.len(), 25, "23 hours, the jump's, the first: each once");
    made.dedup();
    made.sort();
    made.dedup();
    assert_eq!(made.len(), 25);
    // And back, from the start: what ran is not run again.
    rig.now.wall_ms -= i64::try_from(day.as_millis()).unwrap();
    rig.run(Command::Sweep(SweepStep::ReleaseFuture { rows_max: 100 }));
    for _ in 0..24 {
        rig.pass_to_hour(0);
        rig.fall();
    }
    assert_eq!(rig.made().len(), 25);
}

#[test]
fn a_schedule_that_is_made_anew_does_not_repeat_what_its_name_has_made() {
    let mut rig = Rig::new();
    rig.recur("hourly", "room", "0 * * * *", CatchUp::Latest);
    rig.pass_to_hour(0);
    assert_eq!(rig.fall(), 1);
    rig.act(ScheduleAct::Cancel { name: "hourly".to_owned() });
    rig.now.wall_ms -= HOUR_MS / 2;
    rig.recur("hourly", "room", "0 * * * *", CatchUp::Latest);
    rig.pass_to_hour(0);
    assert_eq!(rig.fall(), 0, "the hour was there before the clock went back");
    rig.pass_to_hour(0);
    assert_eq!(rig.fall(), 1);
}

// Case: G6
#[test]
fn a_schedule_of_a_removed_channel_makes_nothing_and_catches_up_on_its_return() {
    let mut rig = Rig::new();
    rig.recur("standup", "room", "0 * * * *", CatchUp::Latest);
    rig.run(Command::ChannelsPresent(vec![]));
    rig.pass_to_hour(2 * HOUR_MS);
    assert_eq!(rig.fall(), 0);
    let Rows::Due(due) = rig.read().read(&Query::NextFall).unwrap() else { panic!() };
    assert_eq!(due, NextDue::Nothing, "nobody waits for it");
    rig.crash();
    assert_eq!(rig.fall(), 1);
}
