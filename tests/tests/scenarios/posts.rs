//! Messages that programs post: under a key, for a later time, and to each other.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use lastword_tests::harness::{Channel, Config, Sink, Site, eventually};
use serde_json::Value;

use crate::{SOON, bridge};

async fn post(site: &Site, more: &[&str]) -> Value {
    let mut words = vec!["post", "--channel", "hook", "--conversation", "c", "--sender", "bot"];
    words.extend(more);
    site.json(&words).await.remove(0)
}

// Case: A17
#[tokio::test]
async fn a_message_posted_again_under_its_key_is_one_turn_and_one_reply_also_after_a_kill() {
    let (sink, site) = bridge(Config::new()).await;
    let host = site.start().await;
    let first = post(&site, &["--text", "hello", "--key", "k1"]).await;
    let id = first["turn_id"].as_str().unwrap().to_owned();
    assert_eq!(first["duplicate"], false);
    site.turn_in(&id, "delivered", SOON).await;
    let again = post(&site, &["--text", "hello", "--key", "k1"]).await;
    assert_eq!((&again["turn_id"], &again["duplicate"]), (&first["turn_id"], &Value::Bool(true)));
    host.kill().await;
    // Without a host the command takes the lock itself.
    let again = post(&site, &["--text", "hello", "--key", "k1"]).await;
    assert_eq!((&again["turn_id"], &again["state"]), (&first["turn_id"], &"delivered".into()));
    let waits = post(&site, &["--text", "while you were away", "--key", "k2"]).await;
    let words = ["post", "--channel", "hook", "--conversation", "c", "--sender", "bot"];
    let other = site.cli(&[&words[..], &["--text", "other", "--key", "k1"]].concat()).await;
    assert_eq!(other.code, 2, "{}", other.stderr);
    let _host = site.start().await;
    site.turn_in(waits["turn_id"].as_str().unwrap(), "delivered", SOON).await;
    assert_eq!(sink.count(), 2);
    let nobody = site.cli(&["post", "--channel", "hok", "--conversation", "c", "--sender", "b"]);
    assert_eq!(nobody.await.code, 3);
}

// Case: H1
#[tokio::test]
async fn a_message_with_not_before_runs_then_and_not_before_across_a_kill() {
    let (sink, site) = bridge(Config::new()).await;
    let host = site.start().await;
    let posted = post(&site, &["--text", "later", "--in", "6s"]).await;
    let due_ms = posted["due_at_ms"].as_i64().unwrap();
    host.kill().await;
    let host = site.start().await;
    // The conversation does not wait for it.
    host.platform("hook").say("m1", "c", "now").await;
    eventually("the reply to what came later", SOON, || async {
        (sink.count() == 1).then_some(())
    })
    .await;
    assert_eq!(sink.arrivals()[0].text(), "now");
    eventually("the reply to what was due later", SOON, || async {
        (sink.count() == 2).then_some(())
    })
    .await;
    let now_ms = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
    assert!(i64::try_from(now_ms).unwrap() >= due_ms, "it came before its time");
}

/// Answers a message "round N" of one channel by posting "round N+1" to the other.
const TALKER: &str = r#"
import json, sys, time, urllib.error, urllib.request
ROUNDS = 12
document = json.loads(sys.stdin.readline())
number = int(document["message"]["text"].split()[1])
other = {"ann": "bob", "bob": "ann"}[document["channel"]]
if number < ROUNDS:
    lock = json.load(open("data/host.lock"))
    body = {"channel": other, "conversation": "talk", "text": f"round {number + 1}",
            "sender": {"id": document["channel"], "is_bot": True}, "about": document["turn"]["id"]}
    request = urllib.request.Request(lock["address"] + "/v1/messages",
        data=json.dumps(body).encode(), headers={"authorization": "Bearer " + lock["token"],
        "idempotency-key": "answer-to-" + document["turn"]["id"]})
    try:
        json.load(urllib.request.urlopen(request, timeout=10))
    except urllib.error.HTTPError as error:
        open("refused", "w").write(f"{error.code} {error.read().decode()}")
        raise
    time.sleep(0.05)
print(json.dumps({"type": "final", "text": f"{document['channel']} said {number}"}))
"#;

// Case: A17
#[tokio::test]
async fn two_agents_that_talk_by_posts_say_each_thing_once_though_the_host_is_killed_meanwhile() {
    let sink = Sink::start().await;
    let site = Site::new(&Config::new());
    let agent = site.write("agent.py", TALKER);
    let config = Config::new()
        .agent(&agent)
        .set("lifecycle", "host_losses_max", "100")
        .channel(Channel::webhook("ann", &sink.url()))
        .channel(Channel::webhook("bob", &sink.url()));
    site.configure(&config);
    let mut host = site.start().await;
    host.platform("ann").say("m1", "talk", "round 1").await;
    for kill_at in [2, 5, 8] {
        eventually("some rounds", SOON, || async { (said(&sink).len() >= kill_at).then_some(()) })
            .await;
        host.kill().await;
        host = site.start().await;
    }
    eventually("all rounds", SOON, || async { (said(&sink).len() >= 12).then_some(()) }).await;
    eventually("all turns at rest", SOON, || async {
        site.turns().await.iter().all(|turn| turn.state == "delivered").then_some(())
    })
    .await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    let said = said(&sink);
    for number in 1..=12 {
        let who = if number % 2 == 1 { "ann" } else { "bob" };
        let ids = said.get(&format!("{who} said {number}"));
        assert_eq!(ids.map(BTreeSet::len), Some(1), "round {number}: {said:?}");
    }
    assert_eq!((said.len(), site.turns().await.len()), (12, 12));
}

/// What arrived, with the deliveries that brought it: one that was open at a kill comes again under
/// its own id, and whoever receives it knows it by that.
fn said(sink: &Sink) -> BTreeMap<String, BTreeSet<String>> {
    let mut said: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for arrival in sink.arrivals() {
        said.entry(arrival.text().to_owned()).or_default().insert(arrival.delivery_id().to_owned());
    }
    said
}

#[tokio::test]
async fn a_program_that_posts_to_itself_for_ever_is_stopped_by_the_limit_of_hops() {
    let sink = Sink::start().await;
    let site = Site::new(&Config::new());
    // The limit refuses the post, the agent's try fails, and that is the end of it.
    let agent = site.write("agent.py", &TALKER.replace("ROUNDS = 12", "ROUNDS = 10000"));
    let config = Config::new()
        .agent(&agent)
        .set("lifecycle", "hops_max", "3")
        .set("lifecycle", "turn_tries", "1")
        .channel(Channel::webhook("ann", &sink.url()))
        .channel(Channel::webhook("bob", &sink.url()));
    site.configure(&config);
    let host = site.start().await;
    host.platform("ann").say("m1", "talk", "round 1").await;
    let turns = eventually("the chain's end", SOON, || async {
        let turns = site.turns().await;
        turns.iter().any(|turn| turn.state == "failed").then_some(turns)
    })
    .await;
    assert_eq!(turns.len(), 4, "{turns:?}");
    let refused = std::fs::read_to_string(site.path().join("refused")).unwrap();
    assert!(refused.starts_with("409 ") && refused.contains("hops_max"), "{refused}");
}
