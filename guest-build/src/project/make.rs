//! A new project: a folder that was not there, with a small adapter that works in it.

use std::fs;
use std::path::{Path, PathBuf};

use super::{Language, ProjectError, files};

/// As long as the longest name of an adapter.
const NAME_BYTES_MAX: usize = 64;

/// Makes the folder `name` under `parent`, and gives its path.
///
/// # Errors
///
/// Where the name is none or is taken, or where the folder cannot be written; then nothing of it is
/// left.
pub fn new(parent: &Path, name: &str, language: Language) -> Result<PathBuf, ProjectError> {
    check(name)?;
    let folder = parent.join(name);
    if folder.symlink_metadata().is_ok() {
        let shown = folder.display();
        return Err(ProjectError::Wrong(format!(
            "{shown} is there already and is left alone: take another name, or move it away"
        )));
    }
    write(&folder, name, language).map_err(|error| {
        // A half of a project would be taken for a whole one.
        let _ = fs::remove_dir_all(&folder);
        ProjectError::Failed(format!("{} cannot be written: {error}", folder.display()))
    })?;
    Ok(folder)
}

fn check(name: &str) -> Result<(), ProjectError> {
    let mut letters = name.chars();
    let is_name = letters.next().is_some_and(|first| first.is_ascii_lowercase())
        && letters.all(|it| it.is_ascii_lowercase() || it.is_ascii_digit() || it == '-')
        && name.len() <= NAME_BYTES_MAX;
    if is_name {
        return Ok(());
    }
    Err(ProjectError::Wrong(format!(
        "`{}` is no name of an adapter: one begins with a letter and has at most {NAME_BYTES_MAX} of \
         a-z, 0-9 and `-`",
        name.escape_debug()
    )))
}

fn write(folder: &Path, name: &str, language: Language) -> std::io::Result<()> {
    for file in files::of(language, name) {
        let path = folder.join(&file.path);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::write(path, file.text)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_are_none_are_refused_with_what_one_is() {
        for name in ["", "My", "1a", "a_b", "a/b", "../a", &"a".repeat(65)] {
            let error = check(name).unwrap_err().to_string();
            assert!(error.contains("begins with a letter"), "{name}: {error}");
        }
        assert!(check("my-bot-2").is_ok());
    }

    #[test]
    fn a_folder_that_is_there_is_left_alone() {
        let parent = std::env::temp_dir().join(format!("lastword-make-{}", std::process::id()));
        fs::create_dir_all(parent.join("taken")).unwrap();
        let error = new(&parent, "taken", Language::Python).unwrap_err();
        assert!(matches!(error, ProjectError::Wrong(_)));
        assert_eq!(fs::read_dir(parent.join("taken")).unwrap().count(), 0);
        let made = new(&parent, "fresh", Language::Python).unwrap();
        assert!(made.join("adapter.py").is_file());
        assert_eq!(Language::of(&made).unwrap(), Language::Python);
        fs::remove_dir_all(parent).unwrap();
    }
}
