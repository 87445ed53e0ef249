//! An adapter in a process of its own, as the host has it: starts the child, sends it calls,
//! answers what the guest asks, and hears how each call ended. The child's word is taken for
//! nothing but the guest's: counts, quotas, ledger and deadlines are kept here. A child that does
//! not end a call in time, or does not keep to the protocol, is killed; the next call starts another.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::watch;
use tokio::task::AbortHandle;

use super::frame;
use super::line::{Line, Open, Over, PATIENCE, SENTENCE_BYTES_MAX, told};
use super::start::{Helper, Mode};
use super::talk::{End, Given, Load, Loaded, ToChild};
use crate::env::Env;
use crate::lifecycle::outcome::Fault;
use crate::sandbox::cpu::Metered;
use crate::sandbox::faces::Faces;
use crate::sandbox::guard::Guard;
use crate::sandbox::guest::{Chance, Guest};
use crate::sandbox::lanes::Lane;
use crate::sandbox::limits::CallLimits;
use crate::sandbox::orders::{Order, Said};
use crate::sandbox::run::{Ended, Ground, Ran};
use crate::sandbox::stop::StopSignal;
use crate::sandbox::text::visible;

/// How long a child may take to be ready: it loads some megabytes of code.
const READY_WITHIN: Duration = Duration::from_secs(30);
/// A child that lived for so long did not die of its start.
const LONG: Duration = Duration::from_secs(10);
/// The pause before the third start in a row; it doubles.
const PAUSE: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// What a child needs apart from the memories of its calls.
const BASE_BYTES: u64 = 256 << 20;
/// What a call needs apart from its memories: stacks, tables, what it asks and is answered.
const CALL_BYTES: u64 = 8 << 20;
/// Bytes of a message beyond what the host copies out of a guest at most.
const SLACK_BYTES: u64 = 1 << 20;

/// One adapter in a process of its own.
pub(in crate::sandbox) struct Ward {
    keeper: Arc<Keeper>,
    numbers: AtomicU64,
}

/// Starts its children, one after the other, also where the call that needed one waits no more.
struct Keeper {
    env: Env,
    helper: Helper,
    code: Arc<Vec<u8>>,
    load: Load,
    name: String,
    /// Of the channel, where it is bound to one.
    guard: Option<Arc<Guard>>,
    message_bytes_max: u32,
    post: Mutex<Post>,
}

type Started = Result<Arc<Line>, Vec<String>>;

/// Which child runs, and how the ones before it did.
#[derive(Default)]
struct Post {
    line: Option<Arc<Line>>,
    /// The start under way, for all that wait for it.
    starting: Option<(watch::Receiver<Option<Started>>, AbortHandle)>,
    started_at: Duration,
    /// When the next one may be started, on [`Env::elapsed`]'s clock.
    not_before: Duration,
    /// Children in a row that did not live for long.
    short_lives: u32,
}

impl Post {
    /// How long to wait before the next start: an adapter whose process dies at every call must not
    /// keep the machine busy with starting it.
    fn pause(&self) -> Duration {
        let doublings = self.short_lives.saturating_sub(2).min(10);
        if self.short_lives < 2 {
            Duration::ZERO
        } else {
            (PAUSE * (1 << doublings)).min(PAUSE_MAX)
        }
    }

    /// A child lived for so long, and is no more.
    fn note_end(&mut self, lived: Duration, now: Duration) {
        self.short_lives = if lived < LONG { self.short_lives.saturating_add(1) } else { 0 };
        self.not_before = now + self.pause();
    }
}

impl Drop for Ward {
    fn drop(&mut self) {
        if let Some((_, task)) = self.keeper.post().starting.take() {
            task.abort();
        }
    }
}

impl Ward {
    /// Nothing is started yet.
    pub(in crate::sandbox) fn new(
        env: &Env,
        helper: Helper,
        (code, shape): (Arc<Vec<u8>>, [u8; 32]),
        (name, guard): (&str, Option<Arc<Guard>>),
        limits: &CallLimits,
    ) -> Self {
        // Both ways at once, and those that the host has just given up.
        let calls = limits.calls_at_once.saturating_mul(2).saturating_add(2);
        let memory_bytes = limits.memory_bytes;
        let each = memory_bytes.saturating_add(CALL_BYTES);
        let data_bytes = each.saturating_mul(calls.into()).saturating_add(BASE_BYTES);
        let most = limits.lifted_bytes.saturating_add(SLACK_BYTES);
        let host = std::process::id();
        let keeper = Keeper {
            env: env.clone(),
            helper,
            code,
            load: Load { calls, memory_bytes, data_bytes, shape, host },
            name: name.to_owned(),
            guard,
            message_bytes_max: u32::try_from(most).unwrap_or(u32::MAX),
            post: Mutex::default(),
        };
        Self { keeper: Arc::new(keeper), numbers: AtomicU64::new(1) }
    }

