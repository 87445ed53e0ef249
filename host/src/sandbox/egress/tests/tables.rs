//! The tables of what may leave, each line through the whole pipeline and against a server that
//! tells what reached it: paths, headers, addresses.

use super::peer::{Peer, ok};
use super::*;
use crate::sandbox::egress::Body;

/// Path segments that a guest gives as plain text, and the last segment as it is sent; none where
/// nothing may leave.
const SEGMENTS: [(&str, Option<&str>); 33] = [
    ("plain", Some("plain")),
    ("...", Some("...")),
    ("~user-1_2.3", Some("~user-1_2.3")),
    ("..a", Some("..a")),
    ("../send", None),
    ("..%2fsend", Some("..%252fsend")),
    ("..%252fsend", Some("..%25252fsend")),
    ("%2e%2e", Some("%252e%252e")),
    ("%2E%2E", Some("%252E%252E")),
    ("..;", Some("..%3B")),
    ("..;/send", None),
    ("a\\..\\send", None),
    ("a?x=1", Some("a%3Fx%3D1")),
    ("a#f", Some("a%23f")),
    ("a%00b", Some("a%2500b")),
    ("a%0d%0ab", Some("a%250d%250ab")),
    ("\u{2025}", Some("%E2%80%A5")),
    ("\u{ff0e}\u{ff0e}", Some("%EF%BC%8E%EF%BC%8E")),
    ("\u{2215}send", Some("%E2%88%95send")),
    ("a b+c", Some("a%20b%2Bc")),
    ("@evil.example", Some("%40evil.example")),
    ("http://evil.example", Some("http%3A%2F%2Fevil.example")),
    ("a/../../admin", None),
    ("a\\..\\..\\admin", None),
    ("a/..;x=1", None),
    (".", None),
    ("..", None),
    ("", None),
    ("a\0", None),
    ("a\r\nhost: evil.example", None),
    ("a\tb", None),
    ("\u{7f}", None),
    ("\u{85}", None),
];

/// Whole addresses that a platform handed out, and path and query as they are sent.
const ADDRESSES: [(&str, Option<&str>); 56] = [
    ("/f/1", Some("/f/1")),
    ("/f/a%20b", Some("/f/a%20b")),
    ("/f/%C3%A9", Some("/f/%C3%A9")),
    ("/f/a;v=1", Some("/f/a;v=1")),
    ("/f/100%25", Some("/f/100%25")),
    ("/f/v2%2E0", Some("/f/v2%2E0")),
    ("/f/...", Some("/f/...")),
    // Both sides read it as `f`.
    ("/%66/1", Some("/%66/1")),
    // What stands in a query is no path.
    ("/f/1?next=/../send", Some("/f/1?next=/../send")),
    ("/f/1?a=%2e%2e%2f&b", Some("/f/1?a=%2e%2e%2f&b")),
    ("/f/..", None),
    ("/f/.", None),
    ("/f/../send", None),
    ("/f/./send", None),
    ("/f/%2e%2e", None),
    ("/f/%2E%2e", None),
    ("/f/.%2e", None),
    ("/f/%2e.", None),
    ("/f/%2e", None),
    ("/f/%252e%252e", None),
    ("/f/%25%32%65%25%32%65", None),
    ("/f/a%2fb", None),
    ("/f/a%2Fb", None),
    ("/f/..%2fsend", None),
    ("/f/a%252fb", None),
    ("/f/a%5cb", None),
    ("/f/a%255cb", None),
    ("/f/a\\b", None),
    ("/f/..;", None),
    ("/f/..;a=1", None),
    ("/f/%2e%2e;", None),
    ("/f/.;", None),
    ("/f/..%3b", None),
    ("/f/a%00", None),
    ("/f/%2500", None),
    ("/f/a%0d%0ab", None),
    ("/f/a%250d%250ab", None),
    ("/f/..%20", None),
    ("/f/..%09", None),
    ("/f/%c0%ae%c0%ae", None),
    ("/f/%c0%af", None),
    ("/f/%e0%80%af", None),
    ("/f/%ff", None),
    ("/f/%c2%85", None),
    ("/f/%", None),
    ("/f/%2", None),
    ("/f/%zz", None),
    ("//f/1", None),
    ("/f//1", None),
    ("/f/1#x", None),
    ("/f/a b", None),
    ("/f/\u{2025}", None),
    ("/f/{secret.token}", None),
    ("/f/1/2", None),
    ("/F/1", None),
    ("/f/", None),
];

