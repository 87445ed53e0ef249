//! What a handler says: one JSON object per line, read strictly.
//!
//! Nothing is guessed: an object without a known `type` is never taken for a final reply. Faults
//! say what is wrong with a line and never quote it, because it may hold message text; hence the
//! objects are taken apart by hand, since serde's own errors quote values.

use serde_json::{Map, Value};

use crate::lifecycle::files::{OfferedFile, OfferedSource};
use crate::lifecycle::id::BlobId;
use crate::lifecycle::message::{Extras, Reply, TextFormat};

/// Extras of one event, at most (contract, `extras`).
pub const EXTRAS_PAIRS_MAX: usize = 64;
/// Bytes of all keys and values of one event's extras, at most (contract, `extras`).
pub const EXTRAS_BYTES_MAX: usize = 16 * 1024;
/// Files of one event, at most.
pub const FILES_MAX: usize = 100;
/// Characters kept of the handler's own reason for failing.
pub const REASON_CHARS_MAX: usize = 500;

/// One event from a handler.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HandlerEvent {
    /// What a tool did: progress, never decides the turn.
    Tool(Reply),
    /// A piece of the answer ahead of the rest: progress, never decides the turn.
    Block(Reply),
    /// The last word: completes the turn.
    Final(Reply),
    /// No reply, on purpose: ends the turn.
    Silent,
    /// This try failed, in the handler's words (cleaned by [`clean_reason`]).
    Fail { reason: String, retry: AskedRetry },
    /// A sign of life.
    Heartbeat,
}

/// What a handler that failed asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AskedRetry {
    /// Another try may do better.
    Again,
    /// No try will ever do better: the turn is `failed` at once.
    Never,
}

impl HandlerEvent {
    /// Whether nothing that comes after this event can count.
    #[must_use]
    pub fn decides(&self) -> bool {
        match self {
            Self::Final(_) | Self::Silent | Self::Fail { .. } => true,
            Self::Tool(_) | Self::Block(_) | Self::Heartbeat => false,
        }
    }

    /// Bytes of text that it carries, as the output cap counts them.
    #[must_use]
    pub fn payload_bytes(&self) -> usize {
        match self {
            Self::Tool(reply) | Self::Block(reply) | Self::Final(reply) => {
                let extras: usize = reply.extras.iter().map(|(k, v)| k.len() + v.len()).sum();
                let files: usize = reply.offered.iter().map(offered_bytes).sum();
                reply.text.len() + extras + files
            }
            Self::Fail { reason, .. } => reason.len(),
            Self::Silent | Self::Heartbeat => 0,
        }
    }
}

fn offered_bytes(file: &OfferedFile) -> usize {
    let path = match &file.source {
        OfferedSource::Path(path) => path.len(),
        OfferedSource::Uploaded(_) => 0,
    };
    let words = [&file.name, &file.media_type].into_iter().flatten();
    path + words.map(String::len).sum::<usize>()
}

/// Reads one line. The error is the second half of a sentence whose first half names the line.
///
/// # Errors
/// What is wrong with the line, without any of its text.
pub fn parse_line(line: &[u8]) -> Result<HandlerEvent, &'static str> {
    match serde_json::from_slice(line) {
        Ok(Value::Object(object)) => from_object(object),
        Ok(_) => Err("is JSON, but no object"),
        Err(_) => Err("is no JSON object"),
    }
}

/// Reads one event that is already JSON.
///
/// # Errors
/// As [`parse_line`].
pub fn from_value(value: Value) -> Result<HandlerEvent, &'static str> {
    match value {
        Value::Object(object) => from_object(object),
        _ => Err("is JSON, but no object"),
    }
}

fn from_object(mut object: Map<String, Value>) -> Result<HandlerEvent, &'static str> {
    let kind = match object.remove("type") {
        Some(Value::String(kind)) => kind,
        Some(_) => return Err("has a \"type\" that is no text"),
        None => return Err("has no \"type\"; a missing one never means \"final\""),
    };
    match kind.as_str() {
        "tool" => Ok(HandlerEvent::Tool(reply(object)?)),
        "block" => Ok(HandlerEvent::Block(reply(object)?)),
        "final" => Ok(HandlerEvent::Final(reply(object)?)),
        "silent" => Ok(HandlerEvent::Silent),
        "heartbeat" => Ok(HandlerEvent::Heartbeat),
        "fail" => fail(object),
        _ => Err("has a \"type\" that is none of tool, block, final, silent, fail, heartbeat"),
    }
}

