//! The platform behind a channel, and the adapter that speaks to it: what is sent arrives, or not,
//! or later, and the adapter tells the truth, or not. The ledger always tells it.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use lastword::env::Env;
use lastword::gate::StopHandle;
use lastword::lifecycle::delivery::DeliveryState;
use lastword::lifecycle::id::DeliveryId;
use lastword::lifecycle::message::{DeliveryKind, OutboundMessage, Place};
use lastword::lifecycle::outcome::{
    Call, CallEnd, CallError, Fault, Ledger, Lookup, RateScope, Receipt, SendAnswer, SendError,
    StateWrites, Usage,
};
use lastword::sandbox::{Activity, Batch, Offers, PollError, TextLimit, TextUnit};
use lastword::workers::ports::{Adapter, AdapterFacts};
use rand::Rng;

use super::chance::{SendFate, send_fate, wait_ms};
use super::world::{Inside, Line, MOVED, Room, World};

/// Bytes under way land at most so long after their call ended: well before anybody asks.
const LANDS_LATE_MS: i64 = 20_000;
/// The adapter's own deadline.
const CALL_MS: u64 = 30_000;
/// Calls that one channel has at its adapter at once.
const CALLS_AT_ONCE: u32 = 3;
/// Messages that late receipts may be about.
const RECENT_MAX: usize = 32;

/// One channel's adapter.
pub(super) struct Platform {
    pub(super) world: Arc<World>,
    pub(super) env: Env,
    pub(super) line: Line,
    pub(super) base_ms: i64,
    pub(super) interval_ms: u64,
}

/// A room is at the adapter until this is dropped, by a kill too.
struct AtAdapter<'a>(&'a World, Room);

impl Drop for AtAdapter<'_> {
    fn drop(&mut self) {
        self.0.with(|it| it.at_adapter.remove(&self.1));
    }
}

/// What may be said of a call before it does anything.
fn may_begin(it: &mut Inside, room: &Room, message: &OutboundMessage) {
    let id = message.delivery_id;
    // Free rows say which turn they are about; it does not guard them.
    let guard = it.shadow.rows.get(&id).and_then(|told| told.turn);
    if guard.is_some_and(|turn| it.aborted.contains(&turn)) {
        it.breaks(format!("{id} is sent after the abort of its turn was confirmed"));
    }
    let told = it.shadow.rows.get(&id);
    let intended = told.is_some_and(|told| told.attempt >= message.attempt);
    let current = told.is_some_and(|told| {
        told.attempt == message.attempt && told.state == DeliveryState::Sending
    });
    if !intended {
        it.breaks(format!("call {} of {id} begins without its intent on disk", message.attempt));
    }
    let moved = room.1.ends_with(MOVED);
    if !it.at_adapter.insert(room.clone()) && !moved {
        it.breaks(format!("two rows of {room:?} are at the adapter at once"));
    }
    let busy = it.at_adapter.iter().filter(|(line, _)| *line == room.0).count();
    if busy > CALLS_AT_ONCE as usize {
        it.breaks(format!("{busy} calls of {} at once", room.0.name()));
    }
    if it.landed(id, i64::MAX) > 0 && room.0.shows_once() {
        it.breaks(format!("{id} is sent again though it left before"));
    }
    if current && !moved {
        in_order(it, room, id);
    }
}

/// Whatever began in the room before must be at rest, and be older.
fn in_order(it: &mut Inside, room: &Room, id: DeliveryId) {
    let moved = it.moved.contains(room);
    let Inside { shadow, rows_begun, .. } = it;
    let begun = rows_begun.entry(room.clone()).or_default();
    let newest = begun.last().copied();
    begun.retain(|other| {
        Some(*other) == newest || shadow.rows.get(other).is_some_and(|told| !told.rests())
    });
    let unrested = begun
        .iter()
        .find(|other| **other != id && shadow.rows.get(*other).is_some_and(|told| !told.rests()));
    let unrested = unrested.copied().filter(|_| !moved);
    begun.insert(id);
    if let Some(other) = unrested {
        it.breaks(format!("{id} is sent in {room:?} while {other} is not at rest"));
    }
    if let Some(newest) = newest.filter(|newest| newest.number > id.number) {
        it.breaks(format!("{id} is sent in {room:?} after the later row {newest}"));
    }
}

impl Platform {
    fn now_ms(&self) -> i64 {
        self.base_ms + self.env.now().mono_ms
    }

    async fn sleep(&self, ms: u64) {
        self.env.sleep(Duration::from_millis(ms)).await;
    }

