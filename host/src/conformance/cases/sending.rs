//! A message goes out: once, whole, under its own name, whatever its text is.

use super::Found;
use crate::conformance::bench::{Bench, Memory, Sent};
use crate::conformance::fixture::OutcomeWord;
use crate::conformance::platform::Says;
use crate::conformance::report::Case;
use crate::conformance::wanted::{word, words};
use crate::lifecycle::message::{
    Attachment, AttachmentSource, DeliveryKind, OutboundMessage, TextFormat,
};
use crate::lifecycle::outcome::SendError;
use crate::lifecycle::split::{TextLimit, TextUnit, split};
use crate::sandbox::{Activity, StopSignal};

/// What is looked for in what was sent: two units of UTF-16, four bytes.
const MARK: char = '🚀';

/// How long a text is tried where the manifest knows no longest one, in characters.
const LONG_CHARS: usize = 20_000;

/// What people and agents write that has broken a bot somewhere.
const HOSTILE: [&str; 12] = [
    "\u{0}",
    "\u{1b}[31mred",
    "line\r\nHost: evil.example\r\n\r\n",
    "{setting.server} {{ }} {0} ${HOME}",
    "<script>alert(1)</script> & <b>bold",
    "\"}],\"x\":[{\"",
    "\u{202e}txet desrever\u{202c}",
    "../../etc/passwd%00%0a",
    "a\u{300}\u{301}\u{302}\u{303}\u{304}\u{305}\u{306}\u{307}",
    "👩‍👩‍👧‍👦🏽 \u{feff}\u{200b}",
    "*_`[unclosed](",
    " ",
];

pub(super) async fn run(bench: &Bench, found: &mut Vec<Found>) {
    found.push(("a message is sent once, and its receipt names it", once(bench).await));
    found.push(("a message is sent under its delivery id", named(bench).await));
    found.push(("the same delivery again is the same request again", again(bench).await));
    found.push(("a long reply arrives whole, in parts, no character cut", long(bench).await));
    found.push(("hostile text neither breaks a request nor the adapter", hostile(bench).await));
    if bench.adapter.manifest().limits.files > 0 {
        found.push(("a file goes out with what is said of it", file(bench).await));
    }
    if bench.adapter.manifest().offers.progress {
        found.push(("progress is sent as carefully as the reply", progress(bench).await));
    }
}

/// Holds what a delivered message has to be.
fn arrived(bench: &Bench, case: &mut Case, message: &OutboundMessage, sent: &Sent) {
    match sent.answer() {
        Err(why) => case.broken(why),
        Ok(answer) => {
            case.expect(word(answer) == OutcomeWord::Delivered, || {
                format!("the platform took it, and the adapter says {answer:?}")
            });
            let wanted = bench.platform_id(message);
            if let Ok(receipt) = answer {
                case.expect(receipt.platform_id == wanted, || {
                    let named = &receipt.platform_id;
                    format!("the receipt names `{named}`; the platform called it `{wanted}`")
                });
            }
        }
    }
    let sends = sent.sends().len();
    // Without a `send` route there is no wire to look at.
    let wanted = usize::from(bench.adapter.manifest().declares_send());
    case.expect(sends == wanted, || {
        format!("{sends} messages were sent in one call, and not {wanted}")
    });
}

async fn once(bench: &Bench) -> Case {
    let mut case = Case::default();
    bench.play(bench.delivered());
    let message = bench.message(1, "hello");
    let sent = bench.send(&mut case, &Memory::default(), message.clone()).await;
    arrived(bench, &mut case, &message, &sent);
    case
}

/// Where the platform drops a repeated id, the id must go along.
async fn named(bench: &Bench) -> Case {
    let mut case = Case::default();
    let claims = bench.is_idempotent();
    let (memory, mut requests) = (Memory::default(), Vec::new());
    for number in [1, 2] {
        bench.play(bench.delivered());
        let message = bench.message(number, "hello");
        let id = message.delivery_id.to_string();
        let sent = bench.send(&mut case, &memory, message).await;
        for seen in sent.sends() {
            match words(seen) {
                Ok(words) => {
                    case.expect(!claims || words.contains(&id), || {
                        "the manifest says that the platform drops a repeated `delivery-id`, and \
                         the request carries none: send it, or declare `idempotency` as `none`"
                            .to_owned()
                    });
                    requests.push(words);
                }
                Err(why) => case.broken(why),
            }
        }
    }
    if claims && let [first, second] = &requests[..] {
        case.expect(first != second, || {
            "two deliveries make the same request: the platform would drop the second".to_owned()
        });
    }
    case
}

async fn again(bench: &Bench) -> Case {
    let mut case = Case::default();
    let (memory, mut requests) = (Memory::default(), Vec::new());
    for attempt in [1, 2] {
        bench.play(bench.delivered());
        let message = OutboundMessage { attempt, ..bench.message(1, "hello") };
        let sent = bench.send(&mut case, &memory, message.clone()).await;
        arrived(bench, &mut case, &message, &sent);
        requests.extend(sent.sends().first().map(|seen| (*seen).clone()));
    }
    if let [first, second] = &requests[..]
        && let Some(why) = bench.told_apart(first, second)
    {
        case.broken(format!("the second attempt {why}"));
    }
    case
}

