//! The other end: a server that records every request before it answers, and answers as a script
//! says: well, with an error, late, or not at all.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// How the sink answers one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// 200 with an `id` of the sink's own.
    Take,
    /// A status and nothing else.
    Status(u16),
    /// 429 or 503 with `Retry-After` in seconds.
    RetryAfter { status: u16, seconds: u32 },
    /// The same, after a while.
    After(Duration, Box<Answer>),
    /// The message is taken, and the connection stays open without an answer for so long.
    Hang(Duration),
    /// The message is taken, and the connection is closed without an answer.
    Drop,
    /// A status with a body.
    Body(u16, String),
    /// A status with a header of this name and value, and a body.
    With(u16, &'static str, String, String),
}

/// One request as it arrived, with what was answered.
#[derive(Debug, Clone)]
pub struct Arrival {
    /// Since the sink was started.
    pub at: Duration,
    pub path: String,
    /// Without the question mark.
    pub query: String,
    pub headers: HeaderMap,
    /// As it came, for signatures.
    pub raw: Bytes,
    pub body: Value,
    pub answer: Answer,
    /// Whether the whole answer was handed to the connection while the caller still listened.
    pub answered: bool,
    /// When it was done with: answered, or left by the caller.
    pub left: Option<Duration>,
}

impl Arrival {
    /// A text field of the body, empty where it is absent.
    #[must_use]
    pub fn field(&self, name: &str) -> &str {
        self.body[name].as_str().unwrap_or_default()
    }

    /// A value of the query that has no escapes, empty where it is absent.
    #[must_use]
    pub fn query_value(&self, name: &str) -> String {
        let pairs = self.query.split('&').filter_map(|pair| pair.split_once('='));
        let found = pairs.into_iter().find(|(known, _)| *known == name);
        found.map(|(_, value)| value.to_owned()).unwrap_or_default()
    }

    /// The delivery that it is about.
    #[must_use]
    pub fn delivery_id(&self) -> &str {
        self.field("delivery_id")
    }

    /// The text that was sent.
    #[must_use]
    pub fn text(&self) -> &str {
        self.field("text")
    }
}

/// What of the arrivals stays in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Keep {
    All,
    Nothing,
}

type Script = Box<dyn FnMut(&Arrival) -> Answer + Send>;

/// A running sink. Ends when it is dropped.
pub struct Sink {
    shared: Arc<Shared>,
    address: String,
    server: JoinHandle<()>,
}

struct Shared {
    began: Instant,
    keep: Keep,
    count: AtomicUsize,
    arrivals: Mutex<Vec<Arrival>>,
    script: Mutex<Script>,
}

impl Sink {
    /// A sink that takes everything.
    pub async fn start() -> Self {
        Self::scripted(|_| Answer::Take).await
    }

    /// A sink that answers by script. The script sees the arrival before it is answered.
    pub async fn scripted(script: impl FnMut(&Arrival) -> Answer + Send + 'static) -> Self {
        Self::keeping(Keep::All, script).await
    }

    /// The same for a long run: it counts, and what arrived is the script's to remember.
    pub async fn counting(script: impl FnMut(&Arrival) -> Answer + Send + 'static) -> Self {
        Self::keeping(Keep::Nothing, script).await
    }

    async fn keeping(keep: Keep, script: impl FnMut(&Arrival) -> Answer + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let shared = Arc::new(Shared {
            began: Instant::now(),
            keep,
            count: AtomicUsize::new(0),
            arrivals: Mutex::default(),
            script: Mutex::new(Box::new(script)),
        });
        let server = tokio::spawn(serve(listener, shared.clone()));
        Self { shared, address, server }
    }

    /// Where replies are to be posted.
    #[must_use]
    pub fn url(&self) -> String {
        format!("{}/replies", self.address)
    }

    /// Its address without a path.
    #[must_use]
    pub fn origin(&self) -> &str {
        &self.address
    }

    /// What arrived at one path so far.
    #[must_use]
    pub fn arrivals_at(&self, path: &str) -> Vec<Arrival> {
        self.look(|all| all.iter().filter(|arrival| arrival.path == path).cloned().collect())
    }

    /// Answers by another script from now on.
    pub fn answer_by(&self, script: impl FnMut(&Arrival) -> Answer + Send + 'static) {
        *self.shared.script.lock().unwrap() = Box::new(script);
    }

    /// Everything that arrived so far, in order.
    #[must_use]
    pub fn arrivals(&self) -> Vec<Arrival> {
        self.shared.arrivals.lock().unwrap().clone()
    }

