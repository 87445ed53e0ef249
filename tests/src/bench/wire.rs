//! The whole way with the real binary: a message over HTTP, the `webhook` adapter in the sandbox
//! both ways, and a sink on loopback. Load, sink and host share the machine.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{Semaphore, mpsc};

use super::Scale;
use super::figure::{Figure, Goal, Rounds, median};
use super::inside::ABREAST;
use super::load::TEXT_BYTES;
use super::yard::{Bare, Disk};
use crate::harness::http::message;
use crate::harness::{Answer, Channel, Config, Host, Platform, Sink, Site};

/// Conversations over which the load goes round.
const CONVERSATIONS: u64 = 1024;
/// Between two messages to an idle host.
const PAUSE: Duration = Duration::from_millis(20);

const B64: &str = "B(64): bare turns";
const WIRE: &str = "whole turn, 64 in flight, HTTP and Wasm both ways";
const SYNCS: &str = "syncs per turn, 64 in flight, HTTP and Wasm";

/// The config of a host with one `webhook` channel and its store in `folder`.
#[must_use]
pub fn config(folder: &Path, name: &str, sink: &Sink) -> Config {
    let data = folder.join(name).display().to_string();
    Config::new()
        .top("data_dir", &crate::harness::config::text(&data))
        .set("handler", "concurrency", &ABREAST.to_string())
        .lifecycle("sweep", "15s")
        .lifecycle("grace", "30s")
        .lifecycle("claim", "60s")
        .channel(Channel::webhook("hook", &sink.url()))
}

/// A sink that gives a permit for each reply.
async fn counting() -> (Sink, Arc<Semaphore>) {
    let arrived = Arc::new(Semaphore::new(0));
    let permits = Arc::clone(&arrived);
    let sink = Sink::scripted(move |_| {
        permits.add_permits(1);
        Answer::Take
    })
    .await;
    (sink, arrived)
}

struct Load {
    platform: Platform,
    arrived: Arc<Semaphore>,
    number: u64,
    text: String,
}

impl Load {
    fn begin(&mut self) {
        let (id, conversation) =
            (format!("m{}", self.number), format!("c{}", self.number % CONVERSATIONS));
        self.number += 1;
        let (platform, text) = (self.platform.clone(), self.text.clone());
        tokio::spawn(async move { platform.say(&id, &conversation, &text).await });
    }

    /// Replies per second with so many messages under way; and how many there were.
    async fn turns(&mut self, abreast: usize, span: Duration) -> (f64, f64) {
        let began = Instant::now();
        (0..abreast).for_each(|_| self.begin());
        let mut begun = abreast;
        while began.elapsed() < span {
            self.arrived.acquire().await.unwrap().forget();
            self.begin();
            begun += 1;
        }
        self.arrived.acquire_many(abreast as u32).await.unwrap().forget();
        (begun as f64 / began.elapsed().as_secs_f64(), begun as f64)
    }
}

/// Commits of a host so far, as it counts them.
pub async fn commits(host: &Host) -> f64 {
    let metrics = host.platform("hook").get("/metrics").await.unwrap().text();
    let line = metrics.lines().find_map(|it| it.strip_prefix("lastword_store_commits_total "));
    line.expect("the host counts its commits").parse().unwrap()
}

/// Turns per second over the wire, held against the bare core.
pub async fn measure(scale: &Scale, folder: &Path) -> Vec<Figure> {
    let (sink, arrived) = counting().await;
    let site = Site::new(&config(folder, "wire", &sink));
    let host = site.start().await;
    let mut bare = Bare::open(folder, "bare-wire");
    let platform = host.platform("hook");
    let mut load = Load { platform, arrived, number: 0, text: "x".repeat(TEXT_BYTES) };
    let mut rounds = Rounds::default();
    for round in 0..=scale.rounds {
        if round == 1 {
            rounds.forget();
        }
        rounds.take(B64, bare.turns(64, scale.span));
        let before = commits(&host).await;
        let (rate, turns) = load.turns(ABREAST, scale.span).await;
        rounds.take(WIRE, rate);
        rounds.take(SYNCS, (commits(&host).await - before) / turns);
    }
    assert!(host.terminate().await.success(), "the host stops in order");
    vec![
        rounds.against(WIRE, B64, Goal::RatioAtLeast(0.25)),
        rounds.plain(SYNCS, "syncs", Goal::None),
    ]
}

/// On an idle system: from the request's first byte to the reply's arrival at the sink.
pub async fn latency(scale: &Scale, folder: &Path) -> Figure {
    let (tell, mut told) = mpsc::unbounded_channel();
    let sink = Sink::scripted(move |_| {
        let _ = tell.send(Instant::now());
        Answer::Take
    })
    .await;
    let site = Site::new(&config(folder, "idle", &sink));
    let host = site.start().await;
    let platform = host.platform("hook");
    let mut disk = Disk::open(&folder.join("idle"));
    let (mut each_ms, mut raw_ms) = (Vec::new(), Vec::new());
    for number in 0..scale.single_messages {
        tokio::time::sleep(PAUSE).await;
        raw_ms.extend(disk.commits(Duration::from_micros(1)).each_ms);
        let document = message(&format!("m{number}"), "c1", &"x".repeat(TEXT_BYTES));
        let began = Instant::now();
        let (taken, arrived) = tokio::join!(platform.post("messages", &document), told.recv());
        assert_eq!(taken.unwrap().status, 200);
        each_ms.push(arrived.unwrap().duration_since(began).as_secs_f64() * 1e3);
    }
    assert!(host.terminate().await.success(), "the host stops in order");
    let raw = median(&raw_ms);
    let most = Goal::ValueAtMost(3.0 * raw + 2.0);
    let name = "idle host, message in to reply at the sink, p50";
    let mut figure = Figure::plain(name, median(&each_ms), "ms", most);
    figure.yardstick = Some("raw commit".to_owned());
    figure.yardstick_value = Some(raw);
    figure
}
