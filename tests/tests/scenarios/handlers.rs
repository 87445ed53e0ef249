//! What answers turns: processes that die with their turn and with their host, and what they say.

use std::time::Duration;

use lastword_tests::harness::{Answer, Channel, Config, Sink, Site, TurnRow, eventually};

use rustix::process::{Pid, Signal};

use crate::{SOON, bridge};

/// Whether a process runs; one that has ended and was not waited for does not.
pub(crate) fn alive(pid: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat"))
        // `PID (NAME) STATE ...`, where the name may hold anything.
        .is_ok_and(|stat| !stat.rsplit(") ").next().unwrap_or("Z").starts_with(['Z', 'X']))
}

/// The ids in the file `pids`, once there are so many.
pub(crate) async fn pids_in(site: &Site, count: usize) -> Vec<u32> {
    eventually(&format!("{count} process ids"), SOON, || async {
        let text = std::fs::read_to_string(site.path().join("pids")).ok()?;
        let pids: Vec<u32> = text.lines().map(|line| line.parse().unwrap()).collect();
        (pids.len() >= count).then_some(pids)
    })
    .await
}

async fn gone(what: &str, pids: &[u32], within: Duration) {
    eventually(what, within, || async { pids.iter().all(|pid| !alive(*pid)).then_some(()) }).await;
}

/// A site whose turns are answered by this script.
async fn agent(script: &str, change: impl FnOnce(Config) -> Config) -> (Sink, Site) {
    let (sink, site) = bridge(Config::new()).await;
    let path = site.write("agent.py", script);
    let config = Config::new().agent(&path).channel(Channel::webhook("hook", &sink.url()));
    site.configure(&change(config));
    (sink, site)
}

/// One message to such a site, and how its turn ended.
async fn ends(site: &Site, text: &str) -> TurnRow {
    let host = site.start().await;
    let turn = host.platform("hook").say("m1", "c", text).await;
    site.turn_at_rest(&turn.id, SOON).await
}

/// Starts two children, one of which leaves the process group; all write their ids and stay.
pub(crate) const AGENT_WITH_A_CHILD: &str = r#"
import os, subprocess, sys, time
sys.stdin.readline()
child = subprocess.Popen(["sleep", "1000"])
runaway = subprocess.Popen(["sleep", "1000"], start_new_session=True)
with open("pids", "a") as pids:
    pids.write(f"{os.getpid()}\n{child.pid}\n{runaway.pid}\n")
time.sleep(1000)
"#;

#[tokio::test]
async fn a_killed_host_takes_its_handlers_and_their_children_with_it() {
    let (_sink, site) = agent(AGENT_WITH_A_CHILD, |config| config).await;
    let host = site.start().await;
    host.platform("hook").say("m1", "c", "hello").await;
    host.platform("hook").say("m2", "d", "hello").await;
    let pids = pids_in(&site, 6).await;
    assert!(pids.iter().all(|pid| alive(*pid)), "{pids:?}");
    host.kill().await;
    gone("all of them ended", &pids, Duration::from_secs(3)).await;
}

// Case: B10
#[tokio::test]
async fn a_handler_that_thinks_too_long_is_ended_with_its_children_and_tried_again() {
    let change = |config: Config| {
        // Three interpreters start within it, also on a machine that is busy.
        config.lifecycle("handler_deadline", "6s").set("lifecycle", "turn_tries", "2")
    };
    let (sink, site) = agent(AGENT_WITH_A_CHILD, change).await;
    let turn = ends(&site, "hello").await;
    assert_eq!((turn.state.as_str(), turn.attempts), ("failed", 2), "{turn:?}");
    assert!(turn.reason.is_some(), "{turn:?}");
    let pids = pids_in(&site, 6).await;
    gone("both tries' processes ended", &pids, Duration::from_secs(3)).await;
    assert_eq!(sink.count(), 0);
}

const AGENT_THAT_PAUSES: &str = r#"
import json, os, sys, time
turn = json.loads(sys.stdin.readline())
with open("pids", "a") as pids:
    pids.write(f"{os.getpid()}\n")
