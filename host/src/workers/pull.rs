//! Turns for workers that fetch them: who waits, and one loop that looks for all of them. A worker
//! that waits costs no read and no command of its own; the loop is woken by hints, as the
//! dispatcher is, and claims a turn only for somebody who stands here.
//!
//! Its answer may not reach the worker. One that is known to be gone when its turn was claimed gives
//! it back at once; one that does not hear the answer asks again with the same key, and is given the
//! same turn.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use serde::Serialize;
use tokio::sync::{Notify, oneshot};

use super::hub::{Hub, Wait, wrong_answer};
use super::look::Look;
use super::pull_report::Refusal;
use super::rules::{CLAIMS_TOGETHER, LOOK_AGAIN_MS, PullRules};
use super::shutdown::Phase;
use super::turn_files::tell_addresses;
use super::turn_run;
use crate::gate::StopReason;
use crate::handler::HandlerDocument;
use crate::lifecycle::id::ChannelName;
use crate::lifecycle::lease::LEASE_MS_MIN;
use crate::lifecycle::turn::Loss;
use crate::store::{
    Answer, Command, HeldLease, PullAnswer, PullClaim, PullCommand, PulledTurn, Query, RequestKey,
    StoreError,
};

/// The longest that a worker may wait for a turn: proxies cut what is silent for longer.
pub const WAIT_MS_MAX: u64 = 60_000;
/// Until the first look of a host under load; then a worker that waits for nothing is answered.
const LOOK_WITHIN_MS: u64 = 5_000;

/// What a worker asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimAsk {
    pub worker: String,
    pub key: Option<RequestKey>,
    pub channels: Option<Vec<ChannelName>>,
    pub wait_ms: u64,
    pub lease_ms: Option<u64>,
}

/// A turn on its way to a worker.
#[derive(Debug, Clone, PartialEq)]
pub struct Handed {
    pub document: HandlerDocument,
    /// What fences the worker's words, as it is told it.
    pub token: String,
    pub lease: HeldLease,
}

/// A worker that waits, for `status`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct WaitingWorker {
    pub worker: String,
    pub since_ms: i64,
    pub channels: Option<Vec<ChannelName>>,
}

/// Where workers wait.
#[derive(Debug)]
pub struct PullDesk {
    pub(super) rules: PullRules,
    line: Mutex<Line>,
}

#[derive(Debug, Default)]
struct Line {
    last_id: u64,
    waiters: VecDeque<Waiter>,
    /// Those for whom a claim is under way.
    tried: usize,
}

#[derive(Debug)]
struct Waiter {
    id: u64,
    claim: PullClaim,
    since_ms: i64,
    /// Told once the loop has looked.
    looked: Arc<Notify>,
    /// Whether it was looked at: one with a key may have a turn already.
    fresh: bool,
    answer: oneshot::Sender<Handed>,
}

/// A worker's place in the line; left when its request is dropped.
struct Place<'a> {
    desk: &'a PullDesk,
    id: u64,
    handed: oneshot::Receiver<Handed>,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        // Closed first: whoever has it out of the line then sees that nobody waits, or puts it back
        // in time to be taken out here.
        self.handed.close();
        self.desk.leave(self.id);
    }
}

impl PullDesk {
    pub(super) fn new(rules: PullRules) -> Self {
        Self { rules, line: Mutex::default() }
    }

    /// Who waits now, longest first.
    #[must_use]
    pub fn waiting(&self) -> Vec<WaitingWorker> {
        let line = self.lock();
        let told = line.waiters.iter().map(|waiter| WaitingWorker {
            worker: waiter.claim.worker.clone(),
            since_ms: waiter.since_ms,
            channels: waiter.claim.channels.clone(),
        });
        told.collect()
    }

    /// Whether it still stood in the line.
    fn leave(&self, id: u64) -> bool {
        let mut line = self.lock();
        let before = line.waiters.len();
        line.waiters.retain(|waiter| waiter.id != id);
        line.waiters.len() < before
    }

    fn lock(&self) -> MutexGuard<'_, Line> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Channels that somebody waits for; `None` in it means all. Nothing where nobody waits.
    fn wanted(&self) -> Option<Option<Vec<ChannelName>>> {
        let line = self.lock();
        if line.waiters.is_empty() {
            return None;
        }
        let mut names = BTreeSet::new();
        for waiter in &line.waiters {
            match &waiter.claim.channels {
                Some(channels) => names.extend(channels.iter().cloned()),
                None => return Some(None),
            }
        }
        Some(Some(names.into_iter().collect()))
    }

