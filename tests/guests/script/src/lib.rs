//! An adapter for the host's tests that does what it is told, so that one component plays most
//! parts: well-behaved, failing, hostile, lying.
//!
//! **What tells it.** A text whose lines begin with `!` is a script; any other text is sent as it
//! is. With the `echo` handler, the text that a test posts is the script that the send runs. A
//! setting named after a call (`send`, `progress`, `indicate`, `find`, `poll`, `handle`, `download`,
//! `check`)
//! is a script that is run instead, for every call of that kind. `run.rs` lists the instructions.
//!
//! **What it talks to.** Three targets, all at the setting `url`:
//! - `api`: `GET /read`, `GET /poll`, `GET /find`, `GET /files/*` (effect `read`), `POST /prepare`,
//!   `POST /indicate` (`prepare`), `POST /send`, `POST /send/*` (`send`);
//! - `secured`: `GET /secured` (`read`), `POST /secured/send` (`send`), with the header
//!   `authorization: Bearer {secret.token}` added by the host;
//! - `handed`: `GET` of whole addresses below the origin `{setting.url}` (`read`).
//!
//! **What it exports**: `webhook`, `poll`, `progress`, `reconcile`, `files`. It takes two files in one
//! message, and 2,000 characters beside them.
//! - `POST events`: `{"status": 200, "events": [...]}`, each event as `events.rs` reads it;
//!   `POST messages`: one event of kind `message`; `POST run`: the body is a script.
//! - `poll.next`: `GET /poll?cursor=&wait_ms=&most=`, answered with `{"events", "cursor", "more"}`;
//!   410 is a lost cursor, 409 a conflict.
//! - `reconcile.find`: `GET /find?delivery_id=&since_ms=`, answered with `{"found": ID}`,
//!   `{"absent": true}` or `{"undecided": WHY}`.
//! - `progress.indicate`: `POST /indicate`, fades after 5 s.
//! - `files.download`: `GET /files/NAME`, where `NAME` is what the event gave as `remote`.
//!
//! A message with files is sent as `multipart/form-data`: the field `message` has the JSON that is
//! else the body, each `file` is one of them.

mod events;
mod run;

use lastword_sdk::adapter::{Limits, TextLimit};
use lastword_sdk::prelude::*;
use serde::Deserialize;

use run::{Run, Said};

const FADES_AFTER_MS: u32 = 5_000;
/// The longest text beside files.
const CAPTION_CHARS: u32 = 2_000;

struct Script;

impl Adapter for Script {
    fn describe() -> Manifest {
        let manifest =
            Manifest::new("script", env!("CARGO_PKG_VERSION"), "Does what a test tells it.");
        let caption = TextLimit { most: CAPTION_CHARS, unit: TextUnit::Chars };
        let limits = Limits { files: 2, caption: Some(caption), ..manifest.limits };
        Manifest { limits, ..manifest }
            .target(
                Target::fixed("api", "{setting.url}")
                    .get("/read", Effect::Read)
                    .get("/poll", Effect::Read)
                    .get("/find", Effect::Read)
                    .get("/files/**", Effect::Read)
                    .post("/prepare", Effect::Prepare)
                    .post("/indicate", Effect::Prepare)
                    .post("/send", Effect::Send)
                    .post("/send/*", Effect::Send),
            )
            .target(
                Target::fixed("secured", "{setting.url}")
                    .get("/secured", Effect::Read)
                    .post("/secured/send", Effect::Send)
                    .inject_header("authorization", "Bearer {secret.token}"),
            )
            .target(
                Target {
                    id: "handed".to_owned(),
                    origin: lastword_sdk::adapter::Origin::Matching(vec![
                        "{setting.url}".to_owned(),
                    ]),
                    routes: Vec::new(),
                    inject: Vec::new(),
                }
                .get("/**", Effect::Read),
            )
            .secret(SecretSlot::optional("token", "signs in").injected().compares())
            .secret(
                SecretSlot::optional("signing", "signs and verifies")
                    .base64_after("whsec_")
                    .signs()
                    .verifies(),
            )
            .settings(json!({
                "type": "object",
                "properties": {
                    "url": { "type": "string" },
                    "send": { "type": "string" },
                    "progress": { "type": "string" },
                    "indicate": { "type": "string" },
                    "find": { "type": "string" },
                    "poll": { "type": "string" },
                    "handle": { "type": "string" },
                    "download": { "type": "string" },
                    "check": { "type": "string" },
                    "problem": { "type": "string" },
                },
                "required": ["url"],
                "additionalProperties": false,
            }))
    }

    fn check() -> Result<(), Vec<Problem>> {
        if let Some(script) = told("check") {
            let _ = Run::new(1).script(&script);
        }
        match told("problem") {
            Some(sentence) => Err(vec![Problem::new("problem", sentence)]),
            None => Ok(()),
        }
    }
}

