//! Reading the store: lists of turns and of the outbox, and single rows of both.
//!
//! The store is read directly, whether a host runs or not. Lists are read page by page, so that a
//! hundred thousand rows take no more memory than a few.

use serde::Serialize;

use super::args::{FilterArgs, ListArgs, ShowArgs};
use super::output::{Exit, Failure, Form, Output, time};
use crate::config::{Config, nearest};
use crate::env::Env;
use crate::lifecycle::delivery::DeliveryState;
use crate::lifecycle::id::{DeliveryId, IdError, TurnId};
use crate::lifecycle::message::DeliveryKind;
use crate::lifecycle::turn::TurnState;
use crate::runtime::store_path;
use crate::store::{
    AttemptRow, BulkList, DeliveryDetail, DeliveryRow, ListFilter, Query, ReadOnly, Rows,
    TurnDetail, TurnRow,
};

/// Rows that are held at once.
const PAGE_ROWS: u32 = 500;

/// Opens the store for reading.
pub(super) fn open(config: &Config) -> Result<ReadOnly, Failure> {
    let path = store_path(config);
    if !path.exists() {
        let sentence =
            format!("there is no store at {} yet: `lastword run` makes it", path.display());
        return Err(Failure::new(Exit::Nothing, sentence));
    }
    Ok(ReadOnly::open(&path)?)
}

/// The store answered another question than it was asked.
pub(super) fn unexpected() -> Failure {
    Failure::new(Exit::Failed, "the store gave rows of another kind than were asked for")
}

/// A kind of row that can be listed.
trait Listed: Serialize + Sized {
    const HEAD: &'static [&'static str];
    fn query(filter: ListFilter) -> Query;
    fn rows(rows: Rows) -> Option<Vec<Self>>;
    fn id(&self) -> String;
    fn cells(&self) -> Vec<String>;
}

/// `turns list`.
pub(super) fn turns(
    env: &Env,
    config: &Config,
    args: &ListArgs,
    output: &mut Output<'_>,
) -> Result<(), Failure> {
    check(&args.filter, BulkList::Turns)?;
    if let Some(after) = &args.after {
        turn_id(after).map_err(|failure| Failure::wrong(failure.sentence))?;
    }
    list::<TurnRow>(&open(config)?, env, args, output)
}

/// `outbox list`.
pub(super) fn outbox(
    env: &Env,
    config: &Config,
    args: &ListArgs,
    output: &mut Output<'_>,
) -> Result<(), Failure> {
    check(&args.filter, BulkList::Outbox)?;
    if let Some(after) = &args.after {
        delivery_id(after).map_err(|failure| Failure::wrong(failure.sentence))?;
    }
    list::<DeliveryRow>(&open(config)?, env, args, output)
}

/// The words of a filter, against those that the list has.
pub(super) fn check(filter: &FilterArgs, list: BulkList) -> Result<(), Failure> {
    let states = match list {
        BulkList::Turns => TurnState::ALL.map(TurnState::word).to_vec(),
        BulkList::Outbox => {
            // Open and held unknowns share a word; `held` is a filter of its own.
            let mut states = DeliveryState::ALL.map(DeliveryState::word).to_vec();
            states.dedup();
            states.push("held");
            states
        }
    };
    check_words("state", filter.state.as_deref(), &states)?;
    match list {
        BulkList::Turns if filter.kind.is_some() => {
            Err(Failure::wrong("turns have no kind: leave --kind out, or ask the outbox"))
        }
        BulkList::Turns => Ok(()),
        BulkList::Outbox => {
            let kinds = DeliveryKind::ALL.map(DeliveryKind::word);
            check_words("kind", filter.kind.as_deref(), &kinds)
        }
    }
}

fn check_words(what: &str, words: Option<&str>, right: &[&str]) -> Result<(), Failure> {
    for word in words.into_iter().flat_map(|words| words.split(',')).map(str::trim) {
        if right.contains(&word) {
            continue;
        }
        let meant = nearest(word, right);
        let meant = meant.map(|near| format!(" (did you mean \"{near}\"?)")).unwrap_or_default();
        let right = right.join(", ");
        let sentence = format!("\"{word}\" is no {what}{meant}: --{what} takes of {right}");
        return Err(Failure::wrong(sentence));
    }
    Ok(())
}

