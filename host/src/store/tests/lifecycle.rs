//! The life of one message through the store: accepted, claimed, completed, delivered.

use std::time::Duration;

use super::rig::{LEASE, Rig, message};
use crate::lifecycle::message::InboundEvent;
use crate::lifecycle::outcome::{Fault, NotSent, Outcome};
use crate::lifecycle::settle::{Idempotency, OnUnknown, SettleMeans};
use crate::lifecycle::turn::Loss;
use crate::store::*;

fn fault(code: &str) -> Fault {
    Fault::new(code, "a sentence")
}

// Case: A1, B14
#[test]
fn a_message_goes_from_accepted_to_delivered() {
    let mut rig = Rig::new();
    let turn = rig.delivering("m1", &["hello"]);
    assert_eq!(rig.turn(turn).row.state, "delivering");
    let row = rig.claim_delivery().unwrap();
    assert_eq!(row.work, DeliveryWork::Send);
    assert_eq!(row.message.text, "hello");
    let recorded = rig.delivered(row.claim);
    assert!(recorded.claim_held);
    assert_eq!(rig.turn(turn).row.state, "delivered");
}

#[test]
fn a_turn_that_meets_no_trouble_costs_three_commits() {
    let mut rig = Rig::new();
    let before = rig.core.stats().commits;
    let accept = Accept {
        channel: "hook".into(),
        events: vec![InboundEvent::Message(message("room", "m1", "hi"))],
        cursor: None,
        state: Default::default(),
        claim: Some(LEASE),
    };
    let Answer::Accepted(accepted) = rig.run(Command::Accept(accept)) else { panic!() };
    let claim = accepted.claimed.unwrap().claim;
    let rows = super::rig::finals(&["yes"]);
    let answer = rig.run(Command::Complete { claim, rows, claim_first: Some(LEASE) });
    let Answer::Enqueued { first: Some(first), .. } = answer else { panic!("{answer:?}") };
    rig.delivered(first.claim);
    assert_eq!(rig.core.stats().commits - before, 3);
    assert!(rig.claim_turn().is_none());
    assert!(rig.claim_delivery().is_none());
    assert_eq!(rig.core.stats().commits - before, 3, "a claim that finds nothing costs no sync");
}

// Case: A2, A3
#[test]
fn a_duplicate_before_and_after_a_restart_makes_one_turn() {
    let mut rig = Rig::new();
    let turn = rig.accept_turn(message("room", "m1", "hi"));
    let same = AcceptedEvent::Duplicate {
        turn: Some(turn),
        state: Some(crate::lifecycle::turn::TurnState::Queued),
    };
    assert_eq!(rig.accept(message("room", "m1", "hi")), same);
    rig.crash();
    assert_eq!(rig.accept(message("room", "m1", "hi")), same);
}

// Case: B4
#[test]
fn a_second_message_of_a_conversation_waits_for_the_first_to_end() {
    let mut rig = Rig::new();
    let first = rig.accept_turn(message("room", "m1", "one"));
    let second = rig.accept_turn(message("room", "m2", "two"));
    let other = rig.accept_turn(message("hall", "m1", "three"));
    let claimed = rig.claim_turn().unwrap();
    assert_eq!(claimed.claim.turn, first);
    assert_eq!(rig.claim_turn().unwrap().claim.turn, other);
    assert!(rig.claim_turn().is_none());
    rig.complete(claimed.claim, &["ok"]);
    assert!(rig.claim_turn().is_none(), "delivering blocks too");
    let row = rig.claim_delivery().unwrap();
    rig.delivered(row.claim);
    assert_eq!(rig.claim_turn().unwrap().claim.turn, second);
}

// Case: C4
#[test]
fn a_transient_fault_is_tried_again_at_its_backoff_and_not_a_millisecond_before() {
    let mut rig = Rig::new();
    rig.delivering("m1", &["hello"]);
    let row = rig.claim_delivery().unwrap();
    rig.record(row.claim, Outcome::NotSent(NotSent::Transient(fault("http_502"))));
    rig.pass(Duration::from_millis(4_999));
    assert!(rig.claim_delivery().is_none());
    rig.pass(Duration::from_millis(501));
    let again = rig.claim_delivery().unwrap();
    assert_eq!(again.message.attempt, 2);
    assert_eq!(again.message.delivery_id, row.message.delivery_id);
}

// Case: C7
#[test]
fn an_offline_adapter_costs_no_attempt() {
    let mut rig = Rig::new();
    rig.delivering("m1", &["hello"]);
    for _ in 0..12 {
        let row = rig.claim_delivery().unwrap();
        rig.record(row.claim, Outcome::NotSent(NotSent::Offline(fault("offline"))));
        rig.pass(Duration::from_secs(60));
    }
    assert_eq!(rig.outbox()[0].attempts, 0);
}

