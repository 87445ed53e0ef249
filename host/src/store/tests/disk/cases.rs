//! What the proofs have found, each told by itself.

use super::super::rig::message;
use super::cut::fresh;
use super::host::Host;
use super::ledger::Violation;
use super::proof::without;
use super::{Cache, Fault, Image, Loss, Plan, Rule};
use crate::lifecycle::message::InboundEvent;
use crate::lifecycle::outcome::StateWrites;
use crate::lifecycle::settle::SettleMeans;
use crate::store::*;

/// Accesses after the beginning of a commit within which its syncs fail: as many windows.
const ACCESSES: u64 = 60;

fn accept(id: &str) -> Command {
    Command::Accept(Accept {
        channel: "hook".into(),
        events: vec![InboundEvent::Message(message("room", id, "hi"))],
        cursor: None,
        state: StateWrites::default(),
        claim: None,
    })
}

/// What of a failed sync reached the medium is for the seed to say: of some all, of others a part.
const SEEDS: std::ops::Range<u64> = 0..4;

fn host(seed: u64) -> Host {
    let mut host = Host::new(fresh(), seed, 1, SettleMeans::default());
    host.start().unwrap();
    assert!(host.run(vec![accept("m0")]).unwrap().unwrap()[0].is_ok());
    host
}

/// A commit during which all syncs of a while fail, then one that succeeds, then a power cut. Says
/// how many syncs failed, and whether the commit was said to be done.
fn failed_syncs(seed: u64, accesses: u64) -> Result<(u64, bool), Violation> {
    let mut host = host(seed);
    let first = host.disk.ops();
    host.disk.plan(Plan { first, count: accesses, fault: Fault::Sync(Cache::Kept) });
    let told = host.run(vec![accept("m1")])?;
    host.disk.heal();
    let done = told.is_some_and(|answers| answers[0].is_ok());
    host.run(vec![accept("m2")])?;
    host.disk.cut(Loss::All);
    host.start()?;
    Ok((host.disk.hits(), done))
}

#[test]
fn a_batch_that_is_found_in_the_log_after_two_failed_syncs_is_written_again_before_it_is_answered()
{
    let all = || SEEDS.flat_map(|seed| (1..ACCESSES).map(move |accesses| (seed, accesses)));
    let mut found = 0;
    for (seed, accesses) in all() {
        let (failed, done) = failed_syncs(seed, accesses).unwrap();
        found += u32::from(failed >= 2 && done);
    }
    assert!(found > 0, "no batch was found in the log");
    let lost = |(seed, accesses)| {
        without(Some(Rule::WriteAgain), || failed_syncs(seed, accesses).is_err())
    };
    assert!(all().any(lost), "the log may as well be left as it is");
}

/// A commit whose sync fails though all of it reached the disk, and a power cut after the refusal.
fn refused(seed: u64, accesses: u64) -> Result<(), Violation> {
    let mut host = Host::new(fresh(), seed, 1, SettleMeans::default());
    host.start()?;
    host.run(vec![accept("m0")])?;
    let (first, fault) = (host.disk.ops(), Fault::Sync(Cache::Kept));
    host.disk.plan(Plan { first, count: accesses, fault });
    host.run(vec![accept("m1")])?;
    host.disk.heal();
    host.disk.cut(Loss::All);
    host.start()
}

#[test]
fn what_was_refused_does_not_come_back_with_a_log_whose_removal_was_not_synced() {
    let all = |run: &dyn Fn(u64, u64) -> bool| {
        (0..8).flat_map(|seed| (4..20).map(move |n| (seed, n))).all(|(seed, n)| run(seed, n))
    };
    assert!(all(&|seed, n| refused(seed, n).is_ok()), "what was refused came back");
    let holds = |seed, n| without(Some(Rule::CommitAgain), || refused(seed, n).is_ok());
    assert!(!all(&holds), "a refusal may as well not be committed");
}

#[test]
fn a_host_that_is_killed_after_a_failed_sync_leaves_a_log_that_the_next_one_writes_again() {
    let run = |seed: u64, kills_after: u64| {
        let mut host = host(seed);
        let first = host.disk.ops();
        host.disk.plan(Plan { first, count: ACCESSES, fault: Fault::Sync(Cache::Kept) });
        host.run(vec![accept("m1")])?;
        host.disk.plan(Plan { first: host.disk.ops() + kills_after, count: 1, fault: Fault::Kill });
        host.run(vec![accept("m2")])?;
        host.disk.kill();
        host.disk.heal();
        host.start()?;
        host.run(vec![accept("m3")])?;
        host.disk.cut(Loss::All);
        host.start()
    };
    let all = || SEEDS.flat_map(|seed| (0..20).map(move |accesses| (seed, accesses)));
    all().for_each(|(seed, accesses)| run(seed, accesses).unwrap());
    let lost = |(seed, accesses)| without(Some(Rule::WriteAgain), || run(seed, accesses).is_err());
    assert!(all().any(lost), "the log may as well be left as it is");
}

#[test]
fn a_batch_that_comes_to_the_disk_unseen_is_told_to_whoever_counts_along() {
    let mut host = host(1);
    let first = host.disk.ops();
    host.disk.plan(Plan { first, count: u64::MAX, fault: Fault::Sync(Cache::Kept) });
    assert!(host.run(vec![accept("m1")]).unwrap().unwrap()[0].is_err());
    assert!(!host.core().unwrap().take_unseen());
    host.disk.heal();
    assert!(host.run(vec![accept("m2")]).unwrap().unwrap()[0].is_ok());
    assert_eq!(host.count("SELECT count(*) FROM turn").unwrap(), 3, "m1 is there after all");
    assert!(host.core().unwrap().take_unseen());
    assert!(!host.core().unwrap().take_unseen());
}

#[test]
fn a_store_whose_making_was_interrupted_at_the_switch_to_a_log_is_made_by_the_next_start() {
    for at in 0..60 {
        let mut host = Host::new(Image::default(), 1, 1, SettleMeans::default());
        host.disk.plan(Plan { first: at, count: 1, fault: Fault::Io });
        host.start().unwrap_or_else(|Violation(sentence)| panic!("{at}: {sentence}"));
    }
}
