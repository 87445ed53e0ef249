//! An adapter in a process of its own, as the host has it: starts the child, sends it calls,
//! answers what the guest asks, and hears how each call ended. The child's word is taken for
//! nothing but the guest's: counts, quotas, ledger and deadlines are kept here. A child that does
//! not end a call in time, or does not keep to the protocol, is killed; the next call starts another.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;

use super::frame;
use super::line::{Line, Open, Over, PATIENCE, SENTENCE_BYTES_MAX, told};
use super::start::{Helper, Mode};
use super::talk::{End, Given, Load, Loaded, ToChild};
use crate::env::Env;
use crate::lifecycle::outcome::Fault;
use crate::sandbox::faces::Faces;
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
    env: Env,
    helper: Helper,
    code: Arc<Vec<u8>>,
    load: Load,
    name: String,
    message_bytes_max: u32,
    numbers: AtomicU64,
    post: tokio::sync::Mutex<Post>,
}

/// Which child runs, and how the ones before it did.
#[derive(Default)]
struct Post {
    line: Option<Arc<Line>>,
    started_at: Duration,
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
}

impl Ward {
    /// Nothing is started yet.
    pub(in crate::sandbox) fn new(
        env: &Env,
        helper: Helper,
        (code, shape): (Arc<Vec<u8>>, [u8; 32]),
        name: &str,
        limits: &CallLimits,
    ) -> Self {
        // Both ways at once, and those that the host has just given up.
        let calls = limits.calls_at_once.saturating_mul(2).saturating_add(2);
        let memory_bytes = limits.memory_bytes;
        let each = memory_bytes.saturating_add(CALL_BYTES);
        let data_bytes = each.saturating_mul(calls.into()).saturating_add(BASE_BYTES);
        let most = limits.lifted_bytes.saturating_add(SLACK_BYTES);
        Self {
            env: env.clone(),
            helper,
            code,
            load: Load { calls, memory_bytes, data_bytes, shape },
            name: name.to_owned(),
            message_bytes_max: u32::try_from(most).unwrap_or(u32::MAX),
            numbers: AtomicU64::new(1),
            post: tokio::sync::Mutex::default(),
        }
    }

    /// What the component imports and exports, as its process found out.
    pub(in crate::sandbox) async fn faces(&self) -> Result<Faces, Vec<String>> {
        Ok(self.line().await?.faces.clone())
    }

    /// The child that runs, or a new one.
    async fn line(&self) -> Result<Arc<Line>, Vec<String>> {
        let mut post = self.post.lock().await;
        let runs = |line: &&Arc<Line>| !line.is_closed();
        if let Some(line) = post.line.as_ref().filter(runs) {
            return Ok(Arc::clone(line));
        }
        if let Some(old) = post.line.take() {
            let lived = self.env.elapsed().saturating_sub(post.started_at);
            post.short_lives = if lived < LONG { post.short_lives.saturating_add(1) } else { 0 };
            let why = old.over().unwrap_or_else(|| "the adapter's own process ends".to_owned());
            tracing::warn!(channel = %self.name, "{why}; another is started");
        }
        self.env.sleep(post.pause()).await;
        let started = self.start().await;
        if started.is_err() {
            post.short_lives = post.short_lives.saturating_add(1);
        }
        let new = Arc::new(started?);
        post.started_at = self.env.elapsed();
        post.line = Some(Arc::clone(&new));
        Ok(new)
    }

    async fn start(&self) -> Result<Line, Vec<String>> {
        let begun = self.env.elapsed();
        let started = self.helper.start(&self.env, Mode::Serve);
        let (child, mut pipe) = started
            .map_err(|error| vec![format!("its own process could not be started: {error}")])?;
        let loading = async {
            frame::send(&mut pipe, &frame::encode(&self.load)?).await?;
            frame::send(&mut pipe, &self.code).await?;
            frame::decode(&frame::receive(&mut pipe, self.message_bytes_max).await?)
        };
        let faces = match self.env.timeout(READY_WITHIN, loading).await {
            Ok(Ok(Loaded::Ready(faces))) => faces,
            Ok(Ok(Loaded::Refused(sentences))) => {
                child.end(Duration::ZERO).await;
                let shown = sentences.iter().take(20);
                return Err(shown.map(|text| visible(text, SENTENCE_BYTES_MAX)).collect());
            }
            Ok(Err(error)) => {
                let ended = child.end(PATIENCE).await;
                return Err(vec![format!("{}, {error}", told(&ended, "was not ready"))]);
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
        self.line().await.map(drop)
    }

    async fn run(&self, guest: Guest, (_, order): (Lane, Order), stop: &mut StopSignal) -> Ran {
        let mut guest = guest;
        let left = guest.deadline.saturating_sub(self.env.elapsed());
        let begun = tokio::select! {
            biased;
            line = self.env.timeout(left, self.line()) => line,
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
        let mut open = Open::new(&self.env, &line, call);
        let (order, limits) = (Box::new(order), Box::new(CallLimits::clone(&guest.limits)));
        open.tell(&ToChild::Call { call, order, limits, given: given(&guest.chance) });
        let left = guest.deadline.saturating_sub(self.env.elapsed());
        let over = tokio::select! {
            biased;
            over = self.env.timeout(left, open.converse(&mut guest)) => {
                over.map_err(|_| Ended::DeadlinePassed)
            }
            () = stop.stopped() => Err(Ended::Cancelled),
        };
        let (ended, done) = match over {
            Ok(Over::Done(mut done)) => {
                let end = std::mem::replace(&mut done.end, End::Cancelled);
                (ended(end), Some(done))
            }
            Ok(Over::Died) => (Ended::Returned(Err(wasmtime::Error::msg(open.why().await))), None),
            Err(ended) => (ended, open.cancel().await),
        };
        drop(open);
        let mut cpu = Duration::ZERO;
        if let Some(done) = done {
            cpu = Duration::from_micros(done.cpu_us);
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

/// The guest's word, as the child handed it on.
fn ended(end: End) -> Ended<Said> {
    match end {
        End::Said(said) => Ended::Returned(Ok(said)),
        End::Trapped(words) => Ended::Returned(Err(wasmtime::Error::msg(words))),
        End::CpuSpent => Ended::CpuSpent,
        // Only the host cancels, and it did not.
        End::Cancelled => {
            let words = "the adapter's own process ended the call by itself";
            Ended::Returned(Err(wasmtime::Error::msg(words)))
        }
        End::Busy => Ended::NotRun(Fault::new("busy", "the adapter's own process is full")),
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
