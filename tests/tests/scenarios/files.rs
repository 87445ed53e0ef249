//! Files, from the platform to the handler and back, through the real binary.

use std::time::Duration;

use lastword_tests::harness::{Answer, Arrival, Channel, Config, Platform, Sink, Site, eventually};
use serde_json::{Value, json};

use crate::SOON;

/// A sink that gives `content` for every `GET /files/...` and takes everything else.
async fn platform_with(content: &'static str) -> Sink {
    Sink::scripted(move |arrival| {
        if arrival.path.starts_with("/files/") {
            return Answer::Body(200, content.to_owned());
        }
        Answer::Take
    })
    .await
}

/// A site with the script adapter, whose turns are answered by this program.
fn site(sink: &Sink, script: &str) -> Site {
    configured(sink, script, Config::new())
}

fn configured(sink: &Sink, script: &str, config: Config) -> Site {
    let site = Site::new(&Config::new());
    let path = site.write("agent.py", script);
    site.configure(&config.agent(&path).channel(Channel::script("s", sink.origin())));
    site
}

fn with_files(id: &str, text: &str, files: &Value) -> Value {
    json!({"id": id, "conversation": "c", "text": text, "attachments": files})
}

/// What arrived at `/send`.
fn sent(sink: &Sink) -> Vec<Arrival> {
    sink.arrivals_at("/send")
}

fn raw(arrival: &Arrival) -> String {
    String::from_utf8_lossy(&arrival.raw).into_owned()
}

/// Reads every file that came, and gives back one of its own and the first that came.
const AGENT: &str = r#"
import json, os, sys
turn = json.loads(sys.stdin.readline())
files = turn["message"]["attachments"]
read = [open(f["path"]).read() if "path" in f else f["error"] for f in files]
folder = os.environ["LASTWORD_FILES_DIR"]
assert folder == turn["files_dir"], turn
with open(os.path.join(folder, "answer.txt"), "w") as out:
    out.write("made by the agent of " + "+".join(read))
given = [{"path": "answer.txt", "name": "re: 1.txt"}]
if files and "path" in files[0]:
    given.append({"path": files[0]["path"], "media_type": "text/x-first"})
with open("folders", "a") as folders:
    folders.write(folder + "\n")
print(json.dumps({"type": "final", "text": "read " + str(len(read)), "files": given}))
"#;

#[tokio::test]
async fn a_file_at_the_platform_reaches_the_handler_and_its_files_reach_the_platform() {
    let sink = platform_with("remote bytes").await;
    let site = site(&sink, AGENT);
    let host = site.start().await;
    let files = json!([
        {"name": "a.txt", "media_type": "text/plain", "remote": "one"},
        {"name": "b.txt", "media_type": "text/plain", "write": "carried bytes"},
    ]);
    let turn = host.platform("s").tell(&with_files("m1", "look", &files)).await;
    assert_eq!(site.turn_at_rest(&turn.id, SOON).await.state, "delivered");
    let sent = sent(&sink);
    assert_eq!(sent.len(), 1, "text and two files fit into one message");
    let body = raw(&sent[0]);
    let kind = sent[0].headers["content-type"].to_str().unwrap();
    assert!(kind.starts_with("multipart/form-data; boundary="), "{kind}");
    for part in [
        "\"text\":\"read 2\"",
        "name=\"file\"; filename=\"re: 1.txt\"\r\ncontent-type: text/plain\r\n\r\n\
         made by the agent of remote bytes+carried bytes\r\n",
        "name=\"file\"; filename=\"1-a.txt\"\r\ncontent-type: text/x-first\r\n\r\nremote bytes\r\n",
    ] {
        assert!(body.contains(part), "{part} is missing in {body}");
    }
    let folder = std::fs::read_to_string(site.path().join("folders")).unwrap();
    eventually("the try's folder is gone", SOON, || async {
        (!std::path::Path::new(folder.trim()).exists()).then_some(())
    })
    .await;
}

