//! A child that runs, as the host has it: what it says is read and handed to its calls, what it is
//! told is written, and when it is over with it, it is seen off and everybody who waits is told. It
//! knows nothing of what is called.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::net::UnixStream;
use tokio::net::unix::OwnedReadHalf;
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::AbortHandle;

use super::frame;
use super::start::{Child, Ended as ProcessEnded};
use super::talk::{self, Ask, Done, ToChild, ToHost};
use crate::env::Env;
use crate::sandbox::faces::Faces;
use crate::sandbox::guest::Guest;
use crate::sandbox::text::visible;

/// How long a child may take to end a call that the host has ended.
const GRACE: Duration = Duration::from_secs(1);
/// How long a child that closed its pipe may take to end by itself.
pub(super) const PATIENCE: Duration = Duration::from_secs(1);
/// Messages of one call that wait.
const EVENTS_MAX: usize = 64;
/// Bytes of a sentence.
pub(super) const SENTENCE_BYTES_MAX: usize = 1_024;

/// A child that runs.
pub(super) struct Line {
    to: mpsc::UnboundedSender<Vec<u8>>,
    calls: Arc<Calls>,
    pub(super) faces: Faces,
    tasks: [AbortHandle; 2],
}

/// The calls that a child has.
struct Calls {
    book: Mutex<Book>,
    /// It takes no more calls: another is to be started for the next.
    is_closed: AtomicBool,
    /// Why it is no more.
    over: watch::Sender<Option<String>>,
    condemned: Mutex<Option<&'static str>>,
    changed: Notify,
}

#[derive(Default)]
struct Book {
    open: HashMap<u64, mpsc::Sender<Event>>,
    /// Calls that nobody waits for any more and that the child has not ended, and since when.
    left: BTreeMap<u64, Duration>,
}

enum Event {
    Ask(Ask),
    Log(talk::LogLine),
    Done(Box<Done>),
}

impl Line {
    /// Attends a child that is ready.
    pub(super) fn new(env: &Env, child: Child, pipe: UnixStream, faces: Faces, most: u32) -> Self {
        let (from, mut writing) = pipe.into_split();
        let (to, mut outbox) = mpsc::unbounded_channel::<Vec<u8>>();
        let calls = Arc::new(Calls {
            book: Mutex::default(),
            is_closed: AtomicBool::new(false),
            over: watch::Sender::new(None),
            condemned: Mutex::new(None),
            changed: Notify::new(),
        });
        let writer = env.spawn(async move {
            while let Some(message) = outbox.recv().await {
                if frame::send(&mut writing, &message).await.is_err() {
                    return;
                }
            }
        });
        let keeping = keep(env.clone(), child, Arc::clone(&calls), from, most);
        let keeper = env.spawn(keeping);
        Self { to, calls, faces, tasks: [writer.abort_handle(), keeper.abort_handle()] }
    }

    /// Whether it takes no more calls.
    pub(super) fn is_closed(&self) -> bool {
        self.calls.is_closed.load(Ordering::Acquire)
    }

    /// Why it is no more, where that is known by now.
    pub(super) fn over(&self) -> Option<String> {
        self.calls.over.borrow().clone()
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
    locked(&calls.book).open.clear();
}

async fn hear(mut from: OwnedReadHalf, calls: &Calls, most: u32) {
    loop {
        let message = match frame::receive(&mut from, most).await {
            Ok(message) => message,
            Err(error) if error.kind() == std::io::ErrorKind::InvalidData => {
                return calls.condemn("did not keep to the protocol and was killed");
            }
            Err(_) => return,
        };
        let (call, event) = match frame::decode(&message) {
            Ok(ToHost::Ask { call, ask }) => (call, Event::Ask(ask)),
            Ok(ToHost::Log { call, line }) => (call, Event::Log(line)),
            Ok(ToHost::Done { call, done }) => (call, Event::Done(done)),
            Err(_) => return calls.condemn("did not keep to the protocol and was killed"),
        };
        let is_done = matches!(event, Event::Done(_));
        let open = locked(&calls.book).open.get(&call).cloned();
        if let Some(open) = open {
            // What waits is bounded: a child that floods waits here itself.
            let _ = open.send(event).await;
        }
        if is_done {
            calls.ended(call);
        }
    }
}

/// How a process ended, as a sentence.
pub(super) fn told(ended: &ProcessEnded, what: &str) -> String {
    let how = ended.status.map_or_else(String::new, |status| format!(" ({status})"));
    let words = visible(&ended.last_words, SENTENCE_BYTES_MAX);
    let colon = if words.is_empty() { "" } else { ": " };
    format!("the adapter's own process {what}{how}{colon}{words}")
}

impl Calls {
    fn condemn(&self, why: &'static str) {
        locked(&self.condemned).get_or_insert(why);
        // The next call is not to meet it any more.
        self.is_closed.store(true, Ordering::Release);
        self.changed.notify_one();
    }

