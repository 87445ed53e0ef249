//! How a send ends where its end is known: taken, refused, put off, and what is done next.

use std::time::Duration;

use lastword_tests::harness::{Answer, Arrival, Channel, Config, Sink, Site, eventually};

use crate::{SOON, bridge};

/// Answers the first arrivals as listed, and takes what comes after.
fn first(answers: &[Answer]) -> impl FnMut(&Arrival) -> Answer + Send + 'static {
    let mut answers = answers.to_vec();
    answers.reverse();
    move |_| answers.pop().unwrap_or(Answer::Take)
}

async fn bridge_with(answers: &[Answer]) -> (Sink, Site) {
    let (sink, site) = bridge(Config::new()).await;
    sink.answer_by(first(answers));
    (sink, site)
}

#[tokio::test]
async fn a_reply_carries_everything_that_its_receiver_needs() {
    let (sink, site) = bridge(Config::new()).await;
    let host = site.start().await;
    let turn = host.platform("hook").say("m1", "c", "hello").await;
    let arrived = sink.wait_for(1, SOON).await.remove(0);
    let row = site.turn_at_rest(&turn.id, SOON).await;
    assert_eq!(row.state, "delivered");
    let rows = site.rows_of(&turn.id).await;
    assert_eq!(rows.len(), 1);
    assert_eq!(arrived.delivery_id(), rows[0].id);
    let id_is_short = (1..=24).contains(&rows[0].id.len());
    let id_is_plain = rows[0].id.bytes().all(|b| b.is_ascii_digit() || b.is_ascii_lowercase());
    assert!(id_is_short && id_is_plain, "{}", rows[0].id);
    assert_eq!(arrived.field("turn_id"), turn.id);
    assert_eq!(arrived.field("conversation"), "c");
    assert_eq!(arrived.field("reply_to"), "m1");
    assert_eq!(arrived.field("kind"), "final");
    for (field, number) in [("part", 1), ("parts", 1), ("attempt", 1)] {
        assert_eq!(arrived.body[field], number, "{field}");
    }
    assert_eq!(arrived.headers["webhook-id"], rows[0].id.as_str());
    assert_eq!(rows[0].platform_id.as_deref(), Some("sink-0"), "the receiver's own id is kept");
}

// Case: D2
#[tokio::test]
async fn an_error_of_the_receiver_is_settled_by_the_same_delivery_id() {
    let (sink, site) = bridge_with(&[Answer::Status(500), Answer::Drop]).await;
    let host = site.start().await;
    let turn = host.platform("hook").say("m1", "c", "hello").await;
    assert_eq!(site.turn_at_rest(&turn.id, SOON).await.state, "delivered");
    let arrived = sink.arrivals();
    assert_eq!(arrived.len(), 3);
    assert!(arrived.iter().all(|one| one.delivery_id() == arrived[0].delivery_id()));
    assert_eq!(
        arrived.iter().map(|one| one.body["attempt"].as_u64()).collect::<Vec<_>>(),
        [Some(1), Some(2), Some(3)]
    );
    assert_eq!(site.rows_of(&turn.id).await[0].attempts, 3);
}

// Case: C11
#[tokio::test]
async fn a_receiver_that_hangs_does_not_hold_up_other_conversations() {
    let (sink, site) = bridge(Config::new()).await;
    sink.answer_by(|arrival| match (arrival.text(), arrival.body["attempt"].as_u64()) {
        ("stuck", Some(1)) => Answer::Hang(Duration::from_secs(20)),
        _ => Answer::Take,
    });
    let host = site.start().await;
    let platform = host.platform("hook");
    let stuck = platform.say("m1", "a", "stuck").await;
    sink.wait_for(1, SOON).await;
    let behind = platform.say("m2", "a", "behind").await;
    for n in 0..5 {
        let other = platform.say(&format!("o{n}"), "b", "other").await;
        assert_eq!(site.turn_at_rest(&other.id, SOON).await.state, "delivered");
    }
    let states: Vec<_> = site.turns().await.into_iter().map(|turn| turn.state).take(2).collect();
    assert_eq!(states, ["delivering", "queued"], "the call has not ended, and the next one waits");
    // `[limits] send` ends the call; what nobody knows is settled by sending it again.
    assert_eq!(site.turn_at_rest(&stuck.id, SOON).await.state, "delivered");
    assert_eq!(site.turn_at_rest(&behind.id, SOON).await.state, "delivered");
    let in_a = sink.arrivals().into_iter().filter(|one| one.field("conversation") == "a");
    let texts: Vec<_> = in_a.map(|one| one.text().to_owned()).collect();
    assert_eq!(texts, ["stuck", "stuck", "behind"]);
}

