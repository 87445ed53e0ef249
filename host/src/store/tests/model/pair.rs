//! The model and the real store side by side: each operation is carried out by both, and answers
//! and rows are compared after each.

use super::ends::{End, Told};
use super::rows::Work;
use super::spec::{Accepts, Lost, Spec};
use super::{Op, ROOMS, Setup, compare, fault, text_of};
use crate::lifecycle::delivery::DeliveryState;
use crate::lifecycle::id::DeliveryId;
use crate::lifecycle::message::{
    AbortRequest, DeliveryKind, InboundEvent, InboundMessage, Reply, Sender,
};
use crate::lifecycle::notice::NoticeText;
use crate::lifecycle::outcome::{
    CallError, Lookup, NotSent, Outcome, RateScope, Receipt, StateWrites,
};
use crate::lifecycle::turn::{Loss, TurnState};
use crate::store::tests::rig::{LEASE, Rig, finals, message};
use crate::store::*;

pub(super) type Held = Result<(), String>;

/// Says what differs, by the name of what was compared.
pub(super) fn same<T: PartialEq + std::fmt::Debug>(what: &str, model: T, store: T) -> Held {
    if model == store {
        return Ok(());
    }
    Err(format!("{what}: the model says {model:?}, the store {store:?}"))
}

/// A claim that was once given; most are lost sooner or later, and are used all the same.
struct OfTurn {
    turn: usize,
    claim: TurnClaim,
}

struct OfRow {
    row: usize,
    claim: DeliveryClaim,
    work: Work,
}

pub(super) struct Pair {
    pub(super) rig: Rig,
    pub(super) spec: Spec,
    turns: Vec<OfTurn>,
    calls: Vec<OfRow>,
}

/// One of the last few, by number.
fn pick<T>(all: &[T], number: u8) -> Option<&T> {
    let among = all.len().min(8);
    (among > 0).then(|| &all[all.len() - 1 - usize::from(number) % among])
}

pub(super) fn place(count: usize, number: u8) -> Option<usize> {
    let among = count.min(12);
    (among > 0).then(|| count - 1 - usize::from(number) % among)
}

impl Pair {
    pub(super) fn new(setup: &Setup) -> Self {
        let mut rig = Rig::with(setup.means.clone());
        rig.failure_notice = setup.notices.then(NoticeText::default);
        rig.introduce();
        rig.twice = setup.twice;
        let spec = Spec::new(rig.now.wall_ms, setup.means.clone(), setup.notices, ROOMS.len());
        Self { rig, spec, turns: Vec::new(), calls: Vec::new() }
    }

    pub(super) fn step(&mut self, op: &Op) -> Held {
        match *op {
            Op::Message { room, id, text, wakes, fold } => {
                self.message(room, id, text, wakes, fold)?;
            }
            Op::Stop { room, id } => self.stop(room, id)?,
            Op::ClaimTurn => self.claim_turn()?,
            Op::Progress { claim } => self.say(claim, None, false)?,
            Op::Complete { claim, parts, fold } => self.say(claim, Some(parts), fold)?,
            Op::Silence { claim, fold } => self.silence(claim, fold)?,
            Op::Lose { claim, lost } => self.lose(claim, lost)?,
            Op::ClaimDelivery => {
                let expected = self.spec.claim_next();
                let claimed = self.rig.claim_delivery();
                self.claimed(expected, claimed.as_deref())?;
            }
            Op::Record { call, end, fold } => self.record(call, end, fold)?,
            Op::Tell { call, told } => self.tell(call, told)?,
            Op::LoseCall { call } => self.lose_call(call)?,
            Op::Receipt { row } => self.receipt(row),
            Op::AbortTurn { turn } => self.abort_turn(turn)?,
            Op::AbortRoom { room, all } => self.abort_room(room, all)?,
            Op::Resolve { row, how } => self.resolve(row, how)?,
            Op::ReplayTurn { turn, force } => self.replay_turn(turn, force)?,
            Op::ReplayRow { row, force } => self.replay_row(row, force)?,
            Op::PurgeTurn { turn } => self.purge_turn(turn)?,
            Op::PurgeRow { row } => self.purge_row(row)?,
            Op::ExpireTurn { turn } => self.expire_turn(turn),
            Op::ExpireRow { row } => self.expire_row(row),
            Op::Pass { seconds } => self.pass(seconds),
            Op::Jump { hours } => self.jump(hours),
            Op::Crash => self.crash()?,
            Op::Prune => {
                self.rig.run(Command::Sweep(SweepStep::Prune { rows_max: 10_000 }));
                self.spec.prune();
            }
            Op::Pause { resume } => self.switch(resume)?,
        }
        compare::rows(self)
    }

