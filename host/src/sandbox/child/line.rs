//! A child that runs, as the host has it: what it says is read and handed to its calls, what it is
//! told is written, and when it is over with it, it is seen off and everybody who waits is told. It
//! knows nothing of what is called.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::AbortHandle;

use super::start::{Child, Ended as ProcessEnded};
use super::talk::{self, Ask, Done, Kind, ToChild, ToHost};
use super::{away, frame};
use crate::env::Env;
use crate::sandbox::faces::Faces;
use crate::sandbox::guest::Guest;
use crate::sandbox::limits::CallLimits;
use crate::sandbox::text::visible;

/// How long a child may take to end a call that the host has ended.
const GRACE: Duration = Duration::from_secs(1);
/// How long a child that closed its pipe may take to end by itself.
pub(super) const PATIENCE: Duration = Duration::from_secs(1);
/// Messages of one call that wait: one of them may be long, and the end.
const EVENTS_MAX: usize = 64;
/// Bytes that may wait for a child to read them when another message comes on top.
const QUEUED_BYTES_MAX: u64 = 64 << 20;
/// How long a child may take to read one message.
const READ_WITHIN: Duration = Duration::from_secs(10);
/// Bytes of a sentence.
pub(super) const SENTENCE_BYTES_MAX: usize = 1_024;

/// Why a child is killed.
const UNRULY: &str = "did not keep to the protocol and was killed";
const ENDLESS: &str = "did not end a call that the host had ended and was killed";
const DEAF: &str = "did not read what it was told and was killed";

/// A child that runs.
pub(super) struct Line {
    to: mpsc::UnboundedSender<Vec<u8>>,
    /// Bytes that wait for the child to read them.
    queued: Arc<AtomicU64>,
    calls: Arc<Calls>,
    pub(super) faces: Faces,
    tasks: [AbortHandle; 2],
}

/// The calls that a child has.
struct Calls {
    book: Mutex<HashMap<u64, Caller>>,
    /// It takes no more calls: another is to be started for the next.
    is_closed: AtomicBool,
    /// Why it is no more.
    over: watch::Sender<Option<String>>,
    condemned: Mutex<Option<&'static str>>,
    changed: Notify,
}

/// One call, and what the child may still say of it.
struct Caller {
    waits: Waits,
    /// It asked and was not answered: a guest does one thing at a time.
    has_asked: bool,
    has_ended: bool,
    logs_left: u32,
    log_bytes_max: usize,
}

/// Who waits for a call.
enum Waits {
    Open(mpsc::Sender<Event>),
    /// Nobody any more, since then: the child was told, and is to end it.
    Nobody(Duration),
}

enum Event {
    Ask(Ask),
    Log(talk::LogLine),
    Done(Box<Done>),
}

impl Caller {
    fn new(to: mpsc::Sender<Event>, limits: &CallLimits) -> Self {
        Self {
            waits: Waits::Open(to),
            has_asked: false,
            has_ended: false,
            logs_left: limits.log_lines,
            log_bytes_max: away::line_bytes_max(limits),
        }
    }

    /// Whether the child may say that now.
    fn may_say(&mut self, kind: Kind, bytes: usize) -> bool {
        if self.has_ended {
            return false;
        }
        match kind {
            Kind::Ask => !std::mem::replace(&mut self.has_asked, true),
            Kind::Log => {
                let fits = self.logs_left > 0 && bytes <= self.log_bytes_max;
                self.logs_left = self.logs_left.saturating_sub(1);
                fits
            }
            Kind::Done => {
                self.has_ended = true;
                true
            }
        }
    }
}

impl Line {
    /// Attends a child that is ready.
    pub(super) fn new(env: &Env, child: Child, pipe: UnixStream, faces: Faces, most: u32) -> Self {
        let (from, writing) = pipe.into_split();
        let (to, outbox) = mpsc::unbounded_channel::<Vec<u8>>();
        let calls = Arc::new(Calls {
            book: Mutex::default(),
            is_closed: AtomicBool::new(false),
            over: watch::Sender::new(None),
            condemned: Mutex::new(None),
            changed: Notify::new(),
        });
        let queued = Arc::new(AtomicU64::new(0));
        let telling =
            tell_all(env.clone(), outbox, writing, Arc::clone(&queued), Arc::clone(&calls));
        let writer = env.spawn(telling);
        let keeping = keep(env.clone(), child, Arc::clone(&calls), from, most);
        let keeper = env.spawn(keeping);
        Self { to, queued, calls, faces, tasks: [writer.abort_handle(), keeper.abort_handle()] }
    }

    /// Whether it takes no more calls.
    pub(super) fn is_closed(&self) -> bool {
        self.calls.is_closed.load(Ordering::Acquire)
    }

