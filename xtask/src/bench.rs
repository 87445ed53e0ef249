//! `cargo xtask bench`: builds what the benchmarks need and runs them.

use anyhow::Result;

use crate::{artifacts, step};

const LOAD: [&str; 5] = ["backlog", "one-conversation", "conversations", "flood", "keys"];

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

    /// The groups that are about load, whole.
    pub(crate) fn of_load(words: &[&str]) -> Option<Self> {
        let told = match words {
            [] => vec!["--long"],
            ["--json"] => vec!["--long", "--json"],
            _ => return None,
        };
        let all = told.into_iter().chain(LOAD).map(str::to_owned);
        Some(Self { smoke: false, told: all.collect() })
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

/// `cargo xtask soak --minutes N`: the real binary, release, under a fifth of what it can do.
pub(crate) fn soak(minutes: &str) -> Result<()> {
    artifacts::guests_for_tests()?;
    let packages = ["--package", "lastword", "--package", "lastword-tests", "--bins"];
    step::run(
        "building the soak",
        artifacts::cargo().arg("build").args(packages).arg("--release"),
    )?;
    let mut soak = artifacts::cargo();
    soak.args(["run", "--quiet", "--release", "--package", "lastword-tests", "--bin", "soak"]);
    let _ = step::run_aloud(soak.args(["--", minutes]), |_| false)?;
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
