//! Everything that comes in beside plain messages: edits, deletions, albums, actions, bad news, and
//! what is more than is ever taken.

use std::sync::Mutex;
use std::time::Duration;

use lastword_tests::harness::{Answer, Channel, Config, Host, Platform, Sink, Site, eventually};
use serde_json::{Value, json};

use crate::SOON;

/// Tells all that it was given, but waits for the file `go` where the text begins with `wait`.
const AGENT: &str = r#"
import json, os, sys, time
turn = json.loads(sys.stdin.readline())
while turn["message"]["text"].startswith("wait") and not os.path.exists("go"):
    time.sleep(0.02)
def named(message):
    event = message.get("event")
    return (event["type"] + ":" if event else "") + message["text"]
said = {
    "message": named(turn["message"]),
    "files": [file["name"] for file in turn["message"]["attachments"]],
    "context": [named(message) for message in turn["context"]],
    "failed": [part["failed"]["code"] for part in turn["delivered"] if "failed" in part],
}
print(json.dumps({"type": "final", "text": json.dumps(said)}))
"#;

/// A long poll that brings nothing.
fn nothing_new() -> Answer {
    let nothing = Answer::Body(200, r#"{"events": [], "cursor": "1"}"#.into());
    Answer::After(Duration::from_secs(5), Box::new(nothing))
}

/// A `script` channel `play`, whose platform takes everything and has nothing to be polled.
async fn play(config: Config) -> (Sink, Site, Host) {
    let sink = Sink::scripted(|arrival| match arrival.path.as_str() {
        "/poll" => nothing_new(),
        _ => Answer::Take,
    })
    .await;
    let site = Site::new(&Config::new());
    let agent = site.write("agent.py", AGENT);
    site.configure(&config.agent(&agent).channel(Channel::script("play", sink.origin())));
    let host = site.start().await;
    (sink, site, host)
}

fn event(kind: &str, id: &str, text: &str) -> Value {
    json!({"kind": kind, "id": id, "conversation": "c", "text": text, "sender": "ann"})
}

/// Pushes events and gives back the items of `lastword-turns`: id and what stands behind it.
async fn push(platform: &Platform, events: &[Value]) -> Vec<(String, String)> {
    let reply = platform.post("events", &json!({"events": events})).await.unwrap();
    assert_eq!(reply.status, 200, "{}", reply.text());
    let items = reply.headers.get_all("lastword-turns").iter();
    let items = items.flat_map(|line| line.to_str().unwrap().split(", "));
    let split = |item: &str| {
        let (id, rest) = item.split_once(';').unwrap();
        (id.to_owned(), rest.to_owned())
    };
    items.map(split).collect()
}

/// What the agent was told for the n-th reply.
async fn told(sink: &Sink, replies: usize) -> Vec<Value> {
    eventually(&format!("{replies} replies"), SOON, || async move {
        let sent = sink.arrivals_at("/send");
        (sent.len() >= replies)
            .then(|| sent.iter().map(|sent| serde_json::from_str(sent.text()).unwrap()).collect())
    })
    .await
}

// Case: B22
#[tokio::test]
async fn what_has_not_run_is_edited_and_taken_back_and_what_has_is_context() {
    let (sink, site, host) = play(Config::new()).await;
    let platform = host.platform("play");
    let first = push(&platform, &[event("message", "m1", "wait")]).await.remove(0).0;
    site.turn_in(&first, "running", SOON).await;
    let waiting =
        push(&platform, &[event("message", "m2", "two"), event("message", "m3", "three")]).await;
    let edits = [
        event("edited", "m2", "TWO"),
        event("deleted", "m3", ""),
        event("edited", "m1", "changed my mind"),
        event("other", "o1", ""),
    ];
    let done = push(&platform, &edits).await;
    let right = [
        (waiting[0].0.clone(), "state=queued;edited".to_owned()),
        (waiting[1].0.clone(), "state=aborted;taken-back".to_owned()),
    ];
    assert_eq!(done, right);
    let again = push(&platform, &edits[..2]).await;
    assert!(again.iter().all(|(_, rest)| rest.ends_with("duplicate")), "{again:?}");
    host.kill().await;

    site.write("go", "");
    let _host = site.start().await;
    let told = told(&sink, 2).await;
    // The first turn ran again after the kill: its second try hears of the edit.
    assert_eq!(told[0]["message"], "wait");
    assert_eq!(told[0]["context"], json!(["edited:changed my mind", "other:"]));
    assert_eq!((&told[1]["message"], &told[1]["context"]), (&json!("TWO"), &json!([])));
    let taken_back = site.turn_at_rest(&waiting[1].0, SOON).await;
    assert_eq!(taken_back.state, "aborted");
    assert_eq!(taken_back.code.as_deref(), Some("taken_back"));
    assert_eq!(site.turns().await.len(), 3, "an edit is never a turn");
}

// Case: B23
#[tokio::test]
async fn an_album_is_one_turn_and_a_button_is_a_turn_too() {
    let (sink, site, host) = play(Config::new()).await;
    let platform = host.platform("play");
    let piece = |n: u32, text: &str| {
        let mut piece = event("message", &format!("p{n}"), text);
        piece["group"] = json!("album");
        piece["attachments"] =
            json!([{"name": format!("{n}.png"), "media_type": "image/png", "remote": "r"}]);
        piece
    };
    let mut album = String::new();
    for n in 0..5 {
        let (id, rest) =
            push(&platform, &[piece(n, if n == 1 { "look" } else { "" })]).await.remove(0);
        if n == 0 {
            assert_eq!(rest, "state=queued");
            album = id;
        } else {
            assert_eq!((&id, rest.as_str()), (&album, "state=queued;joined"));
        }
    }
    let first = &told(&sink, 1).await[0];
    assert_eq!(first["message"], "look");
    assert_eq!(first["files"], json!(["0.png", "1.png", "2.png", "3.png", "4.png"]));
    site.turn_at_rest(&album, SOON).await;
    assert_eq!(push(&platform, &[piece(5, "late")]).await, [], "too late: context");
    let mut button = event("action", "a1", "");
    button["name"] = json!("buy");
    button["value"] = json!("7");
    button["on_message"] = json!("p1");
    push(&platform, &[button.clone()]).await;
    let second = &told(&sink, 2).await[1];
    assert_eq!(second["message"], "action:buy 7");
    assert_eq!(second["context"], json!(["late"]));
    assert!(push(&platform, &[button]).await[0].1.ends_with("duplicate"));
    assert_eq!(sink.arrivals_at("/send")[1].body["reply_to"], "p1", "beside what it stood on");
    assert_eq!(site.turns().await.len(), 2);
}

// Case: C17
#[tokio::test]
async fn a_message_that_the_platform_fails_late_is_told_to_operator_and_agent() {
    let (sink, site, host) = play(Config::new()).await;
    let platform = host.platform("play");
    let turn = push(&platform, &[event("message", "m1", "one")]).await.remove(0).0;
    site.turn_at_rest(&turn, SOON).await;
    let row = site.rows_of(&turn).await.remove(0);
    let platform_id = row.platform_id.clone().expect("the platform named it");
    let bounced = json!({"kind": "receipt", "platform_id": platform_id, "fate": "failed",
                         "text": "No such address."});
    let nobody = json!({"kind": "other", "id": "o1", "name": "weather"});
    assert_eq!(push(&platform, &[bounced.clone(), bounced, nobody]).await, []);
    let status = site.status().await.to_string();
    assert_eq!(status.matches("failed_late").count(), 1, "one operator event: {status}");
    assert!(status.contains(&row.id), "{status}");
    assert!(status.contains("weather"), "what was dropped is counted: {status}");
    let shown: Vec<Value> = site.json(&["outbox", "show", &row.id]).await;
    assert_eq!(shown[0]["state"], "delivered");
    assert_eq!(shown[0]["late_receipts"].as_array().map(Vec::len), Some(1), "{shown:?}");
    push(&platform, &[event("message", "m2", "two")]).await;
    push(&platform, &[event("message", "m3", "three")]).await;
    let told = told(&sink, 3).await;
    assert_eq!((&told[1]["failed"], &told[2]["failed"]), (&json!(["told"]), &json!([])));
    assert_eq!(sink.arrivals_at("/send").len(), 3, "nothing is resent");
}

// Case: A13
#[tokio::test]
async fn five_hundred_events_are_taken_in_order_and_more_than_the_cap_is_answered_413() {
    let sink = Sink::scripted(|arrival| match arrival.path.as_str() {
        "/poll" => nothing_new(),
        _ => Answer::Take,
    })
    .await;
    let config = Config::new().set("limits", "events_per_call", "500");
    let site = Site::new(&config.channel(Channel::script("play", sink.origin())));
    let host = site.start().await;
    let platform = host.platform("play");
    let many = |copies: u32| {
        let mut quiet = event("message", "m", "hi");
        quiet["copies"] = json!(copies);
        json!({"events": [quiet]})
    };
    let refused = platform.post("events", &many(501)).await.unwrap();
    assert_eq!(refused.status, 413, "{}", refused.text());
    assert!(refused.text().contains("500 is the most"), "{}", refused.text());
    let mut long = event("message", "long", "");
    long["fill"] = json!(300_000);
    let batch = json!({"events": [event("message", "short", "hi"), long]});
    let refused = platform.post("events", &batch).await.unwrap();
    assert_eq!(refused.status, 413, "{}", refused.text());
    assert_eq!(site.turns().await, [], "all or none");
    let taken = platform.post("events", &many(500)).await.unwrap();
    assert_eq!((taken.status, taken.count("lastword-accepted")), (200, 500), "{}", taken.text());
    let ids: Vec<_> = site.turns().await.into_iter().filter_map(|turn| turn.external_id).collect();
    assert_eq!(ids, (0..500).map(|n| format!("m-{n}")).collect::<Vec<_>>());
}

// Case: A14
#[tokio::test]
async fn after_a_kill_the_next_poll_starts_at_the_stored_cursor_and_nothing_comes_twice() {
    static ASKED: Mutex<Vec<String>> = Mutex::new(Vec::new());
    let sink = Sink::scripted(|arrival| {
        if arrival.path != "/poll" {
            return Answer::Take;
        }
        let cursor = arrival.query_value("cursor");
        ASKED.lock().unwrap().push(cursor.clone());
        let event = |id: &str| json!({"id": id, "conversation": id, "text": id});
        let batch = match cursor.as_str() {
            "" => json!({"events": [event("m1"), event("m2")], "cursor": "5", "more": true}),
            _ => return nothing_new(),
        };
        Answer::Body(200, batch.to_string())
    })
    .await;
    let site = Site::new(&Config::new().channel(Channel::script("play", sink.origin())));
    let host = site.start().await;
    eventually("a poll from the stored cursor", SOON, || async {
        ASKED.lock().unwrap().iter().any(|cursor| cursor == "5").then_some(())
    })
    .await;
    // The kill is to meet the poller, not a send: that one would be of unknown outcome, and held.
    for turn in site.turns().await {
        assert_eq!(site.turn_at_rest(&turn.id, SOON).await.state, "delivered");
    }
    host.kill().await;
    let before = ASKED.lock().unwrap().len();
    let _host = site.start().await;
    eventually("a poll after the start", SOON, || async {
        (ASKED.lock().unwrap().len() > before).then_some(())
    })
    .await;
    assert_eq!(ASKED.lock().unwrap()[before], "5");
    let turns = site.turns().await;
    assert!(turns.len() == 2 && turns.iter().all(|turn| turn.state == "delivered"), "{turns:?}");
    assert_eq!(sink.arrivals().iter().filter(|it| it.path != "/poll").count(), 2);
}
