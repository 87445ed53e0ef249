//! What sweeps decide, as pure functions over facts that were read: which claims are over, what is
//! overdue, whether ages may be applied. Planned twice, it is the same plan; the store's guards see
//! to it that a plan carried out twice changes nothing the second time.

use super::delivery::code;
use super::outcome::Fault;
use super::turn::Loss;

/// What a claim is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claimed {
    /// A turn at a handler of this host's own.
    Turn,
    /// A turn at a pull worker, who outlives the host.
    PulledTurn { ends_by_deadline: bool },
    /// A delivery at the adapter.
    Send,
    /// A delivery that the platform is asked about.
    Ask,
}

/// The facts of a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClaimFacts {
    pub claimed: Claimed,
    /// Whether this start of the host took it.
    pub same_boot: bool,
    /// On the monotonic clock of the boot that took it.
    pub expires_mono_ms: i64,
}

/// What becomes of a claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClaimFate {
    /// It holds: its worker lives, however long the work takes.
    Leave,
    /// A pull worker's, of an earlier start: it holds, and its lease begins anew.
    Adopt,
    LoseTurn(Loss),
    LoseSend(Fault),
    LoseAsk,
}

/// Claims of other boots are over at once, pull leases excepted; those of this boot by expiry alone.
#[must_use]
pub fn claim_fate(facts: &ClaimFacts, now_mono_ms: i64) -> ClaimFate {
    if facts.same_boot && now_mono_ms < facts.expires_mono_ms {
        return ClaimFate::Leave;
    }
    match (facts.claimed, facts.same_boot) {
        (Claimed::Turn | Claimed::PulledTurn { ends_by_deadline: false }, true) => {
            ClaimFate::LoseTurn(Loss::ClaimExpired)
        }
        (Claimed::PulledTurn { ends_by_deadline: true }, true) => ClaimFate::LoseTurn(too_long()),
        (Claimed::PulledTurn { .. }, false) => ClaimFate::Adopt,
        (Claimed::Turn, false) => ClaimFate::LoseTurn(Loss::HostLost),
        (Claimed::Send, true) => {
            let sentence = "the worker that was sending it did not come back in time";
            ClaimFate::LoseSend(Fault::new(code::CLAIM_EXPIRED, sentence))
        }
        (Claimed::Send, false) => {
            ClaimFate::LoseSend(Fault::new(code::HOST_LOST, "the host died while sending it"))
        }
        (Claimed::Ask, true | false) => ClaimFate::LoseAsk,
    }
}

fn too_long() -> Loss {
    let sentence = "the worker was still at work at `handler_deadline`";
    Loss::Handler {
        code: super::turn::code::HANDLER_DEADLINE.to_owned(),
        sentence: sentence.to_owned(),
        retry: true,
        retry_after_ms: None,
    }
}

/// Whether a row that is due since `due_ms` was missed by whoever should have found it: later than
/// `grace_ms`, and not in the future of a clock that went back.
#[must_use]
pub fn overdue(due_ms: i64, now_ms: i64, grace_ms: u64) -> bool {
    due_ms.saturating_add_unsigned(grace_ms) <= now_ms
}

/// A wall clock that jumped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Jump {
    /// By how much; negative where it went back.
    pub by_ms: i64,
}

/// Jumps up to this are leap seconds, slewing and rounding.
pub const JUMP_MS_MIN: i64 = 60_000;

/// Compares the wall clock with the monotonic one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClockWatch {
    /// Wall minus monotonic time, as of the last jump or the start.
    offset_ms: i64,
}

impl ClockWatch {
    /// Starts at both clocks' times.
    #[must_use]
    pub fn new(wall_ms: i64, mono_ms: i64) -> Self {
        Self { offset_ms: wall_ms.saturating_sub(mono_ms) }
    }

    /// Whether the wall clock jumped since the last look. Slow drift adds up and is told as a jump
    /// once it has come to as much.
    pub fn look(&mut self, wall_ms: i64, mono_ms: i64) -> Option<Jump> {
        let offset_ms = wall_ms.saturating_sub(mono_ms);
        let by_ms = offset_ms.saturating_sub(self.offset_ms);
        if by_ms.abs() <= JUMP_MS_MIN {
            return None;
        }
        self.offset_ms = offset_ms;
        Some(Jump { by_ms })
    }
}

