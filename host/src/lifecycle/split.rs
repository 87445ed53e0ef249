//! Splitting a reply that is longer than one message of the platform.
//!
//! A cut is made between paragraphs where that fills at least half of a message, else between
//! lines, else between words, else between characters as people see them; never inside a code
//! point. A quarter is enough where the other way is to cut a word. A code fence that a cut goes
//! through is closed before it and opened again behind it by its own first line, and both lines
//! count towards the limit.
//!
//! What is lost at a cut is white space only: outside a fence the blanks and blank lines around it
//! (not the indentation of the line behind it, unless that fills half of a part), inside a fence
//! the one newline that the closing line brings with it anyway. A cut inside a line of code loses
//! nothing. The parts are otherwise the text, in order; a text that fits is one part and is left
//! alone to the byte.
//!
//! Pure: it knows no platform and no row. A limit that cannot hold a single code point is passed
//! by that code point, for the other ways are to lose it or never to end.

use std::borrow::Cow;
use std::ops::Range;

use unicode_segmentation::GraphemeCursor;

/// What a platform counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TextUnit {
    /// Bytes of UTF-8.
    Bytes,
    /// Units of UTF-16: two for most emoji.
    Utf16Units,
    /// Unicode code points.
    Chars,
}

/// The longest text of one message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TextLimit {
    /// How many units; 0 counts as 1.
    pub most: u32,
    /// What is counted.
    pub unit: TextUnit,
}

impl TextUnit {
    /// How many units `text` has.
    #[must_use]
    pub fn count(self, text: &str) -> usize {
        match self {
            Self::Bytes => text.len(),
            Self::Utf16Units => text.chars().map(char::len_utf16).sum(),
            Self::Chars => text.chars().count(),
        }
    }

    fn of_char(self, char: char) -> usize {
        match self {
            Self::Bytes => char.len_utf8(),
            Self::Utf16Units => char.len_utf16(),
            Self::Chars => 1,
        }
    }
}

/// Splits `text` into parts that each fit `limit`; at least one.
#[must_use]
pub fn split(text: &str, limit: TextLimit) -> Vec<String> {
    pieces(text, limit).into_iter().map(|piece| piece.render(text)).collect()
}

/// One part: a range of the text, and the fence lines around it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Piece<'t> {
    /// The fence that was open where the part begins.
    reopened: Option<Fence<'t>>,
    range: Range<usize>,
    /// The fence that is open where the part ends, and that a cut goes through.
    closed: Option<Fence<'t>>,
}

impl Piece<'_> {
    fn render(&self, text: &str) -> String {
        let head = self.reopened.map_or(Cow::Borrowed(""), |fence| fence.head());
        let tail = self.closed.map_or(Cow::Borrowed(""), |fence| fence.tail());
        format!("{head}{}{tail}", &text[self.range.clone()])
    }
}

/// An open code fence (CommonMark 0.31, 4.5; any indentation is taken, as in list items).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Fence<'t> {
    /// Its first line without what trails.
    opening: &'t str,
    indent: &'t str,
    /// The run of backticks or tildes.
    marker: &'t str,
    carried: Carried,
}

/// Whether a fence is closed and opened again at a cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Carried {
    Yes,
    /// Its lines would take more than half of a message.
    TooLong,
}

impl<'t> Fence<'t> {
    /// The fence that `line` opens.
    fn opened_by(line: &'t str, splitter: &Splitter<'_>) -> Option<Self> {
        let opening = line.trim_end_matches(is_blank);
        let bare = opening.trim_start_matches([' ', '\t']);
        let indent = &opening[..opening.len() - bare.len()];
        let (marker, info) = marker_of(bare)?;
        if marker.starts_with('`') && info.contains('`') {
            return None;
        }
        let mut fence = Self { opening, indent, marker, carried: Carried::Yes };
        let both = splitter.unit.count(&fence.head()) + splitter.unit.count(&fence.tail());
        if both > splitter.most / 2 {
            fence.carried = Carried::TooLong;
        }
        Some(fence)
    }

