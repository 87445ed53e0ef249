//! `[handler]`: what answers turns.
//!
//! It starts nothing: `crate::handler` does, from what is read here.

use url::Url;

use super::error::{Faults, shown};
use super::section::{Hint, Section};

/// What answers turns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HandlerKind {
    /// Built in: answers with the message's own text.
    Echo,
    /// A command per turn, started in the folder of the config file.
    Exec {
        /// The program and its arguments; never empty. No shell stands between.
        command: Vec<String>,
    },
    /// A POST per turn.
    Http {
        /// Where to.
        url: Url,
    },
}

/// All of `[handler]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HandlerConfig {
    /// What answers.
    pub kind: HandlerKind,
    /// `concurrency`: turns that are answered at once.
    pub concurrency: u32,
}

#[derive(Clone, Copy)]
enum Kind {
    Echo,
    Exec,
    Http,
}

const CONCURRENCY_DEFAULT: u32 = 16;
/// Each may be a process.
const CONCURRENCY_MAX: u32 = 4_096;
const COMMAND_WORDS_MAX: usize = 256;

const HINTS: &[Hint] = &[
    ("timeout", "the deadline of a try is handler_deadline in [lifecycle]"),
    ("args", "arguments follow the program in command = [\"python3\", \"agent.py\"]"),
];

/// Reads `[handler]`. Nothing where it is missing or wrong.
pub(super) fn read(mut from: Section<'_>, faults: &mut Faults<'_>) -> Option<HandlerConfig> {
    let kind = read_kind(&mut from, faults);
    let command = read_command(&mut from, faults);
    let url = read_url(&mut from, faults);
    let concurrency = from.number("concurrency", 1..=CONCURRENCY_MAX, faults);
    // What is set for another kind would not act.
    let (wants_command, wants_url) = match kind {
        None => (true, true),
        Some(Kind::Echo) => (false, false),
        Some(Kind::Exec) => (true, false),
        Some(Kind::Http) => (false, true),
    };
    for (key, wanted, of) in [("command", wants_command, "exec"), ("url", wants_url, "http")] {
        match from.key_span(key) {
            Some(span) if !wanted => {
                let sentence =
                    format!("{} acts only with kind = \"{of}\": leave it out", from.name(key));
                faults.add(&span, sentence);
            }
            None if wanted && kind.is_some() => {
                let sentence = format!("{} is missing: kind = \"{of}\" needs it", from.name(key));
                faults.add_missing(&from.span().clone(), sentence);
            }
            Some(_) | None => {}
        }
    }
    from.finish(HINTS, faults);
    let kind = match kind? {
        Kind::Echo => HandlerKind::Echo,
        Kind::Exec => HandlerKind::Exec { command: command? },
        Kind::Http => HandlerKind::Http { url: url? },
    };
    let concurrency = concurrency.map_or(CONCURRENCY_DEFAULT, |found| found.value);
    Some(HandlerConfig { kind, concurrency })
}

fn read_kind(from: &mut Section<'_>, faults: &mut Faults<'_>) -> Option<Kind> {
    let name = from.name("kind");
    if from.key_span("kind").is_none() {
        let sentence =
            format!("{name} is missing: what answers turns is \"echo\", \"exec\" or \"http\"");
        faults.add_missing(&from.span().clone(), sentence);
    }
    let text = from.text("kind", faults)?;
    match text.value {
        "echo" => Some(Kind::Echo),
        "exec" => Some(Kind::Exec),
        "http" => Some(Kind::Http),
        "pull" => {
            let sentence = format!(
                "{name} = \"pull\" is not served by this version: take \"exec\" or \"http\""
            );
            faults.add_wrong_word(&text.span, text.value, &[], sentence);
            None
        }
        other => {
            let sentence = format!(
                "{name} must be one of \"echo\", \"exec\", \"http\", not \"{}\"",
                shown(other)
            );
            faults.add_wrong_word(&text.span, other, &["echo", "exec", "http"], sentence);
            None
        }
    }
}

fn read_command(from: &mut Section<'_>, faults: &mut Faults<'_>) -> Option<Vec<String>> {
    let name = from.name("command");
    let list = from.texts("command", faults)?;
    let words: Vec<_> = list.value.into_iter().map(|word| word.value).collect();
    let right = !words.is_empty()
        && words.len() <= COMMAND_WORDS_MAX
        && !words[0].is_empty()
        && words.iter().all(|word| !word.contains('\0'));
    if !right {
        let sentence = format!(
            "{name} must be a program and its arguments, {COMMAND_WORDS_MAX} words at most, such \
             as [\"python3\", \"agent.py\"]"
        );
        faults.add(&list.span, sentence);
        return None;
    }
    Some(words)
}

fn read_url(from: &mut Section<'_>, faults: &mut Faults<'_>) -> Option<Url> {
    let name = from.name("url");
    let text = from.text("url", faults)?;
    let found = Url::parse(text.value).ok().filter(|url| {
        matches!(url.scheme(), "http" | "https") && url.host().is_some() && url.fragment().is_none()
    });
    if found.is_none() {
        // The address is not repeated: it may carry a password.
        faults.add(
            &text.span,
            format!("{name} must be an address, such as \"http://127.0.0.1:8000/turn\""),
        );
    }
    found
}
