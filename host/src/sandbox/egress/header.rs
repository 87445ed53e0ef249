//! What a guest may say in headers, and what it gets to see of the answer's. It knows no sockets.

use http::header::{HeaderMap, HeaderName, HeaderValue};

/// Headers of one request.
const HEADERS_MAX: usize = 64;
/// Names and values of one request's headers together.
const HEADER_BYTES_MAX: usize = 16 << 10;

/// What the host alone decides: where the request goes, how its body is framed, what becomes of
/// the connection. `accept-encoding` too, because a secret in a compressed answer is not found, and
/// what some servers take for the method or the path, which were held against the route.
const HOST_ONLY: &[&str] = &[
    "host",
    "connection",
    "keep-alive",
    "transfer-encoding",
    "content-length",
    "te",
    "trailer",
    "upgrade",
    "expect",
    "accept-encoding",
    "http2-settings",
    "alt-used",
    "forwarded",
    "x-http-method-override",
    "x-method-override",
    "x-http-method",
    "x-original-url",
    "x-rewrite-url",
];

/// Headers of an answer that say how it travelled, not what it is.
const HOP_BY_HOP: &[&str] = &[
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-connection",
    "transfer-encoding",
    "te",
    "trailer",
    "upgrade",
    "content-length",
    "content-encoding",
];

/// Reads the guest's headers, or says why they may not be sent.
pub(super) fn read(
    given: &[(String, String)],
    injected: &[HeaderName],
) -> Result<HeaderMap, String> {
    if given.len() > HEADERS_MAX {
        return Err(format!("has {} headers; {HEADERS_MAX} is the most", given.len()));
    }
    let bytes: usize = given.iter().map(|(name, value)| name.len() + value.len()).sum();
    if bytes > HEADER_BYTES_MAX {
        return Err(format!("has {bytes} bytes of headers; {HEADER_BYTES_MAX} is the most"));
    }
    let mut headers = HeaderMap::with_capacity(given.len());
    for (name, value) in given {
        let name = HeaderName::from_bytes(name.as_bytes())
            .map_err(|_| format!("has the header name `{}`, which is none", name.escape_debug()))?;
        let text = name.as_str();
        if HOST_ONLY.contains(&text) || text.starts_with("proxy-") {
            return Err(format!("sets the header `{text}`, which is the host's alone"));
        }
        if injected.contains(&name) {
            return Err(format!("sets the header `{text}`, into which the host puts a credential"));
        }
        let value = HeaderValue::from_bytes(value.as_bytes())
            .map_err(|_| format!("has a control character in the header `{text}`"))?;
        headers.append(name, value);
    }
    Ok(headers)
}

/// The headers that the guest sees: lower-case, UTF-8, without those of the way.
pub(super) fn visible(headers: &HeaderMap) -> Vec<(String, String)> {
    let seen = headers.iter().filter(|(name, _)| !HOP_BY_HOP.contains(&name.as_str()));
    seen.filter_map(|(name, value)| {
        let value = std::str::from_utf8(value.as_bytes()).ok()?;
        Some((name.as_str().to_owned(), value.to_owned()))
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(name: &str, value: &str) -> bool {
        let injected = [HeaderName::from_static("authorization")];
        read(&[(name.to_owned(), value.to_owned())], &injected).is_err()
    }

    #[test]
    fn headers_that_steer_the_connection_or_break_lines_are_refused() {
        for (name, value) in [
            ("Host", "evil.example"),
            ("host", "evil.example"),
            ("Connection", "close"),
            ("Transfer-Encoding", "chunked"),
            ("Content-Length", "5"),
            ("TE", "trailers"),
            ("Trailer", "x"),
            ("Upgrade", "h2c"),
            ("Expect", "100-continue"),
            ("Accept-Encoding", "gzip"),
            ("Proxy-Authorization", "x"),
            ("proxy-anything", "x"),
            ("X-HTTP-Method-Override", "DELETE"),
            ("X-Method-Override", "DELETE"),
            ("X-HTTP-Method", "DELETE"),
            ("X-Original-URL", "/admin"),
            ("X-Rewrite-URL", "/admin"),
            ("Authorization", "Bearer mine"),
            ("x-a\r\nhost", "x"),
            ("x-a", "x\r\nhost: evil"),
            ("x-a", "x\nfolded"),
            ("x-a", "x\0"),
            ("x-a", "x\u{7f}"),
            ("", "x"),
            ("x a", "x"),
            ("x:a", "x"),
            (":authority", "evil.example"),
            ("x\u{e9}", "x"),
        ] {
            assert!(refused(name, value), "{name}: {value}");
        }
    }

    #[test]
    fn ordinary_headers_pass_and_are_lower_case() {
        assert!(!refused("Content-Type", "application/json; charset=utf-8"));
        assert!(!refused("X-Idempotency-Key", "d0"));
        let headers = read(&[("X-A".into(), "\u{e9}".into()), ("x-a".into(), "2".into())], &[]);
        assert_eq!(headers.unwrap().get_all("x-a").iter().count(), 2);
    }

    #[test]
    fn forty_thousand_headers_or_a_megabyte_of_them_are_refused() {
        let many = vec![("x".to_owned(), "y".to_owned()); 40_000];
        assert!(read(&many, &[]).unwrap_err().contains("40000"));
        let long = vec![("x".to_owned(), "y".repeat(1 << 20))];
        assert!(read(&long, &[]).is_err());
    }

    #[test]
    fn the_guest_sees_no_headers_of_the_way() {
        let mut headers = HeaderMap::new();
        headers.append("retry-after", HeaderValue::from_static("9"));
        headers.append("connection", HeaderValue::from_static("close"));
        headers.append("content-length", HeaderValue::from_static("9"));
        headers.append("x-latin", HeaderValue::from_bytes(b"\xe9").unwrap());
        assert_eq!(visible(&headers), [("retry-after".to_owned(), "9".to_owned())]);
    }
}
