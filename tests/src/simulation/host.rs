//! One start of the host: the real store without its threads, the real workers, the world's
//! platform and agent.

use std::path::Path;
use std::sync::Arc;

use lastword::env::Env;
use lastword::gate::Gate;
use lastword::lifecycle::delivery::DeliveryLimits;
use lastword::lifecycle::id::ChannelName;
use lastword::lifecycle::turn::{AbortReach, TurnLimits};
use lastword::store::{ChannelRules, Command, HostRules, Store};
use lastword::workers::ports::Adapter;
use lastword::workers::rules::WorkerRules;
use lastword::workers::{Answering, FileMeans, Parts, Workers};

use super::agent::Agent;
use super::platform::Platform;
use super::world::{Line, World};

/// A host that runs.
pub(super) struct Host {
    pub(super) env: Env,
    pub(super) store: Store,
    pub(super) workers: Workers,
}

impl Host {
    /// Opens the store, recovers, and starts.
    pub(super) async fn start(world: &Arc<World>, dir: &Path) -> Self {
        let (seed, base_ms, wall_ms) = world.with(|it| {
            it.boots += 1;
            (
                it.seed.wrapping_mul(1_000).wrapping_add(it.boots),
                it.base_ms,
                it.base_ms + it.skew_ms,
            )
        });
        let env = Env::simulated(seed, wall_ms);
        let store = Store::inline(&dir.join("lastword.db"), &env).expect("the store opens");
        for command in rules(&env) {
            store.run(command).await.expect("the store takes its rules");
        }
        let adapter = |line: Line| {
            let (world, env) = (Arc::clone(world), env.clone());
            let adapter: Arc<dyn Adapter> = Arc::new(Platform { world, env, line, base_ms });
            (ChannelName::from(line.name()), adapter)
        };
        let file_means = FileMeans::local(&env, &store, dir);
        let workers = Workers::new(Parts {
            file_means,
            env: env.clone(),
            store: store.clone(),
            gate: Gate::new(),
            rules: WorkerRules { handlers: 4, sweep_ms: 30_000, ..WorkerRules::default() },
            answering: Answering::Handler(Arc::new(Agent {
                world: Arc::clone(world),
                env: env.clone(),
                base_ms,
            })),
            adapters: Line::ALL.into_iter().map(adapter).collect(),
        });
        let report = workers.recover().await;
        world.with(|it| {
            for failure in report.failures {
                it.breaks(format!("recovery: {}: {}", failure.item, failure.sentence));
            }
        });
        workers.start();
        Self { env, store, workers }
    }
}

fn rules(env: &Env) -> Vec<Command> {
    let host = Command::Rules(HostRules {
        boot: env.boot_id(),
        turn: TurnLimits::default(),
        dedup_window_ms: 30 * 86_400_000,
        retention_ms: 30 * 86_400_000,
        pending_turns_max: 10_000,
        context_messages_max: 10,
        state_keys_max: 10,
        state_bytes_max: 1_000,
    });
    let names = Line::ALL.into_iter().map(|line| line.name().into()).collect();
    let channel = |line: Line| {
        Command::Channel(ChannelRules {
            channel: line.name().into(),
            means: line.means(),
            delivery: DeliveryLimits::default(),
            on_abort: AbortReach::default(),
            has_progress: true,
            failure_notice: None,
            pace: Default::default(),
            adapter: "simulated".to_owned(),
            version: "1.0.0".to_owned(),
            digest: "simulated".to_owned(),
        })
    };
    let channels = Line::ALL.into_iter().map(channel);
    [host, Command::ChannelsPresent(names)].into_iter().chain(channels).collect()
}
