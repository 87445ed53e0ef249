//! One host, from the lock to the last connection.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tracing::{info, warn};
use zeroize::Zeroizing;

use super::blob_source::StoredFiles;
use super::channels::{self, LastRun, Sources, Stage};
use super::desk::{HostDesk, Meters};
use super::generations::book::Book;
use super::generations::kept::Kept;
use super::generations::{self, Founded, Generations};
use super::lock::{HostFacts, HostLock};
use super::metrics::{CallMeter, CommitMeter};
use super::state_source::StoredState;
use super::status::HostIdentity;
use super::{RunError, cache_place, handlers, rules, store_path};
use crate::config::Config;
use crate::env::Env;
use crate::files::{Files, KeyFile};
use crate::gate::Gate;
use crate::handler::Handler;
use crate::ingress::{self, ApiToken, Door, Ingress, IngressMetrics, Server};
use crate::lifecycle::id::{BootId, ChannelName};
use crate::sandbox::Engine;
use crate::store::{Command, Store, Watch};
use crate::workers::{Answering, FileMeans, Parts, Stopped, Workers};

/// Bytes of a token that the host makes itself.
const TOKEN_BYTES: usize = 32;
/// For how long an ordered stop waits until the store's log is moved into its file.
const STORE_CLOSES_WITHIN: Duration = Duration::from_secs(5);

/// A host that serves. To be ended by [`Host::stop`]: one that is dropped works on, and so keeps
/// its store until the process ends.
pub struct Host {
    env: Env,
    address: SocketAddr,
    ingress: Ingress,
    server: Server,
    workers: Workers,
    store: Store,
    lock: KeptLock,
}

/// The lock of a host whose workers may still run: given back by name only, else never.
struct KeptLock(Option<HostLock>);

impl KeptLock {
    fn give_back(mut self) {
        drop(self.0.take());
    }
}

impl Drop for KeptLock {
    fn drop(&mut self) {
        std::mem::forget(self.0.take());
    }
}

