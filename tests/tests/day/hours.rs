//! What happens in the day, one thing after the other.

use std::time::{SystemTime, UNIX_EPOCH};

use lastword_tests::harness::{Answer, Site, component, eventually};
use serde_json::{Value, json};

use super::{Day, SOON, broken, config, said};

const HOUR_MS: u64 = 3_600_000;
/// Two occurrences of a schedule by the minute, with room.
const TWO_MINUTES: std::time::Duration = std::time::Duration::from_secs(150);

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    u64::try_from(since.as_millis()).unwrap()
}

impl Day {
    /// The channel says why it does not serve, the others do; then the file is replaced.
    pub(super) async fn a_broken_adapter_is_put_right(&mut self) {
        let status = self.site.status().await;
        let late = channel(&status, "late");
        assert_eq!(late["state"], "refused", "{status}");
        assert!(late["reason"].as_str().is_some_and(|why| why.contains("broken.wasm")), "{late}");
        let turn = self.host().platform("desk").say("m0", "desk", "good morning").await;
        assert_eq!(self.site.turn_at_rest(&turn.id, SOON).await.state, "delivered");
        assert_eq!(self.host().platform("late").get("/readyz").await.unwrap().status, 200);
        std::fs::copy(component("webhook"), broken(&self.site)).unwrap();
        assert!(self.host.take().unwrap().terminate().await.success());
        self.host = Some(self.site.start().await);
        let turn = self.host().platform("late").say("m0", "late", "better late").await;
        assert_eq!(self.site.turn_at_rest(&turn.id, SOON).await.state, "delivered");
    }

    /// One message by the minute, and one for in a while; the second is seen to come.
    pub(super) async fn a_schedule_is_made(&mut self) {
        let bad = self.site.cli(&schedule("bad", "0 25 * * *")).await;
        assert_eq!(bad.code, 2, "{}", bad.stderr);
        self.run(&schedule("tick", "* * * * *")).await;
        let about = ["--channel", "desk", "--conversation", "reminders", "--sender", "ann"];
        let post = [&["post", "--text", "in a while", "--in", "3s"][..], &about].concat();
        self.run(&post).await;
        assert_eq!(self.taken("re: in a while"), 0);
        self.arrived("re: in a while").await;
        assert_eq!(self.taken("re: in a while"), 1);
    }

    pub(super) async fn the_schedule_ticked(&mut self) {
        eventually("two occurrences", TWO_MINUTES, || async {
            (self.taken("re: tick") >= 2).then_some(())
        })
        .await;
        self.run(&["schedules", "cancel", "tick"]).await;
        let gone = self.site.cli(&["schedules", "show", "tick"]).await;
        assert_eq!(gone.code, 3, "{}", gone.stdout);
        let ticks = self.site.turns().await;
        let ticks = ticks.iter().filter(|turn| turn.conversation == "clock").count();
        assert_eq!(self.taken("re: tick"), ticks, "each occurrence once");
    }

    /// A person's file reaches the agent, and the agent's reaches the person.
    pub(super) async fn a_file_goes_there_and_back(&mut self) {
        let bytes: Vec<u8> = (0..200_000_u32).map(|n| (n % 251) as u8).collect();
        let room = self.room.clone();
        self.person.send_file(&room, ("there.bin", "application/octet-stream"), &bytes, "").await;
        let answers = self.answered(1).await;
        let file = answers.iter().find(|said| said.url.is_some());
        let file = match file {
            Some(file) => file.clone(),
            None => self.answered(2).await.into_iter().find(|said| said.url.is_some()).unwrap(),
        };
        let back = self.person.fetch(file.url.as_deref().unwrap()).await;
        assert!(back.into_iter().rev().eq(bytes), "the same bytes, turned round");
    }

    /// The agent thinks, the person has enough.
    pub(super) async fn a_stop_from_the_chat(&mut self) {
        let room = self.room.clone();
        let before = self.answers().await.len();
        self.person.say(&room, "think").await;
        let running = eventually("a turn that runs", SOON, || async {
            self.site.turns().await.into_iter().find(|turn| turn.state == "running")
        })
        .await;
        self.person.say(&room, "stop").await;
        assert_eq!(self.site.turn_at_rest(&running.id, SOON).await.state, "aborted");
        self.person.say(&room, "and now?").await;
        let answers = self.answered(before + 1).await;
        assert_eq!(answers[before].body, "re: and now?", "nothing of the stopped turn");
    }

    /// 429 with `Retry-After`: nothing is charged, `outbox show` says until when.
    pub(super) async fn a_receiver_that_asks_to_wait(&mut self) {
        self.sink.answer_by(|_| Answer::RetryAfter { status: 429, seconds: 4 });
        let turn = self.host().platform("desk").say("m1", "busy", "patience").await;
        let waits = self.site.row("a row that waits", SOON, |row| {
            row.conversation == "busy" && row.state == "queued" && row.next_attempt_at_ms.is_some()
        });
        let waits = waits.await;
        assert_eq!(waits.attempts, 0, "{waits:?}");
        self.sink.answer_by(|_| Answer::Take);
        assert_eq!(self.site.turn_at_rest(&turn.id, SOON).await.state, "delivered");
        let rows = self.site.rows_of(&turn.id).await;
        assert_eq!(rows[0].attempts, 1, "{rows:?}");
    }

