//! The one engine of a host: its configuration, its pools and its linker. Everything that the
//! contract does not need is off, and says why.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use tokio::sync::Semaphore;
use wasmtime::component::{HasSelf, Linker};
use wasmtime::{
    Config, Enabled, InstanceAllocationStrategy, PoolingAllocationConfig, WasmFeatures,
};

use super::bindings::Host_;
use super::cache::Cache;
use super::egress::{Dialer, SystemResolver};
use super::guest::{Chance, Guest};
use super::lanes::Lanes;
use super::limits::EngineConfig;
use super::run::Runner;
use super::spec::Refusal;
use super::ticker::Ticker;
use crate::env::Env;

/// Core instances, memories and tables of one component: linked languages (Python) have dozens of
/// modules, all others a handful.
const CORE_INSTANCES_MAX: u32 = 100;
const MEMORIES_MAX: u32 = 2;
const TABLES_MAX: u32 = 8;
/// Elements of one table: a large interpreter has some ten thousand functions.
const TABLE_ELEMENTS_MAX: usize = 64 << 10;
/// The guest's own stack, and the host's stack that it runs on.
const WASM_STACK_BYTES: usize = 512 << 10;
const ASYNC_STACK_BYTES: usize = 2 << 20;
/// Bytes of a memory that are cleared by hand between calls instead of being given back: what a
/// small guest touches, so that its next call takes no page faults.
const KEEP_RESIDENT_BYTES: usize = 128 << 10;

/// Admits components and runs their calls. Cheap to clone; one per host.
#[derive(Clone)]
pub struct Engine(pub(super) Arc<Inner>);

pub(super) struct Inner {
    pub(super) engine: wasmtime::Engine,
    pub(super) linker: Linker<Guest>,
    pub(super) env: Env,
    pub(super) config: EngineConfig,
    pub(super) cache: Option<Arc<Cache>>,
    /// One compilation at a time: each takes every core that it can.
    pub(super) compiling: Arc<Semaphore>,
    pub(super) runner: Runner,
    pub(super) ticker: Arc<Ticker>,
    pub(super) dialer: Dialer,
}

impl Engine {
    /// An engine with its pools laid out.
    ///
    /// # Errors
    /// A sentence, where the system gives no memory or the cache cannot be kept private.
    pub fn new(env: Env, config: EngineConfig) -> Result<Self, Refusal> {
        Self::with_stage(env, config, None)
    }

    /// An engine whose every connection leads to `stage`, where a test plays the platforms: no name
    /// is looked up, and nothing leaves the machine.
    ///
    /// # Errors
    /// As [`Engine::new`].
    pub fn rehearsing(env: Env, config: EngineConfig, stage: SocketAddr) -> Result<Self, Refusal> {
        Self::with_stage(env, config, Some(stage))
    }

    fn with_stage(
        env: Env,
        config: EngineConfig,
        stage: Option<SocketAddr>,
    ) -> Result<Self, Refusal> {
        let failed = |what: &str, error: &dyn std::fmt::Display| {
            Refusal::one(format!("the sandbox cannot start: {what}: {error}"))
        };
        let engine = wasmtime::Engine::new(&engine_config(&config))
            .map_err(|error| failed("the engine", &format!("{error:#}")))?;
        let linker = linker(&engine).map_err(|error| failed("the linker", &error))?;
        let ticker =
            Ticker::start(&env, engine.clone()).map_err(|error| failed("its ticker", &error))?;
        let cache = match &config.cache {
            Some(place) => Some(Arc::new(Cache::open(place, &env).map_err(Refusal::one)?)),
            None => None,
        };
        let dialer = Dialer::new(env.clone(), Arc::new(SystemResolver)).map_err(Refusal::one)?;
        let dialer = match stage {
            Some(stage) => dialer.staged(stage),
            None => dialer,
        };
        let runner = Runner {
            env: env.clone(),
            permits: Arc::new(Semaphore::new(config.calls_max as usize)),
            lanes: Lanes::new(std::thread::available_parallelism().map_or(1, usize::from)),
            calls: AtomicU64::new(1),
            chance_unbound: |_| Chance::fixed(),
        };
        let (compiling, ticker) = (Arc::new(Semaphore::new(1)), Arc::new(ticker));
        Ok(Self(Arc::new(Inner {
            engine,
            linker,
            env,
            config,
            cache,
            compiling,
            runner,
            ticker,
            dialer,
        })))
    }
}

