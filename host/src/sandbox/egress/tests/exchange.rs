//! The ledger and the caps, against a server that misbehaves.

use std::net::IpAddr;
use std::time::Duration;

use super::peer::{Act, Peer, answer, ok};
use super::*;
use crate::sandbox::egress::Body;
use crate::sandbox::egress::body::OutBody;
use crate::sandbox::egress::connection::{Caps, Connection, Failed, Stream};
use crate::sandbox::egress::intake::Taker;

fn is_unanswered(result: Result<EgressAnswer, EgressError>) -> bool {
    matches!(result, Err(EgressError::Unanswered(_)))
}

fn is_not_sent(result: Result<EgressAnswer, EgressError>) -> bool {
    matches!(result, Err(EgressError::NotSent(_)))
}

#[tokio::test]
async fn a_whole_2xx_answer_is_begun_answered_and_accepted() {
    let peer = Peer::start(vec![ok()]).await;
    let mut out = Out::to(peer.port);
    let got = out.fetch(send()).await.unwrap();
    assert_eq!((got.status, got.body.as_slice()), (200, b"{}".as_slice()));
    assert_eq!(out.counts(), (1, 1, 1, 0));
    assert!(out.wire.bytes_out > 0 && out.wire.bytes_in == 2);
}

#[tokio::test]
async fn a_500_is_answered_and_not_accepted_and_a_read_counts_apart() {
    let error = Act::Answer(answer("500 Internal Server Error", "", b"no"));
    let peer = Peer::start(vec![error]).await;
    let mut out = Out::to(peer.port);
    assert_eq!(out.fetch(send()).await.unwrap().status, 500);
    assert_eq!(out.counts(), (1, 1, 0, 0));
    out.fetch(request("GET", &["read"])).await.unwrap();
    out.fetch(request("POST", &["prepare"])).await.unwrap();
    assert_eq!(out.counts(), (1, 1, 0, 2));
}

#[tokio::test]
async fn a_connection_closed_after_the_request_is_unanswered() {
    for act in [
        Act::Close,
        Act::AnswerAndClose(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf".to_vec()),
        Act::AnswerAndClose(
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf".to_vec(),
        ),
        Act::AnswerAndClose(b"HTTP/1.1 200 OK\r\ncontent-le".to_vec()),
        Act::AnswerAndClose(b"SSH-2.0-OpenSSH_9.2\r\n".to_vec()),
        Act::AnswerAndClose(b"HTTP/1.1 101 Switching Protocols\r\n\r\n".to_vec()),
    ] {
        let peer = Peer::start(vec![act]).await;
        let mut out = Out::to(peer.port);
        let got = out.fetch(send()).await;
        assert!(is_unanswered(got.clone()), "{got:?}");
        assert_eq!(out.counts(), (1, 0, 0, 0));
    }
}

#[tokio::test]
async fn a_server_that_hangs_is_unanswered_at_the_requests_timeout() {
    let peer = Peer::start(vec![Act::Hang]).await;
    let mut out = Out::to(peer.port);
    let begun = out.env.elapsed();
    let got = out.fetch(EgressRequest { timeout_ms: Some(200), ..send() }).await;
    assert!(is_unanswered(got));
    assert!(out.env.elapsed() - begun < Duration::from_secs(5));
    assert_eq!(out.counts(), (1, 0, 0, 0));
}

#[tokio::test]
async fn a_call_that_is_dropped_in_the_middle_keeps_a_right_ledger() {
    let peer = Peer::start(vec![Act::Hang]).await;
    let mut out = Out::to(peer.port);
    let env = out.env.clone();
    while peer.seen().is_empty() {
        let dropped = env.timeout(Duration::from_millis(100), out.fetch(send())).await;
        assert!(dropped.is_err());
    }
    let (begun, answered, ..) = out.counts();
    assert!(begun >= 1 && answered == 0, "{:?}", out.counts());
}

/// The pool looks before it gives a connection out; this is the moment after it looked.
#[tokio::test]
async fn a_connection_that_closed_before_any_byte_left_is_not_sent() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let env = Env::system();
    let stream = tokio::net::TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let mut connection = Connection::open(Stream::Plain(stream)).await.unwrap();
    drop(listener.accept().await.unwrap());
    env.sleep(Duration::from_millis(100)).await;
    let mark = connection.fresh_mark();
    let second = Duration::from_secs(1);
    let deadline = env.elapsed() + second;
    let caps = Caps { deadline, first_byte: second, between_bytes: second, body_bytes: 1 };
    let request = http::Request::post("/send").body(OutBody::default()).unwrap();
    let got = connection.exchange(&env, request, &caps, Taker::Memory).await;
    let got = got.map(|answer| answer.status);
    assert!(matches!(got, Err(Failed::NotSent(_))), "{got:?}");
    assert!(!mark.is_set());
}

