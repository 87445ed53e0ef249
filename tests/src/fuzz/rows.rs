//! Stored rows: a store that was filled in order, of which one column then holds something else. No
//! command and no query may fall over it, and where it is a row of one conversation, the others
//! must not feel it: a new message there is still accepted, run, answered and recorded.

use std::path::{Path, PathBuf};

use lastword::env::{Env, Now};
use lastword::lifecycle::message::{DeliveryKind, InboundEvent, InboundMessage, Reply, Sender};
use lastword::lifecycle::outcome::{Fault, Ledger, Outcome, Receipt, StateWrites};
use lastword::lifecycle::recurrence::CatchUp;
use lastword::store::{
    AbortScope, Accept, Answer, ClaimNext, ClaimedDelivery, ClaimedTurn, Command, Core, Lease,
    ListFilter, NewDelivery, NewSchedule, Query, ReadOnly, RecordOutcome, ReplayOf, Resolution,
    Rows as Found, ScheduleAct, StoreError, SweepStep,
};
use rusqlite::Connection;
use rusqlite::types::Value;
use tempfile::TempDir;

use crate::bench::load;

const LEASE: Lease = Lease { lease_ms: 60_000 };
const ROWS_MAX: u32 = 100;
/// Claims after which everything that waits is found.
const CLAIMS_MAX: u32 = 8;
/// When the rows were made; the commands on them come an hour later.
const MADE_MS: i64 = 1_700_000_000_000;
const AT: Now = Now { wall_ms: MADE_MS + 3_600_000, mono_ms: 3_600_000 };
/// Tables whose rows belong to one conversation, and how its rows are named.
const OF_ONE: [(&str, &str); 4] = [
    ("turn", "conversation_id <= 2"),
    ("delivery", "conversation_id <= 2"),
    ("context", "conversation_id <= 2"),
    ("attempt", "1"),
];

/// A column that an input may write to.
struct Column {
    table: String,
    name: String,
    kind: String,
}

/// A filled store, copied for each input.
pub(super) struct Rows {
    folder: TempDir,
    columns: Vec<Column>,
    ids: Ids,
    env: Env,
}

/// What the filled store holds, by id.
#[derive(Default)]
struct Ids {
    turns: Vec<lastword::lifecycle::id::TurnId>,
    deliveries: Vec<lastword::lifecycle::id::DeliveryId>,
}

impl Rows {
    pub(super) fn new() -> Self {
        let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
        let env = Env::system();
        let template = folder.path().join("template.db");
        fill(&template, &env);
        let db = Connection::open(&template).unwrap();
        let columns = columns(&db);
        db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
        drop(db);
        let read = ReadOnly::open(&template).unwrap();
        let mut ids = Ids::default();
        if let Found::Turns(rows) = read.read(&Query::Turns(all())).unwrap() {
            ids.turns = rows.iter().map(|row| row.id).collect();
        }
        if let Found::Deliveries(rows) = read.read(&Query::Outbox(all())).unwrap() {
            ids.deliveries = rows.iter().map(|row| row.id).collect();
        }
        assert!(ids.turns.len() >= 5 && ids.deliveries.len() >= 4, "the store is filled");
        Self { folder, columns, ids, env }
    }

    pub(super) fn take(&mut self, input: &[u8]) {
        let [place, mode, value @ ..] = input else { return };
        let column = &self.columns[usize::from(*place) % self.columns.len()];
        let path = self.copy();
        let of_one = match damage(&path, column, *mode, value) {
            Damage::None => return,
            Damage::OneConversation => true,
            Damage::Shared => false,
        };
        if let Ok(mut core) = Core::open(&path, &self.env) {
            for told in load::introduction(&self.env) {
                let _ = run(&mut core, told);
            }
            if of_one {
                goes_on(&mut core, column);
            }
            self.ids.commands().for_each(|command| drop(run(&mut core, command)));
        }
        if let Ok(read) = ReadOnly::open(&path) {
            self.ids.queries().for_each(|query| drop(read.read(&query)));
        }
    }

