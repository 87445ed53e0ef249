//! Channels whose adapters run in processes of their own: what holds elsewhere holds there, such a
//! process may die at any moment, and it never outlives its host.

use std::process::Command;
use std::time::{Duration, Instant};

use lastword_tests::harness::config::{ISOLATION_VARIABLE, text};
use lastword_tests::harness::http::message;
use lastword_tests::harness::{Channel, Config, Host, Platform, Sink, Site, eventually};
use rustix::process::{Pid, Signal};

use crate::SOON;

/// Scenarios that are run a second time, with every channel in a process of its own.
const BOTH: [&str; 5] = [
    "intake::a_message_posted_again",
    "intake::of_thirty_two_posts",
    "intake::a_batch_is_taken",
    "outcomes::",
    "signatures::",
];

#[test]
fn scenarios_hold_with_every_channel_in_a_process_of_its_own() {
    if std::env::var_os(ISOLATION_VARIABLE).is_some() {
        return;
    }
    let output = Command::new(std::env::current_exe().unwrap())
        .args(BOTH)
        .args(["--test-threads=4"])
        .env(ISOLATION_VARIABLE, "process")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}");
    let passed = said.split("test result: ok. ").nth(1).and_then(|rest| rest.split(' ').next());
    let passed: u32 = passed.and_then(|count| count.parse().ok()).unwrap_or_default();
    assert!(passed >= 12, "only {passed} scenarios were there to be run:\n{said}");
}

/// The processes of a host's isolated adapters.
fn children_of(host: u32) -> Vec<i32> {
    let folders = std::fs::read_dir("/proc").unwrap().flatten();
    let pids = folders.filter_map(|folder| folder.file_name().to_str()?.parse::<i32>().ok());
    let is_child = |pid: &i32| {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let serves = line.ends_with(b"\0sandbox-child\0serve\0");
        serves && status.lines().any(|line| line == format!("PPid:\t{host}"))
    };
    pids.filter(is_child).collect()
}

fn is_there(pid: i32) -> bool {
    // What nobody has waited for yet is over all the same.
    std::fs::read_to_string(format!("/proc/{pid}/status"))
        .is_ok_and(|status| !status.contains("State:\tZ"))
}

/// Memory of a process that is its own, in KiB.
fn private_kib(pid: i32) -> u64 {
    let rollup = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    let kib = |line: &str| line.split_ascii_whitespace().nth(1)?.parse::<u64>().ok();
    rollup.lines().filter(|line| line.starts_with("Private_")).filter_map(kib).sum()
}

async fn isolated() -> (Sink, Site, Host) {
    let sink = Sink::start().await;
    let on = |name| Channel::webhook(name, &sink.url()).set("", "isolation", &text("process"));
    let config = Config::new().channel(on("one")).channel(on("two"));
    let config = config.channel(Channel::webhook("other", &sink.url()));
    let site = Site::new(&config);
    let host = site.start().await;
    (sink, site, host)
}

/// As platforms do: what was not taken is posted again.
async fn post_until_taken(platform: &Platform, id: &str) {
    let taken = || async {
        let posted = platform.post("messages", &message(id, "c", "hello")).await;
        posted.is_ok_and(|reply| reply.status == 200).then_some(())
    };
    eventually("the message is taken", SOON, taken).await;
}

#[tokio::test]
async fn each_isolated_channel_has_one_process_which_may_die_and_dies_with_its_host() {
    let (sink, site, host) = isolated().await;
    for channel in ["one", "two", "other"] {
        host.platform(channel).say("m1", "c", "hello").await;
    }
    sink.wait_for(3, SOON).await;
    let children = children_of(host.pid());
    assert_eq!(children.len(), 2, "one each for `one` and `two`, none for `other`");
    let private: Vec<_> = children.iter().map(|pid| private_kib(*pid)).collect();
    println!("private memory of idle children: {private:?} KiB");
    // Killed again and again, with messages on their way.
    for round in 0..5 {
        for pid in children_of(host.pid()) {
            let pid = Pid::from_raw(pid).unwrap();
            let _ = rustix::process::kill_process(pid, Signal::KILL);
        }
        for channel in ["one", "two"] {
            post_until_taken(&host.platform(channel), &format!("k{round}")).await;
        }
    }
    sink.wait_for(13, SOON).await;
    for turn in site.turns().await {
        site.turn_in(&turn.id, "delivered", SOON).await;
    }
    let children = children_of(host.pid());
    assert_eq!(children.len(), 2);
    host.kill().await;
    let begun = Instant::now();
    while children.iter().any(|pid| is_there(*pid)) {
        assert!(begun.elapsed() < Duration::from_secs(5), "a child outlives its host");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
