//! The platform behind a channel, and the adapter that speaks to it: what is sent arrives, or not,
//! or later, and the adapter tells the truth, or not. The ledger always tells it.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use lastword::env::Env;
use lastword::gate::StopHandle;
use lastword::lifecycle::message::{DeliveryKind, OutboundMessage, Place};
use lastword::lifecycle::outcome::{
    Call, CallEnd, CallError, Fault, Ledger, Lookup, RateScope, Receipt, SendAnswer, SendError,
    StateWrites, Usage,
};
use lastword::sandbox::{Activity, Batch, Offers, PollError, TextLimit, TextUnit};
use lastword::workers::ports::{Adapter, AdapterFacts};
use rand::Rng;

use super::chance::{SendFate, send_fate, wait_ms};
use super::world::{Arrival, Line, Room, World};

/// Bytes under way land at most so long after their call ended: well before anybody asks.
const LANDS_LATE_MS: i64 = 20_000;
/// The adapter's own deadline.
const CALL_MS: u64 = 30_000;

/// One channel's adapter.
pub(super) struct Platform {
    pub(super) world: Arc<World>,
    pub(super) env: Env,
    pub(super) line: Line,
    pub(super) base_ms: i64,
}

/// A room is at the adapter until this is dropped, by a kill too.
struct AtAdapter<'a>(&'a World, Room);

impl Drop for AtAdapter<'_> {
    fn drop(&mut self) {
        self.0.with(|it| it.at_adapter.remove(&self.1));
    }
}

impl Platform {
    fn now_ms(&self) -> i64 {
        self.base_ms + self.env.now().mono_ms
    }

    async fn sleep(&self, ms: u64) {
        self.env.sleep(Duration::from_millis(ms)).await;
    }

    /// What may be said of a call before it does anything.
    fn begin(&self, message: &OutboundMessage) -> AtAdapter<'_> {
        let room = (self.line, message.place.conversation.clone());
        let now_ms = self.now_ms();
        self.world.with(|it| {
            let id = message.delivery_id;
            it.trace.push(format!("{now_ms} send {id} in {room:?} call {}", message.attempt));
            if message.turn_id.is_some_and(|turn| it.aborted.contains(&turn)) {
                it.breaks(format!("{id} is sent after the abort of its turn was confirmed"));
            }
            if !it.at_adapter.insert(room.clone()) {
                it.breaks(format!("two rows of {room:?} are at the adapter at once"));
            }
            let last = it.last_sent.insert(room.clone(), id.number).unwrap_or(0);
            if id.number < last {
                it.breaks(format!("{id} is sent in {room:?} after the later row {last}"));
            }
            if it.landed(id, i64::MAX) > 0 && self.line != Line::Key {
                it.breaks(format!("{id} is sent again though it left before"));
            }
        });
        AtAdapter(&self.world, room)
    }

    /// The request leaves: it arrives now, later, or never.
    fn leave(&self, message: &OutboundMessage, surely: bool) {
        let now_ms = self.now_ms();
        self.world.with(|it| {
            if !surely && it.rng.random_bool(0.4) {
                return;
            }
            let late_ms = if surely || it.rng.random_bool(0.5) {
                0
            } else {
                it.rng.random_range(0..LANDS_LATE_MS)
            };
            it.trace.push(format!("{now_ms} arrives {} +{late_ms}", message.delivery_id));
            let lands_ms = now_ms + late_ms;
            it.arrivals.push(Arrival { message: message.clone(), lands_ms });
        });
    }

    async fn hang(&self, stop: &StopHandle) -> CallEnd<SendAnswer> {
        let most = Duration::from_millis(CALL_MS);
        match self.env.timeout(most, stop.stopped()).await {
            Ok(_) => CallEnd::Cancelled,
            Err(_) => CallEnd::DeadlinePassed,
        }
    }

    async fn go(
        &self,
        fate: SendFate,
        message: &OutboundMessage,
        stop: &StopHandle,
    ) -> Call<SendAnswer> {
        let said = |error| CallEnd::Answered(Err(error));
        let fault = |code: &str| Fault::new(code, "scripted");
        let receipt =
            Receipt { platform_id: format!("p-{}", message.delivery_id), extras: Vec::new() };
        let limited = |scope| said(SendError::RateLimited { retry_after_ms: 7_000, scope });
        match fate {
            SendFate::Works => {
                self.leave(message, true);
                call(CallEnd::Answered(Ok(receipt)), 1, 1, 1)
            }
            SendFate::Transient => call(said(SendError::Transient(fault("busy"))), 1, 1, 0),
            SendFate::Offline => call(said(SendError::Offline(fault("net"))), 0, 0, 0),
            SendFate::LimitedConversation => call(limited(RateScope::Conversation), 1, 1, 0),
            SendFate::LimitedChannel => call(limited(RateScope::Channel), 1, 1, 0),
            SendFate::Rejected => call(said(SendError::Rejected(fault("no"))), 1, 1, 0),
            SendFate::Unauthorized => call(said(SendError::Unauthorized(fault("401"))), 1, 1, 0),
            SendFate::TrapBefore => call(CallEnd::Trapped("scripted".to_owned()), 0, 0, 0),
            SendFate::LostAnswer => {
                self.leave(message, false);
                call(said(SendError::Unknown(fault("lost"))), 1, 0, 0)
            }
            SendFate::LostAnswerDenied => {
                self.leave(message, false);
                call(said(SendError::Transient(fault("lost"))), 1, 0, 0)
            }
            SendFate::Lie => call(CallEnd::Answered(Ok(receipt)), 0, 0, 0),
            SendFate::HangBefore => call(self.hang(stop).await, 0, 0, 0),
            SendFate::HangAfter => {
                self.leave(message, false);
                call(self.hang(stop).await, 1, 0, 0)
            }
        }
    }
}

