//! A small seeded simulation of the store: random workers, platforms, crashes, clocks and
//! operators, with the promises checked after each step against the rows and against what a
//! receiver saw. In one life of four every guarded command is carried out twice. A failing seed is
//! printed; `LASTWORD_SEED` runs one seed alone, `LASTWORD_SEEDS` many (see [`super::seeds`]).

mod arrivals;
mod clocks;
mod events;
mod faults;
mod files;
mod imports;
pub(super) mod invariants;
mod paces;
mod pulling;
mod tending;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::rig::{LEASE, Rig, finals, message};
use super::seeds::Campaign;
use crate::lifecycle::id::{DeliveryId, TurnId};
use crate::lifecycle::message::{
    AbortRequest, DeliveryKind, Fate, InboundEvent, LateReceipt, Reply, Sender, SentMessage,
};
use crate::lifecycle::outcome::{
    CallError, Fault, Lookup, NotSent, Outcome, RateScope, Receipt, StateWrites,
};
use crate::lifecycle::recurrence::CatchUp;
use crate::lifecycle::settle::{Idempotency, OnUnknown, SettleMeans};
use crate::lifecycle::turn::Loss;
use crate::store::*;

const SEEDS: u64 = 150;
const STEPS: u32 = 260;
/// One life of so many is lived with every guarded command carried out twice.
const TWICE_EVERY: u64 = 4;
const ROOMS: [&str; 4] = ["red", "green", "blue", "grey"];

/// How the last attempt of a delivery ended, as far as the worker knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Known {
    Open,
    NotSent,
    Sent,
    Ambiguous,
}

/// What really became of a message at the receiver.
#[derive(Debug, Default)]
struct Receiver {
    /// Arrivals per delivery id.
    shown: BTreeMap<DeliveryId, u32>,
    known: BTreeMap<DeliveryId, Known>,
}

struct World {
    rig: Rig,
    chance: StdRng,
    means: SettleMeans,
    receiver: Receiver,
    running: Vec<ClaimedTurn>,
    /// Turns that pull workers hold; they outlive the host.
    pulled: Vec<TurnClaim>,
    sending: Vec<ClaimedDelivery>,
    /// Calls whose worker lost its claim but may still answer.
    late: Vec<(DeliveryClaim, bool)>,
    /// Tries whose worker lost its claim but may still complete.
    late_turns: Vec<TurnClaim>,
    /// Deliveries that somebody has proven to have arrived.
    proven: BTreeSet<DeliveryId>,
    accepted: BTreeMap<String, TurnId>,
    aborted: BTreeSet<TurnId>,
    /// Turns that are due later, with what was asked for.
    later: BTreeMap<TurnId, Due>,
    /// The latest time that the wall clock has shown when turns fell due.
    latest_ms: i64,
    said: events::Said,
    messages: u32,
    /// Entries of another program that were taken in.
    imported: BTreeSet<String>,
    moved: bool,
    clocks: clocks::Clocks,
    paces: paces::Paces,
    /// Steps and rounds so far.
    steps: u64,
}

fn fault(code: &str) -> Fault {
    Fault::new(code, "simulated")
}

impl World {
    fn new(seed: u64) -> Self {
        let mut chance = StdRng::seed_from_u64(seed);
        let means = SettleMeans {
            idempotency: match chance.random_range(0..3) {
                0 => Idempotency::None,
                1 => Idempotency::ForMs(120_000),
                _ => Idempotency::Always,
            },
            can_ask: chance.random_bool(0.5),
            on_unknown: if chance.random_bool(0.3) { OnUnknown::Resend } else { OnUnknown::Hold },
        };
        let mut rig = Rig::with(means.clone());
        Self::choose_channel(&mut rig, &mut chance);
        let mut clocks = clocks::Clocks::new(&rig);
        if chance.random_bool(0.5) {
            clocks.catch_up = CatchUp::ALL[chance.random_range(0..3)];
            rig.recur("series", "red", "*/7 * * * *", clocks.catch_up);
        }
        Self {
            rig,
            chance,
            means,
            receiver: Receiver::default(),
            running: Vec::new(),
            pulled: Vec::new(),
            sending: Vec::new(),
            late: Vec::new(),
            late_turns: Vec::new(),
            proven: BTreeSet::new(),
            accepted: BTreeMap::new(),
            aborted: BTreeSet::new(),
            later: BTreeMap::new(),
            latest_ms: i64::MIN,
            said: events::Said::default(),
            messages: 0,
            imported: BTreeSet::new(),
            moved: false,
            clocks,
            paces: paces::Paces::default(),
            steps: 0,
        }
    }

