//! Who may compute. A call that has used more than a moment of CPU time goes on in turns: one slice,
//! until the next tick, at a time, and one call less at once than the machine has processors. So
//! that loops, however many, leave a processor to everything that is in a hurry: to webhooks, to
//! the store's answers and to the calls of other channels, which hardly ever use that much.
//!
//! Turns go round by channel first: however many calls of one channel compute, together they take
//! turns as one with those of another.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::ticker::TICK;

/// CPU time of a call before it takes turns.
pub(super) const LIGHT: Duration = TICK;

/// The turns of one engine. Cheap to clone.
#[derive(Clone)]
pub(super) struct Lanes(Arc<Semaphore>);

/// The one place that the calls of a channel have among those of all channels.
#[derive(Clone)]
pub(super) struct Lane {
    channel: Arc<Semaphore>,
    all: Lanes,
}

/// Held for one slice.
pub(super) struct Turn {
    _all: OwnedSemaphorePermit,
    _channel: OwnedSemaphorePermit,
}

impl Lanes {
    /// For a machine with so many processors.
    pub(super) fn new(processors: usize) -> Self {
        Self(Arc::new(Semaphore::new(processors.saturating_sub(1).max(1))))
    }

    /// Whether nobody has a turn.
    #[cfg(test)]
    pub(super) fn is_idle(&self, processors: usize) -> bool {
        self.0.available_permits() == processors.saturating_sub(1).max(1)
    }

    /// A lane for one channel, or for an admission.
    pub(super) fn lane(&self) -> Lane {
        Lane { channel: Arc::new(Semaphore::new(1)), all: self.clone() }
    }
}

impl Lane {
    /// Waits for its turn, in order of asking; none where the engine is gone.
    pub(super) async fn turn(self) -> Option<Turn> {
        let channel = self.channel.acquire_owned().await.ok()?;
        let all = self.all.0.acquire_owned().await.ok()?;
        Some(Turn { _all: all, _channel: channel })
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn a_processor_is_left_and_channels_take_turns_whatever_each_of_them_asks_for() {
        let lanes = Lanes::new(3);
        let (greedy, other) = (lanes.lane(), lanes.lane());
        let first = greedy.clone().turn().await.unwrap();
        assert!(
            greedy.clone().turn().now_or_never().is_none(),
            "a channel computes once at a time"
        );
        let second = other.clone().turn().await.unwrap();
        let mut third = Box::pin(lanes.lane().turn());
        assert!(third.as_mut().now_or_never().is_none(), "one processor of three is left");
        let mut again = Box::pin(greedy.turn());
        assert!(again.as_mut().now_or_never().is_none());
        drop(first);
        assert!(third.now_or_never().flatten().is_some(), "who asked first goes on first");
        assert!(again.now_or_never().flatten().is_some());
        drop(second);
    }

    #[test]
    fn one_processor_is_shared() {
        assert!(Lanes::new(1).lane().turn().now_or_never().flatten().is_some());
    }
}
