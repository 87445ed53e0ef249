//! The model's state, and the life of turns in it: the tables of the design, in memory, without the
//! store's code and without the lifecycle's decisions. Where chance decides a time the model says
//! between what and what it lies, and takes over what it finds there.

use std::collections::BTreeMap;

use crate::lifecycle::delivery::DeliveryState;
use crate::lifecycle::id::{ClaimToken, DeliveryId, TurnId};
use crate::lifecycle::message::DeliveryKind;
use crate::lifecycle::settle::SettleMeans;
use crate::lifecycle::turn::TurnState;

pub(super) const NEVER: i64 = i64::MAX;
const DAY_MS: i64 = 86_400_000;
/// Window of deduplication, and retention.
pub(super) const WEEK_MS: i64 = 7 * DAY_MS;
pub(super) const AGE_MAX_MS: i64 = DAY_MS;
const TRIES_MAX: u32 = 3;
const HOST_LOSSES_MAX: u32 = 5;
/// Host losses before a claim from which a turn runs alone.
const SUSPECT_FROM: u32 = 2;
const CONTENTS_MAX: usize = 3;
const CONTEXT_MAX: usize = 10;

/// Between what and what a time lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) lo: i64,
    pub(super) hi: i64,
}

impl Span {
    pub(super) fn at(ms: i64) -> Self {
        Self { lo: ms, hi: ms }
    }

    pub(super) fn not_before(self, ms: i64) -> Self {
        Self { lo: self.lo.max(ms), hi: self.hi.max(ms) }
    }

    /// The first failure waits up to 2 s, each further one twice as long, at most 5 min.
    fn backoff(now: i64, n: u32) -> Self {
        let most = (2_000_i64 << n.saturating_sub(1).min(20)).min(300_000);
        Self { lo: now + most / 10, hi: now + most }
    }
}

#[derive(Debug, Clone)]
pub(super) struct Turn {
    pub(super) id: Option<TurnId>,
    pub(super) room: usize,
    pub(super) state: TurnState,
    pub(super) code: Option<String>,
    pub(super) try_number: u32,
    pub(super) tries: u32,
    pub(super) losses: u32,
    /// Queued and the lowest of its line.
    pub(super) head: bool,
    pub(super) due: Span,
    pub(super) set: i64,
    pub(super) token: Option<ClaimToken>,
    pub(super) replay_of: Option<usize>,
    pub(super) ended: Option<i64>,
    /// Context that it was told.
    pub(super) told: Vec<String>,
    pub(super) gone: bool,
}

#[derive(Debug, Clone)]
pub(super) struct Row {
    pub(super) id: Option<DeliveryId>,
    pub(super) room: usize,
    /// The turn that guards it, and its try.
    pub(super) turn: Option<(usize, u32)>,
    /// The turn that it comes from.
    pub(super) about: Option<usize>,
    pub(super) kind: DeliveryKind,
    /// The first row of the same reply.
    pub(super) reply: usize,
    pub(super) part: u32,
    pub(super) parts: u32,
    pub(super) state: DeliveryState,
    pub(super) code: Option<String>,
    pub(super) maybe_sent: bool,
    pub(super) call: u32,
    pub(super) attempts: u32,
    pub(super) free_returns: u32,
    pub(super) asked: u32,
    pub(super) asking_over: bool,
    pub(super) created: i64,
    pub(super) next: Span,
    pub(super) set: i64,
    pub(super) head: bool,
    pub(super) waits_for_channel: bool,
    /// Wall clock, boot and monotonic clock when the first attempt began.
    pub(super) first: Option<(i64, i64, i64)>,
    pub(super) token: Option<ClaimToken>,
    /// Boot and monotonic clock when it came into doubt last.
    pub(super) doubted: Option<(i64, i64)>,
    /// One of its attempts is known to have arrived.
    pub(super) proven: bool,
    /// The platform said so later.
    pub(super) receipt_at: Option<i64>,
    pub(super) replay_of: Option<usize>,
    /// Of a notice: turns that it tells of.
    pub(super) tells_of: u32,
    pub(super) rested: Option<i64>,
    pub(super) gone: bool,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Room {
    pub(super) closed: bool,
    pub(super) not_before: i64,
    pub(super) not_before_set: i64,
    /// Key and text of what no turn was told yet.
    pub(super) context: Vec<(u8, String)>,
}

/// What is known of one content of a key.
#[derive(Debug, Clone)]
struct Known {
    text: u8,
    turn: Option<usize>,
    accepted: i64,
}

/// What a message comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Accepts {
    Turn(usize),
    Duplicate(Option<usize>),
    Context,
    Refused,
}

