//! What an operator is told who looks: `status`, `doctor` and `check` on a host, a store and a config
//! that have something wrong with them, and on ones that have not.

use std::os::unix::fs::PermissionsExt;

use lastword_tests::harness::config::text;
use lastword_tests::harness::promtool::sample;
use lastword_tests::harness::{Channel, Config, Sink, Site, eventually};
use serde_json::Value;

use crate::{SOON, bridge};

/// An address at which nobody listens.
fn nobody() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}

async fn codes(site: &Site) -> (i32, Vec<String>) {
    let end = site.cli(&["doctor", "--json"]).await;
    let told: Value = serde_json::from_str(&end.stdout).unwrap();
    let findings = told["findings"].as_array().unwrap().iter();
    (end.code, findings.map(|it| it["code"].as_str().unwrap().to_owned()).collect())
}

#[tokio::test]
async fn a_channel_that_cannot_reach_its_platform_says_so_and_for_how_long() {
    let site = Site::new(&Config::new().channel(Channel::script("play", &nobody())));
    let host = site.start().await;
    let channel = eventually("status says that polls fail", SOON, || async {
        let status = site.status().await;
        let channel = status["channels"][0].clone();
        (channel["poller"]["state"] == "backing_off").then_some(channel)
    })
    .await;
    assert_eq!(channel["state"], "serving");
    let why = channel["poller"]["reason"].as_str().unwrap();
    let shown = site.cli(&["status"]).await.stdout;
    let line = shown.lines().find(|line| line.trim_start().starts_with("play")).unwrap();
    assert!(line.contains("polls fail since") && line.contains(why), "{why}\n{shown}");
    let page = host.platform("play").get("/metrics").await.unwrap().text();
    let failed = sample(&page, "lastword_polls_failed_total{channel=\"play\"} ");
    assert!(failed.is_some_and(|count| count >= 1.0), "{page}");
    let failing = sample(&page, "lastword_polls_failing_seconds{channel=\"play\"} ");
    assert!(failing.is_some_and(|seconds| seconds > 0.0), "{page}");
}

#[tokio::test]
async fn after_an_ordered_stop_the_file_alone_is_the_store_and_doctor_knows_a_killed_host() {
    let (_sink, site) = bridge(Config::new()).await;
    let data = site.path().join("data");
    std::fs::create_dir(&data).unwrap();
    std::fs::set_permissions(&data, std::fs::Permissions::from_mode(0o755)).unwrap();
    let host = site.start().await;
    let turn = host.platform("hook").say("m1", "c", "hello").await;
    site.turn_at_rest(&turn.id, SOON).await;
    for name in ["lastword.db", "lastword.db-wal"] {
        let mode = data.join(name).metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{name} is for its owner alone, whoever may look into the folder");
    }
    assert!(host.terminate().await.success());
    assert!(!codes(&site).await.1.contains(&"host_died".to_owned()), "an ordered stop is no death");
    // What a command without a host changed is in the file too.
    let post = ["post", "--channel", "hook", "--conversation", "c", "--sender", "ann"];
    assert_eq!(site.cli(&[&post[..], &["--text", "again"]].concat()).await.code, 0);
    assert!(!codes(&site).await.1.contains(&"host_died".to_owned()));
    let copy = Site::new(&Config::new());
    std::fs::create_dir(copy.path().join("data")).unwrap();
    std::fs::copy(data.join("lastword.db"), copy.path().join("data/lastword.db")).unwrap();
    assert_eq!(copy.turns().await.len(), 2, "the file alone holds every row");

    let host = site.start().await;
    let turn = host.platform("hook").say("m2", "c", "once more").await;
    site.turn_at_rest(&turn.id, SOON).await;
    host.kill().await;
    assert!(codes(&site).await.1.contains(&"host_died".to_owned()), "a killed host is");
    let host = site.start().await;
    assert!(host.terminate().await.success());
    assert!(!codes(&site).await.1.contains(&"host_died".to_owned()));
}

#[tokio::test]
async fn doctor_does_not_say_that_all_is_well_where_nothing_would_be_answered() {
    let sink = Sink::start().await;
    let good = || Channel::webhook("hook", &sink.url());
    let site = Site::new(&Config::new().channel(good()));
    assert_eq!(codes(&site).await, (0, vec!["no_store".to_owned()]));
    assert!(site.start().await.terminate().await.success());
    let end = site.cli(&["doctor"]).await;
    assert!(end.code == 0 && end.stdout.contains("lastword check"), "{}", end.stdout);
    assert!(!end.stdout.contains("all is well"), "no component was looked at: {}", end.stdout);
    let host = site.start().await;
    assert!(site.cli(&["doctor"]).await.stdout.contains("all is well"));
    assert!(host.terminate().await.success());

    let gone = Channel::webhook("hook", &sink.url()).set("", "adapter", &text("gone.wasm"));
    site.configure(&Config::new().channel(gone));
    assert_eq!(codes(&site).await, (1, vec!["channel_refused".to_owned()]));
    site.configure(&Config::new().channel(good()).exec(&["no-such-program", "agent.py"]));
    assert_eq!(codes(&site).await, (1, vec!["handler_not_started".to_owned()]));
    site.configure(&Config::new().channel(good()));
    site.write("lastword.lock", "[channels\n");
    assert_eq!(codes(&site).await, (1, vec!["would_not_start".to_owned()]));
    assert_ne!(site.cli(&["run"]).await.code, 0, "nor does it");
    std::fs::remove_file(site.path().join("lastword.lock")).unwrap();

    // A host that runs knows what its channels lack.
    let keyless = good().set(".secrets", "outbound-key", "\"env:LASTWORD_NO_SUCH_KEY\"");
    site.configure(&Config::new().channel(keyless));
    let _host = site.start().await;
    assert_eq!(codes(&site).await, (1, vec!["channel_refused".to_owned()]));
}

