//! Children that do not keep to the protocol: a test speaks for them.

use super::super::start::{Helper, Mode};
use super::super::talk::{Answer, End, LogLine};
use super::*;
use crate::sandbox::bindings::exports::lastword::channel::webhook;
use crate::sandbox::bindings::lastword::channel::types;
use crate::sandbox::log_sink::Level;
use crate::sandbox::orders::Said;

const MOST: u32 = 17 << 20;

fn calls() -> Calls {
    Calls {
        book: Mutex::default(),
        is_closed: AtomicBool::new(false),
        over: watch::Sender::new(None),
        condemned: Mutex::new(None),
        changed: Notify::new(),
    }
}

fn done(end: End) -> Box<Done> {
    Box::new(Done {
        end,
        cpu_us: 0,
        memory_peak_bytes: 0,
        memory_refused: false,
        log_dropped: 0,
        log_last: Vec::new(),
    })
}

/// Both orders of the same moment: the call's end is told, and nobody waits for it any more.
#[test]
fn a_call_that_ends_as_it_is_left_costs_the_child_nothing() {
    let late = Duration::from_secs(60);
    let begun = || {
        let (calls, (sender, events)) = (calls(), mpsc::channel(4));
        locked(&calls.book).insert(7, Caller::new(sender, &CallLimits::default()));
        (calls, events)
    };
    for is_left_first in [true, false] {
        let (calls, _events) = begun();
        if is_left_first {
            calls.leave(7, Duration::ZERO);
        }
        assert!(!matches!(calls.admit(Kind::Done, 7, 9), Admitted::Never));
        if !is_left_first {
            calls.leave(7, Duration::ZERO);
        }
        assert_eq!(calls.must_end(late), None, "left first: {is_left_first}");
        assert!(matches!(calls.admit(Kind::Done, 7, 9), Admitted::Never), "it ends once");
    }
    let (calls, _events) = begun();
    calls.leave(7, Duration::ZERO);
    assert!(calls.must_end(late).is_some(), "one that goes on and on is ended with its child");
}

/// A line whose far end the test holds. The process behind it says nothing.
fn far(env: &Env) -> (Line, UnixStream) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let (child, _) = Helper::own().unwrap().start(env, Mode::Probe).unwrap();
    (Line::new(env, child, ours, Faces::default(), MOST), theirs)
}

fn ask(call: u64) -> Vec<u8> {
    frame::encode(&ToHost::Ask { call, ask: Ask::NowMs }).unwrap()
}

fn log(call: u64, bytes: usize) -> Vec<u8> {
    let line = LogLine { level: Level::Info, message: "x".repeat(bytes), fields: Vec::new() };
    frame::encode(&ToHost::Log { call, line }).unwrap()
}

/// What the line says of its child once it is over.
async fn why(env: &Env, line: &Line, within: Duration) -> String {
    let mut over = line.calls.over.subscribe();
    let waiting = over.wait_for(Option::is_some);
    let why = env.timeout(within, waiting).await.expect("the child lives").unwrap().clone();
    assert!(line.is_closed());
    why.unwrap()
}

const SOON: Duration = Duration::from_secs(8);

#[tokio::test]
async fn a_child_that_says_what_nobody_asked_for_is_killed() {
    let env = Env::system();
    let limits = CallLimits { log_lines: 3, log_line_bytes: 100, ..CallLimits::default() };
    let ended = frame::encode(&ToHost::Done { call: 7, done: done(End::Cancelled) }).unwrap();
    for (what, said) in [
        ("of no call, while none is open", vec![log(9, 1)]),
        ("of no call", vec![ask(8)]),
        ("a second question before the answer", vec![ask(7), ask(7)]),
        ("more lines than it has", vec![log(7, 1), log(7, 1), log(7, 1), log(7, 1)]),
        ("a line that is too long", vec![log(7, 64 << 10)]),
        ("something after the end", vec![ended.clone(), log(7, 1)]),
        ("a second end", vec![ended.clone(), ended.clone()]),
        ("no message", vec![b"\xff".to_vec()]),
    ] {
        let (line, mut theirs) = far(&env);
        let open = what.contains("none is open");
        let open = (!open).then(|| Open::new(&env, &line, 7, &limits));
        for message in said {
            let _ = frame::send(&mut theirs, &message).await;
        }
        let why = why(&env, &line, SOON).await;
        assert!(why.contains("did not keep to the protocol"), "{what}: {why}");
        drop(open);
    }
}

