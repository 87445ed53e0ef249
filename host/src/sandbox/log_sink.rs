//! Where a guest's log lines go: bound to channel, digest and call, capped, made visible, cleared
//! of secrets. Standard output and error of language runtimes end here too.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use super::bindings::lastword::channel::log;
use super::child::{AwayLog, LogLine};
use super::guard::Guard;
use super::limits::CallLimits;
use super::text::visible;

/// Lines that are kept as the last words, and bytes of each.
const LAST_WORDS_MAX: usize = 3;
const LAST_WORDS_BYTES_MAX: usize = 512;

/// How loud a line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Level {
    Debug,
    Info,
    Warn,
    Error,
}

impl From<log::Level> for Level {
    fn from(level: log::Level) -> Self {
        match level {
            log::Level::Debug => Self::Debug,
            log::Level::Info => Self::Info,
            log::Level::Warn => Self::Warn,
            log::Level::Error => Self::Error,
        }
    }
}

/// Shared by the imports and the standard streams of one call.
#[derive(Clone)]
pub(super) struct LogSink(Arc<Mutex<Sink>>);

enum Sink {
    Here(Lines),
    /// In a process of its own: the host is told.
    Away(AwayLog),
}

struct Lines {
    channel: String,
    digest: String,
    call: String,
    guard: Option<Arc<Guard>>,
    lines_left: u32,
    line_bytes: usize,
    dropped: u32,
    last_words: VecDeque<String>,
}

impl LogSink {
    /// A sink for one call; before there is a channel there are no secrets to guard.
    pub(super) fn new(
        channel: &str,
        digest: &str,
        call: String,
        guard: Option<Arc<Guard>>,
        limits: &CallLimits,
    ) -> Self {
        Self(Arc::new(Mutex::new(Sink::Here(Lines {
            channel: channel.to_owned(),
            digest: digest.chars().take(12).collect(),
            call,
            guard,
            lines_left: limits.log_lines,
            line_bytes: limits.log_line_bytes as usize,
            dropped: 0,
            last_words: VecDeque::new(),
        }))))
    }

    /// A sink for one call in a process of its own.
    pub(super) fn away(log: AwayLog) -> Self {
        Self(Arc::new(Mutex::new(Sink::Away(log))))
    }

    fn sink(&self) -> MutexGuard<'_, Sink> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes one line.
    pub(super) fn write(&self, level: Level, message: &str, fields: &[(String, String)]) {
        match &mut *self.sink() {
            Sink::Here(lines) => lines.write(level, message, fields),
            Sink::Away(log) => log.write(level, message, fields),
        }
    }

    /// The last lines of errors and of standard error: what a panicking guest said.
    pub(super) fn last_words(&self) -> Option<String> {
        let sink = self.sink();
        let Sink::Here(lines) = &*sink else { return None };
        let words: Vec<_> = lines.last_words.iter().map(String::as_str).collect();
        Some(words.join(" | ")).filter(|words| !words.is_empty())
    }

    /// Lines over the cap.
    pub(super) fn dropped(&self) -> u32 {
        match &*self.sink() {
            Sink::Here(lines) => lines.dropped,
            Sink::Away(_) => 0,
        }
    }

    /// What a sink that is away kept back: how many lines, and the last errors among them.
    pub(super) fn over(&self) -> (u32, Vec<LogLine>) {
        match &mut *self.sink() {
            Sink::Here(_) => (0, Vec::new()),
            Sink::Away(log) => log.over(),
        }
    }

    /// Counts what was kept back elsewhere, and hears the last errors among it.
    pub(super) fn note_over(&self, dropped: u32, last: &[LogLine]) {
        if let Sink::Here(lines) = &mut *self.sink() {
            lines.dropped = lines.dropped.saturating_add(dropped);
            for line in last.iter().take(LAST_WORDS_MAX) {
                let room = lines.line_bytes.min(LAST_WORDS_BYTES_MAX);
                let message = lines.clean(&line.message, room);
                lines.remember(message);
            }
        }
    }
}