time.sleep(float(turn["message"]["text"]))
print(json.dumps({"type": "final", "text": "try %d" % turn["turn"]["attempt"]}))
"#;

#[tokio::test]
async fn a_host_that_is_asked_to_stop_lets_running_work_end_and_exits_with_0() {
    let (sink, site) = agent(AGENT_THAT_PAUSES, |config| config.lifecycle("drain", "20s")).await;
    let host = site.start().await;
    let platform = host.platform("hook");
    let turn = platform.say("m1", "c", "1.5").await;
    pids_in(&site, 1).await;
    let end = host.terminate().await;
    assert_eq!(end.code(), Some(0), "{end:?}");
    let state = site.turns().await[0].state.clone();
    assert!(matches!(state.as_str(), "delivering" | "delivered"), "the handler ended: {state}");
    assert!(platform.get("/healthz").await.is_err(), "nobody listens any more");
    let _host = site.start().await;
    let turn = site.turn_at_rest(&turn.id, SOON).await;
    assert_eq!((turn.state.as_str(), turn.attempts), ("delivered", 1), "{turn:?}");
    let texts: Vec<_> = sink.arrivals().iter().map(|a| a.text().to_owned()).collect();
    assert_eq!(texts, ["try 1"], "once, over both hosts");
}

#[tokio::test]
async fn work_that_outlasts_the_drain_is_given_back_without_costing_a_try() {
    let change =
        |config: Config| config.lifecycle("drain", "500ms").set("lifecycle", "turn_tries", "1");
    let (sink, site) = agent(AGENT_THAT_PAUSES, change).await;
    let host = site.start().await;
    let turn = host.platform("hook").say("m1", "c", "4").await;
    let pids = pids_in(&site, 1).await;
    assert_eq!(host.terminate().await.code(), Some(0));
    gone("the handler ended with its host", &pids, Duration::from_secs(3)).await;
    let row = site.turns().await.remove(0);
    assert_eq!((row.state.as_str(), row.attempts), ("queued", 0), "{row:?}");
    let _host = site.start().await;
    assert_eq!(site.turn_at_rest(&turn.id, SOON).await.state, "delivered");
    assert_eq!(sink.count(), 1);
}

/// The process that holds a command: its parent.
fn guard_of(pid: u32) -> u32 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let parent = status.lines().find_map(|line| line.strip_prefix("PPid:\t")).unwrap();
    parent.parse().unwrap()
}

fn tell(pid: u32, signal: Signal) {
    rustix::process::kill_process(Pid::from_raw(pid.cast_signed()).unwrap(), signal).unwrap();
}

#[tokio::test]
async fn a_service_whose_processes_are_all_told_to_stop_charges_no_try() {
    for signal in [Signal::TERM, Signal::INT] {
        let change =
            |config: Config| config.lifecycle("drain", "20s").set("lifecycle", "turn_tries", "1");
        let (sink, site) = agent(AGENT_THAT_PAUSES, change).await;
        let host = site.start().await;
        let turn = host.platform("hook").say("m1", "c", "3").await;
        let pids = pids_in(&site, 1).await;
        // As a service manager does, in the order that is worst: the agent before the host.
        tell(pids[0], signal);
        tell(guard_of(pids[0]), signal);
        host.signal(signal);
        assert_eq!(host.ended().await.code(), Some(0));
        let row = site.turns().await.remove(0);
        assert_eq!((row.state.as_str(), row.attempts), ("queued", 0), "{row:?}");
        let _host = site.start().await;
        let row = site.turn_at_rest(&turn.id, SOON).await;
        assert_eq!((row.state.as_str(), row.attempts), ("delivered", 1), "{row:?}");
        assert_eq!(sink.count(), 1);
    }
}

