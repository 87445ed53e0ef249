//! The window of a platform's idempotency, under clocks that go where they like.

use std::time::Duration;

use super::rig::Rig;
use crate::lifecycle::outcome::{Fault, NotSent, Outcome};
use crate::lifecycle::settle::{Idempotency, SettleMeans};
use crate::store::*;

const HOUR_MS: i64 = 3_600_000;

/// A reply of unknown outcome whose platform knows its id for five minutes.
fn unknown() -> Rig {
    let idempotency = Idempotency::ForMs(300_000);
    let mut rig = Rig::with(SettleMeans { idempotency, ..SettleMeans::default() });
    rig.delivering("m1", &["hello"]);
    let row = rig.claim_delivery().unwrap();
    rig.record(row.claim, Outcome::Unknown(Fault::new("deadline", "no answer came")));
    assert_eq!(rig.states(), ["unknown"]);
    rig
}

/// Sets the wall clock and frees what it would freeze, as the sweep of the clock does.
fn set_clock(rig: &mut Rig, by_ms: i64) {
    rig.now.wall_ms += by_ms;
    rig.run(Command::Sweep(SweepStep::ReleaseFuture { rows_max: 100 }));
}

// Case: D8
#[test]
fn within_the_window_the_same_id_goes_out_again_and_after_it_never() {
    let mut rig = unknown();
    rig.pass(Duration::from_secs(299));
    assert_eq!(rig.claim_delivery().unwrap().work, DeliveryWork::Send);
    let mut rig = unknown();
    rig.pass(Duration::from_secs(360));
    assert!(rig.claim_delivery().is_none());
    assert_eq!(rig.states(), ["held"]);
    assert_eq!(rig.outbox()[0].code.as_deref(), Some("idempotency_window_over"));
}

// Case: D8, C20
#[test]
fn a_clock_that_was_set_back_does_not_keep_the_window_open() {
    for back_ms in [HOUR_MS, 240_000] {
        let mut rig = unknown();
        rig.pass(Duration::from_secs(360));
        set_clock(&mut rig, -back_ms);
        assert!(rig.claim_delivery().is_none(), "sent again after the window");
        assert_eq!(rig.states(), ["held"]);
    }
}

// Case: D8, C20
#[test]
fn a_clock_that_was_set_back_by_a_moment_does_not_close_the_window_either() {
    let mut rig = unknown();
    rig.pass(Duration::from_secs(1));
    set_clock(&mut rig, -2_000);
    assert_eq!(rig.claim_delivery().unwrap().work, DeliveryWork::Send);
}

// Case: D8, C20
#[test]
fn after_a_restart_a_first_attempt_in_the_future_is_of_unknown_age_and_not_sent_again() {
    let mut rig = unknown();
    rig.crash();
    set_clock(&mut rig, -HOUR_MS);
    assert!(rig.claim_delivery().is_none());
    assert_eq!(rig.states(), ["held"]);
    let mut rig = unknown();
    rig.pass(Duration::from_secs(30));
    rig.crash();
    assert_eq!(rig.claim_delivery().unwrap().work, DeliveryWork::Send, "by the wall clock alone");
}

/// Another generation serves from now on.
fn promises(rig: &mut Rig, idempotency: Idempotency) {
    rig.means.idempotency = idempotency;
    rig.introduce();
}

// Case: D8
#[test]
fn a_lost_answer_is_settled_by_the_weakest_promise_that_its_row_was_sent_under() {
    const SHORT: Idempotency = Idempotency::ForMs(300_000);
    for (sent_under, serves, again) in [
        (Idempotency::None, Idempotency::Always, false),
        (Idempotency::Always, Idempotency::None, false),
        (SHORT, Idempotency::Always, false),
        (Idempotency::Always, SHORT, false),
        (Idempotency::Always, Idempotency::Always, true),
    ] {
        let mut rig = Rig::with(SettleMeans { idempotency: sent_under, ..SettleMeans::default() });
        rig.delivering("m1", &["hello"]);
        let row = rig.claim_delivery().unwrap();
        promises(&mut rig, serves);
        rig.record(row.claim, Outcome::Unknown(Fault::new("deadline", "no answer came")));
        rig.pass(Duration::from_secs(360));
        assert_eq!(rig.claim_delivery().is_some(), again, "{sent_under:?}, then {serves:?}");
        assert_eq!(rig.states(), [if again { "sending" } else { "held" }]);
    }
}

