//! From the events of a room to those of the contract.

use lastword_sdk::message::OtherEvent;
use lastword_sdk::prelude::*;

use crate::api::{self, Event};
use crate::files;
use crate::known::{Fact, KnownEvents, Origin};
use crate::members::Members;
use crate::relation::{Relation, text, without_quotation};
use crate::wake::Policy;

/// The kinds that are asked for; everything else is filtered out at the homeserver.
pub(crate) const KINDS: [&str; 5] =
    ["m.room.message", "m.room.redaction", "m.room.encrypted", "m.reaction", "m.room.member"];

/// The longest reaction that is told.
const REACTION_CHARS_MAX: usize = 100;

/// What stays the same over a poll.
pub(crate) struct Reader {
    me: String,
    members: Members,
    policy: Policy,
    known: KnownEvents,
}

impl Reader {
    pub(crate) fn new(me: String, members: Members) -> Result<Reader, CallError> {
        Ok(Reader { me, members, policy: Policy::load()?, known: KnownEvents::default() })
    }

    pub(crate) fn me(&self) -> &str {
        &self.me
    }

    /// Reads the events of a room, in their order.
    pub(crate) fn read(&self, room: &str, events: Vec<Value>) -> Vec<InboundEvent> {
        let audience = self.members.audience(room);
        let events = api::readable(room, events);
        self.known.learn(&events);
        events.into_iter().filter_map(|event| self.event(room, audience, event)).collect()
    }

    /// Reads an event of a room. None where there is nothing to tell: our own words, notices (which
    /// bots say, and bots must not answer), what has been taken back meanwhile.
    fn event(&self, room: &str, audience: Audience, event: Event) -> Option<InboundEvent> {
        if event.kind == "m.room.member" {
            return self.joined(room, event);
        }
        if event.sender == self.me || event.state_key.is_some() {
            return None;
        }
        match event.kind.as_str() {
            "m.room.message" => self.message(room, audience, event),
            "m.room.redaction" => self.redaction(room, event),
            "m.reaction" => {
                let (on, key) = Relation::of(&event.content).annotates?;
                let key = key.chars().take(REACTION_CHARS_MAX).collect();
                let extras = vec![("key".to_owned(), key), ("on_message".to_owned(), on)];
                Some(other(room, event.event_id, "reaction", event.sender, extras))
            }
            "m.room.encrypted" => {
                Some(other(room, event.event_id, "matrix.encrypted", event.sender, Vec::new()))
            }
            _ => None,
        }
    }

    /// Somebody came in. A change of name or picture is a member event as well.
    fn joined(&self, room: &str, event: Event) -> Option<InboundEvent> {
        let was = event.unsigned.get("prev_content").and_then(|before| text(before, "membership"));
        let who = event.state_key.as_ref()?.as_str()?.to_owned();
        let is_new = text(&event.content, "membership") == Some("join") && was != Some("join");
        if !is_new || who == self.me || who.is_empty() || who.len() > api::ID_BYTES_MAX {
            return None;
        }
        Some(other(room, event.event_id, "joined", who, Vec::new()))
    }

    /// A message was taken back, or something else was: a reaction, or a message of ours.
    fn redaction(&self, room: &str, event: Event) -> Option<InboundEvent> {
        let id = event.redacts.or_else(|| text(&event.content, "redacts").map(str::to_owned))?;
        if !(1..=api::ID_BYTES_MAX).contains(&id.len()) {
            return None;
        }
        let kind = match self.known.find(room, &id) {
            Fact::Known(Origin { kind, .. }) if kind == "m.reaction" => "matrix.reaction_removed",
            Fact::Known(Origin { sender, .. }) if sender == self.me => "matrix.own_removed",
            Fact::Known(Origin { kind, .. }) if kind != "m.room.message" => return None,
            Fact::Known(_) | Fact::Hidden | Fact::Unclear => {
                let conversation = room.to_owned();
                return Some(InboundEvent::Deleted(Deletion { conversation, external_id: id }));
            }
        };
        let extras = vec![("removed".to_owned(), id)];
        Some(other(room, event.event_id, kind, event.sender, extras))
    }

    fn message(&self, room: &str, audience: Audience, event: Event) -> Option<InboundEvent> {
        let relation = Relation::of(&event.content);
        // An edit says the whole message anew, beside a text for clients that know no edits.
        let edited = relation.replaces.is_some();
        let content = if edited { event.content.get("m.new_content")? } else { &event.content };
        let kind = text(content, "msgtype")?;
        if kind == "m.notice" {
            return None;
        }
        if relation.replaces.as_ref().is_some_and(|id| !self.may_edit(room, id, &event.sender)) {
            return None;
        }
        let body = text(content, "body").unwrap_or_default();
        let body = if relation.reply_to.is_some() { without_quotation(body) } else { body };
        let sender = Sender::new(event.sender);
        if !edited && self.policy.stops(&self.me, body) {
            return Some(InboundEvent::Abort(AbortRequest {
                external_id: event.event_id,
                conversation: room.to_owned(),
                context: relation.thread,
                sender,
            }));
        }
        let external_id = relation.replaces.unwrap_or(event.event_id);
        let mut message = InboundMessage::new(external_id, room, sender, body);
        if let Some(file) = files::attachment(kind, content) {
            // The body of a file is its name, unless it has both: then it is what is said of it.
            if text(content, "filename").is_none_or(|name| name == body) {
                message.text.clear();
            }
            message.attachments.push(file);
        }
        let answers = relation.reply_to.as_deref().map(|id| (&self.known, room, id));
        message.wakes = self.policy.wakes(&self.me, audience, content, answers);
        message.audience = audience;
        message.context = relation.thread;
        message.sent_at_ms = event.origin_server_ts;
        message.reply_to = relation.reply_to;
        Some(if edited { InboundEvent::Edited(message) } else { InboundEvent::Message(message) })
    }

    /// Homeservers deliver edits of anybody's messages: only the author's count. Where nobody can
    /// tell, it is none.
    fn may_edit(&self, room: &str, id: &str, editor: &str) -> bool {
        let is_author = matches!(self.known.find(room, id),
            Fact::Known(origin) if origin.sender == editor);
        if !is_author {
            log::warn("an edit is left out: it is not its author's", &[("room", room)]);
        }
        is_author
    }
}

fn other(
    room: &str,
    external_id: String,
    kind: &str,
    sender: String,
    extras: Vec<(String, String)>,
) -> InboundEvent {
    InboundEvent::Other(OtherEvent {
        external_id,
        kind: kind.to_owned(),
        conversation: Some(room.to_owned()),
        sender: Some(Sender::new(sender)),
        extras,
    })
}
