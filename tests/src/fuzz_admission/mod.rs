//! Mutated components against admission: whatever the bytes are, it answers with a sentence, and in
//! time. Only what validates is compiled; only what fits the contract is asked to describe itself.
//!
//! A case is told by the seed of its campaign and its number: `cargo xtask fuzz-admission --seed S
//! --only N` repeats it.

mod mutate;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use lastword::env::Env;
use lastword::sandbox::{Engine, EngineConfig};
use rand::SeedableRng as _;
use rand::rngs::StdRng;

pub use mutate::mutated;

use crate::harness::built::target_folder;

/// No admission may take longer: the compilation's own cap, and both times `describe`.
const SLOWEST: Duration = Duration::from_secs(20);
/// Sentences are for people.
const SENTENCE_BYTES_MAX: usize = 8_192;

/// What a campaign came to.
#[derive(Debug, Default)]
pub struct Tally {
    pub cases: u64,
    /// By the first words of the refusal.
    pub refused: BTreeMap<&'static str, u64>,
    pub admitted: u64,
    pub slowest: Duration,
}

impl Tally {
    /// Those that validated, and were compiled.
    #[must_use]
    pub fn compiled(&self) -> u64 {
        let not = ["no component", "not valid"];
        let past = self.refused.iter().filter(|(kind, _)| !not.contains(kind));
        self.admitted + past.map(|(_, count)| count).sum::<u64>()
    }
}

/// The components that are mutated: small ones mostly, so that what validates is soon compiled,
/// and now and then a real adapter.
pub struct Seeds {
    small: Vec<Vec<u8>>,
    large: Vec<Vec<u8>>,
}

/// One case in so many is of a real adapter: of those some are whole enough to be admitted.
const LARGE_ONE_IN: u64 = 100;
const SMALL_BYTES_MAX: u64 = 16 << 10;

impl Seeds {
    /// All components that were built.
    ///
    /// # Panics
    /// Where there are none.
    #[must_use]
    pub fn built() -> Self {
        let (mut small, mut large) = (Vec::new(), Vec::new());
        let folder = target_folder().join("guests");
        let entries = std::fs::read_dir(&folder).expect("guests are built: `cargo xtask guests`");
        let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
        // The same case is the same bytes, whatever the folder's order.
        paths.sort();
        for path in paths.into_iter().filter(|path| path.extension().is_some_and(|e| e == "wasm")) {
            let bytes = std::fs::read(&path).unwrap();
            let is_small = (bytes.len() as u64) < SMALL_BYTES_MAX;
            if is_small { small.push(bytes) } else { large.push(bytes) }
        }
        assert!(!small.is_empty() && !large.is_empty(), "too few guests in {}", folder.display());
        Self { small, large }
    }

    /// The bytes of one case.
    #[must_use]
    pub fn case(&self, seed: u64, number: u64) -> Vec<u8> {
        let mut rng = StdRng::seed_from_u64(seed ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let from =
            if number % LARGE_ONE_IN == LARGE_ONE_IN - 1 { &self.large } else { &self.small };
        mutated(from, &mut rng)
    }
}

/// An engine with the caps of a host, and short ones for `describe`.
///
/// # Panics
/// Where there is no memory for it.
#[must_use]
pub fn engine() -> Engine {
    let config = EngineConfig { describe_ms: 100, compile_ms_max: 10_000, ..Default::default() };
    Engine::new(Env::system(), config).unwrap()
}

/// Runs cases `from..from + cases`. After each thousand `told` hears how many are done.
///
/// # Panics
/// With the number of the case that brought the engine down, took too long, or was refused
/// without a sentence.
pub async fn run(seed: u64, from: u64, cases: u64, told: impl Fn(u64)) -> Tally {
    let (seeds, engine) = (Seeds::built(), engine());
    let mut tally = Tally::default();
    for number in from..from + cases {
        let bytes = seeds.case(seed, number);
        let began = Instant::now();
        let admitting = tokio::spawn({
            let engine = engine.clone();
            async move { engine.admit(bytes).await.map(|_| ()) }
        });
        let ended = admitting.await.unwrap_or_else(|panic| {
            panic!("case {number} of seed {seed} brought admission down: {panic}")
        });
        let took = began.elapsed();
        assert!(took < SLOWEST, "case {number} of seed {seed} took {took:?}");
        tally.slowest = tally.slowest.max(took);
        tally.cases += 1;
        match ended {
            Ok(()) => tally.admitted += 1,
            Err(refusal) => {
                let words = refusal.to_string();
                let is_sentence = !words.is_empty() && words.len() <= SENTENCE_BYTES_MAX;
                let is_plain = !words.contains(|c: char| c.is_control() && c != '\n');
                assert!(is_sentence && is_plain, "case {number} of seed {seed}: {words:?}");
                assert!(!words.contains("the compiler down"), "case {number}: {words}");
                *tally.refused.entry(kind(&words)).or_default() += 1;
            }
        }
        if tally.cases.is_multiple_of(1_000) {
            told(tally.cases);
        }
    }
    tally
}

fn kind(words: &str) -> &'static str {
    for (begin, kind) in [
        ("the file is", "no component"),
        ("the file has", "no component"),
        ("it cannot be compiled", "not valid"),
        ("it was not compiled", "compiled too long"),
        ("it was compiled", "not loaded"),
        ("`describe`", "describe"),
        ("it does not fit", "types"),
    ] {
        if words.starts_with(begin) {
            return kind;
        }
    }
    "contract"
}

#[cfg(test)]
mod tests {
    use super::*;

    // The long form is `cargo xtask fuzz-admission`.
    #[tokio::test]
    async fn two_thousand_mutated_components_are_answered_with_a_sentence_each() {
        let tally = run(1, 0, 2_000, |_| ()).await;
        assert_eq!(tally.cases, 2_000);
        assert!(tally.compiled() > 20, "hardly any validates: {tally:?}");
        assert!(tally.refused.len() > 2, "{tally:?}");
    }

    #[test]
    fn a_case_is_the_same_bytes_each_time() {
        let seeds = Seeds::built();
        assert_eq!(seeds.case(3, 4), seeds.case(3, 4));
        assert_ne!(seeds.case(3, 4), seeds.case(3, 5));
    }
}
