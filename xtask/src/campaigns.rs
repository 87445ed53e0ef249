//! `cargo xtask simulate` and `cargo xtask kill-loop`: the long forms of what CI runs for a short
//! while. They build what they run, and hand their words on.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::artifacts::{self, cargo, target_folder};
use crate::step;

/// Our own crates are compiled with optimisation for the simulation, and nobody else's anew.
const QUICK: [&str; 2] =
    ["profile.dev.package.lastword.opt-level=2", "profile.dev.package.lastword-tests.opt-level=1"];

/// Builds a command of the tests; gives its binary.
fn built(name: &str, also: &[&str], config: &[&str]) -> Result<PathBuf> {
    let mut build = cargo();
    // Both packages, so that what they share is built with the same features as always.
    build.args(["build", "--package", "lastword", "--package", "lastword-tests"]);
    for bin in [name].iter().chain(also) {
        build.args(["--bin", bin]);
    }
    for line in config {
        build.args(["--config", line]);
    }
    step::run(&format!("building {name}"), &mut build)?;
    Ok(target_folder()?.join("debug").join(name))
}

/// `--build-only` is for whoever wants to know how long it runs without the compiler.
fn run(binary: &PathBuf, words: &[&str]) -> Result<()> {
    if words.contains(&"--build-only") {
        return Ok(());
    }
    let name = binary.display();
    let status = Command::new(binary)
        .args(words)
        .status()
        .with_context(|| format!("{name} cannot be started"))?;
    if !status.success() {
        bail!("{name} ended with {status}");
    }
    Ok(())
}

/// Seeds of the whole-host simulation.
pub(crate) fn simulate(words: &[&str]) -> Result<()> {
    run(&built("simulate", &[], &QUICK)?, words)
}

/// Kills of the real binary.
pub(crate) fn kill_loop(words: &[&str]) -> Result<()> {
    artifacts::guests_for_tests()?;
    run(&built("kill-loop", &["lastword"], &[])?, words)
}
