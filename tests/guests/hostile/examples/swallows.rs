//! Threat 16: asks a platform, which is in league with it, for an answer that never ends, comes too
//! slowly, or is much larger than it looks.

use hostile::{Threat, refused, tried};
use lastword_sdk::prelude::*;

struct Swallows;

impl Threat for Swallows {
    const NAME: &'static str = "swallows";

    /// The message names the answers, one word each.
    fn send(message: &OutboundMessage) -> Result<Receipt, SendError> {
        let asked = |what: &str| tried(what, http::get("api").path(["read", what]));
        Err(refused(&message.text.split_whitespace().map(asked).collect::<Vec<_>>()))
    }
}

hostile::component!(Swallows);
