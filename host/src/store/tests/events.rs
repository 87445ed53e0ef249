//! Events that are no new message: edits, deletions, actions, pieces of a group, and the rest.

use std::time::Duration;

use super::rig::{LEASE, Rig, message};
use crate::lifecycle::id::TurnId;
use crate::lifecycle::message::{
    Action, Audience, Deletion, Happening, InboundEvent, InboundMessage, OtherEvent, Sender,
};
use crate::lifecycle::turn::{Loss, TurnState};
use crate::store::*;

fn edited(id: &str, text: &str) -> InboundEvent {
    InboundEvent::Edited(message("room", id, text))
}

fn deleted(id: &str) -> InboundEvent {
    let (conversation, external_id) = ("room".to_owned(), id.to_owned());
    InboundEvent::Deleted(Deletion { conversation, external_id })
}

fn aside(id: &str, text: &str) -> InboundMessage {
    InboundMessage { wakes: false, ..message("room", id, text) }
}

fn piece(id: &str, text: &str) -> InboundMessage {
    InboundMessage { group: Some("album".to_owned()), ..message("room", id, text) }
}

fn action(id: &str, name: &str) -> InboundEvent {
    InboundEvent::Action(Action {
        external_id: id.to_owned(),
        conversation: "room".to_owned(),
        context: None,
        audience: Audience::Direct,
        sender: Sender { id: "ann".to_owned(), ..Sender::default() },
        name: name.to_owned(),
        value: Some("7".to_owned()),
        on_message: Some("p1".to_owned()),
        extras: vec![],
    })
}

fn other(id: &str, conversation: Option<&str>) -> InboundEvent {
    InboundEvent::Other(OtherEvent {
        external_id: id.to_owned(),
        kind: "joined".to_owned(),
        conversation: conversation.map(str::to_owned),
        sender: None,
        extras: vec![],
    })
}

impl Rig {
    fn event(&mut self, event: InboundEvent) -> AcceptedEvent {
        self.accept_events(vec![event]).events.remove(0)
    }

    /// Ends the running turn in silence.
    fn silence(&mut self, claim: TurnClaim) {
        self.run(Command::Silence { claim, claim_next_turn: None });
    }

    /// Runs the next turn to its silent end: the message's text and those of its context.
    fn next_told(&mut self) -> (String, Vec<String>) {
        let turn = self.claim_turn().unwrap();
        self.silence(turn.claim);
        let context = turn.context.into_iter().map(|message| message.text).collect();
        (turn.message.text, context)
    }

    fn turns_made(&self) -> usize {
        match self.read().read(&Query::Turns(ListFilter::default())).unwrap() {
            Rows::Turns(rows) => rows.len(),
            other => panic!("{other:?}"),
        }
    }
}

// Case: B22
#[test]
fn an_edit_of_a_message_that_has_not_run_replaces_its_text_and_makes_no_turn() {
    let mut rig = Rig::new();
    let turn = rig.accept_turn(message("room", "m1", "old"));
    let done = AcceptedEvent::Edited { turn: Some(turn) };
    assert_eq!(rig.event(edited("m1", "new")), done);
    assert_eq!(rig.event(edited("m1", "newer")), done);
    let duplicate = AcceptedEvent::Duplicate { turn: Some(turn), state: Some(TurnState::Queued) };
    assert_eq!(rig.event(edited("m1", "new")), duplicate, "an old edit, delivered again");
    rig.crash();
    assert_eq!(rig.event(edited("m1", "newer")), duplicate);
    assert_eq!(rig.accept(message("room", "m1", "old")), duplicate);
    assert_eq!(rig.accept(message("room", "m1", "newer")), duplicate, "as it reads since");
    assert_eq!(rig.next_told(), ("newer".to_owned(), vec![]));
    assert!(rig.claim_turn().is_none());
    assert_eq!(rig.turns_made(), 1);
}

// Case: B22
#[test]
fn an_edit_of_a_message_that_has_run_is_context_once_and_never_a_second_turn() {
    let mut rig = Rig::new();
    rig.accept_turn(message("room", "m1", "old"));
    let running = rig.claim_turn().unwrap();
    assert_eq!(rig.event(edited("m1", "new")), AcceptedEvent::Context);
    rig.silence(running.claim);
    assert_eq!(rig.event(edited("m1", "newest")), AcceptedEvent::Edited { turn: None });
    assert!(matches!(rig.event(edited("m1", "new")), AcceptedEvent::Duplicate { .. }));
    assert!(rig.claim_turn().is_none(), "an edit starts nothing");
    rig.accept_turn(message("room", "m2", "next"));
    let turn = rig.claim_turn().unwrap();
    assert_eq!(turn.context.len(), 1, "one note per message: {:?}", turn.context);
    let note = &turn.context[0];
    assert_eq!((note.text.as_str(), &note.event), ("newest", &Some(Happening::Edited)));
    assert!(!note.wakes);
}

