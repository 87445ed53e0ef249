//! The instructions of a script, one a line, run in order until one of them `say`s how the call
//! ends. A send that no line has made by then is made at the end.
//!
//! | line | does |
//! | --- | --- |
//! | `!on N LINE` | `LINE`, on attempt N only |
//! | `!until N LINE` | `LINE`, on attempts before N |
//! | `!send` | `POST api /send` with the message; any but 2xx ends the call as its status says |
//! | `!send PATH` | the same to `/send/PATH` |
//! | `!send-raw` | the same, whatever the answer: the script goes on |
//! | `!read`, `!prepare` | `GET api /read`, `POST api /prepare` |
//! | `!fetch METHOD TARGET PATH` | that request, its outcome logged as `fetched` |
//! | `!fetch-url URL` | `GET` of a handed-out address, logged as `fetched` |
//! | `!fetch-header NAME VALUE` | `GET api /read` with a header, logged as `fetched` |
//! | `!download NAME` | downloads `GET api /files/NAME`, logged as `downloaded` |
//! | `!blob-write WORDS` | stores the words as a file, its id logged as `blob` |
//! | `!blob-read ID OFFSET COUNT` | those bytes, logged as `blob`; `given` is the first of the message |
//! | `!blob-send ID` | `POST api /prepare` with the file as its body, logged as `fetched` |
//! | `!secret SLOT` | what the slot answers, logged as `secret` |
//! | `!setting NAME` | the setting, logged as `setting` |
//! | `!trap WORDS` | panics with `WORDS` |
//! | `!exit` | the `unreachable` instruction, without a word |
//! | `!hang` | an endless loop |
//! | `!recurse` | recursion without an end |
//! | `!memory MIB` | takes so much memory, touches it, and goes on |
//! | `!calls N` | so many host calls |
//! | `!fetches N` | so many `GET api /read` |
//! | `!log N BYTES` | so many log lines of so many bytes |
//! | `!log-line WORDS` | one log line |
//! | `!random N` | so many random bytes at once |
//! | `!count KEY` | adds 1 to a number in the state, logged as `count` |
//! | `!state KEY BYTES` | writes so many bytes under `KEY`; a refusal is logged as `state` |
//! | `!keys N` | writes so many keys |
//! | `!say delivered [ID]` | ends the call, whatever was done |
//! | `!say transient`, `offline`, `closed`, `rejected`, `unauthorized`, `unknown` | the same |
//! | `!say moved NAME` | the same |
//! | `!say rate-limited MS [channel]` | the same; of the conversation, or the whole channel |

use lastword_sdk::http::Part;
use lastword_sdk::prelude::*;
use lastword_sdk::secrets::Mac;
use serde::Deserialize;

/// How a script says that the call ends.
pub(crate) enum Said {
    Receipt(Receipt),
    Error(SendError),
}

/// One run of a script.
pub(crate) struct Run<'a> {
    attempt: u32,
    message: Option<(&'a str, &'a OutboundMessage)>,
    receipt: Option<Receipt>,
}

#[derive(Deserialize)]
struct Answer {
    id: Option<String>,
}

