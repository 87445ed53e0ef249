//! The kill loop: a host under load that is killed at random moments and started again, until
//! everything that was posted has been answered; then the judge.
//!
//! The platform posts each conversation's messages one after the other, and posts again what got
//! no answer, as platforms do. The kill may come at any moment, also before the host listens.

mod counts;
mod evidence;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::sync::watch;

pub use counts::Counts;
pub use evidence::{Answered, Broken, EndRow, Event, Evidence, Posted, judge};

use crate::harness::host::{Host, at_rest};
use crate::harness::http::message;
use crate::harness::{Answer, Arrival, Channel, Config, OutboxRow, Platform, Sink, Site};

/// How much of everything, and from which seed.
#[derive(Debug, Clone)]
pub struct Plan {
    pub seed: u64,
    pub conversations: usize,
    pub messages: usize,
    pub kills: usize,
    /// Between a host's first line and its kill, at most.
    pub life_max: Duration,
    /// Of a hundred requests, how many are answered 500, 429, late beyond the deadline, or cut off.
    pub troubled_percent: u32,
    /// For everything to come to rest after the last kill.
    pub rest_within: Duration,
}

impl Plan {
    /// A seed that nobody chose; the run prints it.
    #[must_use]
    pub fn any_seed() -> u64 {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        u64::from(since.subsec_micros())
    }

    /// Many kills in little time: short lives, under a load that lasts as long as they do.
    #[must_use]
    pub fn quick(seed: u64, kills: usize) -> Self {
        Self {
            seed,
            conversations: 24,
            messages: 12 * kills,
            kills,
            life_max: Duration::from_millis(500),
            troubled_percent: 5,
            rest_within: Duration::from_secs(180),
        }
    }

    /// The plan, with `LASTWORD_KILL_SEED`, `_KILLS`, `_MESSAGES` and `_CONVERSATIONS` over it.
    #[must_use]
    pub fn from_environment(mut self) -> Self {
        let number = |name: &str| -> Option<u64> {
            let value = std::env::var(format!("LASTWORD_KILL_{name}")).ok()?;
            Some(value.parse().unwrap_or_else(|_| panic!("LASTWORD_KILL_{name} is no number")))
        };
        let count = |name| number(name).map(|n| usize::try_from(n).unwrap());
        self.seed = number("SEED").unwrap_or(self.seed);
        self.kills = count("KILLS").unwrap_or(self.kills);
        self.messages = count("MESSAGES").unwrap_or(self.messages);
        self.conversations = count("CONVERSATIONS").unwrap_or(self.conversations);
        self
    }
}

/// What a run came to.
#[derive(Debug)]
pub struct Run {
    pub evidence: Evidence,
    /// Requests that arrived more than once at the receiver.
    pub repeated: usize,
    pub took: Duration,
}

/// The log of receiver and killer, in one order.
type Log = Arc<Mutex<Vec<Entry>>>;

enum Entry {
    /// The index of the sink's arrival.
    Arrived(usize),
    Killed(BTreeSet<String>),
}

/// Runs the plan. `config` brings the handler; channel `hook` is added here.
pub async fn run(plan: &Plan, config: Config) -> Run {
    eprintln!("kill loop: {plan:?}");
    let began = Instant::now();
    let log = Log::default();
    let sink = Sink::scripted(troubled(plan, log.clone())).await;
    // Doubles cost attempts, and so do kills: here a row must never run out of them.
    let config = config
        .set("lifecycle", "delivery_tries", "100")
        .set("lifecycle", "turn_tries", "100")
        .set("lifecycle", "host_losses_max", "100")
        .channel(Channel::webhook("hook", &sink.url()));
    let site = Arc::new(Site::new(&config));
    let (address, addresses) = watch::channel(None);
    let posters = start_posters(plan, &addresses);
    let host = kill_again_and_again(plan, &site, &address, &log).await;
    let mut posted = Vec::new();
    for poster in posters {
        posted.extend(poster.await.expect("a platform posts until it is answered"));
    }
    eprintln!("kill loop: all posted after {:?}", began.elapsed());
    come_to_rest(plan, &site).await;
    let arrivals = sink.arrivals();
    let evidence = gather(posted, &arrivals, &log, &site).await;
    assert!(host.terminate().await.success(), "the last host stops in order");
    let distinct: BTreeSet<_> = arrivals.iter().map(Arrival::delivery_id).collect();
    Run { evidence, repeated: arrivals.len() - distinct.len(), took: began.elapsed() }
}

