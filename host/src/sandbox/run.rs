//! One call, from permit to facts: a fresh instance, the limits around it, and whatever way it
//! ends, one value that says how. After a trap, a deadline or a cancel the instance is dropped and
//! never entered again. Where it runs, here or in a process of its own, only its [`Ground`] knows.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use wasmtime::component::InstancePre;
use wasmtime::{PoolConcurrencyLimitError, Store, UpdateDeadline};

use super::blobs::CallFiles;
use super::convert_in::Refused;
use super::cpu::Metered;
use super::exports::Exports;
use super::guest::{Chance, Guest, Standing};
use super::jobs::Job;
use super::lanes::{Lane, Lanes};
use super::limits::CallLimits;
use super::log_sink::LogSink;
use super::orders::{Order, Said};
use super::stop::StopSignal;
use super::text::visible;
use super::ticker::Ticker;
use super::wasi::Inside;
use crate::env::Env;
use crate::lifecycle::outcome::{Call, CallEnd, Fault, Ledger, StateWrites, Usage};

/// Bytes of a trap's words.
const TRAP_BYTES_MAX: usize = 2_048;

/// Runs the calls of one engine.
pub(super) struct Runner {
    pub(super) env: Env,
    pub(super) permits: Arc<Semaphore>,
    pub(super) lanes: Lanes,
    pub(super) calls: AtomicU64,
    /// Time and chance before there is a channel.
    pub(super) chance_unbound: fn(&Env) -> Chance,
}

/// What is called.
#[derive(Clone)]
pub(super) struct Callee {
    pub(super) ground: Arc<dyn Ground>,
    pub(super) digest: String,
}

/// Where the code of an adapter runs. What a guest may and what it did is kept with its [`Guest`],
/// which stays in the host; nobody above this seam knows on which ground a call runs.
#[async_trait]
pub(super) trait Ground: Send + Sync {
    /// Makes ready what calls need, so that none of them has to wait for it.
    async fn warm(&self) -> Result<(), Vec<String>> {
        Ok(())
    }

    /// Runs one order in a fresh instance, until its end, its deadline, its budget or the stop. The
    /// lane is that of the channel among all that compute in this process.
    async fn run(&self, guest: Guest, order: (Lane, Order), stop: &mut StopSignal) -> Ran;
}

/// What came of it.
pub(super) struct Ran {
    pub(super) ended: Ended<Said>,
    pub(super) guest: Guest,
    pub(super) cpu: Duration,
}

/// This very process: nothing but the engine stands between the guest and the host.
pub(super) struct Here {
    pub(super) env: Env,
    pub(super) ticker: Arc<Ticker>,
    pub(super) pre: InstancePre<Guest>,
    pub(super) exports: Exports,
}

/// Under which terms.
pub(super) struct Terms {
    pub(super) standing: Standing,
    pub(super) limits: Arc<CallLimits>,
    pub(super) wall_ms: u64,
    /// The channel's own permits.
    pub(super) queue: Option<Arc<Semaphore>>,
    /// Where it takes its turns once it has computed for a while.
    pub(super) lane: Lane,
    pub(super) stop: StopSignal,
    /// The files that the call is given.
    pub(super) files: CallFiles,
}

/// Held while a call runs.
struct Permits {
    _channel: Option<OwnedSemaphorePermit>,
    _engine: OwnedSemaphorePermit,
}

