//! Paces that hold over restarts, and waits that platforms asked for.

use std::time::Duration;

use super::rig::{Rig, message};
use crate::lifecycle::bucket::Rate;
use crate::lifecycle::outcome::{NotSent, Outcome, RateScope};
use crate::store::*;

fn paced(rig: &mut Rig, rate: Rate) {
    let mut rules = super::rig::channel_rules(Default::default());
    rules.pace = Pace { rate: Some(rate), conversation_interval_ms: 0 };
    rig.run(Command::Channel(rules));
}

fn waiting(rig: &mut Rig, rooms: u32) {
    for n in 0..rooms {
        rig.accept_turn(message(&format!("room{n}"), "m", "hello"));
        let claim = rig.claim_turn().unwrap().claim;
        rig.complete(claim, &["yes"]);
    }
}

const RATE: Rate = Rate { interval_us: 1_000_000, burst: 3 };

#[test]
fn a_host_that_restarts_in_a_loop_sends_no_more_than_one_that_does_not() {
    let mut rig = Rig::new();
    paced(&mut rig, RATE);
    waiting(&mut rig, 20);
    let mut sent = 0;
    for _ in 0..10 {
        while let Some(row) = rig.claim_delivery() {
            rig.delivered(row.claim);
            sent += 1;
        }
        rig.crash();
        paced(&mut rig, RATE);
        rig.pass(Duration::from_millis(100));
    }
    assert_eq!(sent, 3, "its burst, and in one second no further token");
    rig.pass(Duration::from_millis(50));
    assert!(rig.claim_delivery().is_some(), "one interval later there is one");
    assert!(rig.claim_delivery().is_none());
    let next = Query::NextDelivery { channel: "hook".into() };
    let Rows::Due(NextDue::At(at_ms)) = rig.read().read(&next).unwrap() else { panic!() };
    assert!((1..=1_000).contains(&(at_ms - rig.now.wall_ms)), "the deliverer knows when to look");
}

#[test]
fn a_call_that_did_not_begin_gives_its_token_back() {
    let mut rig = Rig::new();
    paced(&mut rig, Rate { burst: 1, ..RATE });
    waiting(&mut rig, 2);
    let row = rig.claim_delivery().unwrap();
    assert!(rig.claim_delivery().is_none());
    rig.record(row.claim, Outcome::NotSent(NotSent::Stopped));
    assert!(rig.claim_delivery().is_some());
}

#[test]
fn a_clock_that_jumps_either_way_stops_no_channel_and_makes_at_most_one_burst() {
    let mut rig = Rig::new();
    paced(&mut rig, RATE);
    waiting(&mut rig, 20);
    let drain = |rig: &mut Rig| {
        let mut sent = 0;
        while let Some(row) = rig.claim_delivery() {
            rig.delivered(row.claim);
            sent += 1;
        }
        sent
    };
    assert_eq!(drain(&mut rig), 3);
    rig.now.wall_ms -= 3_600_000;
    let release = SweepStep::ReleaseFuture { rows_max: 1_000 };
    rig.run(Command::Sweep(release));
    let next = rig.ask(&Query::NextDelivery { channel: "hook".into() });
    let Rows::Due(NextDue::At(at_ms)) = next else { panic!("{next:?}") };
    assert!(at_ms <= rig.now.wall_ms, "the deliverer looks at once, not in an hour");
    assert!(drain(&mut rig) <= 1);
    rig.pass(Duration::from_millis(1_000));
    assert_eq!(drain(&mut rig), 1, "an hour back freezes nothing");
    rig.now.wall_ms += 3_600_000;
    assert_eq!(drain(&mut rig), 3);
}

// Case: C6
#[test]
fn a_rate_limit_holds_the_channel_or_the_conversation_for_its_time_over_a_restart() {
    for scope in [RateScope::Channel, RateScope::Conversation] {
        let mut rig = Rig::new();
        let rooms = if scope == RateScope::Channel { 1 } else { 2 };
        waiting(&mut rig, rooms);
        let row = rig.claim_delivery().unwrap();
        let limited = NotSent::RateLimited { retry_after_ms: 90_000, scope };
        rig.record(row.claim, Outcome::NotSent(limited));
        rig.crash();
        // Another conversation's message goes on, and the channel's does not.
        if scope == RateScope::Channel {
            rig.accept_turn(message("other", "m", "hello"));
            let claim = rig.claim_turn().unwrap().claim;
            rig.complete(claim, &["later"]);
        }
        let other = rig.claim_delivery();
        assert_eq!(other.is_some(), scope == RateScope::Conversation, "{scope:?}");
        if let Some(other) = other {
            rig.delivered(other.claim);
        }
        rig.pass(Duration::from_millis(89_999));
        assert!(rig.claim_delivery().is_none(), "not before 90 s");
        rig.pass(Duration::from_millis(1));
        let mut again = rig.claim_delivery().unwrap();
        if scope == RateScope::Channel {
            // Both are due by now, and the other one has been for longer.
            assert_eq!(again.message.place.conversation, "other");
            again = rig.claim_delivery().unwrap();
        }
        assert_eq!((again.message.attempt, rig.outbox()[0].attempts), (2, 1), "not charged");
    }
}

#[test]
fn a_conversations_interval_holds_over_a_restart_and_holds_up_no_other() {
    let mut rig = Rig::new();
    let slow = |rig: &mut Rig| {
        let mut rules = super::rig::channel_rules(Default::default());
        rules.pace = Pace { rate: None, conversation_interval_ms: 2_000 };
        rig.run(Command::Channel(rules));
    };
    slow(&mut rig);
    rig.delivering("m1", &["a", "b"]);
    waiting(&mut rig, 1);
    for _ in 0..2 {
        let row = rig.claim_delivery().unwrap();
        rig.delivered(row.claim);
    }
    rig.crash();
    slow(&mut rig);
    assert!(rig.claim_delivery().is_none());
    rig.pass(Duration::from_millis(2_000));
    assert_eq!(rig.claim_delivery().unwrap().message.text, "b");
}

#[test]
fn a_wait_that_the_platform_asked_for_ends_with_the_clock_that_set_it() {
    let mut rig = Rig::new();
    waiting(&mut rig, 2);
    let row = rig.claim_delivery().unwrap();
    let scope = RateScope::Channel;
    let limited = NotSent::RateLimited { retry_after_ms: 60_000, scope };
    rig.record(row.claim, Outcome::NotSent(limited));
    rig.now.wall_ms -= 3_600_000;
    rig.run(Command::Sweep(SweepStep::ReleaseFuture { rows_max: 100 }));
    let next = rig.ask(&Query::NextDelivery { channel: "hook".into() });
    let Rows::Due(NextDue::At(at_ms)) = next else { panic!("{next:?}") };
    assert!(at_ms <= rig.now.wall_ms);
    assert!(rig.claim_delivery().is_some());
}

#[test]
fn of_two_waits_that_were_asked_for_at_once_the_longer_one_holds_the_channel() {
    let mut rig = Rig::new();
    waiting(&mut rig, 3);
    let rows: Vec<_> = (0..2).map(|_| rig.claim_delivery().unwrap().claim).collect();
    for (claim, retry_after_ms) in rows.into_iter().zip([60_000, 1_000]) {
        let scope = RateScope::Channel;
        rig.record(claim, Outcome::NotSent(NotSent::RateLimited { retry_after_ms, scope }));
    }
    rig.pass(Duration::from_secs(2));
    assert!(rig.claim_delivery().is_none());
    rig.pass(Duration::from_secs(58));
    assert!(rig.claim_delivery().is_some());
}
