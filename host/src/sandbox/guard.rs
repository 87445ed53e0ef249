//! Keeps secrets on this side: finds them in what a guest wants to send, and takes them out of
//! what it may see and of what is logged, in the forms in which they commonly travel. It knows
//! only values, no slots' uses and no engine.

use std::borrow::Cow;
use std::ops::Range;

use aho_corasick::{AhoCorasick, MatchKind};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use percent_encoding::utf8_percent_encode;
use zeroize::Zeroizing;

use super::escapes;

/// Shorter values are no secrets that a search could keep: they stand in every other text.
pub(super) const GUARDED_BYTES_MIN: usize = 6;
/// What stands in a secret's place.
const REDACTED: &[u8] = b"[redacted]";

/// Finds any of a channel's secrets.
pub(super) struct Guard {
    secrets: Option<AhoCorasick>,
    placeholders: Option<AhoCorasick>,
}

/// What a guest wanted to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Leak {
    /// A placeholder such as `{secret.token}`: credentials are put in by the manifest alone.
    Placeholder,
    /// A secret's value in one of its forms.
    Secret,
}

impl Guard {
    /// Guards `values` (as written, decoded, and whole rendered credentials) and the placeholders
    /// of `slots`.
    ///
    /// # Errors
    /// The end of a sentence: no search can be made for so many or such long values. Without one
    /// nothing would be found.
    pub(super) fn new<'a>(
        values: impl Iterator<Item = &'a [u8]>,
        slots: impl Iterator<Item = &'a str>,
    ) -> Result<Self, String> {
        let mut forms = Vec::new();
        for value in values.filter(|value| value.len() >= GUARDED_BYTES_MIN) {
            push_forms(&mut forms, value);
        }
        forms.retain(|form| form.len() >= GUARDED_BYTES_MIN);
        forms.sort_unstable_by(|a, b| a.as_slice().cmp(b.as_slice()));
        forms.dedup_by(|a, b| a.as_slice() == b.as_slice());
        let placeholders: Vec<_> = slots.map(|slot| format!("{{secret.{slot}}}")).collect();
        Ok(Self { secrets: search(&forms, false)?, placeholders: search(&placeholders, true)? })
    }

    /// Whether `text`, raw from the guest, holds what must not leave.
    pub(super) fn leak(&self, text: &[u8]) -> Option<Leak> {
        let holds = |search: &Option<AhoCorasick>| {
            search.as_ref().is_some_and(|search| search.is_match(text))
        };
        if holds(&self.placeholders) {
            return Some(Leak::Placeholder);
        }
        let secret = !self.found_in(text).is_empty();
        secret.then_some(Leak::Secret)
    }

    /// Where secrets stand, in order and apart from each other: as they are, and under escapes.
    /// Every form that is found goes whole, so that of two which overlap no end is left.
    fn found_in(&self, text: &[u8]) -> Vec<Range<usize>> {
        let Some(search) = &self.secrets else { return Vec::new() };
        let all = |text: &[u8]| {
            let mut found = Vec::new();
            // Nearly always there is none, and that is known soonest so.
            if search.is_match(text) {
                found.extend(search.find_overlapping_iter(text).map(|found| found.range()));
                merge(&mut found);
            }
            found
        };
        let mut found = all(text);
        if let Some(said) = escapes::read(text).map(Zeroizing::new) {
            found.extend(escapes::places(text, &all(&said)));
            merge(&mut found);
        }
        found
    }

    /// Begins a search through something too long to be held whole.
    pub(super) fn search_of_files(&self) -> PieceSearch<'_> {
        PieceSearch { guard: self, tail: Vec::new() }
    }

    /// `bytes` without any secret. Untouched where there is none.
    pub(super) fn redact<'a>(&self, bytes: &'a [u8]) -> Cow<'a, [u8]> {
        let found = self.found_in(bytes);
        if found.is_empty() {
            return Cow::Borrowed(bytes);
        }
        let (mut out, mut from) = (Vec::with_capacity(bytes.len()), 0);
        for found in found {
            out.extend_from_slice(&bytes[from..found.start]);
            out.extend_from_slice(REDACTED);
            from = found.end;
        }
        out.extend_from_slice(&bytes[from..]);
        Cow::Owned(out)
    }

    /// As [`Guard::redact`], for text.
    pub(super) fn redact_text(&self, text: String) -> String {
        match self.redact(text.as_bytes()) {
            Cow::Borrowed(_) => text,
            Cow::Owned(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        }
    }
}

