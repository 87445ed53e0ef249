//! What platforms, handlers and adapters do to a store whose disk fails: drawn from a seed. What is
//! refused is asked again; who hears nothing, because the process is gone, begins anew.

use std::collections::BTreeMap;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::super::rig::{LEASE, finals, message};
use super::Image;
use super::host::Host;
use super::ledger::{Checked, broken};
use crate::lifecycle::id::DeliveryId;
use crate::lifecycle::message::InboundEvent;
use crate::lifecycle::outcome::{
    CallError, Fault, Ledger as Wire, Lookup, NotSent, Outcome, Receipt, StateWrites,
};
use crate::lifecycle::settle::{Idempotency, OnUnknown, SettleMeans};
use crate::lifecycle::turn::Loss;
use crate::store::*;

const ROOMS: [&str; 3] = ["red", "green", "blue"];

pub(super) struct Work {
    pub(super) host: Host,
    pub(super) chance: StdRng,
    turns: Vec<ClaimedTurn>,
    sends: Vec<ClaimedDelivery>,
    /// Sends of this process whose outcome was not recorded yet.
    at_adapter: BTreeMap<DeliveryId, u32>,
    messages: u32,
    /// Messages whose platform has not heard "ok".
    unheard: Vec<(String, String)>,
}

/// A row that is worked on, and goes back where the store refuses.
enum Held {
    Nothing,
    Message(String, String),
    Turn(Box<ClaimedTurn>),
    Send(Box<ClaimedDelivery>, bool),
    Abort,
}

fn fault(code: &str) -> Fault {
    Fault::new(code, "simulated")
}

impl Work {
    pub(super) fn new(image: Image, seed: u64) -> Self {
        let mut chance = StdRng::seed_from_u64(seed);
        let means = SettleMeans {
            idempotency: Idempotency::None,
            can_ask: chance.random_bool(0.5),
            on_unknown: OnUnknown::Hold,
        };
        let host = Host::new(image, seed, seed, means);
        let (turns, sends, at_adapter) = (Vec::new(), Vec::new(), BTreeMap::new());
        Self { host, chance, turns, sends, at_adapter, messages: 0, unheard: Vec::new() }
    }

    /// Starts a process after whatever befell the last one.
    pub(super) fn start(&mut self) -> Checked {
        self.host.end();
        self.turns.clear();
        self.sends.clear();
        self.at_adapter.clear();
        self.host.start()
    }

    /// One batch, or something beside it.
    pub(super) fn step(&mut self) -> Checked {
        match self.chance.random_range(0..100) {
            0..78 => self.batch(),
            78..86 => {
                let seconds = [1, 7, 40, 400][self.chance.random_range(0..4)];
                self.host.pass(Duration::from_secs(seconds));
                Ok(())
            }
            86..92 => {
                self.host.checkpoint();
                Ok(())
            }
            92..94 => {
                self.host.pass(Duration::from_secs(8 * 86_400));
                self.host.ledger.may_prune = true;
                self.host.must(Command::Sweep(SweepStep::Prune { rows_max: 20 })).map(drop)
            }
            94..96 => {
                // A planned stop.
                self.start()
            }
            _ => {
                let Some(Rows::Deliveries(rows)) =
                    self.host.read(&Query::Outbox(ListFilter::default()))
                else {
                    return Ok(());
                };
                let Some(row) = rows.into_iter().find(|row| row.held) else { return Ok(()) };
                let (delivery, how) = (row.id, Resolution::Drop);
                self.host.must(Command::Resolve { delivery, how, by: "ann".to_owned() }).map(drop)
            }
        }
    }

    fn batch(&mut self) -> Checked {
        let count = self.chance.random_range(1..=4);
        let (mut commands, mut held) = (Vec::new(), Vec::new());
        for _ in 0..count {
            let (command, row) = self.draw();
            commands.push(command);
            held.push(row);
        }
        let answers = self.host.run(commands)?;
        let Some(answers) = answers else {
            // Nobody heard anything: platforms send again, workers are gone.
            for row in held {
                if let Held::Message(room, id) = row {
                    self.unheard.push((room, id));
                }
            }
            return Ok(());
        };
        for (answer, row) in answers.into_iter().zip(held) {
            match answer {
                Ok(answer) => self.take(answer, row)?,
                Err(StoreError::NotWritable(_)) => self.put_back(row),
                Err(error) => return broken(format!("refused for another reason: {error}")),
            }
        }
        Ok(())
    }

    fn put_back(&mut self, row: Held) {
        match row {
            Held::Message(room, id) => self.unheard.push((room, id)),
            Held::Turn(turn) => self.turns.push(*turn),
            Held::Send(row, _) => self.sends.push(*row),
            Held::Nothing | Held::Abort => {}
        }
    }

