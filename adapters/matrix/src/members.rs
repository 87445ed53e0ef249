//! How many are in a room, which tells a conversation of two from a group. `/sync` tells it once
//! and at each change, so that it is remembered.

use std::collections::BTreeMap;

use lastword_sdk::prelude::*;

use crate::api::Rooms;

const KEY: &str = "members";

/// Rooms that are remembered. Of the others the audience is unknown.
const ROOMS_MAX: usize = 2_000;

/// The counts, read from the state once per call.
pub(crate) struct Members(BTreeMap<String, u32>);

impl Members {
    pub(crate) fn load() -> Result<Members, CallError> {
        Ok(Members(state::get_json(KEY)?.unwrap_or_default()))
    }

    /// Who hears what is said in a room.
    pub(crate) fn audience(&self, room: &str) -> Audience {
        match self.0.get(room) {
            None => Audience::Unknown,
            Some(0..=2) => Audience::Direct,
            Some(3..) => Audience::Group,
        }
    }

    /// Remembers what a sync tells.
    pub(crate) fn learn(mut self, rooms: &Rooms) -> Result<Members, CallError> {
        let mut changed = false;
        for (room, joined) in &rooms.join {
            let Some(count) = joined.summary.joined else { continue };
            if self.0.len() < ROOMS_MAX || self.0.contains_key(room) {
                changed |= self.0.insert(room.clone(), count) != Some(count);
            }
        }
        if changed {
            state::set_json(KEY, &self.0)?;
        }
        Ok(self)
    }
}
