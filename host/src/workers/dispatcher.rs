//! The dispatcher: claims turns that are due, as many as there are handlers, and starts them. It
//! looks when a hint comes or when something falls due, and never spins.

use std::sync::Arc;

use futures_util::future::join_all;

use super::channel::Blocked;
use super::desk::TurnPermit;
use super::hub::{Hub, Wait, wrong_answer};
use super::look::Look;
use super::rules::{CLAIMS_TOGETHER, LOOK_AGAIN_MS};
use super::turn_run::{self, TurnStart};
use crate::lifecycle::turn::Loss;
use crate::store::{ClaimedTurn, Command, Query, StoreError};

/// How long a turn under which a host died waits for another one to be gone.
const SUSPECT_WAITS_MS: u64 = 1_000;

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

/// Claims what is due and starts it, or says what to wait for.
pub(super) async fn run_once(hub: &Arc<Hub>, look: &mut Look) -> Wait {
    match look.before(hub, Query::NextTurn).await {
        Ok(None) => {}
        Ok(Some(wait_ms)) => return Wait::For(wait_ms),
        Err(error) => return look.failed("looking for the next turn", &error),
    }
    let (permits, blocked) = permits(hub);
    if permits.is_empty() {
        return blocked;
    }
    // Together, so that one commit carries them all.
    let claims = permits.into_iter().map(|permit| async move {
        let approach = hub.gate.approach();
        (permit, approach, claim(hub).await)
    });
    // Claims of one look may be spread over commits: what one of them gave is begun, whatever became
    // of another.
    let (mut wait, mut failed) = (Wait::Now, None);
    for (permit, approach, claimed) in join_all(claims).await {
        match claimed {
            Ok(Some(claimed)) => {
                look.found();
                start(hub, TurnStart { claimed, permit, approach });
            }
            Ok(None) => wait = Wait::For(0),
            Err(error) => failed = failed.or(Some(error)),
        }
    }
    if let Some(error) = failed {
        return look.failed("claiming a turn", &error);
    }
    if wait == Wait::Now { wait } else { look.nothing() }
}

/// As many as there are, and what to wait for where there is none.
fn permits(hub: &Hub) -> (Vec<TurnPermit>, Wait) {
    let now_ms = hub.mono_ms();
    let mut permits = Vec::new();
    loop {
        let wait = match hub.desk.permit(now_ms) {
            Ok(permit) if permits.len() + 1 < CLAIMS_TOGETHER => {
                permits.push(permit);
                continue;
            }
            Ok(permit) => {
                permits.push(permit);
                Wait::Now
            }
            Err(Blocked::Busy) => Wait::Free,
            Err(Blocked::Until(ms)) => Wait::For(ms.abs_diff(now_ms)),
            Err(Blocked::Probing) => Wait::For(LOOK_AGAIN_MS),
        };
        return (permits, wait);
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
    start.permit.wakes_when_dropped();
    let alone = !start.claimed.suspect || start.permit.mark_suspect();
    let worker = Arc::clone(hub);
    hub.spawn(async move {
        if alone {
            turn_run::run(&worker, start).await;
        } else {
            // Two suspects at once would blame each other for a dead host. The row of the other is at
            // rest already where its handler is not yet gone: claimed again at once, this one would
            // go round for as long.
            let loss = Loss::NotStarted {
                code: "suspect_waits".to_owned(),
                sentence: "another turn under which a host died has not ended yet".to_owned(),
                wait_ms: SUSPECT_WAITS_MS,
            };
            turn_run::lose(&worker, start.claimed.claim, loss).await;
        }
    });
}
