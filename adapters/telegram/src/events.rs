//! Updates, turned into what the host knows.

use lastword_sdk::message::{Action, OtherEvent};
use lastword_sdk::prelude::*;

use crate::identity::{self, Me};
use crate::place::Spot;
use crate::update::{CallbackQuery, Chat, Membership, Message, Reaction, Update, User};
use crate::wake::Policy;
use crate::{files, service};

/// What is kept of a reaction's sign, of a button's data, and of other words of the platform.
const WORD_CHARS_MAX: usize = 256;

pub(crate) struct Reader {
    me: Me,
    policy: Policy,
}

impl Reader {
    pub(crate) fn load() -> Result<Reader, CallError> {
        Ok(Reader { me: identity::me()?, policy: Policy::load()? })
    }

    /// What an update says. An update of a kind that nobody asked for says nothing.
    pub(crate) fn read(&self, update: Update) -> Vec<InboundEvent> {
        let number = update.update_id;
        if let Some(message) = update.message {
            return self.message(message);
        }
        let event = if let Some(message) = update.edited_message {
            self.edited(message)
        } else if let Some(query) = update.callback_query {
            pressed(query)
        } else if let Some(reaction) = update.message_reaction {
            reacted(number, reaction)
        } else {
            update.my_chat_member.map(|membership| joined_or_left(number, membership))
        };
        event.into_iter().collect()
    }

    fn message(&self, message: Message) -> Vec<InboundEvent> {
        // What was said by us comes back from nowhere but a chat of our own making.
        if message.from.as_ref().is_some_and(|from| from.id == self.me.id) {
            return Vec::new();
        }
        if let Some(events) = service::events(&message) {
            return events;
        }
        let said = message.text.as_deref().unwrap_or_default();
        if self.policy.stops(&self.me, said) {
            return vec![InboundEvent::Abort(AbortRequest {
                external_id: message.message_id.to_string(),
                conversation: spot(&message).name(),
                context: None,
                sender: sender(&message),
            })];
        }
        self.inbound(message).map(InboundEvent::Message).into_iter().collect()
    }

    fn edited(&self, message: Message) -> Option<InboundEvent> {
        if message.from.as_ref().is_some_and(|from| from.id == self.me.id) {
            return None;
        }
        self.inbound(message).map(InboundEvent::Edited)
    }

    fn inbound(&self, message: Message) -> Option<InboundMessage> {
        let audience = audience(&message.chat);
        let attachments: Vec<Attachment> = files::of(&message).into_iter().collect();
        let words = message.text.as_deref().or(message.caption.as_deref());
        let text = words.map(str::to_owned).or_else(|| service::in_words(&message));
        if text.is_none() && attachments.is_empty() {
            return None;
        }
        let (id, place) = (message.message_id.to_string(), spot(&message).name());
        let mut inbound =
            InboundMessage::new(id, place, sender(&message), text.unwrap_or_default());
        inbound.wakes = self.policy.wakes(&self.me, audience, &message);
        inbound.audience = audience;
        inbound.attachments = attachments;
        inbound.sent_at_ms = message.date.map(|seconds| seconds.saturating_mul(1000));
        inbound.reply_to = answered(&message).map(|id| id.to_string());
        inbound.extras = extras(&message);
        inbound.group = message.media_group_id;
        Some(inbound)
    }
}

/// Where a message stands. Only topics of a forum are places of their own; a thread of answers in a
/// group is none.
fn spot(message: &Message) -> Spot {
    let topic = message.message_thread_id.filter(|_| message.is_topic_message);
    Spot { chat: message.chat.id, topic }
}

/// In a topic each message that answers nothing names the one that opened the topic.
fn answered(message: &Message) -> Option<i64> {
    let id = message.reply_to_message.as_ref()?.message_id;
    (spot(message).topic != Some(id)).then_some(id)
}

