//! Entries of another program's queue against the real store.

use std::time::Duration;

use super::rig::{Rig, finals};
use crate::lifecycle::import::EntryFacts;
use crate::store::*;

fn row(rig: &Rig, id: &str, texts: &[&str], facts: EntryFacts) -> ImportRow {
    let enqueued_at_ms = Some(facts.enqueued_at_ms.unwrap_or(rig.now.wall_ms));
    ImportRow {
        external_id: id.to_owned(),
        channel: "hook".into(),
        conversation: "room".to_owned(),
        context: None,
        reply_to: None,
        rows: finals(texts),
        facts: EntryFacts { enqueued_at_ms, ..facts },
    }
}

fn import(rig: &mut Rig, rows: Vec<ImportRow>, trial: Trial) -> Vec<Imported> {
    let import = Import { source: "other".to_owned(), rows, trial, by: "ann".to_owned() };
    match rig.run(Command::Import(Box::new(import))) {
        Answer::Imported(imported) => imported,
        other => panic!("{other:?}"),
    }
}

// Case: I1
#[test]
fn an_entry_makes_its_rows_once_whatever_it_says_later() {
    let mut rig = Rig::new();
    let first = row(&rig, "e1", &["one", "two"], EntryFacts::default());
    assert_eq!(import(&mut rig, vec![first.clone()], Trial::DryRun)[0].outcome, ImportedAs::Queued);
    assert_eq!(rig.outbox(), Vec::new());
    // Twice in one batch, again later, after a crash, and with another text.
    let done = import(&mut rig, vec![first.clone(), first.clone()], Trial::ForReal);
    assert_eq!((done[0].outcome, done[0].ids.len()), (ImportedAs::Queued, 2));
    assert_eq!(done[1].outcome, ImportedAs::Already);
    rig.crash();
    let other = row(&rig, "e1", &["another text"], EntryFacts::default());
    assert_eq!(import(&mut rig, vec![other], Trial::ForReal)[0].outcome, ImportedAs::Already);
    assert_eq!(rig.outbox().len(), 2);
    // In order, and past the row's own end.
    for text in ["one", "two"] {
        let claimed = rig.claim_delivery().unwrap();
        assert_eq!((claimed.message.text.as_str(), claimed.turn), (text, None));
        rig.delivered(claimed.claim);
    }
    rig.pass(Duration::from_secs(30 * 86_400));
    while rig.run(Command::Sweep(SweepStep::Prune { rows_max: 100 })) != Answer::Changed(0) {}
    assert!(rig.outbox().is_empty(), "texts do not stay longer than others'");
    assert_eq!(import(&mut rig, vec![first], Trial::ForReal)[0].outcome, ImportedAs::Already);
}

// Case: I2
#[test]
fn a_held_entry_blocks_nobody_and_goes_whole_when_it_is_sent_again() {
    let mut rig = Rig::new();
    let facts = EntryFacts { maybe_sent: true, ..EntryFacts::default() };
    let held = row(&rig, "e1", &["one", "two"], facts);
    let next = row(&rig, "e2", &["next"], EntryFacts::default());
    let done = import(&mut rig, vec![held, next], Trial::ForReal);
    assert_eq!(done[0].code.as_deref(), Some("imported_in_doubt"));
    assert_eq!(rig.states(), ["held", "cancelled", "queued"]);
    let claimed = rig.claim_delivery().unwrap();
    assert_eq!(claimed.message.text, "next");
    rig.delivered(claimed.claim);
    let how = Resolution::Resend;
    rig.run(Command::Resolve { delivery: done[0].ids[0], how, by: "ann".to_owned() });
    for text in ["one", "two"] {
        let claimed = rig.claim_delivery().unwrap();
        assert_eq!(claimed.message.text, text);
        rig.delivered(claimed.claim);
    }
    assert!(rig.claim_delivery().is_none());
}

// Case: I4
#[test]
fn recorded_attempts_count_and_their_backoff_is_waited_for_to_the_millisecond() {
    let mut rig = Rig::new();
    let last_attempt_at_ms = Some(rig.now.wall_ms - 10_000);
    let facts = EntryFacts { attempts: 2, last_attempt_at_ms, ..EntryFacts::default() };
    let entry = row(&rig, "e1", &["one"], facts);
    let done = import(&mut rig, vec![entry], Trial::ForReal).remove(0);
    let next_at_ms = done.next_attempt_at_ms.unwrap();
    let wait = u64::try_from(next_at_ms - rig.now.wall_ms).unwrap();
    assert!((15_000..=17_500).contains(&wait), "25 s after the second attempt, plus a tenth");
    assert_eq!(
        (rig.outbox()[0].attempts, rig.outbox()[0].next_attempt_at_ms),
        (2, Some(next_at_ms))
    );
    rig.pass(Duration::from_millis(wait - 1));
    assert!(rig.claim_delivery().is_none());
    rig.pass(Duration::from_millis(1));
    assert!(rig.claim_delivery().is_some());
}
