//! `cargo xtask swaps`: adapters replaced under load, as often as is asked for.

use anyhow::Result;

use crate::{artifacts, step};

/// Swaps where no number is given.
const SWAPS: u32 = 1_000;

/// The number of swaps that the words ask for; `None` where they are not understood.
pub(crate) fn read(words: &[&str]) -> Option<u32> {
    match words {
        [] => Some(SWAPS),
        ["--swaps", number] => number.parse().ok(),
        _ => None,
    }
}

/// Builds what is needed, and prints the figures.
pub(crate) fn run(swaps: u32) -> Result<()> {
    artifacts::guests_for_tests()?;
    let packages = ["--package", "lastword", "--package", "lastword-tests"];
    step::run("building the host", artifacts::cargo().arg("build").args(packages).arg("--bins"))?;
    let mut test = artifacts::cargo();
    test.arg("test").args(packages).args(["--test", "reload", "--", "swaps_under_load"]);
    test.arg("--nocapture").env("LASTWORD_SWAPS", swaps.to_string());
    let _ = step::run_aloud(&mut test, |_| false)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_of_swaps_is_understood_and_other_words_are_not() {
        assert_eq!(read(&[]), Some(SWAPS));
        assert_eq!(read(&["--swaps", "30"]), Some(30));
        assert_eq!(read(&["--swaps"]), None);
        assert_eq!(read(&["--swaps", "many"]), None);
    }
}