// Case: B19
#[tokio::test]
async fn a_final_with_a_file_and_no_text_is_a_reply_and_one_with_neither_is_a_failed_try() {
    let sink = Sink::start().await;
    let script = r#"
import json, os, sys
turn = json.loads(sys.stdin.readline())
files = []
if turn["message"]["text"] == "file":
    open(os.path.join(turn["files_dir"], "x.bin"), "w").write("alone")
    files = [{"path": "x.bin"}]
print(json.dumps({"type": "final", "files": files}))
"#;
    let config = Config::new().set("lifecycle", "turn_tries", "1");
    let site = configured(&sink, script, config);
    let host = site.start().await;
    let with = host.platform("s").tell(&with_files("m1", "file", &json!([]))).await;
    assert_eq!(site.turn_at_rest(&with.id, SOON).await.state, "delivered");
    assert!(raw(&sent(&sink)[0]).contains("filename=\"x.bin\""), "{}", raw(&sent(&sink)[0]));
    let without = host.platform("s").tell(&with_files("m2", "nothing", &json!([]))).await;
    let turn = site.turn_at_rest(&without.id, SOON).await;
    assert_eq!((turn.state.as_str(), turn.code.as_deref()), ("failed", Some("handler_protocol")));
    assert_eq!(sent(&sink).len(), 1, "and never silence");
}

#[tokio::test]
async fn a_file_that_cannot_be_had_is_told_to_the_handler_and_fails_nothing() {
    let sink = Sink::scripted(|arrival| match arrival.path.as_str() {
        "/files/gone" => Answer::Status(404),
        "/files/long" => Answer::Body(200, "x".repeat(3_000)),
        _ => Answer::Take,
    })
    .await;
    let site = Site::new(&Config::new());
    let path = site.write("agent.py", AGENT);
    let channel = Channel::script("s", sink.origin()).set(".limits", "file_bytes", "\"1KiB\"");
    site.configure(&Config::new().agent(&path).channel(channel));
    let host = site.start().await;
    let remote = |name: &str| json!({"media_type": "text/plain", "remote": name});
    let announced = json!({"media_type": "text/plain", "remote": "x", "size_bytes": 5_000_000});
    let files = json!([remote("gone"), remote("long"), announced]);
    let turn = host.platform("s").tell(&with_files("m1", "look", &files)).await;
    assert_eq!(site.turn_at_rest(&turn.id, SOON).await.state, "delivered");
    let body = raw(&sent(&sink)[0]);
    for word in ["404", "over the limit", "5000000 bytes"] {
        assert!(body.contains(word), "{word} is missing in {body}");
    }
    assert_eq!(sink.arrivals_at("/files/x").len(), 0, "what is announced too long is not fetched");
}

#[tokio::test]
async fn a_handler_gives_no_file_from_outside_its_folder() {
    let sink = Sink::start().await;
    let script = r#"
import json, os, sys
turn = json.loads(sys.stdin.readline())
os.symlink("/etc/hostname", os.path.join(turn["files_dir"], "link"))
os.symlink("/etc", os.path.join(turn["files_dir"], "way"))
path = turn["message"]["text"]
print(json.dumps({"type": "final", "text": "here", "files": [{"path": path}]}))
"#;
    let config = Config::new().set("lifecycle", "turn_tries", "1");
    let site = configured(&sink, script, config);
    let host = site.start().await;
    for (number, path) in
        ["../../lastword.db", "/etc/hostname", "link", "way/hostname", "missing"].iter().enumerate()
    {
        let id = format!("m{number}");
        let turn = host.platform("s").tell(&with_files(&id, path, &json!([]))).await;
        let turn = site.turn_at_rest(&turn.id, SOON).await;
        assert_eq!((turn.state.as_str(), turn.code.as_deref()), ("failed", Some("handler_file")));
        assert!(turn.reason.unwrap().starts_with("file 1 of the handler's reply"), "{path}");
    }
    assert_eq!(sent(&sink).len(), 0);
}

/// The address of the API with the site's token, for requests as an operator.
async fn get(platform: &Platform, url: &str, token: Option<&str>) -> (u16, Vec<u8>) {
    let bearer = token.map(|token| format!("Bearer {token}"));
    let headers: Vec<_> = bearer.iter().map(|value| ("authorization", value.as_str())).collect();
    let reply = platform.request(http::Method::GET, url, &headers, "").await.unwrap();
    (reply.status, reply.body.to_vec())
}