/// The filter as the store takes it; ages are judged as of `now_ms`.
pub(super) fn store_filter(args: &FilterArgs, now_ms: i64) -> ListFilter {
    let made = |age: Option<humantime::Duration>| {
        let age_ms = age.map(|age| i64::try_from(age.as_millis()).unwrap_or(i64::MAX));
        age_ms.map(|age_ms| now_ms.saturating_sub(age_ms))
    };
    ListFilter {
        state: args.state.clone(),
        channel: args.channel.clone(),
        conversation: args.conversation.clone(),
        code: args.code.clone(),
        kind: args.kind.clone(),
        made_before_ms: made(args.older_than),
        made_since_ms: made(args.newer_than),
        after: None,
        limit: 0,
    }
}

fn list<T: Listed>(
    store: &ReadOnly,
    env: &Env,
    args: &ListArgs,
    output: &mut Output<'_>,
) -> Result<(), Failure> {
    let mut filter = store_filter(&args.filter, env.now().wall_ms);
    filter.after.clone_from(&args.after);
    let mut left = args.limit;
    while left > 0 {
        filter.limit = left.min(PAGE_ROWS);
        let rows = T::rows(store.read(&T::query(filter.clone()))?).ok_or_else(unexpected)?;
        let Some(last) = rows.last() else { break };
        filter.after = Some(last.id());
        let count = u32::try_from(rows.len()).unwrap_or(u32::MAX);
        left = left.saturating_sub(count);
        match output.form {
            Form::Json => rows.iter().try_for_each(|row| output.json(row))?,
            Form::Human => output.table(T::HEAD, rows.iter().map(Listed::cells).collect())?,
        }
        // A short page is the last one.
        if count < filter.limit {
            break;
        }
    }
    Ok(())
}

/// `turns show`.
pub(super) fn turn(
    config: &Config,
    args: &ShowArgs,
    output: &mut Output<'_>,
) -> Result<(), Failure> {
    let id = turn_id(&args.id)?;
    let query = Query::Turn { id, payload: args.payload };
    match open(config)?.read(&query)? {
        Rows::Turn(Some(turn)) => show_turn(&turn, output),
        Rows::Turn(None) => Err(Failure::new(Exit::Nothing, format!("there is no turn {id}"))),
        _ => Err(unexpected()),
    }
}

/// `outbox show`.
pub(super) fn delivery(
    config: &Config,
    args: &ShowArgs,
    output: &mut Output<'_>,
) -> Result<(), Failure> {
    let id = delivery_id(&args.id)?;
    let query = Query::Delivery { id, payload: args.payload };
    match open(config)?.read(&query)? {
        Rows::Delivery(Some(delivery)) => show_delivery(&delivery, output),
        Rows::Delivery(None) => {
            Err(Failure::new(Exit::Nothing, format!("there is no delivery {id}")))
        }
        _ => Err(unexpected()),
    }
}

/// What is no id names nothing: exit code 3, as for one that is gone.
pub(super) fn turn_id(text: &str) -> Result<TurnId, Failure> {
    text.parse().map_err(|error: IdError| Failure::new(Exit::Nothing, error.to_string()))
}

pub(super) fn delivery_id(text: &str) -> Result<DeliveryId, Failure> {
    text.parse().map_err(|error: IdError| Failure::new(Exit::Nothing, error.to_string()))
}

fn show_turn(turn: &TurnDetail, output: &mut Output<'_>) -> Result<(), Failure> {
    if output.form == Form::Json {
        return output.json(turn);
    }
    let row = &turn.row;
    output.facts(&[
        ("turn", Some(row.id.to_string())),
        ("channel", Some(row.channel.clone())),
        ("conversation", Some(row.conversation.clone())),
        ("external id", row.external_id.clone()),
        ("state", Some(row.state.clone())),
        ("attempts", Some(row.attempts.to_string())),
        ("host losses", Some(turn.host_losses).filter(|count| *count > 0).map(|n| n.to_string())),
        ("accepted", Some(time(row.accepted_at_ms))),
        ("due", turn.due_at_ms.map(time)),
        ("ended", row.ended_at_ms.map(time)),
        ("ended by", turn.ended_by.clone()),
        ("code", row.code.clone()),
        ("reason", row.reason.clone()),
        ("replay of", turn.replay_of.clone()),
        ("message", turn.message.as_ref().map(ToString::to_string)),
    ])?;
    if turn.deliveries.is_empty() {
        return Ok(());
    }
    output.line("")?;
    output.table(DeliveryRow::HEAD, turn.deliveries.iter().map(Listed::cells).collect())
}

