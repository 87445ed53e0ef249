//! The yardsticks: what disk and SQLite give at best (C, G), and what the store's core gives when
//! the host around it costs nothing (A, B). The WAL is emptied outside of the measured time in
//! all of them, as the host does it off the writer's path.

use std::path::Path;
use std::time::{Duration, Instant};

use lastword::env::Env;
use lastword::lifecycle::message::{DeliveryKind, Reply};
use lastword::lifecycle::outcome::{Ledger, Outcome, Receipt, StateWrites};
use lastword::store::{
    Accepted, Answer, ClaimNext, ClaimedDelivery, ClaimedTurn, Command, Core, NewDelivery,
    RecordOutcome,
};
use rusqlite::Connection;

use super::load::{self, DIGEST, LEASE, TEXT_BYTES};

/// As the host's writer does.
const WAL_BYTES_MAX: u64 = 16 << 20;
/// A row of C takes about two pages of WAL.
const ROW_WAL_BYTES: u64 = 2 * 4120;
const ROWS_PER_TRANSACTION: u64 = 100;

/// What a yardstick gave in one round.
#[derive(Debug, Clone, Default)]
pub struct Pace {
    pub per_second: f64,
    /// Of each commit.
    pub each_ms: Vec<f64>,
}

/// SQLite alone.
pub struct Disk {
    db: Connection,
    wal_bytes: u64,
}

impl Disk {
    /// A table in a file of its own in `folder`, with the pragmas of the store.
    #[must_use]
    pub fn open(folder: &Path) -> Self {
        let db = Connection::open(folder.join("yard.db")).unwrap();
        db.pragma_update(None, "journal_mode", "WAL").unwrap();
        db.pragma_update(None, "synchronous", "FULL").unwrap();
        db.pragma_update(None, "wal_autocheckpoint", 0).unwrap();
        db.execute_batch("CREATE TABLE row (id INTEGER PRIMARY KEY, body BLOB NOT NULL) STRICT")
            .unwrap();
        Self { db, wal_bytes: 0 }
    }

    fn insert(&self) {
        let mut statement = self.db.prepare_cached("INSERT INTO row (body) VALUES (?1)").unwrap();
        statement.execute([&[0_u8; TEXT_BYTES][..]]).unwrap();
    }

    fn bound_wal(&mut self, wrote: u64) {
        self.wal_bytes += wrote;
        if self.wal_bytes >= WAL_BYTES_MAX {
            let sql = "PRAGMA wal_checkpoint(PASSIVE)";
            self.db.query_row(sql, [], |_| Ok(())).unwrap();
            self.wal_bytes = 0;
        }
    }

    /// C: durable commits of one row.
    pub fn commits(&mut self, span: Duration) -> Pace {
        let (mut busy, mut each_ms) = (Duration::ZERO, Vec::new());
        while busy < span {
            let began = Instant::now();
            self.insert();
            let took = began.elapsed();
            busy += took;
            each_ms.push(took.as_secs_f64() * 1e3);
            self.bound_wal(ROW_WAL_BYTES);
        }
        Pace { per_second: each_ms.len() as f64 / busy.as_secs_f64(), each_ms }
    }

    /// G: rows in transactions of a hundred.
    pub fn rows(&mut self, span: Duration) -> f64 {
        let (mut busy, mut rows) = (Duration::ZERO, 0);
        while busy < span {
            let began = Instant::now();
            self.db.execute_batch("BEGIN IMMEDIATE").unwrap();
            (0..ROWS_PER_TRANSACTION).for_each(|_| self.insert());
            self.db.execute_batch("COMMIT").unwrap();
            busy += began.elapsed();
            rows += ROWS_PER_TRANSACTION;
            self.bound_wal(20 * ROW_WAL_BYTES);
        }
        rows as f64 / busy.as_secs_f64()
    }
}

/// The store's core alone, called by one thread.
pub struct Bare {
    core: Core,
    env: Env,
    series: &'static str,
    number: u64,
}

impl Bare {
    /// A store of its own in `folder`.
    #[must_use]
    pub fn open(folder: &Path, series: &'static str) -> Self {
        let env = Env::system();
        let mut core = Core::open(&folder.join(format!("{series}.db")), &env).unwrap();
        core.own_checkpoints().unwrap();
        let mut bare = Self { core, env, series, number: 0 };
        let told = load::introduction(&bare.env);
        bare.apply(told);
        bare
    }

