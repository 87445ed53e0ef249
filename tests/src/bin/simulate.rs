//! Campaigns of the whole-host simulation: seed after seed on one core. Behind `cargo xtask
//! simulate`; its last line is a summary in JSON, and a seed that breaks something is printed with
//! what it broke.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command for people")]
#![allow(clippy::disallowed_methods, reason = "a campaign is bounded by the real clock")]

use std::process::ExitCode;
use std::time::{Duration, Instant};

use lastword_tests::simulation::{self, Trace};
use serde_json::json;

const USAGE: &str = "\
simulate [--seed N] [--seeds K] [--steps M] [--minutes T] [--trace]
  K seeds from N on (1 from 1), each for at least M steps (1000), for T minutes at most
";

/// How often a long campaign says that it lives.
const TELL_EVERY: Duration = Duration::from_secs(60);

struct Plan {
    seed: u64,
    seeds: Option<u64>,
    steps: u64,
    minutes: Option<u64>,
    trace: Trace,
}

fn read(words: &[String]) -> Option<Plan> {
    let mut plan = Plan { seed: 1, seeds: None, steps: 1000, minutes: None, trace: Trace::Off };
    let mut words = words.iter();
    while let Some(word) = words.next() {
        if word == "--trace" {
            plan.trace = Trace::On;
            continue;
        }
        let value: u64 = words.next()?.parse().ok()?;
        match word.as_str() {
            "--seed" => plan.seed = value,
            "--seeds" => plan.seeds = Some(value),
            "--steps" => plan.steps = value,
            "--minutes" => plan.minutes = Some(value),
            _ => return None,
        }
    }
    Some(plan)
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let Some(plan) = read(&words) else {
        eprint!("{USAGE}");
        return ExitCode::from(2);
    };
    let began = Instant::now();
    let until = plan.minutes.map(|minutes| began + Duration::from_secs(60 * minutes));
    let count = plan.seeds.unwrap_or(if until.is_some() { u64::MAX } else { 1 });
    let (mut done, mut steps, mut broken, mut told) = (0_u64, 0_u64, Vec::new(), began);
    for seed in (plan.seed..).take_while(|seed| seed - plan.seed < count) {
        if until.is_some_and(|until| Instant::now() >= until) {
            break;
        }
        let outcome = simulation::run(seed, plan.steps, plan.trace);
        done += 1;
        steps += outcome.steps;
        outcome.trace.iter().for_each(|line| println!("{line}"));
        if !outcome.broken.is_empty() {
            println!("seed {seed} breaks what was promised:");
            outcome.broken.iter().take(10).for_each(|sentence| println!("  {sentence}"));
            println!("  replay: cargo xtask simulate --seed {seed} --steps {} --trace", plan.steps);
            broken.push(seed);
        }
        if told.elapsed() > TELL_EVERY {
            told = Instant::now();
            eprintln!("{done} seeds, {steps} steps, {} broken, newest {seed}", broken.len());
        }
    }
    let seconds = began.elapsed().as_secs_f64();
    let summary = json!({
        "first_seed": plan.seed,
        "seeds": done,
        "steps": steps,
        "violations": broken.len(),
        "broken_seeds": broken,
        "seconds": (seconds * 10.0).round() / 10.0,
        "steps_per_second": (steps as f64 / seconds).round(),
    });
    println!("{summary}");
    if broken.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
