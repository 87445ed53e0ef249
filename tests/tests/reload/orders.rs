//! By command and by API: what is swapped, what is refused, and what an operator is told.

use std::time::Duration;

use lastword_tests::harness::config::text;
use lastword_tests::harness::{Sink, changeling, put};
use serde_json::{Value, json};

use crate::{Rig, channel, unwatched};

#[tokio::test]
async fn a_reload_has_the_new_version_serve_and_each_attempt_says_which_one_made_it() {
    let rig = Rig::new(unwatched()).await;
    let host = rig.site.start().await;
    assert_eq!(rig.sent_by(&host, "first").await, "1.0.0");
    let before = rig.generations().await;
    rig.version("1.1.0", json!({}));
    let told = rig.reloaded().await;
    assert_eq!((&told["number"], &told["version"]), (&json!(2), &json!("1.1.0")), "{told}");
    assert_eq!(rig.sent_by(&host, "second").await, "1.1.0");
    let after = rig.generations().await;
    assert_eq!(after["current"]["digest"], told["digest"]);
    assert_eq!(after["current"]["cause"], "order");
    assert_eq!(after["previous"]["digest"], before["current"]["digest"], "kept to go back to");
    assert!(after["current"]["since_ms"].is_i64() && after["refused"].is_null(), "{after}");
    let mut digests = Vec::new();
    for row in rig.site.outbox().await {
        let shown: Value = rig.site.json(&["outbox", "show", &row.id]).await.remove(0);
        let attempts = shown["history"].as_array().unwrap();
        assert_eq!(attempts.len(), 1, "{shown}");
        digests.push(attempts[0]["digest"].clone());
    }
    assert_eq!(digests, [before["current"]["digest"].clone(), told["digest"].clone()]);
    let status = rig.site.status().await;
    assert_eq!(status["channels"][0]["version"], "1.1.0");
    let events = status["events"].as_array().unwrap();
    assert!(events.iter().any(|it| it["code"] == "adapter_swapped"), "{events:?}");
    let people = rig.site.cli(&["status"]).await;
    assert!(people.stdout.contains("2: "), "{}", people.stdout);
    assert!(host.terminate().await.success());
}

/// A version, and the code and a word of the sentence that it is refused with.
fn bad_versions() -> Vec<(Vec<u8>, &'static str, &'static str)> {
    let whole = changeling("1.1.0", json!({}));
    let half = whole[..whole.len() / 2].to_vec();
    let mut broken = whole.clone();
    // Within the code, which is most of it and comes first.
    let middle = broken.len() / 3;
    broken[middle..middle + 4_000].fill(0xff);
    let of = |version, nature| changeling(version, nature);
    vec![
        (Vec::new(), "adapter_refused", "no WebAssembly component"),
        (b"#!/bin/sh\n".to_vec(), "adapter_refused", "no WebAssembly component"),
        (half, "adapter_refused", "compiled"),
        (broken, "adapter_refused", "compiled"),
        (of("1.1.0", json!({"describe": "trap"})), "adapter_refused", "the block says so"),
        (of("one", json!({})), "adapter_refused", "version"),
        (of("1.1.0", json!({"check": "trap"})), "channel_refused", "the block says so"),
        (of("1.1.0", json!({"check": "hang"})), "channel_refused", "`check` did not answer"),
        (of("1.1.0", json!({"check": "problem"})), "channel_refused", "that it is wrong"),
        (of("1.1.0", json!({"name": "other"})), "adapter_other", "`other`"),
        (of("0.9.0", json!({})), "adapter_downgrade", "0.9.0"),
        (of("1.0.0-rc.1", json!({})), "adapter_downgrade", "1.0.0-rc.1"),
        (of("1.1.0", json!({"more": true})), "adapter_asks_more", "DELETE /everything"),
        (of("1.1.0", json!({"repeats_ms": 60_000})), "adapter_asks_more", "within 1m"),
    ]
}

#[tokio::test]
async fn whatever_is_wrong_with_a_new_version_the_old_one_serves_and_status_says_why() {
    let rig = Rig::new(unwatched()).await;
    let host = rig.site.start().await;
    for (n, (bytes, code, word)) in bad_versions().into_iter().enumerate() {
        put(&rig.place(), &bytes);
        let end = rig.reload(&[]).await;
        assert_eq!(end.code, 4, "{code}: {}{}", end.stdout, end.stderr);
        assert!(end.stderr.contains(word), "no `{word}` in: {}", end.stderr);
        let told = rig.generations().await;
        assert_eq!(told["current"]["number"], 1, "{code}: {told}");
        assert_eq!(told["refused"]["code"], code, "{told}");
        assert!(told["refused"]["reason"].as_str().unwrap().contains(word), "{told}");
        if n % 5 == 0 {
            assert_eq!(rig.sent_by(&host, &format!("m{n}")).await, "1.0.0");
        }
    }
    let status = rig.site.status().await;
    let needs = status["needs_a_person"].as_array().unwrap();
    assert!(needs.iter().any(|it| it["what"] == "adapter_not_taken"), "{needs:?}");
    rig.version("1.1.0", json!({}));
    assert_eq!(rig.reloaded().await["version"], "1.1.0");
    assert!(rig.generations().await["refused"].is_null());
    assert_eq!(rig.sent_by(&host, "last").await, "1.1.0");
    assert!(host.terminate().await.success());
}

