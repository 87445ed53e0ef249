//! Threats 10 to 17: guests that reach for what was not granted, and platforms that help them.

use std::time::{Duration, Instant};

use lastword_tests::harness::config::text;
use lastword_tests::harness::{Answer, Arrival, Channel, Config, Sink, Site};
use serde_json::Value;

use crate::SOON;
use crate::peer::Peer;
use crate::rig::{Group, Rig, attacker};

static GROUP: Group = Group {
    name: "network",
    guests: &["undeclared", "path-tricks", "header-tricks", "follows-redirects", "exfiltrates"],
    extend,
};

fn extend(guest: &str, channel: Channel) -> Channel {
    match guest {
        "undeclared" | "path-tricks" | "header-tricks" | "exfiltrates" => channel
            .set(".grants", "targets", r#"["api", "handed"]"#)
            .set(".grants", "private_targets", r#"["api", "handed"]"#),
        _ => channel,
    }
}

fn of<'a>(results: &'a [Value], trick: &str) -> (&'a str, &'a str) {
    let found = results.iter().find(|result| result["trick"] == trick);
    let found = found.unwrap_or_else(|| panic!("no result of {trick}: {results:?}"));
    (found["outcome"].as_str().unwrap(), found["words"].as_str().unwrap())
}

/// What came to the platform beside the reports themselves.
fn reached(rig: &Rig, from: usize) -> Vec<Arrival> {
    let all = rig.platform.arrivals().split_off(from);
    all.into_iter().filter(|arrival| arrival.path != "/send").collect()
}

#[tokio::test]
async fn what_the_manifest_or_the_grant_does_not_name_is_denied_and_no_byte_leaves() {
    let rig = Rig::of(&GROUP);
    rig.under(10, "undeclared targets", async {
        let from = rig.platform.count();
        let results = rig.reports("undeclared", "x").await;
        for trick in [
            "target",
            "withheld",
            "host",
            "port",
            "scheme",
            "file",
            "method",
            "connect",
            "odd method",
            "path",
            "deeper",
            "handed path",
        ] {
            let (outcome, words) = of(&results, trick);
            assert_eq!(outcome, "denied", "{trick}: {words}");
            assert!(!words.is_empty());
        }
        let (_, words) = of(&results, "withheld");
        for line in ["[channels.undeclared.grants]", "\"withheld\""] {
            assert!(words.contains(line), "the missing grant is named: {words}");
        }
        assert_eq!(of(&results, "allowed").0, "200");
        let paths: Vec<_> = reached(&rig, from).into_iter().map(|one| one.path).collect();
        assert_eq!(paths, ["/read/allowed"]);
        assert!(rig.metric("lastword_egress_denied", "undeclared").await >= 12.0);
    })
    .await;
}

#[tokio::test]
async fn fifty_spellings_of_a_path_stay_below_the_route_or_are_denied() {
    let rig = Rig::of(&GROUP);
    rig.under(11, "path tricks", async {
        let from = rig.platform.count();
        let results = rig.reports("path-tricks", "x").await;
        assert_eq!(results.len(), 50);
        let denied = results.iter().filter(|result| result["outcome"] == "denied").count();
        let let_through = results.iter().filter(|result| result["outcome"] == "200").count();
        assert_eq!(denied + let_through, 50, "{results:?}");
        let reached = reached(&rig, from);
        println!("{denied} denied, {let_through} sent as text");
        assert_eq!(reached.len(), let_through);
        let sent: Vec<_> = results.iter().filter(|result| result["outcome"] == "200").collect();
        for arrival in reached {
            let (path, whole) = (arrival.path.as_str(), decoded(&arrival.path));
            let read = path.strip_prefix("/read/");
            // An address of the platform's own goes out byte for byte: what it means is decoded.
            let rest =
                read.map(decoded).or_else(|| whole.strip_prefix("/open/").map(str::to_owned));
            let once = rest.unwrap_or_else(|| panic!("it got out: {path}"));
            let mut parts = once.split(['/', '\\']);
            assert!(parts.all(|part| part != ".." && part != "."), "a way up: {path}");
            assert!(path.matches('/').count() == 2 && !path.contains('\\'), "more: {path}");
            // What the guest wrote as text arrives as that text, and as nothing else.
            let is_text = sent.iter().any(|result| result["trick"] == once.as_str());
            assert!(read.is_none() || is_text, "nobody wrote {once:?}");
            assert!(arrival.query.is_empty(), "a query of its own: {}", arrival.query);
            let host = arrival.headers["host"].to_str().unwrap();
            assert!(rig.platform.origin().ends_with(host), "another host: {host}");
        }
    })
    .await;
}

/// Percent-decoded once.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let hex = after.get(..2).and_then(|hex| std::str::from_utf8(hex).ok());
        let byte = hex.and_then(|hex| u8::from_str_radix(hex, 16).ok());
        match byte.filter(|_| *first == b'%') {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[tokio::test]
async fn headers_that_steer_smuggle_or_are_too_many_are_refused_before_connecting() {
    let rig = Rig::of(&GROUP);
    rig.under(12, "header tricks", async {
        let from = rig.platform.count();
        let results = rig.reports("header-tricks", "x").await;
        assert!(results.len() >= 20, "{results:?}");
        for result in &results {
            let outcome = result["outcome"].as_str().unwrap();
            let is_refused = outcome == "denied" || outcome == "request-too-large";
            assert!(is_refused, "{result}");
        }
        assert!(reached(&rig, from).is_empty(), "{:?}", reached(&rig, from));
    })
    .await;
}

#[tokio::test]
async fn forms_of_private_addresses_are_denied_without_the_grant() {
    let sink = Sink::start().await;
    let port = sink.origin().rsplit(':').next().unwrap().to_owned();
    let forms = [
        "127.0.0.1",
        "localhost",
        "2130706433",
        "0x7f000001",
        "017700000001",
        "0177.0.0.1",
        "127.1",
        "0.0.0.0",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[64:ff9b::7f00:1]",
        "[2002:7f00:1::]",
        "169.254.169.254",
        "100.64.0.1",
        "192.168.0.1",
        "10.0.0.1",
    ];
    let mut config = Config::new().set("lifecycle", "delivery_tries", "1");
    for (at, form) in forms.iter().enumerate() {
        let url = format!("http://{form}:{port}");
        let channel = attacker(&format!("form-{at}"), "private-names", &url, r#"["api"]"#);
        config = config.channel(channel.set(".grants", "private_targets", "[]"));
    }
    let good = Sink::start().await;
    let site = Site::new(&config.channel(Channel::webhook("good", &good.url())));
    let host = site.start().await;
    let mut refused = 0;
    for (at, form) in forms.iter().enumerate() {
        let name = format!("form-{at}");
        let channels = site.status().await["channels"].clone();
        let row = channels.as_array().unwrap().iter().find(|row| row["name"] == name).cloned();
        let row = row.unwrap();
        if row["state"] == "refused" {
            refused += 1;
            println!("{form}: refused at once: {}", row["reason"]);
            continue;
        }
        let turn = host.platform(&name).say("m", "c", "x").await;
        let ended = site.turn_at_rest(&turn.id, SOON).await;
        assert_eq!(ended.state, "failed", "{form}: {ended:?}");
        let row = site.rows_of(&turn.id).await.remove(0);
        let words = row.reason.clone().unwrap_or_default();
        println!("{form}: {words}");
        assert!(words.contains("private: denied"), "{form}: {row:?}");
    }
    assert!(refused < forms.len(), "some are asked while running");
    assert_eq!(sink.count(), 0, "{:?}", sink.arrivals());
    let turn = host.platform("good").say("m", "c", "x").await;
    assert_eq!(site.turn_at_rest(&turn.id, SOON).await.state, "delivered", "the other serves");
}

#[tokio::test]
async fn redirects_are_handed_to_the_guest_and_followed_by_nobody() {
    let rig = Rig::of(&GROUP);
    rig.under(15, "redirects", async {
        let from = rig.platform.count();
        let origin = rig.platform.origin().to_owned();
        rig.platform.answer_by(move |arrival| {
            let to = match arrival.path.as_str() {
                "/read/to-private" => "http://127.0.0.1:1/".to_owned(),
                "/read/to-http" | "/prepare" => format!("{origin}/secret"),
                "/read/to-other-host" => "https://other.example/".to_owned(),
                "/read/in-a-loop" => format!("{origin}/read/in-a-loop"),
                "/read/meta" => "http://169.254.169.254/latest".to_owned(),
                _ => return Answer::Take,
            };
            Answer::With(307, "location", to, String::new())
        });
        let results = rig.reports("follows-redirects", "x").await;
        rig.platform.answer_by(|_| Answer::Take);
        assert_eq!(results.len(), 6);
        for result in &results {
            assert_eq!(result["outcome"], "307", "{result}");
            let words = result["words"].as_str().unwrap();
            assert!(words.contains("location: http"), "the guest sees where to: {words}");
        }
        assert_eq!(reached(&rig, from).len(), 6, "one request each");
    })
    .await;
}

#[tokio::test]
async fn what_a_guest_carries_off_keeps_to_the_template_and_to_a_budget() {
    let rig = Rig::of(&GROUP);
    rig.under(17, "exfiltration", async {
        let from = rig.platform.count();
        let row = rig.fails("exfiltrates", "x").await;
        let words = row.reason.clone().unwrap_or_default();
        for trick in
            ["two labels", "no label", "half a label", "dot at the end", "path", "in the template"]
        {
            assert!(words.contains(&format!("{trick}: denied")), "{trick}: {words}");
        }
        let bodies = reached(&rig, from);
        assert!(bodies.iter().all(|one| one.path == "/prepare"), "{bodies:?}");
        let bytes: usize = bodies.iter().map(|one| one.raw.len()).sum();
        println!("{} requests carried {} KiB off", bodies.len(), bytes >> 10);
        assert!(bytes <= 16 << 20, "{bytes} bytes in one call");
        assert!(bodies.len() < 40, "no budget ended it");
    })
    .await;
}

#[tokio::test]
async fn answers_that_drip_stall_swell_or_never_end_are_ended_by_their_caps() {
    let (peer, good) = (Peer::start().await, Sink::start().await);
    let config = Config::new()
        .set("lifecycle", "delivery_tries", "1")
        .channel(Channel::webhook("good", &good.url()))
        .channel(attacker("swallows", "swallows", &peer.origin, r#"["api"]"#).set(
            ".limits",
            "send",
            &text("4s"),
        ));
    let site = Site::new(&config);
    let host = site.start().await;
    let mut turns = Vec::new();
    for what in ["fine endless bomb heads lengths", "silent", "drip", "stalls"] {
        let turn = host.platform("swallows").say(&format!("m {what}"), what, what).await;
        turns.push((what, turn.id));
    }
    let mut worst = Duration::ZERO;
    for n in 0..40 {
        let began = Instant::now();
        host.platform("good").say(&format!("m{n}"), &format!("c{n}"), "hello").await;
        good.wait_for(n + 1, SOON).await;
        worst = worst.max(began.elapsed());
    }
    println!("beside them the other channel took {worst:?} at most");
    assert!(worst < Duration::from_secs(5), "{worst:?}");
    for (what, turn) in turns {
        let ended = site.turn_at_rest(&turn, SOON).await;
        let row = site.rows_of(&turn).await.remove(0);
        println!("{what}: {ended:?} {:?}", row.reason);
        let words = row.reason.clone().unwrap_or_default();
        match what {
            "silent" | "drip" | "stalls" => {
                // It may only have been a reader's request: known to be not sent.
                assert_eq!(
                    (ended.state.as_str(), row.state.as_str()),
                    ("failed", "dead"),
                    "{what}"
                );
            }
            _ => {
                // By the cap, or by the peer's own end where it tires first.
                assert!(
                    words.contains("endless: answer-too-large 200")
                        || words.contains("endless: unanswered"),
                    "{words}"
                );
                for ended in [
                    "bomb: answer-too-large 200",
                    "heads: unanswered",
                    "lengths: unanswered",
                    "fine: 200",
                ] {
                    assert!(words.contains(ended), "{ended} is missing: {words}");
                }
            }
        }
    }
}
