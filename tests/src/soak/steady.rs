//! When a soak is steady. What the host holds is compared between the middle third of the samples
//! and the last one, once retention has acted twice: a median that has grown by more than a tenth,
//! beyond a little slack, is a leak. The WAL also has a bound of its own.
//!
//! What is kept for `RETENTION` grows until then, and steps as pruning acts: hence medians of thirds.

use std::time::Duration;

use serde::Serialize;

use super::Sample;

/// Growth from the middle third to the last that is allowed.
const GROWTH_MAX: f64 = 1.1;
/// The WAL's bound, as in the measurements.
const WAL_MIB_MAX: f64 = 64.0;
/// Thirds of fewer samples say nothing.
const SAMPLES_MIN: usize = 9;

/// What a soak came to.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Verdict {
    pub steady: bool,
    /// Samples that were judged: those after retention acted twice.
    pub judged: usize,
    /// What grew, in sentences.
    pub faults: Vec<String>,
}

/// What is watched: its name, its value, and how much more than a tenth means nothing yet.
type Watched = (&'static str, fn(&Sample) -> f64, f64);

const WATCHED: [Watched; 5] = [
    ("resident memory, MiB", |sample| sample.resident_mib, 4.0),
    ("WAL, MiB", |sample| sample.wal_mib, 4.0),
    ("store file, MiB", |sample| sample.store_mib, 4.0),
    ("turns at rest", |sample| sample.turns_at_rest as f64, 200.0),
    ("keys", |sample| sample.keys as f64, 200.0),
];

/// Judges the samples of a soak.
#[must_use]
pub fn judge(samples: &[Sample], retention: Duration) -> Verdict {
    let warm = 2.0 * retention.as_secs_f64();
    let judged: Vec<&Sample> = samples.iter().filter(|sample| sample.seconds >= warm).collect();
    let mut faults = Vec::new();
    if judged.len() < SAMPLES_MIN {
        let count = judged.len();
        faults.push(format!("{count} samples after {warm} s: too short a soak to tell"));
    } else {
        let third = judged.len() / 3;
        let (middle, last) = (&judged[third..2 * third], &judged[2 * third..]);
        for (name, value, slack) in WATCHED {
            let (before, after) = (median(middle, value), median(last, value));
            if after > before * GROWTH_MAX + slack {
                faults.push(format!(
                    "{name}: {before:.1} in the middle third, {after:.1} in the last"
                ));
            }
        }
    }
    let wal = samples.iter().map(|sample| sample.wal_mib).fold(0.0, f64::max);
    if wal > WAL_MIB_MAX {
        faults.push(format!("the WAL came to {wal:.1} MiB; {WAL_MIB_MAX} at most"));
    }
    Verdict { steady: faults.is_empty(), judged: judged.len(), faults }
}

fn median(samples: &[&Sample], value: fn(&Sample) -> f64) -> f64 {
    let values: Vec<f64> = samples.iter().map(|sample| value(sample)).collect();
    crate::bench::figure::median(&values)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(resident: impl Fn(f64) -> f64) -> Vec<Sample> {
        let sample = |place: u32| {
            let seconds = f64::from(place) * 5.0;
            Sample {
                seconds,
                resident_mib: resident(seconds),
                wal_mib: 17.0,
                store_mib: 80.0,
                // A saw, as pruning makes it.
                turns_at_rest: 24_000 + u64::from(place % 4) * 2_000,
                turns_unfinished: 3,
                keys: 30_000,
                sent: 0,
                answered: 0,
                reply_p50_ms: 2.0,
                reply_p99_ms: 9.0,
            }
        };
        (0..240).map(sample).collect()
    }

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn what_grows_until_retention_acts_and_then_stays_is_steady() {
        let verdict = judge(&samples(|s| 40.0 + s.min(60.0) / 2.0), MINUTE);
        assert_eq!(verdict.faults, Vec::<String>::new());
        assert!(verdict.steady && verdict.judged > 200);
    }

    #[test]
    fn what_grows_all_the_time_is_not() {
        let verdict = judge(&samples(|s| 40.0 + s / 20.0), MINUTE);
        assert!(!verdict.steady && verdict.faults[0].contains("resident"), "{verdict:?}");
    }

    #[test]
    fn a_soak_of_a_minute_tells_nothing_and_a_long_wal_is_a_fault_by_itself() {
        let mut short = samples(|_| 40.0);
        short.truncate(12);
        assert!(judge(&short, MINUTE).faults[0].contains("too short"));
        let mut long = samples(|_| 40.0);
        long[30].wal_mib = 65.0;
        assert!(judge(&long, MINUTE).faults[0].contains("WAL"));
    }
}
