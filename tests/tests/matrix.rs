//! The `matrix` adapter in the real host, against a real homeserver and a client that nobody here
//! wrote.

#![allow(clippy::print_stderr, reason = "a run under chance says its seed")]
#![allow(clippy::disallowed_methods, reason = "tests watch real processes on the real clock")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends with a panic")]

use std::time::Duration;

use lastword_tests::harness::matrix::{Homeserver, Person, RateLimits, Said};
use lastword_tests::harness::{Config, Site, eventually};
use lastword_tests::kill_loop::Plan;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

const SOON: Duration = Duration::from_secs(60);

/// Answers `long N` with N lines, `type` after a while, and anything else with `re: ` before it.
const AGENT: &str = r#"
import json, sys, time
turn = json.loads(sys.stdin.readline())
text = turn["message"]["text"]
if text.startswith("long "):
    answer = "\n".join(f"line {n:06d} " + "x" * 85 for n in range(int(text[5:])))
else:
    time.sleep(4 if text == "type" else 0.05)
    answer = f"re: {text}"
print(json.dumps({"type": "final", "text": answer}))
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

#[tokio::test]
async fn a_persons_message_is_answered_in_the_room_by_an_exec_agent() {
    let mut world = world(RateLimits::Raised).await;
    let host = world.site.start().await;
    let bot = world.server.bot().to_owned();
    let room = world.person.room_with(&bot).await;
    let asked = world.person.say(&room, "hello, **you**").await;
    let answers = world.answered(&room, 1, SOON).await;
    assert_eq!(answers[0].body, "re: hello, **you**");
    let turn = world.site.turns().await.remove(0);
    assert_eq!(turn.external_id.as_deref(), Some(asked.as_str()));
    assert_eq!(turn.conversation, room);
    let turn = world.site.turn_at_rest(&turn.id, SOON).await;
    assert_eq!(turn.state, "delivered");
    let row = world.site.rows_of(&turn.id).await.remove(0);
    assert_eq!(row.platform_id.as_deref(), Some(answers[0].event_id.as_str()));
    // Typing is shown while the agent thinks.
    world.person.say(&room, "type").await;
    assert_eq!(world.person.sees_typing(&room, 3).await, [bot]);
    // Its own answers start no turns, also after a restart.
    world.answered(&room, 2, SOON).await;
    host.kill().await;
    let host = world.site.start().await;
    world.person.say(&room, "again").await;
    world.answered(&room, 3, SOON).await;
    assert_eq!(world.site.turns().await.len(), 3);
    assert!(!world.site.log().contains(world.server.bot_token()), "no secret in the log");
    assert!(host.terminate().await.success());
}

#[tokio::test]
async fn a_long_reply_arrives_whole_and_in_order_under_the_homeservers_own_limits() {
    let mut world = world(RateLimits::Defaults).await;
    let _host = world.site.start().await;
    let bot = world.server.bot().to_owned();
    let room = world.person.room_with(&bot).await;
    // Some 390 kB: thirteen parts and more, where the homeserver takes ten at once.
    world.person.say(&room, "long 4000").await;
    let turn = eventually("a turn that ended", Duration::from_secs(180), || async {
        let turns = world.site.turns().await;
        turns.into_iter().find(|turn| turn.ended_at_ms.is_some())
    })
    .await;
    assert_eq!(turn.state, "delivered", "{turn:?}");
    let rows = world.site.rows_of(&turn.id).await;
    assert!(rows.len() > 12, "{} parts do not reach the limit", rows.len());
    let answers = world.answers(&room).await;
    assert_eq!(answers.len(), rows.len(), "each part once");
    let lines: Vec<_> = answers.iter().flat_map(|said| said.body.lines()).collect();
    let numbers: Vec<_> = lines.iter().map(|line| line[5..11].parse::<usize>().unwrap()).collect();
    assert_eq!(numbers, (0..4000).collect::<Vec<_>>());
    assert!(rows.iter().all(|row| row.attempts == 1), "being asked to wait costs no attempt");
}

#[tokio::test]
async fn with_the_host_killed_under_fifty_messages_each_gets_exactly_one_reply() {
    const MESSAGES: usize = 50;
    let seed = Plan::any_seed();
    eprintln!("matrix kill loop: seed {seed}");
    let mut chance = StdRng::seed_from_u64(seed);
    let mut world = world(RateLimits::Raised).await;
    let host = world.site.start().await;
    let bot = world.server.bot().to_owned();
    let room = world.person.room_with(&bot).await;
    let mut host = Some(host);
    let mut kills = 0;
    for number in 0..MESSAGES {
        world.person.say(&room, &format!("message {number}")).await;
        tokio::time::sleep(Duration::from_millis(chance.random_range(0..400))).await;
        if chance.random_range(0..4) == 0 {
            host.take().unwrap().kill().await;
            kills += 1;
            host = Some(world.site.start().await);
        }
    }
    let answers = world.answered(&room, MESSAGES, Duration::from_secs(120)).await;
    let unfinished = || async {
        let turns = world.site.turns().await;
        let all = turns.len() == MESSAGES && turns.iter().all(|turn| turn.ended_at_ms.is_some());
        all.then_some(turns)
    };
    let turns = eventually("all turns at rest", SOON, unfinished).await;
    assert!(turns.iter().all(|turn| turn.state == "delivered"), "seed {seed}: {turns:?}");
    let bodies: Vec<_> = world.answers(&room).await.into_iter().map(|said| said.body).collect();
    let wanted: Vec<_> = (0..MESSAGES).map(|number| format!("re: message {number}")).collect();
    assert_eq!(bodies, wanted, "seed {seed}, {kills} kills, {} answers first", answers.len());
    eprintln!("matrix kill loop: {kills} kills");
    assert!(kills > 0, "seed {seed} killed nothing");
}
