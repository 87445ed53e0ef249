//! What people order, on the model and on the store.

use super::ROOMS;
use super::fault;
use super::pair::{Held, Pair, place, same};
use crate::lifecycle::delivery::DeliveryState;
use crate::lifecycle::message::{Fate, InboundEvent, LateReceipt, SentMessage};
use crate::lifecycle::turn::TurnState;
use crate::store::*;

impl Pair {
    pub(super) fn receipt(&mut self, row: u8) {
        let Some(row) = place(self.spec.rows.len(), row) else { return };
        let Some(id) = self.spec.rows[row].id else { return };
        let receipt = LateReceipt {
            conversation: None,
            about: SentMessage::DeliveryId(id.to_string(), None),
            fate: Fate::Delivered,
            at_ms: None,
        };
        self.rig.accept_events(vec![InboundEvent::Receipt(receipt)]);
        self.spec.receipt(row);
    }

    fn ordered(&mut self, what: &str, expected: bool, command: Command) -> Held {
        match self.rig.run(command) {
            Answer::Operated { operated, .. } => {
                same(what, expected, matches!(operated, Operated::Done { .. }))
            }
            Answer::Bulk { rows, .. } => same(what, expected, rows[0].result == BulkResult::Done),
            other => Err(format!("another's answer: {other:?}")),
        }
    }

    pub(super) fn abort_turn(&mut self, turn: u8) -> Held {
        let Some(turn) = place(self.spec.turns.len(), turn) else { return Ok(()) };
        let facts = &self.spec.turns[turn];
        let Some(id) = facts.id else { return Ok(()) };
        let stops = !facts.gone && !facts.state.is_ended();
        if stops {
            self.spec.end_turn(turn, TurnState::Aborted, Some("aborted"));
        }
        let scope = AbortScope::Turn(id);
        self.ordered("a stop", stops, Command::Abort { scope, by: "model".to_owned() })
    }

    pub(super) fn abort_room(&mut self, room: u8, all: bool) -> Held {
        let (channel, conversation) = ("hook".into(), ROOMS[usize::from(room)].to_owned());
        let stopped = self.spec.abort_room(usize::from(room), all);
        let scope = AbortScope::Conversation { channel, conversation, all };
        let command = Command::Abort { scope, by: "model".to_owned() };
        self.ordered("a stop of a conversation", !stopped.is_empty(), command)
    }

    pub(super) fn resolve(&mut self, row: u8, how: Resolution) -> Held {
        let held = |row: &usize| self.spec.rows[*row].state == DeliveryState::UnknownHeld;
        let held: Vec<usize> = (0..self.spec.rows.len()).filter(held).collect();
        // Mostly a held one; at times any.
        let row = match place(held.len(), row) {
            Some(place) if !row.is_multiple_of(4) => held[place],
            _ => match place(self.spec.rows.len(), row) {
                Some(row) => row,
                None => return Ok(()),
            },
        };
        let Some(delivery) = self.spec.rows[row].id else { return Ok(()) };
        let done = self.spec.resolve(row, how);
        let command = Command::Resolve { delivery, how, by: "model".to_owned() };
        self.ordered("a resolution", done, command)
    }

    pub(super) fn replay_turn(&mut self, turn: u8, force: bool) -> Held {
        let Some(turn) = place(self.spec.turns.len(), turn) else { return Ok(()) };
        let Some(id) = self.spec.turns[turn].id else { return Ok(()) };
        let done = self.spec.replay_turn(turn, force);
        let command = Command::Replay { of: ReplayOf::Turn(id), force, by: "model".to_owned() };
        self.ordered("a replay of a turn", done, command)
    }

    pub(super) fn replay_row(&mut self, row: u8, force: bool) -> Held {
        let Some(row) = place(self.spec.rows.len(), row) else { return Ok(()) };
        let Some(id) = self.spec.rows[row].id else { return Ok(()) };
        let done = self.spec.replay_row(row, force);
        let of = ReplayOf::Delivery(id);
        let command = Command::Replay { of, force, by: "model".to_owned() };
        self.ordered("a replay of a delivery", done, command)
    }

    fn purge(&mut self, what: &str, done: bool, row: ReplayOf) -> Held {
        let act = BulkAct::Purge(PurgeReach::AtRest);
        let (rows, trial, by) = (vec![row], Trial::ForReal, "model".to_owned());
        self.ordered(what, done, Command::Bulk(Box::new(Bulk { act, rows, trial, by })))
    }

    pub(super) fn purge_turn(&mut self, turn: u8) -> Held {
        let Some(turn) = place(self.spec.turns.len(), turn) else { return Ok(()) };
        let Some(id) = self.spec.turns[turn].id else { return Ok(()) };
        let done = self.spec.purge_turn(turn);
        self.purge("a purge of a turn", done, ReplayOf::Turn(id))
    }

    pub(super) fn purge_row(&mut self, row: u8) -> Held {
        let Some(row) = place(self.spec.rows.len(), row) else { return Ok(()) };
        let Some(id) = self.spec.rows[row].id else { return Ok(()) };
        let done = self.spec.purge_row(row);
        self.purge("a purge of a delivery", done, ReplayOf::Delivery(id))
    }

    pub(super) fn expire_turn(&mut self, turn: u8) {
        let Some(turn) = place(self.spec.turns.len(), turn) else { return };
        let Some(id) = self.spec.turns[turn].id else { return };
        self.rig.run(Command::Sweep(SweepStep::ExpireTurn { turn: id }));
        self.spec.expire_turn(turn);
    }

    pub(super) fn expire_row(&mut self, row: u8) {
        let Some(row) = place(self.spec.rows.len(), row) else { return };
        let Some(id) = self.spec.rows[row].id else { return };
        self.rig.run(Command::Sweep(SweepStep::ExpireDelivery { delivery: id }));
        self.spec.expire_row(row);
    }

    pub(super) fn switch(&mut self, resume: bool) -> Held {
        let switch =
            if resume { ChannelSwitch::Resume } else { ChannelSwitch::Pause(fault("by_hand")) };
        let done = self.spec.paused == resume;
        let command = Command::SwitchChannel { channel: "hook".into(), switch };
        self.spec.switch(resume);
        self.ordered("a switch of the channel", done, command)
    }
}