    /// Why it is no more, where that is known by now.
    pub(super) fn over(&self) -> Option<String> {
        self.calls.over.borrow().clone()
    }

    fn tell(&self, message: Vec<u8>) {
        let bytes = message.len() as u64;
        if self.queued.fetch_add(bytes, Ordering::Relaxed) > QUEUED_BYTES_MAX {
            return self.calls.condemn(DEAF);
        }
        // Where nobody takes it the child is gone, which the events tell.
        let _ = self.to.send(message);
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        // With the keeper goes the child.
        for task in &self.tasks {
            task.abort();
        }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Writes what the child is told.
async fn tell_all(
    env: Env,
    mut outbox: mpsc::UnboundedReceiver<Vec<u8>>,
    mut to: OwnedWriteHalf,
    queued: Arc<AtomicU64>,
    calls: Arc<Calls>,
) {
    while let Some(message) = outbox.recv().await {
        match env.timeout(READ_WITHIN, frame::send(&mut to, &message)).await {
            Ok(Ok(())) => queued.fetch_sub(message.len() as u64, Ordering::Relaxed),
            Ok(Err(_)) => return,
            Err(_) => return calls.condemn(DEAF),
        };
    }
}

/// Reads what a child says until it is over with it, then sees it off.
async fn keep(env: Env, child: Child, calls: Arc<Calls>, from: OwnedReadHalf, most: u32) {
    let mut hearing = std::pin::pin!(hear(from, &calls, most));
    let closed = loop {
        let wait = calls.next_look(env.elapsed());
        tokio::select! {
            biased;
            () = hearing.as_mut() => break None,
            () = calls.changed.notified() => {}
            () = env.sleep(wait.unwrap_or_default()), if wait.is_some() => {}
        }
        if let Some(why) = calls.must_end(env.elapsed()) {
            break Some(why);
        }
    };
    let condemned = closed.or(*locked(&calls.condemned));
    // New calls start another child from here on, whatever this one takes to end.
    calls.is_closed.store(true, Ordering::Release);
    let patience = if condemned.is_some() { Duration::ZERO } else { PATIENCE };
    let ended = child.end(patience).await;
    let _ = calls.over.send_replace(Some(told(&ended, condemned.unwrap_or("ended"))));
    // Who waits sees the end, and why.
    locked(&calls.book).clear();
}

/// Nothing is read of a message but its head before it is known that the child may say it.
async fn hear(mut from: OwnedReadHalf, calls: &Calls, most: u32) {
    loop {
        let message = match frame::receive(&mut from, most).await {
            Ok(message) => message,
            Err(error) if error.kind() == std::io::ErrorKind::InvalidData => {
                return calls.condemn(UNRULY);
            }
            Err(_) => return,
        };
        let Ok((place, call)) = frame::head_of(&message) else { return calls.condemn(UNRULY) };
        let Some(kind) = Kind::at(place) else { return calls.condemn(UNRULY) };
        let open = match calls.admit(kind, call, message.len()) {
            Admitted::To(open) => open,
            Admitted::Nobody => continue,
            Admitted::Never => return calls.condemn(UNRULY),
        };
        let event = match frame::decode_weighed(&message, most) {
            Ok(ToHost::Ask { ask, .. }) => Event::Ask(ask),
            Ok(ToHost::Log { line, .. }) => Event::Log(line),
            Ok(ToHost::Done { done, .. }) => Event::Done(done),
            Err(_) => return calls.condemn(UNRULY),
        };
        drop(message);
        // What waits is bounded: a child that floods waits here itself.
        let _ = open.send(event).await;
    }
}

/// How a process ended, as a sentence.
pub(super) fn told(ended: &ProcessEnded, what: &str) -> String {
    let how = ended.status.map_or_else(String::new, |status| format!(" ({status})"));
    let words = visible(&ended.last_words, SENTENCE_BYTES_MAX);
    let colon = if words.is_empty() { "" } else { ": " };
    format!("the adapter's own process {what}{how}{colon}{words}")
}

/// To whom a message goes.
enum Admitted {
    To(mpsc::Sender<Event>),
    /// Its call was left.
    Nobody,
    /// A child that keeps to the protocol does not say it.
    Never,
}

impl Calls {
    fn condemn(&self, why: &'static str) {
        locked(&self.condemned).get_or_insert(why);
        // The next call is not to meet it any more.
        self.is_closed.store(true, Ordering::Release);
        self.changed.notify_one();
    }

    fn admit(&self, kind: Kind, call: u64, bytes: usize) -> Admitted {
        let mut book = locked(&self.book);
        let Some(caller) = book.get_mut(&call) else { return Admitted::Never };
        if !caller.may_say(kind, bytes) {
            return Admitted::Never;
        }
        match &caller.waits {
            Waits::Open(open) => Admitted::To(open.clone()),
            Waits::Nobody(_) => {
                if kind == Kind::Done {
                    book.remove(&call);
                }
                Admitted::Nobody
            }
        }
    }

    /// Nobody waits for the end of `call` any more: it is to come all the same, unless it has. Ended
    /// and left at the same moment, it is seen here or in [`Calls::admit`], whichever comes second.
    fn leave(&self, call: u64, now: Duration) {
        let mut book = locked(&self.book);
        if let Some(caller) = book.get_mut(&call) {
            caller.waits = Waits::Nobody(now);
            if caller.has_ended {
                book.remove(&call);
            }
        }
    }

    /// It is about to be answered, and may ask again.
    fn answered(&self, call: u64) {
        if let Some(caller) = locked(&self.book).get_mut(&call) {
            caller.has_asked = false;
        }
    }

    /// Since when the call was left that was left longest ago and has not ended.
    fn left_since(&self) -> Option<Duration> {
        let book = locked(&self.book);
        let left = book.values().filter_map(|caller| match caller.waits {
            Waits::Open(_) => None,
            Waits::Nobody(since) => Some(since),
        });
        left.min()
    }

    /// How long until a call that was left must have ended.
    fn next_look(&self, now: Duration) -> Option<Duration> {
        self.left_since().map(|since| (since + GRACE).saturating_sub(now))
    }

    fn must_end(&self, now: Duration) -> Option<&'static str> {
        let late = self.left_since().is_some_and(|since| since + GRACE <= now);
        (*locked(&self.condemned)).or(late.then_some(ENDLESS))
    }
}

/// A call at a child. Where it is dropped before its end the child is told, and watched.
pub(super) struct Open<'a> {
    env: &'a Env,
    line: &'a Line,
    call: u64,
    events: mpsc::Receiver<Event>,
    is_over: bool,
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        if self.is_over {
            locked(&self.line.calls.book).remove(&self.call);
            return;
        }
        self.line.calls.leave(self.call, self.env.elapsed());
        self.line.calls.changed.notify_one();
        self.tell(&ToChild::Cancel { call: self.call });
    }
}

