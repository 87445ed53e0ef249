//! One test against one state of the copy: compiled first, then run against the clock.

use std::io::Read as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use super::tree::Tree;
use crate::artifacts::cargo;
use crate::step;

/// Where it is built and run.
pub(super) struct Place<'a> {
    pub(super) tree: &'a Tree,
    pub(super) target: &'a Path,
}

/// How a test ended.
pub(super) enum Ran {
    Passed { took: Duration },
    Failed { took: Duration, words: String },
    StillRunning { took: Duration },
}

impl Ran {
    pub(super) fn took(&self) -> Duration {
        match self {
            Self::Passed { took } | Self::Failed { took, .. } | Self::StillRunning { took } => {
                *took
            }
        }
    }
}

/// How much of a test's last words is shown.
const WORDS_MAX: usize = 4_000;

fn command(place: &Place<'_>, words: &[String]) -> Command {
    let mut command = cargo();
    command.args(words).current_dir(&place.tree.root).env("CARGO_TARGET_DIR", place.target);
    command
}

/// Compiles the test. A mutation that does not compile is an error, not a find.
pub(super) fn build(place: &Place<'_>, test: &[String], title: &str) -> Result<()> {
    let mut words = test.to_vec();
    match words.first().map(String::as_str) {
        Some("test") => words.insert(1, "--no-run".to_owned()),
        // Our own commands build what they run.
        _ => words.push("--build-only".to_owned()),
    }
    let title = format!("compiling with {title}");
    step::run(&title, &mut command(place, &words))?;
    Ok(())
}

/// Runs the test for at most so long.
pub(super) fn run(place: &Place<'_>, test: &[String], most: Duration) -> Result<Ran> {
    let mut output = tempfile()?;
    let began = Instant::now();
    let mut child = command(place, test)
        .stdin(Stdio::null())
        .stdout(output.try_clone()?)
        .stderr(output.try_clone()?)
        .process_group(0)
        .spawn()
        .context("cargo cannot be started")?;
    loop {
        if let Some(status) = child.try_wait()? {
            let took = began.elapsed();
            if status.success() {
                return Ok(Ran::Passed { took });
            }
            return Ok(Ran::Failed { took, words: last_words(&mut output)? });
        }
        if began.elapsed() > most {
            end(&mut child);
            return Ok(Ran::StillRunning { took: began.elapsed() });
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// The group is the test's own: cargo, and all that it started.
fn end(child: &mut Child) {
    let group = i32::try_from(child.id()).ok().and_then(rustix::process::Pid::from_raw);
    if let Some(group) = group {
        let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
    }
    let _ = child.wait();
}

/// A file without a name, for what the test says.
fn tempfile() -> Result<std::fs::File> {
    let path = std::env::temp_dir().join(format!("lastword-mutants-{}", std::process::id()));
    let file = std::fs::File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .open(&path)
        .with_context(|| format!("cannot make {}", path.display()))?;
    std::fs::remove_file(path)?;
    Ok(file)
}

fn last_words(output: &mut std::fs::File) -> Result<String> {
    use std::io::{Seek as _, SeekFrom};
    let mut bytes = Vec::new();
    output.seek(SeekFrom::Start(0))?;
    output.read_to_end(&mut bytes)?;
    let from = bytes.len().saturating_sub(WORDS_MAX);
    Ok(String::from_utf8_lossy(&bytes[from..]).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_test_that_never_ends_is_ended_with_all_that_it_started() {
        let mut child = Command::new("sh")
            .args(["-c", "sleep 600 & sleep 600"])
            .process_group(0)
            .spawn()
            .unwrap();
        let began = Instant::now();
        end(&mut child);
        assert!(began.elapsed() < Duration::from_secs(10));
    }
}