    /// How much arrived so far.
    #[must_use]
    pub fn count(&self) -> usize {
        self.shared.count.load(Ordering::SeqCst)
    }

    /// Runs `look` over the log in place.
    pub fn look<T>(&self, look: impl FnOnce(&[Arrival]) -> T) -> T {
        look(&self.shared.arrivals.lock().unwrap())
    }

    /// Waits until at least `count` requests arrived.
    ///
    /// # Panics
    /// Where they did not within the time.
    pub async fn wait_for(&self, count: usize, within: Duration) -> Vec<Arrival> {
        super::eventually(&format!("{count} requests at the sink"), within, || async {
            (self.count() >= count).then(|| self.arrivals())
        })
        .await
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    // Aborted together with the server: a connection's task would hold its socket open.
    let mut connections = tokio::task::JoinSet::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        stream.set_nodelay(true).ok();
        let shared = shared.clone();
        connections.spawn(async move {
            let service = service_fn(|request| answer(request, shared.clone()));
            http1::Builder::new().serve_connection(TokioIo::new(stream), service).await.ok();
        });
        while connections.try_join_next().is_some() {}
    }
}

/// A service's error closes the connection without an answer.
async fn answer(
    request: Request<Incoming>,
    shared: Arc<Shared>,
) -> Result<Response<Full<Bytes>>, std::io::Error> {
    let cut = || std::io::Error::other("no answer, as the script says");
    let (head, body) = request.into_parts();
    // A request that is cut off within its body was not received.
    let raw = body.collect().await.map_err(|_| cut())?.to_bytes();
    let (index, mut answer) = shared.record(&head, raw);
    let _served = Served { shared: shared.clone(), index };
    while let Answer::After(while_, then) = answer {
        tokio::time::sleep(while_).await;
        answer = *then;
    }
    let reply = match answer {
        Answer::Take => taken(index),
        Answer::Status(status) => plain(status, Bytes::new()),
        Answer::Body(status, text) => plain(status, Bytes::from(text)),
        Answer::With(status, name, value, text) => {
            let mut reply = plain(status, Bytes::from(text));
            reply.headers_mut().insert(name, http::HeaderValue::try_from(value).unwrap());
            reply
        }
        Answer::RetryAfter { status, seconds } => {
            let mut reply = plain(status, Bytes::new());
            reply.headers_mut().insert(http::header::RETRY_AFTER, seconds.into());
            reply
        }
        Answer::Hang(while_) => {
            tokio::time::sleep(while_).await;
            return Err(cut());
        }
        Answer::Drop | Answer::After(..) => return Err(cut()),
    };
    if let Some(arrival) = shared.arrivals.lock().unwrap().get_mut(index) {
        arrival.answered = true;
    }
    Ok(reply)
}

/// Dropped with the request's future: also where the caller hangs up.
struct Served {
    shared: Arc<Shared>,
    index: usize,
}

impl Drop for Served {
    fn drop(&mut self) {
        let left = self.shared.began.elapsed();
        // A sink that remembers nothing has no such arrival.
        if let Some(arrival) = self.shared.arrivals.lock().unwrap().get_mut(self.index) {
            arrival.left = Some(left);
        }
    }
}

fn plain(status: u16, body: Bytes) -> Response<Full<Bytes>> {
    let mut reply = Response::new(Full::new(body));
    *reply.status_mut() = http::StatusCode::from_u16(status).unwrap();
    reply
}

fn taken(index: usize) -> Response<Full<Bytes>> {
    let mut reply = plain(200, Bytes::from(format!("{{\"id\":\"sink-{index}\"}}")));
    let json = http::HeaderValue::from_static("application/json");
    reply.headers_mut().insert(http::header::CONTENT_TYPE, json);
    reply
}

impl Shared {
    fn record(&self, head: &http::request::Parts, raw: Bytes) -> (usize, Answer) {
        let body = serde_json::from_slice(&raw).unwrap_or(Value::Null);
        let mut arrival = Arrival {
            at: self.began.elapsed(),
            path: head.uri.path().to_owned(),
            query: head.uri.query().unwrap_or_default().to_owned(),
            headers: head.headers.clone(),
            raw,
            body,
            answer: Answer::Take,
            answered: false,
            left: None,
        };
        let answer = (self.script.lock().unwrap())(&arrival);
        arrival.answer = answer.clone();
        let mut arrivals = self.arrivals.lock().unwrap();
        if self.keep == Keep::All {
            arrivals.push(arrival);
        }
        (self.count.fetch_add(1, Ordering::SeqCst), answer)
    }
}