    fn message(&mut self, room: u8, id: u8, text: u8, wakes: bool, fold: bool) -> Held {
        let name = ROOMS[usize::from(room)];
        // What wakes nobody says always the same under its id.
        let text = if wakes { text } else { 0 };
        let said = text_of(id, text);
        let message = InboundMessage { wakes, ..message(name, &format!("m{id}"), &said) };
        let accept = Accept {
            channel: "hook".into(),
            events: vec![InboundEvent::Message(message)],
            cursor: None,
            state: StateWrites::default(),
            claim: fold.then_some(LEASE),
        };
        let Answer::Accepted(accepted) = self.rig.run(Command::Accept(accept)) else {
            return Err("another's answer".to_owned());
        };
        let expected = self.spec.accept(usize::from(room), id, text, wakes);
        match (expected, &accepted.events[0]) {
            (Accepts::Turn(turn), AcceptedEvent::Turn { turn: id, state: TurnState::Queued }) => {
                self.spec.turns[turn].id = Some(*id);
                let claims = fold && self.spec.claimable().contains(&turn);
                let claims = claims.then_some(turn);
                self.turn_claimed(&claims.into_iter().collect::<Vec<_>>(), accepted.claimed)
            }
            (Accepts::Duplicate(turn), AcceptedEvent::Duplicate { turn: id, state }) => {
                let known = turn.map(|turn| &self.spec.turns[turn]);
                same("the turn of a duplicate", known.and_then(|it| it.id), *id)?;
                same("the state of a duplicate's turn", known.map(|it| it.state), *state)
            }
            (Accepts::Context, AcceptedEvent::Context)
            | (Accepts::Refused, AcceptedEvent::Refused { .. }) => Ok(()),
            (expected, answer) => Err(format!("a message: {expected:?} became {answer:?}")),
        }
    }

    fn stop(&mut self, room: u8, id: u8) -> Held {
        let request = AbortRequest {
            external_id: format!("s{id}"),
            conversation: ROOMS[usize::from(room)].to_owned(),
            context: None,
            sender: Sender::default(),
        };
        let answer = self.rig.accept_events(vec![InboundEvent::Abort(request)]).events.remove(0);
        let AcceptedEvent::Abort { stopped, again } = answer else {
            return Err(format!("a stop was {answer:?}"));
        };
        let (turns, was_again) = self.spec.stop(usize::from(room), id);
        same("whether a stop came before", was_again, again)?;
        let ids: Vec<_> = turns.iter().filter_map(|turn| self.spec.turns[*turn].id).collect();
        same("what a stop stopped", ids, stopped)
    }

    fn claim_turn(&mut self) -> Held {
        let claimed = self.rig.claim_turn().map(|claimed| *claimed);
        self.turn_claimed(&self.spec.claimable(), claimed)
    }

    /// One of these, or nothing where there is none; what it is told is compared.
    fn turn_claimed(&mut self, expected: &[usize], claimed: Option<ClaimedTurn>) -> Held {
        let Some(claimed) = claimed else {
            return if expected.is_empty() {
                Ok(())
            } else {
                Err(format!("no turn was claimed, and {expected:?} could be"))
            };
        };
        let is = |turn: &&usize| self.spec.turns[**turn].id == Some(claimed.claim.turn);
        let Some(turn) = expected.iter().find(is).copied() else {
            return Err(format!("{} was claimed, and may not be", claimed.claim.turn));
        };
        self.spec.claim_turn(turn, claimed.claim.token);
        let facts = &self.spec.turns[turn];
        same("the try of a claim", facts.try_number, claimed.claim.try_number)?;
        let told = claimed.context.into_iter().map(|message| message.text).collect();
        same("the context that a turn is told", facts.told.clone(), told)?;
        let mut of: Vec<usize> = vec![turn];
        of.extend(facts.replay_of);
        of.sort_unstable();
        if claimed.claim.try_number > 1 || facts.replay_of.is_some() {
            let arrived =
                |row: &&super::spec::Row| row.state == DeliveryState::Delivered && !row.gone;
            let rows = of.iter().flat_map(|of| {
                let of_it = move |row: &&super::spec::Row| row.turn.is_some_and(|it| it.0 == *of);
                self.spec.rows.iter().filter(of_it).filter(arrived).filter_map(|row| row.id)
            });
            let told = claimed.delivered.iter().map(|part| part.delivery_id).collect();
            same("what a try is told was delivered", rows.collect::<Vec<DeliveryId>>(), told)?;
        }
        self.turns.push(OfTurn { turn, claim: claimed.claim });
        Ok(())
    }

