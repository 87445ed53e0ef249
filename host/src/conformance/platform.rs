//! The platform that an adapter is tested against: a server on the loopback interface that plays
//! recordings and remembers what it was asked.

use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

use super::fixture::{Answer, Exchange, RequestPattern};
use crate::env::Env;

/// What is read of one request: more than any limit of the sandbox.
const BODY_BYTES_MAX: usize = 128 << 20;

/// What the platform says to the request that makes a message appear.
#[derive(Debug, Clone)]
pub(super) enum Says {
    This(Answer),
    /// It takes the request, and the connection ends without a word.
    Nothing,
}

/// What is played now.
#[derive(Debug, Clone)]
pub(super) struct Script {
    pub(super) send: Option<RequestPattern>,
    pub(super) says: Says,
    pub(super) exchanges: Vec<Exchange>,
    /// Of the exchanges that are asked, the one that fails, counted from 1, and how.
    pub(super) fails: Option<(u32, Says)>,
}

/// A request as it arrived.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    pub(super) method: String,
    /// Path and query.
    pub(super) address: String,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Bytes,
    /// Whether it makes a message appear.
    pub(super) is_send: bool,
    /// Whether the script had an answer for it.
    pub(super) known: bool,
}

#[derive(Default)]
struct Inner {
    script: Option<Script>,
    seen: Vec<Seen>,
    asked: u32,
}

/// Cheap to clone.
#[derive(Clone)]
pub(super) struct Platform {
    inner: Arc<Mutex<Inner>>,
    address: SocketAddr,
}

impl Platform {
    /// Listens on a free port until the runtime ends.
    pub(super) async fn start(env: &Env) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let platform = Self { inner: Arc::new(Mutex::default()), address: listener.local_addr()? };
        let (serving, spawner) = (platform.clone(), env.clone());
        env.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let platform = serving.clone();
                spawner.spawn(async move {
                    let service = service_fn(move |request| {
                        let platform = platform.clone();
                        async move { platform.answer(request).await }
                    });
                    let connection = hyper::server::conn::http1::Builder::new();
                    // A connection that ends without a word is what some scripts ask for.
                    let _ = connection.serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        Ok(platform)
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Plays a script from its beginning, and forgets what was seen.
    pub(super) fn play(&self, script: Script) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        *inner = Inner { script: Some(script), ..Inner::default() };
    }

    /// What arrived since the script began.
    pub(super) fn seen(&self) -> Vec<Seen> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner).seen.clone()
    }

    async fn answer(
        &self,
        request: http::Request<Incoming>,
    ) -> Result<http::Response<Full<Bytes>>, io::Error> {
        let (head, body) = request.into_parts();
        let body = Limited::new(body, BODY_BYTES_MAX).collect().await;
        let body = body.map_err(|_| io::Error::other("the body did not come whole"))?.to_bytes();
        let says = self.take(&head, body);
        match says {
            Says::Nothing => Err(io::Error::other("the script says nothing")),
            Says::This(answer) => {
                Ok(respond(&answer).unwrap_or_else(|infallible| match infallible {}))
            }
        }
    }

    fn take(&self, head: &http::request::Parts, body: Bytes) -> Says {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let (method, path) = (head.method.as_str(), head.uri.path());
        let found = inner.script.clone().map(|script| {
            if script.send.as_ref().is_some_and(|send| send.fits(method, path)) {
                return (true, Some(script.says));
            }
            let exchange = script.exchanges.iter().find(|it| it.request.fits(method, path));
            let answer = exchange.map(|exchange| Says::This(exchange.answer()));
            inner.asked += 1;
            match script.fails {
                Some((at, how)) if answer.is_some() && at == inner.asked => (false, Some(how)),
                Some(_) | None => (false, answer),
            }
        });
        let (is_send, says) = found.unwrap_or_default();
        inner.seen.push(Seen {
            method: method.to_owned(),
            address: head.uri.to_string(),
            headers: head
                .headers
                .iter()
                .map(|(name, value)| {
                    (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned())
                })
                .collect(),
            body,
            is_send,
            known: says.is_some(),
        });
        says.unwrap_or_else(|| {
            Says::This(Answer {
                status: 404,
                body: "the fixture has no answer to this request".to_owned(),
                ..Answer::default()
            })
        })
    }
}

fn respond(answer: &Answer) -> Result<http::Response<Full<Bytes>>, Infallible> {
    let mut response = http::Response::new(Full::new(Bytes::from(answer.body.clone())));
    *response.status_mut() =
        http::StatusCode::from_u16(answer.status).unwrap_or(http::StatusCode::BAD_GATEWAY);
    for (name, value) in &answer.headers {
        let name = http::HeaderName::from_bytes(name.as_bytes());
        if let (Ok(name), Ok(value)) = (name, http::HeaderValue::from_str(value)) {
            response.headers_mut().append(name, value);
        }
    }
    Ok(response)
}
