//! What the commands print: JSON lines, tables for people, and the sentence of a failure.
//!
//! The one room that writes to the terminal. Names and reasons come from platforms and adapters:
//! nothing of them reaches the terminal as anything but text.

use std::io::{self, Write};

use comfy_table::{ContentArrangement, Table};
use serde::Serialize;

use crate::store::StoreError;

/// What a command came to, as scripts see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Exit {
    Done = 0,
    Failed = 1,
    /// Wrong input or config.
    WrongInput = 2,
    /// No such thing, or nothing to do.
    Nothing = 3,
    /// Refused by state, or held by another host.
    Refused = 4,
}

impl Exit {
    fn word(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Failed => "failed",
            Self::WrongInput => "invalid",
            Self::Nothing => "nothing",
            Self::Refused => "refused",
        }
    }
}

/// Why a command did not do what was asked.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) exit: Exit,
    pub(super) sentence: String,
}

impl Failure {
    pub(super) fn new(exit: Exit, sentence: impl Into<String>) -> Self {
        Self { exit, sentence: sentence.into() }
    }

    pub(super) fn wrong(sentence: impl Into<String>) -> Self {
        Self::new(Exit::WrongInput, sentence)
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        let exit = match &error {
            StoreError::Invalid(_) => Exit::WrongInput,
            StoreError::NotWritable(_)
            | StoreError::Busy
            | StoreError::Full { .. }
            | StoreError::Corrupt(_) => Exit::Failed,
        };
        Self::new(exit, error.to_string())
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        // Whoever reads has seen enough (`| head`): that is no failure.
        let exit =
            if error.kind() == io::ErrorKind::BrokenPipe { Exit::Done } else { Exit::Failed };
        Self::new(exit, format!("cannot write the output: {error}"))
    }
}

/// How rows are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Human,
    Json,
}

/// Standard output or a test's buffer, with the form that was asked for.
pub(super) struct Output<'w> {
    pub(super) form: Form,
    pub(super) to: &'w mut dyn Write,
}

impl Output<'_> {
    /// One JSON object on a line of its own.
    pub(super) fn json(&mut self, value: &impl Serialize) -> Result<(), Failure> {
        let text = serde_json::to_string(value)
            .map_err(|error| Failure::new(Exit::Failed, format!("a row is no JSON: {error}")))?;
        writeln!(self.to, "{}", escape_json(&text))?;
        Ok(())
    }

    /// A line for people.
    pub(super) fn line(&mut self, text: &str) -> Result<(), Failure> {
        writeln!(self.to, "{}", shown(text))?;
        Ok(())
    }

    /// A line for people that is no part of what was asked for: to standard error.
    pub(super) fn aside(&self, text: &str) {
        if self.form == Form::Human {
            // Nobody is left to tell where this fails.
            let _ = writeln!(io::stderr().lock(), "{}", shown(text));
        }
    }

    /// A sentence for people that may go on over lines of its own, such as those of a config. What
    /// follows the first is indented: no line of others looks like one of ours.
    pub(super) fn paragraph(&mut self, text: &str) -> Result<(), Failure> {
        let mut lines = text.lines();
        writeln!(self.to, "{}", shown(lines.next().unwrap_or_default()))?;
        for line in lines {
            writeln!(self.to, "    {}", shown(line))?;
        }
        Ok(())
    }

    /// A table for people.
    pub(super) fn table(&mut self, head: &[&str], rows: Vec<Vec<String>>) -> Result<(), Failure> {
        for line in self.table_lines(head, rows) {
            writeln!(self.to, "{line}")?;
        }
        Ok(())
    }

    /// The lines of a table, its head first: each row is one line.
    pub(super) fn table_lines(&self, head: &[&str], rows: Vec<Vec<String>>) -> Vec<String> {
        let mut table = Table::new();
        table.load_style(comfy_table::presets::NOTHING);
        table.set_content_arrangement(ContentArrangement::Disabled);
        table.set_header(head.iter().map(|name| name.to_uppercase()));
        for row in rows {
            table.add_row(row.iter().map(|cell| shown(cell)));
        }
        table.lines().map(|line| line.trim_end().to_owned()).collect()
    }

    /// Names and values, one a line; what is absent is left out. A value of several lines goes on below
    /// itself behind a bar: no line begins with words of others.
    pub(super) fn facts(&mut self, facts: &[(&str, Option<String>)]) -> Result<(), Failure> {
        let width = facts.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
        for (name, value) in facts {
            let Some(value) = value else { continue };
            let mut lines = value.lines();
            writeln!(self.to, "{name:width$}  {}", shown(lines.next().unwrap_or_default()))?;
            for line in lines {
                writeln!(self.to, "{:width$}  | {}", "", shown(line))?;
            }
        }
        Ok(())
    }
}

