//! What the store does when the file under it is not what it should be.

use rusqlite::Connection;

use super::rig::{Rig, message};
use crate::lifecycle::message::InboundEvent;
use crate::store::*;

fn accept(id: &str) -> Command {
    Command::Accept(Accept {
        channel: "hook".into(),
        events: vec![InboundEvent::Message(message("room", id, "hi"))],
        cursor: Some(Some(format!("after {id}"))),
        state: Default::default(),
        claim: None,
    })
}

fn cursor(rig: &Rig) -> Option<String> {
    match rig.read().read(&Query::Cursor { channel: "hook".into() }).unwrap() {
        Rows::Text(text) => text,
        other => panic!("{other:?}"),
    }
}

// Case: J7
#[test]
fn a_store_of_a_newer_schema_is_refused_without_a_write() {
    let rig = Rig::new();
    let path = rig.dir.path().join("lastword.db");
    let env = rig.env.clone();
    let Rig { core, dir, .. } = rig;
    drop(core);
    let db = Connection::open(&path).unwrap();
    db.pragma_update(None, "user_version", 99).unwrap();
    db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
    drop(db);
    let before = std::fs::read(&path).unwrap();
    let error = Core::open(&path, &env).unwrap_err().to_string();
    assert!(error.contains("newer Lastword"), "{error}");
    let error = ReadOnly::open(&path).unwrap_err().to_string();
    assert!(error.contains("newer Lastword"), "{error}");
    assert_eq!(std::fs::read(&path).unwrap(), before);
    drop(dir);
}

#[test]
fn another_programs_file_is_left_alone() {
    let rig = Rig::new();
    let path = rig.dir.path().join("other.db");
    let db = Connection::open(&path).unwrap();
    db.execute_batch("CREATE TABLE theirs (x)").unwrap();
    drop(db);
    let before = std::fs::read(&path).unwrap();
    assert!(Core::open(&path, &rig.env).is_err());
    assert_eq!(std::fs::read(&path).unwrap(), before);
    std::fs::write(&path, "this is no database at all, and long enough to be read as one").unwrap();
    assert!(Core::open(&path, &rig.env).is_err());
}

#[test]
fn opening_a_current_store_writes_nothing() {
    let mut rig = Rig::new();
    rig.accept(message("room", "m1", "hi"));
    let (path, env) = (rig.dir.path().join("lastword.db"), rig.env.clone());
    let Rig { core, dir, .. } = rig;
    drop(core);
    let before = std::fs::read(&path).unwrap();
    drop(Core::open(&path, &env).unwrap());
    assert_eq!(std::fs::read(&path).unwrap(), before);
    drop(dir);
}

// Case: A11, J8
#[test]
fn a_full_disk_refuses_intake_upward_and_nothing_is_half_written() {
    let mut rig = Rig::new();
    rig.accept(message("room", "m0", "hi"));
    let pages: i64 =
        rig.core.connection().unwrap().query_row("PRAGMA page_count", [], |r| r.get(0)).unwrap();
    let limit = |rig: &mut Rig, pages: i64| {
        let sql = format!("PRAGMA max_page_count = {pages}");
        rig.core.connection_to_break().query_row(&sql, [], |_| Ok(())).unwrap();
    };
    limit(&mut rig, pages);
    let mut refused = None;
    for number in 1..2_000 {
        let (before, at) = (rig.states().len(), cursor(&rig));
        match rig.try_run(accept(&format!("m{number}"))) {
            Ok(_) => continue,
            Err(error) => {
                assert!(matches!(error, StoreError::NotWritable(_)), "{error:?}");
                assert_eq!((rig.states().len(), cursor(&rig)), (before, at));
                refused = Some(number);
                break;
            }
        }
    }
    let number = refused.expect("the file never grew");
    limit(&mut rig, 1_000_000);
    assert!(rig.try_run(accept(&format!("m{number}"))).is_ok(), "it resumes by itself");
}

