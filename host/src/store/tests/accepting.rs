//! What is accepted, and how often: once, in order, all or none.

use std::time::Duration;

use super::rig::{LEASE, Rig, message};
use crate::lifecycle::message::{
    AbortRequest, Attachment, AttachmentSource, InboundEvent, InboundMessage, Sender,
};
use crate::lifecycle::turn::TurnState;
use crate::store::*;

const DAY: Duration = Duration::from_secs(86_400);

fn aside(id: &str) -> InboundMessage {
    InboundMessage { wakes: false, ..message("room", id, id) }
}

fn said(id: &str) -> InboundEvent {
    InboundEvent::Message(message("room", id, id))
}

fn batch(events: Vec<InboundEvent>, cursor: &str) -> Command {
    Command::Accept(Accept {
        channel: "hook".into(),
        events,
        cursor: Some(Some(cursor.to_owned())),
        state: Default::default(),
        claim: None,
    })
}

fn cursor(rig: &Rig) -> Option<String> {
    match rig.read().read(&Query::Cursor { channel: "hook".into() }).unwrap() {
        Rows::Text(text) => text,
        other => panic!("{other:?}"),
    }
}

fn turns(rig: &Rig) -> Vec<TurnRow> {
    match rig.read().read(&Query::Turns(ListFilter::default())).unwrap() {
        Rows::Turns(rows) => rows,
        other => panic!("{other:?}"),
    }
}

fn silence(rig: &mut Rig) -> Box<ClaimedTurn> {
    let turn = rig.claim_turn().unwrap();
    rig.run(Command::Silence { claim: turn.claim, claim_next_turn: None });
    turn
}

// Case: A1
#[test]
fn an_accepted_message_is_one_turn_whose_id_is_given_back() {
    let mut rig = Rig::new();
    let turn = rig.accept_turn(message("room", "m1", "hi"));
    let rows = turns(&rig);
    assert_eq!(rows.iter().map(|row| row.id).collect::<Vec<_>>(), [turn]);
    assert_eq!(rows[0].external_id.as_deref(), Some("m1"));
}

// Case: A4, A5
#[test]
fn inside_its_window_a_message_is_a_duplicate_also_of_a_removed_turn_and_past_it_new() {
    let mut rig = Rig::new();
    rig.run(Command::Rules(HostRules { retention_ms: 86_400_000, ..rig.rules() }));
    let turn = rig.accept_turn(message("room", "m1", "hi"));
    silence(&mut rig);
    rig.pass(2 * DAY);
    rig.run(Command::Sweep(SweepStep::Prune { rows_max: 100 }));
    assert_eq!(turns(&rig), [], "retention has removed it");
    let known = AcceptedEvent::Duplicate { turn: Some(turn), state: Some(TurnState::Silent) };
    assert_eq!(rig.accept(message("room", "m1", "hi")), known);
    rig.pass(5 * DAY - Duration::from_millis(1));
    assert_eq!(rig.accept(message("room", "m1", "hi")), known, "the last millisecond");
    rig.pass(Duration::from_millis(1));
    assert_ne!(rig.accept_turn(message("room", "m1", "hi")), turn);
}

// Case: A9
#[test]
fn an_id_used_again_is_another_message_for_three_contents_and_no_more() {
    let mut rig = Rig::new();
    let file = |address: &str| Attachment {
        name: Some("a.png".to_owned()),
        media_type: "image/png".to_owned(),
        size_bytes: Some(3),
        source: AttachmentSource::Remote(address.to_owned()),
        access: Default::default(),
    };
    let first =
        InboundMessage { attachments: vec![file("https://one")], ..message("room", "m1", "one") };
    let mut replay = first.clone();
    replay.attachments = vec![file("https://two")];
    replay.sender.display_name = Some("New Name".to_owned());
    let turn = rig.accept_turn(first);
    assert!(matches!(
        rig.accept(replay),
        AcceptedEvent::Duplicate { turn: Some(known), .. } if known == turn
    ));
    for text in ["two", "three"] {
        assert_ne!(rig.accept_turn(message("room", "m1", text)), turn);
    }
    let AcceptedEvent::Refused { sentence } = rig.accept(message("room", "m1", "four")) else {
        panic!("a fourth content is taken")
    };
    assert!(sentence.contains("more than 3"), "{sentence}");
    assert_eq!(turns(&rig).len(), 3);
}

// Case: A10
#[test]
fn a_message_kept_as_context_that_comes_again_and_wakes_makes_one_turn_and_no_context() {
    let mut rig = Rig::new();
    assert_eq!(rig.accept(aside("m1")), AcceptedEvent::Context);
    rig.accept_turn(message("room", "m1", "m1"));
    let turn = silence(&mut rig);
    assert_eq!((turn.message.text.as_str(), turn.context.len()), ("m1", 0));

    assert_eq!(rig.accept(aside("m2")), AcceptedEvent::Context);
    rig.accept_turn(message("room", "other", "other"));
    assert_eq!(silence(&mut rig).context[0].external_id, "m2", "a turn took it as context");
    let woken = rig.accept_turn(message("room", "m2", "m2"));
    for wakes in [true, false] {
        let again = rig.accept(InboundMessage { wakes, ..message("room", "m2", "m2") });
        assert!(matches!(again, AcceptedEvent::Duplicate { turn: Some(t), .. } if t == woken));
    }
    assert_eq!(silence(&mut rig).claim.turn, woken);
    assert!(rig.claim_turn().is_none());
    assert_eq!(turns(&rig).len(), 3);
}

