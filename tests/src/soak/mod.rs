//! A soak: the real binary under a fifth of what it can do, with retention short enough to act, for
//! as long as is asked. What it holds must not grow: see `steady` for the rule.

pub mod steady;

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rusqlite::{Connection, OpenFlags};
use serde::Serialize;
use tokio::sync::Semaphore;

use crate::bench::figure::quantile;
use crate::bench::process::resident_mib;
use crate::bench::wire;
use crate::harness::http::message;
use crate::harness::{Answer, Platform, Sink, Site};
use steady::Verdict;

/// How long rows at rest and keys are kept: a soak is long where it is many times this.
pub const RETENTION: Duration = Duration::from_secs(60);
/// Between two samples.
const SAMPLE_EVERY: Duration = Duration::from_secs(5);
/// How long capacity is measured.
const CAPACITY_SPAN: Duration = Duration::from_secs(10);
const ABREAST: usize = 64;
const CONVERSATIONS: u64 = 1024;
const TEXT_BYTES: usize = 512;
/// How long the host may take to answer what is still under way at the end.
const END_WITHIN: Duration = Duration::from_secs(60);

/// What a host holds at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Sample {
    pub seconds: f64,
    pub resident_mib: f64,
    /// Size of the file: the most that it ever held.
    pub wal_mib: f64,
    pub store_mib: f64,
    pub turns_at_rest: u64,
    pub turns_unfinished: u64,
    pub keys: u64,
    pub sent: u64,
    pub answered: u64,
    /// From the request to the reply at the sink, since the last sample.
    pub reply_p50_ms: f64,
    pub reply_p99_ms: f64,
}

/// A soak from its start to its verdict.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    pub minutes: f64,
    /// Whole turns a second over HTTP and Wasm, 64 in flight, before the soak.
    pub capacity_per_second: f64,
    pub rate_per_second: f64,
    pub sent: u64,
    pub answered: u64,
    pub refused: u64,
    pub verdict: Verdict,
}

/// When each message was sent, until its reply arrives.
type Open = Arc<Mutex<HashMap<String, Instant>>>;

struct Load {
    platform: Platform,
    open: Open,
    took_ms: Arc<Mutex<Vec<f64>>>,
    sent: u64,
    refused: Arc<Mutex<u64>>,
    arrived: Arc<Semaphore>,
}

impl Load {
    /// The echo of a message is its text, which names it.
    fn begin(&mut self) {
        let id = format!("m{}", self.sent);
        let conversation = format!("c{}", self.sent % CONVERSATIONS);
        let text = format!("{id} {}", "x".repeat(TEXT_BYTES));
        self.sent += 1;
        self.open.lock().unwrap().insert(id.clone(), Instant::now());
        let (platform, refused) = (self.platform.clone(), Arc::clone(&self.refused));
        let open = Arc::clone(&self.open);
        tokio::spawn(async move {
            let taken = platform.post("messages", &message(&id, &conversation, &text)).await;
            if !taken.is_ok_and(|reply| reply.status == 200) {
                *refused.lock().unwrap() += 1;
                open.lock().unwrap().remove(&id);
            }
        });
    }

    /// Turns a second, as many under way as there may be.
    async fn capacity(&mut self, span: Duration) -> f64 {
        let (began, first) = (Instant::now(), self.sent);
        (0..ABREAST).for_each(|_| self.begin());
        while began.elapsed() < span {
            self.arrived.acquire().await.unwrap().forget();
            self.begin();
        }
        self.arrived.acquire_many(ABREAST as u32).await.unwrap().forget();
        (self.sent - first) as f64 / began.elapsed().as_secs_f64()
    }
}

/// A sink that remembers nothing but when the reply to a message came.
async fn sink(open: &Open, took_ms: &Arc<Mutex<Vec<f64>>>, arrived: &Arc<Semaphore>) -> Sink {
    let (open, took_ms, arrived) = (Arc::clone(open), Arc::clone(took_ms), Arc::clone(arrived));
    Sink::counting(move |arrival| {
        let id = arrival.text().split(' ').next().unwrap_or_default();
        if let Some(sent) = open.lock().unwrap().remove(id) {
            took_ms.lock().unwrap().push(sent.elapsed().as_secs_f64() * 1e3);
        }
        arrived.add_permits(1);
        Answer::Take
    })
    .await
}

