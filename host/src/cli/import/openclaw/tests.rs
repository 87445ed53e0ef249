//! Queue files as OpenClaw writes them, and as a disk or a person may have left them.

use serde_json::json;

use super::*;

fn parsed(value: &Value) -> Result<Entry, Unread> {
    parse(value.to_string().as_bytes(), "stem", false)
}

fn whole_entry() -> Value {
    json!({
        "id": "3f0e", "enqueuedAt": 1_770_000_000_000_i64, "channel": "telegram", "to": "123",
        "accountId": "default", "payloads": [{"text": "one"}, {"text": "two", "mediaUrls": []}],
        "threadId": 7, "replyToId": "m9", "bestEffort": true, "silent": false,
        "mirror": {"sessionKey": "agent:main:main", "text": "one"}, "retryCount": 2,
        "lastAttemptAt": 1_770_000_030_000_i64, "lastError": "429: Too Many Requests",
    })
}

#[test]
fn a_queue_file_is_read_with_all_that_decides_what_becomes_of_it() {
    let entry = parsed(&whole_entry()).unwrap();
    assert_eq!((entry.id.as_str(), entry.platform.as_str()), ("3f0e", "telegram"));
    assert_eq!((entry.to.as_str(), entry.account), ("123", None));
    assert_eq!((entry.thread.as_deref(), entry.reply_to.as_deref()), (Some("7"), Some("m9")));
    assert_eq!(entry.texts, ["one", "two"]);
    let facts = EntryFacts {
        enqueued_at_ms: Some(1_770_000_000_000),
        last_attempt_at_ms: Some(1_770_000_030_000),
        attempts: 2,
        ..EntryFacts::default()
    };
    assert_eq!(entry.facts, facts);
}

#[test]
fn the_older_form_with_one_payload_and_written_times_is_read_too() {
    let old = json!({"channel": "matrix", "target": "!r:s", "payload": {"text": "hi"},
        "attempt": 1, "createdAt": "2026-02-02T02:40:00Z"});
    let entry = parsed(&old).unwrap();
    assert_eq!((entry.id.as_str(), entry.to.as_str()), ("stem", "!r:s"));
    assert_eq!(entry.facts.enqueued_at_ms, Some(1_770_000_000_000));
    assert_eq!(entry.facts.attempts, 1);
}

#[test]
fn a_send_that_began_is_in_doubt_and_one_that_was_only_claimed_is_not() {
    for (field, value, doubt) in [
        ("recoveryState", json!("send_attempt_started"), true),
        ("recoveryState", json!("unknown_after_send"), true),
        ("recoveryState", json!("a word of a later version"), true),
        ("recoveryState", json!("producer_claimed"), false),
        ("platformSendStartedAt", json!(1_770_000_000_001_i64), true),
        ("platformSendStartedAt", json!(null), false),
    ] {
        let mut entry = whole_entry();
        entry[field] = value;
        assert_eq!(parsed(&entry).unwrap().facts.maybe_sent, doubt, "{entry}");
    }
}

#[test]
fn what_openclaw_had_given_up_says_so() {
    let mut entry = whole_entry();
    entry["retryCount"] = json!(5);
    assert!(parsed(&entry).unwrap().facts.given_up);
    entry["maxRetries"] = json!(9);
    assert!(!parsed(&entry).unwrap().facts.given_up);
    let moved = parse(whole_entry().to_string().as_bytes(), "stem", true).unwrap();
    assert!(moved.facts.given_up);
}

#[test]
fn what_cannot_be_carried_is_counted_and_thoughts_are_left_out() {
    let with = |payloads: Value| {
        let mut entry = whole_entry();
        entry["payloads"] = payloads;
        parsed(&entry)
    };
    let entry = with(json!([
        {"text": "thinking", "isReasoning": true},
        {"text": "see", "mediaUrl": "/a.png", "mediaUrls": ["/a.png", "/b.png"]},
        {"text": "press", "interactive": {"blocks": []}, "channelData": {}},
    ]))
    .unwrap();
    assert_eq!(entry.texts, ["see", "press"]);
    let left_out = entry.facts.left_out.unwrap();
    assert!(left_out.contains("2 files") && left_out.contains("buttons"), "{left_out}");
    let code = |payloads: Value| with(payloads).unwrap_err().code;
    assert_eq!(code(json!([{"mediaUrl": "/a.png", "text": " "}])), "not_carried");
    assert_eq!(code(json!([{"text": "thinking", "isReasoning": true}])), "nothing_to_say");
    assert_eq!(code(json!([])), "not_an_entry");
}

// Case: I3
#[test]
fn a_file_that_cannot_be_read_is_named_with_its_reason_and_repeats_no_text() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: &[u8]| fs::write(folder.path().join(name), bytes).unwrap();
    write("a.json", b"{\"id\": \"a\",\n \"text\": \"a secret\" oops}");
    write("b.json", b"[]");
    write("c.json", b"{\"channel\": \"telegram\"}");
    write("d.json", b"\xff\xfe");
    write("e.json", b"");
    write("f.delivered", whole_entry().to_string().as_bytes());
    write("g.json.77.tmp", b"{");
    write("notes.txt", b"not of the queue");
    fs::create_dir(folder.path().join("h.json")).unwrap();
    let files = read_queue(folder.path()).unwrap();
    let read: Vec<_> = files
        .iter()
        .map(|file| {
            let name = file.path.file_name().unwrap().to_str().unwrap();
            let unread = file.read.as_ref().unwrap_err();
            assert!(!unread.reason.contains("secret"), "{}", unread.reason);
            (name, unread.code)
        })
        .collect();
    assert_eq!(
        read,
        [
            ("a.json", "not_json"),
            ("b.json", "not_an_entry"),
            ("c.json", "not_an_entry"),
            ("d.json", "not_json"),
            ("e.json", "not_json"),
            ("f.delivered", "delivered"),
            ("g.json.77.tmp", "half_written"),
            ("h.json", "unreadable"),
        ]
    );
    assert!(files[0].read.as_ref().unwrap_err().reason.contains("line 2"));
}

#[test]
fn no_bytes_make_the_reader_fall() {
    let entry = whole_entry().to_string().into_bytes();
    for end in 0..entry.len() {
        let _ = parse(&entry[..end], "stem", false);
    }
    for (index, byte) in (0..entry.len()).zip([b'{', b'"', b'9', 0, 0xff].into_iter().cycle()) {
        let mut bent = entry.clone();
        bent[index] = byte;
        let _ = parse(&bent, "stem", false);
    }
    let odd = json!({"channel": "telegram", "to": "1", "payloads": [{"text": "x"}],
        "retryCount": -3.5, "enqueuedAt": 1e300, "lastAttemptAt": -1, "threadId": {}});
    let facts = parsed(&odd).unwrap().facts;
    assert_eq!((facts.attempts, facts.last_attempt_at_ms), (0, None));
}
