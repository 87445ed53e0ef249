//! Campaigns of the kill loop: the real binary killed as often as is asked for, in rounds, each with
//! a fresh store. Behind `cargo xtask kill-loop`; its last line is a summary in JSON.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command for people")]
#![allow(clippy::disallowed_methods, reason = "a campaign runs on the real clock")]
#![allow(clippy::expect_used, reason = "a campaign ends with a panic where it cannot go on")]

use std::process::ExitCode;
use std::time::{Duration, Instant};

use lastword_tests::harness::Config;
use lastword_tests::kill_loop::{Counts, Plan, judge, run};
use serde_json::json;

const USAGE: &str = "\
kill-loop [--kills N] [--seed S] [--minutes T]
  N kills (200) in rounds, from seed S on, for T minutes at most
";

/// Kills of one round: then everything comes to rest, and is judged.
const ROUND_KILLS: usize = 200;

struct Asked {
    kills: usize,
    seed: u64,
    minutes: Option<u64>,
}

fn read(words: &[String]) -> Option<Asked> {
    let mut asked = Asked { kills: 200, seed: Plan::any_seed(), minutes: None };
    for pair in words.chunks(2) {
        let [word, value] = pair else { return None };
        let value: u64 = value.parse().ok()?;
        match word.as_str() {
            "--kills" => asked.kills = usize::try_from(value).ok()?,
            "--seed" => asked.seed = value,
            "--minutes" => asked.minutes = Some(value),
            _ => return None,
        }
    }
    Some(asked)
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let Some(asked) = read(&words) else {
        eprint!("{USAGE}");
        return ExitCode::from(2);
    };
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(2).enable_all().build().expect("a runtime");
    if runtime.block_on(campaign(&asked)) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

async fn campaign(asked: &Asked) -> bool {
    let began = Instant::now();
    let (mut all, mut broken, mut left, mut seed) = (Counts::default(), 0, asked.kills, asked.seed);
    while left > 0 {
        if asked.minutes.is_some_and(|most| began.elapsed() > Duration::from_secs(60 * most)) {
            break;
        }
        let plan = Plan::quick(seed, left.min(ROUND_KILLS));
        let run = run(&plan, Config::new()).await;
        let found = judge(&run.evidence);
        for sentence in found.iter().take(20) {
            println!("seed {seed}, {} kills: {sentence:?}", plan.kills);
        }
        broken += found.len();
        all.add(&Counts::of(&run.evidence, &found));
        left -= plan.kills;
        seed += 1;
        let minutes = began.elapsed().as_secs_f64() / 60.0;
        eprintln!("{} kills, {broken} broken, {:.1} minutes", all.kills, minutes);
    }
    let seconds = began.elapsed().as_secs_f64();
    println!(
        "{}",
        json!({
            "first_seed": asked.seed,
            "kills": all.kills,
            "messages": all.messages,
            "delivered": all.delivered,
            "doubles_allowed": all.doubles_allowed,
            "doubles": all.doubles,
            "lost": all.lost,
            "reordered": all.reordered,
            "violations": broken,
            "seconds": seconds.round(),
            "kills_per_minute": (60.0 * all.kills as f64 / seconds).round(),
        })
    );
    broken == 0
}
