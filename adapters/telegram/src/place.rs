//! Conversations: a chat, or a topic of a chat that has topics.

use lastword_sdk::prelude::*;

/// Where something is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Spot {
    /// Positive between two, negative for groups.
    pub(crate) chat: i64,
    pub(crate) topic: Option<i64>,
}

impl Spot {
    /// Reads the name of a conversation.
    pub(crate) fn of(place: &Place) -> Result<Spot, Fault> {
        let (chat, topic) = match place.conversation.split_once(':') {
            None => (place.conversation.as_str(), None),
            Some((chat, topic)) => (chat, Some(topic)),
        };
        let number = |text: &str| text.parse::<i64>().ok();
        match (number(chat), topic.map(number)) {
            (Some(chat), None) => Ok(Spot { chat, topic: None }),
            (Some(chat), Some(Some(topic))) => Ok(Spot { chat, topic: Some(topic) }),
            (None, _) | (Some(_), Some(None)) => {
                let sentence = "the conversation is no chat of Telegram; write it as `CHAT` or \
                                `CHAT:TOPIC`, in numbers";
                Err(Fault::new("no-chat", sentence))
            }
        }
    }

    pub(crate) fn name(self) -> String {
        match self.topic {
            None => self.chat.to_string(),
            Some(topic) => format!("{}:{topic}", self.chat),
        }
    }

    pub(crate) fn is_group(self) -> bool {
        self.chat < 0
    }

    /// The fields that name the place in a call.
    pub(crate) fn body(self) -> Value {
        let mut body = json!({ "chat_id": self.chat });
        if let Some(topic) = self.topic {
            body["message_thread_id"] = json!(topic);
        }
        body
    }
}
