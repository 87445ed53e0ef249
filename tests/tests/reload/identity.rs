//! What a restart knows: `lastword.lock`, pinned digests, refused versions, the cache of code.

use lastword_tests::harness::config::text;
use lastword_tests::harness::{Sink, Site, changeling, put};
use serde_json::{Value, json};

use crate::{Rig, channel, channel_of, unwatched};

fn lock(rig: &Rig) -> Value {
    let bytes = std::fs::read(rig.site.path().join("lastword.lock")).unwrap();
    serde_json::from_slice(&bytes).unwrap()
}

#[tokio::test]
async fn the_lock_file_says_what_runs_and_what_it_was_granted() {
    use std::os::unix::fs::PermissionsExt as _;
    let rig = Rig::new(unwatched()).await;
    let host = rig.site.start().await;
    let serves = rig.generations().await["current"]["digest"].clone();
    let written = lock(&rig)["channels"]["a"].clone();
    assert_eq!(written["sha256"], serves);
    assert_eq!(written["manifest"]["version"], "1.0.0");
    assert_eq!(written["grant"]["targets"], json!(["api"]));
    assert!(written["file"].as_str().unwrap().ends_with("a.wasm"));
    let path = rig.site.path().join("lastword.lock");
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    rig.version("1.1.0", json!({}));
    let told = rig.reloaded().await;
    let written = lock(&rig)["channels"]["a"].clone();
    assert_eq!((&written["sha256"], &written["previous"]["sha256"]), (&told["digest"], &serves));
    assert!(host.terminate().await.success());
    // The same files, the same words: a start that changes nothing leaves the file alone.
    let before = std::fs::metadata(&path).unwrap().modified().unwrap();
    assert!(rig.site.start().await.terminate().await.success());
    assert_eq!(std::fs::metadata(&path).unwrap().modified().unwrap(), before);
}

#[tokio::test]
async fn a_file_that_changed_while_no_host_ran_is_held_against_what_ran_before() {
    let rig = Rig::new(unwatched()).await;
    assert!(rig.site.start().await.terminate().await.success());
    for (version, nature, code) in [
        ("1.1.0", json!({"more": true}), "adapter_asks_more"),
        ("0.9.0", json!({}), "adapter_downgrade"),
        ("1.1.0", json!({"check": "problem"}), "channel_refused"),
        ("1.1.0", json!({"name": "other"}), "adapter_other"),
    ] {
        rig.version(version, nature);
        let host = rig.site.start().await;
        let told = rig.generations().await;
        assert_eq!(told["current"]["version"], "1.0.0", "{code}: what ran goes on: {told}");
        assert_eq!(told["refused"]["code"], code, "{told}");
        assert_eq!(rig.sent_by(&host, code).await, "1.0.0");
        assert!(host.terminate().await.success());
    }
    put(&rig.place(), b"no component");
    let host = rig.site.start().await;
    assert_eq!(rig.sent_by(&host, "garbage").await, "1.0.0");
    rig.version("1.1.0", json!({"more": true}));
    assert_eq!(rig.reload(&["--approve"]).await.code, 0);
    assert!(host.terminate().await.success());
    let host = rig.site.start().await;
    assert_eq!(rig.sent_by(&host, "approved").await, "1.1.0", "an approval outlives the host");
    rig.version("1.2.0", json!({"more": true}));
    assert!(host.terminate().await.success());
    let host = rig.site.start().await;
    assert_eq!(rig.sent_by(&host, "newer").await, "1.2.0", "nothing speaks against it");
}

