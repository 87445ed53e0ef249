//! The benchmarks: what Lastword makes of the disk below it, as `src/bin/bench.rs` says.
//!
//! Yardsticks and figures are taken in rounds, one after the other in the same folder, and the
//! median of the rounds' ratios counts: a disk's own speed changes from one minute to the next.

pub mod backlog;
pub mod crowd;
pub mod figure;
pub mod inside;
pub mod languages;
pub mod load;
pub mod mediated;
pub mod process;
pub mod rates;
pub mod sandbox;
pub mod wire;
pub mod yard;

use std::path::Path;
use std::time::Duration;

pub use figure::{Figure, Goal};

/// How much of everything.
#[derive(Debug, Clone)]
pub struct Scale {
    /// Counted ones; one more before them warms up.
    pub rounds: usize,
    /// Of one measurement in one round.
    pub span: Duration,
    /// Of watching an idle host.
    pub idle: Duration,
    /// One after the other to an idle host.
    pub single_messages: u32,
    pub pending: u64,
    pub keys: u64,
    pub conversations: u64,
    /// Turns at rest that retention takes away.
    pub ended: u64,
}

impl Scale {
    /// Some minutes.
    #[must_use]
    pub fn standard() -> Self {
        Self {
            rounds: 5,
            span: Duration::from_millis(1_500),
            idle: Duration::from_secs(60),
            single_messages: 200,
            pending: 100_000,
            keys: 500_000,
            conversations: 10_000,
            ended: 100_000,
        }
    }

    /// Shows that everything runs; its numbers say nothing.
    #[must_use]
    pub fn smoke() -> Self {
        Self {
            rounds: 1,
            span: Duration::from_millis(60),
            idle: Duration::from_millis(500),
            single_messages: 5,
            pending: 2_000,
            keys: 2_000,
            conversations: 1_500,
            ended: 2_048,
        }
    }

    /// The full backlogs.
    #[must_use]
    pub fn long() -> Self {
        Self { pending: 1_000_000, keys: 10_000_000, ended: 1_000_000, ..Self::standard() }
    }
}

/// Which figures: all, or those of one group.
pub const GROUPS: [&str; 13] = [
    "yardsticks",
    "rates",
    "wire",
    "latency",
    "sandbox",
    "mediated",
    "rest",
    "backlog",
    "one-conversation",
    "conversations",
    "flood",
    "prune",
    "keys",
];

/// Taken only by name: they need npm and pip, and what those fetch.
pub const NAMED_GROUPS: [&str; 1] = ["languages"];

/// Takes the figures of one group in a folder of its own within `folder`.
///
/// # Panics
/// Where something of what is measured does not work.
pub async fn measure(group: &str, scale: &Scale, folder: &Path) -> Vec<Figure> {
    let folder = tempfile::Builder::new().prefix(group).tempdir_in(folder).unwrap();
    let folder = folder.path();
    match group {
        "yardsticks" => rates::yardsticks(scale, folder),
        "rates" => rates::measure(scale, folder).await,
        "wire" => wire::measure(scale, folder).await,
        "latency" => vec![wire::latency(scale, folder).await],
        "sandbox" => sandbox::measure(scale).await,
        "mediated" => mediated::measure(scale).await,
        "rest" => process::at_rest(scale, folder).await,
        "backlog" => {
            let mut figures = process::with_backlog(scale, folder).await;
            figures.push(backlog::pending(scale, folder).await);
            figures
        }
        "one-conversation" => crowd::one_conversation(scale, folder).await,
        "conversations" => crowd::many_conversations(scale, folder).await,
        "flood" => crowd::flood(scale, folder).await,
        "prune" => backlog::pruning(scale, folder).await,
        "keys" => vec![backlog::keys(scale, folder)],
        "languages" => languages::measure(scale, folder).await,
        other => panic!("there is no group {other}; there are {GROUPS:?} and {NAMED_GROUPS:?}"),
    }
}
