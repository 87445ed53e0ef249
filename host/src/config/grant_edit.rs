//! Writes one channel's grants into the text of a config: what does not change stays as it is to
//! the byte, comments and order included.
//!
//! The places come from the parser's own positions, and what was written is parsed again: a config
//! that would then say anything else than before beside these grants is not given back. A library
//! that edits whole documents would do the same; the one there is would have the engine built anew.

use std::ops::Range;

use toml::de::{DeTable, DeValue};
use toml::{Spanned, Table, Value};

use super::channel::Grants;

const TARGETS: &str = "targets";
const PRIVATE: &str = "private_targets";

/// The text with `[channels.CHANNEL.grants]` saying `grants`, and the rest as it was. The same text
/// where it says so already.
///
/// # Errors
/// Nothing but that: where the text is no config with this channel, or is written in a way that
/// this does not edit. Its operator is then given the lines.
pub fn with_grants(text: &str, channel: &str, grants: &Grants) -> Option<String> {
    let before: Table = text.parse().ok()?;
    let wanted = wanted(&before, channel, grants)?;
    if before == wanted {
        return Some(text.to_owned());
    }
    let document = DeTable::parse(text).ok()?;
    let channels = entry(document.get_ref(), "channels")?.get_ref().as_table()?;
    let place = entry(channels, channel)?;
    let edited = Editor { text, grants }.edit(channel, place)?;
    // The proof: nothing else says anything else now.
    let after: Table = edited.parse().ok()?;
    (after == wanted).then_some(edited)
}

/// The whole config as it is to be. A list that would be empty and is not there stays away.
fn wanted(before: &Table, channel: &str, grants: &Grants) -> Option<Table> {
    let mut wanted = before.clone();
    let place = wanted.get_mut("channels")?.get_mut(channel)?.as_table_mut()?;
    let empty = || Value::Table(Table::new());
    let table = place.entry("grants").or_insert_with(empty).as_table_mut()?;
    for (key, ids) in [(TARGETS, &grants.targets), (PRIVATE, &grants.private_targets)] {
        let now = table.get(key).and_then(Value::as_array);
        let same = now.is_some_and(|now| {
            now.len() == ids.len()
                && ids.iter().all(|id| now.iter().any(|it| it.as_str() == Some(id)))
        });
        // In another order it says the same.
        if !same && (now.is_some() || !ids.is_empty() || key == TARGETS) {
            let kept = now.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned);
            let mut list: Vec<String> = kept.filter(|id| ids.contains(id)).collect();
            let new = ids.iter().filter(|id| !list.contains(id)).cloned().collect::<Vec<_>>();
            list.extend(new);
            table.insert(key.to_owned(), Value::from(list));
        }
    }
    Some(wanted)
}

type Place<'a> = &'a Spanned<DeValue<'a>>;

fn entry<'a>(table: &'a DeTable<'a>, key: &str) -> Option<Place<'a>> {
    table.iter().find(|(name, _)| name.get_ref() == key).map(|(_, value)| value)
}

struct Editor<'a> {
    text: &'a str,
    grants: &'a Grants,
}

