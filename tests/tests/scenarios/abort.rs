//! Stop means stop: on disk before it is confirmed, restart or not.

use std::time::Duration;

use lastword_tests::harness::http::message;
use lastword_tests::harness::{Answer, Channel, Config, Puller, Sink, Site, eventually};
use serde_json::json;

use crate::handlers::{AGENT_WITH_A_CHILD, alive, pids_in};
use crate::{SOON, bridge};

/// Writes its process id, and answers after a while.
const SLOW_AGENT: &str = r#"
import json, os, sys, time
turn = json.loads(sys.stdin.readline())
with open("pids", "a") as pids:
    pids.write(f"{os.getpid()}\n")
if turn["message"]["text"].startswith("slow"):
    time.sleep(3)
print(json.dumps({"type": "final", "text": "answer to " + turn["message"]["text"]}), flush=True)
"#;

async fn slow() -> (Sink, Site) {
    let (sink, site) = bridge(Config::new()).await;
    let agent = site.write("agent.py", SLOW_AGENT);
    site.configure(&Config::new().agent(&agent).channel(Channel::webhook("hook", &sink.url())));
    (sink, site)
}

fn stop(id: &str, conversation: &str) -> serde_json::Value {
    json!({"id": id, "conversation": conversation, "sender": {"id": "p1"}})
}

// Case: F2
#[tokio::test]
async fn a_confirmed_abort_followed_by_sigkill_sends_nothing_more() {
    let (sink, site) = slow().await;
    let host = site.start().await;
    let platform = host.platform("hook");
    let turn = platform.say("m1", "c", "slow").await;
    site.turn_in(&turn.id, "running", SOON).await;
    let reply = platform.post("abort", &stop("s1", "c")).await.unwrap();
    assert_eq!((reply.status, reply.count("lastword-accepted")), (200, 1), "{}", reply.text());
    host.kill().await;
    let host = site.start().await;
    assert_eq!(site.turn_at_rest(&turn.id, SOON).await.state, "aborted");
    // A message after it is answered as usual, and nothing of the stopped one comes before it.
    let after = host.platform("hook").say("m2", "c", "quick").await;
    assert_eq!(site.turn_at_rest(&after.id, SOON).await.state, "delivered");
    tokio::time::sleep(Duration::from_secs(4)).await;
    let texts: Vec<_> = sink.arrivals().iter().map(|a| a.text().to_owned()).collect();
    assert_eq!(texts, ["answer to quick"]);
}

// Case: F1
#[tokio::test]
async fn an_abort_ends_the_handlers_process_within_a_second() {
    let (_sink, site) = slow().await;
    let host = site.start().await;
    let turn = host.platform("hook").say("m1", "c", "slow").await;
    let pids = pids_in(&site, 1).await;
    let end = site.cli(&["abort", "--turn", &turn.id]).await;
    assert_eq!(end.code, 0, "{}{}", end.stdout, end.stderr);
    assert_eq!(site.turn_at_rest(&turn.id, SOON).await.state, "aborted");
    let gone = || async { pids.iter().all(|pid| !alive(*pid)).then_some(()) };
    eventually("the handler's process ended", Duration::from_secs(2), gone).await;
}

// Case: F2
#[tokio::test]
async fn an_abort_takes_back_what_waits_to_be_sent_again_restart_or_not() {
    let sink = Sink::scripted(|_| Answer::RetryAfter { status: 429, seconds: 2 }).await;
    let site = Site::new(&Config::new().channel(Channel::webhook("hook", &sink.url())));
    let host = site.start().await;
    let platform = host.platform("hook");
    let turn = platform.say("m1", "c", "hello").await;
    site.turn_in(&turn.id, "delivering", SOON).await;
    sink.wait_for(1, SOON).await;
    site.row("a row that waits", SOON, |row| row.state == "queued" && row.code.is_some()).await;
    let reply = platform.post("abort", &stop("s1", "c")).await.unwrap();
    assert_eq!(reply.status, 200);
    host.kill().await;
    sink.answer_by(|_| Answer::Take);
    let before = sink.count();
    let host = site.start().await;
    assert_eq!(site.turn_at_rest(&turn.id, SOON).await.state, "aborted");
    assert_eq!(site.rows_of(&turn.id).await[0].state, "cancelled");
    let next = host.platform("hook").say("m2", "c", "next").await;
    assert_eq!(site.turn_at_rest(&next.id, SOON).await.state, "delivered");
    let after: Vec<_> = sink.arrivals()[before..].iter().map(|a| a.text().to_owned()).collect();
    assert_eq!(after, ["next"]);
}

