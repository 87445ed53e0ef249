//! What the `webhook` adapter takes and gives beside messages: files and events.

use lastword_tests::harness::{Answer, Channel, Config, Sink, Site, component, config};
use serde_json::{Value, json};

use crate::SOON;

/// Says what it read of each file, and gives one back where it was given one.
const AGENT: &str = r#"
import json, os, sys, time
turn = json.loads(sys.stdin.readline())
files = turn["message"]["attachments"]
read = [open(file["path"]).read() if "path" in file else file["error"] for file in files]
back = []
if files and "path" in files[0]:
    with open(os.path.join(turn["files_dir"], "answer.txt"), "w") as out:
        out.write("of " + read[0])
    back = [{"path": "answer.txt"}, {"path": files[0]["path"], "name": "same \"again\".txt"}]
text = turn["message"]["text"]
time.sleep(2 if text == "slow" else 0)
told = [m["event"]["type"] + " " + m["text"] for m in turn["context"] if m.get("event")]
print(json.dumps({"type": "final", "text": "; ".join([text] + read + told), "files": back}))
"#;

/// A sink that gives `remote bytes` to every `GET`, and a bridge that may fetch there.
async fn with_files() -> (Sink, Site) {
    let sink = Sink::scripted(|arrival| {
        let is_file = arrival.path.starts_with("/up/");
        if is_file { Answer::Body(200, "remote bytes".to_owned()) } else { Answer::Take }
    })
    .await;
    let targets = r#"["callback", "files"]"#;
    let channel = Channel::new("hook", &component("webhook"))
        .set(".settings", "callback_url", &config::text(&sink.url()))
        .set(".settings", "files_origin", &config::text(sink.origin()))
        .set(".grants", "targets", targets)
        .set(".grants", "private_targets", targets);
    let site = agent_behind(channel);
    (sink, site)
}

fn agent_behind(channel: Channel) -> Site {
    let site = Site::new(&Config::new());
    let agent = site.write("agent.py", AGENT);
    site.configure(&Config::new().agent(&agent).channel(channel));
    site
}

fn message_with(url: &str) -> Value {
    let file = json!({"name": "a.txt", "media_type": "text/plain", "url": url});
    json!({"id": "m1", "conversation": "c", "text": "look", "attachments": [file]})
}

#[tokio::test]
async fn a_file_by_address_reaches_the_agent_and_its_files_go_out_as_multipart() {
    let (sink, site) = with_files().await;
    let host = site.start().await;
    let url = format!("{}/up/a.txt?key=1", sink.origin());
    let turn = host.platform("hook").tell(&message_with(&url)).await;
    assert_eq!(site.turn_at_rest(&turn.id, SOON).await.state, "delivered");
    let replies = sink.arrivals_at("/replies");
    assert_eq!(replies.len(), 1, "text and files are one message");
    let raw = String::from_utf8_lossy(&replies[0].raw).into_owned();
    let kind = replies[0].headers["content-type"].to_str().unwrap();
    assert!(kind.starts_with("multipart/form-data; boundary="), "{kind}");
    for part in [
        "name=\"message\"\r\ncontent-type: application/json\r\n\r\n{\"delivery_id\":\"",
        "\"text\":\"look; remote bytes\"",
        "{\"part\":\"file-1\",\"name\":\"answer.txt\",\"media_type\":\"text/plain\",\"size_bytes\":15}",
        "name=\"file-1\"; filename=\"answer.txt\"\r\ncontent-type: text/plain\r\n\r\nof remote bytes\r\n",
        "name=\"file-2\"; filename=\"same %22again%22.txt\"\r\n",
    ] {
        assert!(raw.contains(part), "{part} is missing in {raw}");
    }
    assert_eq!(sink.arrivals_at("/up/a.txt?key=1").len() + sink.arrivals_at("/up/a.txt").len(), 1);
}

#[tokio::test]
async fn without_the_grant_a_file_stays_where_it_is_and_its_message_is_answered() {
    let sink = Sink::start().await;
    let site = agent_behind(Channel::webhook("hook", &sink.url()));
    let host = site.start().await;
    let url = format!("{}/up/a.txt", sink.origin());
    let turn = host.platform("hook").tell(&message_with(&url)).await;
    assert_eq!(site.turn_at_rest(&turn.id, SOON).await.state, "delivered");
    let arrived = sink.arrivals();
    assert_eq!(arrived.len(), 1, "nothing was fetched");
    let text = arrived[0].text();
    assert!(text.starts_with("look; ") && text.contains("not granted"), "{text}");
}

// Case: B22
#[tokio::test]
async fn edits_deletions_and_actions_come_by_webhook_and_what_is_none_is_refused() {
    let sink = Sink::start().await;
    let site = agent_behind(Channel::webhook("hook", &sink.url()));
    let host = site.start().await;
    let platform = host.platform("hook");
    platform.say("m1", "c", "slow").await;
    platform.say("m2", "c", "one").await;
    let taken_back = platform.say("m3", "c", "never mind").await;
    let post = async |event: Value| platform.post("events", &event).await.unwrap();
    let edited = json!({"type": "edited", "id": "m2", "conversation": "c", "text": "two"});
    assert_eq!(post(edited.clone()).await.status, 200);
    assert_eq!(post(edited).await.count("lastword-accepted"), 0, "the same edit again");
    post(json!({"type": "deleted", "id": "m3", "conversation": "c"})).await;
    let action = json!({"type": "action", "id": "a1", "conversation": "c", "name": "approve"});
    assert_eq!(post(action).await.turns().len(), 1, "an action is a turn");
    let wrong = post(json!({"type": "melted", "id": "x"})).await;
    assert_eq!(wrong.status, 400, "{}", wrong.text());
    let texts: Vec<_> = sink.wait_for(3, SOON).await.iter().map(|a| a.text().to_owned()).collect();
    assert_eq!((texts[0].as_str(), texts[1].as_str()), ("slow", "two"));
    assert!(texts[2].contains("approve"), "{texts:?}");
    assert_eq!(site.turn_at_rest(&taken_back.id, SOON).await.state, "aborted");
}
