//! A real homeserver (Synapse) and a real client (matrix-nio), each a Python process that is told
//! what to do by lines of JSON and ends with its pipe, or with this value.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use super::built::{component, repository, venv};
use super::{Channel, config};

/// A homeserver makes its database first; a room of hundreds of messages takes a while to read.
const ANSWER_WITHIN: Duration = Duration::from_secs(120);

/// A script of `tests/matrix` that answers each line of JSON by one.
#[derive(Debug)]
struct Script {
    name: &'static str,
    child: Child,
    stdin: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Script {
    fn start(name: &'static str, arguments: &[&str]) -> Self {
        let path = repository().join("tests/matrix").join(name);
        let mut command = Command::new(venv());
        command.arg(path).args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped());
        // A group of its own, so that its children can be ended with it.
        let mut child = command.process_group(0).kill_on_drop(true).spawn().unwrap();
        let stdin = child.stdin.take().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { name, child, stdin, lines }
    }

    async fn answer(&mut self) -> Value {
        let line = tokio::time::timeout(ANSWER_WITHIN, self.lines.next_line()).await;
        let line = line.unwrap_or_else(|_| panic!("{} does not answer", self.name)).unwrap();
        let line = line.unwrap_or_else(|| panic!("{} ended; its stderr says why", self.name));
        serde_json::from_str(&line).unwrap()
    }

    async fn ask(&mut self, asked: Value) -> Value {
        self.stdin.write_all(format!("{asked}\n").as_bytes()).await.unwrap();
        self.answer().await
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        let Some(pid) = self.child.id() else { return };
        if let Some(group) = rustix::process::Pid::from_raw(pid.cast_signed()) {
            rustix::process::kill_process_group(group, rustix::process::Signal::KILL).ok();
        }
    }
}

/// Whether the homeserver's rate limits are out of the way or as it ships them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RateLimits {
    Raised,
    Defaults,
}

/// A homeserver on loopback with the users `bot`, `person` and `other`.
#[derive(Debug)]
pub struct Homeserver {
    _script: Script,
    about: Value,
}

/// `person` or `other` at a client.
#[derive(Debug)]
pub struct Person {
    script: Script,
}

/// One message as it stands in a room.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
pub struct Said {
    pub event_id: String,
    pub sender: String,
    pub body: String,
    pub replies_to: Option<String>,
    pub formatted: Option<String>,
    pub at_ms: u64,
    /// `m.text`, `m.file` and so on; none where it was taken back.
    pub kind: Option<String>,
    /// Of a file.
    pub name: Option<String>,
    pub url: Option<String>,
}

impl Homeserver {
    /// Starts one with its files in `folder`.
    pub async fn start(folder: &Path, limits: RateLimits) -> Self {
        let limits = match limits {
            RateLimits::Raised => "raised",
            RateLimits::Defaults => "defaults",
        };
        let mut script = Script::start("homeserver.py", &[&folder.display().to_string(), limits]);
        let about = script.answer().await;
        Self { _script: script, about }
    }

    /// Where its API is.
    #[must_use]
    pub fn url(&self) -> &str {
        self.about["url"].as_str().unwrap()
    }

    fn of(&self, user: &str, field: &str) -> &str {
        self.about["users"][user][field].as_str().unwrap()
    }

    /// The full name of `bot`.
    #[must_use]
    pub fn bot(&self) -> &str {
        self.of("bot", "user_id")
    }

    /// The secret that the operator would put into the environment.
    #[must_use]
    pub fn bot_token(&self) -> &str {
        self.of("bot", "access_token")
    }

