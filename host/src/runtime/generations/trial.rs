//! The first calls of a component: whether it stays. Pure; the time comes in. Bytes that are bound
//! anew, under another config, are not watched anew: what was counted counts on.
//!
//! A call is one of the first where fewer than [`TRIAL_CALLS`] ended before it, or where the
//! generation is younger than [`TRIAL_FOR`], whichever lasts longer: a busy channel is watched for a
//! minute, a quiet one until it was used at all. [`BREAKS`] breaks in a row of one kind among them,
//! and the generation before it serves again. One break between two answers is a message that this
//! version cannot take; the breaker minds those. Each export is judged for itself: a version that
//! takes every webhook and traps at every send is broken.

use std::collections::BTreeMap;
use std::time::Duration;

/// Calls that are watched at least.
pub(super) const TRIAL_CALLS: u32 = 10;
/// The time for which calls are watched at least.
pub(super) const TRIAL_FOR: Duration = Duration::from_secs(60);
/// Breaks in a row, of one export, that end it.
pub(super) const BREAKS: u32 = 2;

/// What the end of a call says about the component itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Health {
    /// It answered, whatever it said.
    Works,
    /// It trapped, or used up its time by itself.
    Broke,
    /// Ended by the host, or by a platform that did not answer.
    Neither,
}

/// What is to be done now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    GoesOn,
    /// To be taken back. Said again at each further break, should nobody have heard.
    Broken,
}

/// What the first calls said so far.
#[derive(Debug, Clone)]
pub(super) struct Trial {
    began: Duration,
    ended: u32,
    /// In a row, by export; there are as many as the contract has.
    breaks: BTreeMap<&'static str, u32>,
}

impl Trial {
    /// From now on, on the clock of [`Trial::tell`].
    pub(super) fn new(now: Duration) -> Self {
        Self { began: now, ended: 0, breaks: BTreeMap::new() }
    }

    /// Takes note of the end of a call.
    pub(super) fn tell(&mut self, now: Duration, export: &'static str, health: Health) -> Verdict {
        let age = now.saturating_sub(self.began);
        if self.ended >= TRIAL_CALLS && age > TRIAL_FOR {
            return Verdict::GoesOn;
        }
        let breaks = self.breaks.entry(export).or_default();
        match health {
            Health::Neither => return Verdict::GoesOn,
            Health::Works => *breaks = 0,
            Health::Broke => *breaks = breaks.saturating_add(1),
        }
        self.ended = self.ended.saturating_add(1);
        if *breaks >= BREAKS { Verdict::Broken } else { Verdict::GoesOn }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Health::{Broke, Neither, Works};

    const YOUNG: Duration = Duration::from_secs(1);
    const OLD: Duration = Duration::from_secs(61);

    fn told(age: Duration, calls: &[Health]) -> Vec<bool> {
        let mut trial = Trial::new(Duration::ZERO);
        calls.iter().map(|call| trial.tell(age, "send", *call) == Verdict::Broken).collect()
    }

    #[test]
    fn two_breaks_in_a_row_end_it_and_an_answer_between_them_does_not() {
        assert_eq!(told(YOUNG, &[Broke, Broke]), [false, true]);
        assert_eq!(told(YOUNG, &[Broke, Works, Broke, Works, Broke]), [false; 5]);
        assert_eq!(told(YOUNG, &[Works, Broke, Neither, Broke]), [false, false, false, true]);
    }

    #[test]
    fn an_export_that_works_says_nothing_of_one_that_breaks() {
        let mut trial = Trial::new(Duration::ZERO);
        let mut tell = |export, health| trial.tell(YOUNG, export, health) == Verdict::Broken;
        assert!(!tell("send", Broke));
        assert!(!tell("poll", Broke), "another one that broke once");
        assert!(!tell("webhook", Works));
        assert!(tell("send", Broke), "twice in a row, whatever came between");
    }

    #[test]
    fn a_quiet_channel_is_watched_until_it_was_used() {
        assert_eq!(told(OLD, &[Broke, Broke]), [false, true]);
        let mut calls = vec![Works; TRIAL_CALLS as usize];
        calls.extend([Broke; 5]);
        assert!(told(OLD, &calls).iter().all(|broken| !broken), "it was used, and is old");
    }

    #[test]
    fn a_busy_channel_is_watched_for_a_minute() {
        let mut calls = vec![Works; 1_000];
        calls.extend([Broke, Broke]);
        assert_eq!(told(YOUNG, &calls).iter().filter(|broken| **broken).count(), 1);
    }

    #[test]
    fn a_verdict_that_nobody_heard_is_said_again() {
        assert_eq!(told(YOUNG, &[Broke, Broke, Broke]), [false, true, true]);
    }
}
