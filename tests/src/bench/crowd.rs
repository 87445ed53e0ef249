//! Load that is laid out badly: a whole backlog in one conversation, ten thousand conversations at
//! once, and more coming in than can be answered.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rusqlite::{Connection, OpenFlags};

use super::Scale;
use super::backlog::fill_in;
use super::figure::{Figure, Goal, Rounds};
use super::inside::{ABREAST, Inside};
use super::process::resident_mib;
use super::wire;
use crate::harness::http::message;
use crate::harness::{Platform, Sink, Site};

/// The small store that a large one is held against.
const FEW: u64 = 1_000;
/// Turns of each conversation that wait.
const EACH: u64 = 4;
/// Unfinished turns that the flooded host is allowed.
const PENDING_MAX: u64 = 2_000;

/// Whole turns of other conversations while one has the whole backlog, held against a short one.
pub async fn one_conversation(scale: &Scale, folder: &Path) -> Vec<Figure> {
    const MANY_ROWS: &str = "whole turns, one conversation with many rows pending";
    const FEW_ROWS: &str = "one conversation with 1,000 rows pending";
    fill_in(folder, "one-few", "crowd", FEW, 1);
    fill_in(folder, "one-many", "crowd", scale.pending, 1);
    let mut rounds = Rounds::default();
    for round in 0..=scale.rounds {
        if round == 1 {
            rounds.forget();
        }
        for (name, store) in [(FEW_ROWS, "one-few"), (MANY_ROWS, "one-many")] {
            let inside = Arc::new(Inside::start(folder, store).await);
            rounds.take(name, inside.turns(ABREAST, scale.span).await.per_second);
            inside.stop().await;
        }
    }
    let mut figure = rounds.against(MANY_ROWS, FEW_ROWS, Goal::RatioAtLeast(0.9));
    figure.name = format!("whole turns, {} rows pending in one conversation", scale.pending);
    vec![figure]
}

/// Ten thousand conversations that all wait: how fast they are served, held against a thousand; and
/// how far the one that was served most is ahead of the one that was served least.
pub async fn many_conversations(scale: &Scale, folder: &Path) -> Vec<Figure> {
    const MANY: &str = "whole turns, many conversations";
    const FEW_ROOMS: &str = "1,000 conversations";
    let many = scale.conversations;
    fill_in(folder, "rooms-few", "room", FEW * EACH, FEW);
    fill_in(folder, "rooms-many", "room", many * EACH, many);
    let mut rounds = Rounds::default();
    for round in 0..=scale.rounds {
        if round == 1 {
            rounds.forget();
        }
        for (name, store) in [(FEW_ROOMS, "rooms-few"), (MANY, "rooms-many")] {
            let inside = Arc::new(Inside::start(folder, store).await);
            rounds.take(name, inside.turns(ABREAST, scale.span).await.per_second);
            inside.stop().await;
        }
    }
    let mut rate = rounds.against(MANY, FEW_ROOMS, Goal::RatioAtLeast(0.9));
    rate.name = format!("whole turns, {many} conversations waiting");
    let ahead = Figure::plain(
        format!("{many} conversations: turns that the first is ahead of the last"),
        ahead(&folder.join("rooms-many.db")),
        "turns",
        Goal::ValueAtMost(2.0),
    );
    vec![rate, ahead]
}

/// Of the conversations of the backlog. Those that the load adds later have their own names.
fn ahead(path: &Path) -> f64 {
    let db = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
    let sql = "SELECT max(ended) - min(ended) FROM
                 (SELECT count(*) FILTER (WHERE t.ended_at_ms IS NOT NULL) AS ended
                  FROM turn t JOIN conversation c ON c.id = t.conversation_id
                  WHERE c.name GLOB 'room[0-9]*' GROUP BY c.id)";
    db.query_row(sql, [], |row| row.get(0)).unwrap()
}

/// Intake faster than delivery: what is over the limit is refused upward, and memory does not
/// follow what is refused.
pub async fn flood(scale: &Scale, folder: &Path) -> Vec<Figure> {
    let sink = Sink::start().await;
    let config = wire::config(folder, "flood", &sink)
        .exec(&["sleep", "600"])
        .set("handler", "concurrency", "1")
        .set("limits", "pending_turns", &PENDING_MAX.to_string())
        .lifecycle("drain", "10ms");
    let site = Site::new(&config);
    let host = site.start().await;
    let platform = host.platform("hook");
    let taken = posted(&platform, 0, scale.span * 2).await;
    let full = resident_mib(host.pid());
    let after = posted(&platform, 1 << 32, scale.span * 2).await;
    let more = resident_mib(host.pid()) - full;
    let pending = site.turns().await.len() as u64;
    assert_eq!(taken.other + after.other, 0, "every answer is 200 or 429");
    assert!(pending <= PENDING_MAX, "{pending} turns were accepted");
    host.kill().await;
    vec![
        Figure::plain(
            "flood: refused upward while full",
            after.refused as f64,
            "posts",
            Goal::None,
        ),
        Figure::plain(
            "flood: accepted while full",
            after.taken as f64,
            "posts",
            // With a small backlog the first stretch may not have filled it.
            if pending == PENDING_MAX { Goal::ValueAtMost(0.0) } else { Goal::None },
        ),
        Figure::plain("flood: resident, more than when full", more, "MiB", Goal::ValueAtMost(8.0)),
    ]
}

#[derive(Default)]
struct Posted {
    taken: u64,
    refused: u64,
    other: u64,
}

/// As many posts as `ABREAST` callers make, each of another message.
async fn posted(platform: &Platform, first: u64, span: Duration) -> Posted {
    let began = Instant::now();
    let callers: Vec<_> = (0..ABREAST as u64)
        .map(|caller| {
            let platform = platform.clone();
            tokio::spawn(async move {
                let mut posted = Posted::default();
                let mut number = first + (caller << 24);
                while began.elapsed() < span {
                    let document = message(&format!("m{number}"), &format!("c{number}"), "hello");
                    match platform.post("messages", &document).await.unwrap().status {
                        200 => posted.taken += 1,
                        429 => posted.refused += 1,
                        _ => posted.other += 1,
                    }
                    number += 1;
                }
                posted
            })
        })
        .collect();
    let mut all = Posted::default();
    for caller in callers {
        let posted = caller.await.unwrap();
        all.taken += posted.taken;
        all.refused += posted.refused;
        all.other += posted.other;
    }
    all
}
