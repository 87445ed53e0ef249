//! `cargo xtask bench`: builds what the benchmarks need and runs them.

use anyhow::Result;

use crate::{artifacts, step};

/// How the benchmarks are to run.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Flags {
    smoke: bool,
    /// What the benchmark itself is told: flags, and the groups that alone are taken.
    told: Vec<String>,
}

impl Flags {
    /// `None` where a word is unknown.
    pub(crate) fn read(words: &[&str]) -> Option<Self> {
        let mut flags = Self::default();
        for word in words {
            match *word {
                "--smoke" => flags.smoke = true,
                "--json" | "--long" => {}
                flag if flag.starts_with('-') => return None,
                // Whether there is such a group the benchmark knows, and says.
                _group => {}
            }
            flags.told.push((*word).to_owned());
        }
        Some(flags)
    }
}

/// Only figures go to stdout.
pub(crate) fn run(flags: &Flags) -> Result<()> {
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
    bench.arg("--").args(&flags.told);
    let _ = step::run_aloud(&mut bench, |_| false)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_flags_and_groups_are_handed_on_and_other_flags_refused() {
        let words = ["--smoke", "--json", "rates"];
        let told = words.map(str::to_owned).to_vec();
        assert_eq!(Flags::read(&words), Some(Flags { smoke: true, told }));
        assert_eq!(Flags::read(&[]), Some(Flags::default()));
        assert_eq!(Flags::read(&["--fast"]), None);
    }
}
