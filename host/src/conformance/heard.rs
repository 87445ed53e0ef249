//! What the component writes into the log while the suite runs: heard by a layer of its own, so that
//! nothing that an adapter says is missed whatever the operator's log shows.

use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};

use tracing::field::{Field, Visit};
use tracing::subscriber::Subscriber;
use tracing_subscriber::layer::{Context, Layer};

/// Under what the sandbox logs a guest's lines.
const TARGET: &str = "lastword::adapter";

/// Lines that are kept: each call has a cap of its own.
const LINES_MAX: usize = 50_000;

/// Cheap to clone; all clones hear the same.
#[derive(Debug, Clone, Default)]
pub(super) struct Heard(Arc<Mutex<Vec<String>>>);

impl Heard {
    /// Every line so far, its fields included.
    pub(super) fn lines(&self) -> Vec<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl<S: Subscriber> Layer<S> for Heard {
    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        if event.metadata().target() != TARGET {
            return;
        }
        let mut line = Line::default();
        event.record(&mut line);
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.len() < LINES_MAX {
            lines.push(line.0);
        }
    }
}

#[derive(Default)]
struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        // Names of the host's own fields say nothing of the guest.
        if matches!(field.name(), "message" | "fields") {
            let _ = write!(self.0, "{value:?} ");
        }
    }
}
