//! What holds a channel back: its credentials, its pace, its breaker, a slow platform.

use super::bench::{Bench, CHANNEL, Wishes};
use super::script::{Send, facts};
use crate::lifecycle::outcome::{Fault, SendError};
use crate::store::{ChannelSwitch, Command};
use crate::workers::breaker::BreakerState;
use crate::workers::operate::operate;

// Case: C8
#[tokio::test(start_paused = true)]
async fn refused_credentials_pause_the_channel_once_and_a_resume_drains_it() {
    let bench = Bench::new().await;
    let unauthorized = Send::Say(SendError::Unauthorized(Fault::new("401", "bad token")));
    bench.adapter.then([unauthorized]);
    for n in 0..5 {
        bench.post(&format!("room {n}"), "m1", "hello").await;
        bench.wait(10).await;
    }
    bench.wait(3_600_000).await;
    assert_eq!(bench.adapter.calls().len(), 1);
    let events = bench.workers.status().events;
    assert_eq!(events.iter().filter(|event| event.code == "unauthorized").count(), 1);
    let resume = Command::SwitchChannel { channel: CHANNEL.into(), switch: ChannelSwitch::Resume };
    operate(bench.workers.hub(), resume).await.unwrap();
    bench.wait(1_000).await;
    assert_eq!(bench.states().await, vec!["delivered"; 5]);
    assert!(bench.outbox().await.iter().all(|row| row.attempts == 1));
}

// Case: C7
#[tokio::test(start_paused = true)]
async fn an_offline_channel_charges_nothing_and_drains_within_a_second_of_its_return() {
    let bench = Bench::new().await;
    let offline = || Send::Say(SendError::Offline(Fault::new("net", "no network")));
    bench.adapter.then((0..300).map(|_| offline()));
    for n in 0..3 {
        bench.post(&format!("room {n}"), "m1", "hello").await;
    }
    bench.wait(400_000).await;
    bench.adapter.sends.lock().unwrap().clear();
    let calls = bench.adapter.calls().len();
    while bench.adapter.calls().len() == calls {
        bench.wait(100).await;
    }
    bench.wait(1_000).await;
    assert_eq!(bench.states().await, vec!["delivered"; 3]);
    assert!(bench.outbox().await.iter().all(|row| row.attempts == 1));
}

// Case: C7
#[tokio::test(start_paused = true)]
async fn traps_open_the_breaker_deliveries_wait_uncharged_and_a_probe_closes_it() {
    let bench = Bench::new().await;
    bench.adapter.then((0..6).map(|_| Send::Trap { left: false }));
    for n in 0..6 {
        bench.post(&format!("room {n}"), "m1", "hello").await;
        bench.wait(1).await;
    }
    bench.wait(4_000).await;
    assert_eq!(bench.workers.status().breakers[&CHANNEL.into()], BreakerState::Open);
    assert_eq!(bench.adapter.calls().len(), 5, "the sixth waits at the breaker");
    let sixth = bench.outbox().await.pop().unwrap();
    assert_eq!((sixth.state.as_str(), sixth.attempts), ("queued", 0));
    bench.wait(3_600_000).await;
    assert_eq!(bench.states().await, vec!["delivered"; 6]);
    assert_eq!(bench.workers.status().breakers[&CHANNEL.into()], BreakerState::Closed);
}

#[tokio::test(start_paused = true)]
async fn a_channel_takes_no_more_calls_at_once_than_it_allows() {
    let mut few = facts();
    few.calls_at_once = 2;
    let bench = Bench::with(Wishes { facts: Some(few), ..Wishes::default() }).await;
    bench.adapter.then((0..6).map(|_| Send::After(1_000, Box::new(Send::Deliver))));
    for n in 0..6 {
        bench.post(&format!("room {n}"), "m1", "hello").await;
    }
    for expected in [2, 4, 6] {
        bench.wait(900).await;
        assert_eq!(bench.adapter.calls().len(), expected);
        bench.wait(110).await;
    }
}

#[tokio::test(start_paused = true)]
async fn the_channels_interval_spaces_its_messages() {
    let mut paced = facts();
    paced.channel_interval_ms = 500;
    let bench = Bench::with(Wishes { facts: Some(paced), ..Wishes::default() }).await;
    for n in 0..8 {
        bench.post(&format!("room {n}"), "m1", "hello").await;
    }
    bench.wait(10_000).await;
    let times: Vec<i64> = bench.adapter.calls().iter().map(|seen| seen.at_ms).collect();
    assert_eq!(times.len(), 8);
    assert!(times.windows(2).all(|pair| pair[1] - pair[0] >= 500), "{times:?}");
    assert!(times[7] < 4_500, "{times:?}");
}

#[tokio::test(start_paused = true)]
async fn a_conversations_interval_spaces_its_messages_and_holds_up_no_other() {
    let mut paced = facts();
    (paced.conversation_interval_ms, paced.calls_at_once) = (1_000, 1);
    let bench = Bench::with(Wishes { facts: Some(paced), ..Wishes::default() }).await;
    for n in 0..3 {
        bench.post("busy", &format!("m{n}"), "hello").await;
    }
    for n in 0..10 {
        bench.post(&format!("room {n}"), "m1", "hello").await;
    }
    bench.wait(500).await;
    assert_eq!(bench.adapter.calls().len(), 11);
    bench.wait(5_000).await;
    let calls = bench.adapter.calls();
    let busy: Vec<i64> = calls
        .iter()
        .filter(|seen| seen.message.place.conversation == "busy")
        .map(|seen| seen.at_ms)
        .collect();
    assert_eq!(busy.len(), 3);
    assert!(busy.windows(2).all(|pair| pair[1] - pair[0] >= 1_000), "{busy:?}");
}