#[tokio::test]
async fn what_a_child_may_say_of_a_call_costs_it_nothing() {
    let env = Env::system();
    let limits = CallLimits { log_lines: 3, log_line_bytes: 100, ..CallLimits::default() };
    let (line, mut theirs) = far(&env);
    let mut open = Open::new(&env, &line, 7, &limits);
    for message in [log(7, 1_100), log(7, 1), ask(7)] {
        frame::send(&mut theirs, &message).await.unwrap();
    }
    for _ in 0..3 {
        assert!(open.events.recv().await.is_some());
    }
    line.calls.answered(7);
    frame::send(&mut theirs, &ask(7)).await.unwrap();
    assert!(matches!(open.events.recv().await, Some(Event::Ask(Ask::NowMs))));
    // It is told, and ends it: late, and with a line on its way.
    drop(open);
    for message in
        [log(7, 1), frame::encode(&ToHost::Done { call: 7, done: done(End::Cancelled) }).unwrap()]
    {
        frame::send(&mut theirs, &message).await.unwrap();
    }
    env.sleep(GRACE + Duration::from_millis(500)).await;
    assert!(!line.is_closed() && line.over().is_none(), "{:?}", line.over());
}

/// Some bytes for each event, and some hundred in memory.
#[tokio::test]
async fn a_child_whose_short_message_is_long_in_memory_is_killed() {
    let env = Env::system();
    let deletion = || types::Deletion { conversation: String::new(), external_id: String::new() };
    for (count, fits) in [(10_000, true), (2_000_000, false)] {
        let events = (0..count).map(|_| types::InboundEvent::Deleted(deletion())).collect();
        let reply = webhook::Reply { status: 200, headers: Vec::new(), body: Vec::new(), events };
        let done = done(End::Said(Said::Handled(reply)));
        let message = frame::encode(&ToHost::Done { call: 7, done }).unwrap();
        assert!(message.len() < 8 << 20, "{}", message.len());
        let (line, mut theirs) = far(&env);
        let mut open = Open::new(&env, &line, 7, &CallLimits::default());
        frame::send(&mut theirs, &message).await.unwrap();
        if fits {
            assert!(matches!(open.events.recv().await, Some(Event::Done(_))));
        } else {
            let why = why(&env, &line, Duration::from_secs(60)).await;
            assert!(why.contains("did not keep to the protocol"), "{why}");
            assert!(open.events.try_recv().is_err());
        }
    }
}

#[tokio::test]
async fn a_child_that_does_not_read_is_killed_by_what_waits_or_by_the_time_it_takes() {
    let env = Env::system();
    let limits = CallLimits::default();
    let answer = || ToChild::Answer { call: 7, answer: Ok(Answer::Bytes(vec![7; 1 << 20])) };
    let (line, _theirs) = far(&env);
    let open = Open::new(&env, &line, 7, &limits);
    for _ in 0..256 {
        open.tell(&answer());
    }
    let queued = line.queued.load(Ordering::Relaxed);
    assert!(line.is_closed(), "{queued} bytes wait");
    let why_soon = why(&env, &line, SOON).await;
    assert!(why_soon.contains("did not read"), "{why_soon}");
    drop(open);
    let (line, _theirs) = far(&env);
    let open = Open::new(&env, &line, 7, &limits);
    open.tell(&answer());
    let why = why(&env, &line, READ_WITHIN + SOON).await;
    assert!(why.contains("did not read"), "{why}");
}
