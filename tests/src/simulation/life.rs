//! One life of the host: what people, operators and clocks do to it, and how it ends.

use std::sync::Arc;
use std::time::Duration;

use lastword::lifecycle::id::TurnId;
use lastword::lifecycle::message::{AbortRequest, InboundEvent, InboundMessage, Sender};
use lastword::store::{
    AcceptedEvent, ChannelSwitch, Command, ListFilter, Operated, Query, Resolution, Rows,
};
use lastword::workers::Hub;
use lastword::workers::intake::{self, Batch};
use lastword::workers::operate::operate;
use rand::Rng;
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};

use super::check;
use super::host::Host;
use super::world::{Line, Posted, World};

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
/// its age.
const REST_HOURS_MAX: u32 = 60;

/// A runtime of its own, whose end ends everything in it.
pub(super) struct Life<'a> {
    world: &'a Arc<World>,
    dir: &'a TempDir,
    runtime: Runtime,
}

#[derive(Debug, Clone, Copy)]
enum Act {
    Post,
    Repeat,
    Abort,
    Wait,
    Jump,
    Resume,
    Resolve,
    FillDisk,
}

const ACTS: [Act; 21] = [
    Act::Post,
    Act::Post,
    Act::Post,
    Act::Post,
    Act::Post,
    Act::Post,
    Act::Post,
    Act::Post,
    Act::Repeat,
    Act::Repeat,
    Act::Abort,
    Act::Abort,
    Act::Wait,
    Act::Wait,
    Act::Wait,
    Act::Wait,
    Act::Wait,
    Act::Jump,
    Act::Resume,
    Act::Resolve,
    Act::FillDisk,
];

impl<'a> Life<'a> {
    pub(super) fn begin(world: &'a Arc<World>, dir: &'a TempDir) -> Self {
        let runtime = Builder::new_current_thread().enable_time().start_paused(true).build();
        Self { world, dir, runtime: runtime.expect("a runtime") }
    }

    /// Lives for so many steps and ends as told. What it leaves is held against the world.
    pub(super) fn live(self, steps: u32, ending: Ending) {
        let Self { world, dir, runtime } = self;
        runtime.block_on(async {
            let host = Host::start(world, dir.path()).await;
            for post in world.with(|it| it.unconfirmed.clone()) {
                client(world, &host, post);
            }
            for _ in 0..steps {
                step(world, &host).await;
            }
            match ending {
                Ending::Kill => {
                    let polls = world.with(|it| it.rng.random_range(0..60));
                    for _ in 0..polls {
                        tokio::task::yield_now().await;
                    }
                }
                Ending::Stop => {
                    let stopped = host.workers.stop().await;
                    world.with(|it| it.trace.push(format!("stopped {stopped:?}")));
                }
                Ending::Rest => rest(world, &host).await,
            }
            // The store's last word in this life, before the world goes on.
            check::rows(world, &host.store, ending == Ending::Rest).await;
            let lived_ms = host.env.now().mono_ms;
            world.with(|it| {
                let down_ms = it.rng.random_range(0..90_000);
                it.trace.push(format!("{ending:?} after {lived_ms} ms, down for {down_ms} ms"));
                it.base_ms += lived_ms + down_ms;
            });
        });
        // Everything that still runs is dropped where it stands.
        drop(runtime);
    }
}

async fn step(world: &Arc<World>, host: &Host) {
    let act = world.with(|it| ACTS[it.rng.random_range(0..ACTS.len())]);
    match act {
        Act::Post => post(world, host, message(world)),
        Act::Abort => post(world, host, abort(world)),
        Act::Repeat => {
            let old = world.with(|it| {
                let count = it.confirmed.len();
                (count > 0).then(|| it.confirmed[it.rng.random_range(0..count)].clone())
            });
            if let Some(old) = old {
                post(world, host, old);
            }
        }
        Act::Wait => {
            let ms = world.with(|it| match it.rng.random_range(0..4) {
                0 => it.rng.random_range(0..50),
                1 => it.rng.random_range(0..2_000),
                2 => it.rng.random_range(0..40_000),
                _ => it.rng.random_range(0..400_000),
            });
            host.env.sleep(Duration::from_millis(ms)).await;
        }
        Act::Jump => {
            const HOUR_MS: i64 = 3_600_000;
            let by_ms = world.with(|it| {
                let by_ms = [-HOUR_MS, HOUR_MS, -90_000, 90_000][it.rng.random_range(0..4)];
                it.skew_ms += by_ms;
                it.trace.push(format!("the clock jumps by {by_ms}"));
                by_ms
            });
            host.env.jump(by_ms);
        }
        Act::FillDisk => {
            let refused = world.with(|it| it.rng.random_range(1..40));
            world.with(|it| it.trace.push(format!("the disk refuses {refused} commands")));
            host.store.refuse_next(refused);
        }
        Act::Resume => resume(host).await,
        Act::Resolve => resolve(world, host).await,
    }
}

fn room(world: &World) -> (Line, String) {
    world.with(|it| {
        let line = Line::ALL[it.rng.random_range(0..3)];
        (line, format!("room{}", it.rng.random_range(0..3)))
    })
}

