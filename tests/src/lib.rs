//! Lastword seen from outside: what the tests of this crate share.
//!
//! `harness` runs the real binary, a sink and a platform's client; `kill_loop` kills the host under
//! load and judges what is left. Neither knows a room of the host: what they may rely on is what a
//! user may rely on. `bench` measures, also in process, and knows the host's library; so does
//! `fuzz_admission`, which gives its sandbox mutated components.

#![allow(clippy::disallowed_methods, reason = "tests watch real processes on the real clock")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends with a panic")]
#![allow(clippy::print_stderr, reason = "a failing test says what it saw")]

pub mod bench;
pub mod fuzz;
pub mod fuzz_admission;
pub mod harness;
pub mod kill_loop;
pub mod simulation;
pub mod soak;