/// Whether ages may be applied: after a jump not before the sweep after next, so that a clock that
/// is being set right, or a person, has time to act.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AgeBar {
    /// Sweeps that still have to pass.
    sweeps_left: u8,
}

impl AgeBar {
    /// The clock jumped.
    pub fn jumped(&mut self) {
        self.sweeps_left = 2;
    }

    /// Whether no sweep has to pass any more. Asking changes nothing.
    #[must_use]
    pub fn is_down(&self) -> bool {
        self.sweeps_left == 0
    }

    /// Asked once per sweep of ages: whether it may apply them.
    pub fn may_apply(&mut self) -> bool {
        if self.sweeps_left == 0 {
            return true;
        }
        self.sweeps_left -= 1;
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(claimed: Claimed, same_boot: bool, expires_mono_ms: i64) -> ClaimFacts {
        ClaimFacts { claimed, same_boot, expires_mono_ms }
    }

    #[test]
    fn a_claim_of_this_boot_ends_by_expiry_alone_and_not_a_millisecond_before() {
        for claimed in [Claimed::Turn, Claimed::Send, Claimed::Ask] {
            assert_eq!(claim_fate(&facts(claimed, true, 100), 99), ClaimFate::Leave);
            assert_ne!(claim_fate(&facts(claimed, true, 100), 100), ClaimFate::Leave);
        }
    }

    #[test]
    fn a_claim_of_another_boot_is_over_at_once_whatever_its_clock_said() {
        let fate = claim_fate(&facts(Claimed::Turn, false, i64::MAX), 0);
        assert_eq!(fate, ClaimFate::LoseTurn(Loss::HostLost));
        match claim_fate(&facts(Claimed::Send, false, i64::MAX), 0) {
            ClaimFate::LoseSend(fault) => assert_eq!(fault.code, code::HOST_LOST),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_worker_that_did_not_renew_is_no_dead_host() {
        let fate = claim_fate(&facts(Claimed::Turn, true, 5), 5);
        assert_eq!(fate, ClaimFate::LoseTurn(Loss::ClaimExpired));
    }

    // Case: J10
    #[test]
    fn a_pull_workers_claim_of_another_boot_is_kept_whatever_its_clock_said() {
        for ends_by_deadline in [false, true] {
            let claimed = Claimed::PulledTurn { ends_by_deadline };
            assert_eq!(claim_fate(&facts(claimed, false, 0), i64::MAX), ClaimFate::Adopt);
            assert_eq!(claim_fate(&facts(claimed, true, 100), 99), ClaimFate::Leave);
        }
    }

    #[test]
    fn a_pull_worker_that_outlasts_the_whole_try_is_told_from_one_that_fell_silent() {
        let fate = |ends_by_deadline| {
            claim_fate(&facts(Claimed::PulledTurn { ends_by_deadline }, true, 5), 5)
        };
        assert_eq!(fate(false), ClaimFate::LoseTurn(Loss::ClaimExpired));
        match fate(true) {
            ClaimFate::LoseTurn(Loss::Handler { code, retry, .. }) => {
                assert_eq!((code.as_str(), retry), ("handler_deadline", true));
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_row_is_overdue_after_its_grace_and_younger_ones_are_left_alone() {
        assert!(!overdue(1_000, 30_999, 30_000));
        assert!(overdue(1_000, 31_000, 30_000));
        assert!(!overdue(i64::MAX, 31_000, 30_000));
    }

    #[test]
    fn a_jump_of_more_than_a_minute_is_told_once_either_way() {
        let mut watch = ClockWatch::new(1_000_000, 0);
        assert_eq!(watch.look(1_060_000, 0), None);
        assert_eq!(watch.look(4_600_000, 0), Some(Jump { by_ms: 3_600_000 }));
        assert_eq!(watch.look(4_605_000, 5_000), None);
        assert_eq!(watch.look(1_005_000, 5_000), Some(Jump { by_ms: -3_600_000 }));
    }

    #[test]
    fn after_a_jump_ages_are_applied_by_the_sweep_after_next() {
        let mut bar = AgeBar::default();
        assert!(bar.may_apply());
        bar.jumped();
        assert_eq!([bar.may_apply(), bar.may_apply(), bar.may_apply()], [false, false, true]);
        bar.jumped();
        bar.may_apply();
        bar.jumped();
        assert_eq!([bar.may_apply(), bar.may_apply(), bar.may_apply()], [false, false, true]);
    }
}