    /// Whether `line` ends this fence. One that is indented deeper is code of the fence.
    fn closed_by(&self, line: &str) -> bool {
        let bare = line.trim_start_matches([' ', '\t']);
        let indent = line.len() - bare.len();
        let Some((marker, rest)) = marker_of(bare) else { return false };
        indent <= self.indent.len() + 3
            && marker.starts_with(&self.marker[..1])
            && marker.len() >= self.marker.len()
            && rest.trim_matches(is_blank).is_empty()
    }

    fn head(&self) -> Cow<'static, str> {
        match self.carried {
            Carried::Yes => Cow::Owned(format!("{}\n", self.opening)),
            Carried::TooLong => Cow::Borrowed(""),
        }
    }

    fn tail(&self) -> Cow<'static, str> {
        match self.carried {
            Carried::Yes => Cow::Owned(format!("\n{}{}", self.indent, self.marker)),
            Carried::TooLong => Cow::Borrowed(""),
        }
    }
}

/// Whether `fence` is open and goes on in the next part as code, where blanks count.
fn is_carried(fence: Option<Fence<'_>>) -> bool {
    fence.is_some_and(|fence| fence.carried == Carried::Yes)
}

/// The run of three or more backticks or tildes that `bare` begins with, and what follows it.
fn marker_of(bare: &str) -> Option<(&str, &str)> {
    let first = bare.chars().next().filter(|char| matches!(char, '`' | '~'))?;
    let rest = bare.trim_start_matches(first);
    let length = bare.len() - rest.len();
    (length >= 3).then_some((&bare[..length], rest))
}

fn is_blank(char: char) -> bool {
    matches!(char, ' ' | '\t' | '\r' | '\n')
}

/// How good a place is for a part to end, better ones first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rank {
    Paragraph,
    Line,
    Word,
    /// Inside a word.
    Character,
}

/// A place where a part may end.
#[derive(Debug, Clone, Copy)]
struct Cut<'t> {
    rank: Rank,
    end: usize,
    /// Units of the part, fence lines included.
    size: usize,
    /// The fence that is open there.
    fence: Option<Fence<'t>>,
}

/// What a line is to the fence around it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LinePlace {
    Outside,
    Opening,
    Inside,
    Closing,
}

struct Splitter<'t> {
    text: &'t str,
    unit: TextUnit,
    most: usize,
}

fn pieces(text: &str, limit: TextLimit) -> Vec<Piece<'_>> {
    let most = usize::try_from(limit.most).unwrap_or(usize::MAX).max(1);
    let splitter = Splitter { text, unit: limit.unit, most };
    let mut pieces = Vec::new();
    let mut fence = None;
    let mut start = if splitter.fits(0, None) { 0 } else { splitter.behind_blanks(0) };
    while start < text.len() {
        if splitter.fits(start, fence) {
            pieces.push(Piece { reopened: fence, range: start..text.len(), closed: None });
            return pieces;
        }
        let cut = splitter.best_cut(start, fence);
        let part = &text[start..cut.end];
        let bare = part.trim_start_matches(is_blank);
        if bare.is_empty() && !is_carried(fence) && !is_carried(cut.fence) {
            // An indentation beside which nothing fits.
            start = cut.end;
            continue;
        }
        pieces.push(Piece { reopened: fence, range: start..cut.end, closed: cut.fence });
        fence = cut.fence;
        start = splitter.next_start(&cut);
    }
    if pieces.is_empty() {
        // Nothing but white space: as much of it as fits.
        let range = 0..splitter.furthest(0, 0, most);
        pieces.push(Piece { reopened: None, range, closed: None });
    }
    pieces
}

impl<'t> Splitter<'t> {
    /// Whether all that is left fits into one part.
    fn fits(&self, start: usize, fence: Option<Fence<'t>>) -> bool {
        let rest = &self.text[start..];
        // Four bytes are one unit at least: what is much longer need not be counted.
        if rest.len() / 4 > self.most {
            return false;
        }
        let head = fence.map_or(0, |fence| self.unit.count(&fence.head()));
        head + self.unit.count(rest) <= self.most
    }