impl<'a> Run<'a> {
    pub(crate) fn new(attempt: u32) -> Run<'a> {
        Run { attempt, message: None, receipt: None }
    }

    /// Of a message, and its kind.
    pub(crate) fn of(mut self, kind: &'a str, message: &'a OutboundMessage) -> Run<'a> {
        self.message = Some((kind, message));
        self
    }

    /// Runs a script to its end, or to what it says.
    pub(crate) fn script(&mut self, script: &str) -> Option<Said> {
        script.lines().find_map(|line| self.line(line.trim().trim_start_matches('!')))
    }

    /// The receipt of what was sent, which is sent now where no line has.
    pub(crate) fn sent(&mut self) -> Result<Receipt, SendError> {
        match self.receipt.take() {
            Some(receipt) => Ok(receipt),
            None => self.send(None),
        }
    }

    fn line(&mut self, line: &str) -> Option<Said> {
        let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
        match verb {
            "on" | "until" => {
                let (attempt, line) = rest.split_once(' ')?;
                let attempt = number(attempt);
                let holds = match verb {
                    "on" => u64::from(self.attempt) == attempt,
                    _ => u64::from(self.attempt) < attempt,
                };
                return if holds { self.line(line) } else { None };
            }
            "send" => match self.send((!rest.is_empty()).then_some(rest)) {
                Ok(receipt) => self.receipt = Some(receipt),
                Err(error) => return Some(Said::Error(error)),
            },
            "send-raw" => {
                let _ = self.request(None).send();
            }
            "say" => return Some(said(rest)),
            "read" => fetched(http::get("api").path(["read"])),
            "prepare" => fetched(http::post("api").path(["prepare"])),
            "fetch" => fetch(rest),
            "fetch-url" => fetched(http::get("handed").url(rest)),
            "fetch-header" => {
                let (name, value) = rest.split_once(' ').unwrap_or((rest, ""));
                fetched(http::get("api").path(["read"]).header(name, value));
            }
            "download" => downloaded(http::get("api").path(["files", rest])),
            "blob-write" => blob_told(blobs::write(rest.as_bytes())),
            "blob-read" => {
                let mut words = rest.split(' ');
                let blob = self.blob(words.next().unwrap_or_default());
                let offset = number(words.next().unwrap_or_default());
                let count = u32::try_from(number(words.next().unwrap_or_default()));
                let read = blobs::read(&blob, offset, count.unwrap_or(u32::MAX));
                blob_told(read.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()));
            }
            "blob-send" => {
                let blob = self.blob(rest);
                fetched(http::post("api").path(["prepare"]).blob("text/plain", blob));
            }
            "secret" => secret(rest),
            "setting" => {
                let value = settings::get::<Value>(rest).ok().flatten();
                let value = value.map_or("none".to_owned(), |value| value.to_string());
                log::info("setting", &[("name", rest), ("value", &value)]);
            }
            _ => hostile(verb, rest),
        }
        None
    }

    fn send(&mut self, path: Option<&str>) -> Result<Receipt, SendError> {
        let answer = self.request(path).send()?.for_send()?;
        let id = answer.json::<Answer>().ok().and_then(|answer| answer.id);
        let delivery_id = self.message.map(|(_, message)| message.delivery_id.clone());
        Ok(Receipt::new(id.or(delivery_id).unwrap_or_default()))
    }

    fn request(&self, path: Option<&str>) -> http::Request {
        let request = http::post("api").path(["send"].into_iter().chain(path));
        let Some((kind, message)) = self.message else {
            return request.json(&json!({}));
        };
        let body = json!({
            "delivery_id": message.delivery_id,
            "turn_id": message.turn_id,
            "conversation": message.place.conversation,
            "context": message.place.context,
            "reply_to": message.place.reply_to,
            "kind": kind,
            "text": message.text,
            "part": message.part,
            "parts": message.parts,
            "attempt": message.attempt,
            "extras": message.extras,
        });
        if message.attachments.is_empty() {
            return request.json(&body);
        }
        let mut parts = vec![Part::text("message", body.to_string())];
        for file in &message.attachments {
            let part = Part::blob("file", file.blob_id().unwrap_or_default());
            let part = part.media_type(&file.media_type);
            parts.push(match &file.name {
                Some(name) => part.file_name(name),
                None => part,
            });
        }
        request.multipart(parts)
    }

    /// A file by its id, or the first that the message carries.
    fn blob(&self, word: &str) -> String {
        let given = self.message.and_then(|(_, message)| message.attachments.first());
        match word {
            "given" => given.and_then(|file| file.blob_id()).unwrap_or_default().to_owned(),
            id => id.to_owned(),
        }
    }
}

fn said(rest: &str) -> Said {
    let mut words = rest.split_whitespace();
    let word = words.next().unwrap_or_default();
    let argument = words.next();
    let fault = || Fault::new("told", format!("the script says {word}"));
    Said::Error(match word {
        "delivered" => return Said::Receipt(Receipt::new(argument.unwrap_or("told"))),
        "transient" => SendError::Transient(fault()),
        "offline" => SendError::Offline(fault()),
        "closed" => SendError::Closed(fault()),
        "rejected" => SendError::Rejected(fault()),
        "unauthorized" => SendError::Unauthorized(fault()),
        "unknown" => SendError::Unknown(fault()),
        "moved" => SendError::Moved(argument.unwrap_or_default().to_owned()),
        "rate-limited" => SendError::RateLimited(RateLimit {
            retry_after_ms: u32::try_from(number(argument.unwrap_or_default())).unwrap_or(u32::MAX),
            scope: match words.next() {
                Some("channel") => RateScope::Channel,
                Some(_) | None => RateScope::Conversation,
            },
        }),
        _ => panic!("a script cannot say `{word}`"),
    })
}

fn fetch(rest: &str) {
    let mut words = rest.splitn(3, ' ');
    let method = words.next().unwrap_or_default();
    let target = words.next().unwrap_or_default();
    let path = words.next().unwrap_or_default();
    let segments: Vec<&str> = match path.strip_prefix('/') {
        Some(path) => path.split('/').collect(),
        None => Vec::new(),
    };
    fetched(http::Request::new(method, target).path(segments));
}

