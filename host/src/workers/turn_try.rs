//! The life of one try: what its worker waits for, and what each thing that comes means.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinError;
use tokio_util::task::AbortOnDropHandle;

use super::breaker::Health;
use super::desk::TurnPermit;
use super::rules::{HANDLER_STOP_MS, STARTED_AFTER_MS};
use super::turn_files::TryFiles;
use super::turn_keep::Keeper;
use super::turn_output::Output;
use super::turn_run::report_closed;
use crate::gate::{RunningTurn, StopReason};
use crate::handler::{
    Failure, Handler, HandlerDocument, HandlerEnd, HandlerEvent, Protocol, Step, TryEnd,
};
use crate::lifecycle::message::Reply;
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
    /// None once it was joined, for a task is joined once.
    handler: Option<AbortOnDropHandle<HandlerEnd>>,
    files: Arc<TryFiles>,
    keeper: Keeper,
    began_ms: i64,
    /// Told when the handler begins; before, the host fetches the files that it is given.
    begins: Option<oneshot::Receiver<()>>,
    /// The last sign of life. None before the handler began: that silence is the host's.
    alive_at_ms: Option<i64>,
    /// Where others wait to hear whether the handler can be started: how long they do.
    probes_until_ms: Option<i64>,
}

enum Woken {
    Stop(StopReason),
    /// The claim or the deadline is due, whatever waits to be heard.
    Due,
    /// A time has come, and nothing waits to be heard.
    Timer,
    Begins,
    Event(Option<HandlerEvent>),
    Ended(Result<HandlerEnd, JoinError>),
}

