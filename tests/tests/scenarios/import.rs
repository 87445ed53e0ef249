//! OpenClaw's queue files taken in by the real command: each once, killed or not, with a host or
//! without one, and nothing sent that a person has to look at first.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use lastword_tests::harness::{Channel, Config, OutboxRow, Sink, Site, built, eventually};
use serde_json::{Value, json};
use tokio::process::Command;

use crate::SOON;

const HOUR_MS: u64 = 3_600_000;

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    u64::try_from(since.as_millis()).unwrap()
}

/// A queue of OpenClaw in the site's folder.
struct Queue(PathBuf);

impl Queue {
    fn new(site: &Site) -> Self {
        let folder = site.path().join("openclaw/delivery-queue");
        std::fs::create_dir_all(folder.join("failed")).unwrap();
        Self(folder)
    }

    /// An entry that was queued a minute ago, with more or other fields.
    fn put(&self, id: &str, to: &str, text: &str, more: Value) -> PathBuf {
        let mut entry = json!({
            "id": id, "enqueuedAt": now_ms() - 60_000, "channel": "telegram", "to": to,
            "payloads": [{"text": text}], "retryCount": 0, "bestEffort": true,
        });
        for (name, value) in more.as_object().unwrap() {
            entry[name] = value.clone();
        }
        let path = self.0.join(format!("{id}.json"));
        std::fs::write(&path, serde_json::to_vec_pretty(&entry).unwrap()).unwrap();
        path
    }

    fn names(&self) -> Vec<String> {
        names(&self.0)
    }
}

fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    let files = entries.filter(|entry| entry.file_type().unwrap().is_file());
    let mut names: Vec<_> = files.map(|entry| entry.file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

async fn site() -> (Sink, Site, Queue) {
    let sink = Sink::start().await;
    let config = Config::new().channel(Channel::webhook("tg", &sink.url()));
    let site = Site::new(&config.set("lifecycle", "delivery_backoff", r#"["4s", "60s"]"#));
    let queue = Queue::new(&site);
    (sink, site, queue)
}

/// The report of an import, with the exit code that it is to have.
async fn import(site: &Site, code: i32, more: &[&str]) -> Value {
    let mut arguments = vec!["import", "openclaw", "openclaw", "--map", "telegram=tg", "--json"];
    arguments.extend(more);
    let end = site.cli(&arguments).await;
    assert_eq!(end.code, code, "{}{}", end.stdout, end.stderr);
    serde_json::from_str(&end.stdout).unwrap()
}

/// Outcome and code by id.
fn outcome(report: &Value, id: &str) -> (String, String) {
    let entries = report["entries"].as_array().unwrap();
    let entry = entries.iter().find(|entry| entry["id"] == id).unwrap();
    let word = |name: &str| entry[name].as_str().unwrap_or_default().to_owned();
    (word("outcome"), word("code"))
}

async fn until_delivered(site: &Site, count: usize) -> Vec<OutboxRow> {
    eventually(&format!("{count} rows delivered"), SOON, || async {
        let rows = site.outbox().await;
        let done = rows.iter().filter(|row| row.state == "delivered").count();
        (done == count).then_some(rows)
    })
    .await
}

// Case: I1, I4
#[tokio::test]
async fn each_entry_goes_out_once_in_order_and_recorded_backoff_is_waited_for() {
    let (sink, site, queue) = site().await;
    let host = site.start().await;
    // Written in another order than they came in.
    queue.put("b2", "telegram:42", "second", json!({"enqueuedAt": now_ms() - 50_000}));
    queue.put("c1", "42", "first", json!({"payloads": [{"text": "first"}, {"text": "and more"}]}));
    let tried = json!({"retryCount": 1, "lastAttemptAt": now_ms(), "lastError": "429"});
    queue.put("a3", "7", "tried a moment ago", tried);
    let before = queue.names();
    let began = std::time::Instant::now();
    let report = import(&site, 0, &[]).await;
    assert_eq!(report["totals"]["queued"], 3, "{report}");
    let rows = until_delivered(&site, 4).await;
    let texts_to = |place: &str| {
        let arrivals = sink.arrivals().into_iter();
        let there = arrivals.filter(|arrival| arrival.field("conversation") == place);
        there.map(|arrival| arrival.text().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(texts_to("42"), ["first", "and more", "second"]);
    assert_eq!(texts_to("7"), ["tried a moment ago"]);
    assert!(began.elapsed() > Duration::from_secs(2), "its backoff of four seconds was honoured");
    let tried = rows.iter().find(|row| row.conversation == "7").unwrap();
    assert_eq!(tried.attempts, 2, "the attempt that OpenClaw made counts");
    assert_eq!(queue.names(), before, "no file is touched");

    let again = import(&site, 0, &["--move"]).await;
    assert_eq!(again["totals"]["already"], 3, "{again}");
    assert_eq!(queue.names(), Vec::<String>::new());
    assert_eq!(names(&queue.0.join("imported")), before, "moved, none is lost");
    assert!(host.terminate().await.success());
    assert_eq!(sink.count(), 4);
}

// Case: I2
#[tokio::test]
async fn what_a_person_has_to_look_at_is_held_with_its_reason_and_settled_by_hand() {
    let (sink, site, queue) = site().await;
    let host = site.start().await;
    queue.put("old", "1", "old", json!({"enqueuedAt": now_ms() - 73 * HOUR_MS}));
    queue.put("timeless", "2", "timeless", json!({"enqueuedAt": null}));
    let begun = json!({"recoveryState": "send_attempt_started", "platformSendStartedAt": now_ms()});
    queue.put("begun", "3", "begun", begun);
    queue.put("picture", "4", "see", json!({"payloads": [{"text": "see", "mediaUrl": "/p.png"}]}));
    queue.put("spent", "5", "spent", json!({"retryCount": 5, "lastAttemptAt": now_ms()}));
    let failed = queue.put("failed", "6", "failed", json!({}));
    std::fs::rename(&failed, queue.0.join("failed/failed.json")).unwrap();
    queue.put("young", "7", "young", json!({}));
    let tried = import(&site, 0, &["--dry-run"]).await;
    assert_eq!(tried["totals"]["held"], 6, "{tried}");
    assert_eq!(site.outbox().await, Vec::new(), "a dry run changes nothing");
    let report = import(&site, 0, &[]).await;
    for (id, code) in [
        ("old", "imported_old"),
        ("timeless", "imported_age_unknown"),
        ("begun", "imported_in_doubt"),
        ("picture", "imported_partial"),
        ("spent", "imported_failed"),
        ("failed", "imported_failed"),
    ] {
        assert_eq!(outcome(&report, id), ("held".to_owned(), code.to_owned()));
    }
    until_delivered(&site, 1).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(sink.arrivals().iter().map(|a| a.text().to_owned()).collect::<Vec<_>>(), ["young"]);

    let held: Vec<OutboxRow> = site.json(&["outbox", "list", "--state", "held"]).await;
    assert_eq!(held.len(), 6);
    let row = |place: &str| held.iter().find(|row| row.conversation == place).unwrap().id.clone();
    for (place, how) in [("1", "--resend"), ("3", "--delivered"), ("6", "--drop")] {
        let end = site.cli(&["outbox", "resolve", &row(place), how]).await;
        assert_eq!(end.code, 0, "{place} {how}: {}", end.stderr);
    }
    sink.wait_for(2, SOON).await;
    assert_eq!(sink.arrivals()[1].text(), "old");
    host.kill().await;
    let _host = site.start().await;
    let again = import(&site, 0, &[]).await;
    assert_eq!(again["totals"]["already"], 7, "also after it was settled, and after a restart");
    assert_eq!(sink.count(), 2);
}

// Case: I3
#[tokio::test]
async fn files_that_cannot_be_read_or_placed_stay_and_are_listed_and_the_others_go() {
    let (sink, site, queue) = site().await;
    let host = site.start().await;
    queue.put("good", "1", "good", json!({}));
    queue.put("elsewhere", "1", "private words", json!({"channel": "slack"}));
    queue.put("other", "1", "private words", json!({"accountId": "second"}));
    std::fs::write(queue.0.join("torn.json"), b"{\"id\": \"torn\", \"payl").unwrap();
    std::fs::write(queue.0.join("sent.delivered"), b"{}").unwrap();
    let before = queue.names();
    let arguments = ["import", "openclaw", "openclaw", "--map", "telegram=tg", "--move"];
    let end = site.cli(&arguments).await;
    assert_eq!(end.code, 1, "{}{}", end.stdout, end.stderr);
    for word in ["torn.json", "column", "--map slack=CHANNEL", "--map telegram/second=CHANNEL"] {
        assert!(end.stdout.contains(word), "`{word}` is not in {}", end.stdout);
    }
    assert!(!end.stdout.contains("private words"));
    sink.wait_for(1, SOON).await;
    let left: Vec<_> = before.into_iter().filter(|name| name != "good.json").collect();
    assert_eq!(queue.names(), left, "left in place");
    let unknown = site.cli(&["import", "openclaw", "openclaw", "--map", "telegram=nobody"]).await;
    assert_eq!(unknown.code, 2, "{}", unknown.stderr);
    assert_eq!(site.cli(&["import", "openclaw", "nowhere"]).await.code, 2);
    drop(host);
    assert_eq!(sink.count(), 1);
}

// Case: I1
#[tokio::test]
async fn an_import_that_is_killed_midway_is_taken_up_and_no_entry_comes_twice_or_is_lost() {
    const ENTRIES: usize = 1_500;
    let (sink, site, queue) = site().await;
    // The store is made by a first start.
    assert!(site.start().await.terminate().await.success());
    for n in 0..ENTRIES {
        queue.put(&format!("e{n:04}"), &format!("place {n}"), &format!("text {n}"), json!({}));
    }
    let mut cut = 0;
    let mut host = None;
    // Without a host first, the store's own lock left behind each time; then through a host.
    for round in 0..4 {
        if round == 2 {
            host = Some(site.start().await);
        }
        let before = site.outbox().await.len();
        let mut command = Command::new(built::binary());
        let words = ["import", "openclaw", "openclaw", "--map", "telegram=tg", "--move"];
        let mut child =
            command.args(words).current_dir(site.path()).stdout(Stdio::null()).spawn().unwrap();
        eventually("the import has begun, or is over", SOON, || async {
            let over = std::fs::read_dir(&queue.0).unwrap().count() <= 2;
            (over || site.outbox().await.len() > before).then_some(())
        })
        .await;
        child.kill().await.unwrap();
        let after = site.outbox().await.len();
        cut += usize::from(after > before && after < ENTRIES);
    }
    assert!(cut > 0, "no import was cut in its middle");
    // One more, so that there is something to do however far the others came.
    queue.put("last", "place last", "text last", json!({}));
    let report = import(&site, 0, &["--move"]).await;
    assert_eq!(report["totals"]["left"], 0);
    let all = ENTRIES + 1;
    let rows = until_delivered(&site, all).await;
    assert_eq!(rows.len(), all);
    let mut texts: Vec<_> = sink.arrivals().iter().map(|a| a.text().to_owned()).collect();
    texts.sort();
    texts.dedup();
    assert_eq!((texts.len(), sink.count()), (all, all));
    assert_eq!(names(&queue.0.join("imported")).len(), all);
    drop(host);
}

#[tokio::test]
async fn before_the_first_run_a_trial_makes_nothing_and_an_import_makes_the_store() {
    let (sink, site, queue) = site().await;
    queue.put("e1", "room", "hello", json!({}));
    let arguments = ["import", "openclaw", "openclaw", "--map", "telegram=tg"];
    let trial = site.cli(&[&arguments[..], &["--dry-run"]].concat()).await;
    assert_eq!(trial.code, 3, "as every command that finds no store: {}", trial.stderr);
    assert!(!site.path().join("data").exists(), "nothing is made");
    import(&site, 0, &[]).await;
    let _host = site.start().await;
    sink.wait_for(1, SOON).await;
}
