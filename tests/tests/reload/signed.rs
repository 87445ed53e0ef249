//! Signatures on the reload path: the same code as at start, held against the publishers of the
//! config that is obeyed.

use std::io::Cursor;
use std::path::{Path, PathBuf};

use lastword_tests::harness::{Config, changeling, eventually, put};
use minisign::KeyPair;
use serde_json::{Value, json};

use crate::{Rig, SOON, channel, unwatched, watched};

fn publisher() -> KeyPair {
    KeyPair::generate_unencrypted_keypair().unwrap()
}

fn trusting(config: Config, publishers: &[&KeyPair]) -> Config {
    let keys: Vec<_> = publishers.iter().map(|it| format!("\"{}\"", it.pk.to_base64())).collect();
    config.top("trust", &format!("[{}]", keys.join(", "))).top("require_signed", "true")
}

fn beside(component: &Path) -> PathBuf {
    component.with_extension("wasm.minisig")
}

/// A version beside the file's place, with its signature, and both as bytes.
async fn signed(
    rig: &Rig,
    publisher: &KeyPair,
    (version, nature): (&str, Value),
) -> (Vec<u8>, String) {
    let bytes = changeling(version, nature);
    let made = rig.site.path().join("made.wasm");
    put(&made, &bytes);
    let made = made.to_str().unwrap();
    let line = rig.site.cli(&["adapter", "inspect", made, "--signing"]).await;
    assert_eq!(line.code, 0, "{}", line.stderr);
    let (key, secret) = (Some(&publisher.pk), &publisher.sk);
    let signature =
        minisign::sign(key, secret, Cursor::new(&bytes), Some(line.stdout.trim()), None);
    (bytes, signature.unwrap().to_string())
}

/// Puts a version in place, its signature first, as who takes both from a publisher does.
async fn publish(rig: &Rig, publisher: &KeyPair, version: &str) {
    publish_as(rig, publisher, (version, json!({}))).await;
}

async fn publish_as(rig: &Rig, publisher: &KeyPair, version: (&str, Value)) {
    let (bytes, signature) = signed(rig, publisher, version).await;
    put(&beside(&rig.place()), signature.as_bytes());
    put(&rig.place(), &bytes);
}

/// A reload that is refused with this code and word, while the first version serves.
async fn refused(rig: &Rig, code: &str, word: &str) {
    let end = rig.reload(&[]).await;
    assert_eq!(end.code, 4, "{code}: {}{}", end.stdout, end.stderr);
    let told = rig.generations().await;
    assert_eq!(told["refused"]["code"], code, "{told}");
    let reason = told["refused"]["reason"].as_str().unwrap();
    assert!(reason.contains(word), "no `{word}` in: {reason}");
    assert_eq!(told["current"]["number"], 1, "{told}");
}

#[tokio::test]
async fn a_new_version_without_its_publishers_signature_is_refused_and_one_with_it_serves() {
    let (ours, theirs) = (publisher(), publisher());
    let config = |rig: &Rig| trusting(unwatched(), &[&ours]).channel(channel(rig.sink.origin()));
    let rig = Rig::new(unwatched()).await;
    rig.site.configure(&config(&rig));
    publish(&rig, &ours, "1.0.0").await;
    let host = rig.site.start().await;

    rig.version("1.1.0", json!({}));
    refused(&rig, "adapter_signature", "not over these bytes").await;
    std::fs::remove_file(beside(&rig.place())).unwrap();
    refused(&rig, "adapter_unsigned", "a.wasm.minisig").await;
    publish(&rig, &theirs, "1.1.0").await;
    refused(&rig, "adapter_signature", "does not name").await;
    put(&beside(&rig.place()), b"no signature at all");
    refused(&rig, "adapter_signature", "none of minisign's").await;
    // What serves goes on; nothing of the versions above was ever compiled.
    assert_eq!(rig.sent_by(&host, "still").await, "1.0.0");
    publish(&rig, &ours, "1.1.0").await;
    assert_eq!(rig.reloaded().await["version"], "1.1.0");
    assert_eq!(rig.sent_by(&host, "signed").await, "1.1.0");
    assert!(host.terminate().await.success());

    // The copy that stands in at the next start is held to its own signature.
    rig.version("1.2.0", json!({}));
    let host = rig.site.start().await;
    assert_eq!(rig.generations().await["refused"]["code"], "adapter_signature");
    assert_eq!(rig.sent_by(&host, "kept").await, "1.1.0");
    assert!(host.terminate().await.success());
    for entry in std::fs::read_dir(rig.site.path().join("data/adapters")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|end| end == "minisig") {
            std::fs::remove_file(path).unwrap();
        }
    }
    let _host = rig.site.start().await;
    let status = rig.site.status().await;
    assert_eq!(status["channels"][0]["state"], "refused", "no copy stands in: {status}");
}

#[tokio::test]
async fn a_publisher_that_an_order_took_out_of_trust_comes_back_by_no_changed_file() {
    let (left, stays) = (publisher(), publisher());
    let rig = Rig::new(watched()).await;
    let of = |publishers: &[&KeyPair]| {
        trusting(watched(), publishers).channel(channel(rig.sink.origin()))
    };
    rig.site.configure(&of(&[&left, &stays]));
    publish(&rig, &stays, "1.0.0").await;
    let host = rig.site.start().await;
    publish(&rig, &left, "1.1.0").await;
    rig.serves("1.1.0").await;
    publish(&rig, &stays, "1.2.0").await;
    rig.serves("1.2.0").await;
    rig.site.configure(&of(&[&stays]));
    rig.reloaded().await;
    publish(&rig, &left, "1.3.0").await;
    eventually("it is refused", SOON, || async {
        (rig.generations().await["refused"]["code"] == "adapter_signature").then_some(())
    })
    .await;
    assert_eq!(rig.sent_by(&host, "still").await, "1.2.0");
    publish(&rig, &stays, "1.3.0").await;
    rig.serves("1.3.0").await;
}

#[tokio::test]
async fn a_publisher_that_an_order_took_out_of_trust_comes_back_by_no_way_back() {
    let (left, stays) = (publisher(), publisher());
    let rig = Rig::new(unwatched()).await;
    let of = |publishers: &[&KeyPair]| {
        trusting(unwatched(), publishers).channel(channel(rig.sink.origin()))
    };
    rig.site.configure(&of(&[&left, &stays]));
    publish(&rig, &left, "1.0.0").await;
    let host = rig.site.start().await;
    rig.site.configure(&of(&[&stays]));
    publish_as(&rig, &stays, ("1.1.0", json!({"send": "trap"}))).await;
    assert_eq!(rig.reloaded().await["version"], "1.1.0");
    let end = rig.site.cli(&["adapter", "rollback", "a"]).await;
    assert!(end.code == 4 && end.stderr.contains("does not name"), "{}", end.stderr);
    for n in 0..3 {
        let name = format!("m{n}");
        host.platform("a").say(&name, &name, &name).await;
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    eventually("it is said", SOON, || async {
        rig.site.log().contains("there is no going back").then_some(())
    })
    .await;
    assert_eq!(rig.version_that_serves().await, "1.1.0", "broken, and trusted");
    publish(&rig, &stays, "1.2.0").await;
    assert_eq!(rig.reloaded().await["version"], "1.2.0");
    assert_eq!(rig.sent_by(&host, "mended").await, "1.2.0");
}
