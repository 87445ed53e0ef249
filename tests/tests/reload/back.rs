//! What was gone back from stays away, and going back gives nothing that was taken away since.

use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use lastword_tests::harness::config::text;
use lastword_tests::harness::{Host, Sink, eventually};
use serde_json::json;

use crate::{Rig, SOON, channel, channel_of, unwatched, watched};

/// Many looks of a host that watches.
const LOOKS: Duration = Duration::from_millis(700);

/// Has a version that traps at each send taken back.
async fn broken(rig: &Rig, host: &Host) {
    for n in 0..2 {
        let name = format!("broken{n}");
        host.platform("a").say(&name, &name, &name).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let told = rig.serves("1.0.0").await;
    assert_eq!(told["current"]["cause"], "broken", "{told}");
}

/// Waits until bytes in the file stand refused as ones that were taken back.
async fn stays_away(rig: &Rig) {
    eventually("it is refused", SOON, || async {
        (rig.generations().await["refused"]["code"] == "adapter_rolled_back").then_some(())
    })
    .await;
    assert_eq!(rig.version_that_serves().await, "1.0.0");
}

#[tokio::test]
async fn bytes_that_broke_are_tried_again_by_order_only_whatever_happens_to_their_file() {
    let rig = Rig::new(watched()).await;
    let host = rig.site.start().await;
    let trap = || rig.version("2.0.0", json!({"send": "trap"}));
    trap();
    rig.serves("2.0.0").await;
    broken(&rig, &host).await;
    let number = rig.generations().await["current"]["number"].clone();
    // The same bytes again, and the same file under another mode.
    trap();
    tokio::time::sleep(LOOKS).await;
    let mode = std::fs::Permissions::from_mode(0o600);
    std::fs::set_permissions(rig.place(), mode).unwrap();
    tokio::time::sleep(LOOKS).await;
    let told = rig.generations().await;
    assert_eq!(told["current"]["number"], number, "nothing was swapped: {told}");
    let reason = told["refused"]["reason"].as_str().unwrap();
    assert!(reason.contains("the block says so"), "said once, as it was: {reason}");
    let events = rig.site.status().await["events"].as_array().unwrap().clone();
    let said = events.iter().filter(|it| it["code"] == "adapter_rolled_back").count();
    assert_eq!(said, 1, "{events:?}");
    // What serves is put back, and then the broken one once more.
    rig.version("1.0.0", json!({}));
    eventually("nothing is refused", SOON, || async {
        rig.generations().await["refused"].is_null().then_some(())
    })
    .await;
    trap();
    stays_away(&rig).await;
    // Another refusal after it, and a start.
    let config = std::fs::read_to_string(rig.site.path().join("lastword.toml")).unwrap();
    rig.site.write("lastword.toml", "data_dir = 7");
    let end = rig.post(&host, "/v1/channels/a/reload", &json!({})).await;
    assert_eq!(end.json()["error"]["code"], "config_refused");
    rig.site.write("lastword.toml", &config);
    assert!(host.terminate().await.success());
    let host = rig.site.start().await;
    stays_away(&rig).await;
    tokio::time::sleep(LOOKS).await;
    assert_eq!(rig.sent_by(&host, "after a start").await, "1.0.0");
    assert_eq!(rig.reloaded().await["version"], "2.0.0", "a person may");
    assert!(host.terminate().await.success());
}

#[tokio::test]
async fn an_operator_who_went_back_is_overruled_neither_by_the_watch_nor_by_a_start() {
    let rig = Rig::new(watched()).await;
    let host = rig.site.start().await;
    rig.version("2.0.0", json!({}));
    rig.serves("2.0.0").await;
    let end = rig.site.cli(&["adapter", "rollback", "a"]).await;
    assert_eq!(end.code, 0, "{}", end.stderr);
    rig.version("2.0.0", json!({}));
    stays_away(&rig).await;
    assert!(host.terminate().await.success());
    let host = rig.site.start().await;
    tokio::time::sleep(LOOKS).await;
    assert_eq!(rig.sent_by(&host, "still").await, "1.0.0");
    assert_eq!(rig.generations().await["refused"]["code"], "adapter_rolled_back");
    // A start forgets no way back.
    assert_eq!(rig.generations().await["previous"]["version"], "2.0.0");
    let end = rig.site.cli(&["adapter", "rollback", "a"]).await;
    assert_eq!(end.code, 0, "{}", end.stderr);
    assert_eq!(rig.sent_by(&host, "forth").await, "2.0.0");
    assert!(rig.generations().await["refused"].is_null());
}

#[tokio::test]
async fn what_is_gone_back_to_obeys_the_config_of_the_last_order() {
    let rig = Rig::new(watched()).await;
    let host = rig.site.start().await;
    assert_eq!(rig.sent_by(&host, "here").await, "1.0.0");
    let there = Sink::start().await;
    rig.version("2.0.0", json!({}));
    rig.serves("2.0.0").await;
    rig.site.configure(&watched().channel(channel(there.origin())));
    assert_eq!(rig.reloaded().await["version"], "2.0.0");
    assert_eq!(rig.site.cli(&["adapter", "rollback", "a"]).await.code, 0);
    host.platform("a").say("back", "back", "back").await;
    let sent = there.wait_for(1, SOON).await;
    assert_eq!(sent[0].field("generation"), "1.0.0", "sent with what the order read");
    rig.version("3.0.0", json!({}));
    rig.serves("3.0.0").await;
    host.platform("a").say("file", "file", "file").await;
    let sent = there.wait_for(2, SOON).await;
    assert_eq!(sent[1].field("generation"), "3.0.0");
    assert_eq!(rig.sent().len(), 1, "nothing goes where it went before the order");
    // A digest that was pinned since.
    let pinned = rig.generations().await["current"]["digest"].as_str().unwrap().to_owned();
    let pinning = channel(there.origin()).set("", "sha256", &text(&pinned));
    rig.site.configure(&watched().channel(pinning));
    rig.reloaded().await;
    let end = rig.site.cli(&["adapter", "rollback", "a"]).await;
    assert!(end.code == 4 && end.stderr.contains(&pinned), "{}", end.stderr);
    assert_eq!(rig.version_that_serves().await, "3.0.0");
}

#[tokio::test]
async fn a_reload_of_the_same_bytes_keeps_what_is_gone_back_to() {
    let rig = Rig::new(unwatched()).await;
    let host = rig.site.start().await;
    rig.version("2.0.0", json!({}));
    for number in 2..=4 {
        let told = rig.reloaded().await;
        assert_eq!((&told["number"], &told["version"]), (&json!(number), &json!("2.0.0")));
    }
    assert_eq!(rig.generations().await["previous"]["version"], "1.0.0");
    assert_eq!(rig.site.cli(&["adapter", "rollback", "a"]).await.code, 0);
    assert_eq!(rig.sent_by(&host, "back").await, "1.0.0");
    // By itself as well.
    rig.version("2.1.0", json!({"send": "trap"}));
    for _ in 0..3 {
        rig.reloaded().await;
    }
    broken(&rig, &host).await;
    assert_eq!(rig.sent_by(&host, "again").await, "1.0.0");
}

#[tokio::test]
async fn bytes_that_one_channel_took_back_do_not_come_back_with_a_file_that_others_run() {
    let rig = Rig::new(watched()).await;
    let of = |name| channel_of(name, "a.wasm", rig.sink.origin());
    rig.site.configure(&watched().channel(of("a")).channel(of("b")));
    let host = rig.site.start().await;
    rig.version("2.0.0", json!({"send": "trap"}));
    rig.serves("2.0.0").await;
    let b = || async { rig.site.status().await["channels"][1]["generation"]["current"].clone() };
    eventually("b runs it", SOON, || async { (b().await["number"] == 2).then_some(()) }).await;
    broken(&rig, &host).await;
    rig.version("2.0.0", json!({"send": "trap"}));
    tokio::time::sleep(LOOKS).await;
    stays_away(&rig).await;
    assert_eq!(b().await["version"], "2.0.0", "it was not used there");
    rig.version("2.1.0", json!({}));
    rig.serves("2.1.0").await;
    assert_eq!(rig.sent_by(&host, "mended").await, "2.1.0");
}
