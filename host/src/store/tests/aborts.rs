//! Stops and claims that race: what is written, what is refused, what a repeated stop is told.

use super::rig::{LEASE, Rig, finals, message};
use crate::lifecycle::id::{DeliveryId, TurnId};
use crate::lifecycle::message::{
    AbortRequest, DeliveryKind, Fate, InboundEvent, LateReceipt, Reply, Sender, SentMessage,
};
use crate::lifecycle::outcome::{Fault, NotSent, Outcome};
use crate::lifecycle::turn::{AbortReach, Loss};
use crate::store::*;

fn progress(text: &str) -> NewDelivery {
    let body = Reply { text: text.to_owned(), ..Reply::default() };
    NewDelivery { kind: DeliveryKind::Tool, body, part: 1, parts: 1 }
}

fn say(rig: &mut Rig, claim: TurnClaim, text: &str) -> (Guarded, Vec<DeliveryId>) {
    let rows = vec![progress(text)];
    match rig.run(Command::Progress { claim, rows, claim_first: None }) {
        Answer::Enqueued { guarded, ids, .. } => (guarded, ids),
        other => panic!("{other:?}"),
    }
}

fn stop(rig: &mut Rig, id: &str) -> AcceptedEvent {
    let request = AbortRequest {
        external_id: id.to_owned(),
        conversation: "room".to_owned(),
        context: None,
        sender: Sender { id: "ann".to_owned(), ..Sender::default() },
    };
    rig.accept_events(vec![InboundEvent::Abort(request)]).events.remove(0)
}

fn stopped(turns: &[TurnId], again: bool) -> AcceptedEvent {
    AcceptedEvent::Abort { stopped: turns.to_vec(), again }
}

// Case: B3
#[test]
fn of_dispatchers_that_claim_one_turn_at_once_or_one_after_the_other_one_wins() {
    let mut rig = Rig::new();
    rig.accept_turn(message("room", "m1", "hello"));
    let claims = vec![Command::ClaimTurn { lease: LEASE }; 3];
    let won = |answers: Vec<Result<Answer, StoreError>>| {
        let claimed = |answer: &Result<Answer, StoreError>| {
            matches!(answer, Ok(Answer::ClaimedTurn(Some(_))))
        };
        answers.iter().filter(|answer| claimed(answer)).count()
    };
    let together = rig.core.apply(rig.now, claims.clone());
    assert_eq!(won(together), 1);
    let later = rig.core.apply(rig.now, claims);
    assert_eq!(won(later), 0);
}

// Case: B18
#[test]
fn what_two_handlers_say_in_turns_keeps_its_own_turn_and_its_order() {
    let mut rig = Rig::new();
    rig.accept_turn(message("a", "m1", "hello"));
    rig.accept_turn(message("b", "m2", "hello"));
    let claims = [rig.claim_turn().unwrap().claim, rig.claim_turn().unwrap().claim];
    let mut said: [Vec<DeliveryId>; 2] = Default::default();
    for round in 0..3 {
        for (claim, ids) in claims.iter().zip(&mut said) {
            ids.extend(say(&mut rig, *claim, &format!("{} {round}", claim.turn)).1);
        }
    }
    for (claim, ids) in claims.iter().zip(&mut said) {
        let rows = finals(&["one", "two"]);
        match rig.run(Command::Complete { claim: *claim, rows, claim_first: None }) {
            Answer::Enqueued { ids: more, .. } => ids.extend(more),
            other => panic!("{other:?}"),
        }
    }
    for (claim, ids) in claims.iter().zip(&said) {
        let rows = rig.turn(claim.turn).deliveries;
        let found: Vec<DeliveryId> = rows.iter().map(|row| row.id).collect();
        assert_eq!(&found, ids, "its own rows, in the order in which they were said");
    }
    let mut sent: [Vec<DeliveryId>; 2] = Default::default();
    while let Some(row) = rig.claim_delivery() {
        let own = usize::from(row.turn == Some(claims[1].turn));
        sent[own].push(row.claim.delivery);
        rig.delivered(row.claim);
    }
    assert_eq!(sent, said, "and they go out in that order");
}

