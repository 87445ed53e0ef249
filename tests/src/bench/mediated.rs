//! What the host adds to one request of a guest: one `send-final` of the `webhook` adapter to a sink
//! on loopback, less the same instance without a request, less the same request by a bare client.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lastword::env::Env;
use lastword::sandbox::{
    CallLimits, Channel, ChannelSpec, Engine, EngineConfig, Grants, NoBlobs, SecretMap,
};
use serde_json::json;

use super::Scale;
use super::figure::{Figure, Goal, Rounds};
use super::load::TEXT_BYTES;
use super::sandbox::{Empty, each_us, sandboxed};
use crate::harness::{Answer, Platform, Sink, component};

/// The adapter with nothing to ask the state for and one place to go.
async fn webhook(sink: &Sink) -> Channel {
    let engine = Engine::new(Env::system(), EngineConfig::default()).unwrap();
    let adapter = engine.admit(std::fs::read(component("webhook")).unwrap()).await.unwrap();
    let settings = json!({"callback_url": sink.url()});
    let callback = || BTreeSet::from(["callback".to_owned()]);
    let spec = ChannelSpec {
        name: "hook".into(),
        settings: settings.as_object().unwrap().clone(),
        secrets: SecretMap::new(),
        grants: Grants { targets: callback(), private_targets: callback() },
        limits: CallLimits::default(),
        public_url: None,
    };
    adapter.bind(spec, Empty::shared(), Arc::new(NoBlobs)).await.unwrap()
}

/// The same bytes by a pooled client without sandbox, policy and ledger.
async fn bare(client: &Platform, span: Duration) -> f64 {
    let text = "x".repeat(TEXT_BYTES);
    let (began, mut calls) = (Instant::now(), 0);
    while began.elapsed() < span {
        let document = json!({
            "delivery_id": "d00000000010000000001", "turn_id": null, "conversation": "kitchen",
            "reply_to": null, "kind": "final", "text": text, "part": 1, "parts": 1, "attempt": 1,
        });
        assert_eq!(client.post("replies", &document).await.unwrap().status, 200);
        calls += 1;
    }
    each_us(began, calls)
}

/// Microseconds per request, one after the other.
pub async fn measure(scale: &Scale) -> Vec<Figure> {
    const SEND: &str = "one send_final with one request";
    const BARE: &str = "one request by a bare client";
    const MORE: &str = "one mediated request, over a bare client's";
    let sink = Sink::scripted(|_| Answer::Take).await;
    let (hook, echo) = (webhook(&sink).await, super::sandbox::echo().await);
    let client = Platform::new(sink.origin(), "hook");
    let mut rounds = Rounds::default();
    for round in 0..=scale.rounds {
        if round == 1 {
            rounds.forget();
        }
        let span = scale.span / 2;
        let send = sandboxed(&hook, span).await;
        let (request, instance) = (bare(&client, span).await, sandboxed(&echo, span).await);
        rounds.take(SEND, send);
        rounds.take(BARE, request);
        rounds.take(MORE, send - instance - request);
    }
    vec![
        rounds.plain(SEND, "us", Goal::None),
        rounds.plain(BARE, "us", Goal::None),
        rounds.plain(MORE, "us", Goal::ValueAtMost(100.0)),
    ]
}
