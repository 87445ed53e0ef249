//! The guide for adapter authors: every command in it is run, as it stands there.

#![allow(clippy::unwrap_used, reason = "a test ends with a panic")]
#![allow(
    clippy::disallowed_methods,
    reason = "the guide's commands stand in the shell's environment"
)]

use std::path::Path;
use std::process::Command;

use lastword_tests::harness::built::{binary, component, repository};

/// The commands of a page, block after block.
fn commands(page: &str) -> Vec<String> {
    let mut blocks = Vec::new();
    let mut open: Option<String> = None;
    for line in page.lines() {
        match (&mut open, line) {
            (None, "```sh") => open = Some(String::new()),
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
    let blocks = commands(&page);
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
