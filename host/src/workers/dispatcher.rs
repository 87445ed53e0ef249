//! The dispatcher: claims turns that are due, as many as there are handlers, and starts them. It
//! looks when a hint comes or when something falls due, and never spins.

use std::sync::Arc;

use super::channel::Blocked;
use super::hub::{Hub, Wait, wrong_answer};
use super::look::Look;
use super::turn_run::{self, TurnStart};
use crate::lifecycle::turn::Loss;
use crate::store::{ClaimedTurn, Command, Query, StoreError};

/// Runs until the host stops.
pub(super) async fn run(hub: Arc<Hub>) {
    let mut look = Look::default();
    while hub.shutdown.is_running() {
        let go_on = match run_once(&hub, &mut look).await {
            Wait::Now => true,
            Wait::For(ms) => hub.wait(ms, &hub.desk.hint).await,
            Wait::Free => tokio::select! { biased;
                () = hub.shutdown.reached(super::shutdown::Phase::Draining) => false,
                () = hub.desk.free() => true,
            },
        };
        if !go_on {
            return;
        }
    }
}

/// Claims one turn and starts it, or says what to wait for.
pub(super) async fn run_once(hub: &Arc<Hub>, look: &mut Look) -> Wait {
    match look.before(hub, Query::NextTurn).await {
        Ok(None) => {}
        Ok(Some(wait_ms)) => return Wait::For(wait_ms),
        Err(error) => return look.failed("looking for the next turn", &error),
    }
    let now_ms = hub.mono_ms();
    let permit = match hub.desk.permit(now_ms) {
        Ok(permit) => permit,
        Err(Blocked::Busy) => return Wait::Free,
        Err(Blocked::Until(ms)) => return Wait::For(ms.abs_diff(now_ms)),
        Err(Blocked::Probing) => return Wait::For(super::rules::LOOK_AGAIN_MS),
    };
    let approach = hub.gate.approach();
    match claim(hub).await {
        Ok(Some(claimed)) => {
            look.found();
            start(hub, TurnStart { claimed, permit, approach });
            Wait::Now
        }
        Ok(None) => look.nothing(),
        Err(error) => look.failed("claiming a turn", &error),
    }
}

async fn claim(hub: &Hub) -> Result<Option<Box<ClaimedTurn>>, StoreError> {
    match hub.store.run(Command::ClaimTurn { lease: hub.rules.lease() }).await? {
        crate::store::Answer::ClaimedTurn(claimed) => Ok(claimed),
        _ => Err(wrong_answer("claim a turn")),
    }
}

/// Starts a claimed turn; the one way to a handler, for the dispatcher and for folded claims.
pub(super) fn start(hub: &Arc<Hub>, mut start: TurnStart) {
    let alone = !start.claimed.suspect || start.permit.mark_suspect();
    let worker = Arc::clone(hub);
    hub.spawn(async move {
        if alone {
            turn_run::run(&worker, start).await;
        } else {
            // Two suspects at once would blame each other for a dead host.
            let loss = Loss::PlannedStop;
            turn_run::lose(&worker, start.claimed.claim, loss).await;
        }
    });
}
