//! What the platform pushes: taken with its proof and not without, the same each time it comes, and
//! whole or not at all. Files that are still at the platform.

use super::Found;
use crate::conformance::bench::{Bench, Memory};
use crate::conformance::fixture::{Answer, WebhookFixture};
use crate::conformance::platform::Says;
use crate::conformance::report::Case;
use crate::conformance::wanted::difference;
use crate::lifecycle::files::FileAccess;
use crate::lifecycle::message::{Attachment, AttachmentSource, InboundEvent};
use crate::lifecycle::outcome::CallEnd;
use crate::sandbox::{StopSignal, WebhookReply, WebhookRequest};

pub(super) async fn run(bench: &Bench, found: &mut Vec<Found>) {
    let offers = bench.adapter.manifest().offers;
    if offers.webhook {
        found.push(("what is pushed comes in as what it is", pushed(bench).await));
        found.push(("what is pushed without its proof is refused", unproven(bench).await));
        found.push(("what is delivered again has the same names", redelivered(bench).await));
        found.push(("200 is answered only with every event", whole(bench).await));
        found.push(("half a request is refused", half(bench).await));
        if bench.fixture.webhooks.iter().any(|it| it.own) {
            found.push(("the bot's own pushed messages start nothing", own(bench).await));
        }
    }
    if offers.files {
        found.push(("a file at the platform is fetched", files(bench).await));
    }
}

/// Hands a request to the adapter, and gives its reply.
pub(super) async fn push(
    bench: &Bench,
    case: &mut Case,
    memory: &Memory,
    webhook: &WebhookFixture,
    ended_at: Option<u32>,
) -> Result<WebhookReply, String> {
    let channel = match ended_at {
        None => bench.whole(memory).await,
        Some(at) => bench.ended(memory, at).await,
    };
    let channel = channel.ok_or("the channel is refused, which was admitted before")?;
    let request = WebhookRequest {
        method: webhook.method.clone(),
        path: webhook.path.clone(),
        query: webhook.query.clone(),
        headers: webhook
            .headers
            .iter()
            .map(|(name, value)| (name.to_ascii_lowercase(), value.clone()))
            .collect(),
        body: webhook.body.clone().into_bytes(),
    };
    let call = channel.webhook(request, StopSignal::never()).await;
    case.used(&call.usage);
    memory.commit(&call.state);
    match call.end {
        CallEnd::Answered(reply) => Ok(reply),
        CallEnd::Trapped(words) => Err(format!("it trapped: {words}")),
        other => Err(format!("{other:?}")),
    }
}

fn taken(reply: &WebhookReply) -> bool {
    (200..300).contains(&reply.status)
}

/// Those of the fixture; where there are none, that is what is wrong.
fn recorded<'b>(bench: &'b Bench, case: &mut Case) -> &'b [WebhookFixture] {
    if bench.fixture.webhooks.is_empty() {
        case.broken(
            "the adapter exports `webhook`, and the fixture has no `[[webhook]]`: add what the \
             platform pushes",
        );
    }
    &bench.fixture.webhooks
}

async fn pushed(bench: &Bench) -> Case {
    let mut case = Case::default();
    for webhook in recorded(bench, &mut case) {
        bench.play(bench.delivered());
        let name = &webhook.name;
        match push(bench, &mut case, &Memory::default(), webhook, None).await {
            Err(why) => case.broken(format!("\"{name}\": {why}")),
            Ok(reply) => {
                case.expect(reply.status == webhook.status, || {
                    let (wanted, seen) = (webhook.status, reply.status);
                    format!("\"{name}\": {wanted} is expected, and {seen} is answered")
                });
                if let Some(why) = difference(&webhook.events, &reply.events) {
                    case.broken(format!("\"{name}\": {why}"));
                }
            }
        }
    }
    case
}

