//! Calls that are cancelled at each point at which they wait: nothing panics, no permit is lost,
//! and the ledger says what left.

use std::future::Future as _;
use std::task::Poll;
use std::time::Duration;

use super::*;
use crate::lifecycle::outcome::{Outcome, judge};

/// Everything that a call can wait for: a permit, chance, the state, two requests, their answers
/// byte by byte.
const SCRIPT: &str = "!random 8\n!count n\n!read\n!state key 100\n!prepare\n!send";
/// More polls than the call has.
const POLLS_MAX: u32 = 2_000;

async fn rig() -> (Peer, Channel, Engine) {
    let slow = Act::Drip(answer("200 OK", "", br#"{"id":"p"}"#), Duration::from_micros(200));
    let (peer, engine) = (Peer::start(vec![slow]).await, engine());
    let channel = script_of(&engine, &peer, json!({}), roomy()).await;
    (peer, channel, engine)
}

fn assert_no_permit_is_lost(channel: &Channel, engine: &Engine, at: u32) {
    let runner = &engine.0.runner;
    assert_eq!(runner.permits.available_permits(), 256, "the engine's, cancelled at {at}");
    assert!(channel.is_idle(), "the channel's, cancelled at {at}");
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    assert!(runner.lanes.is_idle(processors), "a turn, cancelled at {at}");
}

#[tokio::test]
async fn a_call_that_is_dropped_at_any_of_its_polls_leaves_no_permit_and_no_panic() {
    let (_peer, channel, engine) = rig().await;
    let mut points = 0;
    for at in 0..POLLS_MAX {
        let mut call = Box::pin(send(&channel, SCRIPT));
        let mut polls = 0;
        // Dropped instead of its poll number `at`.
        let ended = std::future::poll_fn(|cx| {
            if polls == at {
                return Poll::Ready(None);
            }
            polls += 1;
            call.as_mut().poll(cx).map(Some)
        })
        .await;
        drop(call);
        assert_no_permit_is_lost(&channel, &engine, at);
        if let Some(call) = ended {
            assert!(matches!(call.end, CallEnd::Answered(Ok(_))), "{:?}", call.end);
            points = at;
            break;
        }
    }
    println!("dropped at each of {points} polls");
    assert!((10..POLLS_MAX).contains(&points), "{points} polls");
    assert!(matches!(send(&channel, "after").await.end, CallEnd::Answered(Ok(_))));
}

#[tokio::test]
async fn a_call_that_is_stopped_at_any_of_its_polls_is_judged_by_what_left() {
    let (peer, channel, engine) = rig().await;
    let (mut not_sent, mut unknown, mut delivered, mut begun) = (0, 0, 0, 0);
    for at in 0..POLLS_MAX {
        let (handle, signal) = stop_pair();
        let mut call = Box::pin(channel.send(DeliveryKind::Final, message(SCRIPT), signal));
        let mut polls = 0;
        let call = std::future::poll_fn(|cx| {
            if polls == at {
                handle.stop();
            }
            polls += 1;
            call.as_mut().poll(cx)
        })
        .await;
        assert_no_permit_is_lost(&channel, &engine, at);
        if !matches!(call.end, CallEnd::Answered(_)) {
            assert_eq!(call.end, CallEnd::Cancelled, "stopped at {at}");
            assert!(call.state.writes.is_empty(), "stopped at {at}");
        }
        // What the peer sees may be of an earlier call, and never of one that says it sent nothing.
        begun += call.ledger.send_begun;
        assert!(sends(&peer) <= begun, "stopped at {at}: {:?}", call.ledger);
        match judge(call.end, &call.ledger).outcome {
            Outcome::NotSent(_) => {
                not_sent += 1;
                assert_eq!(call.ledger.send_begun, 0, "stopped at {at}");
            }
            Outcome::Unknown(_) => {
                unknown += 1;
                assert_eq!(call.ledger.send_begun, 1, "stopped at {at}");
            }
            _ => delivered += 1,
        }
        if polls <= at {
            break;
        }
    }
    println!("stopped: {not_sent} not sent, {unknown} unknown, {delivered} ended before");
    assert!(not_sent > 3 && unknown > 0 && delivered > 0);
}

fn sends(peer: &Peer) -> u32 {
    let seen = peer.seen();
    seen.iter().filter(|request| request.starts_with("POST /send ")).count().try_into().unwrap()
}
