//! One driver for all sweeps: each has a name, a description and a period, can be poked, and
//! leaves word of its last run. It knows nothing of what a sweep does.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::report::Report;
use crate::env::Env;
use crate::workers::hub::Hub;
use crate::workers::shutdown::{Phase, Shutdown};
use crate::workers::status::{Status, SweepRun, Why};

/// What is driven.
#[derive(Debug, Clone, Copy)]
pub(super) struct Task {
    pub(super) name: &'static str,
    pub(super) description: &'static str,
    pub(super) period_ms: u64,
}

/// Wakes one sweep. A poke before a run begins is answered by that run, one that comes while it
/// runs by exactly one more.
#[derive(Debug, Clone)]
pub(super) struct Poke(watch::Sender<u64>);

impl Default for Poke {
    fn default() -> Self {
        Self(watch::channel(0).0)
    }
}

impl Poke {
    pub(super) fn poke(&self) {
        self.0.send_modify(|count| *count += 1);
    }

    fn listen(&self) -> watch::Receiver<u64> {
        self.0.subscribe()
    }
}

/// Where a driver takes its means from.
pub(super) struct Means<'a> {
    pub(super) env: &'a Env,
    pub(super) status: &'a Status,
    pub(super) shutdown: &'a Shutdown,
}

/// Drives `run` until the host stops. `run` is a task of its own, so that its panic ends one run
/// and not the sweep.
pub(super) async fn drive<F>(means: Means<'_>, task: Task, poke: &Poke, run: impl Fn() -> F)
where
    F: Future<Output = Report> + Send + 'static,
{
    let Means { env, status, shutdown } = means;
    status.sweep_known(task.name, task.description, task.period_ms);
    let mut pokes = poke.listen();
    while shutdown.is_running() {
        let why = tokio::select! { biased;
            () = shutdown.reached(Phase::Draining) => return,
            // The other half lives as long as the host.
            _ = pokes.changed() => Why::Poke,
            () = env.sleep(Duration::from_millis(task.period_ms)) => Why::Period,
        };
        pokes.mark_unchanged();
        once(&Means { env, status, shutdown }, task, why, run()).await;
    }
}

/// One run, its time and its word.
pub(super) async fn once(
    means: &Means<'_>,
    task: Task,
    why: Why,
    run: impl Future<Output = Report> + Send + 'static,
) -> Report {
    let (began, at_ms) = (means.env.elapsed(), means.env.now().wall_ms);
    let report = means.env.spawn(run).await.unwrap_or_else(|_| {
        let mut report = Report::default();
        report.fail(task.name, "the sweep panicked; it runs again at its time");
        report
    });
    let took = means.env.elapsed().saturating_sub(began);
    let took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
    say(task.name, &report, took_ms);
    means.status.sweep_ran(task.name, SweepRun { why, at_ms, took_ms, report: report.clone() });
    report
}

fn say(name: &str, report: &Report, took_ms: u64) {
    for failure in &report.failures {
        tracing::warn!(sweep = name, item = failure.item, "{}", failure.sentence);
    }
    if !report.is_quiet() {
        let Report { seen, done, missed, failed, .. } = report;
        tracing::info!(sweep = name, seen, ?done, missed, failed, took_ms, "sweep");
    }
}

impl<'a> Means<'a> {
    pub(super) fn of(hub: &'a Arc<Hub>) -> Self {
        Self { env: &hub.env, status: &hub.status, shutdown: &hub.shutdown }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    const TASK: Task = Task { name: "it", description: "Does it.", period_ms: 15_000 };

    struct Bench {
        env: Env,
        status: Arc<Status>,
        shutdown: Shutdown,
        poke: Poke,
        runs: Arc<AtomicU64>,
    }

    /// Drives a sweep whose runs take one second each.
    fn bench() -> Bench {
        let bench = Bench {
            env: Env::simulated(1, 0),
            status: Arc::default(),
            shutdown: Shutdown::default(),
            poke: Poke::default(),
            runs: Arc::default(),
        };
        let (env, status) = (bench.env.clone(), Arc::clone(&bench.status));
        let (shutdown, poke) = (bench.shutdown.clone(), bench.poke.clone());
        let runs = Arc::clone(&bench.runs);
        let driven = env.clone();
        env.spawn(async move {
            let means = Means { env: &driven, status: &status, shutdown: &shutdown };
            drive(means, TASK, &poke, || {
                let (env, runs) = (driven.clone(), Arc::clone(&runs));
                async move {
                    env.sleep(Duration::from_secs(1)).await;
                    let count = runs.fetch_add(1, Ordering::Relaxed);
                    assert!(count != 1, "the second run panics");
                    Report { seen: 7, ..Report::default() }
                }
            })
            .await;
        });
        bench
    }

    impl Bench {
        async fn wait(&self, ms: u64) {
            self.env.sleep(Duration::from_millis(ms)).await;
        }

        fn runs(&self) -> u64 {
            self.runs.load(Ordering::Relaxed)
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_sweep_runs_at_its_period_and_says_when_why_and_how_long() {
        let bench = bench();
        bench.wait(14_999).await;
        assert!(bench.status.snapshot().sweeps["it"].last.is_none());
        bench.wait(1_100).await;
        let last = bench.status.snapshot().sweeps["it"].last.clone().unwrap();
        assert_eq!((last.why, last.at_ms, last.took_ms), (Why::Period, 15_000, 1_000));
        assert_eq!(last.report.seen, 7);
    }

    #[tokio::test(start_paused = true)]
    async fn pokes_during_a_run_cause_exactly_one_more_run() {
        let bench = bench();
        bench.wait(1).await;
        bench.poke.poke();
        bench.wait(500).await;
        for _ in 0..10 {
            bench.poke.poke();
        }
        bench.wait(5_000).await;
        assert_eq!(bench.runs(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_panic_ends_one_run_is_named_and_the_next_one_comes() {
        let bench = bench();
        bench.wait(33_000).await;
        let last = bench.status.snapshot().sweeps["it"].last.clone().unwrap();
        assert_eq!((bench.runs(), last.report.failed), (2, 1));
        assert!(last.report.failures[0].sentence.contains("panicked"));
        bench.wait(16_000).await;
        assert_eq!(bench.runs(), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn a_planned_stop_ends_the_driver() {
        let bench = bench();
        bench.wait(1).await;
        bench.shutdown.advance(Phase::Draining);
        bench.wait(60_000).await;
        assert_eq!(bench.runs(), 0);
    }
}
