//! What a handler says, written down: progress, the final, silence. Each under the turn's claim; a
//! claim that is lost takes nothing more.

use std::sync::Arc;

use super::channel::Channel;
use super::deliverer::{self, DeliveryStart};
use super::dispatcher;
use super::hub::{Hub, wrong_answer};
use super::parts::rows_of;
use super::turn_run::TurnStart;
use crate::lifecycle::message::{DeliveryKind, Reply};
use crate::store::{Answer, Command, Guarded, Lease, StoreError, TurnClaim};

/// One try's way to the store.
pub(super) struct Output {
    pub(super) hub: Arc<Hub>,
    pub(super) channel: Arc<Channel>,
    pub(super) claim: TurnClaim,
}

/// Which command takes the rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Takes {
    Progress,
    Final,
}

impl Output {
    /// One tool or block message.
    pub(super) async fn say(
        &self,
        kind: DeliveryKind,
        reply: Reply,
    ) -> Result<Guarded, StoreError> {
        self.enqueue(Takes::Progress, kind, reply).await
    }

    /// The final: the turn is `delivering` after it.
    pub(super) async fn complete(&self, reply: Reply) -> Result<Guarded, StoreError> {
        self.enqueue(Takes::Final, DeliveryKind::Final, reply).await
    }

    async fn enqueue(
        &self,
        takes: Takes,
        kind: DeliveryKind,
        reply: Reply,
    ) -> Result<Guarded, StoreError> {
        let rows = rows_of(kind, reply, &self.channel.facts());
        let fold = self.hub.delivery_fold(&self.channel);
        let claim_first: Option<Lease> = self.hub.lease_if(fold.as_ref());
        let claim = self.claim;
        let command = match takes {
            Takes::Progress => Command::Progress { claim, rows, claim_first },
            Takes::Final => Command::Complete { claim, rows, claim_first },
        };
        let (guarded, first) = match self.hub.persist(command).await? {
            Answer::Enqueued { guarded, ids: _, first } => (guarded, first),
            _ => return Err(wrong_answer("enqueue")),
        };
        match (first, fold) {
            (Some(claimed), Some((ticket, approach))) => {
                deliverer::start(&self.hub, DeliveryStart { claimed, ticket, approach });
            }
            (_, fold) => {
                drop(fold);
                self.channel.wake();
            }
        }
        Ok(guarded)
    }

    /// The handler chose to say nothing.
    pub(super) async fn silence(&self) -> Result<Guarded, StoreError> {
        let fold = self.hub.turn_fold();
        let claim_next_turn = self.hub.lease_if(fold.as_ref());
        let command = Command::Silence { claim: self.claim, claim_next_turn };
        let (guarded, end, next) = match self.hub.persist(command).await? {
            Answer::TurnEnded { guarded, end, next } => (guarded, end, next),
            _ => return Err(wrong_answer("silence")),
        };
        if let Some(end) = end {
            self.hub.turn_ended(&end);
        }
        match (next.turn, fold) {
            (Some(claimed), Some((permit, approach))) => {
                dispatcher::start(&self.hub, TurnStart { claimed, permit, approach });
                // It may be another conversation's, and this one's next is due too.
                self.hub.wake_turns();
            }
            (_, fold) => {
                drop(fold);
                self.hub.wake_turns();
            }
        }
        Ok(guarded)
    }
}