    /// One batch: one commit.
    pub fn apply(&mut self, commands: Vec<Command>) -> Vec<Answer> {
        let answers = self.core.apply(self.env.now(), commands);
        answers.into_iter().map(|answer| answer.expect("the store takes it")).collect()
    }

    /// Empties the WAL where the host would.
    pub fn bound_wal(&mut self) {
        if self.core.wal_bytes() >= WAL_BYTES_MAX {
            self.core.checkpoint().unwrap();
            self.core.wal_emptied();
        }
    }

    fn accepts(&mut self, abreast: usize, claim: Option<lastword::store::Lease>) -> Vec<Command> {
        let numbers = self.number..self.number + abreast as u64;
        self.number = numbers.end;
        numbers.map(|n| load::accept(load::message(self.series, n, TEXT_BYTES), claim)).collect()
    }

    /// A(n): accepts per second, `abreast` in each commit.
    pub fn accept(&mut self, abreast: usize, span: Duration) -> f64 {
        let (mut busy, mut count) = (Duration::ZERO, 0);
        while busy < span {
            let commands = self.accepts(abreast, None);
            let began = Instant::now();
            self.apply(commands);
            busy += began.elapsed();
            count += abreast;
            self.bound_wal();
        }
        count as f64 / busy.as_secs_f64()
    }

    /// B(n): whole turns per second, `abreast` in each commit, three commits for each of them.
    pub fn turns(&mut self, abreast: usize, span: Duration) -> f64 {
        let (mut busy, mut count) = (Duration::ZERO, 0);
        while busy < span {
            let commands = self.accepts(abreast, Some(LEASE));
            let began = Instant::now();
            let claimed = self.apply(commands).into_iter().map(claimed_turn);
            let completes: Vec<_> = claimed.map(complete).collect();
            let claimed = self.apply(completes).into_iter().map(claimed_delivery);
            let records: Vec<_> = claimed.map(record).collect();
            let recorded = self.apply(records);
            busy += began.elapsed();
            recorded.iter().for_each(check_ended);
            count += abreast;
            self.bound_wal();
        }
        count as f64 / busy.as_secs_f64()
    }
}

fn claimed_turn(answer: Answer) -> ClaimedTurn {
    match answer {
        Answer::Accepted(accepted) => {
            let Accepted { claimed, .. } = *accepted;
            claimed.expect("a new turn of a free conversation is claimed")
        }
        other => panic!("{other:?}"),
    }
}

fn complete(turn: ClaimedTurn) -> Command {
    let body = Reply { text: turn.message.text, ..Reply::default() };
    let rows = vec![NewDelivery { kind: DeliveryKind::Final, body, part: 1, parts: 1 }];
    Command::Complete { claim: turn.claim, rows, claim_first: Some(LEASE) }
}

fn claimed_delivery(answer: Answer) -> ClaimedDelivery {
    match answer {
        Answer::Enqueued { first, .. } => *first.expect("the head of its line is claimed"),
        other => panic!("{other:?}"),
    }
}

fn record(delivery: ClaimedDelivery) -> Command {
    let platform_id = delivery.message.delivery_id.to_string();
    Command::Record(Box::new(RecordOutcome {
        claim: delivery.claim,
        outcome: Outcome::Delivered(Receipt { platform_id, ..Receipt::default() }),
        ledger: ledger(),
        digest: DIGEST.to_owned(),
        contradicted: false,
        state: StateWrites::default(),
        next: ClaimNext { delivery: Some(LEASE), turn: Some(LEASE) },
    }))
}

/// One request that was taken.
#[must_use]
pub fn ledger() -> Ledger {
    Ledger {
        declares_send: true,
        send_begun: 1,
        send_answered: 1,
        send_accepted: 1,
        send_barred: 0,
        other_begun: 0,
    }
}

fn check_ended(answer: &Answer) {
    let Answer::Recorded(recorded) = answer else { panic!("{answer:?}") };
    assert!(recorded.claim_held && recorded.turn_ended.is_some(), "{recorded:?}");
}