impl Runner {
    /// Runs one call. Dropping the future at any point drops instance and permits.
    pub(super) async fn call<J: Job>(
        &self,
        callee: &Callee,
        terms: Terms,
        job: J,
    ) -> Call<J::Answer> {
        let begun = self.env.elapsed();
        let Terms { standing, limits, wall_ms, queue, lane, mut stop, files } = terms;
        let deadline = begun + Duration::from_millis(wall_ms);
        let permits = match self.permits(queue, deadline, &mut stop).await {
            Ok(permits) => permits,
            Err(end) => return not_run(end, &standing, callee),
        };
        let guest = self.guest(callee, standing, limits, deadline, (job.label(), files));
        let (order, read) = job.split();
        let ran = callee.ground.run(guest, (lane, order), &mut stop).await;
        let Ran { ended, guest, cpu } = ran;
        drop(permits);
        let end = match ended {
            Ended::Returned(said) => match said.and_then(|said| read(said, &guest)) {
                Ok(answer) => CallEnd::Answered(answer),
                Err(error) => end_of(&error, &guest),
            },
            Ended::CpuSpent => CallEnd::CpuSpent,
            Ended::DeadlinePassed => CallEnd::DeadlinePassed,
            Ended::Cancelled => CallEnd::Cancelled,
            Ended::NotRun(fault) => CallEnd::NotCalled(fault),
        };
        let mut call = facts(end, guest, callee);
        call.usage.cpu_ms = millis(cpu);
        call.usage.wall_ms = millis(self.env.elapsed().saturating_sub(begun));
        call
    }

    /// Waits for the channel's permit, then for the engine's, within the call's own time.
    async fn permits<T>(
        &self,
        queue: Option<Arc<Semaphore>>,
        deadline: Duration,
        stop: &mut StopSignal,
    ) -> Result<Permits, CallEnd<T>> {
        if stop.is_stopped() {
            return Err(CallEnd::Cancelled);
        }
        let engine = Arc::clone(&self.permits);
        let both = async move {
            let channel = match queue {
                Some(queue) => Some(queue.acquire_owned().await.ok()?),
                None => None,
            };
            Some(Permits { _channel: channel, _engine: engine.acquire_owned().await.ok()? })
        };
        let left = deadline.saturating_sub(self.env.elapsed());
        let got = tokio::select! {
            biased;
            got = self.env.timeout(left, both) => got,
            () = stop.stopped() => return Err(CallEnd::Cancelled),
        };
        let busy = "every call that may run at once was running, for the whole of this one's time";
        got.ok().flatten().ok_or_else(|| CallEnd::NotCalled(Fault::new("busy", busy)))
    }

    fn guest(
        &self,
        callee: &Callee,
        standing: Standing,
        limits: Arc<CallLimits>,
        deadline: Duration,
        (label, files): (&str, CallFiles),
    ) -> Guest {
        let call = format!("{label} {}", self.calls.fetch_add(1, Ordering::Relaxed));
        let (channel, guard, chance) = match &standing {
            Standing::Unbound => ("", None, (self.chance_unbound)(&self.env)),
            Standing::Checking(bound) | Standing::Calling(bound, _) => {
                let chance = match bound.rehearsal {
                    None => Chance::Env(self.env.clone()),
                    Some(rehearsal) => Chance::fixed_at(rehearsal.now_ms),
                };
                (bound.name.0.as_str(), Some(bound.guard.clone()), chance)
            }
        };
        let log = LogSink::new(channel, &callee.digest, call, guard, &limits);
        Guest::new(standing, limits, chance, log, files, deadline)
    }
}

#[async_trait]
impl Ground for Here {
    async fn run(&self, guest: Guest, (lane, order): (Lane, Order), stop: &mut StopSignal) -> Ran {
        let _running = self.ticker.running();
        let budget = Duration::from_millis(guest.limits.cpu_ms);
        let deadline = guest.deadline;
        let limits = Arc::clone(&guest.limits);
        let mut store = store(self.pre.engine(), guest, &limits);
        let inside = async {
            let instance = self.pre.instantiate_async(&mut store).await?;
            order.run(&mut store, &instance, &self.exports).await
        };
        let mut metered = Metered::new(self.env.clone(), lane, budget, inside);
        let left = deadline.saturating_sub(self.env.elapsed());
        // The call first: what it has to say at the moment of the stop is still heard.
        let ended = tokio::select! {
            biased;
            ended = self.env.timeout(left, &mut metered) => match ended {
                Ok(Some(answer)) => Ended::Returned(answer),
                Ok(None) => Ended::CpuSpent,
                Err(_) => Ended::DeadlinePassed,
            },
            () = stop.stopped() => Ended::Cancelled,
        };
        let cpu = metered.spent();
        drop(metered);
        let guest = store.into_data();
        Ran { ended, guest, cpu }
    }
}

