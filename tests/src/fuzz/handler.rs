//! What a handler says: read the same whole and in pieces, and held to the rules of one try.

use lastword::handler::{
    Failure, HandlerEnd, HandlerEvent, HandlerLimits, Protocol, Step, TryEnd, read_events,
};

/// Small enough that an input passes them.
const LIMITS: HandlerLimits = HandlerLimits {
    line_bytes_max: 512,
    output_bytes_max: 2_048,
    events_max: 8,
    linger_ms: 5_000,
    stderr_lines_max: 200,
    stderr_line_bytes_max: 4_096,
};

pub(super) fn take(input: &[u8]) {
    for limits in [HandlerLimits::default(), LIMITS] {
        match read_events(input, limits) {
            Ok(events) => hold(events, limits),
            Err(failure) => told(&failure),
        }
    }
}

/// One try: at most one event decides it, and nothing after that counts.
fn hold(events: Vec<HandlerEvent>, limits: HandlerLimits) {
    let mut protocol = Protocol::new(limits);
    let (mut decided, mut refused) = (false, 0);
    for event in events {
        let empty = matches!(&event, HandlerEvent::Final(reply) if reply.is_empty());
        match protocol.take(event) {
            Step::Refused(_) => {
                assert!(decided, "refused before anything was decided");
                refused += 1;
            }
            step => {
                assert!(!decided, "{step:?} after the try was decided");
                assert!(!(empty && matches!(step, Step::Complete(_))), "an empty final completed");
                if let Step::Failed(failure) = &step {
                    told(failure);
                }
                decided = matches!(step, Step::Complete(_) | Step::Silent | Step::Failed(_));
            }
        }
    }
    assert_eq!(protocol.refused(), refused);
    match protocol.end(HandlerEnd::Ended) {
        TryEnd::Decided => assert!(decided, "an end without a decision counted as one"),
        TryEnd::Failed(failure) => {
            assert!(!decided, "a decided try failed at its end");
            told(&failure);
        }
        TryEnd::Stopped => panic!("nobody stopped it"),
    }
}

fn told(failure: &Failure) {
    assert!(!failure.code.is_empty() && !failure.reason.is_empty(), "{failure:?}");
}