// Case: B22
#[test]
fn an_edit_between_two_tries_of_a_turn_is_told_to_the_next_try() {
    let mut rig = Rig::new();
    rig.accept_turn(message("room", "m1", "old"));
    let first = rig.claim_turn().unwrap();
    rig.run(Command::LoseTry { claim: first.claim, loss: Loss::PlannedStop });
    assert_eq!(rig.event(edited("m1", "new")), AcceptedEvent::Context, "its handler may have read");
    let second = rig.claim_turn().unwrap();
    assert_eq!(second.message.text, "old");
    assert_eq!(second.context[0].text, "new");
}

#[test]
fn an_edit_that_comes_back_to_an_earlier_text_counts_where_the_platform_tells_the_time() {
    let mut rig = Rig::new();
    rig.accept_turn(message("room", "m1", "a"));
    for (at, text) in [(1, "b"), (2, "c"), (3, "b")] {
        let edit = InboundMessage { sent_at_ms: Some(at), ..message("room", "m1", text) };
        let done = rig.event(InboundEvent::Edited(edit));
        assert!(matches!(done, AcceptedEvent::Edited { turn: Some(_) }), "{at}: {done:?}");
    }
    assert_eq!(rig.next_told().0, "b");
}

#[test]
fn an_edit_that_comes_before_its_message_gives_the_message_its_text() {
    let mut rig = Rig::new();
    assert_eq!(rig.event(edited("m1", "new")), AcceptedEvent::Context);
    let turn = rig.accept_turn(message("room", "m1", "old"));
    assert_eq!(rig.next_told(), ("new".to_owned(), vec![]), "one turn, and no context beside it");
    for text in ["old", "new"] {
        match rig.accept(message("room", "m1", text)) {
            AcceptedEvent::Duplicate { turn: Some(known), .. } => assert_eq!(known, turn),
            other => panic!("{text}: {other:?}"),
        }
    }
    assert_eq!(rig.turns_made(), 1);
}

#[test]
fn an_edit_of_a_message_that_nobody_knows_is_context() {
    let mut rig = Rig::new();
    assert_eq!(rig.event(edited("long-ago", "new")), AcceptedEvent::Context);
    assert!(rig.claim_turn().is_none());
    rig.accept_turn(message("room", "m1", "hi"));
    assert_eq!(rig.next_told(), ("hi".to_owned(), vec!["new".to_owned()]));
}

#[test]
fn kept_context_follows_its_edit_and_its_deletion_until_a_turn_takes_it() {
    let mut rig = Rig::new();
    for id in ["q1", "q2"] {
        assert_eq!(rig.accept(aside(id, id)), AcceptedEvent::Context);
    }
    assert_eq!(rig.event(edited("q1", "changed")), AcceptedEvent::Edited { turn: None });
    assert_eq!(rig.event(deleted("q2")), AcceptedEvent::TakenBack { turn: None });
    rig.accept_turn(message("room", "m1", "hi"));
    assert_eq!(rig.next_told(), ("hi".to_owned(), vec!["changed".to_owned()]));
    assert_eq!(rig.event(deleted("q1")), AcceptedEvent::Context, "a turn was told of it");
    rig.accept_turn(message("room", "m2", "and?"));
    let turn = rig.claim_turn().unwrap();
    let notes: Vec<_> = turn.context.iter().map(|note| (&*note.external_id, &note.event)).collect();
    assert_eq!(notes, [("q1", &Some(Happening::Deleted))]);
}

#[test]
fn no_more_edits_of_one_message_are_remembered_than_a_few() {
    let mut rig = Rig::new();
    rig.accept_turn(message("room", "m1", "a"));
    for n in 0..100 {
        rig.pass(Duration::from_millis(1));
        let done = rig.event(edited("m1", &n.to_string()));
        assert!(matches!(done, AcceptedEvent::Edited { turn: Some(_) }), "{n}: {done:?}");
    }
    let sql = "SELECT count(*) FROM dedup";
    let keys: i64 = rig.core.connection().unwrap().query_row(sql, [], |r| r.get(0)).unwrap();
    assert_eq!(keys, 17, "the message and its last edits");
    assert_eq!(rig.next_told().0, "99");
}

