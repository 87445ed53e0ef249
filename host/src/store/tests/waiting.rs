//! What waits: a message that may have been shown already is never given up in silence, and a turn
//! behind a reply that waits does not grow old by it.

use std::time::Duration;

use super::rig::{Rig, message};
use crate::lifecycle::delivery::DeliveryLimits;
use crate::lifecycle::outcome::{Fault, NotSent, Outcome};
use crate::lifecycle::settle::{Idempotency, SettleMeans};
use crate::lifecycle::turn::TurnLimits;
use crate::store::*;

fn fault() -> Fault {
    Fault::new("code", "a sentence")
}

/// A turn whose one row may have been shown, and is due again under its own id.
fn maybe_shown() -> (Rig, crate::lifecycle::id::TurnId) {
    let means = SettleMeans { idempotency: Idempotency::Always, ..SettleMeans::default() };
    let mut rig = Rig::with(means);
    let turn = rig.delivering("m1", &["hello"]);
    let row = rig.claim_delivery().unwrap();
    rig.record(row.claim, Outcome::Unknown(fault()));
    assert_eq!(rig.states(), ["unknown"]);
    (rig, turn)
}

// Case: C23
#[test]
fn a_row_that_may_have_been_shown_and_is_rejected_when_it_is_resent_is_held() {
    let (mut rig, turn) = maybe_shown();
    rig.pass(Duration::from_secs(6));
    let again = rig.claim_delivery().unwrap();
    rig.record(again.claim, Outcome::Rejected(fault()));
    assert_eq!(rig.states(), ["held"]);
    assert_eq!(rig.turn(turn).row.code.as_deref(), Some("outcome_unknown"));
}

// Case: C23
#[test]
fn a_row_that_may_have_been_shown_and_grows_too_old_is_held() {
    let (mut rig, turn) = maybe_shown();
    rig.pass(Duration::from_secs(6));
    let again = rig.claim_delivery().unwrap();
    // Not sent this time, which says nothing of the first.
    rig.record(again.claim, Outcome::NotSent(NotSent::Transient(fault())));
    rig.pass(Duration::from_millis(DeliveryLimits::default().age_max_ms + 1));
    let delivery = rig.outbox()[0].id;
    rig.run(Command::Sweep(SweepStep::ExpireDelivery { delivery }));
    assert!(rig.claim_delivery().is_none());
    assert_eq!(rig.states(), ["held"]);
    assert_eq!(rig.turn(turn).row.code.as_deref(), Some("outcome_unknown"));
}

// Case: C23
#[test]
fn a_row_that_may_have_been_shown_is_held_where_its_turn_is_aborted() {
    let (mut rig, turn) = maybe_shown();
    rig.run(Command::Abort { scope: AbortScope::Turn(turn), by: "test".to_owned() });
    assert_eq!(rig.states(), ["held"]);
    assert_eq!(rig.turn(turn).row.state, "aborted");
    rig.pass(Duration::from_secs(3_600));
    assert!(rig.claim_delivery().is_none(), "and nothing of it is sent any more");
}

// Case: B21
#[test]
fn a_turn_behind_a_final_in_backoff_waits_and_does_not_grow_old_by_that() {
    let hours = |count: u64| Duration::from_secs(3_600 * count);
    assert_eq!(TurnLimits::default().age_max_ms, 24 * 3_600_000);
    let mut rig = Rig::new();
    rig.delivering("m1", &["hello"]);
    let second = rig.accept_turn(message("room", "m2", "two"));
    let row = rig.claim_delivery().unwrap();
    rig.record(row.claim, Outcome::NotSent(NotSent::Transient(fault())));
    let expire = Command::Sweep(SweepStep::ExpireTurn { turn: second });
    rig.pass(hours(20));
    assert!(rig.claim_turn().is_none(), "the reply before it may change what it should say");
    let row = rig.claim_delivery().unwrap();
    rig.delivered(row.claim);
    // Accepted 40 hours ago, and 20 hours in which it could have run.
    rig.pass(hours(20));
    rig.run(expire.clone());
    assert_eq!(rig.turn(second).row.state, "queued");
    rig.pass(hours(5));
    rig.run(expire);
    assert_eq!(rig.turn(second).row.state, "expired");
}
