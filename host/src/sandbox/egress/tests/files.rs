//! Files on their way out and in.

use super::peer::{Act, Peer, answer, ok};
use super::*;
use crate::lifecycle::id::BlobId;
use crate::sandbox::egress::{Body, Content, Part};

/// The way out to a peer, knowing `given` of what `kept` keeps.
fn out(peer: &Peer, kept: &Kept, given: &[BlobId], limits: CallLimits) -> Out {
    let target = target(Origin::Fixed(format!("http://127.0.0.1:{}", peer.port)));
    let mut out = Out::keeping(&target, Reach::PrivateToo, limits, kept.clone());
    out.files = CallFiles::given(given.iter().copied());
    out
}

fn with(body: Body) -> EgressRequest {
    EgressRequest { body: Some(body), ..send() }
}

fn parts(blob: BlobId) -> Body {
    let text = Part {
        name: "text".to_owned(),
        file_name: None,
        media_type: None,
        content: Content::Bytes(b"hello".to_vec()),
    };
    let file = Part {
        name: "file".to_owned(),
        file_name: Some("a \"b\".bin".to_owned()),
        media_type: Some("image/png".to_owned()),
        content: Content::Blob(blob.to_string()),
    };
    Body::Multipart(vec![text, file])
}

#[tokio::test]
async fn a_blob_is_sent_whole_with_its_length_and_counts_as_a_send() {
    let (peer, kept) = (Peer::start(vec![ok()]).await, Kept::default());
    let content = "x".repeat(200_000);
    let blob = kept.put("c", content.as_bytes());
    let mut out = out(&peer, &kept, &[blob], quick());
    let got = out.fetch(with(Body::Blob(blob.to_string()))).await.unwrap();
    assert_eq!(got.status, 200);
    let seen = peer.seen().remove(0);
    assert!(seen.contains("content-length: 200000\r\n"), "{}", &seen[..300]);
    assert!(seen.ends_with(&content));
    assert_eq!(out.counts(), (1, 1, 1, 0));
    // A file has a budget of its own: it takes nothing of the call's other bytes.
    assert!(out.wire.bytes_out < 2_000, "{}", out.wire.bytes_out);
}

#[tokio::test]
async fn a_multipart_body_carries_fields_and_files_and_its_own_content_type() {
    let (peer, kept) = (Peer::start(vec![ok()]).await, Kept::default());
    let blob = kept.put("c", b"\x01PNG bytes");
    let mut out = out(&peer, &kept, &[blob], quick());
    let mut request = with(parts(blob));
    request.headers.push(("content-type".to_owned(), "text/plain".to_owned()));
    out.fetch(request).await.unwrap();
    let seen = peer.seen().remove(0);
    let boundary = seen.split("multipart/form-data; boundary=").nth(1).unwrap();
    let boundary = boundary.split("\r\n").next().unwrap();
    assert_eq!(seen.matches("content-type: text/plain").count(), 0, "{seen}");
    let body = seen.split("\r\n\r\n").skip(1).collect::<Vec<_>>().join("\r\n\r\n");
    let expected = format!(
        "--{boundary}\r\ncontent-disposition: form-data; name=\"text\"\r\n\r\nhello\r\n\
         --{boundary}\r\ncontent-disposition: form-data; name=\"file\"; \
         filename=\"a %22b%22.bin\"\r\ncontent-type: image/png\r\n\r\n\u{1}PNG bytes\r\n\
         --{boundary}--\r\n"
    );
    assert_eq!(body, expected);
    assert!(seen.contains(&format!("content-length: {}\r\n", expected.len())), "{seen}");
}

#[tokio::test]
async fn a_file_that_the_call_was_not_given_is_denied_and_no_byte_leaves() {
    let (peer, kept) = (Peer::start(vec![ok()]).await, Kept::default());
    let (mine, theirs) = (kept.put("c", b"mine"), kept.put("other", b"theirs"));
    // The second is given by mistake: the store is asked by channel too.
    let mut out = out(&peer, &kept, &[theirs], quick());
    for body in [Body::Blob(mine.to_string()), parts(theirs), Body::Blob("guess".to_owned())] {
        let got = out.fetch(with(body)).await;
        assert!(
            matches!(&got, Err(EgressError::Denied(why)) if why.contains("not given")),
            "{got:?}"
        );
    }
    assert_eq!((peer.connections(), out.counts()), (0, (0, 0, 0, 0)));
}

#[tokio::test]
async fn a_file_with_a_secret_and_a_damaged_one_do_not_leave() {
    let (peer, kept) = (Peer::start(vec![ok()]).await, Kept::default());
    let leaking = kept.put("c", format!("before {TOKEN} after").as_bytes());
    let damaged = kept.put("c", b"as it was");
    kept.damage(damaged, b"as it is!");
    let plain = kept.put("c", b"the placeholder {secret.token} is text in a file");
    let mut out = out(&peer, &kept, &[leaking, damaged, plain], quick());
    let got = out.fetch(with(Body::Blob(leaking.to_string()))).await;
    assert!(matches!(&got, Err(EgressError::Denied(why)) if why.contains("secret")), "{got:?}");
    let got = out.fetch(with(parts(damaged))).await;
    assert!(matches!(&got, Err(EgressError::NotSent(why)) if why.contains("damaged")), "{got:?}");
    assert_eq!(peer.connections(), 0);
    assert!(out.fetch(with(Body::Blob(plain.to_string()))).await.is_ok());
}

