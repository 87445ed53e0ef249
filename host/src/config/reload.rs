//! `[reload]`: how changed adapters are found while the host runs.

use std::time::Duration;

use super::error::Faults;
use super::section::{Section, as_duration};

/// All of `[reload]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reload {
    /// `watch`: how often the adapters' files are looked at; none where `watch = false`. A change is
    /// taken at the second look that finds the file as the first one did.
    pub watch: Option<Duration>,
}

impl Default for Reload {
    fn default() -> Self {
        Self { watch: Some(Duration::from_secs(2)) }
    }
}

impl Reload {
    /// Reads the section over these values.
    pub(super) fn read(mut self, mut from: Section<'_>, faults: &mut Faults<'_>) -> Self {
        let name = from.name("watch");
        if let Some(value) = from.raw("watch") {
            // Below this a file that is copied over a network looks whole between two pieces.
            let range = Duration::from_millis(50)..=Duration::from_secs(3_600);
            if value.get_ref().as_bool() == Some(false) {
                self.watch = None;
            } else if let Some(found) = as_duration(value, &name, &range, faults) {
                self.watch = Some(found.value);
            }
        }
        from.finish(&[], faults);
        self
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::config::Config;

    fn parse(rest: &str) -> Result<Config, String> {
        let text = format!("[handler]\nkind = \"echo\"\n{rest}");
        let found = Config::parse(&text, Path::new("lastword.toml"), Path::new("/etc/bot"));
        found.map_err(|errors| errors.to_string())
    }

    #[test]
    fn a_component_is_pinned_by_its_whole_digest_and_watched_as_often_as_is_said() {
        let wrong = parse("[channels.x]\nadapter = \"a\"\nsha256 = \"00\"\n").unwrap_err();
        let sentence = "[channels.x] sha256 must be 64 hexadecimal digits, as `sha256sum FILE` \
                        prints them";
        assert!(wrong.starts_with("lastword.toml:5:10: ") && wrong.contains(sentence), "{wrong}");
        let digest = "Ab".repeat(32);
        let found = parse(&format!(
            "[reload]\nwatch = false\n[channels.x]\nadapter = \"a\"\nsha256 = \"{digest}\"\n"
        ))
        .unwrap();
        assert_eq!(found.reload.watch, None);
        let channel = &found.channels[&"x".into()];
        assert_eq!(channel.sha256, Some(digest.to_lowercase()));
        assert!(!channel.allow_downgrade);
    }
}
