//! The host dies at every host call of the adapter, and the call is made again: the same comes of
//! it, and nothing is sent twice that the platform cannot know again.

use super::Found;
use super::polling::poll;
use super::receiving::{name_of, push};
use crate::conformance::bench::{Bench, Memory};
use crate::conformance::fixture::OutcomeWord;
use crate::conformance::report::Case;
use crate::conformance::wanted::word;
use crate::lifecycle::message::{DeliveryKind, OutboundMessage};

/// Host calls of one call that are tried: a sound adapter makes a handful.
const PLACES_MAX: u32 = 128;

pub(super) async fn run(bench: &Bench, found: &mut Vec<Found>) {
    found.push(("a send survives the host's death at every host call", sends(bench).await));
    if bench.adapter.manifest().offers.webhook {
        found.push(("a pushed message survives the host's death too", pushes(bench).await));
    }
    if bench.adapter.manifest().offers.poll {
        found.push(("a poll survives the host's death too", polls(bench).await));
    }
}

async fn sends(bench: &Bench) -> Case {
    let mut case = Case::default();
    bench.play(bench.delivered());
    let whole = bench.send(&mut case, &Memory::default(), bench.message(1, "hello")).await;
    let Some(call) = &whole.call else { return case };
    let places = call.usage.host_calls.min(PLACES_MAX);
    for at in 1..=places {
        let memory = Memory::default();
        bench.play(bench.delivered());
        let message = bench.message(1, "hello");
        let kind = DeliveryKind::Final;
        let first = bench.send_as(&mut case, &memory, kind, message, Some(at)).await;
        case.expect(first.answer().is_err(), || {
            format!("the call was ended at its host call {at} and answered all the same")
        });
        bench.play(bench.delivered());
        let message = OutboundMessage { attempt: 2, ..bench.message(1, "hello") };
        let second = bench.send(&mut case, &memory, message).await;
        match second.answer() {
            Err(why) => case.broken(format!("after a death at host call {at}: {why}")),
            Ok(answer) => case.expect(word(answer) == OutcomeWord::Delivered, || {
                format!("after a death at host call {at} the adapter says {answer:?}")
            }),
        }
        if let (Some(before), Some(after)) = (first.sends().first(), second.sends().first())
            && let Some(why) = bench.told_apart(before, after)
        {
            case.broken(format!("after a death at host call {at} the message {why}"));
        }
    }
    case
}

async fn pushes(bench: &Bench) -> Case {
    let mut case = Case::default();
    for webhook in bench.fixture.webhooks.iter().filter(|it| !it.events.is_empty()) {
        bench.play(bench.delivered());
        let whole = push(bench, &mut case, &Memory::default(), webhook, None).await;
        let Ok(whole) = whole else { continue };
        let wanted: Vec<_> = whole.events.iter().filter_map(name_of).collect();
        for at in 1..=PLACES_MAX {
            let memory = Memory::default();
            bench.play(bench.delivered());
            if push(bench, &mut case, &memory, webhook, Some(at)).await.is_ok() {
                break;
            }
            bench.play(bench.delivered());
            let again = push(bench, &mut case, &memory, webhook, None).await;
            let seen: Option<Vec<_>> =
                again.ok().map(|reply| reply.events.iter().filter_map(name_of).collect());
            case.expect(seen.as_ref() == Some(&wanted), || {
                let name = &webhook.name;
                format!("\"{name}\", after a death at host call {at}, is not what it was: {seen:?}")
            });
        }
    }
    case
}

async fn polls(bench: &Bench) -> Case {
    let mut case = Case::default();
    for fixture in bench.fixture.polls.iter().filter(|it| !it.events.is_empty()) {
        bench.play_with(bench.delivered(), &fixture.exchanges, None);
        let Ok(whole) = poll(bench, &mut case, &Memory::default(), fixture, None).await else {
            continue;
        };
        for at in 1..=PLACES_MAX {
            let memory = Memory::default();
            bench.play_with(bench.delivered(), &fixture.exchanges, None);
            if poll(bench, &mut case, &memory, fixture, Some(at)).await.is_ok() {
                break;
            }
            bench.play_with(bench.delivered(), &fixture.exchanges, None);
            let again = poll(bench, &mut case, &memory, fixture, None).await;
            case.expect(again.as_ref() == Ok(&whole), || {
                let name = &fixture.name;
                format!("\"{name}\", after a death at host call {at}, is not what it was")
            });
        }
    }
    case
}
