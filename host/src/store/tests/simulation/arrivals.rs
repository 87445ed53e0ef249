//! Messages that are due later, and messages that come again.

use super::*;

impl World {
    pub(super) fn arrive_later(&mut self, room: &str, id: &str) {
        let wait_ms = [1_000, 60_000, 4_000_000][self.chance.random_range(0..3)];
        let due = if self.chance.random_bool(0.5) {
            Due::In(wait_ms)
        } else {
            Due::At(self.rig.now.wall_ms.saturating_add_unsigned(wait_ms))
        };
        let turn = self.rig.later(room, id, due);
        self.later.insert(turn, due);
    }

    pub(super) fn redeliver(&mut self) {
        let count = self.accepted.len();
        if count == 0 {
            return;
        }
        let index = self.chance.random_range(0..count);
        let (name, turn) = self.accepted.iter().nth(index).unwrap();
        let (room, id) = name.split_once('/').unwrap();
        let turn = *turn;
        if id.starts_with(files::CARRIES) {
            return;
        }
        match self.rig.accept(message(room, id, id)) {
            AcceptedEvent::Duplicate { turn: Some(known), .. } => assert_eq!(known, turn),
            other => panic!("a redelivery was {other:?}"),
        }
    }
}