fn reply(mut object: Map<String, Value>) -> Result<Reply, &'static str> {
    let text = match object.remove("text") {
        Some(Value::String(text)) => text,
        None | Some(Value::Null) => String::new(),
        Some(_) => return Err("has a \"text\" that is no text"),
    };
    let format = match object.remove("format") {
        None | Some(Value::Null) => TextFormat::Plain,
        Some(Value::String(word)) if word == "plain" => TextFormat::Plain,
        Some(Value::String(word)) if word == "markdown" => TextFormat::Markdown,
        Some(_) => return Err("has a \"format\" that is neither \"plain\" nor \"markdown\""),
    };
    let extras = match object.remove("extras") {
        None | Some(Value::Null) => Extras::new(),
        Some(value) => extras(value)?,
    };
    let offered = match object.remove("files") {
        None | Some(Value::Null) => Vec::new(),
        Some(value) => files(value)?,
    };
    Ok(Reply { text, format, extras, offered, ..Reply::default() })
}

/// Both the pairs of the contract and a plain object are taken: people write the second.
fn extras(value: Value) -> Result<Extras, &'static str> {
    const FORM: &str = "has \"extras\" that are neither an object of texts nor pairs of texts";
    let pairs: Extras = match value {
        Value::Object(object) => object
            .into_iter()
            .map(|(key, value)| match value {
                Value::String(text) => Ok((key, text)),
                _ => Err(FORM),
            })
            .collect::<Result<_, _>>()?,
        Value::Array(_) => serde_json::from_value(value).map_err(|_| FORM)?,
        _ => return Err(FORM),
    };
    let bytes: usize = pairs.iter().map(|(key, value)| key.len() + value.len()).sum();
    if pairs.len() > EXTRAS_PAIRS_MAX || bytes > EXTRAS_BYTES_MAX {
        return Err("has \"extras\" of more than 64 pairs or 16 KiB");
    }
    Ok(pairs)
}

fn files(value: Value) -> Result<Vec<OfferedFile>, &'static str> {
    let Value::Array(list) = value else { return Err("has \"files\" that are no list") };
    if list.len() > FILES_MAX {
        return Err("has more than 100 \"files\"");
    }
    list.into_iter().map(file).collect()
}

fn file(value: Value) -> Result<OfferedFile, &'static str> {
    const FORM: &str = "has one of \"files\" that is no object with a \"path\", or with the \"id\" \
                        or \"url\" that an upload gave";
    let Value::Object(mut object) = value else { return Err(FORM) };
    let mut text = |name: &str| match object.remove(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(FORM),
    };
    let (path, id, url) = (text("path")?, text("id")?, text("url")?);
    let (name, media_type) = (text("name")?, text("media_type")?);
    let source = match (path, id, url) {
        (Some(path), None, None) => OfferedSource::Path(path),
        (None, Some(id), _) => OfferedSource::Uploaded(id.parse().map_err(|_| FORM)?),
        (None, None, Some(url)) => OfferedSource::Uploaded(uploaded(&url).ok_or(FORM)?),
        _ => return Err(FORM),
    };
    Ok(OfferedFile { source, name, media_type })
}

/// The id in the address that an upload gave. Of other addresses nothing is fetched.
fn uploaded(url: &str) -> Option<BlobId> {
    let path = url.split(['?', '#']).next()?;
    let (before, id) = path.rsplit_once('/')?;
    before.ends_with("/v1/files").then(|| id.parse().ok()).flatten()
}

fn fail(mut object: Map<String, Value>) -> Result<HandlerEvent, &'static str> {
    let reason = match object.remove("reason") {
        Some(Value::String(reason)) => clean_reason(&reason),
        None | Some(Value::Null) => clean_reason(""),
        Some(_) => return Err("has a \"reason\" that is no text"),
    };
    let retry = match object.remove("retry") {
        // A handler that does not say has met an accident: the tries bound what that costs.
        None | Some(Value::Null | Value::Bool(true)) => AskedRetry::Again,
        Some(Value::Bool(false)) => AskedRetry::Never,
        Some(_) => return Err("has a \"retry\" that is neither true nor false"),
    };
    Ok(HandlerEvent::Fail { reason, retry })
}