fn linker(engine: &wasmtime::Engine) -> wasmtime::Result<Linker<Guest>> {
    let mut linker = Linker::new(engine);
    Host_::add_to_linker::<Guest, HasSelf<Guest>>(&mut linker, |guest| guest)?;
    super::wasi::link(&mut linker)?;
    Ok(linker)
}

pub(super) fn engine_config(host: &EngineConfig) -> Config {
    let mut config = code_config();
    config.allocation_strategy(InstanceAllocationStrategy::Pooling(pools(host)));
    config
}

/// All that compiled code depends on, and no pools: those that compile run nothing.
pub(super) fn code_config() -> Config {
    let mut config = Config::new();
    config
        .wasm_component_model(true)
        // A guest in a loop gives way at every tick, and is ended when its budget is spent.
        .epoch_interruption(true)
        .max_wasm_stack(WASM_STACK_BYTES)
        .async_stack_size(ASYNC_STACK_BYTES)
        // Images of memories are mapped, not copied, into fresh instances.
        .memory_init_cow(true)
        // Where a trap happened is told by function names, not by addresses in files.
        .wasm_backtrace_details(wasmtime::WasmBacktraceDetails::Disable)
        // The contract has no async functions, no streams and no tasks; it carries
        // component-model-async, which this build of the engine does not hold in any other part.
        .concurrency_support(false)
        // No guest language that we build for needs them, and the collector is the engine's
        // youngest and largest part.
        .wasm_gc(false)
        .wasm_function_references(false)
        .gc_support(false)
        // Their unwinding shares the collector's machinery; guests abort on panic.
        .wasm_exceptions(false)
        // What they were before they were agreed on; no compiler of today writes them.
        .wasm_features(WasmFeatures::LEGACY_EXCEPTIONS, false)
        // One call is one thread: shared memories would outlive its limits.
        .wasm_threads(false)
        .wasm_shared_everything_threads(false)
        .shared_memory(false)
        // Bounds of 64-bit memories are checked in software, and 64 MiB need no 64 bits.
        .wasm_memory64(false)
        .wasm_component_model_memory64(false)
        // Modules of one component have a memory each and copy through the component model; no
        // compiler gives one module two.
        .wasm_multi_memory(false)
        // Frames that replace each other hide who called from the words of a trap; no language of
        // ours needs them.
        .wasm_tail_call(false)
        // Proposals that no toolchain of the contract emits.
        .wasm_stack_switching(false)
        .wasm_custom_page_sizes(false)
        .wasm_wide_arithmetic(false)
        .wasm_branch_hinting(false)
        .wasm_component_model_gc(false)
        .wasm_component_model_error_context(false)
        .wasm_component_model_map(false)
        .wasm_component_model_fixed_length_lists(false)
        .wasm_component_model_implements(false)
        // Results may differ between processors.
        .wasm_relaxed_simd(false);
    config
}

/// Counted for `calls_max` calls at once: address space is reserved, memory is not.
fn pools(host: &EngineConfig) -> PoolingAllocationConfig {
    let calls = host.calls_max;
    let mut pools = PoolingAllocationConfig::default();
    pools
        .total_component_instances(calls)
        .total_core_instances(calls.saturating_mul(CORE_INSTANCES_MAX))
        .total_memories(calls.saturating_mul(MEMORIES_MAX))
        .total_tables(calls.saturating_mul(TABLES_MAX))
        .total_stacks(calls)
        .max_core_instances_per_component(CORE_INSTANCES_MAX)
        .max_memories_per_component(MEMORIES_MAX)
        .max_tables_per_component(TABLES_MAX)
        .max_tables_per_module(TABLES_MAX)
        .max_memories_per_module(MEMORIES_MAX)
        .table_elements(TABLE_ELEMENTS_MAX)
        .max_memory_size(usize::try_from(host.memory_bytes_max).unwrap_or(usize::MAX))
        .linear_memory_keep_resident(KEEP_RESIDENT_BYTES)
        // Where the kernel can tell which pages a guest has written, only those are put back, and
        // most calls end without a change to the address space.
        .pagemap_scan(Enabled::Auto)
        .table_keep_resident(16 << 10)
        .async_stack_keep_resident(16 << 10)
        .max_unused_warm_slots(32)
        .total_gc_heaps(0);
    pools
}
