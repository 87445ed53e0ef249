//! What is compared: events with what the author expects of them, and the words of a request with
//! the words that were to be sent.

use percent_encoding::percent_decode_str;
use serde_json::Value;

use super::fixture::OutcomeWord;
use super::platform::Seen;
use crate::lifecycle::message::InboundEvent;
use crate::lifecycle::outcome::{SendAnswer, SendError};

/// An event as a fixture writes it: its fields, and its kind among them.
pub(super) fn flat(event: &InboundEvent) -> Value {
    let (kind, fields) = match event {
        InboundEvent::Message(it) => ("message", serde_json::to_value(it)),
        InboundEvent::Edited(it) => ("edited", serde_json::to_value(it)),
        InboundEvent::Deleted(it) => ("deleted", serde_json::to_value(it)),
        InboundEvent::Action(it) => ("action", serde_json::to_value(it)),
        InboundEvent::Abort(it) => ("abort", serde_json::to_value(it)),
        InboundEvent::Receipt(it) => ("receipt", serde_json::to_value(it)),
        // It has a kind of its own.
        InboundEvent::Other(it) => return serde_json::to_value(it).unwrap_or_default(),
    };
    let mut fields = fields.unwrap_or_default();
    fields["kind"] = Value::from(kind);
    fields
}

/// Where `seen` is not what is `wanted`: what is not named there may be anything.
pub(super) fn difference(wanted: &[Value], seen: &[InboundEvent]) -> Option<String> {
    let seen: Vec<Value> = seen.iter().map(flat).collect();
    if wanted.len() != seen.len() {
        let (expected, there) = (wanted.len(), seen.len());
        return Some(format!("{expected} events are expected and {there} came"));
    }
    wanted.iter().zip(&seen).enumerate().find_map(|(at, (wanted, seen))| {
        part(wanted, seen).map(|why| format!("event {}: {why}", at + 1))
    })
}

fn part(wanted: &Value, seen: &Value) -> Option<String> {
    match (wanted, seen) {
        (Value::Object(wanted), Value::Object(seen)) => wanted.iter().find_map(|(name, value)| {
            let other = seen.get(name).unwrap_or(&Value::Null);
            part(value, other).map(|why| format!("`{name}` {why}"))
        }),
        (Value::Array(wanted), Value::Array(seen)) if wanted.len() == seen.len() => {
            wanted.iter().zip(seen).find_map(|(wanted, seen)| part(wanted, seen))
        }
        (wanted, seen) if wanted == seen => None,
        (wanted, seen) => Some(format!("is {seen}, and {wanted} is expected")),
    }
}

/// The adapter's word for what became of a send.
pub(super) fn word(answer: &SendAnswer) -> OutcomeWord {
    match answer {
        Ok(_) => OutcomeWord::Delivered,
        Err(SendError::Transient(_)) => OutcomeWord::Transient,
        Err(SendError::RateLimited { .. }) => OutcomeWord::RateLimited,
        Err(SendError::Offline(_)) => OutcomeWord::Offline,
        Err(SendError::Closed(_)) => OutcomeWord::Closed,
        Err(SendError::Moved(_)) => OutcomeWord::Moved,
        Err(SendError::Rejected(_)) => OutcomeWord::Rejected,
        Err(SendError::Unauthorized(_)) => OutcomeWord::Unauthorized,
        Err(SendError::Unknown(_)) => OutcomeWord::Unknown,
    }
}

/// Everything that a request says, decoded as far as its content type tells how.
///
/// # Errors
/// Where its body is not what its content type says: a sentence.
pub(super) fn words(seen: &Seen) -> Result<String, String> {
    let mut words = percent_decode_str(&seen.address).decode_utf8_lossy().into_owned();
    for (_, value) in &seen.headers {
        words.push('\n');
        words.push_str(value);
    }
    words.push('\n');
    let body = std::str::from_utf8(&seen.body).map_err(|error| {
        format!("the body is no UTF-8 at byte {}: a character was cut", error.valid_up_to())
    });
    let content_type = seen
        .headers
        .iter()
        .find(|(name, _)| name == "content-type")
        .map(|(_, value)| value.to_ascii_lowercase())
        .unwrap_or_default();
    if content_type.contains("json") {
        let body = body?;
        let value: Value = serde_json::from_str(body).map_err(|error| {
            format!("the body says that it is JSON and is none: {error}; a character may be cut")
        })?;
        strings(&value, &mut words);
    } else if content_type.starts_with("application/x-www-form-urlencoded") {
        let plus = body?.replace('+', " ");
        let decoded = percent_decode_str(&plus).decode_utf8();
        words.push_str(&decoded.map_err(|_| "the form is no UTF-8: a character was cut")?);
    } else if content_type.starts_with("multipart/") {
        words.push_str(&String::from_utf8_lossy(&seen.body));
    } else {
        words.push_str(body?);
    }
    Ok(words)
}

fn strings(value: &Value, into: &mut String) {
    match value {
        Value::String(text) => {
            into.push_str(text);
            into.push('\n');
        }
        Value::Array(items) => items.iter().for_each(|item| strings(item, into)),
        Value::Object(fields) => fields.values().for_each(|value| strings(value, into)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_an_expectation_does_not_name_may_be_anything() {
        assert_eq!(part(&json!({ "a": { "b": 1 } }), &json!({ "a": { "b": 1, "c": 2 } })), None);
        let why = part(&json!({ "a": 1 }), &json!({ "a": 2 })).unwrap();
        assert_eq!(why, "`a` is 2, and 1 is expected");
        assert!(part(&json!({ "a": 1 }), &json!({})).is_some());
    }

    fn request(content_type: &str, body: &[u8]) -> Seen {
        Seen {
            method: "POST".to_owned(),
            address: "/send?d=a%20b".to_owned(),
            headers: vec![("content-type".to_owned(), content_type.to_owned())],
            body: body.to_vec().into(),
            is_send: true,
            known: true,
        }
    }

    #[test]
    fn the_words_of_a_request_are_decoded_by_its_content_type() {
        let json = words(&request("application/json", br#"{"a":["\ud83d\ude80"]}"#)).unwrap();
        assert!(json.contains('🚀') && json.contains("a b"));
        let form = words(&request("application/x-www-form-urlencoded", b"t=%F0%9F%9A%80+x"));
        assert!(form.unwrap().contains("🚀 x"));
    }

    #[test]
    fn half_a_character_is_found_in_bytes_and_in_escapes() {
        assert!(words(&request("text/plain", &"🚀".as_bytes()[..2])).is_err());
        assert!(words(&request("application/json", br#"{"a":"\ud83d"}"#)).is_err());
        assert!(words(&request("application/x-www-form-urlencoded", b"t=%F0%9F")).is_err());
    }
}
