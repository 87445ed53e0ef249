//! The deliverers, one per channel: each claims what is due on its channel, as many rows as its
//! permits, its pace and its breaker allow, and starts their calls. One slow channel holds up
//! nobody but itself.

use std::sync::Arc;

use super::channel::{Blocked, Channel, Ticket};
use super::delivery_run;
use super::hub::{Hub, Wait, wrong_answer};
use super::look::Look;
use super::rules::LOOK_AGAIN_MS;
use super::shutdown::Phase;
use crate::gate::Approach;
use crate::store::{Answer, ClaimedDelivery, Command, Query, StoreError};

/// A claimed delivery with all that its call needs.
pub(super) struct DeliveryStart {
    pub(super) claimed: Box<ClaimedDelivery>,
    pub(super) ticket: Ticket,
    pub(super) approach: Approach,
}

/// Runs until the host stops.
pub(super) async fn run(hub: Arc<Hub>, channel: Arc<Channel>) {
    let mut look = Look::default();
    while hub.shutdown.is_running() {
        let go_on = match run_once(&hub, &channel, &mut look).await {
            Wait::Now => true,
            Wait::For(ms) => hub.wait(ms, &channel.hint).await,
            Wait::Free => tokio::select! { biased;
                () = hub.shutdown.reached(Phase::Draining) => false,
                () = channel.free() => true,
            },
        };
        if !go_on {
            return;
        }
    }
}

/// Claims one row and starts its call, or says what to wait for.
pub(super) async fn run_once(hub: &Arc<Hub>, channel: &Arc<Channel>, look: &mut Look) -> Wait {
    let next = Query::NextDelivery { channel: channel.name.clone() };
    match look.before(hub, next).await {
        Ok(None) => {}
        Ok(Some(wait_ms)) => return Wait::For(wait_ms),
        Err(error) => return look.failed("looking for the next delivery", &error),
    }
    // Everything in hand before the claim: a row that may not go now must not open an attempt.
    let now_ms = hub.mono_ms();
    let ticket = match channel.ticket(now_ms) {
        Ok(ticket) => ticket,
        Err(Blocked::Busy) => return Wait::Free,
        Err(Blocked::Until(ms)) => return Wait::For(ms.abs_diff(now_ms).min(LOOK_AGAIN_MS)),
        Err(Blocked::Probing) => return Wait::For(LOOK_AGAIN_MS),
    };
    let approach = hub.gate.approach();
    match claim(hub, channel).await {
        Ok(Some(claimed)) => {
            look.found();
            start(hub, DeliveryStart { claimed, ticket, approach });
            Wait::Now
        }
        Ok(None) => look.nothing(),
        Err(error) => look.failed("claiming a delivery", &error),
    }
}

async fn claim(hub: &Hub, channel: &Channel) -> Result<Option<Box<ClaimedDelivery>>, StoreError> {
    let command =
        Command::ClaimDelivery { channel: channel.name.clone(), lease: hub.rules.lease() };
    match hub.store.run(command).await? {
        Answer::ClaimedDelivery(claimed) => Ok(claimed),
        _ => Err(wrong_answer("claim a delivery")),
    }
}

/// Starts a claimed delivery; the one way to an adapter's `send`.
pub(super) fn start(hub: &Arc<Hub>, start: DeliveryStart) {
    let worker = Arc::clone(hub);
    hub.spawn(async move { delivery_run::run(&worker, start).await });
}
