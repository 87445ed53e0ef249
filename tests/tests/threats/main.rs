//! Threats against the real host: each a hostile component on a channel of its own, beside a
//! well-behaved channel that is under load all the while. Of each it is asked: does the host live,
//! does every message of the other channel arrive once and in time, do the hostile rows follow the
//! lifecycle, can the operator read what happened. See `docs/threats.md`.

#![allow(clippy::disallowed_methods, reason = "tests watch real processes on the real clock")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends with a panic")]
#![allow(clippy::print_stdout, reason = "figures are for whoever runs the tests by hand")]

mod admission;
mod change;
mod isolation;
mod load;
mod network;
mod peer;
mod resources;
mod rig;
mod secrets;
mod truth;

use std::time::Duration;

/// Ten times what it takes on a machine that has nothing else to do.
const SOON: Duration = Duration::from_secs(30);