impl Editor<'_> {
    fn edit(&self, channel: &str, place: Place<'_>) -> Option<String> {
        let table = place.get_ref().as_table()?;
        let Some(grants) = entry(table, "grants") else {
            return Some(self.add_table(channel, place));
        };
        let lists = grants.get_ref().as_table()?;
        if lists.is_empty() {
            return Some(match self.is_inline(grants) {
                true => self.replaced(grants.span(), &format!("{{ {} }}", self.lines().join(", "))),
                false => self.inserted(
                    self.line_end(grants.span().end),
                    &self.after_line("", &self.lines()),
                ),
            });
        }
        // From the end to the beginning, so that places found before stay right.
        let mut text = self.text.to_owned();
        let (targets, private) = (entry(lists, TARGETS), entry(lists, PRIVATE));
        let mut edits: Vec<(Range<usize>, String)> = Vec::new();
        edits.extend(targets.and_then(|list| self.edit_list(list, &self.grants.targets)));
        edits.extend(private.and_then(|list| self.edit_list(list, &self.grants.private_targets)));
        let missing = [(TARGETS, targets, private), (PRIVATE, private, targets)];
        for (key, list, beside) in missing {
            let ids = self.ids(key);
            if let (None, Some(beside)) = (list, beside)
                && !(ids.is_empty() && key == PRIVATE)
            {
                edits.push(self.beside(grants, beside, key, ids));
            }
        }
        edits.sort_by_key(|(span, _)| std::cmp::Reverse(span.start));
        for (span, new) in edits {
            text.replace_range(span, &new);
        }
        Some(text)
    }

    fn ids(&self, key: &str) -> &[String] {
        if key == TARGETS { &self.grants.targets } else { &self.grants.private_targets }
    }

    /// A list that says something else: what is new behind its last item, so that comments in it
    /// stay; written anew where something is to go.
    fn edit_list(&self, list: Place<'_>, ids: &[String]) -> Option<(Range<usize>, String)> {
        let items = list.get_ref().as_array()?;
        let has = |id: &str| items.iter().any(|item| item.get_ref().as_str() == Some(id));
        let stays = |item: &Spanned<DeValue<'_>>| {
            item.get_ref().as_str().is_some_and(|id| ids.iter().any(|wanted| wanted == id))
        };
        let new: Vec<&str> = ids.iter().map(String::as_str).filter(|id| !has(id)).collect();
        let all_stay = items.iter().all(stays);
        if new.is_empty() && all_stay && items.len() == ids.len() {
            return None;
        }
        let last = items.iter().last().filter(|_| all_stay && items.len() + new.len() == ids.len());
        if let Some(last) = last {
            let more: String = new.iter().map(|id| format!(", \"{id}\"")).collect();
            return Some((last.span().end..last.span().end, more));
        }
        let kept = items.iter().filter(|item| stays(item)).filter_map(|it| it.get_ref().as_str());
        let all: Vec<String> = kept.chain(new).map(str::to_owned).collect();
        Some((list.span(), array(&all)))
    }

    /// A list that is missing, beside the one that is there, written as that one is.
    fn beside(
        &self,
        grants: Place<'_>,
        other: Place<'_>,
        key: &str,
        ids: &[String],
    ) -> (Range<usize>, String) {
        let end = other.span().end;
        if self.is_inline(grants) {
            return (end..end, format!(", {key} = {}", array(ids)));
        }
        // `grants.` where the channel's table writes it so.
        let start = self.text[..other.span().start].rfind('\n').map_or(0, |at| at + 1);
        let line = &self.text[start..other.span().start];
        let other_key = if key == TARGETS { PRIVATE } else { TARGETS };
        let prefix = line.find(other_key).map_or("", |at| &line[..at]);
        let at = self.line_end(end);
        (at..at, self.after_line(prefix, &[format!("{key} = {}", array(ids))]))
    }

    /// The whole table, behind the last line of its channel.
    fn add_table(&self, channel: &str, place: Place<'_>) -> String {
        if self.is_inline(place) {
            let close = place.span().end - 1;
            let inside = self.text[..close].trim_end();
            let comma = if inside.ends_with(['{', ',']) { "" } else { "," };
            let table = format!("{comma} grants = {{ {} }}", self.lines().join(", "));
            return self.replaced(inside.len()..inside.len(), &table);
        }
        let at = self.line_end(last_end(place));
        let head = format!("\n[channels.{channel}.grants]");
        let lines: Vec<String> = std::iter::once(head).chain(self.lines()).collect();
        self.inserted(at, &self.after_line("", &lines))
    }

    fn lines(&self) -> Vec<String> {
        let keys = [TARGETS, PRIVATE].into_iter();
        let said = keys.filter(|key| *key == TARGETS || !self.ids(key).is_empty());
        said.map(|key| format!("{key} = {}", array(self.ids(key)))).collect()
    }

    fn after_line(&self, prefix: &str, lines: &[String]) -> String {
        lines.iter().map(|line| format!("\n{prefix}{line}")).collect()
    }

    fn is_inline(&self, place: Place<'_>) -> bool {
        self.text[place.span()].starts_with('{')
    }

    /// Where the line ends in which `at` stands, before its line break.
    fn line_end(&self, at: usize) -> usize {
        let end = self.text[at..].find('\n').map_or(self.text.len(), |found| at + found);
        if self.text[..end].ends_with('\r') && end > at { end - 1 } else { end }
    }

    fn inserted(&self, at: usize, new: &str) -> String {
        self.replaced(at..at, new)
    }

    fn replaced(&self, span: Range<usize>, new: &str) -> String {
        let mut text = self.text.to_owned();
        text.replace_range(span, new);
        text
    }
}

/// Where the last value in a table ends, in whatever table below it that stands.
fn last_end(place: Place<'_>) -> usize {
    let own = place.span().end;
    let Some(table) = place.get_ref().as_table() else { return own };
    table.iter().map(|(_, value)| last_end(value)).max().unwrap_or(own).max(own)
}

