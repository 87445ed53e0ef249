//! Files and albums, both ways.

use super::*;

fn taken(attachments: &str) -> InboundMessage {
    let body = format!(
        r#"{{"id":"m1","conversation":"c1","text":"","group":"g1","attachments":{attachments}}}"#
    );
    match handle("/messages", &body).unwrap().events.remove(0) {
        InboundEvent::Message(message) => message,
        other => panic!("no message: {other:?}"),
    }
}

#[test]
fn files_come_in_by_address_and_pieces_with_their_group() {
    let _host = host();
    let message = taken(
        r#"[{"url":"https://files.example/a.png","name":"a.png","media_type":"image/png",
             "size_bytes":9},{"url":"http://files.example/b"}]"#,
    );
    let image = Attachment::remote("image/png", "https://files.example/a.png");
    let plain = Attachment::remote("application/octet-stream", "http://files.example/b");
    assert_eq!(message.attachments, [image.named("a.png").sized(9), plain]);
    assert_eq!(message.group.as_deref(), Some("g1"));
}

#[test]
fn a_file_without_a_usable_address_is_refused() {
    let _host = host();
    let long = "x".repeat(2_048);
    for (file, word) in [
        ("{}", "`url`"),
        (r#"{"url":"file:///etc/passwd"}"#, "`https://`"),
        (&format!(r#"{{"url":"https://x/{long}"}}"#), "2048"),
    ] {
        let body = format!(r#"{{"id":"m1","conversation":"c1","text":"","attachments":[{file}]}}"#);
        let refusal = refusal("/messages", &body);
        assert!(refusal.sentence.contains(word), "{}", refusal.sentence);
    }
}

#[test]
fn a_message_has_at_most_100_files() {
    let _host = host();
    let files = |count: usize| json!(vec![json!({ "url": "https://x/y" }); count]).to_string();
    assert_eq!(taken(&files(100)).attachments.len(), 100);
    assert_eq!(taken("null").attachments, []);
    let body =
        format!(r#"{{"id":"m1","conversation":"c1","text":"","attachments":{}}}"#, files(101));
    assert!(refusal("/messages", &body).sentence.contains("100 files"));
}

fn fetched(url: &str) -> Result<String, CallError> {
    let place = fake::message("c1", "").place;
    WebhookBridge::download(place, Attachment::remote("image/png", url))
}

#[test]
fn a_file_is_fetched_from_the_origin_that_the_operator_named_and_from_no_other() {
    let host = host();
    host.setting("files_origin", "https://*.files.example");
    host.answer(fake::status(200).bytes(b"png"));
    let blob = fetched("https://a.files.example/x/a.png?key=1").unwrap();
    assert_eq!(host.blob(&blob).as_deref(), Some(&b"png"[..]));
    assert_eq!(host.sent()[0].url, "https://a.files.example/x/a.png?key=1");
    assert!(matches!(fetched("https://evil.example/a.png"), Err(CallError::Refused(_))));
    for (status, fits) in [
        (404, (|error| matches!(error, CallError::Refused(_))) as fn(&CallError) -> bool),
        (403, |error| matches!(error, CallError::Refused(_))),
        (503, |error| matches!(error, CallError::Transient(_))),
    ] {
        host.answer(fake::status(status));
        let error = fetched("https://a.files.example/x").unwrap_err();
        assert!(fits(&error), "{status}: {error:?}");
    }
}

fn with_files() -> (fake::Host, OutboundMessage) {
    let host = host();
    let (first, second) = (host.put_blob(b"%PDF"), host.put_blob(&[0, 255]));
    let mut message = fake::message("c1", "two files");
    message.attachments.push(Attachment::blob("application/pdf", first).named("a.pdf"));
    message.attachments.push(Attachment::blob("image/png", second));
    (host, message)
}

#[test]
fn a_reply_with_files_goes_out_as_multipart_with_the_message_first() {
    let (host, message) = with_files();
    host.answer(fake::status(200).json(&json!({ "id": "p7" })));
    assert_eq!(host.send_final::<WebhookBridge>(message).unwrap().platform_id, "p7");
    let sent = host.sent().remove(0);
    assert!(sent.header("content-type").unwrap().starts_with("multipart/form-data; boundary="));
    assert_eq!(sent.header("webhook-id"), Some("d1"));
    let [message, first, second] = &sent.parts[..] else { panic!("three parts") };
    assert_eq!((message.name.as_str(), message.file_name.as_deref()), ("message", None));
    assert_eq!(message.media_type.as_deref(), Some("application/json"));
    let body: Value = serde_json::from_slice(&message.bytes).unwrap();
    assert_eq!((&body["text"], &body["delivery_id"]), (&json!("two files"), &json!("d1")));
    let files = json!([
        { "part": "file-1", "name": "a.pdf", "media_type": "application/pdf", "size_bytes": 4 },
        { "part": "file-2", "name": null, "media_type": "image/png", "size_bytes": 2 },
    ]);
    assert_eq!(body["files"], files);
    assert_eq!((first.name.as_str(), first.file_name.as_deref()), ("file-1", Some("a.pdf")));
    assert_eq!(
        (first.media_type.as_deref(), &first.bytes[..]),
        (Some("application/pdf"), &b"%PDF"[..])
    );
    assert_eq!((second.file_name.as_deref(), &second.bytes[..]), (Some("file-2"), &[0, 255][..]));
}

#[test]
fn the_part_that_names_the_files_is_what_is_signed() {
    let (host, message) = with_files();
    host.secret("outbound-key", KEY).answer(fake::status(204));
    host.send_final::<WebhookBridge>(message).unwrap();
    let sent = &host.sent()[0];
    let content = [format!("d1.{NOW_SECONDS}.").as_bytes(), &sent.parts[0].bytes].concat();
    let key = from_base64(KEY.trim_start_matches("whsec_")).unwrap();
    let expected = format!("v1,{}", to_base64(&fake::hmac_sha256(&key, &content)));
    assert_eq!(sent.header("webhook-signature"), Some(expected.as_str()));
}
