//! Where things are and how they are built: the host's binary, the guests.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use guest_build::{BuiltGuest, GuestSet};
use serde_json::Value;

use crate::step::{self, Step};

/// Which profile a build is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Profile {
    Dev,
    Release,
}

/// The top of the repository.
pub(crate) fn repository() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_owned()
}

/// The cargo that runs us. What it told us about our own package is taken back: build scripts that
/// watch these variables (ring's does) would be run again each time somebody calls cargo directly,
/// and the host compiled anew.
pub(crate) fn cargo() -> Command {
    let program = std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
    let mut command = Command::new(program);
    command.current_dir(repository());
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
            command.env_remove(&name);
        }
    }
    command
}

/// What cargo says about a workspace.
pub(crate) fn metadata(manifest: &Path) -> Result<Value> {
    let output = cargo()
        .args(["metadata", "--no-deps", "--format-version", "1", "--manifest-path"])
        .arg(manifest)
        .output()
        .context("cargo cannot be started")?;
    if !output.status.success() {
        bail!("cargo metadata failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    serde_json::from_slice(&output.stdout).context("the answer of cargo metadata is no JSON")
}

/// The target folder, wherever the environment or the user's config puts it.
pub(crate) fn target_folder() -> Result<PathBuf> {
    let metadata = metadata(&repository().join("Cargo.toml"))?;
    let folder = metadata["target_directory"].as_str();
    Ok(PathBuf::from(folder.context("cargo metadata names no target folder")?))
}

/// Builds the host; gives its binary.
pub(crate) fn host(profile: Profile) -> Result<PathBuf> {
    let mut command = cargo();
    command.args(["build", "--package", "lastword", "--bin", "lastword"]);
    let (folder, words) = match profile {
        Profile::Dev => ("debug", "building the host"),
        Profile::Release => {
            command.arg("--release");
            ("release", "building the host for release")
        }
    };
    let binary = target_folder()?.join(folder).join("lastword");
    let title = if binary.exists() {
        words.to_owned()
    } else {
        format!("{words} (the first time its WebAssembly engine as well: some minutes)")
    };
    step::run(&title, &mut command)?;
    Ok(binary)
}

/// Builds guests.
pub(crate) fn guests(set: &GuestSet) -> Result<Vec<BuiltGuest>> {
    let mut step = Step::begin("building guests");
    let built = guest_build::build(&repository(), set, &mut |line| step.line(line));
    match built {
        Ok(built) => {
            step.done();
            Ok(built)
        }
        Err(error) => Err(error.context(step.failed())),
    }
}

/// `cargo xtask guests`.
pub(crate) fn guests_by_name(names: &[&str]) -> Result<()> {
    let set = match names {
        [] => GuestSet::All,
        names => GuestSet::Named(names.iter().map(|name| (*name).to_owned()).collect()),
    };
    for guest in guests(&set)? {
        println!("{} ({} bytes)", guest.component.display(), guest.size_bytes);
    }
    Ok(())
}

/// Puts the components where tests look for them: beside the binaries, also where the target
/// folder is elsewhere.
pub(crate) fn guests_for_tests() -> Result<()> {
    let folder = target_folder()?.join("guests");
    std::fs::create_dir_all(&folder)
        .with_context(|| format!("cannot make {}", folder.display()))?;
    for guest in guests(&GuestSet::All)? {
        let Some(name) = guest.component.file_name() else { continue };
        let place = folder.join(name);
        if place != guest.component {
            std::fs::copy(&guest.component, &place)
                .with_context(|| format!("cannot write {}", place.display()))?;
        }
    }
    Ok(())
}
