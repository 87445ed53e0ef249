//! A day in the life of a host: one script with the real binary, a real homeserver, a receiver with
//! moods, and an operator. After each thing that happens, what the operator looks at must be right:
//! `status`, `doctor`, and `/metrics` as Prometheus' own checker reads it.

#![allow(clippy::disallowed_methods, reason = "tests watch real processes on the real clock")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends with a panic")]

mod hours;

use std::path::PathBuf;
use std::time::Duration;

use lastword_tests::harness::matrix::{Homeserver, Person, RateLimits, Said};
use lastword_tests::harness::promtool::{self, sample};
use lastword_tests::harness::{Answer, Channel, Config, Host, Sink, Site, eventually};
use serde_json::Value;

const SOON: Duration = Duration::from_secs(60);

/// Gives files back with their bytes turned round, thinks, fails, or repeats what was said.
const AGENT: &str = r#"
import json, os, sys, time
turn = json.loads(sys.stdin.readline())
message = turn["message"]
text = message["text"]
if text == "think":
    time.sleep(600)
files = []
for number, given in enumerate(message["attachments"]):
    name = f"back-{number}.bin"
    with open(given["path"], "rb") as file, \
            open(os.path.join(turn["files_dir"], name), "wb") as back:
        back.write(file.read()[::-1])
    files.append({"path": name})
print(json.dumps({"type": "final", "text": f"re: {text}", "files": files}))
"#;

/// The host of the day, its people and its operator.
struct Day {
    server: Homeserver,
    person: Person,
    room: String,
    sink: Sink,
    site: Site,
    host: Option<Host>,
    _folder: tempfile::TempDir,
}

fn broken(site: &Site) -> PathBuf {
    site.path().join("broken.wasm")
}

