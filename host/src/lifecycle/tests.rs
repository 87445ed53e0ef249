//! Every state against every event: exactly the listed arrows exist, and what the wire says wins.

use super::delivery::{self, DeliveryEvent as D, DeliveryLimits, DeliveryState as R, SendingRow};
use super::message::DeliveryKind;
use super::outcome::{CallEnd, Fault, Ledger, NotSent, Outcome, Receipt, SendError, judge};
use super::settle::{Idempotency, OnUnknown, OpenRow, Settle, SettleMeans, decide};
use super::turn::{self, Charges, Loss, TurnEvent as E, TurnLimits, TurnState as T, Verdict};

const TURN_EVENTS: [E; 13] = [
    E::Claimed,
    E::TryLost,
    E::TriesSpent,
    E::Final,
    E::Silence,
    E::Rested(Verdict::AllDelivered),
    E::Rested(Verdict::SomeFailed),
    E::Rested(Verdict::SomeHeld),
    E::Resolved(Verdict::AllDelivered),
    E::Resolved(Verdict::SomeFailed),
    E::TooOld { has_run: true },
    E::TooOld { has_run: false },
    E::Abort,
];

const TURN_ARROWS: [(T, E, T); 14] = [
    (T::Queued, E::Claimed, T::Running),
    (T::Queued, E::TooOld { has_run: true }, T::Failed),
    (T::Queued, E::TooOld { has_run: false }, T::Expired),
    (T::Queued, E::Abort, T::Aborted),
    (T::Running, E::TryLost, T::Queued),
    (T::Running, E::TriesSpent, T::Failed),
    (T::Running, E::Final, T::Delivering),
    (T::Running, E::Silence, T::Silent),
    (T::Running, E::Abort, T::Aborted),
    (T::Delivering, E::Rested(Verdict::AllDelivered), T::Delivered),
    (T::Delivering, E::Rested(Verdict::SomeFailed), T::Failed),
    (T::Delivering, E::Rested(Verdict::SomeHeld), T::Failed),
    (T::Delivering, E::Abort, T::Aborted),
    // Of a failed turn of unknown outcome alone; see below.
    (T::Failed, E::Resolved(Verdict::AllDelivered), T::Delivered),
];

// Case: B1, B2
#[test]
fn a_turn_has_exactly_the_listed_arrows_and_an_ended_one_has_none() {
    for from in T::ALL {
        for event in TURN_EVENTS {
            let listed = TURN_ARROWS[..13].iter().find(|(f, e, _)| *f == from && *e == event);
            let expected = listed.map(|(_, _, to)| *to);
            assert_eq!(turn::next(from, false, event).ok(), expected, "{from:?} {event:?}");
        }
    }
}

// Case: B1
#[test]
fn the_only_way_out_of_an_ended_turn_is_the_resolving_of_an_unknown_outcome() {
    let resolved = |verdict| turn::next(T::Failed, true, E::Resolved(verdict)).ok();
    assert_eq!(resolved(Verdict::AllDelivered), Some(T::Delivered));
    assert_eq!(resolved(Verdict::SomeFailed), Some(T::Failed));
    for from in T::ALL.into_iter().filter(|state| state.is_ended() && *state != T::Failed) {
        for event in TURN_EVENTS {
            assert!(turn::next(from, true, event).is_err(), "{from:?} {event:?}");
        }
    }
}

const ROW_EVENTS: [D; 12] = [
    D::Claimed,
    D::Sent,
    D::NotSent,
    D::Unwanted,
    D::GivenUp,
    D::Ambiguous,
    D::Resend,
    D::Found,
    D::Hold,
    D::ResolvedDelivered,
    D::ResolvedCancelled,
    D::TooOld,
];

/// From, event, to, and to where it may have been sent.
const ROW_ARROWS: [(R, D, Option<R>, Option<R>); 18] = [
    (R::Queued, D::Claimed, Some(R::Sending), Some(R::Sending)),
    (R::Queued, D::Unwanted, Some(R::Cancelled), Some(R::UnknownHeld)),
    (R::Queued, D::TooOld, Some(R::Expired), Some(R::UnknownHeld)),
    (R::Queued, D::GivenUp, Some(R::Dead), Some(R::UnknownHeld)),
    (R::Queued, D::Found, Some(R::Delivered), Some(R::Delivered)),
    (R::Sending, D::Sent, Some(R::Delivered), Some(R::Delivered)),
    (R::Sending, D::NotSent, Some(R::Queued), Some(R::Queued)),
    (R::Sending, D::Unwanted, Some(R::Cancelled), Some(R::UnknownHeld)),
    (R::Sending, D::GivenUp, Some(R::Dead), Some(R::UnknownHeld)),
    (R::Sending, D::Ambiguous, Some(R::UnknownOpen), Some(R::UnknownOpen)),
    (R::UnknownOpen, D::Resend, Some(R::Queued), Some(R::Queued)),
    (R::UnknownOpen, D::Found, Some(R::Delivered), Some(R::Delivered)),
    (R::UnknownOpen, D::Hold, Some(R::UnknownHeld), Some(R::UnknownHeld)),
    (R::UnknownOpen, D::Unwanted, Some(R::UnknownHeld), Some(R::UnknownHeld)),
    (R::UnknownOpen, D::TooOld, Some(R::UnknownHeld), Some(R::UnknownHeld)),
    (R::UnknownOpen, D::GivenUp, Some(R::UnknownHeld), Some(R::UnknownHeld)),
    (R::UnknownHeld, D::Found, Some(R::Delivered), Some(R::Delivered)),
    (R::UnknownHeld, D::ResolvedDelivered, Some(R::Delivered), Some(R::Delivered)),
];

