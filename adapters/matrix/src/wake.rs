//! What in a message is meant for us: who wakes us in a group, and what stops us.

use lastword_sdk::prelude::*;

use crate::known::{Fact, KnownEvents};

const STOP_WORDS: [&str; 3] = ["!stop", "/stop", "stop"];

/// What wakes us in a group. Between two, every message does.
#[derive(serde::Deserialize, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum GroupWake {
    /// A mention, and a reply to what we said. The rest is context.
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

    /// Whether a text is a stop word and nothing else, but for our name in front.
    pub(crate) fn stops(&self, me: &str, text: &str) -> bool {
        let text = text.trim();
        let bare = addressed(me, text).unwrap_or(text);
        self.stop_words.iter().any(|word| {
            // As it stands, since a word may begin as a name does.
            text.eq_ignore_ascii_case(word) || bare.eq_ignore_ascii_case(word)
        })
    }

    /// Whether a message wakes us. Where nobody can tell whose message it answers, it does: better
    /// one answer too many than silence.
    pub(crate) fn wakes(
        &self,
        me: &str,
        audience: Audience,
        content: &Value,
        answers: Option<(&KnownEvents, &str, &str)>,
    ) -> bool {
        let is_for_all = match (self.group, audience) {
            (GroupWake::Always, _) | (_, Audience::Direct | Audience::Unknown) => true,
            (GroupWake::Mention, Audience::Group) => false,
        };
        is_for_all
            || mentions(me, content)
            || answers.is_some_and(|(known, room, event)| match known.find(room, event) {
                Fact::Known(origin) => origin.sender == me,
                Fact::Hidden => false,
                Fact::Unclear => true,
            })
    }
}

/// By `m.mentions` where the sender's client knows it; else by what older clients write.
fn mentions(me: &str, content: &Value) -> bool {
    if let Some(mentions) = content.get("m.mentions").filter(|value| value.is_object()) {
        let ids = mentions.get("user_ids").and_then(Value::as_array);
        return ids.is_some_and(|ids| ids.iter().any(|id| id.as_str() == Some(me)));
    }
    let text = |name| content.get(name).and_then(Value::as_str).unwrap_or_default();
    let form = text("formatted_body");
    let encoded = me.replace('@', "%40").replace(':', "%3A");
    let links = [me, encoded.as_str()].map(|id| format!("https://matrix.to/#/{id}\""));
    text("body").contains(me)
        || addressed(me, text("body")).is_some()
        || links.iter().any(|link| form.contains(link.as_str()))
}

/// What follows our name at the start of a text, as in `bot: do this`.
fn addressed<'t>(me: &str, text: &'t str) -> Option<&'t str> {
    let local = me.strip_prefix('@')?.split(':').next()?;
    let bare = text.strip_prefix('@').unwrap_or(text);
    let rest = text.strip_prefix(me).or_else(|| {
        let start = bare.get(..local.len())?;
        start.eq_ignore_ascii_case(local).then(|| bare.get(local.len()..)).flatten()
    })?;
    Some(rest.strip_prefix([':', ','])?.trim_start())
}