// Case: F3
#[tokio::test]
async fn a_send_that_was_at_the_receiver_is_recorded_as_it_ended_and_the_turn_stays_aborted() {
    let sink =
        Sink::scripted(|_| Answer::After(Duration::from_secs(1), Box::new(Answer::Take))).await;
    let site = Site::new(&Config::new().channel(Channel::webhook("hook", &sink.url())));
    let host = site.start().await;
    let turn = host.platform("hook").say("m1", "c", "hello").await;
    sink.wait_for(1, SOON).await;
    assert_eq!(site.cli(&["abort", "--turn", &turn.id]).await.code, 0);
    site.row("the send recorded", SOON, |row| row.state == "delivered").await;
    assert_eq!(site.turn_at_rest(&turn.id, SOON).await.state, "aborted");
    assert_eq!(sink.count(), 1);
}

// Case: F6
#[tokio::test]
async fn an_abort_stops_the_oldest_turn_or_all_and_says_which() {
    let (sink, site) = slow().await;
    let host = site.start().await;
    let platform = host.platform("hook");
    let mut turns = Vec::new();
    for n in 0..4 {
        turns.push(platform.say(&format!("m{n}"), "c", "slow").await.id);
    }
    let one = ["abort", "--channel", "hook", "--conversation", "c"];
    let end = site.cli(&[&one[..], &["--json"]].concat()).await;
    assert_eq!(end.code, 0, "{}", end.stderr);
    assert!(end.stdout.contains(&turns[0]) && !end.stdout.contains(&turns[1]), "{}", end.stdout);
    assert_eq!(site.turn_at_rest(&turns[0], SOON).await.state, "aborted");
    let end = site.cli(&[&one[..], &["--all", "--json"]].concat()).await;
    for id in &turns[1..] {
        assert!(end.stdout.contains(id), "{}", end.stdout);
        assert_eq!(site.turn_at_rest(id, SOON).await.state, "aborted");
    }
    let nothing = site.cli(&one).await;
    assert_eq!(nothing.code, 3, "{}{}", nothing.stdout, nothing.stderr);
    assert_eq!(sink.count(), 0);
}

// Case: F5, F9
#[tokio::test]
async fn the_same_stop_delivered_again_leaves_a_later_turn_alone() {
    let (sink, site) = slow().await;
    let host = site.start().await;
    let platform = host.platform("hook");
    let stopped = platform.say("m1", "c", "slow").await;
    let first = platform.post("abort", &stop("s1", "c")).await.unwrap();
    let later = platform.say("m2", "c", "slow later").await;
    let again = platform.post("abort", &stop("s1", "c")).await.unwrap();
    assert_eq!((again.status, again.count("lastword-accepted")), (200, 0), "{}", again.text());
    let (first, again) = (first.turns().remove(0), again.turns().remove(0));
    assert_eq!((first.id.as_str(), first.state.as_str()), (stopped.id.as_str(), "aborted"));
    assert_eq!((again.id, again.state, again.duplicate), (first.id, first.state, true));
    assert_eq!(site.turn_at_rest(&later.id, SOON).await.state, "delivered");
    let texts: Vec<_> = sink.arrivals().iter().map(|a| a.text().to_owned()).collect();
    assert_eq!(texts, ["answer to slow later"]);
}

#[tokio::test]
async fn a_turn_can_be_aborted_while_no_host_runs() {
    let (sink, site) = slow().await;
    let host = site.start().await;
    let turn = host.platform("hook").say("m1", "c", "slow").await;
    host.kill().await;
    assert_eq!(site.cli(&["abort", "--turn", &turn.id]).await.code, 0);
    let host = site.start().await;
    assert_eq!(site.turn_at_rest(&turn.id, SOON).await.state, "aborted");
    assert_eq!(site.cli(&["abort", "--turn", &turn.id]).await.code, 3, "nothing is left to stop");
    let reply = host.platform("hook").post("messages", &message("m2", "c", "quick")).await.unwrap();
    site.turn_at_rest(&reply.turns()[0].id, SOON).await;
    assert_eq!(sink.count(), 1);
}

