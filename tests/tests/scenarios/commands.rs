//! The command line as scripts use it: fields, filters, exit codes, with and without a host.

use lastword_tests::harness::{Answer, Channel, Config, OutboxRow, Site, TurnRow};
use serde_json::Value;

use crate::{SOON, bridge};

// Case: J1
#[tokio::test]
async fn lists_filter_page_and_print_one_object_a_line() {
    let (sink, site) = bridge(Config::new()).await;
    sink.answer_by(|arrival| match arrival.text() {
        "bad" => Answer::Status(400),
        _ => Answer::Take,
    });
    let host = site.start().await;
    let platform = host.platform("hook");
    let mut ids = Vec::new();
    for n in 0..6 {
        let text = if n == 3 { "bad" } else { "good" };
        let conversation = format!("c{}", n % 2);
        ids.push(platform.say(&format!("m{n}"), &conversation, text).await.id);
    }
    for id in &ids {
        site.turn_at_rest(id, SOON).await;
    }
    let turns = |rest: &'static [&'static str]| {
        let arguments: Vec<_> = ["turns", "list"].iter().chain(rest).copied().collect();
        let site = &site;
        async move {
            let rows: Vec<TurnRow> = site.json(&arguments).await;
            rows.into_iter().map(|row| row.id).collect::<Vec<_>>()
        }
    };
    assert_eq!(turns(&[]).await, ids, "oldest first");
    assert_eq!(turns(&["--limit", "2"]).await, ids[..2]);
    assert_eq!(turns(&["--state", "failed"]).await, ids[3..4]);
    assert_eq!(turns(&["--conversation", "c0"]).await, [&*ids[0], &*ids[2], &*ids[4]]);
    assert_eq!(
        site.cli(&["turns", "list", "--channel", "nobody"]).await.code,
        3,
        "no such channel"
    );
    assert_eq!(
        turns(&["--state", "delivered", "--conversation", "c1", "--limit", "1"]).await,
        [ids[1].clone()]
    );
    let after = ["turns", "list", "--after", &ids[3]];
    let rows: Vec<TurnRow> = site.json(&after).await;
    assert_eq!(rows.iter().map(|row| row.id.clone()).collect::<Vec<_>>(), ids[4..]);
    let dead: Vec<OutboxRow> = site.json(&["outbox", "list", "--state", "dead"]).await;
    assert_eq!(dead.len(), 1);
    assert_eq!(dead[0].turn_id.as_ref(), Some(&ids[3]));
    let human = site.cli(&["turns", "list"]).await;
    assert!(human.code == 0 && ids.iter().all(|id| human.stdout.contains(id)), "{}", human.stdout);
}

#[tokio::test]
async fn a_turn_and_a_row_can_be_shown_whole() {
    let (_sink, site) = bridge(Config::new()).await;
    let host = site.start().await;
    let turn = host.platform("hook").say("m1", "c", "a private matter").await;
    site.turn_at_rest(&turn.id, SOON).await;
    let shown: Vec<Value> = site.json(&["turns", "show", &turn.id]).await;
    assert_eq!(shown[0]["id"], turn.id.as_str());
    let row = site.rows_of(&turn.id).await.remove(0).id;
    let shown: Vec<Value> = site.json(&["outbox", "show", &row]).await;
    assert_eq!(shown[0]["id"], row.as_str());
    for list in [["turns", "list"], ["outbox", "list"]] {
        let listed = site.cli(&[list[0], list[1], "--json"]).await.stdout;
        assert!(!listed.contains("private matter"), "payloads are shown only when asked for");
    }
    assert!(!site.log().contains("private matter"), "and logged never");
}

#[tokio::test]
async fn what_is_not_there_exits_with_3_and_what_its_state_refuses_with_4() {
    let (_sink, site) = bridge(Config::new()).await;
    let host = site.start().await;
    let turn = host.platform("hook").say("m1", "c", "hello").await;
    site.turn_at_rest(&turn.id, SOON).await;
    let row = site.rows_of(&turn.id).await.remove(0).id;
    for running in [true, false] {
        for (code, arguments) in [
            (3, vec!["turns", "show", "nobody-knows"]),
            (3, vec!["outbox", "show", "nobody-knows"]),
            (3, vec!["abort", "--turn", "nobody-knows"]),
            (3, vec!["abort", "--turn", &turn.id]),
            (3, vec!["abort", "--channel", "hook", "--conversation", "c"]),
            (3, vec!["replay", "nobody-knows"]),
            (4, vec!["replay", &turn.id]),
            (4, vec!["outbox", "resolve", &row, "--delivered"]),
            (3, vec!["outbox", "resolve", "nobody-knows", "--drop"]),
            (3, vec!["channels", "pause", "nobody"]),
            (2, vec!["outbox", "resolve", &row]),
            (2, vec!["abort"]),
        ] {
            let end = site.cli(&arguments).await;
            let said = format!("{}{}", end.stdout, end.stderr);
            assert_eq!(end.code, code, "{arguments:?} (host running: {running}): {said}");
            assert!(!end.stderr.is_empty(), "{arguments:?} says why");
        }
        if running {
            assert!(site.status().await.is_object());
            let pid = rustix::process::Pid::from_raw(host.pid().cast_signed()).unwrap();
            rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
            wait_gone(&site).await;
        }
    }
}

