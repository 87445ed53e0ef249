//! Backups of a store that is at work, and what becomes of them.

use std::path::PathBuf;
use std::time::Duration;

use super::rig::{Rig, message};
use crate::lifecycle::recurrence::CatchUp;
use crate::lifecycle::turn::TurnState;
use crate::store::*;

/// A store with everything in it: delivered, at the adapter, in the line, running, queued.
fn busy() -> Rig {
    let mut rig = Rig::new();
    rig.delivering("done", &["done"]);
    let claimed = rig.claim_delivery().unwrap();
    rig.delivered(claimed.claim);
    rig.delivering("sending", &["one", "two"]);
    rig.claim_delivery().unwrap();
    rig.accept(message("other", "running", "hi"));
    rig.claim_turn().unwrap();
    rig.accept(message("third", "queued", "hi"));
    rig
}

fn backup_of(rig: &Rig) -> PathBuf {
    let (path, part) = (rig.dir.path().join("lastword.db"), rig.dir.path().join("backup"));
    let facts = backup(&path, &part, rig.now.wall_ms).unwrap();
    assert_eq!((facts.turns_unfinished, facts.deliveries_unfinished), (3, 2));
    part
}

/// The rig on another file, with the same clock.
fn on(mut rig: Rig, name: &str) -> Rig {
    let path = rig.dir.path().join("lastword.db");
    rig.core = Core::open(&rig.dir.path().join("elsewhere"), &rig.env).unwrap();
    for end in ["", "-wal", "-shm"] {
        let _ = std::fs::remove_file(format!("{}{end}", path.display()));
    }
    std::fs::rename(rig.dir.path().join(name), &path).unwrap();
    rig.crash();
    rig
}

fn turns(rig: &Rig) -> Vec<(String, Option<String>)> {
    let filter = ListFilter { limit: 100, ..ListFilter::default() };
    match rig.read().read(&Query::Turns(filter)).unwrap() {
        Rows::Turns(rows) => rows.into_iter().map(|row| (row.state, row.code)).collect(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_backup_is_taken_beside_the_writer_for_its_owner_alone_and_no_host_runs_on_it() {
    use std::os::unix::fs::PermissionsExt as _;
    let mut rig = busy();
    let file = backup_of(&rig);
    assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let before = std::fs::read(&file).unwrap();
    let error = Core::open(&file, &rig.env).unwrap_err().to_string();
    assert!(error.contains("lastword restore"), "{error}");
    assert_eq!(std::fs::read(&file).unwrap(), before, "refused without a write");
    // The writer goes on, and what it writes is not in the backup.
    rig.accept(message("room", "after", "hi"));
    let again = backup(&rig.dir.path().join("lastword.db"), &file, 0);
    assert!(again.is_err(), "a file that is there is not written over");
}

#[test]
fn restored_it_holds_what_was_under_way_and_sends_and_runs_nothing_by_itself() {
    let rig = busy();
    let (file, part) = (backup_of(&rig), rig.dir.path().join("restored"));
    let facts = restore(&file, &part, UnderWay::Hold, &rig.env).unwrap();
    assert_eq!(facts.taken_at_ms, rig.now.wall_ms);
    let mut rig = on(rig, "restored");
    assert!(rig.claim_delivery().is_none());
    assert!(rig.claim_turn().is_none());
    assert_eq!(rig.states(), ["delivered", "held", "cancelled"]);
    let words: Vec<(String, Option<String>)> = turns(&rig);
    let words: Vec<_> =
        words.iter().map(|(state, code)| (state.as_str(), code.as_deref())).collect();
    assert_eq!(
        words,
        [
            ("delivered", None),
            ("failed", Some("outcome_unknown")),
            ("failed", Some("restored")),
            ("expired", Some("restored")),
        ]
    );
    // A message that it knows is known still; a new one is answered; both acts bring the rest back.
    let known = rig.accept(message("room", "done", "hello"));
    let delivered = Some(TurnState::Delivered);
    assert!(matches!(known, AcceptedEvent::Duplicate { state, .. } if state == delivered));
    let held = rig.outbox().into_iter().find(|row| row.held).unwrap().id;
    rig.run(Command::Resolve { delivery: held, how: Resolution::Resend, by: "ann".to_owned() });
    let texts: Vec<_> = (0..2)
        .map(|_| {
            let claimed = rig.claim_delivery().unwrap();
            rig.delivered(claimed.claim);
            claimed.message.text.clone()
        })
        .collect();
    assert_eq!(texts, ["one", "two"]);
}

#[test]
fn a_schedule_that_is_restored_makes_nothing_that_fell_due_since_the_backup() {
    for (under_way, makes) in [(UnderWay::Hold, 0), (UnderWay::GoOn, 1)] {
        let mut rig = Rig::new();
        rig.recur("daily", "room", "0 9 * * *", CatchUp::Latest);
        let (file, part) = (rig.dir.path().join("backup"), rig.dir.path().join("restored"));
        backup(&rig.dir.path().join("lastword.db"), &file, rig.now.wall_ms).unwrap();
        let days = Duration::from_secs(3 * 86_400);
        rig.env.jump(3 * 86_400_000);
        restore(&file, &part, under_way, &rig.env).unwrap();
        rig.pass(days);
        let mut rig = on(rig, "restored");
        assert_eq!(rig.fall(), makes, "{under_way:?}");
        rig.pass(Duration::from_secs(86_400));
        assert_eq!(rig.fall(), 1, "the next one is made");
    }
}

#[test]
fn restored_as_it_is_everything_goes_on() {
    let rig = busy();
    let (file, part) = (backup_of(&rig), rig.dir.path().join("restored"));
    let facts = restore(&file, &part, UnderWay::GoOn, &rig.env).unwrap();
    assert_eq!(facts.held, 0);
    let mut rig = on(rig, "restored");
    assert_eq!(rig.states(), ["delivered", "sending", "queued"]);
    assert_eq!(rig.claim_turn().unwrap().message.external_id, "queued");
}

#[test]
fn what_is_no_whole_backup_is_refused_and_leaves_nothing_behind() {
    let rig = busy();
    let (file, part) = (backup_of(&rig), rig.dir.path().join("restored"));
    let refused = |from: &PathBuf| {
        let error = restore(from, &part, UnderWay::Hold, &rig.env).unwrap_err();
        assert!(!part.exists(), "{error}");
        error.to_string()
    };
    let error = refused(&rig.dir.path().join("lastword.db"));
    assert!(error.contains("no backup"), "a store is none: {error}");
    assert!(refused(&rig.dir.path().join("nothing")).contains("no backup"));
    let mut bytes = std::fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle..middle + 4_096].fill(0xa5);
    std::fs::write(&file, bytes).unwrap();
    refused(&file);
}
