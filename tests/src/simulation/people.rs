//! What people and programs send: messages, pieces, edits, stops, receipts; each until the host has
//! confirmed it, over as many lives as it takes.

use std::sync::Arc;
use std::time::Duration;

use lastword::lifecycle::delivery::DeliveryState;
use lastword::lifecycle::id::TurnId;
use lastword::lifecycle::message::{
    AbortRequest, Action, Deletion, Fate, InboundEvent, InboundMessage, LateReceipt, OtherEvent,
    Sender, SentMessage,
};
use lastword::lifecycle::outcome::Fault;
use lastword::store::{Accepted, AcceptedEvent, Post, PostOutcome};
use lastword::workers::Hub;
use lastword::workers::intake::{self, Batch};
use lastword::workers::post;
use rand::Rng;

use super::host::Host;
use super::world::{Inside, Line, MOVED, Posted, Room, What, World};

/// Of what was confirmed, how much may be sent again.
const CONFIRMED_KEPT: usize = 48;
const ROOMS: u32 = 3;

fn room(it: &mut Inside) -> Room {
    let line = Line::ALL[it.rng.random_range(0..4)];
    let room = format!("room{}", it.rng.random_range(0..ROOMS));
    let moved = it.moved.contains(&(line, room.clone())) && it.rng.random_bool(0.7);
    (line, if moved { format!("{room}{MOVED}") } else { room })
}

fn ann() -> Sender {
    Sender { id: "ann".to_owned(), ..Sender::default() }
}

fn name(it: &mut Inside, word: &str) -> String {
    it.posts += 1;
    format!("{word}{}", it.posts)
}

fn message(it: &mut Inside, conversation: String) -> InboundMessage {
    let id = name(it, "m");
    let wakes = it.rng.random_bool(0.9);
    // A group's pieces come within its window, or late.
    let group = it.rng.random_bool(0.1).then(|| format!("g{}", it.posts / 8));
    InboundMessage {
        text: format!("message {id}"),
        external_id: id,
        conversation,
        sender: ann(),
        wakes,
        group,
        ..InboundMessage::default()
    }
}

/// A message of this room that is out already.
fn known(it: &mut Inside, room: &Room) -> Option<InboundMessage> {
    let count = it.confirmed.len();
    if count == 0 {
        return None;
    }
    let from = it.rng.random_range(0..count);
    let of = |posted: &Posted| match &posted.what {
        What::Events(events) if posted.line == room.0 => events.iter().find_map(|event| {
            let InboundEvent::Message(message) = event else { return None };
            (message.conversation == room.1).then(|| message.clone())
        }),
        What::Events(_) | What::Program(_) => None,
    };
    it.confirmed[from..].iter().chain(&it.confirmed[..from]).find_map(of)
}

fn event(it: &mut Inside, room: &Room) -> InboundEvent {
    let conversation = room.1.clone();
    match it.rng.random_range(0..20) {
        0..12 => InboundEvent::Message(message(it, conversation)),
        12 => {
            let external_id = name(it, "a");
            InboundEvent::Action(Action {
                external_id,
                conversation,
                context: None,
                audience: Default::default(),
                sender: ann(),
                name: "press".to_owned(),
                value: None,
                on_message: None,
                extras: Vec::new(),
            })
        }
        13 => {
            let external_id = name(it, "o");
            let conversation = it.rng.random_bool(0.8).then_some(conversation);
            let (kind, sender) = ("reaction".to_owned(), Some(ann()));
            let extras = Vec::new();
            InboundEvent::Other(OtherEvent { external_id, kind, conversation, sender, extras })
        }
        14 | 15 => match known(it, room) {
            Some(old) => {
                let text = name(it, "edited ");
                InboundEvent::Edited(InboundMessage { text, ..old })
            }
            None => InboundEvent::Message(message(it, conversation)),
        },
        16 => match known(it, room) {
            Some(old) => deletion(it, old),
            // It comes before its message: that will be the next one.
            None => InboundEvent::Message(message(it, conversation)),
        },
        17 => match late_receipt(it, room.0) {
            Some(receipt) => InboundEvent::Receipt(receipt),
            None => InboundEvent::Message(message(it, conversation)),
        },
        _ => {
            let external_id = name(it, "stop");
            let context = None;
            InboundEvent::Abort(AbortRequest { external_id, conversation, context, sender: ann() })
        }
    }
}

