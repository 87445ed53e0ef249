//! The guest's reply as an HTTP answer: its headers filtered, the host's own counts added.
//!
//! What a guest writes here reaches platforms under the operator's name and address, so it may say
//! what the answer is, and nothing about the connection, the origin or the host.

use axum::body::Body;
use axum::response::Response;
use http::header::{CONTENT_SECURITY_POLICY, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use tracing::warn;

use super::hooks::status_of;
use super::limits::{
    REPLY_HEADER_BYTES_MAX, REPLY_HEADERS_MAX, TURNS_HEADER_BYTES_MAX, TURNS_PER_LINE_MAX,
};
use crate::lifecycle::id::ChannelName;
use crate::sandbox::WebhookReply;
use crate::store::AcceptedEvent;

/// What became of a batch, in numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Counts {
    /// Events that were new and stand in the store: messages, context among them, pieces, edits,
    /// deletions, actions and aborts.
    pub(super) accepted: u64,
    pub(super) duplicates: u64,
    pub(super) receipts: u64,
    /// By a rule of the store, with a sentence in the log.
    pub(super) refused: u64,
    /// Without a conversation.
    pub(super) dropped: u64,
}

impl Counts {
    pub(super) fn of(events: &[AcceptedEvent]) -> Self {
        let mut counts = Self::default();
        for event in events {
            match event {
                AcceptedEvent::Turn { .. }
                | AcceptedEvent::Context
                | AcceptedEvent::Joined { .. }
                | AcceptedEvent::Edited { .. }
                | AcceptedEvent::TakenBack { .. }
                | AcceptedEvent::Abort { again: false, .. } => counts.accepted += 1,
                AcceptedEvent::Duplicate { .. } | AcceptedEvent::Abort { again: true, .. } => {
                    counts.duplicates += 1;
                }
                AcceptedEvent::Receipt { .. } => counts.receipts += 1,
                AcceptedEvent::Refused { .. } => counts.refused += 1,
                AcceptedEvent::Dropped => counts.dropped += 1,
            }
        }
        counts
    }
}

/// The answer to the platform, once everything is committed.
pub(super) fn answer(
    channel: &ChannelName,
    reply: WebhookReply,
    accepted: &[AcceptedEvent],
    counts: &Counts,
) -> Response {
    let status = status_of(&reply);
    let mut headers = filtered(channel, &reply.headers);
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    // Pages of an adapter never act under the host's origin.
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static("sandbox"));
    if status.is_success() {
        headers.insert("lastword-accepted", HeaderValue::from(counts.accepted));
        headers.insert("lastword-duplicates", HeaderValue::from(counts.duplicates));
        if counts.refused > 0 {
            headers.insert("lastword-refused", HeaderValue::from(counts.refused));
        }
        for line in turns_lines(accepted) {
            headers.append("lastword-turns", line);
        }
    }
    let body = if has_body(status) { Body::from(reply.body) } else { Body::empty() };
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

/// These statuses end with the head (RFC 9110, 15.3.5, 15.3.6, 15.4.5).
fn has_body(status: StatusCode) -> bool {
    !matches!(status, StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT | StatusCode::NOT_MODIFIED)
}

/// Headers that a reply may not carry: those of the connection (RFC 9110, 7.6.1), those that the
/// host writes, and those that speak for the whole origin.
const NOT_THE_GUESTS: [&str; 27] = [
    "alt-svc",
    "clear-site-data",
    "connection",
    "content-length",
    "content-security-policy",
    "date",
    "keep-alive",
    "nel",
    "origin-agent-cluster",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "public-key-pins",
    "refresh",
    "report-to",
    "reporting-endpoints",
    "server",
    "service-worker-allowed",
    "set-cookie",
    "set-cookie2",
    "strict-transport-security",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "via",
    "x-content-type-options",
];

