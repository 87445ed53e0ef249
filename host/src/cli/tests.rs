//! The command line through its one door: words in, output and exit code out.

use std::path::PathBuf;

use clap::{CommandFactory as _, Parser as _};
use serde_json::Value;

use super::*;
use crate::runtime::HostLock;
use crate::store::Store;

const CONFIG: &str = "[handler]\nkind = \"echo\"\n[channels.hook]\nadapter = \"none.wasm\"\n";

struct Site {
    folder: tempfile::TempDir,
}

struct End {
    exit: Exit,
    stdout: String,
    sentence: String,
}

impl Site {
    fn new(config: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("lastword.toml"), config).unwrap();
        Self { folder }
    }

    fn config(&self) -> PathBuf {
        self.folder.path().join("lastword.toml")
    }

    fn run(&self, words: &[&str]) -> End {
        let config = self.config();
        let all = ["lastword", "--config", config.to_str().unwrap()];
        let line = Line::try_parse_from(all.iter().chain(words)).unwrap();
        let form = if line.json { Form::Json } else { Form::Human };
        let mut stdout = Vec::new();
        let ended = execute(line, &mut Output { form, to: &mut stdout });
        let stdout = String::from_utf8(stdout).unwrap();
        match ended {
            Ok(()) => End { exit: Exit::Done, stdout, sentence: String::new() },
            Err(failure) => End { exit: failure.exit, stdout, sentence: failure.sentence },
        }
    }

    /// A store with nothing in it, as a first start leaves it.
    fn with_store(self) -> Self {
        let data = self.folder.path().join("data");
        std::fs::create_dir(&data).unwrap();
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let _inside = runtime.enter();
        Store::inline(&data.join("lastword.db"), &Env::system()).unwrap();
        self
    }
}

/// The exit code of words that do not parse; none where they do.
fn parse_code(words: &[&str]) -> Option<i32> {
    let all = std::iter::once(&"lastword").chain(words);
    Line::try_parse_from(all).err().map(|error| error.exit_code())
}

#[test]
fn the_words_fit_together() {
    Line::command().debug_assert();
}

#[test]
fn words_that_make_no_command_end_with_2() {
    for words in [
        &[][..],
        &["rum"],
        &["turns"],
        &["turns", "list", "--limit", "many"],
        &["turns", "list", "--limit", "0"],
        &["turns", "list", "--limit", "100001"],
        &["turns", "list", "--sate", "queued"],
        &["turns", "show"],
        &["outbox", "resolve", "d"],
        &["outbox", "resolve", "d", "--drop", "--resend"],
        &["abort"],
        &["abort", "--channel", "c"],
        &["abort", "--conversation", "x"],
        &["abort", "--turn", "t", "--channel", "c", "--conversation", "x"],
        &["abort", "--turn", "t", "--all"],
        &["run", "--log-format", "xml"],
        &["guard"],
        &["replay", "t", "--turns"],
        &["replay", "--turns", "--outbox"],
        &["purge"],
        &["purge", "--turns", "--outbox", "--all"],
        &["turns", "list", "--older-than", "soon"],
        &["turns", "list", "--older-than", "3"],
    ] {
        assert_eq!(parse_code(words), Some(2), "{words:?}");
    }
    for words in [
        &["run", "--log-format", "json"][..],
        &["--json", "turns", "list"],
        &["turns", "list", "--json", "--limit", "100000", "--config", "x"],
        &["abort", "--turn", "t"],
        &["abort", "--channel", "c", "--conversation", "x", "--all"],
        &["outbox", "resolve", "d", "--delivered"],
        &["replay", "t", "--force"],
        &["replay", "--outbox", "--all", "--dry-run"],
        &["purge", "--turns", "--channel", "old", "--live", "--yes"],
        &["outbox", "resolve", "--drop", "--channel", "c", "--older-than", "2h"],
        &["adapter", "inspect", "x.wasm"],
    ] {
        assert_eq!(parse_code(words), None, "{words:?}");
    }
    assert_eq!(parse_code(&["--help"]), Some(0));
    assert_eq!(parse_code(&["--version"]), Some(0));
}

#[test]
fn before_the_first_start_nothing_is_there_and_nothing_is_made() {
    let site = Site::new(CONFIG);
    for words in [
        &["turns", "list"][..],
        &["outbox", "list"],
        &["turns", "show", "t00000000010000000001"],
        &["abort", "--turn", "t00000000010000000001"],
        &["abort", "--channel", "hook", "--conversation", "c"],
        &["replay", "d00000000010000000001"],
        &["channels", "pause", "hook"],
    ] {
        let end = site.run(words);
        assert_eq!(end.exit, Exit::Nothing, "{words:?}: {}", end.sentence);
        assert!(!end.sentence.is_empty() && end.stdout.is_empty());
    }
    let end = site.run(&["status", "--json"]);
    let status: Value = serde_json::from_str(&end.stdout).unwrap();
    assert_eq!((end.exit, &status["channels"][0]["name"]), (Exit::Done, &Value::from("hook")));
    assert_eq!(status["channels"][0]["state"], "stopped");
    assert_eq!(std::fs::read_dir(site.folder.path()).unwrap().count(), 1, "only the config");
}

