//! CPU time apart from waiting. A guest gives way at every tick, so that a poll of it is never
//! longer than one tick and the host call that it is in; while it waits nothing is polled. Here the
//! time of its polls is added up, held against its budget, and given in turns where it is much.

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

    /// What its polls took so far.
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
        let before = this.env.elapsed();
        let polled = this.inside.as_mut().poll(cx);
        this.spent += this.env.elapsed().saturating_sub(before);
        drop(turn);
        match polled {
            Poll::Ready(answer) => Poll::Ready(Some(answer)),
            Poll::Pending if this.spent > this.budget => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    }
}
