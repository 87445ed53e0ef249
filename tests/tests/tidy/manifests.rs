//! Dependencies: each stands with its reason, or with a few others below one reason, without an
//! empty line between. What the workspace declares has its reason there.

use crate::{Source, hold};

fn without_reason(source: &Source) -> Vec<String> {
    if !source.path.ends_with("Cargo.toml") {
        return Vec::new();
    }
    let (mut in_dependencies, mut has_reason) = (false, false);
    let mut found = Vec::new();
    for (at, line) in source.text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() {
            has_reason = false;
        } else if line.starts_with('#') {
            has_reason = true;
        } else if line.starts_with('[') {
            in_dependencies = line.trim_matches(['[', ']']).ends_with("dependencies");
        } else if in_dependencies && !has_reason && !line.contains("workspace = true") {
            found.push(format!("{}:{}: `{line}` has no reason above it", source.path, at + 1));
        }
    }
    found
}

#[test]
fn every_dependency_stands_below_its_reason() {
    hold(without_reason);
}

#[test]
fn manifests_are_read_by_cargo_as_well_as_by_the_rule() {
    hold(|source| {
        let is_manifest = source.path.ends_with("Cargo.toml");
        let error = is_manifest.then(|| source.text.parse::<toml::Table>().err()).flatten();
        error.map(|error| format!("{}: {error}", source.path)).into_iter().collect()
    });
}

#[test]
fn the_rule_of_reasons_finds_what_it_is_about() {
    let source = |text: &str| Source { path: "host/Cargo.toml".into(), text: text.into() };
    assert_eq!(without_reason(&source("[dependencies]\n# Rows.\nserde = \"1\"\n")).len(), 0);
    assert_eq!(without_reason(&source("[package]\nname = \"x\"\n")).len(), 0);
    assert_eq!(without_reason(&source("[dependencies]\nserde.workspace = true\n")).len(), 0);
    let bare = "[dependencies]\n# Rows.\nserde = \"1\"\n\nbytes = \"1\"\n";
    assert_eq!(without_reason(&source(bare)).len(), 1);
    let spread = "[dev-dependencies]\ntokio = { version = \"1\" }\n";
    assert_eq!(without_reason(&source(spread)).len(), 1);
}
