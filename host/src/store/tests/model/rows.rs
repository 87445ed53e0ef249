//! The life of deliveries in the model.

use super::ends::SETTLE_DELAY_MS;
use super::spec::{AGE_MAX_MS, NEVER, Row, Span, Spec};
use crate::lifecycle::delivery::DeliveryState as State;
use crate::lifecycle::message::DeliveryKind;
use crate::lifecycle::turn::TurnState;

const PROGRESS_AGE_MAX_MS: i64 = 60_000;
const NOTICE_JOINS_MS: i64 = 3_600_000;
const LOOKS_MAX: u32 = 64;

/// What is done with a claimed row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Work {
    Send,
    Ask,
}

/// How an open unknown is settled.
pub(super) enum Settles {
    Resend,
    Ask,
    Hold(&'static str),
}

impl Spec {
    /// The live rows of a conversation in their order.
    pub(super) fn line(&self, room: usize) -> impl Iterator<Item = usize> + '_ {
        let live = move |row: &Row| row.room == room && !row.gone && row.state.is_live();
        (0..self.rows.len()).filter(move |row| live(&self.rows[*row]))
    }

    fn open_from(&self, room: usize) -> i64 {
        let room = &self.rooms[room];
        match room.closed {
            true => NEVER,
            false if room.not_before_set <= self.now => room.not_before,
            false => 0,
        }
    }

    /// The lowest live row comes forward, due when its conversation takes messages.
    pub(super) fn settle_rows(&mut self, room: usize) {
        let Some(first) = self.line(room).next() else { return };
        let (from, now) = (self.open_from(room), self.now);
        let row = &mut self.rows[first];
        if row.head || row.token.is_some() {
            return;
        }
        row.head = true;
        let waits_for_a_time = row.next.lo > now && row.next.lo < NEVER && row.set <= now;
        if waits_for_a_time {
            row.next = row.next.not_before(from);
        } else {
            (row.next, row.set) = (Span::at(from.max(now)), now);
        }
    }

    pub(super) fn enqueue(&mut self, turn: usize, kind: DeliveryKind, parts: u32) {
        let (room, try_number) = (self.turns[turn].room, self.turns[turn].try_number);
        let parts: Vec<(u32, u32)> = (1..=parts).map(|part| (part, parts)).collect();
        self.insert(room, Some((turn, try_number)), Some(turn), None, kind, &parts);
    }

    pub(super) fn insert(
        &mut self,
        room: usize,
        turn: Option<(usize, u32)>,
        about: Option<usize>,
        replay_of: Option<usize>,
        kind: DeliveryKind,
        parts: &[(u32, u32)],
    ) {
        let (reply, now) = (self.rows.len(), self.now);
        for (part, parts) in parts.iter().copied() {
            self.rows.push(Row {
                id: None,
                room,
                turn,
                about,
                kind,
                reply,
                part,
                parts,
                state: State::Queued,
                code: None,
                maybe_sent: false,
                call: 0,
                attempts: 0,
                free_returns: 0,
                asked: 0,
                asking_over: false,
                created: now,
                next: Span::at(now),
                set: now,
                head: false,
                waits_for_channel: false,
                first: None,
                token: None,
                doubted: None,
                proven: false,
                receipt_at: None,
                replay_of,
                tells_of: u32::from(kind == DeliveryKind::Notice && replay_of.is_none()),
                rested: None,
                gone: false,
            });
        }
        self.settle_rows(room);
    }

    /// A conversation is told that a turn of it failed; one that waits untried takes it in.
    pub(super) fn tell(&mut self, turn: usize) {
        let (room, now) = (self.turns[turn].room, self.now);
        if let Some(last) = self.line(room).last().map(|last| &mut self.rows[last])
            && last.kind == DeliveryKind::Notice
            && last.state == State::Queued
            && last.replay_of.is_none()
            && last.call == 0
            && (0..NOTICE_JOINS_MS).contains(&(now - last.created))
        {
            last.tells_of += 1;
            return;
        }
        self.insert(room, None, Some(turn), None, DeliveryKind::Notice, &[(1, 1)]);
    }

    /// Its turn is aborted, ended or on a newer try; never so for free rows.
    pub(super) fn unwanted(&self, row: usize) -> bool {
        self.rows[row].turn.is_some_and(|(turn, try_number)| {
            let turn = &self.turns[turn];
            let wants = matches!(turn.state, TurnState::Running | TurnState::Delivering);
            !wants || turn.try_number != try_number
        })
    }

    /// A turn wants its queued rows and open unknowns no more.
    pub(super) fn unwant(&mut self, turn: usize, code: &str, which: fn(DeliveryKind) -> bool) {
        for row in 0..self.rows.len() {
            let facts = &self.rows[row];
            let of_it = facts.turn.is_some_and(|(of, _)| of == turn) && which(facts.kind);
            if of_it && !facts.gone && matches!(facts.state, State::Queued | State::UnknownOpen) {
                self.lay(row, State::Cancelled, Some(code));
                self.settle_rows(self.rows[row].room);
            }
        }
    }

    /// Puts a row to rest, without what follows. What a person may have seen is held instead.
    fn lay(&mut self, row: usize, to: State, code: Option<&str>) {
        let now = self.now;
        let row = &mut self.rows[row];
        let open = row.state == State::UnknownOpen;
        row.state = match to {
            State::Dead | State::Expired | State::Cancelled if row.maybe_sent || open => {
                State::UnknownHeld
            }
            to => to,
        };
        row.code = code.map(str::to_owned);
        row.head = false;
        row.token = None;
        row.waits_for_channel = false;
        row.rested = Some(now);
    }