// Case: A11
#[test]
fn a_failed_commit_is_told_to_all_and_the_store_goes_on_from_what_the_disk_holds() {
    let mut rig = Rig::new();
    rig.accept(message("room", "m0", "hi"));
    let before = cursor(&rig);
    rig.core.connection_to_break().commit_hook(Some(|| true)).unwrap();
    let answers = rig.core.apply(rig.now, vec![accept("m1"), accept("m2")]);
    assert!(answers.iter().all(|a| matches!(a, Err(StoreError::NotWritable(_)))), "{answers:?}");
    assert_eq!(rig.core.stats().reopened, 1);
    assert_eq!(cursor(&rig), before, "the cursor has not moved");
    // The platform sends them again.
    let answers = rig.core.apply(rig.now, vec![accept("m1"), accept("m2")]);
    for answer in answers {
        let Ok(Answer::Accepted(accepted)) = answer else { panic!() };
        assert!(matches!(accepted.events[0], AcceptedEvent::Turn { .. }));
    }
}

#[test]
fn a_transaction_that_the_engine_rolls_back_in_the_middle_leaves_nothing_of_its_batch() {
    let mut rig = Rig::new();
    let statements = "CREATE TEMP TRIGGER broken BEFORE INSERT ON turn WHEN new.external_id = 'm2'
                      BEGIN SELECT raise(ROLLBACK, 'as a broken disk does'); END";
    rig.core.connection_to_break().execute_batch(statements).unwrap();
    let batch = vec![accept("m1"), accept("m2"), accept("m3")];
    let answers = rig.core.apply(rig.now, batch);
    assert!(answers.iter().all(Result::is_err), "{answers:?}");
    assert_eq!(cursor(&rig), None, "what came after the fault was not committed by itself");
    assert!(rig.claim_turn().is_none());
}

#[test]
fn one_command_that_fails_harms_no_other_of_its_batch() {
    let mut rig = Rig::new();
    let unknown = Accept {
        channel: "nowhere".into(),
        events: vec![InboundEvent::Message(message("room", "m2", "hi"))],
        cursor: None,
        state: Default::default(),
        claim: None,
    };
    let answers =
        rig.core.apply(rig.now, vec![accept("m1"), Command::Accept(unknown), accept("m3")]);
    assert!(answers[0].is_ok() && answers[2].is_ok());
    let error = answers[1].as_ref().unwrap_err().to_string();
    assert!(error.contains("nowhere"), "{error}");
}

#[test]
fn files_that_are_taken_away_or_replaced_refuse_every_command_and_no_new_store_is_made() {
    for name in ["lastword.db", "lastword.db-wal"] {
        let mut rig = Rig::new();
        rig.accept(message("room", "m0", "hi"));
        let (path, away) = (rig.dir.path().join(name), rig.dir.path().join("away"));
        std::fs::rename(&path, &away).unwrap();
        for _ in 0..2 {
            let error = rig.try_run(accept("m1")).unwrap_err();
            assert!(matches!(&error, StoreError::NotWritable(why) if why.contains(name)));
            assert!(!path.exists());
        }
        std::fs::copy(&away, &path).unwrap();
        let error = rig.try_run(Command::Probe(Probe::Look)).unwrap_err().to_string();
        assert!(error.contains("was replaced"), "{error}");
        std::fs::rename(&away, &path).unwrap();
        assert!(rig.try_run(accept("m1")).is_ok(), "{name} was put back");
    }
}

#[test]
fn a_failed_commit_without_a_file_to_read_again_makes_no_new_store() {
    let mut rig = Rig::new();
    rig.accept(message("room", "m0", "hi"));
    let path = rig.dir.path().join("lastword.db");
    let gone = path.clone();
    let hook = move || std::fs::remove_file(&gone).is_ok();
    rig.core.connection_to_break().commit_hook(Some(hook)).unwrap();
    assert!(rig.try_run(accept("m1")).is_err());
    assert!(rig.try_run(accept("m1")).is_err());
    assert!(!path.exists());
}

#[test]
fn a_probe_writes_where_it_is_told_to_and_only_there() {
    let mut rig = Rig::new();
    let before = rig.core.stats().commits;
    rig.run(Command::Probe(Probe::Look));
    assert_eq!(rig.core.stats().commits, before);
    rig.run(Command::Probe(Probe::Write));
    assert_eq!(rig.core.stats().commits, before + 1);
    rig.core.connection_to_break().pragma_update(None, "query_only", true).unwrap();
    let refused = rig.try_run(Command::Probe(Probe::Write));
    assert!(matches!(refused, Err(StoreError::NotWritable(_))), "a read-only file");
}
