//! The house rules that neither compiler nor clippy hold, as ordinary tests. Each rule is a
//! function from text to what is wrong with it, and is shown to find a fault.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends with a panic")]

mod files;
mod manifests;
mod rooms;
mod words;

use std::path::{Path, PathBuf};

/// Folders that hold nothing written by hand.
const MADE: [&str; 4] = ["target", "dist", ".git", "__pycache__"];

/// One file of the repository, its path from the top.
struct Source {
    path: String,
    text: String,
}

impl Source {
    fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    /// Its path within the host's sources.
    fn in_host(&self) -> Option<&str> {
        self.path.strip_prefix("host/src/").filter(|_| self.is_rust())
    }
}

/// All text files of the repository.
fn repository() -> Vec<Source> {
    let top = lastword_tests::harness::built::repository();
    let mut found = Vec::new();
    walk(&top, &top, &mut found);
    assert!(found.len() > 50, "only {} files below {}", found.len(), top.display());
    found
}

fn walk(top: &Path, folder: &Path, found: &mut Vec<Source>) {
    let mut paths: Vec<PathBuf> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    for path in paths {
        let name = path.file_name().unwrap().to_str().unwrap();
        if path.is_dir() {
            if !MADE.contains(&name) {
                walk(top, &path, found);
            }
            continue;
        }
        // What is no text is not read by people.
        if let Ok(text) = std::fs::read_to_string(&path) {
            let path = path.strip_prefix(top).unwrap().to_str().unwrap().to_owned();
            found.push(Source { path, text });
        }
    }
}

/// Fails with everything that a rule found in the files that it is about.
fn hold(rule: impl Fn(&Source) -> Vec<String>) {
    let all: Vec<String> = repository().iter().flat_map(rule).collect();
    assert!(all.is_empty(), "{} found:\n{}", all.len(), all.join("\n"));
}
