//! Connections that are kept: to whom, for how long, and what is never done with them. And how long
//! an answer may take, and how much a channel may send.

use std::time::Duration;

use super::peer::{Act, Peer, answer, ok};
use super::*;
use crate::sandbox::egress::Body;
use crate::sandbox::egress::connection::{Connection, Stream};
use crate::sandbox::egress::origin::FixedOrigin;
use crate::sandbox::egress::pool::Pool;

// Threat 14.
#[tokio::test]
async fn a_kept_connection_stays_with_the_address_it_was_dialled_to_whatever_the_name_says_later() {
    let close = Act::AnswerAndClose(answer("200 OK", "", b"{}"));
    let peer = Peer::start(vec![ok(), ok(), close, ok()]).await;
    let (here, metadata) = (IpAddr::from([127, 0, 0, 1]), IpAddr::from([169, 254, 169, 254]));
    let named = target(Origin::Fixed(format!("http://named.example:{}", peer.port)));
    let names = vec![vec![here], vec![metadata], vec![here, metadata], vec![here]];
    let mut out = Out::resolving(&named, Reach::PrivateToo, quick(), names);
    for _ in 0..3 {
        assert_eq!(out.fetch(send()).await.unwrap().status, 200);
    }
    assert_eq!(peer.connections(), 1, "the name was looked up once");
    out.env.sleep(Duration::from_millis(50)).await;
    // The server closed: the name is looked up anew, and checked anew.
    for _ in 0..2 {
        let got = out.fetch(send()).await;
        assert!(matches!(got, Err(EgressError::Denied(_))), "{got:?}");
    }
    assert_eq!((peer.connections(), peer.seen().len()), (1, 3));
    assert_eq!(out.fetch(send()).await.unwrap().status, 200);
    assert_eq!(peer.connections(), 2);
}

#[tokio::test]
async fn a_send_takes_no_connection_that_was_idle_for_five_seconds() {
    let peer = Peer::start(vec![ok()]).await;
    let origin = FixedOrigin::parse(&format!("http://127.0.0.1:{}", peer.port)).unwrap();
    let authority = origin.authority;
    let pool = Pool::default();
    let at = Duration::from_millis;
    let given = |reach| {
        let (pool, authority) = (&pool, authority.clone());
        async move {
            let address = ("127.0.0.1", authority.port);
            let stream = tokio::net::TcpStream::connect(address).await.unwrap();
            let connection = Connection::open(Stream::Plain(stream)).await.unwrap();
            pool.give(authority, reach, connection, at(1_000)).await;
        }
    };
    for (reach, effect, now, taken) in [
        (Reach::PrivateToo, Effect::Send, 5_999, true),
        (Reach::PrivateToo, Effect::Send, 6_000, false),
        (Reach::PrivateToo, Effect::Read, 6_000, true),
        (Reach::PrivateToo, Effect::Prepare, 20_999, true),
        (Reach::PrivateToo, Effect::Read, 21_000, false),
        // Dialled under another grant.
        (Reach::PublicOnly, Effect::Read, 1_001, false),
    ] {
        let pool = &pool;
        // What others left is too old.
        assert!(pool.take(&authority, Reach::PrivateToo, Effect::Read, at(90_000)).await.is_none());
        given(Reach::PrivateToo).await;
        let found = pool.take(&authority, reach, effect, at(now)).await;
        assert_eq!(found.is_some(), taken, "{reach:?} {effect:?} {now}");
    }
    given(Reach::PrivateToo).await;
    let other = FixedOrigin::parse(&format!("https://127.0.0.1:{}", peer.port)).unwrap().authority;
    let found = pool.take(&other, Reach::PrivateToo, Effect::Read, at(1_001)).await;
    assert!(found.is_none(), "another scheme is another place");
}

