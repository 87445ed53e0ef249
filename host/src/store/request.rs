//! What a program asks for and is told, as JSON: the same for the API and for the command line,
//! which does without a host what the API does with one. No SQL.

use serde::{Deserialize, Serialize};

use super::later::{Post, PostOutcome};
use crate::lifecycle::dedup::ID_BYTES_MAX;
use crate::lifecycle::id::{ChannelName, TurnId};
use crate::lifecycle::message::{InboundMessage, Sender};
use crate::lifecycle::turn::TurnState;

/// The body of `POST /v1/messages`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PostBody {
    pub channel: String,
    pub conversation: String,
    pub text: String,
    pub sender: SenderBody,
    /// Milliseconds since the epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_before_ms: Option<i64>,
    /// The turn that whoever posts is at work on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub about: Option<String>,
}

/// Who says it: an id, or an id with more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum SenderBody {
    Id(String),
    Whole {
        id: String,
        #[serde(default)]
        name: Option<String>,
        #[serde(default)]
        is_bot: bool,
    },
}

/// The answer to a post.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PostAnswer {
    pub turn_id: TurnId,
    /// Absent where the turn is gone and nobody knows how it ended.
    pub state: Option<String>,
    pub duplicate: bool,
    /// Where it waits for its time.
    pub due_at_ms: Option<i64>,
}

/// Why a request was not carried out, with what kind of fault it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// The request is wrong, whatever the state.
    Wrong(String),
    /// The same, where only what is stored shows it.
    Unfit(String),
    /// There is no such thing.
    Nothing(String),
    /// The state refuses it.
    Refused(String),
}

/// Before this a time in milliseconds is most likely one in seconds: 2001-09-09.
const MILLISECONDS_FROM: i64 = 1_000_000_000_000;
/// A time further away is most likely one in microseconds.
const AWAY_MS_MAX: i64 = 10 * 366 * 86_400_000;

impl PostBody {
    /// The store's command, under this key.
    ///
    /// # Errors
    /// Where a value is empty, too long, or no time.
    pub fn into_post(self, key: &str, now_ms: i64) -> Result<Post, Refusal> {
        check_word("Idempotency-Key", key)?;
        check_word("channel", &self.channel)?;
        check_word("conversation", &self.conversation)?;
        if self.text.is_empty() {
            return Err(Refusal::Wrong("\"text\" is empty: there is nothing to say".to_owned()));
        }
        if let Some(at_ms) = self.not_before_ms {
            check_time(at_ms, now_ms)?;
        }
        let about = self.about.as_deref().map(str::parse::<TurnId>).transpose();
        let message = InboundMessage {
            external_id: key.to_owned(),
            conversation: self.conversation,
            sender: self.sender.into_sender()?,
            text: self.text,
            wakes: true,
            ..InboundMessage::default()
        };
        Ok(Post {
            channel: ChannelName(self.channel),
            message,
            not_before_ms: self.not_before_ms,
            about: about.map_err(|error| Refusal::Wrong(format!("\"about\": {error}")))?,
            claim: None,
        })
    }
}

impl SenderBody {
    pub(super) fn into_sender(self) -> Result<Sender, Refusal> {
        let sender = match self {
            Self::Id(id) => Sender { id, ..Sender::default() },
            Self::Whole { id, name, is_bot } => Sender { id, display_name: name, is_bot },
        };
        check_word("sender", &sender.id)?;
        if let Some(name) = &sender.display_name {
            check_word("sender.name", name)?;
        }
        Ok(sender)
    }
}

