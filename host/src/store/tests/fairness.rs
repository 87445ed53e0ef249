//! Who is served before whom, told by the order of service and by how many rows a claim looks at,
//! never by a watch.

use std::time::Duration;

use super::rig::{LEASE, Rig, finals, message};
use crate::lifecycle::id::ChannelName;
use crate::lifecycle::message::{InboundEvent, InboundMessage};
use crate::lifecycle::outcome::{Fault, Ledger, NotSent, Outcome, Receipt, StateWrites};
use crate::store::*;

const BACKLOG: usize = 100_000;

/// A backlog of deliveries in one conversation, copied row by row from a real one: what a claim
/// costs is a matter of the rows, not of how they came.
fn pile(rig: &mut Rig, room: &str) {
    rig.accept_turn(message(room, "first", "hello"));
    let claim = rig.claim_turn().unwrap().claim;
    rig.complete(claim, &["pile"]);
    let db = rig.core.connection().unwrap();
    let columns = "nonce, channel_id, conversation_id, turn_id, turn_try, kind, part, parts, \
                   state, payload, created_at_ms, next_at_ms, next_set_ms";
    db.execute_batch(&format!(
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {BACKLOG})
         INSERT INTO delivery (id, seq, reply, head, {columns})
         SELECT d.id + n.i, d.id + n.i, d.id + n.i, 0, {columns} FROM delivery d, n
         WHERE d.id = (SELECT max(id) FROM delivery);
         DELETE FROM temp.moved;"
    ))
    .unwrap();
    // The core learns the numbers that are taken.
    rig.crash();
}

// Case: E2
#[test]
fn behind_a_hundred_thousand_rows_of_one_conversation_another_ones_message_is_second() {
    let mut rig = Rig::new();
    pile(&mut rig, "crowd");
    rig.accept_turn(message("quiet", "m1", "hello"));
    let claim = rig.claim_turn().unwrap().claim;
    assert_eq!(rig.complete(claim, &["me too"]), Guarded::Done);
    let served: Vec<String> =
        (0..2).map(|_| rig.claim_delivery().unwrap().message.place.conversation).collect();
    assert_eq!(served, ["crowd", "quiet"]);
    assert!(rig.claim_delivery().is_none(), "the crowd's next one waits for its first");
    // Looking for work reads heads alone, however long their lines are.
    let heads = "SELECT count(*) FROM delivery WHERE head = 1 AND claim_token IS NULL";
    let found: i64 = rig.core.connection().unwrap().query_row(heads, [], |r| r.get(0)).unwrap();
    assert_eq!(found, 0);
}

// Case: E3
#[test]
fn channels_take_turns_whatever_backlog_one_of_them_has() {
    let mut rig = Rig::new();
    let names: Vec<ChannelName> =
        (0..10).map(|n| ChannelName::from(format!("c{n}").as_str())).collect();
    rig.run(Command::ChannelsPresent(names.clone()));
    for name in &names {
        let mut rules = super::rig::channel_rules(Default::default());
        rules.channel = name.clone();
        rig.run(Command::Channel(rules));
    }
    let post = |rig: &mut Rig, channel: &ChannelName, n: usize| {
        let accept = Accept {
            channel: channel.clone(),
            events: vec![InboundEvent::Message(message(&format!("room{n}"), "m", "hello"))],
            cursor: None,
            state: StateWrites::default(),
            claim: None,
        };
        rig.run(Command::Accept(accept));
    };
    for n in 0..500 {
        post(&mut rig, &names[0], n);
    }
    for name in &names[1..] {
        post(&mut rig, name, 0);
    }
    let mut served = Vec::new();
    for _ in 0..names.len() {
        let turn = rig.claim_turn().unwrap();
        served.push(turn.channel.clone());
        let rows = finals(&["yes"]);
        rig.run(Command::Complete { claim: turn.claim, rows, claim_first: None });
    }
    served.sort();
    assert_eq!(served, names, "within one round each channel has had its turn");
    // Deliveries are claimed per channel: a backlog is nobody else's.
    for name in &names[1..] {
        let claim = Command::ClaimDelivery { channel: name.clone(), lease: LEASE };
        let Answer::ClaimedDelivery(Some(row)) = rig.run(claim) else { panic!("{name}") };
        assert_eq!(row.channel, *name);
    }
}