#[tokio::test]
async fn files_of_one_call_have_a_budget_and_names_are_searched_for_secrets() {
    let (peer, kept) = (Peer::start(vec![ok()]).await, Kept::default());
    let blob = kept.put("c", &[b'x'; 90]);
    let mut out = out(&peer, &kept, &[blob], CallLimits { file_bytes: 100, ..quick() });
    for _ in 0..4 {
        out.fetch(with(Body::Blob(blob.to_string()))).await.unwrap();
    }
    let over = out.fetch(with(Body::Blob(blob.to_string()))).await;
    assert!(matches!(&over, Err(EgressError::RequestTooLarge(_))), "{over:?}");
    let Body::Multipart(mut parts) = parts(blob) else { panic!() };
    parts[1].file_name = Some(TOKEN.to_owned());
    let leak = out.fetch(with(Body::Multipart(parts))).await;
    assert!(matches!(&leak, Err(EgressError::Denied(why)) if why.contains("secret")), "{leak:?}");
}

#[tokio::test]
async fn a_request_cut_off_in_its_file_left_and_was_not_answered() {
    let (peer, kept) = (Peer::start(vec![Act::Hang]).await, Kept::default());
    let blob = kept.put("c", &vec![b'x'; 8 << 20]);
    let mut out = out(&peer, &kept, &[blob], quick());
    let mut request = with(Body::Blob(blob.to_string()));
    request.timeout_ms = Some(1_000);
    let got = out.fetch(request).await;
    assert!(matches!(got, Err(EgressError::Unanswered(_))), "{got:?}");
    assert_eq!(out.counts(), (1, 0, 0, 0));
}

#[tokio::test]
async fn a_download_puts_a_2xx_body_into_the_store_and_other_bodies_nowhere() {
    let content = vec![b'y'; 300_000];
    let acts = vec![
        Act::Answer(answer("200 OK", "content-type: image/png\r\n", &content)),
        Act::Answer(answer("302 Found", "location: http://127.0.0.1:1/\r\n", b"elsewhere")),
    ];
    let (peer, kept) = (Peer::start(acts).await, Kept::default());
    let mut out = out(&peer, &kept, &[], quick());
    let saved = out.download(request("GET", &["read", "a"])).await.unwrap();
    assert_eq!((saved.status, saved.size_bytes), (200, 300_000));
    assert_eq!(kept.bytes(saved.blob.unwrap()), content);
    assert!(out.files.knows(&saved.blob.unwrap().to_string()).is_some(), "the call may use it");
    assert_eq!(out.wire.bytes_in, 0);
    let other = out.download(request("GET", &["read", "a"])).await.unwrap();
    assert_eq!((other.status, other.blob, other.size_bytes), (302, None, 0));
    assert_eq!((kept.count(), peer.connections()), (1, 1), "nobody follows a redirect");
}

#[tokio::test]
async fn a_download_is_capped_by_what_is_announced_and_by_what_comes() {
    let announced = b"HTTP/1.1 200 OK\r\ncontent-length: 5000\r\n\r\n".to_vec();
    let chunked = [
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n".as_slice(),
        b"800\r\n",
        &[b'z'; 0x800],
        b"\r\n0\r\n\r\n",
    ];
    let squeezed = answer("200 OK", "content-encoding: br\r\n", b"??");
    let acts = vec![
        Act::Answer(announced),
        Act::Answer(chunked.concat()),
        Act::AnswerAndClose(squeezed),
        Act::Drip(
            b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n123456789".to_vec(),
            Duration::from_millis(400),
        ),
    ];
    let (peer, kept) = (Peer::start(acts).await, Kept::default());
    kept.most(1_000);
    let limits = CallLimits { between_bytes_ms: 200, ..quick() };
    let mut out = out(&peer, &kept, &[], limits);
    for _ in 0..2 {
        let over = out.download(request("GET", &["read", "a"])).await;
        assert_eq!(over, Err(EgressError::AnswerTooLarge(200)));
    }
    let squeezed = out.download(request("GET", &["read", "a"])).await;
    assert!(matches!(squeezed, Err(EgressError::Unanswered(_))), "{squeezed:?}");
    let mut slow = request("GET", &["read", "a"]);
    slow.timeout_ms = Some(1_500);
    let slow = out.download(slow).await;
    assert!(matches!(slow, Err(EgressError::Unanswered(_))), "{slow:?}");
    assert_eq!(kept.count(), 0, "nothing is kept of them");
}

#[tokio::test]
async fn only_a_get_is_downloaded_and_policy_is_that_of_every_request() {
    let (peer, kept) = (Peer::start(vec![ok()]).await, Kept::default());
    let mut out = out(&peer, &kept, &[], quick());
    for request in [send(), request("GET", &["nowhere"]), request("GET", &["read", ".."])] {
        let got = out.download(request).await;
        assert!(matches!(got, Err(EgressError::Denied(_))), "{got:?}");
    }
    assert_eq!((peer.connections(), kept.count()), (0, 0));
}
