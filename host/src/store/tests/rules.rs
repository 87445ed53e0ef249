//! What the tables say, on a real SQLite file: an end is an end, an output is one output, and the
//! parts of one reply share their fate. The tables themselves are tested in `lifecycle`.

use std::time::Duration;

use super::rig::{LEASE, Rig, finals, message};
use crate::lifecycle::delivery::DeliveryLimits;
use crate::lifecycle::message::{DeliveryKind, Reply};
use crate::lifecycle::outcome::{Fault, NotSent, Outcome};
use crate::lifecycle::turn::{Loss, TurnLimits};
use crate::store::*;

fn fault() -> Fault {
    Fault::new("code", "a sentence")
}

/// A handler's failure, with or without another try.
fn failure(retry: bool) -> Loss {
    let (code, sentence) = ("no".to_owned(), "no".to_owned());
    Loss::Handler { code, sentence, retry, retry_after_ms: None }
}

fn progress(kind: DeliveryKind, texts: &[&str]) -> Vec<NewDelivery> {
    let row = |text: &&str| NewDelivery {
        kind,
        body: Reply { text: (*text).to_owned(), ..Reply::default() },
        part: 1,
        parts: 1,
    };
    texts.iter().map(row).collect()
}

/// A turn of each end, with the claim that its last holder had.
fn ended(rig: &mut Rig, state: &str) -> TurnClaim {
    let turn = rig.accept_turn(message("room", state, "hello"));
    if state == "expired" {
        // Nobody ever held it: whoever says so makes it up.
        rig.pass(Duration::from_millis(TurnLimits::default().age_max_ms + 1));
        rig.run(Command::Sweep(SweepStep::ExpireTurn { turn }));
        rig.accept_turn(message("hall", state, "hello"));
        return TurnClaim { turn, ..rig.claim_turn().unwrap().claim };
    }
    let claim = rig.claim_turn().unwrap().claim;
    let abort = Command::Abort { scope: AbortScope::Turn(turn), by: "test".to_owned() };
    match state {
        "delivered" => {
            rig.complete(claim, &["hi"]);
            let row = rig.claim_delivery().unwrap();
            rig.delivered(row.claim);
        }
        "silent" => drop(rig.run(Command::Silence { claim, claim_next_turn: None })),
        "failed" => drop(rig.run(Command::LoseTry { claim, loss: failure(false) })),
        "aborted" => drop(rig.run(abort)),
        other => panic!("{other}"),
    }
    claim
}

// Case: B1
#[test]
fn an_ended_turn_refuses_every_further_step_and_its_row_stays_as_it_is() {
    for state in ["delivered", "silent", "failed", "aborted", "expired"] {
        let mut rig = Rig::new();
        let claim = ended(&mut rig, state);
        let before = rig.turn(claim.turn);
        assert_eq!(before.row.state, state);
        let claim_first = None;
        let turn = claim.turn;
        for command in [
            Command::Complete { claim, rows: finals(&["late"]), claim_first },
            Command::Progress { claim, rows: progress(DeliveryKind::Tool, &["late"]), claim_first },
            Command::Silence { claim, claim_next_turn: None },
            Command::LoseTry { claim, loss: failure(true) },
            Command::RenewTurn { claim, lease: LEASE },
            Command::Sweep(SweepStep::LoseTurn { claim, loss: Loss::HostLost }),
            Command::Sweep(SweepStep::ExpireTurn { turn }),
            Command::Abort { scope: AbortScope::Turn(turn), by: "test".to_owned() },
        ] {
            let said = format!("{command:?}");
            let told = match rig.run(command) {
                Answer::Enqueued { guarded, .. }
                | Answer::Guarded(guarded)
                | Answer::TurnEnded { guarded, .. } => guarded == Guarded::Lost,
                Answer::Operated { operated, stopped } => {
                    stopped.is_empty() && !matches!(operated, Operated::Done { .. })
                }
                other => panic!("{state}: {said}: {other:?}"),
            };
            assert!(told, "{state}: the caller is told of {said}");
            assert_eq!(rig.turn(turn), before, "{state}: {said}");
        }
        assert!(rig.claim_turn().is_none() && rig.claim_delivery().is_none(), "{state}");
    }
}

// Case: C3, B9
#[test]
fn one_output_that_two_layers_hand_in_makes_one_row() {
    let mut rig = Rig::new();
    rig.accept_turn(message("room", "m1", "hello"));
    let claim = rig.claim_turn().unwrap().claim;
    assert_eq!(rig.complete(claim, &["hi"]), Guarded::Done);
    assert_eq!(rig.complete(claim, &["hi"]), Guarded::Lost, "whoever comes second is told");
    assert_eq!(rig.states(), ["queued"]);
}

