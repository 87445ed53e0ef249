//! A host of workers on a temporary store, without threads and under paused time.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;

use super::script::{ScriptedAdapter, ScriptedHandler};
use crate::env::Env;
use crate::gate::Gate;
use crate::lifecycle::delivery::DeliveryLimits;
use crate::lifecycle::id::{ChannelName, TurnId};
use crate::lifecycle::message::{AbortRequest, InboundEvent, InboundMessage, Sender};
use crate::lifecycle::settle::SettleMeans;
use crate::lifecycle::turn::{AbortReach, TurnLimits};
use crate::store::*;
use crate::workers::intake::{self, Batch};
use crate::workers::ports::Adapter;
use crate::workers::rules::{PullRules, WorkerRules};
use crate::workers::{Answering, FileMeans, Parts, Workers};

pub(in crate::workers) const CHANNEL: &str = "hook";

pub(in crate::workers) struct Bench {
    pub(in crate::workers) env: Env,
    pub(in crate::workers) dir: Arc<TempDir>,
    pub(in crate::workers) store: Store,
    pub(in crate::workers) workers: Workers,
    pub(in crate::workers) adapter: Arc<ScriptedAdapter>,
    pub(in crate::workers) handler: Arc<ScriptedHandler>,
}

/// What a test wants other than the defaults.
#[derive(Default)]
pub(in crate::workers) struct Wishes {
    pub(in crate::workers) means: SettleMeans,
    pub(in crate::workers) rules: WorkerRules,
    pub(in crate::workers) delivery: DeliveryLimits,
    pub(in crate::workers) facts: Option<crate::workers::ports::AdapterFacts>,
    /// Workers fetch the turns, in place of the scripted handler.
    pub(in crate::workers) pull: Option<PullRules>,
    /// The store with its writer thread.
    pub(in crate::workers) threads: bool,
    /// The store with a task as its writer, which answers later than it commits.
    pub(in crate::workers) stepped: bool,
    /// Which chance a host on a store of its own has.
    pub(in crate::workers) seed: u64,
}

impl Bench {
    /// Running, with nothing in it.
    pub(in crate::workers) async fn new() -> Self {
        Self::with(Wishes::default()).await
    }

    pub(in crate::workers) async fn with(wishes: Wishes) -> Self {
        let bench = Self::idle(wishes).await;
        bench.workers.recover().await;
        bench.workers.start();
        bench
    }

    /// Put together, with no loop running.
    pub(in crate::workers) async fn idle(wishes: Wishes) -> Self {
        let env = Env::simulated(11 + wishes.seed, 1_700_000_000_000);
        let dir = Arc::new(tempfile::tempdir().unwrap());
        Self::on(env, dir, wishes).await
    }

    /// Put together on the real clock, with the store's threads.
    pub(in crate::workers) async fn threaded() -> Self {
        let dir = Arc::new(tempfile::tempdir().unwrap());
        Self::on(Env::system(), dir, Wishes { threads: true, ..Wishes::default() }).await
    }

    async fn on(env: Env, dir: Arc<TempDir>, wishes: Wishes) -> Self {
        let store = match (wishes.threads, wishes.stepped) {
            (true, _) => Store::open(&path(&dir), &env),
            (false, true) => Store::stepped(&path(&dir), &env, None),
            (false, false) => Store::inline(&path(&dir), &env),
        };
        let store = store.unwrap();
        introduce(&store, &env, &wishes).await;
        let adapter = ScriptedAdapter::new(&env);
        if let Some(facts) = wishes.facts {
            *adapter.facts.lock().unwrap() = facts;
        }
        let handler = ScriptedHandler::new(&env);
        let file_means = FileMeans::local(&env, &store, dir.path());
        let workers = Workers::new(Parts {
            file_means,
            env: env.clone(),
            store: store.clone(),
            gate: Gate::new(),
            rules: wishes.rules,
            answering: wishes.pull.map_or_else(
                || Answering::Handler(Arc::clone(&handler) as Arc<dyn crate::handler::Handler>),
                Answering::Pull,
            ),
            adapters: vec![(ChannelName::from(CHANNEL), Arc::clone(&adapter) as Arc<dyn Adapter>)],
        });
        Self { env, dir, store, workers, adapter, handler }
    }

    /// Another host on the same store, after this one was killed: nothing of it runs on.
    pub(in crate::workers) async fn killed(self, wishes: Wishes) -> Self {
        let Self { env, dir, .. } = self;
        Self::on(env, dir, wishes).await
    }

    /// A second host on the store of a living one, which the lock of a real one prevents.
    pub(in crate::workers) async fn idle_on(other: &Self) -> Self {
        Self::on(other.env.clone(), Arc::clone(&other.dir), Wishes::default()).await
    }

