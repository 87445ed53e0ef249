//! The listener and its connections: how many, how slow, how long. It knows no path.
//!
//! The HTTP library alone would wait for ever for the head of a request and for a peer that takes no
//! answer, and would hold as many connections as the system gives. A planned stop lets requests that
//! run finish, then cuts.

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio_util::task::TaskTracker;
use tower_service::Service as _;
use tracing::{debug, warn};

use super::limits::IngressLimits;
use super::patient::Patient;
use crate::env::Env;

/// Opens the listener.
///
/// # Errors
/// A sentence that says what to change.
pub async fn bind(address: SocketAddr) -> Result<TcpListener, BindError> {
    TcpListener::bind(address).await.map_err(|source| BindError { address, source })
}

/// The listener could not be opened.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen at {address}: {source}; change `listen` in the config, or free the port")]
pub struct BindError {
    address: SocketAddr,
    source: std::io::Error,
}

/// How far a planned stop is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Closing {
    Serving,
    /// Requests that run finish.
    Finishing,
    /// Connections are dropped as they stand.
    Cut,
}

/// A listener that serves. Dropping it cuts it and its connections; see [`Server::close`].
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    closing: watch::Sender<Closing>,
    accepting: tokio::task::JoinHandle<()>,
    connections: TaskTracker,
    /// Requests that are being answered, whatever their connections do besides.
    requests: TaskTracker,
    env: Env,
    close_within: Duration,
}

/// From the last answer's making until it is written; then what is still open only lurks.
const WRITE_WITHIN: Duration = Duration::from_millis(250);

impl Server {
    /// Serves `router` on `listener`.
    ///
    /// # Errors
    /// The system's, where the listener has no address.
    pub fn start(
        env: Env,
        listener: TcpListener,
        router: Router,
        limits: &IngressLimits,
    ) -> std::io::Result<Self> {
        let address = listener.local_addr()?;
        let (closing, closes) = watch::channel(Closing::Serving);
        let (connections, requests) = (TaskTracker::new(), TaskTracker::new());
        let accept = Accept {
            env: env.clone(),
            http: http(limits),
            router,
            connections: connections.clone(),
            requests: requests.clone(),
            closes,
            write_stall: Duration::from_millis(limits.write_stall_ms),
            room: std::sync::Arc::new(tokio::sync::Semaphore::new(limits.connections_max)),
        };
        let accepting = env.spawn(accept.run(listener));
        let close_within = Duration::from_millis(limits.close_ms);
        Ok(Self { address, closing, accepting, connections, requests, env, close_within })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Takes no more connections, lets the requests that run finish, and cuts what is left: a peer
    /// that never ends its request holds up no stop.
    pub async fn close(self) {
        self.closing.send_replace(Closing::Finishing);
        let _ = self.accepting.await;
        self.requests.close();
        self.connections.close();
        if self.env.timeout(self.close_within, self.requests.wait()).await.is_err() {
            warn!(requests = self.requests.len(), "requests are cut at the stop");
        }
        let _ = self.env.timeout(WRITE_WITHIN, self.connections.wait()).await;
        self.closing.send_replace(Closing::Cut);
        self.connections.wait().await;
    }
}

fn http(limits: &IngressLimits) -> http1::Builder {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(Duration::from_millis(limits.header_read_ms))
        // At most 100 lines: the library's own limit, which it keeps without a heap of its own.
        .max_header_size(limits.header_bytes_max)
        // A buffer holds the head whole, and the library wants 8 KiB at least.
        .max_buf_size((2 * limits.header_bytes_max).max(8 << 10))
        .keep_alive(true);
    http
}

struct Accept {
    env: Env,
    http: http1::Builder,
    router: Router,
    connections: TaskTracker,
    requests: TaskTracker,
    closes: watch::Receiver<Closing>,
    write_stall: Duration,
    room: std::sync::Arc<tokio::sync::Semaphore>,
}

impl Accept {
    async fn run(mut self, listener: TcpListener) {
        loop {
            let next = self.next(&listener);
            let (stream, permit) = tokio::select! {
                biased;
                _ = self.closes.wait_for(|now| *now >= Closing::Finishing) => return,
                next = next => match next {
                    Some(next) => next,
                    None => continue,
                },
            };
            // Answers are small and whole: waiting for more to send would only delay them.
            let _ = stream.set_nodelay(true);
            let serving = self.serve(stream, permit);
            self.env.spawn(self.connections.track_future(serving));
        }
    }

    fn next<'a>(
        &self,
        listener: &'a TcpListener,
    ) -> impl Future<Output = Option<(TcpStream, OwnedSemaphorePermit)>> + use<'a> {
        let (room, env) = (self.room.clone(), self.env.clone());
        async move {
            let permit = room.acquire_owned().await.ok()?;
            match listener.accept().await {
                Ok((stream, _)) => Some((stream, permit)),
                Err(error) => {
                    // Out of descriptors, as a rule: trying again at once would spin.
                    warn!(%error, "a connection could not be taken");
                    env.sleep(Duration::from_millis(100)).await;
                    None
                }
            }
        }
    }

    fn serve(
        &self,
        stream: TcpStream,
        permit: OwnedSemaphorePermit,
    ) -> impl Future<Output = ()> + use<> {
        let (router, requests) = (self.router.clone(), self.requests.clone());
        let service = service_fn(move |request: hyper::Request<Incoming>| {
            // The router is always ready.
            requests.track_future(router.clone().call(request.map(Body::new)))
        });
        let stream = Patient::new(stream, self.env.clone(), self.write_stall);
        let connection = self.http.serve_connection(TokioIo::new(stream), service);
        let mut closes = self.closes.clone();
        async move {
            let _permit = permit;
            let mut connection = std::pin::pin!(connection);
            let served = tokio::select! {
                biased;
                ended = connection.as_mut() => Some(ended),
                _ = closes.wait_for(|now| *now >= Closing::Finishing) => None,
            };
            let ended = match served {
                Some(ended) => ended,
                None => {
                    connection.as_mut().graceful_shutdown();
                    tokio::select! {
                        biased;
                        ended = connection => ended,
                        _ = closes.wait_for(|now| *now == Closing::Cut) => return,
                    }
                }
            };
            if let Err(error) = ended {
                // Peers that break off or are too slow: nothing for an operator to do.
                debug!(%error, "a connection ended badly");
            }
        }
    }
}
