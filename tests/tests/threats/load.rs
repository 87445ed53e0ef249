//! The well-behaved channel: a platform that posts at a steady pace, and a sink that notes when
//! each reply arrived.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use lastword_tests::harness::http::message;
use lastword_tests::harness::{Answer, Platform, Sink};

/// Between two messages.
const EVERY: Duration = Duration::from_millis(25);
/// Conversations that they are spread over.
const CONVERSATIONS: u64 = 10;

/// A steady load. Ends when it is dropped.
pub(crate) struct Load {
    log: Arc<Log>,
    _sink: Sink,
}

#[derive(Default)]
struct Log {
    over: AtomicBool,
    posted: Mutex<Vec<Posted>>,
    arrived: Mutex<HashMap<String, Vec<Instant>>>,
}

#[derive(Clone)]
struct Posted {
    text: String,
    at: Instant,
    /// None until it was answered.
    taken: Option<bool>,
}

/// What became of the messages of one span.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Figures {
    pub(crate) messages: usize,
    pub(crate) refused: usize,
    pub(crate) doubled: usize,
    pub(crate) p50: Duration,
    pub(crate) p99: Duration,
    pub(crate) worst: Duration,
}

impl Load {
    /// A sink for the channel `good`; nothing is posted yet.
    pub(crate) async fn prepare() -> (Self, String) {
        let log = Arc::new(Log::default());
        let noted = Arc::clone(&log);
        let sink = Sink::scripted(move |arrival| {
            let mut arrived = noted.arrived.lock().unwrap();
            arrived.entry(arrival.text().to_owned()).or_default().push(Instant::now());
            Answer::Take
        })
        .await;
        let url = sink.url();
        (Self { log, _sink: sink }, url)
    }

    /// Posts from now on.
    pub(crate) fn start(&self, platform: Platform) {
        let log = Arc::clone(&self.log);
        tokio::spawn(async move {
            let mut next = tokio::time::interval(EVERY);
            // What is late is not made up for: that would be another load than the one before.
            next.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            for n in 0_u64.. {
                next.tick().await;
                if log.over.load(Ordering::Relaxed) {
                    return;
                }
                tokio::spawn(post(Arc::clone(&log), platform.clone(), n));
            }
        });
    }

    /// The messages posted between two moments, once all of them have arrived.
    pub(crate) async fn figures(&self, from: Instant, to: Instant, within: Duration) -> Figures {
        let began = Instant::now();
        loop {
            let posted = self.log.posted.lock().unwrap().clone();
            let span = posted.iter().filter(|one| from <= one.at && one.at < to);
            let span: Vec<_> = span.cloned().collect();
            let arrived = self.log.arrived.lock().unwrap().clone();
            let missing = |one: &&Posted| match one.taken {
                None => true,
                Some(taken) => taken && !arrived.contains_key(&one.text),
            };
            let open = span.iter().filter(missing).count();
            if open == 0 {
                return figures(&span, &arrived);
            }
            assert!(began.elapsed() < within, "{open} of {} never arrived", span.len());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Whether anything has arrived.
    pub(crate) fn runs(&self) -> bool {
        !self.log.arrived.lock().unwrap().is_empty()
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.log.over.store(true, Ordering::Relaxed);
    }
}

async fn post(log: Arc<Log>, platform: Platform, n: u64) {
    let text = format!("good {n}");
    let document = message(&format!("good-{n}"), &format!("c{}", n % CONVERSATIONS), &text);
    let index = {
        let mut posted = log.posted.lock().unwrap();
        posted.push(Posted { text, at: Instant::now(), taken: None });
        posted.len() - 1
    };
    let reply = platform.post("messages", &document).await;
    let taken = reply.is_ok_and(|reply| reply.status == 200);
    log.posted.lock().unwrap()[index].taken = Some(taken);
}

fn figures(span: &[Posted], arrived: &HashMap<String, Vec<Instant>>) -> Figures {
    let mut waits = Vec::new();
    let (mut refused, mut doubled) = (0, 0);
    for one in span {
        match arrived.get(&one.text) {
            Some(times) => {
                doubled += times.len() - 1;
                waits.push(times[0].saturating_duration_since(one.at));
            }
            None => refused += 1,
        }
    }
    waits.sort();
    let at = |part: f64| {
        let last = waits.len().saturating_sub(1) as f64;
        waits.get((last * part).round() as usize).copied().unwrap_or_default()
    };
    let (p50, p99, worst) = (at(0.5), at(0.99), at(1.0));
    Figures { messages: span.len(), refused, doubled, p50, p99, worst }
}