    pub(in crate::workers) async fn wait(&self, ms: u64) {
        self.env.sleep(Duration::from_millis(ms)).await;
    }

    pub(in crate::workers) async fn accept(&self, events: Vec<InboundEvent>) -> Accepted {
        let batch = Batch { events, ..Batch::default() };
        intake::accept(self.workers.hub(), &CHANNEL.into(), batch).await.unwrap()
    }

    /// Accepts behind the back of intake, so that nobody is woken; gives the turns.
    pub(in crate::workers) async fn slip_in(&self, events: Vec<InboundEvent>) -> Vec<TurnId> {
        let (channel, state) = (CHANNEL.into(), Default::default());
        let accept = Accept { channel, events, cursor: None, state, claim: None };
        let accepted = match self.store.run(Command::Accept(accept)).await.unwrap() {
            Answer::Accepted(accepted) => *accepted,
            other => panic!("{other:?}"),
        };
        let turn = |event| match event {
            AcceptedEvent::Turn { turn, .. } => turn,
            other => panic!("{other:?}"),
        };
        accepted.events.into_iter().map(turn).collect()
    }

    /// Posts a message and gives its turn.
    pub(in crate::workers) async fn post(
        &self,
        conversation: &str,
        id: &str,
        text: &str,
    ) -> TurnId {
        let message = InboundEvent::Message(message(conversation, id, text));
        match self.accept(vec![message]).await.events.remove(0) {
            AcceptedEvent::Turn { turn, .. } => turn,
            other => panic!("{other:?}"),
        }
    }

    pub(in crate::workers) async fn abort(&self, conversation: &str, id: &str) -> Vec<TurnId> {
        let abort = InboundEvent::Abort(AbortRequest {
            external_id: id.to_owned(),
            conversation: conversation.to_owned(),
            context: None,
            sender: Sender::default(),
        });
        self.accept(vec![abort]).await.stopped
    }

    pub(in crate::workers) async fn turn(&self, id: TurnId) -> TurnDetail {
        match self.store.read(Query::Turn { id, payload: false }).await.unwrap() {
            Rows::Turn(Some(turn)) => *turn,
            other => panic!("{other:?}"),
        }
    }

    /// State and code of a turn.
    pub(in crate::workers) async fn end(&self, id: TurnId) -> (String, Option<String>) {
        let row = self.turn(id).await.row;
        (row.state, row.code)
    }

    pub(in crate::workers) async fn outbox(&self) -> Vec<DeliveryRow> {
        let filter = ListFilter { limit: 10_000, ..ListFilter::default() };
        match self.store.read(Query::Outbox(filter)).await.unwrap() {
            Rows::Deliveries(rows) => rows,
            other => panic!("{other:?}"),
        }
    }

    /// States of all rows, `held` told apart.
    pub(in crate::workers) async fn states(&self) -> Vec<String> {
        let word = |row: DeliveryRow| if row.held { "held".to_owned() } else { row.state };
        self.outbox().await.into_iter().map(word).collect()
    }
}

pub(in crate::workers) fn path(dir: &TempDir) -> PathBuf {
    dir.path().join("lastword.db")
}

pub(in crate::workers) fn message(conversation: &str, id: &str, text: &str) -> InboundMessage {
    InboundMessage {
        external_id: id.to_owned(),
        conversation: conversation.to_owned(),
        sender: Sender { id: "ann".to_owned(), ..Sender::default() },
        text: text.to_owned(),
        wakes: true,
        ..InboundMessage::default()
    }
}

async fn introduce(store: &Store, env: &Env, wishes: &Wishes) {
    let rules = HostRules {
        boot: env.boot_id(),
        turn: TurnLimits::default(),
        dedup_window_ms: 7 * 86_400_000,
        retention_ms: 7 * 86_400_000,
        pending_turns_max: 100_000,
        context_messages_max: 10,
        state_keys_max: 10,
        state_bytes_max: 1_000,
    };
    for command in [
        Command::Rules(rules),
        Command::ChannelsPresent(vec![CHANNEL.into()]),
        Command::Channel(channel_rules(wishes, 0)),
    ] {
        store.run(command).await.unwrap();
    }
}

pub(in crate::workers) fn channel_rules(wishes: &Wishes, generation: u64) -> ChannelRules {
    ChannelRules {
        channel: CHANNEL.into(),
        means: wishes.means.clone(),
        delivery: wishes.delivery.clone(),
        on_abort: AbortReach::default(),
        has_progress: true,
        failure_notice: None,
        pace: Default::default(),
        generation,
        adapter: "scripted".to_owned(),
        version: "1.0.0".to_owned(),
        digest: "d1".to_owned(),
    }
}
