//! The only room that asks the system for time, ids and chance, that sleeps and that spawns.
//!
//! Everything else gets an [`Env`]. The real one asks the system; the simulated one takes chance
//! from a seed and its clocks from tokio's paused time, so that a whole host runs under one seed.
//! Wall time may jump; nothing but ages and due times is measured with it. Claims, deadlines and
//! sleeps use the monotonic clock.

#![allow(clippy::disallowed_methods, reason = "this is the room the bans lead to")]

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rand::rngs::StdRng;
use rand::{RngCore, SeedableRng};
use rustix::time::{ClockId, clock_gettime};
use std::sync::Mutex;

use crate::lifecycle::id::{BootId, ClaimToken, ID_PART_MAX};

/// Both clocks at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Now {
    /// Milliseconds since the Unix epoch, UTC. May jump either way.
    pub wall_ms: i64,
    /// Milliseconds since this boot's start. Never goes back.
    pub mono_ms: i64,
}

/// Time, ids, chance, sleeping and spawning. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Env(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    started: tokio::time::Instant,
    wall: Wall,
    chance: Chance,
    blocking: Blocking,
}

/// Where blocking work runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Blocking {
    /// On threads of its own.
    Threads,
    /// In a task like any other, so that the order of everything is the seed's.
    Tasks,
}

#[derive(Debug)]
enum Wall {
    System,
    /// Start and jumps, in milliseconds; what has passed is the paused clock's.
    Simulated {
        start_ms: i64,
        jump_ms: AtomicI64,
    },
}

#[derive(Debug)]
enum Chance {
    System,
    Seeded(Box<Mutex<StdRng>>),
}

/// A deadline passed before the future was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the time ran out")]
pub struct Elapsed;

impl Env {
    /// The system's clocks and chance.
    #[must_use]
    pub fn system() -> Self {
        let started = tokio::time::Instant::now();
        let blocking = Blocking::Threads;
        Self(Arc::new(Inner { started, wall: Wall::System, chance: Chance::System, blocking }))
    }

    /// Chance from `seed`, wall time from `start_ms` plus tokio's (paused) time.
    #[must_use]
    pub fn simulated(seed: u64, start_ms: i64) -> Self {
        Self::seeded(seed, start_ms, Blocking::Threads)
    }

    /// The same without any thread: for a whole host of which nothing is left to the system.
    #[must_use]
    pub fn simulated_alone(seed: u64, start_ms: i64) -> Self {
        Self::seeded(seed, start_ms, Blocking::Tasks)
    }

    fn seeded(seed: u64, start_ms: i64, blocking: Blocking) -> Self {
        let started = tokio::time::Instant::now();
        let wall = Wall::Simulated { start_ms, jump_ms: AtomicI64::new(0) };
        let chance = Chance::Seeded(Box::new(Mutex::new(StdRng::seed_from_u64(seed))));
        Self(Arc::new(Inner { started, wall, chance, blocking }))
    }

    /// Makes the simulated wall clock jump by `ms`, either way. The system's clock is left alone.
    pub fn jump(&self, ms: i64) {
        match &self.0.wall {
            Wall::System => {}
            Wall::Simulated { jump_ms, .. } => {
                jump_ms.fetch_add(ms, Ordering::Relaxed);
            }
        }
    }

    /// Both clocks now.
    #[must_use]
    pub fn now(&self) -> Now {
        let passed = self.0.started.elapsed();
        let mono_ms = i64::try_from(passed.as_millis()).unwrap_or(i64::MAX);
        let wall_ms = match &self.0.wall {
            Wall::System => {
                let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
            }
            Wall::Simulated { start_ms, jump_ms } => {
                start_ms + mono_ms + jump_ms.load(Ordering::Relaxed)
            }
        };
        Now { wall_ms, mono_ms }
    }

