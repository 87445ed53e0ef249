//! The deliverers, one per channel: each claims what is due on its channel, as many rows as its
//! permits, its pace and its breaker allow, and starts their calls. One slow channel holds up
//! nobody but itself.

use std::sync::Arc;

use futures_util::future::join_all;

use super::channel::{Blocked, Channel, Ticket};
use super::delivery_run;
use super::hub::{Hub, Wait, wrong_answer};
use super::look::Look;
use super::rules::{CLAIMS_TOGETHER, LOOK_AGAIN_MS};
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

/// Claims what is due and starts its calls, or says what to wait for.
pub(super) async fn run_once(hub: &Arc<Hub>, channel: &Arc<Channel>, look: &mut Look) -> Wait {
    let next = Query::NextDelivery { channel: channel.name.clone() };
    match look.before(hub, next).await {
        Ok(None) => {}
        Ok(Some(wait_ms)) => return Wait::For(wait_ms),
        Err(error) => return look.failed("looking for the next delivery", &error),
    }
    // Everything in hand before the claim: a row that may not go now must not open an attempt.
    let (tickets, blocked) = tickets(hub, channel);
    if tickets.is_empty() {
        return blocked;
    }
    // Together, so that one commit carries them all.
    let claims = tickets.into_iter().map(|ticket| async move {
        let approach = hub.gate.approach();
        (ticket, approach, claim(hub, channel).await)
    });
    // Claims of one look may be spread over commits: what one of them gave is begun, whatever became
    // of another.
    let (mut wait, mut failed) = (Wait::Now, None);
    for (ticket, approach, claimed) in join_all(claims).await {
        match claimed {
            Ok(Some(claimed)) => {
                look.found();
                start(hub, DeliveryStart { claimed, ticket, approach });
            }
            Ok(None) => wait = Wait::For(0),
            Err(error) => failed = failed.or(Some(error)),
        }
    }
    if let Some(error) = failed {
        return look.failed("claiming a delivery", &error);
    }
    if wait == Wait::Now { wait } else { look.nothing() }
}

/// As many as there are, and what to wait for where there is none.
fn tickets(hub: &Hub, channel: &Arc<Channel>) -> (Vec<Ticket>, Wait) {
    let now_ms = hub.mono_ms();
    let mut tickets = Vec::new();
    loop {
        let wait = match channel.ticket(now_ms) {
            Ok(ticket) if tickets.len() + 1 < CLAIMS_TOGETHER => {
                tickets.push(ticket);
                continue;
            }
            Ok(ticket) => {
                tickets.push(ticket);
                Wait::Now
            }
            Err(Blocked::Busy) => Wait::Free,
            Err(Blocked::Until(ms)) => Wait::For(ms.abs_diff(now_ms).min(LOOK_AGAIN_MS)),
            Err(Blocked::Probing) => Wait::For(LOOK_AGAIN_MS),
        };
        return (tickets, wait);
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