fn show_delivery(delivery: &DeliveryDetail, output: &mut Output<'_>) -> Result<(), Failure> {
    if output.form == Form::Json {
        return output.json(delivery);
    }
    let row = &delivery.row;
    let doubted = delivery.maybe_sent.then(|| "may have been sent".to_owned());
    output.facts(&[
        ("delivery", Some(row.id.to_string())),
        ("turn", row.turn_id.map(|id| id.to_string())),
        ("about turn", delivery.about_turn.clone()),
        ("channel", Some(row.channel.clone())),
        ("conversation", Some(row.conversation.clone())),
        ("kind", Some(kind_and_part(row))),
        ("state", Some(state_word(row))),
        ("doubt", doubted),
        ("double", delivery.possible_double.then(|| "possibly shown twice".to_owned())),
        ("attempts", Some(row.attempts.to_string())),
        ("asked", Some(delivery.asked).filter(|count| *count > 0).map(|n| n.to_string())),
        ("next attempt", row.next_attempt_at_ms.map(time)),
        ("platform id", row.platform_id.clone()),
        ("code", row.code.clone()),
        ("reason", row.reason.clone()),
        ("made", Some(time(delivery.created_at_ms))),
        ("replay of", delivery.replay_of.clone()),
        ("resolved by", delivery.resolved_by.clone()),
        ("body", delivery.body.as_ref().map(ToString::to_string)),
    ])?;
    for receipt in &delivery.late_receipts {
        output.facts(&[("late receipt", Some(receipt.to_string()))])?;
    }
    if delivery.history.is_empty() {
        return Ok(());
    }
    output.line("")?;
    let head = ["call", "started", "ended", "outcome", "code", "reason"];
    output.table(&head, delivery.history.iter().map(attempt_cells).collect())
}

fn attempt_cells(attempt: &AttemptRow) -> Vec<String> {
    vec![
        attempt.call.to_string(),
        time(attempt.started_at_ms),
        attempt.ended_at_ms.map(time).unwrap_or_default(),
        attempt.outcome.clone().unwrap_or_default(),
        attempt.code.clone().unwrap_or_default(),
        attempt.reason.clone().unwrap_or_default(),
    ]
}

fn state_word(row: &DeliveryRow) -> String {
    if row.held { format!("{} (held)", row.state) } else { row.state.clone() }
}

fn kind_and_part(row: &DeliveryRow) -> String {
    format!("{} {}/{}", row.kind.word(), row.part, row.parts)
}

impl Listed for TurnRow {
    const HEAD: &'static [&'static str] =
        &["turn", "accepted", "state", "tries", "channel", "conversation", "code"];

    fn query(filter: ListFilter) -> Query {
        Query::Turns(filter)
    }

    fn rows(rows: Rows) -> Option<Vec<Self>> {
        if let Rows::Turns(rows) = rows { Some(rows) } else { None }
    }

    fn id(&self) -> String {
        self.id.to_string()
    }

    fn cells(&self) -> Vec<String> {
        vec![
            self.id.to_string(),
            time(self.accepted_at_ms),
            self.state.clone(),
            self.attempts.to_string(),
            self.channel.clone(),
            self.conversation.clone(),
            self.code.clone().unwrap_or_default(),
        ]
    }
}

impl Listed for DeliveryRow {
    const HEAD: &'static [&'static str] =
        &["delivery", "kind", "state", "attempts", "next", "channel", "conversation", "code"];

    fn query(filter: ListFilter) -> Query {
        Query::Outbox(filter)
    }

    fn rows(rows: Rows) -> Option<Vec<Self>> {
        if let Rows::Deliveries(rows) = rows { Some(rows) } else { None }
    }

    fn id(&self) -> String {
        self.id.to_string()
    }

    fn cells(&self) -> Vec<String> {
        vec![
            self.id.to_string(),
            kind_and_part(self),
            state_word(self),
            self.attempts.to_string(),
            self.next_attempt_at_ms.map(time).unwrap_or_default(),
            self.channel.clone(),
            self.conversation.clone(),
            self.code.clone().unwrap_or_default(),
        ]
    }
}
