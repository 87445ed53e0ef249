//! What the host holds for one call while it runs: the engine's store is over this, the imports
//! act on it, and when the call is over its facts are read from it. It runs nothing.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngCore as _, SeedableRng as _};
use wasmtime::component::ResourceTable;
use wasmtime::{ResourceLimiter, Result};
use wasmtime_wasi::WasiCtx;

use super::blobs::CallFiles;
use super::bound::Bound;
use super::egress::{Sends, Wire};
use super::limits::CallLimits;
use super::log_sink::LogSink;
use super::state::CallState;
use crate::env::Env;

/// Calls over the cap that are answered with a typed error, before the next one traps.
const OVER_CAP_TYPED_MAX: u32 = 16;

/// The store's data.
pub(super) struct Guest {
    pub(super) standing: Standing,
    pub(super) limits: Arc<CallLimits>,
    pub(super) chance: Chance,
    pub(super) log: LogSink,
    pub(super) wire: Wire,
    pub(super) state: CallState,
    pub(super) files: CallFiles,
    pub(super) meter: Meter,
    pub(super) wasi: WasiCtx,
    pub(super) table: ResourceTable,
    /// When the call is ended, on [`Env::elapsed`]'s clock.
    pub(super) deadline: Duration,
}

/// What the call may ask the host for.
pub(super) enum Standing {
    /// `describe`: before there is a channel. Everything but log, time and chance traps.
    Unbound,
    /// `check`: the channel's settings and secrets, and no network.
    Checking(Arc<Bound>),
    /// Every other call.
    Calling(Arc<Bound>, Sends),
}

impl Guest {
    /// Data for a new store.
    pub(super) fn new(
        standing: Standing,
        limits: Arc<CallLimits>,
        chance: Chance,
        log: LogSink,
        files: CallFiles,
        deadline: Duration,
    ) -> Self {
        let mut table = ResourceTable::new();
        table.set_max_capacity(limits.resource_handles as usize);
        Self {
            standing,
            wasi: super::wasi::context(&chance, &log),
            meter: Meter::new(&limits),
            limits,
            chance,
            log,
            wire: Wire::default(),
            state: CallState::default(),
            files,
            table,
            deadline,
        }
    }

    /// The channel, or a trap that names the import: there is none during `describe`.
    pub(super) fn bound(&self, import: &str) -> Result<&Arc<Bound>> {
        match &self.standing {
            Standing::Unbound => {
                wasmtime::bail!("`describe` called `{import}`: only log and env answer in it")
            }
            Standing::Checking(bound) | Standing::Calling(bound, _) => Ok(bound),
        }
    }

    /// Counts a call of an import that has no error to give: over the cap it traps.
    pub(super) fn count(&mut self) -> Result<()> {
        self.meter.host_calls = self.meter.host_calls.saturating_add(1);
        self.rehearse()?;
        if self.meter.host_calls > self.limits.host_calls {
            wasmtime::bail!("the call made more than {} host calls", self.limits.host_calls);
        }
        Ok(())
    }

    /// Ends the call where a rehearsal wants the host to die.
    fn rehearse(&self) -> Result<()> {
        if let Standing::Calling(bound, _) = &self.standing
            && let Some(rehearsal) = bound.rehearsal
            && rehearsal.ended_at_host_call == Some(self.meter.host_calls)
        {
            wasmtime::bail!(
                "the rehearsal ends the call at its host call {}",
                self.meter.host_calls
            );
        }
        Ok(())
    }

    /// Counts a call of an import that has an error to give: over the cap that one, a few times,
    /// then a trap.
    ///
    /// # Errors
    /// The trap; inside, the sentence for the typed error.
    pub(super) fn count_typed(&mut self) -> Result<std::result::Result<(), String>> {
        let most = self.limits.host_calls;
        self.meter.host_calls = self.meter.host_calls.saturating_add(1);
        self.rehearse()?;
        if self.meter.host_calls > most.saturating_add(OVER_CAP_TYPED_MAX) {
            wasmtime::bail!("the call made more than {most} host calls and did not stop");
        }
        if self.meter.host_calls > most {
            return Ok(Err(format!("a call may make {most} host calls")));
        }
        Ok(Ok(()))
    }
}

