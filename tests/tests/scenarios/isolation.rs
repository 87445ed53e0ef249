//! Channels whose adapters run in processes of their own: what holds elsewhere holds there, such a
//! process may die at any moment, and it never outlives its host.

use std::collections::BTreeMap;
use std::os::unix::fs::FileExt as _;
use std::process::Command;
use std::time::{Duration, Instant};

use lastword_tests::harness::config::{ISOLATION_VARIABLE, text};
use lastword_tests::harness::http::message;
use lastword_tests::harness::{
    Answer, Channel, Config, Host, Platform, Sink, Site, built, component, eventually,
};
use rustix::process::{Pid, Signal};
use seccompiler::{SeccompAction, SeccompFilter, TargetArch};

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
    assert!(
        private.iter().all(|kib| (1..32 << 10).contains(kib)),
        "idle children: {private:?} KiB"
    );
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

#[tokio::test]
async fn a_stop_that_reaches_every_process_leaves_the_adapters_to_their_host() {
    let (sink, site, host) = isolated().await;
    let before = children_of(host.pid());
    assert_eq!(before.len(), 2);
    for signal in [Signal::TERM, Signal::INT] {
        for pid in &before {
            rustix::process::kill_process(Pid::from_raw(*pid).unwrap(), signal).unwrap();
        }
    }
    host.platform("one").say("m1", "c", "hello").await;
    sink.wait_for(1, SOON).await;
    assert_eq!(children_of(host.pid()), before, "the same processes serve");
    assert_eq!(host.terminate().await.code(), Some(0));
    assert_eq!(site.outbox().await[0].attempts, 1);
    assert!(before.iter().all(|pid| !is_there(*pid)), "and end with their host");
}

