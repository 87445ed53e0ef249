//! Threat 26: names and texts that would paint over an operator's terminal, page or log.

use hostile::{Threat, deliver};
use lastword_sdk::prelude::*;

struct Paints;

/// Clears the screen, sets the title, turns the direction, breaks the line, and is markup.
const PAINT: &str =
    "\u{1b}[2J\u{1b}]0;owned\u{7}\u{202e}\r\nroot# \u{9b}31m<script>alert(1)</script>";

impl Threat for Paints {
    const NAME: &'static str = "paints";

    fn hear(request: &Request) -> Result<Reply, Refusal> {
        if request.route() != "paint" {
            return hostile::hear(request);
        }
        let mut message = InboundMessage::new(PAINT, PAINT, Sender::new(PAINT).named(PAINT), PAINT);
        message.context = Some(PAINT.to_owned());
        message.extras = vec![(PAINT.to_owned(), PAINT.to_owned())];
        Ok(Reply::accept(vec![message.into()]).header("x-paint", "plain"))
    }

    fn send(message: &OutboundMessage) -> Result<Receipt, SendError> {
        if message.text.contains("[2J") {
            return Err(SendError::Rejected(Fault::new(PAINT, PAINT)));
        }
        deliver(message)
    }
}

hostile::component!(Paints);
