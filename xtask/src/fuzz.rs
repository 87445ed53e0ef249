//! `cargo xtask fuzz`: builds the targets with counters on every edge of our own crates, and runs
//! them guided by these.
//!
//! Only our own crates are built with counters: cargo hands their compilation to a wrapper, which is
//! this program again, and takes everything else as it was built for the tests. So there is no
//! second build of the engine, and no tool beside the stable compiler.

use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result};

use crate::{artifacts, step};

/// Set for the wrapper's calls, and for nothing else.
const WRAPPING: &str = "LASTWORD_COUNT_EDGES";
const SECONDS: u32 = 60;
/// For the suite, which mutates the corpus by itself as well.
const BRIEF_SECONDS: u32 = 2;
/// Those of `lastword_tests::fuzz`, which this program does not link.
const TARGETS: [&str; 5] = ["config", "handler", "webhook", "api", "rows"];
const COUNTERS: [&str; 3] = [
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=3",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
];

/// What is to be fuzzed, and for how long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Flags {
    targets: Vec<String>,
    /// Of each target.
    seconds: u32,
    seed: u64,
}

impl Flags {
    fn all(seconds: u32) -> Self {
        Self { targets: TARGETS.map(str::to_owned).to_vec(), seconds, seed: 1 }
    }

    /// Every target for a moment: that they are built with counters, and that these guide.
    pub(crate) fn briefly() -> Self {
        Self::all(BRIEF_SECONDS)
    }

    /// `None` where a word is unknown.
    pub(crate) fn read(words: &[&str]) -> Option<Self> {
        let mut flags = Self { targets: Vec::new(), ..Self::all(SECONDS) };
        let mut words = words.iter();
        while let Some(word) = words.next() {
            match *word {
                "--seconds" => flags.seconds = words.next()?.parse().ok()?,
                "--seed" => flags.seed = words.next()?.parse().ok()?,
                name if TARGETS.contains(&name) => flags.targets.push(name.to_owned()),
                _ => return None,
            }
        }
        if flags.targets.is_empty() {
            flags.targets = Self::all(SECONDS).targets;
        }
        Some(flags)
    }
}

/// Runs the targets one after the other; a finding ends it.
pub(crate) fn run(flags: &Flags) -> Result<()> {
    artifacts::guests_for_tests()?;
    let wrapper = std::env::current_exe().context("this program does not know where it is")?;
    let mut build = artifacts::cargo();
    build.env("RUSTC_WORKSPACE_WRAPPER", &wrapper).env(WRAPPING, "1");
    // Both packages, so that what they share is built with the same features as always.
    build.args(["build", "--quiet", "--package", "lastword", "--package", "lastword-tests"]);
    step::run("building the targets with counters", build.args(["--bin", "fuzz"]))?;
    let built = artifacts::target_folder()?;
    for target in &flags.targets {
        // The binary itself: `cargo run` takes one package, and would build it with other features.
        let mut fuzz = Command::new(built.join("debug").join("fuzz"));
        fuzz.arg(target).args([flags.seconds.to_string(), flags.seed.to_string()]);
        let _ = step::run_aloud(fuzz.arg(built.join("fuzz")), |_| false)?;
    }
    Ok(())
}

/// Where cargo calls this program in the compiler's place: the compiler's end.
pub(crate) fn compile(words: &[String]) -> Option<ExitCode> {
    std::env::var_os(WRAPPING)?;
    let (compiler, words) = words.split_first()?;
    if !compiler.ends_with("rustc") {
        return None;
    }
    let mut command = Command::new(compiler);
    command.args(words);
    // Build scripts and the like are run by cargo, and would find nobody who counts.
    if words.iter().any(|word| word == "lastword" || word == "lastword_tests" || word == "fuzz") {
        command.args(COUNTERS);
    }
    let ended = match command.status() {
        Ok(status) => status.code(),
        Err(error) => {
            eprintln!("{compiler} cannot be started: {error}");
            None
        }
    };
    Some(ExitCode::from(u8::try_from(ended.unwrap_or(1)).unwrap_or(1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_and_their_time_are_read_and_other_words_refused() {
        let read = Flags::read(&["rows", "--seconds", "5", "--seed", "9"]);
        assert_eq!(read, Some(Flags { targets: vec!["rows".into()], seconds: 5, seed: 9 }));
        assert_eq!(Flags::read(&[]).map(|flags| flags.targets.len()), Some(TARGETS.len()));
        for wrong in [&["--seconds"][..], &["rowz"], &["--seconds", "x"]] {
            assert_eq!(Flags::read(wrong), None, "{wrong:?}");
        }
    }
}
