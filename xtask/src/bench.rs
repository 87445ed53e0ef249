//! `cargo xtask bench`: builds what the benchmarks need and runs them.

use anyhow::Result;

use crate::{artifacts, step};

/// How the benchmarks are to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Flags {
    json: bool,
    smoke: bool,
}

impl Flags {
    /// `None` where a word is unknown.
    pub(crate) fn read(words: &[&str]) -> Option<Self> {
        let mut flags = Self::default();
        for word in words {
            match *word {
                "--json" => flags.json = true,
                "--smoke" => flags.smoke = true,
                _ => return None,
            }
        }
        Some(flags)
    }
}

/// Only figures go to stdout.
pub(crate) fn run(flags: Flags) -> Result<()> {
    artifacts::guests_for_tests()?;
    let profile: &[&str] = if flags.smoke { &[] } else { &["--release"] };
    // The host beside it: some figures are of the real binary.
    let packages = ["--package", "lastword", "--package", "lastword-tests", "--bins"];
    step::run(
        "building the benchmarks",
        artifacts::cargo().arg("build").args(packages).args(profile),
    )?;
    let mut bench = artifacts::cargo();
    bench.args(["run", "--quiet", "--package", "lastword-tests", "--bin", "bench"]).args(profile);
    bench.arg("--");
    if flags.json {
        bench.arg("--json");
    }
    if flags.smoke {
        bench.arg("--smoke");
    }
    let _ = step::run_aloud(&mut bench, |_| false)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_flags_are_read_in_any_order_and_others_refused() {
        let both = Some(Flags { json: true, smoke: true });
        assert_eq!(Flags::read(&["--smoke", "--json"]), both);
        assert_eq!(Flags::read(&[]), Some(Flags::default()));
        assert_eq!(Flags::read(&["--fast"]), None);
    }
}
