//! Polling: one `/sync` per call, or a piece of the backlog that an earlier one left.

use lastword_sdk::prelude::*;
use serde::{Deserialize, Serialize};

use crate::api::{self, Problem, Sync};
use crate::backlog::{Backlog, Room};
use crate::events::{KINDS, Reader};
use crate::members::Members;
use crate::receipts::{self, Newest};
use crate::{identity, invites};

/// Events of a room in one sync, and what is asked for where the answer is over the host's limit.
/// A room in which more was said goes to the backlog.
const LIMITS: [u32; 2] = [50, 1];

/// How much longer than its waiting a sync may take.
const SLACK_MS: u32 = 10_000;

/// Where polling goes on.
pub(crate) enum Cursor {
    /// Behind this sync.
    At(String),
    /// In the backlog of the sync from `since` to `next`.
    Behind { since: String, next: String },
}

#[derive(Serialize, Deserialize)]
struct BehindText {
    since: String,
    next: String,
}

impl Cursor {
    pub(crate) fn to_text(&self) -> String {
        match self {
            Cursor::At(token) => token.clone(),
            Cursor::Behind { since, next } => json!({ "since": since, "next": next }).to_string(),
        }
    }

    fn from_text(text: String) -> Cursor {
        match serde_json::from_str(&text) {
            Ok(BehindText { since, next }) => Cursor::Behind { since, next },
            Err(_) => Cursor::At(text),
        }
    }
}

pub(crate) fn next(cursor: Option<String>, wait_ms: u32, most: u32) -> Result<Batch, PollError> {
    let me = identity::user_id()?;
    let members = Members::load()?;
    let most = usize::try_from(most).unwrap_or(usize::MAX);
    let since = match cursor.map(Cursor::from_text) {
        None => return begin(members),
        Some(Cursor::Behind { since, next }) => match Backlog::load(&since, &next)? {
            Some(backlog) => return backlog.read(&Reader::new(me, members)?, most),
            None => since,
        },
        Some(Cursor::At(token)) => token,
    };
    let sync = fetch(Some(&since), wait_ms)?;
    let reader = Reader::new(me, members.learn(&sync.rooms)?)?;
    take(sync, since, &reader, most)
}

/// With no cursor: from now on. Nothing that was said before is read, invitations are.
fn begin(members: Members) -> Result<Batch, PollError> {
    let sync = fetch(None, 0)?;
    members.learn(&sync.rooms)?;
    invites::follow(sync.rooms.invite.into_keys())?;
    Ok(Batch { events: Vec::new(), cursor: sync.next_batch, more: false })
}

fn take(sync: Sync, since: String, reader: &Reader, most: usize) -> Result<Batch, PollError> {
    let mut events = Vec::new();
    // What was said between an invitation and our joining, mostly to us, stands in no timeline.
    let mut behind: Vec<Room> = invites::follow(sync.rooms.invite.into_keys())?
        .into_iter()
        .map(|id| Room { id, from: None })
        .collect();
    let mut newest = Newest::load()?;
    for (room, joined) in sync.rooms.join {
        events.extend(newest.take(reader.me(), &room, &joined));
        let timeline = joined.timeline;
        if room.len() > api::ID_BYTES_MAX || (timeline.events.is_empty() && !timeline.limited) {
            continue;
        }
        if timeline.limited || events.len() + timeline.events.len() > most {
            behind.push(Room { id: room, from: None });
            continue;
        }
        events.extend(reader.read(&room, timeline.events));
    }
    newest.store()?;
    let next = sync.next_batch;
    if behind.is_empty() {
        return Ok(Batch { events, cursor: next, more: false });
    }
    let backlog = Backlog { since: since.clone(), next: next.clone(), rooms: behind };
    backlog.store()?;
    Ok(Batch { events, cursor: Cursor::Behind { since, next }.to_text(), more: true })
}

fn fetch(since: Option<&str>, wait_ms: u32) -> Result<Sync, PollError> {
    let mut too_large = None;
    for limit in LIMITS {
        let mut request = http::get(api::TARGET)
            .path(api::path(["sync"]))
            .query("filter", filter(since, limit)?)
            .query("timeout", wait_ms.to_string())
            .query("set_presence", "offline")
            .timeout_ms(wait_ms.saturating_add(SLACK_MS));
        if let Some(since) = since {
            request = request.query("since", since);
        }
        let answer = match request.send() {
            Err(error @ http::Error::AnswerTooLarge(_)) => {
                too_large = Some(error);
                continue;
            }
            other => other.map_err(CallError::from)?,
        };
        if answer.status == 400 && since.is_some() {
            let problem = Problem::of(&answer);
            const LOST: [&str; 3] = ["M_UNKNOWN_POS", "M_INVALID_PARAM", "M_UNKNOWN"];
            if LOST.contains(&problem.code.as_str()) {
                return Err(PollError::CursorLost(problem.fault));
            }
        }
        let sync = api::for_call(answer)?.json::<Sync>();
        return sync.map_err(|error| CallError::from(error).into());
    }
    Err(too_large.map_or(CallError::Unsupported, CallError::from).into())
}

/// Only what is read is asked for. Members are loaded lazily, since their counts come with that.
fn filter(since: Option<&str>, limit: u32) -> Result<String, CallError> {
    let none = json!({ "types": [] });
    let timeline = match since {
        Some(_) => json!({ "limit": limit, "types": KINDS }),
        None => json!({ "limit": 1, "types": [] }),
    };
    let filter = json!({
        "presence": none,
        "account_data": none,
        "room": {
            "timeline": timeline,
            "state": { "types": [], "lazy_load_members": true },
            "ephemeral": { "types": receipts::kinds()? },
            "account_data": none,
        },
    });
    Ok(filter.to_string())
}
