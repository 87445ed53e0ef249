//! The life of one try: what its worker waits for, and what each thing that comes means.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::task::JoinError;
use tokio_util::task::AbortOnDropHandle;

use super::breaker::Health;
use super::desk::TurnPermit;
use super::rules::HANDLER_STOP_MS;
use super::turn_files::TryFiles;
use super::turn_output::Output;
use crate::gate::{RunningTurn, StopReason};
use crate::handler::{
    Failure, Handler, HandlerDocument, HandlerEnd, HandlerEvent, Protocol, Step, TryEnd,
};
use crate::store::{Guarded, StoreError};

/// Events that wait for the store; a handler that is faster waits itself.
const EVENTS_QUEUED_MAX: usize = 16;

/// How a try ended.
#[derive(Debug)]
pub(super) enum Ending {
    /// By its final or by silence: the row says so.
    Decided,
    /// The handler failed.
    Failed(Failure),
    /// It was stopped.
    Stopped(StopReason),
    /// The store did not take what it said before the host ended; the next start finds the claim.
    GivenUp,
}

/// A try under way.
pub(super) struct Try {
    output: Output,
    running: RunningTurn,
    protocol: Protocol,
    /// None once every sender is gone.
    events: Option<mpsc::Receiver<HandlerEvent>>,
    handler: AbortOnDropHandle<HandlerEnd>,
    files: Arc<TryFiles>,
    began_ms: i64,
    renew_at_ms: i64,
    alive_at_ms: i64,
}

enum Woken {
    Stop(StopReason),
    Timer,
    Event(Option<HandlerEvent>),
    Ended(Result<HandlerEnd, JoinError>),
}

impl Try {
    /// Starts the handler.
    pub(super) fn begin(
        output: Output,
        handler: Arc<dyn Handler>,
        running: RunningTurn,
        document: HandlerDocument,
    ) -> Self {
        let hub = &output.hub;
        let (sender, events) = mpsc::channel(EVENTS_QUEUED_MAX);
        let stop = running.stop().clone();
        // A task of its own: a handler that blocks its thread must not keep the claim renewed, and
        // its panic is its own.
        // Files are had in it too: it may take a while, and the claim is renewed meanwhile.
        let (turn, attempt) = (document.turn.id, document.turn.attempt);
        let files = TryFiles::new(Arc::clone(hub), Arc::clone(&output.channel), turn, attempt);
        let files = Arc::new(files);
        let mut document = document;
        let handing = Arc::clone(&files);
        let task = hub.env.spawn(async move {
            match handing.hand_over(&mut document, handler.files(), &stop).await {
                Ok(()) => handler.answer(document, sender, stop).await,
                Err(failure) => HandlerEnd::Failed(failure),
            }
        });
        let now_ms = hub.mono_ms();
        Self {
            protocol: Protocol::new(hub.rules.handler),
            renew_at_ms: now_ms.saturating_add_unsigned(hub.rules.renew_ms),
            events: Some(events),
            handler: AbortOnDropHandle::new(task),
            began_ms: now_ms,
            alive_at_ms: now_ms,
            files,
            output,
            running,
        }
    }

    /// Runs it to its end; afterwards no code of the handler runs any more.
    pub(super) async fn drive(
        mut self,
        mut typing: Option<AbortOnDropHandle<()>>,
        permit: &mut TurnPermit,
    ) -> Ending {
        let ending = loop {
            match self.step(permit).await {
                Ok(Some(ending)) => break ending,
                Ok(None) => {}
                Err(error) => break self.not_taken(&error),
            }
        };
        typing.take();
        match &ending {
            Ending::Decided => self.linger().await,
            Ending::Failed(_) | Ending::Stopped(_) | Ending::GivenUp => {}
        }
        self.end_handler(&ending).await;
        ending
    }

    async fn step(&mut self, permit: &mut TurnPermit) -> Result<Option<Ending>, StoreError> {
        match self.wake().await {
            Woken::Stop(reason) => Ok(Some(Ending::Stopped(reason))),
            Woken::Timer => self.on_timer().await,
            Woken::Event(Some(event)) => {
                permit.tell(self.output.hub.mono_ms(), Health::Works);
                self.on_event(event).await
            }
            Woken::Event(None) => {
                self.events = None;
                Ok(None)
            }
            Woken::Ended(end) => self.on_end(end).await,
        }
    }