/// A receiver that sometimes answers 500, 429 with `Retry-After`, hangs, or hangs up.
fn troubled(plan: &Plan, log: Log) -> impl FnMut(&Arrival) -> Answer + Send + 'static {
    let mut chance = StdRng::seed_from_u64(plan.seed ^ 0x51);
    let troubled = plan.troubled_percent;
    let mut arrived = 0;
    move |_| {
        log.lock().unwrap().push(Entry::Arrived(arrived));
        arrived += 1;
        if chance.random_range(0..100) >= troubled {
            // Long enough that kills meet sends that are open.
            let takes = Duration::from_millis(chance.random_range(0..200));
            return Answer::After(takes, Box::new(Answer::Take));
        }
        match chance.random_range(0..8) {
            0..4 => Answer::Status(500),
            4 => Answer::RetryAfter { status: 429, seconds: 1 },
            // Longer than `[limits] send`.
            5 => Answer::Hang(Duration::from_secs(8)),
            _ => Answer::Drop,
        }
    }
}

type Poster = tokio::task::JoinHandle<Vec<Posted>>;

fn start_posters(plan: &Plan, addresses: &watch::Receiver<Option<String>>) -> Vec<Poster> {
    let per_conversation = plan.messages.div_ceil(plan.conversations);
    // The load lasts as long as the kills do: half a life each, and the starts between them.
    let kills = u32::try_from(plan.kills).unwrap();
    let lasts = (plan.life_max / 2 + Duration::from_millis(400)) * kills;
    let pause_max = 2 * lasts / u32::try_from(per_conversation).unwrap();
    let platform = Platform::new("http://127.0.0.1:1", "hook");
    (0..plan.conversations)
        .map(|index| {
            let first = index * per_conversation;
            let count = per_conversation.min(plan.messages.saturating_sub(first));
            let seed = plan.seed.wrapping_add(1000 + index as u64);
            let poster = Person {
                platform: platform.clone(),
                addresses: addresses.clone(),
                chance: StdRng::seed_from_u64(seed),
                conversation: format!("c{index:03}"),
                pause_max,
            };
            tokio::spawn(poster.run(count))
        })
        .collect()
}

/// One person who writes one message after the other.
struct Person {
    platform: Platform,
    addresses: watch::Receiver<Option<String>>,
    chance: StdRng,
    conversation: String,
    pause_max: Duration,
}

impl Person {
    async fn run(mut self, count: usize) -> Vec<Posted> {
        let mut posted: Vec<Posted> = Vec::new();
        for number in 0..count {
            let pause = self.pause_max.mul_f64(self.chance.random());
            tokio::time::sleep(pause).await;
            let text = format!("{}/m{number:04}", self.conversation);
            let turns = BTreeSet::from([self.post(&text).await]);
            posted.push(Posted { conversation: self.conversation.clone(), text, turns });
            // A platform that is not sure posts again, also what is long done.
            if self.chance.random_range(0..10) == 0 {
                let again = self.chance.random_range(0..posted.len());
                let turn = self.post(&posted[again].text.clone()).await;
                posted[again].turns.insert(turn);
            }
        }
        posted
    }

