//! Accepting: a platform's batch goes in whole or not at all, each message once.

use super::blobs::Holder;
use super::events::Overtaken;
use super::face::{Accept, Accepted, AcceptedEvent, StoreError};
use super::later::Due;
use super::new_turn::NewTurn;
use super::pieces::Gathered;
use super::step::{NEVER_MS, Result, Step, from_json, ms, to_json, turn_id, turn_state};
use crate::lifecycle::dedup::{self, ContentDigest, EventKind};
use crate::lifecycle::id::{ChannelName, TurnId};
use crate::lifecycle::message::{AbortRequest, InboundEvent, InboundMessage};
use crate::lifecycle::turn::{AbortReach, TurnState};

/// Contents that one key may have had: an id used again for other words is another message.
pub(super) const CONTENTS_PER_KEY_MAX: usize = 3;
/// Bytes of a digest that are kept: 128 bits keep keys apart, and half the index.
const KEY_BYTES: usize = 16;
/// Of an event that is the same whatever it says: a stop, a deletion. Beside a message's key it
/// says that the message was taken back before it came.
pub(super) const NO_CONTENT: [u8; KEY_BYTES] = [0; KEY_BYTES];

/// A key that is there already, with the turn that it stands for.
#[derive(Debug, Clone)]
pub(super) struct Known {
    pub(super) content: Vec<u8>,
    pub(super) turn: Option<TurnId>,
    pub(super) state: Option<TurnState>,
    pub(super) accepted_at_ms: i64,
}

/// An event that was accepted, and its turn where that may be claimed at once.
pub(super) type Taken = (AcceptedEvent, Option<TurnId>);