impl Lines {
    fn write(&mut self, level: Level, message: &str, fields: &[(String, String)]) {
        if self.lines_left == 0 {
            self.dropped = self.dropped.saturating_add(1);
            // A guest that floods its log and then dies is still heard.
            if level == Level::Error {
                let message = self.clean(message, self.line_bytes.min(LAST_WORDS_BYTES_MAX));
                self.remember(message);
            }
            return;
        }
        self.lines_left -= 1;
        let message = self.clean(message, self.line_bytes);
        let mut left = self.line_bytes - message.len();
        let mut shown = String::new();
        for (name, value) in fields {
            let (name, value) = (self.clean(name, left), self.clean(value, left));
            let pair = format!("{}={} ", quoted(name), quoted(value));
            let Some(rest) = left.checked_sub(pair.len()) else { break };
            left = rest;
            shown.push_str(&pair);
        }
        let (channel, digest, call) = (&self.channel, &self.digest, &self.call);
        let fields = shown.trim_end();
        macro_rules! line {
            ($level:ident) => {
                tracing::event!(
                    target: "lastword::adapter", tracing::Level::$level,
                    %channel, %digest, %call, fields, "{message}"
                )
            };
        }
        match level {
            Level::Debug => line!(DEBUG),
            Level::Info => line!(INFO),
            Level::Warn => line!(WARN),
            Level::Error => line!(ERROR),
        }
        if level == Level::Error {
            let words = if fields.is_empty() { message } else { format!("{message} {fields}") };
            self.remember(words);
        }
    }

    fn remember(&mut self, message: String) {
        // What Rust's runtime adds to every panic is nobody's last word.
        if message.starts_with("note: ") || message.trim().is_empty() {
            return;
        }
        if self.last_words.len() >= LAST_WORDS_MAX {
            self.last_words.pop_front();
        }
        self.last_words.push_back(visible(&message, LAST_WORDS_BYTES_MAX));
    }

    fn clean(&self, text: &str, bytes_max: usize) -> String {
        // Cut first: nothing over the cap is searched. A secret that the cut halves stays whole
        // until it has been looked for.
        let room = bytes_max.saturating_add(1_024).min(text.len());
        let end = (0..=room).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
        let text = text[..end].to_owned();
        let text = match &self.guard {
            Some(guard) => guard.redact_text(text),
            None => text,
        };
        visible(&text, bytes_max)
    }
}

/// In quotes where it would else read as more than one field.
fn quoted(text: String) -> String {
    if text.is_empty() || text.contains([' ', '=', '"']) { format!("{text:?}") } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_or_a_value_reads_as_one_field() {
        for (text, shown) in [
            ("plain", "plain"),
            ("x channel=good", "\"x channel=good\""),
            ("say \"a b\"", "\"say \\\"a b\\\"\""),
            ("", "\"\""),
        ] {
            assert_eq!(quoted(text.to_owned()), shown);
        }
    }

    #[test]
    fn lines_over_the_cap_are_dropped_and_counted_and_the_last_error_is_kept() {
        let limits = CallLimits { log_lines: 2, log_line_bytes: 64, ..CallLimits::default() };
        let guard = Guard::new([b"s3cret-value".as_slice()].into_iter(), [].into_iter()).unwrap();
        let sink = LogSink::new("c", "digest", "send 1".into(), Some(Arc::new(guard)), &limits);
        sink.write(Level::Error, "first s3cret-value\u{1b}[0m", &[]);
        assert_eq!(sink.last_words().as_deref(), Some("first [redacted]\\u{1b}[0m"));
        sink.write(Level::Info, &"x".repeat(1 << 20), &[("k".into(), "v".repeat(1 << 20))]);
        for _ in 0..1_000 {
            sink.write(Level::Error, "dying", &[]);
        }
        assert_eq!(sink.dropped(), 1_000);
        assert_eq!(sink.last_words().as_deref(), Some("dying | dying | dying"));
    }
}
