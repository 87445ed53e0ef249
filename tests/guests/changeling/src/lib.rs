//! An adapter whose bytes say which version it is and how it behaves: a test changes a block of them,
//! and has another version, without a compiler (`harness::changeling`).
//!
//! It sends `POST /send` and, where the block says so, polls `GET /poll`, both with its version, so
//! that whoever is at the other end can tell who speaks.

use lastword_sdk::prelude::*;
use serde::Deserialize;

const BLOCK_BYTES: usize = 1_024;
/// How the block is found.
const MARK: &[u8] = b"changeling-block:";

/// The mark, then JSON, then spaces.
static BLOCK: [u8; BLOCK_BYTES] = block(br#"{"version":"1.0.0"}"#);

const fn block(json: &[u8]) -> [u8; BLOCK_BYTES] {
    let mut block = [b' '; BLOCK_BYTES];
    let mut at = 0;
    while at < MARK.len() {
        block[at] = MARK[at];
        at += 1;
    }
    let mut from = 0;
    while from < json.len() {
        block[at + from] = json[from];
        from += 1;
    }
    block
}

/// What the block says.
#[derive(Deserialize)]
#[serde(default)]
struct Nature {
    name: String,
    version: String,
    /// A route that it asks for beside the others.
    more: bool,
    /// `trap`, or `clock`: its summary is made of time and chance.
    describe: String,
    /// `trap`, `hang`, or `problem`.
    check: String,
    /// `trap` before the request, `trap-after` it, or `hang`.
    send: String,
    /// Whether it asks its platform for messages.
    polls: bool,
    repeats_ms: u64,
}

impl Default for Nature {
    fn default() -> Self {
        let (empty, name) = (String::new, "changeling".to_owned());
        let (describe, check, send) = (empty(), empty(), empty());
        let (more, polls, repeats_ms, version) = (false, false, 0, empty());
        Self { name, version, more, describe, check, send, polls, repeats_ms }
    }
}

fn nature() -> Nature {
    // Not to be known when this is compiled: the bytes may be others by then.
    let block = std::hint::black_box(&BLOCK);
    let json = block.get(MARK.len()..).unwrap_or_default().trim_ascii();
    serde_json::from_slice(json).unwrap_or_else(|error| panic!("the block is no JSON: {error}"))
}

fn hang() -> ! {
    loop {
        std::hint::black_box(&BLOCK);
    }
}

struct Changeling;

impl Adapter for Changeling {
    fn describe() -> Manifest {
        let nature = nature();
        let summary = match nature.describe.as_str() {
            "trap" => panic!("the block says so"),
            "clock" => format!("{} {:?}", env::now_ms(), env::random_bytes(8)),
            _ => "Is what its bytes say.".to_owned(),
        };
        let target = Target::fixed("api", "{setting.url}")
            .post("/send", Effect::Send)
            .get("/poll", Effect::Read);
        let target = match nature.more {
            true => target.route("DELETE", "/everything", Effect::Read),
            false => target,
        };
        let manifest = Manifest::new(&nature.name, &nature.version, &summary);
        let manifest = match nature.repeats_ms {
            0 => manifest,
            window_ms => manifest.idempotent_for_ms(window_ms),
        };
        manifest.target(target).settings(json!({
            "type": "object",
            "properties": { "url": { "type": "string" } },
            "required": ["url"],
            "additionalProperties": false,
        }))
    }

    fn check() -> Result<(), Vec<Problem>> {
        match nature().check.as_str() {
            "trap" => panic!("the block says so"),
            "hang" => hang(),
            "problem" => Err(vec![Problem::new("url", "the block says that it is wrong")]),
            _ => Ok(()),
        }
    }
}

impl Outbound for Changeling {
    fn send_final(message: OutboundMessage) -> Result<Receipt, SendError> {
        let nature = nature();
        match nature.send.as_str() {
            "trap" => panic!("the block says so"),
            "hang" => hang(),
            _ => {}
        }
        let body = json!({
            "delivery_id": message.delivery_id,
            "conversation": message.place.conversation,
            "text": message.text,
            "attempt": message.attempt,
            "generation": nature.version,
        });
        http::post("api").path(["send"]).json(&body).send()?.for_send()?;
        if nature.send == "trap-after" {
            panic!("the block says so");
        }
        Ok(Receipt::new(message.delivery_id))
    }
}

#[derive(Deserialize)]
struct Said {
    id: String,
    conversation: String,
    text: String,
}

impl Webhook for Changeling {
    fn handle(request: Request) -> Result<Reply, Refusal> {
        let said: Said = request.json()?;
        let message =
            InboundMessage::new(said.id, said.conversation, Sender::new("somebody"), said.text);
        Ok(Reply::accept(vec![message.into()]))
    }
}

#[derive(Deserialize)]
struct Polled {
    cursor: String,
    #[serde(default)]
    events: Vec<Said>,
}

impl Poll for Changeling {
    fn next(cursor: Option<String>, wait_ms: u32, _: u32) -> Result<Batch, PollError> {
        let nature = nature();
        let cursor = cursor.unwrap_or_default();
        if !nature.polls {
            return Ok(Batch { events: Vec::new(), cursor, more: false });
        }
        let polled: Polled = http::get("api")
            .path(["poll"])
            .query("cursor", cursor)
            .query("wait_ms", wait_ms.to_string())
            .query("generation", nature.version)
            .send()?
            .for_call()?
            .json()?;
        let events = polled.events.into_iter().map(|said| {
            let sender = Sender::new("somebody");
            InboundMessage::new(said.id, said.conversation, sender, said.text).into()
        });
        Ok(Batch { events: events.collect(), cursor: polled.cursor, more: false })
    }
}

lastword_sdk::export!(Changeling with webhook, poll);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_block_as_it_is_built_is_the_first_version() {
        let nature = nature();
        assert_eq!((nature.name.as_str(), nature.version.as_str()), ("changeling", "1.0.0"));
        assert!(!nature.polls && nature.send.is_empty());
    }
}