#[tokio::test]
async fn nothing_listening_is_not_sent() {
    let free = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = free.local_addr().unwrap().port();
    drop(free);
    let mut out = Out::to(port);
    assert!(is_not_sent(out.fetch(send()).await));
    assert_eq!(out.counts(), (0, 0, 0, 0));
}

#[tokio::test]
async fn a_handshake_that_fails_is_not_sent() {
    for act in [Act::CloseAtOnce, Act::AnswerAndClose(answer("200 OK", "", b""))] {
        let peer = Peer::start(vec![act]).await;
        let origin = Origin::Fixed(format!("https://127.0.0.1:{}", peer.port));
        let limits = CallLimits { connect_ms: 500, ..quick() };
        let mut out = Out::new(&target(origin), Reach::PrivateToo, limits);
        let got = out.fetch(send()).await;
        assert!(is_not_sent(got.clone()), "{got:?}");
        assert_eq!(out.counts(), (0, 0, 0, 0));
    }
}

#[tokio::test]
async fn a_name_without_address_is_not_sent() {
    let origin = Origin::Fixed("http://nobody.example".into());
    let mut out = Out::resolving(&target(origin), Reach::PublicOnly, quick(), vec![vec![]]);
    assert!(is_not_sent(out.fetch(send()).await));
    assert_eq!(out.counts(), (0, 0, 0, 0));
}

#[tokio::test]
async fn a_redirect_is_an_answer_that_nobody_follows() {
    let other = Peer::start(vec![ok()]).await;
    let location = format!("location: http://127.0.0.1:{}/read\r\n", other.port);
    let peer = Peer::start(vec![Act::Answer(answer("302 Found", &location, b""))]).await;
    let mut out = Out::to(peer.port);
    let got = out.fetch(request("GET", &["read"])).await.unwrap();
    assert_eq!(got.status, 302);
    assert!(got.headers.iter().any(|(name, _)| name == "location"));
    assert_eq!((peer.seen().len(), other.connections()), (1, 0));
}

#[tokio::test]
async fn connections_are_kept_and_a_closed_one_is_not_taken_again() {
    let later = Act::AnswerAndCloseAfter(answer("200 OK", "", b"{}"), Duration::from_millis(50));
    let acts = vec![ok(), ok(), later, ok()];
    let peer = Peer::start(acts).await;
    let mut out = Out::to(peer.port);
    for _ in 0..3 {
        out.fetch(send()).await.unwrap();
    }
    assert_eq!(peer.connections(), 1);
    // What the server closed shows once the system has told of it.
    out.env.sleep(Duration::from_millis(200)).await;
    assert_eq!(out.fetch(send()).await.unwrap().status, 200);
    assert_eq!((peer.connections(), out.counts()), (2, (4, 4, 4, 0)));
}

#[tokio::test]
async fn a_body_over_the_cap_says_its_status_and_counts_as_unanswered() {
    let big = vec![b'x'; 70_000];
    let length = Act::Answer(answer("200 OK", "", &big));
    let mut endless = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n".to_vec();
    for _ in 0..20 {
        endless.extend_from_slice(format!("1000\r\n{}\r\n", "x".repeat(4096)).as_bytes());
    }
    for act in [length, Act::AnswerAndClose(endless)] {
        let peer = Peer::start(vec![act]).await;
        let origin = Origin::Fixed(format!("http://127.0.0.1:{}", peer.port));
        let limits = CallLimits { answer_body_bytes: 64 << 10, ..quick() };
        let mut out = Out::new(&target(origin), Reach::PrivateToo, limits);
        assert_eq!(out.fetch(send()).await, Err(EgressError::AnswerTooLarge(200)));
        assert_eq!(out.counts(), (1, 0, 0, 0));
    }
}