    /// Takes out those to claim for, the longest waiting first.
    fn take(&self, which: impl Fn(&Waiter) -> bool) -> Vec<Waiter> {
        let mut line = self.lock();
        let mut taken = Vec::new();
        let mut left = VecDeque::new();
        while let Some(waiter) = line.waiters.pop_front() {
            if taken.len() < CLAIMS_TOGETHER && which(&waiter) {
                taken.push(waiter);
            } else {
                left.push_back(waiter);
            }
        }
        line.waiters = left;
        line.tried += taken.len();
        taken
    }

    /// Puts back those that got nothing and still wait, each at its place.
    fn put_back(&self, tried: usize, waiters: Vec<Waiter>) {
        let mut line = self.lock();
        line.tried -= tried;
        let still = waiters.into_iter().filter(|waiter| !waiter.answer.is_closed());
        line.waiters.extend(still.map(|waiter| Waiter { fresh: false, ..waiter }));
        line.waiters.make_contiguous().sort_by_key(|waiter| waiter.id);
    }

    fn all_were_looked_at(&self) {
        for waiter in &self.lock().waiters {
            waiter.looked.notify_one();
        }
    }
}

/// Waits for a turn. Nothing where none came in time.
///
/// # Errors
/// Why the worker is not served.
pub async fn claim(hub: &Arc<Hub>, ask: ClaimAsk) -> Result<Option<Handed>, Refusal> {
    let Some(desk) = &hub.pull else { return Err(Refusal::NotServed) };
    let rules = desk.rules;
    let lease_ms = ask.lease_ms.unwrap_or(rules.lease_ms);
    if !(LEASE_MS_MIN..=rules.lease_max_ms).contains(&lease_ms) {
        let most = rules.lease_max_ms;
        let sentence = format!(
            "\"lease_ms\" must be from {LEASE_MS_MIN} to {most}, the setting `lease_max` of [handler]"
        );
        return Err(Refusal::Invalid(sentence));
    }
    if ask.wait_ms > WAIT_MS_MAX {
        return Err(Refusal::Invalid(format!("\"wait_ms\" must be at most {WAIT_MS_MAX}")));
    }
    if !hub.shutdown.is_running() {
        return Err(Refusal::Stopping);
    }
    let looked = Arc::new(Notify::new());
    let claim = PullClaim {
        worker: ask.worker,
        key: ask.key,
        channels: ask.channels,
        lease_ms,
        deadline_ms: hub.rules.handler_deadline_ms,
    };
    let mut place = join(hub, desk, claim, Arc::clone(&looked))?;
    hub.desk.wake();
    let patience = async {
        let within = Duration::from_millis(LOOK_WITHIN_MS);
        let _ = hub.env.timeout(within, looked.notified()).await;
        hub.sleep_ms(ask.wait_ms).await;
    };
    tokio::select! { biased;
        got = &mut place.handed => return got.map(Some).map_err(|_| Refusal::Stopping),
        () = hub.shutdown.reached(Phase::Draining) => {}
        () = patience => {}
    }
    let over = if hub.shutdown.is_running() { Ok(None) } else { Err(Refusal::Stopping) };
    if desk.leave(place.id) {
        return over;
    }
    // A claim for it is under way: a moment, and whatever it came to is known.
    let within = Duration::from_millis(LOOK_WITHIN_MS);
    match hub.env.timeout(within, &mut place.handed).await {
        Ok(Ok(got)) => Ok(Some(got)),
        Ok(Err(_)) | Err(_) => over,
    }
}

fn join<'a>(
    hub: &Hub,
    desk: &'a PullDesk,
    claim: PullClaim,
    looked: Arc<Notify>,
) -> Result<Place<'a>, Refusal> {
    let mut line = desk.lock();
    let most = desk.rules.waiting_max;
    if line.waiters.len() + line.tried >= most as usize {
        return Err(Refusal::Crowded { most });
    }
    line.last_id += 1;
    let id = line.last_id;
    let (since_ms, fresh) = (hub.env.now().wall_ms, true);
    let (answer, handed) = oneshot::channel();
    line.waiters.push_back(Waiter { id, claim, since_ms, looked, fresh, answer });
    Ok(Place { desk, id, handed })
}

