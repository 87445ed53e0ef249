//! `fuzz-admission --cases N [--seed S] [--from K] [--only K]`: mutated components against
//! admission. Ends with 1 at the first case that is not answered as it must be.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "it is a command")]
#![allow(clippy::disallowed_methods, reason = "it is timed on the real clock")]

use std::process::ExitCode;
use std::time::Instant;

use lastword_tests::fuzz_admission::{Tally, run};

struct Wanted {
    cases: u64,
    seed: u64,
    from: u64,
}

fn wanted() -> Option<Wanted> {
    let mut wanted = Wanted { cases: 10_000, seed: 1, from: 0 };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let number = words.next()?.replace('_', "").parse().ok()?;
        match word.as_str() {
            "--cases" => wanted.cases = number,
            "--seed" => wanted.seed = number,
            "--from" => wanted.from = number,
            "--only" => (wanted.from, wanted.cases) = (number, 1),
            _ => return None,
        }
    }
    Some(wanted)
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> ExitCode {
    let Some(Wanted { cases, seed, from }) = wanted() else {
        eprintln!("fuzz-admission [--cases N] [--seed S] [--from K | --only K]");
        return ExitCode::from(2);
    };
    let began = Instant::now();
    let tally = run(seed, from, cases, |done| {
        if done.is_multiple_of(50_000) {
            let rate = done as f64 / began.elapsed().as_secs_f64();
            eprintln!("{done} of {cases}, {rate:.0} a second");
        }
    })
    .await;
    let Tally { cases, refused, admitted, slowest } = &tally;
    println!("{cases} cases of seed {seed} in {:.0} s", began.elapsed().as_secs_f64());
    println!("{} validated and were compiled, {admitted} were admitted", tally.compiled());
    for (kind, count) in refused {
        println!("refused, {kind}: {count}");
    }
    println!("slowest: {slowest:?}; no panic, every refusal a sentence");
    ExitCode::SUCCESS
}
