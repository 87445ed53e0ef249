//! One life, told the same way each time: a dozen messages through accept, claim, complete, record,
//! abort, unknown, checkpoint, a restart and pruning, from the making of the store on. Each of its
//! accesses of the disk fails once in each way that it can; the life must come to the same end.

use std::collections::BTreeMap;
use std::time::Duration;

use super::super::rig::{LEASE, finals, message};
use super::host::Host;
use super::ledger::{Checked, Violation, broken};
use super::{Cache, Fault, Image, Loss, Op, Plan};
use crate::lifecycle::id::TurnId;
use crate::lifecycle::message::{DeliveryKind, InboundEvent, Reply};
use crate::lifecycle::outcome::{
    Fault as Trouble, Ledger as Wire, NotSent, Outcome, Receipt, StateWrites,
};
use crate::lifecycle::settle::SettleMeans;
use crate::lifecycle::turn::Loss as TurnLoss;
use crate::store::*;

const MESSAGES: u32 = 12;
/// The default run takes every so many accesses; `LASTWORD_STRIDE=1` takes all.
const STRIDE: usize = 41;
/// How many accesses in a row fail: one, a few, and until the operator mends the disk.
const COUNTS: [u64; 3] = [1, 3, u64::MAX];

const FAULTS: [Fault; 9] = [
    Fault::Io,
    Fault::Full,
    Fault::Short,
    Fault::Sync(Cache::Kept),
    Fault::Sync(Cache::Dropped),
    Fault::Kill,
    Fault::KillHalf,
    Fault::Cut(Loss::All),
    Fault::Cut(Loss::Some),
];

/// How the turn of a message may end, whatever the disk does.
fn ends_of(number: u32) -> &'static [i64] {
    match number {
        4 => &[4],
        5 => &[6],
        // In two parts: where nobody knows for a while what became of the first, the second is not
        // sent.
        10 => &[3, 5],
        _ => &[3],
    }
}

struct Life {
    host: Host,
    turns: Vec<ClaimedTurn>,
    sends: Vec<ClaimedDelivery>,
    lost_once: bool,
}

impl Life {
    fn new(seed: u64) -> Self {
        let host = Host::new(Image::default(), seed, 1, SettleMeans::default());
        Self { host, turns: Vec::new(), sends: Vec::new(), lost_once: false }
    }

    /// Asks until it is done, through as many processes as it takes.
    fn must(&mut self, command: &Command) -> Checked<Answer> {
        loop {
            if !self.host.is_up() {
                self.turns.clear();
                self.sends.clear();
                self.host.start()?;
            }
            if let Some(answer) = self.host.must(command.clone())? {
                return Ok(answer);
            }
        }
    }

    fn accept(&mut self, number: u32) -> Checked<TurnId> {
        let (id, room) = (format!("m{number}"), format!("room{}", number % 5));
        let accept = Accept {
            channel: "hook".into(),
            events: vec![InboundEvent::Message(message(&room, &id, &id.repeat(60)))],
            cursor: Some(Some(format!("after {id}"))),
            state: StateWrites::default(),
            claim: (number.is_multiple_of(3)).then_some(LEASE),
        };
        let Answer::Accepted(accepted) = self.must(&Command::Accept(accept))? else {
            return broken("a message was not accepted");
        };
        self.turns.extend(accepted.claimed);
        match accepted.events.first() {
            Some(
                AcceptedEvent::Turn { turn, .. }
                | AcceptedEvent::Duplicate { turn: Some(turn), .. },
            ) => {
                self.host.ledger.accept(id, *turn)?;
                Ok(*turn)
            }
            other => broken(format!("{id} came to {other:?}")),
        }
    }

    /// Three messages in one commit. Where it is refused they come one by one.
    fn accept_three(&mut self, first: u32) -> Checked {
        let accept = |number: u32| {
            let (id, room) = (format!("m{number}"), format!("room{}", number % 5));
            Command::Accept(Accept {
                channel: "hook".into(),
                events: vec![InboundEvent::Message(message(&room, &id, &id.repeat(60)))],
                cursor: None,
                state: StateWrites::default(),
                claim: None,
            })
        };
        if self.host.is_up() {
            let _ = self.host.run((first..first + 3).map(accept).collect())?;
        }
        // The platform that heard nothing sends again, and the one that heard does too.
        (first..first + 3).try_for_each(|number| self.accept(number).map(drop))
    }

