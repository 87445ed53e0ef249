//! By changed file: whole ones, half ones, many at once, and links.

use std::io::Write as _;
use std::time::Duration;

use lastword_tests::harness::config::text;
use lastword_tests::harness::{changeling, put};
use serde_json::json;

use crate::{Rig, channel_of, watched};

#[tokio::test]
async fn a_file_that_was_replaced_serves_by_itself() {
    let rig = Rig::new(watched()).await;
    let host = rig.site.start().await;
    assert_eq!(rig.sent_by(&host, "before").await, "1.0.0");
    rig.version("1.1.0", json!({}));
    let told = rig.serves("1.1.0").await;
    assert_eq!(told["current"]["cause"], "file", "{told}");
    assert_eq!(rig.sent_by(&host, "after").await, "1.1.0");
    rig.version("1.2.0", json!({"check": "problem"}));
    lastword_tests::harness::eventually("it is refused", crate::SOON, || async {
        (rig.generations().await["refused"]["code"] == "channel_refused").then_some(())
    })
    .await;
    // What serves is put back: nothing is refused any more, and nothing is swapped.
    rig.version("1.1.0", json!({}));
    lastword_tests::harness::eventually("nothing is refused", crate::SOON, || async {
        rig.generations().await["refused"].is_null().then_some(())
    })
    .await;
    assert_eq!(rig.generations().await["current"]["number"], 2);
}

#[tokio::test]
async fn a_file_that_is_being_written_is_left_alone_until_it_is_whole() {
    // Rarely enough that a machine that is busy does not look like a file that is whole.
    let rig = Rig::new(watched().set("reload", "watch", &text("1s"))).await;
    let host = rig.site.start().await;
    let bytes = changeling("1.1.0", json!({}));
    // What is there is known first: what comes is a change.
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    // In place, as `cp` does: half a component stands under the name for a while.
    let mut file = std::fs::File::create(rig.place()).unwrap();
    for piece in bytes.chunks(bytes.len() / 60 + 1) {
        file.write_all(piece).unwrap();
        file.flush().unwrap();
        tokio::time::sleep(Duration::from_millis(40)).await;
    }
    drop(file);
    let told = rig.serves("1.1.0").await;
    assert_eq!(told["current"]["number"], 2, "{told}");
    assert!(!rig.site.log().contains("adapter_refused"), "no half of it was looked at");
    assert_eq!(rig.sent_by(&host, "whole").await, "1.1.0");
}

#[tokio::test]
async fn a_storm_of_changed_files_ends_with_the_last_one_after_few_swaps() {
    let rig = Rig::new(watched()).await;
    let _host = rig.site.start().await;
    for n in 1..=40 {
        rig.version(&format!("1.{n}.0"), json!({}));
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
    let told = rig.serves("1.40.0").await;
    let number = told["current"]["number"].as_u64().unwrap();
    assert!(number <= 8, "{number} generations for 40 files: {told}");
}

#[tokio::test]
async fn a_link_that_takes_the_files_place_is_not_followed() {
    let rig = Rig::new(watched()).await;
    let host = rig.site.start().await;
    let other = rig.site.path().join("other.wasm");
    put(&other, &changeling("6.6.6", json!({})));
    let link = rig.site.path().join("link");
    std::os::unix::fs::symlink(&other, &link).unwrap();
    std::fs::rename(&link, rig.place()).unwrap();
    tokio::time::sleep(Duration::from_millis(600)).await;
    assert_eq!(rig.version_that_serves().await, "1.0.0");
    // Back and forth, faster than anybody looks.
    for _ in 0..100 {
        rig.version("1.0.0", json!({}));
        std::os::unix::fs::symlink(&other, &link).unwrap();
        std::fs::rename(&link, rig.place()).unwrap();
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(rig.version_that_serves().await, "1.0.0");
    assert_eq!(rig.sent_by(&host, "still").await, "1.0.0");
}

#[tokio::test]
async fn what_cannot_be_read_is_told_once_and_serves_once_it_can_be() {
    let rig = Rig::new(watched()).await;
    let host = rig.site.start().await;
    let told = |word: &'static str| {
        let rig = &rig;
        lastword_tests::harness::eventually(word, crate::SOON, move || async move {
            let told = rig.generations().await;
            let reason = told["refused"]["reason"].as_str().unwrap_or_default().to_owned();
            (told["refused"]["code"] == "adapter_missing" && reason.contains(word)).then_some(())
        })
    };
    std::fs::remove_file(rig.place()).unwrap();
    told("cannot be read").await;
    std::os::unix::fs::symlink("other.wasm", rig.place()).unwrap();
    told("is a link").await;
    std::fs::remove_file(rig.place()).unwrap();
    std::fs::create_dir(rig.place()).unwrap();
    told("is no file").await;
    std::fs::remove_dir(rig.place()).unwrap();
    let long = std::fs::File::create(rig.place()).unwrap();
    long.set_len((32 << 20) + 1).unwrap();
    told("longer than").await;
    tokio::time::sleep(Duration::from_millis(700)).await;
    let status = rig.site.status().await;
    let events = status["events"].as_array().unwrap();
    let said = events.iter().filter(|it| it["code"] == "adapter_missing").count();
    assert_eq!(said, 4, "each once: {events:?}");
    assert_eq!(rig.sent_by(&host, "still").await, "1.0.0");
    rig.version("1.1.0", json!({}));
    rig.serves("1.1.0").await;
    assert!(rig.generations().await["refused"].is_null());
}

#[tokio::test]
async fn a_refused_file_that_is_mended_before_the_first_look_serves() {
    let rig = Rig::new(watched().set("reload", "watch", &text("1s"))).await;
    put(&rig.place(), b"no component");
    let _host = rig.site.start().await;
    rig.version("1.0.0", json!({}));
    rig.serves("1.0.0").await;
}

#[tokio::test]
async fn a_file_that_was_missing_at_start_serves_once_it_is_there() {
    let rig = Rig::new(watched()).await;
    std::fs::remove_file(rig.place()).unwrap();
    let host = rig.site.start().await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    rig.version("1.0.0", json!({}));
    rig.serves("1.0.0").await;
    assert_eq!(rig.sent_by(&host, "there").await, "1.0.0");
}

#[tokio::test]
async fn a_version_that_is_looked_at_for_long_holds_up_no_other_channel() {
    let rig = Rig::new(watched()).await;
    let file = |name: &str| rig.site.path().join(name);
    let (old, new) = (changeling("1.0.0", json!({})), changeling("1.1.0", json!({})));
    put(&file("b.wasm"), &old);
    // Has what b gets compiled already.
    put(&file("c.wasm"), &new);
    let of = |name: &str| channel_of(name, &format!("{name}.wasm"), rig.sink.origin());
    rig.site.configure(&watched().channel(of("a")).channel(of("b")).channel(of("c")));
    let _host = rig.site.start().await;
    // Compiled, and then its `check` uses up all its time. The other file is the second one to be
    // looked at.
    rig.version("1.1.0", json!({"check": "hang"}));
    put(&file("b.wasm"), &new);
    let status = lastword_tests::harness::eventually("b serves", crate::SOON, || async {
        let status = rig.site.status().await;
        let version = &status["channels"][1]["generation"]["current"]["version"];
        (version == "1.1.0").then_some(status)
    })
    .await;
    assert!(status["channels"][0]["generation"]["refused"].is_null(), "a is not done: {status}");
    lastword_tests::harness::eventually("a is refused", crate::SOON, || async {
        (rig.generations().await["refused"]["code"] == "channel_refused").then_some(())
    })
    .await;
}