#[tokio::test]
async fn an_agent_that_cannot_be_started_is_told_by_check_and_by_status() {
    let sink = Sink::start().await;
    let config = Config::new().exec(&["no-such-program", "agent.py"]);
    let site = Site::new(&config.channel(Channel::webhook("hook", &sink.url())));
    let end = site.cli(&["check"]).await;
    assert_eq!(end.code, 1, "{}{}", end.stdout, end.stderr);
    let written = std::fs::read_to_string(site.path().join("lastword.toml")).unwrap();
    let line = written.lines().position(|line| line.starts_with("command = ")).unwrap() + 1;
    let place = format!("lastword.toml:{line}: [handler] command: ");
    assert!(
        end.stdout.contains(&place) && end.stdout.contains("no-such-program"),
        "{}",
        end.stdout
    );
    assert!(!end.stdout.contains(": right"), "{}", end.stdout);
    let host = site.start().await;
    for n in 0..5 {
        host.platform("hook").say(&format!("m{n}"), &format!("c{n}"), "hello").await;
    }
    eventually("status gives the reason", SOON, || async {
        let shown = site.cli(&["status"]).await.stdout;
        shown.contains("the command \"no-such-program\" cannot be started").then_some(())
    })
    .await;
    // A program by its path is looked for beside the config, and has to be one.
    let agent = site.write("agent.sh", "#!/bin/sh\n");
    site.configure(&Config::new().exec(&["./agent.sh"]));
    assert!(site.cli(&["check"]).await.stdout.contains("may not be executed"));
    std::fs::set_permissions(&agent, std::fs::Permissions::from_mode(0o755)).unwrap();
    assert_eq!(site.cli(&["check"]).await.code, 0);
}

#[tokio::test]
async fn check_names_the_line_and_the_word_of_a_refused_channel_and_an_address_out_of_reach() {
    let sink = Sink::start().await;
    let hook = Channel::webhook("hook", &sink.url());
    let site = Site::new(&Config::new().channel(hook.set(".settings", "calback_url", "\"x\"")));
    let end = site.cli(&["check"]).await;
    assert_eq!(end.code, 1, "{}{}", end.stdout, end.stderr);
    let written = std::fs::read_to_string(site.path().join("lastword.toml")).unwrap();
    let line = written.lines().position(|line| line == "[channels.hook]").unwrap() + 1;
    let place = format!("lastword.toml:{line}: channel hook: would be refused");
    assert!(end.stdout.contains(&place), "{place}\n{}", end.stdout);
    assert!(end.stdout.contains("did you mean 'callback_url'?"), "{}", end.stdout);
    assert!(!end.stdout.contains(": right"), "{}", end.stdout);

    let hook = Channel::webhook("hook", &sink.url()).set(".grants", "private_targets", "[]");
    site.configure(&Config::new().channel(hook));
    let end = site.cli(&["check"]).await;
    assert_eq!(end.code, 0, "{}{}", end.stdout, end.stderr);
    assert!(end.stdout.contains("adapter grant hook --private callback"), "{}", end.stdout);
    // And where it runs all the same, why its replies wait.
    let host = site.start().await;
    host.platform("hook").say("m1", "c", "hello").await;
    let status = eventually("the reply waits, and is said to", SOON, || async {
        let status = site.status().await;
        (status["channels"][0]["waiting_code"] == "denied").then_some(status)
    })
    .await;
    let needs = status["needs_a_person"].as_array().unwrap();
    assert!(needs.iter().any(|need| need["what"] == "replies_denied"), "{status}");
    let shown = site.cli(&["status"]).await.stdout;
    assert!(shown.contains("replies wait: denied: "), "{shown}");
    let id = site.outbox().await[0].id.clone();
    let shown = site.cli(&["outbox", "show", &id]).await.stdout;
    assert!(shown.contains("\n              | [channels.hook.grants]\n"), "{shown}");
    assert!(!shown.contains("\\n"), "a reason of several lines is shown as lines: {shown}");
}

#[tokio::test]
async fn a_file_that_is_no_store_is_told_as_that_and_a_backup_s_own_fault_as_its_own() {
    let (_sink, site) = bridge(Config::new()).await;
    for arguments in [&["restore", "nothing.x"][..], &["backup", "x.backup"]] {
        let end = site.cli(arguments).await;
        assert_eq!(end.code, 3, "{arguments:?}: {}", end.stderr);
        assert!(end.stderr.contains("there is no"), "{}", end.stderr);
    }
    assert!(site.start().await.terminate().await.success());
    let end = site.cli(&["backup", "nofolder/x.backup"]).await;
    assert_eq!(end.code, 1);
    assert!(
        end.stderr.contains("the backup nofolder/x.backup cannot be written"),
        "{}",
        end.stderr
    );
    assert!(!end.stderr.contains("the store cannot be"), "{}", end.stderr);

    std::fs::write(site.path().join("data/lastword.db"), vec![0x5a; 8_192]).unwrap();
    for arguments in [&["turns", "list"][..], &["outbox", "list"], &["run"], &["doctor"]] {
        let end = site.cli(arguments).await;
        assert_eq!(end.code, 1, "{arguments:?}: {}{}", end.stdout, end.stderr);
        let told = end.stdout + &end.stderr;
        assert!(told.contains("the store cannot be read") && told.contains("restore"), "{told}");
        assert!(!told.contains("free space") && !told.contains("who owns"), "{told}");
    }
}
