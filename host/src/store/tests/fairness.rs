//! Who is served before whom, told by the order of service and by how many rows a claim looks at,
//! never by a watch.

use std::time::Duration;

use super::rig::{LEASE, Rig, finals, message};
use crate::lifecycle::id::ChannelName;
use crate::lifecycle::message::InboundEvent;
use crate::lifecycle::outcome::{Fault, NotSent, Outcome, StateWrites};
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
    assert!(rig.claim_turn().is_none(), "nobody is given what cannot be read");
    let detail = rig.turn(broken);
    let end = (detail.row.state.as_str(), detail.row.code.as_deref());
    assert_eq!(end, ("failed", Some("unreadable")));
    assert_eq!(detail.row.external_id.as_deref(), Some("m1"));
    assert_eq!(rig.claim_turn().unwrap().claim.turn, later);
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