    fn answer(&mut self, turn: &ClaimedTurn) -> Checked {
        let claim = turn.claim;
        let command = match turn.message.external_id.as_str() {
            "m3" if !self.lost_once => {
                self.lost_once = true;
                let loss = TurnLoss::Handler {
                    code: "handler".to_owned(),
                    sentence: "simulated".to_owned(),
                    retry: true,
                    retry_after_ms: None,
                };
                Command::LoseTry { claim, loss }
            }
            "m4" => Command::Silence { claim, claim_next_turn: None },
            "m6" => {
                let body = Reply { text: "tool".to_owned(), ..Reply::default() };
                let row = NewDelivery { kind: DeliveryKind::Tool, body, part: 1, parts: 1 };
                self.must(&Command::Progress { claim, rows: vec![row], claim_first: None })?;
                Command::Complete { claim, rows: finals(&["six"]), claim_first: Some(LEASE) }
            }
            "m10" => Command::Complete { claim, rows: finals(&["one", "two"]), claim_first: None },
            _ => Command::Complete { claim, rows: finals(&["one"]), claim_first: None },
        };
        if let Answer::Enqueued { first: Some(row), .. } = self.must(&command)? {
            self.sends.push(*row);
        }
        Ok(())
    }

    fn send(&mut self, row: &ClaimedDelivery) -> Checked {
        if self.host.ledger.was_delivered(row.claim.delivery) {
            return broken(format!("{} was delivered, and is sent again", row.claim.delivery));
        }
        let fault = |code: &str| Trouble::new(code, "simulated");
        let outcome = match (row.claim.delivery.number % 7, row.claim.call) {
            (1, 1) => Outcome::NotSent(NotSent::Transient(fault("http_502"))),
            (2, 1) => Outcome::Unknown(fault("deadline")),
            _ => Outcome::Delivered(Receipt::default()),
        };
        let delivered = matches!(outcome, Outcome::Delivered(_));
        let record = RecordOutcome {
            claim: row.claim,
            outcome,
            ledger: Wire::default(),
            digest: "d1".to_owned(),
            contradicted: false,
            state: StateWrites::default(),
            next: ClaimNext { delivery: Some(LEASE), turn: None },
        };
        let Answer::Recorded(recorded) = self.must(&Command::Record(Box::new(record)))? else {
            return broken("an outcome was not recorded");
        };
        if delivered && recorded.claim_held {
            self.host.ledger.deliver(row.claim.delivery);
        }
        self.sends.extend(recorded.next.delivery.map(|row| *row));
        Ok(())
    }

    /// A person settles what is held.
    fn settle(&mut self) -> Checked {
        let Some(Rows::Deliveries(rows)) = self.host.read(&Query::Outbox(ListFilter::default()))
        else {
            return Ok(());
        };
        for row in rows.into_iter().filter(|row| row.held) {
            let (delivery, how, by) = (row.id, Resolution::Delivered, "ann".to_owned());
            self.must(&Command::Resolve { delivery, how, by })?;
        }
        Ok(())
    }

    /// The sweep of claims: one that was made by a commit that seemed to fail is nobody's.
    fn sweep(&mut self) -> Checked {
        let claims = Query::Claims { after_turn: 0, after_delivery: 0, rows_max: 1_000 };
        let Some(Rows::Claims(claims)) = self.host.read(&claims) else { return Ok(()) };
        let now_ms = self.host.now.mono_ms;
        for row in claims.turns.iter().filter(|row| row.expires_mono_ms <= now_ms) {
            let (claim, loss) = (row.claim, TurnLoss::ClaimExpired);
            self.must(&Command::Sweep(SweepStep::LoseTurn { claim, loss }))?;
        }
        for row in claims.deliveries.iter().filter(|row| row.expires_mono_ms <= now_ms) {
            let (claim, fault) = (row.claim, Trouble::new("claim_expired", "simulated"));
            self.must(&Command::Sweep(SweepStep::LoseSend { claim, fault }))?;
        }
        Ok(())
    }

    /// Works until nothing is live.
    fn work(&mut self) -> Checked {
        for _ in 0..200 {
            self.host.pass(Duration::from_secs(40));
            self.sweep()?;
            if let Answer::ClaimedTurn(Some(turn)) =
                self.must(&Command::ClaimTurn { lease: LEASE })?
            {
                self.turns.push(*turn);
            }
            while let Some(turn) = self.turns.pop() {
                self.answer(&turn)?;
            }
            let claim = Command::ClaimDelivery { channel: "hook".into(), lease: LEASE };
            if let Answer::ClaimedDelivery(Some(row)) = self.must(&claim)? {
                self.sends.push(*row);
            }
            while let Some(row) = self.sends.pop() {
                self.send(&row)?;
            }
            self.settle()?;
            let live = "SELECT (SELECT count(*) FROM turn WHERE state < 3)
                             + (SELECT count(*) FROM delivery WHERE state < 3)";
            if self.host.can_count() && self.host.count(live)? == 0 {
                return Ok(());
            }
        }
        broken("something stays in between for ever")
    }

