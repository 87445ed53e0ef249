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

mod adapters;
mod answer;
mod api;
mod auth;
mod body;
mod exposition;
mod files;
mod filter;
mod hooks;
mod import;
mod limits;
mod lists;
mod metrics;
mod orders;
mod patient;
mod ports;
mod posting;
mod probe;
mod pull;
mod reply;
mod schedules;
mod server;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use axum::Router;
use tokio::sync::Semaphore;

use crate::env::Env;
use crate::lifecycle::id::ChannelName;

pub use adapters::{AdapterDesk, NotReloaded, ReloadAsk};
use answer::Refused;
pub use auth::ApiToken;
pub use files::FileDesk;
pub use import::IMPORT_ENTRIES_MAX;
pub use limits::IngressLimits;
pub use metrics::IngressMetrics;
pub use ports::{Closed, Desk, Door, Hook, RefusedChannel, StoreHealth};
pub use pull::{PullAsk, PullRefused, PullRefusedKind, PullReply};
pub use server::{BindError, Server, bind};

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

impl Phase {
    /// The word in JSON.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Open => "open",
            Self::Stopping => "stopping",
        }
    }
}

/// Everything that a request needs. Cheap to clone.
#[derive(Clone)]
pub struct Ingress(Arc<Inner>);

struct Inner {
    env: Env,
    limits: IngressLimits,
    token: ApiToken,
    metrics: IngressMetrics,
    /// Set once: when recovery is done and all channels were looked at.
    behind: OnceLock<Behind>,
    stopping: AtomicBool,
    /// What bodies that are being held may take together, in blocks.
    body_memory: Arc<Semaphore>,
}

/// What requests are served with.
struct Behind {
    desk: Arc<dyn Desk>,
    doors: BTreeMap<ChannelName, Door>,
}

impl Ingress {
    /// Serves nothing but probes until [`Ingress::open`].
    #[must_use]
    pub fn new(env: Env, limits: IngressLimits, token: ApiToken, metrics: IngressMetrics) -> Self {
        let body_memory = Arc::new(Semaphore::new(body::blocks(limits.body_memory_bytes_max)));
        let (behind, stopping) = (OnceLock::new(), AtomicBool::new(false));
        Self(Arc::new(Inner { env, limits, token, metrics, behind, stopping, body_memory }))
    }

    /// Opens intake: what is behind, and how each channel is reached. To be called once.
    pub fn open(&self, desk: Arc<dyn Desk>, doors: BTreeMap<ChannelName, Door>) {
        let _ = self.0.behind.set(Behind { desk, doors });
    }

    /// Closes intake: the first step of a planned stop. Reading and aborting go on.
    pub fn close(&self) {
        self.0.stopping.store(true, Ordering::Release);
    }

    /// What is served now.
    #[must_use]
    pub fn phase(&self) -> Phase {
        if self.0.stopping.load(Ordering::Acquire) {
            Phase::Stopping
        } else if self.0.behind.get().is_some() {
            Phase::Open
        } else {
            Phase::Starting
        }
    }

    fn behind(&self) -> Result<&Behind, Refused> {
        self.0.behind.get().ok_or_else(|| {
            let sentence = "the host is starting; send it again in a moment";
            Refused::unavailable("starting", sentence).retry_after(1)
        })
    }

    fn desk(&self) -> Result<&Arc<dyn Desk>, Refused> {
        self.behind().map(|behind| &behind.desk)
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
