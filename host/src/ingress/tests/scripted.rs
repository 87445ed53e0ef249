//! A desk and adapters that do as they are told, a server in front of them, and a client that says
//! exactly the bytes it is given.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::super::*;
use crate::lifecycle::id::TurnId;
use crate::lifecycle::import::ImportEntry;
use crate::lifecycle::message::{InboundEvent, InboundMessage};
use crate::lifecycle::outcome::{Call, CallEnd, Ledger, StateWrites};
use crate::lifecycle::turn::TurnState;
use crate::sandbox::{WebhookReply, WebhookRequest};
use crate::store::{
    AcceptedEvent, BulkAsk, BulkPage, Command, Imported, ImportedAs, Operated, Post, PostOutcome,
    Query, Rows, StoreError, Trial,
};

pub(super) const TOKEN: &str = "the right token";

type Reads = Box<dyn Fn(Query) -> Rows + Send + Sync>;
type Accepts = Box<dyn Fn(usize, &InboundEvent) -> AcceptedEvent + Send + Sync>;

/// What the rest of the host does.
#[derive(Default)]
pub(super) struct ScriptedDesk {
    pub(super) fails: Mutex<Option<StoreError>>,
    pub(super) accepts: Mutex<Option<Accepts>>,
    pub(super) batches: Mutex<Vec<(ChannelName, Vec<InboundEvent>, StateWrites)>>,
    pub(super) commands: Mutex<Vec<Command>>,
    pub(super) orders: Mutex<Vec<BulkAsk>>,
    pub(super) posts: Mutex<Vec<Post>>,
    pub(super) posted: Mutex<Option<PostOutcome>>,
    pub(super) operated: Mutex<Option<Operated>>,
    pub(super) pulls: Mutex<Vec<PullAsk>>,
    pub(super) pulled: Mutex<Option<PullReply>>,
    pub(super) rows: Mutex<Option<Reads>>,
    pub(super) waits: Mutex<Duration>,
    pub(super) finished: AtomicUsize,
}

pub(super) fn turn(number: i64) -> TurnId {
    TurnId { number, nonce: 7 }
}

#[async_trait]
impl Desk for ScriptedDesk {
    async fn accept(
        &self,
        channel: &ChannelName,
        events: Vec<InboundEvent>,
        state: StateWrites,
    ) -> Result<Vec<AcceptedEvent>, StoreError> {
        let waits = *self.waits.lock().unwrap();
        Env::system().sleep(waits).await;
        if let Some(error) = self.fails.lock().unwrap().clone() {
            return Err(error);
        }
        let accepts = self.accepts.lock().unwrap();
        let answer = |(at, event): (usize, &InboundEvent)| match &*accepts {
            Some(accepts) => accepts(at, event),
            None => {
                let number = i64::try_from(at).unwrap();
                AcceptedEvent::Turn { turn: turn(number), state: TurnState::Queued }
            }
        };
        let answers = events.iter().enumerate().map(answer).collect();
        drop(accepts);
        self.batches.lock().unwrap().push((channel.clone(), events, state));
        self.finished.fetch_add(1, Ordering::SeqCst);
        Ok(answers)
    }

    async fn post(&self, post: Post) -> Result<PostOutcome, StoreError> {
        if let Some(error) = self.fails.lock().unwrap().clone() {
            return Err(error);
        }
        let due_ms = post.not_before_ms;
        self.posts.lock().unwrap().push(post);
        let given = self.posted.lock().unwrap().clone();
        let made = PostOutcome::Turn { turn: turn(1), state: TurnState::Queued, due_ms };
        Ok(given.unwrap_or(made))
    }

    async fn operate(&self, command: Command) -> Result<Operated, StoreError> {
        let waits = *self.waits.lock().unwrap();
        Env::system().sleep(waits).await;
        if let Some(error) = self.fails.lock().unwrap().clone() {
            return Err(error);
        }
        self.commands.lock().unwrap().push(command);
        self.finished.fetch_add(1, Ordering::SeqCst);
        let operated = self.operated.lock().unwrap().clone();
        Ok(operated.unwrap_or(Operated::Done { ids: vec!["x".to_owned()] }))
    }