    /// The longest text that can matter for a part: more than fits, in any script. Looking no
    /// further keeps the whole linear.
    fn window(&self, start: usize) -> &'t str {
        let bytes = self.most.saturating_mul(4).saturating_add(8);
        let end = self.text.floor_char_boundary(start.saturating_add(bytes));
        &self.text[start..end]
    }

    /// Where the part that begins at `start` ends best.
    fn best_cut(&self, start: usize, fence: Option<Fence<'t>>) -> Cut<'t> {
        let cuts = self.cuts(start, fence);
        let last =
            |rank| move |cuts: &[Cut<'t>]| cuts.iter().rev().find(|cut| cut.rank == rank).copied();
        let half_full = [Rank::Paragraph, Rank::Line, Rank::Word]
            .into_iter()
            .find_map(|rank| last(rank)(&cuts).filter(|cut| cut.size >= self.most / 2));
        let fullest = cuts.iter().filter(|cut| cut.rank != Rank::Character);
        let fullest = fullest.max_by_key(|cut| cut.size).copied();
        half_full
            .or(fullest.filter(|cut| cut.size >= self.most / 4))
            .or_else(|| last(Rank::Character)(&cuts))
            .or(fullest)
            // Not one code point fits: it goes alone, for the sake of an end.
            .unwrap_or_else(|| {
                let first = self.text[start..].chars().next().map_or(0, char::len_utf8);
                Cut { rank: Rank::Character, end: start + first, size: 0, fence }
            })
    }

    /// All places where a part may end: between the lines that fit, and inside the one that does
    /// not fit any more.
    fn cuts(&self, start: usize, reopened: Option<Fence<'t>>) -> Vec<Cut<'t>> {
        let mut cuts = Vec::new();
        let mut fence = reopened;
        let mut size = fence.map_or(0, |fence| self.unit.count(&fence.head()));
        let mut line_at = start;
        for line in self.window(start).split_inclusive('\n') {
            let bare = line.trim_end_matches(['\r', '\n']);
            let (after, place) = self.fence_after(fence, bare, line_at);
            let shown = if is_carried(after) { bare } else { bare.trim_end_matches(is_blank) };
            let whole = size + self.unit.count(shown) + self.tail(after);
            if whole > self.most {
                let broken = if place == LinePlace::Opening { after } else { fence };
                // The first line of a fence that is carried over is never broken.
                if place != LinePlace::Opening || self.tail(after) == 0 {
                    self.cut_line(start, line_at, size, broken, &mut cuts);
                }
                return cuts;
            }
            size += self.unit.count(line);
            let end = line_at + shown.len();
            line_at += line.len();
            fence = after;
            // An opening line alone would leave an empty block; blanks alone, an empty message.
            let useful =
                if is_carried(after) { place != LinePlace::Opening } else { !shown.is_empty() };
            if useful {
                let rank = self.rank_before(line_at, after, place);
                cuts.push(Cut { rank, end, size: whole, fence });
            }
        }
        cuts
    }

    fn tail(&self, fence: Option<Fence<'t>>) -> usize {
        fence.map_or(0, |fence| self.unit.count(&fence.tail()))
    }

    /// The fence that is open behind the line at `line_at`, and what the line is.
    fn fence_after(
        &self,
        fence: Option<Fence<'t>>,
        line: &'t str,
        line_at: usize,
    ) -> (Option<Fence<'t>>, LinePlace) {
        // The rest of a line that was cut opens and closes nothing.
        let begins = line_at == 0 || self.text.as_bytes().get(line_at - 1) == Some(&b'\n');
        match fence {
            Some(open) if begins && open.closed_by(line) => (None, LinePlace::Closing),
            Some(open) => (Some(open), LinePlace::Inside),
            None if !begins => (None, LinePlace::Outside),
            None => match Fence::opened_by(line, self) {
                Some(opened) => (Some(opened), LinePlace::Opening),
                None => (None, LinePlace::Outside),
            },
        }
    }

    /// How good a cut in front of the line at `next` is, behind a line at `place`.
    fn rank_before(&self, next: usize, fence: Option<Fence<'t>>, place: LinePlace) -> Rank {
        if fence.is_some() {
            return Rank::Line;
        }
        let line = self.window(next).split('\n').next().unwrap_or_default();
        let blank = line.trim_matches(is_blank).is_empty();
        let opens = Fence::opened_by(line, self).is_some();
        if blank || opens || place == LinePlace::Closing { Rank::Paragraph } else { Rank::Line }
    }

    /// The last cut between words, and the last at all, inside the line at `line_at`; `size` is
    /// what the part has in front of it.
    fn cut_line(
        &self,
        start: usize,
        line_at: usize,
        size: usize,
        fence: Option<Fence<'t>>,
        cuts: &mut Vec<Cut<'t>>,
    ) {
        let tail = self.tail(fence);
        let room = self.most.saturating_sub(size + tail);
        let fit = self.furthest(start, line_at, room);
        if fit == line_at {
            return;
        }
        let mut push = |rank, end| {
            let size = size + self.unit.count(&self.text[line_at..end]) + tail;
            cuts.push(Cut { rank, end, size, fence });
        };
        if let Some(end) = self.word_end(line_at, fit, fence) {
            push(Rank::Word, end);
        }
        let mut end = fit;
        while end > line_at && self.begins_like_fence(end) {
            end = self.text.floor_char_boundary(end - 1);
        }
        let end = if end > line_at { end } else { fit };
        if is_carried(fence) || !self.text[line_at..end].trim_matches(is_blank).is_empty() {
            push(Rank::Character, end);
        }
    }

    /// The last end of a word in the line at `line_at`, at `fit` at most. Blanks of code are code:
    /// they stay, in front of the cut.
    fn word_end(&self, line_at: usize, fit: usize, fence: Option<Fence<'t>>) -> Option<usize> {
        let fits = &self.text[line_at..fit];
        let indent = fits.len() - fits.trim_start_matches(is_blank).len();
        // A blank right behind what fits makes that the end of a word, too.
        let behind = self.text[fit..].chars().next();
        let mut blank = match behind {
            Some(char) if is_blank(char) => fits.len(),
            Some(_) | None => fits.rfind(is_blank)?,
        };
        loop {
            let word = fits[..blank].trim_end_matches(is_blank).len();
            if word <= indent {
                return None;
            }
            let code_end = (blank + 1).min(fits.len());
            let end = line_at + if is_carried(fence) { code_end } else { word };
            if !self.begins_like_fence(end) {
                return Some(end);
            }
            blank = fits[..word].rfind(is_blank)?;
        }
    }

    /// The furthest end of a text from `from` that has at most `room` units: between two
    /// characters as people see them where one of those fits, else between two code points.
    fn furthest(&self, start: usize, from: usize, room: usize) -> usize {
        let window = self.window(start);
        let from = from - start;
        let mut left = room;
        let mut end = from;
        for char in window[from..].chars() {
            let Some(rest) = left.checked_sub(self.unit.of_char(char)) else { break };
            left = rest;
            end += char.len_utf8();
        }
        let mut cursor = GraphemeCursor::new(end, window.len(), true);
        let whole = match cursor.is_boundary(window, 0) {
            Ok(true) => end,
            Ok(false) | Err(_) => cursor.prev_boundary(window, 0).ok().flatten().unwrap_or(end),
        };
        start + if whole > from { whole } else { end }
    }

    /// Whether a part that begins at `at` would begin with what looks like a fence.
    fn begins_like_fence(&self, at: usize) -> bool {
        // Three characters of a marker say it; nobody indents one further than this.
        let begin = &self.text[at..self.text.floor_char_boundary(at.saturating_add(64))];
        marker_of(begin.trim_start_matches([' ', '\t'])).is_some()
    }

    /// Where the part behind `cut` begins.
    fn next_start(&self, cut: &Cut<'t>) -> usize {
        if !is_carried(cut.fence) {
            return self.behind_blanks(cut.end);
        }
        let rest = &self.text[cut.end..];
        let newline = rest.strip_prefix("\r\n").or_else(|| rest.strip_prefix('\n'));
        self.text.len() - newline.unwrap_or(rest).len()
    }

    /// Behind the white space at `at`, but in front of the indentation of a line, unless that
    /// would fill half of a part.
    fn behind_blanks(&self, at: usize) -> usize {
        let rest = &self.text[at..];
        let bare = rest.trim_start_matches(is_blank);
        let blanks = &rest[..rest.len() - bare.len()];
        let line = blanks.rfind('\n').map(|newline| newline + 1).or((at == 0).then_some(0));
        let indent = line.map_or(0, |line| blanks.len() - line);
        let kept = if bare.is_empty() || indent > self.most / 2 { 0 } else { indent };
        at + blanks.len() - kept
    }
}

#[cfg(test)]
mod tests;
