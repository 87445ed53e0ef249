//! Some seeds of a whole host. A failing one is printed with the line that replays it; seeds that
//! once failed stand in `REGRESSIONS`. The long form is `cargo xtask simulate`.

#![allow(clippy::unwrap_used, reason = "a test ends with a panic")]
#![allow(clippy::print_stderr, reason = "a failing test says what it saw")]

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use lastword_tests::simulation::{self, STEPS, Trace};

/// Seeds of one run.
const SEEDS: u64 = 100;

/// So many failing seeds say what there is to say: where all fail, each goes on for long.
const FAILED_MAX: usize = 5;

/// Seeds that once found something, and within how many steps: calls under claims that were over
/// (22), a question that a jump of the clock brought forward (131), a renewed claim that was swept
/// all the same (200048), an abort that was refused although it is on the disk (1000158), a schedule
/// that was made anew and came to the same time once more (3000198), a turn under which a host had
/// died that was claimed and given back for ever (4004072).
const REGRESSIONS: &[(u64, u64)] = &[
    (22, 600),
    (131, 600),
    (200_048, 1_000),
    (1_000_158, 1_000),
    (3_000_198, 1_000),
    (4_004_072, 1_000),
];

/// Runs the seeds on two threads; gives those that broke something, the first few.
fn run(seeds: &[(u64, u64)]) -> Vec<u64> {
    let (next, failed) = (AtomicU64::new(0), Mutex::new(Vec::new()));
    let work = || {
        while failed.lock().unwrap().len() < FAILED_MAX {
            let place = usize::try_from(next.fetch_add(1, Ordering::Relaxed)).unwrap();
            let Some(&(seed, steps)) = seeds.get(place) else { return };
            if !holds(seed, steps) {
                failed.lock().unwrap().push(seed);
            }
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(work);
        work();
    });
    failed.into_inner().unwrap()
}

fn holds(seed: u64, steps: u64) -> bool {
    let outcome = simulation::run(seed, steps, Trace::Off);
    if outcome.broken.is_empty() {
        return true;
    }
    eprintln!("seed {seed}; replay: cargo xtask simulate --seed {seed} --steps {steps}");
    for sentence in outcome.broken.iter().take(10) {
        eprintln!("  {sentence}");
    }
    false
}

// Case: B2, G4
#[test]
fn the_promises_hold_under_every_seed() {
    let fresh = (1..=SEEDS).map(|seed| (seed, STEPS));
    let seeds: Vec<(u64, u64)> = REGRESSIONS.iter().copied().chain(fresh).collect();
    let failed = run(&seeds);
    assert!(failed.is_empty(), "of {} seeds these failed first: {failed:?}", seeds.len());
}

#[test]
fn a_seed_replays_to_the_same_trace() {
    for seed in [3, 7, 11, 12, 13] {
        let run = || simulation::run(seed, 300, Trace::On);
        let (first, second) = (run(), run());
        let differs = first.trace.iter().zip(&second.trace).position(|(a, b)| a != b);
        if let Some(line) = differs {
            panic!("seed {seed}, line {line}: {} / {}", first.trace[line], second.trace[line]);
        }
        assert_eq!(first.trace.len(), second.trace.len());
        assert_eq!(first.steps, second.steps);
    }
}
