//! Child processes of the sandbox: the host's own binary in a hidden mode, started with an empty
//! environment and one pipe. What a stranger's bytes can make slow, large or wrong happens there,
//! and is killed there.
//!
//! A child is its host's: it reads its pipe all the time, and the end of the pipe is the order to
//! die, which the kernel gives also for a host that was killed. It opens no file and asks for
//! nothing but what the pipe brings. It knows no store, no config and no secrets.

mod away;
pub(super) mod compile;
mod frame;
mod inmate;
mod line;
mod lock;
#[cfg(test)]
pub(super) mod probe;
mod serve;
mod start;
mod talk;
pub(super) mod ward;
mod weigh;

use std::ffi::OsString;

pub(super) use away::AwayLog;
pub use start::Helper;
#[cfg(test)]
pub(super) use start::{Mode, TEST_VARIABLE};
pub(super) use talk::LogLine;

/// The word that asks the binary for a hidden mode.
const WORD: &str = "sandbox-child";
/// The exit code of a child that was started with words that it does not know.
const EXIT_WRONG_WORDS: u8 = 2;

/// To be called first of all by a program whose own binary is to serve the sandbox: runs the hidden
/// mode that `words` (the first is the program's name) ask for and gives the exit code, or notes
/// that this binary knows the modes, and gives none.
#[must_use]
pub fn child_main(words: impl IntoIterator<Item = OsString>) -> Option<u8> {
    let mut words = words.into_iter().skip(1);
    if words.next().is_none_or(|word| word != WORD) {
        start::offer();
        return None;
    }
    let asked = words.next();
    let mode =
        start::Mode::ALL.into_iter().find(|mode| asked.as_ref().is_some_and(|w| w == mode.word()));
    Some(mode.map_or(EXIT_WRONG_WORDS, play))
}

/// Plays a child to its end.
pub(super) fn play(mode: start::Mode) -> u8 {
    // Where it cannot be, a stop of the whole service ends the child before its host.
    let _ = crate::env::outlive_stop_signals();
    match mode {
        start::Mode::Compile => compile::child(),
        start::Mode::Serve => serve::child(),
        #[cfg(test)]
        start::Mode::Probe => probe::child(),
    }
}
