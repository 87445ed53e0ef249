//! The one way in, for webhooks, polls and the API: commits a batch, tells the gate what an abort
//! stopped, and hands a turn that was claimed in the same step to its handler.

use std::sync::Arc;

use super::dispatcher;
use super::hub::{Hub, wrong_answer};
use super::turn_run::TurnStart;
use crate::lifecycle::id::ChannelName;
use crate::lifecycle::message::InboundEvent;
use crate::lifecycle::outcome::StateWrites;
use crate::store::{Accept, Accepted, AcceptedEvent, Answer, Command, StoreError};

/// One batch of a platform.
#[derive(Debug, Clone, Default)]
pub struct Batch {
    pub events: Vec<InboundEvent>,
    /// To be stored with it; `Some(None)` forgets it.
    pub cursor: Option<Option<String>>,
    /// What the guest's call wrote.
    pub state: StateWrites,
}

/// Commits a batch: all of it or nothing. When this returns `Ok` it is on disk. `claimed` is always
/// empty in what is returned: the turn is at its handler already.
///
/// The work goes on where the caller goes away, since the batch may be committed by then.
///
/// # Errors
/// The store's; nothing was accepted then.
pub async fn accept(
    hub: &Arc<Hub>,
    channel: &ChannelName,
    batch: Batch,
) -> Result<Accepted, StoreError> {
    let (worker, name) = (Arc::clone(hub), channel.clone());
    let work = async move { commit(&worker, name, batch).await };
    match hub.env.spawn(hub.tasks.track_future(work)).await {
        Ok(result) => result,
        Err(_) => Err(StoreError::NotWritable("the host ends".to_owned())),
    }
}

async fn commit(
    hub: &Arc<Hub>,
    channel: ChannelName,
    batch: Batch,
) -> Result<Accepted, StoreError> {
    let wakes = batch.events.iter().any(InboundEvent::wakes);
    let fold = if wakes { hub.turn_fold() } else { None };
    let dropped = homeless(&batch.events);
    let command = Command::Accept(Accept {
        channel: channel.clone(),
        events: batch.events,
        cursor: batch.cursor,
        state: batch.state,
        claim: hub.lease_if(fold.as_ref()),
    });
    let mut accepted = match hub.store.offer(command).await {
        Ok(Answer::Accepted(accepted)) => *accepted,
        Ok(_) => return Err(wrong_answer("accept")),
        Err(error) => {
            hub.metrics.accepts_failed.up();
            tracing::warn!(%channel, "a batch is not accepted: {error}");
            hub.store_refused(&error);
            return Err(error);
        }
    };
    for turn in &accepted.stopped {
        hub.gate.stop_turn(*turn);
    }
    for (kind, id) in dropped {
        hub.status.dropped(&channel, &kind);
        tracing::info!(%channel, kind, id, "an event without a conversation is dropped");
    }
    for event in &accepted.events {
        if let AcceptedEvent::Receipt { failed: Some(failure) } = event {
            hub.failed_late(&channel, failure);
        }
    }
    count(hub, &accepted);
    match (accepted.claimed.take(), fold) {
        (Some(claimed), Some((permit, approach))) => {
            let claimed = Box::new(claimed);
            dispatcher::start(hub, TurnStart { claimed, permit, approach });
            if new_turns(&accepted) > 1 {
                hub.wake_turns();
            }
        }
        (_, fold) => {
            drop(fold);
            hub.wake_turns();
        }
    }
    if accepted.next_due_ms.is_some() {
        hub.wake_timer();
    }
    // A message may have opened a closed conversation, an abort or a receipt freed the line.
    hub.wake_channel(&channel);
    Ok(accepted)
}

/// Kind and id of what will be dropped: nobody's context.
fn homeless(events: &[InboundEvent]) -> Vec<(String, String)> {
    let of = |event: &InboundEvent| match event {
        InboundEvent::Other(other) if other.conversation.is_none() => {
            Some((other.kind.clone(), other.external_id.clone()))
        }
        InboundEvent::Message(_)
        | InboundEvent::Edited(_)
        | InboundEvent::Deleted(_)
        | InboundEvent::Action(_)
        | InboundEvent::Abort(_)
        | InboundEvent::Receipt(_)
        | InboundEvent::Other(_) => None,
    };
    events.iter().filter_map(of).collect()
}

fn new_turns(accepted: &Accepted) -> usize {
    let turns = accepted.events.iter().filter(|event| matches!(event, AcceptedEvent::Turn { .. }));
    turns.count()
}

fn count(hub: &Hub, accepted: &Accepted) {
    let metrics = &hub.metrics;
    for event in &accepted.events {
        let counter = match event {
            AcceptedEvent::Turn { .. } => &metrics.turns_accepted,
            AcceptedEvent::Duplicate { .. } | AcceptedEvent::Abort { again: true, .. } => {
                &metrics.duplicates
            }
            AcceptedEvent::Context => &metrics.context_messages,
            AcceptedEvent::Abort { again: false, .. } => &metrics.aborts,
            AcceptedEvent::Joined { .. } => &metrics.group_pieces,
            AcceptedEvent::Edited { .. } => &metrics.edits_applied,
            AcceptedEvent::TakenBack { .. } => &metrics.messages_taken_back,
            AcceptedEvent::Receipt { .. } => &metrics.late_receipts,
            AcceptedEvent::Refused { .. } => &metrics.events_refused,
            AcceptedEvent::Dropped => &metrics.events_dropped,
        };
        counter.up();
    }
    metrics.turns_aborted.add(accepted.stopped.len() as u64);
    if accepted.state_dropped {
        metrics.state_writes_dropped.up();
    }
}
