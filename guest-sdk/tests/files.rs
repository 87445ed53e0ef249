//! Files of an adapter, against the fake host.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use lastword_sdk::fake;
use lastword_sdk::http::Part;
use lastword_sdk::prelude::*;

/// Sends every file beside the text, and fetches remote ones.
struct Courier;

impl Adapter for Courier {
    fn describe() -> Manifest {
        Manifest::new("courier", "1.0.0", "Sends files.").target(
            Target::fixed("api", "https://chat.example")
                .get("/media/*", Effect::Read)
                .post("/upload", Effect::Prepare)
                .post("/messages", Effect::Send),
        )
    }
}

impl Outbound for Courier {
    fn send_final(message: OutboundMessage) -> Result<Receipt, SendError> {
        let mut parts = vec![Part::text("text", message.text)];
        for file in &message.attachments {
            let blob = file.blob_id().unwrap_or_default();
            let mut part = Part::blob("file", blob).media_type(&file.media_type);
            if let Some(name) = &file.name {
                part = part.file_name(name);
            }
            parts.push(part);
        }
        http::post("api").path(["messages"]).multipart(parts).send()?.for_send()?;
        Ok(Receipt::new("p1"))
    }
}

impl Files for Courier {
    fn download(_: Place, file: Attachment) -> Result<String, CallError> {
        let reference = file.remote_reference().unwrap_or_default();
        http::get("api").path(["media", reference]).download()?.for_call()
    }
}

lastword_sdk::export!(Courier with files);

fn place() -> Place {
    fake::message("c", "").place
}

#[test]
fn a_file_goes_out_beside_its_text_without_passing_through_the_adapter() {
    let host = fake::Host::of::<Courier>();
    let blob = host.put_blob(b"\x89PNG");
    let mut message = fake::message("c", "look");
    message.attachments = vec![Attachment::blob("image/png", blob).named("cat.png").sized(4)];
    host.answer(fake::status(200));
    host.send_final::<Courier>(message).unwrap();
    let sent = &host.sent()[0];
    assert!(sent.header("content-type").unwrap().starts_with("multipart/form-data; boundary="));
    assert_eq!(sent.parts[0].bytes, b"look");
    assert_eq!(sent.parts[1].file_name.as_deref(), Some("cat.png"));
    assert_eq!(
        (sent.parts[1].media_type.as_deref(), &sent.parts[1].bytes[..]),
        (Some("image/png"), &b"\x89PNG"[..])
    );
    assert!(sent.body.windows(4).any(|four| four == b"\x89PNG"));
}

#[test]
fn a_remote_file_becomes_a_blob_and_a_refused_one_says_why() {
    let host = fake::Host::of::<Courier>();
    host.answer(fake::status(200).bytes(b"bytes"));
    let blob = Courier::download(place(), Attachment::remote("text/plain", "m/1")).unwrap();
    assert_eq!(host.blob(&blob).as_deref(), Some(&b"bytes"[..]));
    assert_eq!(host.sent()[0].url, "https://chat.example/media/m%2F1");
    host.answer(fake::status(404));
    let gone = Courier::download(place(), Attachment::remote("text/plain", "m2"));
    assert!(matches!(gone, Err(CallError::Refused(_))), "{gone:?}");
}

#[test]
fn a_blob_is_read_in_pieces_and_an_unknown_one_is_told() {
    let host = fake::Host::of::<Courier>();
    let blob = blobs::write(b"0123456789").unwrap();
    assert_eq!(blobs::size(&blob), Ok(10));
    assert_eq!(blobs::read(&blob, 8, 100), Ok(b"89".to_vec()));
    assert_eq!(blobs::read(&blob, 10, 1), Ok(Vec::new()));
    assert_eq!(blobs::size("guessed"), Err(blobs::Error::UnknownBlob));
    host.answer(fake::status(201));
    http::post("api").path(["upload"]).blob("image/png", &blob).send().unwrap();
    assert_eq!(host.sent()[0].body, b"0123456789");
    let unknown = http::post("api").path(["upload"]).blob("image/png", "guessed").send();
    assert!(matches!(unknown, Err(http::Error::Denied(_))), "{unknown:?}");
}

#[test]
fn only_a_get_is_downloaded() {
    let _host = fake::Host::of::<Courier>();
    let refused = http::post("api").path(["upload"]).download();
    assert!(matches!(refused, Err(http::Error::Denied(_))), "{refused:?}");
}