// Case: B22
#[test]
fn a_deletion_ends_a_turn_that_has_not_run_and_is_context_of_one_that_has() {
    let mut rig = Rig::new();
    let first = rig.accept_turn(message("room", "m1", "one"));
    let second = rig.accept_turn(message("room", "m2", "two"));
    let running = rig.claim_turn().unwrap();
    assert_eq!(rig.event(deleted("m2")), AcceptedEvent::TakenBack { turn: Some(second) });
    assert_eq!(rig.event(deleted("m1")), AcceptedEvent::Context);
    assert!(matches!(rig.event(deleted("m2")), AcceptedEvent::Duplicate { .. }));
    let ended = rig.turn(second);
    assert_eq!(
        (ended.row.state.as_str(), ended.row.code.as_deref()),
        ("aborted", Some("taken_back"))
    );
    assert_eq!(rig.turn(first).row.state, "running");
    rig.silence(running.claim);
    assert!(rig.claim_turn().is_none());
    rig.accept_turn(message("room", "m3", "three"));
    let turn = rig.claim_turn().unwrap();
    let notes: Vec<_> = turn.context.iter().map(|note| (&*note.external_id, &note.event)).collect();
    assert_eq!(notes, [("m1", &Some(Happening::Deleted))]);
    assert!(matches!(
        rig.accept(message("room", "m2", "two")),
        AcceptedEvent::Duplicate { turn: Some(known), state: Some(TurnState::Aborted) }
            if known == second
    ));
}

#[test]
fn a_message_that_comes_after_its_deletion_is_recorded_and_not_run() {
    let mut rig = Rig::new();
    assert_eq!(rig.event(deleted("m1")), AcceptedEvent::Context);
    let AcceptedEvent::Turn { turn, state: TurnState::Aborted } =
        rig.accept(message("room", "m1", "oops"))
    else {
        panic!("it is run")
    };
    assert_eq!(rig.turn(turn).row.code.as_deref(), Some("taken_back"));
    assert!(rig.claim_turn().is_none());
    assert_eq!(rig.event(edited("m1", "better")).turn_named(), Some(turn), "too late for an edit");
    assert_eq!(rig.event(deleted("q1")), AcceptedEvent::Context);
    assert_eq!(rig.accept(aside("q1", "psst")), AcceptedEvent::TakenBack { turn: None });
    rig.accept_turn(message("room", "m2", "hi"));
    let turn = rig.claim_turn().unwrap();
    assert!(turn.context.iter().all(|note| note.event == Some(Happening::Deleted)));
}

impl AcceptedEvent {
    fn turn_named(&self) -> Option<TurnId> {
        match self {
            AcceptedEvent::Duplicate { turn, .. } => *turn,
            _ => None,
        }
    }
}

#[test]
fn an_id_that_was_taken_back_and_is_used_again_for_other_words_is_a_second_message() {
    let mut rig = Rig::new();
    rig.accept_turn(message("room", "m1", "one"));
    assert!(matches!(rig.event(deleted("m1")), AcceptedEvent::TakenBack { turn: Some(_) }));
    rig.accept_turn(message("room", "m1", "two"));
    assert_eq!(rig.next_told().0, "two");
}

#[test]
fn within_one_batch_an_edit_and_a_deletion_reach_what_came_before_them() {
    let mut rig = Rig::new();
    let events = vec![
        InboundEvent::Message(message("room", "m1", "a")),
        edited("m1", "b"),
        InboundEvent::Message(message("hall", "m1", "c")),
        InboundEvent::Deleted(Deletion { conversation: "hall".into(), external_id: "m1".into() }),
    ];
    let accept = Accept {
        channel: "hook".into(),
        events,
        cursor: None,
        state: Default::default(),
        claim: Some(LEASE),
    };
    let Answer::Accepted(accepted) = rig.run(Command::Accept(accept)) else { panic!() };
    let AcceptedEvent::TakenBack { turn: Some(gone) } = &accepted.events[3] else { panic!() };
    assert_eq!(accepted.stopped, [*gone]);
    assert_eq!(accepted.claimed.unwrap().message.text, "b");
    assert!(rig.claim_turn().is_none());
}

