//! Dependencies that no source names. A name in a comment counts for nothing.
//!
//! One that is there for its features alone is listed in its package's manifest, with the reason
//! beside it: `[package.metadata.unnamed] dependencies = ["proc-macro2"]`.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::artifacts;

/// Sentences, one for each unused dependency of a workspace's packages.
pub(crate) fn find(manifest: &Path) -> Result<Vec<String>> {
    let metadata = artifacts::metadata(manifest)?;
    let packages = metadata["packages"].as_array().cloned().unwrap_or_default();
    let mut sentences = Vec::new();
    for package in &packages {
        let path = Path::new(package["manifest_path"].as_str().unwrap_or_default());
        let folder = path.parent().context("a manifest is in a folder")?;
        let sources = sources(folder)?;
        for dependency in dependencies(package) {
            if !sources.iter().any(|source| names(source, &dependency)) {
                let place = path.display();
                sentences.push(format!("{place}: no source names the dependency `{dependency}`"));
            }
        }
    }
    Ok(sentences)
}

/// As sources would name them.
fn dependencies(package: &Value) -> Vec<String> {
    let listed = package["dependencies"].as_array().cloned().unwrap_or_default();
    let name = |dependency: &Value| {
        let name = dependency["rename"].as_str().or(dependency["name"].as_str())?;
        Some(name.replace('-', "_"))
    };
    let unnamed = package["metadata"]["unnamed"]["dependencies"].as_array();
    let unnamed: Vec<&str> = unnamed.into_iter().flatten().filter_map(Value::as_str).collect();
    let is_to_be_named = |dependency: &&Value| {
        dependency["name"].as_str().is_none_or(|name| !unnamed.contains(&name))
    };
    let mut names: Vec<String> = listed.iter().filter(is_to_be_named).filter_map(name).collect();
    names.sort();
    names.dedup();
    names
}

/// Every source of a package, without those of packages inside its folder.
fn sources(folder: &Path) -> Result<Vec<String>> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        let entries =
            std::fs::read_dir(&next).with_context(|| format!("cannot read {}", next.display()))?;
        for entry in entries {
            let path: PathBuf = entry?.path();
            if path.is_dir() {
                let is_other = path.join("Cargo.toml").exists() || path.ends_with("target");
                if !is_other {
                    folders.push(path);
                }
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(&path);
                found.push(text.with_context(|| format!("cannot read {}", path.display()))?);
            }
        }
    }
    Ok(found)
}

fn names(source: &str, name: &str) -> bool {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    source.lines().map(|line| line.split("//").next().unwrap_or_default()).any(|line| {
        line.match_indices(name).any(|(at, _)| {
            let before = line.get(..at).unwrap_or_default().chars().next_back();
            let after = line.get(at + name.len()..).unwrap_or_default().chars().next();
            !before.is_some_and(is_word) && !after.is_some_and(is_word)
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dependency_is_used_where_code_names_it_as_a_word() {
        assert!(names("use toml::Value;", "toml"));
        assert!(names("let x = serde_json::to_vec(&y);", "serde_json"));
        assert!(!names("// use toml::Value;", "toml"));
        assert!(!names("use tomlish::Value;", "toml"));
        assert!(!names("use my_toml;", "toml"));
    }

    #[test]
    fn names_are_those_of_code_and_features_need_none() {
        let package = serde_json::json!({
            "dependencies": [
                {"name": "serde-json", "rename": null}, {"name": "a", "rename": "b-c"},
                {"name": "for-its-features", "rename": null},
            ],
            "metadata": {"unnamed": {"dependencies": ["for-its-features"]}},
        });
        assert_eq!(dependencies(&package), ["b_c", "serde_json"]);
    }
}
