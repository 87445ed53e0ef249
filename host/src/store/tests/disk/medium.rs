//! One file of the simulated disk: what the page cache shows, what the medium holds, and the
//! changes between them that no sync has covered yet. It knows no names, no locks and no SQLite.

use rand::Rng;
use rand::rngs::StdRng;

/// What a disk writes whole or not at all, mostly: see [`Medium::cut`].
const SECTOR_BYTES: usize = 512;

/// What a system shows of a file after a sync of it has failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::store) enum Cache {
    /// The new contents, marked as written though they are not: the next sync succeeds, and writes
    /// nothing of them.
    Kept,
    /// What the medium holds: the pages were thrown away.
    Dropped,
}

/// What is left of unsynced changes after the power was cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::store) enum Loss {
    /// All of them are lost.
    All,
    /// Some reached the medium, by chance: sectors out of order, torn ones among them.
    Some,
}

#[derive(Debug, Clone)]
enum Change {
    Write { at: usize, bytes: Vec<u8> },
    Resize(usize),
}

/// One file.
#[derive(Debug, Clone, Default)]
pub(super) struct Medium {
    shown: Vec<u8>,
    durable: Vec<u8>,
    pending: Vec<Change>,
}

impl Medium {
    pub(super) fn len(&self) -> usize {
        self.shown.len()
    }

    /// Fills `into` from `at` on; what lies behind the end is zero. Says how many bytes were there.
    pub(super) fn read(&self, at: usize, into: &mut [u8]) -> usize {
        let there = self.shown.get(at..).unwrap_or_default();
        let count = there.len().min(into.len());
        into[..count].copy_from_slice(&there[..count]);
        into[count..].fill(0);
        count
    }

    pub(super) fn write(&mut self, at: usize, bytes: &[u8]) {
        write(&mut self.shown, at, bytes);
        self.pending.push(Change::Write { at, bytes: bytes.to_owned() });
    }

    pub(super) fn resize(&mut self, bytes: usize) {
        self.shown.resize(bytes, 0);
        self.pending.push(Change::Resize(bytes));
    }

    pub(super) fn sync(&mut self) {
        for change in self.pending.drain(..) {
            match change {
                Change::Write { at, bytes } => write(&mut self.durable, at, &bytes),
                Change::Resize(bytes) => self.durable.resize(bytes, 0),
            }
        }
    }

    /// A sync that failed half-way. As on Linux, nobody writes these pages again by himself.
    pub(super) fn fail_sync(&mut self, cache: Cache, chance: &mut StdRng) {
        self.scatter(chance);
        match cache {
            Cache::Kept => {}
            Cache::Dropped => self.shown.clone_from(&self.durable),
        }
    }

    /// The power is gone and comes back.
    pub(super) fn cut(&mut self, loss: Loss, chance: &mut StdRng) {
        match loss {
            Loss::All => self.pending.clear(),
            Loss::Some => self.scatter(chance),
        }
        self.shown.clone_from(&self.durable);
    }

    /// Moves a random part of what is pending to the medium, sector by sector, and forgets the rest.
    /// A sector keeps what lies outside of the write that met it, as disks and file systems promise.
    fn scatter(&mut self, chance: &mut StdRng) {
        // All of it may be there though nobody was told so.
        let likely = [0.1, 0.5, 0.9, 1.0][chance.random_range(0..4)];
        let mut lengths = vec![self.durable.len()];
        for change in std::mem::take(&mut self.pending) {
            let before = lengths[lengths.len() - 1];
            match change {
                Change::Resize(bytes) => {
                    lengths.push(bytes);
                    if chance.random_bool(likely) {
                        self.durable.resize(bytes, 0);
                    }
                }
                Change::Write { at, bytes } => {
                    lengths.push(before.max(at + bytes.len()));
                    for (at, piece) in sectors(at, &bytes) {
                        if !chance.random_bool(likely) {
                            continue;
                        }
                        let torn = likely < 1.0 && chance.random_bool(1.0 / 16.0);
                        let kept =
                            if torn { chance.random_range(0..=piece.len()) } else { piece.len() };
                        write(&mut self.durable, at, &piece[..kept]);
                    }
                }
            }
        }
        // The length is another write of the file system's, and may be any that there was.
        let length =
            if likely < 1.0 { chance.random_range(0..lengths.len()) } else { lengths.len() - 1 };
        self.durable.resize(lengths[length], 0);
    }
}

fn write(file: &mut Vec<u8>, at: usize, bytes: &[u8]) {
    let end = at + bytes.len();
    if file.len() < end {
        file.resize(end, 0);
    }
    file[at..end].copy_from_slice(bytes);
}

/// A write, cut where sectors begin.
fn sectors(at: usize, bytes: &[u8]) -> Vec<(usize, &[u8])> {
    let mut pieces = Vec::new();
    let (mut at, mut rest) = (at, bytes);
    while !rest.is_empty() {
        let count = (SECTOR_BYTES - at % SECTOR_BYTES).min(rest.len());
        let (piece, later) = rest.split_at(count);
        pieces.push((at, piece));
        (at, rest) = (at + count, later);
    }
    pieces
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    fn shown(file: &Medium) -> Vec<u8> {
        let mut bytes = vec![0; file.len()];
        assert_eq!(file.read(0, &mut bytes), bytes.len());
        bytes
    }

    #[test]
    fn only_what_was_synced_outlives_a_power_cut() {
        let mut chance = StdRng::seed_from_u64(1);
        let mut file = Medium::default();
        file.write(0, &[1; 1_000]);
        file.sync();
        file.write(500, &[2; 1_000]);
        assert_eq!(file.len(), 1_500);
        file.cut(Loss::All, &mut chance);
        assert_eq!(shown(&file), vec![1; 1_000]);
    }

    #[test]
    fn a_part_of_the_rest_may_outlive_it_and_never_what_was_not_written() {
        let (mut whole, mut none, mut torn) = (0, 0, 0);
        for seed in 0..2_000 {
            let mut chance = StdRng::seed_from_u64(seed);
            let mut file = Medium::default();
            file.write(0, &[1; 1_024]);
            file.sync();
            file.write(256, &[2; 768]);
            file.cut(Loss::Some, &mut chance);
            let bytes = shown(&file);
            assert_eq!(bytes[..256], [1; 256], "seed {seed}: a sector lost what was not written");
            let second = |part: &[u8]| part.iter().filter(|byte| **byte == 2).count();
            match (second(&bytes[256..512]), second(&bytes[512..])) {
                (256, 512) => whole += 1,
                (0, 0) => none += 1,
                (256 | 0, 512 | 0) => {}
                _ => torn += 1,
            }
        }
        assert!(whole > 100 && none > 100 && torn > 20, "{whole} {none} {torn}");
    }

    #[test]
    fn a_failed_sync_leaves_a_cache_that_the_next_one_does_not_mend() {
        for cache in [Cache::Kept, Cache::Dropped] {
            let mut chance = StdRng::seed_from_u64(3);
            let mut file = Medium::default();
            file.write(0, &[1; 4_096]);
            file.sync();
            file.write(0, &[2; 4_096]);
            file.fail_sync(cache, &mut chance);
            let after = shown(&file);
            file.sync();
            file.cut(Loss::All, &mut chance);
            assert_ne!(shown(&file), vec![2; 4_096], "the second sync wrote what the first lost");
            assert_eq!(after == vec![2; 4_096], cache == Cache::Kept);
            // Only what is written again is synced again.
            file.write(0, &after);
            file.sync();
            file.cut(Loss::All, &mut chance);
            assert_eq!(shown(&file), after);
        }
    }
}