/// Whether a character changes how a terminal or a reader takes what follows: controls of both
/// sets, and the marks that turn the direction of writing.
fn is_hostile(char: char) -> bool {
    let turns = matches!(char, '\u{200e}' | '\u{200f}' | '\u{061c}' | '\u{202a}'..='\u{202e}'
        | '\u{2066}'..='\u{2069}' | '\u{2028}' | '\u{2029}');
    char.is_control() || turns
}

/// Text of others as it may be shown: on one line, and nothing but text.
pub(super) fn shown(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '\n' => out.push_str("\\n"),
            '\t' => out.push(' '),
            _ if is_hostile(char) => out.extend(char.escape_unicode()),
            _ => out.push(char),
        }
    }
    out
}

/// JSON with every hostile character escaped. JSON itself lets those of the second control set
/// through; they stand in strings only, where the escape means the same.
fn escape_json(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for char in json.chars() {
        if is_hostile(char) {
            // All of them are of the first plane: four digits.
            out.push_str(&format!("\\u{:04x}", u32::from(char)));
        } else {
            out.push(char);
        }
    }
    out
}

/// A time for people: RFC 3339, UTC, to the second.
pub(super) fn time(at_ms: i64) -> String {
    jiff::Timestamp::from_second(at_ms.div_euclid(1_000))
        .map_or_else(|_| at_ms.to_string(), |time| time.to_string())
}

/// Prints why a command failed, to standard error.
pub(super) fn report(failure: &Failure, form: Form) {
    let mut stderr = io::stderr().lock();
    // Nobody is left to tell where this fails, too.
    let _ = match form {
        Form::Human => {
            failure.sentence.lines().try_for_each(|line| writeln!(stderr, "{}", shown(line)))
        }
        Form::Json => {
            let (code, sentence) = (failure.exit.word(), &failure.sentence);
            let value = serde_json::json!({"error": {"code": code, "sentence": sentence}});
            writeln!(stderr, "{}", escape_json(&value.to_string()))
        }
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_text_reaches_the_terminal_as_text() {
        let hostile = "a\u{1b}[31mred\u{9b}2J\u{7}\r\nb\u{202e}c\td\u{7f}";
        let safe = shown(hostile);
        assert!(!safe.chars().any(is_hostile), "{safe}");
        assert_eq!(shown("Grüße 🎉"), "Grüße 🎉");
    }

    #[test]
    fn a_sentence_that_goes_on_does_so_indented_and_still_as_text() {
        let mut bytes = Vec::new();
        let text = "make it say:\n[x]\r\nhost: right\u{1b}[2J";
        Output { form: Form::Human, to: &mut bytes }.paragraph(text).unwrap();
        let text = String::from_utf8(bytes).unwrap();
        assert_eq!(text, "make it say:\n    [x]\n    host: right\\u{1b}[2J\n");
    }

    #[test]
    fn a_value_of_several_lines_goes_on_below_itself() {
        let mut bytes = Vec::new();
        let facts = [("code", Some("denied".to_owned())), ("why", Some("a\ncode  b".to_owned()))];
        Output { form: Form::Human, to: &mut bytes }.facts(&facts).unwrap();
        assert_eq!(String::from_utf8(bytes).unwrap(), "code  denied\nwhy   a\n      | code  b\n");
    }

    #[test]
    fn json_keeps_its_meaning_and_loses_its_escapes() {
        let hostile = "a\u{1b}[31m\u{9b}2J\u{202e}\u{2028}\n\"";
        let mut bytes = Vec::new();
        Output { form: Form::Json, to: &mut bytes }.json(&hostile).unwrap();
        let text = String::from_utf8(bytes).unwrap();
        assert!(!text.trim_end_matches('\n').chars().any(is_hostile), "{text:?}");
        assert_eq!(serde_json::from_str::<String>(&text).unwrap(), hostile);
    }

    #[test]
    fn a_reader_that_has_seen_enough_is_no_failure() {
        struct Gone;
        impl Write for Gone {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let failure = Output { form: Form::Human, to: &mut Gone }.line("x").unwrap_err();
        assert_eq!(failure.exit, Exit::Done);
    }

    #[test]
    fn a_time_is_for_people_and_any_number_is_one() {
        assert_eq!(time(1_700_000_000_123), "2023-11-14T22:13:20Z");
        assert_eq!(time(-1), "1969-12-31T23:59:59Z");
        assert_eq!(time(i64::MAX), i64::MAX.to_string());
    }
}