#[tokio::test]
async fn a_link_a_folder_and_nothing_at_all_are_no_new_version() {
    let rig = Rig::new(unwatched()).await;
    let host = rig.site.start().await;
    let other = rig.site.path().join("other.wasm");
    put(&other, &changeling("1.1.0", json!({})));
    std::fs::remove_file(rig.place()).unwrap();
    assert!(rig.reload(&[]).await.stderr.contains("cannot be read"));
    std::os::unix::fs::symlink(&other, rig.place()).unwrap();
    let end = rig.reload(&[]).await;
    assert!(end.code == 4 && end.stderr.contains("is a link"), "{}", end.stderr);
    std::fs::remove_file(rig.place()).unwrap();
    std::fs::create_dir(rig.place()).unwrap();
    assert!(rig.reload(&[]).await.stderr.contains("is no file"));
    assert_eq!(rig.sent_by(&host, "still").await, "1.0.0");
}

#[tokio::test]
async fn the_api_and_the_exit_codes_say_whether_there_was_anything_to_do() {
    let rig = Rig::new(unwatched()).await;
    let nothing = rig.reload(&[]).await;
    assert_eq!(nothing.code, 3, "no host runs: {}", nothing.stderr);
    let host = rig.site.start().await;
    let unknown = rig.site.cli(&["adapter", "reload", "b"]).await;
    assert_eq!((unknown.code, unknown.stderr.contains("\"b\"")), (3, true), "{}", unknown.stderr);
    let unknown = rig.post(&host, "/v1/channels/b/reload", &json!({})).await;
    assert_eq!(unknown.status, 404);
    let wrong = rig.post(&host, "/v1/channels/a/reload", &json!({"aprove": true})).await;
    assert_eq!(wrong.status, 400);
    let url = format!("{}/v1/channels/a/reload", host.address);
    let platform = host.platform("a");
    let stranger = platform.request(http::Method::POST, &url, &[], "{}").await.unwrap();
    assert_eq!(stranger.status, 401);
    let back = rig.site.cli(&["adapter", "rollback", "a"]).await;
    assert_eq!(back.code, 3, "there is nothing to go back to: {}", back.stderr);
    rig.version("1.1.0", json!({}));
    let done = rig.post(&host, "/v1/channels/a/reload", &json!({"by": "me"})).await;
    assert_eq!((done.status, done.json()["version"].clone()), (200, json!("1.1.0")));
    rig.version("1.0.0", json!({}));
    let refused = rig.post(&host, "/v1/channels/a/reload", &json!({})).await;
    assert_eq!(
        (refused.status, &refused.json()["error"]["code"]),
        (409, &json!("adapter_downgrade"))
    );
    let allowed = json!({"allow_downgrade": true});
    let done = rig.post(&host, "/v1/channels/a/reload", &allowed).await;
    assert_eq!((done.status, done.json()["version"].clone()), (200, json!("1.0.0")));
}

#[tokio::test]
async fn more_than_was_granted_waits_for_approval_and_the_difference_is_shown() {
    let rig = Rig::new(unwatched()).await;
    let host = rig.site.start().await;
    rig.version("1.1.0", json!({"more": true}));
    let end = rig.reload(&[]).await;
    assert_eq!(end.code, 4);
    assert!(end.stderr.contains("new: it may ask `api` for DELETE /everything"), "{}", end.stderr);
    assert!(!end.stderr.contains("/poll"), "only what is new is shown: {}", end.stderr);
    assert_eq!(rig.sent_by(&host, "waits").await, "1.0.0");
    let digest = end.stderr.split("--sha256 ").nth(1).unwrap().get(..64).unwrap().to_owned();
    let approve = ["--approve", "--sha256", &digest];
    // Another one that asks for the same took its place since.
    rig.version("1.1.1", json!({"more": true}));
    let end = rig.reload(&approve).await;
    assert_eq!(end.code, 4);
    assert!(end.stderr.contains("is not what was asked for"), "{}", end.stderr);
    assert_eq!(rig.sent_by(&host, "still waits").await, "1.0.0");
    assert_eq!(rig.reload(&["--sha256", "many"]).await.code, 2);
    rig.version("1.1.0", json!({"more": true}));
    let end = rig.reload(&approve).await;
    assert_eq!(end.code, 0, "{}", end.stderr);
    assert_eq!(rig.sent_by(&host, "approved").await, "1.1.0");
    // What was approved of once is granted.
    rig.version("1.2.0", json!({"more": true}));
    assert_eq!(rig.reloaded().await["version"], "1.2.0");
}

