//! Threats 22 to 26: guests that lie, repeat, forge, flood and paint.

use lastword_tests::harness::{Answer, Channel};
use serde_json::json;

use crate::rig::{Group, Rig};

static GROUP: Group = Group {
    name: "truth",
    guests: &["liar", "repeats", "forger", "event-flood", "paints"],
    extend,
};

fn extend(guest: &str, channel: Channel) -> Channel {
    match guest {
        "event-flood" => {
            channel.set(".limits", "cpu", "\"5s\"").set(".limits", "webhook", "\"10s\"")
        }
        _ => channel,
    }
}

#[tokio::test]
async fn the_wire_decides_whatever_the_guest_says() {
    let rig = Rig::of(&GROUP);
    rig.under(22, "lies", async {
        // Delivered, and nothing was sent.
        let row = rig.fails("liar", "claims").await;
        assert_eq!((row.state.as_str(), row.held), ("unknown", true), "{row:?}");
        assert!(rig.shown(&row).await.contains("unproven_delivery"));
        // Not sent, and the platform had it.
        rig.platform.answer_by(|arrival| {
            if arrival.text() == "denies" { Answer::Drop } else { Answer::Take }
        });
        let row = rig.fails("liar", "denies").await;
        rig.platform.answer_by(|_| Answer::Take);
        assert_eq!((row.state.as_str(), row.held), ("unknown", true), "{row:?}");
        assert!(rig.shown(&row).await.contains("unanswered_send"));
        let arrived = rig.platform.arrivals().iter().filter(|one| one.text() == "denies").count();
        assert_eq!(arrived, 1, "never sent again blindly");
        // Another story at each attempt: none of them is believed.
        let row = rig.fails("liar", "stories").await;
        assert_ne!(row.state, "delivered", "{row:?}");
        let log = rig.site.log();
        assert!(log.contains("liar"), "{log}");
    })
    .await;
}

#[tokio::test]
async fn one_call_sends_one_message_however_often_the_guest_tries() {
    let rig = Rig::of(&GROUP);
    rig.under(23, "one part in a loop", async {
        let turn = rig.tell("repeats", "once, please").await;
        let (turn, row) = rig.rest(&turn).await;
        assert_eq!(turn.state, "delivered", "{turn:?} {row:?}");
        let arrived = rig.platform.arrivals();
        let arrived = arrived.iter().filter(|one| one.text() == "once, please").count();
        assert_eq!(arrived, 1);
        assert!(rig.site.log().contains("the host refused"), "the guest was told");
    })
    .await;
}

#[tokio::test]
async fn what_is_forged_for_another_channel_stays_in_its_own() {
    let rig = Rig::of(&GROUP);
    rig.under(24, "forged events", async {
        let of_good = rig.site.outbox().await;
        let victim = of_good.iter().find(|row| row.channel == "good").unwrap().clone();
        let turns = rig.site.turns().await;
        let turn = turns.iter().find(|turn| Some(&turn.id) == victim.turn_id.as_ref()).unwrap();
        let before = rig.shown(&victim).await;
        let document = json!({
            "conversation": victim.conversation,
            "id": turn.external_id,
            "delivery": victim.id,
        });
        let reply = rig.post("forger", "forge", &document).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        let forged = reply.turns().remove(0).id;
        assert_ne!(forged, turn.id, "no duplicate of another channel's message");
        let ended = rig.site.turn_at_rest(&forged, crate::SOON).await;
        assert_eq!(ended.channel, "forger");
        let now = now_ms();
        assert!((now - ended.accepted_at_ms).abs() < 600_000, "stamped by the host: {ended:?}");
        assert_eq!(rig.shown(&victim).await, before, "the other channel's row is as it was");
        let after = rig.site.turns().await;
        let after = after.iter().find(|row| row.id == turn.id).unwrap();
        assert_eq!(after.state, "delivered", "{after:?}");
    })
    .await;
}

fn now_ms() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    i64::try_from(since.as_millis()).unwrap()
}

#[tokio::test]
async fn ten_thousand_events_or_ten_megabytes_are_taken_whole_or_not_at_all() {
    let rig = Rig::of(&GROUP);
    rig.under(25, "event flood", async {
        for path in ["many", "long"] {
            let reply = rig.post("event-flood", path, &json!({})).await;
            assert!(
                [413, 503].contains(&reply.status),
                "{path}: {} {}",
                reply.status,
                reply.text()
            );
        }
        let turns = rig.site.turns().await;
        let flood = turns.iter().filter(|turn| turn.channel == "event-flood").count();
        assert_eq!(flood, 0, "all or nothing");
        rig.reports("event-flood", "fine").await;
    })
    .await;
}

#[tokio::test]
async fn painted_names_and_texts_are_escaped_wherever_an_operator_reads_them() {
    let rig = Rig::of(&GROUP);
    rig.under(26, "painted text", async {
        let before = rig.site.log().len();
        let reply = rig.post("paints", "paint", &json!({})).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        let turn = reply.turns().remove(0).id;
        let (_, row) = rig.rest(&turn).await;
        let mut read = vec![("log", rig.site.log()[before..].to_owned())];
        for command in [
            &["status"][..],
            &["turns", "list"],
            &["outbox", "list"],
            &["turns", "show", &turn],
            &["turns", "show", &turn, "--payload"],
            &["outbox", "show", &row.id],
            &["outbox", "show", &row.id, "--payload"],
        ] {
            let end = rig.site.cli(command).await;
            assert_eq!(end.code, 0, "{command:?}: {}", end.stderr);
            read.push((command[0], end.stdout + &end.stderr));
        }
        let metrics = rig.hook("paints").get("/metrics").await.unwrap().text();
        read.push(("metrics", metrics));
        for (place, text) in read {
            for bare in ["\u{1b}[2J", "\u{1b}]0;", "\u{7}", "\u{9b}", "\u{202e}", "\r"] {
                let at = text.find(bare).map(|at| &text[at.saturating_sub(80)..at]);
                assert!(at.is_none(), "{place} holds {bare:?} after {at:?}");
            }
            let own_line = text.lines().any(|line| line.trim_start().starts_with("root# "));
            assert!(!own_line, "{place} begins a line of the guest's");
        }
    })
    .await;
}
