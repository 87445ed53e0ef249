//! A host in process: the real store with its threads, the real workers, the `echo` handler, and
//! an adapter that takes everything at once. What is measured is the host alone.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use lastword::env::Env;
use lastword::gate::{Gate, StopHandle, StopReason};
use lastword::handler::{Echo, Handler, HandlerDocument, HandlerEnd, HandlerEvent};
use lastword::lifecycle::message::{DeliveryKind, InboundEvent, OutboundMessage, Place};
use lastword::lifecycle::outcome::{
    Call, CallEnd, CallError, Lookup, Receipt, SendAnswer, StateWrites, Usage,
};
use lastword::store::{Answer, Command, HostRules, Store, SweepStep};
use lastword::workers::intake::{self, Batch};
use lastword::workers::ports::{Activity, Adapter, AdapterFacts, PollError};
use lastword::workers::rules::WorkerRules;
use lastword::workers::{Answering, FileMeans, Parts, Workers};
use tokio::sync::{Semaphore, mpsc};

use super::load::{self, DIGEST, TEXT_BYTES};
use super::yard::ledger;

/// Handlers, calls of the channel and messages under way.
pub const ABREAST: usize = 64;

/// Takes every message as soon as it is called.
#[derive(Debug, Default)]
pub struct Taker;

fn call<T>(end: CallEnd<T>) -> Call<T> {
    let (state, usage) = (StateWrites::default(), Usage::default());
    Call { end, ledger: ledger(), state, usage, digest: DIGEST.to_owned() }
}

#[async_trait]
impl Adapter for Taker {
    fn facts(&self) -> AdapterFacts {
        AdapterFacts {
            calls_at_once: ABREAST as u32,
            call_ms: 30_000,
            digest: DIGEST.to_owned(),
            ..AdapterFacts::default()
        }
    }

    async fn send(
        &self,
        _kind: DeliveryKind,
        message: OutboundMessage,
        _stop: StopHandle,
    ) -> Call<SendAnswer> {
        let platform_id = message.delivery_id.to_string();
        call(CallEnd::Answered(Ok(Receipt { platform_id, ..Receipt::default() })))
    }

    async fn find(
        &self,
        _message: OutboundMessage,
        _since_ms: u64,
        _stop: StopHandle,
    ) -> Call<Result<Lookup, CallError>> {
        call(CallEnd::Answered(Err(CallError::Unsupported)))
    }

    async fn poll(
        &self,
        _cursor: Option<String>,
        _wait_ms: u32,
        _most: u32,
        _stop: StopHandle,
    ) -> Call<Result<lastword::workers::ports::Batch, PollError>> {
        call(CallEnd::Answered(Err(PollError::Failed(CallError::Unsupported))))
    }

    async fn indicate(
        &self,
        _place: Place,
        _activity: Activity,
        _stop: StopHandle,
    ) -> Call<Result<Option<u32>, CallError>> {
        call(CallEnd::Answered(Err(CallError::Unsupported)))
    }
}

/// Never answers: with it, and one permit, what comes in is accepted and nothing more.
struct Mute;

#[async_trait]
impl Handler for Mute {
    async fn answer(
        &self,
        _document: HandlerDocument,
        _events: mpsc::Sender<HandlerEvent>,
        stop: StopHandle,
    ) -> HandlerEnd {
        stop.stopped().await;
        HandlerEnd::Stopped
    }
}

/// A permit for each turn that the host said has ended, from whichever host runs in this process.
fn ended() -> &'static Semaphore {
    static ENDED: OnceLock<Semaphore> = OnceLock::new();
    ENDED.get_or_init(|| {
        // Refused only where somebody else listens, and then nothing would ever be heard.
        tracing::subscriber::set_global_default(Ear).expect("the bench alone listens");
        Semaphore::new(0)
    })
}

/// Hears the event that the host gives at the end of a turn, and nothing else but its warnings.
struct Ear;

impl Ear {
    fn is_end(of: &tracing::Metadata<'_>) -> bool {
        let has = |name| of.fields().field(name).is_some();
        of.target() == "lastword::workers::hub" && has("turn") && has("state")
    }
}

impl tracing::Subscriber for Ear {
    fn register_callsite(
        &self,
        of: &'static tracing::Metadata<'static>,
    ) -> tracing::subscriber::Interest {
        if self.enabled(of) {
            tracing::subscriber::Interest::always()
        } else {
            tracing::subscriber::Interest::never()
        }
    }

    fn enabled(&self, of: &tracing::Metadata<'_>) -> bool {
        Self::is_end(of) || *of.level() <= tracing::Level::WARN
    }

    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}

    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        if Self::is_end(event.metadata()) {
            ended().add_permits(1);
        } else {
            eprintln!("{event:?}");
        }
    }

    fn enter(&self, _: &tracing::span::Id) {}

    fn exit(&self, _: &tracing::span::Id) {}
}

/// What a stretch of whole turns gave.
#[derive(Debug, Clone, Copy)]
pub struct Turns {
    pub per_second: f64,
    pub syncs_per_turn: f64,
}

/// As the retention sweep does it.
const PRUNE_ROWS: u32 = 200;
const PRUNE_PAUSE: Duration = Duration::from_millis(200);

/// Rows that have ended, being taken away.
pub struct Pruning {
    task: tokio::task::JoinHandle<u64>,
    stop: StopHandle,
}