/// What came of a call at the child.
pub(super) enum Over {
    Done(Box<Done>),
    Died,
}

impl<'a> Open<'a> {
    pub(super) fn new(env: &'a Env, line: &'a Line, call: u64, limits: &CallLimits) -> Self {
        let (sender, events) = mpsc::channel(EVENTS_MAX);
        locked(&line.calls.book).insert(call, Caller::new(sender, limits));
        Self { env, line, call, events, is_over: false }
    }

    pub(super) fn tell(&self, message: &ToChild) {
        if let Ok(message) = frame::encode(message) {
            self.line.tell(message);
        }
    }

    /// Answers what the guest asks until the call is over.
    pub(super) async fn converse(&mut self, guest: &mut Guest) -> Over {
        loop {
            // The child may have died between its start and this call's entry.
            let over = self.line.calls.over.borrow().is_some();
            let event = if over { self.events.try_recv().ok() } else { self.events.recv().await };
            match event {
                Some(Event::Ask(ask)) => {
                    let answer = Box::pin(talk::answer(guest, ask)).await;
                    // After a trap there is nothing left to ask.
                    if answer.is_ok() {
                        self.line.calls.answered(self.call);
                    }
                    let answer = answer.map_err(|error| error.root_cause().to_string());
                    self.tell(&ToChild::Answer { call: self.call, answer });
                }
                Some(Event::Log(line)) => {
                    guest.log.write(line.level, &line.message, &line.fields);
                }
                Some(Event::Done(done)) => {
                    self.is_over = true;
                    return Over::Done(done);
                }
                None => {
                    self.is_over = true;
                    return Over::Died;
                }
            }
        }
    }

    /// Ends the call at the child, and gives what it used, where the child still says so.
    pub(super) async fn cancel(&mut self) -> Option<Box<Done>> {
        self.tell(&ToChild::Cancel { call: self.call });
        let ending = async {
            loop {
                match self.events.recv().await {
                    Some(Event::Ask(_) | Event::Log(_)) => {}
                    Some(Event::Done(done)) => return Some(done),
                    None => return None,
                }
            }
        };
        let ended = self.env.timeout(GRACE, ending).await;
        self.is_over = true;
        if ended.is_err() {
            self.line.calls.condemn(ENDLESS);
        }
        ended.ok().flatten()
    }

    /// Why the child is no more.
    pub(super) async fn why(&self) -> String {
        let mut over = self.line.calls.over.subscribe();
        let why = over.wait_for(Option::is_some).await;
        why.ok().and_then(|why| why.clone()).unwrap_or_else(|| "its process ended".to_owned())
    }
}

#[cfg(test)]
mod tests;