#[test]
fn an_empty_store_lists_nothing_and_that_is_no_failure() {
    let site = Site::new(CONFIG).with_store();
    for words in [["turns", "list"], ["outbox", "list"]] {
        let end = site.run(&[words[0], words[1], "--json"]);
        assert_eq!((end.exit, end.stdout.as_str()), (Exit::Done, ""), "{}", end.sentence);
    }
    let end = site.run(&["channels", "list"]);
    assert!(end.exit == Exit::Done && end.stdout.contains("hook"), "{}", end.stdout);
}

#[test]
fn a_wrong_filter_ends_with_2_and_names_the_right_one() {
    let site = Site::new(CONFIG).with_store();
    let end = site.run(&["turns", "list", "--state", "quued"]);
    assert_eq!(end.exit, Exit::WrongInput);
    assert!(end.sentence.contains("did you mean \"queued\"?"), "{}", end.sentence);
    assert_eq!(site.run(&["outbox", "list", "--state", "held"]).exit, Exit::Done);
    assert_eq!(site.run(&["turns", "list", "--state", "held"]).exit, Exit::WrongInput);
    assert_eq!(site.run(&["turns", "list", "--after", "x"]).exit, Exit::WrongInput);
    assert_eq!(site.run(&["turns", "list", "--kind", "final"]).exit, Exit::WrongInput);
    let end = site.run(&["outbox", "list", "--kind", "fnal"]);
    assert!(end.exit == Exit::WrongInput && end.sentence.contains("final"), "{}", end.sentence);
}

#[test]
fn an_order_on_many_rows_wants_a_filter_and_ends_with_3_where_none_match() {
    let site = Site::new(CONFIG).with_store();
    for words in [
        &["replay", "--turns"][..],
        &["purge", "--outbox", "--yes"],
        &["outbox", "resolve", "--drop"],
        &["replay", "--outbox", "--state", "quued"],
        &["replay", "--turns", "--all", "--after", "x"],
        &["replay", "d00000000010000000001", "--state", "dead"],
        &["outbox", "resolve", "d00000000010000000001", "--drop", "--all"],
    ] {
        let end = site.run(words);
        assert_eq!(end.exit, Exit::WrongInput, "{words:?}: {}", end.sentence);
    }
    for words in [
        &["replay", "--turns", "--all"][..],
        &["purge", "--outbox", "--channel", "hook", "--yes"],
        &["outbox", "resolve", "--drop", "--all"],
    ] {
        let end = site.run(words);
        assert_eq!((end.exit, end.stdout.as_str()), (Exit::Nothing, ""), "{}", end.sentence);
    }
}

#[test]
fn what_names_too_little_or_too_much_is_told_what_to_name() {
    let site = Site::new(CONFIG).with_store();
    let end = site.run(&["replay"]);
    assert_eq!(end.exit, Exit::WrongInput);
    assert!(end.sentence.contains("--turns or --outbox"), "{}", end.sentence);
    for words in [
        &["replay", "t00000000010000000001", "--dry-run"][..],
        &["outbox", "resolve", "d00000000010000000001", "--resend", "--dry-run"],
    ] {
        let end = site.run(words);
        assert_eq!(end.exit, Exit::WrongInput);
        assert!(end.sentence.contains("--dry-run is for rows by filter"), "{}", end.sentence);
    }
    for (words, meant) in [
        (["turns", "show", "d00000000010000000001"], "is a delivery: `lastword outbox show d0"),
        (["outbox", "show", "t00000000010000000001"], "is a turn: `lastword turns show t0"),
    ] {
        let end = site.run(&words);
        assert_eq!(end.exit, Exit::Nothing);
        assert!(end.sentence.contains(meant), "{}", end.sentence);
    }
    for list in ["turns", "outbox"] {
        let end = site.run(&[list, "list", "--channel", "hoook"]);
        assert_eq!(end.exit, Exit::Nothing);
        assert!(end.sentence.contains("there is no channel \"hoook\""), "{}", end.sentence);
        assert_eq!(site.run(&[list, "list", "--channel", "hook"]).exit, Exit::Done);
    }
}

