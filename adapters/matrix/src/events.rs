//! From the events of a room to those of the contract.

use lastword_sdk::message::OtherEvent;
use lastword_sdk::prelude::*;

use crate::api::{self, Event};
use crate::members::Members;

/// The kinds that are asked for; everything else is filtered out at the homeserver.
pub(crate) const KINDS: [&str; 3] = ["m.room.message", "m.room.redaction", "m.room.encrypted"];

const STOP_WORDS: [&str; 1] = ["!stop"];

/// What stays the same over a poll.
pub(crate) struct Reader {
    me: String,
    members: Members,
    stop_words: Vec<String>,
}

impl Reader {
    pub(crate) fn new(me: String, members: Members) -> Result<Reader, CallError> {
        let default = STOP_WORDS.map(str::to_owned).to_vec();
        Ok(Reader { me, members, stop_words: settings::get_or("stop_words", default)? })
    }

    /// Reads the events of a room, in their order.
    pub(crate) fn read(&self, room: &str, events: Vec<Value>) -> Vec<InboundEvent> {
        let audience = self.members.audience(room);
        let events = api::readable(room, events).into_iter();
        events.filter_map(|event| self.event(room, audience, event)).collect()
    }

    /// Reads an event of a room. None where there is nothing to tell: our own words, notices (which
    /// bots say, and bots must not answer), what has been taken back meanwhile.
    fn event(&self, room: &str, audience: Audience, event: Event) -> Option<InboundEvent> {
        if event.sender == self.me || event.state_key.is_some() {
            return None;
        }
        match event.kind.as_str() {
            "m.room.message" => self.message(room, audience, event),
            "m.room.redaction" => {
                let external_id =
                    event.redacts.or_else(|| text(&event.content, "redacts").map(str::to_owned))?;
                let conversation = room.to_owned();
                Some(InboundEvent::Deleted(Deletion { conversation, external_id }))
            }
            "m.room.encrypted" => Some(InboundEvent::Other(OtherEvent {
                external_id: event.event_id,
                kind: "matrix.encrypted".to_owned(),
                conversation: Some(room.to_owned()),
                sender: Some(Sender::new(event.sender)),
                extras: Vec::new(),
            })),
            _ => None,
        }
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
        let body = text(content, "body").unwrap_or_default();
        let body = if relation.reply_to.is_some() { without_quotation(body) } else { body };
        let sender = Sender::new(event.sender);
        if !edited && self.stop_words.iter().any(|word| body.trim().eq_ignore_ascii_case(word)) {
            return Some(InboundEvent::Abort(AbortRequest {
                external_id: event.event_id,
                conversation: room.to_owned(),
                context: relation.thread,
                sender,
            }));
        }
        let external_id = relation.replaces.unwrap_or(event.event_id);
        let mut message = InboundMessage::new(external_id, room, sender, body);
        if let Some(file) = attachment(kind, content) {
            // The body of a file is its name, unless it has both: then it is what is said of it.
            if text(content, "filename").is_none_or(|name| name == body) {
                message.text.clear();
            }
            message.attachments.push(file);
        }
        message.audience = audience;
        message.context = relation.thread;
        message.sent_at_ms = event.origin_server_ts;
        message.reply_to = relation.reply_to;
        Some(if edited { InboundEvent::Edited(message) } else { InboundEvent::Message(message) })
    }
}

/// `m.relates_to`.
#[derive(Default)]
struct Relation {
    /// The message that this one is an edit of.
    replaces: Option<String>,
    /// The root of the thread that it stands in.
    thread: Option<String>,
    /// The message that it answers.
    reply_to: Option<String>,
}

impl Relation {
    fn of(content: &Value) -> Relation {
        let mut relation = Relation::default();
        let Some(relates) = content.get("m.relates_to") else { return relation };
        let id = |value: &Value| {
            let id = text(value, "event_id")?;
            (1..=api::ID_BYTES_MAX).contains(&id.len()).then(|| id.to_owned())
        };
        match text(relates, "rel_type") {
            Some("m.replace") => relation.replaces = id(relates),
            Some("m.thread") => relation.thread = id(relates),
            Some(_) | None => {}
        }
        // Within a thread, the reply of a client that knows no threads is no answer to anything.
        let is_fallback =
            relates.get("is_falling_back").and_then(Value::as_bool).unwrap_or_default();
        if !is_fallback {
            relation.reply_to = relates.get("m.in_reply_to").and_then(id);
        }
        relation
    }
}

fn attachment(kind: &str, content: &Value) -> Option<Attachment> {
    if !matches!(kind, "m.image" | "m.file" | "m.audio" | "m.video") {
        return None;
    }
    let info = content.get("info").unwrap_or(&Value::Null);
    let name = text(content, "filename").or_else(|| text(content, "body"));
    let media_type = text(info, "mimetype").unwrap_or("application/octet-stream");
    Some(Attachment {
        name: name.map(str::to_owned),
        media_type: media_type.to_owned(),
        size_bytes: info.get("size").and_then(Value::as_u64),
        source: AttachmentSource::Remote(text(content, "url").unwrap_or_default().to_owned()),
    })
}

/// A reply of an older client quotes what it answers, in lines that begin with `>`, up to an empty
/// one.
fn without_quotation(body: &str) -> &str {
    let mut rest = body;
    while let Some(quoted) = rest.strip_prefix('>') {
        match quoted.split_once('\n') {
            Some((_, after)) => rest = after,
            None => return body,
        }
    }
    if rest.len() == body.len() { body } else { rest.strip_prefix('\n').unwrap_or(rest) }
}

fn text<'a>(value: &'a Value, name: &str) -> Option<&'a str> {
    value.get(name).and_then(Value::as_str)
}