async fn unproven(bench: &Bench) -> Case {
    let mut case = Case::default();
    let memory = Memory::default();
    let proven: Vec<_> = recorded(bench, &mut case)
        .iter()
        .filter(|webhook| !webhook.proof.is_empty() && webhook.status < 300)
        .collect();
    if proven.is_empty() && !bench.fixture.webhooks.iter().all(|it| it.unproven) {
        case.broken(
            "no `[[webhook]]` of the fixture names the headers that prove where it comes from: \
             write them as `proof = [\"x-signature\"]`; a webhook that anybody may call is none",
        );
    }
    for webhook in proven {
        let mut forged: Vec<(String, WebhookFixture)> = Vec::new();
        for header in &webhook.proof {
            let mut without = webhook.clone();
            without.headers.remove(header);
            forged.push((format!("without `{header}`"), without));
            let mut altered = webhook.clone();
            if let Some(value) = altered.headers.get_mut(header) {
                *value = alter(value);
            }
            forged.push((format!("with another `{header}`"), altered));
            let mut empty = webhook.clone();
            empty.headers.insert(header.clone(), String::new());
            forged.push((format!("with an empty `{header}`"), empty));
        }
        if webhook.body_is_signed {
            let mut body = webhook.clone();
            body.body.push(' ');
            forged.push(("with another body".to_owned(), body));
        }
        for (how, forged) in forged {
            bench.play(bench.delivered());
            let name = &webhook.name;
            match push(bench, &mut case, &memory, &forged, None).await {
                Err(why) => case.broken(format!("\"{name}\" {how}: {why}")),
                Ok(reply) => case.expect(!taken(&reply) && reply.events.is_empty(), || {
                    let status = reply.status;
                    format!("\"{name}\" {how} is answered with {status}: anybody could forge it")
                }),
            }
        }
    }
    case
}

/// Another text of the same length and letters.
fn alter(value: &str) -> String {
    let swap = |letter: char| match letter {
        '0' => '1',
        'a'..='y' | 'A'..='Y' | '1'..='8' => char::from_u32(letter as u32 + 1).unwrap_or('x'),
        _ => '0',
    };
    let last = value.char_indices().rev().find(|(_, letter)| letter.is_ascii_alphanumeric());
    match last {
        Some((at, letter)) => format!("{}{}{}", &value[..at], swap(letter), &value[at + 1..]),
        None => format!("{value}0"),
    }
}

async fn redelivered(bench: &Bench) -> Case {
    let mut case = Case::default();
    for webhook in recorded(bench, &mut case) {
        let memory = Memory::default();
        let mut names = Vec::new();
        for _ in 0..2 {
            bench.play(bench.delivered());
            if let Ok(reply) = push(bench, &mut case, &memory, webhook, None).await {
                names.push(reply.events.iter().filter_map(name_of).collect::<Vec<_>>());
            }
        }
        let name = &webhook.name;
        case.expect(names.len() < 2 || names[0] == names[1], || {
            format!(
                "\"{name}\" comes again under other names than before ({} and {}): it would be \
                 answered twice",
                names[0].join(", "),
                names[1].join(", ")
            )
        });
    }
    case
}

/// By what the host knows an event again.
pub(super) fn name_of(event: &InboundEvent) -> Option<String> {
    let (place, id) = match event {
        InboundEvent::Message(it) | InboundEvent::Edited(it) => {
            (it.conversation.clone(), it.external_id.clone())
        }
        InboundEvent::Deleted(it) => (it.conversation.clone(), it.external_id.clone()),
        InboundEvent::Action(it) => (it.conversation.clone(), it.external_id.clone()),
        InboundEvent::Abort(it) => (it.conversation.clone(), it.external_id.clone()),
        InboundEvent::Other(it) => {
            (it.conversation.clone().unwrap_or_default(), it.external_id.clone())
        }
        InboundEvent::Receipt(_) => return None,
    };
    Some(format!("{place}/{id}"))
}