#[test]
fn a_kind_is_offered_for_deliveries_alone() {
    let help = |words: &[&str]| {
        let all = ["lastword"].iter().chain(words).chain(&["--help"]);
        Line::try_parse_from(all).unwrap_err().to_string()
    };
    assert!(!help(&["turns", "list"]).contains("--kind"));
    assert!(help(&["outbox", "list"]).contains("--kind"));
}

#[test]
fn completions_of_a_shell_know_the_commands() {
    let site = Site::new(CONFIG);
    for shell in ["bash", "zsh", "fish"] {
        let end = site.run(&["completions", shell]);
        assert_eq!(end.exit, Exit::Done, "{}", end.sentence);
        assert!(end.stdout.contains("rollback") && end.stdout.contains("lastword"), "{shell}");
    }
}

#[test]
fn what_is_not_there_ends_with_3() {
    let site = Site::new(CONFIG).with_store();
    for words in [
        &["turns", "show", "nobody-knows"][..],
        &["outbox", "show", "nobody-knows"],
        &["turns", "show", "t00000000010000000001"],
        &["outbox", "show", "d00000000010000000001"],
        &["replay", "nobody-knows"],
        &["abort", "--turn", "t00000000010000000001"],
        &["abort", "--channel", "hoook", "--conversation", "c"],
        &["outbox", "resolve", "nobody-knows", "--drop"],
        &["channels", "pause", "hoook"],
        &["adapter", "inspect", "no/such/file.wasm"],
    ] {
        let end = site.run(words);
        assert_eq!(end.exit, Exit::Nothing, "{words:?}: {}", end.sentence);
    }
    let end = site.run(&["channels", "pause", "hoook"]);
    assert!(end.sentence.contains("did you mean \"hook\"?"), "{}", end.sentence);
}

#[test]
fn a_store_that_is_held_by_a_host_that_only_starts_is_left_alone_with_4() {
    let site = Site::new(CONFIG).with_store();
    let _lock = HostLock::take(&site.folder.path().join("data")).unwrap();
    let end = site.run(&["channels", "pause", "hook"]);
    assert_eq!(end.exit, Exit::Refused, "{}", end.sentence);
    assert_eq!(site.run(&["turns", "list"]).exit, Exit::Done, "reading is direct");
}

#[test]
fn a_wrong_config_ends_every_command_with_2_and_all_errors() {
    let site = Site::new("[handler]\nkind = \"exce\"\nfoo = 1\n");
    for words in [&["check"][..], &["status"], &["turns", "list"], &["abort", "--turn", "t"]] {
        let end = site.run(words);
        assert_eq!(end.exit, Exit::WrongInput, "{words:?}");
        assert_eq!(end.sentence.lines().count(), 2, "{}", end.sentence);
    }
    let end = site.run(&["check", "--json"]);
    let report: Value = serde_json::from_str(&end.stdout).unwrap();
    assert_eq!(report["ok"], false);
    assert_eq!(report["errors"][0]["line"], 2);
    assert_eq!(report["errors"][0]["nearest"], "exec");
}

#[test]
fn a_channel_without_its_component_is_named_by_check() {
    let site = Site::new(CONFIG);
    let end = site.run(&["check", "--json"]);
    assert_eq!(end.exit, Exit::Failed, "{}", end.sentence);
    let report: Value = serde_json::from_str(&end.stdout).unwrap();
    assert_eq!((&report["ok"], &report["channels"][0]["ok"]), (&false.into(), &false.into()));
    let reason = report["channels"][0]["reason"].as_str().unwrap();
    assert!(reason.contains("none.wasm"), "{reason}");
    assert_eq!(std::fs::read_dir(site.folder.path()).unwrap().count(), 1, "nothing is made");
}

#[test]
fn the_sample_agent_answers_the_documents_that_handlers_get() {
    use std::process::{Command, Stdio};
    let site = Site::new(CONFIG);
    std::fs::remove_file(site.config()).unwrap();
    assert_eq!(site.run(&["init"]).exit, Exit::Done);
    let mut agent = Command::new("python3")
        .arg("agent.py")
        .current_dir(site.folder.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let document = serde_json::json!({
        "turn": {"id": "t", "attempt": 1, "accepted_at_ms": 0}, "channel": "hook",
        "conversation": "c", "context": [], "delivered": [],
        "message": {"text": "hello", "sender": {"id": "u1", "display_name": null}},
    });
    writeln!(agent.stdin.take().unwrap(), "{document}").unwrap();
    let output = agent.wait_with_output().unwrap();
    let event: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&event["type"], output.status.success()), (&"final".into(), true));
    assert!(event["text"].as_str().unwrap().contains("hello"));
}
