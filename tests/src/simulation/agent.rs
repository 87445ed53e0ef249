//! The agent: answers, or does what agents do instead.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use lastword::env::Env;
use lastword::gate::StopHandle;
use lastword::handler::{
    Failure, Handler, HandlerDocument, HandlerEnd, HandlerEvent, event::AskedRetry,
};
use lastword::lifecycle::message::Reply;
use tokio::sync::mpsc::Sender;

use super::chance::{TryFate, try_fate, wait_ms};
use super::world::{Line, Room, World};

/// The one agent of all channels.
pub(super) struct Agent {
    pub(super) world: Arc<World>,
    pub(super) env: Env,
    pub(super) base_ms: i64,
}

/// A room is at the agent until this is dropped, by a kill too.
struct AtAgent<'a>(&'a World, Room);

impl Drop for AtAgent<'_> {
    fn drop(&mut self) {
        self.0.with(|it| it.at_agent.remove(&self.1));
    }
}

impl Agent {
    async fn sleep(&self, ms: u64) {
        self.env.sleep(Duration::from_millis(ms)).await;
    }

    fn begin(&self, document: &HandlerDocument) -> AtAgent<'_> {
        let line = Line::ALL.into_iter().find(|line| line.name() == document.channel.0);
        let room = (line.unwrap_or(Line::Bare), document.conversation.clone());
        let now_ms = self.base_ms + self.env.now().mono_ms;
        let (turn, attempt) = (document.turn.id, document.turn.attempt);
        self.world.with(|it| {
            it.trace.push(format!("{now_ms} try {attempt} of {turn} in {room:?}"));
            if it.aborted.contains(&turn) {
                it.breaks(format!("{turn} runs after its abort was confirmed"));
            }
            if !it.at_agent.insert(room.clone()) {
                it.breaks(format!("two turns of {room:?} run at once"));
            }
            let last = it.tries.insert(turn, attempt).unwrap_or(0);
            if attempt <= last {
                it.breaks(format!("{turn} is given try {attempt} after try {last}"));
            }
        });
        AtAgent(&self.world, room)
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
            self.world.with(|it| (try_fate(&mut it.rng, it.mood), wait_ms(&mut it.rng)));
        self.sleep(wait).await;
        let text = format!("re {}", document.message.text);
        let last = HandlerEvent::Final(reply(text.clone()));
        let give = async |event| {
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
