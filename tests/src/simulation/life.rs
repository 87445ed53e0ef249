//! One life of the host: what people, operators and clocks do to it, and how it ends.

use std::sync::Arc;
use std::time::Duration;

use rand::Rng;
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};

use super::check::{self, Rows};
use super::host::{Host, Start};
use super::world::World;
use super::{operator, people};

/// How a life ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    /// At any await of any task.
    Kill,
    /// As planned.
    Stop,
    /// When nothing is left to do.
    Rest,
}

/// Hours of the simulated clock within which everything comes to rest: the longest row waits for
/// its age, or for a time that a program named before the clock went back.
const REST_HOURS_MAX: u32 = 200;
/// Between two sweeps, while everything comes to rest.
const REST_SWEEP_MS: u64 = 300_000;
/// Acts between two looks at all rows.
const ACTS_PER_LOOK: u32 = 50;

/// A runtime of its own, whose end ends everything in it.
pub(super) struct Life<'a> {
    world: &'a Arc<World>,
    dir: &'a TempDir,
    runtime: Runtime,
}

#[derive(Debug, Clone, Copy)]
enum Act {
    Write,
    Repeat,
    Program,
    Wait,
    Jump,
    StandStill,
    Disk,
    Abort,
    Resume,
    Pause,
    Resolve,
    Replay,
    Bulk,
    Schedule,
}

/// How often each comes, against the others.
const ACTS: [(Act, u32); 14] = [
    (Act::Write, 36),
    (Act::Repeat, 6),
    (Act::Program, 4),
    (Act::Wait, 28),
    (Act::Jump, 1),
    (Act::StandStill, 2),
    (Act::Disk, 2),
    (Act::Abort, 5),
    (Act::Resume, 4),
    (Act::Pause, 1),
    (Act::Resolve, 4),
    (Act::Replay, 3),
    (Act::Bulk, 2),
    (Act::Schedule, 2),
];

fn any_act(world: &World) -> Act {
    let all: u32 = ACTS.iter().map(|(_, weight)| weight).sum();
    world.with(|it| {
        it.step();
        let mut place = it.rng.random_range(0..all);
        for (act, weight) in ACTS {
            if place < weight {
                it.tell(|| format!("act {act:?}"));
                return act;
            }
            place -= weight;
        }
        Act::Wait
    })
}

impl<'a> Life<'a> {
    pub(super) fn begin(world: &'a Arc<World>, dir: &'a TempDir) -> Self {
        let runtime = Builder::new_current_thread().enable_time().start_paused(true).build();
        Self { world, dir, runtime: runtime.expect("a runtime") }
    }

    /// Lives for so many acts and ends as told. What it leaves is held against the world.
    pub(super) fn live(self, acts: u32, ending: Ending) {
        let Self { world, dir, runtime } = self;
        runtime.block_on(async {
            let start = match ending {
                Ending::Rest => Start { sweep_ms: REST_SWEEP_MS, without: None },
                Ending::Kill | Ending::Stop => Start::any(world),
            };
            let host = Host::start(world, dir.path(), &start).await;
            let rows = Rows::open(dir.path());
            for (number, posted) in world.with(|it| it.unconfirmed.clone()) {
                people::client(world, &host, number, posted);
            }
            for number in 1..=acts {
                act(world, &host).await;
                for _ in 0..world.with(|it| it.rng.random_range(0..8)) {
                    host.env.yield_now().await;
                }
                if number % ACTS_PER_LOOK == 0 {
                    check::look(world, &rows);
                }
                if world.is_broken() {
                    break;
                }
            }
            end(world, &host, ending).await;
            // The store's last word in this life, before the world goes on.
            check::look(world, &rows);
            if ending == Ending::Rest {
                check::rest(world, &rows);
            }
            let lived_ms = host.env.now().mono_ms;
            world.with(|it| {
                let down_ms = it.rng.random_range(0..90_000);
                it.tell(|| format!("{ending:?} after {lived_ms} ms, down for {down_ms} ms"));
                it.base_ms += lived_ms + down_ms;
                it.calm_since_ms = it.base_ms;
            });
        });
        // Everything that still runs is dropped where it stands.
        drop(runtime);
        world.with(|it| {
            it.at_agent.clear();
            it.doubted = false;
        });
    }
}

async fn end(world: &Arc<World>, host: &Host, ending: Ending) {
    match ending {
        Ending::Kill => {
            let polls = world.with(|it| it.rng.random_range(0..60));
            for _ in 0..polls {
                host.env.yield_now().await;
            }
        }
        Ending::Stop => {
            let stopped = host.workers.stop().await;
            let counts = host.workers.hub().gate.counts();
            world.with(|it| {
                it.tell(|| format!("stopped {stopped:?}"));
                let clean = stopped == lastword::workers::Stopped::Clean;
                if clean && counts.approaches + counts.handlers + counts.calls > 0 {
                    it.breaks(format!("after a clean stop the gate still holds {counts:?}"));
                }
            });
        }
        Ending::Rest => rest(world, host).await,
    }
}

async fn act(world: &Arc<World>, host: &Host) {
    match any_act(world) {
        Act::Write => people::write(world, host),
        Act::Repeat => people::repeat(world, host),
        Act::Program => people::program(world, host),
        Act::Wait => wait(world, host).await,
        Act::Jump => operator::jump(world, host),
        Act::StandStill => operator::stand_still(world, host).await,
        Act::Disk => operator::break_disk(world, host).await,
        Act::Abort => operator::abort(world, host).await,
        Act::Resume => operator::resume(host).await,
        Act::Pause => operator::pause(world, host).await,
        Act::Resolve => operator::resolve(world, host).await,
        Act::Replay => operator::replay(world, host).await,
        Act::Bulk => operator::bulk_order(world, host).await,
        Act::Schedule => operator::schedule(world, host).await,
    }
}

async fn wait(world: &World, host: &Host) {
    let ms = world.with(|it| match it.rng.random_range(0..8) {
        0..3 => it.rng.random_range(0..50),
        3..5 => it.rng.random_range(0..2_000),
        5..7 => it.rng.random_range(0..40_000),
        _ => it.rng.random_range(0..400_000),
    });
    host.env.sleep(Duration::from_millis(ms)).await;
    check::stuck(world, host).await;
}

/// Waits until no row is between states.
async fn rest(world: &Arc<World>, host: &Host) {
    operator::cancel_schedules(host).await;
    people::write_everywhere(world, host);
    // Often at first: most of it is done within minutes.
    let mut slept_ms = 0;
    let mut sleep_ms = 20_000;
    while slept_ms < u64::from(REST_HOURS_MAX) * 3_600_000 {
        operator::resume(host).await;
        host.env.sleep(Duration::from_millis(sleep_ms)).await;
        slept_ms += sleep_ms;
        sleep_ms = (sleep_ms * 2).min(3_600_000);
        let posted = world.with(|it| it.unconfirmed.is_empty());
        if (posted && check::is_at_rest(&host.store).await) || world.is_broken() {
            return;
        }
    }
}