/// The lines that are the guest's to write. A bad line is left out and logged: it must not cost the
/// message that came with it.
fn filtered(channel: &ChannelName, given: &[(String, String)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let (mut bytes, mut left_out) = (0, 0_usize);
    for (name, value) in given {
        bytes += name.len() + value.len();
        let fits = headers.len() < REPLY_HEADERS_MAX && bytes <= REPLY_HEADER_BYTES_MAX;
        let line = HeaderName::try_from(name.as_str()).ok().zip(HeaderValue::try_from(value).ok());
        match line {
            Some((name, value)) if fits && is_the_guests(name.as_str()) => {
                headers.append(name, value);
            }
            Some(_) | None => left_out += 1,
        }
    }
    if left_out > 0 {
        warn!(%channel, left_out, "header lines of an adapter's reply were left out");
    }
    headers
}

/// `name` is lower-case by its type.
fn is_the_guests(name: &str) -> bool {
    !name.starts_with("lastword-") && !NOT_THE_GUESTS.contains(&name)
}

/// One item per event that has a turn, in order; of a stop one per turn that it stopped.
fn turns_lines(accepted: &[AcceptedEvent]) -> Vec<HeaderValue> {
    let items: Vec<String> = accepted.iter().flat_map(turn_items).collect();
    let mut bytes = 0;
    let lines = items.chunks(TURNS_PER_LINE_MAX).map(|items| items.join(", "));
    let lines = lines.take_while(|line| {
        bytes += line.len();
        bytes <= TURNS_HEADER_BYTES_MAX
    });
    lines.filter_map(|line| HeaderValue::try_from(line).ok()).collect()
}

fn turn_items(event: &AcceptedEvent) -> Vec<String> {
    match event {
        AcceptedEvent::Abort { stopped, again } => {
            let again = if *again { ";duplicate" } else { "" };
            stopped.iter().map(|turn| format!("{turn};state=aborted{again}")).collect()
        }
        AcceptedEvent::Turn { .. }
        | AcceptedEvent::Duplicate { .. }
        | AcceptedEvent::Joined { .. }
        | AcceptedEvent::Edited { .. }
        | AcceptedEvent::TakenBack { .. }
        | AcceptedEvent::Context
        | AcceptedEvent::Receipt { .. }
        | AcceptedEvent::Refused { .. }
        | AcceptedEvent::Dropped => turn_item(event).into_iter().collect(),
    }
}

fn turn_item(event: &AcceptedEvent) -> Option<String> {
    match event {
        AcceptedEvent::Turn { turn, state } => Some(format!("{turn};state={}", state.word())),
        AcceptedEvent::Duplicate { turn: Some(turn), state: Some(state) } => {
            Some(format!("{turn};state={};duplicate", state.word()))
        }
        // Retention took the row and left the key without its end.
        AcceptedEvent::Duplicate { turn: Some(turn), state: None } => {
            Some(format!("{turn};duplicate"))
        }
        AcceptedEvent::Joined { turn } => Some(format!("{turn};state=queued;joined")),
        AcceptedEvent::Edited { turn: Some(turn) } => Some(format!("{turn};state=queued;edited")),
        AcceptedEvent::TakenBack { turn: Some(turn) } => {
            Some(format!("{turn};state=aborted;taken-back"))
        }
        AcceptedEvent::Duplicate { turn: None, .. }
        | AcceptedEvent::Edited { turn: None }
        | AcceptedEvent::TakenBack { turn: None }
        | AcceptedEvent::Context
        | AcceptedEvent::Abort { .. }
        | AcceptedEvent::Receipt { .. }
        | AcceptedEvent::Refused { .. }
        | AcceptedEvent::Dropped => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lifecycle::id::TurnId;
    use crate::lifecycle::turn::TurnState;

    fn turn(number: i64) -> TurnId {
        TurnId { number, nonce: 7 }
    }

    #[test]
    fn each_event_that_has_a_turn_has_one_item_in_order() {
        let accepted = [
            AcceptedEvent::Turn { turn: turn(1), state: TurnState::Queued },
            AcceptedEvent::Context,
            AcceptedEvent::Duplicate { turn: Some(turn(2)), state: Some(TurnState::Delivered) },
            AcceptedEvent::Duplicate { turn: None, state: None },
            AcceptedEvent::Abort { stopped: vec![turn(1), turn(3)], again: false },
            AcceptedEvent::Abort { stopped: vec![turn(1)], again: true },
        ];
        let lines = turns_lines(&accepted);
        let (one, two, three) = (turn(1), turn(2), turn(3));
        let right = format!(
            "{one};state=queued, {two};state=delivered;duplicate, {one};state=aborted, \
             {three};state=aborted, {one};state=aborted;duplicate"
        );
        assert_eq!(lines, [HeaderValue::try_from(right).unwrap()]);
        let counts = Counts::of(&accepted);
        assert_eq!((counts.accepted, counts.duplicates), (3, 3));
    }

    #[test]
    fn a_thousand_turns_stand_in_lines_that_clients_can_read() {
        let event = |n| AcceptedEvent::Turn { turn: turn(n), state: TurnState::Queued };
        let lines = turns_lines(&(0..1_000).map(event).collect::<Vec<_>>());
        assert_eq!(lines.len(), 10);
        assert!(lines.iter().all(|line| line.len() < 8 << 10));
        let all: usize = lines.iter().map(HeaderValue::len).sum();
        assert!(all < TURNS_HEADER_BYTES_MAX, "{all}");
        let too_many: Vec<_> = (0..100_000).map(event).collect();
        let all: usize = turns_lines(&too_many).iter().map(HeaderValue::len).sum();
        assert!(all <= TURNS_HEADER_BYTES_MAX, "{all}");
    }

    #[test]
    fn a_guest_writes_no_header_of_connection_origin_or_host() {
        let given: Vec<(String, String)> = [
            ("Content-Type", "text/plain"),
            ("X-Own", "yes"),
            ("Transfer-Encoding", "chunked"),
            ("Connection", "close"),
            ("Content-Length", "5"),
            ("Set-Cookie", "a=b"),
            ("Lastword-Accepted", "9"),
            ("x-split", "a\r\nlastword-accepted: 9"),
            ("bad name", "x"),
            ("", "x"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .to_vec();
        let headers = filtered(&ChannelName::from("c"), &given);
        let names: Vec<&str> = headers.keys().map(HeaderName::as_str).collect();
        assert_eq!(names, ["content-type", "x-own"]);
    }

    #[test]
    fn forty_thousand_header_lines_come_to_the_cap_and_no_panic() {
        let given: Vec<_> = (0..40_000).map(|n| (format!("x-{n}"), "v".repeat(n % 100))).collect();
        assert!(filtered(&ChannelName::from("c"), &given).len() <= REPLY_HEADERS_MAX);
        let long = [("x-long".to_owned(), "v".repeat(1 << 20))];
        assert!(filtered(&ChannelName::from("c"), &long).is_empty());
    }
}