#[tokio::test]
async fn a_guard_that_is_told_to_stop_lets_its_command_finish() {
    let (sink, site) = agent(AGENT_THAT_PAUSES, |config| config.lifecycle("drain", "20s")).await;
    let host = site.start().await;
    let turn = host.platform("hook").say("m1", "c", "1.5").await;
    let pids = pids_in(&site, 1).await;
    tell(guard_of(pids[0]), Signal::TERM);
    tell(guard_of(pids[0]), Signal::INT);
    assert_eq!(host.terminate().await.code(), Some(0));
    let _host = site.start().await;
    let row = site.turn_at_rest(&turn.id, SOON).await;
    assert_eq!((row.state.as_str(), row.attempts), ("delivered", 1), "{row:?}");
    let texts: Vec<_> = sink.arrivals().iter().map(|a| a.text().to_owned()).collect();
    assert_eq!(texts, ["try 1"], "the agent itself was not told, and ended its work");
}

#[tokio::test]
async fn a_command_that_somebody_kills_while_the_host_serves_costs_a_try() {
    let (_sink, site) =
        agent(AGENT_THAT_PAUSES, |config| config.set("lifecycle", "turn_tries", "1")).await;
    let host = site.start().await;
    let turn = host.platform("hook").say("m1", "c", "30").await;
    tell(pids_in(&site, 1).await[0], Signal::TERM);
    let row = site.turn_at_rest(&turn.id, SOON).await;
    assert_eq!((row.state.as_str(), row.attempts), ("failed", 1), "{row:?}");
    let reason = row.reason.unwrap_or_default();
    assert!(reason.contains("exit code 143") && reason.contains("nothing to stderr"), "{reason}");
}

#[tokio::test]
async fn a_second_signal_ends_the_drain_at_once_and_the_work_is_given_back_uncharged() {
    let change =
        |config: Config| config.lifecycle("drain", "60s").set("lifecycle", "turn_tries", "1");
    let (sink, site) = agent(AGENT_THAT_PAUSES, change).await;
    let host = site.start().await;
    let platform = host.platform("hook");
    let turn = platform.say("m1", "c", "5").await;
    let pids = pids_in(&site, 1).await;
    let began = std::time::Instant::now();
    host.signal(rustix::process::Signal::INT);
    // It drains: intake is closed, the handler lives.
    eventually("a host that stops", SOON, || async {
        let ready = platform.get("/readyz").await;
        ready.is_ok_and(|reply| reply.status == 503).then_some(())
    })
    .await;
    assert!(alive(pids[0]));
    host.signal(rustix::process::Signal::INT);
    assert_eq!(host.ended().await.code(), Some(0));
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
    gone("the handler ended with its host", &pids, Duration::from_secs(3)).await;
    let row = site.turns().await.remove(0);
    assert_eq!((row.state.as_str(), row.attempts), ("queued", 0), "{row:?}");
    let _host = site.start().await;
    assert_eq!(site.turn_at_rest(&turn.id, SOON).await.state, "delivered");
    assert_eq!(sink.count(), 1);
}

#[tokio::test]
async fn a_turn_that_is_stopped_by_a_kill_runs_again_and_is_answered_once() {
    let (sink, site) =
        agent(AGENT_THAT_PAUSES, |config| config.set("lifecycle", "turn_tries", "1")).await;
    let host = site.start().await;
    let turn = host.platform("hook").say("m1", "c", "1").await;
    pids_in(&site, 1).await;
    host.kill().await;
    let _host = site.start().await;
    let turn = site.turn_at_rest(&turn.id, SOON).await;
    assert_eq!(turn.state, "delivered", "killing the host is not the handler's failure: {turn:?}");
    let texts: Vec<_> = sink.arrivals().iter().map(|a| a.text().to_owned()).collect();
    assert_eq!(texts, ["try 2"], "the try's number goes on");
}