    fn room(&mut self) -> &'static str {
        ROOMS[self.chance.random_range(0..ROOMS.len())]
    }

    fn step(&mut self) {
        match self.chance.random_range(0..100) {
            0..12 => self.arrive(),
            12..21 => self.happen(),
            21..24 => self.redeliver(),
            24..36 => self.claim_turn(),
            36..52 => self.finish_turn(),
            52..66 => self.claim_delivery(),
            66..82 => self.finish_delivery(false),
            82..84 => self.stop(),
            84..86 => self.crash(),
            86..90 => self.pass_time(),
            90..92 => self.sweep(),
            92..93 => self.import(),
            93..94 => self.order_many(),
            94..95 => self.resolve(),
            95..97 => self.late_word(),
            97 if self.chance.random_bool(0.2) => self.leave_and_return(),
            _ => self.lose_a_worker(),
        }
        self.check();
    }

    fn arrive(&mut self) {
        self.messages += 1;
        let (room, id) = (self.room(), format!("m{}", self.messages));
        let lease = self.chance.random_bool(0.5).then_some(LEASE);
        if self.chance.random_bool(0.15) {
            return self.arrive_later(room, &id);
        }
        if self.chance.random_bool(0.15) {
            return self.arrive_with_file(room, &id);
        }
        let accept = Accept {
            channel: "hook".into(),
            events: vec![InboundEvent::Message(message(room, &id, &id))],
            cursor: None,
            state: StateWrites::default(),
            claim: lease,
        };
        let Answer::Accepted(accepted) = self.rig.run(Command::Accept(accept)) else { panic!() };
        let AcceptedEvent::Turn { turn, .. } = &accepted.events[0] else { panic!() };
        self.accepted.insert(format!("{room}/{id}"), *turn);
        self.said(*turn, &id, &id);
        if let Some(claimed) = accepted.claimed {
            self.begin_turn(claimed);
        }
    }

    fn claim_turn(&mut self) {
        if self.chance.random_bool(0.3) {
            return self.pull_a_turn();
        }
        if let Some(turn) = self.rig.claim_turn() {
            self.begin_turn(*turn);
        }
    }

    fn begin_turn(&mut self, turn: ClaimedTurn) {
        if let Some(Due::At(at_ms)) = self.later.get(&turn.claim.turn) {
            let early = self.latest_ms < *at_ms;
            assert!(!early, "a turn runs before the time that was named for it");
        }
        if let Some(due_ms) = turn.message.external_id.strip_prefix("series/") {
            let due_ms: i64 = due_ms.parse().unwrap();
            assert!(self.latest_ms >= due_ms, "an occurrence runs before it is due");
        }
        assert!(!self.aborted.contains(&turn.claim.turn), "an aborted turn runs");
        self.heard(&turn);
        self.holds(turn.claim.token.0, LEASE.lease_ms);
        self.running.push(turn);
    }

    fn finish_turn(&mut self) {
        if !self.pulled.is_empty() && self.chance.random_bool(0.4) {
            return self.hear_a_worker();
        }
        if self.running.is_empty() {
            return;
        }
        let index = self.chance.random_range(0..self.running.len());
        let turn = self.running.swap_remove(index);
        let claim = turn.claim;
        match self.chance.random_range(0..10) {
            0 => {
                self.rig.run(Command::Silence { claim, claim_next_turn: None });
            }
            1 | 2 => {
                let retry = self.chance.random_bool(0.8);
                let loss = Loss::Handler {
                    code: "handler".to_owned(),
                    sentence: "simulated".to_owned(),
                    retry,
                    retry_after_ms: None,
                };
                self.rig.run(Command::LoseTry { claim, loss });
            }
            3 => {
                let row = NewDelivery {
                    kind: DeliveryKind::Tool,
                    body: Reply { text: "tool".to_owned(), ..Reply::default() },
                    part: 1,
                    parts: 1,
                };
                self.rig.run(Command::Progress { claim, rows: vec![row], claim_first: None });
                self.running.push(turn);
            }
            4 => {
                self.rig.run(Command::LoseTry { claim, loss: Loss::PlannedStop });
            }
            _ => {
                let texts = ["a", "b", "c"];
                let parts = self.chance.random_range(1..=3);
                let lease = self.chance.random_bool(0.5).then_some(LEASE);
                let rows = self.with_files(finals(&texts[..parts]));
                let answer = self.rig.run(Command::Complete { claim, rows, claim_first: lease });
                let Answer::Enqueued { first, .. } = answer else { panic!() };
                if let Some(first) = first {
                    self.begin_delivery(*first);
                }
            }
        }
    }

    fn claim_delivery(&mut self) {
        if let Some(row) = self.rig.claim_delivery() {
            self.begin_delivery(*row);
        }
    }

    fn begin_delivery(&mut self, row: ClaimedDelivery) {
        self.holds(row.claim.token.0, LEASE.lease_ms);
        if row.work == DeliveryWork::Send {
            self.paces.sends(self.rig.pace.rate, self.rig.now.wall_ms);
            let id = row.claim.delivery;
            if let Some(turn) = row.turn {
                assert!(!self.aborted.contains(&turn), "{id} of an aborted turn is sent");
            }
            assert!(
                !self.proven.contains(&id),
                "{id} is proven to have arrived, and is sent again"
            );
            let may_resend = self.means.idempotency != Idempotency::None
                || self.means.on_unknown == OnUnknown::Resend;
            match self.receiver.known.insert(id, Known::Open) {
                None | Some(Known::NotSent) => {}
                Some(Known::Sent) => panic!("{id} is known to be sent, and is sent again"),
                Some(Known::Ambiguous | Known::Open) => {
                    assert!(may_resend, "{id} is unknown, and is sent again by guessing");
                    assert!(!row.kind.is_progress(), "progress is sent again");
                }
            }
        }
        self.sending.push(row);
    }

    /// What the platform and the adapter make of a call.
    fn outcome(&mut self, id: DeliveryId, healthy: bool) -> Outcome {
        let roll = if healthy { 99 } else { self.chance.random_range(0..100) };
        let (outcome, shown, known) = match roll {
            0..12 => {
                (Outcome::NotSent(NotSent::Transient(fault("http_502"))), false, Known::NotSent)
            }
            12..17 => (Outcome::NotSent(NotSent::Offline(fault("offline"))), false, Known::NotSent),
            17..20 => {
                let scope = if roll == 17 { RateScope::Channel } else { RateScope::Conversation };
                let limit = NotSent::RateLimited { retry_after_ms: 9_000, scope };
                (Outcome::NotSent(limit), false, Known::NotSent)
            }
            20..22 => (Outcome::NotSent(NotSent::Closed(fault("closed"))), false, Known::NotSent),
            22..24 => (Outcome::Rejected(fault("rude")), false, Known::NotSent),
            24..26 => {
                self.paces.give_back();
                (Outcome::NotSent(NotSent::Stopped), false, Known::NotSent)
            }
            26..28 => {
                self.moved = true;
                let to = self.room().to_owned();
                (Outcome::NotSent(NotSent::Moved(to)), false, Known::NotSent)
            }
            28..40 => (Outcome::Unknown(fault("deadline")), true, Known::Ambiguous),
            40..48 => (Outcome::Unknown(fault("deadline")), false, Known::Ambiguous),
            _ => (Outcome::Delivered(Receipt::default()), true, Known::Sent),
        };
        if shown {
            *self.receiver.shown.entry(id).or_default() += 1;
        }
        // What was ambiguous once stays so until somebody knows.
        let before = self.receiver.known.get(&id).copied();
        let known = match (known, before) {
            (Known::NotSent, Some(Known::Ambiguous)) => Known::Ambiguous,
            (known, _) => known,
        };
        self.receiver.known.insert(id, known);
        outcome
    }

    fn finish_delivery(&mut self, healthy: bool) {
        if self.sending.is_empty() {
            return;
        }
        let index = self.chance.random_range(0..self.sending.len());
        let row = self.sending.swap_remove(index);
        let id = row.claim.delivery;
        match row.work {
            DeliveryWork::Send => {
                let before = self.receiver.known.get(&id).copied();
                assert_eq!(before, Some(Known::Open));
                let outcome = self.outcome(id, healthy);
                self.rig.record(row.claim, outcome);
            }
            DeliveryWork::Ask { .. } => self.finish_ask(&row),
        }
    }

    fn finish_ask(&mut self, row: &ClaimedDelivery) {
        let id = row.claim.delivery;
        let shown = self.receiver.shown.contains_key(&id);
        let answer = match self.chance.random_range(0..4) {
            0 => AskAnswer::Told(Lookup::Undecided("maybe".to_owned())),
            1 => AskAnswer::Failed(CallError::Unsupported),
            // A platform that is sure too early.
            2 if shown && self.chance.random_bool(0.1) => AskAnswer::Told(Lookup::Absent),
            _ if shown => AskAnswer::Told(Lookup::Found(Receipt::default())),
            _ => AskAnswer::Told(Lookup::Absent),
        };
        match answer {
            AskAnswer::Told(Lookup::Found(_)) => self.receiver.known.insert(id, Known::Sent),
            AskAnswer::Told(Lookup::Absent) => self.receiver.known.insert(id, Known::NotSent),
            _ => None,
        };
        let state = StateWrites::default();
        let next = ClaimNext::default();
        self.rig.run(Command::RecordAsk { claim: row.claim, answer, state, next });
    }

    fn come_to_rest(&mut self) {
        self.rig.act(ScheduleAct::Cancel { name: "series".to_owned() });
        for round in 0..3_000 {
            if self.count("SELECT count(*) FROM turn WHERE state IN (0, 1, 2)") == 0
                && self.count("SELECT count(*) FROM delivery WHERE state IN (0, 1, 2)") == 0
            {
                return;
            }
            self.claim_turn();
            while let Some(turn) = self.running.pop() {
                self.rig.complete(turn.claim, &["rest"]);
            }
            self.let_all_workers_end();
            self.claim_delivery();
            while !self.sending.is_empty() {
                self.finish_delivery(true);
            }
            // A closed conversation opens when its person writes.
            for room in ROOMS {
                let closed = format!(
                    "SELECT count(*) FROM conversation WHERE name = '{room}' AND closed = 1"
                );
                if self.count(&closed) > 0 {
                    self.messages += 1;
                    let id = format!("m{}", self.messages);
                    let turn = self.rig.accept_turn(message(room, &id, &id));
                    self.accepted.insert(format!("{room}/{id}"), turn);
                }
            }
            // What is left then was put off to a day that the clock had before it went back.
            self.rig.pass(Duration::from_secs(if round < 1_000 { 15 } else { 300 }));
            self.release_future();
            self.fall();
            self.check();
        }
        let live = |line: &String| line.starts_with("turn|") || line.starts_with("delivery|");
        let rows = super::twice::rows(self.rig.core.connection().unwrap());
        panic!(
            "rows stay in between: {:#?}",
            rows.iter().filter(|row| live(row)).collect::<Vec<_>>()
        );
    }
}

/// One life; gives the steps that it took, those to rest included.
fn run(seed: u64, steps: u32) -> u64 {
    let mut world = World::new(seed);
    world.rig.twice = seed % TWICE_EVERY == 3;
    for _ in 0..steps {
        world.step();
    }
    world.come_to_rest();
    world.steps
}

/// A life of many kinds on this thread, for tests that look at what it ran.
pub(super) fn exercise(seeds: u64) {
    for seed in 0..seeds {
        run(seed, STEPS);
    }
}

// Case: B2, G4
#[test]
fn no_seed_loses_doubles_reorders_or_sticks_a_message() {
    Campaign::asked(SEEDS, STEPS).run("no_seed_loses_doubles_reorders", run);
}