    /// The receiver refuses, is put right, and the operator sends it once more: not twice.
    pub(super) async fn a_dead_letter_is_replayed(&mut self) {
        self.sink.answer_by(|_| Answer::Body(422, "no such person".into()));
        let turn = self.host().platform("desk").say("m2", "post", "a letter").await;
        assert_eq!(self.site.turn_at_rest(&turn.id, SOON).await.state, "failed");
        let dead = self.site.rows_of(&turn.id).await.remove(0);
        assert_eq!(dead.state, "dead");
        self.looks("with a dead letter", &["desk dead_turns", "desk dead_deliveries"]).await;
        self.sink.answer_by(|_| Answer::Take);
        self.run(&["replay", &dead.id]).await;
        self.arrived("re: a letter").await;
        let twice = self.site.cli(&["replay", &dead.id]).await;
        assert_eq!(twice.code, 4, "{}", twice.stderr);
        assert_eq!(self.taken("re: a letter"), 1);
        self.looks("once it was sent again", &[]).await;
    }

    /// Nobody can say whether it arrived, but the operator can.
    pub(super) async fn a_held_row_is_resolved(&mut self) {
        self.sink.answer_by(|_| Answer::Drop);
        let turn = self.host().platform("strict").say("m1", "once", "only once").await;
        let held = self.site.row("a held row", SOON, |row| row.held).await;
        self.looks("with a held row", &["strict held", "strict dead_turns"]).await;
        self.sink.answer_by(|_| Answer::Take);
        self.run(&["outbox", "resolve", &held.id, "--delivered"]).await;
        assert_eq!(self.site.turn_at_rest(&turn.id, SOON).await.state, "delivered");
        let again = self.site.cli(&["outbox", "resolve", &held.id, "--drop"]).await;
        assert_eq!(again.code, 4, "{}", again.stderr);
        assert_eq!(self.taken("re: only once"), 0, "it is not sent again");
    }

    /// A young entry is sent, an old one is held for the operator, a torn one stays where it is.
    pub(super) async fn the_queue_of_another_gateway_is_taken_in(&mut self) {
        let folder = self.site.path().join("openclaw/delivery-queue");
        std::fs::create_dir_all(&folder).unwrap();
        for (id, age_ms) in [("young", 60_000), ("old", 80 * HOUR_MS)] {
            let entry = json!({
                "id": id, "enqueuedAt": now_ms() - age_ms, "channel": "telegram", "to": "42",
                "payloads": [{"text": format!("{id} entry")}], "retryCount": 0, "bestEffort": true,
            });
            std::fs::write(folder.join(format!("{id}.json")), entry.to_string()).unwrap();
        }
        std::fs::write(folder.join("torn.json"), "{\"id\": \"to").unwrap();
        let import = ["import", "openclaw", "openclaw", "--map", "telegram=desk", "--json"];
        for _ in 0..2 {
            let end = self.site.cli(&import).await;
            let report: Value = serde_json::from_str(&end.stdout).unwrap();
            assert!(report.to_string().contains("torn.json"), "{report}");
        }
        self.arrived("young entry").await;
        let held = self.site.row("the old entry", SOON, |row| row.held).await;
        assert!(folder.join("torn.json").exists());
        self.run(&["outbox", "resolve", &held.id, "--drop"]).await;
        assert_eq!((self.taken("young entry"), self.taken("old entry")), (1, 0));
    }

    /// What was backed up under way is the same store in another folder.
    pub(super) async fn a_backup_is_restored_elsewhere(&mut self) {
        let file = self.site.path().join("backup.db").display().to_string();
        self.run(&["backup", &file]).await;
        let before = self.site.turns().await;
        assert!(self.host.take().unwrap().terminate().await.success());
        let sent = self.sink.count();
        let elsewhere = Site::new(&lastword_tests::harness::Config::new())
            .with_variable("MATRIX_TOKEN", self.server.bot_token());
        elsewhere.write("agent.py", super::AGENT);
        std::fs::copy(component("webhook"), broken(&elsewhere)).unwrap();
        elsewhere.configure(&config(&self.server, &self.sink, &elsewhere));
        let restored = elsewhere.cli(&["restore", &file]).await;
        assert_eq!(restored.code, 0, "{}", restored.stderr);
        self.site = elsewhere;
        self.host = Some(self.site.start().await);
        self.looks("after the restore", &[]).await;
        let ends = |turns: &[lastword_tests::harness::TurnRow]| {
            turns.iter().map(|turn| (turn.id.clone(), turn.state.clone())).collect::<Vec<_>>()
        };
        assert_eq!(ends(&self.site.turns().await), ends(&before));
        assert_eq!(self.sink.count(), sent, "nothing is sent again");
        let same = self.host().platform("desk").say("m0", "desk", "good morning").await;
        assert!(same.duplicate, "what was accepted before is known");
        let new = self.host().platform("desk").say("m9", "desk", "good night").await;
        assert_eq!(self.site.turn_at_rest(&new.id, SOON).await.state, "delivered");
        assert!(self.host.take().unwrap().terminate().await.success());
    }
}

fn schedule<'a>(name: &'a str, cron: &'a str) -> Vec<&'a str> {
    let mut words = vec!["schedules", "add", name, "--cron", cron, "--channel", "desk"];
    words.extend(["--conversation", "clock", "--sender", "clock", "--text", "tick"]);
    words
}

fn channel<'a>(status: &'a Value, name: &str) -> &'a Value {
    let channels = status["channels"].as_array().unwrap();
    assert!(said(&status["channels"], "name").contains(&name.to_owned()), "{status}");
    channels.iter().find(|it| it["name"] == name).unwrap()
}