fn call<T>(end: CallEnd<T>, begun: u32, answered: u32, accepted: u32) -> Call<T> {
    let ledger = Ledger {
        declares_send: true,
        send_begun: begun,
        send_answered: answered,
        send_accepted: accepted,
        other_begun: 0,
    };
    let (state, usage) = (StateWrites::default(), Usage::default());
    Call { end, ledger, state, usage, digest: "simulated".to_owned() }
}

#[async_trait]
impl Adapter for Platform {
    fn facts(&self) -> AdapterFacts {
        let asks = self.line == Line::Ask;
        AdapterFacts {
            offers: Offers {
                progress: true,
                reconcile: asks,
                webhook: !asks,
                poll: asks,
                files: false,
            },
            text: asks.then_some(TextLimit { most: 60, unit: TextUnit::Chars }),
            conversation_interval_ms: if asks { 300 } else { 0 },
            channel_interval_ms: 0,
            calls_at_once: 4,
            call_ms: CALL_MS,
            digest: "simulated".to_owned(),
            ..AdapterFacts::default()
        }
    }

    async fn send(
        &self,
        _kind: DeliveryKind,
        message: OutboundMessage,
        stop: StopHandle,
    ) -> Call<SendAnswer> {
        let at = self.begin(&message);
        let (fate, before_ms, after_ms) = self.world.with(|it| {
            let fate = send_fate(&mut it.rng, it.mood);
            (fate, wait_ms(&mut it.rng), wait_ms(&mut it.rng) / 4)
        });
        self.sleep(before_ms).await;
        let call = self.go(fate, &message, &stop).await;
        self.sleep(after_ms).await;
        drop(at);
        call
    }

    async fn find(
        &self,
        message: OutboundMessage,
        _since_ms: u64,
        _stop: StopHandle,
    ) -> Call<Result<Lookup, CallError>> {
        let wait = self.world.with(|it| wait_ms(&mut it.rng));
        self.sleep(wait).await;
        let now_ms = self.now_ms();
        let answer = self.world.with(|it| {
            let id = message.delivery_id;
            if it.rng.random_bool(it.mood.faults / 2.0) {
                return Ok(Lookup::Undecided("scripted".to_owned()));
            }
            if it.rng.random_bool(it.mood.faults / 4.0) {
                return Err(CallError::Transient(Fault::new("busy", "scripted")));
            }
            let found = it.landed(id, now_ms) > 0;
            it.trace.push(format!("{now_ms} asked about {id}: {found}"));
            if found {
                let platform_id = format!("p-{id}");
                return Ok(Lookup::Found(Receipt { platform_id, extras: Vec::new() }));
            }
            Ok(Lookup::Absent)
        });
        call(CallEnd::Answered(answer), 0, 0, 0)
    }

    async fn poll(
        &self,
        cursor: Option<String>,
        wait_ms: u32,
        most: u32,
        stop: StopHandle,
    ) -> Call<Result<Batch, PollError>> {
        let from: usize = cursor.as_deref().and_then(|it| it.parse().ok()).unwrap_or(0);
        for _ in 0..wait_ms / 500 {
            let events = self.world.with(|it| {
                it.feed.iter().skip(from).take(most as usize).cloned().collect::<Vec<_>>()
            });
            if !events.is_empty() {
                let cursor = (from + events.len()).to_string();
                let batch = Batch { events, cursor, more: false };
                return call(CallEnd::Answered(Ok(batch)), 0, 0, 0);
            }
            let tick = Duration::from_millis(500);
            if self.env.timeout(tick, stop.stopped()).await.is_ok() {
                return call(CallEnd::Cancelled, 0, 0, 0);
            }
        }
        let batch = Batch { events: Vec::new(), cursor: from.to_string(), more: false };
        call(CallEnd::Answered(Ok(batch)), 0, 0, 0)
    }

    async fn indicate(
        &self,
        _place: Place,
        _activity: Activity,
        _stop: StopHandle,
    ) -> Call<Result<Option<u32>, CallError>> {
        call(CallEnd::Answered(Ok(Some(5_000))), 0, 0, 0)
    }
}
