//! Reading one table of the config: typed values, ranges, and the unknown keys that are left over.
//!
//! Every reader either gives a value or reports a fault and gives nothing, so that the rest of the
//! file is still looked at. A key counts as known because somebody asked for it: there is no second
//! list of keys that could say something else. It knows no setting by name.

use std::ops::{Range, RangeInclusive};
use std::time::Duration;

use bytesize::ByteSize;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::{Faults, shown};

/// A value of the file with the place it stands at.
#[derive(Debug, Clone)]
pub(super) struct Placed<T> {
    pub(super) value: T,
    pub(super) span: Range<usize>,
}

/// A key that is right elsewhere, or in another version, with the sentence that says so.
pub(super) type Hint = (&'static str, &'static str);

/// One table of the file, while it is being read.
pub(super) struct Section<'a> {
    /// Dotted, empty for the top of the file.
    path: String,
    /// Where the table begins, for what is missing in it.
    span: Range<usize>,
    table: Option<&'a DeTable<'a>>,
    asked: Vec<&'static str>,
}

impl<'a> Section<'a> {
    pub(super) fn new(path: &str, span: Range<usize>, table: &'a DeTable<'a>) -> Self {
        Self { path: path.to_owned(), span, table: Some(table), asked: Vec::new() }
    }

    /// A table that does not stand in the file: all its settings have their defaults.
    fn absent(path: String) -> Self {
        Self { path, span: 0..0, table: None, asked: Vec::new() }
    }

    /// Whether the table stands in the file.
    pub(super) fn is_present(&self) -> bool {
        self.table.is_some()
    }

    pub(super) fn span(&self) -> &Range<usize> {
        &self.span
    }

