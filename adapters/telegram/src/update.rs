//! The documents of the Bot API that are read: an update, and what stands in it. Fields that are not
//! used are left out; a field of another kind than expected makes the update unreadable.

use lastword_sdk::prelude::*;
use serde::Deserialize;

/// What is asked for. Reactions come only where they are named.
pub(crate) const KINDS: [&str; 5] =
    ["message", "edited_message", "callback_query", "message_reaction", "my_chat_member"];

#[derive(Deserialize)]
pub(crate) struct Update {
    pub(crate) update_id: i64,
    pub(crate) message: Option<Message>,
    pub(crate) edited_message: Option<Message>,
    pub(crate) callback_query: Option<CallbackQuery>,
    pub(crate) message_reaction: Option<Reaction>,
    pub(crate) my_chat_member: Option<Membership>,
}

impl Update {
    /// Reads an update. One that nobody can read is left out, with a line in the log: it must not
    /// hold up those behind it.
    pub(crate) fn read(value: Value) -> Option<Update> {
        let id = id(&value).unwrap_or_default().to_string();
        match serde_json::from_value(value) {
            Ok(update) => Some(update),
            Err(_) => {
                log::warn("an update was left out: it is not readable", &[("update", &id)]);
                None
            }
        }
    }
}

/// The number of an update, also of one that cannot be read otherwise.
pub(crate) fn id(value: &Value) -> Option<i64> {
    value.get("update_id").and_then(Value::as_i64)
}

#[derive(Deserialize)]
pub(crate) struct Message {
    pub(crate) message_id: i64,
    pub(crate) message_thread_id: Option<i64>,
    #[serde(default)]
    pub(crate) is_topic_message: bool,
    pub(crate) from: Option<User>,
    pub(crate) sender_chat: Option<Chat>,
    pub(crate) chat: Chat,
    pub(crate) date: Option<u64>,
    pub(crate) text: Option<String>,
    #[serde(default)]
    pub(crate) entities: Vec<Entity>,
    pub(crate) caption: Option<String>,
    #[serde(default)]
    pub(crate) caption_entities: Vec<Entity>,
    pub(crate) media_group_id: Option<String>,
    pub(crate) reply_to_message: Option<Box<Answered>>,
    pub(crate) photo: Option<Vec<File>>,
    pub(crate) animation: Option<File>,
    pub(crate) document: Option<File>,
    pub(crate) audio: Option<File>,
    pub(crate) video: Option<File>,
    pub(crate) video_note: Option<File>,
    pub(crate) voice: Option<File>,
    pub(crate) sticker: Option<Sticker>,
    pub(crate) location: Option<Location>,
    pub(crate) venue: Option<Venue>,
    pub(crate) contact: Option<Contact>,
    #[serde(default)]
    pub(crate) new_chat_members: Vec<User>,
    pub(crate) left_chat_member: Option<User>,
    pub(crate) migrate_to_chat_id: Option<i64>,
}

/// The message that another one answers.
#[derive(Deserialize)]
pub(crate) struct Answered {
    pub(crate) message_id: i64,
    pub(crate) from: Option<User>,
}

#[derive(Deserialize)]
pub(crate) struct User {
    pub(crate) id: i64,
    #[serde(default)]
    pub(crate) is_bot: bool,
    #[serde(default)]
    pub(crate) first_name: String,
    pub(crate) last_name: Option<String>,
    pub(crate) username: Option<String>,
    pub(crate) language_code: Option<String>,
}

#[derive(Deserialize)]
pub(crate) struct Chat {
    pub(crate) id: i64,
    #[serde(rename = "type")]
    pub(crate) kind: String,
    pub(crate) title: Option<String>,
    pub(crate) username: Option<String>,
}

/// A piece of a text that means more than its letters. Counted in UTF-16 units.
#[derive(Deserialize)]
pub(crate) struct Entity {
    #[serde(rename = "type")]
    pub(crate) kind: String,
    pub(crate) offset: usize,
    pub(crate) length: usize,
    pub(crate) user: Option<User>,
}

#[derive(Deserialize)]
pub(crate) struct File {
    pub(crate) file_id: String,
    pub(crate) file_size: Option<u64>,
    pub(crate) file_name: Option<String>,
    pub(crate) mime_type: Option<String>,
}

#[derive(Deserialize)]
pub(crate) struct Sticker {
    pub(crate) file_id: String,
    pub(crate) file_size: Option<u64>,
    pub(crate) emoji: Option<String>,
    #[serde(default)]
    pub(crate) is_animated: bool,
    #[serde(default)]
    pub(crate) is_video: bool,
}

#[derive(Deserialize)]
pub(crate) struct Location {
    pub(crate) latitude: f64,
    pub(crate) longitude: f64,
}

#[derive(Deserialize)]
pub(crate) struct Venue {
    pub(crate) title: String,
    #[serde(default)]
    pub(crate) address: String,
}

#[derive(Deserialize)]
pub(crate) struct Contact {
    pub(crate) phone_number: String,
    #[serde(default)]
    pub(crate) first_name: String,
    pub(crate) last_name: Option<String>,
}

/// A button was pressed.
#[derive(Deserialize)]
pub(crate) struct CallbackQuery {
    pub(crate) id: String,
    pub(crate) from: User,
    /// The message that the button stands on; only its place where it is too old to be shown.
    pub(crate) message: Option<Pressed>,
    pub(crate) data: Option<String>,
}

#[derive(Deserialize)]
pub(crate) struct Pressed {
    pub(crate) message_id: i64,
    pub(crate) message_thread_id: Option<i64>,
    #[serde(default)]
    pub(crate) is_topic_message: bool,
    pub(crate) chat: Chat,
}

#[derive(Deserialize)]
pub(crate) struct Reaction {
    pub(crate) chat: Chat,
    pub(crate) message_id: i64,
    pub(crate) user: Option<User>,
    #[serde(default)]
    pub(crate) new_reaction: Vec<ReactionKind>,
}

#[derive(Deserialize)]
pub(crate) struct ReactionKind {
    pub(crate) emoji: Option<String>,
}

/// What the bot may do in a chat has changed: it was let in, put out, or blocked.
#[derive(Deserialize)]
pub(crate) struct Membership {
    pub(crate) chat: Chat,
    pub(crate) from: User,
    pub(crate) new_chat_member: Member,
}

#[derive(Deserialize)]
pub(crate) struct Member {
    pub(crate) status: String,
}
