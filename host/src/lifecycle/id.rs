//! Names of turns, deliveries, files, channels and claims.
//!
//! An id is a number (the row's place in the store) and a nonce, so that a lookup is a search by
//! primary key and a guessed or recycled number still names nothing. It knows no SQL.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Digits of an id's text form: those that the contract allows in a `delivery-id`.
const DIGITS: &[u8; 32] = b"0123456789abcdefghijklmnopqrstuv";
/// Characters of the number, and of the nonce: 50 bits each.
const PART_CHARS: usize = 10;
/// The largest number and the largest nonce.
pub const ID_PART_MAX: u64 = (1 << 50) - 1;

/// Why a text names no turn and no delivery.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{text}\" is no {what} id: one is the letter {letter} and 20 of the characters 0-9 a-v")]
pub struct IdError {
    text: String,
    what: &'static str,
    letter: char,
}

fn push_part(out: &mut String, value: u64) {
    for place in (0..PART_CHARS).rev() {
        let digit = (value >> (5 * place)) & 31;
        out.push(char::from(DIGITS[digit as usize]));
    }
}

fn read_part(text: &[u8]) -> Option<u64> {
    let mut value = 0;
    for byte in text {
        let digit = DIGITS.iter().position(|d| d == byte)?;
        value = (value << 5) | digit as u64;
    }
    Some(value)
}

fn format_id(letter: char, number: i64, nonce: u64) -> String {
    let mut out = String::with_capacity(1 + 2 * PART_CHARS);
    out.push(letter);
    push_part(&mut out, number.unsigned_abs() & ID_PART_MAX);
    push_part(&mut out, nonce & ID_PART_MAX);
    out
}

fn parse_id(letter: char, what: &'static str, text: &str) -> Result<(i64, u64), IdError> {
    let error = || IdError { text: text.chars().take(64).collect(), what, letter };
    let rest = text.strip_prefix(letter).ok_or_else(error)?.as_bytes();
    if rest.len() != 2 * PART_CHARS {
        return Err(error());
    }
    let number = read_part(&rest[..PART_CHARS]).ok_or_else(error)?;
    let nonce = read_part(&rest[PART_CHARS..]).ok_or_else(error)?;
    Ok((i64::try_from(number).map_err(|_| error())?, nonce))
}

macro_rules! record_id {
    ($(#[$doc:meta])* $name:ident, $letter:literal, $what:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name {
            /// The row's primary key; grows with each insert.
            pub number: i64,
            /// 50 random bits, so that a recycled number is another id.
            pub nonce: u64,
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&format_id($letter, self.number, self.nonce))
            }
        }

        impl FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                let (number, nonce) = parse_id($letter, $what, text)?;
                Ok(Self { number, nonce })
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

record_id!(
    /// A turn.
    TurnId, 't', "turn"
);
record_id!(
    /// A delivery: one outbox row. Its text is the contract's `delivery-id`.
    DeliveryId, 'd', "delivery"
);

record_id!(
    /// A file in the host's store, as one channel knows it. Its text is the contract's blob id.
    BlobId, 'b', "file"
);

/// The name of a channel, as in the config: `[a-z0-9][a-z0-9_-]{0,63}`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ChannelName(pub String);

impl fmt::Display for ChannelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<&str> for ChannelName {
    fn from(name: &str) -> Self {
        Self(name.to_owned())
    }
}

/// Which start of which host: random, new at each start. Claims of other boots are dead claims.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BootId(pub i64);

/// What fences a claim: random, one per claim, 63 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ClaimToken(pub i64);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_survives_its_text_form_and_sorts_by_number() {
        let low = DeliveryId { number: 31, nonce: ID_PART_MAX };
        let high = DeliveryId { number: 32, nonce: 0 };
        assert_eq!(low.to_string().parse::<DeliveryId>(), Ok(low));
        assert!(low.to_string() < high.to_string());
        assert!(low.to_string().len() <= 24);
    }

    #[test]
    fn a_text_that_is_no_id_gets_a_sentence_that_says_the_form() {
        for text in
            ["", "t", "d0000000000000000000", "t000000000000000000z0", "tÄ00000000000000000"]
        {
            let error = text.parse::<TurnId>().map(|_| ()).unwrap_err().to_string();
            assert!(error.contains("turn id"), "{error}");
        }
    }
}
