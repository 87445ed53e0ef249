//! Failure notices: what a conversation is told where a turn of it failed, and when one notice
//! tells of several. Pure; whether a turn's end is worth one is decided where turns end.

/// A notice that is not under way yet takes in what fails within this time of its making: what went
/// wrong this morning and what goes wrong tonight are two things.
pub const JOINED_WITHIN_MS: i64 = 3_600_000;
/// Bytes of an operator's text: a line or two, within what any platform takes as one message.
pub const TEXT_BYTES_MAX: usize = 500;
/// Stands for the number of messages that were not answered.
pub const COUNT: &str = "{count}";

/// What is said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoticeText {
    one: String,
    /// With [`COUNT`] in it.
    many: String,
}

/// Why a text is none for a notice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadNotice {
    #[error("it is empty; leave it out where nothing is to be said")]
    Empty,
    #[error("it is longer than {TEXT_BYTES_MAX} bytes")]
    TooLong,
    #[error("it has braces around something else than {COUNT}, the number of messages")]
    Placeholder,
}

impl Default for NoticeText {
    fn default() -> Self {
        let one = "Sorry, your message could not be answered. Please send it again later.";
        let many = "Sorry, {count} of your messages could not be answered. Please send them \
                    again later.";
        Self { one: one.to_owned(), many: many.to_owned() }
    }
}

impl NoticeText {
    /// An operator's text. Without [`COUNT`] the number is added where there were several.
    ///
    /// # Errors
    /// [`BadNotice`], with what to change.
    pub fn new(text: &str) -> Result<Self, BadNotice> {
        let text = text.trim();
        if text.is_empty() {
            return Err(BadNotice::Empty);
        }
        if text.len() > TEXT_BYTES_MAX {
            return Err(BadNotice::TooLong);
        }
        if text.replace(COUNT, "").contains(['{', '}']) {
            return Err(BadNotice::Placeholder);
        }
        if text.contains(COUNT) {
            return Ok(Self { one: text.replace(COUNT, "1"), many: text.to_owned() });
        }
        Ok(Self { one: text.to_owned(), many: format!("{text} ({COUNT} messages)") })
    }

    /// For so many turns.
    #[must_use]
    pub fn of(&self, turns: u32) -> String {
        if turns <= 1 { self.one.clone() } else { self.many.replace(COUNT, &turns.to_string()) }
    }
}

/// Whether a notice that waits takes one more turn in. `calls` are its attempts so far: what may
/// have been seen is not changed any more.
#[must_use]
pub fn joins(made_at_ms: i64, now_ms: i64, calls: u32) -> bool {
    calls == 0 && (0..JOINED_WITHIN_MS).contains(&now_ms.saturating_sub(made_at_ms))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_counts_where_there_are_several_whether_or_not_it_says_where() {
        let plain = NoticeText::new(" That went wrong. ").unwrap();
        assert_eq!(plain.of(1), "That went wrong.");
        assert_eq!(plain.of(3), "That went wrong. (3 messages)");
        let counted = NoticeText::new("{count} not answered").unwrap();
        assert_eq!(
            (counted.of(1), counted.of(12)),
            ("1 not answered".into(), "12 not answered".into())
        );
        assert!(
            NoticeText::default().of(2).contains('2') && !NoticeText::default().of(1).contains('{')
        );
    }

    #[test]
    fn what_is_no_text_for_a_notice_is_refused_with_a_sentence() {
        assert_eq!(NoticeText::new("  "), Err(BadNotice::Empty));
        assert_eq!(NoticeText::new(&"x".repeat(501)), Err(BadNotice::TooLong));
        assert_eq!(NoticeText::new("{name}, sorry"), Err(BadNotice::Placeholder));
    }

    #[test]
    fn a_notice_takes_more_in_within_its_hour_and_never_once_it_was_tried() {
        assert!(joins(1_000, 1_000, 0) && joins(0, JOINED_WITHIN_MS - 1, 0));
        assert!(!joins(0, JOINED_WITHIN_MS, 0) && !joins(0, 1, 1) && !joins(5, 4, 0));
    }
}
