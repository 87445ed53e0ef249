//! The lists of mutations: `tests/mutations/*.toml`, each a `[[mutation]]` with a name, one place
//! in one file, what stands there instead, and the test that must fail.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;

/// One fault that is made on purpose.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Mutation {
    /// What is broken, in a few words with hyphens.
    pub(super) name: String,
    /// From the top of the repository.
    pub(super) file: String,
    /// Stands there exactly once.
    pub(super) find: String,
    pub(super) replace: String,
    /// What cargo is told, from `test` or `xtask` on.
    pub(super) test: Vec<String>,
}

impl Mutation {
    /// The text of its file, in which its place stands exactly once.
    pub(super) fn place_under(&self, root: &Path) -> Result<String> {
        let Self { name, file, find, .. } = self;
        let text = std::fs::read_to_string(root.join(file))
            .with_context(|| format!("mutation \"{name}\": cannot read {file}"))?;
        let count = text.matches(find.as_str()).count();
        if count != 1 {
            bail!("mutation \"{name}\": what it finds stands {count} times in {file}, not once");
        }
        Ok(text)
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct List {
    mutation: Vec<Mutation>,
}

/// All lists of a folder, in order of name; no two mutations have one name.
pub(super) fn read(folder: &Path) -> Result<Vec<Mutation>> {
    let entries =
        std::fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))?;
    let mut paths = entries
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<std::io::Result<Vec<_>>>()?;
    paths.retain(|path| path.extension().is_some_and(|it| it == "toml"));
    paths.sort();
    let mut all = Vec::new();
    for path in paths {
        let text = std::fs::read_to_string(&path)
            .with_context(|| format!("cannot read {}", path.display()))?;
        let found = parse(&text).with_context(|| path.display().to_string())?;
        all.extend(found);
    }
    let mut names = BTreeSet::new();
    for mutation in &all {
        if !names.insert(&mutation.name) {
            bail!("two mutations are called \"{}\"", mutation.name);
        }
    }
    Ok(all)
}

fn parse(text: &str) -> Result<Vec<Mutation>> {
    let list: List = toml::from_str(text)?;
    for mutation in &list.mutation {
        let name = &mutation.name;
        if mutation.find == mutation.replace || mutation.find.is_empty() {
            bail!("mutation \"{name}\" changes nothing");
        }
        if !matches!(mutation.test.first().map(String::as_str), Some("test" | "xtask")) {
            bail!("mutation \"{name}\": `test` must begin with \"test\" or \"xtask\"");
        }
    }
    Ok(list.mutation)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::artifacts::repository;

    const GOOD: &str = r#"
        [[mutation]]
        name = "a-name"
        file = "host/src/lib.rs"
        find = "a"
        replace = "b"
        test = ["test", "-p", "lastword"]
    "#;

    #[test]
    fn a_list_is_read_and_one_that_proves_nothing_is_refused() {
        assert_eq!(parse(GOOD).unwrap()[0].name, "a-name");
        let nothing = GOOD.replace("replace = \"b\"", "replace = \"a\"");
        assert!(parse(&nothing).unwrap_err().to_string().contains("changes nothing"));
        let no_test = GOOD.replace("\"test\", ", "");
        assert!(parse(&no_test).unwrap_err().to_string().contains("must begin"));
        assert!(parse(&GOOD.replace("file", "fiel")).is_err());
    }

    /// Names of functions and modules in the sources that tests are in.
    fn names_of_tests() -> BTreeSet<String> {
        let mut names = BTreeSet::new();
        for folder in ["host/src", "tests/tests", "tests/src"] {
            for entry in walkdir::WalkDir::new(repository().join(folder)) {
                let path = entry.unwrap().into_path();
                if path.extension().is_none_or(|it| it != "rs") {
                    continue;
                }
                names.extend(path.file_stem().map(|stem| stem.to_string_lossy().into_owned()));
                for line in std::fs::read_to_string(&path).unwrap().lines() {
                    let line = line.trim_start().trim_start_matches("async ");
                    let name = line.strip_prefix("fn ").or_else(|| line.strip_prefix("mod "));
                    let end = |it: &str| it.find(|c: char| !c.is_alphanumeric() && c != '_');
                    names.extend(name.map(|it| it[..end(it).unwrap_or(it.len())].to_owned()));
                }
            }
        }
        names
    }

    #[test]
    fn every_mutation_of_the_lists_has_its_place_and_its_test() {
        let mutations = read(&repository().join(super::super::LISTS)).unwrap();
        assert!(!mutations.is_empty());
        let names = names_of_tests();
        for mutation in &mutations {
            mutation.place_under(&repository()).unwrap();
            for part in mutation.test.last().unwrap().split("::") {
                let test = format!("{}: no test \"{part}\"", mutation.name);
                assert!(names.iter().any(|name| name.contains(part)), "{test}");
            }
        }
        let mut gone = mutations[0].clone();
        gone.find = "a line that stands nowhere".to_owned();
        let said = gone.place_under(&repository()).unwrap_err().to_string();
        assert!(said.contains("stands 0 times"), "{said}");
    }
}