    fn run(&mut self) -> Checked {
        for number in 1..=6 {
            self.accept(number)?;
        }
        let stopped = self.accept(5)?;
        let (scope, by) = (AbortScope::Turn(stopped), "ann".to_owned());
        self.must(&Command::Abort { scope, by })?;
        self.host.ledger.abort(&[stopped]);
        self.host.checkpoint();
        self.work()?;
        // A planned stop in the middle.
        self.host.end();
        self.host.start()?;
        self.accept_three(7)?;
        for number in 10..=MESSAGES {
            self.accept(number)?;
        }
        self.host.checkpoint();
        self.work()?;
        self.check_ends()?;
        self.host.pass(Duration::from_secs(15 * 86_400));
        self.host.ledger.may_prune = true;
        for _ in 0..12 {
            self.must(&Command::Sweep(SweepStep::Prune { rows_max: 10 }))?;
        }
        self.host.checkpoint();
        self.host.end();
        self.host.start()?;
        self.host.check()?;
        // One that failed, or has a dead letter, is kept until a person purges it.
        let sql = "SELECT count(*) FROM turn t WHERE state != 5 AND NOT EXISTS
                     (SELECT 1 FROM delivery d WHERE d.turn_id = t.id AND d.state IN (5, 7))";
        match self.host.count(sql)? {
            0 => Ok(()),
            left => broken(format!("{left} turns outlive their retention")),
        }
    }

    fn check_ends(&mut self) -> Checked {
        for number in 1..=MESSAGES {
            let sql = format!(
                "SELECT CASE count(*) WHEN 1 THEN max(state) ELSE -count(*) END FROM turn
                 WHERE external_id = 'm{number}'"
            );
            let (is, may) = (self.host.count(&sql)?, ends_of(number));
            if !may.contains(&is) {
                return broken(format!("the turn of m{number} ended as {is}, not {may:?}"));
            }
        }
        Ok(())
    }
}

/// The accesses of the life on a disk that does not fail.
fn accesses() -> Vec<Op> {
    let mut life = Life::new(1);
    life.run().unwrap();
    life.host.disk.log()
}

fn stride() -> usize {
    let asked = crate::env::variable("LASTWORD_STRIDE");
    asked.map_or(STRIDE, |text| text.to_string_lossy().parse().unwrap())
}

#[allow(clippy::print_stderr, reason = "the counts are what the proof is about")]
#[test]
fn every_access_of_a_life_may_fail_in_every_way_and_the_life_comes_to_its_end() {
    let (log, stride) = (accesses(), stride());
    let mut of: BTreeMap<Op, u64> = BTreeMap::new();
    for op in &log {
        *of.entry(*op).or_default() += 1;
    }
    eprintln!("every N: {} accesses: {of:?}; every {stride}.", log.len());
    let (mut runs, mut failed) = (0, Vec::new());
    for fault in FAULTS {
        for count in COUNTS {
            let ends = matches!(fault, Fault::Kill | Fault::KillHalf | Fault::Cut(_));
            if ends && count != 1 {
                continue;
            }
            let suits = log.iter().enumerate().filter(|(_, op)| fault.suits(**op));
            // Strides of different faults begin at different places.
            let places: Vec<usize> = suits.map(|(at, _)| at).skip(failed.len() % stride).collect();
            let chosen: Vec<usize> = places.iter().copied().step_by(stride).collect();
            for &at in &chosen {
                runs += 1;
                let mut life = Life::new(at as u64 + 2);
                life.host.disk.plan(Plan { first: at as u64, count, fault });
                let done = life.run();
                let met = life.host.disk.hits() > 0;
                let done = if met { done } else { done.and(broken("its fault was not met")) };
                if let Err(Violation(sentence)) = done {
                    eprintln!("{fault:?} x{count} at {at} ({:?}): {sentence}", log[at]);
                    failed.push((fault, count, at));
                }
            }
            eprintln!("  {fault:?}, {count} in a row: {} of {}", chosen.len(), places.len());
        }
    }
    eprintln!("every N: {runs} lives, {} failed", failed.len());
    assert!(failed.is_empty(), "{} lives failed", failed.len());
}
