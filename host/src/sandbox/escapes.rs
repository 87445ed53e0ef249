//! What a text says once its escapes are read: `%2F` of URLs, `\/` and `\u002f` of JSON, in whatever
//! mixture a platform chose to write them. For finding secrets; nothing is ever sent so. Pure.

use std::ops::Range;

/// The text with its escapes read; none where it has none.
pub(super) fn read(text: &[u8]) -> Option<Vec<u8>> {
    if !text.iter().any(|byte| matches!(byte, b'%' | b'\\')) {
        return None;
    }
    let mut out = Vec::with_capacity(text.len());
    walk(text, |_, said| out.extend_from_slice(said));
    Some(out)
}

/// Where in `text` the pieces stand that were `found` in what [`read`] gave of it. Both are in order
/// and apart from each other.
pub(super) fn places(text: &[u8], found: &[Range<usize>]) -> Vec<Range<usize>> {
    let (mut places, mut wanted) = (Vec::with_capacity(found.len()), found.iter().peekable());
    let (mut at, mut begun) = (0, None);
    walk(text, |source, said| {
        let end = at + said.len();
        while let Some(range) = wanted.peek() {
            if range.start < end && begun.is_none() {
                begun = Some(source.start);
            }
            let Some(start) = begun.filter(|_| range.end <= end) else { break };
            places.push(start..source.end);
            begun = None;
            wanted.next();
        }
        at = end;
    });
    places
}

/// Calls `each` with every piece: where it stands, and what it says.
fn walk(text: &[u8], mut each: impl FnMut(Range<usize>, &[u8])) {
    let (mut at, mut buffer) = (0, [0; 4]);
    while at < text.len() {
        let rest = &text[at..];
        match escape(rest, &mut buffer) {
            Some((length, said)) => {
                each(at..at + length, &buffer[..said]);
                at += length;
            }
            None => {
                each(at..at + 1, &rest[..1]);
                at += 1;
            }
        }
    }
}

/// Reads an escape at the beginning of `text` into `buffer`: its length, and that of what it says.
fn escape(text: &[u8], buffer: &mut [u8; 4]) -> Option<(usize, usize)> {
    let digits = |from: usize, count: usize| {
        let digits = std::str::from_utf8(text.get(from..from + count)?).ok()?;
        // `from_str_radix` would take a sign too.
        let all = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        all.then(|| u32::from_str_radix(digits, 16).ok()).flatten()
    };
    match (text.first()?, text.get(1)?) {
        (b'%', _) => {
            buffer[0] = u8::try_from(digits(1, 2)?).ok()?;
            Some((3, 1))
        }
        (b'\\', b'u') => {
            let said = char::from_u32(digits(2, 4)?)?.encode_utf8(buffer).len();
            Some((6, said))
        }
        (b'\\', plain @ (b'/' | b'\\' | b'"')) => {
            buffer[0] = *plain;
            Some((2, 1))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_of_urls_and_of_json_are_read_in_any_mixture() {
        for (text, said) in [
            ("a%2Fb%2fc", "a/b/c"),
            ("a\\/b\\\\c\\\"", "a/b\\c\""),
            ("\\u002f\\u00E9%C3%A9", "/\u{e9}\u{e9}"),
            ("100% %zz %2 \\x \\u12 \\", "100% %zz %2 \\x \\u12 \\"),
            ("%252f", "%2f"),
            ("\\ud83d", "\\ud83d"),
            ("%+1\\u+123", "%+1\\u+123"),
        ] {
            let read = read(text.as_bytes()).unwrap();
            assert_eq!(String::from_utf8(read).unwrap(), said, "{text}");
        }
        assert_eq!(read(b"plain"), None);
    }

    #[test]
    fn what_was_found_is_found_again_where_it_stands() {
        let text = "x a%2Fb y \\u0061/b z a/b";
        let read = String::from_utf8(read(text.as_bytes()).unwrap()).unwrap();
        let found: Vec<_> =
            read.match_indices("a/b").map(|(at, word)| at..at + word.len()).collect();
        assert_eq!(found.len(), 3);
        let places = places(text.as_bytes(), &found);
        let words: Vec<_> = places.iter().map(|place| &text[place.clone()]).collect();
        assert_eq!(words, ["a%2Fb", "\\u0061/b", "a/b"]);
    }
}