#[tokio::test]
async fn a_channel_that_was_refused_at_start_is_mended_without_a_restart() {
    let rig = Rig::new(unwatched()).await;
    std::fs::remove_file(rig.place()).unwrap();
    let host = rig.site.start().await;
    let posted = host.platform("a").post("messages", &json!({})).await.unwrap();
    assert_eq!(posted.status, 503, "{}", posted.text());
    let status = rig.site.status().await;
    assert_eq!(status["channels"][0]["state"], "refused", "{status}");
    // What is said is why nothing serves now, not why nothing did at the start.
    rig.version("1.0.0", json!({"check": "problem"}));
    assert_eq!(rig.reload(&[]).await.code, 4);
    let status = rig.site.status().await;
    let reason = status["channels"][0]["reason"].as_str().unwrap();
    assert!(reason.contains("that it is wrong"), "{reason}");
    let posted = host.platform("a").post("messages", &json!({})).await.unwrap();
    assert!(posted.status == 503 && posted.text().contains("channel_refused"), "{}", posted.text());
    let needs = status["needs_a_person"].as_array().unwrap();
    let whats: Vec<_> = needs.iter().map(|it| &it["what"]).collect();
    assert_eq!(whats, ["channel_refused"], "{needs:?}");
    rig.version("1.0.0", json!({}));
    rig.reloaded().await;
    assert_eq!(rig.sent_by(&host, "mended").await, "1.0.0");
    let status = rig.site.status().await;
    assert_eq!(status["channels"][0]["state"], "serving", "{status}");
    assert_eq!(host.platform("a").get("/readyz").await.unwrap().json()["refused"], json!([]));
}

#[tokio::test]
async fn an_ordered_reload_reads_the_channels_part_of_the_config_anew() {
    let rig = Rig::new(unwatched()).await;
    let host = rig.site.start().await;
    assert_eq!(rig.sent_by(&host, "here").await, "1.0.0");
    let there = Sink::start().await;
    rig.site.configure(&unwatched().channel(channel(there.origin())));
    assert_eq!(rig.reloaded().await["number"], 2, "the same bytes, bound anew");
    let turn = host.platform("a").say("m", "there", "there").await;
    there.wait_for(1, crate::SOON).await;
    rig.site.turn_at_rest(&turn.id, crate::SOON).await;
    assert_eq!(rig.sent().len(), 1);
    rig.site.write("lastword.toml", "data_dir = 7");
    let end = rig.post(&host, "/v1/channels/a/reload", &json!({})).await;
    assert_eq!((end.status, &end.json()["error"]["code"]), (409, &json!("config_refused")));
    let wrong = channel(there.origin()).set(".settings", "url", &text("no url"));
    rig.site.configure(&unwatched().channel(wrong));
    let end = rig.reload(&[]).await;
    assert_eq!(end.code, 4, "{}", end.stderr);
    assert_eq!(rig.generations().await["current"]["number"], 2);
}

#[tokio::test]
async fn an_order_sets_no_limit_that_the_host_that_runs_was_not_laid_out_for() {
    let rig = Rig::new(unwatched()).await;
    let host = rig.site.start().await;
    let longer = unwatched().lifecycle("claim", "10m").set("limits", "send", &text("4m"));
    let more = unwatched().set("limits", "state_keys", "2000");
    for config in [longer, more] {
        rig.site.configure(&config.channel(channel(rig.sink.origin())));
        let end = rig.post(&host, "/v1/channels/a/reload", &json!({})).await;
        assert_eq!((end.status, &end.json()["error"]["code"]), (409, &json!("config_refused")));
        assert!(end.text().contains("takes a restart"), "{}", end.text());
    }
    assert_eq!(rig.generations().await["current"]["number"], 1);
    assert!(host.terminate().await.success());
    let host = rig.site.start().await;
    assert_eq!(rig.sent_by(&host, "restarted").await, "1.0.0");
}

#[tokio::test]
async fn a_storm_of_reloads_is_a_handful_of_swaps_and_everybody_is_answered() {
    let rig = Rig::new(unwatched()).await;
    let host = rig.site.start().await;
    rig.version("1.1.0", json!({}));
    let mut asking = tokio::task::JoinSet::new();
    for _ in 0..40 {
        let (platform, bearer) = (host.platform("a"), rig.bearer());
        let url = format!("{}/v1/channels/a/reload", host.address);
        asking.spawn(async move {
            let headers = [("authorization", bearer.as_str())];
            platform.request(http::Method::POST, &url, &headers, "{}").await.unwrap()
        });
    }
    for answer in asking.join_all().await {
        assert_eq!(answer.status, 200, "everybody is answered: {}", answer.text());
        assert_eq!(answer.json()["version"], "1.1.0");
    }
    let number = rig.generations().await["current"]["number"].as_u64().unwrap();
    assert!(number < 20, "{number} generations for 40 requests");
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(rig.sent_by(&host, "after").await, "1.1.0");
}
