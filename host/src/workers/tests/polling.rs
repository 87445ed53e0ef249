//! Pollers: the cursor goes with its events, and what a platform may say to a poll.

use super::bench::{Bench, CHANNEL, Wishes, message};
use super::script::{Poll, facts};
use crate::lifecycle::message::InboundEvent;
use crate::lifecycle::outcome::{CallError, Fault, RateScope};
use crate::store::{ChannelSwitch, Command, Query, Rows};
use crate::workers::operate::operate;
use crate::workers::ports::{Batch, PollError};
use crate::workers::status::PollerState;

async fn polling() -> Bench {
    let mut polls = facts();
    polls.offers.poll = true;
    Bench::with(Wishes { facts: Some(polls), ..Wishes::default() }).await
}

fn batch(ids: &[&str], cursor: &str) -> Poll {
    let event = |id: &&str| InboundEvent::Message(message("room", id, "hello"));
    Poll::Bring(Batch {
        events: ids.iter().map(event).collect(),
        cursor: cursor.to_owned(),
        more: false,
    })
}

async fn cursor(bench: &Bench) -> Option<String> {
    match bench.store.read(Query::Cursor { channel: CHANNEL.into() }).await.unwrap() {
        Rows::Text(cursor) => cursor,
        other => panic!("{other:?}"),
    }
}

fn times(bench: &Bench) -> Vec<i64> {
    bench.adapter.polled.lock().unwrap().iter().map(|(at_ms, _)| *at_ms).collect()
}

#[tokio::test(start_paused = true)]
async fn a_poll_starts_without_a_cursor_and_goes_on_with_the_one_that_it_brought() {
    let bench = polling().await;
    bench.adapter.polls.lock().unwrap().extend([batch(&["m1", "m2"], "c1"), batch(&[], "c1")]);
    bench.wait(2_000).await;
    let asked: Vec<_> =
        bench.adapter.polled.lock().unwrap().iter().map(|(_, cursor)| cursor.clone()).collect();
    assert_eq!(asked, [None, Some("c1".to_owned()), Some("c1".to_owned())]);
    assert_eq!(cursor(&bench).await.as_deref(), Some("c1"));
    assert_eq!(bench.workers.hub().metrics.turns_delivered.get(), 2);
}

#[tokio::test(start_paused = true)]
async fn an_idle_poll_commits_nothing_and_waits_at_the_platform() {
    let bench = polling().await;
    bench.adapter.polls.lock().unwrap().push_back(batch(&[], "c1"));
    bench.wait(60_000).await;
    let commits = bench.store.stats().core.commits;
    let polls = times(&bench).len();
    bench.wait(250_000).await;
    assert_eq!(bench.store.stats().core.commits, commits);
    assert_eq!(times(&bench).len() - polls, 10);
}

#[tokio::test(start_paused = true)]
async fn a_platform_that_cannot_wait_is_not_asked_in_a_hot_loop() {
    let bench = polling().await;
    bench.adapter.polls.lock().unwrap().extend((0..1_000).map(|_| batch(&[], "c1")));
    bench.wait(10_000).await;
    assert!(times(&bench).len() <= 12, "{:?}", times(&bench));
}

#[tokio::test(start_paused = true)]
async fn polls_that_fail_back_off_and_heed_a_rate_limit() {
    let bench = polling().await;
    let busy = || CallError::Transient(Fault::new("busy", "it is busy"));
    let limit = CallError::RateLimited { retry_after_ms: 40_000, scope: RateScope::Channel };
    bench.adapter.polls.lock().unwrap().extend([
        Poll::Say(PollError::Failed(busy())),
        Poll::Say(PollError::Failed(busy())),
        Poll::Say(PollError::Failed(limit)),
    ]);
    bench.wait(20_000).await;
    assert_eq!(times(&bench), [0, 1_000, 3_000]);
    let status = bench.workers.status().pollers[&CHANNEL.into()].clone();
    assert_eq!(
        (status.state, status.code.as_deref()),
        (PollerState::BackingOff, Some("rate_limited"))
    );
    bench.wait(24_000).await;
    assert_eq!(times(&bench)[3], 43_000);
}

