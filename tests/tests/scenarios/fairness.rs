//! Channels do not wait for each other.

use std::time::Duration;

use lastword_tests::harness::{Answer, Channel, Config, Sink, Site};

use crate::SOON;

// Case: C11
#[tokio::test]
async fn a_channel_whose_receiver_hangs_ends_its_calls_at_the_deadline_and_another_is_served() {
    const HANGING: usize = 20;
    let (stuck, well) = (Sink::start().await, Sink::start().await);
    stuck.answer_by(|_| Answer::Hang(Duration::from_secs(60)));
    let config = Config::new()
        .set("limits", "send", "\"15s\"")
        .lifecycle("claim", "30s")
        .channel(Channel::webhook("stuck", &stuck.url()).set("", "idempotent", "false"))
        .channel(Channel::webhook("well", &well.url()));
    let site = Site::new(&config);
    let host = site.start().await;
    // More than may be at the adapter at once: what is left waits behind those that hang.
    for n in 0..HANGING {
        host.platform("stuck").say(&format!("m{n}"), &format!("room {n}"), "hello").await;
    }
    stuck.wait_for(1, SOON).await;
    for n in 0..HANGING {
        host.platform("well").say(&format!("m{n}"), &format!("room {n}"), "hello").await;
    }
    well.wait_for(HANGING, SOON).await;
    let rows = site.outbox().await;
    let open = rows.iter().filter(|row| row.channel == "stuck" && row.state == "sending").count();
    assert!(open > 0, "all of one channel went out before a call of the other ended");
    // Its calls end at their deadline; nobody can tell what came of them.
    let held = |row: &lastword_tests::harness::OutboxRow| row.channel == "stuck" && row.held;
    site.row("a call that was ended", SOON, held).await;
}