/// A child that stands still cannot see that its pipe is closed, nor would one that a guest has taken
/// over look.
#[tokio::test]
async fn a_child_that_does_not_look_at_its_pipe_dies_with_its_host_too() {
    let (_sink, _site, host) = isolated().await;
    let children = children_of(host.pid());
    assert_eq!(children.len(), 2);
    for child in &children {
        let score = std::fs::read_to_string(format!("/proc/{child}/oom_score_adj")).unwrap();
        assert_eq!(score.trim(), "1000", "it goes first where memory runs out");
        rustix::process::kill_process(Pid::from_raw(*child).unwrap(), Signal::STOP).unwrap();
    }
    host.kill().await;
    let begun = Instant::now();
    while children.iter().any(|pid| is_there(*pid)) {
        assert!(begun.elapsed() < Duration::from_secs(5), "a child outlives its host");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Whether a random word stands anywhere in the memory that a process may write: one of the eight
/// pieces of it of which one is always aligned.
fn holds(pid: i32, word: &str) -> bool {
    let pieces = word.as_bytes().windows(8).take(8);
    let pieces: Vec<u64> =
        pieces.map(|piece| u64::from_ne_bytes(piece.try_into().unwrap())).collect();
    let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
    let memory = std::fs::File::open(format!("/proc/{pid}/mem")).unwrap();
    let (mut seen, mut page) = (0, vec![0; 1 << 20]);
    for line in maps.lines().filter(|line| line.contains(" rw")) {
        let (from, to) = line.split(' ').next().unwrap().split_once('-').unwrap();
        let [mut at, to] = [from, to].map(|hex| u64::from_str_radix(hex, 16).unwrap());
        while at < to {
            let most = usize::try_from(to - at).unwrap().min(page.len());
            let read = memory.read_at(&mut page[..most], at).unwrap_or(0);
            let mut words = page[..read]
                .chunks_exact(8)
                .map(|eight| u64::from_ne_bytes(eight.try_into().unwrap()));
            if words.any(|eight| eight != 0 && pieces.contains(&eight)) {
                return true;
            }
            if read == 0 {
                break;
            }
            (seen, at) = (seen + read, at + read as u64);
        }
    }
    assert!(seen > 1 << 20, "only {seen} bytes of {pid} were read");
    false
}

/// Told apart from everything that the processes are made of.
fn random_word() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/uuid").unwrap().trim().to_owned()
}

#[tokio::test]
async fn a_credential_is_injected_by_the_host_and_never_in_the_adapters_process() {
    let (secret, said) = (random_word(), random_word());
    // The call waits for an answer while it is looked at.
    let nothing = || Answer::Body(200, r#"{"events": [], "cursor": "1"}"#.into());
    let sink = Sink::scripted(move |arrival| match arrival.path.as_str() {
        "/poll" => Answer::After(Duration::from_secs(5), Box::new(nothing())),
        _ => Answer::Hang(SOON),
    })
    .await;
    let channel = Channel::script("play", sink.origin())
        .set("", "isolation", &text("process"))
        .set(".secrets", "token", "\"env:TOKEN_OF_IT\"");
    let site = Site::new(&Config::new().channel(channel)).with_variable("TOKEN_OF_IT", &secret);
    let host = site.start().await;
    let script = format!("!fetch GET secured /secured\n{said}");
    let told = serde_json::json!({ "id": "m1", "conversation": "c", "text": script });
    host.platform("play").tell(&told).await;
    let asked = async || sink.arrivals_at("/secured").into_iter().next();
    let arrival = eventually("the adapter asks", SOON, asked).await;
    assert_eq!(arrival.headers["authorization"], format!("Bearer {secret}").as_str());
    let child = children_of(host.pid())[0];
    assert!(holds(child, &said), "the guest holds its message, and the scan finds it");
    assert!(holds(host.pid().cast_signed(), &secret), "the host injects it");
    assert!(!holds(child, &secret), "the credential is in the adapter's process");
    let status = std::fs::read_to_string(format!("/proc/{child}/status")).unwrap();
    // What stands, what is unknown, and no more code: three filters.
    for fact in ["NoNewPrivs:\t1", "Seccomp:\t2", "Seccomp_filters:\t3"] {
        assert!(status.lines().any(|line| line == fact), "{fact} is not in\n{status}");
    }
    let environment = std::fs::read(format!("/proc/{child}/environ")).unwrap();
    assert_eq!(String::from_utf8_lossy(&environment), "RUST_BACKTRACE=0\0");
    let descriptors = std::fs::read_dir(format!("/proc/{child}/fd")).unwrap().flatten();
    let targets = descriptors.map(|fd| std::fs::read_link(fd.path()).unwrap_or_default());
    for target in targets {
        let target = target.display().to_string();
        let known = ["socket:", "pipe:", "anon_inode:", "/dev/null", "/memfd:"];
        assert!(known.iter().any(|start| target.starts_with(start)), "it holds {target}");
    }
}

/// Runs a test on a kernel that seems not to know a system call: this thread, and all that it
/// starts, are told so.
fn on_a_kernel_without<T: Future>(call: i64, test: impl FnOnce() -> T + Send + 'static) {
    let runs = move || {
        let unknown = SeccompAction::Errno(38);
        let arch = TargetArch::try_from(std::env::consts::ARCH).unwrap();
        let rules = BTreeMap::from([(call, Vec::new())]);
        let filter = SeccompFilter::new(rules, SeccompAction::Allow, unknown, arch).unwrap();
        let program: seccompiler::BpfProgram = filter.try_into().unwrap();
        seccompiler::apply_filter(&program).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(test());
    };
    std::thread::spawn(runs).join().unwrap();
}

#[test]
fn on_a_kernel_that_lacks_a_means_the_channel_is_refused_and_never_runs_with_less() {
    let missing = [
        (libc::SYS_landlock_create_ruleset, "Landlock is not to be had"),
        (libc::SYS_seccomp, "no seccomp filter"),
        (libc::SYS_close_range, "descriptors"),
    ];
    for (call, words) in missing {
        on_a_kernel_without(call, move || refused_for(words));
    }
}

async fn refused_for(words: &str) {
    let sink = Sink::start().await;
    let locked = Channel::webhook("locked", &sink.url()).set("", "isolation", &text("process"));
    let config = Config::new().channel(locked);
    let site = Site::new(&config.channel(Channel::webhook("other", &sink.url())));
    let check = site.cli(&["check", "--json"]).await;
    assert_eq!(check.code, 1, "{}", check.stdout);
    assert!(check.stdout.contains(words), "check: {}{}", check.stdout, check.stderr);
    let host = site.start().await;
    host.platform("other").say("m1", "c", "hello").await;
    sink.wait_for(1, SOON).await;
    let status = site.status().await;
    let mut rows = status["channels"].as_array().unwrap().iter();
    let row = rows.find(|row| row["name"] == "locked").unwrap();
    assert_eq!(row["state"], "refused", "{row}");
    let reason = row["reason"].as_str().unwrap();
    assert!(reason.contains(words), "{reason}");
    let posted = host.platform("locked").post("messages", &message("m", "c", "x")).await.unwrap();
    assert_eq!(posted.status, 503, "{}", posted.text());
    assert_eq!(children_of(host.pid()), [0; 0], "nothing of it runs");
}

#[test]
fn an_adapter_passes_the_conformance_suite_in_a_process_of_its_own() {
    let fixture = built::repository().join("adapters/webhook/conformance.toml");
    let suite = Command::new(built::binary())
        .args(["adapter", "test", "--isolation", "process", "--json"])
        .arg(component("webhook"))
        .arg("--fixture")
        .arg(fixture)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&suite.stdout);
    assert!(suite.status.success(), "{said}{}", String::from_utf8_lossy(&suite.stderr));
    let cases = said.lines().filter(|line| line.contains("\"broken\":[]")).count();
    assert!(cases >= 20, "only {cases} cases were there to hold:\n{said}");
}