#[tokio::test(start_paused = true)]
async fn an_adapter_that_does_not_poll_with_its_settings_rests_and_is_no_failure() {
    let bench = polling().await;
    let rest = || Poll::Say(PollError::Failed(CallError::Unsupported));
    bench.adapter.polls.lock().unwrap().extend([rest(), rest()]);
    bench.wait(10).await;
    let status = bench.workers.status().pollers[&CHANNEL.into()].clone();
    assert_eq!((status.state, status.code.as_deref()), (PollerState::Resting, Some("unsupported")));
    bench.wait(599_000).await;
    assert_eq!(times(&bench), [0, 300_000]);
}

#[tokio::test(start_paused = true)]
async fn refused_credentials_pause_the_poller_until_the_channel_is_resumed() {
    let bench = polling().await;
    let refused = CallError::Unauthorized(Fault::new("401", "bad token"));
    bench.adapter.polls.lock().unwrap().push_back(Poll::Say(PollError::Failed(refused)));
    bench.wait(600_000).await;
    assert_eq!(times(&bench), [0]);
    assert_eq!(bench.workers.status().pollers[&CHANNEL.into()].state, PollerState::Paused);
    let resume = Command::SwitchChannel { channel: CHANNEL.into(), switch: ChannelSwitch::Resume };
    operate(bench.workers.hub(), resume).await.unwrap();
    bench.wait(10).await;
    assert_eq!(times(&bench).len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_lost_cursor_is_forgotten_and_told_as_a_gap() {
    let bench = polling().await;
    let lost = PollError::CursorLost(Fault::new("gone", "it forgot"));
    bench.adapter.polls.lock().unwrap().extend([batch(&["m1"], "c1"), Poll::Say(lost)]);
    bench.wait(10).await;
    let asked: Vec<_> =
        bench.adapter.polled.lock().unwrap().iter().map(|(_, cursor)| cursor.clone()).collect();
    assert_eq!(asked, [None, Some("c1".to_owned()), None]);
    assert_eq!(cursor(&bench).await, None);
    assert_eq!(bench.workers.status().events[0].code, "poll_gap");
}

#[tokio::test(start_paused = true)]
async fn somebody_else_on_the_account_is_told_and_tried_again_later() {
    let bench = polling().await;
    let conflict = || Poll::Say(PollError::Conflict(Fault::new("409", "another poller runs")));
    bench.adapter.polls.lock().unwrap().extend((0..3).map(|_| conflict()));
    bench.wait(2_000).await;
    let status = bench.workers.status().pollers[&CHANNEL.into()].clone();
    assert_eq!((status.state, status.since_ms), (PollerState::Conflict, 1_700_000_000_000));
    bench.wait(60_000).await;
    assert_eq!(bench.workers.status().pollers[&CHANNEL.into()].state, PollerState::Polling);
}

#[tokio::test(start_paused = true)]
async fn the_first_poll_after_a_start_stands_in_status_with_its_batch_or_its_gap() {
    let bench = polling().await;
    bench.adapter.polls.lock().unwrap().push_back(batch(&["m1"], "c1"));
    bench.wait(10).await;
    let status = bench.workers.status().pollers[&CHANNEL.into()].clone();
    assert_eq!((status.last_batch_at_ms, status.gaps), (Some(1_700_000_000_000), 0));
    let mut polls = facts();
    polls.offers.poll = true;
    let bench = bench.killed(Wishes { facts: Some(polls), ..Wishes::default() }).await;
    let lost = PollError::CursorLost(Fault::new("gone", "it forgot"));
    bench.adapter.polls.lock().unwrap().push_back(Poll::Say(lost));
    bench.workers.recover().await;
    bench.workers.start();
    bench.wait(10).await;
    let status = bench.workers.status().pollers[&CHANNEL.into()].clone();
    assert_eq!((status.last_batch_at_ms, status.gaps), (None, 1));
}
