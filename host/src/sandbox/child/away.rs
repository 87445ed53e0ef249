//! A guest's log on its way out of the child: cut to a little more than its caps, and sent without
//! waiting. What is over the caps stays here, counted; its last errors go with the call's end.

use std::collections::VecDeque;

use tokio::sync::mpsc;

use super::frame;
use super::talk::{LogLine, ToHost};
use crate::sandbox::limits::CallLimits;
use crate::sandbox::log_sink::Level;

/// What the host cuts after it has looked for secrets: they must not be halved here.
const SLACK_BYTES: usize = 1_024;
/// Errors over the cap that are kept.
const LAST_MAX: usize = 3;

/// What the names, lengths and kinds of one line need beside its text.
const FRAME_BYTES: usize = 2 << 10;

/// Bytes of a line on its way, at most.
pub(super) fn line_bytes_max(limits: &CallLimits) -> usize {
    limits.log_line_bytes as usize + SLACK_BYTES + FRAME_BYTES
}

/// The log of one call.
pub(in crate::sandbox) struct AwayLog {
    call: u64,
    to_host: mpsc::UnboundedSender<Vec<u8>>,
    lines_left: u32,
    line_bytes: usize,
    dropped: u32,
    last: VecDeque<LogLine>,
}

impl AwayLog {
    pub(super) fn new(
        call: u64,
        to_host: mpsc::UnboundedSender<Vec<u8>>,
        limits: &CallLimits,
    ) -> Self {
        let line_bytes = limits.log_line_bytes as usize + SLACK_BYTES;
        let lines_left = limits.log_lines;
        Self { call, to_host, lines_left, line_bytes, dropped: 0, last: VecDeque::new() }
    }

    pub(in crate::sandbox) fn write(
        &mut self,
        level: Level,
        message: &str,
        fields: &[(String, String)],
    ) {
        let over = self.lines_left == 0;
        if over {
            self.dropped = self.dropped.saturating_add(1);
            if level != Level::Error {
                return;
            }
        }
        let mut left = self.line_bytes;
        let mut take = |text: &str| {
            let end = (0..=text.len().min(left)).rev().find(|end| text.is_char_boundary(*end));
            let piece = text[..end.unwrap_or(0)].to_owned();
            left -= piece.len();
            piece
        };
        let message = take(message);
        let taken = fields.iter().take(64).map(|(name, value)| (take(name), take(value)));
        let fields = taken.take_while(|(name, _)| !name.is_empty()).collect();
        let line = LogLine { level, message, fields };
        if over {
            if self.last.len() >= LAST_MAX {
                self.last.pop_front();
            }
            self.last.push_back(line);
            return;
        }
        self.lines_left -= 1;
        if let Ok(message) = frame::encode(&ToHost::Log { call: self.call, line }) {
            let _ = self.to_host.send(message);
        }
    }

    /// How many were dropped, and the last errors among them.
    pub(in crate::sandbox) fn over(&mut self) -> (u32, Vec<LogLine>) {
        (self.dropped, std::mem::take(&mut self.last).into())
    }
}
