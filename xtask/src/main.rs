//! `cargo xtask`: the commands of this repository.
//!
//! It knows cargo, the layout of the repository and the outside face of the host. It knows nothing
//! of the host's inside, and does not link it.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "a command for people, outside of what is simulated"
)]

mod artifacts;
mod bench;
mod campaigns;
mod cases;
mod checks;
mod demo;
mod dist;
mod fuzz;
mod fuzz_admission;
mod mutants;
mod prove;
mod step;
mod swaps;
mod threats;
mod unused;

use std::process::ExitCode;

const USAGE: &str = "\
cargo xtask COMMAND

  demo [--once]            build everything, start a host with a sample agent, post a message to it
                           and show the reply; then serve until Ctrl-C (--once: end after the reply)
  test                     everything that CI checks
  cases                    the table of cases and their tests, in docs/cases.md
  cases --check [--built]  whether it is right and whole (--built: names also as cargo lists them)
  threats                  whether each threat of docs/threats.md has its component and its test
  fuzz-admission [--cases N] [--seed S] [--only K]
                           mutated components against admission
  guests [NAME...]         build guests into target/guests
  dist                     a release binary and the adapters, in dist/
  every-n                  each access of the disk in one life fails in each way that it can
  orders [--more N]        every order in which threads can meet at the writer's queue, with one or N
                           more preemptions than in the tests (one: a quarter of an hour)
  power-cut [--seeds N [--from SEED] | --seed SEED]
                           the power goes at random moments of random lives (20,000 of them)
  swaps [--swaps N]        adapters replaced under load, 1000 times or N times, with figures
  bench [--json] [--smoke | --long] [GROUP...]
                           the figures of the benchmarks, all or those of some groups (--smoke: quick,
                           in the dev profile; --long: the full backlogs)
  simulate [--seed N] [--seeds K] [--steps M] [--minutes T] [--trace]
                           a whole host under K seeds from N on, each for M steps; a seed that breaks
                           a promise is printed, and replays exactly
  kill-loop [--kills N] [--seed S] [--minutes T]
                           the real binary killed N times under load, judged by what arrived
  mutants [NAME...]        put the faults of tests/mutations into a copy of the sources, one at a time:
                           each must be found by its test within a minute (--list: their names)
  load [--json]            the full backlogs alone: a million rows spread and in one conversation, ten
                           thousand conversations, ten million keys, a flood (tens of minutes)
  soak --minutes N         a host under a fifth of its capacity, watched: fails where it grows
  fuzz [TARGET...] [--seconds N] [--seed N]
                           fuzzing guided by coverage: config, handler, webhook, api, rows (60 s each)
";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if let Some(ended) = fuzz::compile(&args) {
        return ended;
    }
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let result = match words.as_slice() {
        ["demo"] => demo::run(demo::Until::CtrlC),
        ["demo", "--once"] => demo::run(demo::Until::FirstReply),
        ["test"] => checks::run(),
        ["cases"] => cases::write(),
        ["cases", "--check"] => cases::check(cases::Names::OfSources),
        ["cases", "--check", "--built"] => cases::check(cases::Names::OfBinaries),
        ["threats"] => threats::check(),
        ["fuzz-admission", flags @ ..] => fuzz_admission::run(flags),
        ["guests", names @ ..] => artifacts::guests_by_name(names),
        ["dist"] => dist::run(),
        ["every-n"] => prove::every_n(),
        ["orders", words @ ..] => match prove::orders(words) {
            Some(result) => result,
            None => return misused(),
        },
        ["power-cut", words @ ..] => match prove::power_cut(words) {
            Some(result) => result,
            None => return misused(),
        },
        ["swaps", words @ ..] => match swaps::read(words) {
            Some(count) => swaps::run(count),
            None => return misused(),
        },
        ["bench", flags @ ..] => match bench::Flags::read(flags) {
            Some(flags) => bench::run(&flags),
            None => return misused(),
        },
        ["simulate", words @ ..] => campaigns::simulate(words),
        ["kill-loop", words @ ..] => campaigns::kill_loop(words),
        ["mutants", "--list"] => mutants::print_names(),
        ["mutants", names @ ..] if !names.iter().any(|it| it.starts_with('-')) => {
            mutants::run(names)
        }
        ["load", flags @ ..] => match bench::Flags::of_load(flags) {
            Some(flags) => bench::run(&flags),
            None => return misused(),
        },
        ["soak", "--minutes", minutes] => bench::soak(minutes),
        ["fuzz", words @ ..] => match fuzz::Flags::read(words) {
            Some(flags) => fuzz::run(&flags),
            None => return misused(),
        },
        ["help" | "--help" | "-h"] => {
            print!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        _ => return misused(),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn misused() -> ExitCode {
    eprint!("{USAGE}");
    ExitCode::from(2)
}