    fn held(&self, number: u8) -> Option<(usize, TurnClaim, bool)> {
        let of = pick(&self.turns, number)?;
        let held = self.spec.holds(of.turn, of.claim.token, of.claim.try_number);
        Some((of.turn, of.claim, held))
    }

    fn say(&mut self, claim: u8, parts: Option<u8>, fold: bool) -> Held {
        let Some((turn, claim, held)) = self.held(claim) else { return Ok(()) };
        let texts = ["a", "b", "c"];
        let command = match parts {
            Some(parts) => Command::Complete {
                claim,
                rows: finals(&texts[..usize::from(parts)]),
                claim_first: fold.then_some(LEASE),
            },
            None => {
                let body = Reply { text: "tool".to_owned(), ..Reply::default() };
                let row = NewDelivery { kind: DeliveryKind::Tool, body, part: 1, parts: 1 };
                Command::Progress { claim, rows: vec![row], claim_first: None }
            }
        };
        let Answer::Enqueued { guarded, ids, first } = self.rig.run(command) else {
            return Err("another's answer".to_owned());
        };
        same("whether a try could say so", held, guarded == Guarded::Done)?;
        if !held {
            return same("rows of a lost try", 0, ids.len());
        }
        let from = self.spec.rows.len();
        match parts {
            Some(parts) => self.spec.complete(turn, u32::from(parts)),
            None => self.spec.enqueue(turn, DeliveryKind::Tool, 1),
        }
        for (row, id) in self.spec.rows[from..].iter_mut().zip(ids) {
            row.id = Some(id);
        }
        let expected = if fold { self.spec.claim_row(from) } else { None };
        self.claimed(expected, first.as_deref())
    }

    fn silence(&mut self, claim: u8, fold: bool) -> Held {
        let Some((turn, claim, held)) = self.held(claim) else { return Ok(()) };
        let claim_next_turn = fold.then_some(LEASE);
        let answer = self.rig.run(Command::Silence { claim, claim_next_turn });
        let Answer::TurnEnded { guarded, next, .. } = answer else {
            return Err("another's answer".to_owned());
        };
        same("whether a try could be silent", held, guarded == Guarded::Done)?;
        if !held {
            return Ok(());
        }
        self.spec.silence(turn);
        let room = self.spec.turns[turn].room;
        let expected = if fold { self.spec.claimable_behind(room) } else { Vec::new() };
        self.turn_claimed(&expected, next.turn.map(|turn| *turn))
    }

    fn lose(&mut self, claim: u8, lost: Lost) -> Held {
        let Some((turn, claim, held)) = self.held(claim) else { return Ok(()) };
        self.lose_turn(turn, claim, held, lost)
    }

    fn lose_turn(&mut self, turn: usize, claim: TurnClaim, held: bool, lost: Lost) -> Held {
        let handler = |retry| Loss::Handler {
            code: "handler".to_owned(),
            sentence: "by the model".to_owned(),
            retry,
            retry_after_ms: None,
        };
        let sweep = |loss| Command::Sweep(SweepStep::LoseTurn { claim, loss });
        let command = match lost {
            Lost::Retry => Command::LoseTry { claim, loss: handler(true) },
            Lost::Never => Command::LoseTry { claim, loss: handler(false) },
            Lost::Stop => Command::LoseTry { claim, loss: Loss::PlannedStop },
            Lost::NotStarted => {
                let (code, sentence) = ("not_started".to_owned(), "by the model".to_owned());
                let wait_ms = super::NOT_STARTED_WAIT_MS.unsigned_abs();
                Command::LoseTry { claim, loss: Loss::NotStarted { code, sentence, wait_ms } }
            }
            Lost::Expired => sweep(Loss::ClaimExpired),
            Lost::Host => sweep(Loss::HostLost),
        };
        let Answer::TurnEnded { guarded, .. } = self.rig.run(command) else {
            return Err("another's answer".to_owned());
        };
        same("whether a try could be lost", held, guarded == Guarded::Done)?;
        if held {
            self.spec.lose(turn, lost);
        }
        Ok(())
    }

