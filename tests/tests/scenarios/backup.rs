//! A backup of a host that runs, and the store that is made of it after the disk was lost.

use lastword_tests::harness::{Answer, Config};
use serde_json::Value;

use crate::{SOON, bridge};

#[tokio::test]
async fn a_backup_of_a_running_host_comes_back_without_sending_anything_again() {
    let (sink, site) = bridge(Config::new()).await;
    sink.answer_by(|arrival| match arrival.text() {
        "away" => Answer::RetryAfter { status: 503, seconds: 1 },
        _ => Answer::Take,
    });
    let host = site.start().await;
    let platform = host.platform("hook");
    for n in 0..20 {
        let turn = platform.say(&format!("m{n}"), &format!("c{n}"), "before").await;
        site.turn_at_rest(&turn.id, SOON).await;
    }
    let away = platform.say("away", "away", "away").await;
    site.row("a row in backoff", SOON, |row| row.state == "queued").await;
    let done: Vec<Value> = site.json(&["backup", "backup.db"]).await;
    assert_eq!(done[0]["deliveries_unfinished"], 1, "{done:?}");
    let again = site.cli(&["backup", "backup.db"]).await;
    assert_eq!(again.code, 2, "{}", again.stderr);
    assert_eq!(site.cli(&["backup", "backup.db", "--force"]).await.code, 0);
    let lost = platform.say("lost", "lost", "after the backup").await;
    site.turn_at_rest(&lost.id, SOON).await;
    let held = site.cli(&["restore", "backup.db", "--force"]).await;
    assert_eq!(held.code, 4, "not under a host: {}", held.stderr);
    host.kill().await;
    sink.answer_by(|_| Answer::Take);
    let sent = sink.count();

    // As it is, a backup is no store.
    let store = site.path().join("data/lastword.db");
    for name in ["lastword.db", "lastword.db-wal", "lastword.db-shm"] {
        let _ = std::fs::remove_file(site.path().join("data").join(name));
    }
    std::fs::copy(site.path().join("backup.db"), &store).unwrap();
    let mut child = site.spawn();
    assert!(!child.wait().await.unwrap().success());
    assert!(site.log().contains("lastword restore"), "{}", site.log_tail());
    assert_eq!(site.cli(&["restore", "backup.db"]).await.code, 2, "a file is in the way");
    let restored: Vec<Value> = site.json(&["restore", "backup.db", "--force"]).await;
    assert!(restored[0]["before"].as_str().is_some_and(|path| path.contains("before-")));

    let host = site.start().await;
    let platform = host.platform("hook");
    let row = site.row("the row that was under way", SOON, |row| row.held).await;
    assert_eq!((row.code.as_deref(), row.conversation.as_str()), (Some("restored"), "away"));
    assert_eq!(site.turns().await.iter().filter(|turn| turn.state == "delivered").count(), 20);
    let known = platform.say("m3", "c3", "before").await;
    assert!(known.duplicate);
    let new = platform.say("new", "c3", "new").await;
    site.turn_at_rest(&new.id, SOON).await;
    let texts: Vec<_> = sink.arrivals()[sent..].iter().map(|a| a.text().to_owned()).collect();
    assert_eq!(texts, ["new"], "nothing of before goes out by itself");
    assert_eq!(site.cli(&["outbox", "resolve", &row.id, "--resend"]).await.code, 0);
    sink.wait_for(sent + 2, SOON).await;
    assert_eq!(site.turn_at_rest(&away.id, SOON).await.code.as_deref(), Some("resent"));
}
