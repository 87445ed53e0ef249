//! Rows of a reply: one per part that fits the platform.

use super::ports::TextLimit;
use crate::lifecycle::message::{DeliveryKind, Reply};
use crate::lifecycle::split;
use crate::sandbox::TextUnit;
use crate::store::NewDelivery;

/// The rows of a reply, in order. Format and extras go with every part.
pub(super) fn rows_of(
    kind: DeliveryKind,
    reply: Reply,
    limit: Option<TextLimit>,
) -> Vec<NewDelivery> {
    let Some(limit) = limit else {
        return vec![NewDelivery { kind, body: reply, part: 1, parts: 1 }];
    };
    let texts = split::split(&reply.text, pure(limit));
    let parts = u32::try_from(texts.len()).unwrap_or(u32::MAX);
    (1..)
        .zip(texts)
        .map(|(part, text)| {
            let body = Reply { text, format: reply.format, extras: reply.extras.clone() };
            NewDelivery { kind, body, part, parts }
        })
        .collect()
}

fn pure(limit: TextLimit) -> split::TextLimit {
    let unit = match limit.unit {
        TextUnit::Bytes => split::TextUnit::Bytes,
        TextUnit::Utf16Units => split::TextUnit::Utf16Units,
        TextUnit::Chars => split::TextUnit::Chars,
    };
    split::TextLimit { most: limit.most, unit }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_reply_makes_rows_that_fit_and_say_which_part_they_are() {
        let text = "word ".repeat(40).trim_end().to_owned();
        let extras = vec![("key".to_owned(), "value".to_owned())];
        let reply = Reply { text, extras: extras.clone(), ..Reply::default() };
        let limit = TextLimit { most: 50, unit: TextUnit::Chars };
        let rows = rows_of(DeliveryKind::Final, reply, Some(limit));
        assert!(rows.len() >= 4);
        for (place, row) in (1..).zip(&rows) {
            assert_eq!((row.part, row.parts as usize), (place, rows.len()));
            assert!(row.body.text.chars().count() <= 50);
            assert_eq!(row.body.extras, extras);
        }
    }

    #[test]
    fn a_reply_without_a_limit_is_one_row_as_it_is() {
        let reply = Reply { text: "x".repeat(100_000), ..Reply::default() };
        let rows = rows_of(DeliveryKind::Block, reply.clone(), None);
        assert_eq!(
            rows,
            [NewDelivery { kind: DeliveryKind::Block, body: reply, part: 1, parts: 1 }]
        );
    }
}
