//! The benchmarks: what Lastword makes of the disk below it.
//!
//! Every figure is printed beside yardsticks that are taken within seconds of it in the same
//! folder, since only ratios count: C, durable commits of one row; G, rows in transactions of a
//! hundred; A(n) and B(n), accepts and whole turns of the store's core run bare, n abreast.
//!
//! Figures: syncs per turn (one at a time, 64 in flight), accept (one caller, 64), whole turns (one
//! at a time, 64 in flight, over HTTP with real adapters), one send through the sandbox, latencies,
//! memory at rest and with a backlog, start and stop, the first delivery after a SIGKILL, and how
//! rates hold with many rows. `--json`: a figure a line. `--smoke`: tiny counts that show that all
//! of it runs. `--long`: the full backlogs. Other words are groups: only those are taken. The group
//! `languages` is taken only by name.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "it is a command")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a broken figure ends the run")]

use std::process::ExitCode;

use lastword_tests::bench::{GROUPS, NAMED_GROUPS, Scale, measure};
use lastword_tests::harness::built::target_folder;

fn main() -> ExitCode {
    // Adapters are compiled, and some are run, by children of this very program.
    if let Some(code) = lastword::sandbox::child_main(std::env::args_os()) {
        return ExitCode::from(code);
    }
    bench();
    ExitCode::SUCCESS
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn bench() {
    let (flags, groups): (Vec<String>, Vec<String>) =
        std::env::args().skip(1).partition(|word| word.starts_with("--"));
    let mut scale = Scale::standard();
    let mut json = false;
    for flag in &flags {
        match flag.as_str() {
            "--json" => json = true,
            "--smoke" => scale = Scale::smoke(),
            "--long" => scale = Scale::long(),
            other => panic!("{other} is not known: --json, --smoke or --long, and {GROUPS:?}"),
        }
    }
    let known = || GROUPS.into_iter().chain(NAMED_GROUPS);
    if let Some(unknown) = groups.iter().find(|group| known().all(|known| known != *group)) {
        panic!("there is no group {unknown}; there are {:?}", known().collect::<Vec<_>>());
    }
    // Beside what was built, so that the figures are of a real disk: the system's folder for
    // temporary files may be memory.
    let folder = target_folder().join("bench");
    std::fs::create_dir_all(&folder).expect("the target folder can be written");
    let wanted = |group: &&str| match groups.is_empty() {
        true => GROUPS.contains(group),
        false => groups.iter().any(|wanted| wanted == group),
    };
    for group in known().filter(wanted) {
        for figure in Box::pin(measure(group, &scale, &folder)).await {
            if json {
                println!("{}", serde_json::to_string(&figure).expect("a figure is plain"));
            } else {
                println!("{}", figure.row());
            }
        }
    }
}
