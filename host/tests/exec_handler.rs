//! The `exec` handler with real processes: what it says, and that nothing of it outlives its turn,
//! its stop or its host.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test")]

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use lastword::env::Env;
use lastword::gate::{StopHandle, StopReason};
use lastword::handler::{
    Exec, ExecSettings, Failure, Handler, HandlerDocument, HandlerEnd, HandlerEvent, Retry,
};
use lastword::lifecycle::message::Reply;
use tokio::sync::mpsc;

/// The real guard: the host's own binary.
const GUARD: &str = env!("CARGO_BIN_EXE_lastword");
/// Long enough for a slow machine to start a process.
const START_MAX: Duration = Duration::from_secs(20);
/// What an abort may take.
const DEATH_MAX: Duration = Duration::from_secs(1);
/// Set in a process of this test binary that plays the host.
const HOST_ROLE: &str = "LASTWORD_TEST_HOST_FOLDER";
/// Which guard that host is to use.
const HOST_GUARD: &str = "LASTWORD_TEST_HOST_GUARD";

fn document(text: &str) -> HandlerDocument {
    serde_json::from_value(serde_json::json!({
        "turn": {"id": "t00000000010000000001", "attempt": 1, "accepted_at_ms": 0},
        "channel": "hook", "conversation": "room",
        "message": {
            "external_id": "m", "conversation": "room", "context": null, "audience": "direct",
            "sender": {"id": "ann"}, "text": text, "attachments": [], "sent_at_ms": null,
            "reply_to": null, "group": null, "wakes": true, "extras": [],
        },
        "context": [], "delivered": [],
    }))
    .unwrap()
}

/// A shell script as the agent, in a folder of its own.
struct Agent {
    folder: tempfile::TempDir,
    settings: ExecSettings,
}

impl Agent {
    fn new(script: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("agent.sh"), script).unwrap();
        let command = vec!["sh".to_owned(), "agent.sh".to_owned()];
        let mut settings = ExecSettings::new(command, folder.path().to_owned());
        settings.guard = PathBuf::from(GUARD);
        settings.limits.linger_ms = 400;
        Self { folder, settings }
    }

    fn exec(&self) -> Exec {
        Exec::new(Env::system(), self.settings.clone()).unwrap()
    }

    /// Runs a whole try; gives its events and its end.
    async fn run(&self, text: &str) -> (Vec<HandlerEvent>, HandlerEnd) {
        let (sender, mut receiver) = mpsc::channel(4);
        let exec = self.exec();
        let answer = exec.answer(document(text), sender, StopHandle::new());
        let listen = async {
            let mut events = vec![];
            while let Some(event) = receiver.recv().await {
                events.push(event);
            }
            events
        };
        let (end, events) = tokio::join!(answer, listen);
        (events, end)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    async fn pids(&self, count: usize) -> Vec<i32> {
        pids_in(self.folder.path(), count).await
    }
}

/// Waits until the agent's processes have written `count` process ids to the file `pids`.
async fn pids_in(folder: &Path, count: usize) -> Vec<i32> {
    let env = Env::system();
    let wait = async {
        loop {
            let text = std::fs::read_to_string(folder.join("pids")).unwrap_or_default();
            let pids: Vec<i32> = text.lines().filter_map(|line| line.parse().ok()).collect();
            if pids.len() >= count && text.ends_with('\n') {
                return pids;
            }
            env.sleep(Duration::from_millis(5)).await;
        }
    };
    env.timeout(START_MAX, wait).await.expect("the agent starts")
}

fn is_alive(pid: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat.rsplit_once(')').and_then(|(_, rest)| rest.trim().chars().next());
    !matches!(state, None | Some('Z' | 'X'))
}

async fn all_die(pids: &[i32]) -> bool {
    let env = Env::system();
    let wait = async {
        while pids.iter().any(|pid| is_alive(*pid)) {
            env.sleep(Duration::from_millis(5)).await;
        }
    };
    env.timeout(DEATH_MAX, wait).await.is_ok()
}

fn signal(pid: i32, signal: rustix::process::Signal) {
    let pid = rustix::process::Pid::from_raw(pid).unwrap();
    let _ = rustix::process::kill_process(pid, signal);
}

