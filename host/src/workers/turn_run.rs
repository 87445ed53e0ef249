//! One try of one turn: the handler runs, its claim is kept, what it says becomes rows, and its end
//! becomes the turn's. The rules of what a handler may say stand in [`crate::handler::Protocol`].

use std::sync::Arc;
use std::time::Duration;

use super::breaker::{Change, Health};
use super::desk::TurnPermit;
use super::hub::Hub;
use super::rooms::{InRoom, Room};
use super::rules::{HANDLER_GONE_MS, STARTED_AFTER_MS};
use super::shutdown::Phase;
use super::turn_keep::Keeper;
use super::turn_output::Output;
use super::turn_try::{Ending, Try};
use crate::gate::{Approach, StopReason};
use crate::handler::{Failure, HandlerDocument, Retry, TurnFacts};
use crate::lifecycle::turn::Loss;
use crate::store::{Answer, ClaimedTurn, Command, Guarded, TurnClaim};

/// A turn that waits after its handler could not be started; nothing is charged meanwhile.
const NOT_STARTED_WAIT_MS: u64 = 5_000;
/// The same where its channel is not served: longer, for only the operator can change that.
const NOT_SERVED_WAIT_MS: u64 = 60_000;
/// From the death of a command by a signal until the host has surely heard of the same signal.
const STOP_MOMENT_MS: u64 = 250;

/// A claimed turn with all that it needs.
pub(super) struct TurnStart {
    pub(super) claimed: Box<ClaimedTurn>,
    pub(super) permit: TurnPermit,
    pub(super) approach: Approach,
}

/// Runs the try to its end.
pub(super) async fn run(hub: &Arc<Hub>, start: TurnStart) {
    let TurnStart { claimed, mut permit, approach } = start;
    let claim = claimed.claim;
    let room = (claimed.channel.clone(), claimed.conversation.clone());
    let mut keeper = Keeper::new(hub, claim);
    let Some(first) = enter(hub, &mut keeper, room.clone(), &mut permit).await else {
        tracing::info!(turn = %claim.turn, "the try was lost before it began");
        return;
    };
    let running = match approach.run(claim.turn, claim.try_number) {
        Ok(running) => running,
        Err(StopReason::PlannedStop) => return lose(hub, claim, Loss::PlannedStop).await,
        Err(reason) => {
            tracing::debug!(turn = %claim.turn, "not run: {reason}");
            return;
        }
    };
    // Passing the gate told an older try of this turn to stop, where one was still there.
    let _alone = match first {
        Some(place) => Some(place),
        None => hub.rooms.enter(&hub.env, room, Duration::from_millis(HANDLER_GONE_MS)).await,
    };
    if let Some(reason) = running.stop().reason() {
        return conclude(hub, claim, permit, Ending::Stopped(reason)).await;
    }
    let Some(handler) = hub.handler.clone() else {
        // Nothing claims for a handler where there is none; a row must not hang on that.
        return lose(hub, claim, Loss::PlannedStop).await;
    };
    let Some(channel) = hub.channel(&claimed.channel).map(Arc::clone) else {
        let sentence = format!(
            "the channel \"{}\" is not served, so that its replies could not be fitted to it; \
             mend or remove it",
            claimed.channel
        );
        let code = "channel_not_served".to_owned();
        let loss = Loss::NotStarted { code, sentence, wait_ms: NOT_SERVED_WAIT_MS };
        return lose(hub, claim, loss).await;
    };
    hub.metrics.tries_started.up();
    tracing::info!(turn = %claim.turn, attempt = claim.try_number, "try began");
    hub.say_payload("message", &claim.turn, &claimed.message.text);
    let typing = super::typing::start(hub, &channel, &claimed);
    let output = Output { hub: Arc::clone(hub), channel, claim };
    let document = document(*claimed);
    let begun = Try::begin(output, handler, running, keeper, document, &permit);
    let ending = begun.drive(typing, &mut permit).await;
    conclude(hub, claim, permit, ending).await;
}

/// Waits for the last handler of the conversation to be gone, and keeps the claim meanwhile; it may
/// linger for as long as the operator lets it. `None` where the claim is lost.
async fn enter(
    hub: &Hub,
    keeper: &mut Keeper,
    room: Room,
    permit: &mut TurnPermit,
) -> Option<Option<InRoom>> {
    let most = Duration::from_millis(hub.rules.handler.linger_ms + HANDLER_GONE_MS);
    let passed_on = async {
        hub.sleep_ms(STARTED_AFTER_MS).await;
        permit.stop_probing(hub.mono_ms(), Health::Neither);
        std::future::pending::<()>().await;
    };
    let entering = async {
        tokio::select! { biased;
            place = hub.rooms.enter(&hub.env, room, most) => place,
            // The gate is closed: it says what becomes of the turn.
            () = hub.shutdown.reached(Phase::Draining) => None,
            () = passed_on => None,
        }
    };
    keeper.beside(entering).await
}

pub(super) fn document(claimed: ClaimedTurn) -> HandlerDocument {
    let turn = TurnFacts {
        id: claimed.claim.turn,
        attempt: claimed.claim.try_number,
        accepted_at_ms: claimed.accepted_at_ms,
    };
    HandlerDocument {
        turn,
        channel: claimed.channel,
        conversation: claimed.conversation,
        message: claimed.message,
        context: claimed.context,
        delivered: claimed.delivered,
        files_dir: None,
        upload_url: None,
    }
}

