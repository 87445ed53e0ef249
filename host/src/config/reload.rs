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
