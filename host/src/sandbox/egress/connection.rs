//! One connection of HTTP/1.1, driven only by the call that uses it: no task of its own, so that
//! when a call is dropped nothing of it leaves any more, and the mark that bytes left is exact.
//!
//! The idea not taken: a pooled client that drives its connections in the background. It cannot
//! say whether a request that failed had begun to leave.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use http::{HeaderMap, Request};
use http_body_util::BodyExt as _;
use hyper::body::Body as _;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use super::body::OutBody;
use super::intake::{Intake, Taker};
use super::wire::WireMark;
use crate::env::Env;

/// Bytes of an answer's head.
const HEAD_BYTES_MAX: usize = 64 << 10;
/// Headers of an answer.
const HEADERS_MAX: usize = 128;

/// What goes under HTTP.
pub(super) enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// A stream that marks when bytes of a request left, and counts what came.
struct Watched {
    stream: Stream,
    mark: WireMark,
    came: Arc<AtomicU64>,
}

impl Watched {
    fn write(&mut self, cx: &mut Context<'_>, bufs: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        match &mut self.stream {
            Stream::Plain(tcp) => {
                let written = Pin::new(tcp).poll_write_vectored(cx, bufs);
                // The system takes bytes or says that it took none.
                if matches!(written, Poll::Ready(Ok(count)) if count > 0) {
                    self.mark.set();
                }
                written
            }
            Stream::Tls(tls) => {
                // Encryption buffers: what fails or waits may have left in part.
                self.mark.set();
                Pin::new(tls).poll_write_vectored(cx, bufs)
            }
        }
    }
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = match &mut self.stream {
            Stream::Plain(tcp) => Pin::new(tcp).poll_read(cx, buf),
            Stream::Tls(tls) => Pin::new(tls).poll_read(cx, buf),
        };
        self.came.fetch_add((buf.filled().len() - before) as u64, Ordering::Relaxed);
        read
    }
}

impl AsyncWrite for Watched {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.write(cx, &[io::IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.write(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Stream::Plain(tcp) => Pin::new(tcp).poll_flush(cx),
            Stream::Tls(tls) => Pin::new(tls).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Stream::Plain(tcp) => Pin::new(tcp).poll_shutdown(cx),
            Stream::Tls(tls) => Pin::new(tls).poll_shutdown(cx),
        }
    }
}

type Protocol = http1::Connection<TokioIo<Watched>, OutBody>;

/// A connection, used by one request at a time.
pub(super) struct Connection {
    /// None once the protocol is over.
    protocol: Option<Pin<Box<Protocol>>>,
    sender: http1::SendRequest<OutBody>,
    mark: WireMark,
    /// Bytes that came so far, over all requests.
    came: Arc<AtomicU64>,
    /// How many before the request under way.
    came_before: u64,
    /// Bytes of the last answer's body, unpacked, kept or not.
    unpacked: u64,
}

/// A whole answer, as it came.
pub(super) struct RawAnswer {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    /// What of it is for memory.
    pub(super) body: Vec<u8>,
    /// All of it, unpacked.
    pub(super) body_bytes: u64,
}

/// How an exchange failed.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Failed {
    /// No byte of the request left.
    NotSent(String),
    /// Bytes left, or may have, and no whole answer came.
    Unanswered(String),
    /// The body is over the cap.
    TooLarge(u16),
}

/// What an exchange may take.
pub(super) struct Caps {
    /// By when the whole answer must be there, on [`Env::elapsed`]'s clock.
    pub(super) deadline: Duration,
    /// From the request's beginning to the first byte of the answer.
    pub(super) first_byte: Duration,
    /// Between two pieces of the answer, of its head too.
    pub(super) between_bytes: Duration,
    pub(super) body_bytes: u64,
}

impl Connection {
    /// Speaks HTTP over a stream. Nothing is sent by this.
    pub(super) async fn open(stream: Stream) -> Result<Self, String> {
        let (mark, came) = (WireMark::default(), Arc::new(AtomicU64::new(0)));
        let io = TokioIo::new(Watched { stream, mark: mark.clone(), came: Arc::clone(&came) });
        let mut builder = http1::Builder::new();
        builder.max_buf_size(HEAD_BYTES_MAX).max_headers(HEADERS_MAX);
        let (sender, protocol) = builder.handshake(io).await.map_err(|e| e.to_string())?;
        let protocol = Some(Box::pin(protocol));
        Ok(Self { protocol, sender, mark, came, came_before: 0, unpacked: 0 })
    }

    /// A mark of its own for the next request.
    pub(super) fn fresh_mark(&self) -> WireMark {
        self.mark.clear();
        self.mark.clone()
    }

    /// Bytes that came of the last answer, whole or not: on the wire or unpacked, whichever are more.
    pub(super) fn came(&self) -> u64 {
        let came = self.came.load(Ordering::Relaxed).saturating_sub(self.came_before);
        came.max(self.unpacked)
    }

