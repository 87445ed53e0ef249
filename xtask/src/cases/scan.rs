//! From the targets that cargo tests down their modules, file by file, as the compiler goes.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;
use walkdir::WalkDir;

use super::tag::{self, Child, Test};
use crate::artifacts::{self, repository};

/// All tests with a tag, of both workspaces.
///
/// # Errors
/// A file that cannot be read, and a tag where no test would be found.
pub(super) fn tagged_tests() -> Result<Vec<Test>> {
    let top = repository();
    let mut walk = Walk { top: top.clone(), ..Walk::default() };
    for manifest in [top.join("Cargo.toml"), top.join("adapters").join("Cargo.toml")] {
        let metadata = artifacts::metadata(&manifest)?;
        for root in roots(&metadata) {
            walk.file(&root, &[], Place::Root)?;
        }
    }
    lost_tags(&top, &walk.seen)?;
    Ok(walk.tests)
}

/// The root files of everything that cargo tests.
pub(super) fn roots(metadata: &Value) -> Vec<PathBuf> {
    let list = |value: &Value, key: &str| value[key].as_array().cloned().unwrap_or_default();
    let packages = list(metadata, "packages");
    let targets = packages.iter().flat_map(|package| list(package, "targets"));
    let tested = targets.filter(|target| target["test"].as_bool() == Some(true));
    tested.filter_map(|target| target["src_path"].as_str().map(PathBuf::from)).collect()
}

/// Where a file's own modules are looked for.
#[derive(Clone, Copy)]
enum Place {
    /// Beside it: the root of a crate, and what `#[path]` names.
    Root,
    /// As its name says: `mod.rs` beside it, any other in the folder of its name.
    Module,
}

#[derive(Default)]
struct Walk {
    top: PathBuf,
    tests: Vec<Test>,
    seen: Vec<PathBuf>,
}

impl Walk {
    fn file(&mut self, path: &Path, modules: &[String], place: Place) -> Result<()> {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("cannot read {}", path.display()))?;
        let shown = path.strip_prefix(&self.top).unwrap_or(path).display().to_string();
        let file = tag::read(&shown, &text, modules)?;
        self.seen.push(path.to_owned());
        self.tests.extend(file.tests);
        for child in file.children {
            let (next, place) = find(path, place, &child).with_context(|| {
                format!("{shown}: no file holds `{}`", child.modules.join("::"))
            })?;
            let names: Vec<String> = modules.iter().chain(&child.modules).cloned().collect();
            self.file(&next, &names, place)?;
        }
        Ok(())
    }
}

fn find(path: &Path, place: Place, child: &Child) -> Option<(PathBuf, Place)> {
    let folder = path.parent()?;
    if let Some(named) = &child.path {
        return Some((folder.join(named), Place::Root));
    }
    let is_beside = matches!(place, Place::Root) || path.ends_with("mod.rs");
    let mut base = if is_beside { folder.to_owned() } else { path.with_extension("") };
    base.extend(&child.modules);
    [base.with_extension("rs"), base.join("mod.rs")]
        .into_iter()
        .find(|candidate| candidate.is_file())
        .map(|found| (found, Place::Module))
}

/// A tag in a file that no target reaches would hold nothing.
fn lost_tags(top: &Path, seen: &[PathBuf]) -> Result<()> {
    let is_made = |name: &str| name == "target" || name == "dist" || name.starts_with('.');
    let entries = WalkDir::new(top).min_depth(1).into_iter().filter_entry(|entry| {
        !(entry.file_type().is_dir() && entry.file_name().to_str().is_some_and(is_made))
    });
    for entry in entries {
        let entry = entry?;
        let path = entry.path();
        if path.extension().is_none_or(|extension| extension != "rs") {
            continue;
        }
        if seen.iter().any(|other| other == path) {
            continue;
        }
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("cannot read {}", path.display()))?;
        if let Some(line) = tag::tag_lines(&text).next() {
            bail!("{}:{line}: a tag in a file that cargo does not test", path.display());
        }
    }
    Ok(())
}
