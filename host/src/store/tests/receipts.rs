//! What platforms say late: it settles what is unknown, and bad news is told once.

use super::rig::{Rig, message};
use crate::lifecycle::id::DeliveryId;
use crate::lifecycle::message::{Fate, InboundEvent, LateReceipt, SentMessage};
use crate::lifecycle::outcome::{Fault, Outcome, Receipt};
use crate::lifecycle::settle::{OnUnknown, SettleMeans};
use crate::lifecycle::turn::Loss;
use crate::store::*;

fn bounced() -> Fate {
    Fate::Failed(Fault::new("bounced", "No such address."))
}

fn ours(id: DeliveryId, theirs: Option<&str>) -> SentMessage {
    SentMessage::DeliveryId(id.to_string(), theirs.map(str::to_owned))
}

fn theirs(id: &str) -> SentMessage {
    SentMessage::PlatformId(id.to_owned())
}

fn sent_as(id: &str) -> Outcome {
    Outcome::Delivered(Receipt { platform_id: id.to_owned(), extras: Vec::new() })
}

impl Rig {
    /// What a late receipt came to: bad news, where it is new.
    fn told_late(&mut self, about: SentMessage, fate: Fate) -> Option<LateFailure> {
        let receipt = LateReceipt { conversation: None, about, fate, at_ms: None };
        match self.accept_events(vec![InboundEvent::Receipt(receipt)]).events.remove(0) {
            AcceptedEvent::Receipt { failed } => failed,
            other => panic!("{other:?}"),
        }
    }

    /// The codes of what the next turn is told to have failed late; the turn ends in silence.
    fn next_hears(&mut self, id: &str) -> Vec<String> {
        self.accept_turn(message("room", id, "next"));
        let turn = self.claim_turn().unwrap();
        self.run(Command::Silence { claim: turn.claim, claim_next_turn: None });
        turn.delivered.into_iter().filter_map(|part| Some(part.failed?.code)).collect()
    }

    fn late_receipts(&self, id: DeliveryId) -> Vec<serde_json::Value> {
        match self.read().read(&Query::Delivery { id, payload: false }).unwrap() {
            Rows::Delivery(Some(row)) => row.late_receipts,
            other => panic!("{other:?}"),
        }
    }
}

// Case: C17
#[test]
fn a_late_failure_stands_with_the_delivery_and_is_told_once_and_nothing_is_resent() {
    let mut rig = Rig::with(SettleMeans { on_unknown: OnUnknown::Resend, ..Default::default() });
    let turn = rig.delivering("m1", &["hello"]);
    let row = rig.claim_delivery().unwrap();
    let id = row.claim.delivery;
    rig.record(row.claim, sent_as("p1"));
    let failure = rig.told_late(theirs("p1"), bounced()).unwrap();
    assert_eq!((failure.delivery, failure.turn), (id, Some(turn)));
    assert_eq!(failure.fault.code, "bounced");
    assert_eq!(rig.told_late(theirs("p1"), bounced()), None, "the operator is told once");
    assert_eq!(rig.late_receipts(id).len(), 1);
    assert_eq!(
        (rig.states(), rig.turn(turn).row.state.as_str()),
        (vec!["delivered".into()], "delivered")
    );
    assert!(rig.claim_delivery().is_none());
    rig.crash();

    rig.accept_turn(message("room", "m2", "next"));
    for try_number in 1..=2 {
        let next = rig.claim_turn().unwrap();
        let [part] = &next.delivered[..] else { panic!("{:?}", next.delivered) };
        assert_eq!((part.delivery_id, part.text.as_str()), (id, "hello"), "{try_number}");
        assert_eq!(part.platform_id.as_deref(), Some("p1"));
        assert_eq!(part.failed.as_ref().unwrap().sentence, "No such address.");
        let claim = next.claim;
        if try_number == 1 {
            rig.run(Command::LoseTry { claim, loss: Loss::PlannedStop });
        } else {
            rig.run(Command::Silence { claim, claim_next_turn: None });
        }
    }
    assert_eq!(rig.next_hears("m3"), Vec::<String>::new(), "each turn after it is not");
}

// Case: C17, D10
#[test]
fn a_late_failure_that_comes_before_the_sends_own_record_is_told_too() {
    let mut rig = Rig::new();
    let turn = rig.delivering("m1", &["hello"]);
    let row = rig.claim_delivery().unwrap();
    assert_eq!(rig.told_late(theirs("p1"), bounced()), None, "nobody knows the name yet");
    let recorded = rig.record(row.claim, sent_as("p1"));
    assert_eq!(recorded.failed_late.unwrap().delivery, row.claim.delivery);
    assert_eq!(rig.turn(turn).row.state, "delivered", "it was sent, whatever became of it");
    assert_eq!(rig.late_receipts(row.claim.delivery).len(), 1);
    assert_eq!(rig.next_hears("m2"), ["bounced"]);
}

// Case: D10
#[test]
fn a_late_receipt_that_names_our_id_settles_an_unknown_row() {
    let mut rig = Rig::new();
    let turn = rig.delivering("m1", &["hello"]);
    let row = rig.claim_delivery().unwrap();
    rig.record(row.claim, Outcome::Unknown(Fault::new("deadline", "no answer")));
    assert_eq!(rig.states(), ["held"]);
    let id = row.claim.delivery;
    rig.told_late(ours(id, None), bounced());
    assert_eq!(rig.states(), ["held"], "bad news is no proof that it arrived");
    rig.told_late(ours(id, Some("p1")), Fate::Delivered);
    assert_eq!(rig.states(), ["delivered"]);
    assert_eq!(rig.outbox()[0].platform_id.as_deref(), Some("p1"));
    assert_eq!(rig.turn(turn).row.state, "delivered");
}

// Case: D10
#[test]
fn a_late_receipt_may_come_before_the_sends_own_record() {
    for fate in [Fate::Accepted, Fate::Delivered, Fate::Read] {
        let mut rig =
            Rig::with(SettleMeans { on_unknown: OnUnknown::Resend, ..Default::default() });
        let turn = rig.delivering("m1", &["hello"]);
        let row = rig.claim_delivery().unwrap();
        rig.told_late(ours(row.claim.delivery, Some("p1")), fate);
        assert_eq!(rig.states(), ["sending"], "what is at the adapter is left to its own end");
        rig.record(row.claim, Outcome::Unknown(Fault::new("deadline", "no answer")));
        assert_eq!(
            (rig.states(), rig.turn(turn).row.state),
            (vec!["delivered".into()], "delivered".into())
        );
        rig.pass(std::time::Duration::from_secs(3_600));
        assert!(rig.claim_delivery().is_none(), "nothing is sent again");
    }
}

// Case: F4
#[test]
fn a_late_receipt_of_an_aborted_turns_row_is_recorded_and_brings_nothing_back() {
    let mut rig = Rig::new();
    let turn = rig.delivering("m1", &["a", "b"]);
    let row = rig.claim_delivery().unwrap();
    rig.run(Command::Abort { scope: AbortScope::Turn(turn), by: "test".to_owned() });
    rig.record(row.claim, sent_as("p1"));
    rig.told_late(theirs("p1"), Fate::Read);
    rig.told_late(theirs("p1"), bounced());
    assert_eq!(rig.states(), ["delivered", "cancelled"]);
    assert_eq!(rig.turn(turn).row.state, "aborted");
    assert!(rig.claim_delivery().is_none());
    assert_eq!(rig.late_receipts(row.claim.delivery).len(), 2);
}