#[tokio::test]
async fn nothing_is_ever_sent_a_second_time_by_the_client() {
    for act in [Act::Close, Act::AnswerAndClose(b"HTTP/1.1 200 OK\r\ncontent-le".to_vec())] {
        for given in [send(), request("GET", &["read"]), request("POST", &["prepare"])] {
            let peer = Peer::start(vec![ok(), act.clone(), ok()]).await;
            let mut out = Out::to(peer.port);
            // The second goes over a connection that was kept, which is where clients retry.
            out.fetch(given.clone()).await.unwrap();
            let got = out.fetch(given).await;
            assert!(matches!(got, Err(EgressError::Unanswered(_))), "{got:?}");
            out.env.sleep(Duration::from_millis(50)).await;
            assert_eq!((peer.seen().len(), peer.connections()), (2, 1));
        }
    }
}

// Threat 16.
#[tokio::test]
async fn an_answer_has_a_time_for_its_first_byte_and_for_each_piece_of_its_head() {
    let ms = Duration::from_millis;
    let answered = answer("200 OK", "", b"{}");
    for (act, first_byte_ms, between_bytes_ms, words) in [
        (Act::Hang, 200, 10_000, Some("no byte of an answer")),
        // A piece of the head, then nothing.
        (
            Act::StartAndHang(b"HTTP/1.1 200 OK\r\nx-a: ".to_vec()),
            10_000,
            200,
            Some("no whole answer"),
        ),
        (
            Act::StartAndHang(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n123".to_vec()),
            10_000,
            200,
            Some("no whole answer"),
        ),
        // Slow in all, and quick enough from piece to piece.
        (Act::Drip(answered, ms(20)), 10_000, 500, None),
    ] {
        let peer = Peer::start(vec![act]).await;
        let origin = Origin::Fixed(format!("http://127.0.0.1:{}", peer.port));
        let limits = CallLimits { first_byte_ms, between_bytes_ms, ..quick() };
        let mut out = Out::new(&target(origin), Reach::PrivateToo, limits);
        let begun = out.env.elapsed();
        match (out.fetch(send()).await, words) {
            (Ok(got), None) => assert_eq!(got.status, 200),
            (Err(EgressError::Unanswered(why)), Some(words)) => {
                assert!(why.contains(words), "{why}");
                assert!(out.env.elapsed() - begun < ms(3_000), "{why}");
                assert_eq!(out.counts(), (1, 0, 0, 0));
            }
            (got, _) => panic!("{got:?}"),
        }
    }
}

#[tokio::test]
async fn a_packed_file_is_unpacked_into_the_store_under_its_cap() {
    let content: Vec<u8> = (0..50_000_u32).flat_map(|n| n.to_le_bytes()).collect();
    let whole = packed(&content);
    let act = |body: &[u8]| Act::Answer(answer("200 OK", "content-encoding: gzip\r\n", body));
    let bomb = packed(&vec![0; 32 << 20]);
    let cut = act(&whole[..whole.len() - 4]);
    let no_file = Act::Answer(answer("404 Not Found", "", &vec![b'x'; 500_000]));
    let acts = vec![act(&whole), act(&bomb), cut, no_file];
    let (peer, kept) = (Peer::start(acts).await, Kept::default());
    kept.most(1 << 20);
    let origin = Origin::Fixed(format!("http://127.0.0.1:{}", peer.port));
    let mut out = Out::keeping(&target(origin), Reach::PrivateToo, quick(), kept.clone());
    let get = || request("GET", &["read", "a"]);
    let saved = out.download(get()).await.unwrap();
    assert_eq!((saved.status, saved.size_bytes), (200, content.len() as u64));
    assert!(saved.headers.iter().all(|(name, _)| name != "content-encoding"));
    assert_eq!(kept.bytes(saved.blob.unwrap()), content);
    assert_eq!(out.download(get()).await, Err(EgressError::AnswerTooLarge(200)));
    let broken = out.download(get()).await;
    assert!(matches!(broken, Err(EgressError::Unanswered(_))), "{broken:?}");
    assert_eq!(out.download(get()).await.unwrap().status, 404);
    assert_eq!(kept.count(), 1);
}

// Threat 17.
#[tokio::test]
async fn a_channel_sends_so_many_bytes_within_a_day_and_no_more_under_any_adapter() {
    let peer = Peer::start(vec![ok()]).await;
    let origin = Origin::Fixed(format!("http://127.0.0.1:{}", peer.port));
    let limits = CallLimits { day_bytes_out: 2_000, ..quick() };
    let mut out = Out::new(&target(origin.clone()), Reach::PrivateToo, limits.clone());
    let with = |size: usize| EgressRequest { body: Some(Body::Bytes(vec![b'x'; size])), ..send() };
    out.fetch(with(1_500)).await.unwrap();
    let got = out.fetch(with(1_000)).await;
    let Err(EgressError::NotSent(why)) = got else { panic!("{got:?}") };
    assert!(why.contains("`day_bytes_out` in [channels.c.limits]"), "{why}");
    // What is smaller still fits, and a channel that is bound anew goes on from there.
    out.fetch(with(100)).await.unwrap();
    let (room, dialer) = (Arc::clone(&out.egress.room), out.egress.dialer.clone());
    let targets =
        BTreeMap::from([("api".to_owned(), bound(&target(origin), Reach::PrivateToo).unwrap())]);
    out.egress = Egress::new(out.env.clone(), room, targets, dialer, limits);
    assert!(matches!(out.fetch(with(1_000)).await, Err(EgressError::NotSent(_))));
    assert_eq!(peer.seen().len(), 2);
    assert_eq!(out.counts().0, 2, "nothing of it left");
}

#[tokio::test]
async fn a_request_that_never_left_costs_nothing_of_the_day() {
    let free = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = free.local_addr().unwrap().port();
    drop(free);
    let origin = Origin::Fixed(format!("http://127.0.0.1:{port}"));
    let limits = CallLimits { day_bytes_out: 1_000, ..quick() };
    let mut out = Out::new(&target(origin), Reach::PrivateToo, limits);
    let body = || Some(Body::Bytes(vec![b'x'; 700]));
    for _ in 0..3 {
        let got = out.fetch(EgressRequest { body: body(), ..send() }).await;
        let Err(EgressError::NotSent(why)) = got else { panic!("{got:?}") };
        assert!(!why.contains("day_bytes_out"), "{why}");
    }
}

// Threat 19.
#[tokio::test]
async fn a_credential_is_taken_out_wherever_the_answer_is_cut_and_however_it_is_packed() {
    use base64::Engine as _;
    let coded = base64::engine::general_purpose::URL_SAFE.encode(format!("u{TOKEN}"));
    for form in [TOKEN.to_owned(), coded, hex::encode_upper(TOKEN), "tok/en%2Bs3cret%3d".to_owned()]
    {
        let text = format!("before {form} after");
        let chunked = |size: usize| {
            let mut out = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n".to_vec();
            for piece in text.as_bytes().chunks(size) {
                out.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
                out.extend_from_slice(piece);
                out.extend_from_slice(b"\r\n");
            }
            out.extend_from_slice(b"0\r\n\r\n");
            Act::Answer(out)
        };
        let packed =
            Act::Answer(answer("200 OK", "content-encoding: gzip\r\n", &packed(text.as_bytes())));
        let peer = Peer::start(vec![chunked(1), chunked(9), packed]).await;
        let mut out = Out::to(peer.port);
        for _ in 0..3 {
            let got = out.fetch(request("GET", &["read"])).await.unwrap();
            let got = String::from_utf8(got.body).unwrap();
            assert!(got.starts_with("before ") && got.contains("[redacted]"), "{form}: {got}");
            assert!(!got.contains(&form[4..form.len() - 3]), "{form}: {got}");
        }
    }
}
