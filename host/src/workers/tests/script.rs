//! Adapters and handlers that do as they are told, and remember what was asked of them.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::mpsc;

use crate::env::Env;
use crate::gate::StopHandle;
use crate::handler::{Failure, Handler, HandlerDocument, HandlerEnd, HandlerEvent, HandlerFiles};
use crate::lifecycle::id::BlobId;
use crate::lifecycle::message::{Attachment, DeliveryKind, OutboundMessage, Place, Reply};
use crate::lifecycle::outcome::{
    Call, CallEnd, CallError, Fault, Ledger, Lookup, Receipt, SendAnswer, SendError, StateWrites,
    Usage,
};
use crate::workers::ports::{
    Activity, Adapter, AdapterFacts, Batch, GenerationOf, Offers, PollError,
};

/// What one send does.
#[derive(Debug, Clone)]
pub(in crate::workers) enum Send {
    Deliver,
    Say(SendError),
    /// Traps, before or after its request left.
    Trap {
        left: bool,
    },
    /// Waits, then goes on.
    After(u64, Box<Send>),
    /// Until it is told to stop; its request left or not.
    Hang {
        left: bool,
    },
    /// Never comes back, whatever it is told.
    Lost,
}

/// What one poll does.
#[derive(Debug, Clone)]
pub(in crate::workers) enum Poll {
    Bring(Batch),
    Say(PollError),
    /// Waits as long as it may and brings nothing.
    Nothing,
}

/// What the platform saw.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::workers) struct Seen {
    pub(in crate::workers) at_ms: i64,
    pub(in crate::workers) kind: DeliveryKind,
    pub(in crate::workers) message: OutboundMessage,
}

pub(in crate::workers) struct ScriptedAdapter {
    env: Env,
    pub(in crate::workers) facts: Mutex<AdapterFacts>,
    /// Taken one by one; afterwards everything is delivered.
    pub(in crate::workers) sends: Mutex<VecDeque<Send>>,
    pub(in crate::workers) finds: Mutex<VecDeque<Result<Lookup, CallError>>>,
    pub(in crate::workers) polls: Mutex<VecDeque<Poll>>,
    pub(in crate::workers) called: Mutex<Vec<Seen>>,
    /// Texts of which the request left, in order.
    pub(in crate::workers) left: Mutex<Vec<String>>,
    pub(in crate::workers) found: Mutex<Vec<(i64, u64)>>,
    pub(in crate::workers) polled: Mutex<Vec<(i64, Option<String>)>>,
    pub(in crate::workers) indicated: Mutex<Vec<i64>>,
    /// How long the platform takes to say that it has no such file.
    pub(in crate::workers) download_ms: AtomicU64,
    /// Who makes the calls of other generations; nobody for one that is gone.
    pub(in crate::workers) generations: Mutex<BTreeMap<u64, Option<Arc<ScriptedAdapter>>>>,
}

pub(in crate::workers) fn facts() -> AdapterFacts {
    AdapterFacts {
        offers: Offers {
            progress: true,
            reconcile: true,
            webhook: true,
            poll: false,
            ..Offers::default()
        },
        calls_at_once: 8,
        call_ms: 30_000,
        digest: "d1".to_owned(),
        ..AdapterFacts::default()
    }
}

impl ScriptedAdapter {
    pub(in crate::workers) fn new(env: &Env) -> Arc<Self> {
        Arc::new(Self {
            env: env.clone(),
            facts: Mutex::new(facts()),
            sends: Mutex::default(),
            finds: Mutex::default(),
            polls: Mutex::default(),
            called: Mutex::default(),
            left: Mutex::default(),
            found: Mutex::default(),
            polled: Mutex::default(),
            indicated: Mutex::default(),
            download_ms: AtomicU64::new(0),
            generations: Mutex::default(),
        })
    }

    pub(in crate::workers) fn then(&self, sends: impl IntoIterator<Item = Send>) {
        self.sends.lock().unwrap().extend(sends);
    }

    pub(in crate::workers) fn calls(&self) -> Vec<Seen> {
        self.called.lock().unwrap().clone()
    }

    /// What reached the platform.
    pub(in crate::workers) fn arrived(&self) -> Vec<String> {
        self.left.lock().unwrap().clone()
    }

    pub(in crate::workers) fn texts(&self) -> Vec<String> {
        self.calls().into_iter().map(|seen| seen.message.text).collect()
    }