// Case: C6
#[tokio::test]
async fn a_receiver_that_asks_to_wait_is_not_called_before_and_costs_no_attempt() {
    for status in [429, 503] {
        let wait = Answer::RetryAfter { status, seconds: 2 };
        let (sink, site) = bridge_with(&[wait]).await;
        let host = site.start().await;
        let turn = host.platform("hook").say("m1", "c", "hello").await;
        assert_eq!(site.turn_at_rest(&turn.id, SOON).await.state, "delivered");
        let arrived = sink.arrivals();
        assert_eq!(arrived.len(), 2);
        let waited = arrived[1].at - arrived[0].at;
        assert!(waited >= Duration::from_secs(2), "sent again after {waited:?}");
        assert_eq!(site.rows_of(&turn.id).await[0].attempts, 1, "{status} is no failed attempt");
    }
}

// Case: C7
#[tokio::test]
async fn a_receiver_that_is_not_there_is_waited_for_without_costing_attempts() {
    let sink = Sink::start().await;
    let url = sink.url();
    drop(sink);
    let config = Config::new().set("lifecycle", "delivery_tries", "2");
    let site = Site::new(&config.channel(Channel::webhook("hook", &url)));
    let host = site.start().await;
    let turn = host.platform("hook").say("m1", "c", "hello").await;
    // Refused connections come back after 1 s, 2 s: more than the two tries would allow.
    let row = eventually("a row that came back", SOON, || async {
        let rows = site.rows_of(&turn.id).await;
        let code = rows.first()?.code.clone()?;
        Some((rows[0].clone(), code))
    })
    .await;
    assert_eq!((row.0.state.as_str(), row.0.attempts), ("queued", 0), "{row:?}");
    tokio::time::sleep(Duration::from_secs(4)).await;
    let row = site.rows_of(&turn.id).await.remove(0);
    assert_eq!((row.state.as_str(), row.attempts), ("queued", 0), "{row:?}");
}

// Case: C5, C10
#[tokio::test]
async fn a_refused_message_is_dead_with_the_receivers_own_words_and_the_next_one_goes() {
    let words = Answer::Body(422, "no such person".into());
    let (sink, site) = bridge_with(&[words]).await;
    let host = site.start().await;
    let platform = host.platform("hook");
    let refused = platform.say("m1", "c", "one").await;
    let next = platform.say("m2", "c", "two").await;
    let turn = site.turn_at_rest(&refused.id, SOON).await;
    assert_eq!(turn.state, "failed", "{turn:?}");
    assert!(turn.code.is_some() && turn.ended_at_ms.is_some(), "{turn:?}");
    let row = site.rows_of(&refused.id).await.remove(0);
    assert_eq!((row.state.as_str(), row.held, row.attempts), ("dead", false, 1));
    assert!(row.reason.as_deref().unwrap().contains("no such person"), "{row:?}");
    assert_eq!(site.turn_at_rest(&next.id, SOON).await.state, "delivered");
    assert_eq!(sink.arrivals_at("/replies").iter().filter(|a| a.text() == "one").count(), 1);
}

