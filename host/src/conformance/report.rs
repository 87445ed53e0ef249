//! What the suite found: one line a case.

use serde::Serialize;

use crate::lifecycle::outcome::Usage;

/// All of it.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// The component's name and version, as it says.
    pub adapter: String,
    pub digest: String,
    pub cases: Vec<CaseReport>,
}

impl Report {
    /// How many cases do not hold.
    #[must_use]
    pub fn broken(&self) -> usize {
        self.cases.iter().filter(|case| !case.broken.is_empty()).count()
    }
}

/// One case.
#[derive(Debug, Clone, Serialize)]
pub struct CaseReport {
    /// A sentence that holds of a sound adapter.
    pub name: String,
    /// What was seen instead, in sentences; nothing where it holds.
    pub broken: Vec<String>,
    /// Calls that were made.
    pub calls: u32,
    /// The most that one of them used.
    pub cpu_ms_max: u64,
    pub memory_bytes_max: u64,
    pub host_calls_max: u32,
}

/// What is known of a case while it runs.
#[derive(Debug, Default)]
pub(super) struct Case {
    broken: Vec<String>,
    calls: u32,
    cpu_ms_max: u64,
    memory_bytes_max: u64,
    host_calls_max: u32,
}

/// Sentences of one case that are kept: the first ones say what is wrong.
const BROKEN_MAX: usize = 8;

impl Case {
    /// Notes that it does not hold.
    pub(super) fn broken(&mut self, sentence: impl Into<String>) {
        if self.broken.len() < BROKEN_MAX {
            self.broken.push(sentence.into());
        }
    }

    /// Notes a sentence where something is not so.
    pub(super) fn expect(&mut self, holds: bool, sentence: impl FnOnce() -> String) {
        if !holds {
            self.broken(sentence());
        }
    }

    pub(super) fn used(&mut self, usage: &Usage) {
        self.calls = self.calls.saturating_add(1);
        self.cpu_ms_max = self.cpu_ms_max.max(usage.cpu_ms);
        self.memory_bytes_max = self.memory_bytes_max.max(usage.memory_peak_bytes);
        self.host_calls_max = self.host_calls_max.max(usage.host_calls);
    }

    pub(super) fn report(self, name: &str) -> CaseReport {
        CaseReport {
            name: name.to_owned(),
            broken: self.broken,
            calls: self.calls,
            cpu_ms_max: self.cpu_ms_max,
            memory_bytes_max: self.memory_bytes_max,
            host_calls_max: self.host_calls_max,
        }
    }
}