// Case: A12, A14
#[test]
fn a_batch_whose_answer_was_lost_is_all_duplicates_when_it_comes_again() {
    let mut rig = Rig::new();
    let events = || vec![said("m1"), said("m2")];
    drop(rig.run(batch(events(), "1")));
    rig.crash();
    assert_eq!(cursor(&rig).as_deref(), Some("1"), "the next poll goes on where this one ended");
    let Answer::Accepted(again) = rig.run(batch(events(), "1")) else { panic!() };
    let duplicate = |event: &AcceptedEvent| matches!(event, AcceptedEvent::Duplicate { .. });
    assert!(again.events.iter().all(duplicate), "{again:?}");
    assert_eq!(turns(&rig).len(), 2);
}

// Case: A13
#[test]
fn of_a_batch_all_or_none_are_accepted_in_order() {
    let mut rig = Rig::new();
    let mut events: Vec<_> = (0..500).map(|n| said(&format!("m{n}"))).collect();
    events.insert(499, said(&"x".repeat(513)));
    let refused = rig.try_run(batch(events.clone(), "1")).unwrap_err().to_string();
    assert!(refused.contains("513 bytes"), "{refused}");
    assert_eq!((turns(&rig).len(), cursor(&rig)), (0, None), "nothing is half-written");
    events.remove(499);
    rig.run(batch(events, "1"));
    let limit = ListFilter { limit: 1_000, ..ListFilter::default() };
    let Rows::Turns(rows) = rig.read().read(&Query::Turns(limit)).unwrap() else { panic!() };
    let ids: Vec<_> = rows.into_iter().filter_map(|row| row.external_id).collect();
    assert_eq!(ids, (0..500).map(|n| format!("m{n}")).collect::<Vec<_>>());
}

// Case: A15
#[test]
fn what_does_not_wake_starts_nothing_and_comes_in_order_with_the_next_that_does() {
    let mut rig = Rig::new();
    let bot = Sender { id: "other-bot".to_owned(), is_bot: true, ..Sender::default() };
    for id in ["q1", "q2", "q3"] {
        let quiet = InboundMessage { sender: bot.clone(), ..aside(id) };
        assert_eq!(rig.accept(quiet), AcceptedEvent::Context);
        assert!(rig.claim_turn().is_none(), "two bots do not wake each other");
    }
    rig.accept_turn(message("room", "m1", "now"));
    let turn = silence(&mut rig);
    let context: Vec<_> = turn.context.iter().map(|it| it.external_id.as_str()).collect();
    assert_eq!(context, ["q1", "q2", "q3"]);
    rig.accept_turn(message("room", "m2", "next"));
    assert_eq!(silence(&mut rig).context, [], "each is told once");
}

// Case: A16
#[test]
fn a_message_older_than_a_turn_may_be_is_recorded_expired_and_not_answered() {
    let mut rig = Rig::new();
    let now_ms = u64::try_from(rig.now.wall_ms).unwrap();
    let old = |ago_ms| InboundMessage {
        sent_at_ms: Some(now_ms - ago_ms),
        ..message("room", &format!("m{ago_ms}"), "long ago")
    };
    let age_max_ms = rig.rules().turn.age_max_ms;
    let AcceptedEvent::Turn { turn, state } = rig.accept(old(age_max_ms + 1)) else { panic!() };
    assert_eq!(state, TurnState::Expired);
    let row = rig.turn(turn).row;
    assert_eq!((row.state.as_str(), row.code.as_deref()), ("expired", Some("too_old")));
    assert!(row.reason.unwrap().contains("turn_max_age"));
    assert!(rig.claim_turn().is_none());
    let again = rig.accept(old(age_max_ms + 1));
    assert!(matches!(again, AcceptedEvent::Duplicate { turn: Some(known), .. } if known == turn));
    rig.accept_turn(old(age_max_ms));
    assert!(rig.claim_turn().is_some(), "one that is just young enough runs");
}

// Case: E1
#[test]
fn rows_of_one_timestamp_go_in_the_order_in_which_they_were_inserted() {
    let mut rig = Rig::new();
    let ids = ["m3", "m1", "m5", "m2", "m4"];
    rig.run(batch(ids.iter().map(|id| said(id)).collect(), "1"));
    for id in ids {
        let turn = rig.claim_turn().unwrap();
        assert_eq!(turn.message.text, id);
        let parts = ["e", "b", "d", "a", "c"];
        rig.complete(turn.claim, &parts);
        for part in parts {
            let row = rig.claim_delivery().unwrap();
            assert_eq!(row.message.text, part);
            rig.delivered(row.claim);
        }
    }
}

// Case: F9
#[test]
fn the_same_stop_delivered_again_stops_nothing_new() {
    let mut rig = Rig::new();
    let stop = || {
        InboundEvent::Abort(AbortRequest {
            external_id: "s1".to_owned(),
            conversation: "room".to_owned(),
            context: None,
            sender: Sender::default(),
        })
    };
    let first = rig.accept_turn(message("room", "m1", "one"));
    assert_eq!(rig.accept_events(vec![stop()]).stopped, [first]);
    let later = rig.accept_turn(message("room", "m2", "two"));
    rig.crash();
    let again = rig.accept_events(vec![stop()]);
    assert_eq!(again.stopped, []);
    assert_eq!(again.events, [AcceptedEvent::Abort { stopped: vec![first], again: true }]);
    let Some(claimed) = rig.claim_turn() else { panic!("a later turn is stopped") };
    assert_eq!(claimed.claim.turn, later);
    let renewed = Command::RenewTurn { claim: claimed.claim, lease: LEASE };
    assert_eq!(rig.run(renewed), Answer::Guarded(Guarded::Done));
}