fn config(server: &Homeserver, sink: &Sink, site: &Site) -> Config {
    let strict = Channel::webhook("strict", &sink.url()).set("", "idempotent", "false");
    let late = Channel::new("late", &broken(site))
        .set(".settings", "callback_url", &serde_json::Value::from(sink.url()).to_string())
        .set(".grants", "targets", r#"["callback"]"#)
        .set(".grants", "private_targets", r#"["callback"]"#);
    Config::new()
        .agent(&site.path().join("agent.py"))
        .set("limits", "poll", "\"10s\"")
        .channel(server.channel("room"))
        .channel(Channel::webhook("desk", &sink.url()))
        .channel(strict)
        .channel(late)
}

impl Day {
    /// Before the first message: a homeserver, a receiver, and a folder with one bad component.
    async fn begin() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let server = Homeserver::start(folder.path(), RateLimits::Raised).await;
        let sink = Sink::start().await;
        let site = Site::new(&Config::new()).with_variable("MATRIX_TOKEN", server.bot_token());
        site.write("agent.py", AGENT);
        site.write("broken.wasm", "no component at all");
        site.configure(&config(&server, &sink, &site));
        let host = site.start().await;
        let mut person = server.person().await;
        let room = person.room_with(server.bot()).await;
        Self { server, person, room, sink, site, host: Some(host), _folder: folder }
    }

    fn host(&self) -> &Host {
        self.host.as_ref().expect("a host runs")
    }

    /// What the operator sees, once it is this: what needs a person, by `status`; nothing broken, by
    /// `doctor`; and the same by the metrics, which Prometheus' checker reads.
    async fn looks(&self, when: &str, needs: &[&str]) {
        let told = eventually(&format!("{when}: {needs:?} need a person"), SOON, || async {
            let status = self.site.status().await;
            let mut told = told_needs(&status);
            let mut wanted: Vec<_> = needs.iter().map(|&it| it.to_owned()).collect();
            told.sort();
            wanted.sort();
            (told == wanted).then_some(status)
        })
        .await;
        let doctor = self.site.cli(&["doctor", "--json"]).await;
        let bad: Value = serde_json::from_str(&doctor.stdout).unwrap();
        let errors: Vec<_> = bad["findings"].as_array().unwrap().iter().collect();
        let errors = errors.into_iter().filter(|it| it["level"] == "error").collect::<Vec<_>>();
        let refused = needs.iter().any(|need| need.contains("refused"));
        assert!(errors.is_empty() || refused, "{when}: {errors:?}");
        assert_eq!(doctor.code, i32::from(!errors.is_empty()), "{when}: {bad}");
        let page = self.host().platform("desk").get("/metrics").await.unwrap().text();
        assert_eq!(promtool::check(&page).await, "", "{when}");
        for channel in told["channels"].as_array().unwrap() {
            let name = channel["name"].as_str().unwrap();
            for (state, field) in [("held_deliveries", "held"), ("dead_turns", "turns_dead")] {
                let line =
                    format!("lastword_waiting_for_person{{channel=\"{name}\",state=\"{state}\"}} ");
                let counted = sample(&page, &line).unwrap_or(0.0);
                assert_eq!(Some(counted), channel[field].as_f64(), "{when}: {line}");
            }
        }
    }

    /// What the bot said in the room, oldest first.
    async fn answers(&mut self) -> Vec<Said> {
        let bot = self.server.bot().to_owned();
        let all = self.person.read(&self.room.clone()).await;
        all.into_iter().filter(|said| said.sender == bot).collect()
    }

    /// The bot's messages, once there are so many.
    async fn answered(&mut self, count: usize) -> Vec<Said> {
        for _ in 0..300 {
            let answers = self.answers().await;
            if answers.len() >= count {
                return answers;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        panic!("{count} answers in the room do not come\n{}", self.site.log_tail());
    }

    /// A command that has to end with 0.
    async fn run(&self, arguments: &[&str]) -> String {
        let end = self.site.cli(arguments).await;
        assert_eq!(end.code, 0, "{arguments:?}: {}{}", end.stdout, end.stderr);
        end.stdout
    }

    /// How often a text arrived at the receiver and was taken.
    fn taken(&self, text: &str) -> usize {
        self.sink.look(|all| {
            let took = |it: &&lastword_tests::harness::Arrival| {
                it.text() == text && it.answer == Answer::Take
            };
            all.iter().filter(took).count()
        })
    }

    async fn arrived(&self, text: &str) {
        eventually(&format!("\"{text}\" at the receiver"), SOON, || async {
            (self.taken(text) > 0).then_some(())
        })
        .await;
    }
}

/// What needs a person, each with its channel.
fn told_needs(status: &Value) -> Vec<String> {
    let needs = status["needs_a_person"].as_array().into_iter().flatten();
    let word = |it: &Value, field: &str| it[field].as_str().unwrap_or_default().to_owned();
    needs.map(|it| format!("{} {}", word(it, "channel"), word(it, "what"))).collect()
}

/// One field of each value of a list.
fn said(list: &Value, field: &str) -> Vec<String> {
    let words = list.as_array().into_iter().flatten();
    words.filter_map(|it| it[field].as_str().map(str::to_owned)).collect()
}

#[tokio::test]
async fn an_operators_day_from_the_first_start_to_the_restored_backup() {
    let mut day = Day::begin().await;
    day.looks("at the start", &["late channel_refused"]).await;
    day.a_broken_adapter_is_put_right().await;
    day.looks("once all channels serve", &[]).await;
    day.a_schedule_is_made().await;
    day.a_file_goes_there_and_back().await;
    day.a_stop_from_the_chat().await;
    day.looks("after the stop", &[]).await;
    day.a_receiver_that_asks_to_wait().await;
    day.looks("while nothing is left to do", &[]).await;
    day.a_dead_letter_is_replayed().await;
    day.a_held_row_is_resolved().await;
    day.looks("with what was settled still listed", &[]).await;
    day.the_queue_of_another_gateway_is_taken_in().await;
    day.the_schedule_ticked().await;
    day.run(&["purge", "--turns", "--all", "--yes"]).await;
    day.looks("once the dead letters are purged", &[]).await;
    day.a_backup_is_restored_elsewhere().await;
}
