//! A storm of reloads is one reload that runs and one that waits: who asks for the same while one
//! waits is answered with it. It knows nothing of what is done.

use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::Value;
use tokio::sync::watch;

use super::{Ask, NotSwapped};
use crate::env::Env;

type Answer = Result<Value, NotSwapped>;
type Waiting = (Ask, watch::Receiver<Option<Answer>>);

/// The reloads of one channel that have not begun.
#[derive(Clone, Default)]
pub(super) struct Queue(Arc<Mutex<Vec<Waiting>>>);

/// Told by the work once it looks at things: who asks later is not answered by it.
pub(super) struct Begun {
    queue: Queue,
    ask: Ask,
}

impl Begun {
    pub(super) fn begin(self) {
        self.queue.lock().retain(|(ask, _)| *ask != self.ask);
    }
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, Vec<Waiting>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has `work` done, or waits for one that asks the same and has not begun. The work goes on
    /// where whoever asked goes away.
    pub(super) async fn join<F>(&self, env: &Env, ask: Ask, work: impl FnOnce(Begun) -> F) -> Answer
    where
        F: Future<Output = Answer> + Send + 'static,
    {
        let mut answer = self.take_place(env, ask, work);
        let seen = answer.wait_for(Option::is_some).await;
        let fell = || super::refused("host_fault", "the host failed at it; its log says how");
        seen.ok().and_then(|seen| seen.clone()).unwrap_or_else(|| Err(NotSwapped::Refused(fell())))
    }

    fn take_place<F>(
        &self,
        env: &Env,
        ask: Ask,
        work: impl FnOnce(Begun) -> F,
    ) -> watch::Receiver<Option<Answer>>
    where
        F: Future<Output = Answer> + Send + 'static,
    {
        let mut waiting = self.lock();
        // A work that fell has dropped its end.
        waiting.retain(|(_, answer)| answer.has_changed().is_ok());
        if let Some((_, answer)) = waiting.iter().find(|(waits, _)| *waits == ask) {
            return answer.clone();
        }
        let (tell, answer) = watch::channel(None);
        waiting.push((ask, answer.clone()));
        drop(waiting);
        let work = work(Begun { queue: self.clone(), ask });
        env.spawn(async move { tell.send_replace(Some(work.await)) });
        answer
    }
}