fn deletion(it: &mut Inside, old: InboundMessage) -> InboundEvent {
    it.taken_back.insert(old.external_id.clone());
    let InboundMessage { conversation, external_id, .. } = old;
    for line in Line::ALL {
        it.promised.remove(&(line, external_id.clone()));
    }
    InboundEvent::Deleted(Deletion { conversation, external_id })
}

/// The platform says later what became of a message: always the truth.
fn late_receipt(it: &mut Inside, line: Line) -> Option<LateReceipt> {
    let count = it.recent.len();
    if count == 0 {
        return None;
    }
    let (of, message) = it.recent[it.rng.random_range(0..count)].clone();
    if of != line {
        return None;
    }
    let id = message.delivery_id;
    let platform_id = format!("p-{id}");
    let about = match it.rng.random_range(0..3) {
        0 => SentMessage::PlatformId(platform_id),
        1 => SentMessage::DeliveryId(id.to_string(), Some(platform_id)),
        _ => SentMessage::DeliveryId(id.to_string(), None),
    };
    let told = it.shadow.rows.get(&id).map(|told| told.state);
    let fate = match it.rng.random_range(0..4) {
        // It was taken, and came to nothing after all.
        0 if told == Some(DeliveryState::Delivered) => Fate::Failed(Fault::new("late", "scripted")),
        1 => Fate::Accepted,
        2 => Fate::Read,
        _ => Fate::Delivered,
    };
    let conversation = Some(message.place.conversation);
    Some(LateReceipt { conversation, about, fate, at_ms: None })
}

/// Somebody writes: mostly one thing, sometimes several in one delivery of the platform.
pub(super) fn write(world: &Arc<World>, host: &Host) {
    let posted = world.with(|it| {
        let room = room(it);
        let count = if it.rng.random_bool(0.8) { 1 } else { it.rng.random_range(2..5) };
        let events: Vec<InboundEvent> = (0..count).map(|_| event(it, &room)).collect();
        // Whoever writes opens the conversation.
        it.closed.remove(&room);
        Posted { line: room.0, what: What::Events(events) }
    });
    send(world, host, posted);
}

/// A program posts, now or for later.
pub(super) fn program(world: &Arc<World>, host: &Host) {
    let wall_ms = host.env.now().wall_ms;
    let posted = world.with(|it| {
        let (line, conversation) = room(it);
        let message = InboundMessage { wakes: true, group: None, ..message(it, conversation) };
        let later = it.rng.random_bool(0.4).then(|| wall_ms + it.rng.random_range(0..7_200_000));
        let count = it.turns.len();
        let about = (count > 0 && it.rng.random_bool(0.3))
            .then(|| *it.turns.values().nth(it.rng.random_range(0..count)).expect("a turn"));
        let channel = line.name().into();
        let post = Post { channel, message, not_before_ms: later, about, claim: None };
        Posted { line, what: What::Program(Box::new(post)) }
    });
    send(world, host, posted);
}

/// The same again, as platforms do.
pub(super) fn repeat(world: &Arc<World>, host: &Host) {
    let old = world.with(|it| {
        let count = it.confirmed.len();
        (count > 0).then(|| it.confirmed[it.rng.random_range(0..count)].clone())
    });
    if let Some(old) = old {
        send(world, host, old);
    }
}

/// One message in each room, which opens those that were closed.
pub(super) fn write_everywhere(world: &Arc<World>, host: &Host) {
    for line in Line::ALL {
        for number in 0..ROOMS {
            for end in ["", MOVED] {
                let conversation = format!("room{number}{end}");
                let posted = world.with(|it| {
                    let message =
                        InboundMessage { wakes: true, group: None, ..message(it, conversation) };
                    let events = vec![InboundEvent::Message(message)];
                    Posted { line, what: What::Events(events) }
                });
                send(world, host, posted);
            }
        }
    }
}

/// Sends it until the host has confirmed it.
fn send(world: &Arc<World>, host: &Host, posted: Posted) {
    let number = world.with(|it| {
        it.posts += 1;
        it.unconfirmed.insert(it.posts, posted.clone());
        it.posts
    });
    client(world, host, number, posted);
}

