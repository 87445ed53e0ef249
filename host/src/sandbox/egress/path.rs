//! Paths: segments that the guest gives as plain text, paths that a platform handed out, and the
//! routes that both are held against. One rule: what could be read as two different paths by two
//! servers is refused or encoded. It knows no manifest.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// Everything but RFC 3986's unreserved characters.
pub(in crate::sandbox) const RESERVED: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Segments of one path.
const SEGMENTS_MAX: usize = 128;

/// Percent-encodes plain segments into a path with its leading slash; none make an empty text.
pub(super) fn encode(segments: &[String]) -> Result<String, String> {
    if segments.len() > SEGMENTS_MAX {
        return Err(format!("has more than {SEGMENTS_MAX} segments"));
    }
    let mut path = String::new();
    for (place, segment) in segments.iter().enumerate() {
        check_plain(segment)?;
        if segment.is_empty() && place + 1 < segments.len() {
            return Err("has an empty segment before its end".to_owned());
        }
        path.push('/');
        path.extend(utf8_percent_encode(segment, RESERVED));
    }
    Ok(path)
}

fn check_plain(segment: &str) -> Result<(), String> {
    if moves(segment) {
        return Err("has a segment that is `.` or `..`, or has such a part".to_owned());
    }
    if segment.chars().any(char::is_control) {
        return Err("has a control character".to_owned());
    }
    Ok(())
}

/// Whether a plain segment, read as a path by a server that decodes before it splits, would lead to
/// another one. Parameters are cut off at `;` by some of them.
fn moves(segment: &str) -> bool {
    let dots = |part: &str| part == "." || part == "..";
    let part = |part: &str| dots(part.split(';').next().unwrap_or(part).trim());
    dots(segment) || (segment.contains(['/', '\\']) && segment.split(['/', '\\']).any(part))
}

/// Splits a path as it came into its decoded segments, or says why it may not be sent.
pub(super) fn read_raw(path: &str) -> Result<Vec<String>, String> {
    let rest = path.strip_prefix('/').ok_or("does not begin with a slash")?;
    if rest.is_empty() {
        return Ok(Vec::new());
    }
    let raw: Vec<_> = rest.split('/').collect();
    if raw.len() > SEGMENTS_MAX {
        return Err(format!("has more than {SEGMENTS_MAX} segments"));
    }
    let mut segments = Vec::with_capacity(raw.len());
    for (place, segment) in raw.iter().enumerate() {
        if segment.is_empty() && place + 1 < raw.len() {
            return Err("has an empty segment before its end".to_owned());
        }
        segments.push(read_segment(segment)?);
    }
    Ok(segments)
}

fn read_segment(raw: &str) -> Result<String, String> {
    if raw.contains('\\') {
        return Err("has a backslash".to_owned());
    }
    let once = decode(raw)?;
    check_decoded(&once)?;
    // Some servers decode twice. Where the second reading would be another path, it is refused.
    if let Ok(twice) = decode(&once) {
        check_decoded(&twice)?;
    }
    Ok(once)
}

fn check_decoded(segment: &str) -> Result<(), String> {
    if segment.contains(['/', '\\']) {
        return Err("has an encoded slash or backslash".to_owned());
    }
    if segment.chars().any(char::is_control) {
        return Err("has a control character".to_owned());
    }
    // Some servers cut parameters off at `;` before they resolve dots.
    let name = segment.split(';').next().unwrap_or(segment).trim();
    if name == "." || name == ".." {
        return Err("has a segment that is `.` or `..`".to_owned());
    }
    Ok(())
}

fn decode(raw: &str) -> Result<String, String> {
    let mut bytes = raw.bytes();
    let mut out = Vec::with_capacity(raw.len());
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let digit = |b: Option<u8>| b.and_then(|b| char::from(b).to_digit(16));
        match (digit(bytes.next()), digit(bytes.next())) {
            (Some(high), Some(low)) => out.push((high * 16 + low) as u8),
            _ => return Err("has a `%` that begins no encoded byte".to_owned()),
        }
    }
    // Overlong forms of `/` and `.` are no UTF-8 and end here.
    String::from_utf8(out).map_err(|_| "has encoded bytes that are no UTF-8".to_owned())
}

/// The path of a route: literal segments, `*` for one, a last `**` for any rest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::sandbox) struct RoutePath(Vec<RouteSegment>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum RouteSegment {
    Literal(String),
    One,
    Rest,
}