    /// Posts until it is answered well; gives the turn that the answer names.
    async fn post(&mut self, text: &str) -> String {
        let document = message(text, &self.conversation, text);
        loop {
            let address = self.addresses.wait_for(Option::is_some).await.unwrap().clone();
            let platform = self.platform.at(&address.unwrap(), "hook");
            match platform.post("messages", &document).await {
                Ok(reply) if reply.status == 200 => return reply.turns().remove(0).id,
                Ok(reply) => {
                    let again = matches!(reply.status, 429 | 503);
                    assert!(again, "posting {text}: {} {}", reply.status, reply.text());
                }
                Err(_) => {}
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

/// Kills and starts as often as planned; the host that is given lives.
async fn kill_again_and_again(
    plan: &Plan,
    site: &Site,
    address: &watch::Sender<Option<String>>,
    log: &Log,
) -> Host {
    let mut chance = StdRng::seed_from_u64(plan.seed);
    for kill in 0..plan.kills {
        // One in six dies while it starts: recovery itself is killed.
        if kill > 0 && chance.random_range(0..6) == 0 {
            let mut child = site.spawn();
            tokio::time::sleep(Duration::from_millis(chance.random_range(0..250))).await;
            child.kill().await.unwrap();
        } else {
            let host = site.start().await;
            address.send_replace(Some(host.address.clone()));
            tokio::time::sleep(plan.life_max.mul_f64(chance.random())).await;
            host.kill().await;
            address.send_replace(None);
        }
        let open = open_sends(site).await;
        eprintln!("kill loop: kill {} with {} sends open", kill + 1, open.len());
        log.lock().unwrap().push(Entry::Killed(open));
    }
    let host = site.start().await;
    address.send_replace(Some(host.address.clone()));
    host
}

/// What was at the adapter when the host died. Nobody writes now, so this is exact.
async fn open_sends(site: &Site) -> BTreeSet<String> {
    let list = ["outbox", "list", "--state", "sending", "--limit", "100000"];
    let rows: Vec<OutboxRow> = site.json(&list).await;
    rows.into_iter().map(|row| row.id).collect()
}

async fn come_to_rest(plan: &Plan, site: &Site) {
    let began = Instant::now();
    loop {
        let unfinished = site.turns().await.iter().filter(|turn| !at_rest(&turn.state)).count();
        if unfinished == 0 {
            return;
        }
        let late = format!("{unfinished} turns unfinished after {:?}", plan.rest_within);
        assert!(began.elapsed() < plan.rest_within, "{late}: {:?}", site.status().await);
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

async fn gather(posted: Vec<Posted>, arrivals: &[Arrival], log: &Log, site: &Site) -> Evidence {
    let event = |entry: &Entry| match entry {
        Entry::Killed(open) => Event::Killed { open: open.clone() },
        Entry::Arrived(index) => arrived(&arrivals[*index]),
    };
    let events = log.lock().unwrap().iter().map(event).collect();
    let turns = site.turns().await.into_iter();
    let outbox = site.outbox().await.into_iter();
    Evidence {
        posted,
        events,
        turns: turns
            .map(|row| EndRow { id: row.id.clone(), turn: row.id, state: row.state })
            .collect(),
        outbox: outbox
            .map(|row| EndRow {
                id: row.id,
                turn: row.turn_id.unwrap_or_default(),
                state: if row.held { "held".into() } else { row.state },
            })
            .collect(),
    }
}

fn arrived(arrival: &Arrival) -> Event {
    let answer = match &arrival.answer {
        Answer::After(_, then) if arrival.answered && **then == Answer::Take => Answered::Taken,
        Answer::RetryAfter { .. } => Answered::NotTaken,
        Answer::Take
        | Answer::Status(_)
        | Answer::After(..)
        | Answer::Hang(_)
        | Answer::Drop
        | Answer::Body(..)
        | Answer::With(..) => Answered::Lost,
    };
    Event::Arrived {
        delivery: arrival.delivery_id().into(),
        turn: arrival.field("turn_id").into(),
        conversation: arrival.field("conversation").into(),
        text: arrival.text().into(),
        answer,
    }
}
