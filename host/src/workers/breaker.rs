//! The breaker: whether something that keeps breaking is called at all. Pure; the monotonic time
//! comes in. One stands before each channel's adapter and one before the handler.
//!
//! ```text
//! closed --(broke `after_failures` times in a row)--> open --(its time passed)--> half-open
//!    ^                                                  ^                            |
//!    `------------------ a probe works -----------------|-------- a probe breaks ----'
//! ```

use serde::Serialize;

/// When it opens, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BreakerRules {
    /// Breaks in a row that open it.
    pub after_failures: u32,
    /// How long it is open at first; doubles with each probe that breaks.
    pub open_first_ms: u64,
    pub open_max_ms: u64,
}

impl Default for BreakerRules {
    fn default() -> Self {
        Self { after_failures: 5, open_first_ms: 5_000, open_max_ms: 300_000 }
    }
}

/// How a call ended, as the breaker sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    /// It answered, whatever it said.
    Works,
    /// It trapped, hung, or could not be started.
    Broke,
    /// It says nothing about it: ended by the host, or never called.
    Neither,
}

/// Whether a call may be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admit {
    Yes,
    /// One call, to find out; its end must be told.
    Probe,
    /// Not before this time, in monotonic milliseconds.
    NotBefore(i64),
    /// A probe is out; its end will tell.
    Probing,
}

/// The states, for `status`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum BreakerState {
    Closed,
    Open,
    HalfOpen,
}

/// What a call's end changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    None,
    Opened { for_ms: u64 },
    Closed,
}

/// One breaker.
#[derive(Debug, Clone, Copy)]
pub struct Breaker {
    rules: BreakerRules,
    inside: Inside,
}

#[derive(Debug, Clone, Copy)]
enum Inside {
    Closed { failures: u32 },
    Open { until_ms: i64, for_ms: u64 },
    HalfOpen { for_ms: u64 },
}

impl Breaker {
    /// Closed.
    #[must_use]
    pub fn new(rules: BreakerRules) -> Self {
        Self { rules, inside: Inside::Closed { failures: 0 } }
    }

    /// Asks for a call. After [`Admit::Probe`] nobody else is let through until its end is told.
    pub fn admit(&mut self, now_ms: i64) -> Admit {
        match self.inside {
            Inside::Closed { .. } => Admit::Yes,
            Inside::Open { until_ms, .. } if now_ms < until_ms => Admit::NotBefore(until_ms),
            Inside::Open { for_ms, .. } => {
                self.inside = Inside::HalfOpen { for_ms };
                Admit::Probe
            }
            Inside::HalfOpen { .. } => Admit::Probing,
        }
    }

    /// Tells how a call ended; `probe` where it was admitted as one.
    pub fn tell(&mut self, now_ms: i64, probe: bool, health: Health) -> Change {
        match (self.inside, health, probe) {
            (Inside::Closed { .. }, Health::Works, _) => {
                self.inside = Inside::Closed { failures: 0 };
                Change::None
            }
            (Inside::Closed { failures }, Health::Broke, _) => {
                let failures = failures + 1;
                if failures < self.rules.after_failures {
                    self.inside = Inside::Closed { failures };
                    return Change::None;
                }
                self.open(now_ms, self.rules.open_first_ms)
            }
            (Inside::HalfOpen { .. }, Health::Works, true) => {
                self.inside = Inside::Closed { failures: 0 };
                Change::Closed
            }
            (Inside::HalfOpen { for_ms }, Health::Broke, true) => {
                self.open(now_ms, for_ms.saturating_mul(2))
            }
            (Inside::HalfOpen { for_ms }, Health::Neither, true) => {
                // The probe told nothing: the next one may go at once.
                self.inside = Inside::Open { until_ms: now_ms, for_ms };
                Change::None
            }
            // Calls from before it opened: only the probe decides.
            (Inside::HalfOpen { .. } | Inside::Open { .. }, _, _)
            | (Inside::Closed { .. }, Health::Neither, _) => Change::None,
        }
    }

