//! A server that does on each request what a test says, and keeps what it was sent.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::env::Env;

/// What happens to the next request.
#[derive(Clone)]
pub(in crate::sandbox) enum Act {
    /// These bytes, then the connection waits for the next request.
    Answer(Vec<u8>),
    /// These bytes, then it closes.
    AnswerAndClose(Vec<u8>),
    /// These bytes, and it closes so long after them.
    AnswerAndCloseAfter(Vec<u8>, Duration),
    /// Nothing, and it closes once the request is there.
    Close,
    /// It closes as soon as it is connected to, before any byte.
    CloseAtOnce,
    /// Nothing, for as long as the test runs.
    Hang,
    /// These bytes, and nothing after them.
    StartAndHang(Vec<u8>),
    /// These bytes, one every so often.
    Drip(Vec<u8>, Duration),
}

/// A whole answer.
pub(in crate::sandbox) fn answer(status: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 {status}\r\n{headers}content-length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

pub(in crate::sandbox) fn ok() -> Act {
    Act::Answer(answer("200 OK", "", b"{}"))
}

pub(in crate::sandbox) struct Peer {
    pub(in crate::sandbox) port: u16,
    seen: Arc<Mutex<Vec<String>>>,
    connections: Arc<Mutex<u32>>,
}

impl Peer {
    /// Does `acts` in order, one per request, then the last one for ever.
    pub(in crate::sandbox) async fn start(acts: Vec<Act>) -> Self {
        let env = Env::system();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (seen, connections) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Mutex::new(0)));
        let (seen_by, counted, acts) =
            (seen.clone(), connections.clone(), Arc::new(Mutex::new(acts)));
        env.clone().spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                *counted.lock().unwrap() += 1;
                env.spawn(serve(env.clone(), stream, seen_by.clone(), acts.clone()));
            }
        });
        Self { port, seen, connections }
    }

    /// The requests so far, whole, as text.
    pub(in crate::sandbox) fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }

    pub(in crate::sandbox) fn connections(&self) -> u32 {
        *self.connections.lock().unwrap()
    }
}

fn next(acts: &Mutex<Vec<Act>>) -> Act {
    let mut acts = acts.lock().unwrap();
    if acts.len() > 1 { acts.remove(0) } else { acts[0].clone() }
}

async fn serve(
    env: Env,
    mut stream: TcpStream,
    seen: Arc<Mutex<Vec<String>>>,
    acts: Arc<Mutex<Vec<Act>>>,
) {
    if matches!(acts.lock().unwrap().first(), Some(Act::CloseAtOnce)) {
        next(&acts);
        return;
    }
    while let Some(request) = read_request(&mut stream).await {
        seen.lock().unwrap().push(request);
        match next(&acts) {
            Act::Answer(bytes) => {
                let _ = stream.write_all(&bytes).await;
            }
            Act::AnswerAndClose(bytes) => {
                let _ = stream.write_all(&bytes).await;
                return;
            }
            Act::AnswerAndCloseAfter(bytes, pause) => {
                let _ = stream.write_all(&bytes).await;
                env.sleep(pause).await;
                return;
            }
            Act::Close | Act::CloseAtOnce => return,
            Act::Hang => std::future::pending().await,
            Act::StartAndHang(bytes) => {
                let _ = stream.write_all(&bytes).await;
                std::future::pending().await
            }
            Act::Drip(bytes, pause) => {
                for byte in bytes {
                    if stream.write_all(&[byte]).await.is_err() {
                        return;
                    }
                    env.sleep(pause).await;
                }
            }
        }
    }
}

async fn read_request(stream: &mut TcpStream) -> Option<String> {
    let mut bytes = Vec::new();
    loop {
        if let Some(head) = bytes.windows(4).position(|w| w == b"\r\n\r\n") {
            let text = String::from_utf8_lossy(&bytes).into_owned();
            let length = text.to_lowercase();
            let length = length.split("content-length: ").nth(1);
            let length = length.and_then(|rest| rest.split("\r\n").next()?.parse().ok());
            if bytes.len() >= head + 4 + length.unwrap_or(0) {
                return Some(text);
            }
        }
        let mut piece = [0; 4096];
        match stream.read(&mut piece).await {
            Ok(0) | Err(_) => return None,
            Ok(count) => bytes.extend_from_slice(&piece[..count]),
        }
    }
}