fn final_event(text: &str) -> HandlerEvent {
    HandlerEvent::Final(Reply { text: text.to_owned(), ..Reply::default() })
}

fn failure(end: HandlerEnd) -> Failure {
    match end {
        HandlerEnd::Failed(failure) => failure,
        HandlerEnd::Ended | HandlerEnd::Stopped => panic!("{end:?}"),
    }
}

/// Itself, a grandchild, one that left the group with `setsid`, and one whose parent is gone.
const FAMILY: &str = r#"
sh -c 'echo $$ >> pids; exec sleep 600' &
setsid sh -c 'echo $$ >> pids; exec sleep 600' &
( setsid sh -c 'echo $$ >> pids; exec sleep 600' & ) &
echo $$ >> pids
exec sleep 600
"#;
const FAMILY_SIZE: usize = 4;

#[tokio::test]
async fn the_command_gets_the_document_and_its_events_arrive_in_order() {
    let agent = Agent::new(
        r#"cat > document
           echo '{"type":"tool","text":"looking"}'
           echo '{"type":"heartbeat"}'
           printf '{"type":"final","text":"done"}'"#,
    );
    let (events, end) = agent.run("hello").await;
    let tool = HandlerEvent::Tool(Reply { text: "looking".to_owned(), ..Reply::default() });
    assert_eq!(events, [tool, HandlerEvent::Heartbeat, final_event("done")]);
    assert_eq!(end, HandlerEnd::Ended);
    let got = std::fs::read(agent.file("document")).unwrap();
    assert_eq!(got, document("hello").to_line().unwrap());
}

