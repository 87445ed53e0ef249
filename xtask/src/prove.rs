//! `cargo xtask power-cut`, `every-n` and `orders`: the long forms of proofs that the tests run in
//! part. Their output goes to whoever asked: it has the counts, and the seeds that failed.

use anyhow::Result;

use crate::artifacts::cargo;
use crate::step;

/// Seeds of a campaign.
const SEEDS: &str = "20000";

/// A proof by a test of the host, with what it is asked for.
fn prove(test: &str, asked: &[(&str, &str)]) -> Result<()> {
    let mut command = cargo();
    // Both packages: their features are those of every other build.
    command.args(["test", "--package", "lastword", "--package", "lastword-tests", "--lib", "--"]);
    command.args([test, "--nocapture"]).envs(asked.iter().copied());
    let _ = step::run_aloud(&mut command, |_| false)?;
    Ok(())
}

/// `None` where a word is unknown.
pub(crate) fn power_cut(words: &[&str]) -> Option<Result<()>> {
    let asked = match *words {
        [] => vec![("LASTWORD_SEEDS", SEEDS)],
        ["--seeds", count] => vec![("LASTWORD_SEEDS", count)],
        ["--seeds", count, "--from", first] => {
            vec![("LASTWORD_SEEDS", count), ("LASTWORD_FROM", first)]
        }
        ["--seed", seed] => vec![("LASTWORD_SEED", seed)],
        _ => return None,
    };
    let numbers = asked.iter().all(|(_, value)| value.parse::<u64>().is_ok());
    numbers.then(|| prove("every_answered_command_outlives_a_power_cut", &asked))
}

/// All accesses, each fault.
pub(crate) fn every_n() -> Result<()> {
    prove("every_access_of_a_life_may_fail_in_every_way", &[("LASTWORD_STRIDE", "1")])
}

/// Every order of threads, with more preemptions than the tests have: one, or as many as asked for.
/// `None` where a word is unknown.
pub(crate) fn orders(words: &[&str]) -> Option<Result<()>> {
    let more = match *words {
        [] => "1",
        ["--more", more] => more,
        _ => return None,
    };
    let asked = [("LASTWORD_PREEMPTIONS_MORE", more)];
    more.parse::<u8>().is_ok().then(|| prove("store::tests::orders", &asked))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_that_mean_nothing_start_nothing() {
        for words in [&["--seeds"][..], &["--seeds", "many"], &["20"], &["--seed", "-1"]] {
            assert!(power_cut(words).is_none() && orders(words).is_none(), "{words:?}");
        }
    }
}
