//! The agent: answers, or does what agents do instead.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use lastword::env::Env;
use lastword::gate::StopHandle;
use lastword::handler::{
    Failure, Handler, HandlerDocument, HandlerEnd, HandlerEvent, event::AskedRetry,
};
use lastword::lifecycle::id::TurnId;
use lastword::lifecycle::message::Reply;
use lastword::lifecycle::turn::TurnState;
use tokio::sync::mpsc::Sender;

use super::chance::{TryFate, try_fate, wait_ms};
use super::world::{Inside, Line, MOVED, Room, World};

/// The one agent of all channels.
pub(super) struct Agent {
    pub(super) world: Arc<World>,
    pub(super) env: Env,
    pub(super) base_ms: i64,
}

/// A room is at the agent until this is dropped, by a kill too.
struct AtAgent<'a>(&'a World, Room, TurnId);

impl Drop for AtAgent<'_> {
    fn drop(&mut self) {
        self.0.with(|it| {
            if it.at_agent.get(&self.1) == Some(&self.2) {
                it.at_agent.remove(&self.1);
            }
        });
    }
}

/// An abort that is on the disk and was refused all the same, for the disk failed under it: its
/// handler is told when it next renews its claim, and the room does not wait so long.
fn stopped_in_doubt(it: &Inside, turn: TurnId) -> bool {
    let aborted = it.shadow.turns.get(&turn).is_some_and(|told| told.state == TurnState::Aborted);
    aborted && it.doubted && !it.aborted.contains(&turn)
}

pub(super) fn room_of(document: &HandlerDocument) -> Room {
    (Line::of(&document.channel.0), document.conversation.clone())
}

/// What may be said of a try before its agent does anything.
pub(super) fn began(it: &mut Inside, document: &HandlerDocument, now_ms: i64) {
    let room = room_of(document);
    let (turn, attempt) = (document.turn.id, document.turn.attempt);
    it.step();
    it.tell(|| format!("{now_ms} try {attempt} of {turn} in {room:?}"));
    if it.aborted.contains(&turn) {
        it.breaks(format!("{turn} runs after its abort was confirmed"));
    }
    let told = it.shadow.turns.get(&turn).cloned();
    let on_disk = told.as_ref().is_some_and(|told| told.attempt >= attempt);
    if !on_disk {
        it.breaks(format!("try {attempt} of {turn} runs without its claim on disk"));
    }
    let current =
        told.is_some_and(|told| told.attempt == attempt && told.state == TurnState::Running);
    let last = it.tries.insert(turn, attempt).unwrap_or(0);
    // The same claim asked for twice under one name gives the same try.
    if attempt < last || (attempt == last && it.setting.workers == 0) {
        it.breaks(format!("{turn} is given try {attempt} after try {last}"));
    }
    if current && !room.1.ends_with(MOVED) {
        in_order(it, room, turn);
    }
}

/// Nothing that began earlier in the room may still wait for its end.
fn in_order(it: &mut Inside, room: Room, turn: TurnId) {
    let Inside { shadow, turns_begun, .. } = it;
    let begun = turns_begun.entry(room.clone()).or_default();
    begun.retain(|other| shadow.turns.get(other).is_some_and(|told| !told.state.is_ended()));
    let other = begun.iter().find(|other| **other != turn).copied();
    begun.insert(turn);
    if let Some(other) = other.filter(|_| !it.moved.contains(&room)) {
        it.breaks(format!("{turn} runs in {room:?} before the end of {other}"));
    }
}

impl Agent {
    async fn sleep(&self, ms: u64) {
        self.env.sleep(Duration::from_millis(ms)).await;
    }

    fn begin(&self, document: &HandlerDocument) -> AtAgent<'_> {
        let (room, turn) = (room_of(document), document.turn.id);
        let now_ms = self.base_ms + self.env.now().mono_ms;
        self.world.with(|it| {
            began(it, document, now_ms);
            let moved = room.1.ends_with(MOVED) || it.moved.contains(&room);
            let other = it.at_agent.insert(room.clone(), turn).filter(|_| !moved);
            if other.is_some_and(|other| !stopped_in_doubt(it, other)) {
                it.breaks(format!("two turns of {room:?} run at once"));
            }
        });
        AtAgent(&self.world, room, turn)
    }
}

fn reply(text: String) -> Reply {
    Reply { text, ..Reply::default() }
}

#[async_trait]
impl Handler for Agent {
    async fn answer(
        &self,
        document: HandlerDocument,
        events: Sender<HandlerEvent>,
        stop: StopHandle,
    ) -> HandlerEnd {
        let at = self.begin(&document);
        let (fate, wait) =
            self.world.with(|it| (try_fate(&mut it.rng, it.setting.mood), wait_ms(&mut it.rng)));
        self.sleep(wait).await;
        let text = format!("re {}", document.message.text);
        let last = HandlerEvent::Final(reply(text.clone()));
        let give = async |event| {
            self.world.with(Inside::step);
            let _ = events.send(event).await;
        };
        let end = match fate {
            TryFate::Answers => {
                give(last).await;
                HandlerEnd::Ended
            }
            TryFate::AnswersLong => {
                give(HandlerEvent::Final(reply(format!("{text} ").repeat(12)))).await;
                HandlerEnd::Ended
            }
            TryFate::Progress => {
                give(HandlerEvent::Tool(reply(format!("tool {text}")))).await;
                self.sleep(wait).await;
                give(HandlerEvent::Block(reply(format!("block {text}")))).await;
                give(last).await;
                HandlerEnd::Ended
            }
            TryFate::Silent => {
                give(HandlerEvent::Silent).await;
                HandlerEnd::Ended
            }
            TryFate::Twice => {
                give(last.clone()).await;
                give(last).await;
                HandlerEnd::Ended
            }
            TryFate::Fails | TryFate::FailsForGood => {
                let never = fate == TryFate::FailsForGood;
                let retry = if never { AskedRetry::Never } else { AskedRetry::Again };
                give(HandlerEvent::Block(reply(format!("half {text}")))).await;
                give(HandlerEvent::Fail { reason: "scripted".to_owned(), retry }).await;
                HandlerEnd::Ended
            }
            // Without the hook that would print it.
            TryFate::Panics => std::panic::resume_unwind(Box::new("scripted")),
            TryFate::NotStarted => HandlerEnd::Failed(Failure::not_started("scripted")),
            TryFate::EndsWithout => HandlerEnd::Ended,
            TryFate::ThinksLong => {
                self.sleep(120_000).await;
                give(last).await;
                HandlerEnd::Ended
            }
            TryFate::ThinksForEver => {
                stop.stopped().await;
                HandlerEnd::Stopped
            }
        };
        drop(at);
        end
    }
}
