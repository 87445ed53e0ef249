//! Reading the store: lists of turns and of the outbox.
//!
//! The store is read directly, whether a host runs or not. Lists are read page by page, so that a
//! hundred thousand rows take no more memory than a few.

use serde::Serialize;

use super::args::{FilterArgs, ListArgs};
use super::output::{Exit, Failure, Form, Output, time};
use crate::config::{Config, nearest};
use crate::env::Env;
use crate::lifecycle::delivery::DeliveryState;
use crate::lifecycle::id::{ChannelName, DeliveryId, IdError, TurnId};
use crate::lifecycle::message::DeliveryKind;
use crate::lifecycle::turn::TurnState;
use crate::runtime::store_path;
use crate::store::{BulkList, DeliveryRow, ListFilter, Query, ReadOnly, Rows, TurnRow};

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
pub(super) trait Listed: Serialize + Sized {
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
    let store = open(config)?;
    known_channel(config, &store, &args.filter)?;
    list::<TurnRow>(&store, env, args, output)
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
    let store = open(config)?;
    known_channel(config, &store, &args.filter)?;
    list::<DeliveryRow>(&store, env, args, output)
}

/// A channel that is asked for is one of the config, or one whose rows are still in the store.
fn known_channel(config: &Config, store: &ReadOnly, filter: &FilterArgs) -> Result<(), Failure> {
    let Some(name) = &filter.channel else { return Ok(()) };
    if config.channels.contains_key(&ChannelName(name.clone())) {
        return Ok(());
    }
    let Rows::Channels(rows) = store.read(&Query::Channels)? else { return Err(unexpected()) };
    if rows.iter().any(|row| row.name == *name) {
        return Ok(());
    }
    let sentence =
        format!("there is no channel \"{name}\": `lastword channels list` shows those there are");
    Err(Failure::new(Exit::Nothing, sentence))
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
        newest_first: false,
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
    filter.newest_first = args.newest;
    let mut left = args.limit;
    let mut over = false;
    while left > 0 {
        filter.limit = left.min(PAGE_ROWS);
        let rows = T::rows(store.read(&T::query(filter.clone()))?).ok_or_else(unexpected)?;
        let Some(last) = rows.last() else {
            over = true;
            break;
        };
        filter.after = Some(last.id());
        let count = u32::try_from(rows.len()).unwrap_or(u32::MAX);
        left = left.saturating_sub(count);
        match output.form {
            Form::Json => rows.iter().try_for_each(|row| output.json(row))?,
            Form::Human => output.table(T::HEAD, rows.iter().map(Listed::cells).collect())?,
        }
        // A short page is the last one.
        if count < filter.limit {
            over = true;
            break;
        }
    }
    if output.form == Form::Json {
        return Ok(());
    }
    let shown = args.limit - left;
    if shown == 0 {
        output.aside("no rows");
        return Ok(());
    }
    filter.limit = 1;
    let last = filter.after.clone().unwrap_or_default();
    if over || T::rows(store.read(&T::query(filter))?).ok_or_else(unexpected)?.is_empty() {
        return Ok(());
    }
    output.line(&format!("{shown} shown, more: --after {last}"))
}

/// What is no id names nothing: exit code 3, as for one that is gone.
pub(super) fn turn_id(text: &str) -> Result<TurnId, Failure> {
    text.parse().map_err(|error: IdError| Failure::new(Exit::Nothing, error.to_string()))
}

pub(super) fn delivery_id(text: &str) -> Result<DeliveryId, Failure> {
    text.parse().map_err(|error: IdError| Failure::new(Exit::Nothing, error.to_string()))
}

pub(super) fn state_word(row: &DeliveryRow) -> String {
    if row.held { format!("{} (held)", row.state) } else { row.state.clone() }
}

pub(super) fn kind_and_part(row: &DeliveryRow) -> String {
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
