//! How attempts and questions end in the model, and what is known later.

use super::rows::Settles;
use super::spec::{AGE_MAX_MS, NEVER, Row, Span, Spec};
use crate::lifecycle::delivery::DeliveryState as State;
use crate::lifecycle::settle::{Idempotency, OnUnknown};

const ATTEMPTS_MAX: u32 = 8;
const ASKS_MAX: u32 = 8;
pub(super) const SETTLE_DELAY_MS: i64 = 30_000;
const STEPS_MS: [i64; 5] = [5_000, 25_000, 120_000, 600_000, 1_800_000];
const ASKS_MIN: [i64; 5] = [1, 2, 5, 10, 10];

/// How an attempt ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Delivered,
    Unknown,
    Rejected,
    Transient,
    RateRoom,
    RateChannel,
    Offline,
    Closed,
    Stopped,
    Unauthorized,
}

/// What a question comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Told {
    Found,
    Absent,
    Undecided,
    Unsupported,
    Broken,
}

impl Spec {
    /// How an open unknown is settled: by key, by question, by policy, by a person.
    pub(super) fn settles(&self, row: usize) -> Settles {
        let unwanted = self.unwanted(row);
        let row = &self.rows[row];
        if row.kind.is_progress() {
            return Settles::Hold("progress_unknown");
        }
        if unwanted {
            return Settles::Hold("turn_ended");
        }
        let spent = row.attempts >= ATTEMPTS_MAX;
        let since = row.first.map_or(0, |(wall, boot, mono)| {
            let by_wall = self.now - wall;
            match boot == self.boot {
                true => by_wall.max(self.mono - mono),
                false if by_wall < 0 => NEVER,
                false => by_wall,
            }
        });
        let key_holds = match self.means.idempotency {
            Idempotency::None => false,
            Idempotency::Always => true,
            Idempotency::ForMs(window) => since < i64::try_from(window).unwrap(),
        };
        if key_holds && !spent {
            return Settles::Resend;
        }
        if self.means.can_ask && !row.asking_over {
            let asks_left = row.asked < ASKS_MAX;
            return if asks_left { Settles::Ask } else { Settles::Hold("asked_without_answer") };
        }
        match (spent, self.means.on_unknown, self.means.idempotency) {
            (false, OnUnknown::Resend, _) => Settles::Resend,
            (true, _, _) => Settles::Hold("attempts_spent"),
            (false, OnUnknown::Hold, Idempotency::None) => Settles::Hold("outcome_unknown"),
            (false, OnUnknown::Hold, _) => Settles::Hold("idempotency_window_over"),
        }
    }

    fn step_after(&self, attempts: u32) -> Span {
        let index = (attempts.max(1) as usize - 1).min(STEPS_MS.len() - 1);
        let step = STEPS_MS[index];
        Span { lo: self.now + step, hi: self.now + step + step / 10 }
    }

    pub(super) fn wait(&mut self, row: usize, until: Span) {
        let now = self.now;
        let row = &mut self.rows[row];
        (row.next, row.set) = (until, now);
        row.head = false;
        let room = row.room;
        self.settle_rows(room);
    }

    /// When an open unknown is looked at, or that only a person can settle it.
    fn look_later(&mut self, row: usize, ask_at: i64) {
        let until = match self.settles(row) {
            Settles::Hold(code) => return self.rest(row, State::UnknownHeld, Some(code)),
            Settles::Resend => self.step_after(self.rows[row].attempts),
            Settles::Ask => Span::at(ask_at),
        };
        self.wait(row, until);
    }

    fn proof(&self, row: usize) -> bool {
        self.rows[row].proven || self.rows[row].receipt_at.is_some()
    }

    /// An attempt ended, whoever holds the row by now. Whether its claim still held.
    pub(super) fn record(&mut self, row: usize, held: bool, end: End) -> bool {
        if end == End::Delivered {
            self.rows[row].proven = true;
        }
        if held {
            self.after(row, end);
        } else if end == End::Delivered {
            self.found(row);
        }
        held
    }

    /// It is known to have arrived: settles whatever is not at rest or at the adapter.
    pub(super) fn found(&mut self, row: usize) {
        let facts = &self.rows[row];
        match facts.state {
            State::UnknownOpen | State::UnknownHeld => self.rest(row, State::Delivered, None),
            State::Queued if facts.call > 0 => self.rest(row, State::Delivered, None),
            // At the adapter again: the end of that attempt finds the proof. At rest: it stays.
            State::Queued
            | State::Sending
            | State::Delivered
            | State::Dead
            | State::Cancelled
            | State::Expired => {}
        }
    }

    fn after(&mut self, row: usize, end: End) {
        let now = self.now;
        if end == End::Delivered {
            self.rest(row, State::Delivered, None);
            return self.release_waiting();
        }
        if self.proof(row) {
            return self.rest(row, State::Delivered, None);
        }
        let room = self.rows[row].room;
        match end {
            End::RateRoom => {
                (self.rooms[room].not_before, self.rooms[room].not_before_set) =
                    (now + super::RATE_WAIT_MS, now);
            }
            End::RateChannel => {
                (self.not_before, self.not_before_set) = (now + super::RATE_WAIT_MS, now);
            }
            End::Closed => self.rooms[room].closed = true,
            End::Unauthorized => self.paused = true,
            _ => {}
        }
        match end {
            End::Delivered => {}
            End::Rejected => self.rest(row, State::Dead, Some("rejected")),
            End::Unknown => {
                let doubted = (self.boot, self.mono);
                let facts = &mut self.rows[row];
                facts.state = State::UnknownOpen;
                facts.doubted = Some(doubted);
                facts.code = Some("unknown".to_owned());
                facts.maybe_sent = true;
                (facts.asked, facts.asking_over, facts.free_returns) = (0, false, 0);
                facts.token = None;
                self.look_later(row, now + SETTLE_DELAY_MS);
            }
            _ => self.not_sent(row, end),
        }
    }