/// Makes a request and logs how it ended.
fn fetched(request: http::Request) {
    use http::Error;
    let (outcome, detail, body) = match request.send() {
        Ok(answer) => {
            let headers: Vec<String> =
                answer.headers.iter().map(|(name, value)| format!("{name}: {value}")).collect();
            let body = String::from_utf8_lossy(&answer.body).into_owned();
            (answer.status.to_string(), headers.join("\n"), body)
        }
        Err(Error::Denied(why)) => ("denied".to_owned(), why, String::new()),
        Err(Error::NotSent(why)) => ("not-sent".to_owned(), why, String::new()),
        Err(Error::RequestTooLarge(why)) => ("request-too-large".to_owned(), why, String::new()),
        Err(Error::Unanswered(why)) => ("unanswered".to_owned(), why, String::new()),
        Err(Error::AnswerTooLarge(status)) => {
            ("answer-too-large".to_owned(), status.to_string(), String::new())
        }
    };
    log::info("fetched", &[("outcome", &outcome), ("detail", &detail), ("body", &body)]);
}

/// Makes a download and logs how it ended.
fn downloaded(request: http::Request) {
    let (outcome, blob, bytes) = match request.download() {
        Ok(saved) => {
            let bytes = saved.size_bytes.to_string();
            (saved.status.to_string(), saved.blob.unwrap_or_default(), bytes)
        }
        Err(error) => (format!("{error:?}"), String::new(), String::new()),
    };
    log::info("downloaded", &[("outcome", &outcome), ("blob", &blob), ("bytes", &bytes)]);
}

/// Logs what a file came to.
fn blob_told(outcome: Result<String, blobs::Error>) {
    match outcome {
        Ok(told) => log::info("blob", &[("told", &told)]),
        Err(error) => log::warn("blob", &[("refused", &format!("{error:?}"))]),
    }
}

fn secret(slot: &str) {
    let data = b"data";
    let code = secrets::sign(slot, Mac::HmacSha256, data);
    let verified = secrets::verify(slot, Mac::HmacSha256, data, code.as_deref().unwrap_or(&[]));
    let code = code.map_or("none".to_owned(), |code| lastword_sdk::encoding::to_hex(&code));
    let exists = secrets::exists(slot).to_string();
    let equals = secrets::equals(slot, b"guess").to_string();
    log::info(
        "secret",
        &[
            ("slot", slot),
            ("exists", &exists),
            ("signed", &code),
            ("verified", &verified.to_string()),
            ("equals-guess", &equals),
        ],
    );
}

/// What an adapter should not do.
fn hostile(verb: &str, rest: &str) {
    let count = number(rest.split(' ').next().unwrap_or_default());
    match verb {
        "trap" => panic!("{rest}"),
        "exit" => abort(),
        "hang" => loop {
            std::hint::black_box(0);
        },
        "recurse" => {
            std::hint::black_box(recurse(0));
        }
        "memory" => {
            let bytes = usize::try_from(count << 20).unwrap_or(usize::MAX);
            std::hint::black_box(vec![1_u8; bytes]);
        }
        "calls" => {
            for _ in 0..count {
                std::hint::black_box(env::now_ms());
            }
        }
        "fetches" => {
            for _ in 0..count {
                fetched(http::get("api").path(["read"]));
            }
        }
        "log" => {
            let bytes = number(rest.split(' ').nth(1).unwrap_or_default());
            let words = "x".repeat(usize::try_from(bytes).unwrap_or_default());
            for _ in 0..count {
                log::info(&words, &[]);
            }
        }
        "log-line" => log::info(rest, &[]),
        "random" => {
            let bytes = env::random_bytes(u32::try_from(count).unwrap_or(u32::MAX));
            log::info("random", &[("bytes", &lastword_sdk::encoding::to_hex(&bytes))]);
        }
        "count" => {
            let before: u64 = state::get_json(rest).ok().flatten().unwrap_or_default();
            noted(state::set_json(rest, &(before + 1)));
            log::info("count", &[("key", rest), ("value", &(before + 1).to_string())]);
        }
        "state" => {
            let (key, bytes) = rest.split_once(' ').unwrap_or((rest, "0"));
            let bytes = usize::try_from(number(bytes)).unwrap_or_default();
            noted(state::set(key, &vec![b'x'; bytes]));
        }
        "keys" => {
            for at in 0..count {
                noted(state::set(&format!("key-{at}"), b"x"));
            }
        }
        _ => panic!("a script has no instruction `{verb}`"),
    }
}

/// Logs why the state refused.
fn noted(outcome: Result<(), state::Error>) {
    if let Err(error) = outcome {
        log::warn("state", &[("refused", &format!("{error:?}"))]);
    }
}

fn number(text: &str) -> u64 {
    text.parse().unwrap_or_default()
}

#[allow(unconditional_recursion, reason = "the host is to end it")]
fn recurse(depth: u64) -> u64 {
    std::hint::black_box(depth) + std::hint::black_box(recurse(depth + 1))
}

fn abort() -> ! {
    #[cfg(target_family = "wasm")]
    core::arch::wasm32::unreachable();
    #[cfg(not(target_family = "wasm"))]
    panic!("a bare trap");
}
