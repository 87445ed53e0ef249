//! What one call through the sandbox costs over a native one: a fresh instance of the tutorial's
//! adapter, without network, against the scripted adapter behind the same trait's shape.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use lastword::env::Env;
use lastword::gate::StopHandle;
use lastword::lifecycle::id::{ChannelName, DeliveryId};
use lastword::lifecycle::message::{DeliveryKind, OutboundMessage, Place, TextFormat};
use lastword::lifecycle::outcome::CallEnd;
use lastword::sandbox::{
    CallLimits, Channel, ChannelSpec, Engine, EngineConfig, Grants, Isolation, NoBlobs, SecretMap,
    StateSize, StateSource, StateUnavailable, StopSignal,
};
use lastword::workers::ports::Adapter as _;

use super::Scale;
use super::figure::{Figure, Goal, Rounds};
use super::inside::Taker;
use super::load::TEXT_BYTES;
use crate::harness::component;

/// Nothing is remembered.
pub(super) struct Empty;

impl Empty {
    pub(super) fn shared() -> Arc<Self> {
        Arc::new(Self)
    }
}

#[async_trait]
impl StateSource for Empty {
    async fn get(
        &self,
        _channel: &ChannelName,
        _key: &str,
    ) -> Result<Option<Vec<u8>>, StateUnavailable> {
        Ok(None)
    }

    async fn size(&self, _channel: &ChannelName) -> Result<StateSize, StateUnavailable> {
        Ok(StateSize::default())
    }
}

/// The tutorial's adapter, which needs nothing.
pub(super) async fn echo() -> Channel {
    echo_on(Isolation::Engine).await
}

/// The same on either ground.
async fn echo_on(isolation: Isolation) -> Channel {
    let engine = Engine::new(Env::system(), EngineConfig::default()).unwrap();
    let bytes = std::fs::read(component("echo")).unwrap();
    let adapter = engine.admit_on(bytes, isolation).await.unwrap();
    let spec = ChannelSpec {
        name: "echo".into(),
        settings: serde_json::Map::new(),
        secrets: SecretMap::new(),
        grants: Grants::default(),
        limits: CallLimits::default(),
        public_url: None,
    };
    adapter.bind(spec, Empty::shared(), Arc::new(NoBlobs)).await.unwrap()
}

fn message(number: u32) -> OutboundMessage {
    OutboundMessage {
        delivery_id: DeliveryId { number: i64::from(number), nonce: 1 },
        turn_id: None,
        place: Place { conversation: "kitchen".to_owned(), ..Place::default() },
        text: "x".repeat(TEXT_BYTES),
        format: TextFormat::Plain,
        attachments: Vec::new(),
        part: 1,
        parts: 1,
        attempt: 1,
        extras: Vec::new(),
    }
}

pub(super) fn each_us(began: Instant, calls: u32) -> f64 {
    began.elapsed().as_secs_f64() * 1e6 / f64::from(calls)
}

pub(super) async fn sandboxed(channel: &Channel, span: Duration) -> f64 {
    let (began, mut calls) = (Instant::now(), 0);
    while began.elapsed() < span {
        let stop = StopSignal::never();
        let call = channel.send(DeliveryKind::Final, message(calls), stop).await;
        assert!(matches!(call.end, CallEnd::Answered(Ok(_))), "{:?}", call.end);
        calls += 1;
    }
    each_us(began, calls)
}

async fn native(span: Duration) -> f64 {
    let (began, mut calls) = (Instant::now(), 0);
    while began.elapsed() < span {
        let call = Taker.send(DeliveryKind::Final, message(calls), StopHandle::new()).await;
        assert!(matches!(call.end, CallEnd::Answered(Ok(_))), "{:?}", call.end);
        calls += 1;
    }
    each_us(began, calls)
}

/// Microseconds per call, one after the other.
pub async fn measure(scale: &Scale) -> Vec<Figure> {
    const FRESH: &str = "one send_final through the sandbox";
    const NATIVE: &str = "one native send";
    const AWAY: &str = "one send_final through a process of its own";
    const MORE: &str = "one send_final through the sandbox, over a native one";
    let (channel, away) = (echo().await, echo_on(Isolation::Process).await);
    let mut rounds = Rounds::default();
    for round in 0..=scale.rounds {
        if round == 1 {
            rounds.forget();
        }
        let (fresh, bare) = (sandboxed(&channel, scale.span).await, native(scale.span / 4).await);
        rounds.take(AWAY, sandboxed(&away, scale.span).await);
        rounds.take(FRESH, fresh);
        rounds.take(NATIVE, bare);
        rounds.take(MORE, fresh - bare);
    }
    vec![
        rounds.plain(FRESH, "us", Goal::None),
        rounds.plain(AWAY, "us", Goal::None),
        rounds.plain(NATIVE, "us", Goal::None),
        rounds.plain(MORE, "us", Goal::ValueAtMost(100.0)),
    ]
}