// Case: F1
#[tokio::test]
async fn a_stop_from_the_chat_ends_the_handler_and_all_that_it_started_within_a_second() {
    let (_sink, site) = slow().await;
    site.write("agent.py", AGENT_WITH_A_CHILD);
    let host = site.start().await;
    let platform = host.platform("hook");
    platform.say("m1", "c", "hello").await;
    let family = pids_in(&site, 3).await;
    assert!(family.iter().all(|pid| alive(*pid)), "{family:?}");
    let reply = platform.post("abort", &stop("s1", "c")).await.unwrap();
    assert_eq!((reply.status, reply.turns()[0].state.as_str()), (200, "aborted"));
    let gone = || async { family.iter().all(|pid| !alive(*pid)).then_some(()) };
    // A second, and as much again for a machine that has other things to do.
    eventually("the whole family ended", Duration::from_secs(2), gone).await;
}

// Case: F1
#[tokio::test]
async fn an_abort_ends_the_request_to_an_http_handler_within_a_second() {
    let handler = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/turn", handler.local_addr().unwrap());
    let (sink, site) = bridge(Config::new()).await;
    site.configure(&Config::new().http(&url).channel(Channel::webhook("hook", &sink.url())));
    let host = site.start().await;
    let turn = host.platform("hook").say("m1", "c", "hello").await;
    let (mut request, _) = handler.accept().await.unwrap();
    assert_eq!(site.cli(&["abort", "--turn", &turn.id]).await.code, 0);
    let mut rest = Vec::new();
    let closed = tokio::io::AsyncReadExt::read_to_end(&mut request, &mut rest);
    let closed = tokio::time::timeout(Duration::from_secs(2), closed).await;
    assert!(closed.is_ok(), "the connection is still open");
    assert_eq!(site.turn_at_rest(&turn.id, SOON).await.state, "aborted");
}

// Case: F7
#[tokio::test]
async fn whoever_stops_a_turn_there_is_one_record_of_who_and_when() {
    let (_sink, site) = slow().await;
    let host = site.start().await;
    let platform = host.platform("hook");
    let mut turns = Vec::new();
    for room in ["chat", "cli", "api"] {
        let turn = platform.say(room, room, "slow").await;
        site.turn_in(&turn.id, "running", SOON).await;
        turns.push(turn.id);
    }
    let began = now_ms();
    platform.post("abort", &stop("s1", "chat")).await.unwrap();
    assert_eq!(site.cli(&["abort", "--turn", &turns[1]]).await.code, 0);
    let body = json!({"channel": "hook", "conversation": "api", "by": "the night shift"});
    let reply = Puller::new(&site, &host).post("abort", &[], body.to_string()).await.unwrap();
    assert_eq!((reply.status, reply.json()["ids"][0].as_str()), (200, Some(turns[2].as_str())));
    let by = ["p1 in hook", "cli", "the night shift"];
    for (turn, by) in turns.iter().zip(by) {
        let shown: Vec<serde_json::Value> = site.json(&["turns", "show", turn]).await;
        let shown = &shown[0];
        let told = (shown["state"].as_str(), shown["code"].as_str(), shown["ended_by"].as_str());
        assert_eq!(told, (Some("aborted"), Some("aborted"), Some(by)));
        let at = shown["ended_at_ms"].as_i64().unwrap();
        assert!((began..=now_ms()).contains(&at), "{at}");
        let human = site.cli(&["turns", "show", turn]).await.stdout;
        assert!(human.contains(by), "{human}");
    }
}

fn now_ms() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    i64::try_from(since.as_millis()).unwrap()
}

// Case: F6
#[tokio::test]
async fn where_the_channel_says_so_a_stop_from_the_chat_drops_all_turns_and_names_them() {
    let (sink, site) = slow().await;
    let channel = Channel::webhook("hook", &sink.url()).set("", "on_abort", "\"all\"");
    let agent = site.path().join("agent.py");
    site.configure(&Config::new().agent(&agent).channel(channel));
    let host = site.start().await;
    let platform = host.platform("hook");
    let mut turns = Vec::new();
    for n in 0..3 {
        turns.push(platform.say(&format!("m{n}"), "c", "slow").await.id);
    }
    let reply = platform.post("abort", &stop("s1", "c")).await.unwrap();
    let named: Vec<String> = reply.turns().into_iter().map(|turn| turn.id).collect();
    assert_eq!(named, turns);
    for turn in &turns {
        assert_eq!(site.turn_at_rest(turn, SOON).await.state, "aborted");
    }
    let after = platform.say("m9", "c", "quick").await;
    assert_eq!(site.turn_at_rest(&after.id, SOON).await.state, "delivered");
    assert_eq!(sink.count(), 1);
}
