//! Starting: one host per store, a config that is checked whole, channels that are refused alone.

use lastword_tests::harness::config::text;
use lastword_tests::harness::http::message;
use lastword_tests::harness::{Channel, Config, Sink, Site, component};

use crate::{SOON, bridge};

// Case: J6
#[tokio::test]
async fn a_second_host_is_refused_and_names_the_first() {
    let (_sink, site) = bridge(Config::new()).await;
    let host = site.start().await;
    let second = site.cli(&["run"]).await;
    assert_eq!(second.code, 4, "{}{}", second.stdout, second.stderr);
    assert_eq!(second.stdout, "");
    let named = second.stderr.contains(&host.pid().to_string());
    let address = host.address.trim_start_matches("http://");
    assert!(named && second.stderr.contains(address), "{}", second.stderr);
    assert_eq!(host.platform("hook").get("/readyz").await.unwrap().status, 200);
    host.kill().await;
    // The lock falls with its holder, whatever the file says.
    let host = site.start().await;
    assert!(host.terminate().await.success());
}

#[tokio::test]
async fn the_lock_file_is_private_and_says_who_holds_the_store() {
    use std::os::unix::fs::PermissionsExt;
    let (_sink, site) = bridge(Config::new()).await;
    let host = site.start().await;
    let path = site.path().join("data/host.lock");
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let lock: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    assert_eq!(lock["pid"], host.pid());
    assert!(host.address.ends_with(lock["address"].as_str().unwrap()), "{lock}");
    assert!(lock["token"].is_string() && !lock["boot_id"].is_null(), "{lock}");
}