// Case: B2
#[test]
fn a_delivery_has_exactly_the_listed_arrows() {
    for from in R::ALL {
        for event in ROW_EVENTS {
            let dropped = (from, event) == (R::UnknownHeld, D::ResolvedCancelled);
            let listed = ROW_ARROWS.iter().find(|(f, e, _, _)| *f == from && *e == event);
            let (plain, maybe) = if dropped {
                (Some(R::Cancelled), Some(R::Cancelled))
            } else {
                listed.map_or((None, None), |(_, _, plain, maybe)| (*plain, *maybe))
            };
            assert_eq!(delivery::next(from, false, event).ok(), plain, "{from:?} {event:?}");
            assert_eq!(delivery::next(from, true, event).ok(), maybe, "{from:?} {event:?} maybe");
        }
    }
}

fn fault() -> Fault {
    Fault::new("code", "a sentence")
}

fn ledger(begun: u32, answered: u32, accepted: u32) -> Ledger {
    Ledger {
        declares_send: true,
        send_begun: begun,
        send_answered: answered,
        send_accepted: accepted,
        send_barred: 0,
        other_begun: 3,
    }
}

fn outcome(end: CallEnd<Result<Receipt, SendError>>, ledger: &Ledger) -> Outcome {
    judge(end, ledger).outcome
}

// Case: D5
#[test]
fn any_not_sent_answer_after_a_send_request_left_without_an_answer_is_unknown() {
    let limit =
        SendError::RateLimited { retry_after_ms: 1, scope: super::outcome::RateScope::Channel };
    for error in [
        SendError::Transient(fault()),
        limit,
        SendError::Offline(fault()),
        SendError::Closed(fault()),
        SendError::Moved("hall".to_owned()),
        SendError::Rejected(fault()),
        SendError::Unauthorized(fault()),
    ] {
        let unanswered = outcome(CallEnd::Answered(Err(error.clone())), &ledger(1, 0, 0));
        assert!(matches!(unanswered, Outcome::Unknown(_)), "{error:?}");
        let second = outcome(CallEnd::Answered(Err(error.clone())), &ledger(2, 1, 1));
        assert!(matches!(second, Outcome::Unknown(_)), "{error:?}");
        // After a whole answer the guest's word stands: platforms say no inside a 200.
        let answered = outcome(CallEnd::Answered(Err(error.clone())), &ledger(1, 1, 1));
        assert!(!matches!(answered, Outcome::Unknown(_)), "{error:?}");
    }
}

// Case: D7
#[test]
fn delivered_needs_a_whole_2xx_answer_to_a_send_request_of_the_same_call() {
    for (begun, answered, accepted, stands) in
        [(0, 0, 0, false), (1, 0, 0, false), (1, 1, 0, false), (1, 1, 1, true), (2, 1, 1, true)]
    {
        let ledger = ledger(begun, answered, accepted);
        let verdict = judge(CallEnd::Answered(Ok(Receipt::default())), &ledger);
        assert_eq!(matches!(verdict.outcome, Outcome::Delivered(_)), stands, "{ledger:?}");
        assert_eq!(verdict.contradiction.is_none(), stands);
    }
}

// Case: D6
#[test]
fn a_call_that_ends_without_a_word_is_judged_by_what_left() {
    let ends = || {
        [
            CallEnd::Trapped("unreachable".to_owned()),
            CallEnd::DeadlinePassed,
            CallEnd::CpuSpent,
            CallEnd::Cancelled,
        ]
    };
    for end in ends() {
        let quiet = outcome(end.clone(), &ledger(0, 0, 0));
        assert!(matches!(quiet, Outcome::NotSent(_)), "requests on read routes only: {end:?}");
        let left = outcome(end.clone(), &ledger(1, 0, 0));
        assert!(matches!(left, Outcome::Unknown(_)), "{end:?}");
        let answered = outcome(end.clone(), &ledger(1, 1, 1));
        assert!(matches!(answered, Outcome::Unknown(_)), "only the guest could have told: {end:?}");
    }
    let stopped = outcome(CallEnd::Cancelled, &ledger(0, 0, 0));
    assert_eq!(stopped, Outcome::NotSent(NotSent::Stopped));
}