    async fn wake(&mut self) -> Woken {
        let wait_ms = self.next_timer_ms().saturating_sub(self.output.hub.mono_ms()).max(0);
        let stop = self.running.stop().clone();
        let events = &mut self.events;
        tokio::select! { biased;
            reason = stop.stopped() => Woken::Stop(reason),
            event = next_event(events) => Woken::Event(event),
            () = self.output.hub.sleep_ms(wait_ms.unsigned_abs()) => Woken::Timer,
            end = &mut self.handler => Woken::Ended(end),
        }
    }

    fn next_timer_ms(&self) -> i64 {
        let rules = &self.output.hub.rules;
        let deadline_ms = self.began_ms.saturating_add_unsigned(rules.handler_deadline_ms);
        let silence_ms = rules
            .heartbeat_timeout_ms
            .map_or(i64::MAX, |ms| self.alive_at_ms.saturating_add_unsigned(ms));
        self.renew_at_ms.min(deadline_ms).min(silence_ms)
    }

    async fn on_timer(&mut self) -> Result<Option<Ending>, StoreError> {
        let rules = &self.output.hub.rules;
        let now_ms = self.output.hub.mono_ms();
        if now_ms >= self.began_ms.saturating_add_unsigned(rules.handler_deadline_ms) {
            return Ok(Some(Ending::Stopped(StopReason::Deadline)));
        }
        let silent_for = now_ms.abs_diff(self.alive_at_ms);
        if rules.heartbeat_timeout_ms.is_some_and(|most| silent_for >= most) {
            return Ok(Some(Ending::Stopped(StopReason::Silence)));
        }
        if now_ms < self.renew_at_ms {
            return Ok(None);
        }
        self.renew_at_ms = now_ms.saturating_add_unsigned(rules.renew_ms);
        match self.output.renew().await {
            Ok(guarded) => Ok(self.unless_lost(guarded)),
            // Not the handler's fault, and perhaps over before the claim is.
            Err(error) => {
                let soon_ms = (self.output.hub.rules.renew_ms / 10).max(1);
                self.renew_at_ms = now_ms.saturating_add_unsigned(soon_ms);
                tracing::warn!(turn = %self.output.claim.turn, "a claim is not renewed: {error}");
                Ok(None)
            }
        }
    }

    async fn on_event(&mut self, event: HandlerEvent) -> Result<Option<Ending>, StoreError> {
        self.alive_at_ms = self.output.hub.mono_ms();
        match self.protocol.take(event) {
            Step::Alive => Ok(None),
            Step::Say(kind, reply) => {
                let reply = match self.files.take(reply).await {
                    Ok(reply) => reply,
                    Err(failure) => return Ok(Some(Ending::Failed(failure))),
                };
                let guarded = self.output.say(kind, reply).await?;
                Ok(self.unless_lost(guarded))
            }
            Step::Complete(reply) => {
                let reply = match self.files.take(reply).await {
                    Ok(reply) => reply,
                    Err(failure) => return Ok(Some(Ending::Failed(failure))),
                };
                let guarded = self.output.complete(reply).await?;
                Ok(Some(self.unless_lost(guarded).unwrap_or(Ending::Decided)))
            }
            Step::Silent => {
                let guarded = self.output.silence().await?;
                Ok(Some(self.unless_lost(guarded).unwrap_or(Ending::Decided)))
            }
            Step::Failed(failure) => Ok(Some(Ending::Failed(failure))),
            Step::Refused(rule) => {
                self.refuse(rule);
                Ok(None)
            }
        }
    }

