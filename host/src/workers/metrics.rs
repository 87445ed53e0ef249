//! What the workers count: plain numbers since this start, which others render.

use std::sync::atomic::{AtomicU64, Ordering};

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// One more.
    pub fn up(&self) {
        self.add(1);
    }

    /// Some more.
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    /// How many until now.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

macro_rules! counters {
    ($($(#[doc = $doc:literal])+ $name:ident,)+) => {
        /// Everything that is counted.
        #[derive(Debug, Default)]
        pub struct Metrics {
            $($(#[doc = $doc])+ pub $name: Counter,)+
        }

        impl Metrics {
            /// Name, what it counts, and the number, in a fixed order.
            #[must_use]
            pub fn all(&self) -> Vec<(&'static str, &'static str, u64)> {
                vec![$((stringify!($name), concat!($($doc),+).trim_ascii(), self.$name.get()),)+]
            }
        }
    };
}

counters! {
    /// Messages that made a turn.
    turns_accepted,
    /// Messages that were there already.
    duplicates,
    /// Messages kept as context for a later turn.
    context_messages,
    /// Aborts that platforms delivered.
    aborts,
    /// Late receipts that platforms delivered.
    late_receipts,
    /// Messages that platforms took at first and did not deliver after all.
    failed_late,
    /// Events refused by a rule.
    events_refused,
    /// Further pieces of groups that a turn gathers.
    group_pieces,
    /// Edits of messages that no turn had taken up.
    edits_applied,
    /// Messages taken back before they ran or were told.
    messages_taken_back,
    /// Events without a conversation, dropped.
    events_dropped,
    /// Batches that could not be committed.
    accepts_failed,
    /// Tries that began.
    tries_started,
    /// Tries that ended with an answer, or with silence on purpose.
    tries_decided,
    /// Tries that ended without an answer, by the handler's fault.
    tries_failed,
    /// Tries that ran out of their time.
    tries_ran_out,
    /// Tries that were stopped: by an abort, a lost claim, or a planned stop.
    tries_stopped,
    /// Handlers that could not be started.
    handlers_not_started,
    /// Events of handlers that came after the deciding one, or after the claim was lost.
    late_events_refused,
    /// Claims that were lost by a living worker.
    claims_lost,
    /// Turns that ended with their reply delivered.
    turns_delivered,
    /// Turns that ended in silence.
    turns_silent,
    /// Turns that failed.
    turns_failed,
    /// Turns that were aborted.
    turns_aborted,
    /// Turns that grew too old.
    turns_expired,
    /// Calls of adapters to send.
    sends,
    /// Sends that were delivered.
    sends_delivered,
    /// Sends that were proven not to have left.
    sends_not_sent,
    /// Sends that were rejected.
    sends_rejected,
    /// Sends of unknown outcome.
    sends_unknown,
    /// Questions about sends of unknown outcome.
    asks,
    /// Times that a guest's word did not stand against the wire.
    contradictions,
    /// Calls whose state writes were dropped because they passed the quota.
    state_writes_dropped,
    /// Commands that the store could not take and that were tried again.
    store_retries,
    /// Times that the store could not be written, until it could be again.
    store_troubles,
    /// Polls that brought something or nothing.
    polls,
    /// Polls that failed.
    polls_failed,
    /// Gaps: cursors that a platform did not know any more.
    poll_gaps,
    /// Times that a channel's breaker opened.
    breakers_opened,
    /// Times that a channel paused because its credentials were refused.
    channels_paused,
    /// Generations that took over a channel while the host ran.
    adapters_swapped,
    /// Versions that were staged for a channel and refused.
    adapters_refused,
    /// Generations that were taken back because their first calls broke.
    adapters_rolled_back,
    /// Rows that only a sweep found.
    rows_found_by_sweep,
    /// Jumps of the wall clock.
    clock_jumps,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_counter_is_listed_with_its_name_and_what_it_counts() {
        let metrics = Metrics::default();
        metrics.sends.add(3);
        let all = metrics.all();
        assert!(all.contains(&("sends", "Calls of adapters to send.", 3)));
        assert!(all.iter().all(|(_, what, _)| what.ends_with('.')));
    }
}
