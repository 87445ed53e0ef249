//! Invitations. `/sync` tells of each one once: those that cannot be followed at once are
//! remembered and tried again, a number of times.

use lastword_sdk::prelude::*;
use serde::{Deserialize, Serialize};

use crate::api;

const KEY: &str = "invites";

/// Joins per poll: each is a request, and some wait for other servers.
const JOINS_PER_POLL_MAX: usize = 2;

/// Tries of one invitation. One is made per poll, about every half minute.
const TRIES_MAX: u32 = 20;

/// Invitations that wait. What comes beyond them is left to the next invitation.
const WAITING_MAX: usize = 200;

/// Short, because a poll has a deadline: a join that takes longer goes on at the homeserver, and
/// the next try finds it done.
const JOIN_TIMEOUT_MS: u32 = 8_000;

#[derive(Serialize, Deserialize, PartialEq, Clone)]
struct Invite {
    room: String,
    tries: u32,
}

/// Remembers invitations and follows some of those that wait. Gives the rooms that were joined. A
/// join that fails does not fail the poll: messages matter more.
pub(crate) fn follow(rooms: impl Iterator<Item = String>) -> Result<Vec<String>, CallError> {
    let joins = settings::get_or("join_invites", false)?;
    let before: Vec<Invite> = state::get_json(KEY)?.unwrap_or_default();
    if !joins {
        if !before.is_empty() {
            state::delete(KEY)?;
        }
        return Ok(Vec::new());
    }
    let mut waiting = before.clone();
    for room in rooms {
        waiting.retain(|invite| invite.room != room);
        waiting.push(Invite { room, tries: 0 });
    }
    waiting.truncate(WAITING_MAX);
    let later = waiting.split_off(waiting.len().min(JOINS_PER_POLL_MAX));
    let mut joined = Vec::new();
    let mut again = Vec::new();
    for invite in waiting {
        match attempt(invite) {
            Attempt::Joined(room) => joined.push(room),
            Attempt::Again(invite) => again.push(invite),
            Attempt::GivenUp => {}
        }
    }
    // Those that were just tried go to the end, so that the others have their turn.
    let after: Vec<Invite> = later.into_iter().chain(again).collect();
    if after != before {
        state::set_json(KEY, &after)?;
    }
    Ok(joined)
}

enum Attempt {
    Joined(String),
    Again(Invite),
    GivenUp,
}

fn attempt(invite: Invite) -> Attempt {
    let path = api::path(["rooms", &invite.room, "join"]);
    let request = http::post(api::TARGET).path(path).json(&json!({})).timeout_ms(JOIN_TIMEOUT_MS);
    let outcome = request.send().map_err(CallError::from).and_then(api::for_call);
    let fault = match outcome {
        Ok(_) => {
            log::info("joined a room on invitation", &[("room", &invite.room)]);
            return Attempt::Joined(invite.room);
        }
        Err(CallError::Refused(fault)) => {
            let room = invite.room.as_str();
            log::warn("an invitation was not followed", &[("room", room), ("code", &fault.code)]);
            return Attempt::GivenUp;
        }
        Err(CallError::Transient(fault) | CallError::Unauthorized(fault)) => fault,
        Err(CallError::RateLimited(_) | CallError::Unsupported) => Fault::new("rate-limited", ""),
    };
    let tries = invite.tries + 1;
    let fields = [("room", invite.room.as_str()), ("code", fault.code.as_str())];
    if tries < TRIES_MAX {
        log::info("an invitation is tried again later", &fields);
        Attempt::Again(Invite { tries, ..invite })
    } else {
        log::warn("an invitation was given up; invite again", &fields);
        Attempt::GivenUp
    }
}
