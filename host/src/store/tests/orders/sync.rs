//! The channels of the hand-off as the model sees them: tokio's own, each use of which is a step that
//! the model may put before or after any other thread's.
#![allow(unreachable_pub, reason = "it stands in for a public library")]

use std::cell::Cell;
use std::sync::Arc;

use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::sync::{Condvar, Mutex};

thread_local! {
    static FORGETFUL: Cell<bool> = const { Cell::new(false) };
}

/// Queues that are made meanwhile lack a guard: their receiver looks, and then sleeps until it is
/// woken; a wake-up between the two is lost.
pub(super) fn forgetful<T>(run: impl FnOnce() -> T) -> T {
    FORGETFUL.set(true);
    let done = run();
    FORGETFUL.set(false);
    done
}

/// What wakes a forgetful receiver.
#[derive(Debug, Default)]
struct Bell(Mutex<()>, Condvar);

impl Bell {
    fn sleep(&self) {
        drop(self.1.wait(self.0.lock().unwrap()).unwrap());
    }
}

/// What all uses of one channel meet at. The model tries them in every order.
#[derive(Debug, Clone, Default)]
struct Point(Arc<AtomicUsize>);

impl Point {
    fn pass(&self) {
        // A model that has failed is being taken down: there are no more orders to try.
        if !std::thread::panicking() {
            self.0.fetch_add(1, Ordering::AcqRel);
        }
    }

    /// Each look at a future is one use.
    async fn through<T>(&self, future: impl Future<Output = T>) -> T {
        let mut future = std::pin::pin!(future);
        std::future::poll_fn(|context| {
            self.pass();
            future.as_mut().poll(context)
        })
        .await
    }
}

pub mod mpsc {
    use std::sync::Arc;

    use super::{Bell, FORGETFUL, Point};
    pub use tokio::sync::mpsc::error;

    #[derive(Debug)]
    pub struct Sender<T>(Option<tokio::sync::mpsc::Sender<T>>, Point, Option<Arc<Bell>>);

    #[derive(Debug)]
    pub struct Receiver<T>(Option<tokio::sync::mpsc::Receiver<T>>, Point, Option<Arc<Bell>>);

    pub fn channel<T>(waiting: usize) -> (Sender<T>, Receiver<T>) {
        let (sender, receiver) = tokio::sync::mpsc::channel(waiting);
        let (point, bell) = (Point::default(), FORGETFUL.get().then(Arc::default));
        (Sender(Some(sender), point.clone(), bell.clone()), Receiver(Some(receiver), point, bell))
    }

    impl<T> Sender<T> {
        pub async fn send(&self, value: T) -> Result<(), error::SendError<T>> {
            let sent = self.1.through(self.0.as_ref().unwrap().send(value)).await;
            self.ring();
            sent
        }

        pub fn try_send(&self, value: T) -> Result<(), error::TrySendError<T>> {
            self.1.pass();
            let sent = self.0.as_ref().unwrap().try_send(value);
            self.ring();
            sent
        }

        fn ring(&self) {
            if let Some(bell) = &self.2 {
                bell.1.notify_one();
            }
        }
    }

    impl<T> Receiver<T> {
        pub fn blocking_recv(&mut self) -> Option<T> {
            while let Some(bell) = self.2.clone() {
                match self.try_recv() {
                    Ok(value) => return Some(value),
                    Err(error::TryRecvError::Disconnected) => return None,
                    Err(error::TryRecvError::Empty) => bell.sleep(),
                }
            }
            let Self(receiver, point, _) = self;
            loom::future::block_on(point.through(receiver.as_mut().unwrap().recv()))
        }

        pub fn try_recv(&mut self) -> Result<T, error::TryRecvError> {
            self.1.pass();
            self.0.as_mut().unwrap().try_recv()
        }
    }

    impl<T> Drop for Sender<T> {
        fn drop(&mut self) {
            self.1.pass();
            self.0.take();
            if !std::thread::panicking() {
                self.ring();
            }
        }
    }

    impl<T> Drop for Receiver<T> {
        fn drop(&mut self) {
            self.1.pass();
            self.0.take();
        }
    }
}

pub mod oneshot {
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use super::Point;
    pub use tokio::sync::oneshot::error;

    #[derive(Debug)]
    pub struct Sender<T>(Option<tokio::sync::oneshot::Sender<T>>, Point);

    #[derive(Debug)]
    pub struct Receiver<T>(Option<tokio::sync::oneshot::Receiver<T>>, Point);

    pub fn channel<T>() -> (Sender<T>, Receiver<T>) {
        let (sender, receiver) = tokio::sync::oneshot::channel();
        let point = Point::default();
        (Sender(Some(sender), point.clone()), Receiver(Some(receiver), point))
    }

    impl<T> Sender<T> {
        pub fn send(mut self, value: T) -> Result<(), T> {
            self.1.pass();
            match self.0.take() {
                Some(sender) => sender.send(value),
                None => Err(value),
            }
        }
    }

    impl<T> Future for Receiver<T> {
        type Output = Result<T, error::RecvError>;

        fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
            self.1.pass();
            Pin::new(self.0.as_mut().unwrap()).poll(context)
        }
    }

    impl<T> Drop for Sender<T> {
        fn drop(&mut self) {
            self.1.pass();
            self.0.take();
        }
    }

    impl<T> Drop for Receiver<T> {
        fn drop(&mut self) {
            self.1.pass();
            self.0.take();
        }
    }
}
