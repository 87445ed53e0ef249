//! Adapters in processes of their own: the same calls hold, a child that dies is a trap and the
//! next call has another, and from inside nothing can be reached.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader};
use std::os::fd::AsRawFd as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal};

use super::child::Marked;
use super::*;
use crate::lifecycle::outcome::{Outcome, judge};
use crate::sandbox::child::probe::{Attempts, Found, Means, ask, blind};

async fn isolated(marked: &Marked, peer: &Peer, limits: CallLimits) -> Channel {
    let engine = engine_with(marked.config.clone());
    script_on(&engine, Isolation::Process, peer, json!({}), limits).await
}

/// Tests of this binary that must hold on either ground.
const BOTH: [&str; 6] = [
    "sandbox::tests::budget::",
    "sandbox::tests::calls::",
    "sandbox::tests::cancel::",
    "sandbox::tests::limits::",
    "sandbox::tests::memory::",
    "sandbox::tests::rebinding::",
];

#[test]
fn every_call_holds_in_a_process_of_its_own() {
    if isolation() == Isolation::Process {
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
    assert!(passed >= 35, "only {passed} tests were there to be run:\n{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_child_that_dies_in_a_call_is_a_trap_and_the_wire_decides() {
    let peer = Peer::start(vec![Act::Hang]).await;
    let marked = Marked::new(EngineConfig::default());
    let channel = isolated(&marked, &peer, roomy()).await;
    let before = marked.seen().await;
    assert_eq!(before.len(), 1, "one process for the channel");
    let killing = async {
        while peer.seen().is_empty() {
            Env::system().sleep(Duration::from_millis(5)).await;
        }
        rustix::process::kill_process(Pid::from_raw(before[0]).unwrap(), Signal::KILL).unwrap();
    };
    let (call, ()) = tokio::join!(send(&channel, "under way"), killing);
    let CallEnd::Trapped(words) = &call.end else { panic!("{:?}", call.end) };
    assert!(words.contains("own process") && words.contains("signal: 9"), "{words}");
    assert_eq!((call.ledger.send_begun, call.ledger.send_answered), (1, 0));
    let verdict = judge(call.end, &call.ledger);
    assert!(matches!(verdict.outcome, Outcome::Unknown(_)), "{verdict:?}");
    // One that had sent nothing is known to have sent nothing, and has a new process.
    let call = send(&channel, "!say transient").await;
    assert!(matches!(call.end, CallEnd::Answered(Err(_))), "{:?}", call.end);
    let after = marked.children();
    assert!(after.len() == 1 && after != before, "{before:?} {after:?}");
    drop(channel);
    marked.gone().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_child_that_is_killed_between_calls_costs_nothing() {
    let peer = Peer::start(vec![ok()]).await;
    let marked = Marked::new(EngineConfig::default());
    let channel = isolated(&marked, &peer, roomy()).await;
    for _ in 0..3 {
        let call = send(&channel, "hello").await;
        assert!(matches!(call.end, CallEnd::Answered(Ok(_))), "{:?}", call.end);
        let pid = marked.children()[0];
        rustix::process::kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
        while marked.children().contains(&pid) {
            Env::system().sleep(Duration::from_millis(5)).await;
        }
        // The host hears of it a moment after the kernel.
        Env::system().sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_child_that_is_stopped_is_killed_when_the_calls_time_is_over() {
    let peer = Peer::start(vec![ok()]).await;
    let marked = Marked::new(EngineConfig::default());
    let limits = CallLimits { send_ms: 700, ..roomy() };
    let channel = isolated(&marked, &peer, limits).await;
    let pid = marked.seen().await[0];
    rustix::process::kill_process(Pid::from_raw(pid).unwrap(), Signal::STOP).unwrap();
    let begun = Env::system();
    let call = send(&channel, "hello").await;
    assert_eq!(call.end, CallEnd::DeadlinePassed);
    assert!(begun.elapsed() < Duration::from_secs(6), "{:?}", begun.elapsed());
    let call = send(&channel, "hello again").await;
    assert!(matches!(call.end, CallEnd::Answered(Ok(_))), "{:?}", call.end);
    assert!(!marked.children().contains(&pid));
}

/// The pause before a start, and the start itself, may be longer than any call of the channel.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_channel_of_short_calls_has_a_process_again_however_often_it_died() {
    let peer = Peer::start(vec![ok()]).await;
    let marked = Marked::new(EngineConfig::default());
    let channel = isolated(&marked, &peer, CallLimits { find_ms: 1, ..roomy() }).await;
    let env = Env::system();
    for _ in 0..4 {
        for pid in marked.children() {
            let _ = rustix::process::kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL);
        }
        marked.gone().await;
        // The host hears of it a moment after the kernel.
        env.sleep(Duration::from_millis(100)).await;
        let call = channel.find(message("hello"), 1, StopSignal::never()).await;
        assert!(!matches!(call.end, CallEnd::Answered(_)), "it is too short for that");
        let started = env.timeout(Duration::from_secs(20), marked.seen()).await;
        let started = started.expect("nothing is started for the next call");
        let call = send(&channel, "hello").await;
        assert!(matches!(call.end, CallEnd::Answered(Ok(_))), "{:?}", call.end);
        assert_eq!(marked.children(), started);
    }
}

#[tokio::test]
async fn without_a_helper_an_isolated_channel_is_refused_with_a_sentence() {
    let engine = engine_with(EngineConfig { helper: None, ..EngineConfig::default() });
    let refused = engine.admit_on(guest("echo"), Isolation::Process).await;
    let Err(refusal) = refused else { panic!("it was admitted") };
    assert!(refusal.to_string().contains("`isolation = \"process\"`"), "{refusal}");
    assert!(engine.admit(guest("echo")).await.is_ok(), "and compiled here where it is not");
}

/// Tries with a descriptor that the child inherits by accident.
async fn tried(shut_in_by: &[Means]) -> Found {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let dir = tempfile::tempdir().unwrap();
    let store = dir.path().join("lastword.db");
    std::fs::write(&store, b"rows").unwrap();
    // Without "close on exec", as a careless library leaves it.
    let leaked =
        rustix::fs::open(store.as_path(), rustix::fs::OFlags::RDONLY, rustix::fs::Mode::empty());
    let leaked = leaked.unwrap();
    let own = rustix::process::getpid().as_raw_nonzero().get();
    let files = ["/etc/passwd", "/proc/self/environ", "/proc/self/maps"].map(str::to_owned);
    let mut files = files.to_vec();
    files.extend([store.display().to_string(), format!("/proc/{own}/environ")]);
    let shut_in_by = shut_in_by.to_vec();
    let attempts = Attempts { shut_in_by, files, port, host: own, hangs: false };
    let (found, _) = ask(&attempts).await.unwrap();
    assert!(leaked.as_raw_fd() > 2);
    found
}

/// How the kernel says no.
const NO: [Option<i32>; 2] = [Some(libc::EPERM), Some(libc::EACCES)];

#[tokio::test]
async fn from_inside_nothing_can_be_reached() {
    let found = tried(&Means::ALL).await;
    for (what, refused) in &found.findings {
        assert!(NO.contains(refused), "{what}: {refused:?}\n{found:#?}");
    }
    assert!(found.findings.len() >= 21, "{found:#?}");
    let variables: BTreeSet<_> = found.variables.iter().map(String::as_str).collect();
    let known = BTreeSet::from(["RUST_BACKTRACE", crate::sandbox::child::TEST_VARIABLE]);
    assert!(variables.is_subset(&known), "{variables:?}");
    // Input, output and last words, and the pipe once more.
    assert_eq!(found.descriptors, [0, 1, 2, 3]);
    // Without the lock every one of them succeeds: it is the lock that refuses.
    let open = tried(&[]).await;
    for (what, refused) in &open.findings {
        assert_eq!(*refused, None, "{what}");
    }
    assert_eq!(open.findings.len() + 1, found.findings.len());
}

/// Were the list of system calls to let one through too many, files and processes are still out of
/// reach.
#[tokio::test]
async fn landlock_alone_keeps_files_programs_and_other_processes_out_of_reach() {
    let found = tried(&[Means::Landlock]).await;
    let mut kept = 0;
    for (what, refused) in &found.findings {
        let starts = ["read ", "list ", "create ", "start a program", "trace ", "become "];
        if starts.iter().any(|start| what.starts_with(start)) {
            assert!(NO.contains(refused), "{what}: {refused:?}\n{found:#?}");
            kept += 1;
        }
    }
    assert!(kept >= 10, "{found:#?}");
}

#[tokio::test]
async fn a_child_whose_thread_hangs_dies_with_its_host_behind_the_lock() {
    let shut_in_by = Means::ALL.to_vec();
    let attempts = Attempts { shut_in_by, files: Vec::new(), port: 9, host: 0, hangs: true };
    let begun = Env::system();
    let (_, signal) = ask(&attempts).await.unwrap();
    assert_eq!(signal, Some(libc::SIGKILL), "it kills itself");
    assert!(begun.elapsed() < Duration::from_secs(10), "and at once: {:?}", begun.elapsed());
}

/// Set in a test binary that is to play a host.
const HOST_VARIABLE: &str = "LASTWORD_TEST_HOST";

/// In a process that was started for it: a host whose child looks at nothing, until it is killed.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_host_started_by_a_test_waits() {
    if crate::env::variable(HOST_VARIABLE).is_some() {
        let (child, _held) = blind().await.unwrap();
        println!("its child is {child}");
        std::future::pending::<()>().await;
    }
}

#[tokio::test]
async fn a_child_that_looks_at_nothing_dies_with_its_host() {
    let waits = "sandbox::tests::isolation::a_host_started_by_a_test_waits";
    let mut host = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", waits, "--nocapture", "--test-threads=1"])
        .env(HOST_VARIABLE, "1")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(host.stdout.take().unwrap()).lines().map_while(Result::ok);
    let child = lines.find_map(|line| line.split("its child is ").nth(1)?.parse::<u32>().ok());
    let status = format!("/proc/{}/status", child.expect("it says which its child is"));
    // What nobody has waited for yet is over all the same.
    let lives =
        || std::fs::read_to_string(&status).is_ok_and(|status| !status.contains("State:\tZ"));
    assert!(lives());
    host.kill().unwrap();
    host.wait().unwrap();
    let begun = Env::system();
    while lives() {
        assert!(begun.elapsed() < Duration::from_secs(5), "it outlives its host");
        begun.sleep(Duration::from_millis(5)).await;
    }
}
