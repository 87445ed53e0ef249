//! Threat 14: asks the same name again and again, while whoever owns the name lets it mean another
//! address each time.

use hostile::{Threat, refused, tried};
use lastword_sdk::prelude::*;

struct Rebinds;

impl Threat for Rebinds {
    const NAME: &'static str = "rebinds";

    fn send(_: &OutboundMessage) -> Result<Receipt, SendError> {
        let asked = |at: u32| tried(&at.to_string(), http::get("api").path(["read", "rebound"]));
        Err(refused(&(1..=6).map(asked).collect::<Vec<_>>()))
    }
}

hostile::component!(Rebinds);