impl PostOutcome {
    /// What whoever posts is told.
    ///
    /// # Errors
    /// Why no turn was made.
    pub fn answer(self) -> Result<PostAnswer, Refusal> {
        match self {
            Self::Turn { turn, state, due_ms } => Ok(answer(turn, Some(state), false, due_ms)),
            Self::Duplicate { turn, state, due_ms } => Ok(answer(turn, state, true, due_ms)),
            Self::OtherContent => Err(Refusal::Unfit(
                "this Idempotency-Key was used in this conversation for another message: give \
                 each message a key of its own"
                    .to_owned(),
            )),
            Self::UnknownAbout => Err(Refusal::Nothing(
                "\"about\" names no turn that is known here (any more)".to_owned(),
            )),
            Self::TooManyHops { hops_max } => Err(Refusal::Refused(format!(
                "{hops_max} programs have answered each other in this chain of turns, which is \
                 the limit: it is a loop, or hops_max in [lifecycle] is too low"
            ))),
        }
    }
}

fn answer(
    turn_id: TurnId,
    state: Option<TurnState>,
    duplicate: bool,
    due_at_ms: Option<i64>,
) -> PostAnswer {
    let state = state.map(|state| state.word().to_owned());
    PostAnswer { turn_id, state, duplicate, due_at_ms }
}

/// A short text of a request: 1 to 512 bytes.
pub(super) fn check_word(name: &str, text: &str) -> Result<(), Refusal> {
    if (1..=ID_BYTES_MAX).contains(&text.len()) {
        return Ok(());
    }
    Err(Refusal::Wrong(format!("\"{name}\" must have 1 to {ID_BYTES_MAX} bytes")))
}

fn check_time(at_ms: i64, now_ms: i64) -> Result<(), Refusal> {
    if at_ms < MILLISECONDS_FROM {
        let sentence = "\"not_before_ms\" is in milliseconds since 1970-01-01, UTC; this is too \
                        small a number, as of seconds";
        return Err(Refusal::Wrong(sentence.to_owned()));
    }
    if at_ms.saturating_sub(now_ms) > AWAY_MS_MAX {
        let sentence = "\"not_before_ms\" is more than ten years away; it is in milliseconds \
                        since 1970-01-01, UTC";
        return Err(Refusal::Wrong(sentence.to_owned()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW_MS: i64 = 1_800_000_000_000;

    fn body(json: &str) -> Result<Post, Refusal> {
        let body: PostBody = serde_json::from_str(json).unwrap();
        body.into_post("k1", NOW_MS)
    }

    #[test]
    fn a_post_is_a_waking_message_under_its_key_by_whoever_is_named() {
        let post = body(r#"{"channel":"c","conversation":"r","text":"hi","sender":"ann"}"#);
        let post = post.unwrap();
        assert_eq!((post.message.external_id.as_str(), post.message.wakes), ("k1", true));
        assert_eq!((post.message.sender.id.as_str(), post.not_before_ms), ("ann", None));
        let post = body(
            r#"{"channel":"c","conversation":"r","text":"hi","not_before_ms":1800000060000,
                "sender":{"id":"b","name":"Bob","is_bot":true}}"#,
        );
        let post = post.unwrap();
        assert_eq!(post.not_before_ms, Some(NOW_MS + 60_000));
        assert!(post.message.sender.is_bot);
        assert_eq!(post.message.sender.display_name.as_deref(), Some("Bob"));
    }

    #[test]
    fn what_is_empty_too_long_or_no_time_is_refused_by_name() {
        let with = |field: &str, value: &str| {
            let mut json = serde_json::json!(
                {"channel": "c", "conversation": "r", "text": "hi", "sender": "ann"}
            );
            json[field] = serde_json::from_str(value).unwrap();
            match body(&json.to_string()) {
                Err(Refusal::Wrong(sentence)) => sentence,
                other => panic!("{field}: {other:?}"),
            }
        };
        let long = format!("\"{}\"", "x".repeat(513));
        for (field, value, word) in [
            ("channel", "\"\"", "channel"),
            ("conversation", long.as_str(), "conversation"),
            ("text", "\"\"", "text"),
            ("sender", "\"\"", "sender"),
            ("about", "\"7\"", "about"),
            ("not_before_ms", "1800000000", "seconds"),
            ("not_before_ms", "1800000000000000", "ten years"),
        ] {
            let sentence = with(field, value);
            assert!(sentence.contains(word), "{sentence}");
        }
    }
}
