//! Rooms in which more was said than one `/sync` tells. They are read through `/messages`, from
//! where the sync before began to where it ended, over as many polls as it takes.
//!
//! The list stands in the adapter's state, since it may outgrow a cursor. The cursor says that
//! there is one, and where it began: where the list is lost, the sync is made again from there.
//! What then comes twice, the host knows.

use lastword_sdk::prelude::*;
use serde::{Deserialize, Serialize};

use crate::api::{self, Messages};
use crate::events::{KINDS, Reader};
use crate::sync::Cursor;

const KEY: &str = "backlog";

/// Requests of one poll: what is left of the list waits for the next one.
const REQUESTS_MAX: usize = 20;

/// Events of one request, and what is asked for where an answer is over the host's limit.
const LIMITS: [u32; 3] = [100, 10, 1];

#[derive(Serialize, Deserialize)]
pub(crate) struct Backlog {
    /// Where the sync began and ended.
    pub(crate) since: String,
    pub(crate) next: String,
    pub(crate) rooms: Vec<Room>,
}

#[derive(Serialize, Deserialize)]
pub(crate) struct Room {
    pub(crate) id: String,
    /// Where reading goes on. None: at `since`.
    pub(crate) from: Option<String>,
}

impl Backlog {
    /// The list that a cursor speaks of, where it is still there.
    pub(crate) fn load(since: &str, next: &str) -> Result<Option<Backlog>, CallError> {
        let backlog: Option<Backlog> = state::get_json(KEY)?;
        Ok(backlog.filter(|backlog| backlog.since == since && backlog.next == next))
    }

    /// Reads up to `most` events, and remembers what is left.
    pub(crate) fn read(mut self, reader: &Reader, most: usize) -> Result<Batch, PollError> {
        let mut events = Vec::new();
        for _ in 0..REQUESTS_MAX {
            if events.len() >= most {
                break;
            }
            match self.page(reader, most - events.len()) {
                Ok(Some(page)) => events.extend(page),
                Ok(None) => break,
                // What was read so far is kept: the next poll meets the trouble again.
                Err(_) if !events.is_empty() => break,
                Err(error) => return Err(error.into()),
            }
        }
        let cursor = if self.rooms.is_empty() {
            state::delete(KEY)?;
            Cursor::At(self.next)
        } else {
            self.store()?;
            Cursor::Behind { since: self.since, next: self.next }
        };
        Ok(Batch { events, cursor: cursor.to_text(), more: true })
    }

    pub(crate) fn store(&self) -> Result<(), CallError> {
        Ok(state::set_json(KEY, self)?)
    }

    /// Reads on in the first room. None where there is no room left.
    fn page(
        &mut self,
        reader: &Reader,
        most: usize,
    ) -> Result<Option<Vec<InboundEvent>>, CallError> {
        let Some(room) = self.rooms.first_mut() else { return Ok(None) };
        let from = room.from.as_deref().unwrap_or(&self.since);
        let page = match messages(&room.id, from, &self.next, most) {
            Ok(page) => page,
            Err(CallError::Refused(fault)) => {
                // We were put out of it: nobody waits for an answer there.
                let fields = [("room", room.id.as_str()), ("code", fault.code.as_str())];
                log::warn("what was said in a room cannot be read", &fields);
                self.rooms.remove(0);
                return Ok(Some(Vec::new()));
            }
            Err(error) => return Err(error),
        };
        let events = reader.read(&room.id, page.chunk);
        match page.end {
            Some(end) if end != from => room.from = Some(end),
            Some(_) | None => {
                self.rooms.remove(0);
            }
        }
        Ok(Some(events))
    }
}

fn messages(room: &str, from: &str, to: &str, most: usize) -> Result<Messages, CallError> {
    let filter = json!({ "types": KINDS }).to_string();
    let most = u32::try_from(most).unwrap_or(u32::MAX);
    let mut too_large = None;
    for limit in LIMITS {
        let answer = http::get(api::TARGET)
            .path(api::path(["rooms", room, "messages"]))
            .query("dir", "f")
            .query("from", from)
            .query("to", to)
            .query("limit", limit.min(most).to_string())
            .query("filter", &filter)
            .send();
        match answer {
            Err(error @ http::Error::AnswerTooLarge(_)) => too_large = Some(error),
            other => return Ok(api::for_call(other?)?.json()?),
        }
    }
    Err(too_large.map_or(CallError::Unsupported, CallError::from))
}
