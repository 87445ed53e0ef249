//! A host for unit tests, which run natively. Requests are answered from a script and recorded;
//! secrets, settings, state, clock and chance are the test's own.
//!
//! It holds an adapter to its manifest as the real host does: a request outside the declared
//! routes is denied, a secret outside its declared uses is an empty slot, and
//! [`Host::send_final`] panics where the adapter claims what the wire contradicts.
//!
//! ```
//! use lastword_sdk::fake;
//! use lastword_sdk::prelude::*;
//! # struct Hello;
//! # impl Adapter for Hello {
//! #     fn describe() -> Manifest {
//! #         Manifest::new("hello", "0.1.0", "Posts each reply to one address.").target(
//! #             Target::fixed("api", "https://api.example").post("/messages", Effect::Send))
//! #     }
//! # }
//! # impl Outbound for Hello {
//! #     fn send_final(message: OutboundMessage) -> Result<Receipt, SendError> {
//! #         let body = json!({ "to": message.place.conversation, "text": message.text });
//! #         http::post("api").path(["messages"]).json(&body).send()?.for_send()?;
//! #         Ok(Receipt::new(message.delivery_id))
//! #     }
//! # }
//!
//! let host = fake::Host::of::<Hello>();
//! host.answer(fake::status(200));
//! let receipt = host.send_final::<Hello>(fake::message("room", "Good morning."));
//! assert!(receipt.is_ok());
//! assert_eq!(host.sent()[0].json()["text"], "Good morning.");
//! ```

pub(crate) mod calls;
pub(crate) mod files;
mod manifest;
mod route;

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::marker::PhantomData;
use std::thread::panicking;

use serde_json::Value;

use crate::adapter::{Effect, Manifest};
use crate::http;
use crate::log::Level;
use crate::message::{OutboundMessage, Place, ProgressKind, Receipt, SendError, TextFormat};
use crate::webhook::Request;
use crate::{Adapter, Outbound, Progress};

thread_local! {
    static WORLD: RefCell<Option<World>> = const { RefCell::new(None) };
}

/// What answers where the script has nothing.
type Platform = Box<dyn FnMut(&Sent) -> Result<Answer, http::Error>>;

/// Everything that an adapter can reach.
pub(crate) struct World {
    /// None while the adapter describes itself: then nothing but log and env is there.
    manifest: Option<Manifest>,
    settings: BTreeMap<String, String>,
    public_url: Option<String>,
    secrets: BTreeMap<String, Vec<u8>>,
    state: BTreeMap<String, Vec<u8>>,
    blobs: BTreeMap<String, Vec<u8>>,
    script: VecDeque<Result<http::Response, http::Error>>,
    platform: Option<Platform>,
    sent: Vec<Sent>,
    log: Vec<Line>,
    now_ms: u64,
    /// The next byte of chance, which counts up.
    chance: u8,
}

/// A request as it left, with the credentials that the host added.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sent {
    /// The target's name.
    pub target: String,
    /// The method.
    pub method: String,
    /// The whole address.
    pub url: String,
    /// All headers, those of the adapter first.
    pub headers: Vec<(String, String)>,
    /// The body as it left: forms and multipart bodies are encoded, files stand in it.
    pub body: Vec<u8>,
    /// What a multipart body was made of.
    pub parts: Vec<SentPart>,
    /// The effect that the manifest declares for its route.
    pub effect: Effect,
    /// Whether a whole answer came.
    pub answered: Option<u16>,
}

impl Sent {
    /// The first header of a name.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.headers.iter();
        headers.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// The body as JSON.
    ///
    /// # Panics
    ///
    /// Where it is none: the test fails.
    pub fn json(&self) -> Value {
        match serde_json::from_slice(&self.body) {
            Ok(value) => value,
            Err(error) => panic!("the body of {} {} is no JSON: {error}", self.method, self.url),
        }
    }
}

/// One part of a multipart body, as it left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SentPart {
    /// The field's name.
    pub name: String,
    /// The file's name, where it had one.
    pub file_name: Option<String>,
    /// Its media type, where it had one.
    pub media_type: Option<String>,
    /// Its bytes, those of a file included.
    pub bytes: Vec<u8>,
}

/// A line of the log.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    /// Its level.
    pub level: Level,
    /// Its words.
    pub message: String,
    /// Its fields.
    pub fields: Vec<(String, String)>,
}

/// An answer with a status, to be given to [`Host::answer`].
pub fn status(status: u16) -> Answer {
    Answer(http::Response { status, headers: Vec::new(), body: Vec::new() })
}