/// How a call left its ground.
pub(super) enum Ended<T> {
    /// By the guest's word, or by a trap.
    Returned(wasmtime::Result<T>),
    CpuSpent,
    DeadlinePassed,
    Cancelled,
    /// Not an instruction ran.
    NotRun(Fault),
}

/// A store for one call, with the caps that the engine keeps.
pub(super) fn store<T: Inside>(
    engine: &wasmtime::Engine,
    data: T,
    limits: &CallLimits,
) -> Store<T> {
    // What the host unpacks of one call is never more than the guest itself may have.
    let lifted = limits.lifted_bytes.min(limits.memory_bytes);
    let mut store = Store::new(engine, data);
    store.limiter(|data| data.meter());
    store.set_hostcall_fuel(usize::try_from(lifted).unwrap_or(usize::MAX));
    store.set_max_component_handles(limits.resource_handles as usize);
    store.set_epoch_deadline(1);
    store.epoch_deadline_callback(|mut context| {
        context.data_mut().meter().check()?;
        Ok(UpdateDeadline::Yield(1))
    });
    store
}

fn not_run<T>(end: CallEnd<T>, standing: &Standing, callee: &Callee) -> Call<T> {
    Call {
        end,
        ledger: Ledger { declares_send: declares_send(standing), ..Ledger::default() },
        state: StateWrites::default(),
        usage: Usage::default(),
        digest: callee.digest.clone(),
    }
}

fn declares_send(standing: &Standing) -> bool {
    match standing {
        Standing::Unbound => false,
        Standing::Checking(bound) | Standing::Calling(bound, _) => bound.declares_send,
    }
}

/// Reads what the call left behind. State is kept only of a call that answered.
fn facts<T>(end: CallEnd<T>, guest: Guest, callee: &Callee) -> Call<T> {
    let state = match &end {
        CallEnd::Answered(_) => guest.state.into_writes(),
        CallEnd::Trapped(_)
        | CallEnd::DeadlinePassed
        | CallEnd::CpuSpent
        | CallEnd::Cancelled
        | CallEnd::NotCalled(_) => StateWrites::default(),
    };
    Call {
        end,
        ledger: guest.wire.ledger(declares_send(&guest.standing)),
        state,
        usage: Usage {
            wall_ms: 0,
            cpu_ms: 0,
            memory_peak_bytes: guest.meter.memory_peak_bytes,
            host_calls: guest.meter.host_calls,
            fetches: guest.wire.fetches,
            denied: guest.wire.denied,
            log_lines_dropped: guest.log.dropped(),
            bytes_out: guest.wire.bytes_out,
            bytes_in: guest.wire.bytes_in,
        },
        digest: callee.digest.clone(),
    }
}

/// A trap with its own words, the guest's last ones, and what the host had refused it.
fn end_of<T>(error: &wasmtime::Error, guest: &Guest) -> CallEnd<T> {
    // One that had asked for something had begun.
    if error.is::<PoolConcurrencyLimitError>() && guest.meter.host_calls == 0 {
        let sentence = "no instance is to be had: the pools are full";
        return CallEnd::NotCalled(Fault::new("busy", sentence));
    }
    let mut words = match error.downcast_ref::<Refused>() {
        Some(refused) => refused.to_string(),
        None => error.root_cause().to_string(),
    };
    if guest.meter.memory_refused {
        words.push_str(&format!(
            "; the host had refused it more than {} bytes of memory",
            guest.limits.memory_bytes
        ));
    }
    if let Some(last) = guest.log.last_words() {
        words.push_str("; its last words: ");
        words.push_str(&last);
    }
    let words = match &guest.standing {
        Standing::Unbound => words,
        Standing::Checking(bound) | Standing::Calling(bound, _) => bound.guard.redact_text(words),
    };
    CallEnd::Trapped(visible(&words, TRAP_BYTES_MAX))
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