/// Every question on the way fails once: the adapter refuses, or has all of its events all the same.
async fn whole(bench: &Bench) -> Case {
    let mut case = Case::default();
    let unavailable = Answer { status: 500, ..Answer::default() };
    for webhook in recorded(bench, &mut case).iter().filter(|it| !it.events.is_empty()) {
        bench.play(bench.delivered());
        let _ = push(bench, &mut case, &Memory::default(), webhook, None).await;
        let asked = bench.platform.seen().len();
        for at in 1..=u32::try_from(asked).unwrap_or(u32::MAX) {
            for how in [Says::Nothing, Says::This(unavailable.clone())] {
                bench.play_with(bench.delivered(), &[], Some((at, how)));
                let reply = push(bench, &mut case, &Memory::default(), webhook, None).await;
                let Ok(reply) = reply else { continue };
                let (wanted, seen) = (webhook.events.len(), reply.events.len());
                case.expect(!taken(&reply) || seen == wanted, || {
                    let name = &webhook.name;
                    format!(
                        "\"{name}\": request {at} of the call failed, and {} is answered with \
                         {seen} of {wanted} events: the platform would not push the rest again",
                        reply.status
                    )
                });
            }
        }
    }
    case
}

async fn half(bench: &Bench) -> Case {
    let mut case = Case::default();
    for webhook in recorded(bench, &mut case).iter().filter(|it| it.body.len() > 1) {
        let mut cut = webhook.clone();
        let middle = (0..=cut.body.len() / 2).rev().find(|at| cut.body.is_char_boundary(*at));
        cut.body.truncate(middle.unwrap_or(0));
        bench.play(bench.delivered());
        let name = &webhook.name;
        match push(bench, &mut case, &Memory::default(), &cut, None).await {
            Err(why) => case.broken(format!("half of \"{name}\": {why}")),
            Ok(reply) => case.expect(!taken(&reply) && reply.events.is_empty(), || {
                let status = reply.status;
                format!("half of \"{name}\" is answered with {status}: the message is lost")
            }),
        }
    }
    case
}

async fn own(bench: &Bench) -> Case {
    let mut case = Case::default();
    for webhook in bench.fixture.webhooks.iter().filter(|it| it.own) {
        bench.play(bench.delivered());
        let name = &webhook.name;
        match push(bench, &mut case, &Memory::default(), webhook, None).await {
            Err(why) => case.broken(format!("\"{name}\": {why}")),
            Ok(reply) => case.expect(!reply.events.iter().any(InboundEvent::wakes), || {
                format!("\"{name}\" is the bot's own and starts a turn: it would answer itself")
            }),
        }
    }
    case
}

async fn files(bench: &Bench) -> Case {
    let mut case = Case::default();
    if bench.fixture.files.is_empty() {
        case.broken("the adapter exports `files`, and the fixture has no `[[file]]`: add one");
    }
    for file in &bench.fixture.files {
        let memory = Memory::default();
        bench.play_with(bench.delivered(), &file.exchanges, None);
        let Some(channel) = bench.whole(&memory).await else { continue };
        let attachment = Attachment {
            name: None,
            media_type: file.media_type.clone(),
            size_bytes: None,
            source: AttachmentSource::Remote(file.reference.clone()),
            access: FileAccess::default(),
        };
        let place = bench.message(1, "").place;
        let call = channel.download(place, attachment, StopSignal::never()).await;
        case.used(&call.usage);
        let name = &file.name;
        match call.end {
            CallEnd::Answered(Ok(blob)) => match bench.files.bytes(blob) {
                Ok(bytes) => case.expect(bytes == file.content.as_bytes(), || {
                    format!("\"{name}\" holds something else than the platform's bytes")
                }),
                Err(error) => case.broken(format!("\"{name}\" cannot be read: {error}")),
            },
            other => case.broken(format!("\"{name}\" is not fetched: {other:?}")),
        }
    }
    case
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_forged_proof_differs_and_looks_the_same() {
        for value in ["sha256=00ff", "v1,abc=", "9", "z", "=="] {
            let forged = alter(value);
            assert_ne!(forged, value);
        }
        assert_eq!(alter("v1,abc="), "v1,abd=");
        assert_eq!(alter("a9"), "a0");
    }
}
