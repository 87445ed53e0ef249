//! How a redelivery is recognised: by its key, and by its content where a platform uses an id
//! again for something else.
//!
//! Both are digests over length-framed fields, so that no separator, empty part or NUL in one field
//! can pass for another. Pure: it knows no table and no window.

use sha2::{Digest, Sha256};

use super::id::ChannelName;
use super::message::{AbortRequest, Action, InboundMessage, OtherEvent};

/// The longest identifier of the contract, in bytes.
pub const ID_BYTES_MAX: usize = 512;

/// What kind of event a key is for. An abort and a message may carry the same id of the platform.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EventKind {
    /// A message, whether it wakes or is context only: the same message may come as both.
    Message,
    /// A request to stop.
    Abort,
    /// New text of a message.
    Edited,
    /// A message that was taken back.
    Deleted,
    /// A button or a command.
    Action,
    /// Anything else.
    Other,
    /// A message that a program posted; its id is of its own making.
    Post,
    /// One due time of a schedule.
    Schedule,
}

impl EventKind {
    /// The word in the key. It is part of what is stored: it never changes.
    fn word(self) -> &'static str {
        match self {
            Self::Message => "message",
            Self::Abort => "abort",
            Self::Edited => "edited",
            Self::Deleted => "deleted",
            Self::Action => "action",
            Self::Other => "other",
            Self::Post => "post",
            Self::Schedule => "schedule",
        }
    }
}

/// Names one event of one platform: the same for every redelivery of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DedupKey(pub [u8; 32]);

/// Tells a redelivery from an id that is used again for other content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ContentDigest(pub [u8; 32]);

/// An identifier that the contract does not allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the {what} has {bytes} bytes: an identifier has 1 to {ID_BYTES_MAX}, and an adapter hashes a \
     longer one"
)]
pub struct IdRefused {
    what: &'static str,
    bytes: usize,
}

/// Checks the length of an identifier; `what` names it in the refusal.
///
/// # Errors
/// Where it is empty or longer than [`ID_BYTES_MAX`].
pub fn check_id(what: &'static str, id: &str) -> Result<(), IdRefused> {
    let bytes = id.len();
    if bytes == 0 || bytes > ID_BYTES_MAX { Err(IdRefused { what, bytes }) } else { Ok(()) }
}

/// The key of an event.
///
/// # Errors
/// Where the conversation or the external id is empty or too long.
pub fn key(
    channel: &ChannelName,
    conversation: &str,
    external_id: &str,
    kind: EventKind,
) -> Result<DedupKey, IdRefused> {
    check_id("conversation", conversation)?;
    check_id("external id", external_id)?;
    let frames = Frames::default()
        .text("lastword.dedup.1")
        .text(&channel.0)
        .text(conversation)
        .text(external_id)
        .text(kind.word());
    Ok(DedupKey(frames.digest()))
}

/// The content of a message: sender id, text, reply-to, and of each file its name, type and size.
/// What changes from one delivery of a message to the next (a display name, the address of a file,
/// vendor data) is left out.
#[must_use]
pub fn message_content(message: &InboundMessage) -> ContentDigest {
    let mut frames = Frames::default()
        .text("lastword.content.1")
        .text(&message.sender.id)
        .text(&message.text)
        .optional(message.reply_to.as_deref().map(str::as_bytes))
        .number(message.attachments.len() as u64);
    for file in &message.attachments {
        frames = frames
            .optional(file.name.as_deref().map(str::as_bytes))
            .text(&file.media_type)
            .optional(file.size_bytes.map(u64::to_le_bytes).as_ref().map(<[u8; 8]>::as_slice));
    }
    ContentDigest(frames.digest())
}

/// The content of an abort: who asked.
#[must_use]
pub fn abort_content(abort: &AbortRequest) -> ContentDigest {
    ContentDigest(Frames::default().text("lastword.abort.1").text(&abort.sender.id).digest())
}

/// The content of an action: who, what and on what.
#[must_use]
pub fn action_content(action: &Action) -> ContentDigest {
    let frames = Frames::default()
        .text("lastword.action.1")
        .text(&action.sender.id)
        .text(&action.name)
        .optional(action.value.as_deref().map(str::as_bytes))
        .optional(action.on_message.as_deref().map(str::as_bytes));
    ContentDigest(frames.digest())
}

/// The content of any other event: its kind and who did it. One reaction that changes from one
/// sign to another has another id or another kind; what stands in `extras` may change unasked.
#[must_use]
pub fn other_content(other: &OtherEvent) -> ContentDigest {
    let frames = Frames::default()
        .text("lastword.other.1")
        .text(&other.kind)
        .optional(other.sender.as_ref().map(|sender| sender.id.as_bytes()));
    ContentDigest(frames.digest())
}

/// Fields one behind the other, each with its length in front.
#[derive(Debug, Default)]
struct Frames(Vec<u8>);

impl Frames {
    fn bytes(mut self, field: &[u8]) -> Self {
        self.0.extend_from_slice(&(field.len() as u64).to_le_bytes());
        self.0.extend_from_slice(field);
        self
    }

    fn text(self, field: &str) -> Self {
        self.bytes(field.as_bytes())
    }

    fn number(mut self, number: u64) -> Self {
        self.0.extend_from_slice(&number.to_le_bytes());
        self
    }

    /// Nothing and empty are two things.
    fn optional(self, field: Option<&[u8]>) -> Self {
        match field {
            Some(field) => self.number(1).bytes(field),
            None => self.number(0),
        }
    }