fn first_line(seen: &str) -> &str {
    seen.lines().next().unwrap_or_default()
}

// Threat 11.
#[tokio::test]
async fn eighty_spellings_of_paths_are_sent_in_one_reading_or_not_at_all() {
    let peer = Peer::start(vec![ok()]).await;
    let origin = format!("http://127.0.0.1:{}", peer.port);
    let mut fixed = target(Origin::Fixed(format!("{origin}/v1")));
    fixed.routes = vec![route("GET", "/read/*", Effect::Read), route("GET", "/send", Effect::Send)];
    let mut handed = target(Origin::Matching(vec![origin.clone()]));
    handed.routes = vec![route("GET", "/f/*", Effect::Read)];
    let segments = SEGMENTS.iter().map(|(segment, wanted)| {
        let wanted = wanted.map(|sent| format!("GET /v1/read/{sent} HTTP/1.1"));
        (&fixed, request("GET", &["read", segment]), wanted)
    });
    let addresses = ADDRESSES.iter().map(|(path, wanted)| {
        let url = Address::Url(format!("{origin}{path}"));
        let wanted = wanted.map(|sent| format!("GET {sent} HTTP/1.1"));
        (&handed, EgressRequest { address: url, ..request("GET", &[]) }, wanted)
    });
    let mut sent = 0;
    for (target, request, wanted) in segments.chain(addresses) {
        let limits = CallLimits { fetches: 1, ..quick() };
        let got = Out::new(target, Reach::PrivateToo, limits).fetch(request.clone()).await;
        match wanted {
            Some(line) => {
                assert_eq!(got.map(|answer| answer.status), Ok(200), "{request:?}");
                sent += 1;
                assert_eq!(first_line(&peer.seen()[sent - 1]), line, "{request:?}");
            }
            None => assert!(matches!(got, Err(EgressError::Denied(_))), "{request:?}: {got:?}"),
        }
        assert_eq!(peer.seen().len(), sent, "{request:?}");
    }
}

// Threat 12.
#[tokio::test]
async fn headers_that_are_the_hosts_or_break_lines_are_refused_before_anything_is_dialled() {
    let peer = Peer::start(vec![ok()]).await;
    let mut target = target(Origin::Fixed(format!("http://127.0.0.1:{}", peer.port)));
    target.inject = vec![inject(Placement::Header("X-Key".into()), "{secret.token}")];
    for (name, value) in [
        ("Host", "evil.example"),
        ("hOsT", "evil.example"),
        (":authority", "evil.example"),
        ("Content-Length", "0"),
        ("content-length", "5, 5"),
        ("Transfer-Encoding", "chunked"),
        ("transfer-encoding", "identity, chunked"),
        ("TE", "trailers"),
        ("Trailer", "x"),
        ("Connection", "x-key"),
        ("Keep-Alive", "timeout=9999"),
        ("Proxy-Connection", "keep-alive"),
        ("Proxy-Authorization", "Basic eDp5"),
        ("Upgrade", "h2c"),
        ("HTTP2-Settings", "AAMAAABk"),
        ("Expect", "100-continue"),
        ("Accept-Encoding", "gzip"),
        ("Alt-Used", "evil.example"),
        ("Forwarded", "for=127.0.0.1"),
        ("x-key", "mine"),
        ("X-KEY", "mine"),
        ("x-a", "b\r\nhost: evil.example"),
        ("x-a", "b\nhost: evil.example"),
        ("x-a", "b\rc"),
        ("x-a", "b\0c"),
        ("x-a\r\nhost", "evil.example"),
        ("x-a: b\r\nhost", "evil.example"),
        ("", "x"),
        ("x a", "x"),
        ("x\u{e9}", "x"),
    ] {
        let headers = vec![(name.to_owned(), value.to_owned())];
        let got = Out::new(&target, Reach::PrivateToo, quick())
            .fetch(EgressRequest { headers, ..send() })
            .await;
        assert!(matches!(got, Err(EgressError::Denied(_))), "{name}: {value}: {got:?}");
    }
    let many = vec![("x".to_owned(), "y".to_owned()); 40_000];
    let long = vec![("x".to_owned(), "y".repeat(20_000))];
    for headers in [many, long] {
        let got = Out::new(&target, Reach::PrivateToo, quick())
            .fetch(EgressRequest { headers, ..send() })
            .await;
        assert!(matches!(got, Err(EgressError::Denied(_))), "{got:?}");
    }
    assert_eq!(peer.connections(), 0);
    // The host's own are there once each, whatever was tried.
    let body = Some(Body::Bytes(b"12345".to_vec()));
    let mut out = Out::new(&target, Reach::PrivateToo, quick());
    out.fetch(EgressRequest { body, ..send() }).await.unwrap();
    let seen = peer.seen()[0].to_lowercase();
    for once in ["\r\nhost: 127.0.0.1", "\r\ncontent-length: 5\r\n", "\r\nx-key: "] {
        assert_eq!(seen.matches(once).count(), 1, "{once}: {seen}");
    }
    assert!(!seen.contains("transfer-encoding"), "{seen}");
}

