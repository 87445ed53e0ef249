//! What the workers obey, in one place; `runtime` makes it of the config.

use super::breaker::BreakerRules;
use crate::handler::{HandlerLimits, LogPayloads, START_MS_MAX};
use crate::store::Lease;

/// Times, counts and limits of the workers. The host's own; those of channels come with them.
#[derive(Debug, Clone)]
pub struct WorkerRules {
    /// How long a claim holds unless it is renewed.
    pub claim_ms: u64,
    /// How often a running turn's claim is renewed: a third of it, so that two may fail.
    pub renew_ms: u64,
    /// The whole of one try.
    pub handler_deadline_ms: u64,
    /// The silence after which a try is lost; none where it is off.
    pub heartbeat_timeout_ms: Option<u64>,
    /// Handlers at once.
    pub handlers: u32,
    pub handler: HandlerLimits,
    /// Whether what messages say may stand in the log.
    pub log_payloads: LogPayloads,
    /// Between two sweeps.
    pub sweep_ms: u64,
    /// How long a row may be overdue before the sweep minds it.
    pub grace_ms: u64,
    /// How long a planned stop lets running calls finish.
    pub drain_ms: u64,
    /// How long a poll may wait at the platform, and how many events it gives.
    pub poll_wait_ms: u32,
    pub poll_events_max: u32,
    pub breaker: BreakerRules,
}

/// What pull workers obey.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PullRules {
    /// A lease whose worker names no length.
    pub lease_ms: u64,
    /// The longest lease that a worker may ask for.
    pub lease_max_ms: u64,
    /// Workers that wait at once.
    pub waiting_max: u32,
}

impl Default for WorkerRules {
    fn default() -> Self {
        Self {
            claim_ms: 60_000,
            renew_ms: 20_000,
            handler_deadline_ms: 600_000,
            heartbeat_timeout_ms: None,
            handlers: 16,
            handler: HandlerLimits::default(),
            log_payloads: LogPayloads::No,
            sweep_ms: 15_000,
            grace_ms: 30_000,
            drain_ms: 20_000,
            poll_wait_ms: 25_000,
            poll_events_max: 100,
            breaker: BreakerRules::default(),
        }
    }
}

impl WorkerRules {
    /// The lease of every claim.
    #[must_use]
    pub fn lease(&self) -> Lease {
        Lease { lease_ms: self.claim_ms }
    }
}

/// A row waits in memory for its conversation's interval at most so long; a longer wait goes back
/// to the store. Far below half of a claim, so that the call still fits.
pub(super) const INTERVAL_WAIT_MS_MAX: u64 = 5_000;
/// Rows of one channel that wait so at once.
pub(super) const INTERVAL_WAITERS_MAX: usize = 64;
/// Past the adapter's own deadline; then the worker gives up the call.
pub(super) const CALL_SLACK_MS: u64 = 5_000;
/// A call begins within the first third of its claim, or not at all: with its deadline, at most half
/// of a claim, and the slack it then ends before the claim does.
pub(super) const CLAIM_LEFT_FOR_CALL: u64 = 3;
/// First and longest wait before a command that the store could not take is tried again.
pub(super) const STORE_RETRY_MS: (u64, u64) = (100, 5_000);
/// A worker looks for itself at least so often, whatever the hints say.
pub(super) const LOOK_AGAIN_MS: u64 = 60_000;
/// Where a row is due and could not be claimed, something holds it back that tells nobody.
pub(super) const NOT_CLAIMABLE_MS: u64 = 1_000;
/// A handler whose start fails has said so by now: half as long again as starts may take.
pub(super) const STARTED_AFTER_MS: u64 = START_MS_MAX + START_MS_MAX / 2;
/// How long a handler that was told to stop has before its future is dropped.
pub(super) const HANDLER_STOP_MS: u64 = 1_000;
/// Beyond a handler's own time to linger: how long the next turn of its conversation waits for it
/// to be gone.
pub(super) const HANDLER_GONE_MS: u64 = 3_000;
/// How long after `drain` the calls that were told to stop have to say what left.
pub(super) const STOP_JOIN_MS: u64 = 5_000;
/// Whoever answers faster is not shown typing.
pub(super) const TYPING_AFTER_MS: u64 = 500;
/// Turns that take their place in line in one transaction.
pub(super) const FALL_TOGETHER: u32 = 200;
/// Claims that one look asks for at once; more would only wait for each other at the writer.
pub(super) const CLAIMS_TOGETHER: usize = 16;
