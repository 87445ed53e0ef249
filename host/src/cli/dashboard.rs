//! `status` for people: the host, its store, its channels, its sweeps, and what needs a person.
//! Colours only where a terminal shows them; everything that is said in colour is said in words.

use std::time::Duration;

use anstyle::{AnsiColor, Style};
use bytesize::ByteSize;
use serde_json::Value;

use super::output::{Failure, Output, shown, time};
use crate::runtime::first_line;

/// Whether the output is coloured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Colours {
    No,
    Yes,
}

impl Colours {
    /// As the terminal and the environment (`NO_COLOR` among others) ask.
    pub(super) fn of_stdout() -> Self {
        match anstream::AutoStream::choice(&std::io::stdout()) {
            anstream::ColorChoice::Never => Self::No,
            _ => Self::Yes,
        }
    }

    fn paint(self, style: Style, text: &str) -> String {
        match self {
            Self::No => shown(text),
            Self::Yes => format!("{style}{}{style:#}", shown(text)),
        }
    }
}

const BAD: Style = AnsiColor::Red.on_default();
const POOR: Style = AnsiColor::Yellow.on_default();
const GOOD: Style = AnsiColor::Green.on_default();
const HEAD: Style = Style::new().bold();

fn text<'v>(value: &'v Value, pointer: &str) -> Option<&'v str> {
    value.pointer(pointer).and_then(Value::as_str)
}

fn number(value: &Value, pointer: &str) -> Option<u64> {
    value.pointer(pointer).and_then(Value::as_u64)
}

fn size(value: &Value, pointer: &str) -> String {
    number(value, pointer).map_or_else(|| "?".to_owned(), |bytes| ByteSize(bytes).to_string())
}

/// How long ago, in its two largest units.
pub(super) fn ago(now_ms: i64, at_ms: i64) -> String {
    let seconds = now_ms.saturating_sub(at_ms).max(0).unsigned_abs() / 1_000;
    let text = humantime::format_duration(Duration::from_secs(seconds)).to_string();
    text.split(' ').take(2).collect::<Vec<_>>().join(" ")
}

/// Prints the whole document.
pub(super) fn print(
    document: &Value,
    data: &str,
    now_ms: i64,
    colours: Colours,
    output: &mut Output<'_>,
) -> Result<(), Failure> {
    print_host(document, data, now_ms, colours, output)?;
    writeln!(output.to)?;
    print_channels(document, now_ms, colours, output)?;
    print_sweeps(document, now_ms, colours, output)?;
    print_needs(document, colours, output)
}

fn print_host(
    document: &Value,
    data: &str,
    now_ms: i64,
    colours: Colours,
    output: &mut Output<'_>,
) -> Result<(), Failure> {
    let host = match (text(document, "/host/address"), number(document, "/host/pid")) {
        (Some(address), Some(pid)) => {
            let phase = text(document, "/host/phase").unwrap_or("running");
            let started = document.pointer("/host/started_at_ms").and_then(Value::as_i64);
            let up = started.map(|at| format!(", up {}", ago(now_ms, at))).unwrap_or_default();
            let style = if phase == "open" { GOOD } else { POOR };
            colours.paint(style, &format!("{phase} at {address}, process {pid}{up}"))
        }
        _ => colours.paint(POOR, "not running"),
    };
    writeln!(output.to, "host   {host}")?;
    let store = document.get("store").unwrap_or(&Value::Null);
    if store.is_null() {
        let words = format!("nothing yet at {data}");
        writeln!(output.to, "store  {}", shown(&words))?;
        return Ok(());
    }
    let facts = format!(
        "{data}: {}, WAL {}, {} free on its disk",
        size(store, "/bytes"),
        size(store, "/wal_bytes"),
        size(store, "/disk_free_bytes"),
    );
    let writable = match store.get("writable").and_then(Value::as_bool) {
        Some(true) => colours.paint(GOOD, ", writable"),
        Some(false) => colours.paint(BAD, ", NOT WRITABLE"),
        None => String::new(),
    };
    writeln!(output.to, "store  {}{writable}", shown(&facts))?;
    let rows = document.get("rows").and_then(Value::as_object);
    let counts = rows.into_iter().flatten().filter_map(|(name, count)| {
        let count = count.as_u64().filter(|count| *count > 0)?;
        Some(format!("{} {count}", name.replace('_', " ")))
    });
    let counts: Vec<String> = counts.collect();
    let counts = if counts.is_empty() { "nothing waits".to_owned() } else { counts.join(", ") };
    writeln!(output.to, "rows   {}", shown(&counts))?;
    Ok(())
}

/// The state of a channel as a person reads it: the first thing that keeps it from sending.
fn channel_state(channel: &Value, now_ms: i64) -> (String, Style) {
    let state = text(channel, "/state").unwrap_or_default();
    let until = channel.pointer("/not_before_ms").and_then(Value::as_i64);
    match (state, text(channel, "/breaker")) {
        ("serving", Some("open")) => ("broken, open".to_owned(), BAD),
        ("serving", Some("half_open")) => ("broken, half-open".to_owned(), BAD),
        ("serving", _) => match until.filter(|at| *at > now_ms) {
            Some(at) => (format!("rate-limited until {}", time(at)), POOR),
            None if polls_fail(channel) => ("serving, polls fail".to_owned(), BAD),
            None => ("serving".to_owned(), GOOD),
        },
        ("paused" | "removed" | "stopped", _) => (state.to_owned(), POOR),
        _ => (state.to_owned(), BAD),
    }
}

/// Whether a poller's word is that it takes nothing in.
fn polls_fail(channel: &Value) -> bool {
    matches!(text(channel, "/poller/state"), Some("backing_off" | "conflict"))
}

