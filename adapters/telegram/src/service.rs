//! Messages that nobody wrote, and messages whose words stand in fields of their own.

use lastword_sdk::message::OtherEvent;
use lastword_sdk::prelude::*;

use crate::events::person;
use crate::place::Spot;
use crate::update::Message;

/// What a message says that Telegram itself wrote. None where a person wrote it.
pub(crate) fn events(message: &Message) -> Option<Vec<InboundEvent>> {
    let other = |mark: &str, kind: &str, sender: Option<Sender>, extras| {
        InboundEvent::Other(OtherEvent {
            external_id: format!("{}{mark}", message.message_id),
            kind: kind.to_owned(),
            conversation: Some(Spot { chat: message.chat.id, topic: None }.name()),
            sender,
            extras,
        })
    };
    if !message.new_chat_members.is_empty() {
        let joined = |user| {
            let sender = person(user);
            other(&format!("-joined-{}", sender.id), "joined", Some(sender), Vec::new())
        };
        return Some(message.new_chat_members.iter().map(joined).collect());
    }
    if let Some(user) = &message.left_chat_member {
        return Some(vec![other("-left", "telegram.left", Some(person(user)), Vec::new())]);
    }
    if let Some(to) = message.migrate_to_chat_id {
        // Replies to the old name are told where to go when they are sent.
        let extras = vec![("conversation".to_owned(), to.to_string())];
        return Some(vec![other("-moved", "telegram.moved", None, extras)]);
    }
    None
}

/// Places and contacts, in words: an agent reads text.
pub(crate) fn in_words(message: &Message) -> Option<String> {
    if let (Some(venue), Some(at)) = (&message.venue, &message.location) {
        let (title, address) = (&venue.title, &venue.address);
        return Some(format!("Place: {title}, {address} ({}, {})", at.latitude, at.longitude));
    }
    if let Some(at) = &message.location {
        return Some(format!("Location: {}, {}", at.latitude, at.longitude));
    }
    if let Some(contact) = &message.contact {
        let last = contact.last_name.as_deref().unwrap_or_default();
        let name = format!("{} {last}", contact.first_name);
        return Some(format!("Contact: {}, {}", name.trim(), contact.phone_number));
    }
    None
}