fn array(ids: &[String]) -> String {
    let ids: Vec<String> = ids.iter().map(|id| format!("\"{id}\"")).collect();
    format!("[{}]", ids.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grants(targets: &[&str], private: &[&str]) -> Grants {
        let list = |ids: &[&str]| ids.iter().map(|id| (*id).to_owned()).collect();
        Grants { targets: list(targets), private_targets: list(private) }
    }

    /// Written twice it says the same, to the byte.
    fn edited(text: &str, grants: &Grants) -> String {
        let once = with_grants(text, "a", grants).unwrap_or_else(|| panic!("not edited:\n{text}"));
        assert_eq!(with_grants(&once, "a", grants).as_deref(), Some(once.as_str()), "{once}");
        once
    }

    const REST: &str = "\n\n# the next channel\n[channels.b]\nadapter = \"b.wasm\" # why\n";

    #[test]
    fn grants_that_are_not_there_stand_behind_their_channel() {
        for (before, after) in [
            (
                "[channels.a]\nadapter = \"a.wasm\" # ours",
                "[channels.a]\nadapter = \"a.wasm\" # ours\n\n[channels.a.grants]\ntargets = [\"x\"]",
            ),
            ("[channels.a]", "[channels.a]\n\n[channels.a.grants]\ntargets = [\"x\"]"),
            (
                "[channels.a.settings]\nb = [\n  1, # one\n]",
                "[channels.a.settings]\nb = [\n  1, # one\n]\n\n[channels.a.grants]\ntargets = [\"x\"]",
            ),
            (
                "[channels]\na = { adapter = \"a.wasm\" }",
                "[channels]\na = { adapter = \"a.wasm\", grants = { targets = [\"x\"] } }",
            ),
            ("[channels]\na = {}", "[channels]\na = { grants = { targets = [\"x\"] }}"),
            (
                "[channels]\na.adapter = \"a.wasm\"",
                "[channels]\na.adapter = \"a.wasm\"\n\n[channels.a.grants]\ntargets = [\"x\"]",
            ),
            ("[channels.a.grants]", "[channels.a.grants]\ntargets = [\"x\"]"),
            ("[channels.a]\ngrants = {}", "[channels.a]\ngrants = { targets = [\"x\"] }"),
        ] {
            let found = edited(&format!("{before}{REST}"), &grants(&["x"], &[]));
            assert_eq!(found, format!("{after}{REST}"));
        }
        let without_end = edited("[channels.a]\nadapter = \"a\"", &grants(&["x"], &["x"]));
        assert!(without_end.ends_with("targets = [\"x\"]\nprivate_targets = [\"x\"]"));
    }

    #[test]
    fn lists_that_are_there_are_changed_in_place_with_their_comments() {
        for (before, after) in [
            (
                "[channels.a.grants]\n# why\ntargets = [\"x\"] # first\n",
                "[channels.a.grants]\n# why\ntargets = [\"x\", \"y\"] # first\nprivate_targets = [\"y\"]\n",
            ),
            (
                "[channels.a.grants]\ntargets = [\n  \"x\", # first\n]\n",
                "[channels.a.grants]\ntargets = [\n  \"x\", \"y\", # first\n]\nprivate_targets = [\"y\"]\n",
            ),
            (
                "[channels.a.grants]\nprivate_targets = []\ntargets = [\"y\", \"x\"]\n",
                "[channels.a.grants]\nprivate_targets = [\"y\"]\ntargets = [\"y\", \"x\"]\n",
            ),
            (
                "[channels.a.grants]\ntargets = [\"gone\", \"x\"]\n",
                "[channels.a.grants]\ntargets = [\"x\", \"y\"]\nprivate_targets = [\"y\"]\n",
            ),
            (
                "[channels.a.grants]\nprivate_targets = [\"y\"]\n",
                "[channels.a.grants]\nprivate_targets = [\"y\"]\ntargets = [\"x\", \"y\"]\n",
            ),
            (
                "[channels.a]\ngrants.targets = [\"x\"]\nadapter = \"a\"\n",
                "[channels.a]\ngrants.targets = [\"x\", \"y\"]\ngrants.private_targets = [\"y\"]\nadapter = \"a\"\n",
            ),
            (
                "[channels.a]\ngrants = { targets = [\"x\"] } # all\n",
                "[channels.a]\ngrants = { targets = [\"x\", \"y\"], private_targets = [\"y\"] } # all\n",
            ),
            (
                "[channels.a.grants]\r\ntargets = [\"x\"]\r\n",
                "[channels.a.grants]\r\ntargets = [\"x\", \"y\"]\nprivate_targets = [\"y\"]\r\n",
            ),
        ] {
            let found = edited(before, &grants(&["x", "y"], &["y"]));
            assert_eq!(found, after);
        }
        let fewer = edited(
            "[channels.a.grants]\ntargets = [\"x\", \"y\"]\nprivate_targets = [\"y\"]\n",
            &grants(&["x"], &[]),
        );
        assert_eq!(fewer, "[channels.a.grants]\ntargets = [\"x\"]\nprivate_targets = []\n");
    }

    #[test]
    fn what_says_it_already_stays_to_the_byte_in_whatever_order() {
        let text =
            "[channels.a.grants]\n\ttargets=[ 'y','x' ]  # mine\nprivate_targets   = ['x']\n";
        assert_eq!(edited(text, &grants(&["x", "y"], &["x"])), text);
    }

    #[test]
    fn what_cannot_be_edited_without_changing_something_else_is_left_alone() {
        for text in [
            "not toml = = =",
            "[channels.b]\nadapter = \"b\"\n",
            "[channels]\na = 1\n",
            "[channels.a]\ngrants = 5\n",
            "[channels.a.grants]\ntargets = \"x\"\n",
            // What would be added would stand in the comment.
            "[channels]\na = { adapter = \"a.wasm\", # ours\n}\n",
        ] {
            assert_eq!(with_grants(text, "a", &grants(&["x"], &[])), None, "{text}");
        }
    }
}
