//! Messages that programs post: committed, and handed to a handler where the same step claimed them.

use std::sync::Arc;

use super::dispatcher;
use super::hub::{Hub, wrong_answer};
use super::turn_run::TurnStart;
use crate::store::{Answer, Command, Post, PostOutcome, StoreError};

/// Commits a post. When this returns a turn, it is on disk.
///
/// The work goes on where the caller goes away, since the post may be committed by then.
///
/// # Errors
/// The store's; nothing was written then.
pub async fn post(hub: &Arc<Hub>, post: Post) -> Result<PostOutcome, StoreError> {
    let worker = Arc::clone(hub);
    let work = async move { commit(&worker, post).await };
    match hub.env.spawn(hub.tasks.track_future(work)).await {
        Ok(result) => result,
        Err(_) => Err(StoreError::NotWritable("the host ends".to_owned())),
    }
}

async fn commit(hub: &Arc<Hub>, mut post: Post) -> Result<PostOutcome, StoreError> {
    let channel = post.channel.clone();
    let later = post.not_before_ms.is_some_and(|at_ms| at_ms > hub.env.now().wall_ms);
    // A channel that is refused has no rules: its turns wait for its return.
    let serves = hub.channel(&channel).is_some();
    let fold = if later || !serves { None } else { hub.turn_fold() };
    post.claim = hub.lease_if(fold.as_ref());
    let mut posted = match hub.store.offer(Command::Post(Box::new(post))).await? {
        Answer::Posted(posted) => *posted,
        _ => return Err(wrong_answer("post")),
    };
    match &posted.outcome {
        PostOutcome::Turn { turn, due_ms, .. } => {
            hub.metrics.turns_accepted.up();
            tracing::info!(%channel, %turn, due_ms, "a message was posted");
            if due_ms.is_some() {
                hub.wake_timer();
            }
        }
        PostOutcome::Duplicate { turn, .. } => {
            hub.metrics.duplicates.up();
            tracing::debug!(%channel, %turn, "a message was posted again");
        }
        PostOutcome::OtherContent | PostOutcome::UnknownAbout | PostOutcome::TooManyHops { .. } => {
            hub.metrics.events_refused.up()
        }
    }
    match (posted.claimed.take(), fold) {
        (Some(claimed), Some((permit, approach))) => {
            let claimed = Box::new(claimed);
            dispatcher::start(hub, TurnStart { claimed, permit, approach });
        }
        (_, fold) => {
            drop(fold);
            hub.wake_turns();
        }
    }
    Ok(posted.outcome)
}
