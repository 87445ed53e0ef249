//! The engine counts along: in every test that changes a store, each write of a state is compared
//! with the note that its command gives. A move that nobody tells fails whichever test makes it.

use rusqlite::Connection;

use crate::lifecycle::delivery::DeliveryState;
use crate::store::notes::{Happened, Note};
use crate::store::step::{delivery_code, turn_code};

const TRIGGERS: &str = "
CREATE TEMP TABLE moved (
  n INTEGER PRIMARY KEY, what TEXT NOT NULL, id INTEGER NOT NULL, was INTEGER, is_now INTEGER
);
CREATE TEMP TRIGGER turn_made AFTER INSERT ON main.turn BEGIN
  INSERT INTO moved (what, id, was, is_now) VALUES ('turn', new.id, NULL, new.state);
END;
CREATE TEMP TRIGGER turn_moved AFTER UPDATE OF state ON main.turn WHEN old.state != new.state BEGIN
  INSERT INTO moved (what, id, was, is_now) VALUES ('turn', new.id, old.state, new.state);
END;
CREATE TEMP TRIGGER turn_gone AFTER DELETE ON main.turn WHEN old.state < 3 BEGIN
  INSERT INTO moved (what, id, was, is_now) VALUES ('turn', old.id, old.state, NULL);
END;
CREATE TEMP TRIGGER row_made AFTER INSERT ON main.delivery BEGIN
  INSERT INTO moved (what, id, was, is_now) VALUES ('delivery', new.id, NULL, new.state);
END;
CREATE TEMP TRIGGER row_moved AFTER UPDATE OF state ON main.delivery WHEN old.state != new.state
BEGIN
  INSERT INTO moved (what, id, was, is_now) VALUES ('delivery', new.id, old.state, new.state);
END;
CREATE TEMP TRIGGER row_gone AFTER DELETE ON main.delivery WHEN old.state < 3 BEGIN
  INSERT INTO moved (what, id, was, is_now) VALUES ('delivery', old.id, old.state, NULL);
END;
";

/// What, number, state before, state now.
type Moved = (String, i64, Option<i64>, Option<i64>);

/// Begins to listen on a writer's connection.
pub(in crate::store) fn listen(db: &Connection) -> rusqlite::Result<()> {
    db.execute_batch(TRIGGERS)
}

/// Compares what a command's notes say with what it wrote, in order.
pub(in crate::store) fn check(db: &Connection, notes: &[Note]) {
    let mut statement =
        db.prepare_cached("SELECT what, id, was, is_now FROM moved ORDER BY n").unwrap();
    let written: Vec<Moved> = statement
        .query_map([], |r| Ok((r.get(0)?, r.get(1)?, r.get(2)?, r.get(3)?)))
        .unwrap()
        .map(Result::unwrap)
        .collect();
    drop(statement);
    let told: Vec<Moved> = notes.iter().filter_map(told).collect();
    assert_eq!(told, written, "left: the notes of a command; right: the states that it wrote");
    if !written.is_empty() {
        db.prepare_cached("DELETE FROM moved").unwrap().execute([]).unwrap();
    }
}

/// A move of a row; a turn that is decided anew and stays as it was is none.
fn told(note: &Note) -> Option<Moved> {
    match &note.what {
        Happened::Turn { turn, from, to, .. } if *from != Some(*to) => {
            Some(("turn".to_owned(), turn.number, from.map(turn_code), Some(turn_code(*to))))
        }
        Happened::Delivery { delivery, from, to, .. } => {
            let code = |state: DeliveryState| delivery_code(state);
            Some(("delivery".to_owned(), delivery.number, from.map(code), Some(code(*to))))
        }
        Happened::Purged { delivery, from } => {
            Some(("delivery".to_owned(), delivery.number, Some(delivery_code(*from)), None))
        }
        Happened::Turn { .. } | Happened::Attempt { .. } | Happened::Channel { .. } => None,
    }
}
