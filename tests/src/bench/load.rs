//! What is sent through the host under measurement: messages of one size in many conversations,
//! and the rules that its store is told.

use lastword::env::Env;
use lastword::lifecycle::delivery::DeliveryLimits;
use lastword::lifecycle::id::ChannelName;
use lastword::lifecycle::message::{InboundEvent, InboundMessage, Sender};
use lastword::lifecycle::outcome::StateWrites;
use lastword::lifecycle::settle::SettleMeans;
use lastword::lifecycle::turn::{AbortReach, TurnLimits};
use lastword::store::{Accept, ChannelRules, Command, HostRules, Lease};

/// The one channel of figures that are taken in process.
pub const CHANNEL: &str = "hook";
/// Bytes of a message's text.
pub const TEXT_BYTES: usize = 512;
/// Conversations over which messages go round.
pub const CONVERSATIONS: u64 = 1024;
/// No claim runs out under measurement.
pub const LEASE: Lease = Lease { lease_ms: 60_000 };
/// What the scripted adapter calls itself.
pub const DIGEST: &str = "scripted";

/// The channel's name as the host writes it.
#[must_use]
pub fn channel() -> ChannelName {
    ChannelName::from(CHANNEL)
}

/// Message `number` of a series; every one in another conversation than those close to it.
#[must_use]
pub fn message(series: &str, number: u64, text_bytes: usize) -> InboundMessage {
    message_in(series, number, CONVERSATIONS, text_bytes)
}

/// The same in so many conversations.
#[must_use]
pub fn message_in(
    series: &str,
    number: u64,
    conversations: u64,
    text_bytes: usize,
) -> InboundMessage {
    InboundMessage {
        external_id: format!("{series}{number}"),
        conversation: format!("{series}{}", number % conversations),
        sender: Sender { id: "ann".to_owned(), ..Sender::default() },
        text: "x".repeat(text_bytes),
        wakes: true,
        ..InboundMessage::default()
    }
}

/// The command that accepts one message.
#[must_use]
pub fn accept(message: InboundMessage, claim: Option<Lease>) -> Command {
    Command::Accept(Accept {
        channel: channel(),
        events: vec![InboundEvent::Message(message)],
        cursor: None,
        state: StateWrites::default(),
        claim,
    })
}

/// What a host obeys under measurement.
#[must_use]
pub fn rules(env: &Env) -> HostRules {
    HostRules {
        boot: env.boot_id(),
        turn: TurnLimits::default(),
        dedup_window_ms: 7 * 86_400_000,
        retention_ms: 7 * 86_400_000,
        // Beyond every backlog that is measured.
        pending_turns_max: 100_000_000,
        context_messages_max: 100,
        state_keys_max: 1_000,
        state_bytes_max: 1 << 20,
    }
}

/// What a store is told before anything else.
#[must_use]
pub fn introduction(env: &Env) -> Vec<Command> {
    let channel_rules = ChannelRules {
        channel: channel(),
        means: SettleMeans::default(),
        delivery: DeliveryLimits::default(),
        on_abort: AbortReach::default(),
        has_progress: true,
        failure_notice: None,
        pace: Default::default(),
        generation: 0,
        adapter: DIGEST.to_owned(),
        version: "1.0.0".to_owned(),
        digest: DIGEST.to_owned(),
    };
    vec![
        Command::Rules(rules(env)),
        Command::ChannelsPresent(vec![channel()]),
        Command::Channel(channel_rules),
    ]
}
