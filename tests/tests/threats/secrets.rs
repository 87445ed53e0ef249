//! Threats 18 to 21: guests that are after credentials.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use lastword_tests::harness::{Answer, Arrival, Channel};
use serde_json::Value;

use crate::rig::{CANARY, Group, Rig};

static GROUP: Group = Group {
    name: "secrets",
    guests: &["snoops", "echoes-credentials", "placeholders", "canary"],
    extend,
};

fn extend(guest: &str, channel: Channel) -> Channel {
    match guest {
        "snoops" => channel.set(".secrets", "locked", "\"env:LASTWORD_CANARY\""),
        _ => channel
            .set(".grants", "targets", r#"["api", "secured"]"#)
            .set(".grants", "private_targets", r#"["api", "secured"]"#)
            .set(".secrets", "token", "\"env:LASTWORD_CANARY\""),
    }
}

/// The credential in the forms in which it commonly travels.
fn forms() -> Vec<(&'static str, String)> {
    let hex = CANARY.bytes().map(|byte| format!("{byte:02x}")).collect::<String>();
    let url: String = CANARY
        .chars()
        .map(|c| match c {
            'a'..='z' | 'A'..='Z' | '0'..='9' | '-' | '.' | '_' | '~' => c.to_string(),
            other => format!("%{:02X}", other as u32),
        })
        .collect();
    vec![
        ("raw", CANARY.to_owned()),
        ("base64", STANDARD.encode(CANARY).trim_end_matches('=').to_owned()),
        // Within a longer text, at each place of a group of three.
        ("base64 of basic", STANDARD.encode(format!("user:{CANARY}:x"))[8..24].to_owned()),
        ("base64url", URL_SAFE_NO_PAD.encode(CANARY)),
        ("hex", hex.clone()),
        ("HEX", hex.to_uppercase()),
        ("url", url.clone()),
        ("url, lower", url.replace("%2F", "%2f").replace("%2B", "%2b").replace("%3D", "%3d")),
    ]
}

/// Says the credential back, as the path asks.
fn echo(arrival: &Arrival) -> Answer {
    let Some(what) = arrival.path.strip_prefix("/secured/") else { return Answer::Take };
    let seen = arrival.headers.get("authorization").map(|value| value.to_str().unwrap().to_owned());
    let seen = seen.unwrap_or_default();
    assert_eq!(seen, format!("Bearer {CANARY}"), "the host adds the credential");
    let form = |name: &str| forms().into_iter().find(|(known, _)| *known == name).unwrap().1;
    match what {
        "header" => Answer::With(200, "x-echo", seen, String::new()),
        "error" => Answer::Body(401, format!("{{\"error\":\"bad token {seen}\"}}")),
        "base64" => {
            let inside = STANDARD.encode(format!("user:{CANARY}"));
            Answer::Body(200, format!("{} {inside}", form("base64")))
        }
        "hex" => Answer::Body(200, format!("{} {}", form("hex"), form("HEX"))),
        "url" => Answer::Body(200, format!("a={}&b={}", form("url"), form("url, lower"))),
        "split" => Answer::Body(200, format!("{}{}", "x".repeat(4_000), CANARY)),
        _ => Answer::Body(200, format!("you are {seen}")),
    }
}

#[tokio::test]
async fn a_slot_of_another_channel_or_none_answers_like_an_empty_one() {
    let rig = Rig::of(&GROUP);
    rig.under(18, "foreign slots", async {
        let results = rig.reports("snoops", "x").await;
        let empty = results.iter().find(|result| result["trick"] == "spare").unwrap();
        assert_eq!(empty["answers"]["exists"], false, "{empty}");
        assert!(results.len() >= 10);
        for result in &results {
            // One that it declares for no use at all may be known to be there.
            let mut answers = result["answers"].clone();
            if result["trick"] == "locked" {
                answers["exists"] = Value::Bool(false);
            }
            assert_eq!(answers, empty["answers"], "{result}");
        }
    })
    .await;
}

#[tokio::test]
async fn an_echoed_credential_is_redacted_in_every_place_and_form() {
    let rig = Rig::of(&GROUP);
    rig.under(19, "echoed credentials", async {
        rig.platform.answer_by(echo);
        let results = rig.reports("echoes-credentials", "x").await;
        assert_eq!(results.len(), 7);
        for result in &results {
            let words = result["words"].as_str().unwrap();
            for (form, secret) in forms() {
                assert!(!words.contains(&secret), "{} shows it as {form}", result["trick"]);
            }
            assert!(words.contains("[redacted]"), "{result}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_placeholder_in_the_wrong_place_reaches_nobody() {
    let rig = Rig::of(&GROUP);
    rig.under(20, "placeholders", async {
        let from = rig.platform.count();
        let results = rig.reports("placeholders", "x").await;
        for result in &results {
            assert_eq!(result["outcome"], "denied", "{result}");
        }
        let arrived = rig.platform.arrivals().split_off(from);
        assert!(arrived.iter().all(|one| one.path == "/send"), "only the report: {arrived:?}");
    })
    .await;
}

#[tokio::test]
async fn a_canary_is_found_in_no_log_store_answer_or_trap() {
    let rig = Rig::of(&GROUP);
    rig.under(21, "canary", async {
        rig.platform.answer_by(echo);
        let mut shown = String::new();
        for told in ["log", "fault", "trap", "receipt", "state"] {
            let turn = rig.tell("canary", told).await;
            let (_, row) = rig.rest(&turn).await;
            shown.push_str(&rig.shown(&row).await);
            // The breaker stays closed.
            rig.reports("canary", "fine").await;
        }
        for command in [
            &["status"][..],
            &["turns", "list", "--json"],
            &["outbox", "list", "--json"],
            &["check"],
            &["channels", "list", "--json"],
        ] {
            let end = rig.site.cli(command).await;
            shown.push_str(&end.stdout);
            shown.push_str(&end.stderr);
        }
        for path in ["/metrics", "/readyz", "/healthz"] {
            shown.push_str(&rig.hook("canary").get(path).await.unwrap().text());
        }
        assert!(rig.site.log().contains("[redacted]"), "it was there to be found");
        let places = [("shown", shown), ("log", rig.site.log())];
        let files = files_below(rig.site.path());
        assert!(files.iter().any(|(name, _)| name.ends_with("-wal") || name.ends_with(".db")));
        for (name, bytes) in
            places.iter().map(|(n, t)| ((*n).to_owned(), t.clone().into_bytes())).chain(files)
        {
            for (form, secret) in forms() {
                let found = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
                assert!(!found, "{name} holds the canary as {form}");
            }
        }
        let sent = rig.platform.arrivals();
        let sent = sent.iter().filter(|one| !one.path.starts_with("/secured"));
        for one in sent {
            let raw = String::from_utf8_lossy(&one.raw);
            assert!(!raw.contains(CANARY), "it was sent to {}", one.path);
        }
    })
    .await;
}

/// Every file of a folder, with what is in it.
fn files_below(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all.extend(files_below(&path));
        } else if let Ok(bytes) = std::fs::read(&path) {
            all.push((path.display().to_string(), bytes));
        }
    }
    all
}
