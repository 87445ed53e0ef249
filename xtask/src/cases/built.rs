//! The names of the tests as the test binaries themselves list them.

use std::collections::BTreeSet;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

use crate::checks;

/// The names in all binaries of both workspaces, which are built where they are not.
pub(super) fn names() -> Result<BTreeSet<String>> {
    let mut names = BTreeSet::new();
    for mut command in checks::test_commands() {
        // Without documentation: its examples would be compiled, and hold no cases.
        command.args(["--lib", "--bins", "--tests", "--", "--list"]);
        names.extend(listed(&output(&mut command)?));
    }
    Ok(names)
}

fn output(command: &mut Command) -> Result<String> {
    let output = command.stderr(Stdio::inherit()).output().context("cargo cannot be started")?;
    if !output.status.success() {
        bail!("the list of tests cannot be had: cargo ended with {}", output.status);
    }
    String::from_utf8(output.stdout).context("the list of tests is no text")
}

/// `module::name: test`, one a line; benches and totals are none.
pub(super) fn listed(text: &str) -> impl Iterator<Item = String> {
    text.lines().filter_map(|line| line.strip_suffix(": test")).map(str::to_owned)
}
