//! Mutations that coverage guides: an input that reaches what none before it reached is kept, and
//! mutated further.
//!
//! What was reached is told by counters that the compiler puts on every edge of our own crates (see
//! `cargo xtask fuzz`). An engine from a library would do this faster, and would have the
//! WebAssembly engine compiled anew: see the decision on it.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::mutate::{Mutations, name_of};
use super::{Fuzzer, Target};

/// How often it says how far it is.
const SAY_EVERY: Duration = Duration::from_secs(10);
/// An input that takes longer is told, as one that could hold up a host.
const SLOW: Duration = Duration::from_secs(2);

/// The counters of the instrumented code.
pub trait Counters {
    /// Calls `see` with each edge that was passed and how often, and begins anew.
    fn drain(&mut self, see: &mut dyn FnMut(usize, u8));
}

/// How a run ends.
#[derive(Debug, Clone)]
pub struct Plan {
    pub target: Target,
    pub span: Duration,
    pub seed: u64,
    /// Where what was found stands, and where the grown corpus is kept between runs.
    pub folder: PathBuf,
}

/// What a run came to.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Report {
    pub target: &'static str,
    pub seed: u64,
    pub seconds: u64,
    pub inputs: u64,
    /// Edges that were passed, in classes of how often.
    pub reached: usize,
    /// Of those, what the committed corpus reaches.
    pub reached_by_corpus: usize,
    pub kept: usize,
    pub slowest_ms: u64,
}

/// The edges that were ever passed, by number: a bit for each class of how often.
#[derive(Default)]
struct Reached {
    edges: Vec<u16>,
    count: usize,
}

impl Reached {
    /// Whether the last input passed something for the first time.
    fn learn(&mut self, counters: &mut dyn Counters) -> bool {
        let mut new = false;
        counters.drain(&mut |edge, count| {
            if self.edges.len() <= edge {
                self.edges.resize(edge + 1, 0);
            }
            let bit = 1 << class(count);
            if self.edges[edge] & bit == 0 {
                self.edges[edge] |= bit;
                self.count += 1;
                new = true;
            }
        });
        new
    }
}

/// Once, twice, three times, then by powers of two: a loop that runs once more is nothing new.
fn class(count: u8) -> u8 {
    match count {
        0..=3 => count,
        4..=7 => 4,
        8..=15 => 5,
        16..=31 => 6,
        32..=127 => 7,
        128..=255 => 8,
    }
}

/// Runs the corpus, then mutations until the time is over.
///
/// # Panics
/// At a finding, after its input was written down.
pub fn run(plan: &Plan, counters: &mut dyn Counters) -> Report {
    let grown = plan.folder.join("corpus").join(plan.target.name());
    let found = plan.folder.join("found").join(plan.target.name());
    for folder in [&grown, &found] {
        std::fs::create_dir_all(folder).unwrap();
    }
    let mut fuzzer = Fuzzer::new(plan.target);
    counters.drain(&mut |_, _| {});
    let mut reached = Reached::default();
    let mut known = Vec::new();
    for (_, input) in plan.target.corpus() {
        take(&mut fuzzer, &input, &found);
        reached.learn(counters);
        known.push(input);
    }
    let reached_by_corpus = reached.count;
    for input in read_all(&grown) {
        take(&mut fuzzer, &input, &found);
        if reached.learn(counters) {
            known.push(input);
        }
    }
    let began = Instant::now();
    let (mut said, mut inputs, mut slowest) = (began, 0, Duration::ZERO);
    let mut mutations = Mutations::new(plan.seed, known);
    while began.elapsed() < plan.span {
        let input = mutations.pick();
        let took = take(&mut fuzzer, &input, &found);
        inputs += 1;
        slowest = slowest.max(took);
        if reached.learn(counters) {
            std::fs::write(grown.join(format!("{:016x}", name_of(&input))), &input).unwrap();
            mutations.learn(input);
        }
        if said.elapsed() > SAY_EVERY {
            said = Instant::now();
            let (seconds, kept) = (began.elapsed().as_secs(), mutations.known());
            eprintln!("{seconds} s: {inputs} inputs, {} edges, {kept} kept", reached.count);
        }
    }
    Report {
        target: plan.target.name(),
        seed: plan.seed,
        seconds: plan.span.as_secs(),
        inputs,
        reached: reached.count,
        reached_by_corpus,
        kept: mutations.known(),
        slowest_ms: u64::try_from(slowest.as_millis()).unwrap_or(u64::MAX),
    }
}

/// One input; written down before it is taken, so that it is there even where the process falls.
fn take(fuzzer: &mut Fuzzer, input: &[u8], found: &Path) -> Duration {
    let guard = Finding { path: found.join(format!("{:016x}", name_of(input))), input };
    let began = Instant::now();
    fuzzer.take(input);
    let took = began.elapsed();
    assert!(took < SLOW, "it took {took:?}");
    std::mem::forget(guard);
    took
}

/// Written where it is dropped by a panic.
struct Finding<'a> {
    path: PathBuf,
    input: &'a [u8],
}

impl Drop for Finding<'_> {
    fn drop(&mut self) {
        let written = std::fs::write(&self.path, self.input);
        eprintln!("the input stands in {} ({written:?})", self.path.display());
    }
}

fn read_all(folder: &Path) -> Vec<Vec<u8>> {
    let mut paths: Vec<_> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.into_iter().map(|path| std::fs::read(path).unwrap()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Counters that tell what a test wants.
    struct Told(Vec<(usize, u8)>);

    impl Counters for Told {
        fn drain(&mut self, see: &mut dyn FnMut(usize, u8)) {
            self.0.drain(..).for_each(|(edge, count)| see(edge, count));
        }
    }

    #[test]
    fn an_edge_is_new_once_and_again_where_it_is_passed_far_more_often() {
        let mut reached = Reached::default();
        assert!(reached.learn(&mut Told(vec![(1, 1), (2, 4)])));
        assert!(!reached.learn(&mut Told(vec![(1, 1), (2, 7)])));
        assert!(reached.learn(&mut Told(vec![(2, 8)])));
        assert!(!reached.learn(&mut Told(Vec::new())));
    }
}