// Case: B21
#[test]
fn while_a_final_waits_in_backoff_the_next_turn_waits_and_its_age_does_not_run() {
    let mut rig = Rig::new();
    rig.delivering("m1", &["slow"]);
    let next = rig.accept_turn(message("room", "m2", "next"));
    for _ in 0..4 {
        let row = rig.claim_delivery().unwrap();
        let fault = Fault::new("http_502", "simulated");
        rig.record(row.claim, Outcome::NotSent(NotSent::Transient(fault)));
        assert!(rig.claim_turn().is_none(), "it waits for the reply before it");
        rig.pass(Duration::from_secs(5 * 3_600 + 3_000));
        let expire = rig.run(Command::Sweep(SweepStep::ExpireTurn { turn: next }));
        assert!(
            matches!(expire, Answer::TurnEnded { guarded: Guarded::Lost, .. }),
            "its age does not run: {expire:?}"
        );
    }
    let row = rig.claim_delivery().unwrap();
    rig.delivered(row.claim);
    assert_eq!(rig.claim_turn().unwrap().claim.turn, next);
}

// Case: B15
#[test]
fn an_unreadable_payload_is_quarantined_with_its_metadata_and_later_turns_go_on() {
    let mut rig = Rig::new();
    let broken = rig.accept_turn(message("room", "m1", "hello"));
    let later = rig.accept_turn(message("room", "m2", "hello"));
    let sql = "UPDATE turn SET payload = '{' WHERE id = ?1";
    rig.core.connection().unwrap().execute(sql, [broken.number]).unwrap();
    // Nobody is given what cannot be read, and nobody waits behind it.
    assert_eq!(rig.claim_turn().unwrap().claim.turn, later);
    let detail = rig.turn(broken);
    let end = (detail.row.state.as_str(), detail.row.code.as_deref());
    assert_eq!(end, ("failed", Some("unreadable")));
    assert_eq!(detail.row.external_id.as_deref(), Some("m1"));
}

/// Writes to one column of one row what nobody ever wrote there.
fn damage(rig: &Rig, table: &str, column: &str, number: i64) {
    let sql = format!("UPDATE {table} SET {column} = CAST(x'fffe00' AS TEXT) WHERE id = ?1");
    rig.core.connection().unwrap().execute(&sql, [number]).unwrap();
}

// Case: B15
#[test]
fn a_turn_whose_text_is_no_text_fails_and_other_conversations_go_on() {
    let mut rig = Rig::new();
    let broken = rig.accept_turn(message("room", "m1", "hello"));
    let other = rig.accept_turn(message("elsewhere", "m2", "hello"));
    damage(&rig, "turn", "payload", broken.number);
    assert_eq!(rig.claim_turn().unwrap().claim.turn, other);
    let end = rig.turn(broken).row;
    assert_eq!((end.state.as_str(), end.code.as_deref()), ("failed", Some("unreadable")));
    assert!(end.reason.unwrap().contains("cannot be read"));
}

// Case: B15
#[test]
fn a_delivery_that_cannot_be_read_fails_its_turn_and_the_channel_goes_on() {
    let mut rig = Rig::new();
    let broken = rig.delivering("m1", &["one", "two"]);
    let rows = rig.outbox();
    damage(&rig, "delivery", "payload", rows[0].id.number);
    rig.accept_turn(message("elsewhere", "m2", "hello"));
    let claim = rig.claim_turn().unwrap().claim;
    rig.complete(claim, &["me too"]);
    let claimed = rig.claim_delivery().expect("the other one's row is found behind it");
    assert_eq!(claimed.message.place.conversation, "elsewhere");
    let codes: Vec<_> = rig.outbox().into_iter().map(|row| row.code).collect();
    let words: Vec<_> = codes.iter().map(|code| code.as_deref()).collect();
    assert_eq!(words, [Some("unreadable"), Some("part_missing"), None]);
    assert_eq!(rig.turn(broken).row.state, "failed");
}

// Case: B15
#[test]
fn what_is_recorded_stands_though_the_next_row_of_its_line_cannot_be_read() {
    let mut rig = Rig::new();
    let first = rig.delivering("m1", &["one"]);
    let next = rig.accept_turn(message("room", "m2", "hello"));
    let claim = rig.claim_delivery().unwrap().claim;
    damage(&rig, "turn", "payload", next.number);
    let record = RecordOutcome {
        claim,
        outcome: Outcome::Delivered(Receipt::default()),
        ledger: Ledger::default(),
        digest: "d1".to_owned(),
        contradicted: false,
        state: StateWrites::default(),
        next: ClaimNext { delivery: Some(LEASE), turn: Some(LEASE) },
    };
    let Answer::Recorded(recorded) = rig.run(Command::Record(Box::new(record))) else { panic!() };
    assert!(recorded.claim_held && recorded.next.turn.is_none());
    assert_eq!(rig.turn(first).row.state, "delivered");
    assert_eq!(rig.turn(next).row.code.as_deref(), Some("unreadable"));
}

// Case: B15
#[test]
fn a_row_of_which_nothing_can_be_read_leaves_its_line() {
    let mut rig = Rig::new();
    let broken = rig.accept_turn(message("room", "m1", "hello"));
    let other = rig.accept_turn(message("elsewhere", "m2", "hello"));
    let sql = "UPDATE turn SET try = -7 WHERE id = ?1";
    rig.core.connection().unwrap().execute(sql, [broken.number]).unwrap();
    assert_eq!(rig.claim_turn().unwrap().claim.turn, other);
    assert!(rig.claim_turn().is_none());
}

