//! The host's HTTP side: webhooks of platforms under `/hooks`, the API of operators under `/v1`,
//! and the probes `/healthz`, `/readyz` and `/metrics`.
//!
//! It knows no engine, no SQL and no worker. Adapters come in as [`Hook`]s, everything behind as one
//! [`Desk`]; `runtime` fills both. A request is recorded and answered, never acted on in here
//! (do not act inside the event).
//!
//! **The order that promise 1 hangs on**: the guest's `handle` runs, its events are committed, and
//! only then its reply goes out. Whatever fails before that answers 503, so that the platform sends
//! the message again; deduplication makes that harmless.
//!
//! **A peer that goes away** drops the future of its request. What must not be left half done
//! (accepting, and every command of the API) runs on a task of its own.

mod answer;
mod api;
mod auth;
mod body;
mod hooks;
mod limits;
mod lists;
mod metrics;
mod ports;
mod probe;
mod reply;
mod server;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use axum::Router;
use tokio::sync::Semaphore;

use crate::env::Env;
use crate::lifecycle::id::ChannelName;

pub use auth::ApiToken;
pub use limits::IngressLimits;
pub use metrics::IngressMetrics;
pub use ports::{Desk, Door, Hook, RefusedChannel, StoreHealth};
pub use server::{Server, bind};

/// Whether requests that change something are served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Recovery is not done: nothing is taken in.
    Starting,
    /// All is served.
    Open,
    /// A planned stop: nothing more is taken in.
    Stopping,
}

/// Everything that a request needs. Cheap to clone.
#[derive(Clone)]
pub struct Ingress(Arc<Inner>);

struct Inner {
    env: Env,
    limits: IngressLimits,
    desk: Arc<dyn Desk>,
    token: ApiToken,
    metrics: IngressMetrics,
    phase: AtomicU8,
    /// Replaced whole, so that no request holds a lock across a call.
    doors: RwLock<Arc<BTreeMap<ChannelName, Door>>>,
    /// What bodies that are being held may take together, in blocks.
    body_memory: Arc<Semaphore>,
}

impl Ingress {
    /// Serves nothing but probes until [`Ingress::set_phase`] opens it.
    #[must_use]
    pub fn new(
        env: Env,
        limits: IngressLimits,
        desk: Arc<dyn Desk>,
        token: ApiToken,
        metrics: IngressMetrics,
    ) -> Self {
        let body_memory = Arc::new(Semaphore::new(body::blocks(limits.body_memory_bytes_max)));
        Self(Arc::new(Inner {
            env,
            limits,
            desk,
            token,
            metrics,
            phase: AtomicU8::new(Phase::Starting as u8),
            doors: RwLock::default(),
            body_memory,
        }))
    }

    /// Which channels there are, and how each is reached.
    pub fn set_doors(&self, doors: BTreeMap<ChannelName, Door>) {
        *self.0.doors.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(doors);
    }

    /// Opens or closes intake.
    pub fn set_phase(&self, phase: Phase) {
        self.0.phase.store(phase as u8, Ordering::Release);
    }

    /// What is served now.
    #[must_use]
    pub fn phase(&self) -> Phase {
        match self.0.phase.load(Ordering::Acquire) {
            0 => Phase::Starting,
            1 => Phase::Open,
            _ => Phase::Stopping,
        }
    }

    fn doors(&self) -> Arc<BTreeMap<ChannelName, Door>> {
        Arc::clone(&self.0.doors.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// All paths of the host.
    pub fn router(&self) -> Router {
        Router::new()
            .merge(probe::routes())
            .merge(api::routes(self))
            // Paths of webhooks are taken as they came, so they are matched by hand.
            .fallback(hooks::handle)
            .method_not_allowed_fallback(answer::wrong_method)
            .with_state(self.clone())
    }
}
