//! The copy of the sources that is mutated, and the folder that it is built in: what is built of
//! the registry's crates is shared by hard links, for only our own crates are mutated.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use walkdir::{DirEntry, WalkDir};

use super::list::Mutation;

/// Folders that are no sources.
const LEFT_OUT: [&str; 5] = ["target", "dist", ".git", "__pycache__", "node_modules"];
/// What our own crates' files in a target folder begin with, behind an optional `lib`. They are
/// built anew: a mutation must never reach the folder that everybody else builds in.
const OURS: [&str; 5] = ["lastword", "xtask", "guest_build", "guest-build", "bench"];

/// A copy of the sources.
pub(super) struct Tree {
    pub(super) root: PathBuf,
}

/// Puts a mutated file back when it is dropped.
pub(super) struct Restored {
    path: PathBuf,
    text: String,
}

impl Drop for Restored {
    fn drop(&mut self) {
        if let Err(error) = fs::write(&self.path, &self.text) {
            eprintln!("{} is not put back: {error}", self.path.display());
        }
    }
}

fn is_source(entry: &DirEntry) -> bool {
    !LEFT_OUT.iter().any(|name| entry.file_name() == OsStr::new(name))
}

impl Tree {
    /// Copies what changed since the last time, and removes what is gone.
    pub(super) fn copied(from: &Path, to: &Path) -> Result<Self> {
        let mut kept = BTreeSet::new();
        for entry in WalkDir::new(from).into_iter().filter_entry(is_source) {
            let entry = entry?;
            if !entry.file_type().is_file() {
                continue;
            }
            let path = entry.path().strip_prefix(from)?;
            copy_if_other(entry.path(), &to.join(path))?;
            kept.insert(path.to_owned());
        }
        for entry in WalkDir::new(to).into_iter().filter_entry(is_source) {
            let entry = entry?;
            let path = entry.path().strip_prefix(to)?;
            if entry.file_type().is_file() && !kept.contains(path) {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(Self { root: to.to_owned() })
    }

    /// Makes one fault. The place it names must be there exactly once.
    pub(super) fn mutate(&self, mutation: &Mutation) -> Result<Restored> {
        let path = self.root.join(&mutation.file);
        let text = mutation.place_under(&self.root)?;
        fs::write(&path, text.replacen(&mutation.find, &mutation.replace, 1))?;
        Ok(Restored { path, text })
    }
}

/// A file that is the same keeps its time, so that cargo builds nothing for it.
fn copy_if_other(from: &Path, to: &Path) -> Result<()> {
    let bytes = fs::read(from).with_context(|| format!("cannot read {}", from.display()))?;
    if fs::read(to).is_ok_and(|old| old == bytes) {
        return Ok(());
    }
    if let Some(folder) = to.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::copy(from, to).with_context(|| format!("cannot write {}", to.display()))?;
    // `copy` keeps the mode and may keep the time: this is a change of now.
    fs::File::options().append(true).open(to)?.set_modified(std::time::SystemTime::now())?;
    Ok(())
}

fn is_ours(name: &str) -> bool {
    let name = name.strip_prefix("lib").unwrap_or(name);
    OURS.iter().any(|ours| name.starts_with(ours))
}

/// All that cargo built of other people's crates, as it is: large files by hard links, for compilers
/// put a new file in the place of an old one; small ones by copies with their times, for cargo writes
/// into them.
pub(super) fn reuse_dependencies(from: &Path, to: &Path) -> Result<()> {
    for part in [".fingerprint", "build", "deps"] {
        let Ok(entries) = fs::read_dir(from.join(part)) else { continue };
        fs::create_dir_all(to.join(part))?;
        for entry in entries {
            let entry = entry?;
            let name = entry.file_name();
            let place = to.join(part).join(&name);
            if is_ours(&name.to_string_lossy()) || place.exists() {
                continue;
            }
            share_all(&entry.path(), &place)?;
        }
    }
    Ok(())
}

fn share_all(from: &Path, to: &Path) -> Result<()> {
    for entry in WalkDir::new(from) {
        // Another build may be at work there; what it is at work on is built again here.
        let Ok(entry) = entry else { continue };
        let inner = entry.path().strip_prefix(from)?;
        // Joined with nothing, a file's path would end like a folder's.
        let place = if inner.as_os_str().is_empty() { to.to_owned() } else { to.join(inner) };
        if entry.file_type().is_dir() {
            fs::create_dir_all(&place)?;
        } else if !is_library(entry.path()) || fs::hard_link(entry.path(), &place).is_err() {
            copy_with_time(entry.path(), &place)?;
        }
    }
    Ok(())
}

fn is_library(path: &Path) -> bool {
    path.extension().is_some_and(|end| end == "rlib" || end == "rmeta")
}

/// Cargo goes by the times of what it built.
fn copy_with_time(from: &Path, to: &Path) -> Result<()> {
    let made = fs::metadata(from).and_then(|meta| meta.modified());
    let Ok(made) = made else { return Ok(()) };
    fs::copy(from, to).with_context(|| format!("cannot write {}", to.display()))?;
    // What may not be written to may be read, and that is enough to set its time.
    fs::File::open(to)?.set_modified(made)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("mutants-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        path
    }

    fn mutation(find: &str) -> Mutation {
        Mutation {
            name: "one".to_owned(),
            file: "src/a.rs".to_owned(),
            find: find.to_owned(),
            replace: "c".to_owned(),
            test: vec!["test".to_owned()],
        }
    }

    #[test]
    fn a_tree_is_copied_mutated_and_put_back_and_its_source_is_left_alone() {
        let (from, to) = (folder("from"), folder("to"));
        fs::create_dir_all(from.join("src")).unwrap();
        fs::create_dir_all(from.join("target")).unwrap();
        fs::write(from.join("src/a.rs"), "a b b").unwrap();
        fs::write(from.join("target/x"), "x").unwrap();
        fs::write(to.join("gone.rs"), "x").unwrap();
        let tree = Tree::copied(&from, &to).unwrap();
        assert!(!to.join("target").exists() && !to.join("gone.rs").exists());
        let restored = tree.mutate(&mutation("a")).unwrap();
        assert_eq!(fs::read_to_string(to.join("src/a.rs")).unwrap(), "c b b");
        assert_eq!(fs::read_to_string(from.join("src/a.rs")).unwrap(), "a b b");
        drop(restored);
        assert_eq!(fs::read_to_string(to.join("src/a.rs")).unwrap(), "a b b");
        let error = tree.mutate(&mutation("b")).err().unwrap();
        assert!(error.to_string().contains("2 times"), "{error}");
        fs::remove_dir_all(from).unwrap();
        fs::remove_dir_all(to).unwrap();
    }

    #[test]
    fn what_is_built_of_other_peoples_crates_is_shared() {
        let (from, to) = (folder("built"), folder("shared"));
        for path in ["deps/libserde-1.rlib", "build/ring-1/output", "deps/liblastword-1.rlib"] {
            fs::create_dir_all(from.join(path).parent().unwrap()).unwrap();
            fs::write(from.join(path), "x").unwrap();
        }
        reuse_dependencies(&from, &to).unwrap();
        assert!(to.join("deps/libserde-1.rlib").is_file());
        assert!(to.join("build/ring-1/output").is_file());
        assert!(!to.join("deps/liblastword-1.rlib").exists());
        // What cargo writes into is another file, of the same time.
        let output = |folder: &Path| folder.join("build/ring-1/output");
        let time = |folder: &Path| fs::metadata(output(folder)).unwrap().modified().unwrap();
        assert_eq!(time(&from), time(&to));
        fs::write(output(&to), "y").unwrap();
        assert_eq!(fs::read_to_string(output(&from)).unwrap(), "x");
        fs::remove_dir_all(from).unwrap();
        fs::remove_dir_all(to).unwrap();
    }

    #[test]
    fn what_is_built_of_our_crates_is_not_shared() {
        for name in ["lastword-1a", "liblastword_tests-1a.rlib", "xtask-1", "libguest_build-1.d"] {
            assert!(is_ours(name), "{name}");
        }
        for name in ["libwasmtime-1.rlib", "libc-1", "liblibc-2.rlib", "tokio-1"] {
            assert!(!is_ours(name), "{name}");
        }
    }
}