/// Why a try ends without an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lost {
    Retry,
    Never,
    NotStarted,
    Expired,
    Host,
    Stop,
}

#[derive(Debug)]
pub(super) struct Spec {
    pub(super) now: i64,
    pub(super) mono: i64,
    pub(super) boot: i64,
    pub(super) means: SettleMeans,
    pub(super) notices: bool,
    pub(super) turns: Vec<Turn>,
    pub(super) rows: Vec<Row>,
    pub(super) rooms: Vec<Room>,
    pub(super) paused: bool,
    pub(super) not_before: i64,
    pub(super) not_before_set: i64,
    keys: BTreeMap<(usize, u8), Vec<Known>>,
    stops: BTreeMap<(usize, u8), (i64, Vec<usize>)>,
}

impl Spec {
    pub(super) fn new(now: i64, means: SettleMeans, notices: bool, rooms: usize) -> Self {
        Self {
            now,
            mono: 0,
            boot: 1,
            means,
            notices,
            turns: Vec::new(),
            rows: Vec::new(),
            rooms: vec![Room::default(); rooms],
            paused: false,
            not_before: 0,
            not_before_set: 0,
            keys: BTreeMap::new(),
            stops: BTreeMap::new(),
        }
    }

    /// A message: each content of an id once, at most three contents.
    pub(super) fn accept(&mut self, room: usize, id: u8, text: u8, wakes: bool) -> Accepts {
        let now = self.now;
        let turns = &self.turns;
        let known = self.keys.entry((room, id)).or_default();
        // A key lives until a week after the later of acceptance and the turn's end.
        known.retain(|known| match known.turn.map(|turn| &turns[turn]) {
            Some(turn) => match turn.ended {
                Some(ended) => ended.max(known.accepted) + WEEK_MS > now,
                None => true,
            },
            None => known.accepted + WEEK_MS > now,
        });
        if let Some(same) = known.iter_mut().find(|known| known.text == text) {
            if same.turn.is_some() || !wakes {
                return Accepts::Duplicate(same.turn);
            }
            same.turn = Some(self.turns.len());
            self.rooms[room].context.retain(|(key, _)| *key != id);
        } else {
            if known.len() >= CONTENTS_MAX {
                return Accepts::Refused;
            }
            let turn = wakes.then_some(self.turns.len());
            known.push(Known { text, turn, accepted: now });
        }
        self.heard(room);
        if !wakes {
            let context = &mut self.rooms[room].context;
            context.push((id, super::text_of(id, text)));
            let over = context.len().saturating_sub(CONTEXT_MAX);
            context.drain(..over);
            return Accepts::Context;
        }
        Accepts::Turn(self.new_turn(room, None))
    }

    /// Its person has written: a closed conversation takes messages again.
    fn heard(&mut self, room: usize) {
        if !std::mem::take(&mut self.rooms[room].closed) {
            return;
        }
        let now = self.now;
        let first = self.line(room).next();
        if let Some(row) = first.map(|first| &mut self.rows[first])
            && row.head
            && matches!(row.state, DeliveryState::Queued | DeliveryState::UnknownOpen)
        {
            (row.next, row.set) = (Span::at(now), now);
            (row.free_returns, row.waits_for_channel) = (0, false);
        }
    }