    fn copy(&self) -> PathBuf {
        let path = self.folder.path().join("damaged.db");
        for end in ["-wal", "-shm"] {
            let _ = std::fs::remove_file(self.folder.path().join(format!("damaged.db{end}")));
        }
        std::fs::copy(self.folder.path().join("template.db"), &path).unwrap();
        path
    }
}

fn all() -> ListFilter {
    ListFilter { limit: ROWS_MAX, ..ListFilter::default() }
}

fn run(core: &mut Core, command: Command) -> Result<Answer, StoreError> {
    core.apply(AT, vec![command]).pop().unwrap()
}

fn message(conversation: &str, id: &str) -> InboundMessage {
    InboundMessage {
        external_id: id.to_owned(),
        conversation: conversation.to_owned(),
        sender: Sender { id: "ann".to_owned(), ..Sender::default() },
        text: "hello".to_owned(),
        wakes: true,
        ..InboundMessage::default()
    }
}

fn accept(message: InboundMessage, claim: Option<Lease>) -> Command {
    Command::Accept(Accept {
        channel: load::channel(),
        events: vec![InboundEvent::Message(message)],
        cursor: Some(Some("c1".to_owned())),
        state: StateWrites::default(),
        claim,
    })
}

fn complete(turn: &ClaimedTurn, claim_first: Option<Lease>) -> Command {
    let body = Reply { text: "there you are".to_owned(), ..Reply::default() };
    let rows = [1, 2].map(|part| NewDelivery {
        kind: DeliveryKind::Final,
        body: body.clone(),
        part,
        parts: 2,
    });
    Command::Complete { claim: turn.claim, rows: rows.into(), claim_first }
}

/// Turns in every live state, deliveries at rest and not, context, a schedule.
fn fill(path: &Path, env: &Env) {
    let at = Now { wall_ms: MADE_MS, mono_ms: 0 };
    let mut core = Core::open(path, env).unwrap();
    let mut run = |command| core.apply(at, vec![command]).pop().unwrap().unwrap();
    load::introduction(env).into_iter().for_each(|told| drop(run(told)));
    // The damaged ones: one that waits with its context, one that is delivered in part.
    run(accept(InboundMessage { wakes: false, ..message("one", "m0") }, None));
    run(accept(message("one", "m1"), None));
    run(accept(message("one", "m2"), None));
    let Answer::Accepted(first) = run(accept(message("half", "m3"), Some(LEASE))) else { panic!() };
    let Answer::Enqueued { first: row, .. } = run(complete(&first.claimed.unwrap(), Some(LEASE)))
    else {
        panic!()
    };
    let outcome = Outcome::Unknown(Fault::new("lost", "it was lost"));
    run(record(row.unwrap().claim, outcome));
    // Others: one answered, one running, two queued, one whose reply waits.
    let mut sure = |command| Ok(run(command));
    whole_turn(&mut sure, "nothing", ("two", "m4"), &mut Vec::new());
    run(accept(message("three", "m5"), Some(LEASE)));
    run(accept(message("four", "m6"), None));
    run(accept(message("five", "m7"), None));
    let Answer::Accepted(last) = run(accept(message("eight", "m8"), Some(LEASE))) else { panic!() };
    run(complete(&last.claimed.unwrap(), None));
    let schedule = NewSchedule {
        name: "daily".to_owned(),
        channel: load::channel(),
        cron: "0 9 * * *".to_owned(),
        zone: "UTC".to_owned(),
        catch_up: CatchUp::Latest,
        message: message("six", "daily"),
    };
    run(Command::Schedule(ScheduleAct::Add(Box::new(schedule))));
}

fn record(claim: lastword::store::DeliveryClaim, outcome: Outcome) -> Command {
    Command::Record(Box::new(RecordOutcome {
        claim,
        outcome,
        ledger: Ledger::default(),
        digest: "d1".to_owned(),
        contradicted: false,
        state: StateWrites::default(),
        next: ClaimNext { delivery: Some(LEASE), turn: None },
    }))
}

