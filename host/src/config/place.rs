//! Where a key stands in a config's file, for what is found out only later: about a component, or
//! about this machine. It judges nothing.

use std::path::Path;

use toml::de::DeTable;

use super::error::position;

/// The text of a config file that was read before.
#[derive(Debug, Default)]
pub(crate) struct Places(String);

impl Places {
    /// Of a file that cannot be read any more no place is known.
    pub(crate) fn of(file: &Path) -> Self {
        Self(std::fs::read_to_string(file).unwrap_or_default())
    }

    /// The line of a key, from 1, by the path of its tables; none where there is no such key.
    pub(crate) fn line(&self, path: &[&str]) -> Option<u32> {
        let (document, _) = DeTable::parse_recoverable(&self.0);
        let mut table = document.get_ref();
        let (last, tables) = path.split_last()?;
        for name in tables {
            let (_, value) = table.iter().find(|(key, _)| key.get_ref() == name)?;
            table = value.get_ref().as_table()?;
        }
        let (key, _) = table.iter().find(|(key, _)| key.get_ref() == last)?;
        Some(position(&self.0, key.span().start).0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_found_by_its_tables_however_they_are_written() {
        let text = "[handler]\nkind = \"exec\"\ncommand = [\"x\"]\n\n[channels.hook]\n\
                    adapter = \"a\"\n[channels.hook.settings]\nurl = \"u\"\n";
        let places = Places(text.to_owned());
        assert_eq!(places.line(&["handler", "command"]), Some(3));
        assert_eq!(places.line(&["channels", "hook"]), Some(5));
        assert_eq!(places.line(&["channels", "hook", "settings", "url"]), Some(8));
        assert_eq!(places.line(&["channels", "other"]), None);
        assert_eq!(places.line(&["handler", "kind", "deeper"]), None);
        assert_eq!(Places::default().line(&["handler"]), None);
    }
}
