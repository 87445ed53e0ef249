//! Files, from a person's client to the agent and back, through the homeserver's content repository.

use super::*;

/// Bytes of no text at all, other ones for other lengths.
fn bytes(count: u32) -> Vec<u8> {
    (0..count)
        .map(|n| (n.wrapping_mul(count | 1).wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect()
}

#[tokio::test]
async fn a_persons_file_is_read_by_the_agent_and_comes_back_with_the_same_bytes() {
    let mut world = world(RateLimits::Raised).await;
    let _host = world.site.start().await;
    let bot = world.server.bot().to_owned();
    let room = world.person.room_with(&bot).await;
    let sent = bytes(300_000);
    world.person.send_file(&room, ("photo 1.png", "image/png"), &sent, "").await;
    let answers = world.answered(&room, 1, SOON).await;
    let back = &answers[0];
    assert_eq!(back.body, "no word, 300000 bytes");
    assert_eq!(back.kind.as_deref(), Some("m.image"));
    assert_eq!(back.name.as_deref(), Some("re-photo 1.png"));
    assert!(
        world.person.fetch(back.url.as_deref().unwrap()).await == sent,
        "other bytes came back"
    );
    let turn = world.site.turns().await.remove(0);
    assert_eq!(world.site.turn_at_rest(&turn.id, SOON).await.state, "delivered");
    assert_eq!(world.site.rows_of(&turn.id).await.len(), 1, "words and file are one message");
    // A file with words, twice in the answer: one file is one message of Matrix.
    let other = bytes(70_001);
    let document = ("a.pdf", "application/pdf");
    world.person.send_file(&room, document, &other, "take this twice").await;
    let answers = world.answered(&room, 3, SOON).await;
    assert_eq!(answers[1].body, "take this twice, 70001 bytes");
    assert_eq!(answers[2].body, "re-a.pdf");
    for back in &answers[1..] {
        assert_eq!(back.kind.as_deref(), Some("m.file"));
        assert!(world.person.fetch(back.url.as_deref().unwrap()).await == other);
    }
}

#[tokio::test]
async fn a_reply_with_a_file_survives_kills_of_the_host_and_is_shown_once() {
    let mut world = world(RateLimits::Raised).await;
    let host = world.site.start().await;
    let bot = world.server.bot().to_owned();
    let room = world.person.room_with(&bot).await;
    let mut host = Some(host);
    for (round, wait_ms) in [0, 60, 120, 250, 500].into_iter().enumerate() {
        let name = format!("{round}.bin");
        let file = (name.as_str(), "application/octet-stream");
        world.person.send_file(&room, file, &bytes(50_000), &format!("{round}")).await;
        tokio::time::sleep(Duration::from_millis(wait_ms)).await;
        host.take().unwrap().kill().await;
        host = Some(world.site.start().await);
        let answers = world.answered(&room, round + 1, SOON).await;
        assert_eq!(answers[round].name.as_deref(), Some(format!("re-{round}.bin").as_str()));
    }
    let turns = eventually("all turns at rest", SOON, || async {
        let turns = world.site.turns().await;
        turns.iter().all(|turn| turn.ended_at_ms.is_some()).then_some(turns)
    })
    .await;
    assert!(turns.iter().all(|turn| turn.state == "delivered"), "{turns:?}");
    assert_eq!(world.answers(&room).await.len(), 5, "each once");
}
