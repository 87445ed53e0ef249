//! The hand-off between those who ask and the one who writes: a bounded queue, batches of all that
//! wait, and an answer for each. It knows neither commands nor the store. Its channels come from the
//! module around it, so that a model can try every order in which threads use them.

use super::sync::{mpsc, oneshot};

#[derive(Debug)]
struct Job<C, A> {
    command: C,
    answer: oneshot::Sender<A>,
}

/// Why nobody answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::store) enum Unanswered {
    /// The queue is full; nothing was handed over.
    Full,
    /// The writer has ended, before or after it took the command.
    Gone,
}

/// Those who ask. The desk closes when the last of them is gone.
#[derive(Debug)]
pub(in crate::store) struct Asking<C, A>(mpsc::Sender<Job<C, A>>);

/// Where the writer sits.
#[derive(Debug)]
pub(in crate::store) struct Desk<C, A>(mpsc::Receiver<Job<C, A>>);

/// Carries out what was asked.
pub(in crate::store) trait Scribe<C, A> {
    /// One answer per command, in order. What they say is final when this returns: they are given
    /// away at once.
    fn carry_out(&mut self, commands: Vec<C>) -> Vec<A>;

    /// After the answers, before the next batch.
    fn tidy(&mut self);
}

/// A queue for at most `waiting` commands.
pub(in crate::store) fn open<C, A>(waiting: usize) -> (Asking<C, A>, Desk<C, A>) {
    let (sender, receiver) = mpsc::channel(waiting);
    (Asking(sender), Desk(receiver))
}

impl<C, A> Asking<C, A> {
    /// Hands a command over, waits for a place in the queue where it is full, and for the answer.
    ///
    /// # Errors
    /// [`Unanswered::Gone`].
    pub(in crate::store) async fn ask(&self, command: C) -> Result<A, Unanswered> {
        let (answer, wait) = oneshot::channel();
        self.0.send(Job { command, answer }).await.map_err(|_| Unanswered::Gone)?;
        wait.await.map_err(|_| Unanswered::Gone)
    }

    /// The same, but does not wait for a place.
    ///
    /// # Errors
    /// See [`Unanswered`].
    pub(in crate::store) async fn offer(&self, command: C) -> Result<A, Unanswered> {
        let (answer, wait) = oneshot::channel();
        self.0.try_send(Job { command, answer }).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => Unanswered::Full,
            mpsc::error::TrySendError::Closed(_) => Unanswered::Gone,
        })?;
        wait.await.map_err(|_| Unanswered::Gone)
    }
}

impl<C, A> Desk<C, A> {
    /// Serves until nobody is left who asks and the queue is empty: all that wait, at most
    /// `batch_max`, are one batch. There is no timer: who comes alone waits for nobody.
    pub(in crate::store) fn serve(mut self, batch_max: usize, scribe: &mut impl Scribe<C, A>) {
        while let Some(first) = self.0.blocking_recv() {
            let mut commands = vec![first.command];
            let mut waiting = vec![first.answer];
            while commands.len() < batch_max {
                let Ok(job) = self.0.try_recv() else { break };
                commands.push(job.command);
                waiting.push(job.answer);
            }
            let answers = scribe.carry_out(commands);
            for (waits, answer) in waiting.into_iter().zip(answers) {
                // Whoever asked may be gone; what was committed stays.
                let _ = waits.send(answer);
            }
            scribe.tidy();
        }
    }
}
