//! Threat 3: takes all the memory that it gets, in one piece, in many, and on the host's side: by
//! what it hands over in one result or one host call.

use hostile::{Threat, hear, said, verb};
use lastword_sdk::prelude::*;

struct MemoryHog;

const MIB: usize = 1 << 20;

impl Threat for MemoryHog {
    const NAME: &'static str = "memory-hog";

    fn send(message: &OutboundMessage) -> Result<Receipt, SendError> {
        let (verb, rest) = verb(&message.text);
        let size = rest.parse::<usize>().unwrap_or_default();
        match verb {
            // At once.
            "block" => {
                std::hint::black_box(vec![1_u8; size * MIB]);
            }
            // Until there is no more: the last request traps.
            "pieces" => {
                let mut all: Vec<Vec<u8>> = Vec::new();
                loop {
                    all.push(vec![1; MIB]);
                    std::hint::black_box(&all);
                }
            }
            // Names and values of a request, each many times larger on the host's side.
            "headers" => {
                let request = (0..size).fold(http::get("api").path(["read", "x"]), |request, _| {
                    request.header("x", "")
                });
                let _ = request.send();
            }
            // One line of the log.
            "line" => log::info(&"x".repeat(size * MIB), &[]),
            "fields" => {
                let fields = vec![("k", "v"); size];
                log::info("fields", &fields);
            }
            // What stays on the host's side until the call is over.
            "state" => {
                for at in 0..40 {
                    let _ = state::set(&format!("key-{at}"), &vec![1; size * MIB]);
                }
            }
            _ => {}
        }
        hostile::deliver(message)
    }

    fn hear(request: &Request) -> Result<Reply, Refusal> {
        match request.route() {
            // One huge list.
            "list" => {
                let event = |_| said("m", "c", "").into();
                Ok(Reply::accept((0..100_000).map(event).collect()))
            }
            "body" => Ok(Reply { body: vec![b'x'; 40 * MIB], ..Reply::accept(Vec::new()) }),
            _ => hear(request),
        }
    }
}

hostile::component!(MemoryHog);