/// Soaks for `span`; gives each sample to `see` as it is taken.
///
/// # Panics
/// Where the host falls or a message is not answered in time.
pub async fn run(span: Duration, folder: &Path, see: &mut dyn FnMut(&Sample)) -> Report {
    let (open, took_ms) = (Open::default(), Arc::<Mutex<Vec<f64>>>::default());
    let arrived = Arc::new(Semaphore::new(0));
    let sink = sink(&open, &took_ms, &arrived).await;
    let kept = format!("{}s", RETENTION.as_secs());
    let config = wire::config(folder, "soak", &sink)
        .lifecycle("sweep", "1s")
        .lifecycle("retention", &kept)
        .lifecycle("dedup_window", &kept);
    let site = Site::new(&config);
    let host = site.start().await;
    let platform = host.platform("hook");
    let refused = Arc::<Mutex<u64>>::default();
    let mut load =
        Load { platform, open, took_ms, sent: 0, refused, arrived: Arc::clone(&arrived) };
    let capacity_per_second = load.capacity(CAPACITY_SPAN).await;
    let rate_per_second = capacity_per_second / 5.0;
    let began = Instant::now();
    let first = load.sent;
    let (mut samples, mut next_sample) = (Vec::new(), SAMPLE_EVERY);
    let mut tick = tokio::time::interval(Duration::from_millis(5));
    while began.elapsed() < span {
        tick.tick().await;
        let due = first + (began.elapsed().as_secs_f64() * rate_per_second) as u64;
        while load.sent < due {
            load.begin();
        }
        if began.elapsed() >= next_sample {
            next_sample += SAMPLE_EVERY;
            let sample = sample(began, host.pid(), &folder.join("soak"), &load, &sink).await;
            see(&sample);
            samples.push(sample);
        }
    }
    let ending = Instant::now();
    while !load.open.lock().unwrap().is_empty() {
        tokio::time::sleep(Duration::from_millis(20)).await;
        let left = load.open.lock().unwrap().len();
        assert!(ending.elapsed() < END_WITHIN, "{left} messages have no reply");
    }
    assert!(host.terminate().await.success(), "the host stops in order");
    let refused = *load.refused.lock().unwrap();
    Report {
        minutes: span.as_secs_f64() / 60.0,
        capacity_per_second,
        rate_per_second,
        sent: load.sent,
        answered: sink.count() as u64,
        refused,
        verdict: steady::judge(&samples, RETENTION),
    }
}

async fn sample(began: Instant, pid: u32, data: &Path, load: &Load, sink: &Sink) -> Sample {
    let path = data.join("lastword.db");
    let counted = tokio::task::spawn_blocking(move || counts(&path)).await.unwrap();
    let (turns_at_rest, turns_unfinished, keys) = counted;
    let took = std::mem::take(&mut *load.took_ms.lock().unwrap());
    let mib = |name: &str| {
        let file = std::fs::metadata(data.join(name));
        file.map_or(0.0, |file| file.len() as f64 / f64::from(1 << 20))
    };
    Sample {
        seconds: began.elapsed().as_secs_f64(),
        resident_mib: resident_mib(pid),
        wal_mib: mib("lastword.db-wal"),
        store_mib: mib("lastword.db"),
        turns_at_rest,
        turns_unfinished,
        keys,
        sent: load.sent,
        answered: sink.count() as u64,
        reply_p50_ms: quantile(&took, 0.5),
        reply_p99_ms: quantile(&took, 0.99),
    }
}

/// Turns at rest, unfinished ones, and keys, by three reads that hold up no checkpoint for long.
fn counts(path: &Path) -> (u64, u64, u64) {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let db = Connection::open_with_flags(path, flags).unwrap();
    db.busy_timeout(Duration::from_secs(5)).unwrap();
    let count = |sql: &str| -> u64 {
        let count: i64 = db.query_row(sql, [], |row| row.get(0)).unwrap();
        count.unsigned_abs()
    };
    (
        count("SELECT count(*) FROM turn WHERE ended_at_ms IS NOT NULL"),
        count("SELECT count(*) FROM turn WHERE state < 3"),
        count("SELECT count(*) FROM dedup"),
    )
}
