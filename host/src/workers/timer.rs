//! The timer: waits for the next turn that is due later and puts it in line when its time comes.
//! It looks when a hint comes or when something falls due, and never spins; while nothing is due it
//! writes nothing.

use std::sync::Arc;

use super::hub::{Hub, Wait, wrong_answer};
use super::look::Look;
use super::rules::FALL_TOGETHER;
use super::sweeps;
use crate::store::{Answer, Command, Fell, Query, StoreError};

/// Runs until the host stops.
pub(super) async fn run(hub: Arc<Hub>) {
    let mut look = Look::default();
    while hub.shutdown.is_running() {
        let go_on = match run_once(&hub, &mut look).await {
            Wait::Now | Wait::Free => true,
            Wait::For(ms) => hub.wait(ms, &hub.timer_hint).await,
        };
        if !go_on {
            return;
        }
    }
}

/// Puts in line what is due, or says how long to wait.
pub(super) async fn run_once(hub: &Arc<Hub>, look: &mut Look) -> Wait {
    match look.before(hub, Query::NextFall).await {
        Ok(None) => {}
        Ok(Some(wait_ms)) => return Wait::For(wait_ms),
        Err(error) => return look.failed("looking for what is due", &error),
    }
    // A clock that jumped may be set right again: nothing falls due by it before ages are applied.
    if !sweeps::clock_is_trusted(hub).await {
        return Wait::For(hub.rules.sweep_ms);
    }
    match fall_due(hub).await {
        Ok(Fell { turns: 0, .. }) => look.nothing(),
        Ok(Fell { turns, more }) => {
            tracing::debug!(turns, "turns fell due");
            look.nothing();
            hub.wake_turns();
            if more { Wait::Now } else { Wait::For(0) }
        }
        Err(error) => look.failed("putting due turns in line", &error),
    }
}

async fn fall_due(hub: &Hub) -> Result<Fell, StoreError> {
    match hub.store.run(Command::FallDue { rows_max: FALL_TOGETHER }).await? {
        Answer::Fell(fell) => Ok(fell),
        _ => Err(wrong_answer("fall due")),
    }
}
