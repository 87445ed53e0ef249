//! One real host per group of threats, shared by its tests for as long as any of them runs: the
//! hostile channels of the group, and the well-behaved one beside them.

use std::collections::HashMap;
use std::future::Future;
use std::io::Write as _;
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use lastword_tests::harness::config::{ISOLATION_VARIABLE, text};
use lastword_tests::harness::{
    Channel, Config, Host, OutboxRow, Platform, Reply, Sink, Site, TurnRow, built, component,
    eventually,
};
use serde_json::{Value, json};

use crate::SOON;
use crate::load::{Figures, Load};

/// How long the other channel is watched before an attack, and at least beside it.
const WATCHED: Duration = Duration::from_millis(1_200);
/// No message of another channel may wait longer, whatever a hostile one does: a hundred times
/// what it takes, on a machine that compiles and tests other things.
const STARVED: Duration = Duration::from_secs(8);

/// The credential of hostile channels.
pub(crate) const CANARY: &str = "canary/7f3a+secret=value";

/// What a group has running.
pub(crate) struct Group {
    pub(crate) name: &'static str,
    /// The hostile components; each has a channel of its own name.
    pub(crate) guests: &'static [&'static str],
    /// Adds to the channel of a guest.
    pub(crate) extend: fn(&str, Channel) -> Channel,
}

/// A running group.
pub(crate) struct Rig {
    pub(crate) site: Site,
    /// What the hostile channels talk to.
    pub(crate) platform: Sink,
    pub(crate) address: String,
    load: Load,
    host: Mutex<Option<Host>>,
    runtime: Option<tokio::runtime::Runtime>,
}

static RIGS: Mutex<Option<HashMap<&'static str, Weak<Rig>>>> = Mutex::new(None);
/// One attack at a time, over all groups: the figures are of this one alone.
static ALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// A channel of a hostile component: everything that it asks for is granted.
pub(crate) fn attacker(name: &str, guest: &str, origin: &str, targets: &str) -> Channel {
    Channel::new(name, &component(guest))
        .set(".settings", "url", &text(origin))
        .set(".grants", "targets", targets)
        .set(".grants", "private_targets", targets)
        .set(".limits", "cpu", &text("300ms"))
}

impl Rig {
    /// The rig of a group, started where none runs.
    pub(crate) fn of(group: &'static Group) -> Arc<Self> {
        let mut rigs = RIGS.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let rigs = rigs.get_or_insert_default();
        if let Some(rig) = rigs.get(group.name).and_then(Weak::upgrade) {
            return rig;
        }
        // Apart from the runtime of the test that happens to be the first.
        let rig = std::thread::spawn(move || Arc::new(Self::start(group))).join().unwrap();
        rigs.insert(group.name, Arc::downgrade(&rig));
        rig
    }