    async fn bulk(&self, ask: BulkAsk) -> Result<BulkPage, StoreError> {
        if let Some(error) = self.fails.lock().unwrap().clone() {
            return Err(error);
        }
        self.orders.lock().unwrap().push(ask);
        Ok(BulkPage { rows: Vec::new(), next: Some("x".to_owned()), stopped: Vec::new() })
    }

    async fn import(
        &self,
        _source: String,
        entries: Vec<ImportEntry>,
        _trial: Trial,
        _by: String,
    ) -> Result<Vec<Imported>, StoreError> {
        if let Some(error) = self.fails.lock().unwrap().clone() {
            return Err(error);
        }
        let ids = entries.into_iter().map(|entry| entry.external_id);
        Ok(ids.map(|id| Imported::new(id, ImportedAs::Already)).collect())
    }

    async fn read(&self, query: Query) -> Result<Rows, StoreError> {
        match &*self.rows.lock().unwrap() {
            Some(rows) => Ok(rows(query)),
            None => Err(StoreError::NotWritable("a path of this machine".to_owned())),
        }
    }

    async fn status(&self, _phase: Phase) -> Result<Value, StoreError> {
        Ok(json!({"channels": [{"name": "a"}, {"name": "b"}]}))
    }

    async fn pull(&self, ask: PullAsk) -> Result<PullReply, StoreError> {
        if let Some(error) = self.fails.lock().unwrap().clone() {
            return Err(error);
        }
        self.pulls.lock().unwrap().push(ask);
        let reply = self.pulled.lock().unwrap().clone();
        Ok(reply.unwrap_or(PullReply::Nothing))
    }

    fn store_health(&self) -> StoreHealth {
        match &*self.fails.lock().unwrap() {
            Some(error) => StoreHealth::NotWritable(error.to_string()),
            None => StoreHealth::Writable,
        }
    }

    async fn metrics_text(&self) -> String {
        "# EOF\n".to_owned()
    }
}

type Script = dyn Fn(WebhookRequest) -> CallEnd<WebhookReply> + Send + Sync;

/// An adapter that does as it is told.
pub(super) struct ScriptedHook {
    pub(super) script: Box<Script>,
    pub(super) waits: Duration,
    pub(super) writes: StateWrites,
    pub(super) calls: AtomicUsize,
}

impl ScriptedHook {
    pub(super) fn new(
        script: impl Fn(WebhookRequest) -> CallEnd<WebhookReply> + Send + Sync + 'static,
    ) -> Self {
        Self {
            script: Box::new(script),
            waits: Duration::ZERO,
            writes: StateWrites::default(),
            calls: AtomicUsize::new(0),
        }
    }
}

#[async_trait]
impl Hook for ScriptedHook {
    async fn handle(&self, request: WebhookRequest) -> Call<WebhookReply> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        Env::system().sleep(self.waits).await;
        Call {
            end: (self.script)(request),
            ledger: Ledger::default(),
            state: self.writes.clone(),
            usage: Default::default(),
            digest: "d1".to_owned(),
        }
    }
}

pub(super) fn message(id: &str) -> InboundEvent {
    InboundEvent::Message(InboundMessage {
        external_id: id.to_owned(),
        conversation: "room".to_owned(),
        text: "hello".to_owned(),
        wakes: true,
        ..Default::default()
    })
}

/// The reply of a guest that found `events`.
pub(super) fn reply(status: u16, events: Vec<InboundEvent>) -> WebhookReply {
    WebhookReply { status, headers: Vec::new(), body: b"guest".to_vec(), events, too_much: None }
}

/// Whether a test's host takes messages in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Opening {
    AtOnce,
    /// Recovery never ends.
    Never,
}

/// A server with one open channel `hook` and whatever else a test adds.
pub(super) struct Host {
    pub(super) ingress: Ingress,
    pub(super) desk: Arc<ScriptedDesk>,
    pub(super) server: Server,
}

impl Host {
    pub(super) async fn start(
        hook: ScriptedHook,
        limits: IngressLimits,
    ) -> (Self, Arc<ScriptedHook>) {
        Self::start_with(hook, limits, Opening::AtOnce).await
    }