#[tokio::test]
async fn a_slow_drip_ends_between_two_bytes() {
    let drip = Act::Drip(answer("200 OK", "", &[b'x'; 100]), Duration::from_millis(400));
    let whole_head = b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n".to_vec();
    let stall = Act::Drip([whole_head, vec![b'x']].concat(), Duration::from_millis(1));
    for (act, between_bytes_ms, timeout_ms) in [(drip, 10_000, 700), (stall, 300, 8_000)] {
        let peer = Peer::start(vec![act]).await;
        let origin = Origin::Fixed(format!("http://127.0.0.1:{}", peer.port));
        let limits = CallLimits { between_bytes_ms, ..quick() };
        let mut out = Out::new(&target(origin), Reach::PrivateToo, limits);
        let begun = out.env.elapsed();
        assert!(is_unanswered(
            out.fetch(EgressRequest { timeout_ms: Some(timeout_ms), ..send() }).await
        ));
        assert!(out.env.elapsed() - begun < Duration::from_secs(5));
    }
}

#[tokio::test]
async fn a_head_over_the_limits_is_unanswered() {
    let many = "x-a: b\r\n".repeat(1_000);
    let long = format!("x-a: {}\r\n", "b".repeat(1 << 20));
    for headers in [many, long] {
        let peer = Peer::start(vec![Act::AnswerAndClose(answer("200 OK", &headers, b""))]).await;
        let mut out = Out::to(peer.port);
        let got = out.fetch(send()).await;
        assert!(is_unanswered(got.clone()), "{got:?}");
    }
}

#[tokio::test]
async fn a_compressed_answer_is_unpacked_under_the_cap() {
    for (size, fits) in [(1_000, true), (10_000_000, false)] {
        let packed = packed(&vec![b'x'; size]);
        let act = Act::Answer(answer("200 OK", "content-encoding: gzip\r\n", &packed));
        let peer = Peer::start(vec![act]).await;
        let mut out = Out::to(peer.port);
        let got = out.fetch(request("GET", &["read"])).await;
        if fits {
            assert_eq!(got.unwrap().body.len(), size);
        } else {
            assert_eq!(got, Err(EgressError::AnswerTooLarge(200)));
        }
        assert!(peer.seen()[0].contains("accept-encoding: identity"));
    }
    let brotli = Act::Answer(answer("200 OK", "content-encoding: br\r\n", b"??"));
    let peer = Peer::start(vec![brotli]).await;
    assert!(is_unanswered(Out::to(peer.port).fetch(send()).await));
}

#[tokio::test]
async fn credentials_go_in_and_never_come_back() {
    use base64::Engine as _;
    let coded = base64::engine::general_purpose::STANDARD.encode(format!("x:{TOKEN}"));
    let echo = format!("you said Bearer {TOKEN} and {coded} and {}", hex::encode(TOKEN));
    let headers = format!("x-echo: {TOKEN}\r\n");
    let peer =
        Peer::start(vec![Act::Answer(answer("401 Unauthorized", &headers, echo.as_bytes()))]).await;
    let mut target = target(Origin::Fixed(format!("http://127.0.0.1:{}/base", peer.port)));
    target.inject = vec![
        inject(Placement::Header("authorization".into()), "Bearer {secret.token}"),
        inject(Placement::Query("key".into()), "{secret.token}"),
        inject(Placement::FormField("token".into()), "{secret.token}"),
        inject(Placement::PathPrefix, "/bot{secret.token}"),
        inject(Placement::Header("x-empty".into()), "{secret.empty}"),
    ];
    let mut out = Out::new(&target, Reach::PrivateToo, quick());
    let body = Some(Body::Form(vec![("a".into(), "b c&d".into())]));
    let got = out.fetch(EgressRequest { body, ..send() }).await.unwrap();
    let seen = &peer.seen()[0];
    assert!(
        seen.starts_with("POST /base/bottok/en+s3cret=/send?key=tok%2Fen%2Bs3cret%3D HTTP/1.1"),
        "{seen}"
    );
    assert!(seen.contains("authorization: Bearer tok/en+s3cret=\r\n"), "{seen}");
    assert!(seen.ends_with("a=b+c%26d&token=tok%2Fen%2Bs3cret%3D"), "{seen}");
    assert!(!seen.contains("x-empty"), "{seen}");
    let shown = format!("{got:?}{}", String::from_utf8_lossy(&got.body));
    assert!(!shown.contains(TOKEN) && !shown.contains(&coded[4..20]), "{shown}");
    assert!(!shown.contains(&hex::encode(TOKEN)), "{shown}");
    assert_eq!(shown.matches("[redacted]").count(), 4, "{shown}");
}

