//! What people have read, where the operator asks for it. A receipt names the newest event that
//! somebody saw: only one that names our newest message of the room says something clean.

use std::collections::BTreeMap;

use lastword_sdk::message::{Fate, LateReceipt, SentMessage};
use lastword_sdk::prelude::*;

use crate::api::{self, Event, JoinedRoom};

const KEY: &str = "newest";

/// Rooms whose newest message of ours is remembered.
const ROOMS_MAX: usize = 500;

/// What is asked of `/sync`.
pub(crate) fn kinds() -> Result<&'static [&'static str], CallError> {
    Ok(if is_on()? { &["m.receipt"] } else { &[] })
}

fn is_on() -> Result<bool, CallError> {
    Ok(settings::get_or("read_receipts", false)?)
}

/// Our newest messages, by room.
pub(crate) struct Newest {
    rooms: BTreeMap<String, String>,
    is_on: bool,
    is_changed: bool,
}

impl Newest {
    pub(crate) fn load() -> Result<Newest, CallError> {
        let is_on = is_on()?;
        let rooms = if is_on { state::get_json(KEY)?.unwrap_or_default() } else { BTreeMap::new() };
        Ok(Newest { rooms, is_on, is_changed: false })
    }

    /// Learns what we said in a room, and gives what was read of it.
    pub(crate) fn take(&mut self, me: &str, room: &str, joined: &JoinedRoom) -> Vec<InboundEvent> {
        if !self.is_on {
            return Vec::new();
        }
        let ours = joined.timeline.events.iter().rev().find_map(|value| {
            let event: Event = serde_json::from_value(value.clone()).ok()?;
            let is_ours = event.sender == me && event.content.get(api::DELIVERY_FIELD).is_some();
            is_ours.then_some(event.event_id)
        });
        if let Some(ours) = ours
            && (self.rooms.len() < ROOMS_MAX || self.rooms.contains_key(room))
        {
            self.is_changed |= self.rooms.insert(room.to_owned(), ours.clone()) != Some(ours);
        }
        let Some(newest) = self.rooms.get(room) else { return Vec::new() };
        let of_newest = |event: &Value| readers(event, newest);
        let read = joined.ephemeral.events.iter().flat_map(of_newest).find(|(who, _)| who != me);
        let receipt = |(_, at_ms)| LateReceipt {
            conversation: Some(room.to_owned()),
            about: SentMessage::PlatformId(newest.clone()),
            fate: Fate::Read,
            at_ms,
        };
        read.map(receipt).map(InboundEvent::Receipt).into_iter().collect()
    }

    pub(crate) fn store(&self) -> Result<(), CallError> {
        if self.is_changed {
            state::set_json(KEY, &self.rooms)?;
        }
        Ok(())
    }
}

/// Who has read an event, by one `m.receipt`, and when.
fn readers(receipt: &Value, event: &str) -> Vec<(String, Option<u64>)> {
    let readers = receipt["content"][event]["m.read"].as_object();
    let reader = |(who, when): (&String, &Value)| (who.clone(), when["ts"].as_u64());
    readers.into_iter().flatten().map(reader).collect()
}
