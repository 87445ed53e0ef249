//! What the host fetches: all of it once, from where it left off.

use super::Found;
use super::receiving::name_of;
use crate::conformance::bench::{Bench, Memory};
use crate::conformance::fixture::{Answer, PollFixture};
use crate::conformance::platform::Says;
use crate::conformance::report::Case;
use crate::conformance::wanted::difference;
use crate::lifecycle::message::InboundEvent;
use crate::lifecycle::outcome::CallEnd;
use crate::sandbox::{Batch, StopSignal};

/// Short: the platform of the suite answers at once.
const WAIT_MS: u32 = 1_000;
const EVENTS_MAX: u32 = 100;

pub(super) async fn run(bench: &Bench, found: &mut Vec<Found>) {
    if !bench.adapter.manifest().offers.poll {
        return;
    }
    found.push(("what is polled comes in, and the cursor moves with it", polled(bench).await));
    found.push(("the same cursor gives the same again", repeated(bench).await));
    found.push(("a poll that fails moves no cursor", failed(bench).await));
    if bench.fixture.polls.iter().any(|it| it.own) {
        found.push(("the bot's own polled messages start nothing", own(bench).await));
    }
}

pub(super) async fn poll(
    bench: &Bench,
    case: &mut Case,
    memory: &Memory,
    fixture: &PollFixture,
    ended_at: Option<u32>,
) -> Result<Batch, String> {
    let channel = match ended_at {
        None => bench.whole(memory).await,
        Some(at) => bench.ended(memory, at).await,
    };
    let channel = channel.ok_or("the channel is refused, which was admitted before")?;
    let cursor = fixture.cursor.clone();
    let call = channel.poll(cursor, WAIT_MS, EVENTS_MAX, StopSignal::never()).await;
    case.used(&call.usage);
    memory.commit(&call.state);
    match call.end {
        CallEnd::Answered(Ok(batch)) => Ok(batch),
        CallEnd::Trapped(words) => Err(format!("it trapped: {words}")),
        other => Err(format!("{other:?}")),
    }
}

async fn polled(bench: &Bench) -> Case {
    let mut case = Case::default();
    let polls = &bench.fixture.polls;
    let asks = [
        (polls.iter().any(|it| it.cursor.is_none()), "the very first poll, without `cursor`"),
        (
            polls.iter().any(|it| it.cursor.is_some() && !it.events.is_empty()),
            "a poll that goes on from a `cursor` and brings events",
        ),
        (
            polls.iter().any(|it| it.cursor.is_some() && it.events.is_empty()),
            "a poll that goes on from a `cursor` and brings nothing",
        ),
    ];
    for (is_there, what) in asks {
        case.expect(is_there, || {
            format!("the adapter exports `poll`, and the fixture has no `[[poll]]` for {what}")
        });
    }
    for fixture in polls {
        bench.play_with(bench.delivered(), &fixture.exchanges, None);
        let name = &fixture.name;
        match poll(bench, &mut case, &Memory::default(), fixture, None).await {
            Err(why) => case.broken(format!("\"{name}\": {why}")),
            Ok(batch) => {
                if let Some(why) = difference(&fixture.events, &batch.events) {
                    case.broken(format!("\"{name}\": {why}"));
                }
                case.expect(batch.cursor == fixture.cursor_after, || {
                    format!(
                        "\"{name}\": the next poll goes on from `{}` and not from `{}`: messages \
                         would be lost, or come twice",
                        batch.cursor, fixture.cursor_after
                    )
                });
            }
        }
    }
    case
}

async fn repeated(bench: &Bench) -> Case {
    let mut case = Case::default();
    for fixture in &bench.fixture.polls {
        let memory = Memory::default();
        let mut names = Vec::new();
        for _ in 0..2 {
            bench.play_with(bench.delivered(), &fixture.exchanges, None);
            if let Ok(batch) = poll(bench, &mut case, &memory, fixture, None).await {
                names.push(batch.events.iter().filter_map(name_of).collect::<Vec<_>>());
            }
        }
        let name = &fixture.name;
        case.expect(names.len() < 2 || names[0] == names[1], || {
            format!(
                "\"{name}\" gives other events the second time: it depends on more than the \
                     cursor"
            )
        });
    }
    case
}

async fn failed(bench: &Bench) -> Case {
    let mut case = Case::default();
    for fixture in &bench.fixture.polls {
        bench.play_with(bench.delivered(), &fixture.exchanges, None);
        let _ = poll(bench, &mut case, &Memory::default(), fixture, None).await;
        let asked = u32::try_from(bench.platform.seen().len()).unwrap_or(u32::MAX);
        for at in 1..=asked {
            let unavailable = Answer { status: 500, ..Answer::default() };
            for how in [Says::Nothing, Says::This(unavailable)] {
                bench.play_with(bench.delivered(), &fixture.exchanges, Some((at, how)));
                let batch = poll(bench, &mut case, &Memory::default(), fixture, None).await;
                let Ok(batch) = batch else { continue };
                let (wanted, seen) = (fixture.events.len(), batch.events.len());
                let stayed = fixture.cursor.as_ref() == Some(&batch.cursor);
                case.expect(seen == wanted || stayed, || {
                    let name = &fixture.name;
                    format!(
                        "\"{name}\": request {at} of the call failed, {seen} of {wanted} events \
                         came, and the cursor moves: the rest is lost"
                    )
                });
            }
        }
    }
    case
}

async fn own(bench: &Bench) -> Case {
    let mut case = Case::default();
    for fixture in bench.fixture.polls.iter().filter(|it| it.own) {
        bench.play_with(bench.delivered(), &fixture.exchanges, None);
        let name = &fixture.name;
        match poll(bench, &mut case, &Memory::default(), fixture, None).await {
            Err(why) => case.broken(format!("\"{name}\": {why}")),
            Ok(batch) => case.expect(!batch.events.iter().any(InboundEvent::wakes), || {
                format!(
                    "\"{name}\" has the bot's own words, which start a turn: it would answer \
                         itself"
                )
            }),
        }
    }
    case
}