#[tokio::test]
async fn a_command_that_never_reads_a_large_document_answers_all_the_same() {
    let agent = Agent::new(r#"echo '{"type":"final","text":"done"}'"#);
    let (events, end) = agent.run(&"x".repeat(3 * 1024 * 1024)).await;
    assert_eq!((events.as_slice(), end), (&[final_event("done")][..], HandlerEnd::Ended));
}

#[tokio::test]
async fn an_agent_that_is_silent_for_long_is_waited_for() {
    let agent = Agent::new(r#"sleep 2; echo '{"type":"silent"}'"#);
    let (events, end) = agent.run("hello").await;
    assert_eq!((events.as_slice(), end), (&[HandlerEvent::Silent][..], HandlerEnd::Ended));
}

#[tokio::test]
async fn a_dropped_try_takes_its_whole_family_along() {
    let agent = Agent::new(FAMILY);
    let (sender, _receiver) = mpsc::channel(4);
    let exec = agent.exec();
    let answer = exec.answer(document("hello"), sender, StopHandle::new());
    let pids = tokio::select! {
        end = answer => panic!("{end:?}"),
        pids = agent.pids(FAMILY_SIZE) => pids,
    };
    assert!(all_die(&pids).await, "{pids:?}");
}

#[tokio::test]
async fn a_stopped_try_says_so_and_its_whole_family_is_gone_by_then() {
    let agent = Agent::new(FAMILY);
    let (sender, _receiver) = mpsc::channel(4);
    let (exec, stop) = (agent.exec(), StopHandle::new());
    let answer = exec.answer(document("hello"), sender, stop.clone());
    let set = async {
        let pids = agent.pids(FAMILY_SIZE).await;
        stop.stop(StopReason::Aborted);
        pids
    };
    let (end, pids) = tokio::join!(answer, set);
    assert_eq!(end, HandlerEnd::Stopped);
    assert!(pids.iter().all(|pid| !is_alive(*pid)), "{pids:?}");
}

#[tokio::test]
async fn what_an_ended_command_left_running_is_ended_too() {
    let agent = Agent::new(
        r#"setsid sh -c 'echo $$ >> pids; exec sleep 600' > /dev/null 2>&1 &
           while [ ! -s pids ]; do sleep 0.01; done
           echo '{"type":"final","text":"done"}'"#,
    );
    let (events, end) = agent.run("hello").await;
    assert_eq!((events.as_slice(), end), (&[final_event("done")][..], HandlerEnd::Ended));
    let pids = agent.pids(1).await;
    assert!(pids.iter().all(|pid| !is_alive(*pid)), "{pids:?}");
}

#[tokio::test]
async fn after_its_final_a_command_has_a_moment_and_its_later_lines_are_refused() {
    let agent = Agent::new(
        r#"echo $$ >> pids
           echo '{"type":"final","text":"first"}'
           echo '{"type":"final","text":"second"}'
           echo 'rubbish'
           sleep 0.1; echo cleaned > cleaned
           exec sleep 600"#,
    );
    let (events, end) = agent.run("hello").await;
    assert_eq!((events.as_slice(), end), (&[final_event("first")][..], HandlerEnd::Ended));
    assert!(agent.file("cleaned").exists(), "it was killed before its time to clean up");
    assert!(agent.pids(1).await.iter().all(|pid| !is_alive(*pid)));
}

#[tokio::test]
async fn a_command_that_dies_without_a_final_is_a_failed_try_with_its_exit_code() {
    let agent = Agent::new(r#"echo '{"type":"block","text":"half"}'; echo oops >&2; exit 3"#);
    let (events, end) = agent.run("hello").await;
    assert_eq!(events.len(), 1);
    let failure = failure(end);
    assert_eq!((failure.code, failure.retry), (Failure::NO_FINAL, Retry::Spent { after_ms: None }));
    assert!(failure.reason.contains("exit code 3"), "{}", failure.reason);
    let told = "it wrote 1 line to stderr, which the log has only where";
    assert!(failure.reason.contains(told), "{}", failure.reason);
    assert!(!failure.reason.contains("oops"), "{}", failure.reason);
}

#[tokio::test]
async fn a_line_that_is_no_event_is_a_failed_try_that_names_it_and_ends_the_command() {
    let agent = Agent::new(
        "echo $$ >> pids; echo '{\"type\":\"heartbeat\"}'; echo 'Dear Ann,'; exec sleep 600",
    );
    let (events, end) = agent.run("hello").await;
    assert_eq!(events, [HandlerEvent::Heartbeat]);
    let failure = failure(end);
    assert!(failure.reason.starts_with("line 2 "), "{}", failure.reason);
    assert!(!failure.reason.contains("Ann"), "{}", failure.reason);
    assert!(agent.pids(1).await.iter().all(|pid| !is_alive(*pid)));
}

#[tokio::test]
async fn an_endless_line_is_cut_off_and_its_command_ended() {
    let agent = Agent::new("echo $$ >> pids; yes | tr -d '\\n'");
    let (events, end) = agent.run("hello").await;
    assert_eq!((events.len(), failure(end).code), (0, Failure::LIMIT));
    assert!(agent.pids(1).await.iter().all(|pid| !is_alive(*pid)));
}

#[tokio::test]
async fn a_flood_on_stderr_holds_nothing_up() {
    let agent = Agent::new(
        r#"head -c 5000000 /dev/zero >&2; yes | head -n 100000 >&2
           echo '{"type":"final","text":"done"}'"#,
    );
    let (events, end) = agent.run("hello").await;
    assert_eq!((events.as_slice(), end), (&[final_event("done")][..], HandlerEnd::Ended));
}

#[tokio::test]
async fn a_command_that_cannot_be_started_is_told_apart_from_one_that_failed() {
    let mut agent = Agent::new("");
    std::fs::write(agent.file("plain.txt"), "no program").unwrap();
    for program in ["no-such-program-anywhere", "./plain.txt"] {
        agent.settings.command = vec![program.to_owned()];
        let failure = failure(agent.run("hello").await.1);
        assert_eq!((failure.code, failure.retry), (Failure::NOT_STARTED, Retry::NotStarted));
        assert!(failure.reason.contains(program), "{}", failure.reason);
    }
    agent.settings.folder = agent.file("no-such-folder");
    let failure = failure(agent.run("hello").await.1);
    assert_eq!(failure.retry, Retry::NotStarted);
    assert!(failure.reason.contains("no-such-folder"), "{}", failure.reason);
}

#[tokio::test]
async fn variables_that_hold_secrets_do_not_reach_the_command() {
    let mut agent =
        Agent::new(r#"printf '{"type":"final","text":"[%s][%s]"}' "$PATH" "$CARGO_MANIFEST_DIR""#);
    agent.settings.withheld = vec!["CARGO_MANIFEST_DIR".to_owned()];
    let (events, _) = agent.run("hello").await;
    match events.as_slice() {
        [HandlerEvent::Final(reply)] => {
            assert!(reply.text.ends_with("[]") && reply.text.len() > 4, "{}", reply.text);
        }
        other => panic!("{other:?}"),
    }
}

/// The parent of `pid`: the guard.
fn parent(pid: i32) -> i32 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let rest = stat.rsplit_once(')').unwrap().1;
    rest.split_ascii_whitespace().nth(1).unwrap().parse().unwrap()
}

#[tokio::test]
async fn where_somebody_kills_the_guard_its_group_is_killed_and_the_try_fails() {
    let agent = Agent::new("echo $$ >> pids; exec sleep 600");
    let run = agent.run("hello");
    let kill = async {
        let pid = *agent.pids(1).await.first().unwrap();
        signal(parent(pid), rustix::process::Signal::KILL);
        pid
    };
    let ((_, end), pid) = tokio::join!(run, kill);
    assert_eq!(failure(end).code, Failure::NO_FINAL);
    assert!(all_die(&[pid]).await);
}

#[tokio::test]
async fn where_somebody_stopped_the_guard_an_abort_still_ends_the_command() {
    let agent = Agent::new("echo $$ >> pids; exec sleep 600");
    let (sender, _receiver) = mpsc::channel(4);
    let (exec, stop) = (agent.exec(), StopHandle::new());
    let answer = exec.answer(document("hello"), sender, stop.clone());
    let set = async {
        let pid = *agent.pids(1).await.first().unwrap();
        signal(parent(pid), rustix::process::Signal::STOP);
        stop.stop(StopReason::Aborted);
        pid
    };
    let (end, pid) = tokio::join!(answer, set);
    assert_eq!(end, HandlerEnd::Stopped);
    assert!(all_die(&[pid]).await);
}

/// Starts this test binary again as a host that runs the family, kills it with SIGKILL, and tells
/// which processes are still there a second later.
async fn survivors_of_a_killed_host(test: &str, guard: &Path) -> Vec<i32> {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("agent.sh"), FAMILY).unwrap();
    let mut host = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test])
        .env(HOST_ROLE, folder.path())
        .env(HOST_GUARD, guard)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let pids = pids_in(folder.path(), FAMILY_SIZE).await;
    assert!(pids.iter().all(|pid| is_alive(*pid)));
    host.kill().unwrap();
    host.wait().unwrap();
    let _ = all_die(&pids).await;
    pids.into_iter().filter(|pid| is_alive(*pid)).collect()
}

