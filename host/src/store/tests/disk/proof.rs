//! Rules of the store that a proof leaves out, to show that it finds what they are there for.

use std::cell::Cell;

/// What the store does after a commit has failed, and what it writes with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::store) enum Rule {
    /// It closes, opens and reads again before it answers.
    ReadAgain,
    /// It writes a log that it finds once more before it builds upon it.
    WriteAgain,
    /// It commits once more on top of what it read.
    CommitAgain,
    /// Each commit is synced: `synchronous=FULL`.
    Full,
}

thread_local! {
    static LEFT_OUT: Cell<Option<Rule>> = const { Cell::new(None) };
}

/// Whether this thread's stores go without the rule.
pub(in crate::store) fn is_left_out(rule: Rule) -> bool {
    LEFT_OUT.get() == Some(rule)
}

/// Runs without a rule, or with all of them.
pub(super) fn without<T>(rule: Option<Rule>, run: impl FnOnce() -> T) -> T {
    LEFT_OUT.set(rule);
    let done = run();
    LEFT_OUT.set(None);
    done
}