    pub(super) async fn start_with(
        hook: ScriptedHook,
        limits: IngressLimits,
        opening: Opening,
    ) -> (Self, Arc<ScriptedHook>) {
        let desk = Arc::new(ScriptedDesk::default());
        let env = Env::system();
        let metrics = IngressMetrics::default();
        let token = ApiToken::new(TOKEN);
        let ingress = Ingress::new(env.clone(), limits.clone(), token, metrics);
        let hook = Arc::new(hook);
        let open = Door::open(hook.clone(), limits.body_bytes_max, limits.calls_per_channel_max);
        let why = RefusedChannel { code: "refused".to_owned(), reason: "add a key".to_owned() };
        let doors = BTreeMap::from([
            (ChannelName::from("hook"), open),
            (ChannelName::from("poller"), Door::NoWebhook),
            (ChannelName::from("broken"), Door::Refused(why)),
        ]);
        if opening == Opening::AtOnce {
            ingress.open(desk.clone(), doors);
        }
        let listener = bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let server = Server::start(env, listener, ingress.router(), &limits).unwrap();
        (Self { ingress, desk, server }, hook)
    }

    pub(super) async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.server.address()).await.unwrap()
    }

    /// Sends `bytes` and reads the answer until the host closes.
    pub(super) async fn say(&self, bytes: &[u8]) -> Answered {
        let mut stream = self.connect().await;
        // The host may answer and close before all of it is written.
        let _ = stream.write_all(bytes).await;
        answer(&mut stream).await
    }

    /// A request under a key.
    pub(super) async fn keyed(&self, head: &str, key: &str, body: &str) -> Answered {
        let length = body.len();
        let text = format!(
            "{head} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {length}\r\n\
             idempotency-key: {key}\r\nauthorization: Bearer {TOKEN}\r\n\r\n{body}"
        );
        self.say(text.as_bytes()).await
    }

    pub(super) async fn request(&self, head: &str, body: &str) -> Answered {
        let length = body.len();
        let text = format!(
            "{head} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {length}\r\n\
             authorization: Bearer {TOKEN}\r\n\r\n{body}"
        );
        self.say(text.as_bytes()).await
    }
}

/// An answer as it came.
#[derive(Debug, Clone)]
pub(super) struct Answered {
    pub(super) status: u16,
    pub(super) head: String,
    pub(super) body: String,
}

impl Answered {
    pub(super) fn header(&self, name: &str) -> Option<String> {
        let values: Vec<&str> = self
            .head
            .lines()
            .filter_map(|line| line.split_once(": "))
            .filter(|(found, _)| found.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
            .collect();
        (!values.is_empty()).then(|| values.join(", "))
    }

    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    pub(super) fn code(&self) -> String {
        self.json()["error"]["code"].as_str().unwrap_or_default().to_owned()
    }
}

/// Reads one whole answer, by its length or to the end of the connection.
pub(super) async fn answer(stream: &mut TcpStream) -> Answered {
    let mut bytes = Vec::new();
    loop {
        let mut piece = vec![0; 64 << 10];
        let env = Env::system();
        let read = env.timeout(Duration::from_secs(20), stream.read(&mut piece));
        let count = read.await.expect("an answer within 20 s").unwrap_or(0);
        bytes.extend_from_slice(&piece[..count]);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            assert!(count > 0, "the host closed without an answer: {text:?}");
            continue;
        };
        let status = head.split(' ').nth(1).and_then(|word| word.parse().ok()).unwrap_or(0);
        let mut answered = Answered { status, head: head.to_owned(), body: body.to_owned() };
        let length = answered.header("content-length").and_then(|text| text.parse().ok());
        if count == 0 || length.is_some_and(|length: usize| body.len() >= length) {
            if answered.header("transfer-encoding").is_some() {
                answered.body = dechunked(body);
            }
            return answered;
        }
        if answered.header("transfer-encoding").is_some() && body.ends_with("0\r\n\r\n") {
            answered.body = dechunked(body);
            return answered;
        }
    }
}

fn dechunked(body: &str) -> String {
    let (mut rest, mut out) = (body, String::new());
    while let Some((length, after)) = rest.split_once("\r\n") {
        let length = usize::from_str_radix(length, 16).unwrap_or(0);
        out.push_str(after.get(..length).unwrap_or_default());
        rest = after.get(length + 2..).unwrap_or_default();
    }
    out
}