impl Outbound for Script {
    fn send_final(message: OutboundMessage) -> Result<Receipt, SendError> {
        send(told("send"), "final", &message)
    }
}

impl Progress for Script {
    fn send_progress(kind: ProgressKind, message: OutboundMessage) -> Result<Receipt, SendError> {
        let kind = match kind {
            ProgressKind::Tool => "tool",
            ProgressKind::Block => "block",
        };
        send(told("progress"), kind, &message)
    }

    fn indicate(place: Place, activity: Activity) -> Result<Option<u32>, CallError> {
        if let Some(script) = told("indicate") {
            Run::new(1).script(&script);
        }
        let activity = match activity {
            Activity::Seen => "seen",
            Activity::Typing => "typing",
            Activity::Idle => "idle",
        };
        let body = json!({ "conversation": place.conversation, "activity": activity });
        http::post("api").path(["indicate"]).json(&body).send()?.for_call()?;
        Ok(Some(FADES_AFTER_MS))
    }
}

#[derive(Deserialize)]
struct Found {
    found: Option<String>,
    absent: Option<bool>,
    undecided: Option<String>,
}

impl Reconcile for Script {
    fn find(message: OutboundMessage, since_ms: u64) -> Result<Lookup, CallError> {
        if let Some(script) = told("find") {
            Run::new(message.attempt).script(&script);
        }
        let answer: Found = http::get("api")
            .path(["find"])
            .query("delivery_id", message.delivery_id)
            .query("since_ms", since_ms.to_string())
            .send()?
            .for_call()?
            .json()?;
        Ok(match (answer.found, answer.absent) {
            (Some(id), _) => Lookup::Found(Receipt::new(id)),
            (None, Some(true)) => Lookup::Absent,
            (None, Some(false) | None) => Lookup::Undecided(answer.undecided.unwrap_or_default()),
        })
    }
}

impl Webhook for Script {
    fn handle(request: Request) -> Result<Reply, Refusal> {
        if let Some(script) = told("handle") {
            Run::new(1).script(&script);
        }
        match request.route() {
            "events" => {
                let pushed: events::Pushed = request.json()?;
                let events = events::all(pushed.events).map_err(Refusal::malformed)?;
                let status = pushed.status.unwrap_or(200);
                Ok(Reply { status, ..Reply::accept(events) })
            }
            "messages" => {
                let event: events::Event = request.json()?;
                Ok(Reply::accept(events::all(vec![event]).map_err(Refusal::malformed)?))
            }
            "run" => {
                Run::new(1).script(&String::from_utf8_lossy(&request.body));
                Ok(Reply::accept(Vec::new()))
            }
            _ => Err(Refusal::no_such_path()),
        }
    }
}

#[derive(Deserialize)]
struct Polled {
    #[serde(default)]
    events: Vec<events::Event>,
    cursor: String,
    #[serde(default)]
    more: bool,
}

impl Poll for Script {
    fn next(cursor: Option<String>, wait_ms: u32, most: u32) -> Result<Batch, PollError> {
        if let Some(script) = told("poll") {
            Run::new(1).script(&script);
        }
        let answer = http::get("api")
            .path(["poll"])
            .query("cursor", cursor.unwrap_or_default())
            .query("wait_ms", wait_ms.to_string())
            .query("most", most.to_string())
            .send()?;
        match answer.status {
            410 => return Err(PollError::CursorLost(answer.fault())),
            409 => return Err(PollError::Conflict(answer.fault())),
            _ => {}
        }
        let polled: Polled = answer.for_call()?.json()?;
        let events = events::all(polled.events)
            .map_err(|why| CallError::Refused(Fault::new("bad-event", why)))?;
        Ok(Batch { events, cursor: polled.cursor, more: polled.more })
    }
}

fn send(told: Option<String>, kind: &str, message: &OutboundMessage) -> Result<Receipt, SendError> {
    let script = told.or_else(|| message.text.starts_with('!').then(|| message.text.clone()));
    let mut run = Run::new(message.attempt).of(kind, message);
    match script.and_then(|script| run.script(&script)) {
        Some(Said::Receipt(receipt)) => Ok(receipt),
        Some(Said::Error(error)) => Err(error),
        None => run.sent(),
    }
}

/// A setting that is text, where the test gave it.
fn told(name: &str) -> Option<String> {
    settings::get(name).ok().flatten()
}

impl Files for Script {
    fn download(_: Place, file: Attachment) -> Result<String, CallError> {
        if let Some(script) = told("download") {
            Run::new(1).script(&script);
        }
        let name = file.remote_reference().unwrap_or_default();
        http::get("api").path(["files", name]).download()?.for_call()
    }
}

lastword_sdk::export!(Script with webhook, poll, progress, reconcile, files);

#[cfg(test)]
mod tests;