    fn start(group: &'static Group) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let (site, platform, load, host) = runtime.block_on(async {
            let platform = Sink::start().await;
            let (load, good) = Load::prepare().await;
            let mut config = Config::new()
                .set("lifecycle", "delivery_tries", "2")
                .channel(Channel::webhook("good", &good));
            for guest in group.guests {
                let channel = attacker(guest, guest, platform.origin(), r#"["api"]"#);
                config = config.channel((group.extend)(guest, channel));
            }
            let site = Site::new(&config).with_variable("LASTWORD_CANARY", CANARY);
            let host = site.start().await;
            load.start(host.platform("good"));
            eventually("the load runs", SOON, async || load.runs().then_some(())).await;
            (site, platform, load, host)
        });
        let address = host.address.clone();
        let (host, runtime) = (Mutex::new(Some(host)), Some(runtime));
        Self { site, platform, address, load, host, runtime }
    }

    /// Runs an attack, and holds the host and the other channel to what they owe meanwhile.
    pub(crate) async fn under<T>(
        &self,
        threat: u32,
        what: &str,
        attack: impl Future<Output = T>,
    ) -> T {
        let _alone = ALONE.lock().await;
        let quiet = Instant::now();
        tokio::time::sleep(WATCHED).await;
        let began = Instant::now();
        let before = self.load.figures(quiet, began, SOON).await;
        let began = Instant::now();
        let outcome = attack.await;
        tokio::time::sleep(WATCHED.saturating_sub(began.elapsed())).await;
        let during = self.load.figures(began, Instant::now(), SOON).await;
        note(threat, what, before, during);
        for (figures, when) in [(before, "before"), (during, "during")] {
            assert_eq!(figures.refused, 0, "{what}: refused {when}: {figures:?}");
            assert_eq!(figures.doubled, 0, "{what}: doubled {when}: {figures:?}");
        }
        assert!(during.messages > 0 && during.worst < STARVED, "{what}: starved: {during:?}");
        let ready = self.hook("good").get("/readyz").await.expect("the host lives");
        assert_eq!(ready.status, 200, "{what}: {}", ready.text());
        outcome
    }

    /// The host's process.
    pub(crate) fn pid(&self) -> u32 {
        self.host.lock().unwrap().as_ref().unwrap().pid()
    }

    /// Posts to a channel as its platform.
    pub(crate) fn hook(&self, channel: &str) -> Platform {
        Platform::new(&self.address, channel)
    }

    /// Posts a document to a path of a hostile channel.
    pub(crate) async fn post(&self, channel: &str, path: &str, document: &Value) -> Reply {
        self.hook(channel).post(path, document).await.unwrap()
    }

    /// A message to a hostile channel, in a conversation of its own: the echo of its text is what
    /// the guest is told to send. Gives its turn.
    pub(crate) async fn tell(&self, channel: &str, told: &str) -> String {
        static NEXT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let next = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let document =
            json!({ "id": format!("m{next}"), "conversation": format!("x{next}"), "text": told });
        let reply = self.post(channel, "messages", &document).await;
        assert_eq!(reply.status, 200, "{channel}: {}", reply.text());
        reply.turns().remove(0).id
    }

    /// Its turn at rest, and its row.
    pub(crate) async fn rest(&self, turn: &str) -> (TurnRow, OutboxRow) {
        let row = self.site.turn_at_rest(turn, SOON).await;
        let rows = self.site.rows_of(turn).await;
        assert_eq!(rows.len(), 1, "{rows:?}");
        (row, rows.into_iter().next().unwrap())
    }

    /// Tells a guest something that fails; gives how its row ended.
    pub(crate) async fn fails(&self, channel: &str, told: &str) -> OutboxRow {
        let turn = self.tell(channel, told).await;
        let (turn, row) = self.rest(&turn).await;
        assert_eq!(turn.state, "failed", "{told}: {turn:?} {row:?}");
        row
    }

    /// Tells a guest something that is delivered; gives the results that it reported.
    pub(crate) async fn reports(&self, channel: &str, told: &str) -> Vec<Value> {
        let turn = self.tell(channel, told).await;
        let (turn, row) = self.rest(&turn).await;
        assert_eq!(turn.state, "delivered", "{told}: {turn:?} {row:?}");
        let all = self.platform.arrivals_at("/send");
        let found = all.iter().rfind(|arrival| arrival.delivery_id() == row.id);
        let found = found.unwrap_or_else(|| panic!("{told}: delivered, and never arrived"));
        found.body["results"].as_array().cloned().unwrap_or_default()
    }

    /// What `outbox show` says of a row.
    pub(crate) async fn shown(&self, row: &OutboxRow) -> String {
        let end = self.site.cli(&["outbox", "show", &row.id]).await;
        assert_eq!(end.code, 0, "{}", end.stderr);
        end.stdout
    }

    /// The line of a channel in `status --json`.
    pub(crate) async fn status_of(&self, channel: &str) -> Value {
        let status = self.site.status().await;
        let rows = status["channels"].as_array().unwrap();
        let found = rows.iter().find(|row| row["name"] == channel);
        found.unwrap_or_else(|| panic!("no channel {channel}: {status}")).clone()
    }

    /// The metrics of the host.
    pub(crate) async fn metric(&self, name: &str, channel: &str) -> f64 {
        let text = self.hook(channel).get("/metrics").await.unwrap().text();
        let label = format!("channel=\"{channel}\"");
        let lines = text.lines().filter(|line| line.starts_with(name) && line.contains(&label));
        lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        let runtime = self.runtime.take();
        if let (Ok(mut host), Some(runtime)) = (self.host.lock(), &runtime) {
            let _inside = runtime.enter();
            drop(host.take());
        }
        if let Some(runtime) = runtime {
            runtime.shutdown_background();
        }
    }
}

/// Prints the figures of one attack, and leaves them where the page of threats takes them from.
fn note(threat: u32, what: &str, before: Figures, during: Figures) {
    let ms = |duration: Duration| (duration.as_secs_f64() * 10_000.0).round() / 10.0;
    println!(
        "threat {threat}, {what}: the other channel p50 {} -> {} ms, p99 {} -> {} ms, worst {} ms \
         ({} messages)",
        ms(before.p50),
        ms(during.p50),
        ms(before.p99),
        ms(during.p99),
        ms(during.worst),
        during.messages,
    );
    // The page tells of channels in the host's own process.
    if std::env::var_os(ISOLATION_VARIABLE).is_some() {
        return;
    }
    let line = json!({
        "threat": threat, "what": what, "messages": during.messages,
        "p50_before_ms": ms(before.p50), "p50_during_ms": ms(during.p50),
        "p99_before_ms": ms(before.p99), "p99_during_ms": ms(during.p99),
        "worst_ms": ms(during.worst),
    });
    let path = built::target_folder().join("threats.jsonl");
    let file = std::fs::OpenOptions::new().create(true).append(true).open(path);
    let _ = file.and_then(|mut file| writeln!(file, "{line}"));
}
