//! What happens to a message after it was said, and what is no message: edits, deletions, actions
//! and the rest of the contract's events.
//!
//! A message has **not run** while its turn is queued and was never claimed (its serial `try` is
//! 0): then an edit changes the turn and a deletion ends it. From the first claim on its handler
//! may have read it, so that both become context, which the next try of the same turn sees too.

use super::accept::{
    CONTENTS_PER_KEY_MAX, Known, NO_CONTENT, Taken, contents_of, key, message_content, stored,
    used_too_often,
};
use super::blobs::Holder;
use super::face::AcceptedEvent;
use super::pieces::{Remains, with_text_of};
use super::step::{Result, Step, from_json, to_json};
use crate::lifecycle::dedup::{self, EventKind};
use crate::lifecycle::id::{ChannelName, TurnId};
use crate::lifecycle::message::{Action, Deletion, Happening, InboundMessage, OtherEvent};
use crate::lifecycle::turn::{TurnEvent, TurnState, code};

/// Edits of one message that are remembered: a redelivery of an older one would count as new.
const EDITS_KEPT: usize = 16;

/// Whether word of a message came before the message itself.
pub(super) enum Overtaken {
    /// It did, and this is what became of the message.
    Done(Taken),
    /// It did not, or changes only what the message says.
    No(Box<InboundMessage>),
}