impl Step<'_> {
    pub(super) fn accept(&mut self, accept: Accept) -> Result<Accepted> {
        let Accept { channel, events, cursor, state, claim } = accept;
        let channel_id = self.channel_id(&channel)?;
        let mut out = Accepted {
            events: Vec::new(),
            claimed: None,
            stopped: Vec::new(),
            state_dropped: false,
            next_due_ms: None,
        };
        let mut claimable = Vec::new();
        for event in events {
            let (done, turn) = self.accept_event(channel_id, &channel, event)?;
            match &done {
                AcceptedEvent::Abort { stopped, again: false } => out.stopped.extend(stopped),
                AcceptedEvent::TakenBack { turn: Some(turn) } => out.stopped.push(*turn),
                AcceptedEvent::Abort { again: true, .. }
                | AcceptedEvent::Turn { .. }
                | AcceptedEvent::Joined { .. }
                | AcceptedEvent::Duplicate { .. }
                | AcceptedEvent::Context
                | AcceptedEvent::Edited { .. }
                | AcceptedEvent::TakenBack { turn: None }
                | AcceptedEvent::Receipt { .. }
                | AcceptedEvent::Refused { .. }
                | AcceptedEvent::Dropped => {}
            }
            claimable.extend(turn);
            out.events.push(done);
        }
        // After all events: what comes later in the batch may edit, stop or take back what came
        // earlier, and none of it has run yet.
        if let Some(lease) = claim {
            for turn in claimable {
                out.claimed = self.claim_turn_by_number(turn, lease)?;
                if out.claimed.is_some() {
                    break;
                }
            }
        }
        if let Some(value) = cursor {
            self.execute(
                "INSERT INTO cursor (channel_id, value, at_ms) VALUES (?1, ?2, ?3)
                 ON CONFLICT (channel_id) DO UPDATE SET value = ?2, at_ms = ?3",
                (channel_id, value, self.now.wall_ms),
            )?;
        }
        out.state_dropped = self.write_state(channel_id, &state)?;
        Ok(out)
    }

    fn accept_event(
        &mut self,
        channel_id: i64,
        channel: &ChannelName,
        event: InboundEvent,
    ) -> Result<Taken> {
        let done = match event {
            InboundEvent::Message(message) => {
                return self.accept_message(channel_id, channel, message);
            }
            InboundEvent::Action(action) => return self.accept_action(channel_id, channel, action),
            InboundEvent::Edited(edited) => self.accept_edited(channel_id, channel, edited)?,
            InboundEvent::Deleted(deletion) => {
                self.accept_deleted(channel_id, channel, deletion)?
            }
            InboundEvent::Abort(request) => self.accept_abort(channel_id, channel, &request)?,
            InboundEvent::Receipt(receipt) => {
                let failed = self.accept_receipt(channel_id, &receipt)?;
                AcceptedEvent::Receipt { failed }
            }
            InboundEvent::Other(other) => self.accept_other(channel_id, channel, other)?,
        };
        Ok((done, None))
    }

    fn accept_message(
        &mut self,
        channel_id: i64,
        channel: &ChannelName,
        message: InboundMessage,
    ) -> Result<Taken> {
        let key = key(channel, &message.conversation, &message.external_id, EventKind::Message)?;
        let content = message_content(&message);
        let known = self.known(&key)?;
        if let Some(same) = known.iter().find(|known| known.content == content) {
            let (turn, state) = (same.turn, same.state);
            if turn.is_none() && message.wakes {
                let conversation = self.conversation_heard(channel_id, &message)?;
                self.forget_context(conversation, &key)?;
                return self.take_in(channel_id, conversation, &key, &content, message);
            }
            return Ok((AcceptedEvent::Duplicate { turn, state }, None));
        }
        // Known, and says something else: an edit or a deletion may have come before it.
        let message = if known.is_empty() {
            message
        } else {
            match self.overtaken(channel_id, channel, &key, &content, &known, message)? {
                Overtaken::Done(taken) => return Ok(taken),
                Overtaken::No(message) => *message,
            }
        };
        if contents_of(&known) >= CONTENTS_PER_KEY_MAX {
            return Ok((used_too_often("message"), None));
        }
        let conversation = self.conversation_heard(channel_id, &message)?;
        self.take_in(channel_id, conversation, &key, &content, message)
    }

    /// A message that is new, or wakes for the first time: a turn, a piece of one, or context.
    pub(super) fn take_in(
        &mut self,
        channel_id: i64,
        conversation: i64,
        key: &[u8],
        content: &[u8],
        message: InboundMessage,
    ) -> Result<Taken> {
        let taken = match self.gather(channel_id, conversation, key, &message)? {
            Gathered::Nothing if message.wakes => {
                let (turn, state) =
                    self.insert_turn(channel_id, conversation, &message, Some(key), None)?;
                let claimable = Some(turn).filter(|_| state == TurnState::Queued);
                (AcceptedEvent::Turn { turn, state }, Some(turn), claimable)
            }
            Gathered::New(turn, state) => (AcceptedEvent::Turn { turn, state }, Some(turn), None),
            Gathered::Joined(turn) => (AcceptedEvent::Joined { turn }, Some(turn), None),
            Gathered::TooLate(turn) => {
                self.keep_context(conversation, key, &message)?;
                self.remember(key, content, Some(turn))?;
                return Ok((AcceptedEvent::Context, None));
            }
            Gathered::Nothing => {
                self.keep_context(conversation, key, &message)?;
                (AcceptedEvent::Context, None, None)
            }
        };
        let (done, turn, claimable) = taken;
        match turn {
            Some(turn) => self.belongs(key, content, turn)?,
            None => self.remember(key, content, None)?,
        }
        Ok((done, claimable))
    }

    /// The key and content stand for this turn from now on.
    pub(super) fn belongs(&mut self, key: &[u8], content: &[u8], turn: TurnId) -> Result<()> {
        self.execute(
            "INSERT INTO dedup (key, content, turn_id, turn_nonce, accepted_at_ms)
             VALUES (?1, ?2, ?3, ?4, ?5)
             ON CONFLICT (key, content) DO UPDATE
               SET turn_id = ?3, turn_nonce = ?4, expires_at_ms = NULL",
            (key, content, turn.number, turn.nonce.cast_signed(), self.now.wall_ms),
        )?;
        Ok(())
    }

    /// The same for all that is known of the key and stands for no turn yet.
    pub(super) fn belongs_all(&mut self, key: &[u8], turn: TurnId) -> Result<()> {
        self.execute(
            "UPDATE dedup SET turn_id = ?3, turn_nonce = ?4, expires_at_ms = NULL
             WHERE key = ?1 AND content != ?2 AND turn_id IS NULL",
            (key, NO_CONTENT, turn.number, turn.nonce.cast_signed()),
        )?;
        Ok(())
    }

    /// What is known of a key, entries past their window left out and removed.
    pub(super) fn known(&mut self, key: &[u8]) -> Result<Vec<Known>> {
        let now_ms = self.now.wall_ms;
        let window_ms = ms(self.rules.dedup_window_ms);
        let rows = self.all(
            "SELECT d.content, d.turn_id, d.turn_nonce, coalesce(t.state, d.turn_state),
                    coalesce(d.expires_at_ms,
                             max(d.accepted_at_ms, coalesce(t.ended_at_ms, d.accepted_at_ms)) + ?2),
                    t.id IS NOT NULL AND t.ended_at_ms IS NULL, d.accepted_at_ms
             FROM dedup d LEFT JOIN turn t ON t.id = d.turn_id AND t.nonce = d.turn_nonce
             WHERE d.key = ?1",
            (key, window_ms),
            |r| {
                let ids: (Option<i64>, Option<i64>) = (r.get(1)?, r.get(2)?);
                let state: Option<i64> = r.get(3)?;
                let times: (i64, i64) = (r.get(4)?, r.get(6)?);
                Ok((r.get::<_, Vec<u8>>(0)?, ids, state, times, r.get::<_, bool>(5)?))
            },
        )?;
        let mut known = Vec::with_capacity(rows.len());
        for (content, ids, state, (expires_ms, accepted_at_ms), unfinished) in rows {
            if expires_ms <= now_ms && !unfinished {
                let gone = "DELETE FROM dedup WHERE key = ?1 AND content = ?2";
                self.execute(gone, (key, &content))?;
                continue;
            }
            let turn = ids.0.zip(ids.1).map(|(number, nonce)| turn_id(number, nonce));
            let state = state.map(turn_state).transpose()?;
            known.push(Known { content, turn, state, accepted_at_ms });
        }
        Ok(known)
    }

    /// The conversation's row, which learns its newest context and that its person has written.
    pub(super) fn conversation_heard(
        &mut self,
        channel_id: i64,
        message: &InboundMessage,
    ) -> Result<i64> {
        let (id, context, closed) = self.conversation(channel_id, &message.conversation)?;
        if message.context.is_some() && message.context != context {
            let sql = "UPDATE conversation SET context = ?2 WHERE id = ?1";
            self.execute(sql, (id, &message.context))?;
        }
        if closed && !message.sender.is_bot {
            self.execute("UPDATE conversation SET closed = 0 WHERE id = ?1", [id])?;
            self.release_head(id)?;
        }
        Ok(id)
    }

    /// Number, newest context and whether it is closed; made where it is new.
    pub(super) fn conversation(
        &mut self,
        channel_id: i64,
        name: &str,
    ) -> Result<(i64, Option<String>, bool)> {
        let found = self.one(
            "SELECT id, context, closed FROM conversation WHERE channel_id = ?1 AND name = ?2",
            (channel_id, name),
            |r| Ok((r.get(0)?, r.get(1)?, r.get(2)?)),
        )?;
        if let Some(found) = found {
            return Ok(found);
        }
        self.execute(
            "INSERT INTO conversation (channel_id, name) VALUES (?1, ?2)",
            (channel_id, name),
        )?;
        Ok((self.db.last_insert_rowid(), None, false))
    }

    /// A new turn at the end of its conversation's line; too old a message expires at once.
    pub(super) fn insert_turn(
        &mut self,
        channel_id: i64,
        conversation: i64,
        message: &InboundMessage,
        key: Option<&[u8]>,
        replay_of: Option<i64>,
    ) -> Result<(TurnId, TurnState)> {
        self.insert_turn_due(channel_id, conversation, message, key, replay_of, Due::Now)
    }

    /// The same for one that may be due later: it takes its place in line then.
    pub(super) fn insert_turn_due(
        &mut self,
        channel_id: i64,
        conversation: i64,
        message: &InboundMessage,
        key: Option<&[u8]>,
        replay_of: Option<i64>,
        due: Due,
    ) -> Result<(TurnId, TurnState)> {
        let new =
            NewTurn { key, replay_of, due, ..NewTurn::new(channel_id, conversation, message) };
        self.insert_new_turn(&new)
    }

    pub(super) fn turn_line_taken(&self, conversation: i64) -> Result<bool> {
        // One that is due later stands in no line.
        self.exists(
            "SELECT 1 FROM turn WHERE conversation_id = ?1 AND state < 3
               AND seq < 9223372036854775807",
            [conversation],
        )
    }

    /// Keeps it for the conversation's next turn.
    pub(super) fn keep_context(
        &mut self,
        conversation: i64,
        key: &[u8],
        message: &InboundMessage,
    ) -> Result<()> {
        let now_ms = self.now.wall_ms;
        self.execute(
            "INSERT INTO context (conversation_id, dedup_key, payload, at_ms)
             VALUES (?1, ?2, ?3, ?4)",
            (conversation, key, to_json(message)?, now_ms),
        )?;
        let holder = Holder::Context(self.db.last_insert_rowid());
        self.hold_files_of(holder, &message.attachments)?;
        // The newest are kept: what was said last is what the next turn is about.
        self.execute(
            "DELETE FROM context WHERE conversation_id = ?1 AND turn_id IS NULL AND id <=
               (SELECT id FROM context WHERE conversation_id = ?1 AND turn_id IS NULL
                ORDER BY id DESC LIMIT 1 OFFSET ?2)",
            (conversation, self.rules.context_messages_max),
        )?;
        Ok(())
    }

    /// Takes out what is kept under this key and no turn has taken.
    pub(super) fn forget_context(&mut self, conversation: i64, key: &[u8]) -> Result<()> {
        self.execute(
            "DELETE FROM context WHERE conversation_id = ?1 AND turn_id IS NULL AND dedup_key = ?2",
            (conversation, key),
        )?;
        Ok(())
    }

    /// A key that is kept for the window, no longer: of no turn, or of one that does not answer it.
    pub(super) fn remember(
        &mut self,
        key: &[u8],
        content: &[u8],
        turn: Option<TurnId>,
    ) -> Result<()> {
        let now_ms = self.now.wall_ms;
        let expires_ms = now_ms.saturating_add(ms(self.rules.dedup_window_ms)).min(NEVER_MS - 1);
        self.execute(
            "INSERT INTO dedup (key, content, turn_id, turn_nonce, accepted_at_ms, expires_at_ms)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT (key, content) DO UPDATE
               SET turn_id = coalesce(?3, turn_id), turn_nonce = coalesce(?4, turn_nonce)",
            (
                key,
                content,
                turn.map(|turn| turn.number),
                turn.map(|turn| turn.nonce.cast_signed()),
                now_ms,
                expires_ms,
            ),
        )?;
        Ok(())
    }

    fn accept_abort(
        &mut self,
        channel_id: i64,
        channel: &ChannelName,
        request: &AbortRequest,
    ) -> Result<AcceptedEvent> {
        let key = key(channel, &request.conversation, &request.external_id, EventKind::Abort)?;
        // A stop has no content of its own: the same id is the same stop.
        if !self.known(&key)?.is_empty() {
            let sql = "SELECT stopped FROM dedup WHERE key = ?1 AND content = ?2";
            let first: Option<Option<String>> = self.one(sql, (&key, NO_CONTENT), |r| r.get(0))?;
            let stopped = first.flatten().map_or(Ok(Vec::new()), |text| from_json(&text))?;
            return Ok(AcceptedEvent::Abort { stopped, again: true });
        }
        self.remember(&key, &NO_CONTENT, None)?;
        let (conversation, _, _) = self.conversation(channel_id, &request.conversation)?;
        let by = format!("{} in {channel}", request.sender.id);
        let rules = self.channels.by_id.get(&channel_id);
        let all = rules.is_some_and(|rules| rules.on_abort == AbortReach::All);
        let stopped = self.abort_conversation(conversation, all, &by)?;
        if !stopped.is_empty() {
            let sql = "UPDATE dedup SET stopped = ?3 WHERE key = ?1 AND content = ?2";
            self.execute(sql, (&key, NO_CONTENT, to_json(&stopped)?))?;
        }
        Ok(AcceptedEvent::Abort { stopped, again: false })
    }
}

