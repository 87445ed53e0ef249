//! The conformance suite, by the real binary: it passes every adapter that is shipped, and finds
//! each fault that is planted in a sound one.

#![allow(clippy::unwrap_used, reason = "a test ends with a panic")]

use std::path::PathBuf;
use std::process::{Command, Output};

use lastword_tests::harness::built::{binary, repository};
use lastword_tests::harness::component;

fn suite(component: PathBuf, fixture: PathBuf) -> Output {
    let mut command = Command::new(binary());
    command.args(["adapter", "test", "--json"]).arg(component).arg("--fixture").arg(fixture);
    command.output().unwrap()
}

/// The cases that do not hold, each with what was seen.
fn broken(output: &Output) -> Vec<(String, String)> {
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    lines
        .filter(|case| case["broken"].as_array().is_some_and(|broken| !broken.is_empty()))
        .map(|case| (case["name"].as_str().unwrap().to_owned(), case["broken"].to_string()))
        .collect()
}

fn passes(name: &str, folder: &str) {
    let fixture = repository().join(folder).join(name).join("conformance.toml");
    let output = suite(component(name), fixture);
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{name}: {:#?} {words}", broken(&output));
}

#[test]
fn every_adapter_that_is_shipped_passes_the_suite() {
    for name in ["echo", "matrix", "telegram", "webhook"] {
        passes(name, "adapters");
    }
}

#[test]
fn a_sound_adapter_with_no_fault_planted_passes_the_suite() {
    passes("planted", "tests/guests");
}

/// Each fault, and a piece of the sentence of the case that finds it.
const FAULTS: [(&str, &str); 10] = [
    ("accepts-a-bad-signature", "without its proof is refused"),
    ("repeats-a-send-after-unknown", "nothing is sent again in that call"),
    ("ignores-retry-after", "a rate limit is heeded"),
    ("answers-before-its-events-are-whole", "200 is answered only with every event"),
    ("loses-the-cursor", "the cursor moves with it"),
    ("cuts-a-surrogate-pair", "no character cut"),
    ("says-delivered-on-an-error-body", "what else the platform says"),
    ("leaks-a-setting-into-a-log", "its log carries no setting"),
    ("sends-without-delivery-id", "under its delivery id"),
    ("takes-its-own-messages-for-a-persons", "the bot's own pushed messages"),
];

#[test]
fn each_planted_fault_is_found_by_the_case_that_is_about_it() {
    let fixture = repository().join("tests/guests/planted/conformance.toml");
    let sound = std::fs::read_to_string(fixture).unwrap();
    let folder = tempfile::tempdir().unwrap();
    for (fault, wanted) in FAULTS {
        let planted = sound
            .replace("bot_id = \"bot-7\"", &format!("bot_id = \"bot-7\"\nfault = \"{fault}\""));
        assert_ne!(planted, sound);
        let fixture = folder.path().join(format!("{fault}.toml"));
        std::fs::write(&fixture, planted).unwrap();
        let output = suite(component("planted"), fixture);
        assert_eq!(output.status.code(), Some(1), "{fault}");
        let broken = broken(&output);
        let is_found = broken.iter().any(|(name, _)| name.contains(wanted));
        assert!(is_found, "{fault} breaks {broken:#?}");
    }
}

#[test]
fn a_fixture_that_is_not_there_or_not_understood_is_wrong_input_and_says_where() {
    let folder = tempfile::tempdir().unwrap();
    let missing = suite(component("echo"), folder.path().join("conformance.toml"));
    assert_eq!(missing.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&missing.stderr).contains("conformance.toml"));
    let fixture = folder.path().join("wrong.toml");
    std::fs::write(&fixture, "own_messages = \"recorded\"\n[chanel]\n").unwrap();
    let wrong = suite(component("echo"), fixture);
    assert_eq!(wrong.status.code(), Some(2));
    let words = String::from_utf8_lossy(&wrong.stderr).into_owned();
    assert!(words.contains("chanel") && words.contains("line 2"), "{words}");
}
