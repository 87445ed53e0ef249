//! The least time between two messages, of a channel and of each conversation. Pure; the monotonic
//! time comes in. What it holds is lost at a restart, and the platform's own "slow down" rules.

use std::collections::HashMap;

/// Conversations remembered before those whose time has passed are dropped.
const REMEMBERED_MAX: usize = 4_096;

/// When the next message may go.
#[derive(Debug, Default)]
pub(super) struct Rate {
    channel_next_ms: i64,
    conversations_next_ms: HashMap<String, i64>,
}

impl Rate {
    /// Takes the channel's token. To be given back with [`Self::refund`] where nothing was sent.
    ///
    /// # Errors
    /// When it may be asked for again.
    pub(super) fn take(&mut self, now_ms: i64, interval_ms: u64) -> Result<(), i64> {
        if now_ms < self.channel_next_ms {
            return Err(self.channel_next_ms);
        }
        self.channel_next_ms = later(now_ms, interval_ms);
        Ok(())
    }

    /// Gives the channel's token back.
    pub(super) fn refund(&mut self, now_ms: i64) {
        self.channel_next_ms = self.channel_next_ms.min(now_ms);
    }

    /// Takes the conversation's next place in time: how many milliseconds from now it is.
    pub(super) fn take_place(&mut self, now_ms: i64, conversation: &str, interval_ms: u64) -> u64 {
        if interval_ms == 0 {
            return 0;
        }
        let next = self.conversations_next_ms.get(conversation).copied().unwrap_or(now_ms);
        let place = next.max(now_ms);
        if self.conversations_next_ms.len() >= REMEMBERED_MAX {
            self.conversations_next_ms.retain(|_, next| *next > now_ms);
        }
        self.conversations_next_ms.insert(conversation.to_owned(), later(place, interval_ms));
        place.abs_diff(now_ms)
    }

    /// Gives the conversation's last place back.
    pub(super) fn refund_place(&mut self, conversation: &str, interval_ms: u64) {
        if let Some(next) = self.conversations_next_ms.get_mut(conversation) {
            *next = next.saturating_sub_unsigned(interval_ms);
        }
    }
}

fn later(ms: i64, by_ms: u64) -> i64 {
    ms.saturating_add_unsigned(by_ms)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_channel_gives_one_token_per_interval_and_takes_an_unused_one_back() {
        let mut rate = Rate::default();
        assert_eq!(rate.take(0, 1_000), Ok(()));
        assert_eq!(rate.take(999, 1_000), Err(1_000));
        assert_eq!(rate.take(1_000, 1_000), Ok(()));
        rate.refund(1_000);
        assert_eq!(rate.take(1_000, 1_000), Ok(()));
    }

    #[test]
    fn messages_of_one_conversation_queue_for_their_places_and_others_do_not_wait() {
        let mut rate = Rate::default();
        let places: Vec<u64> = (0..3).map(|_| rate.take_place(10, "a", 500)).collect();
        assert_eq!(places, [0, 500, 1_000]);
        assert_eq!(rate.take_place(10, "b", 500), 0);
        rate.refund_place("a", 500);
        assert_eq!(rate.take_place(10, "a", 500), 1_000);
        assert_eq!(rate.take_place(5_000, "a", 500), 0);
    }

    #[test]
    fn no_interval_is_no_wait_and_remembers_nothing() {
        let mut rate = Rate::default();
        for _ in 0..10 {
            assert_eq!((rate.take(0, 0), rate.take_place(0, "a", 0)), (Ok(()), 0));
        }
        assert!(rate.conversations_next_ms.is_empty());
    }

    #[test]
    fn what_is_remembered_is_bounded_by_what_still_waits() {
        let mut rate = Rate::default();
        for n in 0..100_000_i64 {
            rate.take_place(n * 10, &n.to_string(), 500);
        }
        assert!(rate.conversations_next_ms.len() <= REMEMBERED_MAX + 1);
    }
}
