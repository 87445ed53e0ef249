//! Rows of a reply: one per message of the platform.

use super::ports::{AdapterFacts, TextLimit};
use crate::lifecycle::message::{DeliveryKind, Reply};
use crate::lifecycle::parts::{PartLimits, parts_of};
use crate::lifecycle::split;
use crate::sandbox::TextUnit;
use crate::store::NewDelivery;

/// The rows of a reply, in order.
pub(super) fn rows_of(kind: DeliveryKind, reply: Reply, facts: &AdapterFacts) -> Vec<NewDelivery> {
    let limits = PartLimits {
        text: facts.text.map(pure),
        caption: facts.caption.map(pure),
        files: facts.files,
        file_bytes: facts.file_bytes,
    };
    let bodies = parts_of(reply, &limits);
    let parts = u32::try_from(bodies.len()).unwrap_or(u32::MAX);
    (1..).zip(bodies).map(|(part, body)| NewDelivery { kind, body, part, parts }).collect()
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

    fn facts(text: Option<TextLimit>) -> AdapterFacts {
        AdapterFacts { text, ..AdapterFacts::default() }
    }

    #[test]
    fn a_long_reply_makes_rows_that_fit_and_say_which_part_they_are() {
        let text = "word ".repeat(40).trim_end().to_owned();
        let extras = vec![("key".to_owned(), "value".to_owned())];
        let reply = Reply { text, extras: extras.clone(), ..Reply::default() };
        let limit = TextLimit { most: 50, unit: TextUnit::Chars };
        let rows = rows_of(DeliveryKind::Final, reply, &facts(Some(limit)));
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
        let rows = rows_of(DeliveryKind::Block, reply.clone(), &facts(None));
        assert_eq!(
            rows,
            [NewDelivery { kind: DeliveryKind::Block, body: reply, part: 1, parts: 1 }]
        );
    }
}
