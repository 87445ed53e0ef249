//! The real host killed at random moments under load, judged by what arrived.

#![allow(clippy::print_stderr, reason = "a run under chance says its seed")]
#![allow(clippy::expect_used, reason = "a test ends with a panic")]

use std::time::Duration;

use lastword_tests::harness::Config;
use lastword_tests::kill_loop::{Plan, judge, run};

fn plan() -> Plan {
    Plan {
        seed: Plan::any_seed(),
        conversations: 50,
        messages: 2000,
        kills: 30,
        life_max: Duration::from_millis(4000),
        troubled_percent: 5,
        rest_within: Duration::from_secs(180),
    }
}

async fn nothing_is_broken(plan: Plan, config: Config) {
    let run = run(&plan, config).await;
    eprintln!("kill loop: took {:?}, {} requests repeated", run.took, run.repeated);
    let broken = judge(&run.evidence);
    assert!(broken.is_empty(), "seed {}: {} broken: {broken:#?}", plan.seed, broken.len());
}

/// The long form is `cargo xtask kill-loop --kills N`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_messages_survive_eighty_kills_with_every_promise_kept() {
    nothing_is_broken(Plan::quick(Plan::any_seed(), 80).from_environment(), Config::new()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_survive_kills_of_hosts_that_lived_for_seconds_with_every_promise_kept() {
    let plan = Plan { conversations: 25, messages: 600, kills: 8, ..plan() };
    nothing_is_broken(plan.from_environment(), Config::new()).await;
}

/// Answers with what it was sent, a moment later: kills meet handlers that think.
const AGENT: &str = r#"
import json, random, sys, time
turn = json.loads(sys.stdin.readline())
time.sleep(random.random() * 0.5)
print(json.dumps({"type": "final", "text": turn["message"]["text"]}))
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agents_turns_survive_kills_with_every_promise_kept() {
    let folder = tempfile::tempdir().expect("a folder");
    let agent = folder.path().join("agent.py");
    std::fs::write(&agent, AGENT).expect("a file");
    let plan = Plan { conversations: 20, messages: 300, kills: 10, ..plan() };
    nothing_is_broken(plan, Config::new().agent(&agent)).await;
}
