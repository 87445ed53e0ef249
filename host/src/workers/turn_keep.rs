//! Keeps the claim of a turn renewed, whatever its worker waits for. Knows no handler and no event.

use std::sync::Arc;

use super::hub::{Hub, wrong_answer};
use crate::store::{Answer, Command, Guarded, StoreError, TurnClaim};

/// When a claim is renewed next.
pub(super) struct Keeper {
    hub: Arc<Hub>,
    claim: TurnClaim,
    renew_at_ms: i64,
}

impl Keeper {
    /// Of a turn that was claimed just now.
    pub(super) fn new(hub: &Arc<Hub>, claim: TurnClaim) -> Self {
        let renew_at_ms = hub.mono_ms().saturating_add_unsigned(hub.rules.renew_ms);
        Self { hub: Arc::clone(hub), claim, renew_at_ms }
    }

    /// When the claim is renewed next, in monotonic milliseconds.
    pub(super) fn due_at_ms(&self) -> i64 {
        self.renew_at_ms
    }

    /// Renews the claim where that is due. [`Guarded::Lost`] where it holds no more; a store that
    /// takes nothing is asked again soon.
    pub(super) async fn renew_if_due(&mut self) -> Guarded {
        let now_ms = self.hub.mono_ms();
        if now_ms < self.renew_at_ms {
            return Guarded::Done;
        }
        let renew_ms = self.hub.rules.renew_ms;
        self.renew_at_ms = now_ms.saturating_add_unsigned(renew_ms);
        match self.renew().await {
            Ok(guarded) => guarded,
            // Not the handler's fault, and perhaps over before the claim is.
            Err(error) => {
                self.renew_at_ms = now_ms.saturating_add_unsigned((renew_ms / 10).max(1));
                tracing::warn!(turn = %self.claim.turn, "a claim is not renewed: {error}");
                Guarded::Done
            }
        }
    }

    /// Waits for `work` and renews the claim meanwhile. `None` where the claim is lost; the work is
    /// dropped then.
    pub(super) async fn beside<T>(&mut self, work: impl Future<Output = T>) -> Option<T> {
        tokio::pin!(work);
        loop {
            let wait_ms = self.renew_at_ms.saturating_sub(self.hub.mono_ms()).max(0);
            tokio::select! { biased;
                done = &mut work => return Some(done),
                () = self.hub.sleep_ms(wait_ms.unsigned_abs()) => {}
            }
            if self.renew_if_due().await == Guarded::Lost {
                self.hub.metrics.claims_lost.up();
                return None;
            }
        }
    }

    async fn renew(&self) -> Result<Guarded, StoreError> {
        let lease = self.hub.rules.lease();
        match self.hub.store.run(Command::RenewTurn { claim: self.claim, lease }).await? {
            Answer::Guarded(guarded) => Ok(guarded),
            _ => Err(wrong_answer("renew a turn")),
        }
    }
}
