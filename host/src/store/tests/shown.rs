//! What an operator is shown of a row: why it waits and since when, what was tried, who ordered what.

use std::time::Duration;

use super::rig::{Rig, message};
use crate::lifecycle::id::{DeliveryId, TurnId};
use crate::lifecycle::outcome::{Fault, NotSent, Outcome, RateScope};
use crate::lifecycle::turn::Loss;
use crate::store::*;

fn delivery(rig: &Rig, id: DeliveryId) -> DeliveryDetail {
    match rig.read().read(&Query::Delivery { id, payload: false }).unwrap() {
        Rows::Delivery(Some(row)) => *row,
        other => panic!("{other:?}"),
    }
}

/// Codes and times of what still holds.
fn held_by(rig: &Rig, waits: &[Wait]) -> Vec<(String, Option<i64>)> {
    let now_ms = rig.now.wall_ms;
    let holding = waits.iter().filter(|wait| wait.holds_at(now_ms));
    holding.map(|wait| (wait.code.clone(), wait.since_ms)).collect()
}

fn queued(rig: &mut Rig) -> (TurnId, DeliveryId) {
    let turn = rig.delivering("m1", &["hello"]);
    (turn, rig.outbox()[0].id)
}

// Case: G5
#[test]
fn a_row_that_is_passed_over_says_what_its_channel_lacks_and_since_when() {
    let mut rig = Rig::new();
    let (turn, row) = queued(&mut rig);
    assert_eq!(held_by(&rig, &delivery(&rig, row).waits), []);
    rig.pass(Duration::from_secs(5));
    let paused_ms = rig.now.wall_ms;
    let switch = ChannelSwitch::Pause(Fault::new("operator", "paused by hand"));
    rig.run(Command::SwitchChannel { channel: "hook".into(), switch });
    rig.pass(Duration::from_secs(60));
    let waits = delivery(&rig, row).waits;
    assert_eq!(held_by(&rig, &waits), [("channel_paused".to_owned(), Some(paused_ms))]);
    assert_eq!(waits[0].reason, "paused by hand");
    rig.run(Command::SwitchChannel { channel: "hook".into(), switch: ChannelSwitch::Resume });
    let broken_ms = rig.now.wall_ms;
    for sentence in ["calls keep breaking", "and go on breaking"] {
        let fault = Some(Fault::new("breaker_open", sentence));
        rig.run(Command::HoldChannel { channel: "hook".into(), by: HoldBy::Breaker, fault });
        rig.pass(Duration::from_secs(9));
    }
    let waits = delivery(&rig, row).waits;
    assert_eq!(held_by(&rig, &waits), [("breaker_open".to_owned(), Some(broken_ms))]);
    assert_eq!(waits[0].reason, "and go on breaking");
    rig.run(Command::ClearHolds);
    rig.pass(Duration::from_secs(9));
    let gone_ms = rig.now.wall_ms;
    rig.run(Command::ChannelsPresent(Vec::new()));
    let waits = delivery(&rig, row).waits;
    assert_eq!(held_by(&rig, &waits), [("channel_removed".to_owned(), Some(gone_ms))]);
    rig.crash();
    assert_eq!(held_by(&rig, &delivery(&rig, row).waits), [], "it is back");
    let row = rig.claim_delivery().unwrap();
    rig.delivered(row.claim);
    assert_eq!(rig.turn(turn).row.state, "delivered");
    assert_eq!(delivery(&rig, row.claim.delivery).waits, [], "at rest it waits for nothing");
}