// Case: B15
#[test]
fn a_turn_does_without_context_that_cannot_be_read() {
    let mut rig = Rig::new();
    rig.accept(InboundMessage { wakes: false, ..message("room", "m0", "before") });
    rig.accept(InboundMessage { wakes: false, ..message("room", "m1", "broken") });
    damage(&rig, "context", "payload", 2);
    rig.accept_turn(message("room", "m2", "hello"));
    let context = rig.claim_turn().unwrap().context;
    assert_eq!(context.iter().map(|it| it.text.as_str()).collect::<Vec<_>>(), ["before"]);
}

// Case: E1
#[test]
fn rows_of_one_moment_go_in_the_order_in_which_they_were_made() {
    let mut rig = Rig::new();
    for n in 0..5 {
        rig.accept_turn(message(&format!("room{n}"), "m", "hello"));
    }
    for n in 0..5 {
        let turn = rig.claim_turn().unwrap();
        assert_eq!(turn.conversation, format!("room{n}"));
        rig.complete(turn.claim, &["yes"]);
    }
    for n in 0..5 {
        let row = rig.claim_delivery().unwrap();
        assert_eq!(row.message.place.conversation, format!("room{n}"));
    }
}

#[test]
fn of_two_thousand_conversations_none_is_served_twice_before_all_are_served_once() {
    serve_two_thousand(None);
}

#[test]
fn nor_is_it_where_the_end_of_a_turn_claims_the_next_one() {
    serve_two_thousand(Some(LEASE));
}

/// Two turns of each of many conversations, with what the end of a turn may claim.
fn serve_two_thousand(fold: Option<Lease>) {
    const ROOMS: usize = 2_000;
    let mut rig = Rig::new();
    rig.run(Command::Rules(HostRules { pending_turns_max: 10_000, ..rig.rules() }));
    for piece in 0..2 {
        for first in (0..ROOMS).step_by(500) {
            let accept = |room| {
                let message = message(&format!("r{room}"), &format!("m{piece}-{room}"), "hello");
                Command::Accept(Accept {
                    channel: ChannelName::from("hook"),
                    events: vec![InboundEvent::Message(message)],
                    cursor: None,
                    state: StateWrites::default(),
                    claim: None,
                })
            };
            let answers = rig.core.apply(rig.now, (first..first + 500).map(accept).collect());
            assert!(answers.iter().all(Result::is_ok));
        }
    }
    let mut served = std::collections::BTreeMap::<String, u32>::new();
    let mut behind = None;
    for place in 0..2 * ROOMS {
        let turn = behind.take().or_else(|| rig.claim_turn()).expect("a turn waits");
        *served.entry(turn.conversation.clone()).or_default() += 1;
        let silence = Command::Silence { claim: turn.claim, claim_next_turn: fold };
        let Answer::TurnEnded { next, .. } = rig.run(silence) else { panic!() };
        assert!(next.turn.is_none() || fold.is_some());
        behind = next.turn;
        if place == ROOMS - 1 {
            assert_eq!((served.len(), served.values().max()), (ROOMS, Some(&1)));
        }
    }
    assert!(rig.claim_turn().is_none());
    assert!(served.values().all(|turns| *turns == 2));
}

#[test]
fn behind_each_sent_row_of_a_long_line_the_row_that_waited_longest_is_claimed() {
    let mut rig = Rig::new();
    let reply = |rig: &mut Rig, room: &str, texts: &[&str]| {
        rig.accept_turn(message(room, room, "hello"));
        let claim = rig.claim_turn().unwrap().claim;
        rig.complete(claim, texts);
    };
    reply(&mut rig, "long", &["1", "2", "3", "4"]);
    rig.pass(Duration::from_secs(1));
    reply(&mut rig, "short", &["yes"]);
    rig.pass(Duration::from_secs(1));
    let mut next = rig.claim_delivery();
    let mut order = Vec::new();
    while let Some(row) = next.take() {
        order.push(row.message.text.clone());
        let record = RecordOutcome {
            claim: row.claim,
            outcome: Outcome::Delivered(Receipt::default()),
            ledger: Ledger::default(),
            digest: "d1".to_owned(),
            contradicted: false,
            state: StateWrites::default(),
            next: ClaimNext { delivery: Some(LEASE), turn: None },
        };
        let Answer::Recorded(recorded) = rig.run(Command::Record(Box::new(record))) else {
            panic!()
        };
        next = recorded.next.delivery.or_else(|| rig.claim_delivery());
    }
    assert_eq!(order, ["1", "yes", "2", "3", "4"]);
}
