//! Going back: by itself where the first calls of a new version break, and by order.

use lastword_tests::harness::eventually;
use serde_json::json;

use crate::{Rig, SOON, unwatched};

#[tokio::test]
async fn a_version_that_traps_in_its_first_calls_is_taken_back_and_nothing_is_lost_or_doubled() {
    let rig = Rig::new(unwatched()).await;
    let host = rig.site.start().await;
    rig.version("2.0.0", json!({"send": "trap"}));
    rig.reloaded().await;
    let mut turns = Vec::new();
    for n in 0..6 {
        turns.push(host.platform("a").say(&format!("m{n}"), &format!("c{n}"), "hello").await.id);
        // Each send is over before the next webhook, which this version takes well.
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    let told = rig.serves("1.0.0").await;
    assert_eq!(told["current"]["cause"], "broken", "{told}");
    for id in &turns {
        assert_eq!(rig.site.turn_at_rest(id, SOON).await.state, "delivered");
    }
    let sent = rig.sent();
    assert_eq!(sent.len(), 6, "each once");
    assert!(sent.iter().all(|it| it.field("generation") == "1.0.0"));
    let told = rig.generations().await;
    assert_eq!(told["refused"]["code"], "adapter_rolled_back", "{told}");
    assert!(told["refused"]["reason"].as_str().unwrap().contains("the block says so"), "{told}");
    // The bad version is still in the file: it is not tried again by itself.
    assert!(host.terminate().await.success());
    let host = rig.site.start().await;
    assert_eq!(rig.sent_by(&host, "again").await, "1.0.0");
    let told = rig.generations().await;
    assert_eq!(told["refused"]["code"], "adapter_rolled_back", "{told}");
    // A person may.
    assert_eq!(rig.reloaded().await["version"], "2.0.0");
    assert!(host.terminate().await.success());
}

#[tokio::test]
async fn what_a_broken_version_may_have_sent_stays_unknown_and_is_sent_by_nobody_again() {
    let rig = Rig::new(unwatched()).await;
    let host = rig.site.start().await;
    rig.version("2.0.0", json!({"send": "trap-after"}));
    rig.reloaded().await;
    for n in 0..2 {
        host.platform("a").say(&format!("m{n}"), &format!("c{n}"), &format!("m{n}")).await;
    }
    rig.serves("1.0.0").await;
    eventually("both are held", SOON, || async {
        let rows = rig.site.outbox().await;
        rows.iter().all(|row| row.held).then_some(())
    })
    .await;
    assert_eq!(rig.sent_by(&host, "after").await, "1.0.0");
    for n in 0..2 {
        let sent = rig.sent().into_iter().filter(|it| it.text() == format!("m{n}"));
        assert_eq!(sent.count(), 1, "m{n} was sent once, by the version that broke");
    }
}

#[tokio::test]
async fn a_version_that_breaks_and_cannot_be_gone_back_from_is_told_once() {
    let rig = Rig::new(unwatched()).await;
    let host = rig.site.start().await;
    rig.version("2.0.0", json!({"send": "trap-after"}));
    rig.reloaded().await;
    let copies = rig.site.path().join("data/adapters");
    for copy in std::fs::read_dir(copies).unwrap() {
        std::fs::remove_file(copy.unwrap().path()).unwrap();
    }
    let told = || async {
        let events = rig.site.status().await["events"].as_array().unwrap().clone();
        events.into_iter().filter(|it| it["code"] == "adapter_breaks").collect::<Vec<_>>()
    };
    for n in 0..5 {
        host.platform("a").say(&format!("m{n}"), &format!("c{n}"), "hello").await;
    }
    eventually("all are held", SOON, || async {
        let rows = rig.site.outbox().await;
        (rows.len() == 5 && rows.iter().all(|row| row.held)).then_some(())
    })
    .await;
    let events = told().await;
    assert_eq!(events.len(), 1, "{events:?}");
    let said = events[0]["sentence"].as_str().unwrap();
    assert!(said.contains("version 2.0.0 breaks") && said.contains("1.0.0 cannot be"), "{said}");
    assert_eq!(rig.version_that_serves().await, "2.0.0");
    assert!(host.terminate().await.success());
}

#[tokio::test]
async fn an_operator_goes_back_and_forth() {
    let rig = Rig::new(unwatched()).await;
    let host = rig.site.start().await;
    rig.version("2.0.0", json!({}));
    rig.reloaded().await;
    for (n, version) in ["1.0.0", "2.0.0", "1.0.0"].into_iter().enumerate() {
        let end = rig.site.cli(&["adapter", "rollback", "a"]).await;
        assert_eq!(end.code, 0, "{}", end.stderr);
        assert!(end.stdout.contains(version), "{}", end.stdout);
        assert_eq!(rig.sent_by(&host, &format!("m{n}")).await, version);
    }
    assert_eq!(rig.generations().await["current"]["cause"], "rollback");
}