// Case: D6
#[test]
fn a_call_that_is_said_not_to_have_begun_is_judged_by_what_left() {
    let ended = outcome(CallEnd::NotCalled(fault()), &ledger(0, 0, 0));
    assert_eq!(ended, Outcome::NotSent(NotSent::Offline(fault())));
    for (begun, answered, accepted) in [(1, 0, 0), (1, 1, 0), (1, 1, 1)] {
        let ended = outcome(CallEnd::NotCalled(fault()), &ledger(begun, answered, accepted));
        assert_eq!(ended, Outcome::Unknown(fault()), "it would be sent again, without end");
    }
}

#[test]
fn what_may_not_leave_for_what_it_carries_is_not_tried_again() {
    let barred = Ledger { send_barred: 1, ..ledger(0, 0, 0) };
    for error in [SendError::Transient(fault()), SendError::Offline(fault())] {
        let ended = outcome(CallEnd::Answered(Err(error)), &barred);
        let Outcome::Rejected(why) = ended else { panic!("{ended:?}") };
        assert_eq!(why.code, "carries_secret");
    }
    // Another request of the call left: what became of that one decides.
    let left = Ledger { send_barred: 1, ..ledger(1, 0, 0) };
    let ended = outcome(CallEnd::Answered(Err(SendError::Transient(fault()))), &left);
    assert!(matches!(ended, Outcome::Unknown(_)), "{ended:?}");
    let limit =
        SendError::RateLimited { retry_after_ms: 1, scope: super::outcome::RateScope::Channel };
    let ended = outcome(CallEnd::Answered(Err(limit)), &barred);
    assert!(matches!(ended, Outcome::NotSent(NotSent::RateLimited { .. })), "{ended:?}");
}

#[test]
fn an_adapter_without_send_routes_is_taken_at_its_word() {
    let console = Ledger { declares_send: false, other_begun: 0, ..ledger(0, 0, 0) };
    let said = outcome(CallEnd::Answered(Ok(Receipt::default())), &console);
    assert!(matches!(said, Outcome::Delivered(_)));
}

fn open(attempts: u32, asked: u32, since_ms: u64) -> OpenRow {
    OpenRow {
        kind: DeliveryKind::Final,
        attempts,
        asked,
        asking_over: false,
        since_first_attempt_ms: since_ms,
        repeats: Idempotency::Always,
        unwanted: false,
    }
}

#[test]
fn an_open_unknown_is_settled_by_key_then_by_asking_then_by_policy() {
    let limits = DeliveryLimits::default();
    let keyed = SettleMeans {
        idempotency: Idempotency::ForMs(1_000),
        can_ask: true,
        on_unknown: OnUnknown::Resend,
    };
    let by_key = Settle::Resend { possible_double: false };
    assert_eq!(decide(&open(1, 0, 999), &keyed, &limits), by_key);
    assert_eq!(decide(&open(1, 0, 1_000), &keyed, &limits), Settle::Ask);
    assert_eq!(decide(&open(8, 0, 10), &keyed, &limits), Settle::Ask, "tries spent");
    let refused = OpenRow { asking_over: true, ..open(1, 0, 1_000) };
    let by_policy = Settle::Resend { possible_double: true };
    assert_eq!(decide(&refused, &keyed, &limits), by_policy);
    let asked_out = decide(&open(1, 8, 1_000), &keyed, &limits);
    assert!(matches!(asked_out, Settle::Hold { .. }), "asked 8 times without an answer");
    let none = SettleMeans::default();
    assert!(matches!(decide(&open(1, 0, 0), &none, &limits), Settle::Hold { .. }));
}

#[test]
fn a_row_is_settled_by_the_weakest_promise_that_it_was_ever_sent_under() {
    let limits = DeliveryLimits::default();
    let by_key = Settle::Resend { possible_double: false };
    let kinds = [Idempotency::None, Idempotency::ForMs(500), Idempotency::Always];
    for serves in kinds {
        for claimed in kinds {
            let means = SettleMeans { idempotency: serves, ..SettleMeans::default() };
            let row = OpenRow { repeats: claimed, ..open(1, 0, 400) };
            let drops = serves != Idempotency::None && claimed != Idempotency::None;
            assert_eq!(decide(&row, &means, &limits) == by_key, drops, "{serves:?} {claimed:?}");
            let late = OpenRow { repeats: claimed, ..open(1, 0, 500) };
            let always = serves == Idempotency::Always && claimed == Idempotency::Always;
            assert_eq!(decide(&late, &means, &limits) == by_key, always, "{serves:?} {claimed:?}");
        }
    }
}

