//! The real binary as a process: memory at rest and with a backlog, start and stop, the first
//! delivery after a SIGKILL, and what an idle host does (nothing).

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::figure::{Figure, Goal, median};
use super::{Scale, backlog, wire};
use crate::harness::{Channel, Config, Sink, Site, component};

const ADAPTERS: usize = 10;
/// After a start, until what is only used once is given back.
const SETTLE: Duration = Duration::from_millis(500);
/// Clock ticks of `/proc/PID/stat` per second; Linux has no other.
const TICKS_PER_SECOND: f64 = 100.0;

fn proc_file(pid: u32, name: &str) -> String {
    std::fs::read_to_string(format!("/proc/{pid}/{name}")).unwrap()
}

fn number_after(text: &str, label: &str) -> f64 {
    let line = text.lines().find_map(|line| line.strip_prefix(label));
    let word = line.and_then(|rest| rest.split_whitespace().next());
    word.unwrap_or_else(|| panic!("no {label} in {text}")).parse().unwrap()
}

/// Of a process, in MiB.
#[must_use]
pub fn resident_mib(pid: u32) -> f64 {
    number_after(&proc_file(pid, "status"), "VmRSS:") / 1024.0
}

fn cpu_seconds(pid: u32) -> f64 {
    let stat = proc_file(pid, "stat");
    // The name in brackets may hold spaces; user and system time are the 12th and 13th after it.
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    (fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()) / TICKS_PER_SECOND
}

/// When store and WAL were last written. Their shared index does not count: it is memory of the
/// readers' locks, and no start depends on it.
fn last_writes(data: &Path) -> Vec<std::time::SystemTime> {
    let modified = |name: &str| std::fs::metadata(data.join(name)).unwrap().modified().unwrap();
    ["lastword.db", "lastword.db-wal"].map(modified).into()
}

/// Components that differ by a custom section, as ten vendors' would by more.
fn adapters(folder: &Path) -> Vec<PathBuf> {
    let bytes = std::fs::read(component("webhook")).unwrap();
    (0..ADAPTERS)
        .map(|index| {
            let name = format!("bench-{index}");
            let mut copy = bytes.clone();
            // Section 0, its length, the length of its name, its name.
            let length = u8::try_from(name.len()).unwrap();
            copy.extend([0, length + 1, length]);
            copy.extend(name.as_bytes());
            let path = folder.join(format!("{name}.wasm"));
            std::fs::write(&path, copy).unwrap();
            path
        })
        .collect()
}

fn with_adapters(folder: &Path, name: &str, sink: &Sink) -> Config {
    let config = wire::config(folder, name, sink);
    let files = adapters(folder);
    files.iter().enumerate().fold(config, |config, (index, file)| {
        config.channel(
            Channel::new(&format!("more-{index}"), file)
                .set(".settings", "callback_url", &crate::harness::config::text(&sink.url()))
                .set(".grants", "targets", r#"["callback"]"#)
                .set(".grants", "private_targets", r#"["callback"]"#),
        )
    })
}

/// Memory, start, stop and rest with ten adapters, their code cached.
pub async fn at_rest(scale: &Scale, folder: &Path) -> Vec<Figure> {
    let sink = Sink::start().await;
    let site = Site::new(&with_adapters(folder, "rest", &sink));
    // Compiles them all.
    site.start().await.terminate().await;
    let (mut start_stop, mut start) = (Vec::new(), Vec::new());
    for _ in 0..scale.rounds {
        let began = Instant::now();
        let host = site.start().await;
        start.push(host.ready_after.as_secs_f64() * 1e3);
        assert!(host.terminate().await.success(), "the host stops in order");
        start_stop.push(began.elapsed().as_secs_f64() * 1e3);
    }
    let host = site.start().await;
    tokio::time::sleep(SETTLE).await;
    let resident = resident_mib(host.pid());
    let (cpu, syncs) = (cpu_seconds(host.pid()), wire::commits(&host).await);
    let written = last_writes(&folder.join("rest"));
    tokio::time::sleep(scale.idle).await;
    let busy = (cpu_seconds(host.pid()) - cpu) / scale.idle.as_secs_f64() * 100.0;
    let wrote = written != last_writes(&folder.join("rest"));
    let syncs = wire::commits(&host).await - syncs;
    host.terminate().await;
    let limit = Goal::ValueAtMost;
    vec![
        Figure::plain("resident, idle, 11 adapters", resident, "MiB", limit(80.0)),
        Figure::plain("start to ready, 11 adapters cached", median(&start), "ms", Goal::None),
        Figure::plain("start and stop, 11 adapters", median(&start_stop), "ms", limit(150.0)),
        Figure::plain("processor while idle", busy, "% of a core", limit(0.5)),
        Figure::plain("syncs while idle", syncs, "syncs", limit(0.0)),
        Figure::plain("store written while idle", f64::from(wrote), "yes", limit(0.0)),
    ]
}

/// Memory with a backlog, and how soon the first delivery is out after a SIGKILL with it.
pub async fn with_backlog(scale: &Scale, folder: &Path) -> Vec<Figure> {
    let sink = Sink::start().await;
    let data = folder.join("backlog-host");
    std::fs::create_dir_all(&data).unwrap();
    let quiet = wire::config(folder, "backlog-host", &sink).exec(&["sleep", "600"]);
    let quiet = quiet.set("handler", "concurrency", "1").lifecycle("drain", "10ms");
    let site = Site::new(&quiet);
    // The same host, idle, before and after; the first start compiles.
    site.start().await.terminate().await;
    let host = site.start().await;
    tokio::time::sleep(SETTLE).await;
    let before = resident_mib(host.pid());
    host.terminate().await;
    backlog::fill(&data, "lastword", "pending", scale.pending);
    let host = site.start().await;
    tokio::time::sleep(SETTLE).await;
    let more = resident_mib(host.pid()) - before;
    host.kill().await;

    site.configure(&wire::config(folder, "backlog-host", &sink));
    let mut first_ms = Vec::new();
    for _ in 0..scale.rounds {
        let arrived = sink.count();
        let began = Instant::now();
        let host = site.start().await;
        while sink.count() == arrived {
            tokio::time::sleep(Duration::from_millis(1)).await;
            assert!(began.elapsed() < Duration::from_secs(60), "nothing is delivered");
        }
        first_ms.push(began.elapsed().as_secs_f64() * 1e3);
        // Under way with 64 turns when it is killed.
        tokio::time::sleep(Duration::from_millis(50)).await;
        host.kill().await;
    }
    let pending = scale.pending;
    let first = format!("SIGKILL with {pending} pending rows, start to first delivery");
    vec![
        Figure::plain(
            format!("resident with {pending} pending rows, more"),
            more,
            "MiB",
            Goal::ValueAtMost(64.0),
        ),
        Figure::plain(first, median(&first_ms), "ms", Goal::ValueAtMost(1_000.0)),
    ]
}