// Case: G5
#[test]
fn a_row_in_backoff_behind_another_or_in_a_closed_conversation_says_so() {
    let mut rig = Rig::new();
    let turn = rig.delivering("m1", &["one", "two"]);
    let claimed = rig.claim_delivery().unwrap();
    let (first, second) = (rig.outbox()[0].id, rig.outbox()[1].id);
    let failed_ms = rig.now.wall_ms;
    let fault = Fault::new("http_502", "the platform answered 502");
    rig.record(claimed.claim, Outcome::NotSent(NotSent::Transient(fault)));
    let waits = delivery(&rig, first).waits;
    assert_eq!(held_by(&rig, &waits), [("http_502".to_owned(), Some(failed_ms))]);
    assert!(waits[0].until_ms.unwrap() >= failed_ms + 5_000, "{waits:?}");
    let behind = delivery(&rig, second).waits;
    assert_eq!(behind[0].code, "behind");
    assert!(behind[0].reason.contains(&first.to_string()), "{behind:?}");
    rig.pass(Duration::from_secs(60));
    assert_eq!(held_by(&rig, &delivery(&rig, first).waits), [], "its time has come");
    let claimed = rig.claim_delivery().unwrap();
    let limit = NotSent::RateLimited { retry_after_ms: 90_000, scope: RateScope::Conversation };
    rig.record(claimed.claim, Outcome::NotSent(limit));
    let waits = delivery(&rig, first).waits;
    assert!(waits.iter().any(|wait| wait.code == "rate_limited" && wait.until_ms.is_some()));
    rig.pass(Duration::from_secs(90));
    let claimed = rig.claim_delivery().unwrap();
    let closed_ms = rig.now.wall_ms;
    let fault = Fault::new("window", "24 hours have passed");
    rig.record(claimed.claim, Outcome::NotSent(NotSent::Closed(fault)));
    let waits = held_by(&rig, &delivery(&rig, first).waits);
    assert_eq!(waits, [("closed".to_owned(), Some(closed_ms))]);
    assert_eq!(rig.turn(turn).row.state, "delivering");
}

// Case: G5
#[test]
fn a_turn_that_waits_says_behind_whom_or_after_which_failure() {
    let mut rig = Rig::new();
    let first = rig.accept_turn(message("room", "m1", "one"));
    let second = rig.accept_turn(message("room", "m2", "two"));
    let claim = rig.claim_turn().unwrap().claim;
    let waits = rig.turn(second).waits;
    assert_eq!(waits[0].code, "behind");
    assert!(waits[0].reason.contains(&format!("{first} of its conversation is before it")));
    let lost_ms = rig.now.wall_ms;
    let loss = Loss::Handler {
        code: "handler_failed".to_owned(),
        sentence: "the agent said no".to_owned(),
        retry: true,
        retry_after_ms: Some(30_000),
    };
    rig.run(Command::LoseTry { claim, loss });
    let shown = rig.turn(first);
    assert_eq!(held_by(&rig, &shown.waits), [("backoff".to_owned(), Some(lost_ms))]);
    assert_eq!(shown.lost_tries.len(), 1);
    let lost = &shown.lost_tries[0];
    assert_eq!((lost.number, lost.at_ms, &*lost.code), (1, lost_ms, "handler_failed"));
    assert_eq!(lost.reason, "the agent said no");
}

#[test]
fn a_replay_names_who_ordered_it_and_both_rows_name_each_other() {
    let mut rig = Rig::new();
    let turn = rig.delivering("m1", &["no"]);
    let row = rig.claim_delivery().unwrap();
    rig.record(row.claim, Outcome::Rejected(Fault::new("rude", "no")));
    let replay = |of, force| Command::Replay { of, force, by: "ann".to_owned() };
    rig.run(replay(ReplayOf::Turn(turn), false));
    rig.run(replay(ReplayOf::Delivery(row.claim.delivery), true));
    let old = rig.turn(turn);
    let new: TurnId = old.replays[0].parse().unwrap();
    let new = rig.turn(new);
    assert_eq!((new.made_by.as_deref(), new.replay_of), (Some("ann"), Some(turn.to_string())));
    let old = delivery(&rig, row.claim.delivery);
    let new = delivery(&rig, old.replays[0].parse().unwrap());
    assert_eq!(new.made_by.as_deref(), Some("ann"));
    assert_eq!(new.replay_of, Some(row.claim.delivery.to_string()));
}

#[test]
fn dead_letters_are_counted_by_channel_whatever_else_there_is() {
    let mut rig = Rig::new();
    rig.delivering("m1", &["no"]);
    let row = rig.claim_delivery().unwrap();
    rig.record(row.claim, Outcome::Rejected(Fault::new("rude", "no")));
    rig.accept_turn(message("hall", "m2", "hello"));
    let Rows::Channels(rows) = rig.read().read(&Query::Channels).unwrap() else { panic!() };
    let row = &rows[0];
    assert_eq!((row.turns_dead, row.turns_quarantined, row.deliveries_dead), (1, 0, 1));
    assert_eq!(row.turns_unfinished, 1);
}
