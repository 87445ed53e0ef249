//! Whether rates hold as the store grows: whole turns with few and with many rows pending, and
//! accepts with few and with many keys remembered, and while what has ended is pruned.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use lastword::lifecycle::message::{AbortRequest, InboundEvent, Sender};
use lastword::lifecycle::outcome::StateWrites;
use lastword::store::{Accept, Command};

use super::Scale;
use super::figure::{Figure, Goal, Rounds, quantile};
use super::inside::{ABREAST, Inside};
use super::load;
use super::yard::Bare;

/// Of a pending row's message: what counts is how many rows there are.
const TEXT_BYTES: usize = 64;
const COMMANDS_PER_BATCH: u64 = 512;
/// The small store that a large one is held against.
const FEW: u64 = 1_000;
const FEW_KEYS: u64 = 10_000;

fn in_batches(bare: &mut Bare, count: u64, command: impl Fn(u64) -> Command) {
    let mut from = 0;
    while from < count {
        let to = count.min(from + COMMANDS_PER_BATCH);
        bare.apply((from..to).map(&command).collect());
        bare.bound_wal();
        from = to;
    }
}

/// Queues so many turns in the store `name` of `folder`, spread as the load is.
pub fn fill(folder: &Path, name: &'static str, series: &str, turns: u64) {
    fill_in(folder, name, series, turns, load::CONVERSATIONS);
}

/// The same in so many conversations.
pub fn fill_in(folder: &Path, name: &'static str, series: &str, turns: u64, conversations: u64) {
    let mut bare = Bare::open(folder, name);
    in_batches(&mut bare, turns, |n| {
        load::accept(load::message_in(series, n, conversations, TEXT_BYTES), None)
    });
}

/// Remembers so many keys: of stops, which leave nothing else behind.
fn fill_keys(bare: &mut Bare, keys: u64) {
    in_batches(bare, keys, |n| {
        let request = AbortRequest {
            external_id: format!("stop{n}"),
            conversation: format!("quiet{}", n % 1024),
            context: None,
            sender: Sender::default(),
        };
        Command::Accept(Accept {
            channel: load::channel(),
            events: vec![InboundEvent::Abort(request)],
            cursor: None,
            state: StateWrites::default(),
            claim: None,
        })
    });
}

/// Turns per second with many pending rows, held against the same with few. For each turn that
/// ends another one is accepted, so that the backlog keeps its size.
pub async fn pending(scale: &Scale, folder: &Path) -> Figure {
    const MANY_ROWS: &str = "whole turns, many rows pending";
    const FEW_ROWS: &str = "with 1,000 rows pending";
    fill(folder, "few", "pending", FEW);
    fill(folder, "many", "pending", scale.pending);
    let mut rounds = Rounds::default();
    for round in 0..=scale.rounds {
        if round == 1 {
            rounds.forget();
        }
        for (name, store) in [(FEW_ROWS, "few"), (MANY_ROWS, "many")] {
            let inside = Arc::new(Inside::start(folder, store).await);
            rounds.take(name, inside.turns(ABREAST, scale.span).await.per_second);
            inside.stop().await;
        }
    }
    let mut figure = rounds.against(MANY_ROWS, FEW_ROWS, Goal::RatioAtLeast(0.9));
    figure.name = format!("whole turns, {} rows pending", scale.pending);
    figure
}

/// As long as one step of the yardsticks takes.
const ONE_STEP: Duration = Duration::from_nanos(1);

/// How long one caller waits for an accept while turns that ended are pruned as the sweep prunes
/// them, held against the same host before.
pub async fn pruning(scale: &Scale, folder: &Path) -> Vec<Figure> {
    const PRUNING: &str = "accept to answer while pruning, p99";
    const QUIET: &str = "quiet";
    let mut bare = Bare::open(folder, "prune");
    for _ in 0..scale.ended / COMMANDS_PER_BATCH {
        bare.turns(COMMANDS_PER_BATCH as usize, ONE_STEP);
    }
    drop(bare);
    let inside = Arc::new(Inside::accepting(folder, "prune").await);
    let mut rounds = Rounds::default();
    for _ in 0..scale.rounds {
        let (_, quiet_ms) = inside.accepts(1, scale.span).await;
        let pruning = inside.prune();
        let (_, each_ms) = inside.accepts(1, scale.span).await;
        rounds.take(QUIET, quantile(&quiet_ms, 0.99));
        rounds.take(PRUNING, quantile(&each_ms, 0.99));
        rounds.take("pruned", pruning.stop().await as f64);
    }
    let mut figure = rounds.against(PRUNING, QUIET, Goal::RatioAtMost(3.0));
    figure.unit = "ms";
    let per_second = rounds.median("pruned") / scale.span.as_secs_f64();
    vec![figure, Figure::plain("rows pruned meanwhile", per_second, "1/s", Goal::None)]
}

/// Accepts per second, 64 abreast, with many keys remembered, held against the same with few.
pub fn keys(scale: &Scale, folder: &Path) -> Figure {
    const MANY_KEYS: &str = "accepts, many keys remembered";
    const FEW_KEYS_HELD: &str = "with 10,000 keys";
    let mut few = Bare::open(folder, "keys-few");
    let mut many = Bare::open(folder, "keys-many");
    fill_keys(&mut few, FEW_KEYS.min(scale.keys));
    fill_keys(&mut many, scale.keys);
    let mut rounds = Rounds::default();
    for round in 0..=scale.rounds {
        if round == 1 {
            rounds.forget();
        }
        rounds.take(FEW_KEYS_HELD, few.accept(64, scale.span));
        rounds.take(MANY_KEYS, many.accept(64, scale.span));
    }
    let mut figure = rounds.against(MANY_KEYS, FEW_KEYS_HELD, Goal::RatioAtLeast(0.8));
    figure.name = format!("accepts, 64 abreast, {} keys remembered", scale.keys);
    figure
}
