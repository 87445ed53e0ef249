//! How long a pull worker may keep a turn without a word, across restarts of the host.
//!
//! Only durations are kept, never moments: a lease asked for, and what is left of the whole try.
//! Within one start of the host its monotonic clock counts them; a restart gives the lease anew,
//! for its holder could not renew while nobody listened. So no jump of the wall clock ends a lease
//! or keeps one alive.

/// The shortest lease: below it a slow disk or one lost packet would cost a try.
pub const LEASE_MS_MIN: u64 = 1_000;

/// What stands of a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PullLease {
    /// How long it holds after each renewal.
    pub lease_ms: u64,
    /// What was left of the whole try when it was last renewed.
    pub left_ms: u64,
}

impl PullLease {
    /// How long it holds from its last renewal, or from the start of a host that finds it.
    #[must_use]
    pub fn holds_ms(self) -> u64 {
        self.lease_ms.min(self.left_ms)
    }

    /// Whether the end of the whole try comes first: then it is the deadline that ends it.
    #[must_use]
    pub fn ends_by_deadline(self) -> bool {
        self.left_ms <= self.lease_ms
    }

    /// The lease after a renewal, `passed_ms` after the one before; nothing where the whole try's
    /// time is over.
    #[must_use]
    pub fn renewed(self, passed_ms: u64, lease_ms: u64) -> Option<Self> {
        let left_ms = self.left_ms.checked_sub(passed_ms).filter(|left| *left > 0)?;
        Some(Self { lease_ms, left_ms })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEASE: PullLease = PullLease { lease_ms: 60_000, left_ms: 600_000 };

    #[test]
    fn renewals_use_up_the_whole_trys_time_and_the_last_one_ends_with_it() {
        let mut lease = LEASE;
        for _ in 0..14 {
            lease = lease.renewed(40_000, 60_000).unwrap();
            assert!(lease.holds_ms() <= 60_000);
        }
        assert_eq!((lease.left_ms, lease.holds_ms()), (40_000, 40_000));
        assert!(lease.ends_by_deadline());
        assert_eq!(lease.renewed(40_000, 60_000), None);
    }

    #[test]
    fn a_lease_holds_as_long_as_its_holder_asked_and_not_past_the_whole_try() {
        assert_eq!(LEASE.holds_ms(), 60_000);
        assert!(!LEASE.ends_by_deadline());
        let longer = LEASE.renewed(0, 900_000).unwrap();
        assert_eq!((longer.holds_ms(), longer.ends_by_deadline()), (600_000, true));
    }
}