fn message(world: &World) -> Posted {
    let (line, conversation) = room(world);
    let (id, wakes) = world.with(|it| {
        it.posts += 1;
        (format!("m{}", it.posts), it.rng.random_bool(0.9))
    });
    let event = InboundEvent::Message(InboundMessage {
        text: format!("message {id}"),
        external_id: id,
        conversation,
        sender: Sender { id: "ann".to_owned(), ..Sender::default() },
        wakes,
        ..InboundMessage::default()
    });
    Posted { line, event }
}

fn abort(world: &World) -> Posted {
    let (line, conversation) = room(world);
    let external_id = world.with(|it| {
        it.posts += 1;
        format!("stop{}", it.posts)
    });
    let sender = Sender { id: "ann".to_owned(), ..Sender::default() };
    let event =
        InboundEvent::Abort(AbortRequest { external_id, conversation, context: None, sender });
    Posted { line, event }
}

/// Sends it until the host has confirmed it, over as many lives as it takes.
fn post(world: &Arc<World>, host: &Host, posted: Posted) {
    let number = world.with(|it| {
        it.posts += 1;
        it.unconfirmed.insert(it.posts, posted.clone());
        it.posts
    });
    client(world, host, (number, posted));
}

fn client(world: &Arc<World>, host: &Host, (number, posted): (u64, Posted)) {
    let (world, hub, env) = (Arc::clone(world), Arc::clone(host.workers.hub()), host.env.clone());
    host.env.spawn(async move {
        while !attempt(&world, &hub, number, &posted).await {
            env.sleep(Duration::from_secs(2)).await;
        }
    });
}

async fn attempt(world: &World, hub: &Arc<Hub>, number: u64, posted: &Posted) -> bool {
    // Half of the polled channel's events come by its feed, as its platform would have it.
    let by_feed = posted.line == Line::Ask && number.is_multiple_of(2);
    if by_feed {
        world.with(|it| {
            it.feed.push(posted.event.clone());
            it.unconfirmed.remove(&number);
        });
        return true;
    }
    let batch = Batch { events: vec![posted.event.clone()], ..Batch::default() };
    let Ok(accepted) = intake::accept(hub, &posted.line.name().into(), batch).await else {
        return false;
    };
    world.with(|it| {
        it.unconfirmed.remove(&number);
        it.confirmed.push(posted.clone());
        it.trace.push(format!("confirmed {number}: {:?}", accepted.events));
        it.aborted.extend(accepted.stopped.iter().copied());
        for event in accepted.events {
            if let Some(turn) = turn_of(&event) {
                remember(it, posted, turn);
            }
        }
    });
    true
}

fn turn_of(event: &AcceptedEvent) -> Option<TurnId> {
    match event {
        AcceptedEvent::Turn { turn, .. } => Some(*turn),
        AcceptedEvent::Joined { turn } => Some(*turn),
        AcceptedEvent::Duplicate { turn, .. }
        | AcceptedEvent::Edited { turn }
        | AcceptedEvent::TakenBack { turn } => *turn,
        AcceptedEvent::Context
        | AcceptedEvent::Abort { .. }
        | AcceptedEvent::Receipt { .. }
        | AcceptedEvent::Refused { .. }
        | AcceptedEvent::Dropped => None,
    }
}

fn remember(it: &mut super::world::Inside, posted: &Posted, turn: TurnId) {
    let InboundEvent::Message(message) = &posted.event else { return };
    let key = (posted.line, message.conversation.clone(), message.external_id.clone());
    match it.turns.insert(key.clone(), turn) {
        Some(first) if first != turn => {
            it.breaks(format!("{key:?} was answered with {first} and then with {turn}"));
        }
        Some(_) | None => {}
    }
}

/// An operator resumes whatever is paused.
async fn resume(host: &Host) {
    for line in Line::ALL {
        let switch =
            Command::SwitchChannel { channel: line.name().into(), switch: ChannelSwitch::Resume };
        let _ = operate(host.workers.hub(), switch).await;
    }
}

/// An operator settles one held row, rightly or wrongly.
async fn resolve(world: &World, host: &Host) {
    let filter = ListFilter { state: Some("held".to_owned()), limit: 100, ..ListFilter::default() };
    let Ok(Rows::Deliveries(rows)) = host.store.read(Query::Outbox(filter)).await else { return };
    let Some(row) = rows.first() else { return };
    let how = world.with(|it| {
        [Resolution::Delivered, Resolution::Drop, Resolution::Resend][it.rng.random_range(0..3)]
    });
    let command = Command::Resolve { delivery: row.id, how, by: "simulation".to_owned() };
    if let Ok(Operated::Done { .. }) = operate(host.workers.hub(), command).await {
        world.with(|it| {
            it.trace.push(format!("resolved {} as {how:?}", row.id));
            it.resolved.insert(row.id);
        });
    }
}

/// Waits until no row is between states.
async fn rest(world: &World, host: &Host) {
    for _ in 0..REST_HOURS_MAX * 6 {
        resume(host).await;
        host.env.sleep(Duration::from_secs(600)).await;
        let posted = world.with(|it| it.unconfirmed.is_empty());
        if posted && check::is_at_rest(&host.store).await {
            return;
        }
    }
}
