//! Scenarios against the real binary, its real store and real components, from outside.

#![allow(clippy::disallowed_methods, reason = "tests watch real processes on the real clock")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends with a panic")]

mod abort;
mod backup;
mod bridge;
mod commands;
mod disk;
mod events;
mod fairness;
mod files;
mod flood;
mod grants;
mod handlers;
mod import;
mod intake;
mod isolation;
mod looking;
mod operate;
mod outcomes;
mod posts;
mod pull;
mod pull_worker;
mod schedules;
mod signals;
mod signatures;
mod startup;
mod unknown;

use std::time::Duration;

use lastword_tests::harness::{Channel, Config, Sink, Site};

/// Ten times what it takes on a machine that has nothing else to do.
const SOON: Duration = Duration::from_secs(30);

/// A sink that takes everything, and a site with a `webhook` channel `hook` that answers to it.
async fn bridge(config: Config) -> (Sink, Site) {
    let sink = Sink::start().await;
    let site = Site::new(&config.channel(Channel::webhook("hook", &sink.url())));
    (sink, site)
}
