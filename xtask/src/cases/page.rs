//! The page of behaviour: its groups and the ids of its cases, in the order of the page.

use anyhow::{Result, bail};

/// `docs/behaviour.md`, as far as the table needs it.
#[derive(Debug)]
pub(super) struct Page {
    pub(super) groups: Vec<Group>,
}

/// One heading, such as `F. Abort`, with the ids below it.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) title: String,
    pub(super) ids: Vec<String>,
}

impl Page {
    /// Headings `## X. Title`, cases `- **X1** sentence`.
    ///
    /// # Errors
    /// A case outside of its group, twice, or out of turn: a gap would be a case that was lost.
    pub(super) fn read(text: &str) -> Result<Self> {
        let mut groups: Vec<Group> = Vec::new();
        for (at, line) in text.lines().enumerate() {
            let number = at + 1;
            if let Some(title) = line.strip_prefix("## ") {
                groups.push(Group { title: title.trim().to_owned(), ids: Vec::new() });
            }
            let Some((id, _)) = line.strip_prefix("- **").and_then(|rest| rest.split_once("**"))
            else {
                continue;
            };
            let Some(group) = groups.last_mut() else {
                bail!("docs/behaviour.md:{number}: case {id} stands in no group");
            };
            let letter = group.title.split('.').next().unwrap_or_default();
            let due = format!("{letter}{}", group.ids.len() + 1);
            if id != due {
                bail!("docs/behaviour.md:{number}: {due} is due here, not {id}");
            }
            group.ids.push(due);
        }
        if groups.is_empty() {
            bail!("docs/behaviour.md has no group of cases (`## A. Title`)");
        }
        Ok(Self { groups })
    }

    pub(super) fn ids(&self) -> impl Iterator<Item = &str> {
        self.groups.iter().flat_map(|group| &group.ids).map(String::as_str)
    }
}