    fn claimed(
        &mut self,
        expected: Option<(usize, Work)>,
        claimed: Option<&ClaimedDelivery>,
    ) -> Held {
        let work = |claimed: &ClaimedDelivery| match claimed.work {
            DeliveryWork::Send => Work::Send,
            DeliveryWork::Ask { .. } => Work::Ask,
        };
        let found = claimed.map(|it| (Some(it.claim.delivery), work(it), it.claim.call));
        // Of a row that was made in this step the id is not known yet.
        let known = expected.map(|(row, work)| {
            let facts = &self.spec.rows[row];
            let id = facts.id.or(claimed.map(|it| it.claim.delivery));
            (id, work, facts.call)
        });
        same("the delivery that was claimed", known, found)?;
        if let (Some((row, work)), Some(claimed)) = (expected, claimed) {
            self.spec.rows[row].token = Some(claimed.claim.token);
            self.calls.push(OfRow { row, claim: claimed.claim, work });
        }
        Ok(())
    }

    fn call(&self, number: u8, work: Work) -> Option<(usize, DeliveryClaim, bool)> {
        let of_kind: Vec<&OfRow> = self.calls.iter().filter(|call| call.work == work).collect();
        let of = pick(&of_kind, number)?;
        let row = &self.spec.rows[of.row];
        let state = match work {
            Work::Send => DeliveryState::Sending,
            Work::Ask => DeliveryState::UnknownOpen,
        };
        let held = !row.gone
            && row.state == state
            && row.token == Some(of.claim.token)
            && row.call == of.claim.call;
        Some((of.row, of.claim, held))
    }

    fn record(&mut self, call: u8, end: End, fold: bool) -> Held {
        let Some((row, claim, held)) = self.call(call, Work::Send) else { return Ok(()) };
        let gone = self.spec.rows[row].gone;
        let lease = fold.then_some(LEASE);
        let record = RecordOutcome {
            claim,
            outcome: outcome(end),
            ledger: Default::default(),
            digest: "d1".to_owned(),
            contradicted: false,
            state: StateWrites::default(),
            next: ClaimNext { delivery: lease, turn: lease },
        };
        let Answer::Recorded(recorded) = self.rig.run(Command::Record(Box::new(record))) else {
            return Err("another's answer".to_owned());
        };
        same("whether the claim of an attempt held", held, recorded.claim_held)?;
        if gone {
            return Ok(());
        }
        let turn = self.spec.rows[row].turn.map(|(turn, _)| turn);
        let ended = |spec: &Spec| turn.is_some_and(|turn| spec.turns[turn].state.is_ended());
        let was_ended = ended(&self.spec);
        let was = turn.map(|turn| (self.spec.turns[turn].state, self.spec.turns[turn].ended));
        self.spec.record(row, held, end);
        same("the state after an attempt", Some(self.spec.rows[row].state), recorded.state)?;
        let is = turn.map(|turn| (self.spec.turns[turn].state, self.spec.turns[turn].ended));
        let told = recorded.turn_ended.is_some();
        same("whether a turn ended", ended(&self.spec) && (!was_ended || was != is || told), told)?;
        let room = self.spec.rows[row].room;
        let next = recorded.next;
        let mut expected = None;
        if fold && !self.spec.rows[row].state.is_live() {
            expected = self.spec.claim_behind(room);
        }
        self.claimed(expected, next.delivery.as_deref())?;
        let free = fold && told && expected.is_none();
        let expected = if free { self.spec.claimable_behind(room) } else { Vec::new() };
        self.turn_claimed(&expected, next.turn.map(|turn| *turn))
    }

