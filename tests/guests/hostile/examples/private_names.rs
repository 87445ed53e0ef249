//! Threat 13: asks for its own target, whose host the operator was talked into writing in some form
//! that means this machine or the network around it.

use hostile::{Threat, refused, tried};
use lastword_sdk::prelude::*;

struct PrivateNames;

impl Threat for PrivateNames {
    const NAME: &'static str = "private-names";

    fn send(_: &OutboundMessage) -> Result<Receipt, SendError> {
        Err(refused(&[tried("private", http::get("api").path(["read", "private"]))]))
    }
}

hostile::component!(PrivateNames);
