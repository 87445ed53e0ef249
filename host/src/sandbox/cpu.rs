//! CPU time apart from waiting. A guest gives way at every tick, so that a poll of it is never
//! longer than one tick and the host call that it is in; while it waits nothing is polled. Here the
//! CPU time of its polls is added up, held against its budget, and given in turns where it is much.
//! It is the thread's own time: on a machine that is busy with others a poll lasts longer, and the
//! guest is not charged for it.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use super::lanes::{LIGHT, Lane, Turn};
use crate::env::Env;

/// A call whose CPU time is counted. Ready with nothing where its budget is spent.
pub(super) struct Metered<F> {
    inside: Pin<Box<F>>,
    env: Env,
    lane: Lane,
    budget: Duration,
    spent: Duration,
    waiting: Option<Pin<Box<dyn Future<Output = Option<Turn>> + Send>>>,
}

impl<F: Future> Metered<F> {
    pub(super) fn new(env: Env, lane: Lane, budget: Duration, inside: F) -> Self {
        let inside = Box::pin(inside);
        Self { inside, env, lane, budget, spent: Duration::ZERO, waiting: None }
    }

    /// CPU time of its polls so far.
    pub(super) fn spent(&self) -> Duration {
        self.spent
    }

    fn turn(&mut self, cx: &mut Context<'_>) -> Poll<Option<Turn>> {
        if self.spent < LIGHT {
            return Poll::Ready(None);
        }
        let lane = &self.lane;
        let waiting = self.waiting.get_or_insert_with(|| Box::pin(lane.clone().turn()));
        let turn = waiting.as_mut().poll(cx);
        if turn.is_ready() {
            self.waiting = None;
        }
        turn
    }
}

impl<F: Future> Future for Metered<F> {
    type Output = Option<F::Output>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let Poll::Ready(turn) = this.turn(cx) else { return Poll::Pending };
        let before = this.env.thread_cpu();
        let polled = this.inside.as_mut().poll(cx);
        this.spent += this.env.thread_cpu().saturating_sub(before);
        drop(turn);
        match polled {
            Poll::Ready(answer) => Poll::Ready(Some(answer)),
            Poll::Pending if this.spent > this.budget => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::super::lanes::Lanes;
    use super::*;

    const BUDGET: Duration = Duration::from_millis(20);

    /// Two polls, of which the first does `work`.
    async fn after(work: impl FnOnce(&Env)) -> Option<()> {
        let env = Env::system();
        let work_env = env.clone();
        let inside = async move {
            work(&work_env);
            work_env.yield_now().await;
        };
        Metered::new(env, Lanes::new(2).lane(), BUDGET, inside).await
    }

    #[tokio::test]
    async fn a_thread_that_others_keep_from_its_processor_spends_nothing() {
        let (_kept, nobody) = mpsc::channel::<()>();
        let waits = |_: &Env| assert!(nobody.recv_timeout(BUDGET * 5).is_err());
        assert_eq!(after(waits).await, Some(()));
    }

    #[tokio::test]
    async fn what_computes_for_longer_than_its_budget_is_ended() {
        let computes = |env: &Env| {
            let begun = env.thread_cpu();
            while env.thread_cpu().saturating_sub(begun) <= BUDGET {
                std::hint::spin_loop();
            }
        };
        assert_eq!(after(computes).await, None);
    }
}
