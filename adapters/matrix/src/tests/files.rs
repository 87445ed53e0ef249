//! Files: what comes in as one, fetching, sending.

use lastword_sdk::http::Error;

use super::*;

fn image() -> Value {
    let mut event = said("$1", "look");
    event["content"] = json!({
        "msgtype": "m.image", "body": "look", "filename": "a.png", "url": "mxc://example.org/x",
        "info": { "mimetype": "image/png", "size": 9 },
    });
    event
}

#[test]
fn a_file_is_an_attachment_and_its_caption_the_text() {
    let mut event = image();
    let captioned = message(read(event.clone()));
    assert_eq!(captioned.text, "look");
    let file = Attachment::remote("image/png", "mxc://example.org/x").named("a.png").sized(9);
    assert_eq!(captioned.attachments, [file]);
    event["content"]["body"] = json!("a.png");
    assert_eq!(message(read(event)).text, "");
}

#[test]
fn a_file_without_a_usable_address_leaves_its_name_as_text() {
    for url in [json!(null), json!("https://x/y"), json!("mxc://x"), json!("mxc://x/y/z")] {
        let mut event = image();
        event["content"]["url"] = url;
        let message = message(read(event));
        assert_eq!((message.text.as_str(), message.attachments.len()), ("look", 0));
    }
}

fn fetched(file: &Attachment) -> Result<String, CallError> {
    Matrix::download(fake::message(ROOM, "").place, file.clone())
}

#[test]
fn a_file_is_fetched_into_the_hosts_store() {
    let host = host();
    let file = Attachment::remote("image/png", "mxc://example.org/x");
    host.answer(fake::status(200).bytes(&[0, 159, 146, 150]));
    let blob = fetched(&file).unwrap();
    assert_eq!(host.blob(&blob).as_deref(), Some(&[0, 159, 146, 150][..]));
    let sent = &host.sent()[0];
    assert!(sent.url.ends_with("/_matrix/client/v1/media/download/example.org/x"), "{}", sent.url);
    assert_eq!(sent.header("authorization"), Some("Bearer syt_secret"));
    assert_eq!(sent.effect, Effect::Read);
}

#[test]
fn a_file_that_cannot_be_fetched_has_its_outcome() {
    let host = host();
    let file = Attachment::remote("image/png", "mxc://example.org/x");
    let outcome = |status| {
        host.answer(fake::status(status));
        fetched(&file).unwrap_err()
    };
    assert!(matches!(outcome(404), CallError::Refused(_)));
    // One file that is not for us says nothing of the account.
    assert!(matches!(outcome(403), CallError::Refused(_)));
    assert!(matches!(outcome(401), CallError::Unauthorized(_)));
    assert!(matches!(outcome(504), CallError::Transient(_)));
    let unfit = Attachment::remote("image/png", "https://example.org/x");
    assert!(matches!(fetched(&unfit), Err(CallError::Refused(_))));
}

fn with_file(text: &str) -> (fake::Host, OutboundMessage) {
    let host = host();
    let blob = host.put_blob(b"%PDF");
    let mut message = fake::message(ROOM, text);
    message.attachments.push(Attachment::blob("application/pdf", blob).named("a b.pdf"));
    (host, message)
}

fn uploaded() -> fake::Answer {
    fake::status(200).json(&json!({ "content_uri": "mxc://example.org/new" }))
}

#[test]
fn a_file_is_uploaded_and_then_shown_with_what_is_said_of_it() {
    let (host, message) = with_file("read **this**");
    host.answer(uploaded()).answer(fake::status(200).json(&json!({ "event_id": "$sent" })));
    assert_eq!(host.send_final::<Matrix>(message).unwrap().platform_id, "$sent");
    let [upload, shown] = &host.sent()[..] else { panic!("two requests") };
    assert!(upload.url.ends_with("/_matrix/media/v3/upload?filename=a%20b.pdf"), "{}", upload.url);
    assert_eq!((upload.method.as_str(), upload.effect), ("POST", Effect::Prepare));
    assert_eq!(upload.header("content-type"), Some("application/pdf"));
    assert_eq!(upload.body, b"%PDF");
    assert!(shown.url.ends_with("/send/m.room.message/d1"), "{}", shown.url);
    let content = json!({
        "msgtype": "m.file", "body": "read **this**", "filename": "a b.pdf",
        "url": "mxc://example.org/new", "info": { "mimetype": "application/pdf", "size": 4 },
        "dev.lastword.delivery_id": "d1",
    });
    assert_eq!(shown.json(), content);
}

#[test]
fn a_file_alone_has_its_name_as_its_body() {
    let (host, mut message) = with_file("");
    message.attachments[0].media_type = "image/png".to_owned();
    host.answer(uploaded()).answer(fake::status(200).json(&json!({ "event_id": "$sent" })));
    host.send_final::<Matrix>(message).unwrap();
    let content = host.sent()[1].json();
    assert_eq!((&content["body"], &content["msgtype"]), (&json!("a b.pdf"), &json!("m.image")));
}

#[test]
fn an_upload_that_fails_has_sent_nothing() {
    let (host, message) = with_file("x");
    let send = || host.send_final::<Matrix>(message.clone()).unwrap_err();
    host.fail(Error::Unanswered("reset".to_owned()));
    assert!(matches!(send(), SendError::Transient(_)));
    host.answer(fake::status(502));
    assert!(matches!(send(), SendError::Transient(_)));
    host.answer(fake::status(413).json(&json!({ "errcode": "M_TOO_LARGE" })));
    assert!(matches!(send(), SendError::Rejected(_)));
    host.answer(fake::status(403).json(&json!({ "errcode": "M_FORBIDDEN" })));
    assert!(matches!(send(), SendError::Rejected(_)));
    host.answer(fake::status(200).json(&json!({})));
    assert!(matches!(send(), SendError::Transient(_)));
    assert!(host.sent().iter().all(|sent| sent.effect == Effect::Prepare));
}

#[test]
fn two_files_in_one_message_are_refused() {
    let (host, mut message) = with_file("x");
    message.attachments.push(message.attachments[0].clone());
    assert!(matches!(host.send_final::<Matrix>(message), Err(SendError::Rejected(_))));
    assert!(host.sent().is_empty());
}
