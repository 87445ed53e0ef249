//! `cargo xtask cases`: the table of the cases of `docs/behaviour.md` and the tests that hold them.
//!
//! A test says which cases it holds by a comment above its attributes: `// Case: A1, B3`. Names are
//! those that `cargo test -- --list` prints. This module decides what is wrong; it knows cargo and
//! the folders through its neighbours only.

mod built;
mod page;
mod scan;
mod tag;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result, bail};

use crate::artifacts::repository;
use page::Page;
use tag::Test;

/// Whether names are also looked up in what cargo built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Names {
    /// From the sources alone: at once, without a build.
    OfSources,
    /// Also in the lists of the test binaries, which are built where they are not.
    OfBinaries,
}

/// Writes the table, and says which cases have no test yet.
pub(crate) fn write() -> Result<()> {
    let (page, tests) = read()?;
    let wrong = wrong_tags(&page, &tests);
    if !wrong.is_empty() {
        bail!("{}", wrong.join("\n"));
    }
    std::fs::write(table_path(), table(&page, &tests))
        .with_context(|| format!("cannot write {}", table_path().display()))?;
    let missing = missing(&page, &tests);
    println!("{}: {} cases, {} without a test", TABLE, page.ids().count(), missing.len());
    if !missing.is_empty() {
        println!("without a test: {}", missing.join(", "));
    }
    Ok(())
}

/// Fails with everything that is wrong with table and tags.
pub(crate) fn check(names: Names) -> Result<()> {
    let (page, tests) = read()?;
    let mut wrong = wrong_tags(&page, &tests);
    let missing = missing(&page, &tests);
    if !missing.is_empty() {
        wrong.push(format!("{PAGE}: no test holds {}", missing.join(", ")));
    }
    let present = std::fs::read_to_string(table_path()).unwrap_or_default();
    if present != table(&page, &tests) {
        wrong.push(format!("{TABLE} is out of date: run `cargo xtask cases`"));
    }
    if names == Names::OfBinaries {
        wrong.extend(unlisted(&tests, &built::names()?));
    }
    if !wrong.is_empty() {
        bail!("{}", wrong.join("\n"));
    }
    println!("{} cases, each with its test", page.ids().count());
    Ok(())
}

/// The names of all tests as cargo lists them; what is not built is built.
pub(crate) fn listed() -> Result<BTreeSet<String>> {
    built::names()
}

const PAGE: &str = "docs/behaviour.md";
const TABLE: &str = "docs/cases.md";

fn table_path() -> std::path::PathBuf {
    repository().join(TABLE)
}

fn read() -> Result<(Page, Vec<Test>)> {
    let path = repository().join(PAGE);
    let text = std::fs::read_to_string(&path)
        .with_context(|| format!("cannot read {}", path.display()))?;
    Ok((Page::read(&text)?, scan::tagged_tests()?))
}

/// What is wrong with the tags themselves.
fn wrong_tags(page: &Page, tests: &[Test]) -> Vec<String> {
    let known: BTreeSet<&str> = page.ids().collect();
    let mut wrong = Vec::new();
    let mut places: BTreeMap<&str, &Test> = BTreeMap::new();
    for test in tests {
        for case in test.cases.iter().filter(|case| !known.contains(case.as_str())) {
            wrong.push(format!("{}: {PAGE} has no case `{case}`", test.place()));
        }
        if test.is_ignored {
            let place = test.place();
            wrong.push(format!("{place}: `{}` holds a case and is ignored", test.name));
        }
        // A row of the table has to find one test.
        if let Some(other) = places.insert(&test.name, test) {
            wrong.push(format!(
                "{}: `{}` is also the name of the test at {}: rename one",
                test.place(),
                test.name,
                other.place()
            ));
        }
    }
    wrong
}

fn missing<'p>(page: &'p Page, tests: &[Test]) -> Vec<&'p str> {
    let held: BTreeSet<&str> = tests.iter().flat_map(|test| &test.cases).map(|c| &**c).collect();
    page.ids().filter(|id| !held.contains(id)).collect()
}

fn unlisted(tests: &[Test], listed: &BTreeSet<String>) -> Vec<String> {
    let sentence = |test: &Test| {
        format!("{}: `{}` is in no list of `cargo test -- --list`", test.place(), test.name)
    };
    tests.iter().filter(|test| !listed.contains(&test.name)).map(sentence).collect()
}

const HEAD: &str = "\
# Cases and their tests

Each case of [behaviour.md](behaviour.md) and the tests that hold it. Made by `cargo xtask cases`;
`cargo xtask cases --check` fails where it is out of date or a case has no test.
";

fn table(page: &Page, tests: &[Test]) -> String {
    let mut of_case: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for test in tests {
        for case in &test.cases {
            of_case.entry(case).or_default().insert(&test.name);
        }
    }
    let mut text = HEAD.to_owned();
    for group in &page.groups {
        text.push_str(&format!("\n## {}\n\n| case | test |\n| --- | --- |\n", group.title));
        for id in &group.ids {
            for name in of_case.get(id.as_str()).into_iter().flatten() {
                text.push_str(&format!("| {id} | `{name}` |\n"));
            }
        }
    }
    text
}
