//! Where the demo's replies are delivered: a small HTTP server that takes each and says so.

use std::io::{Cursor, Read as _};

use anyhow::{Result, anyhow};
use serde_json::{Value, json};
use tiny_http::{Header, Request, Response, Server};

/// A reply is far smaller; what is larger is not read.
const BODY_BYTES_MAX: u64 = 1024 * 1024;

/// One delivery, as it arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Delivered {
    pub(super) kind: String,
    pub(super) text: String,
}

/// Starts the sink on a free port; gives the address for replies.
pub(super) fn start(on_delivered: impl Fn(Delivered) + Send + 'static) -> Result<String> {
    let server = Server::http("127.0.0.1:0").map_err(|error| anyhow!("no sink: {error}"))?;
    let address = server.server_addr().to_ip().ok_or_else(|| anyhow!("the sink has no port"))?;
    std::thread::spawn(move || {
        for mut request in server.incoming_requests() {
            let (status, answer) = match read(&mut request) {
                Some((id, delivered)) => {
                    on_delivered(delivered);
                    (200, json!({ "id": format!("sink-{id}") }))
                }
                None => (400, json!({ "error": "this is no delivery" })),
            };
            // The host sees a broken answer as such, and asks or sends again.
            let _ = request.respond(response(status, &answer));
        }
    });
    Ok(format!("http://{address}/replies"))
}

fn response(status: u16, body: &Value) -> Response<Cursor<Vec<u8>>> {
    let response = Response::from_string(body.to_string()).with_status_code(status);
    match "content-type: application/json".parse::<Header>() {
        Ok(header) => response.with_header(header),
        Err(()) => response,
    }
}

fn read(request: &mut Request) -> Option<(String, Delivered)> {
    let mut body = Vec::new();
    request.as_reader().take(BODY_BYTES_MAX).read_to_end(&mut body).ok()?;
    let body: Value = serde_json::from_slice(&body).ok()?;
    let text_of = |name: &str| body[name].as_str().map(str::to_owned);
    let delivered = Delivered { kind: text_of("kind")?, text: text_of("text")? };
    Some((text_of("delivery_id")?, delivered))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::channel;

    #[test]
    fn a_delivery_is_taken_and_anything_else_refused() {
        let (sender, receiver) = channel();
        let url = start(move |delivered| sender.send(delivered).unwrap()).unwrap();
        let delivery = json!({"delivery_id": "d1", "kind": "final", "text": "hello"});
        let answer = minreq::post(&url).with_body(delivery.to_string()).send().unwrap();
        assert_eq!((answer.status_code, answer.as_str().unwrap()), (200, r#"{"id":"sink-d1"}"#));
        let expected = Delivered { kind: "final".to_owned(), text: "hello".to_owned() };
        assert_eq!(receiver.recv().unwrap(), expected);
        let answer = minreq::post(&url).with_body("hello").send().unwrap();
        assert_eq!(answer.status_code, 400);
    }
}
