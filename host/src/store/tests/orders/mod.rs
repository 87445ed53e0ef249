//! Every order in which threads can meet at the hand-off to the writer, up to a bound of preemptions:
//! the sources that the store runs, compiled once more over channels whose every use is a step of the
//! model. The model fails by itself where a thread would wait for ever.

mod claims;
mod sync;

#[path = "../../writer/handoff.rs"]
#[allow(clippy::duplicate_mod, reason = "the same source over the model's channels")]
mod handoff;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering as Plain};

use loom::future::block_on;
use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::thread;

use handoff::{Asking, Desk, Scribe, Unanswered};

/// Threads are stopped against their will at most so often in one order. Orders in which they wait
/// for each other are all tried. `LASTWORD_PREEMPTIONS_MORE` asks for so many more.
const PREEMPTIONS_MAX: usize = 2;

/// What a thread of the model has for its calls, and for the words of a panic.
const STACK_BYTES: usize = 1024 * 1024;

/// A thread of the model.
fn spawn<T: Send + 'static>(run: impl FnOnce() -> T + Send + 'static) -> thread::JoinHandle<T> {
    thread::Builder::new().stack_size(STACK_BYTES).spawn(run).unwrap()
}

/// Tries every order; says how many there were.
fn explore(preemptions_max: usize, model: impl Fn() + Send + Sync + 'static) -> u64 {
    let orders = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&orders);
    let mut builder = loom::model::Builder::new();
    let more = crate::env::variable("LASTWORD_PREEMPTIONS_MORE");
    let more: usize = more.map_or(0, |text| text.to_string_lossy().parse().unwrap());
    builder.preemption_bound = Some(preemptions_max + more);
    builder.max_branches = 20_000;
    let model = Arc::new(model);
    builder.check(move || {
        counted.fetch_add(1, Plain::Relaxed);
        let model = Arc::clone(&model);
        spawn(move || model()).join().unwrap();
    });
    orders.load(Plain::Relaxed)
}

fn explore_all(what: &str, model: impl Fn() + Send + Sync + 'static) {
    explore_up_to(PREEMPTIONS_MAX, what, model);
}

#[allow(clippy::print_stderr, reason = "how many orders were tried is what a run is worth")]
fn explore_up_to(preemptions: usize, what: &str, model: impl Fn() + Send + Sync + 'static) {
    let orders = explore(preemptions, model);
    eprintln!("{what}: {orders} orders");
    assert!(orders > 10, "{what}: only {orders} orders");
}

/// Commits commands by their number; answers ten times that, or that it failed.
struct Book {
    committed: Arc<[AtomicUsize; 3]>,
    /// Batches yet to fail.
    failures: u32,
    /// Answers that are kept back: a writer that breaks off.
    silent: bool,
    /// The guard that is left out: answers go before the commit.
    late: Option<Vec<usize>>,
}

impl Book {
    fn new() -> (Self, Arc<[AtomicUsize; 3]>) {
        let committed = Arc::new([0, 1, 2].map(|_| AtomicUsize::new(0)));
        let book =
            Self { committed: Arc::clone(&committed), failures: 0, silent: false, late: None };
        (book, committed)
    }

    fn commit(&self, commands: &[usize]) {
        for command in commands {
            self.committed[*command].fetch_add(1, Ordering::AcqRel);
        }
    }
}

impl Scribe<usize, Result<usize, ()>> for Book {
    fn carry_out(&mut self, commands: Vec<usize>) -> Vec<Result<usize, ()>> {
        if self.silent {
            return Vec::new();
        }
        if self.failures > 0 {
            self.failures -= 1;
            return commands.iter().map(|_| Err(())).collect();
        }
        let answers = commands.iter().map(|command| Ok(command * 10)).collect();
        match &mut self.late {
            Some(late) => late.extend(commands),
            None => self.commit(&commands),
        }
        answers
    }

    fn tidy(&mut self) {
        if let Some(late) = &mut self.late {
            let late = std::mem::take(late);
            self.commit(&late);
        }
    }
}

type Asks = Asking<usize, Result<usize, ()>>;

fn serve(desk: Desk<usize, Result<usize, ()>>, mut book: Book) -> thread::JoinHandle<()> {
    spawn(move || desk.serve(2, &mut book))
}

/// Asks until it is done; a success is on disk by the time it is heard.
fn ask(asking: &Asks, committed: &[AtomicUsize; 3], command: usize) {
    loop {
        match block_on(asking.ask(command)) {
            Ok(Ok(answer)) => {
                assert_eq!(answer, command * 10, "somebody else's answer");
                let commits = committed[command].load(Ordering::Acquire);
                assert_eq!(commits, 1, "answered before it was committed");
                return;
            }
            Ok(Err(())) => {}
            Err(why) => panic!("nobody answered: {why:?}"),
        }
    }
}