    fn tell(&mut self, call: u8, told: Told) -> Held {
        let Some((row, claim, held)) = self.call(call, Work::Ask) else { return Ok(()) };
        let answer = match told {
            Told::Found => AskAnswer::Told(Lookup::Found(Receipt::default())),
            Told::Absent => AskAnswer::Told(Lookup::Absent),
            Told::Undecided => AskAnswer::Told(Lookup::Undecided("maybe".to_owned())),
            Told::Unsupported => AskAnswer::Failed(CallError::Unsupported),
            Told::Broken => AskAnswer::Broken(fault("broken")),
        };
        let (state, next) = (StateWrites::default(), ClaimNext::default());
        self.answered(row, held, told, Command::RecordAsk { claim, answer, state, next })
    }

    fn answered(&mut self, row: usize, held: bool, told: Told, command: Command) -> Held {
        let Answer::Recorded(recorded) = self.rig.run(command) else {
            return Err("another's answer".to_owned());
        };
        same("whether the claim of a question held", held, recorded.claim_held)?;
        if !self.spec.rows[row].gone {
            self.spec.answer(row, held, told);
        }
        Ok(())
    }

    fn lose_call(&mut self, call: u8) -> Held {
        let works = [Work::Send, Work::Ask];
        let work = works[usize::from(call) % 2];
        let Some((row, claim, held)) = self.call(call / 2, work) else { return Ok(()) };
        self.lose_claim(row, claim, held, work)
    }

    fn lose_claim(&mut self, row: usize, claim: DeliveryClaim, held: bool, work: Work) -> Held {
        if work == Work::Ask {
            let command = Command::Sweep(SweepStep::LoseAsk { claim });
            return self.answered(row, held, Told::Broken, command);
        }
        let step = SweepStep::LoseSend { claim, fault: fault("unknown") };
        let Answer::Recorded(recorded) = self.rig.run(Command::Sweep(step)) else {
            return Err("another's answer".to_owned());
        };
        same("whether a lost claim held", held, recorded.claim_held)?;
        if held {
            self.spec.record(row, true, End::Unknown);
        }
        Ok(())
    }

    fn pass(&mut self, seconds: u32) {
        let ms = i64::from(seconds) * 1_000;
        self.rig.now.wall_ms += ms;
        self.rig.now.mono_ms += ms;
        (self.spec.now, self.spec.mono) = (self.rig.now.wall_ms, self.rig.now.mono_ms);
    }

    /// The wall clock jumps, and the sweep that looks after that runs.
    fn jump(&mut self, hours: i8) {
        self.rig.now.wall_ms += i64::from(hours) * 3_600_000;
        self.spec.now = self.rig.now.wall_ms;
        self.rig.run(Command::Sweep(SweepStep::ReleaseFuture { rows_max: 10_000 }));
        self.spec.release_future();
    }

    /// A kill, and the sweep with which the next host begins.
    fn crash(&mut self) -> Held {
        self.rig.crash();
        (self.spec.boot, self.spec.mono) = (self.rig.boot, 0);
        for place in 0..self.turns.len() {
            let OfTurn { turn, claim } = self.turns[place];
            if self.spec.holds(turn, claim.token, claim.try_number) {
                self.lose_turn(turn, claim, true, Lost::Host)?;
            }
        }
        for place in 0..self.calls.len() {
            let OfRow { row, claim, work } = self.calls[place];
            let facts = &self.spec.rows[row];
            if !facts.gone && facts.token == Some(claim.token) && facts.call == claim.call {
                self.lose_claim(row, claim, true, work)?;
            }
        }
        Ok(())
    }
}

fn outcome(end: End) -> Outcome {
    let rate = |scope| {
        let retry_after_ms = super::RATE_WAIT_MS.unsigned_abs();
        Outcome::NotSent(NotSent::RateLimited { retry_after_ms, scope })
    };
    match end {
        End::Delivered => Outcome::Delivered(Receipt::default()),
        End::Unknown => Outcome::Unknown(fault("unknown")),
        End::Rejected => Outcome::Rejected(fault("rejected")),
        End::Transient => Outcome::NotSent(NotSent::Transient(fault("transient"))),
        End::RateRoom => rate(RateScope::Conversation),
        End::RateChannel => rate(RateScope::Channel),
        End::Offline => Outcome::NotSent(NotSent::Offline(fault("offline"))),
        End::Closed => Outcome::NotSent(NotSent::Closed(fault("closed"))),
        End::Stopped => Outcome::NotSent(NotSent::Stopped),
        End::Unauthorized => Outcome::NotSent(NotSent::Unauthorized(fault("unauthorized"))),
    }
}
