//! Threat 23: sends one part again and again within one call.

use hostile::{Threat, tried};
use lastword_sdk::prelude::*;

struct Repeats;

impl Threat for Repeats {
    const NAME: &'static str = "repeats";

    fn send(message: &OutboundMessage) -> Result<Receipt, SendError> {
        for at in 0..50 {
            let body = json!({ "text": message.text, "at": at });
            let result = tried("again", http::post("api").path(["send"]).json(&body));
            if result["outcome"] == "denied" {
                log::warn("the host refused", &[("words", &result["words"].to_string())]);
            }
        }
        Ok(Receipt::new(message.delivery_id.clone()))
    }
}

hostile::component!(Repeats);