/// Makes ranges that overlap one.
fn merge(ranges: &mut Vec<Range<usize>>) {
    ranges.sort_unstable_by_key(|range| (range.start, range.end));
    ranges.dedup_by(|next, last| {
        let overlap = next.start < last.end;
        if overlap {
            last.end = last.end.max(next.end);
        }
        overlap
    });
}

/// A search for secrets in what comes in pieces.
pub(super) struct PieceSearch<'a> {
    guard: &'a Guard,
    /// The end of what came before: a secret may stand across two pieces.
    tail: Vec<u8>,
}

impl PieceSearch<'_> {
    /// Whether a secret ends in this piece.
    pub(super) fn holds_secret(&mut self, piece: &[u8]) -> bool {
        let Some(search) = &self.guard.secrets else { return false };
        let overlap = search.max_pattern_len().saturating_sub(1);
        let seam = [self.tail.as_slice(), &piece[..overlap.min(piece.len())]].concat();
        if search.is_match(&seam) || search.is_match(piece) {
            return true;
        }
        self.tail.extend_from_slice(piece);
        let from = self.tail.len().saturating_sub(overlap);
        self.tail.drain(..from);
        false
    }
}

fn search<P: AsRef<[u8]>>(forms: &[P], any_case: bool) -> Result<Option<AhoCorasick>, String> {
    if forms.is_empty() {
        return Ok(None);
    }
    let mut builder = AhoCorasick::builder();
    builder.match_kind(MatchKind::Standard).ascii_case_insensitive(any_case);
    // Never the searcher's own words: they tell of what is searched for.
    let failed = |_| "cannot be searched for: they are too many or too long".to_owned();
    builder.build(forms).map(Some).map_err(failed)
}

fn push_forms(forms: &mut Vec<Zeroizing<Vec<u8>>>, value: &[u8]) {
    let mut push = |form: Vec<u8>| forms.push(Zeroizing::new(form));
    push(value.to_vec());
    push(hex::encode(value).into_bytes());
    push(hex::encode_upper(value).into_bytes());
    // At each of the three places within a group, without the characters that the neighbours
    // decide: a secret inside a longer text that was encoded whole is found too.
    for lead in 0..3_usize {
        let mut padded = Zeroizing::new(vec![0; lead]);
        padded.extend_from_slice(value);
        let first = [0, 2, 3][lead];
        let sure = padded.len() * 8 / 6;
        for text in [STANDARD_NO_PAD.encode(&*padded), URL_SAFE_NO_PAD.encode(&*padded)] {
            let text = Zeroizing::new(text);
            push(text.as_bytes()[first..sure.min(text.len())].to_vec());
        }
    }
    if let Ok(text) = std::str::from_utf8(value) {
        // The common escapes are searched for as they stand, so that files, whose escapes are not
        // read, are searched for them too.
        let encoded = utf8_percent_encode(text, super::egress::RESERVED).to_string();
        push(lower_escapes(&encoded).into_bytes());
        push(encoded.into_bytes());
        push(url::form_urlencoded::byte_serialize(value).collect::<String>().into_bytes());
        // As JSON writes it inside a string.
        if let Ok(json) = serde_json::to_string(text) {
            push(json.as_bytes()[1..json.len() - 1].to_vec());
            push(json[1..json.len() - 1].replace('/', "\\/").into_bytes());
        }
        for endian in [u16::to_le_bytes, u16::to_be_bytes] {
            push(text.encode_utf16().flat_map(endian).collect());
        }
    }
}