/// Plays the host where this process was started as one.
async fn play_host_if_told() {
    let Some(folder) = lastword::env::variable(HOST_ROLE) else { return };
    let command = vec!["sh".to_owned(), "agent.sh".to_owned()];
    let mut settings = ExecSettings::new(command, PathBuf::from(folder));
    settings.guard = PathBuf::from(lastword::env::variable(HOST_GUARD).unwrap());
    let (sender, _receiver) = mpsc::channel(4);
    let exec = Exec::new(Env::system(), settings).unwrap();
    let end = exec.answer(document("hello"), sender, StopHandle::new()).await;
    panic!("the handler ended before its host was killed: {end:?}");
}

#[tokio::test]
async fn a_handler_dies_with_a_host_that_was_killed() {
    play_host_if_told().await;
    let test = "a_handler_dies_with_a_host_that_was_killed";
    let left = survivors_of_a_killed_host(test, Path::new(GUARD)).await;
    assert_eq!(left, Vec::<i32>::new());
}

#[tokio::test]
async fn without_its_guard_a_handler_would_outlive_a_killed_host() {
    play_host_if_told().await;
    let folder = tempfile::tempdir().unwrap();
    let no_guard = folder.path().join("no-guard");
    std::fs::write(&no_guard, "#!/bin/sh\nshift 2\nexec \"$@\"\n").unwrap();
    std::fs::set_permissions(&no_guard, std::fs::Permissions::from_mode(0o755)).unwrap();
    let test = "without_its_guard_a_handler_would_outlive_a_killed_host";
    let left = survivors_of_a_killed_host(test, &no_guard).await;
    for pid in &left {
        signal(*pid, rustix::process::Signal::KILL);
    }
    assert_eq!(left.len(), FAMILY_SIZE, "the test above would prove nothing");
}