    /// `[a.b] key`, as sentences name a setting.
    pub(super) fn name(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("[{}] {key}", self.path) }
    }

    /// The key as it stands in the file, for a fault about its being there at all.
    pub(super) fn key_span(&self, key: &str) -> Option<Range<usize>> {
        let found = self.table?.iter().find(|(name, _)| name.get_ref() == key);
        found.map(|(name, _)| name.span())
    }

    /// The raw value of `key`, which is known from here on.
    pub(super) fn raw(&mut self, key: &'static str) -> Option<&'a Spanned<DeValue<'a>>> {
        self.asked.push(key);
        let found = self.table?.iter().find(|(name, _)| name.get_ref() == key);
        found.map(|(_, value)| value)
    }

    /// All entries of a table whose keys the operator chooses: none of them is unknown.
    pub(super) fn entries(
        &self,
    ) -> impl Iterator<Item = (Placed<&'a str>, &'a Spanned<DeValue<'a>>)> + use<'a> {
        self.table.into_iter().flat_map(|table| {
            table.iter().map(|(name, value)| {
                let key = Placed { value: name.get_ref().as_ref(), span: name.span() };
                (key, value)
            })
        })
    }

    /// A table in this one; an absent one reads as empty.
    pub(super) fn section(&mut self, key: &'static str, faults: &mut Faults<'_>) -> Section<'a> {
        let path =
            if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) };
        let key_span = self.key_span(key);
        let Some(value) = self.raw(key) else { return Self::absent(path) };
        let Some(table) = value.get_ref().as_table() else {
            wrong_type(faults, value, &format!("[{path}]"), "a table");
            return Self::absent(path);
        };
        Self {
            path,
            span: key_span.unwrap_or_else(|| value.span()),
            table: Some(table),
            asked: Vec::new(),
        }
    }

    /// Text.
    pub(super) fn text(
        &mut self,
        key: &'static str,
        faults: &mut Faults<'_>,
    ) -> Option<Placed<&'a str>> {
        let name = self.name(key);
        let value = self.raw(key)?;
        as_text(value, &name, faults)
    }

    /// `true` or `false`.
    pub(super) fn truth(
        &mut self,
        key: &'static str,
        faults: &mut Faults<'_>,
    ) -> Option<Placed<bool>> {
        let name = self.name(key);
        let value = self.raw(key)?;
        let found = value.get_ref().as_bool();
        if found.is_none() {
            wrong_type(faults, value, &name, "true or false");
        }
        found.map(|found| Placed { value: found, span: value.span() })
    }

    /// A whole number within `range`.
    pub(super) fn number(
        &mut self,
        key: &'static str,
        range: RangeInclusive<u32>,
        faults: &mut Faults<'_>,
    ) -> Option<Placed<u32>> {
        let name = self.name(key);
        let value = self.raw(key)?;
        let Some(integer) = value.get_ref().as_integer() else {
            wrong_type(faults, value, &name, "a whole number");
            return None;
        };
        let found = i128::from_str_radix(integer.as_str(), integer.radix())
            .ok()
            .and_then(|number| u32::try_from(number).ok())
            .filter(|number| range.contains(number));
        if found.is_none() {
            let (low, high) = (range.start(), range.end());
            faults
                .add(&value.span(), format!("{name} must be a whole number from {low} to {high}"));
        }
        found.map(|found| Placed { value: found, span: value.span() })
    }

    /// A duration such as `"2.5s"` within `range`.
    pub(super) fn duration(
        &mut self,
        key: &'static str,
        range: RangeInclusive<Duration>,
        faults: &mut Faults<'_>,
    ) -> Option<Placed<Duration>> {
        let name = self.name(key);
        let value = self.raw(key)?;
        as_duration(value, &name, &range, faults)
    }

    /// A number of bytes, plain or such as `"4MiB"`, within `range`.
    pub(super) fn bytes(
        &mut self,
        key: &'static str,
        range: RangeInclusive<u64>,
        faults: &mut Faults<'_>,
    ) -> Option<Placed<u64>> {
        let name = self.name(key);
        let value = self.raw(key)?;
        let found = match value.get_ref() {
            DeValue::Integer(integer) => {
                u64::from_str_radix(integer.as_str(), integer.radix()).ok()
            }
            DeValue::String(text) => text.trim().parse::<ByteSize>().ok().map(|size| size.as_u64()),
            _ => {
                wrong_type(faults, value, &name, "a size such as \"4MiB\"");
                return None;
            }
        };
        let found = found.filter(|bytes| range.contains(bytes));
        if found.is_none() {
            let (low, high) = (ByteSize::b(*range.start()), ByteSize::b(*range.end()));
            let sentence = format!("{name} must be a size from {low} to {high}, such as \"4MiB\"");
            faults.add(&value.span(), sentence);
        }
        found.map(|found| Placed { value: found, span: value.span() })
    }

    /// A list; an item that is wrong is reported by whoever reads it.
    pub(super) fn list(
        &mut self,
        key: &'static str,
        faults: &mut Faults<'_>,
    ) -> Option<Placed<Vec<&'a Spanned<DeValue<'a>>>>> {
        let name = self.name(key);
        let value = self.raw(key)?;
        let Some(array) = value.get_ref().as_array() else {
            wrong_type(faults, value, &name, "a list");
            return None;
        };
        Some(Placed { value: array.iter().collect(), span: value.span() })
    }

    /// A list of texts. Nothing at all where one of them is no text.
    pub(super) fn texts(
        &mut self,
        key: &'static str,
        faults: &mut Faults<'_>,
    ) -> Option<Placed<Vec<Placed<String>>>> {
        let name = self.name(key);
        let list = self.list(key, faults)?;
        let mut texts = Vec::with_capacity(list.value.len());
        for item in &list.value {
            if let Some(text) = as_text(item, &format!("each item of {name}"), faults) {
                texts.push(Placed { value: text.value.to_owned(), span: text.span });
            }
        }
        (texts.len() == list.value.len()).then_some(Placed { value: texts, span: list.span })
    }

    /// One of a few words.
    pub(super) fn word<T: Copy>(
        &mut self,
        key: &'static str,
        words: &[(&'static str, T)],
        faults: &mut Faults<'_>,
    ) -> Option<Placed<T>> {
        let name = self.name(key);
        let text = self.text(key, faults)?;
        if let Some((_, value)) = words.iter().find(|(word, _)| *word == text.value) {
            return Some(Placed { value: *value, span: text.span });
        }
        let right: Vec<_> = words.iter().map(|(word, _)| *word).collect();
        let choice = right.iter().map(|word| format!("\"{word}\"")).collect::<Vec<_>>().join(", ");
        let sentence = format!("{name} must be one of {choice}, not \"{}\"", shown(text.value));
        faults.add_wrong_word(&text.span, text.value, &right, sentence);
        None
    }

    /// Reports every key that nobody asked for. `hints` name keys that are right elsewhere.
    pub(super) fn finish(self, hints: &[Hint], faults: &mut Faults<'_>) {
        let place = if self.path.is_empty() {
            "at the top of the file".to_owned()
        } else {
            format!("in [{}]", self.path)
        };
        for (key, _) in self.entries() {
            if self.asked.contains(&key.value) {
                continue;
            }
            let unknown = format!("unknown key \"{}\" {place}", shown(key.value));
            match hints.iter().find(|(name, _)| *name == key.value) {
                Some((_, sentence)) => {
                    let sentence = format!("{unknown}: {sentence}");
                    faults.add_wrong_word(&key.span, key.value, &[], sentence);
                }
                None => faults.add_wrong_word(&key.span, key.value, &self.asked, unknown),
            }
        }
    }
}

/// The value as text.
pub(super) fn as_text<'a>(
    value: &'a Spanned<DeValue<'a>>,
    name: &str,
    faults: &mut Faults<'_>,
) -> Option<Placed<&'a str>> {
    let found = value.get_ref().as_str();
    if found.is_none() {
        wrong_type(faults, value, name, "text in quotes");
    }
    found.map(|found| Placed { value: found, span: value.span() })
}

/// The value as a duration within `range`.
pub(super) fn as_duration(
    value: &Spanned<DeValue<'_>>,
    name: &str,
    range: &RangeInclusive<Duration>,
    faults: &mut Faults<'_>,
) -> Option<Placed<Duration>> {
    let Some(text) = value.get_ref().as_str() else {
        wrong_type(faults, value, name, "a duration with its unit, such as \"30s\"");
        return None;
    };
    let found = humantime::parse_duration(text.trim()).ok().filter(|time| range.contains(time));
    if found.is_none() {
        let low = humantime::format_duration(*range.start());
        let high = humantime::format_duration(*range.end());
        let sentence = format!("{name} must be a duration from {low} to {high}, such as \"30s\"");
        faults.add(&value.span(), sentence);
    }
    found.map(|found| Placed { value: found, span: value.span() })
}

/// Reports a value of the wrong type. The value itself is not repeated: it may be a secret.
pub(super) fn wrong_type(
    faults: &mut Faults<'_>,
    value: &Spanned<DeValue<'_>>,
    name: &str,
    right: &str,
) {
    let found = match value.get_ref() {
        DeValue::String(_) => "text",
        DeValue::Integer(_) | DeValue::Float(_) => "a number",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    };
    faults.add(&value.span(), format!("{name} must be {right}, not {found}"));
}