    /// Nobody waits for the end of `call` any more: it is to come all the same, unless it is among
    /// what has come.
    fn leave(&self, call: u64, events: &mut mpsc::Receiver<Event>, now: Duration) {
        let mut book = locked(&self.book);
        book.open.remove(&call);
        let mut has_ended = false;
        while let Ok(event) = events.try_recv() {
            has_ended |= matches!(event, Event::Done(_));
        }
        if !has_ended {
            book.left.insert(call, now);
        }
    }

    /// The child ended `call`, and whoever waits for it was told. Told and left at the same moment,
    /// it is seen here or in [`Calls::leave`], whichever comes second.
    fn ended(&self, call: u64) {
        let mut book = locked(&self.book);
        if !book.open.contains_key(&call) {
            book.left.remove(&call);
        }
    }

    /// How long until a call that was left must have ended.
    fn next_look(&self, now: Duration) -> Option<Duration> {
        locked(&self.book).left.values().min().map(|since| (*since + GRACE).saturating_sub(now))
    }

    fn must_end(&self, now: Duration) -> Option<&'static str> {
        let late = locked(&self.book).left.values().any(|since| *since + GRACE <= now);
        let late = late.then_some("did not end a call that the host had ended and was killed");
        (*locked(&self.condemned)).or(late)
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
            locked(&self.line.calls.book).open.remove(&self.call);
            return;
        }
        self.line.calls.leave(self.call, &mut self.events, self.env.elapsed());
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
    pub(super) fn new(env: &'a Env, line: &'a Line, call: u64) -> Self {
        let (sender, events) = mpsc::channel(EVENTS_MAX);
        locked(&line.calls.book).open.insert(call, sender);
        Self { env, line, call, events, is_over: false }
    }

    pub(super) fn tell(&self, message: &ToChild) {
        if let Ok(message) = frame::encode(message) {
            // Where nobody takes it the child is gone, which the events tell.
            let _ = self.line.to.send(message);
        }
    }

    /// Answers what the guest asks until the call is over.
    pub(super) async fn converse(&mut self, guest: &mut Guest) -> Over {
        let mut trapped = false;
        loop {
            // The child may have died between its start and this call's entry.
            let over = self.line.calls.over.borrow().is_some();
            let event = if over { self.events.try_recv().ok() } else { self.events.recv().await };
            match event {
                Some(Event::Ask(_)) if trapped => {
                    self.line.calls.condemn("went on after a trap and was killed");
                }
                Some(Event::Ask(ask)) => {
                    let answer = Box::pin(talk::answer(guest, ask)).await;
                    trapped = answer.is_err();
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
            self.line.calls.condemn("did not end a call that the host had ended and was killed");
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
mod tests {
    use super::*;

    fn calls() -> Calls {
        Calls {
            book: Mutex::default(),
            is_closed: AtomicBool::new(false),
            over: watch::Sender::new(None),
            condemned: Mutex::new(None),
            changed: Notify::new(),
        }
    }

    fn done() -> Event {
        Event::Done(Box::new(Done {
            end: talk::End::Cancelled,
            cpu_us: 0,
            memory_peak_bytes: 0,
            memory_refused: false,
            log_dropped: 0,
            log_last: Vec::new(),
        }))
    }

    /// Three orders of the same moment: the call's end is told, and nobody waits for it any more.
    #[test]
    fn a_call_that_ends_as_it_is_left_costs_the_child_nothing() {
        let late = Duration::from_secs(60);
        for order in 0..3 {
            let (calls, (sender, mut events)) = (calls(), mpsc::channel(4));
            locked(&calls.book).open.insert(7, sender.clone());
            if order < 2 {
                sender.try_send(done()).unwrap();
            }
            if order == 0 {
                calls.ended(7);
            }
            calls.leave(7, &mut events, Duration::ZERO);
            if order > 0 {
                calls.ended(7);
            }
            assert_eq!(calls.must_end(late), None, "order {order}");
        }
        let (calls, (sender, mut events)) = (calls(), mpsc::channel(4));
        locked(&calls.book).open.insert(7, sender);
        calls.leave(7, &mut events, Duration::ZERO);
        assert!(calls.must_end(late).is_some(), "one that goes on and on is ended with its child");
    }
}
