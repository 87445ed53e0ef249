//! How many lives a simulation or a model lives: a bounded number by itself, more or one alone
//! where the caller says so. `LASTWORD_SEED` names one seed, `LASTWORD_SEEDS` how many (from
//! `LASTWORD_FROM`, else 0), `LASTWORD_STEPS` how long each is.

use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use crate::env::Env;

/// Seeds of one run, and steps of each.
#[derive(Debug, Clone)]
pub(super) struct Campaign {
    pub(super) seeds: Range<u64>,
    pub(super) steps: u32,
    /// Whether somebody asked for more than the bounded run: then figures are told.
    long: bool,
}

fn asked(name: &str) -> Option<u64> {
    let text = crate::env::variable(name)?;
    match text.to_string_lossy().parse() {
        Ok(number) => Some(number),
        Err(error) => panic!("{name}: {error}"),
    }
}

impl Campaign {
    /// What was asked for, else so many seeds of so many steps.
    pub(super) fn asked(seeds: u64, steps: u32) -> Self {
        let steps = asked("LASTWORD_STEPS").map_or(steps, |steps| u32::try_from(steps).unwrap());
        if let Some(seed) = asked("LASTWORD_SEED") {
            return Self { seeds: seed..seed + 1, steps, long: true };
        }
        let from = asked("LASTWORD_FROM").unwrap_or(0);
        let count = asked("LASTWORD_SEEDS");
        Self { seeds: from..from + count.unwrap_or(seeds), steps, long: count.is_some() }
    }

    /// Lives each seed's life, which gives the steps that it took; the first that fails is named
    /// with the line that repeats it.
    #[allow(clippy::print_stderr, reason = "the seed is what repeats a failure")]
    pub(super) fn run(&self, test: &str, life: impl Fn(u64, u32) -> u64) {
        let env = Env::system();
        let mut steps = 0;
        for seed in self.seeds.clone() {
            match catch_unwind(AssertUnwindSafe(|| life(seed, self.steps))) {
                Ok(taken) => steps += taken,
                Err(panic) => {
                    eprintln!(
                        "seed {seed} failed; replay: LASTWORD_SEED={seed} LASTWORD_STEPS={} cargo \
                         test -p lastword -p lastword-tests --lib -- {test}",
                        self.steps
                    );
                    resume_unwind(panic);
                }
            }
        }
        if self.long {
            let seconds = env.elapsed().as_secs_f64();
            let seeds = self.seeds.end - self.seeds.start;
            let rate = steps as f64 / seconds;
            eprintln!("{test}: {seeds} seeds, {steps} steps in {seconds:.1} s, {rate:.0} steps/s");
        }
    }
}
