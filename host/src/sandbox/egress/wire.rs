//! The wire ledger: what of each request of one call left, kept at the place where bytes leave, so
//! that it is right whenever the call ends, also in the middle of a request. It judges nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::lifecycle::outcome::Ledger;
use crate::sandbox::manifest::Effect;

/// Set by the connection when bytes of the request under way left, or may have.
#[derive(Debug, Clone, Default)]
pub(super) struct WireMark(Arc<AtomicBool>);

impl WireMark {
    pub(super) fn set(&self) {
        self.0.store(true, Ordering::Release);
    }

    pub(super) fn clear(&self) {
        self.0.store(false, Ordering::Release);
    }

    pub(super) fn is_set(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// One request of a call.
#[derive(Debug)]
struct Exchange {
    effect: Effect,
    left: Left,
    /// The status of a whole answer.
    answered: Option<u16>,
}

#[derive(Debug)]
enum Left {
    /// The request is under way, on a connection that is its alone.
    Live(WireMark),
    /// It is over; the connection may serve others, its mark is theirs.
    Settled(bool),
}

impl Left {
    fn has(&self) -> bool {
        match self {
            Self::Live(mark) => mark.is_set(),
            Self::Settled(left) => *left,
        }
    }
}

/// All requests of one call, and what they used.
#[derive(Debug, Default)]
pub(in crate::sandbox) struct Wire {
    exchanges: Vec<Exchange>,
    pub(in crate::sandbox) fetches: u32,
    /// Refused before anything left.
    pub(in crate::sandbox) denied: u32,
    /// Of those, how many on `send` routes for what they carry.
    pub(super) barred: u32,
    pub(in crate::sandbox) bytes_out: u64,
    pub(in crate::sandbox) bytes_in: u64,
}

impl Wire {
    /// A request is about to go over the connection that owns `mark`.
    pub(super) fn begin(&mut self, effect: Effect, mark: WireMark) {
        self.exchanges.push(Exchange { effect, left: Left::Live(mark), answered: None });
    }

    /// The request begun last is over.
    pub(super) fn settle(&mut self, answered: Option<u16>) {
        if let Some(exchange) = self.exchanges.last_mut() {
            exchange.left = Left::Settled(exchange.left.has());
            exchange.answered = answered;
        }
    }

    /// Requests on `send` routes of which bytes left.
    pub(super) fn sends_begun(&self) -> u32 {
        count(self.exchanges.iter().filter(|e| e.effect == Effect::Send && e.left.has()))
    }

    /// What the host saw.
    pub(in crate::sandbox) fn ledger(&self, declares_send: bool) -> Ledger {
        let sends = || self.exchanges.iter().filter(|e| e.effect == Effect::Send && e.left.has());
        let accepted = |status: u16| (200..300).contains(&status);
        let others = self.exchanges.iter().filter(|e| e.effect != Effect::Send && e.left.has());
        Ledger {
            declares_send,
            send_begun: count(sends()),
            send_answered: count(sends().filter(|e| e.answered.is_some())),
            send_accepted: count(sends().filter(|e| e.answered.is_some_and(accepted))),
            send_barred: self.barred,
            other_begun: count(others),
        }
    }
}

fn count<'a>(exchanges: impl Iterator<Item = &'a Exchange>) -> u32 {
    u32::try_from(exchanges.count()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_counts_once_its_bytes_left_and_keeps_its_word_when_the_connection_serves_others() {
        let (mut wire, mark) = (Wire::default(), WireMark::default());
        wire.begin(Effect::Send, mark.clone());
        assert_eq!(wire.ledger(true).send_begun, 0);
        mark.set();
        assert_eq!((wire.ledger(true).send_begun, wire.ledger(true).send_answered), (1, 0));
        wire.settle(Some(204));
        mark.clear();
        wire.begin(Effect::Read, mark.clone());
        mark.set();
        wire.settle(None);
        let ledger = wire.ledger(true);
        assert_eq!((ledger.send_begun, ledger.send_answered, ledger.send_accepted), (1, 1, 1));
        assert_eq!(ledger.other_begun, 1);
    }

    #[test]
    fn a_whole_answer_of_another_status_is_answered_and_not_accepted() {
        for (status, accepted) in [(199, 0), (200, 1), (299, 1), (302, 0), (500, 0)] {
            let (mut wire, mark) = (Wire::default(), WireMark::default());
            wire.begin(Effect::Send, mark.clone());
            mark.set();
            wire.settle(Some(status));
            let ledger = wire.ledger(true);
            assert_eq!((ledger.send_answered, ledger.send_accepted), (1, accepted), "{status}");
        }
    }
}
