//! Messages that programs post: once per key, with an end to chains of programs.

use std::time::Duration;

use super::rig::{LEASE, Rig, message};
use crate::lifecycle::id::TurnId;
use crate::lifecycle::turn::TurnState;
use crate::store::*;

fn body(key: &str, text: &str) -> Post {
    Post {
        channel: "hook".into(),
        message: message("room", key, text),
        not_before_ms: None,
        about: None,
        claim: None,
    }
}

impl Rig {
    fn post(&mut self, post: Post) -> Posted {
        match self.run(Command::Post(Box::new(post))) {
            Answer::Posted(posted) => *posted,
            other => panic!("{other:?}"),
        }
    }

    fn posted(&mut self, post: Post) -> TurnId {
        match self.post(post).outcome {
            PostOutcome::Turn { turn, .. } => turn,
            other => panic!("{other:?}"),
        }
    }
}

fn again(turn: TurnId, state: TurnState, due_ms: Option<i64>) -> PostOutcome {
    PostOutcome::Duplicate { turn, state: Some(state), due_ms }
}

// Case: A17
#[test]
fn a_message_posted_again_under_its_key_is_one_turn_before_and_after_a_restart_and_its_end() {
    let mut rig = Rig::new();
    let turn = rig.posted(body("k1", "hello"));
    assert_eq!(rig.post(body("k1", "hello")).outcome, again(turn, TurnState::Queued, None));
    rig.crash();
    assert_eq!(rig.post(body("k1", "hello")).outcome, again(turn, TurnState::Queued, None));
    let claim = rig.claim_turn().unwrap().claim;
    rig.run(Command::Silence { claim, claim_next_turn: None });
    assert_eq!(rig.post(body("k1", "hello")).outcome, again(turn, TurnState::Silent, None));
    rig.pass(Duration::from_secs(8 * 86_400));
    rig.run(Command::Sweep(SweepStep::Prune { rows_max: 100 }));
    assert_ne!(rig.posted(body("k1", "hello")), turn, "past the window it is new");
}

// Case: A17
#[test]
fn a_key_that_is_used_for_other_words_is_refused_and_no_platform_id_is_taken_for_a_key() {
    let mut rig = Rig::new();
    rig.posted(body("k1", "hello"));
    assert_eq!(rig.post(body("k1", "other words")).outcome, PostOutcome::OtherContent);
    let mut elsewhere = body("k1", "other words");
    elsewhere.message.conversation = "another room".to_owned();
    rig.posted(elsewhere);
    rig.accept_turn(message("room", "k1", "hello"));
}

#[test]
fn a_posted_turn_is_claimed_in_the_same_step_and_its_reply_answers_no_message_of_the_platform() {
    let mut rig = Rig::new();
    let posted = rig.post(Post { claim: Some(LEASE), ..body("k1", "hello") });
    let claimed = posted.claimed.unwrap();
    assert_eq!(claimed.message.text, "hello");
    rig.complete(claimed.claim, &["yes"]);
    let row = rig.claim_delivery().unwrap();
    assert_eq!(row.message.place.reply_to, None);
    rig.delivered(row.claim);
    let turn = rig.turn(claimed.claim.turn);
    assert_eq!((turn.origin.as_str(), turn.row.external_id.as_deref()), ("posted", Some("k1")));
    let platform = rig.delivering("m1", &["yes"]);
    let row = rig.claim_delivery().unwrap();
    assert_eq!(row.message.place.reply_to.as_deref(), Some("m1"));
    assert_eq!(rig.turn(platform).origin, "platform");
}

// Case: H1
#[test]
fn a_post_that_is_not_to_run_before_a_time_says_when_it_is_due_each_time_it_is_posted() {
    let mut rig = Rig::new();
    let at_ms = rig.now.wall_ms + 60_000;
    let post = Post { not_before_ms: Some(at_ms), claim: Some(LEASE), ..body("k1", "hello") };
    let posted = rig.post(post.clone());
    assert!(posted.claimed.is_none());
    let PostOutcome::Turn { turn, due_ms, .. } = posted.outcome else { panic!() };
    assert_eq!(due_ms, Some(at_ms));
    let outcome = rig.post(post.clone()).outcome;
    assert_eq!(outcome, again(turn, TurnState::Queued, Some(at_ms)));
    rig.pass(Duration::from_secs(60));
    assert_eq!(rig.fall(), 1);
    assert_eq!(rig.post(post).outcome, again(turn, TurnState::Queued, None));
    assert_eq!(rig.claim_turn().unwrap().claim.turn, turn);
}

#[test]
fn programs_that_answer_each_other_come_to_an_end_at_the_limit_of_hops() {
    let mut rig = Rig::new();
    let mut about = rig.accept_turn(message("room", "m1", "go"));
    let limit = crate::lifecycle::turn::TurnLimits::default().hops_max;
    for hop in 0..limit {
        let post = Post { about: Some(about), ..body(&format!("k{hop}"), "your turn") };
        about = rig.posted(post);
    }
    let post = Post { about: Some(about), ..body("last", "your turn") };
    assert_eq!(rig.post(post).outcome, PostOutcome::TooManyHops { hops_max: limit });
    let gone = Post { about: Some(TurnId { number: 999, nonce: 1 }), ..body("gone", "hello") };
    assert_eq!(rig.post(gone).outcome, PostOutcome::UnknownAbout);
    assert_eq!(rig.turn(about).hops, limit);
}

#[test]
fn a_post_does_not_open_a_conversation_that_its_person_has_closed() {
    use crate::lifecycle::outcome::{Fault, NotSent, Outcome};
    let mut rig = Rig::new();
    rig.delivering("m1", &["yes"]);
    let row = rig.claim_delivery().unwrap();
    let closed = NotSent::Closed(Fault::new("closed", "the window is over"));
    rig.record(row.claim, Outcome::NotSent(closed));
    rig.posted(body("k1", "hello"));
    rig.pass(Duration::from_secs(3_600));
    assert!(rig.claim_delivery().is_none());
    rig.accept_turn(message("room", "m2", "I am back"));
    assert!(rig.claim_delivery().is_some());
}

#[test]
fn a_posted_turn_that_is_run_again_is_still_a_programs_and_answers_no_message() {
    let mut rig = Rig::new();
    let first = rig.accept_turn(message("room", "m1", "go"));
    let claim = rig.claim_turn().unwrap().claim;
    rig.run(Command::Silence { claim, claim_next_turn: None });
    let turn = rig.posted(Post { about: Some(first), ..body("42", "hello") });
    let claim = rig.claim_turn().unwrap().claim;
    rig.run(Command::LoseTry { claim, loss: super::notices::never() });
    rig.run(Command::Replay { of: ReplayOf::Turn(turn), force: false, by: "ann".to_owned() });
    let claim = rig.claim_turn().unwrap().claim;
    rig.complete(claim, &["yes"]);
    assert_eq!(rig.claim_delivery().unwrap().message.place.reply_to, None);
    let again = rig.turn(claim.turn);
    assert_eq!((again.origin.as_str(), again.hops), ("posted", 1));
}