/// What a call used, and the caps that the engine itself asks about.
#[derive(Debug)]
pub(super) struct Meter {
    memory_bytes: u64,
    /// What the host keeps for the call until it is over: it counts like the guest's own memory.
    held_bytes: u64,
    memory_bytes_max: u64,
    pub(super) memory_peak_bytes: u64,
    /// The guest was refused memory: told where it then traps.
    pub(super) memory_refused: bool,
    table_elements: u64,
    table_elements_max: u64,
    instances_max: usize,
    pub(super) host_calls: u32,
    pub(super) wasi_calls: u32,
    wasi_calls_max: u32,
}

impl Meter {
    pub(super) fn new(limits: &CallLimits) -> Self {
        Self {
            memory_bytes: 0,
            held_bytes: 0,
            memory_bytes_max: limits.memory_bytes,
            memory_peak_bytes: 0,
            memory_refused: false,
            table_elements: 0,
            table_elements_max: limits.table_elements,
            instances_max: limits.instances as usize,
            host_calls: 0,
            wasi_calls: 0,
            wasi_calls_max: limits.wasi_calls,
        }
    }

    /// Whether the host may keep `bytes` for the call; counted from then on where it may.
    pub(super) fn hold(&mut self, bytes: u64) -> bool {
        let total = self.memory_bytes.saturating_add(bytes);
        if total > self.memory_bytes_max {
            return false;
        }
        self.held_bytes = bytes;
        self.memory_peak_bytes = self.memory_peak_bytes.max(total);
        true
    }

    /// Asked at every epoch: WASI functions give no errors of ours.
    pub(super) fn check(&self) -> Result<()> {
        if self.wasi_calls > self.wasi_calls_max {
            wasmtime::bail!("the call made more than {} calls of WASI", self.wasi_calls_max);
        }
        Ok(())
    }
}

impl ResourceLimiter for Meter {
    fn memory_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> Result<bool> {
        let others = self.memory_bytes.saturating_sub(current as u64);
        let memories = others.saturating_add(desired as u64);
        let total = memories.saturating_add(self.held_bytes);
        if total > self.memory_bytes_max {
            self.memory_refused = true;
            return Ok(false);
        }
        self.memory_bytes = memories;
        self.memory_peak_bytes = self.memory_peak_bytes.max(total);
        Ok(true)
    }

    fn table_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> Result<bool> {
        let others = self.table_elements.saturating_sub(current as u64);
        let total = others.saturating_add(desired as u64);
        if total > self.table_elements_max {
            return Ok(false);
        }
        self.table_elements = total;
        Ok(true)
    }

    fn instances(&self) -> usize {
        self.instances_max
    }

    fn memories(&self) -> usize {
        self.instances_max
    }

    fn tables(&self) -> usize {
        self.instances_max
    }
}

/// Where time and chance come from.
#[derive(Clone)]
pub(super) enum Chance {
    Env(Env),
    /// `describe`, and rehearsals: the same bytes say the same, wherever and whenever they are asked.
    Fixed {
        now_ms: u64,
        rng: Arc<Mutex<StdRng>>,
    },
    /// In a process of its own: a seed and the wall clock's time, as the host gave them with the
    /// call.
    Given {
        rng: Arc<Mutex<StdRng>>,
        wall_ms: u64,
        since: Duration,
        env: Env,
    },
}

/// What the clock says during `describe`: 2025-01-01T00:00:00Z.
const FIXED_NOW_MS: u64 = 1_735_689_600_000;

impl Chance {
    /// The source of `describe`.
    pub(super) fn fixed() -> Self {
        Self::fixed_at(FIXED_NOW_MS)
    }

