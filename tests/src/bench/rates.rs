//! How fast the host is in process, held against the disk and against its own core run bare; how
//! many syncs a turn costs; and how long one caller waits for an accept.

use std::path::Path;
use std::sync::Arc;

use super::Scale;
use super::figure::{Figure, Goal, Rounds, quantile};
use super::inside::{ABREAST, Inside};
use super::yard::{Bare, Disk};

const C: &str = "C: commits of one row";
const G: &str = "G: rows in commits of 100";
const A1: &str = "A(1): bare accepts";
const A64: &str = "A(64): bare accepts";
const B1: &str = "B(1): bare turns";
const B64: &str = "B(64): bare turns";
const ACCEPT_ONE: &str = "accept, one caller";
const ACCEPT_64: &str = "accept, 64 callers";
const TURN_ONE: &str = "whole turn, one at a time";
const TURN_64: &str = "whole turn, 64 in flight";
const SYNCS_ONE: &str = "syncs per turn, one at a time";
const SYNCS_64: &str = "syncs per turn, 64 in flight";

/// The yardsticks alone: what the protocol costs over bare commits.
pub fn yardsticks(scale: &Scale, folder: &Path) -> Vec<Figure> {
    const B256: &str = "B(256): bare turns";
    let mut disk = Disk::open(folder);
    // Turns need free conversations: not those in which accepted ones wait.
    let (mut waiting, mut bare) = (Bare::open(folder, "waiting"), Bare::open(folder, "bare"));
    let mut rounds = Rounds::default();
    for round in 0..=scale.rounds {
        if round == 1 {
            rounds.forget();
        }
        rounds.take(C, disk.commits(scale.span).per_second);
        rounds.take(A1, waiting.accept(1, scale.span));
        rounds.take(B1, bare.turns(1, scale.span));
        rounds.take(G, disk.rows(scale.span));
        rounds.take(A64, waiting.accept(64, scale.span));
        rounds.take(B64, bare.turns(64, scale.span));
        rounds.take(B256, bare.turns(256, scale.span));
    }
    vec![
        rounds.plain(C, "1/s", Goal::None),
        rounds.plain(G, "1/s", Goal::None),
        rounds.against(A1, C, Goal::None),
        rounds.against(B1, C, Goal::None),
        rounds.against(A64, C, Goal::None),
        rounds.against(B64, C, Goal::None),
        rounds.against(B256, C, Goal::None),
    ]
}

/// All rates in process; those of the wire are held against the same B(64), taken anew.
pub async fn measure(scale: &Scale, folder: &Path) -> Vec<Figure> {
    let mut disk = Disk::open(folder);
    let mut bare = (Bare::open(folder, "bare-accept"), Bare::open(folder, "bare-turn"));
    let accepting = Arc::new(Inside::accepting(folder, "accept").await);
    let serving = Arc::new(Inside::start(folder, "turn").await);
    let mut rounds = Rounds::default();
    let (mut raw_ms, mut accept_ms) = (Vec::new(), Vec::new());
    for round in 0..=scale.rounds {
        if round == 1 {
            rounds.forget();
            (raw_ms, accept_ms) = (Vec::new(), Vec::new());
        }
        let span = scale.span;
        // Neighbours in time: a figure and what it is held against.
        let raw = disk.commits(span);
        rounds.take(C, raw.per_second);
        raw_ms.extend(raw.each_ms);
        let (rate, each_ms) = accepting.accepts(1, span).await;
        rounds.take(ACCEPT_ONE, rate);
        accept_ms.extend(each_ms);
        rounds.take(B1, bare.1.turns(1, span));
        let turns = serving.turns(1, span).await;
        rounds.take(TURN_ONE, turns.per_second);
        rounds.take(SYNCS_ONE, turns.syncs_per_turn);
        rounds.take(A64, bare.0.accept(64, span));
        rounds.take(ACCEPT_64, accepting.accepts(64, span).await.0);
        rounds.take(B64, bare.1.turns(64, span));
        let turns = serving.turns(ABREAST, span).await;
        rounds.take(TURN_64, turns.per_second);
        rounds.take(SYNCS_64, turns.syncs_per_turn);
        rounds.take(G, disk.rows(span));
    }
    let wal_mib =
        ["accept", "turn"].map(|name| wal_mib(folder, name)).into_iter().fold(0.0, f64::max);
    serving.stop().await;
    accepting.stop().await;
    let mut figures: Vec<_> =
        [C, G, A64, B1, B64].map(|name| rounds.plain(name, "1/s", Goal::None)).into();
    figures.push(rounds.plain(SYNCS_ONE, "syncs", Goal::ValueAtMost(3.0)));
    figures.push(rounds.plain(SYNCS_64, "syncs", Goal::ValueAtMost(0.15)));
    figures.push(rounds.against(ACCEPT_ONE, C, Goal::RatioAtLeast(0.8)));
    figures.push(rounds.against(ACCEPT_64, A64, Goal::RatioAtLeast(0.7)));
    figures.push(rounds.against(TURN_ONE, B1, Goal::RatioAtLeast(0.8)));
    figures.push(rounds.against(TURN_64, B64, Goal::RatioAtLeast(0.7)));
    figures.push(Figure::plain("WAL file after all that", wal_mib, "MiB", Goal::ValueAtMost(64.0)));
    figures.extend(latencies(&raw_ms, &accept_ms));
    figures
}

/// The file is never cut: its size is the most that it ever held.
fn wal_mib(folder: &Path, name: &str) -> f64 {
    let file = std::fs::metadata(folder.join(format!("{name}.db-wal")));
    file.map_or(0.0, |file| file.len() as f64 / f64::from(1 << 20))
}

fn latencies(raw_ms: &[f64], accept_ms: &[f64]) -> Vec<Figure> {
    let of = |share| (quantile(raw_ms, share), quantile(accept_ms, share));
    let ((raw_50, accept_50), (raw_99, accept_99)) = (of(0.5), of(0.99));
    let line = |name, value, raw, most| {
        let mut figure = Figure::plain(name, value, "ms", Goal::ValueAtMost(most));
        figure.yardstick = Some("raw commit".to_owned());
        figure.yardstick_value = Some(raw);
        figure
    };
    vec![
        line("accept to answer, one caller, p50", accept_50, raw_50, raw_50 + 0.3),
        line("accept to answer, one caller, p99", accept_99, raw_99, 2.0 * raw_99 + 1.0),
    ]
}