    fn call<T>(end: CallEnd<T>, begun: u32, accepted: u32) -> Call<T> {
        let ledger = Ledger {
            declares_send: true,
            send_begun: begun,
            send_answered: accepted,
            send_accepted: accepted,
            send_barred: 0,
            other_begun: 0,
        };
        let (state, usage) = (StateWrites::default(), Usage::default());
        Call { end, ledger, state, usage, digest: "d1".to_owned() }
    }
}

#[async_trait]
impl Adapter for ScriptedAdapter {
    fn facts(&self) -> AdapterFacts {
        self.facts.lock().unwrap().clone()
    }

    fn generation(&self, number: u64) -> GenerationOf {
        match self.generations.lock().unwrap().get(&number) {
            None => GenerationOf::This,
            Some(None) => GenerationOf::Gone,
            Some(Some(other)) => GenerationOf::Other(Arc::clone(other) as Arc<dyn Adapter>),
        }
    }

    async fn send(
        &self,
        kind: DeliveryKind,
        message: OutboundMessage,
        stop: StopHandle,
    ) -> Call<SendAnswer> {
        let at_ms = self.env.now().mono_ms;
        let platform_id = format!("p-{}", message.delivery_id);
        let text = message.text.clone();
        self.called.lock().unwrap().push(Seen { at_ms, kind, message });
        let mut script = self.sends.lock().unwrap().pop_front().unwrap_or(Send::Deliver);
        loop {
            script = match script {
                Send::After(ms, then) => {
                    self.env.sleep(Duration::from_millis(ms)).await;
                    *then
                }
                Send::Deliver => {
                    self.left.lock().unwrap().push(text);
                    let receipt = Receipt { platform_id, ..Receipt::default() };
                    return Self::call(CallEnd::Answered(Ok(receipt)), 1, 1);
                }
                Send::Say(error) => return Self::call(CallEnd::Answered(Err(error)), 0, 0),
                Send::Trap { left } => {
                    return Self::call(CallEnd::Trapped("it broke".to_owned()), left.into(), 0);
                }
                Send::Hang { left } => {
                    stop.stopped().await;
                    return Self::call(CallEnd::Cancelled, left.into(), 0);
                }
                Send::Lost => std::future::pending().await,
            };
        }
    }

    async fn find(
        &self,
        _message: OutboundMessage,
        since_ms: u64,
        _stop: StopHandle,
    ) -> Call<Result<Lookup, CallError>> {
        self.found.lock().unwrap().push((self.env.now().mono_ms, since_ms));
        let next = self.finds.lock().unwrap().pop_front();
        let answer = next.unwrap_or_else(|| Ok(Lookup::Undecided("it does not tell".to_owned())));
        Self::call(CallEnd::Answered(answer), 0, 0)
    }

    async fn poll(
        &self,
        cursor: Option<String>,
        wait_ms: u32,
        _most: u32,
        stop: StopHandle,
    ) -> Call<Result<Batch, PollError>> {
        self.polled.lock().unwrap().push((self.env.now().mono_ms, cursor.clone()));
        let next = self.polls.lock().unwrap().pop_front().unwrap_or(Poll::Nothing);
        match next {
            Poll::Bring(batch) => Self::call(CallEnd::Answered(Ok(batch)), 0, 0),
            Poll::Say(error) => Self::call(CallEnd::Answered(Err(error)), 0, 0),
            Poll::Nothing => {
                let wait = Duration::from_millis(u64::from(wait_ms));
                if self.env.timeout(wait, stop.stopped()).await.is_ok() {
                    return Self::call(CallEnd::Cancelled, 0, 0);
                }
                let cursor = cursor.unwrap_or_else(|| "start".to_owned());
                let batch = Batch { events: Vec::new(), cursor, more: false };
                Self::call(CallEnd::Answered(Ok(batch)), 0, 0)
            }
        }
    }

    async fn download(
        &self,
        _place: Place,
        _file: Attachment,
        _stop: StopHandle,
    ) -> Call<Result<BlobId, CallError>> {
        self.env.sleep(Duration::from_millis(self.download_ms.load(Ordering::Relaxed))).await;
        let gone = CallError::Refused(Fault::new("gone", "it has no such file"));
        Self::call(CallEnd::Answered(Err(gone)), 0, 0)
    }

