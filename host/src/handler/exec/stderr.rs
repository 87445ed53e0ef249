//! A command's error output on its way to the log: capped, cut and made harmless.
//!
//! It is the agent's own log and may hold message text, so its lines have a target of their own
//! (`agent`) and the level `debug`, which is off unless asked for; with `log_payloads` they are
//! logged at `info`. What is always told is how much there was.

use tokio::io::{AsyncRead, AsyncReadExt};

use super::LogPayloads;
use crate::handler::HandlerLimits;
use crate::lifecycle::id::TurnId;

/// How much a command wrote.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Heard {
    pub(super) lines: u64,
    pub(super) bytes: u64,
}

/// Reads to the end, whatever comes: a command that is not read would block.
pub(super) async fn drain(
    mut stderr: impl AsyncRead + Unpin,
    turn: TurnId,
    limits: HandlerLimits,
    payloads: LogPayloads,
) -> Heard {
    let mut lines = Lines::new(limits);
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let count = match stderr.read(&mut buffer).await {
            Ok(0) | Err(_) => break,
            Ok(count) => count,
        };
        lines.push(buffer.get(..count).unwrap_or_default(), |line| log(turn, payloads, line));
    }
    lines.finish(|line| log(turn, payloads, line));
    if lines.heard.lines > u64::from(limits.stderr_lines_max) {
        let left_out = lines.heard.lines - u64::from(limits.stderr_lines_max);
        tracing::debug!(target: "agent", %turn, left_out, "lines over the cap were left out");
    }
    lines.heard
}

fn log(turn: TurnId, payloads: LogPayloads, line: &str) {
    match payloads {
        LogPayloads::No => tracing::debug!(target: "agent", %turn, "{line}"),
        LogPayloads::Yes => tracing::info!(target: "agent", %turn, "{line}"),
    }
}

/// Lines out of pieces, each cut at its cap, only the first ones given out.
struct Lines {
    limits: HandlerLimits,
    current: Vec<u8>,
    is_open: bool,
    heard: Heard,
}

impl Lines {
    fn new(limits: HandlerLimits) -> Self {
        Self { limits, current: Vec::new(), is_open: false, heard: Heard::default() }
    }

    fn push(&mut self, bytes: &[u8], mut give: impl FnMut(&str)) {
        self.heard.bytes = self.heard.bytes.saturating_add(bytes.len() as u64);
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            let (text, ends) = match piece.split_last() {
                Some((b'\n', text)) => (text, true),
                _ => (piece, false),
            };
            self.is_open = true;
            let room = self.limits.stderr_line_bytes_max.saturating_sub(self.current.len());
            self.current.extend(text.iter().take(room));
            if ends {
                self.finish(&mut give);
            }
        }
    }

    fn finish(&mut self, mut give: impl FnMut(&str)) {
        if !std::mem::take(&mut self.is_open) {
            return;
        }
        self.heard.lines += 1;
        let line = std::mem::take(&mut self.current);
        if self.heard.lines <= u64::from(self.limits.stderr_lines_max) {
            give(&harmless(&line));
        }
    }
}

/// Text that a terminal shows and does not obey: control characters and those that turn the
/// direction of writing are spelled out.
fn harmless(line: &[u8]) -> String {
    let mut out = String::with_capacity(line.len());
    for c in String::from_utf8_lossy(line).trim_end().chars() {
        match c {
            '\t' => out.push(' '),
            '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
                out.extend(c.escape_unicode());
            }
            c if c.is_control() => out.extend(c.escape_unicode()),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_over_the_caps_are_cut_or_counted_only() {
        let limits = HandlerLimits {
            stderr_lines_max: 2,
            stderr_line_bytes_max: 4,
            ..HandlerLimits::default()
        };
        let mut lines = Lines::new(limits);
        let mut given = vec![];
        for piece in ["abc", "defgh\n\nthi", "rd\nfour"] {
            lines.push(piece.as_bytes(), |line| given.push(line.to_owned()));
        }
        lines.finish(|line| given.push(line.to_owned()));
        assert_eq!(given, ["abcd", ""]);
        assert_eq!(lines.heard, Heard { lines: 4, bytes: 20 });
        assert!(lines.current.capacity() < 64);
    }

    #[test]
    fn escapes_and_direction_marks_are_spelled_out() {
        assert_eq!(harmless(b"\x1b[2Jred\ttab\r"), "\\u{1b}[2Jred tab");
        assert_eq!(harmless("a\u{202e}b".as_bytes()), "a\\u{202e}b");
        assert_eq!(harmless(b"\xff"), "\u{fffd}");
    }
}