// Case: C12
#[test]
fn of_three_parts_with_a_kill_after_the_second_only_the_third_goes_out() {
    let mut rig = Rig::new();
    let turn = rig.delivering("m1", &["a", "b", "c"]);
    for text in ["a", "b"] {
        let row = rig.claim_delivery().unwrap();
        assert_eq!(row.message.text, text);
        rig.delivered(row.claim);
    }
    rig.crash();
    let row = rig.claim_delivery().unwrap();
    assert_eq!((row.message.text.as_str(), row.message.part, row.message.parts), ("c", 3, 3));
    assert!(rig.claim_delivery().is_none());
    rig.delivered(row.claim);
    assert_eq!(rig.turn(turn).row.state, "delivered");
}

/// What becomes of a second part, and what its row is called then.
enum Second {
    Rejected,
    Held,
    Expired,
}

// Case: C13
#[test]
fn a_second_part_that_is_rejected_held_or_expired_cancels_the_third_in_its_own_step() {
    for (second, state) in
        [(Second::Rejected, "dead"), (Second::Held, "held"), (Second::Expired, "expired")]
    {
        let mut rig = Rig::new();
        let turn = rig.delivering("m1", &["a", "b", "c"]);
        let row = rig.claim_delivery().unwrap();
        rig.delivered(row.claim);
        let before = rig.core.stats().commits;
        let claim = |rig: &mut Rig| rig.claim_delivery().unwrap().claim;
        let (commits, end) = match second {
            Second::Rejected => {
                let claim = claim(&mut rig);
                (2, rig.record(claim, Outcome::Rejected(fault())).turn_ended)
            }
            Second::Held => {
                let claim = claim(&mut rig);
                (2, rig.record(claim, Outcome::Unknown(fault())).turn_ended)
            }
            Second::Expired => {
                rig.pass(Duration::from_millis(DeliveryLimits::default().age_max_ms + 1));
                let delivery = rig.outbox()[1].id;
                match rig.run(Command::Sweep(SweepStep::ExpireDelivery { delivery })) {
                    Answer::Recorded(recorded) => (1, recorded.turn_ended),
                    other => panic!("{other:?}"),
                }
            }
        };
        assert_eq!(end.unwrap().turn, turn, "{state}: told in the same step");
        assert_eq!(rig.core.stats().commits - before, commits, "{state}");
        assert_eq!(rig.states(), ["delivered", state, "cancelled"]);
        assert_eq!(rig.outbox()[2].code.as_deref(), Some("part_missing"));
        let told = rig.turn(turn);
        assert_eq!(told.row.state, "failed");
        let parts: Vec<_> = told.deliveries.iter().map(|row| (row.part, &*row.state)).collect();
        assert_eq!(parts[0], (1, "delivered"), "the record says which arrived");
    }
}

// Case: C24
#[test]
fn progress_that_waits_is_cancelled_with_its_lost_try_and_with_a_silent_or_failed_turn() {
    for end in ["lost", "silent", "failed"] {
        let mut rig = Rig::new();
        let turn = rig.accept_turn(message("room", "m1", "hello"));
        let claim = rig.claim_turn().unwrap().claim;
        for (kind, text) in [(DeliveryKind::Tool, "looking"), (DeliveryKind::Block, "half")] {
            let rows = progress(kind, &[text]);
            rig.run(Command::Progress { claim, rows, claim_first: None });
        }
        // The one that is at the adapter ends as it ends; the one behind it waits.
        let row = rig.claim_delivery().unwrap();
        let command = match end {
            "lost" => Command::LoseTry { claim, loss: failure(true) },
            "silent" => Command::Silence { claim, claim_next_turn: None },
            _ => Command::LoseTry { claim, loss: failure(false) },
        };
        rig.run(command);
        assert_eq!(rig.states(), ["sending", "cancelled"], "{end}");
        rig.record(row.claim, Outcome::NotSent(NotSent::Transient(fault())));
        let first = rig.states().remove(0);
        assert!(["dead", "cancelled"].contains(&first.as_str()), "{end}: {first}");
        rig.pass(Duration::from_secs(3_600));
        assert!(rig.claim_delivery().is_none(), "{end}: nothing of it is sent any more");
        let state = if end == "lost" { "queued" } else { end };
        assert_eq!(rig.turn(turn).row.state, state);
    }
}