    pub(super) fn new_turn(&mut self, room: usize, replay_of: Option<usize>) -> usize {
        self.turns.push(Turn {
            id: None,
            room,
            state: TurnState::Queued,
            code: None,
            try_number: 0,
            tries: 0,
            losses: 0,
            head: false,
            due: Span::at(self.now),
            set: self.now,
            token: None,
            replay_of,
            ended: None,
            told: Vec::new(),
            gone: false,
        });
        self.settle_turns(room);
        self.turns.len() - 1
    }

    /// A person's stop in the conversation: what it stopped, and whether it came before.
    pub(super) fn stop(&mut self, room: usize, id: u8) -> (Vec<usize>, bool) {
        if let Some((accepted, stopped)) = self.stops.get(&(room, id))
            && accepted + WEEK_MS > self.now
        {
            return (stopped.clone(), true);
        }
        let stopped = self.abort_room(room, false);
        self.stops.insert((room, id), (self.now, stopped.clone()));
        (stopped, false)
    }

    pub(super) fn abort_room(&mut self, room: usize, all: bool) -> Vec<usize> {
        let mut turns = self.unfinished(room);
        if !all {
            turns.truncate(1);
        }
        for turn in &turns {
            self.end_turn(*turn, TurnState::Aborted, Some("aborted"));
        }
        turns
    }

    /// The unfinished turns of a conversation in their order.
    fn unfinished(&self, room: usize) -> Vec<usize> {
        let waits = |turn: &Turn| turn.room == room && !turn.gone && !turn.state.is_ended();
        (0..self.turns.len()).filter(|turn| waits(&self.turns[*turn])).collect()
    }

    /// The lowest unfinished turn comes forward, if it is queued; its age counts from then.
    pub(super) fn settle_turns(&mut self, room: usize) {
        let Some(first) = self.unfinished(room).first().copied() else { return };
        let now = self.now;
        let turn = &mut self.turns[first];
        if turn.state != TurnState::Queued || turn.head {
            return;
        }
        turn.head = true;
        turn.due = if turn.set > now { Span::at(now) } else { turn.due.not_before(now) };
        turn.set = now;
    }

    /// The turns of which one may be claimed now.
    pub(super) fn claimable(&self) -> Vec<usize> {
        let running = |turn: &Turn| turn.state == TurnState::Running && !turn.gone;
        let suspect_runs =
            self.turns.iter().any(|turn| running(turn) && turn.losses > SUSPECT_FROM);
        let may = |turn: &Turn| {
            turn.head
                && !turn.gone
                && turn.due.lo <= self.now
                && (turn.losses < SUSPECT_FROM || !suspect_runs)
        };
        (0..self.turns.len()).filter(|turn| may(&self.turns[*turn])).collect()
    }

    /// The turns of which one may be claimed behind the end of another in this conversation: where it
    /// has a further one that is due, any that may be claimed.
    pub(super) fn claimable_behind(&self, room: usize) -> Vec<usize> {
        let waits =
            |turn: &Turn| turn.room == room && turn.head && !turn.gone && turn.due.lo <= self.now;
        if self.turns.iter().any(waits) { self.claimable() } else { Vec::new() }
    }

    pub(super) fn claim_turn(&mut self, turn: usize, token: ClaimToken) {
        let context = std::mem::take(&mut self.rooms[self.turns[turn].room].context);
        let turn = &mut self.turns[turn];
        turn.state = TurnState::Running;
        turn.head = false;
        turn.try_number += 1;
        turn.tries += 1;
        turn.losses += 1;
        turn.token = Some(token);
        turn.told.extend(context.into_iter().map(|(_, text)| text));
    }

    /// Whether this claim still holds the turn.
    pub(super) fn holds(&self, turn: usize, token: ClaimToken, try_number: u32) -> bool {
        let turn = &self.turns[turn];
        !turn.gone
            && turn.state == TurnState::Running
            && turn.token == Some(token)
            && turn.try_number == try_number
    }

