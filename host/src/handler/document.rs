//! What a handler is given: one JSON document per try, on one line.
//!
//! Its field names are part of the outside face; they are not derived from rows.

use serde::{Deserialize, Serialize};

use crate::lifecycle::id::{ChannelName, TurnId};
use crate::lifecycle::message::{DeliveredPart, InboundMessage};

/// Which try of which turn the handler is to answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TurnFacts {
    pub id: TurnId,
    /// The turn's serial `try`: 1 for the first, and it never goes back.
    pub attempt: u32,
    /// When the message was committed, in milliseconds since the Unix epoch, UTC.
    pub accepted_at_ms: i64,
}

/// Everything a handler is told about one turn.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HandlerDocument {
    pub turn: TurnFacts,
    pub channel: ChannelName,
    pub conversation: String,
    pub message: InboundMessage,
    /// Messages of the conversation since its last turn that started none, oldest first.
    pub context: Vec<InboundMessage>,
    /// What earlier tries of this turn delivered, so that nothing is said twice.
    pub delivered: Vec<DeliveredPart>,
    /// The folder of this try: copies of the files that came, and where files to be given may stand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub files_dir: Option<String>,
    /// Where files to be given may be uploaded while this try runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upload_url: Option<String>,
}

impl HandlerDocument {
    /// The document as one line: JSON (which escapes every line break) and a line feed.
    ///
    /// # Errors
    /// Serde's; none is known to occur for this type.
    pub fn to_line(&self) -> Result<Vec<u8>, serde_json::Error> {
        let mut line = serde_json::to_vec(self)?;
        line.push(b'\n');
        Ok(line)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::lifecycle::id::DeliveryId;
    use crate::lifecycle::message::{DeliveryKind, Sender};

    /// A document whose message says `text`.
    pub(crate) fn document(text: &str) -> HandlerDocument {
        HandlerDocument {
            turn: TurnFacts {
                id: TurnId { number: 7, nonce: 1 },
                attempt: 2,
                accepted_at_ms: 1_700_000_000_000,
            },
            channel: ChannelName::from("hook"),
            conversation: "room".to_owned(),
            message: InboundMessage {
                external_id: "m1".to_owned(),
                conversation: "room".to_owned(),
                sender: Sender { id: "ann".to_owned(), ..Sender::default() },
                text: text.to_owned(),
                wakes: true,
                ..InboundMessage::default()
            },
            context: vec![],
            delivered: vec![DeliveredPart {
                delivery_id: DeliveryId { number: 9, nonce: 1 },
                kind: DeliveryKind::Tool,
                part: 1,
                text: "looking".to_owned(),
                platform_id: None,
                failed: None,
            }],
            files_dir: None,
            upload_url: None,
        }
    }

    #[test]
    fn the_document_is_one_line_with_the_fields_that_scripts_rely_on() {
        let line = document("two\nlines").to_line().unwrap();
        assert_eq!(line.iter().filter(|b| **b == b'\n').count(), 1);
        let value: serde_json::Value = serde_json::from_slice(&line).unwrap();
        let expected = serde_json::json!({
            "turn": {
                "id": "t0000000007" .to_owned() + "0000000001",
                "attempt": 2,
                "accepted_at_ms": 1_700_000_000_000_i64,
            },
            "channel": "hook",
            "conversation": "room",
            "message": {
                "external_id": "m1", "conversation": "room", "context": null,
                "audience": "unknown",
                "sender": { "id": "ann", "display_name": null, "is_bot": false },
                "text": "two\nlines", "attachments": [], "sent_at_ms": null,
                "reply_to": null, "group": null, "wakes": true, "extras": [],
            },
            "context": [],
            "delivered": [{
                "delivery_id": "d0000000009" .to_owned() + "0000000001",
                "kind": "tool", "part": 1, "text": "looking", "platform_id": null,
            }],
        });
        assert_eq!(value, expected);
    }

    #[test]
    fn what_is_no_new_message_says_what_it_is_and_what_failed_late_says_why() {
        use crate::lifecycle::message::{Action, Deletion, OtherEvent};
        use crate::lifecycle::outcome::Fault;
        let mut document = document("hello");
        let action = Action {
            external_id: "a1".to_owned(),
            conversation: "room".to_owned(),
            context: None,
            audience: crate::lifecycle::message::Audience::Direct,
            sender: Sender::default(),
            name: "buy".to_owned(),
            value: Some("7".to_owned()),
            on_message: Some("p1".to_owned()),
            extras: vec![],
        };
        document.message = action.into_message();
        let deletion = Deletion { conversation: "room".to_owned(), external_id: "m0".to_owned() };
        let other = OtherEvent {
            external_id: "o1".to_owned(),
            kind: "joined".to_owned(),
            conversation: Some("room".to_owned()),
            sender: None,
            extras: vec![],
        };
        document.context = vec![deletion.into_message(), other.into_message().unwrap()];
        document.delivered[0].failed = Some(Fault::new("bounced", "No such address."));
        let value = serde_json::to_value(&document).unwrap();
        assert_eq!(value["message"]["text"], "buy 7");
        assert_eq!(
            value["message"]["event"],
            serde_json::json!({"type": "action", "name": "buy", "value": "7", "on_message": "p1"})
        );
        assert_eq!(value["context"][0]["event"], serde_json::json!({"type": "deleted"}));
        assert_eq!(
            value["context"][1]["event"],
            serde_json::json!({"type": "other", "kind": "joined"})
        );
        assert_eq!(value["delivered"][0]["failed"]["code"], "bounced");
    }
}
