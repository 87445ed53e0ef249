//! What the platform says to a message, and what the adapter makes of it. The wire decides: a
//! message is delivered by a whole 2xx answer, and unknown where a request left without any.

use super::Found;
use crate::conformance::bench::{Bench, Memory};
use crate::conformance::fixture::{Answer, Exchange, LookupWord, OutcomeWord, RateLimited};
use crate::conformance::platform::Says;
use crate::conformance::report::Case;
use crate::conformance::wanted::word;
use crate::lifecycle::outcome::{CallEnd, Lookup, SendError};
use crate::sandbox::StopSignal;

pub(super) async fn run(bench: &Bench, found: &mut Vec<Found>) {
    if bench.adapter.manifest().declares_send() {
        answers(bench, found).await;
    }
    if bench.adapter.manifest().offers.reconcile {
        found.push(("a message of unknown outcome is found again, or not", lookups(bench).await));
    }
}

async fn answers(bench: &Bench, found: &mut Vec<Found>) {
    let send = &bench.fixture.send;
    found.push((
        "an answer that never came is unknown, and nothing is sent again in that call",
        unanswered(bench).await,
    ));
    found.push(("an answer that nobody understands is not called delivered", odd(bench).await));
    if let Some(limit) = &send.rate_limited {
        let case = rate_limited(bench, limit).await;
        found.push(("a rate limit is heeded for as long as it asks", case));
    }
    if let Some(answer) = &send.unauthorized {
        let case = says(bench, answer, OutcomeWord::Unauthorized).await;
        found.push(("refused credentials are said to be so", case));
    }
    if let Some(answer) = &send.rejected {
        let case = says(bench, answer, OutcomeWord::Rejected).await;
        found.push(("a refused message is said to be so", case));
    }
    found.push(("a server's fault is not called delivered", fault(bench).await));
    if !send.other.is_empty() {
        found.push(("what else the platform says is understood", others(bench).await));
    }
}

async fn unanswered(bench: &Bench) -> Case {
    let mut case = Case::default();
    bench.play(Says::Nothing);
    let sent = bench.send(&mut case, &Memory::default(), bench.message(1, "hello")).await;
    match sent.answer() {
        Err(why) => case.broken(why),
        Ok(answer) => case.expect(word(answer) == OutcomeWord::Unknown, || {
            format!("a request left and nobody answered, and the adapter says {answer:?}")
        }),
    }
    let sends = sent.sends().len();
    case.expect(sends == 1, || {
        format!(
            "{sends} messages were sent in one call: what may have arrived is never sent again \
             blindly; the host settles it"
        )
    });
    case
}

async fn odd(bench: &Bench) -> Case {
    let mut case = Case::default();
    let send = &bench.fixture.send;
    let taken = send.delivered.clone().unwrap_or_default();
    let is_named = taken.body.contains(&send.platform_id);
    for body in ["", "<html>moment please</html>", "{", "null", "[]", "{}"] {
        if body == taken.body {
            continue;
        }
        bench.play(Says::This(Answer { body: body.to_owned(), ..taken.clone() }));
        let sent = bench.send(&mut case, &Memory::default(), bench.message(1, "hello")).await;
        match sent.answer() {
            Err(why) => case.broken(format!("the answer {body:?}: {why}")),
            // Where the platform names its messages, an answer without a name is none of its own;
            // where the status says all, the body may be anything.
            Ok(Ok(_)) => case.expect(!is_named, || {
                format!("the answer {body:?} names no message, and the adapter says delivered")
            }),
            Ok(Err(_)) => {}
        }
    }
    case
}

