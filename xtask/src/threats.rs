//! The table of threats, `docs/threats.md`: every line of it has its component below `tests/guests/`
//! and its test, and both exist.
//!
//! A row is ``| 1 | guest | `module::test_name` | ...``; a threat may have several. The second cell
//! names files from `tests/guests`, each in backticks.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context as _, Result, bail};

use crate::artifacts::repository;
use crate::cases;

const PAGE: &str = "docs/threats.md";
/// Threats are numbered from 1 to this.
const THREATS: u32 = 32;

/// One row of the table.
#[derive(Debug, PartialEq, Eq)]
struct Row {
    line: usize,
    threat: u32,
    guests: Vec<String>,
    test: String,
}

/// Fails with everything that is wrong with the table.
pub(crate) fn check() -> Result<()> {
    let path = repository().join(PAGE);
    let text = std::fs::read_to_string(&path)
        .with_context(|| format!("cannot read {}", path.display()))?;
    let rows = read(&text)?;
    let wrong = wrong(&rows, &repository().join("tests").join("guests"), &cases::listed()?);
    if !wrong.is_empty() {
        bail!("{}", wrong.join("\n"));
    }
    println!("{THREATS} threats, each with its component and its test");
    Ok(())
}

fn read(text: &str) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for (at, line) in text.lines().enumerate() {
        let mut cells = line.split('|').map(str::trim);
        let (Some(""), Some(first)) = (cells.next(), cells.next()) else { continue };
        let Ok(threat) = first.parse() else { continue };
        let line = at + 1;
        let (Some(guests), Some(test)) = (cells.next(), cells.next()) else {
            bail!("{PAGE}:{line}: a row is | number | guest | `test` |");
        };
        let Some(test) = test.strip_prefix('`').and_then(|test| test.strip_suffix('`')) else {
            bail!("{PAGE}:{line}: the third cell is one test in backticks");
        };
        let guests = guests.split('`').skip(1).step_by(2).map(str::to_owned).collect();
        rows.push(Row { line, threat, guests, test: test.to_owned() });
    }
    Ok(rows)
}

fn wrong(rows: &[Row], guests: &Path, listed: &BTreeSet<String>) -> Vec<String> {
    let mut wrong = Vec::new();
    for threat in (1..=THREATS).filter(|threat| rows.iter().all(|row| row.threat != *threat)) {
        wrong.push(format!("{PAGE}: threat {threat} has no row"));
    }
    for Row { line, threat, guests: named, test } in rows {
        if !(1..=THREATS).contains(threat) {
            wrong.push(format!("{PAGE}:{line}: there is no threat {threat}"));
        }
        if named.is_empty() {
            wrong.push(format!("{PAGE}:{line}: threat {threat} names no component"));
        }
        for guest in named.iter().filter(|guest| !guests.join(guest).exists()) {
            wrong.push(format!("{PAGE}:{line}: tests/guests/{guest} is not there"));
        }
        if !listed.contains(test) {
            wrong.push(format!("{PAGE}:{line}: `{test}` is in no list of `cargo test -- --list`"));
        }
    }
    wrong
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "| 7 | `script`, `text/a.wat` | `m::name` | sentence |\n| no | row |\ntext";

    fn guests() -> std::path::PathBuf {
        repository().join("tests").join("guests")
    }

    #[test]
    fn a_row_has_number_guests_and_test_and_other_lines_are_none() {
        let rows = read(GOOD).unwrap();
        let guests = vec!["script".to_owned(), "text/a.wat".to_owned()];
        assert_eq!(rows, [Row { line: 1, threat: 7, guests, test: "m::name".to_owned() }]);
        for bad in ["| 7 |", "| 7 | `x` |", "| 7 | `x` | m::name |"] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_is_missing_unknown_or_not_there_is_said_with_its_line() {
        let wrong = wrong(&read(GOOD).unwrap(), &guests(), &BTreeSet::new()).join("\n");
        for word in [
            "threat 6 has no row",
            ":1: tests/guests/text/a.wat is not there",
            ":1: `m::name` is in no list",
        ] {
            assert!(wrong.contains(word), "{word}: {wrong}");
        }
        assert!(!wrong.contains("threat 7 has") && !wrong.contains("guests/script is"), "{wrong}");
    }

    #[test]
    fn a_whole_table_is_right() {
        let text: String =
            (1..=THREATS).map(|n| format!("| {n} | `script` | `m::t` |\n")).collect();
        let listed = BTreeSet::from(["m::t".to_owned()]);
        assert_eq!(wrong(&read(&text).unwrap(), &guests(), &listed), Vec::<String>::new());
        let more = format!("{text}| 33 | none | `m::t` |");
        assert_eq!(wrong(&read(&more).unwrap(), &guests(), &listed).len(), 2);
    }
}