/// An answer that is being written.
#[derive(Debug, Clone)]
pub struct Answer(http::Response);

impl Answer {
    /// With a JSON body.
    #[must_use]
    pub fn json(mut self, body: &Value) -> Answer {
        self.0.body = body.to_string().into_bytes();
        self
    }

    /// With a body of text.
    #[must_use]
    pub fn text(mut self, body: &str) -> Answer {
        self.0.body = body.as_bytes().to_vec();
        self
    }

    /// With a body of bytes.
    #[must_use]
    pub fn bytes(mut self, body: &[u8]) -> Answer {
        self.0.body = body.to_vec();
        self
    }

    /// With a header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Answer {
        self.0.headers.push((name.to_ascii_lowercase(), value.to_owned()));
        self
    }
}

/// The host of one test, on the test's own thread. It is gone when this is dropped; answers that
/// nobody asked for fail the test then.
#[derive(Debug)]
pub struct Host {
    /// Bound to the thread that made it.
    thread: PhantomData<*const ()>,
}

impl Host {
    /// A host of one adapter, which describes itself first. The clock stands at
    /// 2026-01-01 00:00:00 UTC.
    ///
    /// # Panics
    ///
    /// Where there is one already, or where the manifest is not valid: the test fails.
    pub fn of<A: Adapter>() -> Host {
        let world = World {
            manifest: None,
            settings: BTreeMap::new(),
            public_url: None,
            secrets: BTreeMap::new(),
            state: BTreeMap::new(),
            blobs: BTreeMap::new(),
            script: VecDeque::new(),
            platform: None,
            sent: Vec::new(),
            log: Vec::new(),
            now_ms: 1_767_225_600_000,
            chance: 0,
        };
        let before = WORLD.with_borrow_mut(|slot| slot.replace(world));
        assert!(before.is_none(), "this test has a fake host already; drop it first");
        let host = Host { thread: PhantomData };
        let described = A::describe();
        assert!(described == A::describe(), "`describe` says something else the second time");
        if let Err(sentence) = manifest::validate(&described) {
            panic!("the manifest is not valid: {sentence}");
        }
        let defaults = manifest::setting_defaults(&described);
        with(|world| {
            world.settings = defaults;
            world.manifest = Some(described);
        });
        host
    }

    /// Gives a setting.
    pub fn setting(&self, name: &str, value: impl Into<Value>) -> &Host {
        let value: Value = value.into();
        with(|world| world.settings.insert(name.to_owned(), value.to_string()));
        self
    }

    /// Gives a secret, written as the operator writes it.
    ///
    /// # Panics
    ///
    /// Where the manifest does not declare it, or it is not encoded as declared.
    pub fn secret(&self, slot: &str, written: &str) -> &Host {
        with(|world| {
            let key = manifest::decode_secret(world.declared(), slot, written);
            match key {
                Ok(key) => world.secrets.insert(slot.to_owned(), key),
                Err(sentence) => panic!("{sentence}"),
            }
        });
        self
    }

    /// Gives the public address of the channel's webhook prefix.
    pub fn public_url(&self, url: &str) -> &Host {
        with(|world| world.public_url = Some(url.to_owned()));
        self
    }

    /// Sets the clock.
    pub fn now_ms(&self, now_ms: u64) -> &Host {
        with(|world| world.now_ms = now_ms);
        self
    }

    /// Answers the next request that has no answer yet.
    pub fn answer(&self, answer: Answer) -> &Host {
        with(|world| world.script.push_back(Ok(answer.0)));
        self
    }

    /// Fails the next request that has no answer yet.
    pub fn fail(&self, error: http::Error) -> &Host {
        with(|world| world.script.push_back(Err(error)));
        self
    }

    /// Answers every request that the script has no answer for: a small platform of the test's own.
    /// The request is shown as it would leave; where it is refused, it did not.
    pub fn platform(
        &self,
        platform: impl FnMut(&Sent) -> Result<Answer, http::Error> + 'static,
    ) -> &Host {
        with(|world| world.platform = Some(Box::new(platform)));
        self
    }

    /// Every request that left so far.
    pub fn sent(&self) -> Vec<Sent> {
        with(|world| world.sent.clone())
    }

    /// Every line of the log so far.
    pub fn log(&self) -> Vec<Line> {
        with(|world| world.log.clone())
    }

    /// What stands in the adapter's state under `key`.
    pub fn state(&self, key: &str) -> Option<Vec<u8>> {
        with(|world| world.state.get(key).cloned())
    }

