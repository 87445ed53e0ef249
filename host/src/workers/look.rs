//! How a loop looks for work: it reads when the next row is due and claims only where something is,
//! so that an idle host writes nothing; while rows keep coming it claims without reading.

use super::hub::{Hub, Wait};
use super::rules::{LOOK_AGAIN_MS, NOT_CLAIMABLE_MS, STORE_RETRY_MS};
use crate::store::{NextDue, Query, Rows, StoreError};

/// What a loop knows between two looks.
#[derive(Debug, Default)]
pub(super) struct Look {
    /// The last claim found a row: the next one is tried without reading first.
    flowing: bool,
    errors: u32,
}

impl Look {
    /// Whether to claim now (`None`), or how long to wait.
    pub(super) async fn before(
        &mut self,
        hub: &Hub,
        query: Query,
    ) -> Result<Option<u64>, StoreError> {
        if self.flowing {
            return Ok(None);
        }
        let due = match hub.store.read(query).await? {
            Rows::Due(due) => due,
            _ => return Err(super::hub::wrong_answer("when the next row is due")),
        };
        let now_ms = hub.env.now().wall_ms;
        Ok(match due {
            NextDue::Nothing => Some(LOOK_AGAIN_MS),
            NextDue::At(ms) if ms <= now_ms => None,
            NextDue::At(ms) => Some(ms.abs_diff(now_ms).min(LOOK_AGAIN_MS)),
        })
    }

    /// A row was claimed.
    pub(super) fn found(&mut self) {
        (self.flowing, self.errors) = (true, 0);
    }

    /// None was, though one seemed to be due: read again; where it still seems so, something holds
    /// it back that gives no hint.
    pub(super) fn nothing(&mut self) -> Wait {
        self.errors = 0;
        if self.flowing {
            self.flowing = false;
            return Wait::Now;
        }
        Wait::For(NOT_CLAIMABLE_MS)
    }

    /// The store failed: wait, longer each time.
    pub(super) fn failed(&mut self, what: &str, error: &StoreError) -> Wait {
        self.flowing = false;
        let (first, most) = STORE_RETRY_MS;
        let wait_ms = first.saturating_mul(1 << self.errors.min(16)).min(most);
        self.errors = self.errors.saturating_add(1);
        tracing::warn!(wait_ms, "{what}: {error}");
        Wait::For(wait_ms)
    }
}
