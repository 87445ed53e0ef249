//! The gate, by its rules and under threads.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::*;
use crate::lifecycle::id::{DeliveryId, TurnId};

fn turn(number: i64) -> TurnId {
    TurnId { number, nonce: 0 }
}

fn delivery(number: i64) -> DeliveryId {
    DeliveryId { number, nonce: 0 }
}

// Case: C25
#[test]
fn an_abort_confirmed_between_claim_and_call_keeps_the_call_from_starting() {
    let gate = Gate::new();
    let (sends, runs) = (gate.approach(), gate.approach());
    assert_eq!(gate.stop_turn(turn(1)), Stopped::default());
    assert_eq!(sends.enter(Some(turn(1)), delivery(1)).err(), Some(StopReason::Aborted));
    assert_eq!(runs.run(turn(1), 1).err(), Some(StopReason::Aborted));
}

#[test]
fn an_abort_leaves_other_turns_and_free_rows_alone() {
    let gate = Gate::new();
    let (other, free) = (gate.approach(), gate.approach());
    gate.stop_turn(turn(1));
    assert!(other.enter(Some(turn(2)), delivery(1)).is_ok());
    assert!(free.enter(None, delivery(2)).is_ok());
}

#[test]
fn an_abort_stops_the_running_handler_and_names_what_is_at_the_adapter() {
    let gate = Gate::new();
    let running = gate.approach().run(turn(1), 1).unwrap();
    let call = gate.approach().enter(Some(turn(1)), delivery(5)).unwrap();
    let met = gate.stop_turn(turn(1));
    assert_eq!(met, Stopped { handlers: 1, at_adapter: vec![delivery(5)] });
    assert_eq!(running.stop().reason(), Some(StopReason::Aborted));
    assert_eq!(call.stop().reason(), None, "what is at the adapter ends as it really ends");
}

#[test]
fn a_flag_lives_as_long_as_an_approach_older_than_it_and_no_longer() {
    let gate = Gate::new();
    let slow = gate.approach();
    gate.stop_turn(turn(1));
    let later = gate.approach();
    drop(gate.approach());
    drop(later);
    assert_eq!(gate.counts().flags, 1);
    gate.stop_turn(turn(1));
    assert_eq!(slow.enter(Some(turn(1)), delivery(1)).err(), Some(StopReason::Aborted));
    assert_eq!(gate.counts(), GateCounts::default());
    gate.stop_turn(turn(2));
    assert_eq!(gate.counts().flags, 0, "nobody can hold a claim from before this abort");
}

#[test]
fn a_second_stop_of_a_turn_outlives_the_first() {
    let gate = Gate::new();
    let first = gate.approach();
    gate.stop_turn(turn(1));
    let second = gate.approach();
    gate.stop_turn(turn(1));
    drop(first);
    assert_eq!(second.enter(Some(turn(1)), delivery(1)).err(), Some(StopReason::Aborted));
}

#[test]
fn a_newer_try_supersedes_an_older_one_and_never_the_other_way() {
    let gate = Gate::new();
    let old = gate.approach().run(turn(1), 1).unwrap();
    let new = gate.approach().run(turn(1), 2).unwrap();
    assert_eq!(old.stop().reason(), Some(StopReason::Superseded));
    assert_eq!(gate.approach().run(turn(1), 1).err(), Some(StopReason::Superseded));
    drop(old);
    assert_eq!(gate.stop_turn(turn(1)).handlers, 1);
    assert_eq!(new.stop().reason(), Some(StopReason::Aborted));
    drop(new);
    assert_eq!(gate.counts(), GateCounts::default());
}

#[test]
fn a_planned_stop_lets_nothing_pass_then_ends_what_still_runs() {
    let gate = Gate::new();
    let running = gate.approach().run(turn(1), 1).unwrap();
    let call = gate.approach().enter(None, delivery(1)).unwrap();
    gate.close();
    assert_eq!(gate.approach().enter(None, delivery(2)).err(), Some(StopReason::PlannedStop));
    assert_eq!(gate.approach().run(turn(2), 1).err(), Some(StopReason::PlannedStop));
    assert_eq!((running.stop().reason(), call.stop().reason()), (None, None));
    assert_eq!(gate.stop_all(), 2);
    assert_eq!(running.stop().reason(), Some(StopReason::PlannedStop));
    assert_eq!(call.stop().reason(), Some(StopReason::PlannedStop));
}

/// Rows as the store would keep them: a claim is refused once the abort is in the row.
struct Row {
    aborted: AtomicBool,
    confirmed: AtomicBool,
    calls_after_confirm: AtomicU64,
}

// Case: C25
#[test]
fn under_many_threads_no_call_starts_after_its_abort_was_confirmed() {
    let gate = Gate::new();
    let rows: Vec<Row> = (0..2_000)
        .map(|_| Row {
            aborted: AtomicBool::new(false),
            confirmed: AtomicBool::new(false),
            calls_after_confirm: AtomicU64::new(0),
        })
        .collect();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for worker in 0..6_usize {
            let (gate, rows, done) = (&gate, &rows, &done);
            scope.spawn(move || {
                let mut at = worker * 331;
                while !done.load(Ordering::Relaxed) {
                    at = (at * 31 + 17) % rows.len();
                    let Some(row) = rows.get(at) else { continue };
                    let approach = gate.approach();
                    if row.aborted.load(Ordering::SeqCst) {
                        continue;
                    }
                    std::thread::yield_now();
                    let seen = row.confirmed.load(Ordering::SeqCst);
                    let entered = approach.enter(Some(turn(at as i64)), delivery(1));
                    if seen && entered.is_ok() {
                        row.calls_after_confirm.fetch_add(1, Ordering::SeqCst);
                    }
                }
            });
        }
        let (gate, rows, done) = (&gate, &rows, &done);
        scope.spawn(move || {
            for (number, row) in rows.iter().enumerate() {
                row.aborted.store(true, Ordering::SeqCst);
                gate.stop_turn(turn(number as i64));
                row.confirmed.store(true, Ordering::SeqCst);
                std::thread::yield_now();
            }
            done.store(true, Ordering::SeqCst);
        });
    });
    let wrong: u64 = rows.iter().map(|row| row.calls_after_confirm.load(Ordering::SeqCst)).sum();
    assert_eq!(wrong, 0);
    assert_eq!(gate.counts(), GateCounts::default());
}
