//! `cargo xtask test`: everything that CI checks, in the order in which it fails fastest.
//!
//! Nothing is left out in silence: what a check needs and cannot have is a failure that says how to
//! get it. The engine is compiled once for all of it, in the dev profile.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use crate::artifacts::{self, Profile, cargo, repository};
use crate::cases;
use crate::fuzz;
use crate::step::{self, Step};
use crate::threats;
use crate::unused;

/// Packages that are tested without the engine; then those with it.
const LIGHT: [&str; 4] = ["--package", "xtask", "--package", "guest-build"];
const HEAVY: [&str; 4] = ["--package", "lastword", "--package", "lastword-tests"];

struct Passed {
    name: &'static str,
    took: Duration,
}

/// What was done, for the summary.
#[derive(Default)]
struct Record {
    passed: Vec<Passed>,
    /// Cargo's own lines about the tests.
    summaries: Vec<String>,
}

impl Record {
    fn note(
        &mut self,
        name: &'static str,
        check: impl FnOnce(&mut Self) -> Result<()>,
    ) -> Result<()> {
        let began = Instant::now();
        check(self).with_context(|| format!("cargo xtask test: {name} failed"))?;
        self.passed.push(Passed { name, took: began.elapsed() });
        Ok(())
    }

    fn tests(&mut self, command: &mut Command) -> Result<()> {
        let kept = step::run_aloud(command, |line| line.starts_with("test result:"))?;
        self.summaries.extend(kept);
        Ok(())
    }

    fn print(&self) {
        println!();
        for Passed { name, took } in &self.passed {
            println!("ok  {name:<28} {:>7.1} s", took.as_secs_f64());
        }
        println!();
        for summary in &self.summaries {
            println!("{summary}");
        }
        // One line that counts them all, for whoever reads the end only.
        println!();
        println!("{} passed, {} failed", self.count("passed"), self.count("failed"));
    }

    /// The number in front of `word`, added up over cargo's lines.
    fn count(&self, word: &str) -> u64 {
        let of_line = |line: &String| {
            let before = line.split(word).next()?.trim_end();
            before.rsplit([' ', '.']).next()?.parse::<u64>().ok()
        };
        self.summaries.iter().filter_map(of_line).sum()
    }
}

/// Runs all checks; the first that fails ends them.
pub(crate) fn run() -> Result<()> {
    let guests = repository().join("adapters").join("Cargo.toml");
    let mut record = Record::default();
    record.note("tools", |_| tools())?;
    record.note("format", |_| format(&guests))?;
    record.note("unused dependencies", |_| unused_dependencies(&guests))?;
    record.note("guests", |_| artifacts::guests_for_tests())?;
    record.note("clippy", |_| clippy(&guests))?;
    record.note("docs", |_| docs(&guests))?;
    record.note("python for real peers", |_| python())?;
    record.note("host", |_| artifacts::host(Profile::Dev).map(|_| ()))?;
    let names = ["tests of the guests", "tests of the tools", "tests of the host"];
    for (name, mut command) in names.into_iter().zip(test_commands()) {
        record.note(name, |record| record.tests(&mut command))?;
    }
    record.note("fuzz targets, guided", |_| fuzz::run(&fuzz::Flags::briefly()))?;
    record.note("cases", |_| cases::check(cases::Names::OfBinaries))?;
    record.note("threats", |_| threats::check())?;
    record.print();
    Ok(())
}

/// All tests: of the guests, of the tools, of the host.
pub(crate) fn test_commands() -> [Command; 3] {
    let mut guests = guests_cargo(&repository().join("adapters").join("Cargo.toml"));
    guests.args(["test", "--workspace"]);
    let (mut tools, mut host) = (cargo(), cargo());
    tools.arg("test").args(LIGHT);
    host.arg("test").args(HEAVY);
    [guests, tools, host]
}

/// Formatter and linter come with rustup's default profile, and can be added to others.
fn tools() -> Result<()> {
    for (subcommand, component) in [("fmt", "rustfmt"), ("clippy", "clippy")] {
        if is_there(subcommand) {
            continue;
        }
        let _ = Command::new("rustup").args(["component", "add", component]).status();
        if !is_there(subcommand) {
            bail!("cargo {subcommand} is missing: run `rustup component add {component}`");
        }
    }
    // The guide for adapter authors is run in all of its languages.
    let npm = Command::new("npm").arg("--version").stdout(Stdio::null()).status();
    if !npm.is_ok_and(|status| status.success()) {
        bail!("npm is missing, which the guide's JavaScript needs: install Node.js 20 or newer");
    }
    Ok(())
}

fn is_there(subcommand: &str) -> bool {
    let mut command = cargo();
    command.args([subcommand, "--version"]).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// Guests are also compiled for this machine, for their tests; in a folder of their own, because
/// the other one may belong to another compiler.
fn guests_cargo(manifest: &Path) -> Command {
    let mut command = cargo();
    if let Some(folder) = manifest.parent() {
        command.current_dir(folder);
    }
    let native: PathBuf = repository().join("target").join("guests-native");
    command.env("CARGO_TARGET_DIR", native);
    command
}

fn format(guests: &Path) -> Result<()> {
    step::run("format", cargo().args(["fmt", "--all", "--check"]))?;
    step::run("format of the guests", guests_cargo(guests).args(["fmt", "--all", "--check"]))?;
    Ok(())
}

fn unused_dependencies(guests: &Path) -> Result<()> {
    let step = Step::begin("unused dependencies");
    let mut sentences = unused::find(&repository().join("Cargo.toml"))?;
    sentences.extend(unused::find(guests)?);
    if sentences.is_empty() {
        step.done();
        return Ok(());
    }
    bail!("{}\n{}", step.failed(), sentences.join("\n"));
}

fn clippy(guests: &Path) -> Result<()> {
    let deny = ["--all-targets", "--", "-D", "warnings"];
    step::run("clippy", cargo().args(["clippy", "--workspace"]).args(deny))?;
    let mut command = guests_cargo(guests);
    step::run("clippy of the guests", command.args(["clippy", "--workspace"]).args(deny))?;
    Ok(())
}

fn docs(guests: &Path) -> Result<()> {
    let arguments = ["doc", "--workspace", "--no-deps"];
    for (title, mut command) in [("docs", cargo()), ("docs of the guests", guests_cargo(guests))] {
        step::run(title, command.args(arguments).env("RUSTDOCFLAGS", "-D warnings"))?;
    }
    Ok(())
}

/// A real homeserver and a client that nobody here wrote, in an environment of their own.
fn python() -> Result<()> {
    let setup = repository().join("tests").join("matrix").join("setup.sh");
    let venv = artifacts::target_folder()?.join("venv");
    let title = "python for real peers (the first time: a minute or two)";
    step::run(title, Command::new(&setup).arg(&venv))
        .context("the tests against a real Matrix homeserver need python3 with venv and pip")?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::Record;

    #[test]
    fn the_last_line_counts_what_cargo_counted() {
        let line = |passed, failed| {
            format!("test result: ok. {passed} passed; {failed} failed; 0 ignored; 0 measured")
        };
        let record =
            Record { passed: Vec::new(), summaries: vec![line(390, 0), line(17, 2), line(0, 0)] };
        assert_eq!((record.count("passed"), record.count("failed")), (407, 2));
    }
}
