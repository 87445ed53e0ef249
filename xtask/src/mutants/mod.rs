//! `cargo xtask mutants`: faults that are put into a copy of the sources on purpose, one at a time,
//! each with the test that must fail by it. A test that passes on both proves nothing.
//!
//! The copy and what is built of it stand under `target/mutants`. Nothing outside is changed.

mod list;
mod runs;
mod tree;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, bail};

use crate::artifacts::{repository, target_folder};
use list::Mutation;
use runs::{Place, Ran};
use tree::Tree;

/// How long a test may run until it has found its mutation; compiling is not counted.
const RUN_MAX: Duration = Duration::from_secs(60);

/// Where the lists stand.
const LISTS: &str = "tests/mutations";

/// Names alone.
pub(crate) fn print_names() -> Result<()> {
    for mutation in list::read(&repository().join(LISTS))? {
        println!("{:<44} {}", mutation.name, mutation.test.join(" "));
    }
    Ok(())
}

/// Tries all mutations, or those of these names.
pub(crate) fn run(names: &[&str]) -> Result<()> {
    let mutations = picked(list::read(&repository().join(LISTS))?, names)?;
    // Before hours are spent on those in front of it.
    for mutation in &mutations {
        mutation.place_under(&repository())?;
    }
    let folder = target_folder()?.join("mutants");
    let tree = Tree::copied(&repository(), &folder.join("tree"))?;
    let target: PathBuf = folder.join("build");
    tree::reuse_dependencies(&target_folder()?.join("debug"), &target.join("debug"))?;
    let place = Place { tree: &tree, target: &target };
    unharmed(&place, &mutations)?;
    let mut missed = Vec::new();
    for mutation in &mutations {
        let restored = tree.mutate(mutation)?;
        runs::build(&place, &mutation.test, &mutation.name)?;
        let ran = runs::run(&place, &mutation.test, RUN_MAX)?;
        drop(restored);
        let word = match &ran {
            Ran::Failed { .. } => "found",
            Ran::Passed { .. } => "NOT FOUND",
            Ran::StillRunning { .. } => "NOT FOUND in time",
        };
        println!("{word:<18} {:>6.1} s  {}", ran.took().as_secs_f64(), mutation.name);
        if !matches!(ran, Ran::Failed { .. }) {
            missed.push(mutation.name.clone());
        }
    }
    if missed.is_empty() {
        println!("{} of {} found", mutations.len(), mutations.len());
        return Ok(());
    }
    bail!("{} of {} not found: {}", missed.len(), mutations.len(), missed.join(", "));
}

fn picked(all: Vec<Mutation>, names: &[&str]) -> Result<Vec<Mutation>> {
    for name in names {
        if !all.iter().any(|it| it.name == *name) {
            bail!("no mutation is called \"{name}\"; `cargo xtask mutants --list` names them");
        }
    }
    let wanted = |it: &Mutation| names.is_empty() || names.contains(&it.name.as_str());
    Ok(all.into_iter().filter(wanted).collect())
}

/// Without a mutation each test passes, or its failing later would say nothing.
fn unharmed(place: &Place<'_>, mutations: &[Mutation]) -> Result<()> {
    let mut tests: Vec<&[String]> = mutations.iter().map(|it| it.test.as_slice()).collect();
    tests.sort_unstable();
    tests.dedup();
    for test in tests {
        runs::build(place, test, "no mutation")?;
        match runs::run(place, test, 3 * RUN_MAX)? {
            Ran::Passed { took } => {
                println!("{:<18} {:>6.1} s  {}", "passes", took.as_secs_f64(), test.join(" "));
            }
            Ran::Failed { words, .. } => {
                bail!("`cargo {}` fails without any mutation:\n{words}", test.join(" "));
            }
            Ran::StillRunning { .. } => {
                bail!("`cargo {}` takes too long without any mutation", test.join(" "));
            }
        }
    }
    Ok(())
}