// Case: F1, F4
#[test]
fn an_abort_cancels_what_is_unsent_in_its_own_step_and_nothing_late_makes_or_queues_a_row() {
    let mut rig = Rig::new();
    let turn = rig.accept_turn(message("room", "m1", "hello"));
    let claim = rig.claim_turn().unwrap().claim;
    let (_, first) = say(&mut rig, claim, "at the adapter");
    say(&mut rig, claim, "waits");
    let sending = rig.claim_delivery().unwrap();
    let before = rig.core.stats().commits;
    let abort = Command::Abort { scope: AbortScope::Turn(turn), by: "ann".to_owned() };
    assert!(matches!(rig.run(abort), Answer::Operated { operated: Operated::Done { .. }, .. }));
    assert_eq!(rig.core.stats().commits, before + 1, "one step, one commit");
    assert_eq!(rig.states(), ["sending", "cancelled"]);
    assert_eq!(rig.turn(turn).row.state, "aborted");
    // Late output of the handler, whatever it is.
    assert_eq!(say(&mut rig, claim, "late"), (Guarded::Lost, Vec::new()));
    assert_eq!(rig.complete(claim, &["late"]), Guarded::Lost);
    for command in [
        Command::Silence { claim, claim_next_turn: None },
        Command::LoseTry { claim, loss: Loss::ClaimExpired },
        Command::Sweep(SweepStep::LoseTurn { claim, loss: Loss::HostLost }),
    ] {
        match rig.run(command) {
            Answer::TurnEnded { guarded, end, .. } => {
                assert_eq!((guarded, end), (Guarded::Lost, None));
            }
            other => panic!("{other:?}"),
        }
    }
    // A late answer of the adapter that would put the row back, then a receipt.
    let busy = NotSent::Transient(Fault::new("busy", "it is busy"));
    rig.record(sending.claim, Outcome::NotSent(busy));
    assert_eq!(rig.states(), ["cancelled", "cancelled"]);
    let receipt = LateReceipt {
        conversation: None,
        about: SentMessage::DeliveryId(first[0].to_string(), Some("p1".to_owned())),
        fate: Fate::Delivered,
        at_ms: None,
    };
    rig.accept_events(vec![InboundEvent::Receipt(receipt)]);
    assert_eq!(rig.states(), ["cancelled", "cancelled"]);
    assert_eq!(rig.turn(turn).row.state, "aborted");
    assert!(rig.claim_delivery().is_none() && rig.claim_turn().is_none());
}

// Case: F8
#[test]
fn a_stop_with_nothing_unfinished_says_so_and_changes_nothing() {
    let mut rig = Rig::new();
    let turn = rig.delivering("m1", &["a"]);
    let row = rig.claim_delivery().unwrap();
    rig.delivered(row.claim);
    let (channel, conversation) = ("hook".into(), "room".to_owned());
    for scope in
        [AbortScope::Turn(turn), AbortScope::Conversation { channel, conversation, all: true }]
    {
        let Answer::Operated { operated, stopped } =
            rig.run(Command::Abort { scope, by: "ann".to_owned() })
        else {
            panic!()
        };
        let Operated::Nothing { sentence } = operated else { panic!("{operated:?}") };
        assert!(sentence.starts_with("nothing to stop") && stopped.is_empty(), "{sentence}");
    }
    assert_eq!(stop(&mut rig, "s1"), stopped(&[], false));
    assert_eq!(rig.turn(turn).row.state, "delivered");
    assert_eq!(rig.turn(turn).ended_by, None);
}

// Case: F9
#[test]
fn the_same_stop_again_is_told_what_the_first_one_stopped_and_stops_nothing_new() {
    let mut rig = Rig::new();
    let first = rig.accept_turn(message("room", "m1", "hello"));
    assert_eq!(stop(&mut rig, "s1"), stopped(&[first], false));
    let later = rig.accept_turn(message("room", "m2", "hello"));
    assert_eq!(stop(&mut rig, "s1"), stopped(&[first], true));
    rig.crash();
    assert_eq!(stop(&mut rig, "s1"), stopped(&[first], true));
    assert_eq!(rig.turn(later).row.state, "queued");
    assert_eq!(stop(&mut rig, "s2"), stopped(&[later], false));
    // One that stopped nothing stops nothing later either.
    assert_eq!(stop(&mut rig, "s3"), stopped(&[], false));
    let last = rig.accept_turn(message("room", "m3", "hello"));
    assert_eq!(stop(&mut rig, "s3"), stopped(&[], true));
    assert_eq!(rig.turn(last).row.state, "queued");
}

// Case: F6
#[test]
fn where_the_channel_says_so_a_person_stops_all_turns_and_each_is_named() {
    let mut rig = Rig::new();
    rig.on_abort = AbortReach::All;
    rig.crash();
    let turns = ["m1", "m2", "m3"].map(|id| rig.accept_turn(message("room", id, "hello")));
    let other = rig.accept_turn(message("other room", "m4", "hello"));
    rig.claim_turn();
    assert_eq!(stop(&mut rig, "s1"), stopped(&turns, false));
    for turn in turns {
        let detail = rig.turn(turn);
        assert_eq!(detail.row.state, "aborted");
        assert_eq!(detail.ended_by.as_deref(), Some("ann in hook"));
    }
    assert_eq!(rig.turn(other).row.state, "queued");
    assert_eq!(stop(&mut rig, "s1"), stopped(&turns, true));
}