// Case: C13
#[test]
fn a_rejected_part_cancels_the_parts_behind_it_and_fails_the_turn() {
    let mut rig = Rig::new();
    let turn = rig.delivering("m1", &["a", "b", "c"]);
    let row = rig.claim_delivery().unwrap();
    rig.delivered(row.claim);
    let row = rig.claim_delivery().unwrap();
    let recorded = rig.record(row.claim, Outcome::Rejected(fault("too_rude")));
    assert!(recorded.turn_ended.is_some(), "in the same transaction");
    assert_eq!(rig.states(), ["delivered", "dead", "cancelled"]);
    assert_eq!(rig.outbox()[2].code.as_deref(), Some("part_missing"));
    assert_eq!(rig.turn(turn).row.state, "failed");
}

// Case: D1
#[test]
fn a_send_that_was_open_at_a_kill_is_unknown_and_not_blindly_sent() {
    let mut rig = Rig::new();
    let turn = rig.delivering("m1", &["hello"]);
    let row = rig.claim_delivery().unwrap();
    rig.crash();
    assert!(rig.claim_delivery().is_none());
    let lost = SweepStep::LoseSend { claim: row.claim, fault: fault("host_lost") };
    rig.run(Command::Sweep(lost));
    assert_eq!(rig.states(), ["held"]);
    let detail = rig.turn(turn);
    assert_eq!(
        (detail.row.state.as_str(), detail.row.code.as_deref()),
        ("failed", Some("outcome_unknown"))
    );
    let resolve =
        |how| Command::Resolve { delivery: row.claim.delivery, how, by: "test".to_owned() };
    rig.run(resolve(Resolution::Delivered));
    assert_eq!(rig.turn(turn).row.state, "delivered");
}

// Case: D2, D8
#[test]
fn an_idempotent_adapter_gets_the_same_delivery_id_again_inside_its_window_only() {
    let means = SettleMeans { idempotency: Idempotency::ForMs(300_000), ..SettleMeans::default() };
    let mut rig = Rig::with(means);
    rig.delivering("m1", &["hello"]);
    let row = rig.claim_delivery().unwrap();
    rig.record(row.claim, Outcome::Unknown(fault("deadline")));
    assert_eq!(rig.states(), ["unknown"]);
    rig.pass(Duration::from_secs(6));
    let again = rig.claim_delivery().unwrap();
    assert_eq!(again.message.delivery_id, row.message.delivery_id);
    rig.record(again.claim, Outcome::Unknown(fault("deadline")));
    rig.pass(Duration::from_secs(360));
    assert!(rig.claim_delivery().is_none());
    assert_eq!(rig.states(), ["held"]);
}

// Case: C10
#[test]
fn an_open_unknown_blocks_its_conversation_and_a_held_one_does_not() {
    let means = SettleMeans { can_ask: true, ..SettleMeans::default() };
    let mut rig = Rig::with(means);
    rig.delivering("m1", &["hello"]);
    let second = rig.accept_turn(message("room", "m2", "two"));
    let row = rig.claim_delivery().unwrap();
    rig.record(row.claim, Outcome::Unknown(fault("trap")));
    assert!(rig.claim_turn().is_none());
    rig.pass(Duration::from_millis(29_999));
    assert!(rig.claim_delivery().is_none(), "not before settle_delay");
    for asked in 0..8 {
        rig.pass(Duration::from_secs(600));
        let ask = rig.claim_delivery().unwrap();
        assert!(matches!(ask.work, DeliveryWork::Ask { .. }), "{asked}");
        let answer = AskAnswer::Broken(fault("trap"));
        rig.run(Command::RecordAsk {
            claim: ask.claim,
            answer,
            state: Default::default(),
            next: ClaimNext::default(),
        });
    }
    assert_eq!(rig.states(), ["held"]);
    assert_eq!(rig.claim_turn().unwrap().claim.turn, second);
}

// Case: D9
#[test]
fn a_late_receipt_of_a_lost_claim_delivers_the_row_and_nothing_is_resent() {
    let means = SettleMeans { on_unknown: OnUnknown::Resend, ..SettleMeans::default() };
    let mut rig = Rig::with(means);
    let turn = rig.delivering("m1", &["hello"]);
    let row = rig.claim_delivery().unwrap();
    rig.pass(Duration::from_secs(120));
    let lost = SweepStep::LoseSend { claim: row.claim, fault: fault("claim_expired") };
    rig.run(Command::Sweep(lost));
    let recorded = rig.delivered(row.claim);
    assert!(!recorded.claim_held);
    assert_eq!(rig.turn(turn).row.state, "delivered");
    rig.pass(Duration::from_secs(3_600));
    assert!(rig.claim_delivery().is_none());
}

// Case: F3
#[test]
fn an_abort_cancels_what_waits_and_lets_what_is_at_the_adapter_end_as_it_does() {
    let mut rig = Rig::new();
    let turn = rig.delivering("m1", &["a", "b"]);
    let row = rig.claim_delivery().unwrap();
    let abort = Command::Abort { scope: AbortScope::Turn(turn), by: "test".to_owned() };
    let Answer::Operated { stopped, .. } = rig.run(abort) else { panic!() };
    assert_eq!(stopped, [turn]);
    assert_eq!(rig.states(), ["sending", "cancelled"]);
    rig.delivered(row.claim);
    assert_eq!(rig.states(), ["delivered", "cancelled"]);
    assert_eq!(rig.turn(turn).row.state, "aborted");
}