    /// The same with what follows: later parts fall, the line goes on, the turn may end.
    pub(super) fn rest(&mut self, row: usize, to: State, code: Option<&str>) {
        self.lay(row, to, code);
        self.follow(row);
    }

    fn follow(&mut self, row: usize) {
        let facts = self.rows[row].clone();
        if facts.state != State::Delivered {
            for later in row + 1..self.rows.len() {
                let part = &self.rows[later];
                if part.reply == facts.reply && !part.gone && part.state == State::Queued {
                    self.lay(later, State::Cancelled, Some("part_missing"));
                }
            }
        }
        self.settle_rows(facts.room);
        if let (Some((turn, _)), DeliveryKind::Final) = (facts.turn, facts.kind) {
            self.settle_turn(turn);
        }
    }

    fn settle_turn(&mut self, turn: usize) {
        let facts = &self.turns[turn];
        let anew =
            facts.state == TurnState::Failed && facts.code.as_deref() == Some("outcome_unknown");
        if facts.gone || (facts.state != TurnState::Delivering && !anew) {
            return;
        }
        let of_it = Some((turn, facts.try_number));
        let finals: Vec<&Row> = self
            .rows
            .iter()
            .filter(|row| row.turn == of_it && row.kind == DeliveryKind::Final && !row.gone)
            .collect();
        if finals.iter().any(|row| row.state.is_live()) {
            return;
        }
        let any = |is: &dyn Fn(&Row) -> bool| finals.iter().any(|row| is(row));
        let (to, code) = if any(&|row| row.state == State::UnknownHeld) {
            (TurnState::Failed, Some("outcome_unknown"))
        } else if !any(&|row| row.state != State::Delivered) {
            (TurnState::Delivered, None)
        } else if any(&|row| row.code.as_deref() == Some("resent")) {
            (TurnState::Failed, Some("resent"))
        } else {
            (TurnState::Failed, Some("delivery_failed"))
        };
        self.end_turn(turn, to, code);
    }

    fn channel_open(&self) -> bool {
        !self.paused && (self.not_before <= self.now || self.not_before_set > self.now)
    }

    fn ready(&self, row: usize) -> bool {
        let row = &self.rows[row];
        let waits = matches!(row.state, State::Queued | State::UnknownOpen);
        waits && !row.gone && row.head && row.token.is_none() && row.next.lo <= self.now
    }

    /// The next due delivery of the channel; what comes to rest instead of going out is passed.
    pub(super) fn claim_next(&mut self) -> Option<(usize, Work)> {
        for _ in 0..LOOKS_MAX {
            if !self.channel_open() {
                return None;
            }
            let ready = (0..self.rows.len()).filter(|row| self.ready(*row));
            let first = ready.min_by_key(|row| (self.rows[*row].next.lo, *row))?;
            if let Some(work) = self.look(first) {
                return Some((first, work));
            }
        }
        None
    }

    /// In the step that ended what was before it: where the conversation goes on, the row of the
    /// channel that has waited longest.
    pub(super) fn claim_behind(&mut self, room: usize) -> Option<(usize, Work)> {
        let goes_on = self.line(room).any(|row| self.ready(row));
        if goes_on { self.claim_next() } else { None }
    }

    /// This row, if it is a head that may go now.
    pub(super) fn claim_row(&mut self, row: usize) -> Option<(usize, Work)> {
        if !self.channel_open() || !self.ready(row) {
            return None;
        }
        self.look(row).map(|work| (row, work))
    }

    /// How much longer bytes of the last call may still land, by the clock that does not jump; of a
    /// call of an earlier boot, counted from the start of this one.
    fn unsettled(&self, row: usize) -> i64 {
        let row = &self.rows[row];
        if row.asked > 0 {
            return 0;
        }
        let since = match row.doubted {
            Some((boot, mono)) if boot == self.boot => mono,
            Some(_) | None => 0,
        };
        (SETTLE_DELAY_MS - (self.mono - since)).max(0)
    }

    fn look(&mut self, row: usize) -> Option<Work> {
        if self.rows[row].state == State::UnknownOpen {
            return match self.settles(row) {
                Settles::Resend => Some(self.send(row)),
                Settles::Ask => match self.unsettled(row) {
                    0 => {
                        self.rows[row].asked += 1;
                        Some(Work::Ask)
                    }
                    left => {
                        self.wait(row, Span::at(self.now + left));
                        None
                    }
                },
                Settles::Hold(code) => {
                    self.rest(row, State::UnknownHeld, Some(code));
                    None
                }
            };
        }
        if self.unwanted(row) {
            self.rest(row, State::Cancelled, Some("turn_ended"));
        } else if self.too_old(row) {
            self.rest(row, State::Expired, Some("too_old"));
        } else {
            return Some(self.send(row));
        }
        None
    }

    pub(super) fn too_old(&self, row: usize) -> bool {
        let row = &self.rows[row];
        let most = if row.kind.is_progress() { PROGRESS_AGE_MAX_MS } else { AGE_MAX_MS };
        self.now - row.created > most
    }

    fn send(&mut self, row: usize) -> Work {
        let began = (self.now, self.boot, self.mono);
        let row = &mut self.rows[row];
        row.state = State::Sending;
        row.call += 1;
        row.attempts += 1;
        row.waits_for_channel = false;
        row.first.get_or_insert(began);
        Work::Send
    }
}