async fn long(bench: &Bench) -> Case {
    let mut case = Case::default();
    let limit = bench.adapter.manifest().limits.text;
    let limit = limit.map_or(
        TextLimit { most: u32::try_from(LONG_CHARS).unwrap_or(u32::MAX), unit: TextUnit::Chars },
        |limit| TextLimit { most: limit.most, unit: unit(limit.unit) },
    );
    // Two and a half messages of pairs: cut anywhere but between them, one is lost.
    let text = MARK.to_string().repeat(limit.most as usize * 5 / 4);
    let parts = split(&text, limit);
    let count = u32::try_from(parts.len()).unwrap_or(u32::MAX);
    let memory = Memory::default();
    for (at, part) in (1..).zip(&parts) {
        bench.play(bench.delivered());
        let message =
            OutboundMessage { part: at, parts: count, ..bench.message(i64::from(at), part) };
        let sent = bench.send(&mut case, &memory, message.clone()).await;
        arrived(bench, &mut case, &message, &sent);
        for seen in sent.sends() {
            let wanted = part.chars().filter(|letter| *letter == MARK).count();
            match words(seen) {
                Err(why) => case.broken(format!("part {at}: {why}")),
                Ok(words) => {
                    let there = words.chars().filter(|letter| *letter == MARK).count();
                    case.expect(there >= wanted, || {
                        format!("part {at} has {wanted} characters, and {there} were sent")
                    });
                }
            }
        }
    }
    case
}

fn unit(unit: crate::sandbox::TextUnit) -> TextUnit {
    match unit {
        crate::sandbox::TextUnit::Bytes => TextUnit::Bytes,
        crate::sandbox::TextUnit::Utf16Units => TextUnit::Utf16Units,
        crate::sandbox::TextUnit::Chars => TextUnit::Chars,
    }
}

async fn hostile(bench: &Bench) -> Case {
    let mut case = Case::default();
    let memory = Memory::default();
    for (at, text) in (1..).zip(HOSTILE) {
        for format in [TextFormat::Plain, TextFormat::Markdown] {
            bench.play(bench.delivered());
            let message = OutboundMessage { format, ..bench.message(at, text) };
            let sent = bench.send(&mut case, &memory, message).await;
            match sent.answer() {
                Err(why) => case.broken(format!("{text:?}: {why}")),
                Ok(Err(error)) if sent.sends().is_empty() => case
                    .expect(matches!(error, SendError::Rejected(_)), || {
                        format!("{text:?} was not sent, and the adapter says {error:?}")
                    }),
                Ok(_) => {}
            }
            for seen in sent.sends() {
                if let Err(why) = words(seen) {
                    case.broken(format!("{text:?}: {why}"));
                }
            }
        }
    }
    case
}

async fn file(bench: &Bench) -> Case {
    let mut case = Case::default();
    bench.play(bench.delivered());
    let blob = match bench.files.put(b"what the file holds") {
        Ok(blob) => blob,
        Err(error) => {
            case.broken(format!("the suite cannot keep a file: {error}"));
            return case;
        }
    };
    let mut message = bench.message(1, "look");
    message.attachments = vec![Attachment {
        name: Some("notes.txt".to_owned()),
        media_type: "text/plain".to_owned(),
        size_bytes: Some(19),
        source: AttachmentSource::Blob(blob.to_string()),
        access: crate::lifecycle::files::FileAccess::default(),
    }];
    let sent = bench.send(&mut case, &Memory::default(), message).await;
    match sent.answer() {
        Err(why) => case.broken(why),
        Ok(answer) => case.expect(word(answer) == OutcomeWord::Delivered, || {
            format!("the platform took it, and the adapter says {answer:?}")
        }),
    }
    let left = sent.seen.iter().any(|seen| {
        let needle = b"what the file holds";
        seen.body.windows(needle.len()).any(|bytes| bytes == needle)
    });
    case.expect(left, || "the file's bytes are in no request".to_owned());
    case
}

async fn progress(bench: &Bench) -> Case {
    let mut case = Case::default();
    let memory = Memory::default();
    for kind in [DeliveryKind::Tool, DeliveryKind::Block] {
        bench.play(bench.delivered());
        let message = bench.message(1, "reading");
        let sent = bench.send_as(&mut case, &memory, kind, message, None).await;
        if let Err(why) = sent.answer() {
            case.broken(why);
        }
        let sends = sent.sends().len();
        case.expect(sends <= 1, || format!("{sends} messages were sent in one call"));
        bench.play(Says::Nothing);
        let message = bench.message(2, "reading");
        let sent = bench.send_as(&mut case, &memory, kind, message, None).await;
        if let Ok(answer) = sent.answer()
            && !sent.sends().is_empty()
        {
            case.expect(word(answer) == OutcomeWord::Unknown, || {
                format!("a request left and nobody answered, and the adapter says {answer:?}")
            });
        }
    }
    if let Some(channel) = bench.whole(&memory).await {
        for activity in [Activity::Seen, Activity::Typing, Activity::Idle] {
            bench.play(bench.delivered());
            let place = bench.message(1, "").place;
            let call = channel.indicate(place, activity, StopSignal::never()).await;
            case.used(&call.usage);
            if let crate::lifecycle::outcome::CallEnd::Trapped(words) = call.end {
                case.broken(format!("it trapped where it was to show {activity:?}: {words}"));
            }
        }
    }
    case
}
