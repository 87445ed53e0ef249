//! One start of the host: the real store without its threads, the real workers, the world's
//! platform and agent.

use std::path::Path;
use std::sync::Arc;

use lastword::env::Env;
use lastword::gate::Gate;
use lastword::lifecycle::delivery::DeliveryLimits;
use lastword::lifecycle::id::ChannelName;
use lastword::lifecycle::notice::NoticeText;
use lastword::lifecycle::turn::TurnLimits;
use lastword::store::{ChannelRules, Command, HostRules, Pace, Store};
use lastword::workers::ports::Adapter;
use lastword::workers::rules::{PullRules, WorkerRules};
use lastword::workers::{Answering, FileMeans, Parts, Workers};
use rand::Rng;

use super::agent::Agent;
use super::chance::Setting;
use super::platform::Platform;
use super::shadow::Listener;
use super::worker::{LEASE_MS_MAX, Worker};
use super::world::{Line, World};

/// Longer than all clock jumps and lives of one seed together.
const DEDUP_WINDOW_MS: u64 = 60 * 86_400_000;

/// A host that runs.
pub(super) struct Host {
    pub(super) env: Env,
    pub(super) store: Store,
    pub(super) workers: Workers,
    pub(super) base_ms: i64,
}

/// What differs between two starts.
pub(super) struct Start {
    pub(super) sweep_ms: u64,
    /// A channel that the config does not name this time.
    pub(super) without: Option<Line>,
}

impl Start {
    pub(super) fn any(world: &World) -> Self {
        world.with(|it| {
            let sweep_ms = [15_000, 60_000, 240_000][it.rng.random_range(0..3)];
            // The first start is of all, so that each channel is known.
            let fewer = it.boots > 0 && it.rng.random_bool(0.05);
            let without = fewer.then(|| Line::ALL[it.rng.random_range(0..4)]);
            it.removed.extend(without);
            Self { sweep_ms, without }
        })
    }
}

impl Host {
    /// Opens the store, recovers, and starts.
    pub(super) async fn start(world: &Arc<World>, dir: &Path, start: &Start) -> Self {
        let (seed, base_ms, wall_ms, setting) = world.with(|it| {
            it.boots += 1;
            it.step();
            let seed = it.seed.wrapping_mul(100_000).wrapping_add(it.boots);
            (seed, it.base_ms, it.base_ms + it.skew_ms, it.setting.clone())
        });
        let env = Env::simulated_alone(seed, wall_ms);
        let listener = Arc::new(Listener(Arc::clone(world)));
        let store = Store::stepped(&dir.join("lastword.db"), &env, Some(listener));
        let store = store.expect("the store opens");
        let lines: Vec<Line> =
            Line::ALL.into_iter().filter(|line| start.without != Some(*line)).collect();
        for command in rules(&env, &setting, &lines) {
            store.run(command).await.expect("the store takes its rules");
        }
        let adapter = |line: Line| {
            let (world, env) = (Arc::clone(world), env.clone());
            let interval_ms = interval_ms(line, &setting);
            let platform = Platform { world, env, line, base_ms, interval_ms };
            (ChannelName::from(line.name()), Arc::new(platform) as Arc<dyn Adapter>)
        };
        let answering = if setting.workers > 0 {
            let waiting_max = 8;
            Answering::Pull(PullRules { lease_ms: 60_000, lease_max_ms: LEASE_MS_MAX, waiting_max })
        } else {
            let (world, env) = (Arc::clone(world), env.clone());
            Answering::Handler(Arc::new(Agent { world, env, base_ms }))
        };
        let workers = Workers::new(Parts {
            file_means: FileMeans::local(&env, &store, dir),
            env: env.clone(),
            store: store.clone(),
            gate: Gate::new(),
            rules: WorkerRules {
                handlers: setting.handlers,
                sweep_ms: start.sweep_ms,
                ..WorkerRules::default()
            },
            answering,
            adapters: lines.into_iter().map(adapter).collect(),
        });
        let report = workers.recover().await;
        world.with(|it| {
            for failure in report.failures {
                it.breaks(format!("recovery: {}: {}", failure.item, failure.sentence));
            }
        });
        workers.start();
        let host = Self { env, store, workers, base_ms };
        host.start_pull_workers(world, setting.workers);
        host
    }

    fn start_pull_workers(&self, world: &Arc<World>, count: usize) {
        for number in 0..count {
            let worker = Worker {
                world: Arc::clone(world),
                hub: Arc::clone(self.workers.hub()),
                env: self.env.clone(),
                base_ms: self.base_ms,
                number,
            };
            self.env.spawn(worker.run());
        }
    }

    /// The world's time.
    pub(super) fn now_ms(&self) -> i64 {
        self.base_ms + self.env.now().mono_ms
    }
}

fn interval_ms(line: Line, setting: &Setting) -> u64 {
    if line == Line::Ask { setting.interval_ms } else { 0 }
}

fn rules(env: &Env, setting: &Setting, lines: &[Line]) -> Vec<Command> {
    let host = Command::Rules(HostRules {
        boot: env.boot_id(),
        turn: TurnLimits::default(),
        dedup_window_ms: DEDUP_WINDOW_MS,
        retention_ms: setting.retention_ms,
        pending_turns_max: 10_000,
        context_messages_max: 10,
        state_keys_max: 10,
        state_bytes_max: 1_000,
    });
    let names = lines.iter().map(|line| line.name().into()).collect();
    let channel = |line: &Line| {
        let rate = setting.rate.filter(|_| *line == Line::Key);
        Command::Channel(ChannelRules {
            channel: line.name().into(),
            means: line.means(),
            delivery: DeliveryLimits {
                expire_action: setting.expire_action,
                ..DeliveryLimits::default()
            },
            on_abort: setting.abort_reach,
            has_progress: *line != Line::Bare,
            failure_notice: setting.notices.then(NoticeText::default),
            pace: Pace { rate, conversation_interval_ms: interval_ms(*line, setting) },
            generation: 0,
            adapter: "simulated".to_owned(),
            version: "1.0.0".to_owned(),
            digest: "simulated".to_owned(),
        })
    };
    let channels = lines.iter().map(channel);
    [host, Command::ClearHolds, Command::ChannelsPresent(names)]
        .into_iter()
        .chain(channels)
        .collect()
}