    /// Time since this boot's start at full resolution, for measuring.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.0.started.elapsed()
    }

    /// CPU time of the thread that asks, at full resolution. Says something only beside another one
    /// of the same thread.
    #[must_use]
    pub fn thread_cpu(&self) -> Duration {
        match &self.0.wall {
            Wall::System => {
                let spent = clock_gettime(ClockId::ThreadCPUTime);
                // Neither is ever negative.
                let secs = u64::try_from(spent.tv_sec).unwrap_or_default();
                Duration::new(secs, u32::try_from(spent.tv_nsec).unwrap_or_default())
            }
            Wall::Simulated { .. } => self.elapsed(),
        }
    }

    /// Fills `bytes` with chance: the system's, or the seed's.
    pub fn fill(&self, bytes: &mut [u8]) {
        match &self.0.chance {
            Chance::System => {
                if getrandom::fill(bytes).is_err() {
                    // No chance, no ids and no fences: nothing that this host does would hold.
                    panic!("the system gives no random bytes");
                }
            }
            Chance::Seeded(rng) => match rng.lock() {
                Ok(mut rng) => rng.fill_bytes(bytes),
                Err(poisoned) => poisoned.into_inner().fill_bytes(bytes),
            },
        }
    }

    /// 64 random bits.
    #[must_use]
    pub fn random_u64(&self) -> u64 {
        let mut bytes = [0; 8];
        self.fill(&mut bytes);
        u64::from_le_bytes(bytes)
    }

    /// A number in `0.0..1.0`, for jitter.
    #[must_use]
    pub fn jitter(&self) -> f64 {
        // 53 bits are what an f64 holds exactly.
        (self.random_u64() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// The nonce of a new id.
    #[must_use]
    pub fn nonce(&self) -> u64 {
        self.random_u64() & ID_PART_MAX
    }

    /// The fence of a new claim.
    #[must_use]
    pub fn claim_token(&self) -> ClaimToken {
        ClaimToken((self.random_u64() >> 1).cast_signed())
    }

    /// The name of this start.
    #[must_use]
    pub fn boot_id(&self) -> BootId {
        BootId((self.random_u64() >> 1).cast_signed())
    }

    /// Sleeps by the monotonic clock.
    pub async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
    }

    /// Runs `future` for at most `duration`; it is dropped where the time runs out.
    ///
    /// # Errors
    /// [`Elapsed`] when the time ran out first.
    pub async fn timeout<F: Future>(
        &self,
        duration: Duration,
        future: F,
    ) -> Result<F::Output, Elapsed> {
        tokio::time::timeout(duration, future).await.map_err(|_| Elapsed)
    }

    /// Spawns a task on the runtime.
    pub fn spawn<F>(&self, future: F) -> tokio::task::JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        tokio::spawn(future)
    }

    /// Lets other tasks go first.
    pub async fn yield_now(&self) {
        tokio::task::yield_now().await;
    }

    /// Runs blocking work on the runtime's blocking threads.
    pub fn spawn_blocking<F, R>(&self, work: F) -> tokio::task::JoinHandle<R>
    where
        F: FnOnce() -> R + Send + 'static,
        R: Send + 'static,
    {
        match self.0.blocking {
            Blocking::Threads => tokio::task::spawn_blocking(work),
            Blocking::Tasks => tokio::spawn(async move { work() }),
        }
    }

    /// Starts a named thread of the system.
    ///
    /// # Errors
    /// The system's, where it gives no thread.
    pub fn thread<F>(&self, name: &str, work: F) -> std::io::Result<std::thread::JoinHandle<()>>
    where
        F: FnOnce() + Send + 'static,
    {
        std::thread::Builder::new().name(name.to_owned()).spawn(work)
    }
}

/// Makes SIGTERM and SIGINT of no effect on this process: for children of a host that end with it
/// and by its order. A service manager tells all processes of a service at once, and a child that
/// obeyed would take its work from under a host that still lets it finish. A handler that does
/// nothing, for a signal that is ignored stays ignored in the programs that the child starts.
///
/// # Errors
/// The system's, where it takes no handler.
pub fn outlive_stop_signals() -> std::io::Result<()> {
    let nobody_asks = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGTERM, signal_hook::consts::SIGINT] {
        signal_hook::flag::register(signal, Arc::clone(&nobody_asks))?;
    }
    Ok(())
}

/// A variable of the system's environment, for secrets and log filters.
#[must_use]
pub fn variable(name: &str) -> Option<std::ffi::OsString> {
    std::env::var_os(name)
}