/// Until the dead host's lock is free: its process is reaped when `host` is dropped, not before.
async fn wait_gone(site: &Site) {
    lastword_tests::harness::eventually("the lock is free", SOON, || async {
        let lock = std::fs::File::open(site.path().join("data/host.lock")).unwrap();
        let free = rustix::fs::FlockOperation::NonBlockingLockExclusive;
        rustix::fs::flock(&lock, free).is_ok().then_some(())
    })
    .await;
}

// Case: C7
#[tokio::test]
async fn a_paused_channel_takes_messages_in_and_sends_them_when_it_is_resumed() {
    let (sink, site) = bridge(Config::new()).await;
    let host = site.start().await;
    assert_eq!(site.cli(&["channels", "pause", "hook"]).await.code, 0);
    let turn = host.platform("hook").say("m1", "c", "hello").await;
    let row = site.row("a row that waits", SOON, |row| row.state == "queued").await;
    assert_eq!(row.attempts, 0);
    host.kill().await;
    let _host = site.start().await;
    let status = site.status().await;
    assert_eq!(status["channels"][0]["state"], "paused", "a restart does not resume: {status}");
    let listed: Vec<Value> = site.json(&["channels", "list"]).await;
    assert_eq!(listed[0]["state"], "paused", "{listed:?}");
    assert_eq!(sink.count(), 0);
    assert_eq!(site.cli(&["channels", "resume", "hook"]).await.code, 0);
    assert_eq!(site.turn_at_rest(&turn.id, SOON).await.state, "delivered");
}

// Case: J2
#[tokio::test]
async fn a_failed_turn_is_replayed_as_a_new_one() {
    let (sink, site) = bridge(Config::new()).await;
    let script =
        "import sys\nsys.stdin.readline()\nprint('{\"type\":\"fail\",\"reason\":\"no\"}')\n";
    let agent = site.write("agent.py", script);
    let hook = Channel::webhook("hook", &sink.url());
    let config = Config::new().agent(&agent).set("lifecycle", "turn_tries", "1");
    site.configure(&config.channel(hook.clone()));
    let host = site.start().await;
    let turn = host.platform("hook").say("m1", "c", "hello").await;
    assert_eq!(site.turn_at_rest(&turn.id, SOON).await.state, "failed");
    assert!(host.terminate().await.success());
    site.configure(&Config::new().channel(hook));
    let _host = site.start().await;
    let end = site.cli(&["replay", &turn.id]).await;
    assert_eq!(end.code, 0, "{}", end.stderr);
    let arrived = sink.wait_for(1, SOON).await;
    assert_eq!(arrived[0].text(), "hello");
    assert_ne!(arrived[0].field("turn_id"), turn.id);
    site.turn_at_rest(arrived[0].field("turn_id"), SOON).await;
    assert_eq!(site.turn_at_rest(&turn.id, SOON).await.state, "failed", "the old one stays");
}

#[tokio::test]
async fn init_writes_a_config_that_check_takes_and_never_overwrites_one() {
    let site = Site::new(&Config::new());
    std::fs::remove_file(site.path().join("lastword.toml")).unwrap();
    let end = site.cli(&["init"]).await;
    assert_eq!(end.code, 0, "{}{}", end.stdout, end.stderr);
    let config = std::fs::read_to_string(site.path().join("lastword.toml")).unwrap();
    assert!(config.lines().any(|line| line.trim_start().starts_with('#')), "it is commented");
    let check = site.cli(&["check"]).await;
    assert_ne!(check.code, 2, "{}{}", check.stdout, check.stderr);
    let again = site.cli(&["init"]).await;
    assert_ne!(again.code, 0, "{}", again.stdout);
    assert_eq!(std::fs::read_to_string(site.path().join("lastword.toml")).unwrap(), config);
}

#[tokio::test]
async fn an_adapter_can_be_inspected_before_it_is_used() {
    let site = Site::new(&Config::new());
    let path = lastword_tests::harness::component("webhook").display().to_string();
    let seen: Vec<Value> = site.json(&["adapter", "inspect", &path]).await;
    let told = seen[0].to_string();
    for word in ["webhook", "callback", "inbound-key", "callback_url"] {
        assert!(told.contains(word), "`{word}` is not in {told}");
    }
    let bad = lastword_tests::harness::component("foreign-import").display().to_string();
    let end = site.cli(&["adapter", "inspect", &bad]).await;
    assert!(end.code != 0 && end.stderr.contains("import"), "{}{}", end.stdout, end.stderr);
}

#[tokio::test]
async fn logs_come_as_json_where_that_is_wanted() {
    let (_sink, site) = bridge(Config::new()).await;
    let binary = lastword_tests::harness::built::binary().display().to_string();
    let host = site.start_as(&binary, &["run", "--log-format", "json"]).await;
    let turn = host.platform("hook").say("m1", "c", "hello").await;
    site.turn_at_rest(&turn.id, SOON).await;
    assert!(host.terminate().await.success());
    let log = site.log();
    assert!(log.lines().count() > 0, "a start and a stop are worth a line");
    for line in log.lines() {
        assert!(serde_json::from_str::<Value>(line).is_ok_and(|v| v.is_object()), "{line}");
    }
}