#[tokio::test]
async fn a_channel_that_was_left_out_for_one_start_is_held_against_what_it_ran() {
    let rig = Rig::new(unwatched()).await;
    assert!(rig.site.start().await.terminate().await.success());
    let known = lock(&rig)["channels"]["a"].clone();
    let other = channel_of("b", "a.wasm", rig.sink.origin());
    rig.site.configure(&unwatched().channel(other));
    assert!(rig.site.start().await.terminate().await.success());
    rig.site.configure(&unwatched().channel(channel(rig.sink.origin())));
    rig.version("0.9.0", json!({}));
    let host = rig.site.start().await;
    let told = rig.generations().await;
    assert_eq!(
        (&told["current"]["digest"], &told["current"]["version"]),
        (&known["sha256"], &json!("1.0.0")),
        "{told}"
    );
    assert_eq!(told["refused"]["code"], "adapter_downgrade", "{told}");
    // Since when is that of the first refusal.
    let at = told["refused"]["at_ms"].clone();
    assert!(host.terminate().await.success());
    let _host = rig.site.start().await;
    assert_eq!(rig.generations().await["refused"]["at_ms"], at);
}

#[tokio::test]
async fn a_lower_version_is_taken_where_the_config_allows_it() {
    let rig = Rig::new(unwatched()).await;
    assert!(rig.site.start().await.terminate().await.success());
    rig.version("0.9.0", json!({}));
    let allowed = channel(rig.sink.origin()).set("", "allow_downgrade", "true");
    rig.site.configure(&unwatched().channel(allowed));
    let host = rig.site.start().await;
    assert_eq!(rig.sent_by(&host, "lower").await, "0.9.0");
}

#[tokio::test]
async fn a_pinned_digest_is_the_only_one_that_serves() {
    let rig = Rig::new(unwatched()).await;
    let host = rig.site.start().await;
    let serves = rig.generations().await["current"]["digest"].as_str().unwrap().to_owned();
    assert!(host.terminate().await.success());
    let pinned = |digest: &str| channel(rig.sink.origin()).set("", "sha256", &text(digest));
    rig.site.configure(&unwatched().channel(pinned(&serves)));
    let host = rig.site.start().await;
    assert_eq!(rig.sent_by(&host, "pinned").await, "1.0.0");
    rig.version("1.1.0", json!({}));
    let end = rig.reload(&[]).await;
    assert!(end.code == 4 && end.stderr.contains(&serves), "{}", end.stderr);
    assert!(host.terminate().await.success());
    let host = rig.site.start().await;
    assert_eq!(rig.sent_by(&host, "kept").await, "1.0.0", "the pinned one goes on");
    assert!(host.terminate().await.success());
    rig.site.configure(&unwatched().channel(pinned(&"0".repeat(64))));
    let _host = rig.site.start().await;
    let status = rig.site.status().await;
    assert_eq!(status["channels"][0]["code"], "adapter_pinned", "{status}");
    rig.site.configure(&unwatched().channel(pinned("latest")));
    assert_eq!(rig.site.cli(&["check"]).await.code, 2);
}

#[tokio::test]
async fn a_lock_file_that_cannot_be_understood_is_an_error_with_what_to_do() {
    let rig = Rig::new(unwatched()).await;
    assert!(rig.site.start().await.terminate().await.success());
    rig.site.write("lastword.lock", "{ half of it");
    for command in ["run", "check"] {
        let end = rig.site.cli(&[command]).await;
        assert_ne!(end.code, 0);
        let said = format!("{}{}", end.stdout, end.stderr);
        assert!(said.contains("lastword.lock") && said.contains("remove it"), "{command}: {said}");
    }
    std::fs::remove_file(rig.site.path().join("lastword.lock")).unwrap();
    assert!(rig.site.start().await.terminate().await.success());
}

