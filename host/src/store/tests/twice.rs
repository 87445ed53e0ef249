//! Every step run twice: a guarded command that comes again, with the same claim, key or id, finds
//! its guard missed and changes nothing. Every row of every table is compared.
//!
//! The folds of a command (claiming what comes next) are claims of their own and are left out of
//! the repetition; so are bounded sweeps, which go on with what the bound left.

use rusqlite::Connection;
use rusqlite::types::ValueRef;

use crate::store::*;

/// The same command as it would come again; nothing where a second one is a step of its own.
pub(super) fn again(command: &Command) -> Option<Command> {
    let same = || Some(command.clone());
    match command {
        Command::Accept(accept) => Some(Command::Accept(Accept { claim: None, ..accept.clone() })),
        Command::Post(post) => Some(Command::Post(Box::new(Post { claim: None, ..*post.clone() }))),
        Command::Complete { claim, rows, .. } => {
            let (claim, rows) = (*claim, rows.clone());
            Some(Command::Complete { claim, rows, claim_first: None })
        }
        Command::Silence { claim, .. } => {
            Some(Command::Silence { claim: *claim, claim_next_turn: None })
        }
        Command::Record(record) => {
            let record = RecordOutcome { next: ClaimNext::default(), ..*record.clone() };
            Some(Command::Record(Box::new(record)))
        }
        Command::RecordAsk { claim, answer, state, .. } => {
            let (claim, answer, state) = (*claim, answer.clone(), state.clone());
            Some(Command::RecordAsk { claim, answer, state, next: ClaimNext::default() })
        }
        Command::LoseTry { .. }
        | Command::RenewTurn { .. }
        | Command::RenewDelivery { .. }
        | Command::Resolve { .. }
        | Command::SwitchChannel { .. }
        | Command::Schedule(_)
        | Command::Import(_)
        | Command::Abort { scope: AbortScope::Turn(_), .. }
        | Command::Replay { force: false, .. } => same(),
        Command::Bulk(bulk) => match bulk.act {
            BulkAct::Replay { force: true } => None,
            BulkAct::Replay { force: false } | BulkAct::Resolve(_) | BulkAct::Purge(_) => same(),
        },
        Command::Sweep(step) => match step {
            SweepStep::Prune { .. } | SweepStep::ReleaseFuture { .. } => None,
            SweepStep::LoseTurn { .. }
            | SweepStep::LoseSend { .. }
            | SweepStep::LoseAsk { .. }
            | SweepStep::ExpireTurn { .. }
            | SweepStep::ExpireDelivery { .. }
            | SweepStep::AdoptLease { .. } => same(),
        },
        Command::Pull(pull) => match &**pull {
            PullCommand::Claim(claim) if claim.key.is_some() => same(),
            PullCommand::Renew { .. } => same(),
            PullCommand::Report(report) if report.key.is_some() => {
                let report = PullReport { claim_first: None, ..report.clone() };
                Some(Command::Pull(Box::new(PullCommand::Report(report))))
            }
            PullCommand::Claim(_) | PullCommand::Report(_) => None,
        },
        Command::Rules(_)
        | Command::Channel(_)
        | Command::ChannelsPresent(_)
        | Command::FallDue { .. }
        | Command::ClaimTurn { .. }
        | Command::Progress { .. }
        | Command::ClaimDelivery { .. }
        | Command::Abort { .. }
        | Command::Replay { .. }
        | Command::HoldChannel { .. }
        | Command::ClearHolds
        | Command::Probe(_)
        | Command::HoldUnderWay { .. }
        | Command::Blob(_) => None,
    }
}

/// Every row of every table as a line, but for the counters of commits and of what is not served.
pub(super) fn rows(db: &Connection) -> Vec<String> {
    let tables = "SELECT name FROM main.sqlite_schema
                  WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY name";
    let mut statement = db.prepare_cached(tables).unwrap();
    let names = statement.query_map([], |row| row.get::<_, String>(0)).unwrap();
    let names: Vec<String> = names.map(Result::unwrap).collect();
    let mut lines = Vec::new();
    for name in names {
        let only = if name == "meta" { "WHERE name NOT IN ('batch', 'not_served')" } else { "" };
        let mut statement =
            db.prepare_cached(&format!("SELECT * FROM main.{name} {only}")).unwrap();
        let columns = statement.column_count();
        let mut found = statement.query([]).unwrap();
        while let Some(row) = found.next().unwrap() {
            let mut line = name.clone();
            for column in 0..columns {
                line.push('|');
                match row.get_ref(column).unwrap() {
                    ValueRef::Null => line.push('-'),
                    ValueRef::Integer(number) => line.push_str(&number.to_string()),
                    ValueRef::Real(number) => line.push_str(&number.to_string()),
                    ValueRef::Text(text) => line.push_str(&String::from_utf8_lossy(text)),
                    ValueRef::Blob(bytes) => line.push_str(&hex::encode(bytes)),
                }
            }
            lines.push(line);
        }
    }
    lines
}

/// Says which rows a second application changed.
pub(super) fn compare(before: &[String], after: &[String], command: &Command) {
    if before == after {
        return;
    }
    let gone: Vec<_> = before.iter().filter(|line| !after.contains(line)).collect();
    let new: Vec<_> = after.iter().filter(|line| !before.contains(line)).collect();
    panic!("a second time it changed rows: {command:?}\n before: {gone:#?}\n after: {new:#?}");
}