#[tokio::test]
async fn an_address_of_a_file_works_while_its_try_runs_and_for_nothing_else() {
    let sink = platform_with("lazy bytes").await;
    let script = r#"
import json, sys, time, urllib.request
turn = json.loads(sys.stdin.readline())
with open("document.json", "w") as out:
    out.write(json.dumps(turn))
request = urllib.request.Request(turn["upload_url"], data=b"uploaded bytes", method="POST")
given = json.loads(urllib.request.urlopen(request).read())
url = turn["message"]["attachments"][0]["url"]
read = urllib.request.urlopen(url).read().decode()
open("ready", "w").close()
while turn["message"]["text"] == "wait":
    time.sleep(0.1)
    try:
        open("go"); break
    except FileNotFoundError:
        pass
files = [{"url": given["url"], "name": "up.txt"}]
print(json.dumps({"type": "final", "text": "got " + read, "files": files}))
"#;
    let site = site(&sink, script);
    let host = site.start().await;
    let platform = host.platform("s");
    let files = json!([{"name": "a.txt", "media_type": "text/plain", "remote": "one"}]);
    let turn = platform.tell(&with_files("m1", "wait", &files)).await;
    eventually("the handler waits", SOON, || async {
        site.path().join("ready").exists().then_some(())
    })
    .await;
    let document = std::fs::read(site.path().join("document.json")).unwrap();
    let document: Value = serde_json::from_slice(&document).unwrap();
    let url = document["message"]["attachments"][0]["url"].as_str().unwrap();
    assert_eq!(get(&platform, url, None).await, (200, b"lazy bytes".to_vec()));
    let wrong = url.replace("key=", "key=0");
    assert_eq!(get(&platform, &wrong, None).await.0, 401);
    assert_eq!(get(&platform, &url.replace("/1?", "/2?"), None).await.0, 404);
    let lock = std::fs::read(site.path().join("data/host.lock")).unwrap();
    let lock: Value = serde_json::from_slice(&lock).unwrap();
    let token = lock["token"].as_str().unwrap();
    let plain = url.split('?').next().unwrap();
    assert_eq!(get(&platform, plain, None).await.0, 401);
    assert_eq!(get(&platform, plain, Some(token)).await, (200, b"lazy bytes".to_vec()));
    site.write("go", "");
    assert_eq!(site.turn_at_rest(&turn.id, SOON).await.state, "delivered");
    let body = raw(&sent(&sink)[0]);
    assert!(body.contains("got lazy bytes") && body.contains("uploaded bytes"), "{body}");
    assert_eq!(get(&platform, url, None).await.0, 409, "the try is over");
    assert_eq!(sink.arrivals_at("/files/one").len(), 1, "fetched once, for path and address");
}

// Case: C7
#[tokio::test]
async fn a_reply_with_a_file_waits_for_its_channel_over_a_kill_and_goes_out_whole() {
    let sink = Sink::start().await;
    let site = site(&sink, AGENT);
    let host = site.start().await;
    assert_eq!(site.cli(&["channels", "pause", "s"]).await.code, 0);
    let files = json!([{"media_type": "text/plain", "write": "kept over the kill"}]);
    let turn = host.platform("s").tell(&with_files("m1", "look", &files)).await;
    site.turn_in(&turn.id, "delivering", SOON).await;
    host.kill().await;
    let _host = site.start().await;
    assert_eq!(sent(&sink).len(), 0);
    assert_eq!(site.cli(&["channels", "resume", "s"]).await.code, 0);
    assert_eq!(site.turn_at_rest(&turn.id, Duration::from_secs(30)).await.state, "delivered");
    let last = sent(&sink).pop().unwrap();
    assert!(raw(&last).contains("made by the agent of kept over the kill"), "{}", raw(&last));
}

