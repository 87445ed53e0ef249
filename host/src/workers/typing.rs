//! "Is typing" while a handler thinks: best effort, never stored, shown again before it fades, and
//! only where the agent takes long enough that somebody could see it.

use std::sync::Arc;

use tokio_util::task::AbortOnDropHandle;

use super::channel::Channel;
use super::hub::Hub;
use super::rules::TYPING_AFTER_MS;
use crate::gate::StopHandle;
use crate::lifecycle::message::Place;
use crate::lifecycle::outcome::CallEnd;
use crate::sandbox::Activity;
use crate::store::ClaimedTurn;

/// Shown again no more often than this, whatever the adapter says.
const AGAIN_MS_MIN: u64 = 1_000;
/// Longer than any agent takes: a guard against a guest's nonsense, not a rule.
const SHOWN_TIMES_MAX: u32 = 1_000;

/// Shows it until it is dropped; nothing where the adapter cannot.
pub(super) fn start(
    hub: &Arc<Hub>,
    channel: &Arc<Channel>,
    turn: &ClaimedTurn,
) -> Option<AbortOnDropHandle<()>> {
    if !channel.facts().offers.progress {
        return None;
    }
    let place = Place {
        conversation: turn.conversation.clone(),
        context: turn.message.context.clone(),
        reply_to: turn
            .message
            .answered_id()
            .filter(|_| turn.origin.is_at_platform())
            .map(str::to_owned),
    };
    let (hub, channel) = (Arc::clone(hub), Arc::clone(channel));
    let env = hub.env.clone();
    Some(AbortOnDropHandle::new(env.spawn(async move { show(&hub, &channel, place).await })))
}

async fn show(hub: &Hub, channel: &Channel, place: Place) {
    hub.sleep_ms(TYPING_AFTER_MS).await;
    for _ in 0..SHOWN_TIMES_MAX {
        let stop = StopHandle::new();
        let call = channel.adapter().indicate(place.clone(), Activity::Typing, stop).await;
        let fades_ms = match call.end {
            CallEnd::Answered(Ok(Some(ms))) => u64::from(ms),
            // It stays by itself, or it cannot be shown: either way there is no more to do.
            CallEnd::Answered(Ok(None) | Err(_))
            | CallEnd::Trapped(_)
            | CallEnd::DeadlinePassed
            | CallEnd::CpuSpent
            | CallEnd::Cancelled
            | CallEnd::NotCalled(_) => return,
        };
        hub.sleep_ms((fades_ms * 4 / 5).max(AGAIN_MS_MIN)).await;
    }
}