impl Step<'_> {
    pub(super) fn accept_edited(
        &mut self,
        channel_id: i64,
        channel: &ChannelName,
        edited: InboundMessage,
    ) -> Result<AcceptedEvent> {
        let (room, id) = (&edited.conversation, &edited.external_id);
        let edits = key(channel, room, id, EventKind::Edited)?;
        let messages = key(channel, room, id, EventKind::Message)?;
        let known = self.known(&edits)?;
        let content = edit_content(&edited);
        let target = newest(self.known(&messages)?);
        if known.iter().any(|known| known.content == content)
            || self.was_taken_back(channel, room, id)?
        {
            return Ok(duplicate_of(target));
        }
        if let Some(oldest) = oldest_over(&known, EDITS_KEPT - 1) {
            let sql = "DELETE FROM dedup WHERE key = ?1 AND content = ?2";
            self.execute(sql, (&edits, &oldest.content))?;
        }
        self.remember(&edits, &content, None)?;
        let (conversation, _, _) = self.conversation(channel_id, room)?;
        match target {
            Some(Known { turn: Some(turn), .. })
                if self.replace_text(turn, &messages, &edited)? =>
            {
                return Ok(AcceptedEvent::Edited { turn: Some(turn) });
            }
            Some(_) => {}
            // It came before its message, which will be known by this.
            None => self.remember(&messages, &message_content(&edited), None)?,
        }
        if self.replace_context(conversation, &messages, &edited)? {
            return Ok(AcceptedEvent::Edited { turn: None });
        }
        let note = InboundMessage { wakes: false, event: Some(Happening::Edited), ..edited };
        self.keep_context(conversation, &messages, &note)?;
        Ok(AcceptedEvent::Context)
    }

    /// Changes what is kept of the message as context, where no turn has taken it.
    fn replace_context(
        &mut self,
        conversation: i64,
        key: &[u8],
        edited: &InboundMessage,
    ) -> Result<bool> {
        let Some((id, old)) = self.kept(conversation, key)? else { return Ok(false) };
        let new = with_text_of(old, edited);
        self.execute("UPDATE context SET payload = ?2 WHERE id = ?1", (id, to_json(&new)?))?;
        self.hold_files_anew(Holder::Context(id), &new.attachments)?;
        Ok(true)
    }

    /// What is kept under the key and no turn has taken.
    fn kept(&self, conversation: i64, key: &[u8]) -> Result<Option<(i64, InboundMessage)>> {
        let found = self.one(
            "SELECT id, payload FROM context
             WHERE conversation_id = ?1 AND turn_id IS NULL AND dedup_key = ?2
             ORDER BY id DESC LIMIT 1",
            (conversation, key),
            |r| Ok((r.get::<_, i64>(0)?, r.get::<_, String>(1)?)),
        )?;
        found.map(|(id, payload)| Ok((id, from_json(&payload)?))).transpose()
    }

    pub(super) fn accept_deleted(
        &mut self,
        channel_id: i64,
        channel: &ChannelName,
        deletion: Deletion,
    ) -> Result<AcceptedEvent> {
        let (room, id) = (&deletion.conversation, &deletion.external_id);
        let deletions = key(channel, room, id, EventKind::Deleted)?;
        let messages = key(channel, room, id, EventKind::Message)?;
        let target = newest(self.known(&messages)?);
        if !self.known(&deletions)?.is_empty() {
            return Ok(duplicate_of(target));
        }
        self.remember(&deletions, &NO_CONTENT, None)?;
        let (conversation, _, _) = self.conversation(channel_id, room)?;
        match target {
            Some(Known { turn: Some(turn), .. }) if self.unrun_message(turn)?.is_some() => {
                match self.take_piece_back(turn, &messages)? {
                    Remains::TheRest => return Ok(AcceptedEvent::TakenBack { turn: None }),
                    Remains::Nothing => {
                        self.end_taken_back(turn, channel)?;
                        return Ok(AcceptedEvent::TakenBack { turn: Some(turn) });
                    }
                    // A piece that no longer fitted in: kept as context.
                    Remains::AllOfIt => {}
                }
            }
            Some(_) => {}
            // It came before its message, which will be known by this.
            None => self.remember(&messages, &NO_CONTENT, None)?,
        }
        let seen_by_nobody = self
            .kept(conversation, &messages)?
            .is_some_and(|(_, kept)| kept.event != Some(Happening::Edited));
        self.forget_context(conversation, &messages)?;
        if seen_by_nobody {
            return Ok(AcceptedEvent::TakenBack { turn: None });
        }
        self.keep_context(conversation, &messages, &deletion.into_message())?;
        Ok(AcceptedEvent::Context)
    }

    fn end_taken_back(&mut self, turn: TurnId, channel: &ChannelName) -> Result<()> {
        let Some(facts) = self.turn_facts(turn)? else { return Ok(()) };
        let words = Some("its message was taken back before it ran");
        let by = format!("its sender in {channel}");
        self.end_turn(&facts, TurnEvent::Abort, Some(code::TAKEN_BACK), words, Some(&by))?;
        Ok(())
    }

    fn was_taken_back(&mut self, channel: &ChannelName, room: &str, id: &str) -> Result<bool> {
        let deletions = key(channel, room, id, EventKind::Deleted)?;
        Ok(!self.known(&deletions)?.is_empty())
    }

    /// A message under a known id with unknown content. Where all that is known of it are edits or
    /// its deletion, it comes late: it has the edit's text, or is answered by nobody.
    pub(super) fn overtaken(
        &mut self,
        channel_id: i64,
        channel: &ChannelName,
        messages: &[u8],
        content: &[u8],
        known: &[Known],
        message: InboundMessage,
    ) -> Result<Overtaken> {
        let (room, id) = (&message.conversation, &message.external_id);
        let edits = self.known(&key(channel, room, id, EventKind::Edited)?)?;
        let is_edit = |content: &[u8]| edits.iter().any(|edit| edit.content.starts_with(content));
        if is_edit(content) && known.iter().any(|known| known.turn.is_some()) {
            // Delivered again as it reads since its edit.
            return Ok(Overtaken::Done((duplicate_of(newest(known.to_vec())), None)));
        }
        let came_before =
            known.iter().any(|known| known.content != NO_CONTENT && !is_edit(&known.content));
        if came_before {
            return Ok(Overtaken::No(Box::new(message)));
        }
        if self.was_taken_back(channel, room, id)? {
            let done = self.taken_back_unseen(channel_id, channel, messages, content, &message)?;
            return Ok(Overtaken::Done((done, None)));
        }
        let conversation = self.conversation_heard(channel_id, &message)?;
        let kept = self.kept(conversation, messages)?;
        if !message.wakes && kept.is_some() {
            // The edit stands in for it.
            self.remember(messages, content, None)?;
            return Ok(Overtaken::Done((AcceptedEvent::Context, None)));
        }
        let message = match kept {
            Some((_, edit)) => with_text_of(message, &edit),
            None => message,
        };
        self.forget_context(conversation, messages)?;
        let taken = self.take_in(channel_id, conversation, messages, content, message)?;
        if let (AcceptedEvent::Turn { turn, .. } | AcceptedEvent::Joined { turn }, _) = &taken {
            self.belongs_all(messages, *turn)?;
        }
        Ok(Overtaken::Done(taken))
    }

    /// The message comes after its deletion: recorded, and its turn has ended before it began.
    fn taken_back_unseen(
        &mut self,
        channel_id: i64,
        channel: &ChannelName,
        messages: &[u8],
        content: &[u8],
        message: &InboundMessage,
    ) -> Result<AcceptedEvent> {
        if !message.wakes {
            self.remember(messages, content, None)?;
            return Ok(AcceptedEvent::TakenBack { turn: None });
        }
        let (conversation, _, _) = self.conversation(channel_id, &message.conversation)?;
        let (turn, state) =
            self.insert_turn(channel_id, conversation, message, Some(messages), None)?;
        self.belongs(messages, content, turn)?;
        if state != TurnState::Queued {
            return Ok(AcceptedEvent::Turn { turn, state });
        }
        self.end_taken_back(turn, channel)?;
        Ok(AcceptedEvent::Turn { turn, state: TurnState::Aborted })
    }

    pub(super) fn accept_action(
        &mut self,
        channel_id: i64,
        channel: &ChannelName,
        action: Action,
    ) -> Result<Taken> {
        let key = key(channel, &action.conversation, &action.external_id, EventKind::Action)?;
        let content = stored(&dedup::action_content(&action));
        let known = self.known(&key)?;
        if let Some(same) = known.iter().find(|known| known.content == content) {
            let (turn, state) = (same.turn, same.state);
            return Ok((AcceptedEvent::Duplicate { turn, state }, None));
        }
        if contents_of(&known) >= CONTENTS_PER_KEY_MAX {
            return Ok((used_too_often("action"), None));
        }
        let message = action.into_message();
        let conversation = self.conversation_heard(channel_id, &message)?;
        self.take_in(channel_id, conversation, &key, &content, message)
    }

    pub(super) fn accept_other(
        &mut self,
        channel_id: i64,
        channel: &ChannelName,
        other: OtherEvent,
    ) -> Result<AcceptedEvent> {
        let content = stored(&dedup::other_content(&other));
        let Some(message) = other.into_message() else {
            let sql = "UPDATE meta SET value = value + 1 WHERE name = 'not_served'";
            self.execute(sql, [])?;
            return Ok(AcceptedEvent::Dropped);
        };
        let key = key(channel, &message.conversation, &message.external_id, EventKind::Other)?;
        let known = self.known(&key)?;
        if known.iter().any(|known| known.content == content) {
            return Ok(AcceptedEvent::Duplicate { turn: None, state: None });
        }
        if contents_of(&known) >= CONTENTS_PER_KEY_MAX {
            return Ok(used_too_often("event"));
        }
        let (conversation, _, _) = self.conversation(channel_id, &message.conversation)?;
        self.keep_context(conversation, &key, &message)?;
        self.remember(&key, &content, None)?;
        Ok(AcceptedEvent::Context)
    }
}

/// What an edit says, and when: a text that comes back after another one is an edit of its own
/// where the platform tells the time. The content as of a message stands in front.
fn edit_content(edited: &InboundMessage) -> Vec<u8> {
    let mut content = message_content(edited);
    content.extend(edited.sent_at_ms.map(u64::to_le_bytes).into_iter().flatten());
    content
}

/// What is known of a message: of several under one id the one of the newest turn.
fn newest(known: Vec<Known>) -> Option<Known> {
    let said = known.into_iter().filter(|known| known.content != NO_CONTENT);
    said.max_by_key(|known| (known.turn.map(|turn| turn.number), known.accepted_at_ms))
}

fn oldest_over(known: &[Known], most: usize) -> Option<&Known> {
    let oldest = known.iter().min_by_key(|known| known.accepted_at_ms);
    oldest.filter(|_| known.len() > most)
}

fn duplicate_of(target: Option<Known>) -> AcceptedEvent {
    let (turn, state) = target.map_or((None, None), |known| (known.turn, known.state));
    AcceptedEvent::Duplicate { turn, state }
}
