//! Where a target is: scheme, host, port and the path in front, from a rendered template; and the
//! patterns of addresses that a platform hands out while running. It knows no sockets.

use std::fmt;

use url::{Host, Url};

/// Plain or encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Scheme {
    Http,
    Https,
}

impl Scheme {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    fn default_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

/// Where to connect to, and the name to say there.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Authority {
    pub(super) scheme: Scheme,
    /// Normalised: lower-case, punycode, IPv4 in four decimal parts, IPv6 without brackets.
    pub(super) host: String,
    pub(super) port: u16,
    v6: bool,
}

impl Authority {
    fn of(url: &Url) -> Result<Self, String> {
        let scheme = match url.scheme() {
            "https" => Scheme::Https,
            "http" => Scheme::Http,
            other => {
                return Err(format!("has the scheme `{other}`; only https and http are spoken"));
            }
        };
        if !url.username().is_empty() || url.password().is_some() {
            return Err("carries a user or password in front of the host".to_owned());
        }
        if url.fragment().is_some() {
            return Err("carries a fragment".to_owned());
        }
        let (host, v6) = match url.host() {
            Some(Host::Domain(name)) => (name.trim_end_matches('.').to_owned(), false),
            Some(Host::Ipv4(v4)) => (v4.to_string(), false),
            Some(Host::Ipv6(v6)) => (v6.to_string(), true),
            None => return Err("names no host".to_owned()),
        };
        if host.is_empty() {
            return Err("names no host".to_owned());
        }
        let port = url.port().unwrap_or_else(|| scheme.default_port());
        Ok(Self { scheme, host, port, v6 })
    }

    /// The `host` header: with the port only where it is not the scheme's own.
    pub(super) fn host_header(&self) -> String {
        let host = if self.v6 { format!("[{}]", self.host) } else { self.host.clone() };
        if self.port == self.scheme.default_port() { host } else { format!("{host}:{}", self.port) }
    }
}

impl fmt::Display for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme.word(), self.host_header())
    }
}

/// A `fixed` origin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FixedOrigin {
    pub(super) authority: Authority,
    /// The path in front as it stands, `/` at least.
    pub(super) path: String,
}

impl FixedOrigin {
    /// Reads a rendered origin; the error is the end of a sentence.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let WholeAddress { authority, path, query } = WholeAddress::parse(text)?;
        if query.is_some() {
            return Err("carries a query; the host adds queries from the request".to_owned());
        }
        super::path::read_raw(&path)?;
        Ok(Self { authority, path })
    }
}

/// One pattern of a `matching` origin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pattern {
    scheme: Scheme,
    /// What follows the one free label, with its dot, or the whole host.
    host: PatternHost,
    port: u16,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum PatternHost {
    Exact(String),
    OneLabelBefore(String),
}

impl Pattern {
    /// Reads a rendered pattern such as `https://*.example.com`; the error ends a sentence.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let wild = text.split_once("://*.").map(|(scheme, rest)| format!("{scheme}://{rest}"));
        let url = parse_url(wild.as_deref().unwrap_or(text))?;
        let authority = Authority::of(&url)?;
        if url.path() != "/" || url.query().is_some() || text.ends_with('/') {
            return Err("is more than scheme, host and port".to_owned());
        }
        if authority.host.contains('*') {
            return Err("has a `*` that is not the one label in front".to_owned());
        }
        let host = match wild {
            // One label under a top-level name, or under a number, would be anybody's.
            Some(_)
                if !authority.host.contains('.')
                    || authority.host.parse::<std::net::IpAddr>().is_ok() =>
            {
                return Err("leaves open who owns the host: name at least two labels".to_owned());
            }
            Some(_) => PatternHost::OneLabelBefore(format!(".{}", authority.host)),
            None => PatternHost::Exact(authority.host),
        };
        Ok(Self { scheme: authority.scheme, host, port: authority.port })
    }

    /// Whether an address is one of this pattern's.
    pub(super) fn fits(&self, authority: &Authority) -> bool {
        let host = match &self.host {
            PatternHost::Exact(host) => *host == authority.host,
            PatternHost::OneLabelBefore(rest) => authority
                .host
                .strip_suffix(rest.as_str())
                .is_some_and(|label| !label.is_empty() && !label.contains('.')),
        };
        host && self.scheme == authority.scheme && self.port == authority.port
    }
}

/// A whole address that the platform handed out: sent byte for byte, so nothing in it may be read
/// in two ways.
pub(super) struct WholeAddress {
    pub(super) authority: Authority,
    /// Path as given, `/` at least.
    pub(super) path: String,
    /// Query as given, without the question mark.
    pub(super) query: Option<String>,
}

