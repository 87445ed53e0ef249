//! Groups: what a person says at once and a platform delivers in pieces, such as an album. When such
//! a turn is due, how much of it is gathered, and how the pieces become one message. Pure.

use super::message::{Extras, InboundMessage};

/// A group is due so long after its last piece, in milliseconds.
pub const QUIET_MS: i64 = 1_000;
/// And so long after its first one at most.
pub const GATHER_MS_MAX: i64 = 5_000;
/// Pieces, files and bytes of text that one group may gather; what is beyond is context.
pub const PIECES_MAX: usize = 32;
pub const FILES_MAX: usize = 100;
pub const TEXT_BYTES_MAX: usize = 256 << 10;

/// Pairs and bytes of extras that one message may have, by the contract.
const EXTRAS_PAIRS_MAX: usize = 64;
const EXTRAS_BYTES_MAX: usize = 16 << 10;

/// When a group is due whose first piece came at `first_ms` and whose last one came now. A clock
/// that went back in between does not make it wait longer than for a piece that came now.
#[must_use]
pub fn due_ms(first_ms: i64, now_ms: i64) -> i64 {
    let last = now_ms.saturating_add(QUIET_MS);
    last.min(first_ms.min(now_ms).saturating_add(GATHER_MS_MAX))
}

/// Whether these pieces may be one message.
#[must_use]
pub fn fits<'a>(pieces: impl IntoIterator<Item = &'a InboundMessage>) -> bool {
    let (mut count, mut files, mut bytes) = (0_usize, 0_usize, 0_usize);
    for piece in pieces {
        count += 1;
        files += piece.attachments.len();
        bytes += piece.text.len();
    }
    count <= PIECES_MAX && files <= FILES_MAX && bytes <= TEXT_BYTES_MAX
}

/// The pieces as one message, in the order in which they came: texts as lines of their own, files
/// one behind the other, everything else as the first piece has it that says it; the place's
/// context is the newest. `None` without a piece.
#[must_use]
pub fn combine(pieces: &[InboundMessage]) -> Option<InboundMessage> {
    let (first, rest) = pieces.split_first()?;
    let mut whole = InboundMessage { wakes: true, ..first.clone() };
    for piece in rest {
        if !piece.text.is_empty() {
            if !whole.text.is_empty() {
                whole.text.push('\n');
            }
            whole.text.push_str(&piece.text);
        }
        whole.attachments.extend_from_slice(&piece.attachments);
        if piece.context.is_some() {
            whole.context.clone_from(&piece.context);
        }
        if whole.reply_to.is_none() {
            whole.reply_to.clone_from(&piece.reply_to);
        }
        add_extras(&mut whole.extras, &piece.extras);
    }
    Some(whole)
}

fn add_extras(extras: &mut Extras, more: &Extras) {
    let mut bytes: usize = extras.iter().map(|(name, value)| name.len() + value.len()).sum();
    for (name, value) in more {
        bytes += name.len() + value.len();
        if extras.len() >= EXTRAS_PAIRS_MAX || bytes > EXTRAS_BYTES_MAX {
            return;
        }
        if !extras.iter().any(|(known, _)| known == name) {
            extras.push((name.clone(), value.clone()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lifecycle::message::{Attachment, AttachmentSource};

    fn piece(id: &str, text: &str) -> InboundMessage {
        let file = Attachment {
            name: Some(format!("{id}.png")),
            media_type: "image/png".to_owned(),
            size_bytes: None,
            source: AttachmentSource::Remote(id.to_owned()),
            access: Default::default(),
        };
        InboundMessage {
            external_id: id.to_owned(),
            text: text.to_owned(),
            attachments: vec![file],
            group: Some("g".to_owned()),
            extras: vec![("n".to_owned(), id.to_owned()), (id.to_owned(), String::new())],
            ..InboundMessage::default()
        }
    }

    #[test]
    fn a_group_is_due_a_second_after_its_last_piece_and_five_after_its_first() {
        for (first, now, due) in [
            (0, 0, 1_000),
            (0, 700, 1_700),
            (0, 3_999, 4_999),
            (0, 4_500, 5_000),
            (0, 9_000, 5_000),
        ] {
            assert_eq!(due_ms(first, now), due, "{first} {now}");
        }
        assert_eq!(due_ms(3_600_000, 0), 1_000, "the clock went back between two pieces");
    }

    #[test]
    fn pieces_are_one_message_in_the_order_in_which_they_came() {
        let mut pieces = vec![piece("a", ""), piece("b", "look"), piece("c", ""), piece("d", "!")];
        pieces[1].reply_to = Some("m0".to_owned());
        pieces[2].context = Some("newest".to_owned());
        let whole = combine(&pieces).unwrap();
        assert_eq!((whole.external_id.as_str(), whole.text.as_str()), ("a", "look\n!"));
        assert!(whole.wakes);
        let names: Vec<_> = whole.attachments.iter().filter_map(|f| f.name.as_deref()).collect();
        assert_eq!(names, ["a.png", "b.png", "c.png", "d.png"]);
        assert_eq!(whole.reply_to.as_deref(), Some("m0"));
        assert_eq!(whole.context.as_deref(), Some("newest"));
        let extras: Vec<_> = whole.extras.iter().map(|(name, value)| (&**name, &**value)).collect();
        assert_eq!(extras, [("n", "a"), ("a", ""), ("b", ""), ("c", ""), ("d", "")]);
        assert_eq!(combine(&[]), None);
    }

    #[test]
    fn a_group_gathers_no_more_than_one_message_may_carry() {
        let one = piece("a", "x");
        assert!(fits(std::iter::repeat_n(&one, PIECES_MAX)));
        assert!(!fits(std::iter::repeat_n(&one, PIECES_MAX + 1)));
        let long = piece("a", &"x".repeat(TEXT_BYTES_MAX));
        assert!(fits([&long]) && !fits([&long, &one]));
        let files = InboundMessage { attachments: vec![one.attachments[0].clone(); 51], ..one };
        assert!(fits([&files]) && !fits([&files, &files]));
        let pairs = |from: usize| {
            let extras = (from..from + 60).map(|n| (n.to_string(), "v".to_owned())).collect();
            InboundMessage { extras, ..InboundMessage::default() }
        };
        assert_eq!(combine(&[pairs(0), pairs(100)]).unwrap().extras.len(), EXTRAS_PAIRS_MAX);
    }
}
