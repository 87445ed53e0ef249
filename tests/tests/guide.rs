//! What the pages tell people: every command of the guide for adapter authors is run as it stands
//! there, and every config of the page about channels is checked; the first steps of README, every
//! route of the API, the examples of the handler protocol, every metric and the unit for a service are
//! held to what the program does.

#![allow(clippy::unwrap_used, reason = "a test ends with a panic")]
#![allow(
    clippy::disallowed_methods,
    reason = "the guide's commands stand in the shell's environment"
)]

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use lastword::handler::{HandlerDocument, HandlerLimits, read_events};
use lastword_tests::harness::built::{binary, component, repository};
use lastword_tests::harness::http::message;
use lastword_tests::harness::{Channel, Config, Host, Sink, Site, eventually, host};

fn page(name: &str) -> String {
    std::fs::read_to_string(repository().join(name)).unwrap()
}

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

/// The program with its adapters beside it, as a release has them.
fn release(folder: &Path) {
    let program = folder.join("lastword");
    std::fs::hard_link(binary(), &program)
        .or_else(|_| std::fs::copy(binary(), &program).map(|_| ()))
        .unwrap();
    std::fs::create_dir(folder.join("adapters")).unwrap();
    for name in ["webhook", "telegram"] {
        let to = folder.join("adapters").join(format!("{name}.wasm"));
        std::fs::copy(component(name), to).unwrap();
    }
}

#[tokio::test]
async fn the_first_steps_of_the_readme_lead_to_a_message_that_is_accepted() {
    let place = tempfile::tempdir().unwrap();
    let (dist, bot) = (place.path().join("dist"), place.path().join("bot"));
    std::fs::create_dir(&dist).unwrap();
    std::fs::create_dir(&bot).unwrap();
    release(&dist);
    let steps = page("README.md");
    let steps = blocks_of(&steps, "sh");
    let steps = steps.iter().find(|block| block.contains("mkdir bot")).unwrap();
    let steps: Vec<&str> = steps
        .lines()
        .filter_map(|line| line.strip_prefix("../dist/lastword "))
        .map(|line| line.split('#').next().unwrap().trim())
        .collect();
    assert_eq!(steps, ["init", "check", "run"]);
    for step in ["init", "check"] {
        let output = Command::new("../dist/lastword").arg(step).current_dir(&bot).output().unwrap();
        let told = String::from_utf8_lossy(&output.stdout).into_owned();
        let failed = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{step}: {told}{failed}");
        assert!(
            step != "init" || told.contains("copied ./adapters") || told.contains("copied adap")
        );
    }
    // Another port, for the one of the config may be taken here.
    let config = std::fs::read_to_string(bot.join("lastword.toml")).unwrap();
    let config = config.replace("127.0.0.1:8787", "127.0.0.1:0");
    std::fs::write(bot.join("lastword.toml"), config).unwrap();
    let mut child = tokio::process::Command::new("../dist/lastword")
        .arg("run")
        .current_dir(&bot)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let address = host::ready(&mut child).await.expect("the host listens");
    let host = Host::adopt(child, address, Duration::ZERO);
    let platform = host.platform("hook");
    let first = platform.post("messages", &message("m1", "room", "hello")).await.unwrap();
    assert_eq!((first.status, first.count("lastword-accepted")), (200, 1), "{}", first.text());
    let again = platform.post("messages", &message("m1", "room", "hello")).await.unwrap();
    assert_eq!((again.status, again.count("lastword-duplicates")), (200, 1), "{}", again.text());
    let row = eventually("the reply that waits", Duration::from_secs(20), || async {
        let list = Command::new("../dist/lastword")
            .args(["outbox", "list", "--json"])
            .current_dir(&bot)
            .output()
            .unwrap();
        let list = String::from_utf8(list.stdout).unwrap();
        let row: serde_json::Value = serde_json::from_str(list.lines().next()?).ok()?;
        row["next_attempt_at_ms"].is_i64().then_some(row)
    })
    .await;
    assert_eq!(row["state"], "queued", "nobody listens at callback_url: {row}");
    assert!(host.terminate().await.success());
}

/// The routes of a source, each as `METHOD /path`.
fn routes(source: &str) -> BTreeSet<String> {
    let text = page(source);
    let mut found = BTreeSet::new();
    for line in text.lines().filter_map(|line| line.trim().strip_prefix(".route(\"")) {
        let (path, methods) = line.split_once('"').unwrap();
        for (call, method) in [("get(", "GET"), ("post(", "POST"), ("put(", "PUT")] {
            if methods.contains(call) {
                found.insert(format!("{method} {path}"));
            }
        }
    }
    assert!(!found.is_empty(), "{source} has no route: has it moved?");
    found
}

