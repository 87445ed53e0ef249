//! `[handler]`: what answers turns.
//!
//! It starts nothing: `crate::handler` does, from what is read here.

use std::ops::RangeInclusive;
use std::time::Duration;

use url::Url;

use super::error::{Faults, shown};
use super::section::{Hint, Section};
use crate::lifecycle::lease::LEASE_MS_MIN;

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
    /// Workers fetch turns.
    Pull(PullConfig),
}

/// What workers that fetch turns obey.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PullConfig {
    /// `lease`: how long a worker keeps a turn without a word, where it names no length itself.
    pub lease: Duration,
    /// `lease_max`: the longest that a worker may ask for.
    pub lease_max: Duration,
    /// `waiting_max`: workers that wait for a turn at once.
    pub waiting_max: u32,
}

impl Default for PullConfig {
    fn default() -> Self {
        Self {
            lease: Duration::from_secs(60),
            lease_max: Duration::from_secs(600),
            waiting_max: 256,
        }
    }
}

/// All of `[handler]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HandlerConfig {
    /// What answers.
    pub kind: HandlerKind,
    /// `concurrency`: turns that are answered at once.
    pub concurrency: u32,
    /// What one try may say.
    pub caps: HandlerCaps,
}

/// Caps on one try's output: over it, the try has failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HandlerCaps {
    /// `line_bytes`: one line, which is held in memory.
    pub line_bytes: u64,
    /// `output_bytes`: all output of one try.
    pub output_bytes: u64,
    /// `events`: events of one try, signs of life apart: each becomes a row.
    pub events: u32,
    /// `linger`: how long the agent may live on after the event that decided its try.
    pub linger: Duration,
    /// `stderr_lines`: lines of a command's error output that reach the log; the rest is counted.
    pub stderr_lines: u32,
    /// `stderr_line_bytes`: bytes of one such line; the rest of it is cut.
    pub stderr_line_bytes: u64,
}

impl Default for HandlerCaps {
    fn default() -> Self {
        Self {
            line_bytes: MIB,
            output_bytes: 8 * MIB,
            events: 10_000,
            linger: Duration::from_secs(5),
            stderr_lines: 200,
            stderr_line_bytes: 4 * KIB,
        }
    }
}

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;

#[derive(Clone, Copy)]
enum Kind {
    Echo,
    Exec,
    Http,
    Pull,
}

const CONCURRENCY_DEFAULT: u32 = 16;
/// Each may be a process.
const CONCURRENCY_MAX: u32 = 4_096;
const COMMAND_WORDS_MAX: usize = 256;
const LEASE: RangeInclusive<Duration> =
    Duration::from_millis(LEASE_MS_MIN)..=Duration::from_secs(86_400);
/// Half of the connections that the host takes: the other half is for platforms and operators.
const WAITING_MAX: u32 = 512;

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
    let pull = read_pull(&mut from, faults);
    let caps = read_caps(&mut from, kind, faults);
    // What is set for another kind would not act.
    let (wants_command, wants_url) = match kind {
        None => (true, true),
        Some(Kind::Echo | Kind::Pull) => (false, false),
        Some(Kind::Exec) => (true, false),
        Some(Kind::Http) => (false, true),
    };
    refuse_idle_keys(kind, &from, faults);
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
        Kind::Pull => HandlerKind::Pull(pull),
    };
    let concurrency = concurrency.map_or(CONCURRENCY_DEFAULT, |found| found.value);
    Some(HandlerConfig { kind, concurrency, caps })
}