#[tokio::test]
async fn hostile_files_in_the_folder_of_compiled_code_and_of_copies_are_never_loaded() {
    let rig = Rig::new(unwatched()).await;
    assert!(rig.site.start().await.terminate().await.success());
    let cache = rig.site.path().join("data/cache");
    let entries: Vec<_> =
        std::fs::read_dir(&cache).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(!entries.is_empty(), "the code is cached");
    for entry in &entries {
        let mut bytes = std::fs::read(entry).unwrap();
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        std::fs::write(entry, bytes).unwrap();
    }
    let host = rig.site.start().await;
    assert_eq!(rig.sent_by(&host, "compiled anew").await, "1.0.0");
    assert!(rig.site.log().contains("is not ours or is broken"), "it was looked at and ignored");
    assert!(host.terminate().await.success());
    // A copy of the component that ran, with other bytes under its name.
    let copies = rig.site.path().join("data/adapters");
    for entry in std::fs::read_dir(&copies).unwrap() {
        std::fs::write(entry.unwrap().path(), changeling("6.6.6", json!({}))).unwrap();
    }
    put(&rig.place(), b"no component");
    let _host = rig.site.start().await;
    let status = rig.site.status().await;
    assert_eq!(status["channels"][0]["state"], "refused", "no copy stands in: {status}");
}

#[tokio::test]
async fn hostile_files_in_the_folder_of_compiled_code_are_not_loaded_by_a_reload() {
    let rig = Rig::new(unwatched()).await;
    let cache = rig.site.path().join("data/cache");
    let entries = || -> std::collections::BTreeSet<std::path::PathBuf> {
        std::fs::read_dir(&cache).unwrap().map(|entry| entry.unwrap().path()).collect()
    };
    let host = rig.site.start().await;
    let old = entries().pop_first().unwrap();
    rig.version("1.1.0", json!({}));
    rig.reloaded().await;
    let new = entries().into_iter().find(|entry| *entry != old).unwrap();
    // Who starts anew has the code of the new version in the folder only.
    rig.version("1.0.0", json!({}));
    assert_eq!(rig.reload(&["--allow-downgrade"]).await.code, 0);
    assert!(host.terminate().await.success());
    let ours = std::fs::read(&new).unwrap();
    let mut changed = ours.clone();
    let middle = changed.len() / 2;
    changed[middle] ^= 1;
    // Changed, cut short, code without its seal, and the code of another version, sealed by us.
    let hostile =
        [changed, ours[..middle].to_vec(), ours[48..].to_vec(), std::fs::read(&old).unwrap()];
    for (n, entry) in hostile.into_iter().enumerate() {
        rig.version("1.0.0", json!({}));
        let host = rig.site.start().await;
        std::fs::write(&new, &entry).unwrap();
        rig.version("1.1.0", json!({}));
        assert_eq!(rig.reloaded().await["version"], "1.1.0");
        assert_eq!(rig.sent_by(&host, &format!("compiled anew {n}")).await, "1.1.0");
        assert_eq!(std::fs::read(&new).unwrap().len(), ours.len(), "and kept anew");
        rig.version("1.0.0", json!({}));
        assert_eq!(rig.reload(&["--allow-downgrade"]).await.code, 0);
        assert!(host.terminate().await.success());
    }
}

#[tokio::test]
async fn describe_sees_neither_clock_nor_chance_and_so_cannot_say_two_things() {
    let rig = Rig::of(unwatched(), json!({"describe": "clock"})).await;
    let host = rig.site.start().await;
    let first = lock(&rig)["channels"]["a"]["manifest"]["summary"].clone();
    rig.reloaded().await;
    let second = lock(&rig)["channels"]["a"]["manifest"]["summary"].clone();
    assert!(first == second && !first.is_null(), "{first} {second}");
    assert!(host.terminate().await.success());
}

#[tokio::test]
async fn channels_of_one_file_are_replaced_each_for_itself() {
    let sink = Sink::start().await;
    let of = |name: &str| channel_of(name, "a.wasm", sink.origin());
    let site = Site::new(&unwatched().channel(of("a")).channel(of("b")));
    let place = site.path().join("a.wasm");
    put(&place, &changeling("1.0.0", json!({})));
    let _host = site.start().await;
    put(&place, &changeling("1.1.0", json!({})));
    assert_eq!(site.cli(&["adapter", "reload", "b"]).await.code, 0);
    let status = site.status().await;
    let version = |n: usize| status["channels"][n]["generation"]["current"]["version"].clone();
    assert_eq!((version(0), version(1)), (json!("1.0.0"), json!("1.1.0")));
}