pub(super) fn key(
    channel: &ChannelName,
    conversation: &str,
    external_id: &str,
    kind: EventKind,
) -> Result<Vec<u8>> {
    dedup::key(channel, conversation, external_id, kind)
        .map(|key| key.0[..KEY_BYTES].to_vec())
        .map_err(|e| StoreError::Invalid(e.to_string()))
}

/// A digest as the rows have it.
pub(super) fn stored(digest: &ContentDigest) -> Vec<u8> {
    digest.0[..KEY_BYTES].to_vec()
}

pub(super) fn message_content(message: &InboundMessage) -> Vec<u8> {
    stored(&dedup::message_content(message))
}

/// Contents that an id has had, as far as they count against their limit.
pub(super) fn contents_of(known: &[Known]) -> usize {
    known.iter().filter(|known| known.content != NO_CONTENT).count()
}

pub(super) fn used_too_often(what: &str) -> AcceptedEvent {
    let sentence = format!(
        "the platform used one id for more than {CONTENTS_PER_KEY_MAX} different contents of a \
         {what}; this one is not accepted"
    );
    AcceptedEvent::Refused { sentence }
}

/// The message of a turn's row, under the name that its conversation has now.
pub(super) fn read_message(payload: &str, conversation: &str) -> Result<InboundMessage> {
    let mut message: InboundMessage = from_json(payload)?;
    conversation.clone_into(&mut message.conversation);
    Ok(message)
}