impl Try {
    /// Starts the handler.
    pub(super) fn begin(
        output: Output,
        handler: Arc<dyn Handler>,
        running: RunningTurn,
        keeper: Keeper,
        document: HandlerDocument,
        permit: &TurnPermit,
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
        let (begin, begins) = oneshot::channel();
        let task = hub.env.spawn(async move {
            match handing.hand_over(&mut document, handler.files(), &stop).await {
                Ok(()) => {
                    // A worker that is gone stops the handler by other ways.
                    let _ = begin.send(());
                    handler.answer(document, sender, stop).await
                }
                Err(failure) => HandlerEnd::Failed(failure),
            }
        });
        let now_ms = hub.mono_ms();
        let started_ms = now_ms.saturating_add_unsigned(STARTED_AFTER_MS);
        Self {
            protocol: Protocol::new(hub.rules.handler),
            keeper,
            events: Some(events),
            handler: Some(AbortOnDropHandle::new(task)),
            began_ms: now_ms,
            begins: Some(begins),
            alive_at_ms: None,
            probes_until_ms: permit.is_probe().then_some(started_ms),
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
        if let Ending::Stopped(StopReason::Deadline | StopReason::Silence) = ending
            && self.alive_at_ms.is_some()
        {
            // It was at work: what cannot be started says so.
            self.works(permit);
        }
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
            Woken::Due => self.on_due(permit).await,
            Woken::Timer => self.on_timer(permit).await,
            Woken::Begins => {
                self.on_begin(permit);
                Ok(None)
            }
            Woken::Event(Some(event)) => {
                self.works(permit);
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
        let now_ms = self.output.hub.mono_ms();
        let stop = self.running.stop().clone();
        if let Some(reason) = stop.reason() {
            return Woken::Stop(reason);
        }
        // Before what waits to be heard: a handler that is never at a loss for words would hold up
        // its own renewal and its own deadline.
        if now_ms >= self.due_at_ms() {
            return Woken::Due;
        }
        let wait_ms = self.next_timer_ms().saturating_sub(now_ms).max(0);
        let (begins, events) = (&mut self.begins, &mut self.events);
        tokio::select! { biased;
            reason = stop.stopped() => Woken::Stop(reason),
            () = begun(begins) => Woken::Begins,
            event = next_event(events) => Woken::Event(event),
            () = self.output.hub.sleep_ms(wait_ms.unsigned_abs()) => Woken::Timer,
            end = joined(&mut self.handler) => Woken::Ended(end),
        }
    }

    fn deadline_ms(&self) -> i64 {
        self.began_ms.saturating_add_unsigned(self.output.hub.rules.handler_deadline_ms)
    }

    /// When the claim has to be renewed, or the deadline is over.
    fn due_at_ms(&self) -> i64 {
        self.keeper.due_at_ms().min(self.deadline_ms())
    }

    fn silent_at_ms(&self) -> i64 {
        let most_ms = self.output.hub.rules.heartbeat_timeout_ms;
        let silent = self.alive_at_ms.zip(most_ms);
        silent.map_or(i64::MAX, |(since_ms, most)| since_ms.saturating_add_unsigned(most))
    }

    fn next_timer_ms(&self) -> i64 {
        let probes_until_ms = self.probes_until_ms.unwrap_or(i64::MAX);
        self.due_at_ms().min(self.silent_at_ms()).min(probes_until_ms)
    }

    async fn on_timer(&mut self, permit: &mut TurnPermit) -> Result<Option<Ending>, StoreError> {
        let now_ms = self.output.hub.mono_ms();
        if now_ms < self.deadline_ms() && now_ms >= self.silent_at_ms() {
            return Ok(Some(Ending::Stopped(StopReason::Silence)));
        }
        if self.probes_until_ms.is_some_and(|until_ms| now_ms >= until_ms) {
            self.probes_until_ms = None;
            let begun = self.alive_at_ms.is_some();
            let health = if begun { Health::Works } else { Health::Neither };
            report_closed(permit.stop_probing(now_ms, health));
        }
        self.on_due(permit).await
    }

    async fn on_due(&mut self, permit: &mut TurnPermit) -> Result<Option<Ending>, StoreError> {
        if self.output.hub.mono_ms() >= self.deadline_ms() {
            return self.on_deadline(permit).await;
        }
        let guarded = self.keeper.renew_if_due().await;
        Ok(self.unless_lost(guarded))
    }

    /// What it said in time still counts; no more than waits, for it may go on for ever.
    async fn on_deadline(&mut self, permit: &mut TurnPermit) -> Result<Option<Ending>, StoreError> {
        for _ in 0..EVENTS_QUEUED_MAX {
            let next = self.events.as_mut().and_then(|events| events.try_recv().ok());
            let Some(event) = next else { break };
            self.works(permit);
            if let Some(ending) = self.on_event(event).await? {
                return Ok(Some(ending));
            }
        }
        Ok(Some(Ending::Stopped(StopReason::Deadline)))
    }

    fn on_begin(&mut self, permit: &TurnPermit) {
        let now_ms = self.output.hub.mono_ms();
        self.alive_at_ms = Some(now_ms);
        let started_ms = now_ms.saturating_add_unsigned(STARTED_AFTER_MS);
        self.probes_until_ms = permit.is_probe().then_some(started_ms);
    }

    fn works(&self, permit: &mut TurnPermit) {
        report_closed(permit.tell(self.output.hub.mono_ms(), Health::Works));
    }

    async fn on_event(&mut self, event: HandlerEvent) -> Result<Option<Ending>, StoreError> {
        self.alive_at_ms = Some(self.output.hub.mono_ms());
        match self.protocol.take(event) {
            Step::Alive => Ok(None),
            Step::Say(kind, reply) => {
                let reply = match self.take_files(reply).await {
                    Ok(reply) => reply,
                    Err(ending) => return Ok(Some(ending)),
                };
                let guarded = self.output.say(kind, reply).await?;
                Ok(self.unless_lost(guarded))
            }
            Step::Complete(reply) => {
                let reply = match self.take_files(reply).await {
                    Ok(reply) => reply,
                    Err(ending) => return Ok(Some(ending)),
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

    /// Takes the files of a reply into the store. That may take a while, in which the claim is kept,
    /// the deadline holds, and nobody is silent but the host.
    async fn take_files(&mut self, reply: Reply) -> Result<Reply, Ending> {
        let files = Arc::clone(&self.files);
        let taking = files.take(reply);
        tokio::pin!(taking);
        let stop = self.running.stop().clone();
        let taken = loop {
            let wait_ms = self.due_at_ms().saturating_sub(self.output.hub.mono_ms()).max(0);
            tokio::select! { biased;
                reason = stop.stopped() => return Err(Ending::Stopped(reason)),
                taken = &mut taking => break taken,
                () = self.output.hub.sleep_ms(wait_ms.unsigned_abs()) => {}
            }
            if self.output.hub.mono_ms() >= self.deadline_ms() {
                return Err(Ending::Stopped(StopReason::Deadline));
            }
            let guarded = self.keeper.renew_if_due().await;
            if let Some(ending) = self.unless_lost(guarded) {
                return Err(ending);
            }
        };
        self.alive_at_ms = Some(self.output.hub.mono_ms());
        taken.map_err(Ending::Failed)
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
        if self.handler.is_none() {
            return;
        }
        let env = self.output.hub.env.clone();
        let most = std::time::Duration::from_millis(self.output.hub.rules.handler.linger_ms);
        let stop = self.running.stop().clone();
        let late = async {
            loop {
                let events = &mut self.events;
                let event = tokio::select! { biased;
                    _ = stop.stopped() => return,
                    event = next_event(events) => event,
                    _ = joined(&mut self.handler) => return,
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
        let Some(mut handler) = self.handler.take().filter(|it| !it.is_finished()) else {
            return;
        };
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
        if env.timeout(most, &mut handler).await.is_ok() {
            return;
        }
        handler.abort();
        if env.timeout(most, &mut handler).await.is_err() {
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

/// Waits for the handler to begin, once; for ever where it never will.
async fn begun(begins: &mut Option<oneshot::Receiver<()>>) {
    let told = match begins {
        Some(told) => told.await,
        None => return std::future::pending().await,
    };
    *begins = None;
    if told.is_err() {
        std::future::pending().await
    }
}

/// Waits for the handler's end, once; for ever where it is known already.
async fn joined(
    handler: &mut Option<AbortOnDropHandle<HandlerEnd>>,
) -> Result<HandlerEnd, JoinError> {
    let end = match handler {
        Some(running) => running.await,
        None => return std::future::pending().await,
    };
    *handler = None;
    end
}

#[cfg(test)]
mod tests;
