//! Peers that send too much, too slowly, too many, or go away.

use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::scripted::*;
use crate::env::Env;
use crate::ingress::IngressLimits;
use crate::lifecycle::outcome::CallEnd;

fn accepting() -> ScriptedHook {
    ScriptedHook::new(|_| CallEnd::Answered(reply(200, vec![message("1")])))
}

fn limits() -> IngressLimits {
    IngressLimits { body_bytes_max: 1_000, ..Default::default() }
}

#[tokio::test]
async fn a_body_at_the_limit_is_taken_and_one_byte_more_is_413() {
    let (host, hook) = Host::start(accepting(), limits()).await;
    assert_eq!(host.request("POST /hooks/hook", &"x".repeat(1_000)).await.status, 200);
    let answer = host.request("POST /hooks/hook", &"x".repeat(1_001)).await;
    assert_eq!((answer.status, answer.code().as_str()), (413, "body_too_long"));
    assert_eq!(hook.calls.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_sender_of_20_mib_sees_the_413_though_it_reads_only_after_it_wrote_all() {
    let (host, _) = Host::start(accepting(), limits()).await;
    for head in ["content-length: 20971520", "transfer-encoding: chunked"] {
        let mut stream = host.connect().await;
        let text = format!("POST /hooks/hook HTTP/1.1\r\nhost: x\r\n{head}\r\n\r\n");
        stream.write_all(text.as_bytes()).await.unwrap();
        let block = vec![b'x'; 1 << 20];
        for _ in 0..20 {
            if head.starts_with("transfer") {
                stream.write_all(b"100000\r\n").await.unwrap();
            }
            stream.write_all(&block).await.expect("the host reads on");
            if head.starts_with("transfer") {
                stream.write_all(b"\r\n").await.unwrap();
            }
        }
        if head.starts_with("transfer") {
            stream.write_all(b"0\r\n\r\n").await.unwrap();
        }
        assert_eq!(answer(&mut stream).await.status, 413, "{head}");
        // It was read to its end, so the connection is as good as before.
        stream.write_all(b"POST /hooks/hook HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        assert_eq!(answer(&mut stream).await.status, 200, "{head}");
    }
}

#[tokio::test]
async fn a_body_without_end_is_read_for_its_time_and_no_longer() {
    let limits = IngressLimits { drain_ms: 200, ..limits() };
    let (host, _) = Host::start(accepting(), limits).await;
    let mut stream = host.connect().await;
    let head = "POST /hooks/hook HTTP/1.1\r\nhost: x\r\ncontent-length: 999999999999\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    assert_eq!(answer(&mut stream).await.status, 413);
    let mut rest = [0; 1];
    let closed = Env::system().timeout(Duration::from_secs(10), stream.read(&mut rest)).await;
    assert!(matches!(closed, Ok(Ok(0) | Err(_))), "{closed:?}");
}

#[tokio::test]
async fn who_asks_before_sending_is_told_no_before_sending() {
    let (host, _) = Host::start(accepting(), limits()).await;
    let head = "POST /hooks/hook HTTP/1.1\r\nhost: x\r\ncontent-length: 1001\r\n\
                expect: 100-continue\r\n\r\n";
    let answer = host.say(head.as_bytes()).await;
    assert_eq!(answer.status, 413);
}

#[tokio::test]
async fn a_head_that_drips_and_a_body_that_drips_are_ended() {
    let limits = IngressLimits { header_read_ms: 200, body_read_ms: 200, ..limits() };
    let (host, hook) = Host::start(accepting(), limits).await;
    let mut stream = host.connect().await;
    stream.write_all(b"POST /hooks/hook HTTP/1.1\r\nhost:").await.unwrap();
    let mut bytes = Vec::new();
    let env = Env::system();
    let ended = env.timeout(Duration::from_secs(10), stream.read_to_end(&mut bytes));
    ended.await.expect("the connection is closed").unwrap();
    let slow = host.say(b"POST /hooks/hook HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\nhalf");
    assert_eq!(slow.await.status, 408);
    assert_eq!(hook.calls.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_peer_that_takes_no_answers_is_ended_and_makes_room_for_others() {
    let limits = IngressLimits { connections_max: 1, write_stall_ms: 300, ..limits() };
    let (host, _) = Host::start(accepting(), limits).await;
    let mut deaf = host.connect().await;
    // As many requests as go, until their answers fill all that lies between and the host reads no
    // more of them; nothing is ever read here.
    let requests = b"GET /v1/turns HTTP/1.1\r\nhost: x\r\n\r\n".repeat(1_000);
    let env = Env::system();
    while let Ok(Ok(())) = env.timeout(Duration::from_millis(100), deaf.write_all(&requests)).await
    {
    }
    let other = env.timeout(Duration::from_secs(20), host.request("POST /hooks/hook", ""));
    assert_eq!(other.await.expect("there is room again").status, 200);
    drop(deaf);
}

#[tokio::test]
async fn heads_that_are_too_long_or_broken_get_an_error_and_no_panic() {
    let (host, hook) = Host::start(accepting(), limits()).await;
    let long_path = format!("GET /hooks/hook/{} HTTP/1.1\r\nhost: x\r\n\r\n", "a".repeat(100_000));
    let long_line = format!("GET / HTTP/1.1\r\nx: {}\r\n\r\n", "a".repeat(100_000));
    let lines: String = (0..200).map(|n| format!("x-{n}: y\r\n")).collect();
    let many_lines = format!("GET / HTTP/1.1\r\n{lines}\r\n");
    for head in [long_path.as_str(), long_line.as_str(), many_lines.as_str()] {
        let answer = host.say(head.as_bytes()).await;
        assert!([414, 431].contains(&answer.status), "{answer:?}");
    }
    for head in [
        "GET /\0 HTTP/1.1\r\n\r\n",
        "\r\n\r\n\r\n\x16\x03\x01 HTTP/1.1\r\n\r\n",
        "POST /hooks/hook HTTP/1.1\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nx",
        "POST /hooks/hook HTTP/1.1\r\ncontent-length: -1\r\n\r\n",
    ] {
        assert_eq!(host.say(head.as_bytes()).await.status, 400, "{head:?}");
    }
    assert_eq!(hook.calls.load(Ordering::SeqCst), 0);
    assert_eq!(host.request("POST /hooks/hook", "").await.status, 200);
}

#[tokio::test]
async fn an_announced_body_holds_no_memory_until_it_comes() {
    let limits =
        IngressLimits { body_bytes_max: 8_192, body_memory_bytes_max: 8_192, ..Default::default() };
    let (host, _) = Host::start(accepting(), limits).await;
    let mut lurkers = Vec::new();
    for _ in 0..10 {
        let mut stream = host.connect().await;
        let head = "POST /hooks/hook HTTP/1.1\r\nhost: x\r\ncontent-length: 8000\r\n\r\n";
        stream.write_all(head.as_bytes()).await.unwrap();
        lurkers.push(stream);
    }
    assert_eq!(host.request("POST /hooks/hook", &"x".repeat(8_192)).await.status, 200);
    // One of them sends: now there is no room beside it.
    lurkers[0].write_all(&[b'x'; 4_097]).await.unwrap();
    let full = async {
        loop {
            let answer = host.request("POST /hooks/hook", &"x".repeat(8_192)).await;
            if answer.status != 200 {
                return answer;
            }
        }
    };
    let full = Env::system().timeout(Duration::from_secs(10), full).await.unwrap();
    assert_eq!((full.status, full.code().as_str()), (503, "busy"));
    // It goes away, and its share comes back.
    drop(lurkers);
    let again =
        async { while host.request("POST /hooks/hook", &"x".repeat(8_192)).await.status != 200 {} };
    Env::system().timeout(Duration::from_secs(10), again).await.expect("the share comes back");
}

#[tokio::test]
async fn what_a_platform_began_is_committed_though_it_hangs_up() {
    let (host, _) = Host::start(accepting(), limits()).await;
    *host.desk.waits.lock().unwrap() = Duration::from_millis(300);
    let mut stream = host.connect().await;
    stream.write_all(b"POST /hooks/hook HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    Env::system().sleep(Duration::from_millis(100)).await;
    drop(stream);
    let committed = async {
        while host.desk.finished.load(Ordering::SeqCst) == 0 {
            Env::system().sleep(Duration::from_millis(10)).await;
        }
    };
    Env::system().timeout(Duration::from_secs(10), committed).await.expect("committed");
}

#[tokio::test]
async fn a_stop_lets_running_requests_finish_and_cuts_what_stays() {
    let mut hook = accepting();
    hook.waits = Duration::from_millis(300);
    let (host, _) = Host::start(hook, limits()).await;
    // An idle connection, one without a whole head, and one whose request runs.
    let idle = host.connect().await;
    let mut half = host.connect().await;
    half.write_all(b"POST /hooks/hook HTTP/1.1\r\n").await.unwrap();
    let mut running = host.connect().await;
    running.write_all(b"POST /hooks/hook HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    Env::system().sleep(Duration::from_millis(100)).await;
    host.ingress.close();
    let address = host.server.address();
    let env = Env::system();
    // Far less than `close_ms`: those that only lurk are not waited for.
    let closing = env.timeout(Duration::from_secs(4), host.server.close());
    let (answered, closed) = tokio::join!(answer(&mut running), closing);
    closed.expect("the server closes");
    assert_eq!(answered.status, 200);
    assert!(tokio::net::TcpStream::connect(address).await.is_err());
    drop((idle, half));
}
