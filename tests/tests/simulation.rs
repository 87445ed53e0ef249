//! A few hundred seeds of a whole host. A failing one is printed with the line that replays it;
//! seeds that once failed stand in `REGRESSIONS`.

#![allow(clippy::unwrap_used, reason = "a test ends with a panic")]
#![allow(clippy::print_stderr, reason = "a failing test says what it saw")]

use std::sync::atomic::{AtomicU64, Ordering};

use lastword_tests::simulation;

/// Seeds of one run; `LASTWORD_SEEDS` asks for more.
const SEEDS: u64 = 200;

/// Seeds that once found something: a handler that outlived its abort into the next turn (16, 65),
/// a probe that woke the loop which had dropped it (27).
const REGRESSIONS: &[u64] = &[16, 27, 65];

#[allow(clippy::disallowed_methods, reason = "a test reads what its caller asks for")]
fn asked(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

/// Runs the seeds on two threads; gives those that broke something.
fn run(seeds: &[u64]) -> Vec<u64> {
    let next = AtomicU64::new(0);
    let work = || {
        let mut failed = Vec::new();
        loop {
            let place = usize::try_from(next.fetch_add(1, Ordering::Relaxed)).unwrap();
            let Some(&seed) = seeds.get(place) else { return failed };
            if !holds(seed) {
                failed.push(seed);
            }
        }
    };
    std::thread::scope(|scope| {
        let other = scope.spawn(work);
        let mut failed = work();
        failed.extend(other.join().unwrap());
        failed
    })
}

fn holds(seed: u64) -> bool {
    let outcome = simulation::run(seed);
    if asked("LASTWORD_SEED").is_some() {
        outcome.trace.iter().for_each(|line| eprintln!("    {line}"));
    }
    if outcome.broken.is_empty() {
        return true;
    }
    eprintln!(
        "seed {seed}; replay: LASTWORD_SEED={seed} cargo test -p lastword-tests --test simulation"
    );
    for sentence in outcome.broken.iter().take(10) {
        eprintln!("  {sentence}");
    }
    false
}

// Case: B2, G4
#[test]
fn the_promises_hold_under_every_seed() {
    let seeds: Vec<u64> = match asked("LASTWORD_SEED") {
        Some(seed) => vec![seed],
        None => {
            let count = asked("LASTWORD_SEEDS").unwrap_or(SEEDS);
            REGRESSIONS.iter().copied().chain(1..=count).collect()
        }
    };
    let failed = run(&seeds);
    assert!(failed.is_empty(), "{} of {} seeds failed: {failed:?}", failed.len(), seeds.len());
}

#[test]
fn a_seed_replays_to_the_same_trace() {
    for seed in [3, 7] {
        let (first, second) = (simulation::run(seed), simulation::run(seed));
        let differs = first.trace.iter().zip(&second.trace).position(|(a, b)| a != b);
        if let Some(line) = differs {
            panic!("seed {seed}, line {line}: {} / {}", first.trace[line], second.trace[line]);
        }
        assert_eq!(first.trace.len(), second.trace.len());
    }
}