    async fn indicate(
        &self,
        _place: Place,
        _activity: Activity,
        _stop: StopHandle,
    ) -> Call<Result<Option<u32>, CallError>> {
        self.indicated.lock().unwrap().push(self.env.now().mono_ms);
        Self::call(CallEnd::Answered(Ok(Some(5_000))), 0, 0)
    }
}

/// What a handler does, step by step.
#[derive(Debug, Clone)]
pub(in crate::workers) enum Act {
    Give(HandlerEvent),
    /// The answer that comes where there is no script.
    Echo,
    Sleep(u64),
    /// Gives these again and again, as fast as they are taken; so long passes after each.
    Flood {
        events: Vec<HandlerEvent>,
        times: u32,
        each_ms: u64,
    },
    /// Ends with this failure.
    Fail(Failure),
    Panic,
    /// Stays until it is told to stop, then tidies up for so long.
    Stay {
        tidies_ms: u64,
    },
}

pub(in crate::workers) fn reply(text: &str) -> Reply {
    Reply { text: text.to_owned(), ..Reply::default() }
}

pub(in crate::workers) fn last_word(text: &str) -> Act {
    Act::Give(HandlerEvent::Final(reply(text)))
}

/// Acts by the message's text, or by the next script of its own.
pub(in crate::workers) struct ScriptedHandler {
    env: Env,
    pub(in crate::workers) scripts: Mutex<VecDeque<Vec<Act>>>,
    pub(in crate::workers) documents: Mutex<Vec<HandlerDocument>>,
    /// When handlers ended, dropped ones too.
    pub(in crate::workers) ended: Arc<Mutex<Vec<i64>>>,
    /// Takes its files as copies in a folder.
    pub(in crate::workers) by_path: AtomicBool,
}

impl ScriptedHandler {
    pub(in crate::workers) fn new(env: &Env) -> Arc<Self> {
        Arc::new(Self {
            env: env.clone(),
            scripts: Mutex::default(),
            documents: Mutex::default(),
            ended: Arc::default(),
            by_path: AtomicBool::new(false),
        })
    }

    pub(in crate::workers) fn then(&self, acts: Vec<Act>) {
        self.scripts.lock().unwrap().push_back(acts);
    }

    pub(in crate::workers) fn runs(&self) -> usize {
        self.documents.lock().unwrap().len()
    }
}

struct Ended(Env, Arc<Mutex<Vec<i64>>>);

impl Drop for Ended {
    fn drop(&mut self) {
        self.1.lock().unwrap().push(self.0.now().mono_ms);
    }
}

#[async_trait]
impl Handler for ScriptedHandler {
    async fn answer(
        &self,
        document: HandlerDocument,
        events: mpsc::Sender<HandlerEvent>,
        stop: StopHandle,
    ) -> HandlerEnd {
        let _ended = Ended(self.env.clone(), Arc::clone(&self.ended));
        let text = format!("re: {}", document.message.text);
        let echo = vec![Act::Echo];
        self.documents.lock().unwrap().push(document);
        let acts = self.scripts.lock().unwrap().pop_front().unwrap_or(echo);
        for act in acts {
            match act {
                Act::Give(event) => {
                    let _ = events.send(event).await;
                }
                Act::Echo => {
                    let _ = events.send(HandlerEvent::Final(reply(&text))).await;
                }
                Act::Sleep(ms) => self.env.sleep(Duration::from_millis(ms)).await,
                Act::Flood { events: given, times, each_ms } => {
                    for _ in 0..times {
                        for event in given.iter().cloned() {
                            if events.send(event).await.is_err() {
                                return HandlerEnd::Stopped;
                            }
                        }
                        tokio::time::advance(Duration::from_millis(each_ms)).await;
                    }
                }
                Act::Fail(failure) => return HandlerEnd::Failed(failure),
                Act::Panic => panic!("scripted"),
                Act::Stay { tidies_ms } => {
                    stop.stopped().await;
                    self.env.sleep(Duration::from_millis(tidies_ms)).await;
                    return HandlerEnd::Stopped;
                }
            }
        }
        HandlerEnd::Ended
    }

    fn files(&self) -> HandlerFiles {
        if self.by_path.load(Ordering::Relaxed) {
            HandlerFiles::ByPath
        } else {
            HandlerFiles::ByAddress
        }
    }
}
