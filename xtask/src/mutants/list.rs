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
}
