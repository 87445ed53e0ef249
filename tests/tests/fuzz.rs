//! The bounded part of fuzzing: the committed corpus, and some thousands of seeded mutations of it.
//! `cargo xtask fuzz` is the long form, guided by coverage. What is found is written down beside the
//! build, to be taken into the corpus once it is understood.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends with a panic")]
#![allow(clippy::print_stdout, reason = "a failing test says what it saw")]

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use lastword_tests::fuzz::mutate::Mutations;
use lastword_tests::fuzz::{Fuzzer, Target};
use lastword_tests::harness::built::target_folder;

/// Repeats what the suite runs; the guided engine is there for chance.
const SEED: u64 = 1;

fn run(target: Target, mutations: usize) {
    run_with(target, mutations, Vec::new());
}

/// The corpus, these inputs, and mutations of the corpus.
fn run_with(target: Target, mutations: usize, inputs: Vec<Vec<u8>>) {
    let corpus = target.corpus();
    let known: Vec<Vec<u8>> = corpus.iter().map(|(_, input)| input.clone()).collect();
    let mut fuzzer = Fuzzer::new(target);
    let mutated = Mutations::new(SEED, known.clone()).take(mutations);
    for input in known.into_iter().chain(inputs).chain(mutated) {
        let taken = catch_unwind(AssertUnwindSafe(|| fuzzer.take(&input)));
        if let Err(panic) = taken {
            let folder = target_folder().join("fuzz/found").join(target.name());
            std::fs::create_dir_all(&folder).unwrap();
            let name = format!("{:016x}", lastword_tests::fuzz::mutate::name_of(&input));
            let path = folder.join(name);
            std::fs::write(&path, &input).unwrap();
            println!("the input stands in {}: {:?}", path.display(), input.escape_ascii());
            resume_unwind(panic);
        }
    }
}

#[test]
fn any_text_is_read_as_a_config_or_refused_with_places() {
    run(Target::Config, 4_000);
}

#[test]
fn whatever_a_handler_writes_decides_its_try_at_most_once() {
    run(Target::Handler, 10_000);
}

#[test]
fn whatever_a_platform_posts_is_answered_and_traps_nobody() {
    run(Target::Webhook, 1_500);
}

#[test]
fn whatever_a_program_asks_of_the_api_is_answered_in_its_form() {
    run(Target::Api, 2_500);
}

#[test]
fn a_row_that_holds_what_nobody_wrote_stops_no_other_conversation() {
    // Every column, whatever its number, with what damage looks like: no UTF-8, no JSON, the ends of
    // numbers, a small negative one, nothing.
    let damages: [&[u8]; 6] = [
        &[0, 0xff, 0xfe, 0],
        &[0, b'{'],
        &[1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f],
        &[1, 0, 0, 0, 0, 0, 0, 0, 0x80],
        &[2, 0xf9],
        &[3],
    ];
    let with = |place: u8| damages.map(|damage| [&[place], damage].concat());
    run_with(Target::Rows, 500, (0..=u8::MAX).flat_map(with).collect());
}
