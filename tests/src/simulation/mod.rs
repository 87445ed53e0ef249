//! A whole host under one seed: the real store and the real workers, a scripted platform and a
//! scripted agent or scripted pull workers, under a clock that only the simulation moves.
//!
//! The seed drives what people, programs and operators send, what the platform and the agent do,
//! when the disk fails, when the host is killed, stopped or stands still, and how the clock jumps.
//! What the platform and the agent saw stands in a `World` that outlives every host; what the store
//! told of its commits stands beside it (`shadow`). Each commit, each call and each try is held
//! against both as it happens; all rows are held against them again and again (`check`). Threads,
//! wasm, processes and sockets are not here: the kill loop has those.
//!
//! A **step** is one thing that the seed decides and the host does: an arrival, an operator's act, a
//! wait or a jump of the clock, an answer of the platform, an event of an agent or a request of a
//! worker, a start.

mod agent;
mod chance;
mod check;
mod host;
mod life;
mod operator;
mod people;
mod platform;
mod shadow;
mod worker;
mod world;

use std::sync::Arc;

use rand::Rng;
use tempfile::TempDir;

use life::{Ending, Life};
use world::World;

/// Steps of one seed in the test suite.
pub const STEPS: u64 = 400;
/// Acts of one life, at most.
const ACTS_MAX: u32 = 120;

/// Whether a seed's run is written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trace {
    Off,
    On,
}

/// What became of one seed.
#[derive(Debug)]
pub struct Outcome {
    /// Things that the seed decided and the host did.
    pub steps: u64,
    /// What was broken, in sentences; nothing where all promises held.
    pub broken: Vec<String>,
    /// Everything that happened, in order, where that was asked for.
    pub trace: Vec<String>,
}

/// Runs one seed for at least so many steps, and then until everything is at rest.
#[must_use]
pub fn run(seed: u64, steps: u64, trace: Trace) -> Outcome {
    let dir = folder();
    let world = Arc::new(World::new(seed, trace == Trace::On));
    while world.with(|it| it.steps) < steps && !world.is_broken() {
        let (acts, ending) = world.with(|it| {
            let acts = it.rng.random_range(1..=ACTS_MAX);
            let ending = if it.rng.random_bool(0.7) { Ending::Kill } else { Ending::Stop };
            (acts, ending)
        });
        Life::begin(&world, &dir).live(acts, ending);
    }
    if !world.is_broken() {
        world.with(|it| it.calm());
        Life::begin(&world, &dir).live(0, Ending::Rest);
    }
    world.with(|it| Outcome {
        steps: it.steps,
        broken: std::mem::take(&mut it.broken),
        trace: std::mem::take(&mut it.trace),
    })
}

/// In memory where the system has such a place: what is proved here is the order of commits, and
/// the disk's part is the kill loop's and the store's own.
fn folder() -> TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).expect("a folder")
}
