//! The workers: what moves messages from one state to the next.
//!
//! They talk to each other through rows and hints only: a hint says "look now", carries no data and
//! may be lost. They call adapters through [`ports::Adapter`] and agents through
//! [`crate::handler::Handler`], and know no wasm, no SQL and no HTTP.
//!
//! ```text
//! intake ---- accept (and claim) ----> turn_run --- complete (and claim) --> delivery_run
//!   ^  ^                                  ^  ^                                 |    ^
//!   |  `- pollers        dispatcher ------'  `-------- record (and claim) -----'    |
//!   `- ingress                                                       deliverer -----'
//!                        sweeps: claims, ages, due, prune, clock, store
//! ```
//!
//! Each worker is a `run_once` and a loop that only waits.

pub mod breaker;
pub mod channel;
mod deliverer;
mod delivery_run;
pub mod desk;
mod dispatcher;
pub mod hub;
pub mod import;
pub mod intake;
mod look;
pub mod metrics;
pub mod operate;
mod parts;
mod pollers;
pub mod ports;
pub mod post;
pub mod pull;
pub mod pull_report;
mod rate;
mod rooms;
pub mod rules;
pub mod shutdown;
pub mod status;
pub mod sweeps;
mod timer;
pub mod turn_files;
mod turn_keep;
mod turn_output;
mod turn_run;
mod turn_try;
mod typing;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use tokio_util::task::TaskTracker;

use crate::env::Env;
use crate::gate::Gate;
use crate::handler::Handler;
use crate::lifecycle::id::ChannelName;
use crate::store::Store;
use channel::{Channel, Channels};
use desk::TurnDesk;
pub use hub::Hub;
use ports::Adapter;
use rules::{PullRules, STOP_JOIN_MS, WorkerRules};
use shutdown::{Phase, Shutdown};
use status::{Snapshot, Status};
pub use turn_files::FileMeans;

/// What the workers are made of.
pub struct Parts {
    pub env: Env,
    pub store: Store,
    pub gate: Gate,
    pub rules: WorkerRules,
    pub answering: Answering,
    /// All channels, also those that nothing serves yet.
    pub adapters: Vec<(ChannelName, Arc<dyn Adapter>)>,
    pub file_means: FileMeans,
}

/// What answers turns.
pub enum Answering {
    /// The host runs them itself.
    Handler(Arc<dyn Handler>),
    /// Workers fetch them.
    Pull(PullRules),
}

/// The workers of one host.
#[derive(Clone)]
pub struct Workers {
    hub: Arc<Hub>,
}

/// How a planned stop went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stopped {
    /// Everything that ran was brought to an end and written down.
    Clean,
    /// Some calls or handlers did not end; the next start finds their claims.
    CutOff,
}

impl Workers {
    /// Puts them together; nothing runs yet. The store was told its rules and its channels.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        let Parts { env, store, gate, rules, answering, adapters, file_means } = parts;
        let (handler, pull) = match answering {
            Answering::Handler(handler) => (Some(handler), None),
            Answering::Pull(rules) => (None, Some(pull::PullDesk::new(rules))),
        };
        let channels: Channels = adapters
            .into_iter()
            .map(|(name, adapter)| {
                let channel = Channel::new(name.clone(), adapter, rules.breaker);
                (name, Arc::new(channel))
            })
            .collect();
        let hub = Hub {
            desk: Arc::new(TurnDesk::new(rules.handlers)),
            timer_hint: tokio::sync::Notify::new(),
            sweeps: sweeps::Pokes::new(env.now()),
            status: Status::default(),
            metrics: metrics::Metrics::default(),
            shutdown: Shutdown::default(),
            tasks: TaskTracker::new(),
            rooms: rooms::Occupied::default(),
            env,
            store,
            gate,
            rules,
            channels,
            handler,
            pull,
            file_means,
        };
        Self { hub: Arc::new(hub) }
    }

    /// What they share: for intake, operators and status.
    #[must_use]
    pub fn hub(&self) -> &Arc<Hub> {
        &self.hub
    }

    /// Brings order after the last stop, once, before intake opens.
    pub async fn recover(&self) -> sweeps::report::Report {
        sweeps::recover(&self.hub).await
    }

    /// Starts all loops. To be called once, after [`Self::recover`].
    pub fn start(&self) {
        let hub = &self.hub;
        hub.spawn(timer::run(Arc::clone(hub)));
        if hub.pull.is_some() {
            hub.spawn(pull::run(Arc::clone(hub)));
        } else {
            hub.spawn(dispatcher::run(Arc::clone(hub)));
        }
        for channel in hub.channels.values() {
            start_channel(hub, channel);
        }
        for sweep in sweeps::Sweep::ALL {
            hub.spawn(sweeps::drive(Arc::clone(hub), sweep));
        }
    }

    /// A new generation serves the channel: what broke before is forgotten, what waited for it is
    /// looked at, and a poller of the old one goes on with the new one.
    pub fn renewed(&self, name: &ChannelName) {
        let hub = &self.hub;
        let Some(channel) = hub.channels.get(name).filter(|_| hub.shutdown.is_running()) else {
            return;
        };
        if channel.close_breaker() {
            delivery_run::note_breaker(hub, name, None);
        }
        start_channel(hub, channel);
        channel.poll_hint.notify_one();
        channel.wake();
        hub.wake_turns();
    }

    /// A planned stop: nothing new begins, what runs may finish within `drain`, the rest is told to
    /// end and given back uncharged. Intake is closed before this is called.
    pub async fn stop(&self) -> Stopped {
        self.stop_or_hurry(std::future::pending()).await
    }

    /// The same; where `hurry` ends first, `drain` is over then.
    pub async fn stop_or_hurry(&self, hurry: impl Future<Output = ()> + Send) -> Stopped {
        let hub = &self.hub;
        hub.gate.close();
        hub.shutdown.advance(Phase::Draining);
        hub.tasks.close();
        let drain = Duration::from_millis(hub.rules.drain_ms);
        tokio::select! { biased;
            () = hub.tasks.wait() => return Stopped::Clean,
            () = hurry => tracing::info!("told to stop at once"),
            () = hub.env.sleep(drain) => {}
        }
        let told = hub.gate.stop_all();
        tracing::info!(told, "`drain` is over; what still runs is told to end");
        let join = Duration::from_millis(STOP_JOIN_MS);
        let ended = hub.env.timeout(join, hub.tasks.wait()).await;
        hub.shutdown.advance(Phase::Ending);
        match ended {
            Ok(()) => Stopped::Clean,
            Err(_) => Stopped::CutOff,
        }
    }

    /// What they last saw.
    #[must_use]
    pub fn status(&self) -> Snapshot {
        let hub = &self.hub;
        let mut snapshot = hub.status.snapshot();
        let served = hub.channels.values().filter(|channel| channel.adapter().serves());
        let breakers = served.map(|it| (it.name.clone(), it.breaker_state()));
        snapshot.breakers = breakers.collect();
        snapshot.handler_breaker = hub.handler.is_some().then(|| hub.desk.breaker_state());
        snapshot.workers_waiting = hub.pull.as_ref().map(pull::PullDesk::waiting);
        snapshot
    }
}

/// Starts the loops of a channel that serves, each once.
fn start_channel(hub: &Arc<Hub>, channel: &Arc<Channel>) {
    if !channel.adapter().serves() {
        return;
    }
    if channel.begin_delivering() {
        hub.spawn(deliverer::run(Arc::clone(hub), Arc::clone(channel)));
    }
    if channel.facts().offers.poll {
        hub.spawn(pollers::run(Arc::clone(hub), Arc::clone(channel)));
    }
}
