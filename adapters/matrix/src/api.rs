//! The parts of the client-server API that are used: documents, errors, requests.

use std::collections::BTreeMap;

use lastword_sdk::prelude::*;
use serde::Deserialize;

/// The name of the one target.
pub(crate) const TARGET: &str = "homeserver";

/// The slot of the access token.
pub(crate) const ACCESS_TOKEN: &str = "access-token";

/// Our own field of a message: which delivery it is. Found again by `reconcile`.
pub(crate) const DELIVERY_FIELD: &str = "dev.lastword.delivery_id";

/// The bound of the contract on identifiers.
pub(crate) const ID_BYTES_MAX: usize = 512;

/// The path of a call, behind what all have in common.
pub(crate) fn path<'a>(rest: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
    ["_matrix", "client", "v3"].into_iter().chain(rest).collect()
}

/// An event of a timeline. Events that are not even this are left out, with a line in the log.
#[derive(Deserialize)]
pub(crate) struct Event {
    #[serde(rename = "type")]
    pub(crate) kind: String,
    pub(crate) event_id: String,
    pub(crate) sender: String,
    pub(crate) origin_server_ts: Option<u64>,
    #[serde(default)]
    pub(crate) content: Value,
    #[serde(default)]
    pub(crate) unsigned: Value,
    pub(crate) redacts: Option<String>,
    pub(crate) state_key: Option<Value>,
}

/// `GET /sync`.
#[derive(Deserialize)]
pub(crate) struct Sync {
    pub(crate) next_batch: String,
    #[serde(default)]
    pub(crate) rooms: Rooms,
}

#[derive(Deserialize, Default)]
pub(crate) struct Rooms {
    #[serde(default)]
    pub(crate) join: BTreeMap<String, JoinedRoom>,
    #[serde(default)]
    pub(crate) invite: BTreeMap<String, serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
pub(crate) struct JoinedRoom {
    #[serde(default)]
    pub(crate) timeline: Timeline,
    #[serde(default)]
    pub(crate) summary: Summary,
    #[serde(default)]
    pub(crate) ephemeral: Ephemeral,
}

/// What stands in no timeline, as receipts.
#[derive(Deserialize, Default)]
pub(crate) struct Ephemeral {
    #[serde(default)]
    pub(crate) events: Vec<Value>,
}

#[derive(Deserialize, Default)]
pub(crate) struct Timeline {
    #[serde(default)]
    pub(crate) events: Vec<Value>,
    #[serde(default)]
    pub(crate) limited: bool,
}

#[derive(Deserialize, Default)]
pub(crate) struct Summary {
    #[serde(rename = "m.joined_member_count")]
    pub(crate) joined: Option<u32>,
}

/// `GET /rooms/{room}/messages`.
#[derive(Deserialize)]
pub(crate) struct Messages {
    #[serde(default)]
    pub(crate) chunk: Vec<Value>,
    pub(crate) end: Option<String>,
}

/// What the homeserver says where it refuses.
#[derive(Deserialize, Default)]
struct Refused {
    errcode: Option<String>,
    error: Option<String>,
    retry_after_ms: Option<u64>,
}

/// An answer that is no success, as far as the homeserver explained it.
pub(crate) struct Problem {
    pub(crate) status: u16,
    pub(crate) code: String,
    pub(crate) fault: Fault,
    pub(crate) retry_after_ms: Option<u32>,
}

impl Problem {
    pub(crate) fn of(answer: &http::Response) -> Problem {
        let refused: Refused = answer.json().unwrap_or_default();
        let code = refused.errcode.unwrap_or_default();
        let mut fault = answer.fault();
        if !code.is_empty() {
            let words = refused.error.unwrap_or_default();
            let status = answer.status;
            fault = Fault::new(
                code.clone(),
                format!("the homeserver answered {status} {code}: {words}"),
            );
        }
        let in_body = refused.retry_after_ms.map(|ms| u32::try_from(ms).unwrap_or(u32::MAX));
        let retry_after_ms = answer.retry_after_ms().or(in_body);
        Problem { status: answer.status, code, fault, retry_after_ms }
    }

    /// Whether it is the account that is refused, and not one request. A 403 is the room's word
    /// unless it names the account.
    pub(crate) fn is_about_the_account(&self) -> bool {
        const CODES: [&str; 7] = [
            "M_UNKNOWN_TOKEN",
            "M_MISSING_TOKEN",
            "M_USER_DEACTIVATED",
            "M_USER_LOCKED",
            "M_USER_SUSPENDED",
            "M_CONSENT_NOT_GIVEN",
            "M_GUEST_ACCESS_FORBIDDEN",
        ];
        self.status == 401 || CODES.contains(&self.code.as_str())
    }
}

/// The answer to a request that sends no message.
pub(crate) fn for_call(answer: http::Response) -> Result<http::Response, CallError> {
    if answer.is_success() {
        return Ok(answer);
    }
    let problem = Problem::of(&answer);
    Err(match (problem.status, problem.retry_after_ms) {
        _ if problem.is_about_the_account() => CallError::Unauthorized(problem.fault),
        (429, Some(retry_after_ms)) => {
            CallError::RateLimited(RateLimit { retry_after_ms, scope: RateScope::Channel })
        }
        (408 | 429 | 500.., _) => CallError::Transient(problem.fault),
        _ => CallError::Refused(problem.fault),
    })
}

/// Reads what a timeline holds. What is no event is left out: one that nobody can read must not
/// hold up those behind it. One line of the log says how many.
pub(crate) fn readable(room: &str, events: Vec<Value>) -> Vec<Event> {
    let count = events.len();
    let readable: Vec<Event> = events
        .into_iter()
        .filter_map(|value| serde_json::from_value::<Event>(value).ok())
        .filter(|event| (1..=ID_BYTES_MAX).contains(&event.event_id.len()))
        .collect();
    let left_out = count - readable.len();
    if left_out > 0 {
        let fields = [("room", room), ("count", &left_out.to_string())];
        log::warn("events of a room were left out: they are not readable", &fields);
    }
    readable
}
