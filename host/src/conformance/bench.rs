//! One adapter under test: the engine, the platform, and what the adapter remembers from call to
//! call. Each call binds the channel anew, so that a test may end one call at a host call of its
//! choice and let the next one be.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use zeroize::Zeroizing;

use super::ConformanceError;
use super::files::Files;
use super::fixture::{Exchange, Fixture};
use super::heard::Heard;
use super::platform::{Platform, Says, Script, Seen};
use super::report::Case;
use super::wanted::words;
use crate::env::Env;
use crate::lifecycle::id::{ChannelName, DeliveryId};
use crate::lifecycle::message::{DeliveryKind, OutboundMessage, Place, TextFormat};
use crate::lifecycle::outcome::{Call, CallEnd, SendAnswer, StateWrites};
use crate::sandbox::{
    Adapter, CallLimits, Channel, ChannelSpec, Engine, EngineConfig, Grants, Idempotency,
    Isolation, Refusal, Rehearsal, SecretMap, StateSize, StateSource, StateUnavailable, StopSignal,
};

/// Requests on `send` routes that a call may make here: one more than a sound adapter makes is seen
/// and not only refused.
const SEND_REQUESTS_SEEN: u32 = 8;

/// Makes a delivery's id one that stands nowhere else in a request.
const NONCE: u64 = 0x2_9a5c_31e7_bd04;

/// What a channel is called here.
const CHANNEL: &str = "conformance";

/// Everything a case needs.
pub(super) struct Bench {
    pub(super) fixture: Fixture,
    pub(super) adapter: Adapter,
    pub(super) platform: Platform,
    pub(super) heard: Heard,
    pub(super) files: Arc<Files>,
}

/// What the adapter remembers, for the time of one case.
#[derive(Debug, Clone, Default)]
pub(super) struct Memory(Arc<Mutex<BTreeMap<String, Vec<u8>>>>);

impl Memory {
    /// Commits what a call wrote.
    pub(super) fn commit(&self, writes: &StateWrites) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for (key, value) in &writes.writes {
            match value {
                Some(value) => state.insert(key.clone(), value.clone()),
                None => state.remove(key),
            };
        }
    }
}

#[async_trait]
impl StateSource for Memory {
    async fn get(&self, _: &ChannelName, key: &str) -> Result<Option<Vec<u8>>, StateUnavailable> {
        Ok(self.0.lock().unwrap_or_else(PoisonError::into_inner).get(key).cloned())
    }

    async fn size(&self, _: &ChannelName) -> Result<StateSize, StateUnavailable> {
        let state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes: usize = state.iter().map(|(key, value)| key.len() + value.len()).sum();
        Ok(StateSize { bytes: bytes as u64, keys: state.len() as u64 })
    }
}

impl Bench {
    pub(super) async fn new(
        env: &Env,
        fixture: Fixture,
        component: Vec<u8>,
        isolation: Isolation,
    ) -> Result<Self, ConformanceError> {
        let system = |why: String| ConformanceError::System(why);
        let platform = Platform::start(env)
            .await
            .map_err(|error| system(format!("the platform of the suite cannot listen: {error}")))?;
        let engine = Engine::rehearsing(env.clone(), EngineConfig::default(), platform.address())
            .map_err(|refusal| system(refusal.to_string()))?;
        let refused = |refusal: Refusal| ConformanceError::Refused(refusal.to_string());
        let adapter = engine.admit_on(component, isolation).await.map_err(refused)?;
        let files =
            Files::new().map_err(|error| system(format!("no folder for files: {error}")))?;
        let bench =
            Self { fixture, adapter, platform, heard: Heard::default(), files: Arc::new(files) };
        bench.channel(&Memory::default(), None).await.map_err(refused)?;
        let missing = bench.fixture.send.missing();
        if bench.adapter.manifest().declares_send() && !missing.is_empty() {
            return Err(ConformanceError::Fixture(format!(
                "the adapter declares a route with the effect `send`, and the fixture's `[send]` \
                 lacks {}",
                missing.join(", ")
            )));
        }
        Ok(bench)
    }

    /// The channel for one call; `ended_at` ends it at that host call.
    async fn channel(&self, memory: &Memory, ended_at: Option<u32>) -> Result<Channel, Refusal> {
        let fixture = &self.fixture.channel;
        let mut secrets = SecretMap::new();
        for (slot, value) in &fixture.secrets {
            secrets.insert(slot.clone(), vec![Zeroizing::new(value.clone())]);
        }
        let targets: BTreeSet<String> =
            self.adapter.manifest().targets.iter().map(|target| target.id.clone()).collect();
        let spec = ChannelSpec {
            name: ChannelName(CHANNEL.to_owned()),
            settings: fixture.settings.clone(),
            secrets,
            grants: Grants { private_targets: targets.clone(), targets },
            limits: CallLimits { send_requests: SEND_REQUESTS_SEEN, ..CallLimits::default() },
            public_url: fixture.public_url.clone(),
        };
        let rehearsal = Rehearsal { now_ms: fixture.now_ms, ended_at_host_call: ended_at };
        let state = Arc::new(memory.clone());
        self.adapter.rehearse(spec, state, Arc::clone(&self.files) as _, rehearsal).await
    }