impl Pruning {
    /// Ends it; says how many rows went.
    pub async fn stop(self) -> u64 {
        self.stop.stop(StopReason::PlannedStop);
        self.task.await.unwrap()
    }
}

/// A host that runs in this process.
pub struct Inside {
    store: Store,
    workers: Workers,
    series: &'static str,
    number: AtomicU64,
}

impl Inside {
    /// Starts on the store of that name in `folder`; made where it is missing.
    pub async fn start(folder: &Path, series: &'static str) -> Self {
        ended();
        let inside = Self::idle(folder, series, Arc::new(Echo), ABREAST as u32).await;
        inside.workers.recover().await;
        inside.workers.start();
        inside
    }

    /// One that accepts and runs nothing.
    pub async fn accepting(folder: &Path, series: &'static str) -> Self {
        ended();
        let inside = Self::idle(folder, series, Arc::new(Mute), 1).await;
        // It takes the one permit for good.
        inside.accept().await;
        inside
    }

    async fn idle(
        folder: &Path,
        series: &'static str,
        handler: Arc<dyn Handler>,
        handlers: u32,
    ) -> Self {
        let env = Env::system();
        let path = folder.join(format!("{series}.db"));
        let opening = env.clone();
        let store = tokio::task::spawn_blocking(move || Store::open(&path, &opening).unwrap());
        let store = store.await.unwrap();
        for command in load::introduction(&env) {
            store.run(command).await.unwrap();
        }
        let rules = WorkerRules { handlers, drain_ms: 1_000, ..WorkerRules::default() };
        let adapter: Arc<dyn Adapter> = Arc::new(Taker);
        let file_means = FileMeans::local(&env, &store, folder);
        let workers = Workers::new(Parts {
            file_means,
            env,
            store: store.clone(),
            gate: Gate::new(),
            rules,
            answering: Answering::Handler(handler),
            adapters: vec![(load::channel(), adapter)],
        });
        // Another host on the same file must not repeat the ids of the last one.
        let number = AtomicU64::new(Env::system().random_u64() >> 24 << 20);
        Self { store, workers, series, number }
    }

    /// One message through the real intake, until it is on disk.
    pub async fn accept(&self) {
        let number = self.number.fetch_add(1, Ordering::Relaxed);
        let message = load::message(self.series, number, TEXT_BYTES);
        let batch = Batch { events: vec![InboundEvent::Message(message)], ..Batch::default() };
        intake::accept(self.workers.hub(), &load::channel(), batch).await.unwrap();
    }

    /// Accepts per second of so many callers, each of which waits for its answer; and how long
    /// each waited.
    pub async fn accepts(self: &Arc<Self>, callers: usize, span: Duration) -> (f64, Vec<f64>) {
        let began = Instant::now();
        let callers: Vec<_> = (0..callers)
            .map(|_| {
                let inside = Arc::clone(self);
                tokio::spawn(async move {
                    let mut each_ms = Vec::new();
                    while began.elapsed() < span {
                        let asked = Instant::now();
                        inside.accept().await;
                        each_ms.push(asked.elapsed().as_secs_f64() * 1e3);
                    }
                    each_ms
                })
            })
            .collect();
        let mut all = Vec::new();
        for caller in callers {
            all.extend(caller.await.unwrap());
        }
        (all.len() as f64 / began.elapsed().as_secs_f64(), all)
    }

    /// Whole turns: as many under way as told, a new message for each turn that ended.
    pub async fn turns(self: &Arc<Self>, abreast: usize, span: Duration) -> Turns {
        let ended = ended();
        let commits = self.commits();
        let began = Instant::now();
        let mut begun = 0;
        for _ in 0..abreast {
            self.begin();
            begun += 1;
        }
        while began.elapsed() < span {
            ended.acquire().await.unwrap().forget();
            self.begin();
            begun += 1;
        }
        ended.acquire_many(abreast as u32).await.unwrap().forget();
        Turns {
            per_second: f64::from(begun) / began.elapsed().as_secs_f64(),
            syncs_per_turn: (self.commits() - commits) as f64 / f64::from(begun),
        }
    }

    /// From now on nothing that has ended is kept, and is taken away at the pace of the sweep.
    #[must_use]
    pub fn prune(&self) -> Pruning {
        let (store, stop) = (self.store.clone(), StopHandle::new());
        let stopped = stop.clone();
        let task = tokio::spawn(async move {
            let rules = HostRules { retention_ms: 0, ..load::rules(&Env::system()) };
            store.run(Command::Rules(rules)).await.unwrap();
            let mut rows = 0;
            while stopped.reason().is_none() {
                let step = SweepStep::Prune { rows_max: PRUNE_ROWS };
                match store.run(Command::Sweep(step)).await.unwrap() {
                    Answer::Changed(changed) => rows += changed,
                    other => panic!("{other:?}"),
                }
                tokio::time::sleep(PRUNE_PAUSE).await;
            }
            rows
        });
        Pruning { task, stop }
    }

    fn begin(self: &Arc<Self>) {
        let inside = Arc::clone(self);
        tokio::spawn(async move { inside.accept().await });
    }

    fn commits(&self) -> u64 {
        self.store.stats().core.commits
    }

    /// The planned stop; what ended meanwhile is not counted by the next host.
    pub async fn stop(self: Arc<Self>) {
        self.workers.stop().await;
        while let Ok(permit) = ended().try_acquire() {
            permit.forget();
        }
    }
}
