//! Claims in every order: workers that ask at once, and a worker whose claim is taken away while it
//! answers, at the real store behind the real hand-off, on a disk in memory.

use std::sync::Arc;

use loom::future::block_on;

use super::super::disk::{Disk, Image};
use super::super::rig::{LEASE, channel_rules, finals, message};
use super::handoff::{self, Asking, Scribe};
use super::{explore, spawn};
use crate::env::{Env, Now};
use crate::lifecycle::message::InboundEvent;
use crate::lifecycle::outcome::StateWrites;
use crate::lifecycle::turn::Loss;
use crate::store::*;

type Told = Result<Answer, StoreError>;

const NOW: Now = Now { wall_ms: 1_000_000_000_000, mono_ms: 0 };
/// Each order opens a store of its own.
const PREEMPTIONS_MAX: usize = 1;

impl Scribe<Command, Told> for Core {
    fn carry_out(&mut self, commands: Vec<Command>) -> Vec<Told> {
        self.apply(NOW, commands)
    }

    fn tidy(&mut self) {}
}

fn introduced(disk: &Disk) -> Core {
    let mut core = Core::open(&disk.path(), &Env::simulated(1, NOW.wall_ms)).unwrap();
    let present = Command::ChannelsPresent(vec!["hook".into()]);
    let channel = Command::Channel(channel_rules(Default::default()));
    assert!(core.apply(NOW, vec![present, channel]).iter().all(Result::is_ok));
    core
}

fn accept(core: &mut Core, claim: Option<Lease>) -> Option<ClaimedTurn> {
    let accept = Accept {
        channel: "hook".into(),
        events: vec![InboundEvent::Message(message("room", "m1", "hi"))],
        cursor: None,
        state: StateWrites::default(),
        claim,
    };
    match core.apply(NOW, vec![Command::Accept(accept)]).pop() {
        Some(Ok(Answer::Accepted(accepted))) => accepted.claimed,
        other => panic!("{other:?}"),
    }
}

/// A store with one turn, claimed or not.
fn prepared(claim: Option<Lease>) -> (Image, Option<ClaimedTurn>) {
    let disk = Disk::with(Image::default(), 1);
    let mut core = introduced(&disk);
    let claimed = accept(&mut core, claim);
    drop(core);
    (disk.image(), claimed)
}

/// Two ask at once; gives their answers to the one who judges.
fn two(image: Image, ask: [Command; 2], judge: fn([Answer; 2])) -> u64 {
    let ask = Arc::new(ask);
    explore(PREEMPTIONS_MAX, move || {
        let image = image.clone();
        let (asking, desk) = handoff::open(2);
        let writer = spawn(move || {
            let disk = Disk::with(image, 1);
            let mut core = introduced(&disk);
            desk.serve(2, &mut core);
        });
        let asking = Arc::new(asking);
        let run = |asking: &Asking<Command, Told>, command: &Command| {
            block_on(asking.ask(command.clone())).unwrap().unwrap()
        };
        let (theirs, what) = (Arc::clone(&asking), Arc::clone(&ask));
        let other = spawn(move || run(&theirs, &what[1]));
        let mine = run(&asking, &ask[0]);
        let other = other.join().unwrap();
        drop(asking);
        writer.join().unwrap();
        judge([mine, other]);
    })
}

#[allow(clippy::print_stderr, reason = "how many orders were tried is what a run is worth")]
#[test]
fn one_of_two_workers_gets_a_turn_in_every_order() {
    let (image, _) = prepared(None);
    let claim = Command::ClaimTurn { lease: LEASE };
    let orders = two(image, [claim.clone(), claim], |answers| {
        let got = answers.iter().filter(|answer| matches!(answer, Answer::ClaimedTurn(Some(_))));
        assert_eq!(got.count(), 1, "{answers:?}");
    });
    eprintln!("two workers claim: {orders} orders");
    assert!(orders > 10, "{orders}");
}

#[allow(clippy::print_stderr, reason = "how many orders were tried is what a run is worth")]
#[test]
fn an_answer_stands_or_its_claim_was_taken_away_in_every_order() {
    let (image, claimed) = prepared(Some(LEASE));
    let claim = claimed.unwrap().claim;
    let complete = Command::Complete { claim, rows: finals(&["hi"]), claim_first: None };
    let loss = Loss::ClaimExpired;
    let lose = Command::Sweep(SweepStep::LoseTurn { claim, loss });
    let orders = two(image, [complete, lose], |answers| match answers {
        [
            Answer::Enqueued { guarded: answered, .. },
            Answer::TurnEnded { guarded: taken_away, .. },
        ] => {
            let done = [answered, taken_away].iter().filter(|g| **g == Guarded::Done).count();
            assert_eq!(done, 1, "{answered:?} {taken_away:?}");
        }
        other => panic!("{other:?}"),
    });
    eprintln!("an answer and the loss of its claim: {orders} orders");
    assert!(orders > 10, "{orders}");
}