/// From the message to the end of its turn. What folds and claims give of others meanwhile is `found`.
fn whole_turn(
    run: &mut impl FnMut(Command) -> Result<Answer, StoreError>,
    damaged: &str,
    (conversation, id): (&str, &str),
    found: &mut Vec<String>,
) {
    let sure = |answer: Result<Answer, StoreError>| {
        answer.unwrap_or_else(|error| {
            panic!("{conversation} stands still for {damaged} of another: {error}")
        })
    };
    let begin = accept(message(conversation, id), Some(LEASE));
    let Answer::Accepted(accepted) = sure(run(begin)) else { panic!("no answer to an accept") };
    let turn = accepted.claimed.expect("a new turn of a free conversation is claimed");
    let Answer::Enqueued { first, .. } = sure(run(complete(&turn, Some(LEASE)))) else {
        panic!("not enqueued")
    };
    let (mut next, mut ended) = (first, false);
    for _ in 0..CLAIMS_MAX {
        let Some(row) = next.take().or_else(|| claim_delivery(run)) else { continue };
        found.push(row.message.place.conversation.clone());
        let receipt = Receipt { platform_id: "p1".to_owned(), ..Receipt::default() };
        let recorded = sure(run(record(row.claim, Outcome::Delivered(receipt))));
        let Answer::Recorded(recorded) = recorded else { panic!("not recorded") };
        ended = recorded.turn_ended.is_some_and(|end| end.turn == turn.claim.turn);
        next = recorded.next.delivery;
        if ended {
            break;
        }
    }
    found.extend(next.map(|row| row.message.place.conversation));
    assert!(ended, "the turn ends with its last part");
}

/// The channel's next one. An error is that of a row that cannot be read.
fn claim_delivery(
    run: &mut impl FnMut(Command) -> Result<Answer, StoreError>,
) -> Option<Box<ClaimedDelivery>> {
    match run(Command::ClaimDelivery { channel: load::channel(), lease: LEASE }) {
        Ok(Answer::ClaimedDelivery(row)) => row,
        Ok(_) | Err(_) => None,
    }
}

/// A conversation that was there before, and a new one.
fn goes_on(core: &mut Core, column: &Column) {
    let Column { table, name, .. } = column;
    let mut run = |command| run(core, command);
    let mut found: Vec<String> = Vec::new();
    for named in [("two", "n1"), ("seven", "n2")] {
        whole_turn(&mut run, &format!("{table}.{name}"), named, &mut found);
    }
    for _ in 0..CLAIMS_MAX {
        if let Ok(Answer::ClaimedTurn(Some(turn))) = run(Command::ClaimTurn { lease: LEASE }) {
            found.push(turn.conversation);
        }
        found.extend(claim_delivery(&mut run).map(|row| row.message.place.conversation));
    }
    for waits in ["four", "five", "eight"] {
        assert!(found.iter().any(|it| it == waits), "{table}.{name} of another hides {waits}");
    }
}

fn columns(db: &Connection) -> Vec<Column> {
    let sql = "SELECT m.name, c.name, c.type FROM sqlite_schema m JOIN pragma_table_info(m.name) c
               WHERE m.type = 'table' AND m.name NOT LIKE 'sqlite_%' ORDER BY 1, c.cid";
    let mut statement = db.prepare(sql).unwrap();
    let read = |row: &rusqlite::Row<'_>| {
        Ok(Column { table: row.get(0)?, name: row.get(1)?, kind: row.get(2)? })
    };
    let all: Vec<Column> = statement.query_map([], read).unwrap().map(Result::unwrap).collect();
    let mut filled = all;
    filled.retain(|column| {
        let sql = format!("SELECT count(*) FROM {}", column.table);
        db.query_row(&sql, [], |row| row.get::<_, i64>(0)).unwrap() > 0
    });
    filled
}

/// What an input came to.
enum Damage {
    /// The table's own rules refused it.
    None,
    OneConversation,
    Shared,
}

