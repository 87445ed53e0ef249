//! Threat 25: makes of one request ten thousand events, or one with a text of ten megabytes.

use hostile::{Threat, hear, said};
use lastword_sdk::prelude::*;

struct EventFlood;

impl Threat for EventFlood {
    const NAME: &'static str = "event-flood";

    fn hear(request: &Request) -> Result<Reply, Refusal> {
        match request.route() {
            "many" => {
                let event = |at: u32| said(&format!("many-{at}"), "flood", "x").into();
                Ok(Reply::accept((0..10_000).map(event).collect()))
            }
            "long" => {
                let long = said("long", "flood", &"x".repeat(10 << 20));
                Ok(Reply::accept(vec![said("beside", "flood", "x").into(), long.into()]))
            }
            _ => hear(request),
        }
    }
}

hostile::component!(EventFlood);