/// Runs until the host stops; then nobody waits any more.
pub(super) async fn run(hub: Arc<Hub>) {
    let Some(desk) = &hub.pull else { return };
    let mut look = Look::default();
    while hub.shutdown.is_running() {
        let wait_ms = match run_once(&hub, desk, &mut look).await {
            Wait::Now => continue,
            Wait::For(ms) => ms,
            Wait::Free => LOOK_AGAIN_MS,
        };
        if !hub.wait(wait_ms, &hub.desk.hint).await {
            break;
        }
    }
    desk.lock().waiters.clear();
}

/// Claims for those who wait, or says what to wait for.
async fn run_once(hub: &Arc<Hub>, desk: &PullDesk, look: &mut Look) -> Wait {
    // Whoever asks with a key may hold a turn already, whatever is due.
    let asking = desk.take(|waiter| waiter.fresh && waiter.claim.key.is_some());
    if !asking.is_empty() {
        return match claim_for(hub, desk, asking).await {
            Ok(_) => Wait::Now,
            Err(error) => look.failed("claiming a turn for a worker", &error),
        };
    }
    let query = match desk.wanted() {
        None => return Wait::For(LOOK_AGAIN_MS),
        Some(None) => Query::NextTurn,
        Some(Some(channels)) => Query::NextTurnOf { channels },
    };
    match look.before(hub, query).await {
        Ok(None) => {}
        Ok(Some(wait_ms)) => {
            desk.all_were_looked_at();
            return Wait::For(wait_ms);
        }
        Err(error) => return look.failed("looking for the next turn", &error),
    }
    let waiters = desk.take(|_| true);
    let wait = match claim_for(hub, desk, waiters).await {
        Ok(0) => look.nothing(),
        Ok(_) => {
            look.found();
            return Wait::Now;
        }
        Err(error) => look.failed("claiming a turn for a worker", &error),
    };
    desk.all_were_looked_at();
    wait
}

/// How many got one. Together, so that one commit carries them all.
async fn claim_for(
    hub: &Arc<Hub>,
    desk: &PullDesk,
    waiters: Vec<Waiter>,
) -> Result<usize, StoreError> {
    let tried = waiters.len();
    let claims = waiters.into_iter().map(|waiter| async move {
        let approach = hub.gate.approach();
        let command = PullCommand::Claim(waiter.claim.clone());
        let answer = hub.store.run(Command::Pull(Box::new(command))).await;
        (waiter, approach, answer)
    });
    let (mut left, mut served, mut failed) = (Vec::new(), 0, None);
    for (waiter, approach, answer) in join_all(claims).await {
        let turn = match claimed(answer) {
            Ok(Some(turn)) => turn,
            Ok(None) => {
                left.push(waiter);
                continue;
            }
            Err(error) => {
                failed = Some(error);
                left.push(waiter);
                continue;
            }
        };
        // An abort that was confirmed since the claim: the worker is not to hear of the turn.
        let claim = turn.claimed.claim;
        match approach.run(claim.turn, claim.try_number) {
            Ok(running) => drop(running),
            Err(StopReason::PlannedStop) => {
                turn_run::lose(hub, claim, Loss::PlannedStop).await;
                continue;
            }
            Err(_) => {
                left.push(waiter);
                continue;
            }
        }
        served += 1;
        hand_over(hub, waiter, *turn).await;
    }
    desk.put_back(tried, left);
    failed.map_or(Ok(served), Err)
}

fn claimed(answer: Result<Answer, StoreError>) -> Result<Option<Box<PulledTurn>>, StoreError> {
    if let Answer::Pull(answer) = answer?
        && let PullAnswer::Claimed(turn) = *answer
    {
        return Ok(turn);
    }
    Err(wrong_answer("claim for a worker"))
}

async fn hand_over(hub: &Arc<Hub>, waiter: Waiter, turn: PulledTurn) {
    let PulledTurn { claimed, lease } = turn;
    let claim = claimed.claim;
    let worker = waiter.claim.worker;
    let token = super::pull_report::token_text(claim.token);
    let mut document = turn_run::document(claimed);
    tell_addresses(&hub.file_means, &mut document);
    let handed = Handed { document, token, lease };
    if waiter.answer.send(handed).is_ok() {
        hub.metrics.tries_started.up();
        tracing::info!(turn = %claim.turn, attempt = claim.try_number, worker, "try began");
        return;
    }
    let sentence = "the worker was gone when the turn was claimed for it".to_owned();
    let loss = Loss::NotStarted { code: "worker_gone".to_owned(), sentence, wait_ms: 0 };
    turn_run::lose(hub, claim, loss).await;
}
