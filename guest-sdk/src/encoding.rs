//! Encodings of signatures and of keys.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};

/// Standard base64, padded.
pub fn to_base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// Reads standard base64, padded or not. None where it is none.
pub fn from_base64(text: &str) -> Option<Vec<u8>> {
    STANDARD_NO_PAD.decode(text.trim_end_matches('=')).ok()
}

/// Lower-case hexadecimal.
pub fn to_hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 0xf])
        .map(|digit| char::from(DIGITS[usize::from(digit)]))
        .collect()
}

/// Reads hexadecimal of either case. None where it is none.
pub fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: &u8| char::from(*byte).to_digit(16).and_then(|d| u8::try_from(d).ok());
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if !rest.is_empty() {
        return None;
    }
    pairs.iter().map(|[high, low]| Some(digit(high)? << 4 | digit(low)?)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_read_with_and_without_its_padding() {
        assert_eq!(to_base64(b"last"), "bGFzdA==");
        assert_eq!(from_base64("bGFzdA==").as_deref(), Some(&b"last"[..]));
        assert_eq!(from_base64("bGFzdA").as_deref(), Some(&b"last"[..]));
        assert_eq!(from_base64("b*"), None);
    }

    #[test]
    fn hexadecimal_is_read_in_either_case_and_in_pairs() {
        assert_eq!(to_hex(&[0x00, 0x0f, 0xa5]), "000fa5");
        assert_eq!(from_hex("000FA5").as_deref(), Some(&[0x00, 0x0f, 0xa5][..]));
        assert_eq!(from_hex("00f"), None);
        assert_eq!(from_hex("zz"), None);
    }
}