#[tokio::test]
async fn a_handler_killed_with_its_host_after_an_upload_leaves_no_reply_and_its_next_try_works() {
    let sink = Sink::start().await;
    let script = r#"
import json, os, sys, time, urllib.request
turn = json.loads(sys.stdin.readline())
data = b"try %d" % turn["turn"]["attempt"]
request = urllib.request.Request(turn["upload_url"], data=data, method="POST")
given = json.loads(urllib.request.urlopen(request).read())
if turn["turn"]["attempt"] == 1:
    open("ready", "w").close()
    time.sleep(60)
print(json.dumps({"type": "final", "text": "", "files": [{"id": given["id"], "name": "n.txt"}]}))
"#;
    let site = site(&sink, script);
    let host = site.start().await;
    let turn = host.platform("s").tell(&with_files("m1", "look", &json!([]))).await;
    eventually("the upload is there", SOON, || async {
        site.path().join("ready").exists().then_some(())
    })
    .await;
    host.kill().await;
    let _host = site.start().await;
    assert_eq!(site.turn_at_rest(&turn.id, Duration::from_secs(30)).await.state, "delivered");
    let all: Vec<_> = sent(&sink).iter().map(raw).collect();
    assert_eq!(all.len(), 1);
    assert!(all[0].contains("\r\n\r\ntry 2\r\n"), "{all:?}");
    let leftovers = std::fs::read_dir(site.path().join("data/tmp")).unwrap().count();
    assert!(leftovers <= 1, "the folder of the killed try is gone");
}

#[tokio::test]
async fn a_call_knows_only_the_files_that_it_was_given_or_made() {
    let sink = Sink::start().await;
    let config = Config::new()
        .channel(Channel::script("s", sink.origin()))
        .channel(Channel::script("other", sink.origin()));
    let site = Site::new(&config);
    let host = site.start().await;
    let run = |channel: &'static str, script: String| {
        let platform = host.platform(channel);
        async move { platform.post_bytes("run", script).await.unwrap() }
    };
    run("s", "!blob-write canary-in-a-file".to_owned()).await;
    let logged = |what: &'static str, count: usize| {
        let site = &site;
        eventually(what, SOON, move || async move {
            let log = site.log();
            let found: Vec<_> = log.lines().filter(|line| line.contains(what)).collect();
            (found.len() >= count).then(|| found.last().map(|line| (*line).to_owned()).unwrap())
        })
    };
    let line = logged("told", 1).await;
    let id = line
        .split(|c: char| !c.is_ascii_alphanumeric())
        .find(|word| word.len() == 21 && word.starts_with('b'));
    let id = id.unwrap_or_else(|| panic!("no id in {line}")).to_owned();
    // Another call of the same channel, and another channel: neither was given it.
    run("s", format!("!blob-read {id} 0 99")).await;
    logged("UnknownBlob", 1).await;
    run("other", format!("!blob-read {id} 0 99\n!blob-send {id}")).await;
    logged("UnknownBlob", 2).await;
    let refused = host
        .platform("other")
        .post(
            "messages",
            &with_files(
                "m1",
                "x",
                &json!([
                    {"media_type": "text/plain", "blob": id},
                ]),
            ),
        )
        .await
        .unwrap();
    assert_ne!(refused.status, 200, "an event names a file that the call does not know");
    assert_eq!(sink.arrivals_at("/prepare").len(), 0);
    assert!(!site.log().contains("canary-in-a-file"), "no byte of it was read");
}

#[tokio::test]
async fn more_files_than_fit_go_in_more_messages_and_are_one_reply() {
    let sink = Sink::start().await;
    let script = r#"
import json, os, sys
turn = json.loads(sys.stdin.readline())
files = []
for name in ["1.txt", "2.txt", "3.txt"]:
    open(os.path.join(turn["files_dir"], name), "w").write("content of " + name)
    files.append({"path": name})
print(json.dumps({"type": "final", "text": "t" * 2001, "files": files}))
"#;
    let site = site(&sink, script);
    let host = site.start().await;
    let turn = host.platform("s").tell(&with_files("m1", "x", &json!([]))).await;
    assert_eq!(site.turn_at_rest(&turn.id, SOON).await.state, "delivered");
    let all = sent(&sink);
    let files: Vec<usize> = all.iter().map(|it| raw(it).matches("name=\"file\"").count()).collect();
    assert_eq!(files, [0, 2, 1], "the text is too long beside files and goes ahead");
    let rows = site.rows_of(&turn.id).await;
    let parts: Vec<_> = rows.iter().map(|row| (row.part, row.parts)).collect();
    assert_eq!(parts, [(1, 3), (2, 3), (3, 3)]);
}