    fn draw(&mut self) -> (Command, Held) {
        match self.chance.random_range(0..100) {
            0..30 => self.arrive(),
            30..45 => (Command::ClaimTurn { lease: LEASE }, Held::Nothing),
            45..62 if !self.turns.is_empty() => self.answer(),
            62..94 if !self.sends.is_empty() => self.sent(),
            94..97 => {
                let (channel, conversation) = ("hook".into(), self.room().to_owned());
                let scope = AbortScope::Conversation { channel, conversation, all: false };
                (Command::Abort { scope, by: "ann".to_owned() }, Held::Abort)
            }
            _ => (Command::ClaimDelivery { channel: "hook".into(), lease: LEASE }, Held::Nothing),
        }
    }

    fn room(&mut self) -> &'static str {
        ROOMS[self.chance.random_range(0..ROOMS.len())]
    }

    fn arrive(&mut self) -> (Command, Held) {
        let (room, id) = match self.unheard.pop() {
            Some(again) => again,
            None => {
                self.messages += 1;
                (self.room().to_owned(), format!("m{}", self.messages))
            }
        };
        let accept = Accept {
            channel: "hook".into(),
            events: vec![InboundEvent::Message(message(&room, &id, &id.repeat(40)))],
            cursor: Some(Some(format!("after {id}"))),
            state: StateWrites::default(),
            claim: self.chance.random_bool(0.3).then_some(LEASE),
        };
        (Command::Accept(accept), Held::Message(room, id))
    }

    fn answer(&mut self) -> (Command, Held) {
        let index = self.chance.random_range(0..self.turns.len());
        let turn = self.turns.swap_remove(index);
        let claim = turn.claim;
        let command = match self.chance.random_range(0..10) {
            0 => Command::Silence { claim, claim_next_turn: None },
            1 => {
                let loss = Loss::Handler {
                    code: "handler".to_owned(),
                    sentence: "simulated".to_owned(),
                    retry: true,
                    retry_after_ms: None,
                };
                Command::LoseTry { claim, loss }
            }
            _ => {
                let texts = ["a".repeat(600), "b".repeat(90), "c".repeat(9)];
                let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
                let rows = finals(&texts[..self.chance.random_range(1..=3)]);
                Command::Complete { claim, rows, claim_first: None }
            }
        };
        (command, Held::Turn(Box::new(turn)))
    }

    fn sent(&mut self) -> (Command, Held) {
        let index = self.chance.random_range(0..self.sends.len());
        let row = self.sends.swap_remove(index);
        let (claim, state, next) = (row.claim, StateWrites::default(), ClaimNext::default());
        if let DeliveryWork::Ask { .. } = row.work {
            let answer = match self.chance.random_range(0..3) {
                0 => AskAnswer::Told(Lookup::Found(Receipt::default())),
                1 => AskAnswer::Failed(CallError::Unsupported),
                _ => AskAnswer::Told(Lookup::Undecided("maybe".to_owned())),
            };
            let command = Command::RecordAsk { claim, answer, state, next };
            return (command, Held::Send(Box::new(row), false));
        }
        let (outcome, delivered) = match self.chance.random_range(0..10) {
            0 => (Outcome::NotSent(NotSent::Transient(fault("http_502"))), false),
            1 => (Outcome::Unknown(fault("deadline")), false),
            2 => (Outcome::Rejected(fault("rude")), false),
            _ => (Outcome::Delivered(Receipt::default()), true),
        };
        let (ledger, digest) = (Wire::default(), "d1".to_owned());
        let record =
            RecordOutcome { claim, outcome, ledger, digest, contradicted: false, state, next };
        (Command::Record(Box::new(record)), Held::Send(Box::new(row), delivered))
    }

    fn take(&mut self, answer: Answer, row: Held) -> Checked {
        match (answer, row) {
            (Answer::Accepted(accepted), Held::Message(_, id)) => {
                match accepted.events.first() {
                    Some(
                        AcceptedEvent::Turn { turn, .. }
                        | AcceptedEvent::Duplicate { turn: Some(turn), .. },
                    ) => self.host.ledger.accept(id, *turn)?,
                    other => return broken(format!("{id} came to {other:?}")),
                }
                self.turns.extend(accepted.claimed);
                Ok(())
            }
            (Answer::ClaimedTurn(turn), _) => {
                self.turns.extend(turn.map(|turn| *turn));
                Ok(())
            }
            (Answer::ClaimedDelivery(row), _) => row.map_or(Ok(()), |row| self.begin(*row)),
            (Answer::Recorded(recorded), Held::Send(row, delivered)) => {
                self.at_adapter.remove(&row.claim.delivery);
                if delivered && recorded.claim_held {
                    self.host.ledger.deliver(row.claim.delivery);
                }
                Ok(())
            }
            (Answer::Operated { stopped, .. }, Held::Abort) => {
                self.turns.retain(|turn| !stopped.contains(&turn.claim.turn));
                self.host.ledger.abort(&stopped);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn begin(&mut self, row: ClaimedDelivery) -> Checked {
        let id = row.claim.delivery;
        if row.work == DeliveryWork::Send {
            if self.host.ledger.was_delivered(id) {
                return broken(format!("{id} was delivered, and is sent again"));
            }
            if let Some(open) = self.at_adapter.insert(id, row.claim.call) {
                return broken(format!("{id} is at the adapter by call {open}, and is sent again"));
            }
        }
        self.sends.push(row);
        Ok(())
    }
}