fn damage(path: &Path, column: &Column, mode: u8, value: &[u8]) -> Damage {
    let db = Connection::open(path).unwrap();
    let Column { table, name, kind } = column;
    let mut number = [0; 8];
    for (to, from) in number.iter_mut().zip(value) {
        *to = *from;
    }
    let (value, place) = match (kind.as_str(), mode % 4) {
        (_, 3) => (Value::Null, "?1"),
        ("INTEGER", 2) => (Value::Integer(i64::from(number[0].cast_signed())), "?1"),
        ("INTEGER", _) => (Value::Integer(i64::from_le_bytes(number)), "?1"),
        ("BLOB", _) => (Value::Blob(value.to_vec()), "?1"),
        // Also what is no UTF-8.
        _ => (Value::Blob(value.to_vec()), "CAST(?1 AS TEXT)"),
    };
    let own = OF_ONE.iter().find(|(of_one, _)| of_one == table);
    let rows = own.map_or("1", |(_, rows)| *rows);
    let sql = format!("UPDATE {table} SET {name} = {place} WHERE {rows}");
    let done =
        db.pragma_update(None, "foreign_keys", false).and_then(|()| db.execute(&sql, [value]));
    // Rows that went to another conversation are that one's trouble.
    let moved = matches!(
        name.as_str(),
        "conversation_id" | "channel_id" | "id" | "seq" | "turn_id" | "delivery_id" | "call"
    );
    match done {
        Ok(1..) if own.is_some() && !moved => Damage::OneConversation,
        Ok(1..) => Damage::Shared,
        Ok(0) | Err(_) => Damage::None,
    }
}

impl Ids {
    fn commands(&self) -> impl Iterator<Item = Command> + '_ {
        let channel = load::channel;
        let abort = |conversation: &str| AbortScope::Conversation {
            channel: load::channel(),
            conversation: conversation.to_owned(),
            all: true,
        };
        let by = || "fuzz".to_owned();
        let fixed = [
            Command::FallDue { rows_max: ROWS_MAX },
            Command::ClaimTurn { lease: LEASE },
            Command::ClaimTurn { lease: LEASE },
            Command::ClaimDelivery { channel: channel(), lease: LEASE },
            Command::ClaimDelivery { channel: channel(), lease: LEASE },
            Command::Sweep(SweepStep::ReleaseFuture { rows_max: ROWS_MAX }),
            Command::HoldUnderWay { rows_max: ROWS_MAX },
            Command::Schedule(ScheduleAct::Pause { name: "daily".to_owned() }),
            Command::Schedule(ScheduleAct::Resume { name: "daily".to_owned() }),
            accept(message("one", "m1"), Some(LEASE)),
            Command::Abort { scope: abort("one"), by: by() },
        ];
        let rows = self.deliveries.iter().flat_map(move |delivery| {
            let delivery = *delivery;
            let (how, of) = (Resolution::Resend, ReplayOf::Delivery(delivery));
            [
                Command::Sweep(SweepStep::ExpireDelivery { delivery }),
                Command::Resolve { delivery, how, by: by() },
                Command::Replay { of, force: true, by: by() },
            ]
        });
        let turns = self.turns.iter().flat_map(move |turn| {
            let of = ReplayOf::Turn(*turn);
            [
                Command::Sweep(SweepStep::ExpireTurn { turn: *turn }),
                Command::Replay { of, force: true, by: by() },
            ]
        });
        let last = Command::Sweep(SweepStep::Prune { rows_max: ROWS_MAX });
        fixed.into_iter().chain(rows).chain(turns).chain([last])
    }

    fn queries(&self) -> impl Iterator<Item = Query> + '_ {
        let fixed = [
            Query::Turns(all()),
            Query::Outbox(all()),
            Query::Channels,
            Query::Claims { after_turn: 0, after_delivery: 0, rows_max: ROWS_MAX },
            Query::OldTurns { now_ms: AT.wall_ms, rows_max: ROWS_MAX },
            Query::OldDeliveries { now_ms: AT.wall_ms, rows_max: ROWS_MAX },
            Query::NextDelivery { channel: load::channel() },
            Query::NextTurn,
            Query::NextFall,
            Query::Schedules,
            Query::Schedule { name: "daily".to_owned(), payload: true },
            Query::Cursor { channel: load::channel() },
            Query::Summary,
            Query::Gauges,
        ];
        let turns = self.turns.iter().map(|id| Query::Turn { id: *id, payload: true });
        let rows = self.deliveries.iter().map(|id| Query::Delivery { id: *id, payload: true });
        fixed.into_iter().chain(turns).chain(rows)
    }
}