// Case: B23
#[test]
fn an_album_of_five_pieces_is_one_turn_a_second_after_its_last_piece() {
    let mut rig = Rig::new();
    let turn = rig.accept_turn(piece("p0", ""));
    for n in 1..5 {
        rig.pass(Duration::from_millis(700));
        assert!(rig.claim_turn().is_none(), "it waits for the rest");
        let joined = rig.accept(piece(&format!("p{n}"), &format!("text {n}")));
        assert_eq!(joined, AcceptedEvent::Joined { turn });
    }
    assert!(matches!(rig.accept(piece("p3", "text 3")), AcceptedEvent::Duplicate { .. }));
    rig.pass(Duration::from_millis(999));
    assert!(rig.claim_turn().is_none(), "one millisecond before it is due");
    rig.pass(Duration::from_millis(1));
    let claimed = rig.claim_turn().unwrap();
    assert_eq!(claimed.claim.turn, turn);
    assert_eq!(claimed.message.text, "text 1\ntext 2\ntext 3\ntext 4");
    assert_eq!(claimed.message.external_id, "p0");
    assert_eq!(rig.accept(piece("p5", "late")), AcceptedEvent::Context);
    rig.silence(claimed.claim);
    assert_eq!(rig.accept(piece("p6", "later")), AcceptedEvent::Context, "and after its end");
    assert!(rig.claim_turn().is_none());
    rig.accept_turn(message("room", "m1", "next"));
    let context = ["late", "later"].map(str::to_owned).to_vec();
    assert_eq!(rig.next_told(), ("next".to_owned(), context));
    assert_eq!(rig.turns_made(), 2);
}

// Case: B23
#[test]
fn a_group_that_never_falls_quiet_is_due_five_seconds_after_its_first_piece() {
    let mut rig = Rig::new();
    rig.accept_turn(piece("p0", "0"));
    for n in 1..10 {
        rig.pass(Duration::from_millis(500));
        rig.accept(piece(&format!("p{n}"), &n.to_string()));
    }
    rig.pass(Duration::from_millis(499));
    assert!(rig.claim_turn().is_none());
    rig.pass(Duration::from_millis(1));
    assert_eq!(rig.next_told().0.lines().count(), 10);
}

#[test]
fn a_group_has_its_place_in_line_from_its_first_piece_on() {
    let mut rig = Rig::new();
    let album = rig.accept_turn(piece("p0", "album"));
    let after = rig.accept_turn(message("room", "m1", "what is on them?"));
    assert!(rig.claim_turn().is_none(), "what was said after it waits for it");
    assert_eq!(rig.accept(piece("p1", "more")), AcceptedEvent::Joined { turn: album });
    rig.pass(Duration::from_millis(1_000));
    let first = rig.claim_turn().unwrap();
    assert_eq!((first.claim.turn, first.message.text.as_str()), (album, "album\nmore"));
    rig.silence(first.claim);
    assert_eq!(rig.claim_turn().unwrap().claim.turn, after);
}

#[test]
fn pieces_that_wake_nobody_belong_to_the_turn_of_the_piece_that_does() {
    let mut rig = Rig::new();
    let quiet = |id: &str| InboundMessage { wakes: false, ..piece(id, id) };
    assert_eq!(rig.accept(aside("q0", "chatter")), AcceptedEvent::Context);
    assert_eq!(rig.accept(quiet("p0")), AcceptedEvent::Context);
    let turn = rig.accept_turn(piece("p1", "look, bot"));
    assert_eq!(rig.accept(quiet("p2")), AcceptedEvent::Joined { turn });
    assert!(matches!(rig.accept(quiet("p0")), AcceptedEvent::Duplicate { turn: Some(_), .. }));
    rig.pass(Duration::from_secs(1));
    assert_eq!(rig.next_told(), ("p0\nlook, bot\np2".to_owned(), vec!["chatter".to_owned()]));
}

#[test]
fn pieces_are_edited_and_taken_back_one_by_one_until_the_turn_begins() {
    let mut rig = Rig::new();
    let turn = rig.accept_turn(piece("p0", "a"));
    rig.accept(piece("p1", "b"));
    rig.accept(piece("p2", "c"));
    assert_eq!(rig.event(edited("p1", "B")), AcceptedEvent::Edited { turn: Some(turn) });
    assert_eq!(rig.event(deleted("p0")), AcceptedEvent::TakenBack { turn: None });
    rig.crash();
    rig.pass(Duration::from_secs(1));
    let claimed = rig.claim_turn().unwrap();
    assert_eq!((&*claimed.message.text, &*claimed.message.external_id), ("B\nc", "p1"));

    let mut rig = Rig::new();
    let turn = rig.accept_turn(piece("p0", "a"));
    rig.accept(piece("p1", "b"));
    assert_eq!(rig.event(deleted("p1")), AcceptedEvent::TakenBack { turn: None });
    assert_eq!(rig.event(deleted("p0")), AcceptedEvent::TakenBack { turn: Some(turn) });
    rig.pass(Duration::from_secs(5));
    assert!(rig.claim_turn().is_none());
}