    /// A channel that speaks as `bot` and joins where it is invited; its token is in `MATRIX_TOKEN`.
    #[must_use]
    pub fn channel(&self, name: &str) -> Channel {
        Channel::new(name, &component("matrix"))
            .set(".settings", "homeserver", &config::text(self.url()))
            .set(".settings", "join_invites", "true")
            .set(".secrets", "access-token", "\"env:MATRIX_TOKEN\"")
            .set(".grants", "targets", r#"["homeserver"]"#)
            .set(".grants", "private_targets", r#"["homeserver"]"#)
    }

    /// `person` signs in.
    pub async fn person(&self) -> Person {
        self.signed_in("person").await
    }

    /// The full name of `other`.
    #[must_use]
    pub fn other(&self) -> &str {
        self.of("other", "user_id")
    }

    /// `person` or `other` signs in.
    pub async fn signed_in(&self, name: &str) -> Person {
        let mut script = Script::start("person.py", &[]);
        let (user_id, password) = (self.of(name, "user_id"), self.of(name, "password"));
        let asked = json!({"url": self.url(), "user_id": user_id, "password": password});
        script.ask(asked).await;
        Person { script }
    }
}

impl Person {
    /// Makes a room, invites, and waits until whoever is invited has joined.
    pub async fn room_with(&mut self, user_id: &str) -> String {
        self.room_of(&[user_id]).await
    }

    /// The same with several.
    pub async fn room_of(&mut self, user_ids: &[&str]) -> String {
        let made = self.script.ask(json!({"do": "room", "invite": user_ids})).await;
        made["room"].as_str().unwrap().to_owned()
    }

    /// Accepts the first invitation that comes.
    pub async fn join(&mut self) -> String {
        self.script.ask(json!({"do": "join"})).await["room"].as_str().unwrap().to_owned()
    }

    /// Says something; gives the event's id.
    pub async fn say(&mut self, room: &str, text: &str) -> String {
        self.say_to(room, text, &[]).await
    }

    /// Says something and mentions somebody.
    pub async fn say_to(&mut self, room: &str, text: &str, mentions: &[&str]) -> String {
        self.event(json!({"do": "say", "room": room, "text": text, "mentions": mentions})).await
    }

    /// Says another text in place of what was said.
    pub async fn edit(&mut self, room: &str, event_id: &str, text: &str) -> String {
        self.event(json!({"do": "edit", "room": room, "event_id": event_id, "text": text})).await
    }

    /// Takes back what was said.
    pub async fn take_back(&mut self, room: &str, event_id: &str) {
        self.script.ask(json!({"do": "take_back", "room": room, "event_id": event_id})).await;
    }

    /// Reacts to what was said.
    pub async fn react(&mut self, room: &str, event_id: &str, key: &str) -> String {
        self.event(json!({"do": "react", "room": room, "event_id": event_id, "key": key})).await
    }

    /// Sends a file, with words beside it where they are not empty.
    pub async fn send_file(
        &mut self,
        room: &str,
        (name, media_type): (&str, &str),
        bytes: &[u8],
        caption: &str,
    ) -> String {
        let base64 = BASE64.encode(bytes);
        let asked = json!({"do": "send_file", "room": room, "name": name,
            "media_type": media_type, "base64": base64, "caption": caption});
        self.event(asked).await
    }

    /// The bytes of a file that somebody sent.
    pub async fn fetch(&mut self, url: &str) -> Vec<u8> {
        let fetched = self.script.ask(json!({"do": "fetch", "url": url})).await;
        BASE64.decode(fetched["base64"].as_str().unwrap()).unwrap()
    }

    async fn event(&mut self, asked: Value) -> String {
        self.script.ask(asked).await["event_id"].as_str().unwrap().to_owned()
    }

    /// Everything that was said in the room, oldest first.
    pub async fn read(&mut self, room: &str) -> Vec<Said> {
        let mut read = self.script.ask(json!({"do": "read", "room": room})).await;
        serde_json::from_value(read["messages"].take()).unwrap()
    }

    /// Who was seen typing within so many seconds.
    pub async fn sees_typing(&mut self, room: &str, seconds: u32) -> Vec<String> {
        let asked = json!({"do": "typing", "room": room, "seconds": seconds});
        let mut seen = self.script.ask(asked).await;
        serde_json::from_value(seen["users"].take()).unwrap()
    }
}