fn audience(chat: &Chat) -> Audience {
    match chat.kind.as_str() {
        "private" => Audience::Direct,
        "group" | "supergroup" | "channel" => Audience::Group,
        _ => Audience::Unknown,
    }
}

/// Who said it: a person, or a chat in whose name it was said.
fn sender(message: &Message) -> Sender {
    match (&message.sender_chat, &message.from) {
        (Some(chat), _) => {
            Sender { display_name: chat.title.clone(), ..Sender::new(chat.id.to_string()) }
        }
        (None, Some(user)) => person(user),
        (None, None) => Sender::new(message.chat.id.to_string()),
    }
}

pub(crate) fn person(user: &User) -> Sender {
    let names = [Some(user.first_name.as_str()), user.last_name.as_deref()];
    let name = names.into_iter().flatten().filter(|it| !it.is_empty()).collect::<Vec<_>>();
    Sender {
        id: user.id.to_string(),
        display_name: (!name.is_empty()).then(|| name.join(" ")),
        is_bot: user.is_bot,
    }
}

fn extras(message: &Message) -> Vec<(String, String)> {
    let user = message.from.as_ref();
    let pairs = [
        ("chat_type", Some(message.chat.kind.clone())),
        ("chat_title", message.chat.title.clone()),
        ("chat_username", message.chat.username.clone()),
        ("username", user.and_then(|user| user.username.clone())),
        ("language", user.and_then(|user| user.language_code.clone())),
        ("sticker", message.sticker.as_ref().and_then(|sticker| sticker.emoji.clone())),
    ];
    let kept = |(name, value): (&str, Option<String>)| Some((name.to_owned(), short(&value?)));
    pairs.into_iter().filter_map(kept).collect()
}

fn short(text: &str) -> String {
    text.chars().take(WORD_CHARS_MAX).collect()
}

fn pressed(query: CallbackQuery) -> Option<InboundEvent> {
    // A button of a message that was sent through another chat's window stands in no place of ours.
    let stands_on = query.message?;
    let topic = stands_on.message_thread_id.filter(|_| stands_on.is_topic_message);
    Some(InboundEvent::Action(Action {
        external_id: query.id,
        conversation: Spot { chat: stands_on.chat.id, topic }.name(),
        context: None,
        audience: audience(&stands_on.chat),
        sender: person(&query.from),
        name: "button".to_owned(),
        value: query.data.as_deref().map(short),
        on_message: Some(stands_on.message_id.to_string()),
        extras: Vec::new(),
    }))
}

fn reacted(number: i64, reaction: Reaction) -> Option<InboundEvent> {
    let signs: Vec<&str> =
        reaction.new_reaction.iter().filter_map(|kind| kind.emoji.as_deref()).collect();
    let kind = if signs.is_empty() { "telegram.reaction_removed" } else { "reaction" };
    let extras = vec![
        ("key".to_owned(), short(&signs.concat())),
        ("on_message".to_owned(), reaction.message_id.to_string()),
    ];
    let sender = reaction.user.as_ref().map(person)?;
    Some(other(number, kind, &reaction.chat, Some(sender), extras))
}

/// What the bot may do in a chat has changed.
fn joined_or_left(number: i64, membership: Membership) -> InboundEvent {
    let status = membership.new_chat_member.status;
    let kind = match (status.as_str(), membership.chat.kind.as_str()) {
        ("kicked", "private") => "telegram.blocked",
        ("left" | "kicked", _) => "telegram.removed",
        _ => "telegram.allowed",
    };
    let extras = vec![("status".to_owned(), short(&status))];
    other(number, kind, &membership.chat, Some(person(&membership.from)), extras)
}

fn other(
    number: i64,
    kind: &str,
    chat: &Chat,
    sender: Option<Sender>,
    extras: Vec<(String, String)>,
) -> InboundEvent {
    InboundEvent::Other(OtherEvent {
        external_id: format!("update-{number}"),
        kind: kind.to_owned(),
        conversation: Some(Spot { chat: chat.id, topic: None }.name()),
        sender,
        extras,
    })
}
