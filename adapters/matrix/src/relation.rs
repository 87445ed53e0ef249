//! `m.relates_to`: what an event is an edit of, an answer to, or a part of.

use lastword_sdk::prelude::*;

use crate::api;

#[derive(Default)]
pub(crate) struct Relation {
    /// The message that this one is an edit of.
    pub(crate) replaces: Option<String>,
    /// The root of the thread that it stands in.
    pub(crate) thread: Option<String>,
    /// The message that it answers.
    pub(crate) reply_to: Option<String>,
    /// The message that it is a reaction to, and what it shows.
    pub(crate) annotates: Option<(String, String)>,
}

impl Relation {
    pub(crate) fn of(content: &Value) -> Relation {
        let mut relation = Relation::default();
        let Some(relates) = content.get("m.relates_to") else { return relation };
        let id = |value: &Value| {
            let id = text(value, "event_id")?;
            (1..=api::ID_BYTES_MAX).contains(&id.len()).then(|| id.to_owned())
        };
        match text(relates, "rel_type") {
            Some("m.replace") => relation.replaces = id(relates),
            Some("m.thread") => relation.thread = id(relates),
            Some("m.annotation") => {
                let key = text(relates, "key").unwrap_or_default().to_owned();
                relation.annotates = id(relates).map(|id| (id, key));
            }
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

/// A reply of an older client quotes what it answers, in lines that begin with `>`, up to an empty
/// one.
pub(crate) fn without_quotation(body: &str) -> &str {
    let mut rest = body;
    while let Some(quoted) = rest.strip_prefix('>') {
        match quoted.split_once('\n') {
            Some((_, after)) => rest = after,
            None => return body,
        }
    }
    if rest.len() == body.len() { body } else { rest.strip_prefix('\n').unwrap_or(rest) }
}

pub(crate) fn text<'a>(value: &'a Value, name: &str) -> Option<&'a str> {
    value.get(name).and_then(Value::as_str)
}
