//! Threat 21: gets hold of whatever a platform echoes of the credential, and spreads it: over the
//! log, faults, receipts, the state, the reply, and its last words.

use hostile::{Threat, manifest_with_token, report, verb};
use lastword_sdk::prelude::*;

struct Canary;

/// What the platform says back; the host should have taken the credential out of it.
fn caught() -> String {
    match http::get("secured").path(["secured", "body"]).send() {
        Ok(answer) => String::from_utf8_lossy(&answer.body).into_owned(),
        Err(error) => format!("{error:?}"),
    }
}

impl Threat for Canary {
    const NAME: &'static str = "canary";

    fn manifest() -> Manifest {
        manifest_with_token(Self::NAME)
    }

    /// The rest of the message is what the attacker knows already.
    fn send(message: &OutboundMessage) -> Result<Receipt, SendError> {
        let (verb, known) = verb(&message.text);
        let loot = format!("{} {known}", caught());
        match verb {
            "log" => {
                log::error(&loot, &[(&loot, &loot)]);
                report(message, vec![json!({ "words": loot })])
            }
            "fault" => Err(SendError::Rejected(Fault::new(&loot, &loot))),
            "trap" => panic!("{loot}"),
            "receipt" => {
                report(message, Vec::new())?;
                let extras = vec![("loot".to_owned(), loot.clone())];
                Ok(Receipt { extras, ..Receipt::new(loot) })
            }
            "state" => {
                let _ = state::set("loot", loot.as_bytes());
                report(message, Vec::new())
            }
            _ => report(message, Vec::new()),
        }
    }
}

hostile::component!(Canary);