    /// The channel for one call that runs to its end. What refused it once refuses it again, which
    /// is told where the suite begins.
    pub(super) async fn whole(&self, memory: &Memory) -> Option<Channel> {
        self.channel(memory, None).await.ok()
    }

    /// The channel for one call that ends at a host call.
    pub(super) async fn ended(&self, memory: &Memory, at: u32) -> Option<Channel> {
        self.channel(memory, Some(at)).await.ok()
    }

    /// Lets the platform answer sends like this, and everything else as recorded.
    pub(super) fn play(&self, says: Says) {
        self.play_with(says, &[], None);
    }

    /// As [`Bench::play`], with exchanges of a case's own before the others, and one that fails.
    pub(super) fn play_with(&self, says: Says, own: &[Exchange], fails: Option<(u32, Says)>) {
        let exchanges = own.iter().chain(&self.fixture.exchanges).cloned().collect();
        let send = self.fixture.send.request.clone();
        self.platform.play(Script { send, says, exchanges, fails });
    }

    /// The answer to a message that arrives.
    pub(super) fn delivered(&self) -> Says {
        Says::This(self.fixture.send.delivered.clone().unwrap_or_default())
    }

    /// Whether the platform is told by the manifest to drop a repeated delivery id.
    pub(super) fn is_idempotent(&self) -> bool {
        match self.adapter.manifest().idempotency {
            Idempotency::None => false,
            Idempotency::ForMs(_) | Idempotency::Always => true,
        }
    }

    /// Why an idempotent platform would take two requests of one delivery for two messages. What
    /// else stands in them may differ, as the number of the attempt.
    pub(super) fn told_apart(&self, first: &Seen, second: &Seen) -> Option<String> {
        let id = self.message(1, "").delivery_id.to_string();
        let carries = |seen: &Seen| words(seen).is_ok_and(|words| words.contains(&id));
        let is_same = first.method == second.method && first.address == second.address;
        if !self.is_idempotent() || (is_same && carries(first) && carries(second)) {
            return None;
        }
        Some(
            "goes out as another request, or without its delivery id: an idempotent platform \
             would show it twice"
                .to_owned(),
        )
    }

    /// What the receipt of a delivery must name.
    pub(super) fn platform_id(&self, message: &OutboundMessage) -> String {
        let id = message.delivery_id.to_string();
        self.fixture.send.platform_id.replace("{delivery_id}", &id)
    }

    /// A message of the suite's own.
    pub(super) fn message(&self, delivery: i64, text: &str) -> OutboundMessage {
        let send = &self.fixture.send;
        OutboundMessage {
            delivery_id: DeliveryId { number: delivery, nonce: NONCE },
            turn_id: None,
            place: Place {
                conversation: send.conversation.clone(),
                context: send.context.clone(),
                reply_to: send.reply_to.clone(),
            },
            text: text.to_owned(),
            format: TextFormat::Plain,
            attachments: Vec::new(),
            part: 1,
            parts: 1,
            attempt: 1,
            extras: Vec::new(),
        }
    }

    /// Sends a message in one call, and commits what the call wrote.
    pub(super) async fn send(
        &self,
        case: &mut Case,
        memory: &Memory,
        message: OutboundMessage,
    ) -> Sent {
        self.send_as(case, memory, DeliveryKind::Final, message, None).await
    }

    /// As [`Bench::send`], of any kind, and ended at a host call where one is given.
    pub(super) async fn send_as(
        &self,
        case: &mut Case,
        memory: &Memory,
        kind: DeliveryKind,
        message: OutboundMessage,
        ended_at: Option<u32>,
    ) -> Sent {
        let Ok(channel) = self.channel(memory, ended_at).await else {
            case.broken("the channel is refused, which was admitted before");
            return Sent::none();
        };
        let before = self.platform.seen().len();
        let call = channel.send(kind, message, StopSignal::never()).await;
        case.used(&call.usage);
        memory.commit(&call.state);
        let seen = self.platform.seen().split_off(before);
        for stray in seen.iter().filter(|seen| !seen.known) {
            case.broken(format!(
                "it asks {} {}, which the fixture has no answer for",
                stray.method,
                stray.address.split('?').next().unwrap_or_default()
            ));
        }
        Sent { call: Some(call), seen }
    }
}

/// What one send came to.
pub(super) struct Sent {
    pub(super) call: Option<Call<SendAnswer>>,
    pub(super) seen: Vec<Seen>,
}

impl Sent {
    fn none() -> Self {
        Self { call: None, seen: Vec::new() }
    }

    /// The requests that make a message appear.
    pub(super) fn sends(&self) -> Vec<&Seen> {
        self.seen.iter().filter(|seen| seen.is_send).collect()
    }

    /// What the adapter says, where it came to say something.
    pub(super) fn answer(&self) -> Result<&SendAnswer, String> {
        match self.call.as_ref().map(|call| &call.end) {
            Some(CallEnd::Answered(answer)) => Ok(answer),
            Some(CallEnd::Trapped(words)) => Err(format!("it trapped: {words}")),
            Some(CallEnd::DeadlinePassed) => Err("it ran out of its time".to_owned()),
            Some(CallEnd::CpuSpent) => Err("it ran out of its CPU time".to_owned()),
            Some(CallEnd::Cancelled | CallEnd::NotCalled(_)) | None => {
                Err("it was not called".to_owned())
            }
        }
    }
}