    /// The source of a rehearsal.
    pub(super) fn fixed_at(now_ms: u64) -> Self {
        let rng = StdRng::seed_from_u64(0x6c61_7374_776f_7264);
        Self::Fixed { now_ms, rng: Arc::new(Mutex::new(rng)) }
    }

    /// The source of a call in a process of its own.
    pub(super) fn given(seed: [u8; 32], wall_ms: u64, env: &Env) -> Self {
        let rng = Arc::new(Mutex::new(StdRng::from_seed(seed)));
        Self::Given { rng, wall_ms, since: env.elapsed(), env: env.clone() }
    }

    pub(super) fn now_ms(&self) -> u64 {
        match self {
            Self::Env(env) => u64::try_from(env.now().wall_ms).unwrap_or(0),
            Self::Fixed { now_ms, .. } => *now_ms,
            Self::Given { wall_ms, since, env, .. } => {
                let passed = env.elapsed().saturating_sub(*since).as_millis();
                wall_ms.saturating_add(u64::try_from(passed).unwrap_or(u64::MAX))
            }
        }
    }

    pub(super) fn elapsed(&self) -> Duration {
        match self {
            Self::Env(env) | Self::Given { env, .. } => env.elapsed(),
            Self::Fixed { .. } => Duration::ZERO,
        }
    }

    pub(super) fn fill(&self, bytes: &mut [u8]) {
        match self {
            Self::Env(env) => env.fill(bytes),
            Self::Fixed { rng, .. } | Self::Given { rng, .. } => {
                rng.lock().unwrap_or_else(PoisonError::into_inner).fill_bytes(bytes)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memories_count_together_and_a_refusal_is_remembered() {
        let limits = CallLimits { memory_bytes: 100, ..CallLimits::default() };
        let mut meter = Meter::new(&limits);
        assert!(meter.memory_growing(0, 60, None).unwrap());
        assert!(meter.memory_growing(0, 40, None).unwrap());
        assert!(!meter.memory_refused);
        assert!(!meter.memory_growing(40, 41, None).unwrap());
        assert!(!meter.memory_growing(60, usize::MAX, None).unwrap());
        assert!(meter.memory_refused);
        assert_eq!(meter.memory_peak_bytes, 100);
    }

    #[test]
    fn what_the_host_holds_counts_beside_the_memories() {
        let mut meter = Meter::new(&CallLimits { memory_bytes: 100, ..CallLimits::default() });
        assert!(meter.memory_growing(0, 60, None).unwrap());
        assert!(meter.hold(40) && !meter.hold(41), "a refusal leaves what was held");
        assert!(!meter.memory_growing(60, 61, None).unwrap());
        assert!(meter.hold(30) && meter.memory_growing(60, 70, None).unwrap());
        assert_eq!(meter.memory_peak_bytes, 100);
    }

    #[test]
    fn tables_count_together() {
        let limits = CallLimits { table_elements: 10, ..CallLimits::default() };
        let mut meter = Meter::new(&limits);
        assert!(meter.table_growing(0, 6, None).unwrap());
        assert!(!meter.table_growing(0, 5, None).unwrap());
        assert!(meter.table_growing(6, 10, None).unwrap());
    }

    #[test]
    fn wasi_calls_over_the_cap_trap_at_the_next_epoch() {
        let mut meter = Meter::new(&CallLimits { wasi_calls: 3, ..CallLimits::default() });
        meter.wasi_calls = 3;
        assert!(meter.check().is_ok());
        meter.wasi_calls = 4;
        assert!(meter.check().unwrap_err().to_string().contains("3 calls of WASI"));
    }

    #[test]
    fn chance_before_there_is_a_channel_is_the_same_each_time() {
        let drawn = || {
            let (chance, mut bytes) = (Chance::fixed(), [0; 16]);
            chance.fill(&mut bytes);
            (chance.now_ms(), chance.elapsed(), bytes)
        };
        assert_eq!(drawn(), drawn());
    }
}