/// Two who ask at a queue for one, a writer that may fail first, and the end of it all.
fn two_ask(prepare: fn(&mut Book)) {
    let (mut book, committed) = Book::new();
    prepare(&mut book);
    let (asking, desk) = handoff::open(1);
    let writer = serve(desk, book);
    let asking = Arc::new(asking);
    let other = {
        let (asking, committed) = (Arc::clone(&asking), Arc::clone(&committed));
        spawn(move || ask(&asking, &committed, 1))
    };
    ask(&asking, &committed, 0);
    other.join().unwrap();
    drop(asking);
    writer.join().unwrap();
}

#[test]
fn who_asks_hears_of_his_own_command_after_its_commit_in_every_order() {
    explore_all("two ask", || two_ask(|_| {}));
}

#[test]
fn who_is_refused_asks_again_and_is_committed_once_in_every_order() {
    // More steps than in the others: fewer preemptions.
    let what = "two ask a disk that fails once";
    explore_up_to(PREEMPTIONS_MAX - 1, what, || two_ask(|book| book.failures = 1));
}

#[test]
fn what_is_in_the_queue_when_the_last_handle_goes_is_carried_out_in_every_order() {
    explore_all("one goes away while it waits", || {
        let (book, committed) = Book::new();
        let (asking, desk) = handoff::open(2);
        let writer = serve(desk, book);
        block_on(async {
            // Handed over, and then nobody waits for the answer.
            let mut asks = Box::pin(asking.ask(2));
            std::future::poll_fn(|context| {
                let _ = asks.as_mut().poll(context);
                std::task::Poll::Ready(())
            })
            .await;
        });
        drop(asking);
        writer.join().unwrap();
        assert_eq!(committed[2].load(Ordering::Acquire), 1, "a command was lost");
    });
}

#[test]
fn a_full_queue_refuses_at_once_and_what_it_took_is_answered_in_every_order() {
    explore_all("two offer at a queue for one", || {
        let (book, committed) = Book::new();
        let (asking, desk) = handoff::open(1);
        let writer = serve(desk, book);
        let asking = Arc::new(asking);
        let offer = |asking: &Asks, command: usize| match block_on(asking.offer(command)) {
            Ok(answer) => assert_eq!(answer, Ok(command * 10)),
            Err(why) => assert_eq!(why, Unanswered::Full),
        };
        let other = {
            let asking = Arc::clone(&asking);
            spawn(move || offer(&asking, 1))
        };
        offer(&asking, 0);
        other.join().unwrap();
        drop(asking);
        writer.join().unwrap();
        assert!(committed.iter().all(|commits| commits.load(Ordering::Acquire) < 2));
    });
}

#[test]
fn nobody_waits_for_a_writer_that_has_ended_in_any_order() {
    explore_all("two ask a writer that ends", || {
        let (asking, desk) = handoff::open::<usize, Result<usize, ()>>(1);
        let asking = Arc::new(asking);
        let gone = |asking: &Asks, command: usize| {
            assert_eq!(block_on(asking.ask(command)), Err(Unanswered::Gone));
        };
        let other = {
            let asking = Arc::clone(&asking);
            spawn(move || gone(&asking, 1))
        };
        let ends = spawn(move || drop(desk));
        gone(&asking, 0);
        other.join().unwrap();
        ends.join().unwrap();
    });
    explore_all("a writer breaks off in the middle of a batch", || {
        let (mut book, _) = Book::new();
        book.silent = true;
        let (asking, desk) = handoff::open(1);
        let writer = serve(desk, book);
        assert_eq!(block_on(asking.ask(0)), Err(Unanswered::Gone));
        drop(asking);
        writer.join().unwrap();
    });
}

/// What the model says of a hand-off without one of its guards.
fn fails(model: impl Fn() + Send + Sync + 'static) -> String {
    let failed = catch_unwind(AssertUnwindSafe(|| explore(PREEMPTIONS_MAX, model))).unwrap_err();
    let text = failed.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| failed.downcast_ref::<&str>().copied()).unwrap_or_default().to_owned()
}

#[test]
fn answers_that_go_before_the_commit_are_found() {
    let said = fails(|| two_ask(|book| book.late = Some(Vec::new())));
    assert!(said.contains("before it was committed"), "{said}");
}

#[test]
fn a_wake_up_that_is_lost_between_looking_and_sleeping_is_found() {
    let said = sync::forgetful(|| fails(|| two_ask(|_| {})));
    assert!(said.contains("deadlock"), "{said}");
}