    pub(super) fn silence(&mut self, turn: usize) {
        self.turns[turn].losses -= 1;
        self.end_turn(turn, TurnState::Silent, None);
    }

    pub(super) fn complete(&mut self, turn: usize, parts: u32) {
        let facts = &mut self.turns[turn];
        facts.state = TurnState::Delivering;
        facts.losses -= 1;
        facts.token = None;
        self.enqueue(turn, DeliveryKind::Final, parts);
    }

    pub(super) fn lose(&mut self, turn: usize, lost: Lost) {
        let now = self.now;
        let facts = &mut self.turns[turn];
        let code = match lost {
            Lost::Retry | Lost::Never => "handler",
            Lost::NotStarted => "not_started",
            Lost::Expired => "claim_expired",
            Lost::Host => "host_lost",
            Lost::Stop => "planned_stop",
        };
        // Whoever ends the try in a living host takes the host loss back; what is not the
        // handler's fault takes the try back.
        if lost != Lost::Host {
            facts.losses -= 1;
        }
        if matches!(lost, Lost::Host | Lost::NotStarted | Lost::Stop) {
            facts.tries -= 1;
        }
        let due = match lost {
            Lost::Host if facts.losses >= HOST_LOSSES_MAX => Err("quarantined"),
            Lost::Host if facts.losses < SUSPECT_FROM => Ok(Span::at(now)),
            Lost::Host => Ok(Span::backoff(now, facts.losses - 1)),
            Lost::Never => Err(code),
            Lost::Retry | Lost::Expired if facts.tries >= TRIES_MAX => Err(code),
            Lost::Retry | Lost::Expired => Ok(Span::backoff(now, facts.tries)),
            Lost::NotStarted => Ok(Span::at(now + super::NOT_STARTED_WAIT_MS)),
            Lost::Stop => Ok(Span::at(now)),
        };
        match due {
            Err(code) => self.end_turn(turn, TurnState::Failed, Some(code)),
            Ok(due) => {
                facts.state = TurnState::Queued;
                facts.code = Some(code.to_owned());
                facts.token = None;
                (facts.due, facts.set) = (due, now);
                let room = facts.room;
                self.unwant(turn, "try_lost", |_| true);
                self.settle_turns(room);
            }
        }
    }

    /// Too old, where it could have run since and nobody holds it.
    pub(super) fn expire_turn(&mut self, turn: usize) {
        let facts = &self.turns[turn];
        if facts.gone || !facts.head || facts.due.lo >= self.now - AGE_MAX_MS {
            return;
        }
        let end = if facts.try_number > 0 { TurnState::Failed } else { TurnState::Expired };
        self.end_turn(turn, end, Some("too_old"));
    }

    pub(super) fn end_turn(&mut self, turn: usize, to: TurnState, code: Option<&str>) {
        let facts = &mut self.turns[turn];
        let was_ended = facts.state.is_ended();
        facts.state = to;
        facts.code = code.map(str::to_owned);
        facts.head = false;
        facts.token = None;
        facts.ended = Some(self.now);
        let room = facts.room;
        if to == TurnState::Aborted {
            self.unwant(turn, "aborted", |_| true);
        } else {
            self.unwant(turn, "turn_ended", DeliveryKind::is_progress);
        }
        self.settle_turns(room);
        if to == TurnState::Failed && !was_ended && code != Some("outcome_unknown") && self.notices
        {
            self.tell(turn);
        }
    }

    /// The wall clock went back: what was set in a time that has not come is due.
    pub(super) fn release_future(&mut self) {
        let now = self.now;
        for turn in self.turns.iter_mut().filter(|turn| turn.head && turn.set > now) {
            (turn.due, turn.set) = (Span::at(now), now);
        }
        let waits = |row: &&mut Row| row.head && row.token.is_none() && row.set > now;
        for row in self.rows.iter_mut().filter(waits).filter(|row| row.next.lo != NEVER) {
            (row.next, row.set) = (Span::at(now), now);
        }
    }
}
