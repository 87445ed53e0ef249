//! Limits of the whole host: keys of `[limits]` that no channel has for itself.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::error::Faults;
use super::section::{Hint, Section};

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;

/// What the host holds in all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostLimits {
    /// `pending_turns`: unfinished turns in the whole store; beyond it platforms are told to wait.
    /// Each is a few kilobytes on disk, and a million of them is hours of work for any agent.
    pub pending_turns: u32,
    /// `context_messages`: context-only messages kept for a conversation's next turn; older ones
    /// are dropped, counted. A busy room between two calls.
    pub context_messages: u32,
    /// `component_bytes`: the longest file that is taken for a component.
    pub component_bytes: u64,
    /// `compile`: how long the compilation of one component may take.
    pub compile: Duration,
    /// `compile_memory`: what the process that compiles it may have.
    pub compile_memory_bytes: u64,
}

impl Default for HostLimits {
    fn default() -> Self {
        Self {
            pending_turns: 1_000_000,
            context_messages: 100,
            component_bytes: 32 * MIB,
            compile: Duration::from_secs(60),
            compile_memory_bytes: 2048 * MIB,
        }
    }
}

/// A start waits for the compilation of what is not cached.
const COMPILE: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(600);

const OF_ALL_CHANNELS: &str = "it is not per channel: it belongs in [limits]";
/// For the tables of channels.
pub(super) const HINTS_CHANNEL: [Hint; 5] = [
    ("pending_turns", OF_ALL_CHANNELS),
    ("context_messages", OF_ALL_CHANNELS),
    ("component_bytes", OF_ALL_CHANNELS),
    ("compile", OF_ALL_CHANNELS),
    ("compile_memory", OF_ALL_CHANNELS),
];

impl HostLimits {
    /// Reads its keys of `[limits]`; the other ones are read by who comes next.
    pub(super) fn read(mut self, from: &mut Section<'_>, faults: &mut Faults<'_>) -> Self {
        // Ten million rows are as much as was ever measured.
        if let Some(found) = from.number("pending_turns", 1..=10_000_000, faults) {
            self.pending_turns = found.value;
        }
        if let Some(found) = from.number("context_messages", 0..=100_000, faults) {
            self.context_messages = found.value;
        }
        if let Some(found) = from.bytes("component_bytes", KIB..=1024 * MIB, faults) {
            self.component_bytes = found.value;
        }
        if let Some(found) = from.duration("compile", COMPILE, faults) {
            self.compile = found.value;
        }
        if let Some(found) = from.bytes("compile_memory", 64 * MIB..=64 * 1024 * MIB, faults) {
            self.compile_memory_bytes = found.value;
        }
        self
    }
}
