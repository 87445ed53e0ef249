//! Pieces of a text, counted as Telegram counts them: in UTF-16 units.

use crate::update::Entity;

/// How long a text is.
pub(crate) fn length(text: &str) -> usize {
    text.encode_utf16().count()
}

/// The piece of a text that an entity names. None where it lies outside, or cuts a character.
pub(crate) fn piece<'t>(text: &'t str, entity: &Entity) -> Option<&'t str> {
    let start = byte_at(text, entity.offset)?;
    let end = byte_at(text, entity.offset.checked_add(entity.length)?)?;
    text.get(start..end)
}

/// Where in the bytes of a text a count of units ends.
fn byte_at(text: &str, units: usize) -> Option<usize> {
    let mut left = units;
    for (at, letter) in text.char_indices() {
        if left == 0 {
            return Some(at);
        }
        left = left.checked_sub(letter.len_utf16())?;
    }
    (left == 0).then_some(text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entity(offset: usize, length: usize) -> Entity {
        Entity { kind: "mention".to_owned(), offset, length, user: None }
    }

    #[test]
    fn a_piece_behind_an_emoji_is_found() {
        assert_eq!(piece("👍 @bot hello", &entity(3, 4)), Some("@bot"));
        assert_eq!(piece("@bot", &entity(0, 4)), Some("@bot"));
    }

    #[test]
    fn a_piece_that_cuts_a_character_or_lies_outside_is_none() {
        assert_eq!(piece("👍", &entity(1, 1)), None);
        assert_eq!(piece("ab", &entity(1, 5)), None);
        assert_eq!(piece("ab", &entity(usize::MAX, 2)), None);
    }
}