    /// Puts `value` into the adapter's state.
    pub fn set_state(&self, key: &str, value: &[u8]) -> &Host {
        with(|world| world.state.insert(key.to_owned(), value.to_vec()));
        self
    }

    /// Puts a file into the host's store, as if the host had given it to the call, and says its id.
    pub fn put_blob(&self, bytes: &[u8]) -> String {
        with(|world| world.put_blob(bytes))
    }

    /// The bytes of a file in the host's store.
    pub fn blob(&self, id: &str) -> Option<Vec<u8>> {
        with(|world| world.blobs.get(id).cloned())
    }

    /// Lets the adapter send a final reply, and holds its word against the wire.
    ///
    /// # Panics
    ///
    /// Where the real host would not believe the adapter.
    pub fn send_final<A: Outbound>(&self, message: OutboundMessage) -> Result<Receipt, SendError> {
        self.judged(|| A::send_final(message))
    }

    /// Lets the adapter send a progress message, and holds its word against the wire.
    ///
    /// # Panics
    ///
    /// Where the real host would not believe the adapter.
    pub fn send_progress<A: Progress>(
        &self,
        kind: ProgressKind,
        message: OutboundMessage,
    ) -> Result<Receipt, SendError> {
        self.judged(|| A::send_progress(kind, message))
    }

    fn judged(
        &self,
        send: impl FnOnce() -> Result<Receipt, SendError>,
    ) -> Result<Receipt, SendError> {
        let before = with(|world| world.sent.len());
        let outcome = send();
        let (declares_send, ledger) = with(|world| {
            let routes = world.declared().targets.iter().flat_map(|target| &target.routes);
            let declares_send = routes.into_iter().any(|route| route.effect == Effect::Send);
            (declares_send, world.sent[before..].to_vec())
        });
        if !declares_send {
            return outcome;
        }
        let sends = || ledger.iter().filter(|sent| sent.effect == Effect::Send);
        match &outcome {
            Ok(_) => assert!(
                sends().any(|sent| matches!(sent.answered, Some(200..300))),
                "the adapter says delivered, and no `send` request had a whole 2xx answer"
            ),
            Err(SendError::Unknown(_)) => {}
            Err(
                SendError::Transient(_)
                | SendError::RateLimited(_)
                | SendError::Offline(_)
                | SendError::Closed(_)
                | SendError::Moved(_)
                | SendError::Rejected(_)
                | SendError::Unauthorized(_),
            ) => assert!(
                sends().all(|sent| sent.answered.is_some()),
                "the adapter says not sent, and a `send` request left without an answer"
            ),
        }
        outcome
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let world = WORLD.with_borrow_mut(Option::take);
        let left = world.map_or(0, |world| world.script.len());
        assert!(left == 0 || panicking(), "{left} scripted answers were never asked for");
    }
}

/// A final reply to `conversation`, in one part, of a first attempt.
pub fn message(conversation: &str, text: &str) -> OutboundMessage {
    OutboundMessage {
        delivery_id: "d1".to_owned(),
        turn_id: Some("t1".to_owned()),
        place: Place { conversation: conversation.to_owned(), context: None, reply_to: None },
        text: text.to_owned(),
        format: TextFormat::Plain,
        attachments: Vec::new(),
        replaces: None,
        part: 1,
        parts: 1,
        attempt: 1,
        extras: Vec::new(),
    }
}

/// A `POST` that the platform pushes to a path behind the channel's prefix.
pub fn pushed(path: &str, body: &[u8]) -> Request {
    Request {
        method: "POST".to_owned(),
        url: format!("https://bot.example/hooks/channel{path}"),
        path: path.to_owned(),
        query: String::new(),
        headers: Vec::new(),
        body: body.to_vec(),
    }
}

impl World {
    /// The manifest. While the adapter describes itself there is none, and it may not ask.
    fn declared(&self) -> &Manifest {
        match &self.manifest {
            Some(manifest) => manifest,
            None => panic!("`describe` may use only log and env; the real host traps here"),
        }
    }
}

pub(crate) fn with<T>(act: impl FnOnce(&mut World) -> T) -> T {
    WORLD.with_borrow_mut(|slot| match slot {
        Some(world) => act(world),
        None => panic!("there is no fake host; begin the test with `fake::Host::of`"),
    })
}

/// A code as the platform computes it, for signed requests in tests.
pub fn hmac_sha256(key: &[u8], data: &[u8]) -> Vec<u8> {
    calls::code(key, crate::secrets::Mac::HmacSha256, data)
}
