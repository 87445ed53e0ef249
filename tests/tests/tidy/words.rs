//! Words that do not belong into the repository.

use crate::{Source, hold};

/// Marks of unfinished work, tests that do not run, and traces of the machine it was written on.
/// Each in two halves, so that this list is not found by itself.
const FORBIDDEN: [(&str, &str); 8] = [
    ("TO", "DO"),
    ("FIX", "ME"),
    ("XX", "X:"),
    ("#[ign", "ore"),
    ("/ho", "me/"),
    ("/Us", "ers/"),
    ("/ro", "ot/"),
    ("C:\\Us", "ers"),
];

fn forbidden(source: &Source) -> Vec<String> {
    // Lock files are cargo's words.
    if source.path.ends_with(".lock") {
        return Vec::new();
    }
    let here = lastword_tests::harness::built::repository().display().to_string();
    let mut words: Vec<_> = FORBIDDEN.iter().map(|(a, b)| format!("{a}{b}")).collect();
    words.push(here);
    let mut found = Vec::new();
    for (at, line) in source.text.lines().enumerate() {
        for word in words.iter().filter(|word| line.contains(word.as_str())) {
            found.push(format!("{}:{}: `{word}`", source.path, at + 1));
        }
    }
    found
}

#[test]
fn no_word_tells_of_unfinished_work_or_of_somebodys_machine() {
    hold(forbidden);
}

#[test]
fn the_rule_of_words_finds_what_it_is_about() {
    let source = |text: &str| Source { path: "docs/x.md".into(), text: text.into() };
    assert_eq!(forbidden(&source("All is well.")).len(), 0);
    let path = ["see /ho", "me/somebody/notes"].concat();
    assert_eq!(forbidden(&source(&path)).len(), 1);
    let here = lastword_tests::harness::built::repository().display().to_string();
    assert_eq!(forbidden(&source(&format!("built in {here}/target"))).len(), 1);
}
