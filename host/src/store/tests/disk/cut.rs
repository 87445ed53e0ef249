//! The power goes at a random moment of a random life, again and again, with other faults between.
//! Every answered command must be there afterwards.

use std::sync::OnceLock;

use rand::Rng;

use super::host::Host;
use super::ledger::{Checked, Violation};
use super::proof::without;
use super::work::Work;
use super::{Cache, Fault, Image, Loss, Plan, Rule};
use crate::lifecycle::settle::SettleMeans;

/// Seeds of the default run; `LASTWORD_SEEDS` asks for more.
const SEEDS: u64 = 200;
/// Seeds that once found something.
const REGRESSIONS: &[u64] = &[];
/// Within so many seeds a rule that is left out is missed.
const SEEDS_UNTIL_FOUND: u64 = 400;
/// Lives of one seed, each with an end of its own.
const LIVES: u32 = 3;
const STEPS: u32 = 14;

/// What the lives of some seeds met.
#[derive(Debug, Default)]
struct Met {
    seeds: u64,
    starts: u64,
    faults: u64,
    accesses: u64,
    accepted: u64,
}

/// A fresh store, made once.
pub(super) fn fresh() -> Image {
    static FRESH: OnceLock<Image> = OnceLock::new();
    let make = || {
        let mut host = Host::new(Image::default(), 1, 1, SettleMeans::default());
        host.start().unwrap();
        host.end();
        host.disk.image()
    };
    FRESH.get_or_init(make).clone()
}

fn draw(work: &mut Work) -> Plan {
    let chance = &mut work.chance;
    let faults = [
        Fault::Cut(Loss::All),
        Fault::Cut(Loss::Some),
        Fault::Kill,
        Fault::KillHalf,
        Fault::Io,
        Fault::Full,
        Fault::Short,
        Fault::Sync(Cache::Kept),
        Fault::Sync(Cache::Dropped),
    ];
    let fault = faults[chance.random_range(0..faults.len())];
    let count = [1, 1, 2, 3, 8, 40][chance.random_range(0..6)];
    Plan { first: work.host.disk.ops() + chance.random_range(0..120), count, fault }
}

fn live(work: &mut Work) -> Checked {
    let plan = draw(work);
    work.host.disk.plan(plan);
    for _ in 0..work.chance.random_range(1..STEPS) {
        if !work.host.is_up() {
            work.start()?;
        }
        work.step()?;
    }
    Ok(())
}

fn run(seed: u64, image: &Image, met: &mut Met) -> Checked {
    let mut work = Work::new(image.clone(), seed);
    let lived = (|| {
        work.start()?;
        for _ in 0..LIVES {
            live(&mut work)?;
            // Whatever went wrong before: now the power goes.
            let loss = if work.chance.random_bool(0.5) { Loss::All } else { Loss::Some };
            work.host.disk.cut(loss);
            work.host.disk.heal();
            work.start()?;
        }
        work.host.check()
    })();
    met.seeds += 1;
    met.starts += u64::from(work.host.starts);
    met.faults += work.host.disk.hits();
    met.accesses += work.host.disk.ops();
    met.accepted += work.host.ledger.accepted().len() as u64;
    lived
}

fn asked(name: &str) -> Option<u64> {
    crate::env::variable(name)?.to_str()?.parse().ok()
}

#[allow(clippy::print_stderr, reason = "the seed is what repeats a failure")]
#[test]
fn every_answered_command_outlives_a_power_cut() {
    let image = fresh();
    let seeds: Vec<u64> = match asked("LASTWORD_SEED") {
        Some(seed) => vec![seed],
        None => {
            let from = asked("LASTWORD_FROM").unwrap_or(1);
            let count = asked("LASTWORD_SEEDS").unwrap_or(SEEDS);
            REGRESSIONS.iter().copied().chain(from..from + count).collect()
        }
    };
    let (mut met, mut failed) = (Met::default(), Vec::new());
    for seed in seeds {
        if let Err(Violation(sentence)) = run(seed, &image, &mut met) {
            eprintln!("seed {seed}: {sentence}; replay: cargo xtask power-cut --seed {seed}");
            failed.push(seed);
        }
    }
    eprintln!("power cut: {met:?}, {} failed", failed.len());
    assert!(failed.is_empty(), "{} seeds failed: {failed:?}", failed.len());
    assert!(met.faults > 0 && met.accepted > met.seeds, "nothing happened: {met:?}");
}

/// The first seed that misses the rule, and what it says.
fn found_without(rule: Rule) -> (u64, String) {
    let image = fresh();
    let mut met = Met::default();
    for seed in 1..=SEEDS_UNTIL_FOUND {
        if let Err(Violation(sentence)) = without(Some(rule), || run(seed, &image, &mut met)) {
            return (seed, sentence);
        }
    }
    panic!("{SEEDS_UNTIL_FOUND} seeds do not miss {rule:?}: {met:?}");
}

#[test]
fn a_power_cut_loses_answered_commands_where_commits_are_not_synced() {
    let (_, sentence) = found_without(Rule::Full);
    assert!(sentence.contains("was answered"), "{sentence}");
}

#[test]
fn answers_are_false_where_a_failed_sync_is_not_followed_by_closing_and_reading_again() {
    let (_, sentence) = found_without(Rule::ReadAgain);
    assert!(sentence.contains("refused is there"), "{sentence}");
}

#[test]
fn answered_commands_are_lost_where_a_log_is_trusted_that_a_failed_sync_has_left() {
    let (_, sentence) = found_without(Rule::WriteAgain);
    assert!(sentence.contains("answered"), "{sentence}");
}