#[test]
fn every_route_of_the_api_is_on_its_page_and_the_page_names_no_other() {
    let page = page("docs/api.md");
    let mut known = BTreeSet::new();
    for source in ["api", "pull", "files"] {
        let of = routes(&format!("host/src/ingress/{source}.rs"));
        known.extend(of.iter().map(|route| route.replacen(" /", " /v1/", 1)));
    }
    known.extend(routes("host/src/ingress/probe.rs"));
    assert!(known.len() >= 30, "{known:?}");
    let named: BTreeSet<String> = page
        .split('`')
        .filter(|word| word.starts_with("GET /") || word.starts_with("POST /"))
        .map(str::to_owned)
        .collect();
    assert_eq!(named, known);
}

#[test]
fn the_examples_of_the_handler_protocol_are_read_by_the_product_itself() {
    let page = page("docs/handlers.md");
    let blocks = blocks_of(&page, "json");
    let [document, events] = <[String; 2]>::try_from(blocks).unwrap();
    let shown: serde_json::Value = serde_json::from_str(&document).unwrap();
    let read: HandlerDocument = serde_json::from_value(shown.clone()).unwrap();
    assert_eq!(serde_json::to_value(&read).unwrap(), shown, "no field more, none less");
    let limits = HandlerLimits::default();
    let mut kinds = Vec::new();
    for line in events.lines() {
        let read = read_events(line.as_bytes(), limits);
        assert_eq!(read.unwrap_or_else(|why| panic!("{line}: {}", why.reason)).len(), 1);
        let event: serde_json::Value = serde_json::from_str(line).unwrap();
        kinds.push(event["type"].as_str().unwrap().to_owned());
    }
    assert_eq!(kinds, ["tool", "block", "final", "silent", "fail", "heartbeat"]);
    let agents = blocks_of(&page, "python");
    for agent in agents.iter().chain(&blocks_of(&crate::page("README.md"), "python")) {
        let mut child = Command::new("python3")
            .args(["-c", agent])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(&read.to_line().unwrap()).unwrap();
        let said = child.wait_with_output().unwrap().stdout;
        let events = read_events(&said, limits).unwrap_or_else(|why| panic!("{}", why.reason));
        assert!(events.last().unwrap().decides(), "{agent}");
    }
}

/// Names of metrics in a text, whole ones: what the text goes on with is cut off.
fn metrics_in(text: &str) -> BTreeSet<String> {
    let is_name = |c: char| c.is_ascii_lowercase() || c == '_';
    let begins = text.match_indices("lastword_").map(|(at, _)| &text[at..]);
    begins.map(|from| from.split(|c| !is_name(c)).next().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn every_metric_is_on_its_page_and_the_page_names_no_other() {
    let shown = metrics_in(&page("docs/observability.md"));
    let sink = Sink::start().await;
    let site = Site::new(&Config::new().channel(Channel::webhook("hook", &sink.url())));
    let host = site.start().await;
    host.platform("hook").say("m1", "c", "hello").await;
    sink.wait_for(1, Duration::from_secs(20)).await;
    let exposed = host.platform("hook").get("/metrics").await.unwrap().text();
    let exposed = exposed.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    let mut known: BTreeSet<String> =
        exposed.map(|line| line.split(' ').next().unwrap().to_owned()).collect();
    // Families without a value yet are not exposed; their names stand in the sources.
    let mut registered = BTreeSet::new();
    for source in ["calls", "commits", "generations", "mod", "now"] {
        registered.extend(metrics_in(&page(&format!("host/src/runtime/metrics/{source}.rs"))));
    }
    registered.extend(metrics_in(&page("host/src/ingress/metrics.rs")));
    registered.retain(|name| !name.ends_with('_'));
    assert!(known.len() > 60 && registered.len() > 30, "{known:?} {registered:?}");
    for name in registered {
        let counter = format!("{name}_total");
        if !known.contains(&name) && !known.contains(&counter) {
            let is_counter = shown.contains(&counter);
            known.insert(if is_counter { counter } else { name });
        }
    }
    let missing: Vec<_> = known.difference(&shown).collect();
    let invented: Vec<_> = shown.difference(&known).collect();
    assert!(
        missing.is_empty() && invented.is_empty(),
        "missing {missing:?}, invented {invented:?}"
    );
}

#[test]
fn the_unit_for_a_service_waits_longer_than_the_drain_and_signals_the_host_alone() {
    let unit = page("docs/examples/lastword.service");
    let value = |key: &str| {
        let found = unit.lines().find_map(|line| line.strip_prefix(&format!("{key}=")));
        found.unwrap_or_else(|| panic!("{key} is not set")).to_owned()
    };
    let drain = lastword::config::Lifecycle::default().drain;
    assert!(Duration::from_secs(value("TimeoutStopSec").parse().unwrap()) >= drain * 2);
    assert_eq!(
        (value("KillMode").as_str(), value("RestartPreventExitStatus").as_str()),
        ("mixed", "2")
    );
}
