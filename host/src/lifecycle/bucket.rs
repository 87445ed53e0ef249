//! A token bucket that outlives restarts: what is stored is one moment, at which it will be full
//! again, so that nothing has to be written while it fills. Pure; the wall clock comes in.
//!
//! Written with the claim that takes the token, it costs no commit of its own; and whoever starts
//! anew, once or in a loop, finds the tokens that were taken before missing.

/// How fast a channel may send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Between two tokens, in microseconds.
    pub interval_us: u64,
    /// Tokens of a full bucket, at least one.
    pub burst: u32,
}

/// What is known of a bucket: the moment at which it is full again, in microseconds since the
/// epoch, and when that was written, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Bucket {
    pub full_us: i64,
    pub set_ms: i64,
}

impl Rate {
    fn capacity_us(self) -> i64 {
        whole(self.interval_us.saturating_mul(self.burst.max(1).into()))
    }
}

impl Bucket {
    /// What is missing from a full one, in microseconds. Where the clock went back it is what was
    /// missing when it was written; never more than all of it.
    fn missing_us(self, rate: Rate, now_ms: i64) -> i64 {
        let since_ms = now_ms.max(self.set_ms);
        self.full_us.saturating_sub(since_ms.saturating_mul(1_000)).clamp(0, rate.capacity_us())
    }

    fn with(missing_us: i64, now_ms: i64) -> Self {
        Self { full_us: now_ms.saturating_mul(1_000).saturating_add(missing_us), set_ms: now_ms }
    }

    /// Takes a token. One that is not there yet is taken all the same, and the bucket stays empty:
    /// whether there is one is asked before, by [`Bucket::ready_ms`].
    #[must_use]
    pub fn take(self, rate: Rate, now_ms: i64) -> Self {
        let missing = self.missing_us(rate, now_ms).saturating_add(whole(rate.interval_us));
        Self::with(missing.min(rate.capacity_us()), now_ms)
    }

    /// Gives a token back that was not used.
    #[must_use]
    pub fn give_back(self, rate: Rate, now_ms: i64) -> Self {
        let missing = self.missing_us(rate, now_ms).saturating_sub(whole(rate.interval_us));
        Self::with(missing.max(0), now_ms)
    }

    /// From when there is a token, in milliseconds; not before it is whole.
    #[must_use]
    pub fn ready_ms(self, rate: Rate) -> i64 {
        let spare_us = rate.capacity_us().saturating_sub(whole(rate.interval_us));
        let at_us = self.full_us.saturating_sub(spare_us);
        at_us.saturating_add(999).div_euclid(1_000)
    }
}

fn whole(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Rate = Rate { interval_us: 500_000, burst: 3 };

    #[test]
    fn a_full_bucket_gives_its_burst_at_once_and_then_one_token_per_interval() {
        let mut bucket = Bucket::default();
        for _ in 0..3 {
            assert!(bucket.ready_ms(RATE) <= 10_000);
            bucket = bucket.take(RATE, 10_000);
        }
        assert_eq!(bucket.ready_ms(RATE), 10_500);
        bucket = bucket.take(RATE, 10_500);
        assert_eq!(bucket.ready_ms(RATE), 11_000);
        // Left alone it fills, and no further than its burst.
        assert!(bucket.take(RATE, 99_000).take(RATE, 99_000).ready_ms(RATE) <= 99_000);
    }

    #[test]
    fn a_token_that_was_not_used_is_there_again() {
        let empty = (0..3).fold(Bucket::default(), |bucket, _| bucket.take(RATE, 10_000));
        assert_eq!(empty.give_back(RATE, 10_000).ready_ms(RATE), 10_000);
        assert_eq!(Bucket::default().give_back(RATE, 10_000).full_us, 10_000_000);
    }

    #[test]
    fn a_clock_that_goes_back_makes_no_burst_and_freezes_nothing() {
        let empty = (0..3).fold(Bucket::default(), |bucket, _| bucket.take(RATE, 10_000_000));
        let back = empty.take(RATE, 1_000);
        assert_eq!(back.ready_ms(RATE), 1_500, "as empty as it was, at the clock as it is now");
    }
}
