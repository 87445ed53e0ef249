//! The `matrix` adapter in the real host, against a real homeserver and a client that nobody here
//! wrote. Here is the world that the tests share.

#![allow(clippy::print_stderr, reason = "a run under chance says its seed")]
#![allow(clippy::disallowed_methods, reason = "tests watch real processes on the real clock")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends with a panic")]

mod events;
mod files;
mod messages;

use std::time::Duration;

use lastword_tests::harness::matrix::{Homeserver, Person, RateLimits, Said};
use lastword_tests::harness::{Config, Site, eventually};

const SOON: Duration = Duration::from_secs(60);

/// Answers `long N` with N lines, `slow` after a while, `hang` never, `tell` with what it was told
/// beside messages, `context` with all that was said since, files with the same files, and anything
/// else with `re: ` before it.
const AGENT: &str = r#"
import json, sys, time

def happened(message):
    event = message["event"]
    return " ".join(filter(None, [event["type"], event.get("kind"), message["text"]]))

turn = json.loads(sys.stdin.readline())
text = turn["message"]["text"]
context = turn["context"]
files = turn["message"]["attachments"]
back = [
    {"path": file["path"], "name": "re-" + file["name"], "media_type": file["media_type"]}
    for file in files
]
if files:
    answer = f"{text or 'no word'}, {len(open(files[0]['path'], 'rb').read())} bytes"
elif text.startswith("long "):
    answer = "\n".join(f"line {n:06d} " + "x" * 85 for n in range(int(text[5:])))
elif text == "tell":
    told = [happened(message) for message in context if message.get("event")]
    answer = "\n".join(word for word in told if "joined" not in word) or "nothing"
elif text.endswith("context"):
    answer = "\n".join(m["text"] for m in context if not m.get("event")) or "nothing"
else:
    time.sleep({"slow": 4, "hang": 600}.get(text, 0.05))
    answer = f"re: {text}"
print(json.dumps({"type": "final", "text": answer, "files": back * (2 if "twice" in text else 1)}))
"#;

/// A homeserver, a site whose bot lives there, and a person in it.
struct World {
    server: Homeserver,
    site: Site,
    person: Person,
    _folder: tempfile::TempDir,
}

async fn world(limits: RateLimits) -> World {
    let folder = tempfile::tempdir().unwrap();
    let server = Homeserver::start(folder.path(), limits).await;
    let site = Site::new(&Config::new()).with_variable("MATRIX_TOKEN", server.bot_token());
    let agent = site.write("agent.py", AGENT);
    // A short poll, so that a host that is asked to stop does not wait for one.
    let config = Config::new()
        .agent(&agent)
        .set("limits", "poll", "\"10s\"")
        .set("lifecycle", "delivery_tries", "50")
        .set("lifecycle", "host_losses_max", "100")
        .channel(server.channel("room"));
    site.configure(&config);
    let person = server.person().await;
    World { server, site, person, _folder: folder }
}

impl World {
    /// What the bot said in the room, oldest first.
    async fn answers(&mut self, room: &str) -> Vec<Said> {
        let bot = self.server.bot().to_owned();
        self.person.read(room).await.into_iter().filter(|said| said.sender == bot).collect()
    }

    async fn answered(&mut self, room: &str, count: usize, within: Duration) -> Vec<Said> {
        let began = std::time::Instant::now();
        loop {
            let answers = self.answers(room).await;
            if answers.len() >= count {
                return answers;
            }
            let seen = answers.len();
            assert!(began.elapsed() < within, "{seen} of {count} answers within {within:?}");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
}
