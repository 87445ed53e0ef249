//! Puts the rooms together: starts a host, stops it, and does for a command what needs no host.
//!
//! The only room that knows all others but `cli`. It decides nothing about messages.
//!
//! ```text
//! lock -> bind -> store, rules -> engine, admission -> workers -> recovery -> intake opens -> ready
//!                 (probes and 503 from here on)
//! stop:   intake closes -> workers drain -> connections end -> store, lock
//! ```
//!
//! Recovery runs before intake opens: what the last host left behind is in its place before
//! anything new comes beside it. Platforms hear 503 until then and send again.

mod adapter_desk;
mod attention;
mod backup;
mod blob_source;
mod channels;
mod check;
mod desk;
mod doctor;
mod generations;
mod grant;
mod handlers;
mod host;
mod import;
mod inspect;
mod lock;
mod metrics;
mod offline;
mod pull;
mod rules;
mod signed;
mod state_source;
mod status;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;

use crate::config::Config;
use crate::env::Env;
use crate::handler::Handler;
use crate::sandbox::CachePlace;

pub use crate::ingress::IMPORT_ENTRIES_MAX;
pub use crate::sandbox::{first_line, lines};
pub use attention::needs;
pub use backup::{BackedUp, Restored, back_up, restore};
pub use check::{AgentCheck, ChannelCheck, CheckReport, check};
pub use doctor::{Diagnosis, diagnose};
pub use grant::{Granting, Wishes, channel_of, plan_grant};
pub use host::Host;
pub use import::OfflineImport;
pub use inspect::{inspect, signing};
pub use lock::{HeldByAnother, HostFacts, HostLock, LOCK_FILE, LockError, running_host};
pub use offline::{Absent, Offline};
pub use status::{channel_values, disk_facts};

/// What a start is given beside the config.
pub struct RunOptions {
    pub env: Env,
    /// Called once, when the host is ready.
    pub ready: Box<dyn FnOnce(SocketAddr) + Send>,
    /// Ends when the host is to stop.
    pub shutdown: Pin<Box<dyn Future<Output = ()> + Send>>,
    /// Ends when a host that stops is to wait no longer for what still runs.
    pub hurry: Pin<Box<dyn Future<Output = ()> + Send>>,
    /// Answers turns in place of the handler that the config names: for programs that embed the
    /// library.
    pub handler: Option<Arc<dyn Handler>>,
}

impl RunOptions {
    /// The system's clocks; stops at SIGTERM and SIGINT, and at a second one without waiting.
    ///
    /// # Errors
    /// The system's, where it lets no signal be heard.
    pub fn system(ready: impl FnOnce(SocketAddr) + Send + 'static) -> std::io::Result<Self> {
        Ok(Self {
            env: Env::system(),
            ready: Box::new(ready),
            shutdown: Box::pin(stop_signals(1)?),
            hurry: Box::pin(stop_signals(2)?),
            handler: None,
        })
    }
}

/// Ends at the so many-th SIGTERM or SIGINT; listens from this call on.
///
/// # Errors
/// The system's.
fn stop_signals(count: u32) -> std::io::Result<impl Future<Output = ()> + Send> {
    use tokio::signal::unix::{SignalKind, signal};
    // A limit of file sizes is a full disk, which the host outlives: the write fails instead.
    let too_large = rustix::process::Signal::XFSZ.as_raw();
    let too_large = signal(SignalKind::from_raw(too_large))?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        for _ in 0..count {
            tokio::select! { biased;
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        }
        drop(too_large);
    })
}

/// Runs a host until it is told to stop. It prints nothing and ends no process.
///
/// # Errors
/// [`RunError`] where it could not start, with the exit code that belongs to it.
pub async fn run(config: Config, options: RunOptions) -> Result<(), RunError> {
    let RunOptions { env, ready, mut shutdown, hurry, handler } = options;
    let host = tokio::select! { biased;
        // Told to stop before anything was taken in: what was begun is dropped.
        () = &mut shutdown => return Ok(()),
        host = Host::start(&config, env, handler) => host?,
    };
    ready(host.address());
    shutdown.await;
    tracing::info!("stopping");
    host.stop_or_hurry(hurry).await;
    Ok(())
}

/// Why a host did not start.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// Another host owns the store, or the lock cannot be had.
    #[error(transparent)]
    Lock(#[from] LockError),
    #[error(transparent)]
    Listen(#[from] crate::ingress::BindError),
    #[error(transparent)]
    Store(#[from] crate::store::StoreError),
    #[error("the sandbox cannot be laid out: {0}")]
    Engine(crate::sandbox::Refusal),
    /// The config names what is not there.
    #[error("{0}")]
    Config(String),
    /// What is named is not there.
    #[error("{0}")]
    Nothing(String),
    #[error("{0}")]
    System(String),
}

impl RunError {
    /// 2: wrong config; 3: no such thing; 4: held by another host; 1: the rest.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Lock(LockError::Held(_)) => 4,
            Self::Config(_) => 2,
            Self::Nothing(_) => 3,
            Self::Lock(LockError::Io { .. })
            | Self::Listen(_)
            | Self::Store(_)
            | Self::Engine(_)
            | Self::System(_) => 1,
        }
    }
}

/// Where things stand in the data folder.
#[must_use]
pub fn store_path(config: &Config) -> PathBuf {
    config.data_dir.join("lastword.db")
}

fn cache_place(config: &Config) -> CachePlace {
    CachePlace { dir: config.data_dir.join("cache"), key_file: config.data_dir.join("cache.key") }
}
