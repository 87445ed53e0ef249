//! A connection whose peer must go on reading: a write that makes no progress for too long ends it.
//! The HTTP library has a time for heads that come slowly, and none for answers that nobody takes.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::env::Env;

type Timer = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A stream that is written to for as long as its peer takes something now and then.
pub(super) struct Patient<S> {
    inner: S,
    env: Env,
    most: Duration,
    /// Runs while a write waits.
    waits: Option<Timer>,
}

impl<S> Patient<S> {
    pub(super) fn new(inner: S, env: Env, most: Duration) -> Self {
        Self { inner, env, most, waits: None }
    }

    /// What became of a write; one that waits waits for so long.
    fn bounded<T>(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.waits = None;
            return written;
        }
        let (env, most) = (self.env.clone(), self.most);
        let start = || -> Timer { Box::pin(async move { env.sleep(most).await }) };
        ready!(self.waits.get_or_insert_with(start).as_mut().poll(cx));
        self.waits = None;
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Patient<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, into)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Patient<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write(cx, bytes);
        self.bounded(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write_vectored(cx, pieces);
        self.bounded(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    use super::*;

    const MOST: Duration = Duration::from_secs(30);

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_reads_slowly_is_waited_for_and_one_that_has_stopped_is_not() {
        let env = Env::system();
        let (near, mut far) = duplex(1_024);
        let mut near = Patient::new(near, env.clone(), MOST);
        let reader = async {
            let mut bytes = [0; 1_024];
            for _ in 0..4 {
                env.sleep(MOST - Duration::from_secs(1)).await;
                far.read_exact(&mut bytes).await.unwrap();
            }
        };
        let text = vec![b'x'; 5 * 1_024];
        let (written, ()) = tokio::join!(near.write_all(&text), reader);
        written.expect("a flow goes on, however long it takes");
        let began = env.elapsed();
        let stalled = near.write_all(b"x").await.unwrap_err();
        assert_eq!(stalled.kind(), io::ErrorKind::TimedOut);
        assert!(env.elapsed() - began < MOST * 2);
    }
}
