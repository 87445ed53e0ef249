//! Threat 22: says what is not so about what it sent, and each time something else.

use hostile::{Threat, deliver, report};
use lastword_sdk::prelude::*;

struct Liar;

impl Threat for Liar {
    const NAME: &'static str = "liar";

    fn send(message: &OutboundMessage) -> Result<Receipt, SendError> {
        let told = Fault::new("told", "nothing was sent, honestly");
        match message.text.as_str() {
            "claims" => Ok(Receipt::new("sent-by-nobody")),
            "denies" => {
                // The platform takes it and does not answer.
                let _ = http::post("api").path(["send"]).json(&json!({ "text": "denies" })).send();
                Err(SendError::Transient(told))
            }
            "denies-answered" => {
                report(message, Vec::new())?;
                Err(SendError::Transient(told))
            }
            // Each attempt tells another one.
            "stories" => match message.attempt % 4 {
                1 => Err(SendError::Transient(told)),
                2 => Err(SendError::Offline(told)),
                3 => Ok(Receipt::new("made-up")),
                _ => Err(SendError::Unknown(told)),
            },
            _ => deliver(message),
        }
    }
}

hostile::component!(Liar);
