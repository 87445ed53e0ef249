//! What in a message is meant for us: who wakes us in a group, and what stops us.

use lastword_sdk::prelude::*;

use crate::entities;
use crate::identity::Me;
use crate::update::{Entity, Message};

const STOP_WORDS: [&str; 3] = ["/stop", "!stop", "stop"];

/// What wakes us in a group. Between two, every message does.
#[derive(serde::Deserialize, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum GroupWake {
    /// A mention, a command, and an answer to what we said. The rest is context.
    Mention,
    Always,
}

pub(crate) struct Policy {
    group: GroupWake,
    stop_words: Vec<String>,
}

impl Policy {
    pub(crate) fn load() -> Result<Policy, CallError> {
        let words = STOP_WORDS.map(str::to_owned).to_vec();
        Ok(Policy {
            group: settings::get_or("group_wake", GroupWake::Mention)?,
            stop_words: settings::get_or("stop_words", words)?,
        })
    }

    /// Whether a text is a stop word and nothing else, but for our name behind a command or in
    /// front.
    pub(crate) fn stops(&self, me: &Me, text: &str) -> bool {
        let text = text.trim();
        let name = format!("@{}", me.username);
        let behind = strip_end(text, &name);
        let bare = strip_start(text, &name).trim_start();
        self.stop_words.iter().any(|word| {
            [text, behind, bare].iter().any(|candidate| candidate.eq_ignore_ascii_case(word))
        })
    }

    pub(crate) fn wakes(&self, me: &Me, audience: Audience, message: &Message) -> bool {
        match (self.group, audience) {
            (GroupWake::Always, _) | (_, Audience::Direct | Audience::Unknown) => true,
            (GroupWake::Mention, Audience::Group) => {
                answers(me, message)
                    || mentions(me, message.text.as_deref(), &message.entities)
                    || mentions(me, message.caption.as_deref(), &message.caption_entities)
            }
        }
    }
}

fn answers(me: &Me, message: &Message) -> bool {
    let answered = message.reply_to_message.as_ref();
    answered.and_then(|it| it.from.as_ref()).is_some_and(|from| from.id == me.id)
}

/// A command that names no bot is for every bot of the group.
fn mentions(me: &Me, text: Option<&str>, entities: &[Entity]) -> bool {
    let text = text.unwrap_or_default();
    let is_me = |name: &str| name.eq_ignore_ascii_case(&me.username);
    entities.iter().any(|entity| match entity.kind.as_str() {
        "mention" => entities::piece(text, entity)
            .and_then(|piece| piece.strip_prefix('@'))
            .is_some_and(is_me),
        "text_mention" => entity.user.as_ref().is_some_and(|user| user.id == me.id),
        "bot_command" => entities::piece(text, entity)
            .is_some_and(|piece| piece.split_once('@').is_none_or(|(_, name)| is_me(name))),
        _ => false,
    })
}

fn strip_end<'t>(text: &'t str, name: &str) -> &'t str {
    let at = text.len().saturating_sub(name.len());
    match text.get(at..) {
        Some(end) if end.eq_ignore_ascii_case(name) => text.get(..at).unwrap_or(text),
        Some(_) | None => text,
    }
}

fn strip_start<'t>(text: &'t str, name: &str) -> &'t str {
    match text.get(..name.len()) {
        Some(start) if start.eq_ignore_ascii_case(name) => text.get(name.len()..).unwrap_or(text),
        Some(_) | None => text,
    }
}
