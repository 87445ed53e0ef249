//! Errors of the config: all of them at once, each with its place in the file and what to do.
//!
//! It knows positions and sentences, and no setting. A sentence never repeats a value that may be
//! a secret: whoever writes one decides what is safe to show.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// One thing that is wrong in the config file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// Line of the wrong word, from 1; 0 where the fault is the file as a whole.
    pub line: u32,
    /// Column of the wrong word in characters, from 1; 0 where the fault is the whole file.
    pub column: u32,
    /// The word as it stands in the file, where one word is wrong.
    pub word: Option<String>,
    /// The right word that is nearest to the wrong one.
    pub nearest: Option<String>,
    /// What is wrong and what to write instead.
    pub sentence: String,
}

/// Everything that is wrong in one config file, in the order of the file; never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigErrors {
    /// The file, as it was named by whoever asked for it.
    pub file: PathBuf,
    /// One entry per fault.
    pub errors: Vec<ConfigError>,
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let file = self.file.display();
        for (index, error) in self.errors.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            if error.line == 0 {
                write!(f, "{file}: {}", error.sentence)?;
            } else {
                write!(f, "{file}:{}:{}: {}", error.line, error.column, error.sentence)?;
            }
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}

/// How many errors are reported; a file that is no config at all gives one per line.
const ERRORS_MAX: usize = 200;

/// Gathers errors by their place in the text.
#[derive(Debug)]
pub(super) struct Faults<'a> {
    text: &'a str,
    found: Vec<Fault>,
}

/// One error while the rest of the file is still being read.
#[derive(Debug)]
struct Fault {
    offset: usize,
    about: About,
    word: Option<String>,
    nearest: Option<String>,
    sentence: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum About {
    /// Something that stands in the file.
    Present,
    /// Something that should stand there and was not found.
    Missing,
}

impl<'a> Faults<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { text, found: Vec::new() }
    }

    /// Reports a fault at `span`.
    pub(super) fn add(&mut self, span: &Range<usize>, sentence: impl Into<String>) {
        self.push(span, About::Present, None, None, sentence.into());
    }

    /// Reports at `span`, where it should stand, that something is not there.
    pub(super) fn add_missing(&mut self, span: &Range<usize>, sentence: impl Into<String>) {
        self.push(span, About::Missing, None, None, sentence.into());
    }

    /// Reports a wrong word and the right one that is nearest to it, where one is near.
    pub(super) fn add_wrong_word(
        &mut self,
        span: &Range<usize>,
        word: &str,
        right: &[&str],
        sentence: String,
    ) {
        let nearest = nearest(word, right);
        let sentence = match &nearest {
            Some(near) => format!("{sentence}: did you mean \"{near}\"?"),
            None => sentence,
        };
        self.push(span, About::Present, Some(shown(word)), nearest, sentence);
    }

    fn push(
        &mut self,
        span: &Range<usize>,
        about: About,
        word: Option<String>,
        nearest: Option<String>,
        sentence: String,
    ) {
        self.found.push(Fault { offset: span.start, about, word, nearest, sentence });
    }

    /// Whether nothing was reported so far.
    pub(super) fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// Drops what was reported at or behind `offset`, and all that seemed to be missing.
    pub(super) fn keep_before(&mut self, offset: usize) {
        self.found.retain(|fault| fault.offset < offset && fault.about == About::Present);
    }

    /// Adds what another gatherer of the same text found.
    pub(super) fn append(&mut self, mut other: Self) {
        self.found.append(&mut other.found);
    }

    /// All of them in the order of the file, cut at a number that a person can still read.
    pub(super) fn into_errors(mut self, file: &Path) -> ConfigErrors {
        self.found.sort_by_key(|fault| fault.offset);
        let more = self.found.len().saturating_sub(ERRORS_MAX);
        let placed = |fault: Fault| {
            let Fault { offset, about: _, word, nearest, sentence } = fault;
            let (line, column) = position(self.text, offset);
            ConfigError { line, column, word, nearest, sentence }
        };
        let mut errors: Vec<_> = self.found.into_iter().take(ERRORS_MAX).map(placed).collect();
        if more > 0 {
            errors.push(whole_file(format!("and {more} more errors")));
        }
        ConfigErrors { file: file.to_owned(), errors }
    }
}

/// An error of the file as a whole.
pub(super) fn whole_file(sentence: String) -> ConfigError {
    ConfigError { line: 0, column: 0, word: None, nearest: None, sentence }
}

/// Line and column, both from 1, of a byte offset.
pub(super) fn position(text: &str, offset: usize) -> (u32, u32) {
    let mut offset = offset.min(text.len());
    while !text.is_char_boundary(offset) {
        offset -= 1;
    }
    let before = &text[..offset];
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    let line = before.bytes().filter(|byte| *byte == b'\n').count() + 1;
    let column = before[line_start..].chars().count() + 1;
    (u32::try_from(line).unwrap_or(u32::MAX), u32::try_from(column).unwrap_or(u32::MAX))
}

/// A word of the file as it may be printed: short, and without control characters.
pub(super) fn shown(word: &str) -> String {
    const CHARS_MAX: usize = 64;
    let mut out: String = word
        .chars()
        .take(CHARS_MAX)
        .map(|char| if char.is_control() { char::REPLACEMENT_CHARACTER } else { char })
        .collect();
    if word.chars().nth(CHARS_MAX).is_some() {
        out.push('…');
    }
    out
}

/// The right word that is nearest to `word`, where one is near enough to be what was meant: at
/// most one slip for every three characters.
pub(crate) fn nearest(word: &str, right: &[&str]) -> Option<String> {
    // Long words are compared by their beginning: the distance costs the product of the lengths.
    let word: String = word.chars().take(64).collect::<String>().to_lowercase().replace('-', "_");
    right
        .iter()
        .map(|candidate| {
            let plain = candidate.replace('-', "_");
            (strsim::osa_distance(&word, &plain), *candidate)
        })
        .filter(|(distance, candidate)| *distance <= (candidate.chars().count() / 3).max(1))
        .min_by_key(|(distance, candidate)| (*distance, *candidate))
        .map(|(_, candidate)| candidate.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_counts_lines_and_characters_from_one() {
        let text = "a = 1\nä = 2\n";
        assert_eq!(position(text, 0), (1, 1));
        assert_eq!(position(text, 6), (2, 1));
        assert_eq!(position(text, 8), (2, 2), "a letter of two bytes is one column");
        assert_eq!(position(text, 7), (2, 1), "an offset inside a letter is that letter's");
        assert_eq!(position(text, 999), (3, 1));
    }

    #[test]
    fn the_nearest_word_is_named_only_where_one_is_near() {
        assert_eq!(nearest("chanels", &["channels", "handler"]).as_deref(), Some("channels"));
        assert_eq!(nearest("data-dir", &["data_dir", "listen"]).as_deref(), Some("data_dir"));
        assert_eq!(nearest("weather", &["data_dir", "listen"]), None);
        assert_eq!(nearest("", &["api"]), None);
    }

    #[test]
    fn a_shown_word_carries_no_escape_and_no_novel() {
        assert!(!shown("\u{1b}[31m").contains('\u{1b}'));
        assert_eq!(shown(&"x".repeat(1000)).chars().count(), 65);
    }
}
