//! Swaps under load: no call fails, nothing is lost or doubled, the calls around a swap take hardly
//! longer than the others, and memory stays flat. `cargo xtask swaps --swaps N` does it N times.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use lastword_tests::harness::{Host, Platform, changeling, eventually, put};
use serde_json::json;

use crate::{Rig, SOON, unwatched};

/// Swaps of the suite; `LASTWORD_SWAPS` says another number.
const SWAPS: usize = 30;
/// From here on latencies are held to their goal: fewer calls have no 99th percentile.
const HELD_FROM: usize = 200;
const CONVERSATIONS: usize = 4;
/// Between a swap and the next one.
const PAUSE: Duration = Duration::from_millis(150);
/// For so long after it, a call is around the swap.
const AROUND: Duration = Duration::from_millis(50);
/// More than the two generations that are kept: every swap loads code and lets some go.
const VARIANTS: usize = 4;
/// What the host may grow by from the middle third of the swaps to the last one: a tenth, and what
/// the pages of a store that fills take meanwhile.
const GROWTH_BYTES_MAX: u64 = 16 << 20;

/// From a message's post until its reply was seen at the platform.
struct Trip {
    from: Instant,
    to: Instant,
}

/// One person who says something, waits for the answer, and says the next thing.
async fn talk(platform: Platform, name: String, rig: Arc<Rig>, stop: Arc<AtomicBool>) -> Vec<Trip> {
    let mut trips = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let text = format!("{name}-{}", trips.len());
        let from = Instant::now();
        platform.say(&text, &name, &text).await;
        let arrived = || rig.sink.look(|all| all.iter().rev().any(|it| it.text() == text));
        while !arrived() {
            assert!(from.elapsed() < SOON, "no answer to {text}");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        trips.push(Trip { from, to: Instant::now() });
    }
    trips
}

fn p99(mut trips: Vec<Duration>) -> Duration {
    trips.sort_unstable();
    trips.get(trips.len() * 99 / 100).copied().unwrap_or_default()
}

fn resident_bytes(host: &Host) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{}/statm", host.pid())).unwrap();
    let pages: u64 = text.split(' ').nth(1).unwrap().parse().unwrap();
    // Of every machine that the suite runs on.
    pages * 4_096
}

/// The medians of the first, the middle and the last third.
fn thirds(samples: &[u64]) -> [u64; 3] {
    let third = samples.len() / 3;
    [0, 1, 2].map(|n| {
        let mut part = samples[n * third..(n + 1) * third].to_vec();
        part.sort_unstable();
        part.get(third / 2).copied().unwrap_or_default()
    })
}

/// One number of `/metrics`, by the beginning of its line.
async fn metric(host: &Host, begins: &str) -> Vec<(String, u64)> {
    let text = host.platform("a").get("/metrics").await.unwrap().text();
    let lines = text.lines().filter(|line| line.starts_with(begins));
    let numbers = lines.filter_map(|line| {
        let (name, number) = line.rsplit_once(' ')?;
        Some((name.to_owned(), number.parse::<f64>().ok()? as u64))
    });
    numbers.collect()
}

/// When each swap was, and what was resident after it.
async fn swap_all(rig: &Rig, host: &Host, swaps: usize) -> (Vec<(Instant, Instant)>, Vec<u64>) {
    let variants: Vec<Vec<u8>> =
        (0..VARIANTS).map(|n| changeling("1.0.0", json!({"variant": n}))).collect();
    let mut windows = Vec::with_capacity(swaps);
    let mut resident = Vec::with_capacity(swaps);
    for n in 0..swaps {
        put(&rig.place(), &variants[(n + 1) % VARIANTS]);
        let begun = Instant::now();
        let answer = rig.post(host, "/v1/channels/a/reload", &json!({})).await;
        assert_eq!(answer.status, 200, "swap {n}: {}", answer.text());
        windows.push((begun, Instant::now() + AROUND));
        resident.push(resident_bytes(host));
        tokio::time::sleep(PAUSE).await;
    }
    (windows, resident)
}

#[allow(clippy::print_stdout, reason = "the long form is a command")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn swaps_under_load_fail_no_call_and_lose_and_double_nothing() {
    let swaps = std::env::var("LASTWORD_SWAPS").ok();
    let swaps = swaps.map_or(SWAPS, |text| text.parse().expect("LASTWORD_SWAPS is no number"));
    let rig = Arc::new(Rig::of(unwatched(), json!({"variant": 0})).await);
    let host = rig.site.start().await;
    // All code compiled and cached, so that each swap is a load.
    let _ = swap_all(&rig, &host, VARIANTS).await;
    let stop = Arc::new(AtomicBool::new(false));
    let people: Vec<_> = (0..CONVERSATIONS)
        .map(|n| {
            let (platform, name) = (host.platform("a"), format!("p{n}"));
            tokio::spawn(talk(platform, name, Arc::clone(&rig), Arc::clone(&stop)))
        })
        .collect();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let (windows, resident) = swap_all(&rig, &host, swaps).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    stop.store(true, Ordering::Relaxed);
    let mut trips = Vec::new();
    for person in people {
        trips.extend(person.await.unwrap());
    }
    held_to_the_promises(&rig, &host, trips.len()).await;
    let live = metric(&host, "lastword_adapter_generations_live").await[0].1;
    assert!(live <= 4, "{live} generations are in memory");
    let is_around =
        |trip: &Trip| windows.iter().any(|(from, to)| trip.from < *to && trip.to > *from);
    let (around, usual): (Vec<_>, Vec<_>) = trips.into_iter().partition(is_around);
    let took = |trips: Vec<Trip>| p99(trips.iter().map(|trip| trip.to - trip.from).collect());
    let (around_count, usual_count) = (around.len(), usual.len());
    let (around, usual) = (took(around), took(usual));
    let [first, middle, last] = thirds(&resident);
    println!(
        "{swaps} swaps: p99 around a swap {around:?} ({around_count} calls), usual {usual:?} \
         ({usual_count} calls); resident, medians of thirds: {} KiB, {} KiB, {} KiB; {live} \
         generations in memory",
        first >> 10,
        middle >> 10,
        last >> 10,
    );
    let most = middle + middle / 10 + GROWTH_BYTES_MAX;
    assert!(last < most, "the host grew from {middle} to {last} bytes");
    if swaps >= HELD_FROM {
        assert!(around < 2 * usual, "p99 around a swap: {around:?}; usual: {usual:?}");
    }
    assert!(host.terminate().await.success());
}

/// Every message has one reply, by one attempt, that was sent once; no call ended in any other way
/// than by its answer.
async fn held_to_the_promises(rig: &Rig, host: &Host, messages: usize) {
    eventually("all turns are at rest", SOON, || async {
        let turns = rig.site.turns().await;
        turns.iter().all(|turn| turn.state == "delivered").then_some(())
    })
    .await;
    assert_eq!(rig.site.turns().await.len(), messages, "one turn for each message");
    let rows = rig.site.outbox().await;
    assert_eq!(rows.len(), messages);
    assert!(rows.iter().all(|row| row.state == "delivered" && row.attempts == 1));
    assert_eq!(rig.sent().len(), messages, "each was sent once");
    for (name, count) in metric(host, "lastword_guest_calls_total").await {
        // A poll of a generation that is swapped out is told to end.
        let told = name.contains("\"poll\"") && name.contains("\"cancelled\"");
        assert!(name.contains("\"answered\"") || told, "{name} {count}");
    }
}
