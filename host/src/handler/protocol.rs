//! What the events of one try mean for its turn: a small pure state machine that whoever calls a
//! handler feeds, and that holds built-in and embedded handlers to the same rules.

use super::event::AskedRetry;
use super::{Failure, HandlerEnd, HandlerEvent, HandlerLimits, Retry};
use crate::lifecycle::message::{DeliveryKind, Reply};

/// What to do about one event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Enqueue progress of this kind (`Tool` or `Block`). A sign of life, too.
    Say(DeliveryKind, Reply),
    /// Complete the turn with this reply. The handler may live on for a little.
    Complete(Reply),
    /// End the turn without a reply.
    Silent,
    /// A sign of life, nothing else.
    Alive,
    /// The try has failed; end the handler.
    Failed(Failure),
    /// It came after the event that decided the try. Note the sentence, do nothing.
    Refused(&'static str),
}

/// What the end of the handler means for the try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TryEnd {
    /// An event had decided it already; nothing is left to do.
    Decided,
    /// It has failed now.
    Failed(Failure),
    /// It was stopped; why is known to who stopped it.
    Stopped,
}

/// The rules of one try. Feed it every event, then the end.
#[derive(Debug)]
pub struct Protocol {
    limits: HandlerLimits,
    decided: Option<Decided>,
    events: u32,
    payload_bytes: usize,
    refused: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Decided {
    Final,
    Silent,
    Failed,
}

impl Protocol {
    /// A try that has said nothing yet.
    #[must_use]
    pub fn new(limits: HandlerLimits) -> Self {
        Self { limits, decided: None, events: 0, payload_bytes: 0, refused: 0 }
    }

    /// Events that came too late and were refused.
    #[must_use]
    pub fn refused(&self) -> u32 {
        self.refused
    }

    /// Takes the next event.
    pub fn take(&mut self, event: HandlerEvent) -> Step {
        if let Some(decided) = self.decided {
            self.refused = self.refused.saturating_add(1);
            return Step::Refused(decided.rule());
        }
        if let Some(failure) = self.count(&event) {
            return self.fail(failure);
        }
        match event {
            HandlerEvent::Heartbeat => Step::Alive,
            HandlerEvent::Tool(reply) => say(DeliveryKind::Tool, reply),
            HandlerEvent::Block(reply) => say(DeliveryKind::Block, reply),
            HandlerEvent::Silent => {
                self.decided = Some(Decided::Silent);
                Step::Silent
            }
            HandlerEvent::Final(reply) if reply.is_empty() => self.fail(Failure::spent(
                Failure::PROTOCOL,
                "the handler's final reply has neither text nor file; where no reply is meant, \
                 let it say {\"type\":\"silent\"}",
            )),
            HandlerEvent::Final(reply) => {
                self.decided = Some(Decided::Final);
                Step::Complete(reply)
            }
            HandlerEvent::Fail { reason, retry } => {
                let retry = match retry {
                    AskedRetry::Again => Retry::Spent { after_ms: None },
                    AskedRetry::Never => Retry::Never,
                };
                self.fail(Failure { code: Failure::SAID, reason, retry })
            }
        }
    }

    /// Takes the handler's end.
    pub fn end(&mut self, end: HandlerEnd) -> TryEnd {
        if self.decided.is_some() {
            return TryEnd::Decided;
        }
        match end {
            HandlerEnd::Stopped => TryEnd::Stopped,
            HandlerEnd::Failed(failure) => TryEnd::Failed(failure),
            HandlerEnd::Ended => TryEnd::Failed(Failure::spent(
                Failure::NO_FINAL,
                "the handler ended without a final reply; where none is meant, let it say \
                 {\"type\":\"silent\"}",
            )),
        }
    }

    fn count(&mut self, event: &HandlerEvent) -> Option<Failure> {
        if *event != HandlerEvent::Heartbeat {
            self.events = self.events.saturating_add(1);
        }
        self.payload_bytes = self.payload_bytes.saturating_add(event.payload_bytes());
        if self.events > self.limits.events_max {
            let max = self.limits.events_max;
            let reason = format!("the handler gave more than {max} events in one try");
            return Some(Failure::spent(Failure::LIMIT, reason));
        }
        if self.payload_bytes > self.limits.output_bytes_max {
            let max = self.limits.output_bytes_max;
            let reason = format!("the handler's replies came to more than {max} bytes in one try");
            return Some(Failure::spent(Failure::LIMIT, reason));
        }
        None
    }

