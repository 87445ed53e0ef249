//! A soak of the real binary: `soak MINUTES`. A sample a line as JSON, then the report; it fails
//! where what the host holds is not steady.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "it is a command")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a broken soak ends the run")]

use std::process::ExitCode;
use std::time::Duration;

use lastword_tests::harness::built::target_folder;
use lastword_tests::soak;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> ExitCode {
    let minutes: f64 = std::env::args()
        .nth(1)
        .and_then(|word| word.parse().ok())
        .expect("it wants the number of minutes");
    // On a real disk, beside what was built.
    let folder = target_folder().join("soak");
    std::fs::create_dir_all(&folder).unwrap();
    let folder = tempfile::tempdir_in(&folder).unwrap();
    let span = Duration::from_secs_f64(minutes * 60.0);
    let mut print = |sample: &soak::Sample| {
        println!("{}", serde_json::to_string(sample).unwrap());
    };
    let report = soak::run(span, folder.path(), &mut print).await;
    println!("{}", serde_json::to_string(&report).unwrap());
    if report.verdict.steady { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