// Case: B7
#[test]
fn a_message_that_kills_the_host_each_time_is_quarantined_and_the_others_go_on() {
    let mut rig = Rig::new();
    let turn = rig.accept_turn(message("room", "m1", "boom"));
    for loss in 1..=5 {
        rig.pass(Duration::from_secs(600));
        let claimed = rig.claim_turn().unwrap();
        assert_eq!(claimed.suspect, loss > 2, "{loss}");
        rig.crash();
        rig.run(Command::Sweep(SweepStep::LoseTurn { claim: claimed.claim, loss: Loss::HostLost }));
    }
    let detail = rig.turn(turn);
    assert_eq!(detail.row.code.as_deref(), Some("quarantined"));
    assert_eq!(detail.row.attempts, 0, "killing the host is not the handler's failure");
}

// Case: D12
#[test]
fn resent_parts_go_to_the_end_of_the_line_and_the_turn_says_so() {
    let mut rig = Rig::new();
    let turn = rig.delivering("m1", &["a", "b", "c"]);
    let row = rig.claim_delivery().unwrap();
    rig.record(row.claim, Outcome::Unknown(fault("deadline")));
    assert_eq!(rig.states(), ["held", "cancelled", "cancelled"]);
    let delivery = row.claim.delivery;
    rig.run(Command::Resolve { delivery, how: Resolution::Resend, by: "test".to_owned() });
    assert_eq!(rig.turn(turn).row.code.as_deref(), Some("resent"));
    for text in ["a", "b", "c"] {
        let row = rig.claim_delivery().unwrap();
        assert_eq!(row.message.text, text);
        assert_eq!(row.message.turn_id, Some(turn));
        rig.delivered(row.claim);
    }
}

// Case: C22
#[test]
fn a_moved_conversation_takes_its_unfinished_rows_and_turns_along() {
    let mut rig = Rig::new();
    rig.delivering("m1", &["a", "b"]);
    rig.accept_turn(message("room", "m2", "later"));
    let row = rig.claim_delivery().unwrap();
    rig.record(row.claim, Outcome::NotSent(NotSent::Moved("hall".to_owned())));
    for text in ["a", "b"] {
        let row = rig.claim_delivery().unwrap();
        assert_eq!(
            (row.message.place.conversation.as_str(), row.message.text.as_str()),
            ("hall", text)
        );
        rig.delivered(row.claim);
    }
    assert_eq!(rig.claim_turn().unwrap().conversation, "hall");
}

// Case: C21
#[test]
fn a_closed_conversation_waits_for_its_persons_next_message() {
    let mut rig = Rig::new();
    rig.delivering("m1", &["a"]);
    let row = rig.claim_delivery().unwrap();
    rig.record(row.claim, Outcome::NotSent(NotSent::Closed(fault("blocked"))));
    rig.pass(Duration::from_secs(3_600));
    assert!(rig.claim_delivery().is_none());
    rig.accept(message("room", "m2", "I am back"));
    assert!(rig.claim_delivery().is_some());
}

// Case: C21
#[test]
fn while_a_conversation_is_closed_the_age_of_what_waits_there_runs() {
    let mut rig = Rig::new();
    let turn = rig.delivering("m1", &["a"]);
    let row = rig.claim_delivery().unwrap();
    let delivery = row.claim.delivery;
    rig.record(row.claim, Outcome::NotSent(NotSent::Closed(fault("blocked"))));
    let expire = || Command::Sweep(SweepStep::ExpireDelivery { delivery });
    rig.pass(Duration::from_secs(86_400 - 1));
    rig.run(expire());
    assert_eq!(rig.states(), ["queued"]);
    rig.pass(Duration::from_secs(2));
    rig.run(expire());
    assert_eq!(rig.states(), ["expired"]);
    assert_eq!(rig.turn(turn).row.state, "failed");
}

// Case: A4, G7
#[test]
fn pruning_takes_only_what_is_at_rest_and_the_key_still_knows_the_turn() {
    let mut rig = Rig::new();
    let turn = rig.delivering("m1", &["a"]);
    let row = rig.claim_delivery().unwrap();
    rig.delivered(row.claim);
    rig.pass(Duration::from_secs(6 * 86_400));
    let second = rig.delivering("m2", &["b"]);
    rig.pass(Duration::from_secs(86_400 + 60));
    let pruned = rig.run(Command::Sweep(SweepStep::Prune { rows_max: 100 }));
    assert!(matches!(pruned, Answer::Changed(1..)), "{pruned:?}");
    let rows = rig.read().read(&Query::Turn { id: turn, payload: false }).unwrap();
    assert_eq!(rows, Rows::Turn(None));
    assert_eq!(rig.turn(second).row.state, "delivering");
}