/// A reason fit for rows, lists and terminals: one line, no control characters, bounded.
#[must_use]
pub fn clean_reason(reason: &str) -> String {
    let mut clean: String = reason
        .chars()
        .take(REASON_CHARS_MAX)
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    clean.truncate(clean.trim_end().len());
    if clean.is_empty() { "the handler gave no reason".to_owned() } else { clean }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<HandlerEvent, &'static str> {
        parse_line(line.as_bytes())
    }

    #[test]
    fn every_kind_of_event_is_read_with_its_defaults() {
        let reply = |text: &str| Reply { text: text.to_owned(), ..Reply::default() };
        assert_eq!(parse(r#"{"type":"tool","text":"a"}"#), Ok(HandlerEvent::Tool(reply("a"))));
        assert_eq!(parse(r#"{"type":"block","text":"b"}"#), Ok(HandlerEvent::Block(reply("b"))));
        let rich = r#"{"type":"final","text":"c","format":"markdown","extras":[["k","v"]],"x":1}"#;
        let expected = Reply {
            text: "c".to_owned(),
            format: TextFormat::Markdown,
            extras: vec![("k".to_owned(), "v".to_owned())],
            ..Reply::default()
        };
        assert_eq!(parse(rich), Ok(HandlerEvent::Final(expected.clone())));
        let object = r#"{"type":"final","text":"c","format":"markdown","extras":{"k":"v"}}"#;
        assert_eq!(parse(object), Ok(HandlerEvent::Final(expected)));
        assert_eq!(parse(r#"{"type":"silent"}"#), Ok(HandlerEvent::Silent));
        assert_eq!(parse(r#"{"type":"heartbeat"}"#), Ok(HandlerEvent::Heartbeat));
        let fail = |reason: &str, retry| HandlerEvent::Fail { reason: reason.to_owned(), retry };
        let line = r#"{"type":"fail","reason":"no\nmodel","retry":false}"#;
        assert_eq!(parse(line), Ok(fail("no model", AskedRetry::Never)));
        let unsaid = fail("the handler gave no reason", AskedRetry::Again);
        assert_eq!(parse(r#"{"type":"fail"}"#), Ok(unsaid));
    }

    #[test]
    fn a_line_of_no_known_kind_is_an_error_and_never_a_final() {
        for line in [
            r#"{"text":"hello"}"#,
            r#"{"type":"finall","text":"hello"}"#,
            r#"{"type":null,"text":"hello"}"#,
            r#"{"Type":"final","text":"hello"}"#,
            "hello",
            "\"final\"",
            "[]",
            r#"{"type":"final","text":"hello""#,
            r#"{"type":"final","text":"hello"} {"type":"silent"}"#,
            r#"{"type":"final","text":7}"#,
            r#"{"type":"final","text":"hello","format":"html"}"#,
            r#"{"type":"final","text":"hello","extras":{"hello":1}}"#,
            r#"{"type":"final","text":"hello","extras":[["hello"]]}"#,
            r#"{"type":"fail","retry":"hello"}"#,
        ] {
            let error = parse(line).unwrap_err();
            assert!(!error.contains("hello"), "{line}: {error}");
        }
        assert!(parse_line(b"{\"type\":\"final\",\"text\":\"\xff\"}").is_err());
    }

    #[test]
    fn extras_over_the_contracts_caps_are_refused() {
        let pairs: Vec<_> = (0..65).map(|n| (n.to_string(), String::new())).collect();
        let many = serde_json::json!({"type": "final", "text": "a", "extras": pairs});
        assert!(from_value(many).is_err());
        let long = "x".repeat(EXTRAS_BYTES_MAX);
        let long = serde_json::json!({"type": "final", "text": "a", "extras": {"k": long}});
        assert!(from_value(long).is_err());
    }

    #[test]
    fn a_deeply_nested_line_is_an_error_and_no_overflow() {
        let line = format!(r#"{{"type":"final","extras":{}"#, "[".repeat(200_000));
        assert!(parse(&line).is_err());
    }
}
