//! Runs cargo on the guests' workspace, and passes on what it says.

use std::collections::{BTreeSet, VecDeque};
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context as _, Result, bail};

use crate::GuestTarget;
use crate::catalogue::{Guest, Source, WORKSPACE};
use crate::toolchain::Toolchain;

/// Lines of the compiler that an error carries along: the first error of a guest is among them.
const ERROR_LINES_MAX: usize = 120;

/// Compiles the crates of `guests`, and gives the file of each, in the same order.
pub(crate) fn compile(
    repo_root: &Path,
    toolchain: &Toolchain,
    target: GuestTarget,
    guests: &[&Guest],
    progress: &mut dyn FnMut(&str),
) -> Result<Vec<PathBuf>> {
    let triple = triple(target)?;
    let target_dir = repo_root.join("adapters").join("target");
    let mut packages = BTreeSet::new();
    let mut kinds = BTreeSet::new();
    let mut files = Vec::new();
    let release = target_dir.join(triple).join("release");
    for guest in guests {
        let (package, kind, file) = match &guest.source {
            Source::Library { package, file_stem } => {
                (package, "--lib", release.join(format!("{file_stem}.wasm")))
            }
            Source::Example { package, file_stem } => {
                (package, "--examples", release.join(format!("examples/{file_stem}.wasm")))
            }
            Source::Text(path) => bail!("{} is no crate", path.display()),
        };
        packages.insert(package.as_str());
        kinds.insert(kind);
        files.push(file);
    }
    let mut command = toolchain.cargo_build(triple);
    command.arg("--manifest-path").arg(repo_root.join(WORKSPACE));
    command.arg("--target-dir").arg(&target_dir).args(kinds);
    for package in packages {
        command.args(["--package", package]);
    }
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .context("cargo cannot be started; install Rust from https://rustup.rs")?;
    let mut tail = VecDeque::new();
    if let Some(stderr) = child.stderr.take() {
        for line in BufReader::new(stderr).lines() {
            let line = line.context("cargo's words cannot be read")?;
            if let Some(step) = step(&line) {
                progress(&step);
            }
            if tail.len() == ERROR_LINES_MAX {
                tail.pop_front();
            }
            tail.push_back(line);
        }
    }
    if !child.wait().context("cargo was lost")?.success() {
        let words: Vec<String> = tail.into();
        bail!("the guests do not build for {triple}:\n{}", words.join("\n"));
    }
    Ok(files)
}

fn triple(target: GuestTarget) -> Result<&'static str> {
    match target {
        GuestTarget::Plain => Ok("wasm32-unknown-unknown"),
        GuestTarget::Wasip2 => Ok("wasm32-wasip2"),
        GuestTarget::Handwritten => bail!("a module that stands as text is not compiled"),
    }
}

/// What is worth showing of cargo's words: which crate it is at, and warnings.
fn step(line: &str) -> Option<String> {
    let trimmed = line.trim_start();
    let shown = ["Compiling ", "Downloading ", "Downloaded ", "warning", "error"];
    shown.iter().any(|start| trimmed.starts_with(start)).then(|| trimmed.to_owned())
}