    /// What the component imports and exports, as its process found out.
    pub(in crate::sandbox) async fn faces(&self) -> Result<Faces, Vec<String>> {
        Ok(self.keeper.line().await?.faces.clone())
    }
}

impl Keeper {
    fn post(&self) -> MutexGuard<'_, Post> {
        self.post.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The child that runs, or a new one. A start that was begun goes on where nobody waits for it
    /// any more: the pause before it may be longer than a call's time.
    async fn line(self: &Arc<Self>) -> Started {
        let mut started = {
            let mut post = self.post();
            if let Some(line) = post.line.as_ref().filter(|line| !line.is_closed()) {
                return Ok(Arc::clone(line));
            }
            match &post.starting {
                Some((started, _)) => started.clone(),
                None => self.begin(&mut post),
            }
        };
        let ended = started.wait_for(Option::is_some).await;
        let started = ended.ok().and_then(|started| started.clone());
        started
            .unwrap_or_else(|| Err(vec!["its own process was not started: the host ends".into()]))
    }

    fn begin(self: &Arc<Self>, post: &mut Post) -> watch::Receiver<Option<Started>> {
        let now = self.env.elapsed();
        if let Some(old) = post.line.take() {
            post.note_end(now.saturating_sub(post.started_at), now);
            let why = old.over().unwrap_or_else(|| "the adapter's own process ends".to_owned());
            let why = self.redacted(why);
            tracing::warn!(channel = %self.name, "{why}; another is started");
        }
        let pause = post.not_before.saturating_sub(now);
        let (tell, started) = watch::channel(None);
        let keeper = Arc::clone(self);
        let task = self.env.spawn(async move {
            keeper.env.sleep(pause).await;
            let started = keeper.start().await.map(Arc::new);
            keeper.note(&started);
            tell.send_replace(Some(started));
        });
        post.starting = Some((started.clone(), task.abort_handle()));
        started
    }

    fn note(&self, started: &Started) {
        let (mut post, now) = (self.post(), self.env.elapsed());
        post.starting = None;
        match started {
            Ok(line) => {
                post.started_at = now;
                post.line = Some(Arc::clone(line));
            }
            Err(_) => post.note_end(Duration::ZERO, now),
        }
    }

    /// What a child says of itself may be anything.
    fn redacted(&self, text: String) -> String {
        match &self.guard {
            Some(guard) => guard.redact_text(text),
            None => text,
        }
    }

    async fn start(&self) -> Result<Line, Vec<String>> {
        let begun = self.env.elapsed();
        let started = self.helper.start(&self.env, Mode::Serve);
        let (child, mut pipe) = started
            .map_err(|error| vec![format!("its own process could not be started: {error}")])?;
        let loading = async {
            frame::send(&mut pipe, &frame::encode(&self.load)?).await?;
            frame::send(&mut pipe, &self.code).await?;
            let most = self.message_bytes_max;
            frame::decode_weighed(&frame::receive(&mut pipe, most).await?, most)
        };
        let faces = match self.env.timeout(READY_WITHIN, loading).await {
            Ok(Ok(Loaded::Ready(faces))) => faces,
            Ok(Ok(Loaded::Refused(sentences))) => {
                child.end(Duration::ZERO).await;
                let shown = sentences.iter().take(20);
                let shown = shown.map(|text| self.redacted(visible(text, SENTENCE_BYTES_MAX)));
                return Err(shown.collect());
            }
            Ok(Err(error)) => {
                let ended = child.end(PATIENCE).await;
                let why = format!("{}, {error}", told(&ended, "was not ready"));
                return Err(vec![self.redacted(why)]);
            }
            Err(_) => {
                child.end(Duration::ZERO).await;
                let most = READY_WITHIN.as_secs();
                return Err(vec![format!("its own process was not ready within {most} s")]);
            }
        };
        let ms = u64::try_from((self.env.elapsed() - begun).as_millis()).unwrap_or(u64::MAX);
        tracing::debug!(channel = %self.name, ms, "a process of its own is ready");
        Ok(Line::new(&self.env, child, pipe, faces, self.message_bytes_max))
    }
}

#[async_trait]
impl Ground for Ward {
    async fn warm(&self) -> Result<(), Vec<String>> {
        self.keeper.line().await.map(drop)
    }