/// Addresses that a name may lead to, and whether a grant for private ones opens them.
const NAMED: [(&str, bool); 32] = [
    ("127.0.0.1", true),
    ("127.255.255.254", true),
    ("10.0.0.1", true),
    ("172.16.0.1", true),
    ("172.31.255.255", true),
    ("192.168.0.1", true),
    ("169.254.1.1", true),
    ("100.64.0.1", true),
    ("100.127.255.255", true),
    ("198.18.0.1", true),
    ("::1", true),
    ("fc00::1", true),
    ("fd12:3456::1", true),
    ("fe80::1", true),
    ("0.0.0.0", false),
    ("0.1.2.3", false),
    ("169.254.169.254", false),
    ("169.254.170.2", false),
    ("100.100.100.200", false),
    ("168.63.129.16", false),
    ("fd00:ec2::254", false),
    ("224.0.0.1", false),
    ("255.255.255.255", false),
    ("240.0.0.1", false),
    ("::", false),
    ("::127.0.0.1", false),
    ("::ffff:127.0.0.1", false),
    ("::ffff:10.0.0.1", false),
    ("64:ff9b::7f00:1", false),
    ("64:ff9b:1::7f00:1", false),
    ("2002:7f00:1::", false),
    ("2001:0:7f00:1::", false),
];

// Threat 13.
#[tokio::test]
async fn no_name_and_no_number_leads_to_an_address_that_is_not_public() {
    let peer = Peer::start(vec![ok()]).await;
    let named = target(Origin::Fixed(format!("http://named.example:{}", peer.port)));
    for (address, opens) in NAMED {
        let names = || vec![vec![address.parse::<IpAddr>().unwrap()]];
        // What the grant opens is dialled, so of those only what is this machine is tried.
        let granted = (!opens || address == "127.0.0.1").then_some(Reach::PrivateToo);
        for reach in [Some(Reach::PublicOnly), granted].into_iter().flatten() {
            let got = Out::resolving(&named, reach, quick(), names()).fetch(send()).await;
            let denied = matches!(got, Err(EgressError::Denied(_)));
            let wanted = reach == Reach::PublicOnly || !opens;
            assert_eq!(denied, wanted, "{address} {reach:?}: {got:?}");
        }
    }
    // The loopback line reached the server, once.
    assert_eq!(peer.connections(), 1);
    for number in [
        "127.0.0.1",
        "127.1",
        "127.0.1",
        "2130706433",
        "0x7f000001",
        "0x7f.0.0.1",
        "0177.0.0.1",
        "017700000001",
        "127.0.0.1.",
        "[::1]",
        "[0:0:0:0:0:0:0:1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "0",
        "0.0.0.0",
        "\u{ff11}27.0.0.1",
        "localhost",
    ] {
        let origin = Origin::Fixed(format!("http://{number}:{}", peer.port));
        // A number in full width is refused where it is read, before there is a channel.
        let Ok(_) = bound(&target(origin.clone()), Reach::PublicOnly) else { continue };
        let got = Out::new(&target(origin), Reach::PublicOnly, quick()).fetch(send()).await;
        assert!(matches!(got, Err(EgressError::Denied(_))), "{number}: {got:?}");
    }
    assert_eq!(peer.connections(), 1);
}
