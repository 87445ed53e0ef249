//! Groups: what a platform delivers in pieces and one turn answers. The turn has its place in line
//! from its first piece on, and is due when the rest may be expected to be there; a piece may join
//! until the turn begins.

use super::accept::read_message;
use super::blobs::Holder;
use super::step::{Result, Step, from_json, to_json, turn_code, turn_id};
use crate::lifecycle::group;
use crate::lifecycle::id::TurnId;
use crate::lifecycle::message::InboundMessage;
use crate::lifecycle::turn::TurnState;

/// What became of a piece.
pub(super) enum Gathered {
    /// A turn gathers it now; it was there before.
    Joined(TurnId),
    /// Its turn began without it, or is full.
    TooLate(TurnId),
    /// The first piece that wakes.
    New(TurnId, TurnState),
    /// Of a group that nobody was woken by yet.
    Nothing,
}

/// What is left of a turn without one message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Remains {
    /// The message is none of its pieces.
    AllOfIt,
    /// Other pieces.
    TheRest,
    /// It was the only one.
    Nothing,
}

/// A piece as its row has it.
struct Piece {
    place: i64,
    key: Vec<u8>,
    message: InboundMessage,
}

impl Step<'_> {
    pub(super) fn gather(
        &mut self,
        channel: i64,
        conversation: i64,
        key: &[u8],
        message: &InboundMessage,
    ) -> Result<Gathered> {
        let Some(group) = message.group.as_deref() else { return Ok(Gathered::Nothing) };
        let found = self.one(
            "SELECT id, nonce, state = 0 AND try = 0, accepted_at_ms FROM turn
             WHERE conversation_id = ?1 AND group_id = ?2 ORDER BY id DESC LIMIT 1",
            (conversation, group),
            |r| Ok((turn_id(r.get(0)?, r.get(1)?), r.get::<_, bool>(2)?, r.get::<_, i64>(3)?)),
        )?;
        match found {
            Some((turn, false, _)) => Ok(Gathered::TooLate(turn)),
            Some((turn, true, first_ms)) => self.join(turn, first_ms, key, message),
            None if message.wakes => self.first_piece(channel, conversation, group, key, message),
            None => Ok(Gathered::Nothing),
        }
    }

    fn first_piece(
        &mut self,
        channel: i64,
        conversation: i64,
        group: &str,
        key: &[u8],
        message: &InboundMessage,
    ) -> Result<Gathered> {
        let mut pieces = self.take_kept_pieces(conversation, group)?;
        let place = pieces.len() as i64;
        pieces.push(Piece { place, key: key.to_owned(), message: message.clone() });
        let whole = whole(&pieces).unwrap_or_else(|| message.clone());
        let (turn, state) = self.insert_turn(channel, conversation, &whole, Some(key), None)?;
        let now_ms = self.now.wall_ms;
        self.execute(
            "UPDATE turn SET group_id = ?2, due_ms = max(due_ms, ?3), due_set_ms = ?4
             WHERE id = ?1",
            (turn.number, group, group::due_ms(now_ms, now_ms), now_ms),
        )?;
        for piece in &pieces {
            self.store_piece(turn, piece)?;
        }
        Ok(Gathered::New(turn, state))
    }

    /// Pieces that wake nobody by themselves and came before the one that does.
    fn take_kept_pieces(&mut self, conversation: i64, group: &str) -> Result<Vec<Piece>> {
        let rows = self.all(
            "SELECT id, dedup_key, payload FROM context
             WHERE conversation_id = ?1 AND turn_id IS NULL ORDER BY id",
            [conversation],
            |r| Ok((r.get::<_, i64>(0)?, r.get::<_, Option<Vec<u8>>>(1)?, r.get(2)?)),
        )?;
        let mut pieces = Vec::new();
        for (id, key, payload) in rows {
            let payload: String = payload;
            let Some(key) = key else { continue };
            // What cannot be read stays where it is; whoever takes it will say so.
            let Ok(message) = from_json::<InboundMessage>(&payload) else { continue };
            if message.group.as_deref() != Some(group) || pieces.len() + 1 >= group::PIECES_MAX {
                continue;
            }
            self.execute("DELETE FROM context WHERE id = ?1", [id])?;
            pieces.push(Piece { place: pieces.len() as i64, key, message });
        }
        Ok(pieces)
    }

    fn join(
        &mut self,
        turn: TurnId,
        first_ms: i64,
        key: &[u8],
        message: &InboundMessage,
    ) -> Result<Gathered> {
        let mut pieces = self.pieces(turn)?;
        let place = pieces.last().map_or(0, |last| last.place + 1);
        let piece = Piece { place, key: key.to_owned(), message: message.clone() };
        let all = pieces.iter().chain([&piece]).map(|piece| &piece.message);
        if !group::fits(all) {
            return Ok(Gathered::TooLate(turn));
        }
        self.store_piece(turn, &piece)?;
        pieces.push(piece);
        self.retell(turn, &pieces)?;
        let now_ms = self.now.wall_ms;
        self.execute(
            "UPDATE turn SET due_ms = max(due_ms, ?2), due_set_ms = ?3 WHERE id = ?1",
            (turn.number, group::due_ms(first_ms, now_ms), now_ms),
        )?;
        Ok(Gathered::Joined(turn))
    }

    fn pieces(&self, turn: TurnId) -> Result<Vec<Piece>> {
        let rows = self.all(
            "SELECT place, dedup_key, payload FROM piece WHERE turn_id = ?1 ORDER BY place",
            [turn.number],
            |r| Ok((r.get::<_, i64>(0)?, r.get::<_, Vec<u8>>(1)?, r.get::<_, String>(2)?)),
        )?;
        rows.into_iter()
            .map(|(place, key, payload)| Ok(Piece { place, key, message: from_json(&payload)? }))
            .collect()
    }

    fn store_piece(&mut self, turn: TurnId, piece: &Piece) -> Result<()> {
        self.execute(
            "INSERT INTO piece (turn_id, place, dedup_key, payload) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (turn_id, place) DO UPDATE SET payload = ?4",
            (turn.number, piece.place, &piece.key, to_json(&piece.message)?),
        )?;
        self.belongs_all(&piece.key, turn)
    }

    /// What the turn's handler is told, from the pieces that are there.
    fn retell(&mut self, turn: TurnId, pieces: &[Piece]) -> Result<()> {
        match whole(pieces) {
            Some(message) => self.rewrite(turn, &message),
            None => Ok(()),
        }
    }

    /// Changes what a turn that has not run will be told.
    fn rewrite(&mut self, turn: TurnId, message: &InboundMessage) -> Result<()> {
        let changed = self.execute(
            "UPDATE turn SET payload = ?2, external_id = ?3
             WHERE id = ?1 AND state = 0 AND try = 0",
            (turn.number, to_json(message)?, &message.external_id),
        )?;
        if changed == 0 {
            return Ok(());
        }
        self.hold_files_anew(Holder::Turn(turn.number), &message.attachments)
    }

    /// Puts new text and files in place of those of a turn that has not run: `false` where it has,
    /// or where a group would grow too long by it.
    pub(super) fn replace_text(
        &mut self,
        turn: TurnId,
        key: &[u8],
        edited: &InboundMessage,
    ) -> Result<bool> {
        let Some((payload, grouped)) = self.unrun_message(turn)? else { return Ok(false) };
        if !grouped {
            // An unreadable one is readable again by this.
            let old = read_message(&payload, &edited.conversation);
            self.rewrite(turn, &with_text_of(old.unwrap_or_else(|_| edited.clone()), edited))?;
            return Ok(true);
        }
        let mut pieces = self.pieces(turn)?;
        let Some(at) = pieces.iter().position(|piece| piece.key == key) else { return Ok(false) };
        let Some(piece) = pieces.get_mut(at) else { return Ok(false) };
        piece.message = with_text_of(piece.message.clone(), edited);
        if !group::fits(pieces.iter().map(|piece| &piece.message)) {
            return Ok(false);
        }
        if let Some(piece) = pieces.get(at) {
            self.store_piece(turn, piece)?;
        }
        self.retell(turn, &pieces)?;
        Ok(true)
    }

    /// Takes a message out of its turn that has not run.
    pub(super) fn take_piece_back(&mut self, turn: TurnId, key: &[u8]) -> Result<Remains> {
        let mut pieces = self.pieces(turn)?;
        let before = pieces.len();
        pieces.retain(|piece| piece.key != key);
        if pieces.len() == before && before > 0 {
            return Ok(Remains::AllOfIt);
        }
        if pieces.is_empty() {
            return Ok(Remains::Nothing);
        }
        self.execute(
            "DELETE FROM piece WHERE turn_id = ?1 AND dedup_key = ?2",
            (turn.number, key),
        )?;
        self.expire_key(key, turn.number, turn_code(TurnState::Aborted), self.now.wall_ms)?;
        self.retell(turn, &pieces)?;
        Ok(Remains::TheRest)
    }

    /// The payload of a turn that has not run, and whether it is of a group.
    pub(super) fn unrun_message(&self, turn: TurnId) -> Result<Option<(String, bool)>> {
        self.one(
            "SELECT payload, group_id IS NOT NULL FROM turn
             WHERE id = ?1 AND nonce = ?2 AND state = 0 AND try = 0",
            (turn.number, turn.nonce.cast_signed()),
            |r| Ok((r.get(0)?, r.get(1)?)),
        )
    }

    /// Before a turn's row goes: the keys of its pieces answer for it, for their window.
    pub(super) fn release_pieces(&mut self, turn: i64) -> Result<()> {
        let keys = self.all(
            "SELECT p.dedup_key, t.state, t.ended_at_ms FROM piece p JOIN turn t ON t.id = p.turn_id
             WHERE p.turn_id = ?1",
            [turn],
            |r| Ok((r.get::<_, Vec<u8>>(0)?, r.get::<_, i64>(1)?, r.get::<_, Option<i64>>(2)?)),
        )?;
        for (key, state, ended_ms) in keys {
            self.expire_key(&key, turn, state, ended_ms.unwrap_or(self.now.wall_ms))?;
        }
        Ok(())
    }
}

fn whole(pieces: &[Piece]) -> Option<InboundMessage> {
    let messages: Vec<_> = pieces.iter().map(|piece| piece.message.clone()).collect();
    group::combine(&messages)
}

/// The message with what an edit may change: text, files and the platform's own words.
pub(super) fn with_text_of(message: InboundMessage, edited: &InboundMessage) -> InboundMessage {
    InboundMessage {
        text: edited.text.clone(),
        attachments: edited.attachments.clone(),
        extras: edited.extras.clone(),
        ..message
    }
}
