//! Looking for a message of unknown outcome in the room itself. Each message of ours carries its
//! delivery id, so that what is found is certain; and what a homeserver has taken is in the room at
//! once, so that what is not there, back to before the first attempt, is absent.

use lastword_sdk::prelude::*;

use crate::api::{self, Messages};
use crate::identity;

/// How far the homeserver's clock may be from ours.
const CLOCKS_APART_MS: u64 = 60 * 60 * 1000;

const PAGES_MAX: u32 = 10;
const PAGE: &str = "100";

pub(crate) fn find(message: &OutboundMessage, since_ms: u64) -> Result<Lookup, CallError> {
    let me = identity::user_id()?;
    let filter = json!({ "types": ["m.room.message"], "senders": [&me] }).to_string();
    let room = message.place.conversation.as_str();
    let mut from: Option<String> = None;
    for _ in 0..PAGES_MAX {
        let mut request = http::get(api::TARGET)
            .path(api::path(["rooms", room, "messages"]))
            .query("dir", "b")
            .query("limit", PAGE)
            .query("filter", &filter);
        if let Some(from) = from.take() {
            request = request.query("from", from);
        }
        let page: Messages = api::for_call(request.send()?)?.json()?;
        for event in api::readable(room, page.chunk) {
            let is_ours = event.sender == me;
            if is_ours && event.content[api::DELIVERY_FIELD] == message.delivery_id.as_str() {
                return Ok(Lookup::Found(Receipt::new(event.event_id)));
            }
            let at_ms = event.origin_server_ts.unwrap_or(u64::MAX);
            if at_ms.saturating_add(CLOCKS_APART_MS) < since_ms {
                return Ok(Lookup::Absent);
            }
            if is_ours && event.unsigned.get("redacted_because").is_some() {
                let why = "a message of ours was redacted meanwhile, which may have been this one";
                return Ok(Lookup::Undecided(why.to_owned()));
            }
        }
        match page.end {
            Some(end) => from = Some(end),
            None => return Ok(Lookup::Absent),
        }
    }
    Ok(Lookup::Undecided("too much was said in the room since".to_owned()))
}
