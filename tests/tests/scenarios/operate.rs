//! What an operator does to many rows at once, and what `status` says: with a host and without one.

use lastword_tests::harness::{Answer, Channel, Config, Sink, Site};
use serde_json::Value;

use crate::{SOON, bridge};

/// A site with `count` dead letters on the channel `hook`, and a host that runs.
async fn with_dead_letters(count: usize) -> (Sink, Site, lastword_tests::harness::Host) {
    let (sink, site) = bridge(Config::new()).await;
    sink.answer_by(|_| Answer::Status(400));
    let host = site.start().await;
    for n in 0..count {
        let turn = host.platform("hook").say(&format!("m{n}"), &format!("c{n}"), "hello").await;
        assert_eq!(site.turn_at_rest(&turn.id, SOON).await.state, "failed");
    }
    (sink, site, host)
}

fn results(rows: &[Value]) -> Vec<String> {
    rows.iter().map(|row| row["result"].as_str().unwrap().to_owned()).collect()
}

// Case: J2, J6
#[tokio::test]
async fn dead_letters_are_replayed_together_once_and_each_row_is_told() {
    let (sink, site, host) = with_dead_letters(3).await;
    sink.answer_by(|_| Answer::Take);
    let tried: Vec<Value> = site.json(&["replay", "--outbox", "--all", "--dry-run"]).await;
    assert_eq!(results(&tried), ["done"; 3]);
    assert_eq!(site.outbox().await.len(), 3, "a dry run makes nothing");
    let replayed: Vec<Value> = site.json(&["replay", "--outbox", "--channel", "hook"]).await;
    assert_eq!(results(&replayed), ["done"; 3]);
    sink.wait_for(6, SOON).await;
    let again = site.cli(&["replay", "--outbox", "--all"]).await;
    assert_eq!(again.code, 4, "{}{}", again.stdout, again.stderr);
    assert_eq!(again.stdout.matches("replayed before").count(), 3, "{}", again.stdout);
    let forced: Vec<Value> =
        site.json(&["replay", "--outbox", "--all", "--force", "--limit", "1"]).await;
    assert_eq!(results(&forced), ["done"]);
    host.kill().await;
    let offline = site.cli(&["replay", "--outbox", "--all"]).await;
    assert_eq!(offline.code, 4, "without a host the same: {}{}", offline.stdout, offline.stderr);
}

// Case: J1
#[tokio::test]
async fn a_list_says_where_it_goes_on_and_that_it_is_empty_and_begins_with_the_newest_if_asked() {
    let (_sink, site, _host) = with_dead_letters(3).await;
    let rows = site.turns().await;
    let two = site.cli(&["turns", "list", "--limit", "2"]).await;
    assert!(two.stdout.ends_with(&format!("2 shown, more: --after {}\n", rows[1].id)), "{two:?}");
    let rest = site.cli(&["turns", "list", "--limit", "2", "--after", &rows[1].id]).await;
    assert!(!rest.stdout.contains("more:") && rest.stdout.contains(&rows[2].id), "{rest:?}");
    let whole = site.cli(&["turns", "list", "--limit", "3"]).await;
    assert!(!whole.stdout.contains("more:"), "{whole:?}");
    let newest: Vec<Value> = site.json(&["turns", "list", "--newest", "--limit", "1"]).await;
    assert_eq!((newest.len(), &newest[0]["id"]), (1, &Value::from(rows[2].id.as_str())));
    let none = site.cli(&["turns", "list", "--state", "queued"]).await;
    assert_eq!((none.code, none.stdout.as_str(), none.stderr.as_str()), (0, "", "no rows\n"));
    let none = site.cli(&["turns", "list", "--state", "queued", "--json"]).await;
    assert_eq!((none.code, none.stdout.as_str(), none.stderr.as_str()), (0, "", ""));
}

// Case: J3, G7
#[tokio::test]
async fn a_purge_says_what_it_would_do_and_does_it_with_yes() {
    let (_sink, site, host) = with_dead_letters(2).await;
    let told = site.cli(&["purge", "--turns", "--all"]).await;
    assert_eq!(told.code, 0, "{}", told.stderr);
    assert!(
        told.stdout.contains("would purge") && told.stdout.contains("--yes"),
        "{}",
        told.stdout
    );
    assert_eq!(told.stdout.matches(" (failed)").count(), 2, "{}", told.stdout);
    assert_eq!(site.turns().await.len(), 2);
    let purged: Vec<Value> = site.json(&["purge", "--turns", "--all", "--yes"]).await;
    assert_eq!(results(&purged), ["done"; 2]);
    assert_eq!((site.turns().await.len(), site.outbox().await.len()), (0, 0));
    assert_eq!(site.cli(&["purge", "--turns", "--all", "--yes"]).await.code, 3);
    let again = host.platform("hook").say("m0", "c0", "hello").await;
    assert!(again.duplicate, "the message stays known");
}

