//! Turns that are due later: out of line until then, in line from then on.

use std::time::Duration;

use super::rig::{Rig, message};
use crate::lifecycle::id::TurnId;
use crate::lifecycle::message::InboundMessage;
use crate::store::later::Due;
use crate::store::*;

const DAY_MS: i64 = 86_400_000;

impl Rig {
    /// A turn of the room that is due later.
    pub(super) fn later(&mut self, room: &str, id: &str, due: Due) -> TurnId {
        let now = self.now;
        let message = message(room, id, id);
        self.core.step(now, |step| {
            let channel = step.channel_id(&"hook".into())?;
            let (conversation, _, _) = step.conversation(channel, room)?;
            let turn = step.insert_turn_due(channel, conversation, &message, None, None, due)?;
            Ok(turn.0)
        })
    }

    pub(super) fn fall(&mut self) -> u64 {
        match self.run(Command::FallDue { rows_max: 100 }) {
            Answer::Fell(fell) => fell.turns,
            other => panic!("{other:?}"),
        }
    }

    fn next_fall(&self) -> NextDue {
        match self.read().read(&Query::NextFall).unwrap() {
            Rows::Due(due) => due,
            other => panic!("{other:?}"),
        }
    }

    fn claimed(&mut self) -> Option<TurnId> {
        self.claim_turn().map(|claimed| claimed.claim.turn)
    }

    fn is_too_old(&mut self, turn: TurnId) -> bool {
        match self.run(Command::Sweep(SweepStep::ExpireTurn { turn })) {
            Answer::TurnEnded { guarded, .. } => guarded == Guarded::Done,
            other => panic!("{other:?}"),
        }
    }
}

// Case: B20, H1
#[test]
fn a_turn_due_in_three_days_blocks_nobody_does_not_expire_and_runs_then_across_a_restart() {
    let mut rig = Rig::new();
    let at_ms = rig.now.wall_ms + 3 * DAY_MS;
    let later = rig.later("room", "later", Due::At(at_ms));
    assert_eq!((rig.next_fall(), rig.claimed()), (NextDue::At(at_ms), None));
    let now = rig.accept_turn(message("room", "now", "now"));
    let claimed = rig.claim_turn().unwrap();
    assert_eq!(claimed.claim.turn, now, "it does not block its conversation");
    rig.complete(claimed.claim, &["yes"]);
    let row = rig.claim_delivery().unwrap();
    rig.delivered(row.claim);
    rig.crash();
    rig.pass(Duration::from_millis(3 * DAY_MS.unsigned_abs() - 1));
    assert!(!rig.is_too_old(later), "no age reaches it before it is due");
    assert_eq!((rig.fall(), rig.claimed()), (0, None), "not a millisecond before");
    rig.pass(Duration::from_millis(1));
    assert_eq!(rig.fall(), 1);
    assert_eq!(rig.fall(), 0, "once");
    rig.pass(Duration::from_millis(DAY_MS.unsigned_abs()));
    assert!(!rig.is_too_old(later), "its age counts from its due time");
    assert_eq!(rig.turn(later).due_at_ms, Some(at_ms));
    assert_eq!((rig.next_fall(), rig.claimed()), (NextDue::Nothing, Some(later)));
}

// Case: B20
#[test]
fn a_turn_in_backoff_blocks_its_conversation_where_one_due_later_does_not() {
    let mut rig = Rig::new();
    let first = rig.accept_turn(message("room", "m1", "one"));
    rig.later("room", "later", Due::In(60_000));
    let claim = rig.claim_turn().unwrap().claim;
    assert_eq!(claim.turn, first);
    let loss = crate::lifecycle::turn::Loss::Handler {
        code: "handler".to_owned(),
        sentence: "it failed".to_owned(),
        retry: true,
        retry_after_ms: Some(30_000),
    };
    rig.run(Command::LoseTry { claim, loss });
    rig.accept_turn(message("room", "m2", "two"));
    assert_eq!(rig.claimed(), None, "the one behind waits for the one in backoff");
    rig.pass(Duration::from_secs(31));
    assert_eq!(rig.claimed(), Some(first));
}

// Case: H1
#[test]
fn a_turn_takes_its_number_when_it_falls_due_and_numbers_stay_apart_after_a_restart() {
    let mut rig = Rig::new();
    let later = rig.later("room", "later", Due::In(1_000));
    let first = rig.accept_turn(message("room", "m1", "one"));
    let second = rig.accept_turn(message("room", "m2", "two"));
    rig.pass(Duration::from_secs(1));
    assert_eq!(rig.fall(), 1);
    rig.crash();
    let third = rig.accept_turn(message("room", "m3", "three"));
    for turn in [first, second, later, third] {
        let claimed = rig.claim_turn().unwrap();
        assert_eq!(claimed.claim.turn, turn, "in order of arrival, and of falling due");
        let claim = claimed.claim;
        rig.run(Command::Silence { claim, claim_next_turn: None });
    }
}

// Case: C20
#[test]
fn a_clock_that_goes_back_frees_what_waits_for_a_while_and_not_what_waits_for_a_time() {
    let mut rig = Rig::new();
    let at_ms = rig.now.wall_ms + 10_000;
    let album = rig.later("one", "album", Due::In(1_000));
    let timed = rig.later("two", "timed", Due::At(at_ms));
    rig.now.wall_ms -= DAY_MS;
    let release = Command::Sweep(SweepStep::ReleaseFuture { rows_max: 100 });
    assert_eq!(rig.run(release.clone()), Answer::Changed(1));
    assert_eq!((rig.fall(), rig.claimed()), (1, Some(album)));
    rig.now.wall_ms = at_ms;
    assert_eq!(rig.fall(), 1);
    // In line, it is due from a time that is now in the future of the clock: freed like any other.
    rig.now.wall_ms -= DAY_MS;
    assert_eq!(rig.claimed(), None);
    rig.run(release);
    assert_eq!(rig.claimed(), Some(timed));
}

// Case: F6, F8
#[test]
fn a_stop_means_what_is_due_later_only_where_all_are_meant() {
    let mut rig = Rig::new();
    let room = |all| Command::Abort {
        scope: AbortScope::Conversation {
            channel: "hook".into(),
            conversation: "room".to_owned(),
            all,
        },
        by: "ann".to_owned(),
    };
    let timed = rig.later("room", "timed", Due::In(60_000));
    let stopped = |answer: Answer| match answer {
        Answer::Operated { stopped, .. } => stopped,
        other => panic!("{other:?}"),
    };
    assert!(stopped(rig.run(room(false))).is_empty(), "nothing to stop");
    let album = InboundMessage { group: Some("g".into()), ..message("room", "p0", "album") };
    let album = rig.accept_turn(album);
    assert_eq!(stopped(rig.run(room(false))), [album], "what is being gathered stands in line");
    assert_eq!(stopped(rig.run(room(true))), [timed]);
    rig.pass(Duration::from_secs(100));
    assert_eq!((rig.fall(), rig.claimed()), (0, None), "what was stopped never falls due");
    assert_eq!(rig.core.pending_turns(), 0);
}