#[test]
fn what_its_turn_does_not_want_and_progress_are_never_resent() {
    let limits = DeliveryLimits::default();
    let always = SettleMeans {
        idempotency: Idempotency::Always,
        can_ask: true,
        on_unknown: OnUnknown::Resend,
    };
    let unwanted = OpenRow { unwanted: true, ..open(1, 0, 0) };
    let tool = OpenRow { kind: DeliveryKind::Tool, ..open(1, 0, 0) };
    for row in [unwanted, tool] {
        assert!(matches!(decide(&row, &always, &limits), Settle::Hold { .. }), "{row:?}");
    }
}

#[test]
fn a_host_that_dies_is_not_the_handlers_failure_and_a_planned_stop_costs_nothing() {
    let limits = TurnLimits::default();
    let claimed = Charges { tries: 1, host_losses: 1 };
    let stop = turn::lose_try(claimed, &Loss::PlannedStop, &limits, 0.5);
    assert_eq!((stop.charges, stop.retry_in_ms), (Charges::default(), 0));
    let lost = turn::lose_try(claimed, &Loss::HostLost, &limits, 0.5);
    assert_eq!((lost.charges.tries, lost.charges.host_losses, lost.retry_in_ms), (0, 1, 0));
    let second = Charges { tries: 1, host_losses: 2 };
    assert!(turn::lose_try(second, &Loss::HostLost, &limits, 0.5).retry_in_ms > 0);
    let last = Charges { tries: 1, host_losses: limits.host_losses_max };
    let end = turn::lose_try(last, &Loss::HostLost, &limits, 0.5);
    assert_eq!((end.event, end.code.as_str()), (E::TriesSpent, "quarantined"));
}

// Case: B6
#[test]
fn the_third_failed_try_is_the_last_and_never_means_never() {
    let limits = TurnLimits::default();
    let loss = |retry| Loss::Handler {
        code: "exit".to_owned(),
        sentence: "it ended without a final".to_owned(),
        retry,
        retry_after_ms: Some(60_000),
    };
    let second = turn::lose_try(Charges { tries: 2, host_losses: 1 }, &loss(true), &limits, 1.0);
    assert_eq!((second.event, second.charges.host_losses), (E::TryLost, 0));
    assert!(second.retry_in_ms >= 60_000, "the handler's own wait is heeded");
    let third = turn::lose_try(Charges { tries: 3, host_losses: 1 }, &loss(true), &limits, 1.0);
    assert_eq!(third.event, E::TriesSpent);
    let never = turn::lose_try(Charges { tries: 1, host_losses: 1 }, &loss(false), &limits, 1.0);
    assert_eq!(never.event, E::TriesSpent);
}

fn sending(kind: DeliveryKind) -> SendingRow {
    SendingRow {
        kind,
        attempts: 1,
        free_returns: 0,
        moves: 0,
        maybe_sent: false,
        age_ms: 0,
        unwanted: false,
    }
}

// Case: C9
#[test]
fn progress_gets_one_try_and_a_final_its_backoff() {
    let limits = DeliveryLimits::default();
    let transient = Outcome::NotSent(NotSent::Transient(fault()));
    let tool = delivery::after_attempt(&sending(DeliveryKind::Tool), &transient, &limits, 0.0);
    assert_eq!(tool.event, D::GivenUp);
    let last = delivery::after_attempt(&sending(DeliveryKind::Final), &transient, &limits, 0.0);
    assert_eq!((last.event, last.wait_ms), (D::NotSent, 5_000));
    let spent = SendingRow { attempts: 8, ..sending(DeliveryKind::Final) };
    assert_eq!(delivery::after_attempt(&spent, &transient, &limits, 0.0).event, D::GivenUp);
    let old = SendingRow { age_ms: limits.age_max_ms + 1, ..sending(DeliveryKind::Final) };
    assert_eq!(delivery::after_attempt(&old, &transient, &limits, 0.0).event, D::GivenUp);
}

// Case: F4
#[test]
fn a_proven_unsent_row_of_an_aborted_turn_is_cancelled_and_not_queued_again() {
    let limits = DeliveryLimits::default();
    let unwanted = SendingRow { unwanted: true, ..sending(DeliveryKind::Final) };
    let transient = Outcome::NotSent(NotSent::Transient(fault()));
    assert_eq!(delivery::after_attempt(&unwanted, &transient, &limits, 0.0).event, D::Unwanted);
}
