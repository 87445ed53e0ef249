//! What a sweep did, for people: counts with their reasons, and what failed, by name.

use std::collections::BTreeMap;

use serde::Serialize;

/// Failures named one by one; the rest is counted.
const FAILURES_NAMED: usize = 20;

/// One run's account.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Report {
    /// Rows looked at.
    pub seen: u64,
    /// Rows changed, by what was done.
    pub done: BTreeMap<&'static str, u64>,
    /// Rows left alone, by reason.
    pub left: BTreeMap<String, u64>,
    /// Rows that somebody else changed first; nothing was done to them.
    pub missed: u64,
    /// Items that failed; the others were served.
    pub failed: u64,
    pub failures: Vec<ItemFailure>,
}

/// One item that failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ItemFailure {
    pub item: String,
    pub sentence: String,
}

impl Report {
    pub(super) fn did(&mut self, what: &'static str, rows: u64) {
        if rows > 0 {
            *self.done.entry(what).or_default() += rows;
        }
    }

    pub(super) fn leave(&mut self, why: impl Into<String>, rows: u64) {
        if rows > 0 {
            *self.left.entry(why.into()).or_default() += rows;
        }
    }

    pub(super) fn fail(&mut self, item: impl Into<String>, sentence: impl ToString) {
        self.failed += 1;
        if self.failures.len() < FAILURES_NAMED {
            let failure = ItemFailure { item: item.into(), sentence: sentence.to_string() };
            self.failures.push(failure);
        }
    }

    /// Rows changed in all.
    #[must_use]
    pub fn changed(&self) -> u64 {
        self.done.values().sum()
    }

    /// Whether there is anything to say.
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        self.done.is_empty() && self.failed == 0
    }
}