impl Host {
    /// Starts a host and opens intake.
    ///
    /// # Errors
    /// See [`RunError`]. A channel that cannot serve is no error: it is refused alone.
    pub async fn start(
        config: &Config,
        env: Env,
        handler: Option<Arc<dyn Handler>>,
    ) -> Result<Self, RunError> {
        let began = env.elapsed();
        let answering = match handler {
            Some(handler) => Answering::Handler(handler),
            None => handlers::answering(&env, config)?,
        };
        let token = token(config, &env)?;
        let lock = HostLock::take_soon(&config.data_dir, &env).await?;
        let boot = env.boot_id();
        let mut facts = HostFacts {
            pid: std::process::id(),
            address: String::new(),
            token: token.to_string(),
            boot_id: boot,
        };
        lock.announce(&facts)?;
        let listener = ingress::bind(config.listen).await?;
        let limits = rules::ingress_limits(config);
        let metrics = IngressMetrics::default();
        let api_token = ApiToken::new(&token);
        let ingress = Ingress::new(env.clone(), limits.clone(), api_token, metrics.clone());
        let server = Server::start(env.clone(), listener, ingress.router(), &limits)
            .map_err(|error| RunError::System(format!("the listener has no address: {error}")))?;
        let address = server.address();
        facts.address = format!("http://{address}");
        lock.announce(&facts)?;

        let meters = Meters { calls: CallMeter::new(&env), commits: CommitMeter::default() };
        let (store, files, founded) = open(config, &env, boot, &meters).await?;
        let generations = founded.generations.clone();
        let key = KeyFile::open(&config.data_dir, &env).map_err(|error| {
            RunError::System(format!("`files.key` in data_dir cannot be kept: {error}"))
        })?;
        let file_means = FileMeans { files, key, address: own_address(address) };
        let workers = workers(config, &env, &store, answering, &generations, file_means);
        recover(&workers).await;
        workers.start();
        founded.begin(&workers).await;
        let identity = HostIdentity {
            pid: facts.pid,
            address: facts.address,
            started_at_ms: env.now().wall_ms,
            data_dir: config.data_dir.clone(),
        };
        let desk = HostDesk {
            store: store.clone(),
            workers: workers.clone(),
            generations: generations.clone(),
            metrics,
            identity,
            meters,
            env: env.clone(),
        };
        // Counted once, beside everything else, so that no scrape has to.
        let counting = store.clone();
        env.spawn(async move { counting.depths().await.map(drop) });
        ingress.open(Arc::new(desk), doors(config, &generations, limits.calls_per_channel_max));
        let took_ms = env.elapsed().saturating_sub(began).as_millis();
        info!(%address, took_ms, "ready");
        let lock = KeptLock(Some(lock));
        Ok(Self { env, address, ingress, server, workers, store, lock })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The store, for programs that embed the library and for tests.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The planned stop: intake closes, what runs may finish within `drain`, the rest is given
    /// back.
    pub async fn stop(self) -> Stopped {
        self.stop_or_hurry(std::future::pending()).await
    }

    /// The same; where `hurry` ends first, what runs is told to end then and given back, `drain` or
    /// not.
    pub async fn stop_or_hurry(self, hurry: impl Future<Output = ()> + Send) -> Stopped {
        self.ingress.close();
        let stopped = self.workers.stop_or_hurry(hurry).await;
        self.server.close().await;
        match stopped {
            Stopped::Clean => {
                close(&self.env, self.store).await;
                self.lock.give_back();
                info!("stopped");
            }
            // The lock goes with the process, and with it whatever did not end.
            Stopped::CutOff => {
                warn!("stopped, and some calls did not end; the next start finds their claims");
            }
        }
        stopped
    }
}

/// Nobody asks the store any more: what is in its log goes into its file. That it does not is no
/// failure of the stop.
async fn close(env: &Env, store: Store) {
    let closing = env.spawn_blocking(move || store.close(STORE_CLOSES_WITHIN)).await;
    if !closing.unwrap_or(false) {
        warn!("the store is not closed yet; the next start finds what is in its log");
    }
}

/// The API's token: the operator's, or one of this start.
fn token(config: &Config, env: &Env) -> Result<Zeroizing<String>, RunError> {
    match &config.api_token {
        Some(reference) => {
            let secret = reference
                .resolve()
                .map_err(|error| RunError::Config(format!("[api] token: {error}")))?;
            Ok(Zeroizing::new(secret.expose().to_owned()))
        }
        None => {
            let mut bytes = Zeroizing::new([0; TOKEN_BYTES]);
            env.fill(&mut *bytes);
            Ok(Zeroizing::new(hex::encode(*bytes)))
        }
    }
}

/// The address that a handler on this machine reaches: one that listens everywhere listens here too.
fn own_address(address: SocketAddr) -> String {
    let mut own = address;
    if own.ip().is_unspecified() {
        own.set_ip(match own {
            SocketAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            SocketAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    format!("http://{own}")
}

/// Opens the store and lays out the sandbox side by side, then starts every channel and tells the
/// store what holds.
async fn open(
    config: &Config,
    env: &Env,
    boot: BootId,
    meters: &Meters,
) -> Result<(Store, Files, Founded), RunError> {
    let book = Book::open(env, generations::book_path(config)).map_err(RunError::Config)?;
    let path = store_path(config);
    let opening = env.clone();
    let watch: Arc<dyn Watch> = Arc::new(meters.commits.clone());
    let store = env.spawn_blocking(move || Store::open_watched(&path, &opening, Some(watch)));
    let laying_out = env.clone();
    let engine_config = rules::engine_config(config, Some(cache_place(config)));
    let component_bytes_max = engine_config.component_bytes_max;
    let engine = env.spawn_blocking(move || Engine::new(laying_out, engine_config));
    let (store, engine) = tokio::join!(store, engine);
    let fell = |_| RunError::System("a thread of the start fell".to_owned());
    let store = store.map_err(fell)??;
    let engine = engine.map_err(fell)?.map_err(RunError::Engine)?;
    let quota = rules::file_quota(config);
    let files = Files::new(env.clone(), store.clone(), config.data_dir.clone(), quota);
    files.clear_folders();
    let sources = Sources {
        state: Arc::new(StoredState(store.clone())),
        files: Arc::new(StoredFiles(files.clone())),
    };
    let stage = Stage::new(env, &engine, component_bytes_max, sources);
    let kept = Kept::new(env, &config.data_dir);
    let last = LastRun { book: &book, kept: Some(&kept) };
    let started = channels::start(&stage, config, last).await;
    let meter = &meters.calls;
    let founded = Generations::found(config, &store, stage, meter, (book, kept), started);
    tell_store(config, &store, boot, &founded.generations).await?;
    Ok((store, files, founded))
}

/// A channel that is refused is present and has no rules: its rows wait, neither claimed nor aged.
async fn tell_store(
    config: &Config,
    store: &Store,
    boot: BootId,
    generations: &Generations,
) -> Result<(), RunError> {
    store.run(Command::Rules(rules::host_rules(config, boot))).await?;
    let present = config.channels.keys().cloned().collect();
    store.run(Command::ChannelsPresent(present)).await?;
    store.run(Command::ClearHolds).await?;
    Ok(generations.tell_store().await?)
}

/// Whether a door stands open is said by what serves the channel at that moment.
fn doors(
    config: &Config,
    generations: &Generations,
    calls_max: usize,
) -> BTreeMap<ChannelName, Door> {
    let doors = generations.all().map(|(name, served)| {
        let limits = config.channels.get(name).map_or(&config.limits, |channel| &channel.limits);
        (name.clone(), Door::open(served.clone(), limits.body_bytes, calls_max))
    });
    doors.collect()
}

fn workers(
    config: &Config,
    env: &Env,
    store: &Store,
    answering: Answering,
    generations: &Generations,
    file_means: FileMeans,
) -> Workers {
    let adapters = generations.all().map(|(name, served)| {
        let served: Arc<dyn crate::workers::ports::Adapter> = served.clone();
        (name.clone(), served)
    });
    Workers::new(Parts {
        env: env.clone(),
        store: store.clone(),
        gate: Gate::new(),
        rules: rules::worker_rules(config),
        answering,
        adapters: adapters.collect(),
        file_means,
    })
}

/// Brings order after the last stop. A row that fails is named; the sweeps look again.
async fn recover(workers: &Workers) {
    let report = workers.recover().await;
    if report.failed > 0 {
        warn!(failed = report.failed, "recovery failed for some rows; the sweeps look again");
    }
    if report.changed() > 0 {
        info!(changed = report.changed(), done = ?report.done, "recovered");
    }
}