#[tokio::test]
async fn what_is_over_a_limit_of_the_request_never_leaves() {
    let peer = Peer::start(vec![ok()]).await;
    let origin = Origin::Fixed(format!("http://127.0.0.1:{}", peer.port));
    let limits = CallLimits {
        request_body_bytes: 10,
        bytes_out: 300,
        fetches: 6,
        send_requests: 1,
        ..quick()
    };
    let mut out = Out::new(&target(origin), Reach::PrivateToo, limits);
    let body = |size: usize| Some(Body::Bytes(vec![b'x'; size]));
    let too_large = out.fetch(EgressRequest { body: body(11), ..send() }).await;
    assert!(matches!(too_large, Err(EgressError::RequestTooLarge(_))), "{too_large:?}");
    assert_eq!(peer.connections(), 0);
    out.fetch(EgressRequest { body: body(10), ..send() }).await.unwrap();
    let second = out.fetch(send()).await;
    assert!(matches!(&second, Err(EgressError::Denied(why)) if why.contains('1')), "{second:?}");
    for _ in 0..3 {
        let _ = out.fetch(request("GET", &["read"])).await;
    }
    let over = out.fetch(request("GET", &["read"])).await;
    assert!(
        matches!(&over, Err(EgressError::Denied(why)) if why.contains("6 requests")),
        "{over:?}"
    );
}

#[tokio::test]
async fn a_call_that_sends_no_message_may_not_use_a_send_route() {
    let peer = Peer::start(vec![ok()]).await;
    let mut out = Out::to(peer.port);
    let mut call = one_call(&out.env, &mut out.wire, &mut out.files, Duration::from_secs(5));
    call.sends = Sends::Never;
    let got = out.egress.fetch(call, send()).await;
    assert!(matches!(&got, Err(EgressError::Denied(why)) if why.contains("send-final")), "{got:?}");
    assert_eq!((peer.connections(), out.counts()), (0, (0, 0, 0, 0)));
}

#[tokio::test]
async fn private_addresses_are_denied_with_the_missing_grant_and_no_byte_leaves() {
    let peer = Peer::start(vec![ok()]).await;
    for host in ["127.0.0.1", "2130706433", "0x7f.0.0.1", "0177.1", "named.example"] {
        let origin = Origin::Fixed(format!("http://{host}:{}", peer.port));
        let mut out = Out::new(&target(origin), Reach::PublicOnly, quick());
        let got = out.fetch(send()).await;
        let Err(EgressError::Denied(why)) = got else { panic!("{host}: {got:?}") };
        assert!(
            why.contains("private_targets = [\"api\"]") && why.contains("[channels.c.grants]"),
            "{why}"
        );
    }
    assert_eq!(peer.connections(), 0);
}

#[tokio::test]
async fn a_name_that_mixes_or_changes_its_addresses_reaches_nobody_private() {
    let peer = Peer::start(vec![ok()]).await;
    let (public, private) = (IpAddr::from([203, 0, 114, 1]), IpAddr::from([127, 0, 0, 1]));
    let origin = Origin::Fixed(format!("http://named.example:{}", peer.port));
    for names in [
        vec![vec![public, private]],
        vec![vec![private, public]],
        vec![vec![public], vec![private]],
        vec!["::ffff:127.0.0.1".parse::<IpAddr>().unwrap()]
            .into_iter()
            .map(|ip| vec![ip])
            .collect(),
    ] {
        let limits = CallLimits { connect_ms: 200, ..quick() };
        let mut out = Out::resolving(&target(origin.clone()), Reach::PublicOnly, limits, names);
        for _ in 0..3 {
            let got = out.fetch(send()).await;
            assert!(
                matches!(got, Err(EgressError::Denied(_) | EgressError::NotSent(_))),
                "{got:?}"
            );
        }
        assert_eq!(out.counts(), (0, 0, 0, 0));
    }
    assert_eq!(peer.connections(), 0);
}

#[tokio::test]
async fn reserved_and_metadata_addresses_are_denied_whatever_was_granted() {
    for host in [
        "0.0.0.0",
        "169.254.169.254",
        "[::]",
        "[::ffff:7f00:1]",
        "[64:ff9b::7f00:1]",
        "255.255.255.255",
    ] {
        let origin = Origin::Fixed(format!("http://{host}"));
        let mut out = Out::new(&target(origin), Reach::PrivateToo, quick());
        assert!(matches!(out.fetch(send()).await, Err(EgressError::Denied(_))), "{host}");
    }
}