    /// The channel works: what waited for that is due.
    pub(super) fn release_waiting(&mut self) {
        let now = self.now;
        for row in self.rows.iter_mut().filter(|row| row.waits_for_channel && !row.gone) {
            (row.next, row.set) = (Span::at(now), now);
            (row.free_returns, row.waits_for_channel) = (0, false);
        }
    }

    fn not_sent(&mut self, row: usize, end: End) {
        let (now, unwanted) = (self.now, self.unwanted(row));
        let free = end != End::Transient;
        let facts = &mut self.rows[row];
        let returns = facts.free_returns;
        if free {
            facts.attempts -= 1;
        }
        let counts = free && end != End::Stopped;
        facts.free_returns = if counts {
            returns + 1
        } else if free {
            returns
        } else {
            0
        };
        let returned = Span::at(now + (1_000_i64 << returns.min(6)).min(60_000));
        let code = match end {
            End::Transient => "transient",
            End::Offline => "offline",
            End::Closed => "closed",
            End::Stopped => "stopped",
            End::Unauthorized => "unauthorized",
            End::RateRoom | End::RateChannel => "rate_limited",
            End::Delivered | End::Unknown | End::Rejected => unreachable!("it is no such end"),
        };
        let (attempts, kind) = (facts.attempts, facts.kind);
        if unwanted {
            return self.rest(row, State::Cancelled, Some("turn_ended"));
        }
        if kind.is_progress() {
            return self.rest(row, State::Dead, Some(code));
        }
        if attempts >= ATTEMPTS_MAX {
            return self.rest(row, State::Dead, Some("attempts_spent"));
        }
        if now - self.rows[row].created > AGE_MAX_MS {
            return self.rest(row, State::Dead, Some("too_old"));
        }
        let until = match end {
            End::Transient => self.step_after(attempts),
            End::Stopped => Span::at(now),
            End::RateRoom | End::RateChannel => Span::at(now + super::RATE_WAIT_MS),
            _ => returned,
        };
        let facts = &mut self.rows[row];
        facts.state = State::Queued;
        facts.code = Some(code.to_owned());
        facts.token = None;
        facts.waits_for_channel = end == End::Offline;
        if !facts.maybe_sent {
            facts.first = None;
        }
        self.wait(row, until);
    }

    /// A question was answered. Whether its claim still held.
    pub(super) fn answer(&mut self, row: usize, held: bool, told: Told) -> bool {
        if !held {
            if told == Told::Found {
                self.found(row);
            }
            return false;
        }
        self.rows[row].token = None;
        if self.proof(row) || told == Told::Found {
            self.rest(row, State::Delivered, None);
            return true;
        }
        let asked = self.rows[row].asked.max(1) as usize;
        let again = self.now + ASKS_MIN[(asked - 1).min(ASKS_MIN.len() - 1)] * 60_000;
        match told {
            Told::Found => {}
            Told::Absent => self.absent(row),
            Told::Undecided | Told::Broken => match self.settles(row) {
                Settles::Hold(code) => self.rest(row, State::UnknownHeld, Some(code)),
                Settles::Resend | Settles::Ask => self.wait(row, Span::at(again)),
            },
            Told::Unsupported => {
                self.rows[row].asking_over = true;
                self.look_later(row, again);
            }
        }
        true
    }

    /// The platform is sure that it never arrived.
    fn absent(&mut self, row: usize) {
        let unwanted = self.unwanted(row);
        let facts = &mut self.rows[row];
        (facts.maybe_sent, facts.first, facts.asked) = (false, None, 0);
        facts.state = State::Queued;
        let attempts = facts.attempts;
        if unwanted {
            self.rest(row, State::Cancelled, Some("turn_ended"));
        } else if attempts >= ATTEMPTS_MAX {
            self.rest(row, State::Dead, Some("attempts_spent"));
        } else {
            self.wait(row, self.step_after(attempts));
        }
    }

    /// The platform says later that it arrived. Of what never left it can say nothing.
    pub(super) fn receipt(&mut self, row: usize) {
        let now = self.now;
        let facts = &mut self.rows[row];
        if facts.gone || (facts.state == State::Queued && facts.call == 0) {
            return;
        }
        facts.receipt_at.get_or_insert(now);
        self.found(row);
    }

    pub(super) fn expire_row(&mut self, row: usize) {
        let facts = &self.rows[row];
        if !facts.gone && facts.state == State::Queued && self.too_old(row) {
            self.rest(row, State::Expired, Some("too_old"));
        }
    }

    /// A row and the parts that were cancelled for it, as new free rows at the end of the line.
    pub(super) fn again(&mut self, row: usize) {
        let facts = self.rows[row].clone();
        let falls = |part: &Row| {
            let fell = part.code.as_deref() == Some("part_missing");
            part.reply == facts.reply && !part.gone && part.state == State::Cancelled && fell
        };
        let later = self.rows[row + 1..].iter().filter(|part| falls(part));
        let parts: Vec<_> =
            std::iter::once(&facts).chain(later).map(|p| (p.part, p.parts)).collect();
        self.insert(facts.room, None, facts.about, Some(row), facts.kind, &parts);
    }
}