/// Why a channel does not do what it is there for: what keeps it from serving, then what keeps
/// messages from coming in, then what the replies that wait were told.
fn why(channel: &Value, now_ms: i64) -> String {
    let mut all: Vec<String> = Vec::new();
    all.extend(text(channel, "/reason").map(ToOwned::to_owned));
    let code_and_reason = |at: &str| {
        let word = |key: &str| text(channel, &format!("{at}{key}")).unwrap_or_default();
        format!("{}: {}", word("code"), word("reason"))
    };
    if polls_fail(channel) {
        let since = channel.pointer("/poller/since_ms").and_then(Value::as_i64).unwrap_or(now_ms);
        let since = ago(now_ms, since);
        all.push(format!("polls fail since {since}: {}", code_and_reason("/poller/")));
    }
    if text(channel, "/waiting_code").is_some() {
        all.push(format!("replies wait: {}", code_and_reason("/waiting_")));
    }
    // Each is one line here; `lastword outbox show` has all of them.
    let first = |text: &String| first_line(text).to_owned();
    all.iter().map(first).collect::<Vec<_>>().join("; ")
}

/// The table of channels.
pub(super) fn print_channels(
    document: &Value,
    now_ms: i64,
    colours: Colours,
    output: &mut Output<'_>,
) -> Result<(), Failure> {
    let channels = document.get("channels").and_then(Value::as_array);
    let channels: Vec<&Value> = channels.into_iter().flatten().collect();
    let head = [
        "channel",
        "state",
        "adapter",
        "generation",
        "turns",
        "outbox",
        "held",
        "dead",
        "oldest",
        "why",
    ];
    let mut rows = Vec::with_capacity(channels.len());
    let mut styles = Vec::with_capacity(channels.len());
    for channel in channels {
        let (state, style) = channel_state(channel, now_ms);
        let word = |key: &str| text(channel, key).unwrap_or_default().to_owned();
        let count = |key: &str| number(channel, key).unwrap_or(0);
        let adapter = format!("{} {}", word("/adapter"), word("/version"));
        let digest: String = word("/digest").chars().take(12).collect();
        let generation = match number(channel, "/generation/current/number") {
            Some(number) => format!("{number}: {digest}"),
            None => digest,
        };
        let oldest = channel.pointer("/oldest_unfinished_at_ms").and_then(Value::as_i64);
        rows.push(vec![
            word("/name"),
            state,
            adapter.trim().to_owned(),
            generation,
            count("/turns_unfinished").to_string(),
            count("/deliveries_unfinished").to_string(),
            count("/held").to_string(),
            (count("/turns_dead") + count("/deliveries_dead")).to_string(),
            oldest.map(|at| ago(now_ms, at)).unwrap_or_default(),
            why(channel, now_ms),
        ]);
        styles.push(style);
    }
    let mut lines = output.table_lines(&head, rows).into_iter();
    if let Some(line) = lines.next() {
        writeln!(output.to, "{}", colours.paint(HEAD, &line))?;
    }
    for (line, style) in lines.zip(styles) {
        writeln!(output.to, "{}", colours.paint(style, &line))?;
    }
    Ok(())
}

fn print_sweeps(
    document: &Value,
    now_ms: i64,
    colours: Colours,
    output: &mut Output<'_>,
) -> Result<(), Failure> {
    let Some(sweeps) = document.get("sweeps").and_then(Value::as_object) else { return Ok(()) };
    let sum = |value: &Value, pointer: &str| {
        let counts = value.pointer(pointer).and_then(Value::as_object);
        let counts = counts.into_iter().flatten();
        let words: Vec<String> = counts.map(|(name, count)| format!("{name} {count}")).collect();
        words.join(", ")
    };
    let mut rows = Vec::new();
    for (name, sweep) in sweeps {
        let Some(last) = sweep.get("last").filter(|last| !last.is_null()) else { continue };
        let at = last.pointer("/at_ms").and_then(Value::as_i64).unwrap_or(now_ms);
        rows.push(vec![
            name.clone(),
            format!("{} ago", ago(now_ms, at)),
            format!("{} ms", number(last, "/took_ms").unwrap_or(0)),
            number(last, "/report/seen").unwrap_or(0).to_string(),
            sum(last, "/report/done"),
            sum(last, "/report/left"),
            number(last, "/report/failed").unwrap_or(0).to_string(),
        ]);
    }
    if rows.is_empty() {
        return Ok(());
    }
    writeln!(output.to)?;
    let failed: Vec<bool> = rows.iter().map(|row| row[6] != "0").collect();
    let head = ["sweep", "last", "took", "seen", "done", "left", "failed"];
    let mut lines = output.table_lines(&head, rows).into_iter();
    if let Some(line) = lines.next() {
        writeln!(output.to, "{}", colours.paint(HEAD, &line))?;
    }
    for (line, failed) in lines.zip(failed) {
        let style = if failed { BAD } else { Style::new() };
        writeln!(output.to, "{}", colours.paint(style, &line))?;
    }
    Ok(())
}

fn print_needs(document: &Value, colours: Colours, output: &mut Output<'_>) -> Result<(), Failure> {
    writeln!(output.to)?;
    let needs = document.get("needs_a_person").and_then(Value::as_array);
    let needs: Vec<&Value> = needs.into_iter().flatten().collect();
    if needs.is_empty() {
        writeln!(output.to, "{}", colours.paint(GOOD, "nothing needs a person"))?;
        return Ok(());
    }
    writeln!(output.to, "{}", colours.paint(HEAD, "needs a person"))?;
    for need in needs {
        let sentence = text(need, "/sentence").unwrap_or_default();
        writeln!(output.to, "  {}", colours.paint(BAD, sentence))?;
        writeln!(output.to, "    {}", shown(text(need, "/command").unwrap_or_default()))?;
    }
    Ok(())
}