// Case: C8
#[tokio::test]
async fn refused_credentials_pause_the_channel_and_resuming_drains_it() {
    let (sink, site) = bridge_with(&[Answer::Status(401)]).await;
    let host = site.start().await;
    let platform = host.platform("hook");
    let mut turns = Vec::new();
    for n in 0..3 {
        turns.push(platform.say(&format!("m{n}"), &format!("c{n}"), "hello").await.id);
    }
    let paused = eventually("a paused channel", SOON, || async {
        let status = site.status().await;
        let channel = status["channels"][0].clone();
        (channel["state"] == "paused").then_some(channel)
    })
    .await;
    assert!(paused["reason"].is_string(), "{paused}");
    let rows = site.outbox().await;
    assert!(rows.iter().all(|row| row.attempts == 0 || row.state == "delivered"), "{rows:?}");
    let before = sink.count();
    assert_eq!(site.cli(&["channels", "resume", "hook"]).await.code, 0);
    for id in &turns {
        assert_eq!(site.turn_at_rest(id, SOON).await.state, "delivered");
    }
    assert!(sink.count() > before);
}

// Case: J2
#[tokio::test]
async fn a_dead_letter_is_replayed_once_as_a_new_row() {
    let (sink, site) = bridge_with(&[Answer::Status(404)]).await;
    let host = site.start().await;
    let turn = host.platform("hook").say("m1", "c", "one").await;
    assert_eq!(site.turn_at_rest(&turn.id, SOON).await.state, "failed");
    let dead = site.rows_of(&turn.id).await.remove(0).id;
    let replayed = site.cli(&["replay", &dead]).await;
    assert_eq!(replayed.code, 0, "{}{}", replayed.stdout, replayed.stderr);
    let arrived = sink.wait_for(2, SOON).await;
    assert_eq!(arrived[1].text(), "one");
    assert_ne!(arrived[1].delivery_id(), dead, "a new row has an id of its own");
    site.row("the new row delivered", SOON, |row| row.state == "delivered").await;
    let old = site.turn_at_rest(&turn.id, SOON).await;
    assert_eq!(old.state, "failed", "the old turn stays failed");
    assert_eq!(site.cli(&["replay", &dead]).await.code, 4, "twice is refused");
}

// Case: C15
#[tokio::test]
async fn a_row_that_is_too_old_expires_and_its_turn_with_it() {
    let away = Answer::RetryAfter { status: 503, seconds: 1 };
    let (sink, site) = bridge(Config::new().lifecycle("delivery_max_age", "3s")).await;
    sink.answer_by(move |_| away.clone());
    let host = site.start().await;
    let turn = host.platform("hook").say("m1", "c", "late").await;
    let ended = site.turn_at_rest(&turn.id, SOON).await;
    assert_eq!(ended.state, "failed", "{ended:?}");
    let row = site.rows_of(&turn.id).await.remove(0);
    assert_eq!(row.state, "expired", "{row:?}");
    sink.answer_by(|_| Answer::Take);
    let next = host.platform("hook").say("m2", "c", "fresh").await;
    assert_eq!(site.turn_at_rest(&next.id, SOON).await.state, "delivered");
}

#[tokio::test]
async fn words_that_look_like_a_secret_are_not_sent_and_hold_nobody_up() {
    let sink = Sink::start().await;
    let channel =
        Channel::webhook("hook", &sink.url()).set(".secrets", "outbound-key", "\"env:HOOK_KEY\"");
    let site = Site::new(&Config::new().channel(channel))
        .with_variable("HOOK_KEY", "Y2FuYXJ5LWtleS03ZjNhOWIyMWQ0");
    let host = site.start().await;
    let platform = host.platform("hook");
    for (n, words) in ["{secret.outbound-key}", "Y2FuYXJ5LWtleS03ZjNhOWIyMWQ0"].iter().enumerate() {
        let asked = platform.say(&format!("m{n}"), "c", words).await;
        let behind = platform.say(&format!("b{n}"), "c", "behind").await;
        assert_eq!(site.turn_at_rest(&behind.id, SOON).await.state, "delivered");
        assert_eq!(site.turn_at_rest(&asked.id, SOON).await.state, "failed");
        let row = site.rows_of(&asked.id).await.remove(0);
        assert_eq!((row.state.as_str(), row.attempts), ("dead", 1));
        assert_eq!(row.code.as_deref(), Some("carries_secret"));
    }
    let texts: Vec<_> = sink.arrivals().iter().map(|one| one.text().to_owned()).collect();
    assert!(
        texts.iter().all(|text| !text.contains("secret") && !text.contains("Y2Fu")),
        "{texts:?}"
    );
}
