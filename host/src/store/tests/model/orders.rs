//! What people order, and what is forgotten, in the model.

use super::spec::{Row, Spec, WEEK_MS};
use crate::lifecycle::delivery::DeliveryState as State;
use crate::lifecycle::message::DeliveryKind;
use crate::lifecycle::turn::TurnState;
use crate::store::Resolution;

impl Spec {
    fn of_aborted_turn(&self, row: usize) -> bool {
        let turn = self.rows[row].turn;
        turn.is_some_and(|(turn, _)| self.turns[turn].state == TurnState::Aborted)
    }

    /// Whether it is done; only a held row is resolved, and nothing of an aborted turn is resent.
    pub(super) fn resolve(&mut self, row: usize, how: Resolution) -> bool {
        if self.rows[row].gone || self.rows[row].state != State::UnknownHeld {
            return false;
        }
        let (to, code) = match how {
            Resolution::Delivered => (State::Delivered, None),
            Resolution::Drop => (State::Cancelled, Some("dropped")),
            Resolution::Resend if self.of_aborted_turn(row) => return false,
            Resolution::Resend => {
                self.again(row);
                (State::Cancelled, Some("resent"))
            }
        };
        // A person has decided: nothing is held instead.
        self.rows[row].maybe_sent = false;
        self.rest(row, to, code);
        self.rows[row].maybe_sent = true;
        true
    }

    pub(super) fn replay_row(&mut self, row: usize, force: bool) -> bool {
        let facts = &self.rows[row];
        let dead = matches!(facts.state, State::Dead | State::Expired) && !facts.gone;
        let turn = facts.turn.map(|(turn, _)| turn);
        let before = self.rows.iter().any(|it| it.replay_of == Some(row) && !it.gone)
            || turn.is_some() && self.turns.iter().any(|it| it.replay_of == turn && !it.gone);
        if !dead || self.of_aborted_turn(row) || (before && !force) {
            return false;
        }
        self.again(row);
        true
    }

    pub(super) fn replay_turn(&mut self, turn: usize, force: bool) -> bool {
        let facts = &self.turns[turn];
        let failed = match facts.state {
            TurnState::Failed => facts.code.as_deref() != Some("outcome_unknown"),
            TurnState::Expired => true,
            TurnState::Queued
            | TurnState::Running
            | TurnState::Delivering
            | TurnState::Delivered
            | TurnState::Silent
            | TurnState::Aborted => false,
        };
        let resent = |it: &Row| {
            it.about == Some(turn) && it.replay_of.is_some() && it.kind == DeliveryKind::Final
        };
        let before = self.turns.iter().any(|it| it.replay_of == Some(turn) && !it.gone)
            || self.rows.iter().any(|it| resent(it) && !it.gone);
        if facts.gone || !failed || (before && !force) {
            return false;
        }
        self.new_turn(facts.room, Some(turn));
        true
    }

    fn rows_of(&self, turn: usize) -> Vec<usize> {
        let of_it = |row: &usize| self.rows[*row].turn.is_some_and(|(of, _)| of == turn);
        (0..self.rows.len()).filter(of_it).filter(|row| !self.rows[*row].gone).collect()
    }

    fn forget(&mut self, turn: usize) {
        for row in self.rows_of(turn) {
            self.rows[row].gone = true;
        }
        self.turns[turn].gone = true;
    }

    /// Whether a turn at rest, that nobody waits for, is forgotten by order.
    pub(super) fn purge_turn(&mut self, turn: usize) -> bool {
        let facts = &self.turns[turn];
        let waits = |row: &usize| {
            let state = self.rows[*row].state;
            state.is_live() || state == State::UnknownHeld
        };
        let kept = facts.gone || !facts.state.is_ended() || self.rows_of(turn).iter().any(waits);
        if !kept {
            self.forget(turn);
        }
        !kept
    }

    /// Final rows of a turn go with it.
    pub(super) fn purge_row(&mut self, row: usize) -> bool {
        let facts = &mut self.rows[row];
        let of_turn = facts.turn.is_some()
            && matches!(facts.kind, DeliveryKind::Final | DeliveryKind::Notice);
        let waits = facts.state.is_live() || facts.state == State::UnknownHeld;
        let kept = facts.gone || of_turn || waits;
        facts.gone |= !kept;
        !kept
    }

    /// After a week: ended turns with all that hangs on them, but neither dead letters nor what
    /// waits for a person; free rows whose turn is gone; receipts.
    pub(super) fn prune(&mut self) {
        let before = self.now - WEEK_MS;
        for turn in 0..self.turns.len() {
            let facts = &self.turns[turn];
            let ended = matches!(
                facts.state,
                TurnState::Delivered | TurnState::Silent | TurnState::Aborted
            );
            let old = facts.ended.is_some_and(|ended| ended < before);
            let at_rest = |row: &usize| {
                let row = &self.rows[*row];
                matches!(row.state, State::Delivered | State::Cancelled)
                    || (row.kind.is_progress() && !row.state.is_live())
            };
            if !facts.gone && ended && old && self.rows_of(turn).iter().all(at_rest) {
                self.forget(turn);
            }
        }
        for row in 0..self.rows.len() {
            let facts = &self.rows[row];
            let free = facts.turn.is_none() && facts.about.is_some_and(|it| self.turns[it].gone);
            let at_rest = matches!(facts.state, State::Delivered | State::Cancelled);
            if free && at_rest && facts.rested.is_some_and(|rested| rested < before) {
                self.rows[row].gone = true;
            }
            if self.rows[row].receipt_at.is_some_and(|at| at < before) {
                self.rows[row].receipt_at = None;
            }
        }
    }

    /// Pauses the channel, or lets it go on: what waited for it is due then.
    pub(super) fn switch(&mut self, resume: bool) {
        if resume && self.paused {
            self.not_before = 0;
        }
        self.paused = !resume;
        if resume {
            self.release_waiting();
        }
    }
}
