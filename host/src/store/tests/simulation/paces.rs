//! The pace of the simulated channel: no more is sent in any span of time than its rate allows,
//! through crashes too.

use super::*;
use crate::lifecycle::bucket::Rate;

/// What was sent, and when, since the wall clock last jumped.
#[derive(Debug, Default)]
pub(super) struct Paces {
    sent_ms: Vec<i64>,
}

impl Paces {
    pub(super) fn forget(&mut self) {
        self.sent_ms.clear();
    }

    /// A call that did not begin gives its token back.
    pub(super) fn give_back(&mut self) {
        self.sent_ms.pop();
    }

    pub(super) fn sends(&mut self, rate: Option<Rate>, now_ms: i64) {
        let Some(rate) = rate else { return };
        self.sent_ms.push(now_ms);
        let count = self.sent_ms.len();
        for (place, began_ms) in self.sent_ms.iter().enumerate() {
            let filled_us = now_ms.abs_diff(*began_ms) * 1_000;
            let most = u64::from(rate.burst) + filled_us / rate.interval_us;
            let sent = (count - place) as u64;
            assert!(sent <= most, "{sent} sent within {filled_us} us, {most} allowed");
        }
    }
}

impl World {
    /// Half of all worlds tell of failures, and one of three has a pace.
    pub(super) fn choose_channel(rig: &mut Rig, chance: &mut StdRng) {
        rig.failure_notice = chance.random_bool(0.5).then(Default::default);
        if chance.random_bool(0.3) {
            let rate = Some(Rate { interval_us: 400_000, burst: 4 });
            let conversation_interval_ms = [0, 1_500][chance.random_range(0..2)];
            rig.pace = Pace { rate, conversation_interval_ms };
        }
        rig.introduce();
    }
}