    fn begin(&self, message: &OutboundMessage) -> AtAdapter<'_> {
        let room = (self.line, message.place.conversation.clone());
        let now_ms = self.now_ms();
        self.world.with(|it| {
            it.step();
            let id = message.delivery_id;
            it.tell(|| format!("{now_ms} send {id} in {room:?} call {}", message.attempt));
            may_begin(it, &room, message);
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
            it.tell(|| format!("{now_ms} arrives {} +{late_ms}", message.delivery_id));
            it.arrivals.entry(message.delivery_id).or_default().push(now_ms + late_ms);
            if it.recent.len() == RECENT_MAX {
                it.recent.remove(0);
            }
            it.recent.push((self.line, message.clone()));
        });
    }

    async fn hang(&self, stop: &StopHandle) -> CallEnd<SendAnswer> {
        let most = Duration::from_millis(CALL_MS);
        match self.env.timeout(most, stop.stopped()).await {
            Ok(_) => CallEnd::Cancelled,
            Err(_) => CallEnd::DeadlinePassed,
        }
    }

    /// What the platform says of the room before it looks at the message.
    fn closed_or_moved(&self, room: &Room) -> Option<SendError> {
        self.world.with(|it| {
            if it.moved.contains(room) {
                return Some(SendError::Moved(format!("{}{MOVED}", room.1)));
            }
            it.closed.contains(room).then(|| SendError::Closed(Fault::new("closed", "scripted")))
        })
    }

    async fn go(
        &self,
        fate: SendFate,
        message: &OutboundMessage,
        stop: &StopHandle,
    ) -> Call<SendAnswer> {
        let said = |error| CallEnd::Answered(Err(error));
        let fault = |code: &str| Fault::new(code, "scripted");
        let receipt = receipt(message.delivery_id);
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
            SendFate::Closes | SendFate::Moves => {
                call(said(SendError::Transient(fault("busy"))), 1, 1, 0)
            }
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

fn receipt(id: DeliveryId) -> Receipt {
    Receipt { platform_id: format!("p-{id}"), extras: Vec::new() }
}

fn call<T>(end: CallEnd<T>, begun: u32, answered: u32, accepted: u32) -> Call<T> {
    let ledger = Ledger {
        declares_send: true,
        send_begun: begun,
        send_answered: answered,
        send_accepted: accepted,
        send_barred: 0,
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
            conversation_interval_ms: self.interval_ms,
            channel_interval_ms: 0,
            calls_at_once: CALLS_AT_ONCE,
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
        let (fate, mut before_ms, after_ms) = self.world.with(|it| {
            let fate = send_fate(&mut it.rng, &it.setting);
            (fate, wait_ms(&mut it.rng), wait_ms(&mut it.rng) / 4)
        });
        if self.line == Line::Slow {
            before_ms += 4_000;
        }
        self.sleep(before_ms).await;
        if !at.1.1.ends_with(MOVED) {
            self.world.with(|it| match fate {
                SendFate::Closes => drop(it.closed.insert(at.1.clone())),
                SendFate::Moves => drop(it.moved.insert(at.1.clone())),
                _ => {}
            });
        }
        let call = match self.closed_or_moved(&at.1) {
            Some(error) => call(CallEnd::Answered(Err(error)), 1, 1, 0),
            None => self.go(fate, &message, &stop).await,
        };
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
        let wait = self.world.with(|it| {
            it.step();
            wait_ms(&mut it.rng)
        });
        self.sleep(wait).await;
        let now_ms = self.now_ms();
        let answer = self.world.with(|it| {
            let (id, faults) = (message.delivery_id, it.setting.mood.faults);
            if it.rng.random_bool(faults / 2.0) {
                return Ok(Lookup::Undecided("scripted".to_owned()));
            }
            if it.rng.random_bool(faults / 4.0) {
                return Err(CallError::Transient(Fault::new("busy", "scripted")));
            }
            let found = it.landed(id, now_ms) > 0;
            it.tell(|| format!("{now_ms} asked about {id}: {found}"));
            Ok(if found { Lookup::Found(receipt(id)) } else { Lookup::Absent })
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
        let has = || self.world.with(|it| it.feed.len() > from);
        if !has() {
            let waiting = async {
                tokio::select! { biased;
                    _ = stop.stopped() => true,
                    () = self.world.fed.notified() => false,
                }
            };
            let patience = Duration::from_millis(u64::from(wait_ms));
            if self.env.timeout(patience, waiting).await == Ok(true) {
                return call(CallEnd::Cancelled, 0, 0, 0);
            }
        }
        let (events, fails) = self.world.with(|it| {
            let most = it.rng.random_range(1..=most.min(5)) as usize;
            let fails = it.rng.random_bool(it.setting.mood.faults / 4.0);
            let events: Vec<_> = it.feed.iter().skip(from).take(most).cloned().collect();
            if fails || !events.is_empty() {
                it.step();
            }
            (events, fails)
        });
        if fails {
            let error = PollError::Failed(CallError::Transient(Fault::new("busy", "scripted")));
            return call(CallEnd::Answered(Err(error)), 0, 0, 0);
        }
        let cursor = (from + events.len()).to_string();
        call(CallEnd::Answered(Ok(Batch { events, cursor, more: false })), 0, 0, 0)
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