/// `%2F` as `%2f`.
fn lower_escapes(encoded: &str) -> String {
    let mut out = String::with_capacity(encoded.len());
    let mut left = 0_u8;
    for c in encoded.chars() {
        left = if c == '%' { 3 } else { left };
        out.push(if left > 0 { c.to_ascii_lowercase() } else { c });
        left = left.saturating_sub(1);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &[u8] = b"s3cret/Value+1";

    fn guard() -> Guard {
        Guard::new([SECRET, b"short".as_slice()].into_iter(), ["token"].into_iter()).unwrap()
    }

    #[test]
    fn every_common_form_of_a_secret_is_found_and_taken_out() {
        let guard = guard();
        let text = std::str::from_utf8(SECRET).unwrap();
        for form in [
            text.to_owned(),
            hex::encode(SECRET),
            hex::encode_upper(SECRET),
            STANDARD_NO_PAD.encode(SECRET),
            base64::engine::general_purpose::STANDARD.encode(SECRET),
            URL_SAFE_NO_PAD.encode(SECRET),
            STANDARD_NO_PAD.encode(format!("user:{text}")),
            STANDARD_NO_PAD.encode(format!("user1:{text}@host")),
            STANDARD_NO_PAD.encode(format!("user12:{text} and more")),
            "s3cret%2FValue%2B1".to_owned(),
            "s3cret%2fValue%2b1".to_owned(),
            "s3cret\\/Value+1".to_owned(),
            // Escapes in any mixture: some platforms leave `/` or `+` as they are, or escape all.
            "s3cret/Value%2b1".to_owned(),
            "%733cret%2FValue+1".to_owned(),
            "s3cret\\u002fValue\\u002B1".to_owned(),
            URL_SAFE_NO_PAD.encode(SECRET).to_owned() + "==",
            STANDARD_NO_PAD.encode(format!("a+{text}")).replace('+', "%2B").replace('/', "%2F"),
        ] {
            let around = format!("before {form} after");
            assert_eq!(guard.leak(around.as_bytes()), Some(Leak::Secret), "{form}");
            let clean = guard.redact_text(around);
            assert!(clean.contains("[redacted]") && clean.starts_with("before "), "{clean}");
            assert_eq!(guard.leak(clean.as_bytes()), None, "{clean}");
        }
    }

    #[test]
    fn secrets_of_any_length_are_found_in_base64_at_each_of_its_places() {
        for length in 6..40_u8 {
            let secret: Vec<u8> = (0..length).map(|n| b'!' + n * 2).collect();
            let guard = Guard::new([secret.as_slice()].into_iter(), [].into_iter()).unwrap();
            for lead in 0..6 {
                for tail in 0..3 {
                    let text = [&b"######"[..lead], &secret, &b"##"[..tail]].concat();
                    for coded in [STANDARD_NO_PAD.encode(&text), URL_SAFE_NO_PAD.encode(&text)] {
                        let found = guard.leak(coded.as_bytes());
                        // What is left of a short one beside its neighbours is too short to search.
                        let sure = usize::from(length) * 8 / 6 - 2;
                        assert!(found.is_some() || sure < GUARDED_BYTES_MIN, "{length} {lead}");
                    }
                }
            }
        }
    }

    #[test]
    fn two_forms_that_overlap_leave_nothing_standing() {
        let (one, other) = (b"abcdef/g".as_slice(), b"f/ghijkl".as_slice());
        let guard = Guard::new([one, other].into_iter(), [].into_iter()).unwrap();
        let clean = guard.redact(b"<abcdef%2Fghijkl>");
        assert_eq!(&clean[..], b"<[redacted]>");
        let wide: Vec<u8> = "abcdef/g".encode_utf16().flat_map(u16::to_le_bytes).collect();
        assert_eq!(guard.redact(&wide)[..], *b"[redacted]");
    }

    #[test]
    fn a_secret_is_found_wherever_a_file_is_cut() {
        let guard = guard();
        let text = [b"before ".as_slice(), SECRET, b" after"].concat();
        for size in 1..text.len() {
            let mut search = guard.search_of_files();
            assert!(text.chunks(size).any(|piece| search.holds_secret(piece)), "{size}");
            let mut search = guard.search_of_files();
            let other = [b's'; 100];
            assert!(!other.chunks(size).any(|piece| search.holds_secret(piece)), "{size}");
        }
    }

    #[test]
    fn a_placeholder_of_a_declared_slot_is_found_and_other_braces_are_not() {
        assert_eq!(guard().leak(b"x {secret.token} y"), Some(Leak::Placeholder));
        for fine in [&b"{secret.other}"[..], b"{setting.token}", b"short", b"s3cret", b""] {
            assert_eq!(guard().leak(fine), None);
        }
    }

    #[test]
    fn text_without_secrets_is_left_as_it_is() {
        assert!(matches!(guard().redact(b"nothing here"), Cow::Borrowed(_)));
        assert_eq!(guard().redact(&[SECRET, SECRET].concat())[..], *b"[redacted][redacted]");
    }
}