impl RoutePath {
    /// Reads a rendered route path; the error is the end of a sentence.
    pub(in crate::sandbox) fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Ok(Self(Vec::new()));
        }
        let rest = text.strip_prefix('/').unwrap_or(text);
        let raw: Vec<_> = rest.split('/').collect();
        if raw.len() > SEGMENTS_MAX {
            return Err(format!("has more than {SEGMENTS_MAX} segments"));
        }
        let mut segments = Vec::with_capacity(raw.len());
        for (place, segment) in raw.iter().enumerate() {
            segments.push(match *segment {
                "*" => RouteSegment::One,
                "**" if place + 1 == raw.len() => RouteSegment::Rest,
                "**" => return Err("has a `**` that is not at its end".to_owned()),
                "" if place + 1 < raw.len() => {
                    return Err("has an empty segment before its end".to_owned());
                }
                literal => {
                    check_plain(literal)?;
                    RouteSegment::Literal(literal.to_owned())
                }
            });
        }
        Ok(Self(segments))
    }

    /// Whether a path, given by its decoded segments, is on this route. `*` takes no empty one.
    pub(super) fn fits(&self, path: &[String]) -> bool {
        let mut path = path.iter();
        for segment in &self.0 {
            let fits = match (segment, path.next()) {
                (RouteSegment::Rest, _) => return true,
                (RouteSegment::One, Some(given)) => !given.is_empty(),
                (RouteSegment::Literal(literal), Some(given)) => literal == given,
                (RouteSegment::One | RouteSegment::Literal(_), None) => false,
            };
            if !fits {
                return false;
            }
        }
        path.next().is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segments(path: &[&str]) -> Vec<String> {
        path.iter().map(|s| (*s).to_owned()).collect()
    }

    #[test]
    fn plain_segments_are_encoded_whatever_they_hold() {
        for (given, sent) in [
            (&["a", "b"][..], "/a/b"),
            (&["a", ""], "/a/"),
            (&[""], "/"),
            (&[], ""),
            (&["!room:server", "@me"], "/%21room%3Aserver/%40me"),
            (&["a/b"], "/a%2Fb"),
            (&["..x/y.."], "/..x%2Fy.."),
            (&["%2e%2e"], "/%252e%252e"),
            (&["%2f"], "/%252f"),
            (&["..;"], "/..%3B"),
            (&["a\\b"], "/a%5Cb"),
            (&["?q=1#f"], "/%3Fq%3D1%23f"),
            (&["\u{2025}"], "/%E2%80%A5"),
            (&["a b+c"], "/a%20b%2Bc"),
            (&["..."], "/..."),
        ] {
            assert_eq!(encode(&segments(given)).as_deref(), Ok(sent), "{given:?}");
        }
    }

    #[test]
    fn segments_that_move_up_hide_or_break_lines_are_refused() {
        for bad in [
            &["."][..],
            &[".."],
            &["a", "..", "b"],
            &["a", "", "b"],
            &["", "a"],
            &["../x"],
            &["a/../../admin"],
            &["a\\..\\..\\admin"],
            &["a/.."],
            &["./a"],
            &["a/..;/b"],
            &["a/..;x=1"],
            &["a/.. /b"],
            &["/.."],
            &["a\0b"],
            &["a\r\nb"],
            &["\u{7f}"],
            &["\u{85}"],
        ] {
            assert!(encode(&segments(bad)).is_err(), "{bad:?}");
        }
        assert!(encode(&vec!["a".to_owned(); 129]).is_err());
    }

    #[test]
    fn handed_out_paths_that_read_in_two_ways_are_refused() {
        for bad in [
            "",
            "a",
            "/.",
            "/..",
            "/a/../b",
            "/a/./b",
            "/a/%2e%2e/b",
            "/a/%2E%2e",
            "/a/.%2e",
            "/a/%2e",
            "/a%2fb",
            "/a%2Fb",
            "/a/..%2fb",
            "/%252e%252e/b",
            "/a%252fb",
            "/a%255cb",
            "/..;/b",
            "/..;a=1/b",
            "/%2e%2e;/b",
            "/.;/b",
            "/a%00",
            "/a%0d%0ab",
            "/%c0%ae%c0%ae/b",
            "/%c0%afb",
            "/%e0%80%af",
            "/a%5cb",
            "/a\\b",
            "/%",
            "/%2",
            "/%zz",
            "//a",
            "/a//b",
            "/%ff",
            "/%25%32%65%25%32%65/b",
            "/..%20/b",
            "/..%09/b",
            "/a%7f",
            "/%2500",
            "/%c2%85",
        ] {
            assert!(read_raw(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn handed_out_paths_of_one_reading_are_split_and_decoded() {
        for (path, wanted) in [
            ("/", &[][..]),
            ("/a/b", &["a", "b"]),
            ("/a/", &["a", ""]),
            ("/a%20b/%C3%A9", &["a b", "\u{e9}"]),
            ("/a;v=1/b", &["a;v=1", "b"]),
            ("/...", &["..."]),
            ("/a..b", &["a..b"]),
            ("/100%25", &["100%"]),
            ("/v2%2E0", &["v2.0"]),
        ] {
            assert_eq!(read_raw(path), Ok(segments(wanted)), "{path}");
        }
    }

    #[test]
    fn a_star_is_one_segment_and_two_are_any_rest() {
        let fits =
            |route: &str, path: &[&str]| RoutePath::parse(route).unwrap().fits(&segments(path));
        assert!(fits("", &[]) && !fits("", &["a"]) && !fits("", &[""]));
        assert!(fits("/", &[""]) && !fits("/", &[]));
        assert!(fits("/a/*/c", &["a", "b", "c"]) && fits("a/*/c", &["a", "/x", "c"]));
        assert!(
            !fits("/a/*", &["a"]) && !fits("/a/*", &["a", ""]) && !fits("/a/*", &["a", "b", "c"])
        );
        assert!(fits("/a/**", &["a", "b", "c"]) && fits("/a/**", &["a"]) && !fits("/a/**", &["b"]));
        assert!(fits("/**", &[]) && !fits("/A", &["a"]) && !fits("/a", &["a", ""]));
        for bad in ["/**/a", "/..", "/a//b", "/a\nb"] {
            assert!(RoutePath::parse(bad).is_err(), "{bad}");
        }
    }
}