    /// What it said before its end still counts.
    async fn on_end(
        &mut self,
        end: Result<HandlerEnd, JoinError>,
    ) -> Result<Option<Ending>, StoreError> {
        let mut rest = VecDeque::new();
        if let Some(events) = &mut self.events {
            while let Ok(event) = events.try_recv() {
                rest.push_back(event);
            }
        }
        self.events = None;
        while let Some(event) = rest.pop_front() {
            if let Some(ending) = self.on_event(event).await? {
                return Ok(Some(ending));
            }
        }
        let end = end.unwrap_or_else(|_| {
            HandlerEnd::Failed(Failure::spent(Failure::BROKEN, "the handler panicked"))
        });
        Ok(Some(match self.protocol.end(end) {
            TryEnd::Decided => Ending::Decided,
            TryEnd::Failed(failure) => Ending::Failed(failure),
            // Stopped by nobody that this host knows of: a fault of the handler's.
            TryEnd::Stopped => match self.running.stop().reason() {
                Some(reason) => Ending::Stopped(reason),
                None => Ending::Failed(Failure::spent(
                    Failure::BROKEN,
                    "the handler says that it was stopped, and nobody stopped it",
                )),
            },
        }))
    }

    /// A claim that was lost: the stop flag may know better why.
    fn unless_lost(&self, guarded: Guarded) -> Option<Ending> {
        match guarded {
            Guarded::Done => None,
            Guarded::Lost => {
                self.output.hub.metrics.claims_lost.up();
                self.running.stop().stop(StopReason::ClaimLost);
                let reason = self.running.stop().reason().unwrap_or(StopReason::ClaimLost);
                Some(Ending::Stopped(reason))
            }
        }
    }

    fn not_taken(&self, error: &StoreError) -> Ending {
        let turn = self.output.claim.turn;
        match error {
            StoreError::NotWritable(_) | StoreError::Busy => {
                tracing::error!(%turn, "given up at the host's end: {error}");
                Ending::GivenUp
            }
            StoreError::Full { .. } | StoreError::Invalid(_) | StoreError::Corrupt(_) => {
                tracing::error!(%turn, "the store refuses what the handler said: {error}");
                Ending::Failed(Failure::spent("not_stored", error.to_string()))
            }
        }
    }

    /// The turn is decided; the handler may tidy up. What it still says is refused.
    async fn linger(&mut self) {
        let env = self.output.hub.env.clone();
        let most = std::time::Duration::from_millis(self.output.hub.rules.handler.linger_ms);
        let stop = self.running.stop().clone();
        let late = async {
            loop {
                let events = &mut self.events;
                let event = tokio::select! { biased;
                    _ = stop.stopped() => return,
                    event = next_event(events) => event,
                    _ = &mut self.handler => return,
                };
                match event {
                    Some(event) => {
                        if let Step::Refused(rule) = self.protocol.take(event) {
                            let turn = self.output.claim.turn;
                            self.output.hub.metrics.late_events_refused.up();
                            tracing::info!(%turn, "an event of the handler is {rule}");
                        }
                    }
                    None => self.events = None,
                }
            }
        };
        // What it does not use of its time is given back; what it wants beyond it is not given.
        let _ = env.timeout(most, late).await;
    }

    fn refuse(&self, rule: &str) {
        self.output.hub.metrics.late_events_refused.up();
        tracing::info!(turn = %self.output.claim.turn, "an event of the handler is {rule}");
    }

    /// Tells the handler to stop, waits a moment, then drops its future; and waits until it is gone,
    /// so that no two tries of a turn overlap.
    async fn end_handler(mut self, ending: &Ending) {
        if self.handler.is_finished() {
            return;
        }
        let reason = match ending {
            Ending::Stopped(reason) => *reason,
            // Its answer is in, or it failed: whatever it still does, nobody waits for it.
            Ending::Decided | Ending::Failed(_) | Ending::GivenUp => StopReason::Superseded,
        };
        self.running.stop().stop(reason);
        // A handler that waits to be heard is not heard any more.
        self.events = None;
        let env = self.output.hub.env.clone();
        let most = std::time::Duration::from_millis(HANDLER_STOP_MS);
        if env.timeout(most, &mut self.handler).await.is_ok() {
            return;
        }
        self.handler.abort();
        if env.timeout(most, &mut self.handler).await.is_err() {
            tracing::error!(
                turn = %self.output.claim.turn,
                "the handler blocks its thread and cannot be ended; it runs on without a claim"
            );
        }
    }
}

/// The next event; for ever where no sender is left, since then only the end can come.
async fn next_event(events: &mut Option<mpsc::Receiver<HandlerEvent>>) -> Option<HandlerEvent> {
    match events {
        Some(events) => events.recv().await,
        None => std::future::pending().await,
    }
}
