//! What the hot statements cost: index searches, no scan and no sort, whatever the history.

use std::time::Duration;

use super::rig::Rig;
use super::simulation::exercise;
use crate::store::step::SEEN;
use crate::store::*;

/// Statements that look at rows of bounded number, or run by hand or after a jump of the clock.
const MAY_SCAN: [&str; 7] = [
    // When a person adds one: counts along the primary key, up to their bound.
    "FROM schedule ORDER BY id LIMIT 1 OFFSET",
    // As many as the config names.
    "FROM channel",
    // The same, after a jump of the clock only.
    "UPDATE channel SET not_before_ms = 0, not_before_set_ms = ?1",
    "UPDATE channel SET bucket_ready_ms = ?1",
    // After a jump of the clock only, in bounded batches.
    "due_set_ms > ?1",
    "next_set_ms > ?1",
    // The index holds the running turns alone: as many as handlers may run at a time.
    "FROM turn WHERE state = 1 AND host_losses >= ?1",
];

#[test]
fn every_statement_of_a_life_is_an_index_search_without_scan_or_sort() {
    exercise(20);
    let rig = Rig::new();
    let db = rig.core.connection().unwrap();
    let mut wrong = Vec::new();
    let seen = SEEN.with_borrow(Clone::clone);
    assert!(seen.len() > 60, "{} statements only", seen.len());
    let scraped = crate::store::gauges::statements().into_iter().map(str::to_owned);
    for sql in seen.into_iter().chain(scraped) {
        if MAY_SCAN.iter().any(|part| sql.contains(part)) {
            continue;
        }
        let mut plan = db.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
        let count = plan.parameter_count();
        let nulls = vec![rusqlite::types::Null; count];
        let lines: Vec<String> = plan
            .query_map(rusqlite::params_from_iter(nulls), |r| r.get(3))
            .unwrap()
            .map(Result::unwrap)
            .collect();
        for line in lines {
            let subquery = line.starts_with("SCAN (subquery") || line.contains("CONSTANT ROW");
            if (line.starts_with("SCAN") && !subquery) || line.contains("TEMP B-TREE") {
                wrong.push(format!("{line}: {sql}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[test]
fn no_statement_of_a_life_is_compiled_anew_when_it_is_bound_anew() {
    exercise(20);
    let rig = Rig::new();
    let db = rig.core.connection().unwrap();
    let mut anew = Vec::new();
    for sql in SEEN.with_borrow(Clone::clone) {
        db.execute_batch("BEGIN").unwrap();
        let mut statement = db.prepare(&sql).unwrap();
        let count = statement.parameter_count();
        for value in 1..4 {
            let values = vec![value; count];
            // What the row's types and conditions refuse was compiled all the same.
            if let Ok(mut rows) = statement.query(rusqlite::params_from_iter(values)) {
                while let Ok(Some(_)) = rows.next() {}
            }
        }
        if statement.get_status(rusqlite::StatementStatus::RePrepare) > 0 {
            anew.push(sql.clone());
        }
        drop(statement);
        db.execute_batch("ROLLBACK").unwrap();
    }
    assert!(anew.is_empty(), "{}", anew.join("\n\n"));
}

#[test]
fn a_claim_that_finds_nothing_and_an_idle_minute_write_nothing() {
    let mut rig = Rig::new();
    let before = rig.core.stats().commits;
    for _ in 0..4 {
        rig.pass(Duration::from_secs(15));
        assert!(rig.claim_turn().is_none());
        assert!(rig.claim_delivery().is_none());
        assert_eq!(rig.run(Command::Sweep(SweepStep::Prune { rows_max: 100 })), Answer::Changed(0));
        let release = SweepStep::ReleaseFuture { rows_max: 100 };
        assert_eq!(rig.run(Command::Sweep(release)), Answer::Changed(0));
    }
    assert_eq!(rig.core.stats().commits, before);
}
