//! Threats 1 to 9: guests that take more than their share.

use lastword_tests::harness::Channel;
use lastword_tests::harness::config::text;
use serde_json::json;

use crate::rig::{Group, Rig};

static GROUP: Group = Group {
    name: "resources",
    guests: &["endless-loop", "host-calls", "memory-hog", "dies", "log-flood", "state-flood"],
    extend,
};

fn extend(guest: &str, channel: Channel) -> Channel {
    match guest {
        "memory-hog" => channel.set(".limits", "memory", &text("16MiB")),
        // Megabytes take longer to be cut than to be refused.
        "log-flood" => channel.set(".limits", "cpu", &text("5s")),
        _ => channel,
    }
}

#[tokio::test]
async fn endless_loops_in_send_and_webhook_and_allocator_end_by_their_budget() {
    let rig = Rig::of(&GROUP);
    rig.under(1, "endless loops", async {
        let mut turns = Vec::new();
        for told in ["send", "send", "realloc"] {
            turns.push(rig.tell("endless-loop", told).await);
        }
        let posts: Vec<_> = (0..2)
            .map(|_| {
                let hook = rig.hook("endless-loop");
                tokio::spawn(async move { hook.post("loop", &json!({})).await.unwrap() })
            })
            .collect();
        for reply in posts {
            let reply = reply.await.unwrap();
            assert!(reply.status >= 500, "{}: {}", reply.status, reply.text());
        }
        for turn in turns {
            let (turn, row) = rig.rest(&turn).await;
            assert_eq!((turn.state.as_str(), row.state.as_str()), ("failed", "dead"), "{row:?}");
            assert_eq!(row.attempts, 2, "a call that sent nothing is tried again: {row:?}");
            let shown = rig.shown(&row).await;
            assert!(shown.contains("CPU time"), "{shown}");
        }
    })
    .await;
    let log = rig.site.log();
    let told = log.lines().filter(|line| line.contains("a webhook call came to nothing"));
    assert_eq!(told.filter(|line| line.contains("channel=endless-loop")).count(), 2);
    let status = rig.status_of("endless-loop").await;
    println!("{status}");
}

#[tokio::test]
async fn a_loop_of_cheap_host_calls_is_refused_and_then_trapped() {
    let rig = Rig::of(&GROUP);
    rig.under(2, "host calls in a loop", async {
        for (told, words) in [
            ("time", "more than 256 host calls"),
            ("state", "256 host calls and did not stop"),
            ("fetch", "256 host calls and did not stop"),
        ] {
            let row = rig.fails("host-calls", told).await;
            assert_eq!(row.state, "dead", "{row:?}");
            let shown = rig.shown(&row).await;
            assert!(shown.contains(words), "{told}: {shown}");
        }
        assert!(rig.site.log().contains("the host refused"), "the typed error came first");
    })
    .await;
}

#[tokio::test]
async fn memory_is_capped_on_both_sides_of_the_boundary() {
    let rig = Rig::of(&GROUP);
    rig.under(3, "memory", async {
        let before = resident_kib(&rig);
        for told in ["block 512", "pieces", "headers 400000", "fields 400000"] {
            let row = rig.fails("memory-hog", told).await;
            let shown = rig.shown(&row).await;
            let is_named = shown.contains("16777216 bytes of memory") || shown.contains("fuel");
            assert!(is_named, "{told}: {shown}");
            // The breaker would hold up the next one.
            rig.reports("memory-hog", "fine").await;
        }
        let reply = rig.post("memory-hog", "list", &json!({})).await;
        assert!(reply.status >= 500, "{}: {}", reply.status, reply.text());
        let grown = resident_kib(&rig).saturating_sub(before);
        println!("the host grew by {grown} KiB");
        assert!(grown < 256 << 10, "{grown} KiB more than before");
    })
    .await;
}

fn resident_kib(rig: &Rig) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", rig.pid())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[tokio::test]
async fn every_way_to_die_is_a_trap_with_its_words_and_the_next_instance_is_fresh() {
    let rig = Rig::of(&GROUP);
    rig.under(6, "traps", async {
        for (told, words) in [
            ("panic the moon is down", "the moon is down"),
            ("stack", "stack"),
            ("unreachable", "unreachable"),
            ("divide", "divide by zero"),
            ("index", "index out of bounds"),
            ("outside", "out of bounds memory access"),
            ("table", "table"),
            ("truncate", "integer"),
        ] {
            let row = rig.fails("dies", told).await;
            assert_eq!((row.state.as_str(), row.attempts), ("dead", 2), "{row:?}");
            let shown = rig.shown(&row).await;
            assert!(shown.contains(words), "{told}: {shown}");
            rig.reports("dies", "fine").await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_flooded_log_is_cut_made_visible_and_counted() {
    let rig = Rig::of(&GROUP);
    rig.under(8, "log flood", async {
        let before = rig.site.log().len();
        for told in ["lines", "megabytes", "escapes"] {
            rig.reports("log-flood", told).await;
        }
        let log = rig.site.log();
        let grown = log.len() - before;
        println!("the log grew by {} KiB", grown >> 10);
        assert!(grown < 4 << 20, "{grown} bytes");
        let dropped = rig.metric("lastword_guest_log_lines_dropped", "log-flood").await;
        assert!(dropped >= 99_800.0, "{dropped} lines were counted");
        for bare in ["\u{1b}[2J", "\u{9b}", "\u{202e}", "\u{200b}", "\u{7}"] {
            assert!(!log[before..].contains(bare), "{bare:?} stands in the log");
        }
        for forged in ["ERROR lastword: forged", "ERROR forged field", "name=x"] {
            let own_line = |line: &str| line.trim_start().starts_with(forged);
            assert!(!log.lines().any(own_line), "{forged} begins a line");
        }
        let quiet = log.lines().find(|line| line.contains("channel=good y")).unwrap();
        assert!(quiet.contains("channel=log-flood"), "{quiet}");
        assert!(quiet.contains(r#"quiet=\"x channel=good y\""#), "a value is quoted: {quiet}");
    })
    .await;
}

#[tokio::test]
async fn a_state_flood_ends_at_the_quota_and_leaves_others_alone() {
    let rig = Rig::of(&GROUP);
    rig.under(9, "state flood", async {
        let mut refused = false;
        for _ in 0..8 {
            let results = rig.reports("state-flood", "keys").await;
            refused |= results.iter().any(|result| {
                let outcome = result["outcome"].as_str().unwrap_or_default();
                outcome.contains("OverQuota") && outcome.contains("1000 keys")
            });
        }
        assert!(refused, "a thousand keys were passed and no quota was told");
        let results = rig.reports("state-flood", "values").await;
        let told: Vec<_> = results.iter().map(|result| result["outcome"].to_string()).collect();
        assert!(told.iter().any(|told| told.contains("OverQuota")), "{told:?}");
        let results = rig.reports("state-flood", "names").await;
        for result in &results {
            if result["trick"] == "empty" || result["trick"] == "long" {
                assert_eq!(result["outcome"], "Error::BadKey", "{result}");
            }
        }
    })
    .await;
}
