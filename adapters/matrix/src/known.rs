//! Whose an event is, and of which kind: what an edit, a reply or a redaction points to. Asked of the
//! homeserver where no event of this poll tells.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

use lastword_sdk::prelude::*;
use serde::Deserialize;

use crate::api;

/// Requests of one poll. What is beyond them is unclear.
const LOOKUPS_MAX: u32 = 20;

/// Short, because a poll has a deadline.
const LOOKUP_TIMEOUT_MS: u32 = 3_000;

/// What stays of an event, also where it was redacted.
#[derive(Deserialize, Clone, PartialEq, Eq)]
pub(crate) struct Origin {
    #[serde(rename = "type")]
    pub(crate) kind: String,
    pub(crate) sender: String,
}

/// What is known of an event.
pub(crate) enum Fact {
    Known(Origin),
    /// There is none that we may see.
    Hidden,
    /// Nobody could be asked.
    Unclear,
}

#[derive(Default)]
pub(crate) struct KnownEvents {
    origins: RefCell<BTreeMap<String, Option<Origin>>>,
    lookups: Cell<u32>,
}

impl KnownEvents {
    /// Takes in what a timeline holds.
    pub(crate) fn learn(&self, events: &[api::Event]) {
        let mut origins = self.origins.borrow_mut();
        for event in events {
            let origin = Origin { kind: event.kind.clone(), sender: event.sender.clone() };
            origins.insert(event.event_id.clone(), Some(origin));
        }
    }

    /// What is known of an event of a room.
    pub(crate) fn find(&self, room: &str, event: &str) -> Fact {
        if let Some(known) = self.origins.borrow().get(event) {
            return known.clone().map_or(Fact::Hidden, Fact::Known);
        }
        if self.lookups.get() == LOOKUPS_MAX {
            return Fact::Unclear;
        }
        self.lookups.set(self.lookups.get() + 1);
        let Ok(answer) = ask(room, event) else {
            log::warn("an event of a room could not be looked up", &[("room", room)]);
            return Fact::Unclear;
        };
        self.origins.borrow_mut().insert(event.to_owned(), answer.clone());
        answer.map_or(Fact::Hidden, Fact::Known)
    }
}

fn ask(room: &str, event: &str) -> Result<Option<Origin>, CallError> {
    let path = api::path(["rooms", room, "event", event]);
    let answer = http::get(api::TARGET).path(path).timeout_ms(LOOKUP_TIMEOUT_MS).send()?;
    if matches!(answer.status, 403 | 404) {
        return Ok(None);
    }
    Ok(Some(api::for_call(answer)?.json()?))
}