/// Whoever sends goes on sending after the host's death.
pub(super) fn client(world: &Arc<World>, host: &Host, number: u64, posted: Posted) {
    let (world, hub, env) = (Arc::clone(world), Arc::clone(host.workers.hub()), host.env.clone());
    host.env.spawn(async move {
        while !attempt(&world, &hub, number, &posted).await {
            env.sleep(Duration::from_secs(2)).await;
        }
    });
}

async fn attempt(world: &World, hub: &Arc<Hub>, number: u64, posted: &Posted) -> bool {
    world.with(Inside::step);
    match &posted.what {
        What::Events(events) => attempt_events(world, hub, number, posted, events).await,
        What::Program(asked) => {
            let Ok(outcome) = post::post(hub, (**asked).clone()).await else { return false };
            world.with(|it| {
                confirmed(it, number, posted);
                it.tell(|| format!("posted {number}: {outcome:?}"));
                if let PostOutcome::Turn { turn, .. } | PostOutcome::Duplicate { turn, .. } =
                    outcome
                {
                    remember(it, posted.line, &asked.message, turn);
                }
            });
            true
        }
    }
}

async fn attempt_events(
    world: &World,
    hub: &Arc<Hub>,
    number: u64,
    posted: &Posted,
    events: &[InboundEvent],
) -> bool {
    // Half of the polled channel's events come by its feed, as its platform would have it.
    if posted.line == Line::Ask && number.is_multiple_of(2) {
        world.with(|it| {
            it.feed.extend(events.iter().cloned());
            it.unconfirmed.remove(&number);
        });
        world.fed.notify_waiters();
        return true;
    }
    let batch = Batch { events: events.to_vec(), ..Batch::default() };
    let Ok(accepted) = intake::accept(hub, &posted.line.name().into(), batch).await else {
        return false;
    };
    world.with(|it| {
        confirmed(it, number, posted);
        it.tell(|| format!("confirmed {number}: {:?}", accepted.events));
        heard(it, posted.line, events, accepted);
    });
    true
}

fn confirmed(it: &mut Inside, number: u64, posted: &Posted) {
    it.unconfirmed.remove(&number);
    if it.confirmed.len() == CONFIRMED_KEPT {
        it.confirmed.remove(0);
    }
    it.confirmed.push(posted.clone());
}

fn heard(it: &mut Inside, line: Line, events: &[InboundEvent], accepted: Accepted) {
    it.aborted.extend(accepted.stopped.iter().copied());
    for event in events {
        promise(it, line, event);
    }
    for (event, became) in events.iter().zip(accepted.events) {
        if let (InboundEvent::Message(message), Some(turn)) = (event, turn_of(&became)) {
            remember(it, line, message, turn);
        }
    }
}

/// A plain message that was confirmed has a turn from now on.
fn promise(it: &mut Inside, line: Line, event: &InboundEvent) {
    let InboundEvent::Message(message) = event else { return };
    if message.wakes && message.group.is_none() && !it.taken_back.contains(&message.external_id) {
        it.promised.insert((line, message.external_id.clone()));
    }
}

fn turn_of(event: &AcceptedEvent) -> Option<TurnId> {
    match event {
        AcceptedEvent::Turn { turn, .. } | AcceptedEvent::Joined { turn } => Some(*turn),
        AcceptedEvent::Duplicate { turn, .. } => *turn,
        AcceptedEvent::Edited { .. }
        | AcceptedEvent::TakenBack { .. }
        | AcceptedEvent::Context
        | AcceptedEvent::Abort { .. }
        | AcceptedEvent::Receipt { .. }
        | AcceptedEvent::Refused { .. }
        | AcceptedEvent::Dropped => None,
    }
}

fn remember(it: &mut Inside, line: Line, message: &InboundMessage, turn: TurnId) {
    let key = (line, message.conversation.clone(), message.external_id.clone());
    match it.turns.insert(key.clone(), turn) {
        Some(first) if first != turn => {
            it.breaks(format!("{key:?} was answered with {first} and then with {turn}"));
        }
        Some(_) | None => {}
    }
    if !it.shadow.turns.contains_key(&turn) {
        it.breaks(format!("{turn} was confirmed before it was committed"));
    }
}