// Case: J5
#[tokio::test]
async fn config_errors_come_all_at_once_with_line_and_nearest_word_and_make_nothing() {
    let config = "data_dir = \"data\"\nlisten = \"127.0.0.1:0\"\n\n[handler]\nkind = \"ecko\"\n\n\
                  [lifecycle]\nturn_trys = 3\nclaim = \"soon\"\n\n[channels.hook]\n\
                  adaptor = \"x.wasm\"\n";
    let site = Site::with_text(config);
    for command in ["run", "check"] {
        let end = site.cli(&[command]).await;
        assert_eq!(end.code, 2, "{command}: {}{}", end.stdout, end.stderr);
        assert!(!end.stdout.contains("listening"), "{}", end.stdout);
        for (line, word) in [(5, "echo"), (8, "turn_tries"), (9, "claim"), (12, "adapter")] {
            let place = format!("lastword.toml:{line}:");
            let told = end.stderr.lines().any(|l| l.contains(&place) && l.contains(word));
            assert!(told, "{command}: no `{place}` with `{word}` in:\n{}", end.stderr);
        }
    }
    let mut left: Vec<_> = std::fs::read_dir(site.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    left.sort();
    assert_eq!(left, ["lastword.toml"], "nothing is made");
}

#[tokio::test]
async fn a_missing_config_and_a_wrong_command_exit_with_2() {
    let site = Site::new(&Config::new());
    assert_eq!(site.cli(&["run", "--config", "nowhere.toml"]).await.code, 2);
    assert_eq!(site.cli(&["rum"]).await.code, 2);
    assert_eq!(site.cli(&["turns", "list", "--limit", "many"]).await.code, 2);
}

/// A channel that cannot be served, and what its sentence has to name.
fn refused(sink: &Sink) -> Vec<(Channel, &'static str, &'static str)> {
    let hook = |name| Channel::webhook(name, &sink.url());
    let of = |name, file: &str| hook(name).set("", "adapter", &text(file));
    let built = |name, guest| of(name, &component(guest).display().to_string());
    vec![
        (of("missing", "nowhere.wasm"), "missing", "nowhere.wasm"),
        (of("broken", "broken.wasm"), "broken", "broken.wasm"),
        (built("mute", "no-send-final"), "mute", "send-final"),
        (built("foreign", "foreign-import"), "foreign", "import"),
        (
            hook("ungranted").set(".grants", "targets", "[]").set(
                ".grants",
                "private_targets",
                "[]",
            ),
            "ungranted",
            "callback",
        ),
        (
            Channel::new("unset", &component("webhook")).set(
                ".grants",
                "targets",
                r#"["callback"]"#,
            ),
            "unset",
            "callback_url",
        ),
        (
            hook("keyless").set(".secrets", "outbound-key", "\"env:LASTWORD_NO_SUCH_KEY\""),
            "keyless",
            "LASTWORD_NO_SUCH_KEY",
        ),
    ]
}

#[tokio::test]
async fn channels_that_cannot_be_served_are_refused_alone_with_a_sentence() {
    let sink = Sink::start().await;
    let channels = refused(&sink);
    let mut config = Config::new().channel(Channel::webhook("good", &sink.url()));
    for (channel, ..) in &channels {
        config = config.channel(channel.clone());
    }
    let site = Site::new(&config);
    site.write("broken.wasm", "\0asm and then nothing that makes sense");
    let host = site.start().await;
    let turn = host.platform("good").say("m1", "c", "hello").await;
    assert_eq!(site.turn_at_rest(&turn.id, SOON).await.state, "delivered", "the others serve");
    let status = site.status().await;
    let ready = host.platform("good").get("/readyz").await.unwrap();
    assert_eq!(ready.status, 200, "refused channels do not make the host unready");
    let listed = ready.json()["refused"].clone();
    for (_, name, word) in &channels {
        let rows = status["channels"].as_array().unwrap().iter();
        let row = rows
            .clone()
            .find(|row| row["name"] == *name)
            .unwrap_or_else(|| panic!("status does not list {name}: {status}"));
        assert_eq!(row["state"], "refused", "{row}");
        let reason = row["reason"].as_str().unwrap_or_else(|| panic!("no reason: {row}"));
        assert!(reason.contains(word), "{name}: `{word}` is not in: {reason}");
        assert!(row["code"].is_string(), "{row}");
        let named = listed.as_array().unwrap().iter().any(|one| one["name"] == *name);
        assert!(named, "/readyz does not list {name}: {listed}");
        let posted = host.platform(name).post("messages", &message("m", "c", "x")).await.unwrap();
        assert_eq!(posted.status, 503, "{name} sends it again later: {}", posted.text());
    }
    let good = &status["channels"].as_array().unwrap().iter().find(|row| row["name"] == "good");
    let good = good.unwrap();
    assert_eq!(good["adapter"], "webhook", "{good}");
    assert!(good["version"].is_string() && good["digest"].is_string(), "{good}");
}

// Case: C7, G8
#[tokio::test]
async fn what_waits_for_a_channel_that_cannot_be_served_goes_out_when_it_is_mended() {
    let (sink, site) = bridge(Config::new()).await;
    sink.answer_by(|_| lastword_tests::harness::Answer::RetryAfter { status: 429, seconds: 5 });
    let host = site.start().await;
    let turn = host.platform("hook").say("m1", "c", "hello").await;
    sink.wait_for(1, SOON).await;
    site.row("a row that waits", SOON, |row| row.state == "queued").await;
    let asked = sink.count();
    host.kill().await;
    sink.answer_by(|_| lastword_tests::harness::Answer::Take);
    let broken = Channel::webhook("hook", &sink.url()).set("", "adapter", &text("gone.wasm"));
    site.configure(&Config::new().channel(broken));
    let host = site.start().await;
    assert_eq!(site.turns().await[0].state, "delivering", "kept while nobody serves it");
    let row = site.rows_of(&turn.id).await.remove(0);
    assert_eq!((row.state.as_str(), row.attempts), ("queued", 0), "not tried, not charged");
    assert!(host.terminate().await.success());
    site.configure(&Config::new().channel(Channel::webhook("hook", &sink.url())));
    let _host = site.start().await;
    assert_eq!(site.turn_at_rest(&turn.id, SOON).await.state, "delivered");
    let row = site.rows_of(&turn.id).await.remove(0);
    assert_eq!((row.attempts, sink.count()), (1, asked + 1), "once, when it could be");
}

// Case: G6
#[tokio::test]
async fn rows_of_a_removed_channel_are_listed_and_go_out_on_its_return() {
    let (sink, site) = bridge(Config::new()).await;
    sink.answer_by(|_| lastword_tests::harness::Answer::RetryAfter { status: 429, seconds: 5 });
    let host = site.start().await;
    let turn = host.platform("hook").say("m1", "c", "hello").await;
    sink.wait_for(1, SOON).await;
    // Killed any sooner, the answer would not be recorded and the row be unknown.
    site.row("a row that waits", SOON, |row| row.state == "queued").await;
    host.kill().await;
    sink.answer_by(|_| lastword_tests::harness::Answer::Take);
    site.configure(&Config::new().channel(Channel::webhook("other", &sink.url())));
    let host = site.start().await;
    let rows = site.rows_of(&turn.id).await;
    assert_eq!(rows[0].state, "queued", "{rows:?}");
    let status = site.status().await;
    assert!(status.to_string().contains("channel_removed"), "{status}");
    assert!(host.terminate().await.success());
    site.configure(&Config::new().channel(Channel::webhook("hook", &sink.url())));
    let _host = site.start().await;
    assert_eq!(site.turn_at_rest(&turn.id, SOON).await.state, "delivered");
}
