//! The project of an adapter's author: made from a template that stands on its own, and built by its
//! language's own tools. It knows no host.

mod files;
mod make;
mod tools;

use std::path::{Path, PathBuf};

pub use make::new;
pub use tools::build;

/// What a build leaves in the project's folder.
pub const COMPONENT: &str = "adapter.wasm";

/// In which language an adapter is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    /// On the SDK, for `wasm32-unknown-unknown`.
    Rust,
    /// By componentize-js.
    JavaScript,
    /// By componentize-py.
    Python,
}

impl Language {
    /// In which language the project in a folder is.
    ///
    /// # Errors
    ///
    /// Where the folder holds no project.
    pub fn of(folder: &Path) -> Result<Language, ProjectError> {
        let has = |name: &str| folder.join(name).is_file();
        if has("Cargo.toml") {
            Ok(Language::Rust)
        } else if has("package.json") {
            Ok(Language::JavaScript)
        } else if has("requirements.txt") {
            Ok(Language::Python)
        } else {
            Err(ProjectError::Wrong(format!(
                "there is no adapter's project in {}: it has a Cargo.toml, a package.json or a \
                 requirements.txt; `lastword adapter new` makes one",
                folder.display()
            )))
        }
    }
}

/// Why a project was not made or not built: a sentence for its author.
#[derive(Debug)]
pub enum ProjectError {
    /// What was asked for cannot be done: a name, a folder, a tool that is missing.
    Wrong(String),
    /// It was tried and failed, with the tool's own words.
    Failed(String),
}

impl std::fmt::Display for ProjectError {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            ProjectError::Wrong(sentence) | ProjectError::Failed(sentence) => {
                formatter.write_str(sentence)
            }
        }
    }
}

impl std::error::Error for ProjectError {}

/// The component of a path: the file itself, or what a build leaves in a project's folder.
#[must_use]
pub fn component(path: &Path) -> PathBuf {
    if path.is_dir() { path.join(COMPONENT) } else { path.to_path_buf() }
}
