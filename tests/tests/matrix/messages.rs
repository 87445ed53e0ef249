//! Messages and replies: through the whole host, under the homeserver's own limits, under kills.

use lastword_tests::kill_loop::Plan;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::*;

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
    world.person.say(&room, "slow").await;
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