    fn fail(&mut self, failure: Failure) -> Step {
        self.decided = Some(Decided::Failed);
        Step::Failed(failure)
    }
}

/// Progress that nobody could see is a sign of life and makes no row.
fn say(kind: DeliveryKind, reply: Reply) -> Step {
    if reply.is_empty() { Step::Alive } else { Step::Say(kind, reply) }
}

impl Decided {
    fn rule(self) -> &'static str {
        match self {
            Self::Final => "refused: the turn was completed by the final reply before it",
            Self::Silent => "refused: the turn was ended by the silent event before it",
            Self::Failed => "refused: the try had failed before it",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(text: &str) -> Reply {
        Reply { text: text.to_owned(), ..Reply::default() }
    }

    fn protocol() -> Protocol {
        Protocol::new(HandlerLimits { events_max: 3, output_bytes_max: 10, ..Default::default() })
    }

    #[test]
    fn progress_then_a_final_completes_the_turn_and_the_end_adds_nothing() {
        let mut it = protocol();
        let said = it.take(HandlerEvent::Tool(reply("a")));
        assert_eq!(said, Step::Say(DeliveryKind::Tool, reply("a")));
        assert_eq!(it.take(HandlerEvent::Final(reply("b"))), Step::Complete(reply("b")));
        let late = HandlerEnd::Failed(Failure::spent(Failure::BROKEN, "late"));
        assert_eq!(it.end(late), TryEnd::Decided);
    }

    #[test]
    fn what_comes_after_the_final_is_refused_with_the_rule() {
        let mut it = protocol();
        it.take(HandlerEvent::Final(reply("b")));
        for late in [HandlerEvent::Final(reply("c")), HandlerEvent::Silent] {
            match it.take(late) {
                Step::Refused(rule) => assert!(rule.contains("final"), "{rule}"),
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(it.refused(), 2);
    }

    #[test]
    fn a_final_with_neither_text_nor_file_is_a_failed_try_and_never_silence() {
        for text in ["", " \n\t"] {
            let mut it = protocol();
            match it.take(HandlerEvent::Final(reply(text))) {
                Step::Failed(failure) => {
                    assert_eq!(failure.retry, Retry::Spent { after_ms: None });
                }
                other => panic!("{other:?}"),
            }
            assert_eq!(it.end(HandlerEnd::Ended), TryEnd::Decided);
        }
    }

    #[test]
    fn a_stream_that_ends_without_final_or_silent_is_a_failed_try() {
        let mut it = protocol();
        it.take(HandlerEvent::Block(reply("half")));
        match it.end(HandlerEnd::Ended) {
            TryEnd::Failed(failure) => assert_eq!(failure.code, Failure::NO_FINAL),
            other => panic!("{other:?}"),
        }
        assert_eq!(protocol().end(HandlerEnd::Stopped), TryEnd::Stopped);
    }

    #[test]
    fn the_handlers_never_is_kept_apart_from_its_again() {
        let fail = |retry| HandlerEvent::Fail { reason: "no".to_owned(), retry };
        let step = protocol().take(fail(AskedRetry::Never));
        assert!(matches!(step, Step::Failed(Failure { retry: Retry::Never, .. })));
        let step = protocol().take(fail(AskedRetry::Again));
        assert!(matches!(step, Step::Failed(Failure { retry: Retry::Spent { .. }, .. })));
    }

    #[test]
    fn events_and_bytes_over_the_caps_fail_the_try_but_heartbeats_are_free() {
        let mut it = protocol();
        for _ in 0..100 {
            assert_eq!(it.take(HandlerEvent::Heartbeat), Step::Alive);
        }
        for _ in 0..3 {
            it.take(HandlerEvent::Block(reply("x")));
        }
        assert!(matches!(it.take(HandlerEvent::Silent), Step::Failed(_)));
        let long = HandlerEvent::Final(reply("eleven byte"));
        assert!(matches!(protocol().take(long), Step::Failed(_)));
    }

    #[test]
    fn progress_without_text_makes_no_row() {
        assert_eq!(protocol().take(HandlerEvent::Block(reply(""))), Step::Alive);
    }
}
