//! Polling: `getUpdates`. The cursor is the last update that was taken; asking for what comes behind
//! it is what tells Telegram that it was.

use lastword_sdk::prelude::*;

use crate::api::{self, Answer, Problem};
use crate::events::Reader;
use crate::update::{self, Update};
use crate::{callback, registration};

/// What Telegram gives and waits at most.
const UPDATES_MAX: u32 = 100;
const WAIT_S_MAX: u32 = 50;

/// How much longer than its waiting a call may take.
const SLACK_MS: u32 = 10_000;

/// Before all updates there are.
const BEGINNING: i64 = 0;

pub(crate) fn next(cursor: Option<String>, wait_ms: u32, most: u32) -> Result<Batch, PollError> {
    let reader = Reader::load()?;
    let after = match cursor {
        None => return begin(),
        // A cursor of another kind is left by a channel that was pushed to: nothing was polled.
        Some(text) => text.parse().unwrap_or(BEGINNING),
    };
    let limit = most.clamp(1, UPDATES_MAX);
    let updates = match fetch(after, limit, wait_ms) {
        // One at a time, where what stands in them is over the host's limit.
        Err(Failure::TooLarge) => fetch(after, 1, wait_ms),
        other => other,
    };
    let updates = updates.map_err(PollError::from)?;
    let more = u32::try_from(updates.len()).is_ok_and(|count| count == limit);
    Ok(take(&reader, updates, after, most, more))
}

/// With no cursor: from now on. The newest update is asked for, and only its number is kept.
fn begin() -> Result<Batch, PollError> {
    let newest = fetch(-2, 1, 0).map_err(PollError::from)?;
    let cursor = newest.iter().filter_map(update::id).max().unwrap_or(BEGINNING);
    Ok(Batch { events: Vec::new(), cursor: cursor.to_string(), more: false })
}

fn take(reader: &Reader, updates: Vec<Value>, after: i64, most: u32, more: bool) -> Batch {
    let most = usize::try_from(most).unwrap_or(usize::MAX);
    let mut batch = Batch { events: Vec::new(), cursor: after.to_string(), more };
    let mut pressed = Vec::new();
    for value in updates {
        let Some(id) = update::id(&value) else { continue };
        let Some(update) = Update::read(value) else {
            batch.cursor = id.to_string();
            continue;
        };
        let query = update.callback_query.as_ref().map(|query| query.id.clone());
        let events = reader.read(update);
        if !batch.events.is_empty() && batch.events.len() + events.len() > most {
            batch.more = true;
            break;
        }
        batch.events.extend(events);
        batch.cursor = id.to_string();
        pressed.extend(query);
    }
    callback::answer_all(&pressed);
    batch
}

enum Failure {
    TooLarge,
    Call(CallError),
    Conflict(Fault),
}

impl From<Failure> for PollError {
    fn from(failure: Failure) -> PollError {
        match failure {
            Failure::TooLarge => PollError::Failed(CallError::Refused(Fault::new(
                "too-large",
                "one update alone is over the host's limit of an answer; raise `body`",
            ))),
            Failure::Call(error) => PollError::Failed(error),
            Failure::Conflict(fault) => PollError::Conflict(fault),
        }
    }
}

fn fetch(after: i64, limit: u32, wait_ms: u32) -> Result<Vec<Value>, Failure> {
    match ask(after, limit, wait_ms)? {
        Answer::Result(updates) => Ok(updates),
        Answer::Refused(problem) if problem.says(&["webhook is active"]) => {
            log::warn("a webhook was registered for this bot; it is withdrawn", &[]);
            registration::withdraw().map_err(Failure::Call)?;
            match ask(after, limit, wait_ms)? {
                Answer::Result(updates) => Ok(updates),
                Answer::Refused(problem) => Err(refused(problem)),
            }
        }
        Answer::Refused(problem) => Err(refused(problem)),
    }
}

fn refused(problem: Problem) -> Failure {
    match problem.code {
        409 => Failure::Conflict(problem.fault),
        _ => Failure::Call(api::refused(problem)),
    }
}

fn ask(after: i64, limit: u32, wait_ms: u32) -> Result<Answer<Vec<Value>>, Failure> {
    let body = json!({
        "offset": after.saturating_add(1),
        "limit": limit,
        "timeout": (wait_ms / 1000).min(WAIT_S_MAX),
        "allowed_updates": update::KINDS,
    });
    let request = http::post(api::TARGET)
        .path(["getUpdates"])
        .json(&body)
        .timeout_ms(wait_ms.saturating_add(SLACK_MS));
    let answer = match request.send() {
        Err(http::Error::AnswerTooLarge(_)) if limit > 1 => return Err(Failure::TooLarge),
        other => other.map_err(|error| Failure::Call(error.into()))?,
    };
    api::read(&answer).map_err(|error| Failure::Call(error.into()))
}
