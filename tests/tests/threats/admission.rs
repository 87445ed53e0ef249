//! Threats 4 and 5: components that are made to cost before they run. Each refuses its own channel
//! with a sentence; the others serve.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use lastword_tests::harness::config::text;
use lastword_tests::harness::{Channel, Config, Sink, Site, component};

use crate::SOON;

fn repeated(count: usize, one: impl Fn(usize) -> String) -> String {
    (0..count).fold(String::new(), |mut text, at| {
        write!(text, "{}", one(at)).unwrap();
        text
    })
}

fn assembled(body: &str) -> Vec<u8> {
    wat::parse_str(format!("(component {body})")).unwrap()
}

/// A component, and a word of the sentence that refuses it.
fn bombs() -> Vec<(&'static str, Vec<u8>, &'static str)> {
    let instance = |_| "(core instance (instantiate $m))".to_owned();
    let many = |body: &str, count| {
        assembled(&format!("(core module $m {body}){}", repeated(count, instance)))
    };
    let locals = "i32 ".repeat(200);
    let body = repeated(20_000, |at| {
        let (from, to) = (at % 200, (at * 7 + 3) % 200);
        let sum = format!("(i32.add (local.get {to}) (local.get {from}))");
        format!("(if (local.get {to}) (then (local.set {from} {sum})))")
    });
    let whole = std::fs::read(component("script")).unwrap();
    let mut flipped = whole.clone();
    for at in (100..flipped.len()).step_by(997) {
        flipped[at] ^= 0x55;
    }
    let noise: Vec<u8> =
        (0..50_000_u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    vec![
        ("instances", many("", 5_000), "instances count"),
        ("memories", many("(memory 1)", 3), "3 Wasm linear memories"),
        ("tables", many("(table 1 funcref)", 9), "9 tables"),
        (
            "a-compile-bomb",
            assembled(&format!("(core module (func (local {locals}) {body}))")),
            "outbound",
        ),
        ("truncated", whole[..whole.len() / 2].to_vec(), "compiled"),
        ("flipped", flipped, "compiled"),
        ("random", [b"\0asm\x0d\0\x01\0".to_vec(), noise.clone()].concat(), "compiled"),
        ("noise", noise, "no WebAssembly component"),
        ("empty", Vec::new(), "no WebAssembly component"),
        ("threads", assembled("(core module (memory 1 1 shared))"), "threads must be enabled"),
        ("large", vec![0; 33 << 20], "33554432"),
    ]
}

#[tokio::test]
async fn bombs_and_broken_bytes_refuse_their_own_channel_with_a_sentence() {
    let sink = Sink::start().await;
    let mut config = Config::new().channel(Channel::webhook("good", &sink.url()));
    let all = bombs();
    for (name, ..) in &all {
        let channel = Channel::webhook(name, &sink.url());
        config = config.channel(channel.set("", "adapter", &text(&format!("{name}.wasm"))));
    }
    for looping in
        ["start-loops", "realloc-loops", "describe-loops", "traps", "huge-list", "huge-name"]
    {
        let channel = Channel::webhook(looping, &sink.url());
        let path = component(looping).display().to_string();
        config = config.channel(channel.set("", "adapter", &text(&path)));
    }
    let site = Site::new(&config);
    for (name, bytes, _) in &all {
        std::fs::write(site.path().join(format!("{name}.wasm")), bytes).unwrap();
    }
    let began = Instant::now();
    let host = site.start().await;
    println!("started beside {} bad components after {:?}", all.len() + 6, began.elapsed());
    assert!(began.elapsed() < Duration::from_secs(60));
    let turn = host.platform("good").say("m1", "c", "hello").await;
    assert_eq!(site.turn_at_rest(&turn.id, SOON).await.state, "delivered", "the others serve");
    let status = site.status().await;
    let describe =
        ["start-loops", "realloc-loops", "describe-loops", "traps", "huge-list", "huge-name"];
    let wanted = all.iter().map(|(name, _, word)| (*name, *word));
    for (name, word) in wanted.chain(describe.map(|name| (name, "describe"))) {
        let rows = status["channels"].as_array().unwrap();
        let row = rows.iter().find(|row| row["name"] == name).unwrap();
        let reason = row["reason"].as_str().unwrap_or_default();
        println!("{name}: {}", reason.chars().take(140).collect::<String>());
        assert_eq!(row["state"], "refused", "{row}");
        assert!(reason.contains(word), "{name}: `{word}` is not in: {reason}");
        assert!(reason.len() < 4_096, "{name}: a sentence, not a dump");
    }
}