    fn digest(self) -> [u8; 32] {
        Sha256::digest(&self.0).into()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::lifecycle::message::{Attachment, AttachmentSource, Sender};

    fn message() -> InboundMessage {
        let file = Attachment {
            name: Some("a.png".to_owned()),
            media_type: "image/png".to_owned(),
            size_bytes: Some(7),
            source: AttachmentSource::Remote("https://one".to_owned()),
            access: Default::default(),
        };
        InboundMessage {
            external_id: "m1".to_owned(),
            conversation: "c1".to_owned(),
            sender: Sender { id: "u1".to_owned(), display_name: None, is_bot: false },
            text: "hello".to_owned(),
            attachments: vec![file],
            reply_to: Some("m0".to_owned()),
            ..InboundMessage::default()
        }
    }

    // Case: A9
    #[test]
    fn a_redelivery_with_other_addresses_and_names_has_the_same_content() {
        let first = message_content(&message());
        let mut again = message();
        again.sender.display_name = Some("New Name".to_owned());
        again.attachments[0].source = AttachmentSource::Remote("https://two".to_owned());
        again.sent_at_ms = Some(1);
        again.extras.push(("k".to_owned(), "v".to_owned()));
        again.wakes = true;
        assert_eq!(message_content(&again), first);
    }

    #[test]
    fn each_field_that_counts_makes_another_content() {
        let first = message_content(&message());
        let changes: [fn(&mut InboundMessage); 8] = [
            |m| m.sender.id.push('x'),
            |m| m.text.push(' '),
            |m| m.reply_to = None,
            |m| m.reply_to = Some(String::new()),
            |m| m.attachments[0].name = None,
            |m| m.attachments[0].media_type.push('x'),
            |m| m.attachments[0].size_bytes = None,
            |m| m.attachments.clear(),
        ];
        let mut seen = vec![first];
        for change in changes {
            let mut other = message();
            change(&mut other);
            let digest = message_content(&other);
            assert!(!seen.contains(&digest), "{other:?}");
            seen.push(digest);
        }
    }

    // Case: A7
    #[test]
    fn an_empty_or_over_long_id_is_refused_with_a_sentence() {
        let channel = ChannelName::from("c");
        let long = "x".repeat(ID_BYTES_MAX + 1);
        let sentence = key(&channel, "room", &long, EventKind::Message).unwrap_err().to_string();
        assert!(sentence.starts_with("the external id has 513 bytes"), "{sentence}");
        let sentence = key(&channel, "", "id", EventKind::Abort).unwrap_err().to_string();
        assert!(sentence.starts_with("the conversation has 0 bytes"), "{sentence}");
        let longest = "x".repeat(ID_BYTES_MAX);
        assert!(key(&channel, &longest, &longest, EventKind::Message).is_ok());
    }

    #[test]
    fn a_key_is_the_same_in_every_version_that_reads_the_same_store() {
        let key = key(&ChannelName::from("hook"), "room", "m1", EventKind::Message).unwrap();
        let digest = hex::encode(key.0);
        assert_eq!(digest, EXPECTED_KEY);
    }

    /// Worked out apart from this code: SHA-256 over the frames of the test above.
    const EXPECTED_KEY: &str = "ab818db4276f02b6c5afc409d518eff44530d2c98fcc3fb13c29d99b05cca290";

    type Tuple = (String, String, String, EventKind);

    const KINDS: [EventKind; 6] = [
        EventKind::Message,
        EventKind::Abort,
        EventKind::Edited,
        EventKind::Deleted,
        EventKind::Action,
        EventKind::Other,
    ];

    /// Few letters and short parts, so that parts of one tuple often look like those of another.
    fn tuple() -> impl Strategy<Value = Tuple> {
        let part = || "[ab\0:/]{1,4}";
        (part(), part(), part(), prop::sample::select(&KINDS[..]))
    }

    fn key_of((channel, conversation, external_id, kind): &Tuple) -> DedupKey {
        key(&ChannelName::from(channel.as_str()), conversation, external_id, *kind).unwrap()
    }

    /// Another way of cutting the same characters into parts.
    fn cut_again(tuple: &Tuple, first: usize, second: usize) -> Option<Tuple> {
        let all = format!("{}{}{}", tuple.0, tuple.1, tuple.2);
        let (first, second) = (first.min(all.len()), second.min(all.len()));
        let (low, high) = (first.min(second), first.max(second));
        let parts = (all[..low].to_owned(), all[low..high].to_owned(), all[high..].to_owned());
        let whole = !parts.0.is_empty() && !parts.1.is_empty() && !parts.2.is_empty();
        whole.then_some((parts.0, parts.1, parts.2, tuple.3))
    }

    proptest! {
        // Case: A7
        #[test]
        fn no_two_distinct_tuples_share_a_key(a in tuple(), b in tuple(), cuts in any::<(u8, u8)>()) {
            prop_assert_eq!(a == b, key_of(&a) == key_of(&b));
            let (first, second) = (usize::from(cuts.0 % 13), usize::from(cuts.1 % 13));
            if let Some(other) = cut_again(&a, first, second) {
                prop_assert_eq!(a == other, key_of(&a) == key_of(&other));
            }
        }

        /// The frames can be read back, hence no two lists of fields have the same frames.
        #[test]
        fn frames_can_be_read_back(fields in prop::collection::vec(".{0,6}", 0..6)) {
            let frames = fields.iter().fold(Frames::default(), |frames, field| frames.text(field));
            let mut rest = frames.0.as_slice();
            let mut read = Vec::new();
            while let Some((length, behind)) = rest.split_first_chunk::<8>() {
                let length = usize::try_from(u64::from_le_bytes(*length)).unwrap();
                read.push(String::from_utf8(behind[..length].to_vec()).unwrap());
                rest = &behind[length..];
            }
            prop_assert_eq!(read, fields);
        }
    }
}
