//! CommonMark, as agents write it, turned into what Telegram takes: a text, and entities that say
//! which pieces of it are bold, code or links. Entities need no escaping and cannot fail to parse.

use lastword_sdk::prelude::*;
use pulldown_cmark::{CodeBlockKind, Event, Options, Parser, Tag, TagEnd};

use crate::entities::length;

/// What Telegram keeps of one message.
const ENTITIES_MAX: usize = 100;

/// A text and its form.
#[derive(Debug, PartialEq)]
pub(crate) struct Formed {
    pub(crate) text: String,
    /// `MessageEntity` documents, in order.
    pub(crate) entities: Vec<Value>,
}

pub(crate) fn form(text: &str) -> Formed {
    let options = Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH;
    let mut writer = Writer::default();
    for event in Parser::new_ext(text, options) {
        writer.take(event);
    }
    writer.finish()
}

/// An entity whose end has not come.
struct Open {
    entity: Value,
    start: usize,
}

#[derive(Default)]
struct Writer {
    text: String,
    /// The length of `text`, in UTF-16 units.
    units: usize,
    open: Vec<Open>,
    done: Vec<(usize, usize, Value)>,
    /// The next number of each list that is open; none where it has no numbers.
    lists: Vec<Option<u64>>,
    /// Whether the next piece begins an item, right behind its mark.
    at_item: bool,
    table: Option<Table>,
}

/// A table, until all of its columns are known.
#[derive(Default)]
struct Table {
    rows: Vec<Vec<String>>,
}

impl Writer {
    fn take(&mut self, event: Event<'_>) {
        match event {
            Event::Start(tag) => self.start(tag),
            Event::End(tag) => self.end(tag),
            Event::Text(text) => self.push(&text),
            // HTML within the text is shown as text: an agent's words are words.
            Event::Html(text) | Event::InlineHtml(text) => self.push(&text),
            Event::Code(code) if self.table.is_none() => {
                self.open(json!({ "type": "code" }));
                self.push(&code);
                self.close();
            }
            Event::Code(code) => self.push(&code),
            Event::SoftBreak | Event::HardBreak => self.push("\n"),
            Event::Rule => {
                self.gap();
                self.push("———");
            }
            Event::FootnoteReference(_)
            | Event::TaskListMarker(_)
            | Event::InlineMath(_)
            | Event::DisplayMath(_) => {}
        }
    }

