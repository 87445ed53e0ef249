//! The same adapter in the three languages of the kit, from an empty folder: what `adapter new`,
//! `build`, `check` and `test` take, what the component weighs, how long it takes to be admitted
//! with and without compiled code at hand, and what a call costs. Build tools come from their own
//! registries the first time; what is timed is a second project beside the first.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Instant;

use lastword::env::Env;
use lastword::sandbox::{
    CachePlace, CallLimits, Channel, ChannelSpec, Engine, EngineConfig, Grants, NoBlobs, SecretMap,
};
use serde_json::json;

use super::Scale;
use super::figure::{Figure, Goal};
use super::sandbox::{Empty, sandboxed};
use crate::harness::built::binary;
use crate::harness::{Answer, Sink};

const LANGUAGES: [&str; 3] = ["rust", "js", "python"];

/// Runs a command of the kit in `folder`; seconds.
fn kit(folder: &Path, words: &[&str]) -> f64 {
    let began = Instant::now();
    let output =
        Command::new(binary()).arg("adapter").args(words).current_dir(folder).output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "adapter {words:?}: {told}");
    began.elapsed().as_secs_f64()
}

/// An adapter that was admitted; milliseconds of it.
async fn admitted(folder: &Path, bytes: Vec<u8>) -> (f64, lastword::sandbox::Adapter) {
    let cache = CachePlace { dir: folder.join("cache"), key_file: folder.join("cache.key") };
    let config = EngineConfig { cache: Some(cache), ..EngineConfig::default() };
    let engine = Engine::new(Env::system(), config).unwrap();
    let began = Instant::now();
    let adapter = engine.admit(bytes).await.unwrap();
    (began.elapsed().as_secs_f64() * 1e3, adapter)
}

async fn bound(adapter: &lastword::sandbox::Adapter, sink: &Sink) -> Channel {
    let settings = json!({"server": sink.origin(), "bot_id": "bot-7"});
    let mut secrets = SecretMap::new();
    secrets.insert("token", vec!["a-token".to_owned().into()]);
    secrets.insert("signing-key", vec!["a-key".to_owned().into()]);
    let chat = || BTreeSet::from(["chat".to_owned()]);
    let spec = ChannelSpec {
        name: "mybot".into(),
        settings: settings.as_object().unwrap().clone(),
        secrets,
        grants: Grants { targets: chat(), private_targets: chat() },
        limits: CallLimits::default(),
        public_url: None,
    };
    adapter.bind(spec, Empty::shared(), Arc::new(NoBlobs)).await.unwrap()
}

/// One language, in a folder of its own.
async fn language(lang: &str, scale: &Scale, folder: &Path, sink: &Sink) -> Vec<Figure> {
    // Tools and their caches are there afterwards, as they are on an author's machine.
    kit(folder, &["new", "first", "--lang", lang]);
    kit(folder, &["build", "first"]);
    let mut figures = Vec::new();
    let mut plain = |what: &str, value: f64, unit: &'static str| {
        figures.push(Figure::plain(format!("{lang}: {what}"), value, unit, Goal::None));
    };
    plain("adapter new", kit(folder, &["new", "mybot", "--lang", lang]), "s");
    plain("adapter build", kit(folder, &["build", "mybot"]), "s");
    plain("adapter check", kit(folder, &["check", "mybot"]), "s");
    plain("adapter test", kit(folder, &["test", "mybot"]), "s");
    let bytes = std::fs::read(folder.join("mybot").join("adapter.wasm")).unwrap();
    #[allow(clippy::cast_precision_loss, reason = "a component has few bytes")]
    plain("size of the component", bytes.len() as f64 / 1024.0, "KiB");
    let (first, _) = admitted(folder, bytes.clone()).await;
    plain("first load, compiled", first, "ms");
    let (cached, adapter) = admitted(folder, bytes).await;
    plain("cached load", cached, "ms");
    let channel = bound(&adapter, sink).await;
    let mut calls = Vec::new();
    for _ in 0..=scale.rounds {
        calls.push(sandboxed(&channel, scale.span / 2).await);
    }
    // The first round warms up.
    plain("one send_final with one request", super::figure::median(&calls[1..]), "us");
    figures
}

/// Nothing of it has a goal: it says what a choice of language costs.
pub async fn measure(scale: &Scale, folder: &Path) -> Vec<Figure> {
    let take = |_: &_| Answer::Body(200, r#"{"id":"m9"}"#.to_owned());
    let sink = Sink::scripted(take).await;
    let mut figures = Vec::new();
    for lang in LANGUAGES {
        let folder = folder.join(lang);
        std::fs::create_dir(&folder).unwrap();
        figures.extend(language(lang, scale, &folder, &sink).await);
    }
    figures
}
