//! A whole host under one seed: the real store and the real workers, a scripted platform and a
//! scripted agent, under a clock that only the simulation moves.
//!
//! The seed drives what people send, what the platform and the agent do, when the host is killed
//! or stopped, and how the clock jumps. What the platform and the agent saw stands in a `World`
//! that outlives every host; it is held against the rows (`check`). Threads, wasm, processes
//! and sockets are not here: the kill loop has those.

mod agent;
mod chance;
mod check;
mod host;
mod life;
mod platform;
mod world;

use std::sync::Arc;

use rand::Rng;
use tempfile::TempDir;

use life::{Ending, Life};
use world::World;

/// Steps of one seed, spread over its lives.
const STEPS: u32 = 60;

/// What became of one seed.
#[derive(Debug)]
pub struct Outcome {
    /// What was broken, in sentences; nothing where all promises held.
    pub broken: Vec<String>,
    /// Everything that the platform and the agent saw, in order.
    pub trace: Vec<String>,
}

/// Runs one seed to its end.
#[must_use]
pub fn run(seed: u64) -> Outcome {
    let dir = folder();
    let world = Arc::new(World::new(seed));
    let mut left = STEPS;
    while left > 0 {
        let (steps, ending) = world.with(|it| {
            let steps = it.rng.random_range(1..=25).min(left);
            let ending = if it.rng.random_bool(0.7) { Ending::Kill } else { Ending::Stop };
            (steps, ending)
        });
        left -= steps;
        Life::begin(&world, &dir).live(steps, ending);
        if world.is_broken() {
            break;
        }
    }
    if !world.is_broken() {
        world.with(|it| it.calm());
        Life::begin(&world, &dir).live(0, Ending::Rest);
    }
    world.with(|it| Outcome {
        broken: std::mem::take(&mut it.broken),
        trace: std::mem::take(&mut it.trace),
    })
}

/// In memory where the system has such a place: what is proved here is the order of commits, and
/// the disk's part is the kill loop's.
fn folder() -> TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).expect("a folder")
}