// Case: G6
#[tokio::test]
async fn the_rows_of_a_removed_channel_are_listed_as_such_and_purged_by_command() {
    let (sink, site) = bridge(Config::new()).await;
    let host = site.start().await;
    assert_eq!(site.cli(&["channels", "pause", "hook"]).await.code, 0);
    let turn = host.platform("hook").say("m1", "c", "hello").await;
    let row = site.row("a row that waits", SOON, |row| row.state == "queued").await;
    assert!(host.terminate().await.success());
    site.configure(&Config::new().channel(Channel::webhook("other", &sink.url())));
    let host = site.start().await;
    let status = site.status().await;
    let needs = status["needs_a_person"].as_array().unwrap();
    let removed = needs.iter().find(|need| need["what"] == "channel_removed").unwrap();
    assert_eq!(removed["channel"], "hook", "{status}");
    let shown: Vec<Value> = site.json(&["outbox", "show", &row.id]).await;
    assert_eq!(shown[0]["waits"][0]["code"], "channel_removed", "{shown:?}");
    assert!(shown[0]["waits"][0]["since_ms"].is_i64(), "{shown:?}");
    assert_eq!(site.cli(&["purge", "--turns", "--channel", "hook", "--yes"]).await.code, 3);
    let command = removed["command"].as_str().unwrap();
    let words: Vec<&str> = command.split(' ').skip(1).chain(["--yes"]).collect();
    assert_eq!(site.cli(&words).await.code, 0, "the command that status names does it");
    assert!(site.turns().await.iter().all(|row| row.id != turn.id));
    assert!(site.outbox().await.is_empty());
    let status = site.status().await;
    assert_eq!(status["channels"].as_array().unwrap().len(), 1, "nothing is left to say: {status}");
    drop(host);
}

// Case: J4
#[tokio::test]
async fn status_tells_depth_age_sweeps_generations_and_what_needs_a_person() {
    let (_sink, site, host) = with_dead_letters(1).await;
    assert_eq!(site.cli(&["channels", "pause", "hook"]).await.code, 0);
    host.platform("hook").say("waits", "c", "hello").await;
    site.row("a row that waits", SOON, |row| row.state == "queued").await;
    let status = lastword_tests::harness::eventually("a sweep has run", SOON, || async {
        let status = site.status().await;
        status["sweeps"]["claims"]["last"].is_object().then_some(status)
    })
    .await;
    let channel = &status["channels"][0];
    assert_eq!(
        (&channel["deliveries_unfinished"], &channel["deliveries_dead"]),
        (&1.into(), &1.into())
    );
    assert!(
        channel["oldest_unfinished_at_ms"].is_i64() && channel["since_ms"].is_i64(),
        "{channel}"
    );
    assert_eq!((&channel["breaker"], &channel["state"]), (&"closed".into(), &"paused".into()));
    assert!(channel["digest"].as_str().is_some_and(|digest| digest.len() >= 12), "{channel}");
    assert!(status["store"]["bytes"].is_u64() && status["store"]["disk_free_bytes"].is_u64());
    let whats: Vec<&str> = status["needs_a_person"]
        .as_array()
        .unwrap()
        .iter()
        .map(|need| need["what"].as_str().unwrap())
        .collect();
    assert_eq!(whats, ["channel_paused", "dead_turns", "dead_deliveries"]);
    let human = site.cli(&["status"]).await.stdout;
    for words in ["needs a person", "lastword channels resume hook", "claims", "paused", "free on"]
    {
        assert!(human.contains(words), "`{words}` is not in\n{human}");
    }
    assert!(!human.contains('\u{1b}'), "no colours where no terminal is");
    host.kill().await;
    let offline = site.cli(&["status"]).await;
    assert!(offline.stdout.contains("not running") && offline.stdout.contains("needs a person"));
}

// Case: J7
#[tokio::test]
async fn a_store_of_a_newer_schema_is_refused_without_a_write() {
    let (_sink, site) = bridge(Config::new()).await;
    let host = site.start().await;
    let turn = host.platform("hook").say("m1", "c", "hello").await;
    site.turn_at_rest(&turn.id, SOON).await;
    host.kill().await;
    let database = site.path().join("data/lastword.db");
    let script = format!(
        "import sqlite3,sys\ndb=sqlite3.connect({:?})\ndb.execute('PRAGMA user_version=9999')\n\
         db.commit()\n# The log stays, as after a crash.\nimport os\nos._exit(0)\n",
        database.display().to_string()
    );
    let made = std::process::Command::new("python3").args(["-c", &script]).status().unwrap();
    assert!(made.success());
    let bytes = |suffix: &str| {
        let path = format!("{}{suffix}", database.display());
        std::fs::read(path).unwrap_or_default()
    };
    let before = (bytes(""), bytes("-wal"));
    for words in [
        &["run"][..],
        &["status"],
        &["turns", "list"],
        &["replay", &turn.id],
        &["purge", "--turns", "--all", "--yes"],
    ] {
        let end = site.cli(words).await;
        assert!(end.code == 1 || end.code == 2, "{words:?}: {} {}", end.code, end.stderr);
        assert!(end.stderr.contains("newer"), "{words:?}: {}", end.stderr);
        assert_eq!((bytes(""), bytes("-wal")), before, "{words:?} wrote");
    }
}

// Case: J9
#[tokio::test]
async fn the_log_says_what_messages_say_only_where_that_is_set() {
    for set in [false, true] {
        let (_sink, site) = bridge(Config::new().top("log_payloads", &set.to_string())).await;
        let host = site.start().await;
        let turn = host.platform("hook").say("m1", "c", "a private matter").await;
        site.turn_at_rest(&turn.id, SOON).await;
        assert!(host.terminate().await.success());
        assert_eq!(site.log().contains("a private matter"), set);
        assert!(site.log().contains(&turn.id), "ids are always there");
    }
}
