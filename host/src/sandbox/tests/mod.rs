//! The whole room with real components: those of `tests/guests` and the shipped adapters.

#![allow(clippy::print_stdout, reason = "figures are for whoever runs a test by hand")]

mod admission;
mod budget;
mod calls;
mod cancel;
pub(super) mod child;
mod features;
mod isolation;
pub(super) mod kept;
mod limits;
mod memory;
mod rebinding;
mod structure;
mod versions;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use serde_json::{Map, Value, json};
use zeroize::Zeroizing;

use super::egress::tests::peer::{Act, Peer, answer, ok};
use super::*;
use crate::env::Env;
use crate::lifecycle::id::{ChannelName, DeliveryId};
use crate::lifecycle::message::{DeliveryKind, OutboundMessage, Place, TextFormat};
use crate::lifecycle::outcome::{Call, CallEnd, SendAnswer};

/// A component that `cargo run -p guest-build` left.
fn guest(name: &str) -> Vec<u8> {
    let dir = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../target/guests");
    let path = dir.join(format!("{name}.wasm"));
    std::fs::read(&path).unwrap_or_else(|error| {
        panic!("{} is missing ({error}): build it with `cargo run -p guest-build`", path.display())
    })
}

/// Compiled code is shared by the tests of one run, through the cache that hosts use.
fn engine() -> Engine {
    static DIR: OnceLock<tempfile::TempDir> = OnceLock::new();
    let dir = DIR.get_or_init(|| tempfile::tempdir().unwrap()).path();
    let place = CachePlace { dir: dir.join("cache"), key_file: dir.join("cache.key") };
    engine_with(EngineConfig { cache: Some(place), ..EngineConfig::default() })
}

/// With room for a machine that is busy with other tests.
fn engine_with(config: EngineConfig) -> Engine {
    Engine::new(Env::system(), EngineConfig { describe_ms: 10_000, ..config }).unwrap()
}

/// Committed state, as the store would hold it.
#[derive(Default)]
struct Stored(BTreeMap<String, Vec<u8>>);

#[async_trait]
impl StateSource for Stored {
    async fn get(&self, _: &ChannelName, key: &str) -> Result<Option<Vec<u8>>, StateUnavailable> {
        Ok(self.0.get(key).cloned())
    }

    async fn size(&self, _: &ChannelName) -> Result<StateSize, StateUnavailable> {
        let bytes = self.0.iter().map(|(key, value)| (key.len() + value.len()) as u64).sum();
        Ok(StateSize { bytes, keys: self.0.len() as u64 })
    }
}

fn spec(settings: Value, targets: &[&str]) -> ChannelSpec {
    let targets: BTreeSet<_> = targets.iter().map(|id| (*id).to_owned()).collect();
    ChannelSpec {
        name: ChannelName::from("hook"),
        settings: settings.as_object().cloned().unwrap_or_else(Map::new),
        secrets: SecretMap::new(),
        grants: Grants { private_targets: targets.clone(), targets },
        limits: roomy(),
        public_url: Some("https://bot.example/hooks/hook".to_owned()),
    }
}

/// Wall clocks with slack for a busy machine; what a test is about it sets itself.
fn roomy() -> CallLimits {
    CallLimits { check_ms: 20_000, webhook_ms: 20_000, cpu_ms: 20_000, ..CallLimits::default() }
}

/// The scripted adapter, talking to `peer`, with more settings and other limits.
async fn script(peer: &Peer, more: Value, limits: CallLimits) -> Channel {
    script_of(&engine(), peer, more, limits).await
}

async fn script_of(engine: &Engine, peer: &Peer, more: Value, limits: CallLimits) -> Channel {
    script_on(engine, isolation(), peer, more, limits).await
}

/// Which ground the calls of this run are made on: see `isolation`.
const ISOLATION_VARIABLE: &str = "LASTWORD_TEST_ISOLATION";

fn isolation() -> Isolation {
    match crate::env::variable(ISOLATION_VARIABLE) {
        Some(word) if word == "process" => Isolation::Process,
        _ => Isolation::Engine,
    }
}

async fn script_on(
    engine: &Engine,
    on: Isolation,
    peer: &Peer,
    more: Value,
    limits: CallLimits,
) -> Channel {
    let adapter = engine.admit_on(guest("script"), on).await.unwrap();
    let mut settings = json!({ "url": format!("http://127.0.0.1:{}", peer.port) });
    if let (Value::Object(all), Value::Object(more)) = (&mut settings, more) {
        all.extend(more);
    }
    let mut spec = spec(settings, &["api", "secured", "handed"]);
    spec.limits = limits;
    spec.secrets.insert("token", vec![Zeroizing::new("canary-token-1".to_owned())]);
    let signing = ["whsec_c2lnbmluZy1rZXktMQ==", "whsec_c2lnbmluZy1rZXktMg=="];
    spec.secrets.insert("signing", signing.map(|s| Zeroizing::new(s.to_owned())).to_vec());
    adapter.bind(spec, Arc::new(Stored::default()), Arc::new(NoBlobs)).await.unwrap()
}

/// A hostile adapter of `tests/guests/hostile` that talks to `peer`.
async fn hostile(
    engine: &Engine,
    name: &str,
    peer: &Peer,
    how: &str,
    limits: CallLimits,
) -> Channel {
    let adapter = engine.admit_on(guest(name), isolation()).await;
    let adapter = adapter.unwrap_or_else(|e| panic!("{name}: {e}"));
    let settings = json!({ "url": format!("http://127.0.0.1:{}", peer.port), "how": how });
    let mut spec = spec(settings, &["api"]);
    spec.limits = limits;
    adapter.bind(spec, Arc::new(Stored::default()), Arc::new(NoBlobs)).await.unwrap()
}

/// A component out of its text.
fn component(text: &str) -> Vec<u8> {
    wat::parse_str(text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

fn message(text: &str) -> OutboundMessage {
    OutboundMessage {
        delivery_id: DeliveryId { number: 7, nonce: 9 },
        turn_id: None,
        place: Place { conversation: "room".to_owned(), ..Place::default() },
        text: text.to_owned(),
        format: TextFormat::Plain,
        attachments: Vec::new(),
        part: 1,
        parts: 1,
        attempt: 1,
        extras: Vec::new(),
    }
}

async fn send(channel: &Channel, text: &str) -> Call<SendAnswer> {
    channel.send(DeliveryKind::Final, message(text), StopSignal::never()).await
}

fn trapped<T: std::fmt::Debug>(call: Call<T>) -> String {
    match call.end {
        CallEnd::Trapped(words) => words,
        other => panic!("it did not trap: {other:?}"),
    }
}