    async fn run(&self, guest: Guest, (lane, order): (Lane, Order), stop: &mut StopSignal) -> Ran {
        let mut guest = guest;
        let env = &self.keeper.env;
        let left = guest.deadline.saturating_sub(env.elapsed());
        let begun = tokio::select! {
            biased;
            line = env.timeout(left, self.keeper.line()) => line,
            () = stop.stopped() => return ran(Ended::Cancelled, guest),
        };
        let line = match begun {
            Ok(Ok(line)) => line,
            Ok(Err(sentences)) => {
                let fault = Fault::new("no_process", sentences.join("; "));
                return ran(Ended::NotRun(fault), guest);
            }
            Err(_) => return ran(Ended::DeadlinePassed, guest),
        };
        let call = self.numbers.fetch_add(1, Ordering::Relaxed);
        let mut open = Open::new(env, &line, call, &guest.limits);
        let (order, limits) = (Box::new(order), Box::new(CallLimits::clone(&guest.limits)));
        open.tell(&ToChild::Call { call, order, limits, given: given(&guest.chance) });
        let left = guest.deadline.saturating_sub(env.elapsed());
        let budget = Duration::from_millis(guest.limits.cpu_ms);
        // What the host does for the guest is metered as in its own process.
        let mut metered = Metered::new(env.clone(), lane, budget, open.converse(&mut guest));
        let over = tokio::select! {
            biased;
            over = env.timeout(left, &mut metered) => match over {
                Ok(Some(over)) => Ok(over),
                Ok(None) => Err(Ended::CpuSpent),
                Err(_) => Err(Ended::DeadlinePassed),
            },
            () = stop.stopped() => Err(Ended::Cancelled),
        };
        let mut cpu = metered.spent();
        drop(metered);
        let (ended, done) = match over {
            Ok(Over::Done(mut done)) => {
                let end = std::mem::replace(&mut done.end, End::Cancelled);
                (ended(end, guest.meter.host_calls), Some(done))
            }
            Ok(Over::Died) => (Ended::Returned(Err(wasmtime::Error::msg(open.why().await))), None),
            Err(ended) => (ended, open.cancel().await),
        };
        drop(open);
        if let Some(done) = done {
            cpu = cpu.saturating_add(Duration::from_micros(done.cpu_us));
            guest.meter.memory_peak_bytes = done.memory_peak_bytes.min(guest.limits.memory_bytes);
            guest.meter.memory_refused = done.memory_refused;
            guest.log.note_over(done.log_dropped, &done.log_last);
        }
        Ran { ended, guest, cpu }
    }
}

fn ran(ended: Ended<Said>, guest: Guest) -> Ran {
    Ran { ended, guest, cpu: Duration::ZERO }
}

/// Chance and time of a call, from the host.
fn given(chance: &Chance) -> Given {
    match chance {
        Chance::Fixed { now_ms, .. } => Given::Fixed { now_ms: *now_ms },
        Chance::Env(_) | Chance::Given { .. } => {
            let mut seed = [0; 32];
            chance.fill(&mut seed);
            Given::Running { seed, wall_ms: chance.now_ms() }
        }
    }
}

/// The guest's word, as the child handed it on, after so many calls of imports.
fn ended(end: End, host_calls: u32) -> Ended<Said> {
    match end {
        End::Said(said) => Ended::Returned(Ok(said)),
        End::Trapped(words) => Ended::Returned(Err(wasmtime::Error::msg(words))),
        End::CpuSpent => Ended::CpuSpent,
        // Only the host cancels, and it did not.
        End::Cancelled => {
            let words = "the adapter's own process ended the call by itself";
            Ended::Returned(Err(wasmtime::Error::msg(words)))
        }
        End::Busy if host_calls == 0 => {
            Ended::NotRun(Fault::new("busy", "the adapter's own process is full"))
        }
        End::Busy => {
            let words =
                "the adapter's own process says that it was too full to begin, and had begun";
            Ended::Returned(Err(wasmtime::Error::msg(words)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_that_keeps_dying_is_started_ever_more_slowly_and_never_too_slowly() {
        let pause = |short_lives| Post { short_lives, ..Post::default() }.pause().as_millis();
        assert_eq!([0, 1, 2, 3, 4, 100].map(pause), [0, 0, 100, 200, 400, 5_000]);
    }

    #[test]
    fn a_child_that_had_asked_for_something_cannot_say_that_it_never_began() {
        assert!(matches!(ended(End::Busy, 0), Ended::NotRun(_)));
        assert!(matches!(ended(End::Busy, 1), Ended::Returned(Err(_))));
    }

    #[test]
    fn where_time_and_chance_stand_still_they_do_so_in_the_child_too() {
        assert_eq!(given(&Chance::fixed_at(77)), Given::Fixed { now_ms: 77 });
        let (first, second) = (Chance::Env(Env::system()), Chance::Env(Env::system()));
        let seeds = [first, second].map(|chance| match given(&chance) {
            Given::Running { seed, .. } => seed,
            Given::Fixed { .. } => {
                panic!("a call that is none of a rehearsal was given a fixed time")
            }
        });
        assert_ne!(seeds[0], seeds[1]);
    }
}
