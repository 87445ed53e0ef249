//! What no adapter can use up by asking for it over and over: threads of the host, descriptors,
//! bytes of a call, time.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Semaphore;

use super::peer::{Act, Peer, answer, ok};
use super::*;
use crate::sandbox::egress::{Body, Content, Part};

/// Never answers while it is shut.
struct Stuck {
    begun: AtomicUsize,
    gate: Semaphore,
}

#[async_trait]
impl Resolve for Stuck {
    async fn resolve(&self, _: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        self.begun.fetch_add(1, Ordering::SeqCst);
        let open = self.gate.acquire().await.map_err(io::Error::other)?;
        open.forget();
        Ok(vec![SocketAddr::from(([127, 0, 0, 1], port))])
    }
}

#[tokio::test]
async fn lookups_that_nobody_waits_for_any_more_still_count() {
    let peer = Peer::start(vec![ok()]).await;
    let named = target(Origin::Fixed(format!("http://named.example:{}", peer.port)));
    let stuck = Arc::new(Stuck { begun: AtomicUsize::new(0), gate: Semaphore::new(0) });
    let mut out = Out::new(&named, Reach::PrivateToo, quick());
    let (room, targets) = (Arc::clone(&out.egress.room), bound(&named, Reach::PrivateToo).unwrap());
    let dialer = Dialer::new(out.env.clone(), Arc::clone(&stuck) as Arc<dyn Resolve>).unwrap();
    let targets = BTreeMap::from([("api".to_owned(), targets)]);
    out.egress = Egress::new(out.env.clone(), room, targets, dialer, quick());
    for timeout_ms in (0..32).map(|n| n % 3) {
        let got = out.fetch(EgressRequest { timeout_ms: Some(timeout_ms), ..send() }).await;
        assert!(matches!(got, Err(EgressError::NotSent(_))), "{got:?}");
    }
    out.env.sleep(Duration::from_millis(50)).await;
    let begun = stuck.begun.load(Ordering::SeqCst);
    assert!((1..=4).contains(&begun), "{begun} names are looked up at once");
    // Their places come free with their ends, and not before.
    stuck.gate.add_permits(begun + 1);
    assert_eq!(out.fetch(send()).await.unwrap().status, 200);
    assert_eq!(stuck.begun.load(Ordering::SeqCst), begun + 1);
}

/// A body of every file, `times` over.
fn parts(blobs: &[crate::lifecycle::id::BlobId], times: usize) -> Body {
    let part = |blob: &crate::lifecycle::id::BlobId| Part {
        name: "file".to_owned(),
        file_name: None,
        media_type: None,
        content: Content::Blob(blob.to_string()),
    };
    Body::Multipart(std::iter::repeat_n(blobs, times).flatten().map(part).collect())
}

#[tokio::test]
async fn however_many_files_a_call_sends_and_reads_few_are_open() {
    let kept = Kept::default();
    let blobs: Vec<_> = (0..40_u32).map(|n| kept.put("c", &n.to_le_bytes().repeat(500))).collect();
    let limits = CallLimits { file_bytes: 1 << 30, ..quick() };
    let peer = Peer::start(vec![ok()]).await;
    let origin = Origin::Fixed(format!("http://127.0.0.1:{}", peer.port));
    let mut out = Out::keeping(&target(origin), Reach::PrivateToo, limits, kept.clone());
    out.files = CallFiles::given(blobs.iter().copied());
    let room = Arc::clone(&out.egress.room);
    for _ in 0..2 {
        for (n, blob) in (0_u32..).zip(&blobs) {
            let read = out.files.read(&room, &blob.to_string(), 4, 4).await.unwrap();
            assert_eq!(read, n.to_le_bytes());
            assert!(kept.open_now() <= 4, "{}", kept.open_now());
        }
    }
    let env = out.env.clone();
    let (mut request, watched) = (send(), kept.clone());
    request.body = Some(parts(&blobs, 5));
    let sending = out.fetch(request);
    let watching = async {
        let mut most = 0;
        while peer.seen().is_empty() {
            most = most.max(watched.open_now());
            env.sleep(Duration::from_millis(2)).await;
        }
        most
    };
    let (got, most) = tokio::join!(sending, watching);
    assert!((1..=5).contains(&most), "{most} files were open at once");
    assert_eq!(got.unwrap().status, 200);
    let sent = peer.seen().remove(0);
    assert_eq!(sent.matches("form-data; name=\"file\"").count(), 200);
    assert!(sent.len() > 200 * 2_000, "whole: {}", sent.len());
}