// Case: D8
#[test]
fn a_promise_under_which_nothing_left_says_nothing() {
    let mut rig = Rig::with(SettleMeans::default());
    rig.delivering("m1", &["hello"]);
    let row = rig.claim_delivery().unwrap();
    let fault = Fault::new("offline", "no connection");
    rig.record(row.claim, Outcome::NotSent(NotSent::Transient(fault)));
    promises(&mut rig, Idempotency::Always);
    rig.pass(Duration::from_secs(60));
    let row = rig.claim_delivery().unwrap();
    rig.record(row.claim, Outcome::Unknown(Fault::new("deadline", "no answer came")));
    rig.pass(Duration::from_secs(360));
    assert_eq!(rig.claim_delivery().unwrap().work, DeliveryWork::Send);
}

// Case: D8
#[test]
fn what_goes_out_again_under_a_better_promise_is_still_held_to_the_worse() {
    let mut rig = unknown();
    promises(&mut rig, Idempotency::Always);
    rig.pass(Duration::from_secs(60));
    let again = rig.claim_delivery().unwrap();
    rig.record(again.claim, Outcome::Unknown(Fault::new("deadline", "no answer came")));
    rig.pass(Duration::from_secs(360));
    assert!(rig.claim_delivery().is_none());
    assert_eq!(rig.outbox()[0].code.as_deref(), Some("idempotency_window_over"));
}

#[test]
fn a_clock_that_goes_back_frees_what_stands_behind_the_heads_too() {
    let mut rig = Rig::new();
    rig.delivering("m1", &["one", "two", "three"]);
    rig.now.wall_ms -= 2 * 3_600_000;
    let release = SweepStep::ReleaseFuture { rows_max: 100 };
    rig.run(Command::Sweep(release));
    for text in ["one", "two", "three"] {
        let row = rig.claim_delivery().expect(text);
        assert_eq!(row.message.text, text);
        rig.delivered(row.claim);
    }
}

#[test]
fn an_unknown_that_waits_for_its_person_behind_another_row_is_looked_at_once_the_person_writes() {
    let idempotency = Idempotency::Always;
    let mut rig = Rig::with(SettleMeans { idempotency, ..SettleMeans::default() });
    let send = |rig: &mut Rig, room: &str, id: &str| {
        rig.accept_turn(super::rig::message(room, id, "hello"));
        let claim = rig.claim_turn().unwrap().claim;
        rig.complete(claim, &["yes"]);
        rig.claim_delivery().unwrap().claim
    };
    let first = send(&mut rig, "old", "m1");
    let second = send(&mut rig, "new", "m2");
    // The room of the first turns out to be that of the second, which is at its adapter.
    rig.record(first, Outcome::NotSent(NotSent::Moved("new".to_owned())));
    rig.record(second, Outcome::Unknown(Fault::new("deadline", "no answer came")));
    rig.pass(Duration::from_secs(60));
    let again = rig.claim_delivery().unwrap();
    assert_eq!(again.claim.delivery, first.delivery, "the older one goes first");
    rig.record(again.claim, Outcome::NotSent(NotSent::Closed(Fault::new("closed", "over"))));
    let turn = again.turn.unwrap();
    rig.run(Command::Abort { scope: AbortScope::Turn(turn), by: "test".to_owned() });
    rig.accept_turn(super::rig::message("new", "m3", "I am back"));
    rig.pass(Duration::from_secs(600));
    let asked = rig.claim_delivery().expect("the unknown is looked at");
    assert_eq!(asked.claim.delivery, second.delivery);
}