async fn conclude(hub: &Arc<Hub>, claim: TurnClaim, mut permit: TurnPermit, ending: Ending) {
    let health = match &ending {
        Ending::Failed(Failure { retry: Retry::NotStarted, .. }) => Health::Broke,
        Ending::Failed(_) | Ending::Decided => Health::Works,
        Ending::Stopped(_) | Ending::GivenUp => Health::Neither,
    };
    report_handler(hub, permit.tell(hub.mono_ms(), health), &ending);
    match ending {
        Ending::Decided => hub.metrics.tries_decided.up(),
        Ending::GivenUp => hub.metrics.tries_stopped.up(),
        Ending::Failed(failure) => {
            if failure.retry == Retry::Killed && stop_is_told(hub).await {
                hub.metrics.tries_stopped.up();
                lose(hub, claim, Loss::PlannedStop).await;
            } else {
                if failure.retry != Retry::NotStarted {
                    hub.metrics.tries_failed.up();
                }
                lose(hub, claim, loss(failure)).await;
            }
        }
        Ending::Stopped(StopReason::PlannedStop) => {
            hub.metrics.tries_stopped.up();
            lose(hub, claim, Loss::PlannedStop).await;
        }
        Ending::Stopped(reason @ (StopReason::Deadline | StopReason::Silence)) => {
            hub.metrics.tries_ran_out.up();
            lose(hub, claim, ran_out(reason)).await;
        }
        // The row says so already: an abort, a newer try, a claim that others took.
        Ending::Stopped(
            reason @ (StopReason::Aborted | StopReason::Superseded | StopReason::ClaimLost),
        ) => {
            hub.metrics.tries_stopped.up();
            tracing::info!(turn = %claim.turn, "try ended: {reason}");
        }
    }
    drop(permit);
}

/// Whether a planned stop was told, or is within the moment that a signal to all processes of a
/// service takes to reach this one as well.
async fn stop_is_told(hub: &Hub) -> bool {
    tokio::select! { biased;
        () = hub.shutdown.reached(Phase::Draining) => true,
        () = hub.sleep_ms(STOP_MOMENT_MS) => false,
    }
}

fn report_handler(hub: &Hub, change: Change, ending: &Ending) {
    if let Ending::Failed(Failure { retry: Retry::NotStarted, reason, .. }) = ending {
        hub.metrics.handlers_not_started.up();
        if let Change::Opened { for_ms } = change {
            let sentence = format!("{reason}; turns wait, and one is tried in {for_ms} ms");
            hub.status.event(hub.env.now().wall_ms, Failure::NOT_STARTED, None, sentence);
        }
    }
    report_closed(change);
}

pub(super) fn report_closed(change: Change) {
    if change == Change::Closed {
        tracing::info!("the handler can be started again");
    }
}

pub(super) fn loss(failure: Failure) -> Loss {
    let code = failure.code.to_owned();
    let sentence = failure.reason;
    match failure.retry {
        Retry::Killed => Loss::Handler { code, sentence, retry: true, retry_after_ms: None },
        Retry::Spent { after_ms } => {
            Loss::Handler { code, sentence, retry: true, retry_after_ms: after_ms }
        }
        Retry::Never => Loss::Handler { code, sentence, retry: false, retry_after_ms: None },
        Retry::NotStarted => Loss::NotStarted { code, sentence, wait_ms: NOT_STARTED_WAIT_MS },
    }
}

fn ran_out(reason: StopReason) -> Loss {
    let (code, sentence) = match reason {
        StopReason::Silence => (
            "heartbeat_timeout",
            "the handler gave no sign of life within `heartbeat_timeout` and was ended",
        ),
        StopReason::Deadline
        | StopReason::Aborted
        | StopReason::Superseded
        | StopReason::ClaimLost
        | StopReason::PlannedStop => (
            "handler_deadline",
            "the handler was still at work at `handler_deadline` and was ended",
        ),
    };
    let (code, sentence) = (code.to_owned(), sentence.to_owned());
    Loss::Handler { code, sentence, retry: true, retry_after_ms: None }
}

fn code_of(loss: &Loss) -> &str {
    match loss {
        Loss::Handler { code, .. } | Loss::NotStarted { code, .. } => code,
        Loss::ClaimExpired => "claim_expired",
        Loss::HostLost => "host_lost",
        Loss::PlannedStop => "planned_stop",
    }
}

/// Writes a lost try down; the turn is queued again or ends by the rules of `lifecycle`.
pub(super) async fn lose(hub: &Arc<Hub>, claim: TurnClaim, loss: Loss) {
    let code = code_of(&loss).to_owned();
    match hub.persist(Command::LoseTry { claim, loss }).await {
        Ok(Answer::TurnEnded { guarded: Guarded::Done, end, next: _ }) => {
            tracing::info!(turn = %claim.turn, code, "try lost");
            if let Some(end) = end {
                hub.turn_ended(&end);
            }
        }
        Ok(Answer::TurnEnded { guarded: Guarded::Lost, .. }) => {
            hub.metrics.claims_lost.up();
            tracing::info!(turn = %claim.turn, code, "the try was lost before");
        }
        Ok(_) => tracing::error!("{}", super::hub::wrong_answer("lose a try")),
        Err(error) => tracing::error!(turn = %claim.turn, "a lost try is not written: {error}"),
    }
    hub.wake_turns();
}
