//! Which guests there are: the crates of the guests' workspace that say so, and the modules that
//! stand as text in `tests/guests/text`.
//!
//! A crate says so in its `Cargo.toml`:
//!
//! ```toml
//! [package.metadata.lastword]
//! role = "adapter"   # or "test"
//! wasip2 = true      # also for that target; false where it is left out
//! ```
//!
//! Each `cdylib` of such a crate is a guest: its library, or each of its examples.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;

use crate::GuestTarget;

/// The manifest of the guests' workspace, from the root of the repository.
pub(crate) const WORKSPACE: &str = "adapters/Cargo.toml";

/// The folder of the modules that stand as text, from the root of the repository.
pub(crate) const TEXT_FOLDER: &str = "tests/guests/text";

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Role {
    Adapter,
    Test,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Source {
    /// The library of a crate.
    Library { package: String, file_stem: String },
    /// An example of a crate.
    Example { package: String, file_stem: String },
    /// A file of WebAssembly text.
    Text(PathBuf),
}

#[derive(Debug, Clone)]
pub(crate) struct Guest {
    pub(crate) name: String,
    pub(crate) role: Role,
    pub(crate) source: Source,
    wasip2: bool,
}

impl Guest {
    pub(crate) fn builds_for(&self, target: GuestTarget) -> bool {
        let is_text = matches!(self.source, Source::Text(_));
        match target {
            GuestTarget::Plain => !is_text,
            GuestTarget::Wasip2 => self.wasip2 && !is_text,
            GuestTarget::Handwritten => is_text,
        }
    }

    pub(crate) fn file_name(&self, target: GuestTarget) -> String {
        match target {
            GuestTarget::Plain | GuestTarget::Handwritten => format!("{}.wasm", self.name),
            GuestTarget::Wasip2 => format!("{}.wasip2.wasm", self.name),
        }
    }
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    targets: Vec<Target>,
    metadata: Option<PackageMetadata>,
}

#[derive(Deserialize)]
struct PackageMetadata {
    lastword: Option<Declaration>,
}

#[derive(Deserialize)]
struct Declaration {
    role: Role,
    #[serde(default)]
    wasip2: bool,
}

#[derive(Deserialize)]
struct Target {
    name: String,
    kind: Vec<String>,
    crate_types: Vec<String>,
}

/// Reads all guests, in order of name.
pub(crate) fn read(repo_root: &Path) -> Result<Vec<Guest>> {
    let mut guests = Vec::new();
    for package in metadata(&repo_root.join(WORKSPACE))?.packages {
        if let Some(declaration) = package.metadata.and_then(|metadata| metadata.lastword) {
            let cdylib = |target: &&Target| target.crate_types.iter().any(|kind| kind == "cdylib");
            for target in package.targets.iter().filter(cdylib) {
                guests.push(crate_guest(&package.name, &declaration, target));
            }
        }
    }
    guests.extend(text_guests(&repo_root.join(TEXT_FOLDER))?);
    guests.sort_by(|left, right| left.name.cmp(&right.name));
    if let Some(pair) = guests.windows(2).find(|pair| pair[0].name == pair[1].name) {
        bail!("two guests are called `{}`; name one of them differently", pair[0].name);
    }
    Ok(guests)
}

fn crate_guest(package: &str, declaration: &Declaration, target: &Target) -> Guest {
    let file_stem = target.name.replace('-', "_");
    let package = package.to_owned();
    let source = if target.kind.iter().any(|kind| kind == "example") {
        Source::Example { package, file_stem }
    } else {
        Source::Library { package, file_stem }
    };
    let name = target.name.replace('_', "-");
    Guest { name, role: declaration.role, source, wasip2: declaration.wasip2 }
}

fn text_guests(folder: &Path) -> Result<Vec<Guest>> {
    let mut guests = Vec::new();
    let entries = std::fs::read_dir(folder)
        .with_context(|| format!("cannot read the folder {}", folder.display()))?;
    for entry in entries {
        let path = entry?.path();
        let stem = path.file_stem().and_then(|stem| stem.to_str()).map(str::to_owned);
        if let (Some(name), Some("wat")) = (stem, path.extension().and_then(|end| end.to_str())) {
            let source = Source::Text(path);
            guests.push(Guest { name, role: Role::Test, source, wasip2: false });
        }
    }
    Ok(guests)
}

fn metadata(manifest: &Path) -> Result<Metadata> {
    let output = Command::new(crate::toolchain::cargo())
        .args(["metadata", "--no-deps", "--format-version", "1", "--manifest-path"])
        .arg(manifest)
        .output()
        .context("cargo cannot be started; install Rust from https://rustup.rs")?;
    if !output.status.success() {
        let words = String::from_utf8_lossy(&output.stderr);
        bail!("cargo cannot read {}: {}", manifest.display(), words.trim());
    }
    serde_json::from_slice(&output.stdout).with_context(|| {
        format!("`[package.metadata.lastword]` below {} is not understood", manifest.display())
    })
}