// Case: B5
#[tokio::test]
async fn a_handler_that_dies_without_a_final_is_tried_again_and_told_what_arrived() {
    let script = r#"
import json, sys, time
turn = json.loads(sys.stdin.readline())
if turn["turn"]["attempt"] == 1:
    print(json.dumps({"type": "block", "text": "first thoughts"}), flush=True)
    time.sleep(2)
    sys.exit(1)
told = [part["text"] for part in turn["delivered"]]
print(json.dumps({"type": "final", "text": "after " + ",".join(told)}))
"#;
    let (sink, site) = agent(script, |config| config).await;
    let turn = ends(&site, "hello").await;
    assert_eq!((turn.state.as_str(), turn.attempts), ("delivered", 2), "{turn:?}");
    let said: Vec<_> =
        sink.arrivals().iter().map(|a| (a.field("kind").to_owned(), a.text().to_owned())).collect();
    let pair = |kind: &str, text: &str| (kind.to_owned(), text.to_owned());
    assert_eq!(said, [pair("block", "first thoughts"), pair("final", "after first thoughts")]);
}

#[tokio::test]
async fn progress_arrives_before_the_final_in_the_order_it_was_said() {
    let script = r#"
import json, sys, time
sys.stdin.readline()
for kind in ["tool", "block", "tool"]:
    print(json.dumps({"type": kind, "text": kind}), flush=True)
    time.sleep(0.3)
print(json.dumps({"type": "heartbeat"}), flush=True)
print(json.dumps({"type": "final", "text": "done", "format": "markdown"}), flush=True)
"#;
    let (sink, site) = agent(script, |config| config).await;
    assert_eq!(ends(&site, "hello").await.state, "delivered");
    let kinds: Vec<_> = sink.arrivals().iter().map(|a| a.field("kind").to_owned()).collect();
    assert_eq!(kinds, ["tool", "block", "tool", "final"]);
}

// Case: B13
#[tokio::test]
async fn progress_that_is_refused_does_not_decide_the_turn() {
    let script = r#"
import json, sys, time
sys.stdin.readline()
print(json.dumps({"type": "tool", "text": "tool"}), flush=True)
time.sleep(1)
print(json.dumps({"type": "final", "text": "done"}), flush=True)
"#;
    let (sink, site) = agent(script, |config| config).await;
    sink.answer_by(|arrival| match arrival.field("kind") {
        "tool" => Answer::Status(400),
        _ => Answer::Take,
    });
    let turn = ends(&site, "hello").await;
    assert_eq!(turn.state, "delivered");
    let rows = site.rows_of(&turn.id).await;
    let states: Vec<_> = rows.iter().map(|r| (r.kind.as_str(), r.state.as_str())).collect();
    assert_eq!(states, [("tool", "dead"), ("final", "delivered")]);
}

// Case: B8
#[tokio::test]
async fn a_handler_may_choose_silence_or_fail_for_good() {
    let script = r#"
import json, sys
turn = json.loads(sys.stdin.readline())
if turn["message"]["text"] == "hush":
    print(json.dumps({"type": "silent"}))
else:
    print(json.dumps({"type": "fail", "reason": "beyond me", "retry": False}))
"#;
    let (sink, site) = agent(script, |config| config).await;
    let host = site.start().await;
    let hush = host.platform("hook").say("m1", "c", "hush").await;
    assert_eq!(site.turn_at_rest(&hush.id, SOON).await.state, "silent");
    let beyond = host.platform("hook").say("m2", "c", "hello").await;
    let beyond = site.turn_at_rest(&beyond.id, SOON).await;
    assert_eq!((beyond.state.as_str(), beyond.attempts), ("failed", 1), "{beyond:?}");
    assert!(beyond.reason.as_deref().unwrap().contains("beyond me"), "{beyond:?}");
    assert_eq!(site.outbox().await, vec![]);
    assert_eq!(sink.count(), 0);
}

#[tokio::test]
async fn output_that_is_no_event_is_a_failed_try_that_names_the_line() {
    for line in ["hello there", "[1]", r#"{"type": "finale", "text": "x"}"#] {
        let script = format!("import sys\nsys.stdin.readline()\nprint('{line}')\n");
        let change = |config: Config| config.set("lifecycle", "turn_tries", "2");
        let (sink, site) = agent(&script, change).await;
        let turn = ends(&site, "hello").await;
        assert_eq!((turn.state.as_str(), turn.attempts), ("failed", 2), "{line}: {turn:?}");
        let reason = turn.reason.unwrap_or_default();
        assert!(reason.contains("line 1"), "the line is not named in: {reason}");
        assert_eq!(sink.count(), 0);
    }
}

