//! A platform in league with its adapter: it answers in ways that no HTTP library would.

use std::io::Write as _;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// A running platform. Ends when it is dropped.
pub(crate) struct Peer {
    pub(crate) origin: String,
    server: JoinHandle<()>,
}

impl Peer {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let origin = format!("http://{}", listener.local_addr().unwrap());
        let server = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            loop {
                let Ok((stream, _)) = listener.accept().await else { continue };
                connections.spawn(serve(stream));
            }
        });
        Self { origin, server }
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// Reads one head, answers by its path, and closes.
async fn serve(mut stream: TcpStream) {
    let mut head = Vec::new();
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        let mut piece = [0; 4_096];
        match stream.read(&mut piece).await {
            Ok(0) | Err(_) => return,
            Ok(count) => head.extend_from_slice(&piece[..count]),
        }
    }
    let head = String::from_utf8_lossy(&head);
    let path = head.split(' ').nth(1).unwrap_or_default();
    // Whoever is cut off has been heard.
    let _ = answer(&mut stream, path.rsplit('/').next().unwrap_or_default()).await;
}

const CHUNKED: &[u8] = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";

async fn answer(stream: &mut TcpStream, what: &str) -> std::io::Result<()> {
    match what {
        // Nothing at all.
        "silent" => tokio::time::sleep(Duration::from_secs(60)).await,
        // One byte in a while.
        "drip" => {
            stream.write_all(CHUNKED).await?;
            for _ in 0..600 {
                stream.write_all(b"1\r\nx\r\n").await?;
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
        // It begins, and then nothing.
        "stalls" => {
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nsome").await?;
            tokio::time::sleep(Duration::from_secs(60)).await;
        }
        "endless" => {
            stream.write_all(CHUNKED).await?;
            let chunk = [b"10000\r\n".as_slice(), &[b'x'; 0x1_0000], b"\r\n"].concat();
            loop {
                stream.write_all(&chunk).await?;
            }
        }
        // A gigabyte, in a megabyte.
        "bomb" => {
            let bomb = bomb();
            let head = format!(
                "HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: {}\r\n\r\n",
                bomb.len()
            );
            stream.write_all(head.as_bytes()).await?;
            stream.write_all(&bomb).await?;
        }
        "heads" => {
            stream.write_all(b"HTTP/1.1 200 OK\r\n").await?;
            for at in 0..100_000 {
                stream.write_all(format!("x-{at}: {}\r\n", "y".repeat(100)).as_bytes()).await?;
            }
        }
        // Two lengths: where the answer ends depends on who reads it.
        "lengths" => {
            let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 5\r\n\r\nxxxxx";
            stream.write_all(answer).await?;
        }
        _ => {
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await?;
        }
    }
    Ok(())
}

/// Zeros, stored as gzip members that each give a megabyte.
fn bomb() -> Vec<u8> {
    let mut member = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    member.write_all(&vec![0; 64 << 20]).unwrap();
    member.finish().unwrap()
}
