//! Time in the simulated world: clocks that pass and jump, claims that run out, ages, schedules. A
//! claim is freed neither early nor by a jump of the wall clock; a jump brings no storm of turns.

use super::*;
use crate::lifecycle::plan::{AgeBar, ClaimFacts, ClaimFate, Claimed, ClockWatch, claim_fate};
use crate::lifecycle::recurrence::CAUGHT_UP_MAX;

/// What the world knows of its clocks.
#[derive(Debug)]
pub(super) struct Clocks {
    watch: ClockWatch,
    bar: AgeBar,
    /// Of each claim by its token: the boot that gave it, and until when on its monotonic clock.
    until: BTreeMap<i64, (i64, i64)>,
    /// What the world's schedule does about occurrences that were missed.
    pub(super) catch_up: CatchUp,
}

impl Clocks {
    pub(super) fn new(rig: &Rig) -> Self {
        Self {
            watch: ClockWatch::new(rig.now.wall_ms, rig.now.mono_ms),
            bar: AgeBar::default(),
            until: BTreeMap::new(),
            catch_up: CatchUp::default(),
        }
    }
}

impl World {
    /// Somebody holds a claim from now on for so long.
    pub(super) fn holds(&mut self, token: i64, for_ms: u64) {
        let until = self.rig.now.mono_ms + i64::try_from(for_ms).unwrap();
        self.clocks.until.insert(token, (self.rig.boot, until));
    }

    pub(super) fn pass_time(&mut self) {
        let seconds = [1, 7, 40, 400, 3_000][self.chance.random_range(0..5)];
        self.rig.pass(Duration::from_secs(seconds));
        self.fall();
        if self.chance.random_bool(0.1) {
            self.jump();
        }
    }

    /// The wall clock jumps; the monotonic one does not.
    fn jump(&mut self) {
        let hours = [-24, -1, 1, 24][self.chance.random_range(0..4)];
        self.rig.now.wall_ms += hours * 3_600_000;
        self.paces.forget();
        self.release_future();
        self.sweep_claims();
    }

    pub(super) fn release_future(&mut self) {
        self.rig.run(Command::Sweep(SweepStep::ReleaseFuture { rows_max: 1_000 }));
    }

    pub(super) fn fall(&mut self) {
        self.latest_ms = self.latest_ms.max(self.rig.now.wall_ms);
        let scheduled = "SELECT count(*) FROM turn WHERE origin = 2";
        let before = self.count(scheduled);
        self.rig.fall();
        let made = self.count(scheduled) - before;
        let most = match self.clocks.catch_up {
            CatchUp::All => i64::try_from(CAUGHT_UP_MAX).unwrap(),
            CatchUp::Latest | CatchUp::Skip => 1,
        };
        assert!(made <= most, "a storm: {made} occurrences of one schedule at once");
    }

    fn may_be_over(&self, token: i64) {
        if let Some((boot, until)) = self.clocks.until.get(&token) {
            let over = *boot != self.rig.boot || *until <= self.rig.now.mono_ms;
            assert!(over, "a claim is freed before its time");
        }
    }

    /// Claims that are over, as the host's own sweep decides it.
    pub(super) fn sweep_claims(&mut self) {
        let query = Query::Claims { after_turn: 0, after_delivery: 0, rows_max: 1_000 };
        let Rows::Claims(claims) = self.rig.ask(&query) else { panic!("no claims") };
        let now_ms = self.rig.now.mono_ms;
        for row in claims.turns {
            let claimed = match row.pulled {
                Some(lease) => Claimed::PulledTurn { ends_by_deadline: lease.ends_by_deadline() },
                None => Claimed::Turn,
            };
            let (same_boot, expires_mono_ms) = (row.same_boot, row.expires_mono_ms);
            let facts = ClaimFacts { claimed, same_boot, expires_mono_ms };
            let claim = row.claim;
            match claim_fate(&facts, now_ms) {
                ClaimFate::Leave => {}
                ClaimFate::Adopt => {
                    self.rig.run(Command::Sweep(SweepStep::AdoptLease { claim }));
                }
                ClaimFate::LoseTurn(loss) => {
                    self.may_be_over(claim.token.0);
                    self.rig.run(Command::Sweep(SweepStep::LoseTurn { claim, loss }));
                    self.running.retain(|turn| turn.claim != claim);
                    self.pulled.retain(|held| *held != claim);
                    self.late_turns.push(claim);
                }
                fate @ (ClaimFate::LoseSend(_) | ClaimFate::LoseAsk) => panic!("{fate:?}"),
            }
        }
        for row in claims.deliveries {
            let claimed = if row.asks { Claimed::Ask } else { Claimed::Send };
            let (same_boot, expires_mono_ms) = (row.same_boot, row.expires_mono_ms);
            let facts = ClaimFacts { claimed, same_boot, expires_mono_ms };
            let claim = row.claim;
            let step = match claim_fate(&facts, now_ms) {
                ClaimFate::Leave => continue,
                ClaimFate::LoseSend(fault) => SweepStep::LoseSend { claim, fault },
                ClaimFate::LoseAsk => SweepStep::LoseAsk { claim },
                fate @ (ClaimFate::Adopt | ClaimFate::LoseTurn(_)) => panic!("{fate:?}"),
            };
            self.may_be_over(claim.token.0);
            if let Some(place) = self.sending.iter().position(|row| row.claim == claim) {
                let row = self.sending.swap_remove(place);
                self.pause_a_call(&row);
            }
            self.rig.run(Command::Sweep(step));
        }
    }

    /// What is too old, two sweeps after a jump of the clock at the earliest.
    pub(super) fn sweep_ages(&mut self) {
        let now = self.rig.now;
        if self.clocks.watch.look(now.wall_ms, now.mono_ms).is_some() {
            self.clocks.bar.jumped();
        }
        if !self.clocks.bar.may_apply() {
            return;
        }
        let (now_ms, rows_max) = (now.wall_ms, 100);
        let Rows::TurnIds(turns) = self.rig.ask(&Query::OldTurns { now_ms, rows_max }) else {
            panic!("no turns")
        };
        for turn in turns {
            let expire = Command::Sweep(SweepStep::ExpireTurn { turn });
            if let Answer::TurnEnded { guarded: Guarded::Done, .. } = self.rig.run(expire) {
                // It is not run any more, nor edited or taken back.
                self.aborted.insert(turn);
            }
        }
        let Rows::DeliveryIds(rows) = self.rig.ask(&Query::OldDeliveries { now_ms, rows_max })
        else {
            panic!("no deliveries")
        };
        for delivery in rows {
            self.rig.run(Command::Sweep(SweepStep::ExpireDelivery { delivery }));
        }
    }

    /// The config names the channel no more for a while: nothing of it moves, nothing is lost.
    pub(super) fn leave_and_return(&mut self) {
        let live = "SELECT (SELECT count(*) FROM turn WHERE state < 3)
                         + (SELECT count(*) FROM delivery WHERE state < 3)";
        self.rig.run(Command::ChannelsPresent(Vec::new()));
        let before = self.count(live);
        assert_eq!(self.rig.claim_turn(), None, "a turn of a removed channel is run");
        assert_eq!(self.rig.claim_delivery(), None, "a delivery of a removed channel is sent");
        self.sweep_ages();
        assert_eq!(self.count(live), before, "rows of a removed channel are expired");
        // What was at the adapter ends all the same.
        if self.chance.random_bool(0.5) {
            self.finish_delivery(false);
        }
        self.rig.introduce();
    }
}
