//! Failure notices: who is told, once for how many, and what they never do.

use std::time::Duration;

use super::rig::{Rig, message};
use crate::lifecycle::message::{DeliveryKind, Happening};
use crate::lifecycle::notice::NoticeText;
use crate::lifecycle::outcome::{Fault, Outcome};
use crate::lifecycle::turn::Loss;
use crate::store::*;

fn telling() -> Rig {
    let mut rig = Rig::new();
    let mut rules = super::rig::channel_rules(Default::default());
    rules.failure_notice = Some(NoticeText::default());
    rig.run(Command::Channel(rules));
    rig
}

pub(super) fn never() -> Loss {
    let (code, sentence) = ("refused".to_owned(), "said never".to_owned());
    Loss::Handler { code, sentence, retry: false, retry_after_ms: None }
}

fn fail(rig: &mut Rig, room: &str, id: &str) -> crate::lifecycle::id::TurnId {
    let turn = rig.accept_turn(message(room, id, "hello"));
    let claim = rig.claim_turn().unwrap().claim;
    rig.run(Command::LoseTry { claim, loss: never() });
    turn
}

fn notices(rig: &Rig) -> usize {
    rig.outbox().iter().filter(|row| row.kind == DeliveryKind::Notice).count()
}

// Case: B6
#[test]
fn the_third_failed_try_fails_the_turn_with_one_notice_and_the_conversation_goes_on() {
    let mut rig = telling();
    let turn = rig.accept_turn(message("room", "m1", "hello"));
    let next = rig.accept_turn(message("room", "m2", "and this"));
    for attempt in 1..=3 {
        let claim = rig.claim_turn().unwrap().claim;
        assert_eq!((claim.turn, claim.try_number), (turn, attempt));
        let (code, sentence) = ("handler".to_owned(), format!("broke {attempt}"));
        let loss = Loss::Handler { code, sentence, retry: true, retry_after_ms: None };
        rig.run(Command::LoseTry { claim, loss });
        rig.pass(Duration::from_secs(600));
    }
    let detail = rig.turn(turn);
    assert_eq!((detail.row.state.as_str(), detail.row.attempts), ("failed", 3));
    assert!(detail.row.reason.unwrap().contains("broke 3"), "the last error is kept");
    assert_eq!(notices(&rig), 1);
    let row = rig.claim_delivery().unwrap();
    assert_eq!((row.kind, row.turn), (DeliveryKind::Notice, None));
    assert_eq!(row.message.turn_id, Some(turn));
    assert_eq!(row.message.place.reply_to.as_deref(), Some("m1"));
    assert_eq!(row.message.text, NoticeText::default().of(1));
    assert_eq!(rig.claim_turn().unwrap().claim.turn, next);
}

// Case: C26
#[test]
fn a_failure_notice_is_of_its_own_kind_decides_nothing_and_its_failure_makes_no_notice() {
    let mut rig = telling();
    let turn = fail(&mut rig, "room", "m1");
    let row = rig.claim_delivery().unwrap();
    let recorded = rig.record(row.claim, Outcome::Rejected(Fault::new("rude", "simulated")));
    assert_eq!(recorded.turn_ended, None);
    assert_eq!(rig.states(), ["dead"]);
    let detail = rig.turn(turn);
    let end = (detail.row.state.as_str(), detail.row.code.as_deref());
    assert_eq!(end, ("failed", Some("refused")), "its own end stands");
    // One that arrives changes nothing either.
    let other = fail(&mut rig, "room", "m2");
    let row = rig.claim_delivery().unwrap();
    rig.delivered(row.claim);
    assert_eq!(rig.turn(other).row.state, "failed");
    assert_eq!(notices(&rig), 2);
}

#[test]
fn turns_that_fail_while_a_notice_waits_are_one_row_that_counts_them() {
    let mut rig = telling();
    // The line is held up, so that the notice waits.
    rig.delivering("m0", &["first"]);
    let ahead = rig.claim_delivery().unwrap();
    rig.delivered(ahead.claim);
    for id in ["m1", "m2", "m3"] {
        fail(&mut rig, "room", id);
    }
    fail(&mut rig, "hall", "m1");
    assert_eq!(notices(&rig), 2, "one of each conversation");
    let row = rig.claim_delivery().unwrap();
    assert_eq!(row.message.text, NoticeText::default().of(3));
    // It is under way: what may have been seen is not changed any more.
    fail(&mut rig, "room", "m4");
    assert_eq!(notices(&rig), 3);
    rig.delivered(row.claim);
    // One that waited for too long takes nothing in, and a reply behind it keeps its place.
    rig.pass(Duration::from_secs(3_700));
    fail(&mut rig, "room", "m5");
    assert_eq!(notices(&rig), 4);
}

#[test]
fn who_is_told_already_or_chose_it_gets_no_notice() {
    let mut rig = telling();
    let held = rig.delivering("m1", &["a"]);
    let row = rig.claim_delivery().unwrap();
    rig.record(row.claim, Outcome::Unknown(Fault::new("deadline", "simulated")));
    assert_eq!(rig.turn(held).row.code.as_deref(), Some("outcome_unknown"));
    let delivery = row.claim.delivery;
    rig.run(Command::Resolve { delivery, how: Resolution::Drop, by: "test".to_owned() });
    rig.accept_turn(message("room", "m2", "b"));
    let claim = rig.claim_turn().unwrap().claim;
    rig.run(Command::Silence { claim, claim_next_turn: None });
    let stopped = rig.accept_turn(message("room", "m3", "c"));
    let scope = AbortScope::Turn(stopped);
    rig.run(Command::Abort { scope, by: "test".to_owned() });
    let old = rig.accept_turn(message("room", "m4", "d"));
    rig.pass(Duration::from_secs(2 * 86_400));
    rig.run(Command::Sweep(SweepStep::ExpireTurn { turn: old }));
    assert_eq!(rig.turn(old).row.state, "expired");
    assert_eq!(notices(&rig), 0);
    // Where no text is configured nobody is told of anything.
    let mut quiet = Rig::new();
    fail(&mut quiet, "room", "m1");
    assert_eq!(notices(&quiet), 0);
}

#[test]
fn a_kill_leaves_the_failed_turn_and_its_notice_or_neither() {
    let mut rig = telling();
    fail(&mut rig, "room", "m1");
    rig.crash();
    assert_eq!(notices(&rig), 1);
    let row = rig.claim_delivery().unwrap();
    assert_eq!(row.kind, DeliveryKind::Notice);
}

#[test]
fn a_notice_answers_what_the_platform_knows_and_nothing_that_it_does_not() {
    let mut rig = telling();
    let post = Post {
        channel: "hook".into(),
        message: message("posted", "42", "hello"),
        not_before_ms: None,
        about: None,
        claim: None,
    };
    rig.run(Command::Post(Box::new(post)));
    let mut press = message("pressed", "action-7", "yes");
    let (name, on_message) = ("yes".to_owned(), Some("m9".to_owned()));
    press.event = Some(Happening::Action { name, value: None, on_message });
    rig.accept_turn(press);
    for answers in [None, Some("m9")] {
        let claim = rig.claim_turn().unwrap().claim;
        rig.run(Command::LoseTry { claim, loss: never() });
        let row = rig.claim_delivery().unwrap();
        assert_eq!(row.kind, DeliveryKind::Notice);
        assert_eq!(row.message.place.reply_to.as_deref(), answers);
    }
}