// Case: B19
#[tokio::test]
async fn a_final_without_a_word_is_a_failed_try_and_never_silence() {
    let script = "import sys\nsys.stdin.readline()\nprint('{\"type\":\"final\",\"text\":\"\"}')\n";
    let (sink, site) = agent(script, |config| config.set("lifecycle", "turn_tries", "2")).await;
    let turn = ends(&site, "hello").await;
    assert_eq!((turn.state.as_str(), turn.attempts), ("failed", 2), "{turn:?}");
    assert_eq!(sink.count(), 0);
}

// Case: B17
#[tokio::test]
async fn a_command_that_is_not_there_is_seen_and_recovers_by_itself() {
    let (sink, site) = bridge(Config::new()).await;
    let path = site.path().join("later.sh");
    let config = Config::new()
        .exec(&[&path.display().to_string()])
        .set("lifecycle", "turn_tries", "20")
        .channel(Channel::webhook("hook", &sink.url()));
    site.configure(&config);
    let host = site.start().await;
    let turn = host.platform("hook").say("m1", "c", "hello").await;
    let waiting = eventually("a turn that came back with a reason", SOON, || async {
        let row = site.turns().await.remove(0);
        (row.state == "queued" && row.reason.is_some()).then_some(row)
    })
    .await;
    assert!(waiting.reason.as_deref().unwrap().contains("later.sh"), "{waiting:?}");
    site.write("later.sh", "#!/bin/sh\nread -r line\necho '{\"type\":\"final\",\"text\":\"x\"}'\n");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&path, mode).unwrap();
    assert_eq!(site.turn_at_rest(&turn.id, SOON).await.state, "delivered");
    assert_eq!(sink.count(), 1);
}

#[tokio::test]
async fn an_http_handler_answers_with_one_event_with_several_or_with_silence() {
    let handler = Sink::scripted(|arrival| {
        let said = |text: &str| Answer::Body(200, text.to_owned());
        match arrival.body["message"]["text"].as_str().unwrap() {
            "one" => said(r#"{"type": "final", "text": "1"}"#),
            "list" => said(r#"{"events": [{"type": "final", "text": "2"}]}"#),
            "lines" => said("{\"type\":\"heartbeat\"}\n{\"type\":\"final\",\"text\":\"3\"}\n"),
            "hush" => Answer::Status(204),
            "never" => Answer::Status(404),
            "later" if arrival.body["turn"]["attempt"] == 1 => {
                Answer::RetryAfter { status: 503, seconds: 1 }
            }
            "later" => said(r#"{"type": "final", "text": "4"}"#),
            other => panic!("nobody said {other}"),
        }
    })
    .await;
    let (sink, site) = bridge(Config::new()).await;
    let config = Config::new().http(&handler.url()).channel(Channel::webhook("hook", &sink.url()));
    site.configure(&config);
    let host = site.start().await;
    let mut ends = Vec::new();
    for text in ["one", "list", "lines", "hush", "never", "later"] {
        let turn = host.platform("hook").say(text, "c", text).await;
        let end = site.turn_at_rest(&turn.id, SOON).await;
        ends.push((text, end.state, end.attempts));
    }
    let end = |text, state: &str, attempts| (text, state.to_owned(), attempts);
    assert_eq!(
        ends,
        [
            end("one", "delivered", 1),
            end("list", "delivered", 1),
            end("lines", "delivered", 1),
            end("hush", "silent", 1),
            end("never", "failed", 1),
            end("later", "delivered", 2),
        ]
    );
    let texts: Vec<_> = sink.arrivals().iter().map(|a| a.text().to_owned()).collect();
    assert_eq!(texts, ["1", "2", "3", "4"]);
    let later = handler.arrivals().split_off(5);
    assert!(later[1].at - later[0].at >= Duration::from_secs(1), "Retry-After is heeded");
}