    fn start(&mut self, tag: Tag<'_>) {
        match tag {
            Tag::Paragraph => self.gap(),
            Tag::Heading { .. } => {
                self.gap();
                self.open(json!({ "type": "bold" }));
            }
            Tag::BlockQuote(_) => {
                self.gap();
                self.open(json!({ "type": "blockquote" }));
                // The quotation's first paragraph stands where it begins.
                self.at_item = true;
            }
            Tag::CodeBlock(kind) => {
                self.gap();
                let language = match &kind {
                    CodeBlockKind::Fenced(info) => info.split_whitespace().next(),
                    CodeBlockKind::Indented => None,
                };
                self.open(match language {
                    Some(language) => json!({ "type": "pre", "language": language }),
                    None => json!({ "type": "pre" }),
                });
            }
            Tag::List(first) => {
                if self.lists.is_empty() {
                    self.gap();
                }
                self.lists.push(first);
            }
            Tag::Item => self.item(),
            Tag::Emphasis => self.open(json!({ "type": "italic" })),
            Tag::Strong => self.open(json!({ "type": "bold" })),
            Tag::Strikethrough => self.open(json!({ "type": "strikethrough" })),
            Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. } => {
                self.open(json!({ "type": "text_link", "url": dest_url.as_ref() }));
            }
            Tag::Table(_) => {
                self.gap();
                self.table = Some(Table::default());
            }
            Tag::TableHead | Tag::TableRow => {
                if let Some(table) = &mut self.table {
                    table.rows.push(Vec::new());
                }
            }
            Tag::TableCell => {
                if let Some(row) = self.table.as_mut().and_then(|table| table.rows.last_mut()) {
                    row.push(String::new());
                }
            }
            _ => {}
        }
    }

    fn end(&mut self, tag: TagEnd) {
        match tag {
            TagEnd::Heading(_)
            | TagEnd::BlockQuote(_)
            | TagEnd::CodeBlock
            | TagEnd::Emphasis
            | TagEnd::Strong
            | TagEnd::Strikethrough => self.close(),
            TagEnd::Link | TagEnd::Image => self.close_link(),
            TagEnd::List(_) => {
                self.lists.pop();
            }
            TagEnd::Table => self.end_table(),
            _ => {}
        }
    }

    /// Pieces that stand apart have an empty line between them; items of a list a plain one.
    fn gap(&mut self) {
        if std::mem::take(&mut self.at_item) {
            return;
        }
        let written = self.text.trim_end_matches('\n').len();
        let wanted = match (written, self.lists.is_empty()) {
            (0, _) => 0,
            (_, true) => 2,
            (_, false) => 1,
        };
        for _ in self.text.len() - written..wanted {
            self.push("\n");
        }
    }

    fn item(&mut self) {
        if !self.text.is_empty() && !self.text.ends_with('\n') {
            self.push("\n");
        }
        let indent = "  ".repeat(self.lists.len().saturating_sub(1));
        let mark = match self.lists.last_mut() {
            Some(Some(number)) => {
                let mark = format!("{indent}{number}. ");
                *number = number.saturating_add(1);
                mark
            }
            Some(None) | None => format!("{indent}• "),
        };
        self.push(&mark);
        self.at_item = true;
    }

    fn push(&mut self, text: &str) {
        let cell = self.table.as_mut().and_then(|table| table.rows.last_mut()?.last_mut());
        if let Some(cell) = cell {
            cell.push_str(text);
            return;
        }
        self.at_item = false;
        self.units += length(text);
        self.text.push_str(text);
    }

    fn open(&mut self, entity: Value) {
        self.open.push(Open { entity, start: self.units });
    }

    fn close(&mut self) {
        if let Some(Open { entity, start }) = self.open.pop() {
            self.done.push((start, self.units, entity));
        }
    }

    /// A link of a kind that Telegram opens is one; of any other the address is written out.
    fn close_link(&mut self) {
        let Some(Open { entity, start }) = self.open.pop() else { return };
        if self.table.is_some() {
            return;
        }
        let address = entity["url"].as_str().unwrap_or_default().to_owned();
        let is_opened = ["http://", "https://", "tg://", "mailto:"]
            .iter()
            .any(|scheme| address.to_ascii_lowercase().starts_with(scheme));
        if is_opened {
            if start == self.units {
                self.push(&address);
            }
            self.done.push((start, self.units, entity));
        } else if !address.is_empty() {
            self.push(&format!(" ({address})"));
        }
    }

    /// Telegram has no tables: columns are lined up, in letters of one width.
    fn end_table(&mut self) {
        let Some(Table { rows }) = self.table.take() else { return };
        let columns = rows.iter().map(Vec::len).max().unwrap_or_default();
        let width = |at: usize| {
            let cells = rows.iter().filter_map(|row| row.get(at));
            cells.map(|cell| cell.chars().count()).max().unwrap_or_default()
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        let line = |row: &Vec<String>| {
            let cells = widths.iter().zip(row).map(|(width, cell)| format!("{cell:<width$}"));
            cells.collect::<Vec<_>>().join(" | ").trim_end().to_owned()
        };
        let mut lines: Vec<String> = rows.iter().map(line).collect();
        let rule: Vec<String> = widths.iter().map(|width| "-".repeat(*width)).collect();
        lines.insert(1.min(lines.len()), rule.join("-|-"));
        self.open(json!({ "type": "pre" }));
        self.push(&lines.join("\n"));
        self.close();
    }

    /// Space at the end is not shown, and no entity may end in it.
    fn finish(mut self) -> Formed {
        while !self.open.is_empty() {
            self.close();
        }
        let text = self.text.trim_end().to_owned();
        let end = length(&text);
        let mut done = self.done;
        done.sort_by_key(|(start, stop, _)| (*start, std::cmp::Reverse(*stop)));
        let entities = done.into_iter().filter_map(|(start, stop, mut entity)| {
            let stop = stop.min(end);
            (start < stop).then(|| {
                entity["offset"] = json!(start);
                entity["length"] = json!(stop - start);
                entity
            })
        });
        Formed { entities: entities.take(ENTITIES_MAX).collect(), text }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The pieces of a formed text, by what they are.
    fn pieces(text: &str) -> Vec<(String, String)> {
        let Formed { text, entities } = form(text);
        let units: Vec<u16> = text.encode_utf16().collect();
        let number = |value: &Value| usize::try_from(value.as_u64().unwrap()).unwrap();
        let piece = |entity: &Value| {
            let start = number(&entity["offset"]);
            let piece = &units[start..start + number(&entity["length"])];
            (entity["type"].as_str().unwrap().to_owned(), String::from_utf16(piece).unwrap())
        };
        entities.iter().map(piece).collect()
    }

    fn pair(kind: &str, piece: &str) -> (String, String) {
        (kind.to_owned(), piece.to_owned())
    }

    #[test]
    fn bold_italic_struck_and_code_are_entities_of_a_plain_text() {
        let said = "**a** *b* ~~c~~ `d`";
        assert_eq!(form(said).text, "a b c d");
        let expected =
            [pair("bold", "a"), pair("italic", "b"), pair("strikethrough", "c"), pair("code", "d")];
        assert_eq!(pieces(said), expected);
    }

    #[test]
    fn places_are_counted_in_utf16_units() {
        assert_eq!(pieces("👍🏽 **done**"), [pair("bold", "done")]);
    }

    #[test]
    fn html_and_telegrams_own_marks_are_words() {
        let said = "a <b>c</b> _ [ ( 1 < 2 & 3";
        assert_eq!(form(said), Formed { text: said.to_owned(), entities: Vec::new() });
    }

    #[test]
    fn a_code_block_keeps_its_language_and_its_lines() {
        let formed = form("x\n\n```rust\nfn a() {}\n\nb\n```\ny");
        assert_eq!(formed.text, "x\n\nfn a() {}\n\nb\n\ny");
        assert_eq!(formed.entities[0]["language"], "rust");
        assert_eq!(pieces("```\na\n```"), [pair("pre", "a")]);
    }

    #[test]
    fn lists_have_marks_and_are_indented() {
        let said = "- a\n- b\n  1. c\n  2. d\n- e\n\nf";
        assert_eq!(form(said).text, "• a\n• b\n  1. c\n  2. d\n• e\n\nf");
        assert_eq!(form("3. a\n4. b").text, "3. a\n4. b");
    }

    #[test]
    fn a_table_is_lined_up_in_letters_of_one_width() {
        let said = "|a|bb|\n|-|-|\n|ccc|`d`|";
        assert_eq!(form(said).text, "a   | bb\n----|---\nccc | d");
        assert_eq!(pieces(said).len(), 1);
    }

    #[test]
    fn a_link_that_telegram_does_not_open_is_written_out() {
        assert_eq!(form("[a](https://b.example)").entities[0]["url"], "https://b.example");
        assert_eq!(form("[a](docs/b.md)").text, "a (docs/b.md)");
        assert!(form("[a](javascript:b)").entities.is_empty());
    }

    #[test]
    fn headings_are_bold_and_quotations_are_quoted() {
        assert_eq!(form("# a\nb").text, "a\n\nb");
        assert_eq!(pieces("# a\nb"), [pair("bold", "a")]);
        assert_eq!(pieces("x\n\n> a\n> b\n\ny"), [pair("blockquote", "a\nb")]);
    }

    #[test]
    fn entities_end_before_the_space_at_the_end_and_are_never_empty() {
        assert!(form("**  **").entities.iter().all(|entity| entity["length"] != 0));
        assert_eq!(form("a\n\n\n").text, "a");
    }
}
