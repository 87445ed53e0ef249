//! The worker of `docs/examples`, as it stands there, against hosts that come and go.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use lastword_tests::harness::{Config, Site, eventually};
use tokio::process::{Child, Command};

use crate::{SOON, bridge};

/// The example as a library, with an agent that takes a moment.
const AGENT: &str = r#"
import sys, time
sys.path.insert(0, sys.argv[1])
from pull_worker import Worker

def answer(turn):
    turn.say("block", "thinking")
    for _ in range(6):
        time.sleep(0.1)
        turn.check()
    if turn.document["message"]["text"] == "hush":
        return None
    return "re: " + turn.document["message"]["text"]

Worker(sys.argv[2], wait_ms=3000, lease_ms=4000, lock="data/host.lock").run(answer)
"#;

/// A worker of this name; killed when it is dropped.
fn worker(site: &Site, name: &str) -> Child {
    let examples = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/examples");
    let agent = site.write("worker.py", AGENT);
    let log = std::fs::File::create(site.path().join(format!("{name}.log"))).unwrap();
    let mut command = Command::new("python3");
    command.arg("-B").arg(agent).arg(examples).arg(name).current_dir(site.path());
    command.stdin(Stdio::null()).stderr(log).kill_on_drop(true).spawn().unwrap()
}

// Case: J10
#[tokio::test]
async fn workers_outlive_hosts_that_are_killed_and_stopped_and_each_message_has_one_final() {
    const MESSAGES: usize = 24;
    let (sink, site) = bridge(Config::new().pull()).await;
    let _workers = [worker(&site, "one"), worker(&site, "two"), worker(&site, "three")];
    let mut host = site.start().await;
    let mut turns = Vec::new();
    for n in 0..MESSAGES {
        let conversation = format!("c{}", n % 6);
        turns
            .push(host.platform("hook").say(&format!("m{n}"), &conversation, &n.to_string()).await);
        if n % 6 == 5 {
            // While all three hold turns; now by force, now by request.
            let held = || async { (sink.count() > n / 2).then_some(()) };
            eventually("work under way", SOON, held).await;
            if n % 12 == 5 {
                host.kill().await;
            } else {
                assert_eq!(host.terminate().await.code(), Some(0));
            }
            host = site.start().await;
        }
    }
    for turn in &turns {
        let turn = site.turn_at_rest(&turn.id, SOON).await;
        assert_eq!((turn.state.as_str(), turn.attempts), ("delivered", 1), "{turn:?}");
    }
    // One row for each message; a row whose answer a kill swallowed is sent again as the same.
    let mut finals: BTreeMap<String, String> = BTreeMap::new();
    for arrival in sink.arrivals().iter().filter(|arrival| arrival.field("kind") == "final") {
        finals.insert(arrival.delivery_id().to_owned(), arrival.text().to_owned());
    }
    let mut texts: Vec<String> = finals.into_values().collect();
    texts.sort();
    let mut expected: Vec<String> = (0..MESSAGES).map(|n| format!("re: {n}")).collect();
    expected.sort();
    assert_eq!(texts, expected);
}

#[tokio::test]
async fn a_worker_that_dies_loses_its_turn_to_another_and_no_message_is_lost() {
    let (sink, site) = bridge(Config::new().pull().lifecycle("sweep", "200ms")).await;
    let host = site.start().await;
    let mut first = worker(&site, "first");
    let turn = host.platform("hook").say("m1", "c", "hello").await;
    site.turn_in(&turn.id, "running", SOON).await;
    first.kill().await.unwrap();
    let _second = worker(&site, "second");
    let turn = site.turn_at_rest(&turn.id, SOON).await;
    assert_eq!((turn.state.as_str(), turn.attempts), ("delivered", 2), "{turn:?}");
    let texts: Vec<_> = sink.arrivals().iter().map(|a| a.text().to_owned()).collect();
    assert_eq!(texts.last().map(String::as_str), Some("re: hello"), "{texts:?}");
}

#[tokio::test]
async fn a_worker_hears_of_an_abort_and_goes_on_with_the_next_turn() {
    let (sink, site) = bridge(Config::new().pull()).await;
    let host = site.start().await;
    let _worker = worker(&site, "one");
    let stopped = host.platform("hook").say("m1", "c", "stop me").await;
    site.turn_in(&stopped.id, "running", SOON).await;
    assert_eq!(site.cli(&["abort", "--turn", &stopped.id]).await.code, 0);
    let next = host.platform("hook").say("m2", "c", "hush").await;
    assert_eq!(site.turn_at_rest(&next.id, SOON).await.state, "silent");
    assert_eq!(site.turn_at_rest(&stopped.id, SOON).await.state, "aborted");
    let told = || async {
        let log = std::fs::read_to_string(site.path().join("one.log")).ok()?;
        log.contains(&format!("{} dropped: aborted", stopped.id)).then_some(())
    };
    eventually("the worker's word that it dropped the turn", Duration::from_secs(10), told).await;
    assert!(sink.arrivals().iter().all(|arrival| arrival.field("kind") != "final"));
}
