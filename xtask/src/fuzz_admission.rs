//! `cargo xtask fuzz-admission`: builds the guests that are mutated, and runs the campaign.

use anyhow::Result;

use crate::{artifacts, step};

/// Flags are those of the campaign itself, which says where one is wrong.
pub(crate) fn run(flags: &[&str]) -> Result<()> {
    artifacts::guests_for_tests()?;
    let packages = ["--package", "lastword", "--package", "lastword-tests", "--bins"];
    step::run("building the campaign", artifacts::cargo().arg("build").args(packages))?;
    let mut campaign = artifacts::cargo();
    campaign.args(["run", "--quiet", "--package", "lastword-tests", "--bin", "fuzz-admission"]);
    campaign.arg("--").args(flags);
    let _ = step::run_aloud(&mut campaign, |_| false)?;
    Ok(())
}