#[tokio::test]
async fn bytes_that_came_are_charged_however_the_answer_ends() {
    let half = answer("200 OK", "", &[b'x'; 100_000])[..60_000].to_vec();
    let peer = Peer::start(vec![Act::AnswerAndClose(half.clone())]).await;
    let origin = Origin::Fixed(format!("http://127.0.0.1:{}", peer.port));
    let limits = CallLimits { bytes_in: 210_000, ..quick() };
    let mut out = Out::new(&target(origin), Reach::PrivateToo, limits);
    for _ in 0..2 {
        let got = out.fetch(request("GET", &["read"])).await;
        assert!(matches!(got, Err(EgressError::Unanswered(_))), "{got:?}");
    }
    assert!((110_000..=120_000).contains(&out.wire.bytes_in), "{}", out.wire.bytes_in);
    let got = out.fetch(request("GET", &["read"])).await;
    assert_eq!(got, Err(EgressError::AnswerTooLarge(200)), "so much is not left");
    // Packed to little, it is what it is when unpacked.
    let bomb = packed(&vec![0; 1 << 20]);
    let cut = answer("200 OK", "content-encoding: gzip\r\n", &bomb);
    let cut = Act::AnswerAndClose(cut[..cut.len() - 100].to_vec());
    let peer = Peer::start(vec![cut]).await;
    let mut out = Out::to(peer.port);
    let got = out.fetch(request("GET", &["read"])).await;
    assert!(matches!(got, Err(EgressError::Unanswered(_))), "{got:?}");
    assert!(out.wire.bytes_in > 500_000, "{}", out.wire.bytes_in);
}

#[tokio::test]
async fn downloads_that_break_off_are_charged_and_none_is_stored_beyond_what_is_left() {
    let half = answer("200 OK", "", &[b'x'; 1_000])[..900].to_vec();
    let whole = Act::Answer(answer("200 OK", "", &[b'y'; 1_000]));
    let acts = vec![Act::AnswerAndClose(half.clone()), Act::AnswerAndClose(half), whole];
    let (peer, kept) = (Peer::start(acts).await, Kept::default());
    let origin = Origin::Fixed(format!("http://127.0.0.1:{}", peer.port));
    let limits = CallLimits { file_bytes: 1_000, ..quick() };
    let mut out = Out::keeping(&target(origin), Reach::PrivateToo, limits, kept.clone());
    for _ in 0..2 {
        let got = out.download(request("GET", &["read"])).await;
        assert!(matches!(got, Err(EgressError::Unanswered(_))), "{got:?}");
    }
    for _ in 0..2 {
        assert!(out.download(request("GET", &["read"])).await.unwrap().blob.is_some());
    }
    let over = out.download(request("GET", &["read"])).await;
    assert_eq!(over, Err(EgressError::AnswerTooLarge(200)));
    assert_eq!(kept.count(), 2, "what is refused is not stored");
    assert_eq!(out.wire.bytes_in, 0);
}

#[tokio::test]
async fn a_body_that_is_too_long_is_refused_before_it_is_searched() {
    let peer = Peer::start(vec![ok()]).await;
    let mut out = Out::to(peer.port);
    out.egress.limits.request_body_bytes = 100;
    let long = [TOKEN.as_bytes(), &[b'x'; 100]].concat();
    let text = String::from_utf8(long.clone()).unwrap();
    let part = Part {
        name: "a".to_owned(),
        file_name: None,
        media_type: None,
        content: Content::Bytes(long.clone()),
    };
    for body in
        [Body::Bytes(long), Body::Form(vec![("a".to_owned(), text)]), Body::Multipart(vec![part])]
    {
        let got = out.fetch(EgressRequest { body: Some(body), ..send() }).await;
        assert!(matches!(got, Err(EgressError::RequestTooLarge(_))), "{got:?}");
    }
    assert_eq!(peer.connections(), 0);
}

#[tokio::test]
async fn what_is_there_already_is_not_taken_beyond_the_deadline() {
    let piece = format!("1000\r\n{}\r\n", "x".repeat(4096));
    let mut chunked = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n".to_vec();
    for _ in 0..400 {
        chunked.extend_from_slice(piece.as_bytes());
    }
    chunked.extend_from_slice(b"0\r\n\r\n");
    let (peer, kept) = (Peer::start(vec![Act::Answer(chunked)]).await, Kept::default());
    kept.slowly(Duration::from_millis(20));
    let origin = Origin::Fixed(format!("http://127.0.0.1:{}", peer.port));
    let mut out = Out::keeping(&target(origin), Reach::PrivateToo, quick(), kept.clone());
    let begun = out.env.elapsed();
    let mut slow = request("GET", &["read"]);
    slow.timeout_ms = Some(500);
    let got = out.download(slow).await;
    assert!(matches!(got, Err(EgressError::Unanswered(_))), "{got:?}");
    assert!(out.env.elapsed() - begun < Duration::from_secs(4), "{:?}", out.env.elapsed() - begun);
}