#[test]
fn what_is_more_than_one_message_may_carry_is_context_beside_the_group() {
    let mut rig = Rig::new();
    rig.accept_turn(piece("p0", "0"));
    for n in 1..32 {
        let done = rig.accept(piece(&format!("p{n}"), "x"));
        assert!(matches!(done, AcceptedEvent::Joined { .. }), "{n}: {done:?}");
    }
    assert_eq!(rig.accept(piece("p32", "beyond")), AcceptedEvent::Context);
    rig.pass(Duration::from_secs(1));
    assert_eq!(rig.next_told().1, ["beyond"]);
}

#[test]
fn a_group_is_forgotten_whole_and_the_keys_of_its_pieces_still_know_it() {
    let mut rig = Rig::new();
    let turn = rig.accept_turn(piece("p0", "a"));
    rig.accept(piece("p1", "b"));
    rig.pass(Duration::from_secs(1));
    rig.next_told();
    rig.run(Command::Rules(HostRules { retention_ms: 86_400_000, ..rig.rules() }));
    let prune = |rig: &mut Rig| {
        rig.run(Command::Sweep(SweepStep::Prune { rows_max: 100 }));
        let rows = "SELECT (SELECT count(*) FROM turn), (SELECT count(*) FROM piece),
                           (SELECT count(*) FROM dedup)";
        let db = rig.core.connection().unwrap();
        db.query_row(rows, [], |r| Ok::<[i64; 3], _>([r.get(0)?, r.get(1)?, r.get(2)?])).unwrap()
    };
    rig.pass(Duration::from_secs(86_401));
    assert_eq!(prune(&mut rig), [0, 0, 2]);
    for (id, text) in [("p0", "a"), ("p1", "b")] {
        let again = rig.accept(piece(id, text));
        let known = Some(turn);
        let state = Some(TurnState::Silent);
        assert_eq!(again, AcceptedEvent::Duplicate { turn: known, state }, "{id}");
    }
    rig.pass(Duration::from_secs(6 * 86_400));
    assert_eq!(prune(&mut rig), [0, 0, 0], "no key stays for ever");
}

#[test]
fn an_action_starts_one_turn_and_is_answered_beside_what_it_stood_on() {
    let mut rig = Rig::new();
    let AcceptedEvent::Turn { turn, .. } = rig.event(action("a1", "buy")) else { panic!() };
    let again = rig.event(action("a1", "buy"));
    assert!(matches!(again, AcceptedEvent::Duplicate { turn: Some(known), .. } if known == turn));
    // The id of an action is no id of a message.
    let said = rig.accept_turn(message("room", "a1", "hi"));
    assert_ne!(said, turn);
    let claimed = rig.claim_turn().unwrap();
    assert_eq!((claimed.claim.turn, &*claimed.message.text), (turn, "buy 7"));
    assert!(
        matches!(&claimed.message.event, Some(Happening::Action { name, .. }) if name == "buy")
    );
    rig.complete(claimed.claim, &["bought"]);
    let row = rig.claim_delivery().unwrap();
    assert_eq!(row.message.place.reply_to.as_deref(), Some("p1"));
}

#[test]
fn another_event_is_context_of_its_conversation_or_counted_and_dropped() {
    let mut rig = Rig::new();
    assert_eq!(rig.event(other("o1", Some("room"))), AcceptedEvent::Context);
    assert!(matches!(rig.event(other("o1", Some("room"))), AcceptedEvent::Duplicate { .. }));
    assert_eq!(rig.event(other("o2", None)), AcceptedEvent::Dropped);
    assert!(rig.claim_turn().is_none());
    rig.accept_turn(message("room", "m1", "hi"));
    let turn = rig.claim_turn().unwrap();
    assert_eq!(turn.context.len(), 1);
    assert_eq!(turn.context[0].event, Some(Happening::Other { kind: "joined".to_owned() }));
}
