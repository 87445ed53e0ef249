//! What one channel may send within a day, whatever it is in: the bound on how much an adapter can
//! carry out to a place that it was granted. Counted by the hour, in memory: a host that starts
//! anew begins anew, an adapter that is replaced does not. It knows no sockets.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

const HOURS: usize = 24;
const HOUR: Duration = Duration::from_secs(3_600);

/// The bytes of one channel's last 24 hours.
#[derive(Debug, Default)]
pub(super) struct DayBudget(Mutex<[Slot; HOURS]>);

#[derive(Debug, Clone, Copy, Default)]
struct Slot {
    /// Counted from the start of the host.
    hour: u64,
    bytes: u64,
}

impl DayBudget {
    /// Takes `bytes` of the `most` that may leave within 24 hours; says how many had left where they
    /// do not fit. `now` is [`crate::env::Env::elapsed`].
    pub(super) fn take(&self, now: Duration, bytes: u64, most: u64) -> Result<(), u64> {
        let hour = now.as_secs() / HOUR.as_secs();
        let mut slots = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let recent = slots.iter().filter(|slot| hour - slot.hour.min(hour) < HOURS as u64);
        let spent = recent.fold(0_u64, |sum, slot| sum.saturating_add(slot.bytes));
        if spent.saturating_add(bytes) > most {
            return Err(spent);
        }
        let slot = &mut slots[(hour % HOURS as u64) as usize];
        if slot.hour != hour {
            *slot = Slot { hour, bytes: 0 };
        }
        slot.bytes = slot.bytes.saturating_add(bytes);
        Ok(())
    }

    /// Gives back what did not leave.
    pub(super) fn give_back(&self, now: Duration, bytes: u64) {
        let hour = now.as_secs() / HOUR.as_secs();
        let mut slots = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let slot = &mut slots[(hour % HOURS as u64) as usize];
        if slot.hour == hour {
            slot.bytes = slot.bytes.saturating_sub(bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_has_so_many_bytes_and_each_hour_comes_free_after_24() {
        let budget = DayBudget::default();
        let at = |hours: u64| HOUR * u32::try_from(hours).unwrap() + Duration::from_secs(59);
        assert_eq!(budget.take(at(0), 60, 100), Ok(()));
        assert_eq!(budget.take(at(1), 40, 100), Ok(()));
        assert_eq!(budget.take(at(1), 1, 100), Err(100));
        assert_eq!(budget.take(at(23), 1, 100), Err(100));
        assert_eq!(budget.take(at(24), 61, 100), Err(40), "the first hour is over");
        assert_eq!(budget.take(at(24), 60, 100), Ok(()));
        assert_eq!(budget.take(at(25), 40, 100), Ok(()));
        assert_eq!(budget.take(at(25), 1, 100), Err(100));
        assert_eq!(budget.take(at(500), 100, 100), Ok(()));
    }

    #[test]
    fn what_did_not_leave_is_given_back() {
        let budget = DayBudget::default();
        assert_eq!(budget.take(HOUR, 100, 100), Ok(()));
        budget.give_back(HOUR, 100);
        assert_eq!(budget.take(HOUR, 100, 100), Ok(()));
        budget.give_back(HOUR * 2, 100);
        assert_eq!(budget.take(HOUR * 2, 1, 100), Err(100));
    }
}
