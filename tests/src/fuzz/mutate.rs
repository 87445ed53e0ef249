//! Seeded mutations of known inputs, for the bounded part in the default suite: what a guided engine
//! does in the large. A seed repeats its inputs exactly.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// Longer inputs only take longer.
const INPUT_BYTES_MAX: usize = 16 * 1024;
/// How many of the newest count as such.
const FRESH: usize = 32;
/// Pieces that parsers care about.
const WORDS: [&str; 28] = [
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "\"",
    "\n",
    "\r\n",
    "\0",
    "\\u0000",
    "\\ud800",
    "\u{feff}",
    "é",
    "null",
    "true",
    "-1",
    "0",
    "1e999",
    "9223372036854775807",
    "18446744073709551616",
    "\"\"",
    "{}",
    "[]",
    "../",
    "%00",
    "= ",
    "[[",
];

/// A stream of inputs.
pub struct Mutations {
    chance: StdRng,
    known: Vec<Vec<u8>>,
}

impl Mutations {
    /// Mutations of these inputs.
    #[must_use]
    pub fn new(seed: u64, known: Vec<Vec<u8>>) -> Self {
        assert!(!known.is_empty(), "there is nothing to mutate");
        Self { chance: StdRng::seed_from_u64(seed), known }
    }

    /// The next input.
    pub fn pick(&mut self) -> Vec<u8> {
        let mut input = self.any();
        for _ in 0..self.chance.random_range(1..=6) {
            self.change(&mut input);
        }
        input
    }

    /// One more to mutate.
    pub fn learn(&mut self, input: Vec<u8>) {
        self.known.push(input);
    }

    /// How many are mutated.
    #[must_use]
    pub fn known(&self) -> usize {
        self.known.len()
    }

    /// What was learned last is picked as often as all the rest: it leads on.
    fn any(&mut self) -> Vec<u8> {
        let last = self.known.len().saturating_sub(FRESH);
        let from = if self.chance.random_bool(0.5) { last } else { 0 };
        let at = self.chance.random_range(from..self.known.len());
        self.known[at].clone()
    }

    /// A range within `length`, not longer than 64.
    fn range(&mut self, length: usize) -> std::ops::Range<usize> {
        let from = self.chance.random_range(0..=length);
        let to = self.chance.random_range(from..=length.min(from + 64));
        from..to
    }

    fn change(&mut self, input: &mut Vec<u8>) {
        let at = self.chance.random_range(0..=input.len());
        match self.chance.random_range(0..8) {
            0 if at < input.len() => input[at] ^= 1 << self.chance.random_range(0..8),
            1 if at < input.len() => input[at] = self.chance.random(),
            2 => {
                let gone = self.range(input.len());
                input.drain(gone);
            }
            3 => {
                let again = self.range(input.len());
                let piece = input[again].to_vec();
                input.splice(at..at, piece);
            }
            4 | 5 => {
                let word = WORDS[self.chance.random_range(0..WORDS.len())];
                input.splice(at..at, word.bytes());
            }
            6 => {
                let other = self.any();
                let piece = self.range(other.len());
                input.splice(at..at, other[piece].to_vec());
            }
            _ => {
                let word = WORDS[self.chance.random_range(0..WORDS.len())];
                let gone = self.range(input.len());
                input.splice(gone, word.bytes());
            }
        }
        input.truncate(INPUT_BYTES_MAX);
    }
}

impl Iterator for Mutations {
    type Item = Vec<u8>;

    fn next(&mut self) -> Option<Vec<u8>> {
        Some(self.pick())
    }
}

/// A number for an input, to name its file by.
#[must_use]
pub fn name_of(input: &[u8]) -> u64 {
    // FNV-1a: nothing but a name hangs on it.
    let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    input.iter().fold(0xcbf2_9ce4_8422_2325, step)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_repeats_its_inputs_and_another_gives_others() {
        let inputs = |seed| -> Vec<_> {
            Mutations::new(seed, vec![b"{\"a\":1}".to_vec(), Vec::new()]).take(200).collect()
        };
        assert_eq!(inputs(7), inputs(7));
        assert_ne!(inputs(7), inputs(8));
    }
}
