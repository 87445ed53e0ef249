//! From bytes to events: lines as they come in pieces, counted and capped.
//!
//! Events that stood before a broken line are given out before its failure, so that a final reply
//! followed by rubbish is a final reply.

use std::ops::Range;

use super::event::parse_line;
use super::{Failure, HandlerEvent, HandlerLimits};

/// Splits a stream of bytes into lines and reads an event from each.
#[derive(Debug)]
pub(crate) struct Decoder {
    limits: HandlerLimits,
    pending: Vec<u8>,
    /// Where the next line starts in `pending`; what is before it has been read.
    start: usize,
    /// How far `pending` has been searched for that line's end.
    searched: usize,
    total_bytes: usize,
    lines: u64,
}

impl Decoder {
    pub(crate) fn new(limits: HandlerLimits) -> Self {
        Self { limits, pending: Vec::new(), start: 0, searched: 0, total_bytes: 0, lines: 0 }
    }

    /// Adds what came. Call [`Self::next`] until it gives nothing before adding more.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.pending.drain(..self.start);
        self.searched -= self.start;
        self.start = 0;
        self.total_bytes = self.total_bytes.saturating_add(bytes.len());
        self.pending.extend_from_slice(bytes);
    }

    /// The next event of a whole line, or the failure that ends the try.
    pub(crate) fn next(&mut self) -> Option<Result<HandlerEvent, Failure>> {
        loop {
            let rest = self.pending.get(self.searched..).unwrap_or_default();
            let Some(found) = rest.iter().position(|byte| *byte == b'\n') else {
                self.searched = self.pending.len();
                return self.over_cap().map(Err);
            };
            let end = self.searched + found + 1;
            let line = self.start..end;
            (self.start, self.searched) = (end, end);
            if let Some(result) = self.read(line) {
                return Some(result);
            }
        }
    }

    /// The event of a last line that no line feed ended.
    pub(crate) fn finish(&mut self) -> Option<Result<HandlerEvent, Failure>> {
        let line = self.start..self.pending.len();
        (self.start, self.searched) = (line.end, line.end);
        if line.is_empty() { None } else { self.read(line) }
    }

    /// Blank lines count, so that numbers are those of an editor, and are passed over.
    fn read(&mut self, line: Range<usize>) -> Option<Result<HandlerEvent, Failure>> {
        self.lines += 1;
        let number = self.lines;
        let line = self.pending.get(line).unwrap_or_default();
        if line.len() > self.limits.line_bytes_max {
            return Some(Err(self.too_long(number)));
        }
        if line.trim_ascii().is_empty() {
            return None;
        }
        Some(parse_line(line).map_err(|what| {
            let reason = format!("line {number} of the handler's output {what}");
            Failure::spent(Failure::PROTOCOL, reason)
        }))
    }

    fn over_cap(&self) -> Option<Failure> {
        if self.pending.len() - self.start > self.limits.line_bytes_max {
            return Some(self.too_long(self.lines + 1));
        }
        if self.total_bytes > self.limits.output_bytes_max {
            let max = self.limits.output_bytes_max;
            let reason = format!("the handler's output came to more than {max} bytes in one try");
            return Some(Failure::spent(Failure::LIMIT, reason));
        }
        None
    }

    fn too_long(&self, number: u64) -> Failure {
        let max = self.limits.line_bytes_max;
        let reason = format!("line {number} of the handler's output is longer than {max} bytes");
        Failure::spent(Failure::LIMIT, reason)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoder() -> Decoder {
        Decoder::new(HandlerLimits {
            line_bytes_max: 40,
            output_bytes_max: 100,
            ..HandlerLimits::default()
        })
    }

    fn all(decoder: &mut Decoder) -> Vec<Result<HandlerEvent, String>> {
        let mut out = vec![];
        while let Some(result) = decoder.next() {
            let stop = result.is_err();
            out.push(result.map_err(|failure| failure.reason));
            if stop {
                break;
            }
        }
        out
    }

    #[test]
    fn lines_in_any_pieces_give_the_same_events() {
        let bytes = b"{\"type\":\"heartbeat\"}\n\n \r\n{\"type\":\"silent\"}\r\n";
        for size in 1..bytes.len() {
            let mut it = decoder();
            let mut events = vec![];
            for piece in bytes.chunks(size) {
                it.push(piece);
                events.extend(all(&mut it));
            }
            assert_eq!(events, vec![Ok(HandlerEvent::Heartbeat), Ok(HandlerEvent::Silent)]);
            assert_eq!(it.finish(), None);
        }
    }

    #[test]
    fn a_last_line_without_line_feed_counts() {
        let mut it = decoder();
        it.push(b"{\"type\":\"silent\"}");
        assert_eq!(it.next(), None);
        assert_eq!(it.finish(), Some(Ok(HandlerEvent::Silent)));
    }

    #[test]
    fn a_broken_line_is_named_by_number_after_the_events_before_it() {
        let mut it = decoder();
        it.push(b"\n{\"type\":\"silent\"}\nTraceback secret\n");
        let out = all(&mut it);
        assert_eq!(out.first(), Some(&Ok(HandlerEvent::Silent)));
        let sentence = out.last().unwrap().as_ref().unwrap_err();
        assert!(sentence.starts_with("line 3 "), "{sentence}");
        assert!(!sentence.contains("secret"), "{sentence}");
    }

    #[test]
    fn an_endless_line_and_endless_output_end_the_try_in_bounded_memory() {
        let mut it = decoder();
        it.push(&[b'x'; 41]);
        assert!(all(&mut it).first().unwrap().as_ref().unwrap_err().contains("longer than 40"));
        let mut it = decoder();
        let mut last = None;
        for _ in 0..10 {
            it.push(b"{\"type\":\"heartbeat\"}\n");
            last = all(&mut it).pop();
            if matches!(last, Some(Err(_))) {
                break;
            }
        }
        let sentence = last.unwrap().unwrap_err();
        assert!(sentence.contains("more than 100 bytes"), "{sentence}");
        assert!(it.total_bytes <= 120);
    }
}