    /// For `status`.
    #[must_use]
    pub fn state(&self) -> BreakerState {
        match self.inside {
            Inside::Closed { .. } => BreakerState::Closed,
            Inside::Open { .. } => BreakerState::Open,
            Inside::HalfOpen { .. } => BreakerState::HalfOpen,
        }
    }

    fn open(&mut self, now_ms: i64, for_ms: u64) -> Change {
        let for_ms = for_ms.min(self.rules.open_max_ms);
        let until_ms = now_ms.saturating_add(i64::try_from(for_ms).unwrap_or(i64::MAX));
        self.inside = Inside::Open { until_ms, for_ms };
        Change::Opened { for_ms }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opened() -> Breaker {
        let mut breaker = Breaker::new(BreakerRules::default());
        for _ in 0..4 {
            assert_eq!(breaker.tell(0, false, Health::Broke), Change::None);
        }
        assert_eq!(breaker.tell(0, false, Health::Broke), Change::Opened { for_ms: 5_000 });
        breaker
    }

    #[test]
    fn five_breaks_in_a_row_open_it_and_one_answer_between_them_does_not() {
        let mut breaker = Breaker::new(BreakerRules::default());
        for n in 0..20 {
            let health = if n % 5 == 4 { Health::Works } else { Health::Broke };
            assert_eq!(breaker.tell(0, false, health), Change::None);
            assert_eq!(breaker.admit(0), Admit::Yes);
        }
        assert_eq!(opened().state(), BreakerState::Open);
    }

    #[test]
    fn while_it_is_open_nothing_goes_and_then_one_probe_at_a_time() {
        let mut breaker = opened();
        assert_eq!(breaker.admit(4_999), Admit::NotBefore(5_000));
        assert_eq!(breaker.admit(5_000), Admit::Probe);
        assert_eq!(breaker.admit(5_000), Admit::Probing);
    }

    #[test]
    fn a_probe_that_works_closes_it_and_one_that_breaks_opens_it_for_twice_as_long() {
        let mut breaker = opened();
        assert_eq!(breaker.admit(5_000), Admit::Probe);
        assert_eq!(breaker.tell(6_000, true, Health::Broke), Change::Opened { for_ms: 10_000 });
        assert_eq!(breaker.admit(15_999), Admit::NotBefore(16_000));
        assert_eq!(breaker.admit(16_000), Admit::Probe);
        assert_eq!(breaker.tell(16_000, true, Health::Works), Change::Closed);
        assert_eq!(breaker.admit(16_000), Admit::Yes);
    }

    #[test]
    fn calls_from_before_it_opened_do_not_decide_a_probe() {
        let mut breaker = opened();
        assert_eq!(breaker.admit(5_000), Admit::Probe);
        assert_eq!(breaker.tell(5_000, false, Health::Works), Change::None);
        assert_eq!(breaker.tell(5_000, false, Health::Broke), Change::None);
        assert_eq!(breaker.state(), BreakerState::HalfOpen);
    }

    #[test]
    fn a_probe_that_told_nothing_lets_the_next_one_go() {
        let mut breaker = opened();
        assert_eq!(breaker.admit(5_000), Admit::Probe);
        assert_eq!(breaker.tell(5_000, true, Health::Neither), Change::None);
        assert_eq!(breaker.admit(5_000), Admit::Probe);
    }

    #[test]
    fn it_is_never_open_for_longer_than_its_most() {
        let mut breaker = opened();
        let mut now = 5_000;
        for _ in 0..40 {
            assert_eq!(breaker.admit(now), Admit::Probe);
            match breaker.tell(now, true, Health::Broke) {
                Change::Opened { for_ms } => {
                    assert!(for_ms <= 300_000);
                    now += i64::try_from(for_ms).unwrap();
                }
                other => panic!("{other:?}"),
            }
        }
    }
}