fn read_caps(from: &mut Section<'_>, kind: Option<Kind>, faults: &mut Faults<'_>) -> HandlerCaps {
    let mut caps = HandlerCaps::default();
    let hour = Duration::from_secs(3_600);
    for (key, range, field) in [
        ("line_bytes", KIB..=64 * MIB, &mut caps.line_bytes),
        ("output_bytes", KIB..=256 * MIB, &mut caps.output_bytes),
        ("stderr_line_bytes", 64..=MIB, &mut caps.stderr_line_bytes),
    ] {
        *field = from.bytes(key, range, faults).map_or(*field, |found| found.value);
    }
    for (key, range, field) in [
        ("events", 1..=1_000_000, &mut caps.events),
        ("stderr_lines", 0..=100_000, &mut caps.stderr_lines),
    ] {
        *field = from.number(key, range, faults).map_or(*field, |found| found.value);
    }
    let linger = from.duration("linger", Duration::ZERO..=hour, faults);
    caps.linger = linger.map_or(caps.linger, |found| found.value);
    let (says, lives_on, is_process) = match kind {
        None | Some(Kind::Exec) => (true, true, true),
        Some(Kind::Echo) => (false, false, false),
        Some(Kind::Http) => (true, true, false),
        Some(Kind::Pull) => (true, false, false),
    };
    let (all, two) = ("\"exec\", \"http\" or \"pull\"", "\"exec\" or \"http\"");
    // What is set for another kind would not act.
    for (key, acts, of) in [
        ("line_bytes", says, all),
        ("output_bytes", says, all),
        ("events", says, all),
        ("linger", lives_on, two),
        ("stderr_lines", is_process, "\"exec\""),
        ("stderr_line_bytes", is_process, "\"exec\""),
    ] {
        if let Some(span) = from.key_span(key).filter(|_| !acts) {
            let sentence = format!("{} acts only with kind = {of}: leave it out", from.name(key));
            faults.add(&span, sentence);
        }
    }
    caps
}

fn read_kind(from: &mut Section<'_>, faults: &mut Faults<'_>) -> Option<Kind> {
    let name = from.name("kind");
    if from.key_span("kind").is_none() {
        let sentence = format!(
            "{name} is missing: what answers turns is \"echo\", \"exec\", \"http\" or \"pull\""
        );
        faults.add_missing(&from.span().clone(), sentence);
    }
    let text = from.text("kind", faults)?;
    match text.value {
        "echo" => Some(Kind::Echo),
        "exec" => Some(Kind::Exec),
        "http" => Some(Kind::Http),
        "pull" => Some(Kind::Pull),
        other => {
            let sentence = format!(
                "{name} must be one of \"echo\", \"exec\", \"http\", \"pull\", not \"{}\"",
                shown(other)
            );
            faults.add_wrong_word(&text.span, other, &["echo", "exec", "http", "pull"], sentence);
            None
        }
    }
}

/// Settings of another kind would not act.
fn refuse_idle_keys(kind: Option<Kind>, from: &Section<'_>, faults: &mut Faults<'_>) {
    let (idle, why): (&[&str], &str) = match kind {
        None => return,
        Some(Kind::Pull) => (
            &["concurrency"],
            "does not act with kind = \"pull\": as many turns run as are fetched",
        ),
        Some(Kind::Echo | Kind::Exec | Kind::Http) => {
            (&["lease", "lease_max", "waiting_max"], "acts only with kind = \"pull\"")
        }
    };
    for key in idle {
        if let Some(span) = from.key_span(key) {
            faults.add(&span, format!("{} {why}: leave it out", from.name(key)));
        }
    }
}

fn read_pull(from: &mut Section<'_>, faults: &mut Faults<'_>) -> PullConfig {
    let mut pull = PullConfig::default();
    let lease = from.duration("lease", LEASE, faults);
    let most = from.duration("lease_max", LEASE, faults);
    pull.lease = lease.as_ref().map_or(pull.lease, |found| found.value);
    pull.lease_max = most.map_or(pull.lease_max.max(pull.lease), |found| found.value);
    if pull.lease > pull.lease_max {
        let sentence = format!("{} is longer than lease_max", from.name("lease"));
        match lease {
            Some(lease) => faults.add(&lease.span, sentence),
            // The default gives way to what the operator says is the most.
            None => pull.lease = pull.lease_max,
        }
    }
    if let Some(found) = from.number("waiting_max", 1..=WAITING_MAX, faults) {
        pull.waiting_max = found.value;
    }
    pull
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