impl WholeAddress {
    /// Reads it; the error is the end of a sentence.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        if let Some(odd) =
            text.chars().find(|c| !c.is_ascii_graphic() || "\\\"<>^`{|}".contains(*c))
        {
            return Err(format!("holds the character {}", odd.escape_unicode()));
        }
        let rest = text
            .strip_prefix("https://")
            .or_else(|| text.strip_prefix("http://"))
            .ok_or("begins neither with `https://` nor with `http://`")?;
        let authority = Authority::of(&parse_url(text)?)?;
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        // A parser and a server that split the authority differently would be two opinions.
        if rest[..end].contains('@') || rest.contains('#') {
            return Err("carries a user in front of the host, or a fragment".to_owned());
        }
        let (path, query) = match rest[end..].split_once('?') {
            Some((path, query)) => (path, Some(query.to_owned())),
            None => (&rest[end..], None),
        };
        let path = if path.is_empty() { "/".to_owned() } else { path.to_owned() };
        Ok(Self { authority, path, query })
    }
}

fn parse_url(text: &str) -> Result<Url, String> {
    if text.contains(['\\', '\t', '\n', '\r', ' ']) {
        return Err("holds a backslash or white space".to_owned());
    }
    Url::parse(text).map_err(|error| format!("is no address ({error})"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_scheme_host_port_and_a_path_in_front() {
        let origin = FixedOrigin::parse("https://API.example.com:8443/v1/").unwrap();
        assert_eq!(origin.authority.to_string(), "https://api.example.com:8443");
        assert_eq!(origin.path, "/v1/");
        let bare = FixedOrigin::parse("http://127.0.0.1").unwrap();
        assert_eq!((bare.authority.host_header(), bare.path), ("127.0.0.1".into(), "/".into()));
        assert_eq!(
            FixedOrigin::parse("http://[::1]:9/").unwrap().authority.host_header(),
            "[::1]:9"
        );
    }

    #[test]
    fn numbers_that_are_addresses_in_other_clothes_become_plain() {
        for text in ["http://2130706433", "http://0x7f.1", "http://0177.0.0.1", "http://127.1"] {
            assert_eq!(FixedOrigin::parse(text).unwrap().authority.host, "127.0.0.1", "{text}");
        }
    }

    #[test]
    fn what_is_no_origin_is_refused() {
        for text in [
            "",
            "example.com",
            "ftp://example.com",
            "file:///etc/passwd",
            "https://",
            "https://u@h",
            "https://u:p@h/",
            "https://h/?q=1",
            "https://h/#f",
            "https://h/a/../b%2e%2e/%2e%2e",
            "https://h/a%2fb",
            "https:\\\\h\\x",
            "https://h /x",
            "https://exa mple.com",
        ] {
            assert!(FixedOrigin::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_star_is_exactly_one_label() {
        let pattern = Pattern::parse("https://*.example.com").unwrap();
        let fits = |text: &str| pattern.fits(&FixedOrigin::parse(text).unwrap().authority);
        assert!(fits("https://a.example.com") && fits("https://A.EXAMPLE.com:443"));
        for text in [
            "https://example.com",
            "https://a.b.example.com",
            "http://a.example.com",
            "https://a.example.com:8443",
            "https://aexample.com",
            "https://a.example.com.evil.net",
        ] {
            assert!(!fits(text), "{text}");
        }
        for text in ["https://*.com", "https://*", "https://a.*.com", "https://*.1.2.3.4"] {
            assert!(Pattern::parse(text).is_err(), "{text}");
        }
        assert!(Pattern::parse("https://*.example.com/path").is_err());
    }

    #[test]
    fn a_whole_address_keeps_its_bytes_and_refuses_what_reads_in_two_ways() {
        let address = WholeAddress::parse("https://h.example:444/a%20b/c?x=%41&y").unwrap();
        assert_eq!(address.path, "/a%20b/c");
        assert_eq!(address.query.as_deref(), Some("x=%41&y"));
        assert_eq!(WholeAddress::parse("https://h.example?q").unwrap().path, "/");
        for text in [
            "//h/x",
            "HTTPS://h/x",
            "https:/h/x",
            "https:h/x",
            "https://u@h/x",
            "https://h\\@e/x",
            "https://h/x#f",
            "https://h/\u{e9}",
            "https://h/a b",
            "https://h/\u{0}",
            "ftp://h/x",
            "https://h/x\r\nhost: e",
            "https://h/\u{2025}/x",
            "https://h/{secret.x}",
        ] {
            assert!(WholeAddress::parse(text).is_err(), "{text}");
        }
    }
}