    /// Whether another request may go over it: it looks, without waiting, for what the other side
    /// sent or closed meanwhile.
    pub(super) async fn is_open(&mut self) -> bool {
        let protocol = &mut self.protocol;
        std::future::poll_fn(|cx| {
            step(protocol, cx);
            Poll::Ready(())
        })
        .await;
        self.protocol.is_some() && self.sender.is_ready()
    }

    /// Sends a request and takes the whole answer.
    pub(super) async fn exchange(
        &mut self,
        env: &Env,
        request: Request<OutBody>,
        caps: &Caps,
        taker: Taker<'_>,
    ) -> Result<RawAnswer, Failed> {
        (self.came_before, self.unpacked) = (self.came.load(Ordering::Relaxed), 0);
        let answer = self.exchange_marked(env, request, caps, taker).await;
        answer.map_err(|error| match error {
            Failed::Unanswered(why) if !self.mark.is_set() => Failed::NotSent(why),
            other => other,
        })
    }

    async fn exchange_marked(
        &mut self,
        env: &Env,
        request: Request<OutBody>,
        caps: &Caps,
        taker: Taker<'_>,
    ) -> Result<RawAnswer, Failed> {
        let broken = |error: hyper::Error| Failed::Unanswered(describe(&error));
        let late = || Failed::Unanswered("no whole answer came in time".to_owned());
        let head = drive(&mut self.protocol, Box::pin(self.sender.send_request(request)));
        let head = in_time(env, caps, &self.came, head).await?;
        let (head, mut body) = head.map_err(broken)?.into_parts();
        let status = head.status.as_u16();
        if status < 200 {
            return Err(Failed::Unanswered(format!("it answered {status}, which ends nothing")));
        }
        let mut into = Intake::new(taker, &head.headers, status, caps.body_bytes)?;
        // What is announced to be too long is not waited for.
        into.expect(body.size_hint().lower())?;
        loop {
            let wait = left(env, caps.deadline).min(caps.between_bytes);
            // What is there at once would be taken however late it is.
            if left(env, caps.deadline).is_zero() {
                return Err(late());
            }
            let frame = drive(&mut self.protocol, body.frame());
            let Some(frame) = env.timeout(wait, frame).await.map_err(|_| late())? else { break };
            if let Ok(data) = frame.map_err(broken)?.into_data() {
                let taken = into.take(&data).await;
                self.unpacked = into.taken();
                taken?;
            }
        }
        let (body, body_bytes) = into.finish().await?;
        Ok(RawAnswer { status, headers: head.headers, body, body_bytes })
    }
}

/// Waits for the head: as long as nothing came for its first byte, from then on for the next piece.
/// The protocol gives a head as a whole, so the bytes that came are what tells a slow one.
async fn in_time<F: Future>(
    env: &Env,
    caps: &Caps,
    came: &AtomicU64,
    head: F,
) -> Result<F::Output, Failed> {
    let first_by = env.elapsed() + caps.first_byte;
    let before = came.load(Ordering::Relaxed);
    let mut head = std::pin::pin!(head);
    let mut wait = caps.first_byte.min(caps.between_bytes);
    let mut seen = before;
    loop {
        let whole = left(env, caps.deadline);
        if let Ok(head) = env.timeout(wait.min(whole), head.as_mut()).await {
            return Ok(head);
        }
        let now = came.load(Ordering::Relaxed);
        if left(env, caps.deadline).is_zero() || (now == seen && now != before) {
            return Err(Failed::Unanswered("no whole answer came in time".to_owned()));
        }
        if now == before && left(env, first_by).is_zero() {
            return Err(Failed::Unanswered("no byte of an answer came in time".to_owned()));
        }
        seen = now;
        let until_first = if now == before { left(env, first_by) } else { caps.between_bytes };
        wait = until_first.min(caps.between_bytes);
    }
}

/// What is left until a deadline.
pub(super) fn left(env: &Env, deadline: Duration) -> Duration {
    deadline.saturating_sub(env.elapsed())
}

/// The protocol's own words, without addresses or bytes.
fn describe(error: &hyper::Error) -> String {
    if error.is_parse() || error.is_parse_status() {
        "what came is no HTTP answer within the limits".to_owned()
    } else if error.is_incomplete_message() {
        "the connection closed before the whole answer came".to_owned()
    } else {
        "the connection broke before the whole answer came".to_owned()
    }
}

fn step(protocol: &mut Option<Pin<Box<Protocol>>>, cx: &mut Context<'_>) {
    if let Some(running) = protocol
        && running.as_mut().poll(cx).is_ready()
    {
        *protocol = None;
    }
}

/// Polls the protocol together with what waits on it.
async fn drive<F: Future + Unpin>(
    protocol: &mut Option<Pin<Box<Protocol>>>,
    mut waiting: F,
) -> F::Output {
    std::future::poll_fn(|cx| {
        step(protocol, cx);
        Pin::new(&mut waiting).poll(cx)
    })
    .await
}