async fn rate_limited(bench: &Bench, limit: &RateLimited) -> Case {
    let mut case = Case::default();
    bench.play(Says::This(limit.answer()));
    let sent = bench.send(&mut case, &Memory::default(), bench.message(1, "hello")).await;
    match sent.answer() {
        Err(why) => case.broken(why),
        Ok(Err(SendError::RateLimited { retry_after_ms, .. })) => {
            let asked = limit.retry_after_ms;
            case.expect(*retry_after_ms >= asked, || {
                format!("the platform asks for {asked} ms, and the adapter for {retry_after_ms}")
            });
        }
        Ok(other) => case.broken(format!(
            "the platform asks to wait, and the adapter says {other:?}: the host would send too \
             early, or charge an attempt"
        )),
    }
    let sends = sent.sends().len();
    case.expect(sends == 1, || format!("{sends} messages were sent in one call, and not one"));
    case
}

async fn says(bench: &Bench, answer: &Answer, wanted: OutcomeWord) -> Case {
    let mut case = Case::default();
    bench.play(Says::This(answer.clone()));
    let sent = bench.send(&mut case, &Memory::default(), bench.message(1, "hello")).await;
    match sent.answer() {
        Err(why) => case.broken(why),
        Ok(seen) => case.expect(word(seen) == wanted, || {
            format!("{wanted:?} is expected, and the adapter says {seen:?}")
        }),
    }
    case
}

async fn fault(bench: &Bench) -> Case {
    let mut case = Case::default();
    for status in [500, 502, 503, 504] {
        let answer = Answer { status, body: "Bad Gateway".to_owned(), ..Answer::default() };
        bench.play(Says::This(answer));
        let sent = bench.send(&mut case, &Memory::default(), bench.message(1, "hello")).await;
        match sent.answer() {
            Err(why) => case.broken(format!("{status}: {why}")),
            Ok(answer) => case.expect(word(answer) != OutcomeWord::Delivered, || {
                format!("the platform answered {status}, and the adapter says delivered")
            }),
        }
    }
    case
}

async fn others(bench: &Bench) -> Case {
    let mut case = Case::default();
    for other in &bench.fixture.send.other {
        bench.play(Says::This(other.answer()));
        let sent = bench.send(&mut case, &Memory::default(), bench.message(1, "hello")).await;
        let name = &other.name;
        match sent.answer() {
            Err(why) => case.broken(format!("\"{name}\": {why}")),
            Ok(answer) => case.expect(word(answer) == other.outcome, || {
                let wanted = other.outcome;
                format!("\"{name}\": {wanted:?} is expected, and the adapter says {answer:?}")
            }),
        }
    }
    case
}

async fn lookups(bench: &Bench) -> Case {
    let mut case = Case::default();
    let memory = Memory::default();
    for wanted in [LookupWord::Found, LookupWord::Absent] {
        let recorded = bench.fixture.lookups.iter().any(|lookup| lookup.expect == wanted);
        case.expect(recorded, || {
            format!(
                "the adapter exports `reconcile`, and the fixture has no `[[reconcile]]` that \
                 expects {wanted:?}: add what the platform says then"
            )
        });
    }
    for lookup in &bench.fixture.lookups {
        let message = bench.message(1, "hello");
        let about = |exchange: &Exchange| exchange.about(message.delivery_id);
        let exchanges: Vec<Exchange> = lookup.exchanges.iter().map(about).collect();
        bench.play_with(bench.delivered(), &exchanges, None);
        let Some(channel) = bench.whole(&memory).await else { continue };
        let since_ms = bench.fixture.channel.now_ms.saturating_sub(60_000);
        let call = channel.find(message, since_ms, StopSignal::never()).await;
        case.used(&call.usage);
        let (name, wanted) = (&lookup.name, lookup.expect);
        let seen = match call.end {
            CallEnd::Answered(Ok(Lookup::Found(_))) => Ok(LookupWord::Found),
            CallEnd::Answered(Ok(Lookup::Absent)) => Ok(LookupWord::Absent),
            CallEnd::Answered(Ok(Lookup::Undecided(_))) => Ok(LookupWord::Undecided),
            other => Err(format!("{other:?}")),
        };
        case.expect(seen.as_ref() == Ok(&wanted), || {
            format!("\"{name}\": {wanted:?} is expected, and the adapter says {seen:?}")
        });
    }
    case
}
