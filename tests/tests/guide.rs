//! What the pages tell people to type: every command of the guide for adapter authors is run as it
//! stands there, and every config of the page about channels is checked.

#![allow(clippy::unwrap_used, reason = "a test ends with a panic")]
#![allow(
    clippy::disallowed_methods,
    reason = "the guide's commands stand in the shell's environment"
)]

use std::path::Path;
use std::process::Command;

use lastword_tests::harness::built::{binary, component, repository};

/// The blocks of a page in one language, in order.
fn blocks_of(page: &str, language: &str) -> Vec<String> {
    let fence = format!("```{language}");
    let mut blocks = Vec::new();
    let mut open: Option<String> = None;
    for line in page.lines() {
        match (&mut open, line) {
            (None, line) if line == fence => open = Some(String::new()),
            (Some(_), "```") => blocks.extend(open.take()),
            (Some(block), line) => {
                block.push_str(line);
                block.push('\n');
            }
            (None, _) => {}
        }
    }
    blocks
}

/// Runs commands as a person would, with the built binary first on the path; gives what was shown.
fn run(folder: &Path, block: &str) -> String {
    let bin = binary().parent().unwrap().to_path_buf();
    let path = std::env::var("PATH").unwrap();
    let output = Command::new("bash")
        .args(["-e", "-c", block])
        .current_dir(folder)
        .env("PATH", format!("{}:{path}", bin.display()))
        .output()
        .unwrap();
    let shown = [output.stdout, output.stderr].concat();
    let shown = String::from_utf8_lossy(&shown).into_owned();
    assert!(output.status.success(), "{block}\n{shown}");
    shown
}

#[test]
fn every_command_of_the_guide_does_what_it_says() {
    let docs = repository().join("docs");
    let page = std::fs::read_to_string(docs.join("writing-an-adapter.md")).unwrap();
    let blocks = blocks_of(&page, "sh");
    let folder = tempfile::tempdir().unwrap();
    let server = docs.join("examples").join("chat_server.py");
    std::fs::copy(server, folder.path().join("chat_server.py")).unwrap();
    let [made, live, others] = <[String; 3]>::try_from(blocks).unwrap();
    assert!(run(folder.path(), &made).contains("cases hold"));
    let heard = run(folder.path(), &live);
    assert!(heard.contains("ada: Tea, anybody?") && heard.contains("bot: "), "{heard}");
    assert_eq!(run(folder.path(), &others).matches("cases hold").count(), 2);
}

#[test]
fn what_cannot_be_made_or_built_is_said_in_a_sentence_with_exit_code_two() {
    let folder = tempfile::tempdir().unwrap();
    let fails = |words: &[&str], sentence: &str| {
        let output =
            Command::new(binary()).arg("adapter").args(words).current_dir(folder.path()).output();
        let output = output.unwrap();
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{words:?}: {told}");
        assert!(told.contains(sentence), "{words:?}: {told}");
    };
    fails(&["new", "mybot", "--lang", "cobol"], "possible values: rust, js, python");
    fails(&["new", "My_Bot", "--lang", "rust"], "is no name of an adapter");
    std::fs::create_dir(folder.path().join("taken")).unwrap();
    fails(&["new", "taken", "--lang", "rust"], "is there already and is left alone");
    fails(&["build", "taken"], "there is no adapter's project in");
    fails(&["test", "taken"], "build it first");
    fails(&["check", "nothing.wasm"], "there is no component at");
    // Of another version of the contract.
    let other = r#"(component (import "lastword:channel/http@0.2.0" (instance)))"#;
    std::fs::write(folder.path().join("other.wasm"), wat::parse_str(other).unwrap()).unwrap();
    fails(&["check", "other.wasm"], "lastword:channel/http@0.2.0");
    // Without what says how the platform speaks.
    std::fs::copy(component("echo"), folder.path().join("alone.wasm")).unwrap();
    fails(&["test", "alone.wasm"], "conformance.toml cannot be read");
}

#[test]
fn a_tool_that_is_missing_is_named_with_how_to_get_it() {
    let folder = tempfile::tempdir().unwrap();
    let lastword = |words: &[&str]| {
        let mut command = Command::new(binary());
        command.arg("adapter").args(words).current_dir(folder.path());
        command.env("PATH", "/nonexistent").output().unwrap()
    };
    for (lang, sentence) in [("js", "install Node.js"), ("python", "install Python")] {
        assert!(lastword(&["new", lang, "--lang", lang]).status.success());
        let output = lastword(&["build", lang]);
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{told}");
        assert!(told.contains(sentence), "{told}");
    }
}

#[test]
fn every_config_of_the_page_about_channels_would_start() {
    let docs = repository().join("docs");
    let page = std::fs::read_to_string(docs.join("channels.md")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let adapters = folder.path().join("adapters");
    std::fs::create_dir(&adapters).unwrap();
    for name in ["telegram", "matrix", "webhook"] {
        std::fs::copy(component(name), adapters.join(format!("{name}.wasm"))).unwrap();
    }
    let configs = blocks_of(&page, "toml");
    assert!(configs.len() >= 5, "{}", configs.len());
    for config in configs {
        std::fs::write(folder.path().join("lastword.toml"), &config).unwrap();
        let checked = Command::new(binary())
            .arg("check")
            .current_dir(folder.path())
            .env("TELEGRAM_TOKEN", "110201543:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw")
            .env("TELEGRAM_WEBHOOK_SECRET", "a_secret_of_ones_own")
            .env("MATRIX_TOKEN", "syt_a_token_of_nobody")
            .env("HOOK_IN", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
            .env("HOOK_OUT", "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD")
            .output()
            .unwrap();
        let shown = [checked.stdout, checked.stderr].concat();
        let shown = String::from_utf8_lossy(&shown);
        assert!(checked.status.success(), "{config}\n{shown}");
    }
}
